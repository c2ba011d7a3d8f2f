//! The definition, written as plainly as it can be: for every row, find its frame among all rows of its key and
//! compute the function over it.

use std::cmp::Ordering;

use millstream_core::time::NO_EVENT_TIME;

use super::data::{Event, Input, Val};
use crate::window::spec::{Emit, Frame, Function, TieBreak, WindowFunction, WindowSpec};

/// What a function gives for a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    Value(Val),
    /// Out of the type's range.
    Refused,
}

/// For every event that is not late, in order of arrival: what each function gives.
pub fn expected(spec: &WindowSpec, input: &Input) -> Vec<Option<Vec<Expected>>> {
    let (late, _) = input.watermarks();
    let taken: Vec<usize> =
        (0..input.events.len()).filter(|&i| !late[i] && input.events[i].time != NO_EVENT_TIME).collect();
    let mut results = vec![None; input.events.len()];
    for &row in &taken {
        let visible: Vec<usize> =
            taken.iter().copied().filter(|&i| spec.emit == Emit::OnWatermark || i <= row).collect();
        results[row] = Some(spec.functions.iter().map(|f| one(f, &input.events, &visible, row)).collect());
    }
    results
}

fn same_key(function: &WindowFunction, a: &Event, b: &Event) -> bool {
    function.partition_by.iter().all(|&at| match (&a.values[at], &b.values[at]) {
        (Val::F(a), Val::F(b)) => a == b || a.is_nan() && b.is_nan(),
        (a, b) => a == b,
    })
}

