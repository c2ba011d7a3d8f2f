//! Made-up events with every type of column, and a driver that feeds them to an operator.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute::concat_batches;
use arrow::datatypes::*;
use millstream_core::rows::MetaColumns;
use millstream_core::time::NO_EVENT_TIME;
use millstream_core::{Progress, RawBatch, Rows, StateReader, StateWriter, StepOutput, TaskId, Watermark};

use crate::window::WindowOperator;
use crate::window::spec::WindowSpec;

/// A value as the reference computes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Val {
    Null,
    F(f64),
    I(i128),
    S(String),
    B(bool),
}

/// The columns of the argument batch.
pub const KEY_TEXT: usize = 0;
pub const KEY_INT: usize = 1;
pub const FLOAT: usize = 2;
pub const INT: usize = 3;
pub const TEXT: usize = 4;
pub const DECIMAL: usize = 5;
pub const WIDE: usize = 6;
pub const FLAG: usize = 7;
pub const OTHER: usize = 8;
pub const TIME: usize = 9;
pub const TIE_INT: usize = 10;
pub const TIE_TEXT: usize = 11;
pub const UNSIGNED: usize = 12;
pub const SMALL_FLOAT: usize = 13;
pub const DATE: usize = 14;
pub const KEY_FLOAT: usize = 15;
pub const SURE: usize = 16;
pub const COLUMNS: usize = 17;

pub fn arguments() -> SchemaRef {
    let types = [
        ("key_text", DataType::Utf8),
        ("key_int", DataType::Int64),
        ("float", DataType::Float64),
        ("int", DataType::Int64),
        ("text", DataType::Utf8),
        ("decimal", DataType::Decimal128(10, 2)),
        ("wide", DataType::Decimal128(30, 3)),
        ("flag", DataType::Boolean),
        ("other", DataType::Float64),
        ("time", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("tie_int", DataType::Int64),
        ("tie_text", DataType::Utf8),
        ("unsigned", DataType::UInt64),
        ("small_float", DataType::Float32),
        ("date", DataType::Date32),
        ("key_float", DataType::Float64),
    ];
    let fields = types.into_iter().map(|(name, data_type)| Field::new(name, data_type, true));
    let sure = Field::new("sure", DataType::Int64, false);
    Arc::new(Schema::new(fields.chain([sure]).collect::<Vec<_>>()))
}

pub fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
        Field::new("float", DataType::Float64, true),
    ]))
}

/// An event: its time in ns (or none) and its argument values.
#[derive(Clone, Debug)]
pub struct Event {
    pub time: i64,
    pub values: Vec<Val>,
}

/// An input with its watermark.
#[derive(Clone, Debug)]
pub struct Input {
    pub events: Vec<Event>,
    pub lateness: i64,
}

impl Input {
    /// Which events are late, and the watermark after each.
    pub fn watermarks(&self) -> (Vec<bool>, Vec<i64>) {
        let mut watermark = Watermark::new(self.lateness);
        let late = |event: &Event| {
            let late = event.time != NO_EVENT_TIME && watermark.observe(event.time);
            (late, watermark.value())
        };
        self.events.iter().map(late).unzip()
    }
}

fn column<T>(events: &[Event], at: usize, read: impl Fn(&Val) -> Option<T>) -> Vec<Option<T>> {
    events.iter().map(|event| read(&event.values[at])).collect()
}

fn array(events: &[Event], at: usize, data_type: &DataType) -> ArrayRef {
    let int = |v: &Val| if let Val::I(v) = v { Some(*v) } else { None };
    let float = |v: &Val| if let Val::F(v) = v { Some(*v) } else { None };
    match data_type {
        DataType::Utf8 => {
            let texts = column(events, at, |v| if let Val::S(v) = v { Some(v.clone()) } else { None });
            Arc::new(StringArray::from(texts))
        }
        DataType::Boolean => {
            Arc::new(BooleanArray::from(column(events, at, |v| if let Val::B(v) = v { Some(*v) } else { None })))
        }
        DataType::Float64 => Arc::new(Float64Array::from(column(events, at, float))),
        DataType::Float32 => Arc::new(Float32Array::from(column(events, at, |v| float(v).map(|v| v as f32)))),
        DataType::Int64 => Arc::new(Int64Array::from(column(events, at, |v| int(v).map(|v| v as i64)))),
        DataType::UInt64 => Arc::new(UInt64Array::from(column(events, at, |v| int(v).map(|v| v as u64)))),
        DataType::Date32 => Arc::new(Date32Array::from(column(events, at, |v| int(v).map(|v| v as i32)))),
        DataType::Timestamp(..) => {
            Arc::new(TimestampMillisecondArray::from(column(events, at, |v| int(v).map(|v| v as i64))))
        }
        DataType::Decimal128(..) => {
            Arc::new(Decimal128Array::from(column(events, at, int)).with_data_type(data_type.clone()))
        }
        other => panic!("no test data of type {other}"),
    }
}

/// What came out: rows as one batch, with (offset, event time, trigger) of each, refusals, and how many late
/// events were dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub rows: RecordBatch,
    pub meta: Vec<(u64, i64, u64)>,
    pub refused: Vec<(u64, u64, String, String)>,
    pub late_dropped: u64,
}

/// Runs an input through an operator: cut into batches at `cuts`, with a snapshot and a new operator after the
/// batches where `restart` says so, and the end of the input journaled.
pub fn run(spec: &WindowSpec, input_data: &Input, cuts: &[usize], restart: impl Fn(usize) -> bool) -> Outcome {
    run_with(
        spec,
        input_data,
        cuts,
        |batch, operator| if restart(batch) { restarted(&operator, spec) } else { operator },
    )
}

