//! Types of columns nobody declared: the narrowest of int64, float64, bool and string that holds every value.
//! A function of all rows, so it does not depend on their order or on where a sample ends.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

/// What a column may still be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guess {
    seen: bool,
    integer: bool,
    float: bool,
    boolean: bool,
}

impl Guess {
    pub(crate) fn new() -> Self {
        Self { seen: false, integer: true, float: true, boolean: true }
    }

    /// Takes in the text of a value. Texts like `007` or `+1` stay strings: as numbers they would not be what
    /// they were.
    pub(crate) fn text(&mut self, text: &str) {
        self.seen = true;
        let digits = text.strip_prefix('-').unwrap_or(text);
        let padded =
            digits.len() > 1 && digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        let starts = digits.as_bytes().first().is_some_and(u8::is_ascii_digit);
        self.integer &= starts && !padded && text.parse::<i64>().is_ok();
        self.float &= starts && !padded && text.parse::<f64>().is_ok_and(f64::is_finite);
        self.boolean &= text == "true" || text == "false";
    }

    /// The type; a column of nothing but nulls is a string.
    pub(crate) fn kind(self) -> DataType {
        match self {
            Self { seen: false, .. } => DataType::Utf8,
            Self { boolean: true, .. } => DataType::Boolean,
            Self { integer: true, .. } => DataType::Int64,
            Self { float: true, .. } => DataType::Float64,
            _ => DataType::Utf8,
        }
    }
}

/// Makes a column of texts; the error names the row (from 0) and its text.
pub(crate) fn column(kind: &DataType, texts: &[Option<&str>]) -> Result<ArrayRef, (usize, String)> {
    fn each<T>(texts: &[Option<&str>], parse: impl Fn(&str) -> Option<T>) -> Result<Vec<Option<T>>, (usize, String)> {
        let parsed = texts.iter().enumerate().map(|(i, text)| match text {
            None => Ok(None),
            Some(text) => parse(text).map(Some).ok_or_else(|| (i, (*text).to_owned())),
        });
        parsed.collect()
    }
    Ok(match kind {
        DataType::Utf8 => Arc::new(StringArray::from(texts.to_vec())),
        DataType::Int64 => Arc::new(Int64Array::from(each(texts, |t| t.trim().parse().ok())?)),
        DataType::Float64 => Arc::new(Float64Array::from(each(texts, |t| t.trim().parse().ok())?)),
        DataType::Boolean => {
            Arc::new(BooleanArray::from(each(texts, |t| match t.trim().to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "1" => Some(true),
                "false" | "f" | "no" | "0" => Some(false),
                _ => None,
            })?))
        }
        other => return cast_texts(other, texts),
    })
}

fn cast_texts(kind: &DataType, texts: &[Option<&str>]) -> Result<ArrayRef, (usize, String)> {
    let options = CastOptions { safe: false, ..Default::default() };
    let cast = |texts: &[Option<&str>]| -> Result<ArrayRef, ArrowError> {
        let strings: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        // `timestamp_ms` and its kin are numbers in events; they may be so in tables.
        if matches!(kind, DataType::Timestamp(..))
            && let Ok(numbers) = cast_with_options(&strings, &DataType::Int64, &options)
        {
            return cast_with_options(&numbers, kind, &options);
        }
        cast_with_options(&strings, kind, &options)
    };
    cast(texts).map_err(|error| {
        let bad = texts
            .iter()
            .enumerate()
            .find_map(|(i, t)| cast(&[*t]).is_err().then(|| (i, (*t).unwrap_or_default().to_owned())));
        bad.unwrap_or_else(|| (0, error.to_string()))
    })
}

/// Parquet keeps its types, but for kinds of strings and dictionaries that nobody else wants to know.
pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    let plain = |kind: &DataType| match kind {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, value)
            if matches!(value.as_ref(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) =>
        {
            DataType::Utf8
        }
        other => other.clone(),
    };
    Arc::new(Schema::new(
        schema.fields().iter().map(|f| Field::new(f.name(), plain(f.data_type()), f.is_nullable())).collect::<Vec<_>>(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(texts: &[&str]) -> DataType {
        let mut guess = Guess::new();
        texts.iter().for_each(|t| guess.text(t));
        guess.kind()
    }

    #[test]
    fn types_hold_every_value() {
        assert_eq!(guess(&["1", "-2"]), DataType::Int64);
        assert_eq!(guess(&["1", "2.5", "1e3"]), DataType::Float64);
        assert_eq!(guess(&["true", "false"]), DataType::Boolean);
        assert_eq!(guess(&["0", "1"]), DataType::Int64);
        assert_eq!(guess(&["007"]), DataType::Utf8);
        assert_eq!(guess(&["0.5", "0"]), DataType::Float64);
        assert_eq!(guess(&["1", "x"]), DataType::Utf8);
        assert_eq!(guess(&["nan"]), DataType::Utf8);
        assert_eq!(guess(&["99999999999999999999"]), DataType::Float64);
        assert_eq!(guess(&[]), DataType::Utf8);
    }

    #[test]
    fn a_bad_value_is_named() {
        assert_eq!(column(&DataType::Int64, &[Some("1"), None, Some("x")]).unwrap_err(), (2, "x".to_owned()));
        assert_eq!(column(&DataType::Date32, &[Some("2024-01-01"), Some("x")]).unwrap_err(), (1, "x".to_owned()));
    }
}
