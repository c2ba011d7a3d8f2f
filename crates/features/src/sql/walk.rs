//! Walks the expressions of one SELECT: resolves identifiers, checks functions, settles OVER clauses.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident,
    ObjectNamePart, Query, Spanned, Value, ValueWithSpan, VisitorMut, WindowSpec,
};

use super::functions::{Functions, Kind};
use super::prepare::Preparer;
use super::scope::{Found, Scope};
use crate::codes;
use crate::names::closest;
use crate::problem::SqlProblem;

/// Where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clause {
    /// The select list, or QUALIFY.
    Select,
    /// The select list of a query with GROUP BY, which is refused as a whole.
    Grouped,
    /// WHERE.
    Where,
    /// ON of a join.
    On,
    /// Outside of a query: a condition or a select item of an output.
    Row,
}

/// Named windows of a SELECT, settled.
pub(crate) type Windows = Vec<(String, WindowSpec)>;

pub(crate) struct Walk<'p, 'a> {
    pub(crate) preparer: &'p mut Preparer<'a>,
    pub(crate) scope: &'p Scope,
    pub(crate) windows: &'p Windows,
    pub(crate) clause: Clause,
    /// How many nested queries we are inside of; their names are not ours.
    queries: usize,
    /// How many window functions we are inside of.
    over: usize,
}

impl<'p, 'a> Walk<'p, 'a> {
    pub(crate) fn new(preparer: &'p mut Preparer<'a>, scope: &'p Scope, windows: &'p Windows, clause: Clause) -> Self {
        Self { preparer, scope, windows, clause, queries: 0, over: 0 }
    }

    fn subquery(&mut self, expr: &Expr, what: &str) {
        let span = self.preparer.span(expr).or_else(|| self.preparer.keyword(what));
        self.preparer.report(
            SqlProblem::new(codes::SUBQUERY, format!("{what} can't be answered while a stream goes on"))
                .help("JOIN a table on its key instead; the table may be a subquery over it")
                .at(span),
        );
    }

    fn identifier(&mut self, ident: &mut Ident) {
        let span = self.preparer.lines.range(ident.span);
        if let Err(problem) = self.scope.bare(ident, span) {
            self.preparer.report(problem);
        }
    }

    fn compound(&mut self, parts: &mut [Ident]) {
        let [first, second, ..] = parts else { return };
        let span = self.preparer.lines.range(first.span.union(&second.span));
        if let Some(rel) = self.scope.qualifier(first) {
            match self.scope.qualified(rel, second, span) {
                Ok(_) => {
                    if let Some(rel) = self.scope.rels.get(rel) {
                        first.value.clone_from(&rel.qualifier);
                    }
                }
                Err(problem) => self.preparer.report(problem),
            }
            return;
        }
        match self.scope.bare(&mut first.clone(), span) {
            Ok(Found::Column(column)) => first.value.clone_from(&column.name),
            Ok(Found::Unknown) => {}
            Err(problem) if problem.code == codes::UNKNOWN_COLUMN => {
                let qualifiers: Vec<&str> = self.scope.rels.iter().map(|r| r.qualifier.as_str()).collect();
                let help = crate::names::did_you_mean(&first.value, &qualifiers, "relations");
                let span = self.preparer.lines.range(first.span);
                let message = format!("`{}` is neither a relation of this FROM nor a column", first.value);
                self.preparer.report(SqlProblem::new(codes::UNKNOWN_COLUMN, message).help_opt(help).at(span));
            }
            Err(problem) => self.preparer.report(problem),
        }
    }

