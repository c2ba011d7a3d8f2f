//! OVER clauses: named windows put in place, order by event time, frames that look back only.

use std::ops::Range;

use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use datafusion_sql::sqlparser::ast::{
    Expr, Function, Interval, NamedWindowExpr, OrderByExpr, Select, Spanned, UnaryOperator, Value, ValueWithSpan,
    VisitMut, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowSpec, WindowType,
};

use super::prepare::{Preparer, resolved, strip};
use super::scope::Scope;
use super::walk::{Clause, Walk, Windows};
use crate::catalog::PartitionedBy;
use crate::codes;
use crate::names::did_you_mean;
use crate::problem::SqlProblem;

const DAY_NS: i64 = 86_400_000_000_000;

impl Preparer<'_> {
    /// Resolves and removes the WINDOW clause: what it names is put where it is used, because the planner
    /// looks names up in the select list only, and knows no inheritance.
    pub(crate) fn named_windows(&mut self, select: &mut Select, scope: &Scope) -> Windows {
        let mut windows = Windows::new();
        for mut definition in std::mem::take(&mut select.named_window) {
            let span = self.lines.range(definition.0.span);
            let _ = definition.visit(&mut Walk::new(self, scope, &Windows::new(), Clause::Select));
            let name = definition.0.value.clone();
            let spec = match definition.1 {
                NamedWindowExpr::WindowSpec(spec) => self.inherit(spec, &windows),
                NamedWindowExpr::NamedWindow(other) => {
                    let spec = WindowSpec {
                        window_name: Some(other),
                        partition_by: Vec::new(),
                        order_by: Vec::new(),
                        window_frame: None,
                    };
                    self.inherit(spec, &windows)
                }
            };
            if windows.iter().any(|(known, _)| known == &name) {
                let message = format!("two windows are called `{name}`");
                self.report(SqlProblem::new(codes::UNKNOWN_WINDOW, message).at(span));
            } else {
                windows.push((name, spec));
            }
        }
        windows
    }

    /// `(w ROWS 3 PRECEDING)`: what `w` says, and then some.
    fn inherit(&mut self, mut spec: WindowSpec, windows: &Windows) -> WindowSpec {
        let Some(base) = spec.window_name.take() else { return spec };
        let named = windows.iter().find(|(name, _)| *name == base.value).or_else(|| {
            windows.iter().find(|(name, _)| base.quote_style.is_none() && name.eq_ignore_ascii_case(&base.value))
        });
        let Some((_, from)) = named else {
            let known: Vec<&str> = windows.iter().map(|(name, _)| name.as_str()).collect();
            let help = did_you_mean(&base.value, &known, "windows")
                .or_else(|| Some(format!("define it: WINDOW {} AS (PARTITION BY … ORDER BY …)", base.value)));
            let problem = SqlProblem::new(codes::UNKNOWN_WINDOW, format!("there is no window `{}`", base.value))
                .help_opt(help)
                .at(self.lines.range(base.span));
            self.report(problem);
            return spec;
        };
        if spec.partition_by.is_empty() {
            spec.partition_by.clone_from(&from.partition_by);
        }
        if spec.order_by.is_empty() {
            spec.order_by.clone_from(&from.order_by);
        }
        if spec.window_frame.is_none() {
            spec.window_frame.clone_from(&from.window_frame);
        }
        spec
    }
}

impl Walk<'_, '_> {
    /// Puts a named window in place and checks the whole OVER clause.
    pub(crate) fn settle_window(&mut self, function: &mut Function, shown: &str, span: Option<Range<usize>>) {
        let before = self.preparer.problems.len();
        let spec = match function.over.take() {
            Some(WindowType::WindowSpec(spec)) => spec,
            Some(WindowType::NamedWindow(name)) => WindowSpec {
                window_name: Some(name),
                partition_by: Vec::new(),
                order_by: Vec::new(),
                window_frame: None,
            },
            None => return,
        };
        let mut spec = self.preparer.inherit(spec, self.windows);
        let found = self.preparer.problems.len() == before;
        if found && self.scope.known() {
            self.check_order(&spec, shown, span.clone());
            self.check_partition(&spec, shown, span.clone());
            let offset_order = spec.order_by.len();
            if let Some(frame) = &mut spec.window_frame {
                self.check_frame(frame, offset_order, span);
            }
        }
        function.over = Some(WindowType::WindowSpec(spec));
    }

