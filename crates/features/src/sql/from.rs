//! FROM: which relations a SELECT reads, and how they may be joined.

use datafusion_sql::sqlparser::ast::{
    Ident, Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Select, Spanned, TableAlias, TableFactor,
    VisitMut,
};

use super::prepare::Preparer;
use super::scope::{Column, Output, Rel, Scope};
use super::walk::{Clause, Walk, Windows};
use crate::catalog::{PartitionedBy, Relation};
use crate::codes;
use crate::names::did_you_mean;
use crate::problem::SqlProblem;

impl Preparer<'_> {
    /// Walks FROM and gives the names it brings into scope.
    pub(crate) fn scope_of(&mut self, select: &mut Select) -> Scope {
        let mut scope = Scope::default();
        if select.from.is_empty() {
            let names: Vec<&str> = self.catalog.relations.iter().map(|r| r.name.as_str()).collect();
            let help = names.first().map(|n| format!("write FROM {n}"));
            self.report(SqlProblem::new(codes::NO_STREAM, "the query reads nothing").help_opt(help));
            scope.rels.push(Rel { qualifier: String::new(), output: Output::default(), merged: Vec::new() });
            return scope;
        }
        for (i, from) in select.from.iter_mut().enumerate() {
            if i > 0 {
                let span = self.span(&from.relation);
                self.report(
                    SqlProblem::new(codes::JOIN_KIND, "a comma in FROM pairs every row with every row")
                        .help("write JOIN <table> ON <stream>.<column> = <table>.<key>")
                        .at(span),
                );
            }
            let rel = self.factor(&mut from.relation);
            scope.rels.push(rel);
            for join in &mut from.joins {
                self.join(join, &mut scope);
            }
        }
        scope
    }

    fn join(&mut self, join: &mut Join, scope: &mut Scope) {
        let span = self.span(&join.relation);
        let rel = self.factor(&mut join.relation);
        let left_stream = scope.rels.iter().any(|r| r.output.stream);
        if left_stream && rel.output.stream {
            let message = format!("`{}` is a stream, and a stream can be joined with tables only", rel.qualifier);
            self.report(
                SqlProblem::new(codes::STREAM_JOIN, message)
                    .help(
                        "use OVER windows to look at other rows of the stream; declare reference data under `tables:`",
                    )
                    .at(span.clone()),
            );
        }
        let outer_table = !left_stream && rel.output.stream && scope.known();
        scope.rels.push(rel);
        let (kind, help) = match &join.join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) => (None, ""),
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) if outer_table => {
                (Some("LEFT JOIN from a table to a stream"), "put the stream first: FROM <stream> LEFT JOIN <table>")
            }
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (None, ""),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => {
                (Some("RIGHT JOIN"), "put the stream first: FROM <stream> LEFT JOIN <table>")
            }
            JoinOperator::FullOuter(_) => (Some("FULL JOIN"), "use LEFT JOIN: it keeps every row of the stream"),
            JoinOperator::CrossJoin(_) => (Some("CROSS JOIN"), "join on the table's key: JOIN <table> ON …"),
            JoinOperator::Semi(_) | JoinOperator::LeftSemi(_) => (Some("SEMI JOIN"), "use JOIN on the table's key"),
            JoinOperator::Anti(_) | JoinOperator::LeftAnti(_) => {
                (Some("ANTI JOIN"), "use LEFT JOIN and `WHERE <table>.<key> IS NULL`")
            }
            _ => (Some("this kind of join"), "use LEFT JOIN or JOIN on the table's key"),
        };
        if let Some(kind) = kind {
            let message = format!("{kind} is not possible here");
            self.report(SqlProblem::new(codes::JOIN_KIND, message).help(help).at(span.clone()));
        }
        let constraint = match &mut join.join_operator {
            JoinOperator::Join(c)
            | JoinOperator::Inner(c)
            | JoinOperator::Left(c)
            | JoinOperator::LeftOuter(c)
            | JoinOperator::Right(c)
            | JoinOperator::RightOuter(c)
            | JoinOperator::FullOuter(c) => c,
            _ => return,
        };
        self.constraint(constraint, scope, span);
    }

    fn constraint(&mut self, constraint: &mut JoinConstraint, scope: &mut Scope, span: Option<std::ops::Range<usize>>) {
        match constraint {
            JoinConstraint::On(expr) => {
                let _ = expr.visit(&mut Walk::new(self, scope, &Windows::new(), Clause::On));
            }
            JoinConstraint::Using(names) => {
                for name in names {
                    self.using(name, scope);
                }
            }
            JoinConstraint::Natural => self.report(
                SqlProblem::new(codes::JOIN_KIND, "NATURAL JOIN changes its meaning when a column is added")
                    .help("write ON or USING")
                    .at(span),
            ),
            JoinConstraint::None => self.report(
                SqlProblem::new(codes::JOIN_KIND, "the join has no condition, so it pairs every row with every row")
                    .help("write ON <stream>.<column> = <table>.<key>, or USING (<column>)")
                    .at(span),
            ),
        }
    }

    fn using(&mut self, name: &mut ObjectName, scope: &mut Scope) {
        let [ObjectNamePart::Identifier(ident)] = name.0.as_mut_slice() else { return };
        let span = self.lines.range(ident.span);
        let Some(last) = scope.rels.len().checked_sub(1) else { return };
        let left = Scope { rels: scope.rels[..last].to_vec(), ..Scope::default() };
        let mut right_ident = ident.clone();
        let mut failed = false;
        for result in [left.bare(ident, span.clone()), scope.qualified(last, &mut right_ident, span.clone())] {
            if let Err(problem) = result {
                failed = true;
                self.report(problem);
            }
        }
        if failed {
            return;
        }
        if ident.value != right_ident.value {
            let message = format!(
                "USING needs one name for both sides; here it is `{}` and `{}`",
                ident.value, right_ident.value
            );
            self.report(SqlProblem::new(codes::UNKNOWN_COLUMN, message).help("use ON").at(span));
            return;
        }
        if let Some(rel) = scope.rels.last_mut()
            && let Some(index) = rel.output.columns.iter().position(|c| c.name == right_ident.value)
        {
            rel.merged.push(index);
        }
    }

    fn factor(&mut self, factor: &mut TableFactor) -> Rel {
        let span = self.span(factor);
        let unknown = |qualifier: String| Rel { qualifier, output: Output::default(), merged: Vec::new() };
        match factor {
            TableFactor::Table { name, alias, args, version, sample, with_hints, partitions, json_path, .. } => {
                let plain = args.is_none()
                    && version.is_none()
                    && sample.is_none()
                    && with_hints.is_empty()
                    && partitions.is_empty()
                    && json_path.is_none();
                if !plain {
                    self.report(
                        SqlProblem::new(
                            codes::UNSUPPORTED,
                            format!("`{name}` can only be read as it is: without arguments, version or sample"),
                        )
                        .help("name a stream or a table")
                        .at(span),
                    );
                    return unknown(alias.as_ref().map_or_else(String::new, |a| a.name.value.clone()));
                }
                let (qualifier, output) = self.relation(name);
                self.aliased(qualifier, output, alias.as_ref())
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                if *lateral || sample.is_some() {
                    self.report(
                        SqlProblem::new(codes::UNSUPPORTED, "LATERAL and sampling are not possible here").at(span),
                    );
                }
                let output = self.query(subquery, false);
                if alias.is_none() {
                    // Standard SQL wants a name here, people leave it out.
                    let name = Ident::new("subquery");
                    *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
                }
                self.aliased(String::new(), output, alias.as_ref())
            }
            TableFactor::NestedJoin { .. } => {
                self.report(
                    SqlProblem::new(codes::UNSUPPORTED, "joins in parentheses are not supported")
                        .help("write the joins one after the other, the stream first")
                        .at(span),
                );
                unknown(String::new())
            }
            other => {
                let text = other.to_string();
                let word = text.split('(').next().unwrap_or_default().trim().to_owned();
                self.report(
                    SqlProblem::new(codes::UNSUPPORTED, format!("`{word}` can't stand in FROM"))
                        .help("name a stream, a table, or a subquery")
                        .at(span),
                );
                unknown(String::new())
            }
        }
    }

    fn aliased(&mut self, qualifier: String, output: Output, alias: Option<&TableAlias>) -> Rel {
        let (qualifier, output) = match alias {
            Some(alias) => {
                let names: Vec<&Ident> = alias.columns.iter().map(|c| &c.name).collect();
                (alias.name.value.clone(), self.renamed(output, &names))
            }
            None => (qualifier, output),
        };
        Rel { qualifier, output, merged: Vec::new() }
    }

    fn relation(&mut self, name: &mut ObjectName) -> (String, Output) {
        let span = self.lines.range(name.span());
        let [ObjectNamePart::Identifier(ident)] = name.0.as_mut_slice() else {
            let message = format!("`{name}` has a dot; sources, steps and tables have plain names");
            self.report(SqlProblem::new(codes::UNKNOWN_RELATION, message).at(span));
            return (String::new(), Output::default());
        };
        let known: Vec<String> =
            self.ctes.iter().rev().map(|(n, _)| n.clone()).chain(self.catalog.names().map(str::to_owned)).collect();
        let exact = known.iter().find(|n| **n == ident.value);
        let near = || known.iter().find(|n| ident.quote_style.is_none() && n.eq_ignore_ascii_case(&ident.value));
        let Some(found) = exact.or_else(near).cloned() else {
            let listed: Vec<&str> = known.iter().map(String::as_str).collect();
            let message = format!("there is no source, step or table `{}`", ident.value);
            let help = did_you_mean(&ident.value, &listed, "relations");
            self.report(SqlProblem::new(codes::UNKNOWN_RELATION, message).help_opt(help).at(span));
            return (ident.value.clone(), Output::default());
        };
        ident.value.clone_from(&found);
        if let Some((_, output)) = self.ctes.iter().rev().find(|(n, _)| *n == found) {
            return (found, output.clone());
        }
        if let Some(relation) = self.catalog.relation(&found) {
            self.partitioned_by = relation.partitioned_by;
            self.has_event_time = relation.event_time.is_some();
            return (found, stream_output(relation));
        }
        let columns =
            self.catalog.table(&found).map(|t| t.schema.fields().iter().map(|f| Column::plain(f.name())).collect());
        (found, Output { columns: columns.unwrap_or_default(), stream: false, known: true })
    }
}

fn stream_output(relation: &Relation) -> Output {
    let columns = relation
        .schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| Column {
            name: field.name().clone(),
            event_time: relation.event_time == Some(i),
            key: relation.partitioned_by == PartitionedBy::Key(i),
        })
        .collect();
    Output { columns, stream: true, known: true }
}
