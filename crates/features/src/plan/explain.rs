//! A plan in words: what `explain` prints, and the texts that windows are known by.

use std::fmt::Write as _;

use super::op::{JoinColumn, Op};
use super::{QueryPlan, StateInfo};
use crate::exec::eval::ExprSet;
use crate::names::{duration, type_name};
use crate::plan::render;
use crate::window::spec::{Emit, Frame, Function, LatePolicy, WindowFunction, WindowSpec};

pub(crate) fn emit_name(emit: Emit) -> &'static str {
    match emit {
        Emit::OnArrival => "on_arrival",
        Emit::OnWatermark => "on_watermark",
    }
}

pub(crate) fn late_name(late: LatePolicy) -> &'static str {
    match late {
        LatePolicy::Drop => "drop",
        LatePolicy::DeadLetter => "dead_letter",
    }
}

fn function_name(function: &Function) -> String {
    match function {
        Function::Count => "count".into(),
        Function::CountDistinct => "count_distinct".into(),
        Function::Sum => "sum".into(),
        Function::Avg => "avg".into(),
        Function::Min => "min".into(),
        Function::Max => "max".into(),
        Function::Variance { sample, root } => {
            format!("{}_{}", if *root { "stddev" } else { "var" }, if *sample { "samp" } else { "pop" })
        }
        Function::Covariance { sample } => format!("covar_{}", if *sample { "samp" } else { "pop" }),
        Function::Correlation => "corr".into(),
        Function::RegressionSlope => "regr_slope".into(),
        Function::FirstValue => "first_value".into(),
        Function::LastValue => "last_value".into(),
        Function::NthValue(n) => format!("nth_value[{n}]"),
        Function::Lag { offset, default } => format!("lag[{offset}, {}]", render::literal(default)),
        Function::RowNumber => "row_number".into(),
        Function::ApproxDistinct => "approx_distinct".into(),
        Function::ApproxPercentile(p) => format!("approx_percentile_cont[{p:?}]"),
    }
}

fn frameless(function: &Function) -> bool {
    matches!(function, Function::Lag { .. } | Function::RowNumber)
}

fn frame_text(frame: Frame) -> String {
    match frame {
        Frame::Range(Some(ns)) => format!("range {ns} ns"),
        Frame::Range(None) => "range unbounded".into(),
        Frame::Rows(Some(n)) => format!("rows {n}"),
        Frame::Rows(None) => "rows unbounded".into(),
    }
}

fn pick(texts: &[String], places: &[usize]) -> String {
    let picked: Vec<&str> = places.iter().filter_map(|&i| texts.get(i)).map(String::as_str).collect();
    picked.join(", ")
}

/// The stable text of a window function; part of fingerprints.
pub(crate) fn window_text(f: &WindowFunction, arguments: &[String]) -> String {
    let mut text = format!("{}({})", function_name(&f.function), pick(arguments, &f.arguments));
    if f.ignore_nulls {
        text.push_str(" ignore nulls");
    }
    if let Some(filter) = f.filter {
        let _ = write!(text, " filter ({})", pick(arguments, &[filter]));
    }
    let _ = write!(text, " over (partition by [{}]", pick(arguments, &f.partition_by));
    for tie in &f.tie_breaks {
        let order = if tie.descending { "desc" } else { "asc" };
        let nulls = if tie.nulls_first { "first" } else { "last" };
        let _ = write!(text, " then by {} {order} nulls {nulls}", pick(arguments, &[tie.argument]));
    }
    if !frameless(&f.function) {
        let _ = write!(text, " {}", frame_text(f.frame));
    }
    let _ = write!(text, ") as {}", render::data_type(f.output.data_type()));
    text
}

/// A window function for people.
fn window_words(f: &WindowFunction, names: &[String]) -> String {
    let distinct = if f.function == Function::CountDistinct { "DISTINCT " } else { "" };
    let name = f.function.name().trim_end_matches("(DISTINCT)");
    let mut text = format!("{name}({distinct}{}", pick(names, &f.arguments));
    match &f.function {
        Function::Count if f.arguments.is_empty() => text.push('*'),
        Function::NthValue(n) => {
            let _ = write!(text, ", {n}");
        }
        Function::ApproxPercentile(p) => {
            let _ = write!(text, ", {p}");
        }
        Function::Lag { offset, default } => {
            let _ = write!(text, ", {offset}");
            if !default.is_null() {
                let _ = write!(text, ", {default}");
            }
        }
        _ => {}
    }
    text.push(')');
    if let Some(filter) = f.filter {
        let _ = write!(text, " where {}", pick(names, &[filter]));
    }
    if !frameless(&f.function) {
        let frame = match f.frame {
            Frame::Range(Some(ns)) => format!("the last {}", duration(ns)),
            Frame::Rows(Some(n)) => format!("the last {} rows", n.saturating_add(1)),
            Frame::Range(None) | Frame::Rows(None) => "all rows so far".to_owned(),
        };
        let _ = write!(text, " over {frame}");
    }
    text
}

