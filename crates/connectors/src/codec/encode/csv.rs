//! Rows as CSV records (RFC 4180, comma, `\n`).
//!
//! Null is an empty field and the empty string is `""`, so that both read back. Lists and structs are JSON
//! texts. A record of one null field would be an empty line, which readers skip; it is written as `""`.

use millstream_core::{Chunk, DeadLetter, Encoder, Result, Rows};

use super::dead_letter::not_dead_letters;
use super::records::{Records, all_or_nothing, cells};
use crate::codec::EncodeContext;
use crate::codec::Timestamps;

pub(crate) struct CsvEncoder {
    columns: usize,
    timestamps: Timestamps,
    records: Records,
}

impl CsvEncoder {
    pub(crate) fn new(context: &EncodeContext) -> Self {
        Self { columns: context.schema.fields().len(), timestamps: context.timestamps, records: Records::new(context) }
    }

    fn write_rows(&mut self, rows: &Rows, chunk: &mut Chunk) -> Result<()> {
        let cells = cells(rows, self.columns, self.timestamps)?;
        for i in 0..rows.len() {
            let open = self.records.open(&rows.meta, i, &cells, chunk);
            for (column, cell) in cells.iter().enumerate() {
                if column > 0 {
                    chunk.data.push(b',');
                }
                if !cell.is_null(i) {
                    let start = chunk.data.len();
                    cell.write_text(i, &mut chunk.data);
                    quote_from(start, &mut chunk.data);
                } else if cells.len() == 1 {
                    chunk.data.extend_from_slice(b"\"\"");
                }
            }
            self.records.close(open, &rows.meta, i, &cells, chunk)?;
        }
        chunk.rows += rows.len() as u64;
        Ok(())
    }
}

impl Encoder for CsvEncoder {
    fn write(&mut self, rows: &Rows, chunk: &mut Chunk) -> Result<()> {
        all_or_nothing(chunk, |chunk| self.write_rows(rows, chunk))
    }

    fn write_dead_letter(&mut self, _letter: &DeadLetter, _chunk: &mut Chunk) -> Result<()> {
        Err(not_dead_letters())
    }
}

/// Puts the field that begins at `start` and ends with `out` into quotes, if it needs any.
fn quote_from(start: usize, out: &mut Vec<u8>) {
    let field = out.get(start..).unwrap_or_default();
    let special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if !field.is_empty() && !field.iter().any(special) {
        return;
    }
    let field = field.to_vec();
    out.truncate(start);
    out.push(b'"');
    for byte in field {
        out.push(byte);
        if byte == b'"' {
            out.push(byte);
        }
    }
    out.push(b'"');
}

/// Appends a record of texts and its line end; `None` is null.
pub(crate) fn write_record<'a>(fields: impl Iterator<Item = Option<&'a str>>, out: &mut Vec<u8>) {
    for (i, field) in fields.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if let Some(field) = field {
            let start = out.len();
            out.extend_from_slice(field.as_bytes());
            quote_from(start, out);
        }
    }
    out.push(b'\n');
}

/// The header with its line end.
pub(crate) fn header<'a>(names: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut out = Vec::new();
    write_record(names.map(Some), &mut out);
    out
}
