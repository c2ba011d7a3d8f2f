//! Finds out which expression a planner's error is about, by planning expressions one by one.

use std::ops::{ControlFlow, Range};

use arrow::datatypes::DataType;
use datafusion_common::DataFusionError;
use datafusion_expr::LogicalPlan;
use datafusion_sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion_sql::sqlparser::ast::{
    Cte, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Join, JoinConstraint, JoinOperator, Query,
    Select, SelectItem, SetExpr, Spanned, TableFactor, Value, ValueWithSpan, Visit, Visitor, With, visit_expressions,
};

use super::functions::takes_numbers;
use super::provider::Planner;
use crate::codes;
use crate::names::type_name;
use crate::plan::compile::{compile, unalias};
use crate::problem::{Lines, SqlProblem};

/// A planner's or kernel's message without the words that only its authors need.
pub(crate) fn clean(error: &DataFusionError) -> String {
    let root = error.find_root();
    let mut text = match root {
        DataFusionError::ArrowError(inner, _) => inner.to_string(),
        other => other.strip_backtrace(),
    };
    if let Some((first, _)) = text.split_once("\n\nbacktrace:") {
        text = first.to_owned();
    }
    for prefix in [
        "Error during planning: ",
        "Execution error: ",
        "Schema error: ",
        "This feature is not implemented: ",
        "Arrow error: ",
        "Cast error: ",
        "Compute error: ",
        "Invalid argument error: ",
        "Arithmetic overflow: ",
        "Parser error: ",
        "Optimizer rule 'simplify_expressions' failed",
    ] {
        if let Some(rest) = text.strip_prefix(prefix) {
            text = if prefix.starts_with("Arithmetic") { format!("overflow: {rest}") } else { rest.to_owned() };
        }
    }
    if text.starts_with("Divide by zero") {
        return "division by zero".to_owned();
    }
    // The regex crate's message draws the expression over several lines and says what is wrong in the last.
    if text.contains("regex parse error:") {
        let last = text.lines().last().unwrap_or_default().trim();
        return format!("not a regular expression: {}", last.strip_prefix("error: ").unwrap_or(last));
    }
    let text = text.lines().next().unwrap_or_default().trim().trim_end_matches(['.', '!']).to_owned();
    let mut chars = text.chars();
    let second_is_upper = text.chars().nth(1).is_some_and(char::is_uppercase);
    match chars.next() {
        Some(first) if !second_is_upper => first.to_lowercase().chain(chars).collect(),
        _ => text,
    }
}

/// Problems of two passes in order of place; of those about overlapping text, the first pass's.
pub(crate) fn merged(mut first: Vec<SqlProblem>, second: Vec<SqlProblem>) -> Vec<SqlProblem> {
    let overlap = |a: &Option<Range<usize>>, b: &Option<Range<usize>>| match (a, b) {
        (Some(a), Some(b)) => a.start < b.end && b.start < a.end,
        _ => true,
    };
    for problem in second {
        if !first.iter().any(|p| *p == problem || overlap(&p.span, &problem.span)) {
            first.push(problem);
        }
    }
    first.sort_by_key(|p| (p.item, p.span.as_ref().map_or(usize::MAX, |s| s.start)));
    first
}

pub(crate) struct Blame<'a> {
    planner: &'a Planner,
    lines: &'a Lines<'a>,
    /// Where problems are known already: expressions around them fail for that reason.
    known: Vec<Range<usize>>,
}

fn literal_true() -> Expr {
    Expr::Value(ValueWithSpan {
        value: Value::Boolean(true),
        span: datafusion_sql::sqlparser::tokenizer::Span::empty(),
    })
}

impl<'a> Blame<'a> {
    pub(crate) fn new(planner: &'a Planner, lines: &'a Lines<'a>) -> Self {
        Self { planner, lines, known: Vec::new() }
    }

    pub(crate) fn knowing(mut self, problems: &[SqlProblem]) -> Self {
        self.known = problems.iter().filter_map(|p| p.span.clone()).collect();
        self
    }

    fn is_known(&self, expr: &Expr) -> bool {
        let mut spans = Vec::new();
        let _ = visit_expressions(expr, |e: &Expr| {
            spans.extend(self.lines.range(e.span()));
            ControlFlow::<()>::Continue(())
        });
        self.known.iter().any(|k| spans.iter().any(|s| s.start < k.end && k.start < s.end))
    }

    /// The problems behind an error: those of its expressions, or the error itself.
    pub(crate) fn all(&self, query: &Query, error: &DataFusionError) -> Vec<SqlProblem> {
        let found = self.types(query);
        if !found.is_empty() {
            return merged(Vec::new(), found);
        }
        let span = diagnostic_span(error).and_then(|s| self.lines.planner_range(s));
        vec![SqlProblem::new(codes::PLANNER, clean(error)).at(span)]
    }

    /// The smallest expressions that can't be planned.
    pub(crate) fn types(&self, query: &Query) -> Vec<SqlProblem> {
        self.query(query, &[])
    }

