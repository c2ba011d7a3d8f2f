//! Which names mean what inside one SELECT.

use std::ops::Range;

use datafusion_sql::sqlparser::ast::Ident;

use crate::codes::{AMBIGUOUS_COLUMN, UNKNOWN_COLUMN};
use crate::names::{closest, did_you_mean};
use crate::problem::SqlProblem;

/// What the row is called where SQL stands outside of queries; it may be used as a qualifier.
pub(crate) const ROW: &str = "row";

/// What is known of a column: its name, and whether it still is what the stream's order and place hang on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) event_time: bool,
    pub(crate) key: bool,
}

impl Column {
    pub(crate) fn plain(name: impl Into<String>) -> Self {
        Self { name: name.into(), event_time: false, key: false }
    }
}

/// What a query or relation gives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    pub(crate) columns: Vec<Column>,
    /// Whether it is a stream (as against a table).
    pub(crate) stream: bool,
    /// False after a problem that leaves the columns unknown: then no column is reported missing.
    pub(crate) known: bool,
}

/// One relation in FROM.
#[derive(Clone, Debug)]
pub(crate) struct Rel {
    pub(crate) qualifier: String,
    pub(crate) output: Output,
    /// Columns merged by USING into an earlier relation's: not visible without a qualifier.
    pub(crate) merged: Vec<usize>,
}

/// The relations of one FROM, and the aliases of its SELECT.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) rels: Vec<Rel>,
    pub(crate) aliases: Vec<Column>,
    /// Whether aliases may be used (QUALIFY) or only explain an unknown column.
    pub(crate) aliases_visible: bool,
}

/// What an identifier was found to be.
pub(crate) enum Found<'a> {
    Column(&'a Column),
    /// Nothing can be said, and nothing need be.
    Unknown,
}

fn same(ident: &Ident, name: &str, exact: bool) -> bool {
    if exact { ident.value == name } else { ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case(name) }
}

impl Scope {
    pub(crate) fn known(&self) -> bool {
        self.rels.iter().all(|r| r.output.known)
    }

    pub(crate) fn qualifier(&self, ident: &Ident) -> Option<usize> {
        [true, false].into_iter().find_map(|exact| self.rels.iter().position(|r| same(ident, &r.qualifier, exact)))
    }

    /// Resolves a bare name, and writes it as it is declared.
    pub(crate) fn bare(&self, ident: &mut Ident, span: Option<Range<usize>>) -> Result<Found<'_>, SqlProblem> {
        for exact in [true, false] {
            let mut hits: Vec<(&Rel, &Column)> = Vec::new();
            for rel in &self.rels {
                for (i, column) in rel.output.columns.iter().enumerate() {
                    if !rel.merged.contains(&i) && same(ident, &column.name, exact) {
                        hits.push((rel, column));
                    }
                }
            }
            match hits.as_slice() {
                [] => {}
                [(_, column)] => {
                    ident.value.clone_from(&column.name);
                    return Ok(Found::Column(column));
                }
                several => return Err(ambiguous(ident, several).at(span)),
            }
            if self.aliases_visible
                && let Some(alias) = self.aliases.iter().find(|a| same(ident, &a.name, exact))
            {
                ident.value.clone_from(&alias.name);
                return Ok(Found::Column(alias));
            }
        }
        if !self.known() {
            return Ok(Found::Unknown);
        }
        Err(self.unknown(ident).at(span))
    }

    fn unknown(&self, ident: &Ident) -> SqlProblem {
        let names: Vec<&str> =
            self.rels.iter().flat_map(|r| r.output.columns.iter().map(|c| c.name.as_str())).collect();
        let name = &ident.value;
        let case = names.iter().find(|n| n.eq_ignore_ascii_case(name));
        let help = if self.aliases.iter().any(|a| &a.name == name) {
            Some(format!(
                "`{name}` is named by this same SELECT; repeat the expression, or compute it in a subquery or an earlier step"
            ))
        } else if let Some(case) = case {
            Some(format!("a quoted name is matched exactly; did you mean \"{case}\"?"))
        } else if ident.quote_style == Some('"') && closest(name, names.iter().copied()).is_none() {
            Some(format!("double quotes are for names; a string is written '{name}'"))
        } else {
            did_you_mean(name, &names, "columns")
        };
        let whose = match self.rels.as_slice() {
            [only] if only.qualifier == ROW => String::new(),
            _ => format!(" in {}", self.described()),
        };
        SqlProblem::new(UNKNOWN_COLUMN, format!("there is no column `{name}`{whose}")).help_opt(help)
    }

    fn described(&self) -> String {
        let names: Vec<String> = self.rels.iter().map(|r| format!("`{}`", r.qualifier)).collect();
        names.join(" or ")
    }

    /// Resolves `qualifier.name`.
    pub(crate) fn qualified(
        &self,
        rel: usize,
        ident: &mut Ident,
        span: Option<Range<usize>>,
    ) -> Result<Found<'_>, SqlProblem> {
        let Some(rel) = self.rels.get(rel) else { return Ok(Found::Unknown) };
        for exact in [true, false] {
            if let Some(column) = rel.output.columns.iter().find(|c| same(ident, &c.name, exact)) {
                ident.value.clone_from(&column.name);
                return Ok(Found::Column(column));
            }
        }
        if !rel.output.known {
            return Ok(Found::Unknown);
        }
        let names: Vec<&str> = rel.output.columns.iter().map(|c| c.name.as_str()).collect();
        Err(SqlProblem::new(UNKNOWN_COLUMN, format!("`{}` has no column `{}`", rel.qualifier, ident.value))
            .help_opt(did_you_mean(&ident.value, &names, "columns"))
            .at(span))
    }
}

fn ambiguous(ident: &Ident, hits: &[(&Rel, &Column)]) -> SqlProblem {
    let ways: Vec<String> = hits.iter().map(|(rel, column)| format!("`{}.{}`", rel.qualifier, column.name)).collect();
    SqlProblem::new(AMBIGUOUS_COLUMN, format!("`{}` could be {}", ident.value, ways.join(" or ")))
        .help("write it with the name of its relation")
}
