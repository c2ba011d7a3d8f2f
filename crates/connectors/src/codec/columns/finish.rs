//! Filled columns to Arrow arrays.
//!
//! All arrays of a batch are slices of one allocation: at one event a batch, allocations are most of the cost.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, ListArray, PrimitiveArray, StringArray, StructArray};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;

use super::{Column, Slot, Values};

/// Every part starts at a multiple of this: more than any Arrow type asks for.
const ALIGNMENT: usize = 16;

/// Makes arrays of the columns and empties them.
pub(crate) fn finish(slots: &mut [Slot]) -> Result<Vec<ArrayRef>, ArrowError> {
    let size = slots.iter().map(|slot| slot.column.size()).sum();
    let mut arena = Arena { bytes: MutableBuffer::new(size) };
    slots.iter().for_each(|slot| slot.column.stash(&mut arena));
    let mut parts = Parts { bytes: arena.bytes.into(), at: 0 };
    let arrays = slots.iter().map(|slot| slot.column.build(&mut parts)).collect();
    slots.iter_mut().for_each(|slot| slot.column.clear());
    arrays
}

/// The bytes of all columns, written in the order in which [`Parts`] hands them out.
struct Arena {
    bytes: MutableBuffer,
}

impl Arena {
    fn put<T: ArrowNativeType>(&mut self, values: &[T]) {
        self.bytes.extend_from_slice(values);
        self.pad();
    }

    fn put_iter<T: ArrowNativeType>(&mut self, values: impl Iterator<Item = T>) {
        values.for_each(|value| self.bytes.push(value));
        self.pad();
    }

    fn put_bits(&mut self, bits: &BooleanBuffer) {
        self.bytes.extend_from_slice(bits.values());
        self.pad();
    }

    fn pad(&mut self) {
        let padded = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(padded, 0);
    }
}

struct Parts {
    bytes: Buffer,
    at: usize,
}

impl Parts {
    /// The next part, which has `bytes` bytes: its place in the buffer.
    fn skip(&mut self, bytes: usize) -> usize {
        let at = self.at;
        self.at = (at + bytes).next_multiple_of(ALIGNMENT);
        at
    }

    fn scalars<T: ArrowNativeType>(&mut self, len: usize) -> ScalarBuffer<T> {
        let at = self.skip(len * size_of::<T>());
        // A multiple of `ALIGNMENT` is one of the size, too.
        ScalarBuffer::new(self.bytes.clone(), at / size_of::<T>(), len)
    }

    fn bits(&mut self, len: usize) -> BooleanBuffer {
        let at = self.skip(len.div_ceil(8));
        BooleanBuffer::new(self.bytes.clone(), at * 8, len)
    }
}

impl Column {
    /// An upper bound of the bytes that [`Column::stash`] writes.
    fn size(&self) -> usize {
        let values = match &self.values {
            Values::Text { bytes, .. } => bytes.len() + 4 * (self.len + 1),
            Values::Bool(_) => self.len.div_ceil(8),
            Values::Int { .. } | Values::Unsigned(_) | Values::Float(_) | Values::Rfc3339(_) => 8 * self.len,
            Values::Single(_) | Values::Date(_) => 4 * self.len,
            Values::Decimal { .. } => 16 * self.len,
            Values::List { items, .. } => items.size() + 4 * (self.len + 1),
            Values::Struct { children, .. } => children.iter().map(|child| child.column.size()).sum(),
        };
        values + self.len.div_ceil(8) + 3 * ALIGNMENT
    }

    fn stash(&self, arena: &mut Arena) {
        if !self.nulls.is_empty() {
            arena.put_bits(&self.validity());
        }
        match &self.values {
            Values::Text { offsets, bytes } => {
                arena.put(offsets);
                arena.put(bytes);
            }
            Values::Bool(values) => arena.put_bits(&values.iter().copied().collect()),
            Values::Int { values, .. } => match self.arrow {
                DataType::Int8 => arena.put_iter(values.iter().map(|&value| value as i8)),
                DataType::Int16 => arena.put_iter(values.iter().map(|&value| value as i16)),
                DataType::Int32 => arena.put_iter(values.iter().map(|&value| value as i32)),
                DataType::UInt8 => arena.put_iter(values.iter().map(|&value| value as u8)),
                DataType::UInt16 => arena.put_iter(values.iter().map(|&value| value as u16)),
                DataType::UInt32 => arena.put_iter(values.iter().map(|&value| value as u32)),
                _ => arena.put(values),
            },
            Values::Rfc3339(values) => arena.put(values),
            Values::Unsigned(values) => arena.put(values),
            Values::Float(values) => arena.put(values),
            Values::Single(values) => arena.put(values),
            Values::Date(values) => arena.put(values),
            Values::Decimal { values, .. } => arena.put(values),
            Values::List { offsets, items } => {
                arena.put(offsets);
                items.stash(arena);
            }
            Values::Struct { children, .. } => children.iter().for_each(|child| child.column.stash(arena)),
        }
    }

