//! Particular situations, each with its answer written out.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, Field};
use millstream_core::time::NO_EVENT_TIME;

use super::data::*;
use super::long::function;
use crate::window::WindowOperator;
use crate::window::codes;
use crate::window::spec::*;

fn spec(functions: Vec<WindowFunction>, emit: Emit) -> WindowSpec {
    WindowSpec { functions, input: input(), arguments: arguments(), emit, late: LatePolicy::DeadLetter }
}

fn event(time: i64, float: f64) -> Event {
    let mut values = vec![Val::Null; COLUMNS];
    values[KEY_TEXT] = Val::S("k".to_owned());
    values[FLOAT] = Val::F(float);
    values[INT] = Val::I(float as i128);
    values[SURE] = Val::I(0);
    Event { time, values }
}

fn column(outcome: &Outcome, at: usize) -> Vec<Val> {
    let array = outcome.rows.column(3 + at);
    (0..array.len()).map(|i| value(array, i)).collect()
}

fn counts(values: &[i128]) -> Vec<Val> {
    values.iter().map(|&v| Val::I(v)).collect()
}

#[test]
fn on_arrival_a_row_sees_the_peers_that_came_before_it() {
    let functions = vec![
        function(Function::Count, vec![], Frame::Range(Some(10)), DataType::Int64),
        function(Function::Count, vec![], Frame::Rows(None), DataType::Int64),
        function(Function::RowNumber, vec![], Frame::Range(None), DataType::UInt64),
    ];
    let data = Input { events: [5, 20, 20, 10, 20].map(|t| event(t, 1.0)).to_vec(), lateness: 100 };
    let outcome = run(&spec(functions.clone(), Emit::OnArrival), &data, &[], |_| false);
    assert_eq!(column(&outcome, 0), counts(&[1, 1, 2, 2, 4]));
    assert_eq!(column(&outcome, 2), counts(&[1, 2, 3, 2, 5]));
    // Behind the watermark all peers are there, and rows come in order of time.
    let outcome = run(&spec(functions, Emit::OnWatermark), &data, &[2], |_| true);
    assert_eq!(column(&outcome, 0), counts(&[1, 2, 4, 4, 4]));
    assert_eq!(column(&outcome, 1), counts(&[1, 2, 3, 4, 5]));
    assert_eq!(outcome.meta.iter().map(|m| m.1).collect::<Vec<_>>(), [5, 10, 20, 20, 20]);
}

#[test]
fn rows_are_triggered_by_the_event_that_moved_the_watermark_past_them() {
    let functions = vec![function(Function::Count, vec![], Frame::Range(Some(10)), DataType::Int64)];
    let times = [1_000, 2_000, 1_500, 3_000, 9_000];
    let data = Input { events: times.map(|t| event(t, 1.0)).to_vec(), lateness: 1_000 };
    let outcome = run(&spec(functions, Emit::OnWatermark), &data, &[1, 3], |_| false);
    // Offsets are 10, 12, …; the watermark is 0, 1000, 1000, 2000, 8000.
    let expected = [(10, 1_000, 16), (14, 1_500, 16), (12, 2_000, 18), (16, 3_000, 18), (18, 9_000, 20)];
    assert_eq!(outcome.meta, expected);
}

#[test]
fn late_rows_and_rows_without_time_say_why() {
    let second = 1_000_000_000;
    let functions = vec![function(Function::Count, vec![], Frame::Range(Some(10)), DataType::Int64)];
    let times = [100 * second, 90 * second + 5, NO_EVENT_TIME, 97 * second];
    let data = Input { events: times.map(|t| event(t, 1.0)).to_vec(), lateness: 3 * second };
    for cuts in [vec![], vec![1], vec![1, 2, 3]] {
        let outcome = run(&spec(functions.clone(), Emit::OnArrival), &data, &cuts, |_| false);
        let [late, timeless] = outcome.refused.as_slice() else { panic!("{:?}", outcome.refused) };
        assert_eq!((late.0, late.2.as_str()), (12, codes::LATE_EVENT.id));
        assert_eq!(
            late.3,
            "the event time 1970-01-01T00:01:30.000000005Z is 6.999999995s behind the watermark \
             1970-01-01T00:01:37Z: the windows it belongs to are closed"
        );
        assert_eq!((timeless.0, timeless.2.as_str()), (14, codes::NO_EVENT_TIME.id));
        assert_eq!(outcome.rows.num_rows(), 2, "an event at the watermark is not late");
    }
}

