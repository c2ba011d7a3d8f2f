//! Output columns: cells collected row by row, made into an Arrow array of the planned type at the end.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, NullBufferBuilder, PrimitiveArray, StringArray,
    make_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{ArrowNativeType, DataType, UInt64Type};
use arrow::error::ArrowError;
use datafusion_common::ScalarValue;
use millstream_core::error::{Error, Result};

use super::codes::{UNSUPPORTED_WINDOW, WINDOW_COLUMNS};
use super::intern::Interner;
use super::value::{Column, Kind, Values, plain_type, wide_value};

/// Says that Arrow failed.
pub fn arrow_error(error: ArrowError) -> Error {
    Error::new(WINDOW_COLUMNS, "the columns of a window could not be computed").because(error)
}

/// What stands where LAG finds no row.
#[derive(Clone, Debug, PartialEq)]
pub enum Fallback {
    Null,
    Word(u64),
    Wide(i128),
    Bytes(Vec<u8>),
}

impl Fallback {
    /// Reads a default as a value of the output's type.
    ///
    /// # Errors
    /// The default is no value of that type.
    pub fn new(value: &ScalarValue, output: &DataType) -> Result<Self> {
        let bad = || {
            let message = format!("the default {value} of LAG is not a value of type {output}");
            Error::new(UNSUPPORTED_WINDOW, message)
        };
        if value.is_null() {
            return Ok(Self::Null);
        }
        let array = value.to_array().map_err(|e| bad().because(e))?;
        let array = cast(&array, &plain_type(output)).map_err(|e| bad().because(e))?;
        let column = Column::read(&array).map_err(|e| bad().because(e))?;
        if !column.is_valid(0) {
            return Err(bad());
        }
        match column.values {
            Values::Words(words) => words.first().map(|&word| Self::Word(word)).ok_or_else(bad),
            Values::Wide(array) => Ok(Self::Wide(array.value(0))),
            Values::Bytes(array) => Ok(Self::Bytes(array.value(0).to_vec())),
            Values::Opaque => Err(bad()),
        }
    }
}

/// Collects one output column.
#[derive(Debug)]
pub struct Output {
    values: Collected,
    valid: NullBufferBuilder,
    /// The type in which values are collected.
    plain: DataType,
    wanted: DataType,
}

#[derive(Debug)]
enum Collected {
    Words(Vec<u64>),
    Wide(Vec<i128>),
    Bytes { data: Vec<u8>, ends: Vec<i32> },
}

impl Output {
    /// An empty column. `natural` is the type that the function gives; `wanted` the planned one.
    pub fn new(natural: &DataType, wanted: &DataType, rows: usize) -> Self {
        let plain = plain_type(natural);
        let values = match Kind::of(&plain) {
            Some(Kind::Bytes) => {
                let mut ends = Vec::with_capacity(rows + 1);
                ends.push(0);
                Collected::Bytes { data: Vec::new(), ends }
            }
            _ if matches!(plain, DataType::Decimal128(..)) => Collected::Wide(Vec::with_capacity(rows)),
            _ => Collected::Words(Vec::with_capacity(rows)),
        };
        Self { values, valid: NullBufferBuilder::new(rows), plain, wanted: wanted.clone() }
    }

    /// Whether a column of one type can be made into another.
    pub fn can_convert(natural: &DataType, wanted: &DataType) -> bool {
        let plain = plain_type(natural);
        plain == *wanted || can_cast_types(&plain, wanted)
    }

    /// Appends a cell of a directly stored kind.
    #[inline]
    pub fn word(&mut self, word: u64) {
        if let Collected::Words(words) = &mut self.values {
            words.push(word);
        } else {
            self.word_into_other(word);
        }
        self.valid.append_non_null();
    }

    #[cold]
    fn word_into_other(&mut self, word: u64) {
        match &mut self.values {
            Collected::Words(words) => words.push(word),
            Collected::Wide(values) => values.push(i128::from(word as i64)),
            Collected::Bytes { ends, data } => ends.push(data.len() as i32),
        }
    }