    fn check_order(&mut self, spec: &WindowSpec, shown: &str, span: Option<Range<usize>>) {
        if !self.preparer.has_event_time {
            self.preparer.report(
                SqlProblem::new(codes::NO_EVENT_TIME, "windows need an event time, and the source declares none")
                    .help("name a timestamp column: `event_time: <column>` in the source")
                    .at(span),
            );
            return;
        }
        let time_names: Vec<&str> = self
            .scope
            .rels
            .iter()
            .flat_map(|r| r.output.columns.iter().filter(|c| c.event_time).map(|c| c.name.as_str()))
            .collect();
        let time = time_names.first().copied();
        let Some(first) = spec.order_by.first() else {
            let help = time.map(|t| format!("write OVER (PARTITION BY … ORDER BY {t})"));
            self.preparer.report(
                SqlProblem::new(
                    codes::WINDOW_ORDER,
                    format!(
                        "the window of `{shown}` has no ORDER BY, so it would take in rows that have not arrived yet"
                    ),
                )
                .help_opt(help.or_else(|| Some("keep the event time column in the query below".to_owned())))
                .at(span),
            );
            return;
        };
        let at = self.order_span(first).or(span);
        if !resolved(&first.expr, self.scope).is_some_and(|c| c.event_time) {
            let help = match time {
                Some(time) => format!("order by `{time}` first; further columns may break ties"),
                None => "keep the event time column in the query below, unchanged".to_owned(),
            };
            self.preparer.report(
                SqlProblem::new(
                    codes::WINDOW_ORDER,
                    format!("the window is ordered by `{}`, which is not the event time", first.expr),
                )
                .help(help)
                .at(at),
            );
        } else if first.options.asc == Some(false) {
            self.preparer.report(
                SqlProblem::new(
                    codes::WINDOW_ORDER,
                    "a window over a stream is ordered by event time ascending; DESC would look ahead",
                )
                .help("leave DESC out; with PRECEDING the frame looks back in time")
                .at(at),
            );
        }
    }

    fn order_span(&self, order: &OrderByExpr) -> Option<Range<usize>> {
        self.preparer.lines.range(order.expr.span())
    }

    fn check_partition(&mut self, spec: &WindowSpec, shown: &str, span: Option<Range<usize>>) {
        let at = spec
            .partition_by
            .first()
            .map(|first| spec.partition_by.iter().fold(first.span(), |all, e| all.union(&e.span())));
        let at = at.and_then(|s| self.preparer.lines.range(s)).or(span);
        match self.preparer.partitioned_by {
            PartitionedBy::Single => {}
            PartitionedBy::Unknown => self.preparer.report(
                SqlProblem::new(
                    codes::WINDOW_PARTITION,
                    format!("`{shown}` would see only the rows of one partition: the input has several, and no column is declared as its key"),
                )
                .help("declare the record key: `key: <column>` in the source; or read a topic with one partition")
                .at(at),
            ),
            PartitionedBy::Key(_) => {
                if spec.partition_by.iter().any(|e| resolved(e, self.scope).is_some_and(|c| c.key)) {
                    return;
                }
                let key = self
                    .scope
                    .rels
                    .iter()
                    .flat_map(|r| r.output.columns.iter())
                    .find(|c| c.key)
                    .map(|c| c.name.clone());
                let (message, help) = match key {
                    Some(key) => (
                        format!("`{shown}` would see only the rows of one partition: the input is partitioned by `{key}`, the window is not"),
                        format!("add `{key}` to PARTITION BY, or key the input by what you partition by"),
                    ),
                    None => (
                        format!("`{shown}` would see only the rows of one partition, and the input's key column is not in the query below"),
                        "keep the key column in the query below, and add it to PARTITION BY".to_owned(),
                    ),
                };
                self.preparer.report(SqlProblem::new(codes::WINDOW_PARTITION, message).help(help).at(at));
            }
        }
    }

    fn frame_problem(&mut self, message: impl Into<String>, help: &str, span: Option<Range<usize>>) {
        self.preparer.report(SqlProblem::new(codes::WINDOW_FRAME, message).help(help).at(span));
    }

