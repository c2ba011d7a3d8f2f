//! Text to syntax tree.

use datafusion_sql::sqlparser::ast::{Expr, Query, SelectItem, Statement};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Span, Token};

use crate::codes::{NOT_A_SELECT, SYNTAX};
use crate::problem::{Lines, SqlProblem};

/// Nesting deeper than this is refused rather than risking the stack.
const DEPTH_MAX: usize = 60;

fn parser() -> Parser<'static> {
    static DIALECT: GenericDialect = GenericDialect {};
    Parser::new(&DIALECT).with_recursion_limit(DEPTH_MAX)
}

/// Parses one SELECT.
pub(crate) fn query(lines: &Lines<'_>) -> Result<Query, SqlProblem> {
    let mut parser = parser().try_with_sql(lines.text()).map_err(|e| syntax(&e, lines, None))?;
    let statements = match parser.parse_statements() {
        Ok(statements) => statements,
        Err(e) => return Err(syntax(&e, lines, Some(&parser))),
    };
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(Statement::Query(query)), None) => Ok(*query),
        (None, _) => Err(SqlProblem::new(NOT_A_SELECT, "there is no SQL here").help("write a SELECT … FROM …")),
        (Some(_), Some(_)) => {
            Err(SqlProblem::new(NOT_A_SELECT, "there is more than one statement").help("a step holds one SELECT"))
        }
        (Some(other), None) => {
            let text = other.to_string();
            let word = text.split_whitespace().next().unwrap_or_default();
            Err(SqlProblem::new(NOT_A_SELECT, format!("`{word}` is not a SELECT"))
                .help("a step holds one SELECT … FROM …")
                .at(lines.text().find(word).map(|i| i..i + word.len())))
        }
    }
}

/// Parses one expression.
pub(crate) fn expression(lines: &Lines<'_>) -> Result<Expr, SqlProblem> {
    let mut parser = parser().try_with_sql(lines.text()).map_err(|e| syntax(&e, lines, None))?;
    let parsed = parser.parse_expr();
    finish(parsed, &mut parser, lines)
}

/// Parses one item of a select list: `*`, `a`, `a + b AS c`.
pub(crate) fn select_item(lines: &Lines<'_>) -> Result<SelectItem, SqlProblem> {
    let mut parser = parser().try_with_sql(lines.text()).map_err(|e| syntax(&e, lines, None))?;
    let parsed = parser.parse_select_item();
    finish(parsed, &mut parser, lines)
}

fn finish<T>(parsed: Result<T, ParserError>, parser: &mut Parser<'_>, lines: &Lines<'_>) -> Result<T, SqlProblem> {
    let value = parsed.map_err(|e| syntax(&e, lines, Some(parser)))?;
    let rest = parser.peek_token();
    if rest.token == Token::EOF {
        return Ok(value);
    }
    Err(SqlProblem::new(SYNTAX, format!("`{}` stands where the expression should end", rest.token))
        .at(lines.range(rest.span)))
}

/// The parser says where only in its text: ` at Line: 1, Column: 8`.
fn syntax(error: &ParserError, lines: &Lines<'_>, parser: Option<&Parser<'_>>) -> SqlProblem {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => {
            return SqlProblem::new(SYNTAX, format!("the SQL is nested deeper than {DEPTH_MAX} levels"))
                .help("split it into several steps, or into a WITH query");
        }
    };
    let (message, place) = match text.rfind(" at Line: ") {
        Some(at) => (text[..at].to_owned(), parse_place(&text[at..])),
        None => (text, None),
    };
    let token = parser.map(|p| p.get_current_token().span);
    let span = place
        .and_then(|(line, column)| {
            let start = datafusion_sql::sqlparser::tokenizer::Location { line, column };
            token_at(lines, start)
        })
        .or_else(|| token.and_then(|s| lines.range(s)));
    let mut message = message.trim().trim_end_matches(',').to_owned();
    if let Some(rest) = message.strip_prefix("sql parser error: ") {
        message = rest.to_owned();
    }
    let mut chars = message.chars();
    let message: String = chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default();
    SqlProblem::new(SYNTAX, message).help_opt(hint(lines, span.clone())).at(span)
}

fn parse_place(text: &str) -> Option<(u64, u64)> {
    let (line, column) = text.strip_prefix(" at Line: ")?.split_once(", Column: ")?;
    Some((line.trim().parse().ok()?, column.trim().trim_end_matches('.').parse().ok()?))
}

fn token_at(
    lines: &Lines<'_>,
    start: datafusion_sql::sqlparser::tokenizer::Location,
) -> Option<std::ops::Range<usize>> {
    let mut end = start;
    end.column += 1;
    let first = lines.range(Span::new(start, end))?;
    let rest = lines.text().get(first.start..)?;
    let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    Some(first.start..first.start + length.max(first.len()))
}

fn hint(lines: &Lines<'_>, span: Option<std::ops::Range<usize>>) -> Option<String> {
    let before = lines.text().get(..span?.start)?.trim_end();
    before.ends_with(',').then(|| "is there a comma too many before it?".to_owned())
}