/// The same, with `after` called after each batch: it says which operator goes on.
pub fn run_with(
    spec: &WindowSpec,
    input_data: &Input,
    cuts: &[usize],
    mut after: impl FnMut(usize, WindowOperator) -> WindowOperator,
) -> Outcome {
    let (late, watermarks) = input_data.watermarks();
    let schema = input();
    let mut operator = WindowOperator::new(spec.clone()).unwrap();
    let mut out = StepOutput::default();
    let (mut start, mut letters, mut meta) = (0, Vec::new(), Vec::new());
    let mut batches = Vec::new();
    let ends = cuts.iter().copied().chain([input_data.events.len()]);
    for (number, end) in ends.enumerate() {
        let events = &input_data.events[start..end];
        let fields = arguments();
        let arrays = (0..COLUMNS).map(|at| array(events, at, fields.field(at).data_type())).collect::<Vec<_>>();
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(start as i64..end as i64));
        let columns = vec![ids, arrays[TEXT].clone(), arrays[FLOAT].clone()];
        let mut raw = RawBatch::new(TaskId::new(3));
        let mut columns_meta = MetaColumns::default();
        let mut progress = Progress::default();
        for at in start..end {
            let payload = format!("event {at}");
            raw.push(10 + 2 * at as u64, at as i64, None, Some(payload.as_bytes()), &[]);
            columns_meta.records.push((0, (at - start) as u32));
            columns_meta.event_time.push(input_data.events[at].time);
            columns_meta.trigger.push(10 + 2 * at as u64);
            columns_meta.late.push(late[at]);
            progress.offsets.push(10 + 2 * at as u64);
            progress.watermarks.push(watermarks[at]);
        }
        columns_meta.batches.push(Arc::new(raw));
        let rows = Rows { columns: RecordBatch::try_new(schema.clone(), columns).unwrap(), meta: columns_meta.into() };
        let batch = RecordBatch::try_new(fields, arrays).unwrap();
        if end > start {
            operator.process(rows, batch, &progress, &mut out).unwrap();
        }
        operator = after(number, operator);
        start = end;
        drain(&mut out, &mut batches, &mut meta, &mut letters);
    }
    let end = Progress { offsets: vec![10 + 2 * input_data.events.len() as u64], watermarks: vec![i64::MAX] };
    let nothing = Rows { columns: RecordBatch::new_empty(schema), meta: MetaColumns::default().into() };
    operator.process(nothing, RecordBatch::new_empty(arguments()), &end, &mut out).unwrap();
    drain(&mut out, &mut batches, &mut meta, &mut letters);
    let rows = concat_batches(&operator.output_schema(), &batches).unwrap();
    Outcome { rows, meta, refused: letters, late_dropped: out.late_dropped }
}

/// A new operator with the state of another.
pub fn restarted(operator: &WindowOperator, spec: &WindowSpec) -> WindowOperator {
    let mut state = StateWriter::new();
    operator.snapshot(&mut state);
    let mut other = WindowOperator::new(spec.clone()).unwrap();
    let mut reader = StateReader::new(state.as_slice());
    other.restore(&mut reader).unwrap();
    assert!(reader.is_empty());
    // Damaged bytes are an error or another state, never a panic.
    for cut in [0, state.as_slice().len() / 3, state.as_slice().len().saturating_sub(1)] {
        let mut broken = WindowOperator::new(spec.clone()).unwrap();
        assert!(broken.restore(&mut StateReader::new(&state.as_slice()[..cut])).is_err());
    }
    other
}

fn drain(
    out: &mut StepOutput,
    batches: &mut Vec<RecordBatch>,
    meta: &mut Vec<(u64, i64, u64)>,
    letters: &mut Vec<(u64, u64, String, String)>,
) {
    for rows in out.rows.drain(..) {
        for i in 0..rows.len() {
            let record = rows.meta.record(i);
            let offset = rows.meta.offset(i);
            assert_eq!(record.value(), Some(format!("event {}", (offset - 10) / 2).as_bytes()));
            assert_eq!(record.batch.task, TaskId::new(3));
            meta.push((offset, rows.meta.event_time(i), rows.meta.trigger(i)));
        }
        batches.push(rows.columns);
    }
    for letter in out.rejected.drain(..) {
        let rejection = letter.rejection;
        letters.push((letter.record.offset(), letter.trigger, rejection.code.id.to_owned(), rejection.message));
    }
    let triggers: Vec<u64> = meta.iter().map(|m| m.2).collect();
    assert!(triggers.is_sorted(), "rows come out in order of their triggers");
    assert!(letters.is_sorted_by_key(|letter| letter.1));
}

/// A value of an output column.
pub fn value(array: &dyn Array, i: usize) -> Val {
    if array.is_null(i) {
        return Val::Null;
    }
    match array.data_type() {
        DataType::Float64 => Val::F(array.as_primitive::<Float64Type>().value(i)),
        DataType::Float32 => Val::F(array.as_primitive::<Float32Type>().value(i).into()),
        DataType::Int64 => Val::I(array.as_primitive::<Int64Type>().value(i).into()),
        DataType::UInt64 => Val::I(array.as_primitive::<UInt64Type>().value(i).into()),
        DataType::Date32 => Val::I(array.as_primitive::<Date32Type>().value(i).into()),
        DataType::Timestamp(..) => Val::I(array.as_primitive::<TimestampMillisecondType>().value(i).into()),
        DataType::Decimal128(..) => Val::I(array.as_primitive::<Decimal128Type>().value(i)),
        DataType::Boolean => Val::B(array.as_boolean().value(i)),
        DataType::Utf8 => Val::S(array.as_string::<i32>().value(i).to_owned()),
        DataType::Utf8View => Val::S(array.as_string_view().value(i).to_owned()),
        other => panic!("no value of type {other}"),
    }
}
