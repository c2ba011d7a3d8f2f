//! CSV with a header line. An empty field is null.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use millstream_core::Result;

use super::infer::{Guess, column};
use super::{Loaded, unreadable};
use crate::names::{did_you_mean, type_name};

pub(crate) fn load(path: &Path, bytes: &[u8], declared: Option<&SchemaRef>) -> Result<Loaded> {
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let header = reader.headers().map_err(|e| unreadable(path, e))?.clone();
    if header.is_empty() {
        return Err(unreadable(path, "is empty; its first line names the columns"));
    }
    let mut records = Vec::new();
    for record in reader.records() {
        records.push(record.map_err(|e| unreadable(path, e))?);
    }
    let lines: Vec<u64> = records.iter().map(|r| r.position().map_or(0, csv::Position::line)).collect();
    let names: Vec<&str> = header.iter().collect();
    let texts = |place: usize| -> Vec<Option<&str>> {
        records.iter().map(|r| r.get(place).filter(|text| !text.is_empty())).collect()
    };
    let schema = match declared {
        Some(declared) => declared.clone(),
        None => Arc::new(Schema::new(
            names
                .iter()
                .enumerate()
                .map(|(i, name)| {
                    let mut guess = Guess::new();
                    texts(i).into_iter().flatten().for_each(|t| guess.text(t));
                    Field::new(*name, guess.kind(), true)
                })
                .collect::<Vec<_>>(),
        )),
    };
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let place = names.iter().position(|n| n == field.name()).ok_or_else(|| {
            unreadable(path, format!("there is no column `{}`", field.name()))
                .help(did_you_mean(field.name(), &names, "columns").unwrap_or_default())
        })?;
        let built = column(field.data_type(), &texts(place)).map_err(|(row, text)| {
            let line = lines.get(row).copied().unwrap_or_default();
            let kind = type_name(field.data_type());
            unreadable(path, format!("line {line}: `{}` is `{text}`, which is no {kind}", field.name()))
        })?;
        columns.push(built);
    }
    let batch = RecordBatch::try_new(schema, columns).map_err(|e| {
        unreadable(path, e).help("a column declared `required: true` has an empty field, or two columns share a name")
    })?;
    Ok(Loaded { batch, lines })
}
