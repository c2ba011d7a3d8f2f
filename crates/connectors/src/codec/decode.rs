//! The decoder: a batch of payloads into a batch of rows.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use millstream_core::record::RawBatch;
use millstream_core::schema::RowSchema;
use millstream_core::{Error, Rejection, Result};

use super::InputFormat;
use super::codes::{BAD_DEFAULT, BATCH_TOO_LARGE, NOT_UTF8, TOMBSTONE};
use super::columns::{Slot, finish};
use super::csv::decode::CsvRows;
use super::json::decode::JsonRows;
use super::problem::{Parsed, Problem};
use crate::codes::RECORD_TOO_LONG;
use crate::file::TOO_LONG_HEADER;

/// Rows, and which events they come from.
#[derive(Debug)]
pub struct Decoded {
    /// The declared columns, one row for each event that could be read.
    pub columns: RecordBatch,
    /// For each row the event's place in the raw batch, rising.
    pub kept: Vec<u32>,
    /// The events that could not be read, by place in the raw batch, rising.
    pub rejected: Vec<(u32, Rejection)>,
}

impl Default for Decoded {
    fn default() -> Self {
        Self { columns: RecordBatch::new_empty(Arc::new(Schema::empty())), kept: Vec::new(), rejected: Vec::new() }
    }
}

/// Turns payloads into rows of a declared schema. Lives on a worker's thread; keeps its buffers from batch to
/// batch.
#[derive(Debug)]
pub struct Decoder {
    schema: SchemaRef,
    slots: Vec<Slot>,
    rows: RowReader,
    /// Bytes that the defaults of one row can take in one column.
    default_bytes_max: usize,
}

#[derive(Debug)]
enum RowReader {
    Json(JsonRows),
    Csv(CsvRows),
}

impl Decoder {
    /// Prepares for events of a schema.
    ///
    /// # Errors
    /// A default is not a value of its field's type, or the CSV header does not have the declared columns.
    pub fn new(schema: &RowSchema, format: InputFormat) -> Result<Self> {
        let mut slots: Vec<Slot> = schema.fields.iter().map(|field| Slot::new(field, schema.strict)).collect();
        for slot in &mut slots {
            let Some(default) = &slot.default else { continue };
            if let Err(problem) = slot.column.read_whole(default) {
                let reason = problem.into_rejection().message;
                return Err(Error::new(
                    BAD_DEFAULT,
                    format!("the default of the field `{}` does not fit: {reason}", slot.name),
                )
                .help(format!("write a value of the type {}", slot.column.wanted)));
            }
            slot.column.clear();
        }
        let default_bytes_max =
            slots.iter().filter_map(|slot| slot.default.as_ref()).map(String::len).max().unwrap_or(0);
        let rows = match format {
            InputFormat::Json => RowReader::Json(JsonRows::new(schema)),
            InputFormat::Csv { columns } => RowReader::Csv(CsvRows::new(schema, &columns)?),
        };
        Ok(Self { schema: schema.arrow(), slots, rows, default_bytes_max })
    }

    /// The columns that come out.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Decodes a batch into `out`, whose former content is dropped. An event that can't be read rejects only
    /// itself.
    ///
    /// # Errors
    /// The batch holds more bytes than the columns of one batch can address (2 GiB).
    pub fn decode(&mut self, raw: &RawBatch, out: &mut Decoded) -> Result<()> {
        out.kept.clear();
        out.rejected.clear();
        self.check_size(raw)?;
        // Reused from record to record: only the vector, which holds nothing in between.
        let mut fields = Vec::new();
        for i in 0..raw.len() {
            let rows = out.kept.len();
            let read = payload(raw, i).and_then(|text| match &mut self.rows {
                RowReader::Json(json) => json.read(text, &mut self.slots),
                RowReader::Csv(csv) => csv.read(text, &mut fields, &mut self.slots),
            });
            match read.and_then(|()| complete(&mut self.slots, rows)) {
                Ok(()) => out.kept.push(i as u32),
                Err(problem) => {
                    self.slots.iter_mut().for_each(|slot| slot.column.truncate(rows));
                    out.rejected.push((i as u32, problem.into_rejection()));
                }
            }
        }
        let arrays = finish(&mut self.slots).map_err(unfit)?;
        let options = RecordBatchOptions::new().with_row_count(Some(out.kept.len()));
        out.columns = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).map_err(unfit)?;
        Ok(())
    }

    /// Offsets in a column are 31 bits wide.
    fn check_size(&self, raw: &RawBatch) -> Result<()> {
        let most = raw.bytes_len() + raw.len() * self.default_bytes_max;
        if most < i32::MAX as usize {
            return Ok(());
        }
        Err(Error::new(BATCH_TOO_LARGE, format!("a batch of {} events has {most} bytes, more than 2 GiB", raw.len()))
            .help("set a smaller `batch_rows_max`"))
    }
}

fn payload(raw: &RawBatch, i: usize) -> Parsed<&str> {
    // What a source cut short may still look like a whole event.
    if let Some(header) = raw.headers(i).iter().find(|header| header.name == TOO_LONG_HEADER) {
        let length = String::from_utf8_lossy(&header.value);
        return Err(Problem::new(RECORD_TOO_LONG, format!("the event has {length} bytes, more than a source keeps")));
    }
    let Some(bytes) = raw.value(i) else {
        return Err(Problem::new(TOMBSTONE, "the record has a key but no value (a tombstone), wanted an event"));
    };
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let byte = bytes.get(at).copied().unwrap_or_default();
        Problem::new(NOT_UTF8, format!("at byte {at}: saw 0x{byte:02X}, wanted UTF-8"))
    })
}

/// Fills the columns that the event did not have.
#[inline]
fn complete(slots: &mut [Slot], rows: usize) -> Parsed<()> {
    for slot in slots.iter_mut().filter(|slot| slot.column.len() == rows) {
        slot.fill_absent().map_err(|problem| problem.in_column(&slot.name))?;
    }
    Ok(())
}

fn unfit(error: arrow::error::ArrowError) -> Error {
    Error::new(BATCH_TOO_LARGE, "decoded columns don't make a batch").because(error)
}