pub fn order(a: &Val, b: &Val) -> Ordering {
    match (a, b) {
        (Val::F(a), Val::F(b)) if a.is_nan() || b.is_nan() => a.is_nan().cmp(&b.is_nan()),
        (Val::F(a), Val::F(b)) => a.total_cmp(b),
        (Val::I(a), Val::I(b)) => a.cmp(b),
        (Val::S(a), Val::S(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Val::B(a), Val::B(b)) => a.cmp(b),
        _ => panic!("{a:?} and {b:?} have no order"),
    }
}

fn tie_order(ties: &[TieBreak], a: &Event, b: &Event) -> Ordering {
    for tie in ties {
        let (a, b) = (&a.values[tie.argument], &b.values[tie.argument]);
        let nulls = if tie.nulls_first { Ordering::Less } else { Ordering::Greater };
        let order = match (a, b) {
            (Val::Null, Val::Null) => Ordering::Equal,
            (Val::Null, _) => nulls,
            (_, Val::Null) => nulls.reverse(),
            _ if tie.descending => order(b, a),
            _ => order(a, b),
        };
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn one(function: &WindowFunction, events: &[Event], visible: &[usize], row: usize) -> Expected {
    let current = &events[row];
    let mut sorted: Vec<usize> = visible.iter().copied().filter(|&i| same_key(function, &events[i], current)).collect();
    let ties = &function.tie_breaks;
    sorted.sort_by(|&a, &b| {
        let (a, b) = (&events[a], &events[b]);
        a.time.cmp(&b.time).then_with(|| tie_order(ties, a, b))
    });
    let at = sorted.iter().position(|&i| i == row).unwrap();
    let frame: Vec<usize> = match function.frame {
        Frame::Rows(n) => sorted[n.map_or(0, |n| at.saturating_sub(n as usize))..=at].to_vec(),
        Frame::Range(ns) => {
            let in_frame = |&i: &usize| {
                let event = &events[i];
                let after = event.time.cmp(&current.time).then_with(|| tie_order(ties, event, current)).is_gt();
                !after && ns.is_none_or(|ns| event.time >= current.time - ns)
            };
            sorted.iter().copied().filter(in_frame).collect()
        }
    };
    compute(function, events, &sorted, at, &frame)
}

fn passes(function: &WindowFunction, event: &Event) -> bool {
    function.filter.is_none_or(|at| event.values[at] == Val::B(true))
}

fn compute(function: &WindowFunction, events: &[Event], sorted: &[usize], at: usize, frame: &[usize]) -> Expected {
    let argument = |i: usize| events[i].values[function.arguments[0]].clone();
    let chosen = |i: &usize| passes(function, &events[*i]) && !(function.ignore_nulls && argument(*i) == Val::Null);
    let rows: Vec<usize> = frame.iter().copied().filter(|&i| passes(function, &events[i])).collect();
    let values = || -> Vec<Val> { rows.iter().map(|&i| argument(i)).filter(|v| *v != Val::Null).collect() };
    let pairs = || -> Vec<(f64, f64)> {
        let pair =
            |&i: &usize| match (&events[i].values[function.arguments[0]], &events[i].values[function.arguments[1]]) {
                (Val::F(y), Val::F(x)) => Some((*y, *x)),
                _ => None,
            };
        rows.iter().filter_map(pair).collect()
    };
    let or_null = |value: Option<Val>| value.unwrap_or(Val::Null);
    let first = |n: usize| or_null(frame.iter().filter(|i| chosen(i)).nth(n).map(|&i| argument(i)));
    Expected::Value(match &function.function {
        Function::Count if function.arguments.is_empty() => Val::I(rows.len() as i128),
        Function::Count => Val::I(values().len() as i128),
        Function::CountDistinct | Function::ApproxDistinct => {
            let mut kept: Vec<Val> = Vec::new();
            for value in values() {
                let value = if value == Val::F(0.0) { Val::F(0.0) } else { value };
                if !kept.iter().any(|k| order(k, &value).is_eq()) {
                    kept.push(value);
                }
            }
            Val::I(kept.len() as i128)
        }
        Function::Sum | Function::Avg => return sums(function, &values()),
        Function::Min => or_null(values().into_iter().min_by(order)),
        Function::Max => or_null(values().into_iter().max_by(order)),
        Function::Variance { sample, root } => {
            let values: Vec<f64> = values().iter().map(float).collect();
            let pairs: Vec<_> = values.into_iter().map(|v| (v, v)).collect();
            covariance(&pairs, *sample).map_or(Val::Null, |v| Val::F(if *root { v.sqrt() } else { v }))
        }
        Function::Covariance { sample } => covariance(&pairs(), *sample).map_or(Val::Null, Val::F),
        Function::Correlation => correlation(&pairs()),
        Function::RegressionSlope => slope(&pairs()),
        Function::FirstValue => first(0),
        Function::NthValue(n) => first(*n as usize - 1),
        Function::LastValue => or_null(frame.iter().rev().find(|i| chosen(i)).map(|&i| argument(i))),
        Function::Lag { offset, default } => {
            let before = &sorted[..at];
            let found = if *offset == 0 {
                Some(sorted[at])
            } else {
                before.iter().rev().filter(|i| chosen(i)).nth(*offset as usize - 1).copied()
            };
            let default = if default.is_null() { Val::Null } else { super::random::default_value(default) };
            found.map_or(default, argument)
        }
        Function::RowNumber => Val::I(at as i128 + 1),
        Function::ApproxPercentile(p) => percentile(values(), *p),
    })
}

pub fn float(value: &Val) -> f64 {
    match value {
        Val::F(v) => *v,
        Val::I(v) => *v as f64,
        other => panic!("{other:?} is no number"),
    }
}

fn sums(function: &WindowFunction, values: &[Val]) -> Expected {
    use arrow::datatypes::DataType as T;
    if values.is_empty() {
        return Expected::Value(Val::Null);
    }
    let average = function.function == Function::Avg;
    let n = values.len() as i128;
    let total: i128 = values.iter().map(|v| if let Val::I(v) = v { *v } else { 0 }).sum();
    let checked = |value: i128, ok: bool| if ok { Expected::Value(Val::I(value)) } else { Expected::Refused };
    match function.output.data_type() {
        T::Float64 if matches!(values[0], Val::F(_)) => {
            let total: f64 = values.iter().map(float).sum();
            Expected::Value(Val::F(if average { total / n as f64 } else { total }))
        }
        T::Float64 => Expected::Value(Val::F(total as f64 / n as f64)),
        T::Int64 => checked(total, i64::try_from(total).is_ok()),
        T::UInt64 => checked(total, u64::try_from(total).is_ok()),
        T::Decimal128(p, _) => {
            // The tests' averages have four digits more after the point.
            let value = if average { total * 10_000 / n } else { total };
            checked(value, value.abs() < 10i128.pow(u32::from(*p)))
        }
        other => panic!("no sum of type {other}"),
    }
}

fn covariance(pairs: &[(f64, f64)], sample: bool) -> Option<f64> {
    let n = pairs.len();
    if n == 0 || sample && n < 2 {
        return None;
    }
    if pairs.iter().any(|(y, x)| !y.is_finite() || !x.is_finite()) {
        return Some(f64::NAN);
    }
    let mean = |pick: fn(&(f64, f64)) -> f64| pairs.iter().map(pick).sum::<f64>() / n as f64;
    let (my, mx) = (mean(|p| p.0), mean(|p| p.1));
    let sum: f64 = pairs.iter().map(|(y, x)| (y - my) * (x - mx)).sum();
    Some(sum / (n - usize::from(sample)) as f64)
}

fn correlation(pairs: &[(f64, f64)]) -> Val {
    let (y, x): (Vec<_>, Vec<_>) = pairs.iter().map(|&(y, x)| ((y, y), (x, x))).unzip();
    let (Some(c), Some(y), Some(x)) = (covariance(pairs, true), covariance(&y, true), covariance(&x, true)) else {
        return Val::Null;
    };
    if c.is_nan() {
        return Val::F(f64::NAN);
    }
    if x == 0.0 || y == 0.0 { Val::Null } else { Val::F(c / (x * y).sqrt()) }
}

fn slope(pairs: &[(f64, f64)]) -> Val {
    let x: Vec<_> = pairs.iter().map(|&(_, x)| (x, x)).collect();
    let (Some(c), Some(x)) = (covariance(pairs, true), covariance(&x, true)) else { return Val::Null };
    if c.is_nan() {
        return Val::F(f64::NAN);
    }
    if x == 0.0 { Val::Null } else { Val::F(c / x) }
}

fn percentile(mut values: Vec<Val>, p: f64) -> Val {
    if values.is_empty() {
        return Val::Null;
    }
    values.sort_by(order);
    let place = p * (values.len() - 1) as f64;
    let (low, high) = (&values[place.floor() as usize], &values[place.ceil() as usize]);
    match (low, high) {
        (Val::I(a), Val::I(b)) => Val::I(a + ((b - a) as f64 * place.fract()).round_ties_even() as i128),
        _ if order(low, high).is_eq() || place.fract() == 0.0 => low.clone(),
        _ => Val::F(float(low) + (float(high) - float(low)) * place.fract()),
    }
}
