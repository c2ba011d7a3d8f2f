//! How fast events become columns and rows become lines.
//!
//! ```sh
//! cargo run --release -p millstream-connectors --example codec_speed -- transactions.ndjson
//! ```
//!
//! Reads NDJSON of the fraud job's transactions and prints the best of several passes in ns an event, for batches of
//! 1, 64 and 1024 events. Batches are few enough to stay in the cache, as they do while a pipeline runs.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use millstream_connectors::codec::{Decoded, Decoder, EncodeContext, InputFormat, OutputFormat, Timestamps, encoder};
use millstream_core::record::RawBatch;
use millstream_core::rows::MetaColumns;
use millstream_core::{Chunk, FieldSpec, FieldType, RecordRef, RowSchema, Rows};

const FIELDS: [(&str, &str); 9] = [
    ("transaction_id", "string"),
    ("card_id", "string"),
    ("merchant_id", "string"),
    ("amount", "float64"),
    ("event_time", "timestamp_ms"),
    ("currency", "string"),
    ("lat", "float64"),
    ("lon", "float64"),
    ("channel", "string"),
];
const EVENTS: usize = 1024;
const PASSES: usize = 200;

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let path = std::env::args().nth(1).ok_or("which NDJSON file?")?;
    let text = std::fs::read(path)?;
    let events: Vec<&[u8]> = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).take(EVENTS).collect();
    for declared in [9, 5] {
        let schema = schema(declared)?;
        for batch in [1, 64, 1024] {
            let batches: Vec<Arc<RawBatch>> = events.chunks(batch).map(raw).collect();
            let mut decoder = Decoder::new(&schema, InputFormat::Json)?;
            let mut out = Decoded::default();
            let decode = best(events.len(), || batches.iter().try_for_each(|raw| decoder.decode(raw, &mut out)))?;
            let mut rows = Vec::new();
            for raw in &batches {
                decoder.decode(raw, &mut out)?;
                rows.push(to_rows(raw, &out));
            }
            let mut encoder = encoder(&context(&decoder))?;
            let encode = best(events.len(), || {
                let mut chunk = Chunk::default();
                rows.iter().try_for_each(|rows| encoder.write(rows, &mut chunk))?;
                black_box(chunk);
                Ok(())
            })?;
            println!("{declared} of 9 fields, batches of {batch:4}: decode {decode:4.0} ns, encode {encode:4.0} ns");
        }
    }
    Ok(())
}

fn best(events: usize, mut pass: impl FnMut() -> millstream_core::Result<()>) -> Result<f64, AnyError> {
    let mut best = f64::MAX;
    for _ in 0..PASSES {
        let start = Instant::now();
        pass()?;
        best = best.min(start.elapsed().as_nanos() as f64 / events as f64);
    }
    Ok(best)
}

fn schema(declared: usize) -> Result<RowSchema, AnyError> {
    let mut schema = RowSchema::default();
    for (name, kind) in FIELDS.iter().take(declared) {
        let path = vec![(*name).to_owned()];
        let kind = FieldType::parse(kind)?;
        schema.fields.push(FieldSpec { name: (*name).to_owned(), kind, path, required: false, default: None });
    }
    Ok(schema)
}

fn raw(events: &[&[u8]]) -> Arc<RawBatch> {
    let mut raw = RawBatch::new(millstream_core::TaskId::new(0));
    for (offset, event) in events.iter().enumerate() {
        raw.push(offset as u64, 0, None, Some(event), &[]);
    }
    Arc::new(raw)
}

fn to_rows(raw: &Arc<RawBatch>, decoded: &Decoded) -> Rows {
    let mut meta = MetaColumns::default();
    for &index in &decoded.kept {
        meta.push(&RecordRef { batch: raw.clone(), index }, 0, 0, false);
    }
    Rows { columns: decoded.columns.clone(), meta: meta.into() }
}

fn context(decoder: &Decoder) -> EncodeContext {
    EncodeContext {
        pipeline: "fraud".to_owned(),
        source: "transactions".to_owned(),
        schema: decoder.schema().clone(),
        format: OutputFormat::Json,
        timestamps: Timestamps::Epoch,
        include_event: false,
        source_format: InputFormat::Json,
        key_column: None,
        partition_column: None,
        header_columns: Vec::new(),
        dead_letters: false,
        boundaries: false,
    }
}
