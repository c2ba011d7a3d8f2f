//! Staged rows into a Parquet file.
//!
//! Runs on the committer's thread, once for each part file. The bytes of a file follow from its rows alone,
//! not from how they were cut into batches, chunks or epochs.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow_ipc::reader::StreamReader;
use millstream_core::{Error, Result};

use super::codes::PARQUET;
use super::encode::LENGTH_BYTES;

/// Rows that are given to the Parquet writer at once.
const WRITE_ROWS: usize = 8192;

/// Reads back the chunks that the encoder of an [`OutputFormat::Parquet`](super::OutputFormat::Parquet)
/// wrote, one after another: an iterator over their batches.
///
/// A new chunk may bring another schema, where the pipeline was changed in between; [`write_parquet`] wants
/// batches of one schema.
pub struct StagedReader<R> {
    input: R,
    batches: VecDeque<RecordBatch>,
}

impl<R: Read> StagedReader<R> {
    /// Reads from the start of a chunk.
    pub fn new(input: R) -> Self {
        Self { input, batches: VecDeque::new() }
    }

    /// Reads the batches of the next chunk; false at the end.
    fn read_chunk(&mut self) -> Result<bool> {
        let mut length = Vec::with_capacity(LENGTH_BYTES);
        self.input.by_ref().take(LENGTH_BYTES as u64).read_to_end(&mut length).map_err(unread)?;
        if length.is_empty() {
            return Ok(false);
        }
        let length: [u8; LENGTH_BYTES] = length.try_into().map_err(|_| torn())?;
        let length = u64::from_le_bytes(length);
        let mut stream = Vec::new();
        self.input.by_ref().take(length).read_to_end(&mut stream).map_err(unread)?;
        if stream.len() as u64 != length {
            return Err(torn());
        }
        for batch in StreamReader::try_new(Cursor::new(stream), None).map_err(unread)? {
            self.batches.push_back(batch.map_err(unread)?);
        }
        Ok(true)
    }
}

impl<R: Read> Iterator for StagedReader<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.batches.pop_front() {
                return Some(Ok(batch));
            }
            match self.read_chunk() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn torn() -> Error {
    Error::new(PARQUET, "the staged rows of a Parquet file end in the middle of a chunk")
}

fn unread(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(PARQUET, "the staged rows of a Parquet file don't read back").because(error)
}

/// Writes batches of one schema to a new Parquet file (zstd) and syncs it; gives the number of rows. Without
/// any batch nothing is written.
///
/// # Errors
/// A batch is an error or has another schema than the first, or the file can't be written.
pub fn write_parquet(batches: impl IntoIterator<Item = Result<RecordBatch>>, path: &Path) -> Result<u64> {
    let mut batches = batches.into_iter().peekable();
    let schema = match batches.peek() {
        Some(Ok(batch)) => batch.schema(),
        Some(Err(_)) | None => return batches.next().map_or(Ok(0), |first| first.map(|_| 0)),
    };
    let shown = path.display();
    let unwritten = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(PARQUET, format!("can't write the Parquet file `{shown}`")).because(error)
    };
    let file = File::create(path).map_err(|error| unwritten(error.into()))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by("millstream".to_owned())
        .build();
    let mut writer =
        ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(|error| unwritten(error.into()))?;
    // Pages end where calls end, so that calls must not depend on how the rows came.
    let mut even = BatchCoalescer::new(schema.clone(), WRITE_ROWS);
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        if batch.schema_ref() != &schema {
            return Err(Error::new(PARQUET, format!("the rows for the Parquet file `{shown}` have two schemas"))
                .help("end a part file where the schema changes"));
        }
        rows += batch.num_rows() as u64;
        even.push_batch(batch).map_err(|error| unwritten(error.into()))?;
        while let Some(batch) = even.next_completed_batch() {
            writer.write(&batch).map_err(|error| unwritten(error.into()))?;
        }
    }
    even.finish_buffered_batch().map_err(|error| unwritten(error.into()))?;
    while let Some(batch) = even.next_completed_batch() {
        writer.write(&batch).map_err(|error| unwritten(error.into()))?;
    }
    let file = writer.into_inner().map_err(|error| unwritten(error.into()))?;
    file.sync_all().map_err(|error| unwritten(error.into()))?;
    Ok(rows)
}
