//! The encoders: rows and dead letters into the bytes of one output.

mod cells;
mod csv;
mod dead_letter;
mod event;
mod json;
mod records;
mod stage;

use arrow::datatypes::DataType;
use millstream_core::{Encoder, Error, Result};

use super::codes::{NO_EVENT, UNWRITABLE_TYPE};
use super::{EncodeContext, OutputFormat};

pub(crate) use stage::LENGTH_BYTES;

/// The encoder of an output.
///
/// # Errors
/// The format can't hold a column's type, or `include: event` has no meaning in it.
pub fn encoder(context: &EncodeContext) -> Result<Box<dyn Encoder>> {
    if context.dead_letters {
        return dead_letter::encoder(context);
    }
    if context.include_event && context.format != OutputFormat::Json {
        return Err(Error::new(NO_EVENT, "`include: event` needs `format: json`")
            .help("write `format: json`, or take the columns you want with `select:`"));
    }
    match context.format {
        OutputFormat::Json => {
            check_types(context, "json")?;
            Ok(Box::new(json::JsonEncoder::new(context)))
        }
        OutputFormat::Csv => {
            check_types(context, "csv")?;
            Ok(Box::new(csv::CsvEncoder::new(context)))
        }
        OutputFormat::Parquet => Ok(Box::new(stage::StageEncoder::new(context.schema.clone())?)),
    }
}

/// What a file of this output begins with, with its line end: the header of CSV.
pub fn header(context: &EncodeContext) -> Option<Vec<u8>> {
    if context.format != OutputFormat::Csv || context.boundaries {
        return None;
    }
    if context.dead_letters {
        return Some(csv::header(dead_letter::COLUMNS.iter().copied()));
    }
    Some(csv::header(context.schema.fields().iter().map(|field| field.name().as_str())))
}

fn check_types(context: &EncodeContext, format: &str) -> Result<()> {
    match context.schema.fields().iter().find(|field| !cells::is_writable(field.data_type())) {
        None => Ok(()),
        Some(field) => Err(unwritable(field.name(), field.data_type(), format)),
    }
}

fn unwritable(name: &str, kind: &DataType, format: &str) -> Error {
    Error::new(UNWRITABLE_TYPE, format!("the column `{name}` has the type {kind}, which {format} can't hold"))
        .help("leave it out with `select:`, or cast it to another type in SQL")
}