    fn function(&mut self, function: &mut Function) {
        let name = match function.name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] => ident.value.to_ascii_lowercase(),
            _ => function.name.to_string(),
        };
        let span = self.preparer.lines.range(function.name.span());
        let functions = Functions::get();
        let Some(kind) = functions.kind(&name) else {
            let help = closest(&name, functions.usable_names()).map(|f| format!("did you mean `{f}`?"));
            let message = format!("there is no function `{name}`");
            self.preparer.report(SqlProblem::new(codes::UNKNOWN_FUNCTION, message).help_opt(help).at(span));
            return;
        };
        let shown = name.to_uppercase();
        match kind {
            Kind::Scalar => {
                if function.over.is_some() {
                    let message = format!("`{shown}` is not a window function, so it can't have OVER");
                    self.preparer.report(SqlProblem::new(codes::WINDOW_FUNCTION, message).at(span));
                }
            }
            Kind::Clock => self.preparer.report(
                SqlProblem::new(
                    codes::NOT_DETERMINISTIC,
                    format!("`{shown}` reads the clock, so a replay would give another result"),
                )
                .help("use the event time column instead")
                .at(span),
            ),
            Kind::Random => self.preparer.report(
                SqlProblem::new(
                    codes::NOT_DETERMINISTIC,
                    format!("`{shown}` is random, so a replay would give another result"),
                )
                .help("derive the value from columns of the row, for instance its id")
                .at(span),
            ),
            Kind::Refused { reason, instead } => self.preparer.report(
                SqlProblem::new(codes::WINDOW_FUNCTION, format!("`{shown}` can't be used on a stream: {reason}"))
                    .help_opt(instead.map(str::to_owned))
                    .at(span),
            ),
            Kind::Windowed => self.windowed(function, &shown, span),
        }
    }

    fn windowed(&mut self, function: &mut Function, shown: &str, span: Option<std::ops::Range<usize>>) {
        if function.over.is_none() {
            if self.clause == Clause::Grouped {
                return;
            }
            let what = format!("`{shown}` needs to know over which rows");
            let help = match self.clause {
                Clause::Select => format!(
                    "write {shown}(…) OVER (PARTITION BY … ORDER BY <event time> RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW); \
                     GROUP BY windows are not there yet"
                ),
                _ => "compute it with OVER in the SELECT of a step before this one".to_owned(),
            };
            self.preparer.report(SqlProblem::new(codes::AGGREGATE_WITHOUT_OVER, what).help(help).at(span));
            return;
        }
        let misplaced = match self.clause {
            Clause::Where => Some((
                "WHERE chooses rows before windows are computed".to_owned(),
                "use QUALIFY, or filter in a query around this one",
            )),
            Clause::On => {
                Some(("a join condition can't hold a window function".to_owned(), "compute it in a subquery"))
            }
            Clause::Row => Some((
                "a window function can't stand here, where each row is looked at alone".to_owned(),
                "compute it in a `sql` step",
            )),
            Clause::Select | Clause::Grouped if self.over > 0 => {
                Some(("a window function can't stand inside another".to_owned(), "compute the inner one in a subquery"))
            }
            Clause::Select | Clause::Grouped => None,
        };
        if let Some((message, help)) = misplaced {
            self.preparer.report(SqlProblem::new(codes::WINDOW_PLACE, message).help(help).at(span));
            return;
        }
        self.within_group(function);
        self.argument_clauses(function, shown, span.clone());
        self.settle_window(function, shown, span);
    }

    /// `f(p) WITHIN GROUP (ORDER BY x) OVER w` is `f(x, p) OVER w`; the planner knows only the latter.
    fn within_group(&mut self, function: &mut Function) {
        if let [order] = function.within_group.as_slice() {
            if order.options.asc == Some(false) {
                let span = self.preparer.span(order);
                let problem = SqlProblem::new(codes::WINDOW_ARGUMENT, "WITHIN GROUP can only be ordered ascending")
                    .help("turn the percentile around: 1 - p")
                    .at(span);
                self.preparer.report(problem);
            }
            let value = FunctionArg::Unnamed(FunctionArgExpr::Expr(order.expr.clone()));
            if let FunctionArguments::List(list) = &mut function.args {
                list.args.insert(0, value);
            }
            function.within_group.clear();
        }
    }

    fn argument_clauses(&mut self, function: &mut Function, shown: &str, span: Option<std::ops::Range<usize>>) {
        let FunctionArguments::List(list) = &mut function.args else { return };
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) && shown != "COUNT" {
            if matches!(shown, "MIN" | "MAX") {
                list.duplicate_treatment = None;
            } else {
                let problem =
                    SqlProblem::new(codes::WINDOW_FUNCTION, format!("`{shown}(DISTINCT …) OVER` is not there"))
                        .help("COUNT(DISTINCT x) is; MIN and MAX need no DISTINCT")
                        .at(span.clone());
                self.preparer.report(problem);
            }
        }
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::IgnoreOrRespectNulls(nulls) => function.null_treatment = Some(*nulls),
                FunctionArgumentClause::OrderBy(order) => {
                    let at = order.first().and_then(|o| self.preparer.span(o)).or_else(|| span.clone());
                    let problem = SqlProblem::new(
                        codes::WINDOW_FUNCTION,
                        format!("`{shown}` with OVER takes its order from the window, not from an ORDER BY of its own"),
                    )
                    .help("put the ORDER BY inside OVER (…)")
                    .at(at);
                    self.preparer.report(problem);
                }
                _ => self.preparer.report(
                    SqlProblem::new(codes::WINDOW_FUNCTION, format!("`{shown}` with OVER can't have this clause"))
                        .at(span.clone()),
                ),
            }
        }
        list.clauses.retain(|c| !matches!(c, FunctionArgumentClause::IgnoreOrRespectNulls(_)));
    }
}

/// Whether a function name is one of ours that has OVER, for the balance of the walk.
fn has_over(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(f) if f.over.is_some())
}

impl VisitorMut for Walk<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.queries > 0 {
            return ControlFlow::Continue(());
        }
        match expr {
            Expr::Identifier(ident) => self.identifier(ident),
            Expr::CompoundIdentifier(parts) => self.compound(parts),
            Expr::Exists { .. } => self.subquery(&expr.clone(), "EXISTS"),
            Expr::InSubquery { .. } => self.subquery(&expr.clone(), "IN (SELECT …)"),
            Expr::Subquery(_) => self.subquery(&expr.clone(), "a subquery as a value"),
            Expr::Function(function) => self.function(function),
            Expr::Interval(interval) if interval.leading_field.is_some() => {
                // The planner takes numbers only inside quotes.
                if let Expr::Value(ValueWithSpan { value: Value::Number(number, _), span }) = interval.value.as_ref() {
                    let quoted = Value::SingleQuotedString(number.clone());
                    *interval.value = Expr::Value(ValueWithSpan { value: quoted, span: *span });
                }
            }
            _ => {}
        }
        if has_over(expr) {
            self.over += 1;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.queries == 0 && has_over(expr) {
            self.over -= 1;
        }
        ControlFlow::Continue(())
    }
}
