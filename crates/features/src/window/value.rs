//! Values as 64-bit cells.
//!
//! A stored row is a few `u64` words, whatever its columns' types are. Numbers, booleans and times stand in
//! their cell directly; strings and wide decimals are interned, and the cell holds the number under which the
//! [`Interner`] knows them. A cell says nothing about null: that is a bit of the row.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Decimal128Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;

use super::intern::Interner;

/// What a cell means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A signed integer, date, time, timestamp, duration, or decimal of at most 18 digits.
    Int,
    /// An unsigned integer.
    UInt,
    /// A double; 32-bit floats are widened.
    Float,
    /// 0 or 1.
    Bool,
    /// An interned string or binary.
    Bytes,
    /// An interned decimal of more than 18 digits: 16 bytes, little-endian.
    Wide,
}

/// The type in which values of a column type are read and written: views, dictionaries and large
/// variants become the plain type.
pub fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Dictionary(_, value) => plain_type(value),
        other => other.clone(),
    }
}

impl Kind {
    /// How values of a plain type are stored; `None` if they can't be.
    pub fn of(data_type: &DataType) -> Option<Self> {
        Some(match plain_type(data_type) {
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::Duration(_) => Self::Int,
            DataType::Decimal128(precision, _) if precision <= 18 => Self::Int,
            DataType::Decimal128(..) => Self::Wide,
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Self::UInt,
            DataType::Float32 | DataType::Float64 => Self::Float,
            DataType::Boolean => Self::Bool,
            DataType::Utf8 | DataType::Binary => Self::Bytes,
            _ => return None,
        })
    }

    /// Whether cells are numbers of the interner.
    #[inline]
    pub fn is_interned(self) -> bool {
        matches!(self, Self::Bytes | Self::Wide)
    }
}

/// A cell of a directly stored kind as a `u64` that sorts like the value. NaNs are one value and greatest, as in
/// DataFusion and DuckDB; `-0.0` comes before `0.0`.
#[inline]
pub fn order_key(kind: Kind, cell: u64) -> u64 {
    const SIGN: u64 = 1 << 63;
    match kind {
        Kind::Int => cell ^ SIGN,
        Kind::Float => {
            let bits = if f64::from_bits(cell).is_nan() { f64::NAN.to_bits() & !SIGN } else { cell };
            if bits & SIGN != 0 { !bits } else { bits | SIGN }
        }
        Kind::UInt | Kind::Bool | Kind::Bytes | Kind::Wide => cell,
    }
}

/// The cell that [`order_key`] was made from.
#[inline]
pub fn from_order_key(kind: Kind, key: u64) -> u64 {
    const SIGN: u64 = 1 << 63;
    match kind {
        Kind::Int => key ^ SIGN,
        Kind::Float if key & SIGN != 0 => key & !SIGN,
        Kind::Float => !key,
        Kind::UInt | Kind::Bool | Kind::Bytes | Kind::Wide => key,
    }
}

/// The cell by which equal values are known as equal: `-0.0` is `0.0`, and all NaNs are one, as in GROUP BY.
#[inline]
pub fn identity(kind: Kind, cell: u64) -> u64 {
    if kind != Kind::Float {
        return cell;
    }
    let value = f64::from_bits(cell);
    if value.is_nan() {
        f64::NAN.to_bits()
    } else if value == 0.0 {
        0
    } else {
        cell
    }
}

/// A numeric cell as a double.
#[inline]
pub fn as_f64(kind: Kind, cell: u64) -> f64 {
    match kind {
        Kind::Float => f64::from_bits(cell),
        Kind::Int => cell as i64 as f64,
        Kind::UInt | Kind::Bool | Kind::Bytes | Kind::Wide => cell as f64,
    }
}

/// Reads the 16 bytes of a wide decimal.
pub fn wide_value(bytes: &[u8]) -> i128 {
    bytes.first_chunk().map_or(0, |bytes| i128::from_le_bytes(*bytes))
}

/// Orders two cells of one kind.
#[inline]
pub fn compare(kind: Kind, a: u64, b: u64, interner: &Interner) -> Ordering {
    match kind {
        Kind::Bytes => interner.get(a).cmp(interner.get(b)),
        Kind::Wide => wide_value(interner.get(a)).cmp(&wide_value(interner.get(b))),
        _ => order_key(kind, a).cmp(&order_key(kind, b)),
    }
}

/// One argument column of a batch, read once and shared by all stores.
#[derive(Debug)]
pub struct Column {
    /// What its cells mean.
    pub kind: Kind,
    /// Which rows are not null; `None` if all are.
    pub nulls: Option<NullBuffer>,
    /// The values.
    pub values: Values,
}

/// The values of a [`Column`]; what stands at nulls means nothing.
#[derive(Debug)]
pub enum Values {
    /// Cells.
    Words(Vec<u64>),
    /// Strings or binaries.
    Bytes(BinaryArray),
    /// Decimals of more than 18 digits.
    Wide(Decimal128Array),
    /// A type that is never read, only tested for null.
    Opaque,
}

