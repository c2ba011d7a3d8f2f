//! Random plans over random events.

use std::sync::Arc;

use arrow::datatypes::*;
use datafusion_common::ScalarValue;
use millstream_core::time::NO_EVENT_TIME;
use proptest::prelude::*;

use super::data::*;
use super::reference::{Expected, expected};
use crate::window::spec::*;

/// A small generator: proptest shrinks its seed's sizes, not its draws.
pub struct Draw(pub u64);

impl Draw {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }
}

pub fn default_value(default: &ScalarValue) -> Val {
    super::data::value(&default.to_array().unwrap(), 0)
}

/// Events with few keys, many ties, some disorder, nulls and odd values.
pub fn events(draw: &mut Draw, count: usize) -> Input {
    let keys = 1 + draw.below(4);
    let step = draw.pick(&[1u64, 3, 40]);
    let disorder = draw.pick(&[0u64, 0, 5, 200]);
    let specials = draw.one_in(6);
    let large = draw.one_in(6);
    let nulls = draw.pick(&[0u64, 8, 2]);
    let mut now = 1_000i64;
    let events = (0..count)
        .map(|_| {
            now += draw.below(step) as i64;
            let mut time = now;
            if disorder > 0 && draw.one_in(3) {
                time -= draw.below(disorder) as i64;
            }
            let time = if draw.one_in(40) { NO_EVENT_TIME } else { time };
            let values = (0..COLUMNS).map(|at| value_of(draw, at, keys, specials, large, nulls)).collect();
            Event { time, values }
        })
        .collect();
    Input { events, lateness: draw.pick(&[0, 2, 30, 300]) }
}

fn value_of(draw: &mut Draw, at: usize, keys: u64, specials: bool, large: bool, nulls: u64) -> Val {
    let quarter = |draw: &mut Draw| (draw.below(4000) as f64 - 2000.0) / 4.0;
    if at != SURE && nulls > 0 && draw.one_in(nulls) {
        return Val::Null;
    }
    match at {
        KEY_TEXT => Val::S(format!("key {}", draw.below(keys)).repeat(1 + draw.below(2) as usize * 3)),
        KEY_INT | TIE_INT => Val::I(i128::from(draw.below(keys))),
        KEY_FLOAT => Val::F(draw.pick(&[0.0, -0.0, f64::NAN, -f64::NAN, 1.5])),
        FLOAT | OTHER if specials && draw.one_in(8) => {
            Val::F(draw.pick(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0]))
        }
        FLOAT | OTHER => Val::F(quarter(draw)),
        SMALL_FLOAT => Val::F(f64::from(quarter(draw) as f32)),
        INT if large => Val::I(i128::from(draw.next() as i64)),
        UNSIGNED if large => Val::I(i128::from(draw.next())),
        INT | SURE => Val::I(i128::from(draw.below(50)) - 25),
        UNSIGNED => Val::I(i128::from(draw.below(50))),
        TEXT | TIE_TEXT => Val::S("abcdefghij"[..draw.below(11) as usize].to_owned()),
        DECIMAL => Val::I(i128::from(draw.below(2000)) - 1000),
        WIDE if large => Val::I(10i128.pow(29) * (i128::from(draw.below(19)) - 9)),
        WIDE => Val::I((i128::from(draw.below(9)) - 4) * 1_000_000_000_000_000_000_000),
        FLAG => Val::B(draw.one_in(2)),
        TIME => Val::I(i128::from(draw.below(1000))),
        _ => Val::I(i128::from(draw.below(20))),
    }
}