#[test]
fn a_sum_out_of_range_refuses_the_row_and_not_those_after_it() {
    let functions = vec![function(Function::Sum, vec![INT], Frame::Range(Some(10)), DataType::Int64)];
    let mut events = [1, 2, 3, 12].map(|t| event(t, 0.0)).to_vec();
    events[0].values[INT] = Val::I(i64::MAX.into());
    for event in &mut events[1..] {
        event.values[INT] = Val::I(1);
    }
    let outcome = run(&spec(functions, Emit::OnArrival), &Input { events, lateness: 100 }, &[], |_| false);
    assert_eq!(column(&outcome, 0), counts(&[i64::MAX.into(), 3]));
    assert_eq!(outcome.refused.len(), 2);
    assert_eq!(outcome.refused[0].2, codes::OUT_OF_RANGE.id);
    assert_eq!(outcome.refused[0].3, "SUM for `out` is 9223372036854775808, which Int64 does not hold");
}

#[test]
fn nan_is_the_greatest_and_spoils_sums_only_while_it_is_in_the_window() {
    let functions = vec![
        function(Function::Sum, vec![FLOAT], Frame::Range(Some(5)), DataType::Float64),
        function(Function::Max, vec![FLOAT], Frame::Range(Some(5)), DataType::Float64),
        function(Function::Min, vec![FLOAT], Frame::Range(Some(5)), DataType::Float64),
    ];
    let data = Input { events: [(1, 2.0), (2, f64::NAN), (8, 3.0)].map(|(t, v)| event(t, v)).to_vec(), lateness: 0 };
    let outcome = run(&spec(functions, Emit::OnArrival), &data, &[], |_| false);
    let nan = |v: &Val| matches!(v, Val::F(v) if v.is_nan());
    assert!(nan(&column(&outcome, 0)[1]) && nan(&column(&outcome, 1)[1]));
    assert_eq!(column(&outcome, 2)[1], Val::F(2.0));
    assert_eq!(column(&outcome, 0)[2], Val::F(3.0));
}

#[test]
fn views_and_other_planned_types_are_given() {
    let functions = vec![
        function(Function::Max, vec![TEXT], Frame::Range(Some(5)), DataType::Utf8View),
        function(Function::RowNumber, vec![], Frame::Range(None), DataType::Int64),
    ];
    let mut first = event(1, 0.0);
    first.values[TEXT] = Val::S("a".to_owned());
    let data = Input { events: vec![first, event(2, 0.0)], lateness: 0 };
    let outcome = run(&spec(functions, Emit::OnArrival), &data, &[], |_| false);
    assert_eq!(column(&outcome, 0), [Val::S("a".to_owned()), Val::S("a".to_owned())]);
    assert_eq!(column(&outcome, 1), counts(&[1, 2]));
}

#[test]
fn what_can_not_be_computed_is_refused_when_planned() {
    let range = Frame::Range(Some(5));
    let bad = [
        function(Function::Sum, vec![TEXT], range, DataType::Float64),
        function(Function::Sum, vec![INT], range, DataType::Utf8),
        function(Function::Avg, vec![], range, DataType::Float64),
        function(Function::Correlation, vec![FLOAT], range, DataType::Float64),
        function(Function::Max, vec![99], range, DataType::Float64),
        function(Function::ApproxPercentile(0.5), vec![DECIMAL], range, DataType::Decimal128(10, 2)),
    ];
    for function in bad {
        let error = WindowOperator::new(spec(vec![function.clone()], Emit::OnArrival)).unwrap_err();
        assert_eq!(error.code(), codes::UNSUPPORTED_WINDOW, "{function:?}");
    }
    let mut lag = function(
        Function::Lag { offset: 1, default: datafusion_common::ScalarValue::from("x") },
        vec![INT],
        range,
        DataType::Int64,
    );
    lag.output = Arc::new(Field::new("previous", DataType::Int64, true));
    let error = WindowOperator::new(spec(vec![lag], Emit::OnArrival)).unwrap_err();
    assert_eq!(error.message(), "the default x of LAG is not a value of type Int64");
}
