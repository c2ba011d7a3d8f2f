//! Rows on their way into a Parquet file, which is written when enough of them have come.
//!
//! A staged chunk is a length (`u64`, little-endian) and an Arrow IPC stream of that many bytes. Chunks are
//! self-contained, so that they may follow one another in a file, be cut off behind any of them, and carry
//! another schema after the pipeline was changed.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow_ipc::writer::StreamWriter;
use millstream_core::{Chunk, DeadLetter, Encoder, Error, Result, Rows};

use super::dead_letter::not_dead_letters;
use super::records::all_or_nothing;
use super::unwritable;
use crate::codec::codes::ENCODE;

/// Bytes of the length before a chunk's stream.
pub(crate) const LENGTH_BYTES: usize = 8;

/// Writes rows as staged chunks.
pub(crate) struct StageEncoder {
    staged: SchemaRef,
    /// The bytes that every chunk begins with: an IPC stream of this schema, without rows.
    head: Vec<u8>,
    /// Writes the batches that follow; emptied after each.
    writer: StreamWriter<Vec<u8>>,
}

impl StageEncoder {
    pub(crate) fn new(schema: SchemaRef) -> Result<Self> {
        let staged = Arc::new(Schema::new(
            schema.fields().iter().map(|field| staged_field(field).with_nullable(true)).collect::<Vec<_>>(),
        ));
        for field in staged.fields() {
            let alone = Schema::new(vec![field.clone()]);
            if parquet::arrow::ArrowSchemaConverter::new().convert(&alone).is_err() {
                return Err(unwritable(field.name(), field.data_type(), "parquet"));
            }
        }
        let mut writer = StreamWriter::try_new(Vec::new(), &staged).map_err(unstaged)?;
        let head = std::mem::take(writer.get_mut());
        Ok(Self { staged, head, writer })
    }

    /// Appends a batch to the chunk's stream.
    pub(crate) fn write_batch(&mut self, batch: &RecordBatch, chunk: &mut Chunk) -> Result<()> {
        let columns = batch.columns().iter().zip(self.staged.fields());
        let columns = columns
            .map(|(column, field)| {
                if column.data_type() == field.data_type() {
                    Ok(column.clone())
                } else {
                    cast(column, field.data_type())
                }
            })
            .collect::<Result<Vec<_>, ArrowError>>()
            .map_err(unstaged)?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.staged.clone(), columns, &options).map_err(unstaged)?;
        self.writer.get_mut().clear();
        self.writer.write(&batch).map_err(unstaged)?;
        if chunk.data.is_empty() {
            chunk.data.extend_from_slice(&[0; LENGTH_BYTES]);
            chunk.data.extend_from_slice(&self.head);
        }
        chunk.data.extend_from_slice(self.writer.get_ref());
        let length = (chunk.data.len() - LENGTH_BYTES) as u64;
        if let Some(place) = chunk.data.get_mut(..LENGTH_BYTES) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        chunk.rows += batch.num_rows() as u64;
        Ok(())
    }
}

impl Encoder for StageEncoder {
    fn write(&mut self, rows: &Rows, chunk: &mut Chunk) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        all_or_nothing(chunk, |chunk| self.write_batch(&rows.columns, chunk))
    }

    fn write_dead_letter(&mut self, _letter: &DeadLetter, _chunk: &mut Chunk) -> Result<()> {
        Err(not_dead_letters())
    }
}

fn unstaged(error: ArrowError) -> Error {
    Error::new(ENCODE, "rows can't be staged for a Parquet file").because(error)
}

fn staged_field(field: &Field) -> Field {
    let seconds = matches!(field.data_type(), DataType::Timestamp(TimeUnit::Second, _));
    Field::new(field.name(), staged_type(field.data_type()), field.is_nullable() || seconds)
}

/// The type a column has in the Parquet file. Dictionaries are written out (Parquet makes its own), and
/// seconds, which Parquet does not have, become milliseconds (null beyond the year 292 million).
fn staged_type(kind: &DataType) -> DataType {
    let staged = |field: &Arc<Field>| Arc::new(staged_field(field));
    match kind {
        DataType::Dictionary(_, values) => staged_type(values),
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::List(item) => DataType::List(staged(item)),
        DataType::LargeList(item) => DataType::LargeList(staged(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(staged(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(staged).collect()),
        other => other.clone(),
    }
}