impl Column {
    /// Reads an array.
    ///
    /// # Errors
    /// Arrow can't bring it to its plain type.
    pub fn read(array: &ArrayRef) -> Result<Self, ArrowError> {
        let plain = plain_type(array.data_type());
        let plain_array;
        let array = if *array.data_type() == plain {
            array
        } else {
            plain_array = cast(array, &plain)?;
            &plain_array
        };
        let kind = Kind::of(&plain).unwrap_or(Kind::UInt);
        Ok(Self { kind, nulls: array.logical_nulls(), values: read_values(array, &plain) })
    }

    /// Whether row `i` is not null.
    #[inline]
    pub fn is_valid(&self, i: usize) -> bool {
        self.nulls.as_ref().is_none_or(|nulls| nulls.is_valid(i))
    }

    /// Whether row `i` is true.
    #[inline]
    pub fn is_true(&self, i: usize) -> bool {
        matches!(&self.values, Values::Words(words) if words.get(i) == Some(&1)) && self.is_valid(i)
    }
}

macro_rules! words {
    ($array:expr, $type:ty, $cast:ty) => {
        Values::Words($array.as_primitive::<$type>().values().iter().map(|&v| v as $cast as u64).collect())
    };
}

fn read_values(array: &ArrayRef, plain: &DataType) -> Values {
    match plain {
        DataType::Int8 => words!(array, Int8Type, i64),
        DataType::Int16 => words!(array, Int16Type, i64),
        DataType::Int32 => words!(array, Int32Type, i64),
        DataType::Int64 => words!(array, Int64Type, i64),
        DataType::UInt8 => words!(array, UInt8Type, u64),
        DataType::UInt16 => words!(array, UInt16Type, u64),
        DataType::UInt32 => words!(array, UInt32Type, u64),
        DataType::UInt64 => words!(array, UInt64Type, u64),
        DataType::Date32 => words!(array, Date32Type, i64),
        DataType::Date64 => words!(array, Date64Type, i64),
        DataType::Float32 => Values::Words(
            array.as_primitive::<Float32Type>().values().iter().map(|&v| f64::from(v).to_bits()).collect(),
        ),
        DataType::Float64 => {
            Values::Words(array.as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits()).collect())
        }
        DataType::Decimal128(precision, _) if *precision <= 18 => words!(array, Decimal128Type, i64),
        DataType::Decimal128(..) => Values::Wide(array.as_primitive::<Decimal128Type>().clone()),
        DataType::Boolean => {
            let bits = array.as_boolean().values();
            Values::Words((0..bits.len()).map(|i| u64::from(bits.value(i))).collect())
        }
        DataType::Utf8 => Values::Bytes(BinaryArray::from(array.as_string::<i32>().clone())),
        DataType::Binary => Values::Bytes(array.as_binary::<i32>().clone()),
        DataType::Time32(_) => integers::<i32>(array),
        DataType::Time64(_) | DataType::Timestamp(..) | DataType::Duration(_) => integers::<i64>(array),
        _ => Values::Opaque,
    }
}

/// Reads the buffer of a time type, whose unit does not matter here.
fn integers<T: arrow::datatypes::ArrowNativeType + Into<i64>>(array: &ArrayRef) -> Values {
    let data = array.to_data();
    let values = data.buffers().first().map(|buffer| buffer.typed_data::<T>()).unwrap_or_default();
    let values = values.get(data.offset()..data.offset() + data.len()).unwrap_or_default();
    Values::Words(values.iter().map(|&v| Into::<i64>::into(v) as u64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_keys_sort_like_values() {
        let floats =
            [f64::NEG_INFINITY, -1.5, -f64::MIN_POSITIVE, -0.0, 0.0, 1e-310, 1.0, f64::MAX, f64::INFINITY, f64::NAN];
        for pair in floats.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|v| order_key(Kind::Float, v.to_bits()));
            assert!(a < b, "{pair:?}");
        }
        assert_eq!(order_key(Kind::Float, (-f64::NAN).to_bits()), order_key(Kind::Float, f64::NAN.to_bits()));
        for v in floats {
            let back = from_order_key(Kind::Float, order_key(Kind::Float, v.to_bits()));
            assert_eq!(back, v.to_bits());
        }
        assert!(order_key(Kind::Int, -1i64 as u64) < order_key(Kind::Int, 0));
        assert_eq!(from_order_key(Kind::Int, order_key(Kind::Int, 7)), 7);
    }

    #[test]
    fn zeros_and_nans_are_one_value() {
        assert_eq!(identity(Kind::Float, (-0.0f64).to_bits()), identity(Kind::Float, 0));
        assert_eq!(identity(Kind::Float, (-f64::NAN).to_bits()), identity(Kind::Float, f64::NAN.to_bits()));
    }
}