    fn query(&self, query: &Query, outer: &[Cte]) -> Vec<SqlProblem> {
        let mut ctes = outer.to_vec();
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                let found = self.query(&cte.query, &ctes);
                if !found.is_empty() {
                    return found;
                }
                ctes.push(cte.clone());
            }
        }
        match query.body.as_ref() {
            SetExpr::Select(select) => self.select(select, &ctes),
            SetExpr::Query(inner) => self.query(inner, &ctes),
            _ => Vec::new(),
        }
    }

    fn select(&self, select: &Select, ctes: &[Cte]) -> Vec<SqlProblem> {
        for from in &select.from {
            for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|j| &j.relation)) {
                if let TableFactor::Derived { subquery, .. } = factor {
                    let found = self.query(subquery, ctes);
                    if !found.is_empty() {
                        return found;
                    }
                }
            }
        }
        let mut problems = Vec::new();
        let plain = Probe::new(self, select, ctes, false);
        if plain.kind(&literal_true()).is_err() {
            let loose = Probe::new(self, select, ctes, true);
            for join in select.from.iter().flat_map(|f| &f.joins) {
                if let Some(condition) = on(join) {
                    problems.extend(loose.condition(condition, "the join condition"));
                }
            }
            return problems;
        }
        if let Some(selection) = &select.selection {
            problems.extend(plain.condition(selection, "WHERE"));
        }
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    problems.extend(plain.smallest(expr));
                }
                _ => {}
            }
        }
        if problems.is_empty()
            && let Some(qualify) = &select.qualify
        {
            problems.extend(plain.qualify(select, qualify));
        }
        problems
    }
}

fn on(join: &Join) -> Option<&Expr> {
    match &join.join_operator {
        JoinOperator::Join(JoinConstraint::On(e))
        | JoinOperator::Inner(JoinConstraint::On(e))
        | JoinOperator::Left(JoinConstraint::On(e))
        | JoinOperator::LeftOuter(JoinConstraint::On(e)) => Some(e),
        _ => None,
    }
}

/// Plans single expressions over the FROM of one SELECT.
struct Probe<'b, 'a> {
    blame: &'b Blame<'a>,
    query: Query,
}

impl<'b, 'a> Probe<'b, 'a> {
    fn new(blame: &'b Blame<'a>, select: &Select, ctes: &[Cte], loose: bool) -> Self {
        let mut probe = select.clone();
        probe.selection = None;
        probe.qualify = None;
        probe.distinct = None;
        if loose {
            for join in probe.from.iter_mut().flat_map(|f| f.joins.iter_mut()) {
                if on(join).is_some() {
                    join.join_operator = JoinOperator::Inner(JoinConstraint::On(literal_true()));
                }
            }
        }
        let with = (!ctes.is_empty()).then(|| With {
            with_token: AttachedToken::empty(),
            recursive: false,
            cte_tables: ctes.to_vec(),
        });
        let query = Query {
            with,
            body: Box::new(SetExpr::Select(Box::new(probe))),
            order_by: None,
            limit_clause: None,
            fetch: None,
            locks: Vec::new(),
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators: Vec::new(),
        };
        Self { blame, query }
    }

    fn planned(&self, change: impl FnOnce(&mut Select)) -> Result<DataType, DataFusionError> {
        let mut query = self.query.clone();
        if let SetExpr::Select(select) = query.body.as_mut() {
            change(select);
        }
        let plan = self.blame.planner.plan(query)?;
        compiles(&plan)?;
        Ok(plan.schema().fields().first().map_or(DataType::Null, |f| f.data_type().clone()))
    }

