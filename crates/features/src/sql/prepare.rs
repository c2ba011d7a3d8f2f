//! Walks a parsed query: resolves names, refuses what a stream can't do, and rewrites what the planner is
//! too strict about (case of names, named windows, unnamed columns). All problems are collected.

use std::ops::Range;

use datafusion_sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned,
    VisitMut, WildcardAdditionalOptions,
};

use super::scope::{Column, Found, Output, Scope};
use super::walk::{Clause, Walk};
use crate::catalog::{Catalog, PartitionedBy};
use crate::codes;
use crate::problem::{Lines, SqlProblem};

/// The state of the walk.
pub(crate) struct Preparer<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) lines: &'a Lines<'a>,
    pub(crate) problems: Vec<SqlProblem>,
    pub(crate) ctes: Vec<(String, Output)>,
    /// How the stream is partitioned, once a stream was met.
    pub(crate) partitioned_by: PartitionedBy,
    /// Whether the stream has an event time.
    pub(crate) has_event_time: bool,
}

impl<'a> Preparer<'a> {
    pub(crate) fn new(catalog: &'a Catalog, lines: &'a Lines<'a>) -> Self {
        Self {
            catalog,
            lines,
            problems: Vec::new(),
            ctes: Vec::new(),
            partitioned_by: PartitionedBy::Single,
            has_event_time: true,
        }
    }