/// A function with a window.
pub fn function(draw: &mut Draw) -> WindowFunction {
    let any = [FLOAT, INT, TEXT, DECIMAL, WIDE, FLAG, TIME, UNSIGNED, SMALL_FLOAT, DATE, SURE];
    let ns = draw.pick(&[Some(0), Some(5), Some(50), Some(50), Some(100_000), None]);
    let rows = draw.pick(&[Some(0), Some(1), Some(3), Some(40), None]);
    let frame = if draw.one_in(3) { Frame::Rows(rows) } else { Frame::Range(ns) };
    let mut f = WindowFunction {
        function: Function::Count,
        arguments: vec![],
        filter: draw.one_in(4).then_some(FLAG),
        ignore_nulls: false,
        partition_by: draw.pick(&[vec![], vec![KEY_TEXT], vec![KEY_TEXT], vec![KEY_INT, KEY_TEXT], vec![KEY_FLOAT]]),
        tie_breaks: vec![],
        frame,
        output: Arc::new(Field::new("out", DataType::Int64, true)),
    };
    if draw.one_in(3) {
        for argument in draw.pick(&[vec![TIE_INT], vec![TIE_TEXT], vec![TIE_TEXT, TIE_INT], vec![TEXT]]) {
            let (descending, nulls_first) = (draw.one_in(2), draw.one_in(2));
            f.tie_breaks.push(TieBreak { argument, descending, nulls_first });
        }
    }
    let own = |argument: usize| arguments().field(argument).data_type().clone();
    let number = [FLOAT, FLOAT, INT, UNSIGNED, SURE];
    let argument = draw.pick(&any);
    let (kind, arguments, output) = match draw.below(18) {
        0 => (Function::Count, vec![], DataType::Int64),
        1 => (Function::Count, vec![argument], DataType::Int64),
        2 => (Function::CountDistinct, vec![argument], DataType::Int64),
        3 | 4 => sum(draw, Function::Sum),
        5 | 6 => sum(draw, Function::Avg),
        7 | 8 => {
            let kind = if draw.one_in(2) { Function::Min } else { Function::Max };
            (kind, vec![argument], own(argument))
        }
        9 => {
            let kind = Function::Variance { sample: draw.one_in(2), root: draw.one_in(2) };
            (kind, vec![draw.pick(&[FLOAT, OTHER, SMALL_FLOAT])], DataType::Float64)
        }
        10 => {
            let sample = draw.one_in(2);
            let kinds = [Function::Covariance { sample }, Function::Correlation, Function::RegressionSlope];
            (draw.pick(&kinds), vec![FLOAT, OTHER], DataType::Float64)
        }
        11 => (Function::FirstValue, vec![argument], own(argument)),
        12 => (Function::LastValue, vec![argument], own(argument)),
        13 => (Function::NthValue(1 + draw.below(5)), vec![argument], own(argument)),
        14 => {
            let default = ScalarValue::new_default(&own(argument)).unwrap();
            let default = if draw.one_in(2) { ScalarValue::Null } else { default };
            (Function::Lag { offset: draw.below(4), default }, vec![argument], own(argument))
        }
        15 => (Function::RowNumber, vec![], DataType::UInt64),
        16 => (Function::ApproxDistinct, vec![argument], DataType::UInt64),
        _ => {
            let argument = draw.pick(&number);
            (Function::ApproxPercentile(draw.pick(&[0.0, 0.5, 0.9, 0.37, 1.0])), vec![argument], own(argument))
        }
    };
    f.ignore_nulls = draw.one_in(2)
        && matches!(kind, Function::FirstValue | Function::LastValue | Function::NthValue(_) | Function::Lag { .. });
    (f.function, f.arguments) = (kind, arguments);
    f.output = Arc::new(Field::new("out", output, true));
    if matches!(f.function, Function::Lag { .. } | Function::RowNumber) {
        f.filter = None;
    }
    f
}

fn sum(draw: &mut Draw, kind: Function) -> (Function, Vec<usize>, DataType) {
    let average = kind == Function::Avg;
    let (argument, output) = match draw.below(6) {
        0 | 1 => (FLOAT, DataType::Float64),
        2 if average => (INT, DataType::Float64),
        2 => (INT, DataType::Int64),
        3 if average => (UNSIGNED, DataType::Float64),
        3 => (UNSIGNED, DataType::UInt64),
        4 if average => (DECIMAL, DataType::Decimal128(14, 6)),
        4 => (DECIMAL, DataType::Decimal128(20, 2)),
        _ if average => (WIDE, DataType::Decimal128(34, 7)),
        _ => (WIDE, DataType::Decimal128(31, 3)),
    };
    (kind, vec![argument], output)
}