    fn validity(&self) -> BooleanBuffer {
        let mut nulls = self.nulls.iter().copied().peekable();
        BooleanBuffer::collect_bool(self.len, |i| nulls.next_if_eq(&(i as u32)).is_none())
    }

    /// Takes the parts that [`Column::stash`] wrote, in the same order.
    fn build(&self, parts: &mut Parts) -> Result<ArrayRef, ArrowError> {
        let len = self.len;
        let nulls = (!self.nulls.is_empty()).then(|| NullBuffer::new(parts.bits(len)));
        Ok(match &self.values {
            Values::Text { bytes, .. } => {
                let offsets = offsets(parts, len);
                let at = parts.skip(bytes.len());
                let bytes = parts.bytes.slice_with_length(at, bytes.len());
                // SAFETY: `bytes` was filled from whole `str`s and `offsets` from their ends, so that offsets
                // rise, end at the length of `bytes`, and stand between characters.
                Arc::new(unsafe { StringArray::new_unchecked(offsets, bytes, nulls) })
            }
            Values::Bool(_) => Arc::new(BooleanArray::new(parts.bits(len), nulls)),
            Values::Int { .. } | Values::Rfc3339(_) => match &self.arrow {
                DataType::Int8 => primitive::<Int8Type>(parts, len, nulls),
                DataType::Int16 => primitive::<Int16Type>(parts, len, nulls),
                DataType::Int32 => primitive::<Int32Type>(parts, len, nulls),
                DataType::UInt8 => primitive::<UInt8Type>(parts, len, nulls),
                DataType::UInt16 => primitive::<UInt16Type>(parts, len, nulls),
                DataType::UInt32 => primitive::<UInt32Type>(parts, len, nulls),
                DataType::Timestamp(TimeUnit::Second, _) => primitive::<TimestampSecondType>(parts, len, nulls),
                DataType::Timestamp(TimeUnit::Millisecond, _) => {
                    primitive::<TimestampMillisecondType>(parts, len, nulls)
                }
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    primitive::<TimestampMicrosecondType>(parts, len, nulls)
                }
                DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive::<TimestampNanosecondType>(parts, len, nulls),
                _ => primitive::<Int64Type>(parts, len, nulls),
            },
            Values::Unsigned(_) => primitive::<UInt64Type>(parts, len, nulls),
            Values::Float(_) => primitive::<Float64Type>(parts, len, nulls),
            Values::Single(_) => primitive::<Float32Type>(parts, len, nulls),
            Values::Date(_) => primitive::<Date32Type>(parts, len, nulls),
            Values::Decimal { .. } => {
                let array = PrimitiveArray::<Decimal128Type>::new(parts.scalars(len), nulls);
                Arc::new(array.with_data_type(self.arrow.clone()))
            }
            Values::List { items, .. } => {
                let DataType::List(field) = &self.arrow else { return Err(mismatch(&self.arrow)) };
                let offsets = offsets(parts, len);
                Arc::new(ListArray::try_new(field.clone(), offsets, items.build(parts)?, nulls)?)
            }
            Values::Struct { children, .. } => {
                let DataType::Struct(fields) = &self.arrow else { return Err(mismatch(&self.arrow)) };
                let arrays: Result<_, _> = children.iter().map(|child| child.column.build(parts)).collect();
                Arc::new(StructArray::try_new_with_length(fields.clone(), arrays?, nulls, len)?)
            }
        })
    }
}

fn offsets(parts: &mut Parts, len: usize) -> OffsetBuffer<i32> {
    // SAFETY: offsets start at 0, are the lengths of a growing vector, and so never fall; truncation cuts the
    // end off. Their greatest is below `i32::MAX`, because a batch that could pass it is refused beforehand.
    unsafe { OffsetBuffer::new_unchecked(parts.scalars(len + 1)) }
}

fn primitive<T: ArrowPrimitiveType>(parts: &mut Parts, len: usize, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(parts.scalars(len), nulls))
}

fn mismatch(arrow: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("a nested column has the type {arrow}"))
}