    pub(crate) fn report(&mut self, problem: SqlProblem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(crate) fn span(&self, of: &impl Spanned) -> Option<Range<usize>> {
        self.lines.range(of.span())
    }

    /// The bytes of a keyword, for clauses that carry no span: the last one in the text.
    pub(crate) fn keyword(&self, word: &str) -> Option<Range<usize>> {
        let upper = self.lines.text().to_ascii_uppercase();
        let part = |c: char| c.is_alphanumeric() || c == '_';
        let whole = |&(i, _): &(usize, &str)| {
            !upper[..i].chars().next_back().is_some_and(part)
                && !upper[i + word.len()..].chars().next().is_some_and(part)
        };
        upper.rmatch_indices(word).find(whole).map(|(i, _)| i..i + word.len())
    }

    /// A clause from its keyword on, given the bytes of what follows it.
    fn clause(&self, word: &str, rest: Option<Range<usize>>) -> Option<Range<usize>> {
        match (self.keyword(word), rest) {
            (Some(keyword), Some(rest)) if keyword.end <= rest.start => Some(keyword.start..rest.end),
            (keyword, rest) => keyword.or(rest),
        }
    }

    /// A whole query: gives its output columns.
    pub(crate) fn query(&mut self, query: &mut Query, top: bool) -> Output {
        let ctes_before = self.ctes.len();
        if let Some(with) = &mut query.with {
            if with.recursive {
                self.report(
                    SqlProblem::new(codes::UNSUPPORTED, "a recursive query never ends on a stream")
                        .at(self.lines.range(with.with_token.0.span)),
                );
            }
            for cte in &mut with.cte_tables {
                let output = self.query(&mut cte.query, false);
                let output = self.renamed(output, &cte.alias.columns.iter().map(|c| &c.name).collect::<Vec<_>>());
                self.ctes.push((cte.alias.name.value.clone(), output));
            }
        }
        self.refuse_query_clauses(query);
        let output = match query.body.as_mut() {
            SetExpr::Select(select) => self.select(select, top),
            SetExpr::Query(inner) => self.query(inner, top),
            SetExpr::SetOperation { op, .. } => {
                let op = op.to_string();
                self.report(
                    SqlProblem::new(codes::SET_OPERATION, format!("{op} of streams is not there yet"))
                        .help("a step reads one stream; write several outputs, or several pipelines into one topic")
                        .at(self.keyword(&op)),
                );
                Output::default()
            }
            other => {
                let problem = SqlProblem::new(codes::NOT_A_SELECT, "the query is not a SELECT")
                    .help("write SELECT … FROM <stream>")
                    .at(self.lines.range(other.span()));
                self.report(problem);
                Output::default()
            }
        };
        self.ctes.truncate(ctes_before);
        output
    }

    /// Column names given next to an alias: `AS t (a, b)`.
    pub(crate) fn renamed(&mut self, mut output: Output, names: &[&Ident]) -> Output {
        if !names.is_empty() && output.known && names.len() != output.columns.len() {
            let (seen, given) = (output.columns.len(), names.len());
            self.report(
                SqlProblem::new(codes::UNSUPPORTED, format!("{given} names are given for {seen} columns"))
                    .at(names.first().and_then(|n| self.lines.range(n.span))),
            );
        }
        for (column, name) in output.columns.iter_mut().zip(names) {
            column.name.clone_from(&name.value);
        }
        output
    }

    fn refuse_query_clauses(&mut self, query: &Query) {
        if let Some(order_by) = &query.order_by {
            let problem = SqlProblem::new(codes::ORDER_BY, "a stream has no end, so its rows can't be sorted")
                .help(
                    "leave ORDER BY out: rows come in the order of the input; \
                     with `emit: on_watermark` a step with windows gives them in order of event time",
                )
                .at(self.clause("ORDER BY", self.lines.range(order_by.span())));
            self.report(problem);
        }
        let limit = match (&query.limit_clause, &query.fetch) {
            (Some(limit), _) => {
                let word = if self.keyword("LIMIT").is_some() { "LIMIT" } else { "OFFSET" };
                Some(self.clause(word, self.lines.range(limit.span())))
            }
            (None, Some(_)) => Some(self.keyword("FETCH")),
            (None, None) => None,
        };
        if let Some(span) = limit {
            self.report(
                SqlProblem::new(codes::LIMIT, "a stream can't be cut off after a number of rows")
                    .help("filter with WHERE; `QUALIFY ROW_NUMBER() OVER (PARTITION BY … ORDER BY …) <= n` keeps the first n of each key")
                    .at(span),
            );
        }
        let others: [(bool, &str); 5] = [
            (!query.locks.is_empty(), "FOR"),
            (query.for_clause.is_some(), "FOR"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
            (!query.pipe_operators.is_empty(), "|>"),
        ];
        for (present, word) in others {
            if present {
                self.unsupported(word);
            }
        }
    }

    fn unsupported(&mut self, word: &str) {
        let span = self.keyword(word);
        self.report(SqlProblem::new(codes::UNSUPPORTED, format!("`{word}` has no meaning here")).at(span));
    }

    fn refuse_select_clauses(&mut self, select: &Select) {
        if matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_))) {
            self.report(
                SqlProblem::new(codes::DISTINCT, "DISTINCT would have to remember every row for ever")
                    .help("`QUALIFY ROW_NUMBER() OVER (PARTITION BY … ORDER BY <event time>) = 1` keeps the first row of each key")
                    .at(self.keyword("DISTINCT")),
            );
        }
        if select.top.is_some() {
            let span = self.keyword("TOP");
            self.report(
                SqlProblem::new(codes::LIMIT, "a stream can't be cut off after a number of rows")
                    .help("filter with WHERE")
                    .at(span),
            );
        }
        let grouped = match &select.group_by {
            GroupByExpr::All(_) => true,
            GroupByExpr::Expressions(list, modifiers) => !list.is_empty() || !modifiers.is_empty(),
        };
        if grouped || select.having.is_some() {
            let word = if grouped { "GROUP BY" } else { "HAVING" };
            self.report(
                SqlProblem::new(codes::GROUP_BY, format!("{word} is not there yet on streams"))
                    .help(
                        "compute the aggregates per row with OVER: \
                         `SUM(x) OVER (PARTITION BY k ORDER BY <event time> RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)`",
                    )
                    .at(self.keyword(word)),
            );
        }
        let others: [(bool, &str); 10] = [
            (select.into.is_some(), "INTO"),
            (!select.lateral_views.is_empty(), "LATERAL"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT"),
            (!select.cluster_by.is_empty(), "CLUSTER"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE"),
            (!select.sort_by.is_empty(), "SORT"),
            (select.value_table_mode.is_some(), "AS"),
            (select.select_modifiers.is_some(), "SELECT"),
            (select.exclude.is_some(), "EXCLUDE"),
        ];
        for (present, word) in others {
            if present {
                self.unsupported(word);
            }
        }
    }

    fn select(&mut self, select: &mut Select, top: bool) -> Output {
        self.refuse_select_clauses(select);
        let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(list, _) if list.is_empty())
            || select.having.is_some();
        let mut scope = self.scope_of(select);
        scope.aliases = select
            .projection
            .iter()
            .filter_map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(Column::plain(alias.value.clone())),
                _ => None,
            })
            .collect();
        let windows = self.named_windows(select, &scope);
        let mut walk = Walk::new(self, &scope, &windows, Clause::Where);
        if let Some(selection) = &mut select.selection {
            let _ = selection.visit(&mut walk);
        }
        walk.clause = if grouped { Clause::Grouped } else { Clause::Select };
        for item in &mut select.projection {
            let _ = item.visit(&mut walk);
        }
        let clause = walk.clause;
        if let Some(qualify) = &mut select.qualify {
            let visible = Scope { aliases_visible: true, ..scope.clone() };
            let _ = qualify.visit(&mut Walk::new(self, &visible, &windows, clause));
        }
        let mut output = self.projection(select, &scope);
        output.stream = scope.rels.iter().any(|r| r.output.stream);
        output.known = scope.known();
        if top && output.known && self.problems.is_empty() {
            self.refuse_duplicates(select, &scope, &output);
        }
        output
    }

    /// The columns that the select list gives; names the nameless by their own text.
    pub(crate) fn projection(&mut self, select: &mut Select, scope: &Scope) -> Output {
        let mut columns = Vec::new();
        for item in &mut select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => match resolved(expr, scope) {
                    Some(column) => columns.push(column),
                    None => {
                        let name = match strip(expr) {
                            Expr::Identifier(ident) => ident.value.clone(),
                            Expr::CompoundIdentifier(parts) => {
                                parts.last().map(|p| p.value.clone()).unwrap_or_default()
                            }
                            other => other.to_string(),
                        };
                        columns.push(Column::plain(name.clone()));
                        let alias = Ident::with_quote('"', name);
                        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
                    }
                },
                SelectItem::ExprWithAlias { expr, alias } => {
                    let mut column = resolved(expr, scope).unwrap_or_else(|| Column::plain(""));
                    column.name.clone_from(&alias.value);
                    columns.push(column);
                }
                SelectItem::ExprWithAliases { .. } => {
                    self.report(SqlProblem::new(codes::UNSUPPORTED, "an expression can have one name only"));
                }
                SelectItem::QualifiedWildcard(kind, options) => {
                    let rel = self.wildcard_rel(kind, scope);
                    columns.extend(self.wildcard(options, scope, rel));
                }
                SelectItem::Wildcard(options) => columns.extend(self.wildcard(options, scope, None)),
            }
        }
        Output { columns, stream: true, known: true }
    }

    fn wildcard_rel(&mut self, kind: &mut SelectItemQualifiedWildcardKind, scope: &Scope) -> Option<usize> {
        let SelectItemQualifiedWildcardKind::ObjectName(name) = kind else { return None };
        let span = self.lines.range(name.span());
        let Some(datafusion_sql::sqlparser::ast::ObjectNamePart::Identifier(ident)) = name.0.first_mut() else {
            return None;
        };
        let found = scope.qualifier(ident);
        match found.and_then(|i| scope.rels.get(i)) {
            Some(rel) => ident.value.clone_from(&rel.qualifier),
            None => {
                let known: Vec<&str> = scope.rels.iter().map(|r| r.qualifier.as_str()).collect();
                let problem = SqlProblem::new(
                    codes::UNKNOWN_RELATION,
                    format!("there is no relation `{}` in this FROM", ident.value),
                )
                .help_opt(crate::names::did_you_mean(&ident.value, &known, "relations"))
                .at(span);
                self.report(problem);
            }
        }
        found
    }

    fn wildcard(&mut self, options: &mut WildcardAdditionalOptions, scope: &Scope, rel: Option<usize>) -> Vec<Column> {
        let mut columns: Vec<Column> = Vec::new();
        for (i, r) in scope.rels.iter().enumerate() {
            if rel.is_some_and(|only| only != i) {
                continue;
            }
            let hidden = |c: &usize| rel.is_none() && r.merged.contains(c);
            columns.extend(r.output.columns.iter().enumerate().filter(|(c, _)| !hidden(c)).map(|(_, c)| c.clone()));
        }
        for (present, word) in [
            (options.opt_ilike.is_some(), "ILIKE"),
            (options.opt_rename.is_some(), "RENAME"),
            (options.opt_alias.is_some(), "AS"),
        ] {
            if present {
                self.unsupported(word);
            }
        }
        let mut left_out: Vec<String> = Vec::new();
        for ident in excluded(options) {
            let span = self.lines.range(ident.span);
            match scope.bare(ident, span) {
                Ok(_) => left_out.push(ident.value.clone()),
                Err(problem) => self.report(problem),
            }
        }
        columns.retain(|c| !left_out.contains(&c.name));
        if let Some(replace) = &options.opt_replace {
            for element in &replace.items {
                for column in columns.iter_mut().filter(|c| c.name == element.column_name.value) {
                    *column = Column::plain(column.name.clone());
                }
            }
        }
        columns
    }

    fn refuse_duplicates(&mut self, select: &Select, scope: &Scope, output: &Output) {
        for (i, column) in output.columns.iter().enumerate() {
            if output.columns.iter().take(i).any(|c| c.name == column.name) {
                let name = &column.name;
                let span = select
                    .projection
                    .iter()
                    .rev()
                    .find(|item| match item {
                        SelectItem::UnnamedExpr(expr) => resolved(expr, scope).is_some_and(|c| &c.name == name),
                        SelectItem::ExprWithAlias { alias, .. } => &alias.value == name,
                        _ => false,
                    })
                    .or_else(|| select.projection.last())
                    .and_then(|item| self.lines.range(item.span()));
                self.report(
                    SqlProblem::new(codes::DUPLICATE_COLUMN, format!("two columns of the result are called `{name}`"))
                        .help(
                            "give one of them another name with AS; \
                             after `SELECT *` over a join, join with USING or leave columns out with `* EXCLUDE (…)`",
                        )
                        .at(span),
                );
            }
        }
    }
}

