//! The declared shape of an event: names, types, where each field comes from.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::codes::UNKNOWN_TYPE;
use crate::error::{Error, Result};

/// A column type in a `schema:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// `string`
    String,
    /// `bool`
    Bool,
    /// `int8` … `int64`, `uint8` … `uint64`, `float32`, `float64`, as Arrow names them.
    Number(DataType),
    /// `decimal(precision, scale)`, precision 1 to 38, scale 0 to precision.
    Decimal(u8, i8),
    /// `timestamp_s`, `_ms`, `_us`, `_ns`: an integer count since 1970-01-01T00:00:00Z.
    Timestamp(TimeUnit),
    /// `timestamp`: an RFC 3339 string, kept in UTC as microseconds.
    Rfc3339,
    /// `date`: `YYYY-MM-DD`.
    Date,
    /// `list<T>`
    List(Box<FieldType>),
    /// `struct<name: T, …>`
    Struct(Vec<(String, FieldType)>),
}

const NAMES: &str = "string, bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64, \
decimal(p, s), timestamp_s, timestamp_ms, timestamp_us, timestamp_ns, timestamp (RFC 3339), date, list<T>, struct<name: T, …>";

impl FieldType {
    /// The plain type names, for suggestions.
    pub const SIMPLE: &'static [&'static str] = &[
        "string",
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float32",
        "float64",
        "timestamp_s",
        "timestamp_ms",
        "timestamp_us",
        "timestamp_ns",
        "timestamp",
        "date",
    ];

    /// Reads a type as it is written in a pipeline file.
    ///
    /// # Errors
    /// The text is none of the known types; the error lists them.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let unknown =
            || Error::new(UNKNOWN_TYPE, format!("`{text}` is not a column type")).help(format!("known types: {NAMES}"));
        let simple = match text {
            "string" => Some(Self::String),
            "bool" => Some(Self::Bool),
            "int8" => Some(Self::Number(DataType::Int8)),
            "int16" => Some(Self::Number(DataType::Int16)),
            "int32" => Some(Self::Number(DataType::Int32)),
            "int64" => Some(Self::Number(DataType::Int64)),
            "uint8" => Some(Self::Number(DataType::UInt8)),
            "uint16" => Some(Self::Number(DataType::UInt16)),
            "uint32" => Some(Self::Number(DataType::UInt32)),
            "uint64" => Some(Self::Number(DataType::UInt64)),
            "float32" => Some(Self::Number(DataType::Float32)),
            "float64" => Some(Self::Number(DataType::Float64)),
            "timestamp_s" => Some(Self::Timestamp(TimeUnit::Second)),
            "timestamp_ms" => Some(Self::Timestamp(TimeUnit::Millisecond)),
            "timestamp_us" => Some(Self::Timestamp(TimeUnit::Microsecond)),
            "timestamp_ns" => Some(Self::Timestamp(TimeUnit::Nanosecond)),
            "timestamp" => Some(Self::Rfc3339),
            "date" => Some(Self::Date),
            _ => None,
        };
        if let Some(simple) = simple {
            return Ok(simple);
        }
        if let Some(inner) = text.strip_prefix("decimal(").and_then(|t| t.strip_suffix(')')) {
            let (p, s) = inner.split_once(',').ok_or_else(unknown)?;
            let precision: u8 = p.trim().parse().map_err(|_| unknown())?;
            let scale: i8 = s.trim().parse().map_err(|_| unknown())?;
            if precision == 0 || precision > 38 || scale < 0 || scale as u8 > precision {
                return Err(Error::new(UNKNOWN_TYPE, format!("`{text}` has an impossible precision or scale"))
                    .help("precision is 1 to 38, scale is 0 to precision"));
            }
            return Ok(Self::Decimal(precision, scale));
        }
        if let Some(inner) = text.strip_prefix("list<").and_then(|t| t.strip_suffix('>')) {
            return Ok(Self::List(Box::new(Self::parse(inner)?)));
        }
        if let Some(inner) = text.strip_prefix("struct<").and_then(|t| t.strip_suffix('>')) {
            let mut fields = Vec::new();
            for part in split_top_level(inner) {
                let (name, kind) = part.split_once(':').ok_or_else(unknown)?;
                fields.push((name.trim().to_owned(), Self::parse(kind)?));
            }
            return if fields.is_empty() { Err(unknown()) } else { Ok(Self::Struct(fields)) };
        }
        Err(unknown())
    }

    /// The Arrow type of a column of this type. Timestamps have no zone and mean UTC.
    pub fn arrow(&self) -> DataType {
        match self {
            Self::String => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Number(number) => number.clone(),
            Self::Decimal(precision, scale) => DataType::Decimal128(*precision, *scale),
            Self::Timestamp(unit) => DataType::Timestamp(*unit, None),
            Self::Rfc3339 => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Date => DataType::Date32,
            Self::List(item) => DataType::List(Arc::new(Field::new("item", item.arrow(), true))),
            Self::Struct(fields) => {
                DataType::Struct(fields.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect())
            }
        }
    }
}

fn split_top_level(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0i32, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts
}

/// One declared field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSpec {
    /// The column's name.
    pub name: String,
    /// Its type.
    pub kind: FieldType,
    /// Where it stands in the event: the keys from the outside in. `[name]` unless `from:` says otherwise.
    pub path: Vec<String>,
    /// Whether null or absent is refused.
    pub required: bool,
    /// What stands for an absent (or null) field.
    pub default: Option<serde_json::Value>,
}

/// The declared shape of a source's events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowSchema {
    /// The fields, in the order of the file.
    pub fields: Vec<FieldSpec>,
    /// Whether a field that is not declared is refused.
    pub strict: bool,
}

impl RowSchema {
    /// The columns that decoding gives.
    pub fn arrow(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.fields.iter().map(|f| Field::new(&f.name, f.kind.arrow(), !f.required)).collect::<Vec<_>>(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_parse() {
        assert_eq!(FieldType::parse("decimal(10, 2)").unwrap(), FieldType::Decimal(10, 2));
        let nested = FieldType::parse("list<struct<a: int64, b: list<string>>>").unwrap();
        assert_eq!(
            nested,
            FieldType::List(Box::new(FieldType::Struct(vec![
                ("a".into(), FieldType::Number(DataType::Int64)),
                ("b".into(), FieldType::List(Box::new(FieldType::String))),
            ])))
        );
        for bad in ["int", "decimal(39,1)", "decimal(5,6)", "list<>", "struct<>", "struct<a>", "", "timestamp_m"] {
            assert!(FieldType::parse(bad).is_err(), "{bad}");
        }
    }
}
