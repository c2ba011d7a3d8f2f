//! Long runs: nothing drifts, nothing grows.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use millstream_core::rows::MetaColumns;
use millstream_core::{Progress, RawBatch, Rows, StepOutput, TaskId, Watermark};

use super::random::Draw;
use crate::window::WindowOperator;
use crate::window::exact::{ExactProducts, ExactSum, variance};
use crate::window::spec::*;

/// After ten million slides (fewer without optimisation) sum, mean and deviation are those of the window.
#[test]
fn nothing_drifts() {
    let slides = if cfg!(debug_assertions) { 300_000 } else { 10_000_000 };
    let mut draw = Draw(42);
    let (mut sum, mut squares) = (ExactSum::default(), ExactProducts::default());
    let mut window: VecDeque<f64> = VecDeque::new();
    for slide in 0..slides {
        let x = match draw.below(1000) {
            0 => 1e15 + draw.below(100) as f64 / 7.0,
            1 => 1e-12 * draw.below(100) as f64,
            _ => 1e6 + draw.below(1 << 40) as f64 / 1e9,
        };
        window.push_back(x);
        sum.add(x);
        squares.add(x, x);
        if window.len() > 500 {
            let x = window.pop_front().unwrap();
            sum.subtract(x);
            squares.subtract(x, x);
        }
        if slide % (slides / 100) == slides / 100 - 1 {
            let n = window.len() as u64;
            // The same from nothing, to the bit; and in plain arithmetic within 1e-9.
            let (mut fresh, mut fresh_squares) = (ExactSum::default(), ExactProducts::default());
            window.iter().for_each(|&x| fresh.add(x));
            window.iter().for_each(|&x| fresh_squares.add(x, x));
            assert_eq!(sum.value().to_bits(), fresh.value().to_bits());
            let deviation = variance(n, &sum, &squares, true, true).unwrap();
            assert_eq!(Some(deviation), variance(n, &fresh, &fresh_squares, true, true));
            let mean = window.iter().sum::<f64>() / n as f64;
            assert!((sum.mean(n) - mean).abs() <= 1e-9 * mean);
            let plain = (window.iter().map(|x| (x - sum.mean(n)).powi(2)).sum::<f64>() / (n - 1) as f64).sqrt();
            assert!((deviation - plain).abs() <= 1e-9 * plain, "{deviation} {plain}");
        }
    }
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![
        Field::new("card", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("shop", DataType::Utf8, true),
        Field::new("time", time, true),
    ]))
}

pub fn function(function: Function, arguments: Vec<usize>, frame: Frame, output: DataType) -> WindowFunction {
    WindowFunction {
        function,
        arguments,
        filter: None,
        ignore_nulls: false,
        partition_by: vec![0],
        tie_breaks: vec![],
        frame,
        output: Arc::new(Field::new("out", output, true)),
    }
}

/// Feeds `(card, seconds)` in batches, and looks at the operator after each.
fn feed(
    functions: Vec<WindowFunction>,
    emit: Emit,
    events: impl Iterator<Item = (u64, i64)>,
    mut look: impl FnMut(&WindowOperator, usize),
) {
    let schema = schema();
    let spec = WindowSpec { functions, input: schema.clone(), arguments: schema.clone(), emit, late: LatePolicy::Drop };
    let mut operator = WindowOperator::new(spec).unwrap();
    let mut watermark = Watermark::new(5_000_000_000);
    let events: Vec<_> = events.collect();
    let mut offset = 0;
    for (number, chunk) in events.chunks(256).enumerate() {
        let cards: ArrayRef = Arc::new(StringArray::from_iter_values(chunk.iter().map(|e| format!("card {}", e.0))));
        let amounts: ArrayRef = Arc::new(Float64Array::from_iter_values(chunk.iter().map(|e| e.1 as f64)));
        let shops: ArrayRef = Arc::new(StringArray::from_iter_values(chunk.iter().map(|e| format!("shop {}", e.1))));
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(chunk.iter().map(|e| e.1 * 1000)));
        let batch = RecordBatch::try_new(schema.clone(), vec![cards, amounts, shops, times]).unwrap();
        let (mut raw, mut meta, mut progress) =
            (RawBatch::new(TaskId::new(0)), MetaColumns::default(), Progress::default());
        for (i, &(_, seconds)) in chunk.iter().enumerate() {
            raw.push(offset, 0, None, Some(b"x"), &[]);
            meta.records.push((0, i as u32));
            meta.event_time.push(seconds * 1_000_000_000);
            meta.trigger.push(offset);
            meta.late.push(watermark.observe(seconds * 1_000_000_000));
            progress.offsets.push(offset);
            progress.watermarks.push(watermark.value());
            offset += 1;
        }
        meta.batches.push(Arc::new(raw));
        let rows = Rows { columns: batch.clone(), meta: meta.into() };
        operator.process(rows, batch, &progress, &mut StepOutput::default()).unwrap();
        look(&operator, number);
    }
}

const MINUTE_NS: i64 = 60_000_000_000;

/// Ever new cards: those whose windows are empty are forgotten, and so are their strings.
#[test]
fn keys_vanish_with_their_last_row() {
    for emit in [Emit::OnArrival, Emit::OnWatermark] {
        let functions = vec![
            function(Function::Sum, vec![1], Frame::Range(Some(MINUTE_NS)), DataType::Float64),
            function(Function::Max, vec![2], Frame::Range(Some(MINUTE_NS)), DataType::Utf8),
            function(Function::CountDistinct, vec![2], Frame::Range(Some(2 * MINUTE_NS)), DataType::Int64),
        ];
        // 10 events a second; a card is seen for 3 s and never again. 120 s and a bit are held.
        let events = (0..60_000u64).map(|i| (i / 30, i as i64 / 10));
        feed(functions, emit, events, |operator, number| {
            let size = operator.state_size();
            assert!(size.keys <= 60 && size.rows <= 1800, "batch {number}: {size:?}");
            assert!(size.bytes < 1_000_000, "batch {number}: {size:?}");
        });
    }
}

/// An index over a long window of one hot card neither grows nor is scanned.
#[test]
fn a_hot_key_stays_bounded() {
    let functions = vec![
        function(Function::Max, vec![1], Frame::Range(Some(MINUTE_NS)), DataType::Float64),
        function(Function::Min, vec![1], Frame::Range(Some(10 * MINUTE_NS)), DataType::Float64),
    ];
    let events = (0..100_000u64).map(|i| (0, i as i64 / 10));
    feed(functions, Emit::OnArrival, events, |operator, _| {
        let size = operator.state_size();
        assert!(size.rows <= 6_400 && size.bytes < 600_000, "{size:?}");
    });
}

/// Keys that must stay (LAG, unbounded sums) keep no more rows than they need.
#[test]
fn permanent_keys_keep_few_rows() {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let lag = Function::Lag { offset: 2, default: datafusion_common::ScalarValue::Null };
    let functions = vec![
        function(lag, vec![3], Frame::Range(None), time),
        function(Function::Sum, vec![1], Frame::Range(None), DataType::Float64),
        function(Function::RowNumber, vec![], Frame::Range(None), DataType::UInt64),
    ];
    let events = (0..50_000u64).map(|i| (i % 100, i as i64 / 10));
    let mut last = 0;
    feed(functions, Emit::OnArrival, events, |operator, _| last = operator.state_size().rows);
    assert!(last <= 100 * 2 + 60, "{last} rows: two a key, and those within the lateness");
}
