//! From Arrow columns to the columns of numbers that models take.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type, Int32Type};
use millstream_core::{Error, Result};
use millstream_trees::{Categories, Feature};

use crate::codes::INPUTS;

/// One input column, ready to be read.
pub(crate) enum Column<'a> {
    Numbers(&'a Float64Array),
    /// Strings of any Arrow kind, already as category codes: NaN for null and for categories the model never saw.
    Codes(Vec<f64>),
}

impl<'a> Column<'a> {
    /// Looks at a column. `name` is what messages call the input.
    pub(crate) fn new(array: &'a ArrayRef, feature: &Feature, name: &str) -> Result<Self> {
        let texts = matches!(feature.categories.as_deref(), Some(Categories::Text(_) | Categories::Hashed));
        let encode = |text: Option<&str>| text.map_or(f64::NAN, |text| feature.encode_text(text));
        match array.data_type() {
            DataType::Float64
                if matches!(feature.categories.as_deref(), Some(Categories::Numbers(_) | Categories::Hashed)) =>
            {
                let numbers = array.as_primitive::<Float64Type>();
                let encode = |number: Option<f64>| number.map_or(f64::NAN, |number| feature.encode_number(number));
                Ok(Self::Codes(numbers.iter().map(encode).collect()))
            }
            DataType::Float64 => Ok(Self::Numbers(array.as_primitive())),
            DataType::Utf8 if texts => Ok(Self::Codes(array.as_string::<i32>().iter().map(encode).collect())),
            DataType::LargeUtf8 if texts => Ok(Self::Codes(array.as_string::<i64>().iter().map(encode).collect())),
            DataType::Utf8View if texts => Ok(Self::Codes(array.as_string_view().iter().map(encode).collect())),
            DataType::Dictionary(key, value) if texts && **key == DataType::Int32 && **value == DataType::Utf8 => {
                let dictionary = array.as_dictionary::<Int32Type>();
                let codes: Vec<f64> = dictionary.values().as_string::<i32>().iter().map(encode).collect();
                let code = |key: Option<usize>| key.and_then(|key| codes.get(key).copied()).unwrap_or(f64::NAN);
                Ok(Self::Codes(dictionary.keys_iter().map(code).collect()))
            }
            other => {
                let wanted = if texts { "a string or Float64" } else { "Float64" };
                Err(Error::new(INPUTS, format!("input {name} is {other}, the model takes {wanted}"))
                    .help("cast the column in SQL, as in `CAST(x AS DOUBLE)`"))
            }
        }
    }

    /// Appends the column's numbers with nulls as NaN, if it has nulls.
    pub(crate) fn fill(&self, filled: &mut Vec<f64>) {
        if let Self::Numbers(array) = self
            && array.null_count() > 0
        {
            filled.extend(array.iter().map(|number| number.unwrap_or(f64::NAN)));
        }
    }

    /// The column's numbers, NaN for nulls: those of the array if it has none, else the next ones that were filled in.
    pub(crate) fn values<'b>(&'b self, filled: &mut &'b [f64]) -> &'b [f64] {
        match self {
            Self::Codes(codes) => codes,
            Self::Numbers(array) if array.null_count() == 0 => array.values(),
            Self::Numbers(array) => filled.split_off(..array.len()).unwrap_or_default(),
        }
    }
}