    /// Appends a double.
    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.word(value.to_bits());
    }

    /// Appends a decimal.
    pub fn decimal(&mut self, value: i128) {
        match &mut self.values {
            Collected::Wide(values) => values.push(value),
            Collected::Words(words) => words.push(value as u64),
            Collected::Bytes { ends, data } => ends.push(data.len() as i32),
        }
        self.valid.append_non_null();
    }

    fn bytes(&mut self, value: &[u8]) {
        if let Collected::Bytes { data, ends } = &mut self.values {
            data.extend_from_slice(value);
            ends.push(data.len() as i32);
        }
        self.valid.append_non_null();
    }

    /// Appends NULL.
    #[inline]
    pub fn null(&mut self) {
        match &mut self.values {
            Collected::Words(words) => words.push(0),
            Collected::Wide(values) => values.push(0),
            Collected::Bytes { data, ends } => ends.push(data.len() as i32),
        }
        self.valid.append_null();
    }

    /// Appends a cell of any kind.
    #[inline]
    pub fn cell(&mut self, kind: Kind, cell: u64, interner: &Interner) {
        match kind {
            Kind::Bytes => self.bytes(interner.get(cell)),
            Kind::Wide => self.decimal(wide_value(interner.get(cell))),
            _ => self.word(cell),
        }
    }

    /// Appends a default.
    pub fn fallback(&mut self, value: &Fallback) {
        match value {
            Fallback::Null => self.null(),
            Fallback::Word(word) => self.word(*word),
            Fallback::Wide(value) => self.decimal(*value),
            Fallback::Bytes(bytes) => self.bytes(bytes),
        }
    }

    /// The array of the planned type.
    ///
    /// # Errors
    /// Arrow can't convert it.
    pub fn finish(mut self) -> Result<ArrayRef> {
        let nulls = self.valid.finish();
        let array = match self.values {
            Collected::Words(words) => words_array(words, nulls, &self.plain).map_err(arrow_error)?,
            Collected::Wide(values) => {
                let array = Decimal128Array::new(values.into(), nulls).with_data_type(self.plain.clone());
                Arc::new(array)
            }
            Collected::Bytes { data, ends } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
                let array = BinaryArray::try_new(offsets, Buffer::from_vec(data), nulls).map_err(arrow_error)?;
                match self.plain {
                    DataType::Utf8 => Arc::new(StringArray::try_from_binary(array).map_err(arrow_error)?),
                    _ => Arc::new(array) as ArrayRef,
                }
            }
        };
        if *array.data_type() == self.wanted { Ok(array) } else { cast(&array, &self.wanted).map_err(arrow_error) }
    }
}

fn words_array(words: Vec<u64>, nulls: Option<NullBuffer>, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    fn narrow<T: ArrowNativeType>(words: &[u64], to: impl Fn(u64) -> T) -> Buffer {
        Buffer::from_vec(words.iter().map(|&word| to(word)).collect::<Vec<T>>())
    }
    let rows = words.len();
    let buffer = match data_type {
        DataType::Boolean => {
            let bits = BooleanBuffer::collect_bool(rows, |i| words.get(i) == Some(&1));
            return Ok(Arc::new(BooleanArray::new(bits, nulls)));
        }
        DataType::UInt64 => return Ok(Arc::new(PrimitiveArray::<UInt64Type>::new(words.into(), nulls))),
        DataType::Int8 => narrow(&words, |w| w as i8),
        DataType::Int16 => narrow(&words, |w| w as i16),
        DataType::Int32 | DataType::Date32 | DataType::Time32(_) => narrow(&words, |w| w as i32),
        DataType::UInt8 => narrow(&words, |w| w as u8),
        DataType::UInt16 => narrow(&words, |w| w as u16),
        DataType::UInt32 => narrow(&words, |w| w as u32),
        DataType::Float32 => narrow(&words, |w| f64::from_bits(w) as f32),
        // All others are 64 bits wide.
        _ => Buffer::from_vec(words),
    };
    let builder = arrow::array::ArrayDataBuilder::new(data_type.clone()).len(rows).add_buffer(buffer).nulls(nulls);
    Ok(make_array(builder.build()?))
}
