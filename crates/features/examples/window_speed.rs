//! How long the window operator takes for an event of the fraud job: count and sum over 5 minutes, mean, deviation
//! and maximum over an hour, and the time of the card's transaction before; 50,000 cards of Zipf frequency, 100
//! events a second of event time (or more, for more state), 1 % of them up to 3 s out of order. Then how long its state
//! takes to write and to read, all of it and what changed in the last tenth of the events.
//!
//! ```text
//! cargo run --release -p millstream-features --example window_speed [on_arrival|on_watermark] [batch] [events] [a second]
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_common::ScalarValue;
use millstream_core::rows::MetaColumns;
use millstream_core::{
    Progress, RawBatch, Result, Rows, StateReader, StateWriter, StepOutput, TaskId, Watermark, entries,
};
use millstream_features::window::WindowOperator;
use millstream_features::window::spec::{Emit, Frame, Function, LatePolicy, WindowFunction, WindowSpec};

const CARDS: usize = 50_000;
const TIME: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

/// (card, amount, milliseconds)
fn events(count: usize, a_second: usize) -> Vec<(usize, f64, i64)> {
    let mut draw = Draw(88_172_645_463_325_252);
    let mut total = 0.0;
    let weights = (1..=CARDS).map(|rank| (rank as f64).powf(-0.8));
    let cumulated: Vec<f64> = weights
        .map(|weight| {
            total += weight;
            total
        })
        .collect();
    let mut now = 1_748_851_200_000.0;
    let event = |_| {
        let rank = cumulated.partition_point(|&sum| sum < draw.unit() * total).min(CARDS - 1);
        let amount = (25.0 * (1.6 * (draw.unit() - 0.5) * 3.0).exp() * 100.0).round() / 100.0;
        now -= draw.unit().ln() * 1000.0 / a_second as f64;
        let back = if draw.unit() < 0.01 { 1 + (draw.next() % 2990) as i64 } else { 0 };
        // Cards of similar frequency are not neighbours.
        (rank * 7919 % CARDS, amount, now as i64 - back)
    };
    (0..count).map(event).collect()
}

fn spec(schema: &SchemaRef, emit: Emit) -> WindowSpec {
    let minutes = |minutes: i64| Frame::Range(Some(minutes * 60_000_000_000));
    let function = |name: &str, function, arguments: &[usize], frame, output| WindowFunction {
        function,
        arguments: arguments.to_vec(),
        filter: None,
        ignore_nulls: false,
        partition_by: vec![0],
        tie_breaks: vec![],
        frame,
        output: Arc::new(Field::new(name, output, true)),
    };
    let deviation = Function::Variance { sample: false, root: true };
    let lag = Function::Lag { offset: 1, default: ScalarValue::Null };
    let functions = vec![
        function("count_5m", Function::Count, &[], minutes(5), DataType::Int64),
        function("sum_5m", Function::Sum, &[1], minutes(5), DataType::Float64),
        function("avg_1h", Function::Avg, &[1], minutes(60), DataType::Float64),
        function("std_1h", deviation, &[1], minutes(60), DataType::Float64),
        function("max_1h", Function::Max, &[1], minutes(60), DataType::Float64),
        function("previous", lag, &[2], Frame::Rows(None), TIME),
    ];
    WindowSpec { functions, input: schema.clone(), arguments: schema.clone(), emit, late: LatePolicy::Drop }
}

fn batches(schema: &SchemaRef, events: &[(usize, f64, i64)], size: usize) -> Result<Vec<(Rows, Progress)>> {
    let mut watermark = Watermark::new(3_000_000_000);
    let mut offset = 0;
    let mut batches = Vec::new();
    for chunk in events.chunks(size.max(1)) {
        let cards = StringArray::from_iter_values(chunk.iter().map(|event| format!("c{:05}", event.0)));
        let amounts = Float64Array::from_iter_values(chunk.iter().map(|event| event.1));
        let times = TimestampMillisecondArray::from_iter_values(chunk.iter().map(|event| event.2));
        let columns: Vec<ArrayRef> = vec![Arc::new(cards), Arc::new(amounts), Arc::new(times)];
        let columns = RecordBatch::try_new(schema.clone(), columns).map_err(|e| {
            millstream_core::Error::new(millstream_features::window::codes::WINDOW_COLUMNS, e.to_string())
        })?;
        let (mut raw, mut meta, mut progress) =
            (RawBatch::new(TaskId::new(0)), MetaColumns::default(), Progress::default());
        for (i, event) in chunk.iter().enumerate() {
            raw.push(offset, event.2, None, Some(b"{}"), &[]);
            meta.records.push((0, i as u32));
            meta.event_time.push(event.2 * 1_000_000);
            meta.trigger.push(offset);
            meta.late.push(watermark.observe(event.2 * 1_000_000));
            progress.offsets.push(offset);
            progress.watermarks.push(watermark.value());
            offset += 1;
        }
        meta.batches.push(Arc::new(raw));
        batches.push((Rows { columns, meta: meta.into() }, progress));
    }
    Ok(batches)
}

fn report(what: &str, bytes: usize, taken: Duration) {
    println!("{what}: {bytes} bytes in {taken:?}, {:.0} MB/s", bytes as f64 / 1e6 / taken.as_secs_f64());
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let emit = if arguments.next().as_deref() == Some("on_watermark") { Emit::OnWatermark } else { Emit::OnArrival };
    let mut number = |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (size, count, a_second) = (number(4096), number(1_000_000), number(100));
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("card", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("time", TIME, true),
    ]));
    let batches = batches(&schema, &events(count, a_second), size)?;
    let mut operator = WindowOperator::new(spec(&schema, emit))?;
    operator.mark_saved();
    let mut out = StepOutput::default();
    let (mut given, mut whole, mut writing) = (0, StateWriter::new(), Duration::ZERO);
    let last_tenth = batches.len() / 10 * 9;
    let start = Instant::now();
    for (i, (rows, progress)) in batches.into_iter().enumerate() {
        if i == last_tenth {
            let start = Instant::now();
            operator.snapshot(&mut whole);
            writing = start.elapsed();
            operator.mark_saved();
        }
        let arguments = rows.columns.clone();
        operator.process(rows, arguments, &progress, &mut out)?;
        given += out.rows.drain(..).map(|rows| rows.len()).sum::<usize>();
    }
    let taken = start.elapsed() - writing;
    let size_now = operator.state_size();
    println!("{emit:?}, batches of {size}: {} ns an event, {given} rows out", taken.as_nanos() as usize / count.max(1));
    let each = size_now.bytes / size_now.rows.max(1);
    println!("{} keys, {} rows, {} bytes: {each} a row", size_now.keys, size_now.rows, size_now.bytes);
    report("all written", whole.as_slice().len(), writing);
    let (start, mut changes) = (Instant::now(), StateWriter::new());
    operator.take_changes(&mut changes);
    report("changes written", changes.as_slice().len(), start.elapsed());
    let (start, mut merged) = (Instant::now(), StateWriter::new());
    entries::merge(&[whole.as_slice(), changes.as_slice()], &mut merged)?;
    report("merged", merged.as_slice().len(), start.elapsed());
    let mut restored = WindowOperator::new(spec(&schema, emit))?;
    let start = Instant::now();
    restored.restore(&mut StateReader::new(whole.as_slice()))?;
    report("all read", whole.as_slice().len(), start.elapsed());
    let start = Instant::now();
    restored.apply_changes(&mut StateReader::new(changes.as_slice()))?;
    report("changes read", changes.as_slice().len(), start.elapsed());
    Ok(())
}
