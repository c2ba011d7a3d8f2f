//! One JSON object a line. A field that is absent is null.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millstream_core::Result;
use serde_json::{Map, Value};

use super::infer::{Guess, column};
use super::{Loaded, unreadable};
use crate::names::type_name;

pub(crate) fn load(path: &Path, bytes: &[u8], declared: Option<&SchemaRef>) -> Result<Loaded> {
    let mut rows: Vec<Map<String, Value>> = Vec::new();
    let mut lines = Vec::new();
    let text = std::str::from_utf8(bytes).map_err(|e| unreadable(path, format!("is not UTF-8: {e}")))?;
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = i as u64 + 1;
        let value: Value = serde_json::from_str(line).map_err(|e| {
            {
                let said = e.to_string();
                let said = said.split(" at line ").next().unwrap_or_default();
                unreadable(path, format!("line {number}, column {}: {said}", e.column()))
            }
            .help("a JSON table holds one object on each line")
        })?;
        let Value::Object(object) = value else {
            return Err(unreadable(path, format!("line {number} is not an object"))
                .help("a JSON table holds one object on each line"));
        };
        rows.push(object);
        lines.push(number);
    }
    let schema = declared.cloned().unwrap_or_else(|| infer(&rows));
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let texts: Vec<Option<String>> = rows.iter().map(|row| row.get(field.name()).and_then(text_of)).collect();
        let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
        let built = column(field.data_type(), &texts).map_err(|(row, text)| {
            let line = lines.get(row).copied().unwrap_or_default();
            let kind = type_name(field.data_type());
            unreadable(path, format!("line {line}: `{}` is `{text}`, which is no {kind}", field.name()))
        })?;
        columns.push(built);
    }
    let batch = RecordBatch::try_new(schema, columns)
        .map_err(|e| unreadable(path, e).help("a column declared `required: true` is absent or null in a line"))?;
    Ok(Loaded { batch, lines })
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Columns in order of first appearance.
fn infer(rows: &[Map<String, Value>]) -> SchemaRef {
    let mut columns: Vec<(String, Guess, bool)> = Vec::new();
    for (name, value) in rows.iter().flatten() {
        let place = match columns.iter().position(|(known, ..)| known == name) {
            Some(place) => place,
            None => {
                columns.push((name.clone(), Guess::new(), false));
                columns.len() - 1
            }
        };
        let Some((_, guess, string)) = columns.get_mut(place) else { continue };
        match value {
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) => guess.text(&value.to_string()),
            // A string stays one, whatever it looks like.
            Value::String(_) | Value::Array(_) | Value::Object(_) => *string = true,
        }
    }
    let fields: Vec<Field> = columns
        .into_iter()
        .map(|(name, guess, string)| Field::new(name, if string { DataType::Utf8 } else { guess.kind() }, true))
        .collect();
    Arc::new(Schema::new(fields))
}
