//! Rows in memory, a catalog, and running a query over them.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::array_value_to_string;
use millstream_core::rows::MetaColumns;
use millstream_core::{DeadLetter, Meta, Progress, RawBatch, RecordRef, Rows, Step, StepOutput, TaskId, Watermark};
use millstream_features::{
    Catalog, Emit, LatePolicy, PartitionedBy, QueryOptions, QueryPlan, Relation, SqlProblem, Table, TableFormat,
    Tables, plan_query,
};

/// A transaction: id, card, merchant, amount, count, event time in ms.
#[derive(Clone, Debug)]
pub struct Tx {
    pub id: String,
    pub card: Option<String>,
    pub merchant: Option<String>,
    pub amount: Option<f64>,
    pub count: Option<i64>,
    pub time_ms: i64,
}

pub fn tx(id: &str, card: &str, merchant: &str, amount: f64, count: i64, time_ms: i64) -> Tx {
    Tx {
        id: id.into(),
        card: Some(card.into()),
        merchant: Some(merchant.into()),
        amount: Some(amount),
        count: Some(count),
        time_ms,
    }
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("transaction_id", DataType::Utf8, false),
        Field::new("card_id", DataType::Utf8, true),
        Field::new("merchant_id", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("itemCount", DataType::Int64, true),
        Field::new("event_time", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new(
            "device",
            DataType::Struct(
                vec![Field::new("os", DataType::Utf8, true), Field::new("age", DataType::Int64, true)].into(),
            ),
            true,
        ),
    ]))
}

pub const MERCHANTS: &str = "merchant_id,risk,country\nm1,0.1,CH\nm2,0.9,US\nm3,,DE\n";
pub const LIMITS: &str = "country,level,max_amount\nCH,1,100.5\nCH,2,1000\nUS,1,50\n";

pub fn table(text: &str, key: &[&str]) -> Table {
    let key: Vec<String> = key.iter().map(|&k| k.to_owned()).collect();
    Table::from_bytes(Path::new("table.csv"), text.as_bytes(), TableFormat::Csv, None, &key).unwrap()
}

pub fn tables() -> Tables {
    Tables::from([
        ("merchants".to_owned(), Arc::new(table(MERCHANTS, &["merchant_id"]))),
        ("limits".to_owned(), Arc::new(table(LIMITS, &["country", "level"]))),
    ])
}

pub fn catalog_with(partitioned_by: PartitionedBy, event_time: bool) -> Catalog {
    let relation =
        Relation { name: "transactions".into(), schema: schema(), event_time: event_time.then_some(5), partitioned_by };
    Catalog { relations: vec![relation], tables: tables().iter().map(|(name, t)| t.describe(name)).collect() }
}

pub fn catalog() -> Catalog {
    catalog_with(PartitionedBy::Single, true)
}

pub fn plan(sql: &str) -> QueryPlan {
    plan_emit(sql, Emit::OnArrival)
}

pub fn plan_emit(sql: &str, emit: Emit) -> QueryPlan {
    match plan_query(sql, &catalog(), &QueryOptions { emit, late: LatePolicy::Drop }) {
        Ok(plan) => plan,
        Err(problems) => panic!("{sql}\n{}", shown(sql, &problems)),
    }
}

/// Problems with the text they are about.
pub fn shown(sql: &str, problems: &[SqlProblem]) -> String {
    let mut text = String::new();
    for p in problems {
        let at = p.span.clone().map_or("?".to_owned(), |s| format!("«{}»", &sql[s]));
        text.push_str(&format!("{} at {at}: {}\n", p.code, p.message));
        if let Some(help) = &p.help {
            text.push_str(&format!("    help: {help}\n"));
        }
    }
    text
}