fn eviction(functions: &[&WindowFunction]) -> String {
    let (mut span, mut rows, mut forever) = (None, None, false);
    for f in functions {
        match (&f.function, f.frame) {
            (Function::Lag { offset, .. }, _) => rows = rows.max(Some(*offset)),
            (Function::RowNumber, _) => forever = true,
            (_, Frame::Range(Some(ns))) => span = span.max(Some(ns)),
            (_, Frame::Rows(Some(n))) => rows = rows.max(Some(n.saturating_add(1))),
            (_, Frame::Range(None) | Frame::Rows(None)) => forever = true,
        }
    }
    let mut rules = Vec::new();
    if let Some(ns) = span {
        let last = if rows.is_none() && !forever { "; a key vanishes when its windows are empty" } else { "" };
        rules.push(format!("rows older than the watermark - {} are evicted{last}", duration(ns)));
    }
    if let Some(n) = rows {
        rules.push(match n {
            1 => "the last row of each key is kept for ever".to_owned(),
            n => format!("the last {n} rows of each key are kept for ever"),
        });
    }
    if forever {
        rules.push("accumulators of each key are kept for ever".to_owned());
    }
    rules.join("; ")
}

/// What an operator keeps, for `explain`.
pub(crate) fn state_info(spec: &WindowSpec) -> Vec<StateInfo> {
    let names = schema_names(&spec.arguments);
    let mut keys: Vec<&[usize]> = Vec::new();
    for f in &spec.functions {
        if !keys.contains(&f.partition_by.as_slice()) {
            keys.push(&f.partition_by);
        }
    }
    keys.iter()
        .map(|key| {
            let functions: Vec<&WindowFunction> = spec.functions.iter().filter(|f| f.partition_by == *key).collect();
            StateInfo {
                keys: key.iter().filter_map(|&i| names.get(i).cloned()).collect(),
                windows: functions.iter().map(|f| window_words(f, &names)).collect(),
                eviction: eviction(&functions),
                emit: emit_name(spec.emit).to_owned(),
                late: late_name(spec.late).to_owned(),
            }
        })
        .collect()
}

/// The whole plan, one operator a line.
pub(crate) fn explain(plan: &QueryPlan) -> String {
    let mut text = format!("read {}\n", plan.input);
    for op in plan.ops.iter() {
        explain_op(op, &mut text);
    }
    let columns: Vec<String> =
        plan.schema.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type()))).collect();
    let _ = writeln!(text, "give {}", columns.join(", "));
    for state in &plan.state {
        let key = if state.keys.is_empty() { "one for all rows".to_owned() } else { state.keys.join(", ") };
        let _ = writeln!(text, "state by key {key} ({}, late rows: {})", state.emit, state.late);
        for window in &state.windows {
            let _ = writeln!(text, "  {window}");
        }
        let _ = writeln!(text, "  {}", state.eviction);
    }
    text
}

fn schema_names(schema: &arrow::datatypes::Schema) -> Vec<String> {
    schema.fields().iter().map(|f| f.name().clone()).collect()
}

fn select_text(set: &ExprSet) -> String {
    let items: Vec<String> = set
        .schema
        .fields()
        .iter()
        .enumerate()
        .map(|(i, field)| match set.words.get(i) {
            Some(words) if words != field.name() => format!("{words} AS {}", field.name()),
            _ => field.name().clone(),
        })
        .collect();
    items.join(", ")
}

fn explain_op(op: &Op, text: &mut String) {
    match op {
        Op::Project(set) => {
            let _ = writeln!(text, "select {}", select_text(set));
        }
        Op::Filter(plan) => {
            let _ = writeln!(text, "keep rows where {}", schema_names(&plan.predicate.schema).join(", "));
        }
        Op::Join(plan) => {
            let kind = if plan.outer { "left join" } else { "join" };
            let keys = |set: &ExprSet| schema_names(&set.schema).join(", ");
            let _ = write!(text, "{kind} {} on {} = {}", plan.table.name, keys(&plan.keys), keys(&plan.table.keys));
            if let Some(residual) = &plan.residual {
                let _ = write!(text, " if {}", keys(&residual.condition));
            }
            let added = plan.outputs.iter().filter(|c| matches!(c, JoinColumn::Table(_))).count();
            let _ = writeln!(text, ", adding {added} column{}", if added == 1 { "" } else { "s" });
        }
        Op::Window(plan) => {
            let spec = &plan.spec;
            let arguments = schema_names(&spec.arguments);
            let _ = writeln!(text, "windows, {}:", emit_name(spec.emit));
            for (i, f) in spec.functions.iter().enumerate() {
                let key = pick(&arguments, &f.partition_by);
                let key = if key.is_empty() { String::new() } else { format!(", by {key}") };
                let _ = writeln!(text, "  w{} = {}{key}", plan.first_label + i, window_words(f, &arguments));
            }
        }
    }
}
