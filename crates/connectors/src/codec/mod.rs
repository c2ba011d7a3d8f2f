//! Codecs: payload bytes to Arrow columns, and rows to the bytes of an output.
//!
//! Owns the meaning of JSON and CSV on both sides. Everything here runs on the worker's thread and is a pure
//! function of its input: what a decoder has learned about the order of fields makes it faster, and never
//! shows in a result.
//!
//! ```text
//! RawBatch -> Decoder (json | csv) -> Decoded { columns, kept, rejected }
//! Rows     -> Encoder (json | csv | staged for parquet) -> Chunk
//! ```

pub mod codes;
mod columns;
mod csv;
mod decode;
mod encode;
mod json;
pub mod parquet;
mod problem;
mod text;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

pub use decode::{Decoded, Decoder};
pub use encode::{encoder, header};
pub(crate) use text::time::{parse_rfc3339, write_rfc3339};

/// How the bytes of a source's records are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputFormat {
    /// One JSON object a record.
    Json,
    /// One CSV record (RFC 4180, comma) a record, without its line end.
    Csv {
        /// The names of the header, in its order.
        columns: Arc<[String]>,
    },
}

/// How an output's bytes are to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// One JSON object a row; lines in files.
    Json,
    /// RFC 4180 with `\n` as line end.
    Csv,
    /// Rows staged for a Parquet file, see [`parquet`].
    Parquet,
}

/// How timestamps are written in JSON and CSV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    /// An integer in the column's own unit.
    #[default]
    Epoch,
    /// A string, `2025-06-02T08:00:00.123Z`.
    Rfc3339,
}

/// All that an encoder has to know of its output.
#[derive(Clone, Debug)]
pub struct EncodeContext {
    /// The pipeline's name.
    pub pipeline: String,
    /// The source's name.
    pub source: String,
    /// The columns of the rows. Not looked at for dead letters.
    pub schema: SchemaRef,
    /// The format of the output.
    pub format: OutputFormat,
    /// How timestamps are written.
    pub timestamps: Timestamps,
    /// Whether the fields of the original event stand before the row's own.
    pub include_event: bool,
    /// The format of the original events.
    pub source_format: InputFormat,
    /// The column whose text is a record's key; the input record's key if there is none.
    pub key_column: Option<usize>,
    /// The column that says a record's partition; the input record's if there is none.
    pub partition_column: Option<usize>,
    /// Names of headers, and the columns their texts come from.
    pub header_columns: Vec<(String, usize)>,
    /// Whether the output takes dead letters instead of rows.
    pub dead_letters: bool,
    /// Whether each row becomes a record of its own (a log), instead of text that is appended (a file).
    pub boundaries: bool,
}

#[cfg(test)]
mod tests;