fn excluded(options: &mut WildcardAdditionalOptions) -> Vec<&mut Ident> {
    use datafusion_sql::sqlparser::ast::{ExcludeSelectItem, ObjectNamePart};
    let mut idents: Vec<&mut Ident> = Vec::new();
    let names = match &mut options.opt_exclude {
        Some(ExcludeSelectItem::Single(name)) => std::slice::from_mut(name),
        Some(ExcludeSelectItem::Multiple(names)) => names.as_mut_slice(),
        None => &mut [],
    };
    for name in names {
        if let Some(ObjectNamePart::Identifier(ident)) = name.0.last_mut() {
            idents.push(ident);
        }
    }
    if let Some(except) = &mut options.opt_except {
        idents.push(&mut except.first_element);
        idents.extend(except.additional_elements.iter_mut());
    }
    idents
}

pub(crate) fn strip(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => strip(inner),
        other => other,
    }
}

/// The column that an expression is, if it is nothing but a column.
pub(crate) fn resolved(expr: &Expr, scope: &Scope) -> Option<Column> {
    let found = match strip(expr) {
        Expr::Identifier(ident) => scope.bare(&mut ident.clone(), None).ok()?,
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [qualifier, name] => {
                let rel = scope.qualifier(qualifier)?;
                scope.qualified(rel, &mut name.clone(), None).ok()?
            }
            _ => return None,
        },
        _ => return None,
    };
    match found {
        Found::Column(column) => Some(column.clone()),
        Found::Unknown => None,
    }
}
