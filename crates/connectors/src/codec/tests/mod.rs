//! Tests of the codecs as a whole; the parts have theirs beside them.

mod csv;
mod dead_letters;
mod json;
mod output;
mod random;
mod staged;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use millstream_core::record::{NO_TIMESTAMP, RawBatch};
use millstream_core::rows::MetaColumns;
use millstream_core::{Chunk, FieldSpec, FieldType, RecordRef, RowSchema, Rows, TaskId};

use super::*;

/// A field written as `name: type`, with ` required`, ` = default` and ` from a.b` behind it as one likes.
pub(crate) fn field(text: &str) -> FieldSpec {
    let (text, path) = text.split_once(" from ").map_or((text, None), |(text, path)| (text, Some(path)));
    let (text, default) = text.split_once(" = ").map_or((text, None), |(text, value)| (text, Some(value)));
    let (text, required) = text.strip_suffix(" required").map_or((text, false), |text| (text, true));
    let (name, kind) = text.split_once(": ").unwrap();
    FieldSpec {
        name: name.to_owned(),
        kind: FieldType::parse(kind).unwrap(),
        path: path.unwrap_or(name).split('.').map(str::to_owned).collect(),
        required,
        default: default.map(|value| serde_json::from_str(value).unwrap()),
    }
}

pub(crate) fn schema(fields: &[&str]) -> RowSchema {
    RowSchema { fields: fields.iter().map(|text| field(text)).collect(), strict: false }
}

pub(crate) fn raw(payloads: &[&[u8]]) -> RawBatch {
    let mut raw = RawBatch::new(TaskId::new(0));
    for (offset, payload) in payloads.iter().enumerate() {
        raw.push(offset as u64, NO_TIMESTAMP, None, Some(payload), &[]);
    }
    raw
}

pub(crate) fn context(schema: SchemaRef, format: OutputFormat) -> EncodeContext {
    EncodeContext {
        pipeline: "fraud".into(),
        source: "transactions".into(),
        schema,
        format,
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

/// Rows of a decoded batch, each with its own record and the event time `offset` milliseconds.
pub(crate) fn rows(raw: RawBatch, decoded: &Decoded) -> Rows {
    let batch = Arc::new(raw);
    let mut meta = MetaColumns::default();
    for &index in &decoded.kept {
        let record = RecordRef { batch: batch.clone(), index };
        meta.push(&record, record.offset() as i64 * 1_000_000, record.offset(), false);
    }
    Rows { columns: decoded.columns.clone(), meta: meta.into() }
}

/// Rows of the given columns, made from records `{}`.
pub(crate) fn rows_of(columns: Vec<(&str, ArrayRef)>) -> Rows {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays: Vec<ArrayRef> = columns.into_iter().map(|(_, array)| array).collect();
    let columns = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let payloads = vec![b"{}".as_slice(); columns.num_rows()];
    let kept = (0..columns.num_rows() as u32).collect();
    rows(raw(&payloads), &Decoded { columns, kept, rejected: Vec::new() })
}

pub(crate) fn encode(rows: &Rows, context: &EncodeContext) -> String {
    let mut chunk = Chunk::default();
    encoder(context).unwrap().write(rows, &mut chunk).unwrap();
    assert_eq!(chunk.rows, rows.len() as u64);
    String::from_utf8(chunk.data).unwrap()
}

pub(crate) fn json_lines(rows: &Rows) -> String {
    encode(rows, &context(rows.columns.schema(), OutputFormat::Json))
}

/// Decodes one payload: the row as JSON, or the code and message of its rejection.
pub(crate) fn read(decoder: &mut Decoder, payload: &[u8]) -> String {
    let raw = raw(&[payload]);
    let mut out = Decoded::default();
    decoder.decode(&raw, &mut out).unwrap();
    assert_eq!(out.kept.len(), out.columns.num_rows());
    assert_eq!(out.kept.len() + out.rejected.len(), 1);
    match out.rejected.first() {
        Some((_, rejection)) => format!("{} {}", rejection.code, rejection.message),
        None => json_lines(&rows(raw, &out)).trim_end().to_owned(),
    }
}

/// Runs a table of (schema, payload, outcome) rows, each with a decoder of its own and again with one that
/// has seen the others of its schema.
pub(crate) fn check_table(table: &[(&[&str], &str, &str)]) {
    for (fields, payload, wanted) in table {
        let mut decoder = Decoder::new(&schema(fields), InputFormat::Json).unwrap();
        assert_eq!(read(&mut decoder, payload.as_bytes()), *wanted, "{payload}");
        for (others, payload, _) in table.iter().filter(|(others, ..)| others == fields) {
            assert_eq!(others, fields);
            read(&mut decoder, payload.as_bytes());
        }
        assert_eq!(read(&mut decoder, payload.as_bytes()), *wanted, "{payload} after the others");
    }
}

#[test]
fn every_code_has_its_page() {
    for code in codes::ALL {
        let path = format!("{}/../../docs/errors/{}.md", env!("CARGO_MANIFEST_DIR"), code.id);
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(page.starts_with(&format!("# {}: {}\n", code.id, code.title)), "{path}");
    }
}