    fn kind(&self, expr: &Expr) -> Result<DataType, DataFusionError> {
        let item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::new("probe") };
        self.planned(|select| select.projection = vec![item])
    }

    fn smallest(&self, expr: &Expr) -> Vec<SqlProblem> {
        if self.kind(expr).is_ok() {
            return Vec::new();
        }
        let mut search = Search { probe: self, failed_below: Vec::new(), problems: Vec::new(), queries: 0 };
        let _ = expr.visit(&mut search);
        search.problems
    }

    fn not_boolean(&self, expr: &Expr, what: &str, kind: &DataType) -> SqlProblem {
        SqlProblem::new(codes::NOT_BOOLEAN, format!("{what} is {}, not a boolean", type_name(kind)))
            .help("compare it with something, as in `amount > 100`")
            .at(self.blame.lines.range(expr.span()))
    }

    fn condition(&self, expr: &Expr, what: &str) -> Vec<SqlProblem> {
        match self.kind(expr) {
            Ok(DataType::Boolean | DataType::Null) => Vec::new(),
            Ok(kind) => vec![self.not_boolean(expr, what, &kind)],
            Err(_) => self.smallest(expr),
        }
    }

    /// QUALIFY may name columns of the select list, so these stay.
    fn qualify(&self, select: &Select, expr: &Expr) -> Vec<SqlProblem> {
        let item = SelectItem::ExprWithAlias { expr: literal_true(), alias: Ident::new("probe") };
        let all = select.projection.clone();
        let tried = self.planned(|s| {
            s.projection = std::iter::once(item).chain(all).collect();
            s.qualify = Some(expr.clone());
        });
        match tried {
            Ok(_) => Vec::new(),
            Err(error) => {
                let (code, message) = match self.kind(expr) {
                    Ok(kind) if kind != DataType::Boolean => {
                        return vec![self.not_boolean(expr, "QUALIFY", &kind)];
                    }
                    _ => (codes::TYPE, clean(&error)),
                };
                vec![SqlProblem::new(code, message).at(self.blame.lines.range(expr.span()))]
            }
        }
    }

    fn describe(&self, expr: &Expr, error: &DataFusionError) -> SqlProblem {
        let name = |e: &Expr| self.kind(e).ok().map(|k| type_name(&k));
        let span = self.blame.lines.range(expr.span());
        let problem = match expr {
            Expr::BinaryOp { left, op, right } => match (name(left), name(right)) {
                (Some(l), Some(r)) => SqlProblem::new(
                    codes::TYPE,
                    format!("`{op}` does not take {l} and {r}: `{left}` is {l}, `{right}` is {r}"),
                )
                .help("CAST one of them, as in CAST(x AS DOUBLE)"),
                _ => SqlProblem::new(codes::TYPE, clean(error)),
            },
            Expr::Function(f) => {
                let kinds: Vec<String> = arguments(f).into_iter().map(|a| name(a).unwrap_or("?".into())).collect();
                let shown = f.name.to_string().to_uppercase();
                let takes = error.strip_backtrace();
                let takes: Vec<&str> = takes
                    .split("Candidate functions:")
                    .nth(1)
                    .map(|c| c.lines().map(str::trim).filter(|l| !l.is_empty()).take(3).collect())
                    .unwrap_or_default();
                let given: Vec<String> = arguments(f).into_iter().map(|a| format!("`{a}`")).collect();
                let message = match (given.as_slice(), kinds.as_slice()) {
                    ([given], [kind]) => format!("`{shown}` does not take {given}, which is {kind}"),
                    _ => format!("`{shown}` does not take ({})", kinds.join(", ")),
                };
                let problem = SqlProblem::new(codes::TYPE, message);
                if takes_numbers(&f.name.to_string()) {
                    problem.help("it takes numbers; what is written as text becomes one with CAST(x AS DOUBLE)")
                } else if takes.is_empty() {
                    problem.help(clean(error))
                } else {
                    problem.help(format!("it is {}", takes.join(" or ")))
                }
            }
            Expr::Cast { expr: inner, data_type, .. } => match name(inner) {
                Some(kind) => SqlProblem::new(codes::TYPE, format!("a {kind} can't be cast to {data_type}")),
                None => SqlProblem::new(codes::TYPE, clean(error)),
            },
            _ => SqlProblem::new(codes::TYPE, clean(error)),
        };
        problem.at(span)
    }
}

/// Some errors show only when constants are folded and kernels are chosen.
fn compiles(plan: &LogicalPlan) -> Result<(), DataFusionError> {
    let LogicalPlan::Projection(projection) = plan else { return Ok(()) };
    for expr in &projection.expr {
        compile(expr, projection.input.schema())?;
    }
    let mut below = projection.input.as_ref();
    while let LogicalPlan::Window(window) = below {
        for expr in window.window_expr.iter().map(unalias) {
            let datafusion_expr::Expr::WindowFunction(function) = expr else { continue };
            let params = &function.params;
            for expr in params.args.iter().chain(&params.partition_by).chain(params.filter.as_deref()) {
                compile(expr, window.input.schema())?;
            }
        }
        below = &window.input;
    }
    Ok(())
}

fn arguments(f: &datafusion_sql::sqlparser::ast::Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &f.args else { return Vec::new() };
    list.args
        .iter()
        .filter_map(|a| match a {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e),
            _ => None,
        })
        .collect()
}

/// Visits from the leaves up and stops at the first failure on each path.
struct Search<'s, 'b, 'a> {
    probe: &'s Probe<'b, 'a>,
    failed_below: Vec<bool>,
    problems: Vec<SqlProblem>,
    queries: usize,
}

impl Visitor for Search<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.failed_below.push(false);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let mut failed = self.failed_below.pop().unwrap_or(false);
        if !failed
            && self.queries == 0
            && let Err(error) = self.probe.kind(expr)
        {
            if !self.probe.blame.is_known(expr) {
                self.problems.push(self.probe.describe(expr, &error));
            }
            failed = true;
        }
        if failed && let Some(above) = self.failed_below.last_mut() {
            *above = true;
        }
        ControlFlow::Continue(())
    }
}

fn diagnostic_span(error: &DataFusionError) -> Option<datafusion_common::Span> {
    error.iter().find_map(|e| e.diagnostic().and_then(|d| d.span))
}
