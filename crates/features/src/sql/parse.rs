//! Text to syntax tree.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{Expr, Query, SelectItem, Statement, Visit, Visitor};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Span, Token};

use crate::codes::{NOT_A_SELECT, SYNTAX};
use crate::names::closest;
use crate::problem::{Lines, SqlProblem};

/// Nesting deeper than this is refused rather than risking the stack.
const DEPTH_MAX: usize = 60;
/// So are longer chains of operators, which are as deep as they are long.
const CHAIN_MAX: usize = 250;
/// And longer texts.
const TEXT_BYTES_MAX: usize = 64 * 1024;

fn parser() -> Parser<'static> {
    static DIALECT: GenericDialect = GenericDialect {};
    Parser::new(&DIALECT).with_recursion_limit(DEPTH_MAX)
}

fn open(lines: &Lines<'_>) -> Result<Parser<'static>, SqlProblem> {
    if lines.text().len() > TEXT_BYTES_MAX {
        let message = format!("the SQL is {} bytes long; {TEXT_BYTES_MAX} are allowed", lines.text().len());
        return Err(SqlProblem::new(SYNTAX, message).help("split it into several steps"));
    }
    parser().try_with_sql(lines.text()).map_err(|e| syntax(&e, lines, None))
}

fn too_deep(levels: usize) -> SqlProblem {
    SqlProblem::new(SYNTAX, format!("the SQL is nested deeper than {levels} levels"))
        .help("split it into several steps, or into a WITH query")
}

/// Refuses trees that would take planning and evaluation, which walk them by recursion, too deep.
fn shallow<T: Visit>(tree: T) -> Result<T, SqlProblem> {
    struct Depth(usize);
    impl Visitor for Depth {
        type Break = ();

        fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
            self.0 += 1;
            if self.0 > CHAIN_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }

        fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
    }
    match tree.visit(&mut Depth(0)) {
        ControlFlow::Continue(()) => Ok(tree),
        ControlFlow::Break(()) => Err(too_deep(CHAIN_MAX)),
    }
}

/// Parses one SELECT.
pub(crate) fn query(lines: &Lines<'_>) -> Result<Query, SqlProblem> {
    let mut parser = open(lines)?;
    let statements = match parser.parse_statements() {
        Ok(statements) => statements,
        Err(e) => return Err(syntax(&e, lines, Some(&parser))),
    };
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(Statement::Query(query)), None) => shallow(*query),
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
    let mut parser = open(lines)?;
    let parsed = parser.parse_expr();
    finish(parsed, &mut parser, lines)
}

/// Parses one item of a select list: `*`, `a`, `a + b AS c`.
pub(crate) fn select_item(lines: &Lines<'_>) -> Result<SelectItem, SqlProblem> {
    let mut parser = open(lines)?;
    let parsed = parser.parse_select_item();
    finish(parsed, &mut parser, lines)
}

fn finish<T: Visit>(
    parsed: Result<T, ParserError>,
    parser: &mut Parser<'_>,
    lines: &Lines<'_>,
) -> Result<T, SqlProblem> {
    let value = parsed.map_err(|e| syntax(&e, lines, Some(parser)))?;
    let rest = parser.peek_token();
    if rest.token == Token::EOF {
        return shallow(value);
    }
    Err(SqlProblem::new(SYNTAX, format!("`{}` stands where the expression should end", rest.token))
        .at(lines.range(rest.span)))
}

/// The parser says where only in its text: ` at Line: 1, Column: 8`.
fn syntax(error: &ParserError, lines: &Lines<'_>, parser: Option<&Parser<'_>>) -> SqlProblem {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => {
            return too_deep(DEPTH_MAX);
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
        .or_else(|| token.and_then(|s| lines.range(s)))
        .or_else(|| lines.last_character());
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

/// The clauses of a SELECT, in the order that SQL has them in.
const CLAUSES: &str = "SELECT … FROM … WHERE … GROUP BY … HAVING … WINDOW … QUALIFY … ORDER BY … LIMIT …";

/// The words that they begin with.
const CLAUSE_WORDS: [&str; 7] = ["FROM", "WHERE", "GROUP", "HAVING", "WINDOW", "QUALIFY", "ORDER"];

fn hint(lines: &Lines<'_>, span: Option<std::ops::Range<usize>>) -> Option<String> {
    let span = span?;
    let found = lines.text().get(span.clone()).unwrap_or_default().to_uppercase();
    if CLAUSE_WORDS.contains(&found.as_str()) {
        return Some(format!("clauses come in this order: {CLAUSES}"));
    }
    let before = lines.text().get(..span.start)?;
    if before.trim_end().ends_with(',') {
        return Some("is there a comma too many before it?".to_owned());
    }
    // At the end of the text its last character stands for what is missing, and that is the middle of a word.
    if found.starts_with(char::is_alphanumeric) && before.ends_with(char::is_alphanumeric) {
        return None;
    }
    // `a` at the end of a line and `COUNT(*)` on the next reads as `a AS COUNT`, and the bracket is one too many.
    let upto_word = before.trim_end().trim_end_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.'));
    let word = before.get(upto_word.len()..).unwrap_or_default().trim_end();
    // So does a misspelt `FROM`, and what follows it is too much.
    if let Some(meant) = closest(word, CLAUSE_WORDS).filter(|meant| !meant.eq_ignore_ascii_case(word)) {
        return Some(format!("did you mean `{meant}` where it says `{word}`?"));
    }
    (ends_an_item(before) || ends_an_item(upto_word))
        .then(|| "is a comma missing at the end of the line before?".to_owned())
}

/// Whether a text ends with a line break, and the line before that with what could be an item of a list.
fn ends_an_item(text: &str) -> bool {
    let line = text.trim_end();
    let broken = text.get(line.len()..).is_some_and(|blank| blank.contains('\n'));
    broken && line.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ')' | '"' | '\''))
}