pub fn columns(all: &[Tx]) -> RecordBatch {
    let os: ArrayRef = Arc::new(StringArray::from(all.iter().map(|t| t.card.clone()).collect::<Vec<_>>()));
    let age: ArrayRef = Arc::new(Int64Array::from(all.iter().map(|t| t.count).collect::<Vec<_>>()));
    let schema = schema();
    let DataType::Struct(fields) = schema.field(6).data_type() else { panic!() };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(all.iter().map(|t| t.id.clone()).collect::<Vec<_>>())),
        Arc::new(StringArray::from(all.iter().map(|t| t.card.clone()).collect::<Vec<_>>())),
        Arc::new(StringArray::from(all.iter().map(|t| t.merchant.clone()).collect::<Vec<_>>())),
        Arc::new(Float64Array::from(all.iter().map(|t| t.amount).collect::<Vec<_>>())),
        Arc::new(Int64Array::from(all.iter().map(|t| t.count).collect::<Vec<_>>())),
        Arc::new(TimestampMillisecondArray::from(all.iter().map(|t| t.time_ms).collect::<Vec<_>>())),
        Arc::new(arrow::array::StructArray::new(fields.clone(), vec![os, age], None)),
    ];
    RecordBatch::try_new(schema, columns).unwrap()
}

/// The rows and progress of `all`, cut into batches of the given sizes (the last one repeats).
pub fn batches(all: &[Tx], sizes: &[usize]) -> Vec<(Rows, Progress)> {
    let mut watermark = Watermark::new(2_000_000_000);
    let mut done = Vec::new();
    let (mut start, mut turn) = (0, 0);
    while start < all.len() {
        let size = sizes[turn.min(sizes.len() - 1)].max(1);
        let part = &all[start..(start + size).min(all.len())];
        let mut raw = RawBatch::new(TaskId::new(0));
        for (i, t) in part.iter().enumerate() {
            raw.push((start + i) as u64, 0, None, Some(t.id.as_bytes()), &[]);
        }
        let raw = Arc::new(raw);
        let (mut meta, mut progress) = (MetaColumns::default(), Progress::default());
        for (i, t) in part.iter().enumerate() {
            let offset = (start + i) as u64;
            let late = watermark.observe(t.time_ms * 1_000_000);
            meta.push(&RecordRef { batch: raw.clone(), index: i as u32 }, t.time_ms * 1_000_000, offset, late);
            progress.offsets.push(offset);
            progress.watermarks.push(watermark.value());
        }
        done.push((Rows { columns: columns(part), meta: Meta::from(meta) }, progress));
        start += size;
        turn += 1;
    }
    done
}

/// Everything a step gave, as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub rows: Vec<String>,
    pub rejected: Vec<String>,
    pub late_dropped: u64,
}

impl Given {
    pub fn add(&mut self, out: StepOutput) {
        for rows in out.rows {
            for i in 0..rows.len() {
                let cells: Vec<String> = rows
                    .columns
                    .columns()
                    .iter()
                    .map(|c| if c.is_null(i) { "NULL".into() } else { array_value_to_string(c, i).unwrap() })
                    .collect();
                self.rows.push(format!("{}@{}: {}", rows.meta.offset(i), rows.meta.trigger(i), cells.join(" | ")));
            }
        }
        self.rejected.extend(out.rejected.iter().map(letter));
        self.late_dropped += out.late_dropped;
    }
}

pub fn letter(letter: &DeadLetter) -> String {
    format!("{}@{}: {} {}", letter.record.offset(), letter.trigger, letter.rejection.code, letter.rejection.message)
}

pub fn run_step(step: &mut dyn Step, all: &[Tx], sizes: &[usize]) -> Given {
    let mut given = Given::default();
    for (rows, progress) in batches(all, sizes) {
        let mut out = StepOutput::default();
        step.process(rows, &progress, &mut out).unwrap();
        given.add(out);
    }
    given
}

pub fn run(plan: &QueryPlan, all: &[Tx], sizes: &[usize]) -> Given {
    run_step(plan.build(&tables()).unwrap().as_mut(), all, sizes)
}