    fn check_frame(&mut self, frame: &mut WindowFrame, order_columns: usize, span: Option<Range<usize>>) {
        let range_help = "write RANGE BETWEEN INTERVAL '5 minutes' PRECEDING AND CURRENT ROW, or ROWS BETWEEN 10 PRECEDING AND CURRENT ROW";
        if frame.units == WindowFrameUnits::Groups {
            let at = self.preparer.keyword("GROUPS").or(span);
            self.frame_problem("GROUPS frames are not there", range_help, at);
            return;
        }
        match &frame.end_bound {
            None | Some(WindowFrameBound::CurrentRow) => {}
            Some(WindowFrameBound::Following(_)) => {
                let at = self.preparer.keyword("FOLLOWING").or(span);
                self.frame_problem(
                    "a frame that ends with FOLLOWING would wait for rows that have not arrived yet",
                    "end the frame with CURRENT ROW",
                    at,
                );
                return;
            }
            Some(WindowFrameBound::Preceding(_)) => {
                self.frame_problem(
                    "a frame has to end with CURRENT ROW",
                    "widen the frame to the current row, and take the row's own value out of the result",
                    span,
                );
                return;
            }
        }
        match &mut frame.start_bound {
            WindowFrameBound::CurrentRow | WindowFrameBound::Preceding(None) => {}
            WindowFrameBound::Following(_) => {
                let at = self.preparer.keyword("FOLLOWING").or(span);
                self.frame_problem("a frame can't begin after the current row", "begin it with PRECEDING", at);
            }
            WindowFrameBound::Preceding(Some(offset)) => {
                let at = self.preparer.lines.range(offset.span()).or(span);
                if frame.units == WindowFrameUnits::Rows {
                    if !matches!(strip(offset), Expr::Value(ValueWithSpan { value: Value::Number(n, _), .. }) if n.parse::<u64>().is_ok())
                    {
                        self.frame_problem(
                            format!("ROWS takes a whole number of rows, not `{offset}`"),
                            "write ROWS BETWEEN 10 PRECEDING AND CURRENT ROW, or RANGE with an INTERVAL",
                            at,
                        );
                    }
                } else if order_columns != 1 {
                    self.frame_problem(
                        "a RANGE frame with an INTERVAL can be ordered by the event time only",
                        "leave the further ORDER BY columns out: rows with one event time are peers, and all in the frame",
                        at,
                    );
                } else {
                    self.check_range(offset, at);
                }
            }
        }
    }

    /// Brings an interval into the one form that the planner surely reads.
    fn check_range(&mut self, offset: &mut Expr, at: Option<Range<usize>>) {
        let text = match strip(offset) {
            Expr::Interval(Interval { value, leading_field, last_field: None, .. }) => interval_text(value)
                .map(|v| leading_field.as_ref().map_or_else(|| v.clone(), |unit| format!("{v} {unit}"))),
            Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text.clone()),
            _ => None,
        };
        let Some(text) = text else {
            self.frame_problem(
                format!("RANGE over event time takes an interval, not `{offset}`"),
                "write INTERVAL '5 minutes' PRECEDING",
                at,
            );
            return;
        };
        let Ok(interval) = parse_interval_month_day_nano(&text) else {
            self.frame_problem(
                format!("`{text}` is not an interval"),
                "write INTERVAL '90 seconds', '5 minutes', '1 day'",
                at,
            );
            return;
        };
        if interval.months != 0 {
            self.frame_problem(
                format!("months and years differ in length, so `{text}` is not a window"),
                "write it in days: INTERVAL '30 days'",
                at,
            );
            return;
        }
        let ns = i64::from(interval.days).checked_mul(DAY_NS).and_then(|d| d.checked_add(interval.nanoseconds));
        match ns {
            None => self.frame_problem(format!("`{text}` is too long"), "use UNBOUNDED PRECEDING", at),
            Some(ns) if ns < 0 => {
                self.frame_problem(
                    format!("`{text}` is negative"),
                    "PRECEDING already looks back: leave the minus out",
                    at,
                );
            }
            Some(ns) => {
                let value = Value::SingleQuotedString(format!("{ns} nanoseconds"));
                let value = Expr::Value(ValueWithSpan { value, span: offset.span() });
                *offset = Expr::Interval(Interval {
                    value: Box::new(value),
                    leading_field: None,
                    leading_precision: None,
                    last_field: None,
                    fractional_seconds_precision: None,
                });
            }
        }
    }
}

fn interval_text(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text) | Value::Number(text, _), .. }) => {
            Some(text.clone())
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => interval_text(expr).map(|text| format!("-{text}")),
        _ => None,
    }
}