pub fn spec(draw: &mut Draw) -> WindowSpec {
    WindowSpec {
        functions: (0..1 + draw.below(5)).map(|_| function(draw)).collect(),
        input: input(),
        arguments: arguments(),
        emit: if draw.one_in(2) { Emit::OnArrival } else { Emit::OnWatermark },
        late: if draw.one_in(2) { LatePolicy::Drop } else { LatePolicy::DeadLetter },
    }
}

pub fn close(a: &Val, b: &Val) -> bool {
    match (a, b) {
        (Val::F(a), Val::F(b)) => {
            a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-3)
        }
        (a, b) => a == b,
    }
}

/// Checks an outcome against the definition.
pub fn check(spec: &WindowSpec, data: &Input, outcome: &Outcome) {
    let expected = expected(spec, data);
    let (late, _) = data.watermarks();
    let placed = |i: &usize| data.events[*i].time != NO_EVENT_TIME;
    let mut order: Vec<usize> = (0..data.events.len()).filter(|i| expected[*i].is_some()).collect();
    if spec.emit == Emit::OnWatermark {
        order.sort_by_key(|&i| data.events[i].time);
    }
    let refused = |i: &usize| expected[*i].as_ref().is_some_and(|row| row.contains(&Expected::Refused));
    let given: Vec<usize> = order.iter().copied().filter(|i| !refused(i)).collect();
    let ids: Vec<usize> = outcome.meta.iter().map(|m| (m.0 as usize - 10) / 2).collect();
    assert_eq!(ids, given, "rows that came out, by their order");
    for (row, &id) in given.iter().enumerate() {
        assert_eq!(value(outcome.rows.column(0), row), Val::I(id as i128));
        assert_eq!(value(outcome.rows.column(1), row), data.events[id].values[TEXT]);
        for (at, expected) in expected[id].as_ref().unwrap().iter().enumerate() {
            let Expected::Value(expected) = expected else { unreachable!() };
            let got = value(outcome.rows.column(3 + at), row);
            let function = &spec.functions[at];
            assert!(close(&got, expected), "row {id}: {got:?}, not {expected:?}: {function:?} {:?}", spec.emit);
        }
    }
    let letters = (0..data.events.len())
        .filter(|i| !placed(i) || refused(i) || late[*i] && spec.late == LatePolicy::DeadLetter)
        .count();
    assert_eq!(outcome.refused.len(), letters, "{:?}", outcome.refused);
    let dropped = (0..data.events.len()).filter(|i| placed(i) && late[*i] && spec.late == LatePolicy::Drop).count();
    assert_eq!(outcome.late_dropped, dropped as u64);
}

pub fn cuts(draw: &mut Draw, count: usize) -> Vec<usize> {
    let batch = draw.pick(&[1u64, 3, 20, 500]);
    let mut cuts = Vec::new();
    let mut at = 0;
    loop {
        at += 1 + draw.below(batch) as usize;
        if at >= count {
            return cuts;
        }
        cuts.push(at);
    }
}

fn case(seed: u64, count: usize) {
    let mut draw = Draw(seed);
    let spec = spec(&mut draw);
    let data = events(&mut draw, count);
    let whole = run(&spec, &data, &[], |_| false);
    check(&spec, &data, &whole);
    for restarts in [0, 5, 1] {
        let cuts = cuts(&mut draw, count);
        let phase = draw.below(10) as usize;
        let again = run(&spec, &data, &cuts, |batch| restarts > 0 && (batch + phase).is_multiple_of(restarts));
        assert_eq!(whole, again, "batches {cuts:?}, restart every {restarts}: {spec:?}");
    }
}

/// `MILLSTREAM_WINDOW_CASES` lengthens the search.
fn cases() -> u32 {
    std::env::var("MILLSTREAM_WINDOW_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_definition(seed in any::<u64>(), count in 1usize..120) {
        case(seed, count);
    }
}

/// Long enough for several levels of blocks.
#[test]
fn equals_the_definition_on_long_windows() {
    for seed in 0..6 {
        case(seed, 700);
    }
}
