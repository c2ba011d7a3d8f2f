//! Files and standard streams: NDJSON and CSV in, NDJSON, CSV and Parquet out.

mod options;
mod paths;
mod sink;
mod source;
mod stdio;
mod stdio_options;

pub(crate) use options::{
    FileSinkConnector, FileSourceConnector, declared_format, no_parquet, output_format, timestamps,
};
pub use source::TOO_LONG_HEADER;
pub(crate) use stdio_options::{StdinConnector, StdoutConnector};
