//! Pipelines cut down to one source or one output.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use millstream_config::{Cx, Pipeline};
use millstream_connectors::codec::InputFormat;
use millstream_connectors::{EncodeContext, Env, SinkSpec, SourceSpec, registry};
use millstream_core::rows::MetaColumns;
use millstream_core::{Chunk, PollLimit, RawBatch, Receipt, RecordRef, Rows, Sink, Source, TaskId};

/// A pipeline with the fields of its source and of its output.
pub fn pipeline(source: &str, output: &str) -> (Option<Pipeline>, Cx) {
    let text = format!(
        "pipeline: p\nsources:\n  in: {{ {source}, schema: {{ a: string, n: int64 }} }}\noutputs:\n  out: {{ {output} }}\n"
    );
    let (pipeline, diagnostics) = Pipeline::parse("p.yaml", &text, &|_| None);
    (pipeline, Cx::new(diagnostics))
}

fn unwrap<T>(made: Option<T>, cx: &Cx) -> T {
    assert!(!cx.diagnostics().has_errors(), "{}", cx.diagnostics().render(false));
    made.unwrap()
}

pub fn source(fields: &str) -> Box<dyn SourceSpec> {
    let (pipeline, mut cx) = pipeline(fields, "type: stdout");
    let made = registry::source(&pipeline.unwrap().sources[0].connector, &mut cx);
    unwrap(made, &cx)
}

pub fn sink(fields: &str) -> Box<dyn SinkSpec> {
    let (pipeline, mut cx) = pipeline("type: stdin", fields);
    let made = registry::sink(&pipeline.unwrap().outputs[0].connector, &mut cx);
    unwrap(made, &cx)
}

pub fn env(dir: &Path) -> Arc<Env> {
    Arc::new(Env::new(dir, ".millstream", "p", false))
}

pub use crate::contract::{Seen, seen};

/// All that a source has now.
pub fn drain(source: &mut dyn Source) -> Vec<Seen> {
    let mut all = Vec::new();
    loop {
        let mut out = RawBatch::new(millstream_core::TaskId::new(0));
        let polled = source.poll(PollLimit { records: 7, bytes: 1 << 20 }, &mut out).unwrap();
        if polled != millstream_core::Polled::Records {
            return all;
        }
        all.extend(seen(&out));
    }
}

/// The columns of test outputs.
pub fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

pub fn context(spec: &dyn SinkSpec) -> EncodeContext {
    EncodeContext {
        pipeline: "p".into(),
        source: "in".into(),
        schema: schema(),
        format: spec.format(),
        timestamps: spec.timestamps(),
        include_event: false,
        source_format: InputFormat::Json,
        key_column: spec.key().map(|_| 0),
        partition_column: spec.partition_column().map(|_| 0),
        header_columns: Vec::new(),
        dead_letters: false,
        boundaries: spec.boundaries(),
    }
}

pub fn open(spec: &dyn SinkSpec, env: &Arc<Env>, tasks: u32) -> Box<dyn Sink> {
    spec.open(env, Some(tasks), &context(spec)).unwrap()
}

/// Recovers every task, and those beyond that have committed.
pub fn recover(sink: &mut dyn Sink, tasks: u32, committed: &[(TaskId, Receipt)]) -> millstream_core::Result<()> {
    let all = (0..tasks).map(TaskId::new).chain(committed.iter().map(|(task, _)| *task));
    let all: std::collections::BTreeSet<TaskId> = all.collect();
    all.into_iter().try_for_each(|task| {
        let receipt = committed.iter().find(|(of, _)| *of == task).map(|(_, receipt)| receipt);
        sink.recover(task, receipt)
    })
}

/// A chunk with the rows `range`, as the output's own encoder makes it.
pub fn chunk(spec: &dyn SinkSpec, range: std::ops::Range<i64>) -> Chunk {
    chunk_of(spec, range, 0)
}

/// The same, from partition `partition` of the input.
pub fn chunk_of(spec: &dyn SinkSpec, range: std::ops::Range<i64>, partition: u32) -> Chunk {
    let mut chunk = Chunk::default();
    let mut raw = RawBatch::new(TaskId::new(partition));
    for n in range.clone() {
        raw.push(n as u64, 0, None, Some(b"{}"), &[]);
    }
    let raw = Arc::new(raw);
    let mut meta = MetaColumns::default();
    for i in 0..raw.len() as u32 {
        meta.push(&RecordRef { batch: raw.clone(), index: i }, 0, u64::from(i), false);
    }
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(range));
    let columns = RecordBatch::try_new(schema(), vec![column]).unwrap();
    if columns.num_rows() > 0 {
        spec.encoder(&context(spec)).unwrap().write(&Rows { columns, meta: meta.into() }, &mut chunk).unwrap();
    }
    chunk
}

pub fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The numbers in Parquet parts `stem-NNNNN.parquet`, part by part.
pub fn parts(dir: &Path, stem: &str) -> Vec<Vec<i64>> {
    let mut parts = Vec::new();
    loop {
        let path = dir.join(format!("{stem}-{:05}.parquet", parts.len()));
        let Ok(file) = std::fs::File::open(path) else { return parts };
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let mut rows = Vec::new();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
            rows.extend((0..column.len()).map(|i| column.value(i)));
        }
        parts.push(rows);
    }
}

/// What a pipeline would keep of its commits.
pub type Committed = Vec<(TaskId, Receipt)>;
