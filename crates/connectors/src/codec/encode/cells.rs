//! The cells of one column as text. What a column's type asks for is decided once a batch.

use std::borrow::Cow;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float16Array, GenericListArray, OffsetSizeTrait, PrimitiveArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowDictionaryKeyType, DataType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::codec::Timestamps;
use crate::codec::json::write::{self, Stamp};
use crate::codec::text::time::{write_date, write_rfc3339};

/// A column of a batch, ready to be written cell by cell.
pub(crate) struct Cells<'a> {
    nulls: Option<&'a NullBuffer>,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Null,
    Bool(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float16(&'a Float16Array),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal(&'a [i128], i8),
    /// `Decimal32`, `Decimal64` and `Decimal256`: numbers that arrow writes.
    Digits(ArrayFormatter<'a>),
    Date32(&'a [i32]),
    Date64(&'a [i64]),
    /// Values, and how many make a second.
    Timestamp(&'a [i64], i64),
    Text(Texts<'a>),
    Bytes(Texts<'a>),
    /// Keys into the values.
    Dictionary(Cow<'a, [i32]>, Box<Cells<'a>>),
    List(Vec<(usize, usize)>, Box<Cells<'a>>),
    Struct(Vec<(Stamp, Cells<'a>)>),
    /// Times, durations and intervals: strings that arrow writes.
    Display(ArrayFormatter<'a>),
}

/// The four ways Arrow keeps strings and bytes.
enum Texts<'a> {
    Small(&'a [i32], &'a [u8]),
    Large(&'a [i64], &'a [u8]),
    TextView(&'a arrow::array::StringViewArray),
    BytesView(&'a arrow::array::BinaryViewArray),
    Fixed(&'a arrow::array::FixedSizeBinaryArray),
}

impl<'a> Texts<'a> {
    #[inline]
    fn get(&self, i: usize) -> &'a [u8] {
        let (bytes, start, end) = self.place(i);
        bytes.get(start..end).unwrap_or_default()
    }

    /// The bytes that hold it, where it begins and where it ends.
    #[inline]
    fn place(&self, i: usize) -> (&'a [u8], usize, usize) {
        let whole = |bytes: &'a [u8]| (bytes, 0, bytes.len());
        match self {
            Self::Small(offsets, bytes) => match offsets.get(i..i + 2) {
                Some(&[start, end]) => (bytes, start as usize, end as usize),
                _ => (bytes, 0, 0),
            },
            Self::Large(offsets, bytes) => match offsets.get(i..i + 2) {
                Some(&[start, end]) => (bytes, start as usize, end as usize),
                _ => (bytes, 0, 0),
            },
            Self::TextView(array) => whole(array.value(i).as_bytes()),
            Self::BytesView(array) => whole(array.value(i)),
            Self::Fixed(array) => whole(array.value(i)),
        }
    }
}

/// Whether columns of a type can be written as text.
pub(crate) fn is_writable(kind: &DataType) -> bool {
    match kind {
        DataType::Union(..)
        | DataType::Map(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => false,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_writable(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().all(|field| is_writable(field.data_type())),
        DataType::Dictionary(_, values) => is_writable(values),
        _ => true,
    }
}

/// What the formatter of arrow writes for types that Millstream does not write itself.
const DISPLAY: FormatOptions<'static> = FormatOptions::new();

impl<'a> Cells<'a> {
    /// `None` for a type that is not [writable](is_writable).
    pub(crate) fn new(array: &'a dyn Array, timestamps: Timestamps) -> Option<Self> {
        let kind = match array.data_type() {
            DataType::Null => Kind::Null,
            DataType::Boolean => Kind::Bool(array.as_boolean_opt()?),
            DataType::Int8 => Kind::Int8(values::<Int8Type>(array)?),
            DataType::Int16 => Kind::Int16(values::<Int16Type>(array)?),
            DataType::Int32 => Kind::Int32(values::<Int32Type>(array)?),
            DataType::Int64 => Kind::Int64(values::<Int64Type>(array)?),
            DataType::UInt8 => Kind::UInt8(values::<UInt8Type>(array)?),
            DataType::UInt16 => Kind::UInt16(values::<UInt16Type>(array)?),
            DataType::UInt32 => Kind::UInt32(values::<UInt32Type>(array)?),
            DataType::UInt64 => Kind::UInt64(values::<UInt64Type>(array)?),
            DataType::Float16 => Kind::Float16(array.as_primitive_opt()?),
            DataType::Float32 => Kind::Float32(values::<Float32Type>(array)?),
            DataType::Float64 => Kind::Float64(values::<Float64Type>(array)?),
            DataType::Decimal128(_, scale) => Kind::Decimal(values::<Decimal128Type>(array)?, *scale),
            DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal256(..) => {
                Kind::Digits(formatter(array)?)
            }
            DataType::Date32 => Kind::Date32(values::<Date32Type>(array)?),
            DataType::Date64 => Kind::Date64(values::<Date64Type>(array)?),
            DataType::Timestamp(unit, _) => timestamp(array, *unit, timestamps)?,
            DataType::Utf8 => text(array.as_string_opt::<i32>()?),
            DataType::LargeUtf8 => text(array.as_string_opt::<i64>()?),
            DataType::Utf8View => Kind::Text(Texts::TextView(array.as_string_view_opt()?)),
            DataType::Binary => bytes(array.as_binary_opt::<i32>()?),
            DataType::LargeBinary => bytes(array.as_binary_opt::<i64>()?),
            DataType::BinaryView => Kind::Bytes(Texts::BytesView(array.as_binary_view_opt()?)),
            DataType::FixedSizeBinary(_) => Kind::Bytes(Texts::Fixed(array.as_fixed_size_binary_opt()?)),
            DataType::Dictionary(..) => dictionary(array, timestamps)?,
            DataType::List(_) => list(array.as_list_opt::<i32>()?, timestamps)?,
            DataType::LargeList(_) => list(array.as_list_opt::<i64>()?, timestamps)?,
            DataType::FixedSizeList(_, size) => {
                let lists = array.as_fixed_size_list_opt()?;
                let size = usize::try_from(*size).ok()?;
                let ranges = (0..lists.len()).map(|i| (i * size, (i + 1) * size)).collect();
                Kind::List(ranges, Box::new(Cells::new(lists.values(), timestamps)?))
            }
            DataType::Struct(_) => fields(array, timestamps)?,
            DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) | DataType::Interval(_) => {
                Kind::Display(formatter(array)?)
            }
            _ => return None,
        };
        Some(Self { nulls: array.nulls().filter(|nulls| nulls.null_count() > 0), kind })
    }

    /// Whether cell `i` is null.
    #[inline]
    pub(crate) fn is_null(&self, i: usize) -> bool {
        match &self.kind {
            Kind::Null => true,
            Kind::Dictionary(_, values) => self.entry(i).is_none_or(|entry| values.is_null(entry)),
            _ => self.null_here(i),
        }
    }

    #[inline]
    fn null_here(&self, i: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(i))
    }

    /// For dictionaries, which entry cell `i` is.
    #[inline]
    pub(crate) fn entry(&self, i: usize) -> Option<usize> {
        match &self.kind {
            Kind::Dictionary(keys, _) if !self.null_here(i) => keys.get(i).and_then(|&key| usize::try_from(key).ok()),
            _ => None,
        }
    }

    /// The whole number in cell `i`, if it is one that fits.
    pub(crate) fn whole(&self, i: usize) -> Option<i64> {
        if self.is_null(i) {
            return None;
        }
        match &self.kind {
            Kind::Int8(values) => values.get(i).map(|&v| v.into()),
            Kind::Int16(values) => values.get(i).map(|&v| v.into()),
            Kind::Int32(values) => values.get(i).map(|&v| v.into()),
            Kind::Int64(values) => values.get(i).copied(),
            Kind::UInt8(values) => values.get(i).map(|&v| v.into()),
            Kind::UInt16(values) => values.get(i).map(|&v| v.into()),
            Kind::UInt32(values) => values.get(i).map(|&v| v.into()),
            Kind::UInt64(values) => values.get(i).and_then(|&v| i64::try_from(v).ok()),
            _ => None,
        }
    }

    /// Appends cell `i` as a JSON value. Numbers that JSON does not know (NaN, the infinities) become null.
    #[inline]
    pub(crate) fn write_json(&self, i: usize, out: &mut Vec<u8>) {
        if self.is_null(i) {
            out.extend_from_slice(b"null");
            return;
        }
        match &self.kind {
            Kind::Float64(values) => float(values[i], out),
            Kind::Float32(values) => float(values[i], out),
            Kind::Float16(array) => float(array.value(i).to_f32(), out),
            Kind::Text(texts) => {
                let (bytes, start, end) = texts.place(i);
                write::string_in(bytes, start, end, out);
            }
            Kind::Dictionary(_, values) => values.write_json(self.entry(i).unwrap_or_default(), out),
            Kind::List(ranges, items) => {
                let (start, end) = ranges.get(i).copied().unwrap_or_default();
                out.push(b'[');
                for item in start..end {
                    if item > start {
                        out.push(b',');
                    }
                    items.write_json(item, out);
                }
                out.push(b']');
            }
            Kind::Struct(fields) => {
                for (prefix, cells) in fields {
                    prefix.write(out);
                    cells.write_json(i, out);
                }
                out.extend_from_slice(if fields.is_empty() { b"{}" } else { b"}" });
            }
            Kind::Bytes(_) | Kind::Display(_) => {
                out.push(b'"');
                self.write_text(i, out);
                out.push(b'"');
            }
            Kind::Date32(values) => quoted(out, |out| write_date(values[i].into(), out), values[i].into()),
            Kind::Date64(values) => quoted(out, |out| write_date(values[i].div_euclid(86_400_000), out), values[i]),
            Kind::Timestamp(values, per_second) => {
                quoted(out, |out| write_rfc3339(values[i], *per_second, out), values[i])
            }
            _ => self.write_text(i, out),
        }
    }

    /// Appends cell `i` as text without quotes: for CSV, and for keys. Nothing for null.
    pub(crate) fn write_text(&self, i: usize, out: &mut Vec<u8>) {
        if self.is_null(i) {
            return;
        }
        match &self.kind {
            Kind::Null => {}
            Kind::Bool(array) => out.extend_from_slice(if array.value(i) { b"true" } else { b"false" }),
            Kind::Int8(values) => integer(values[i], out),
            Kind::Int16(values) => integer(values[i], out),
            Kind::Int32(values) => integer(values[i], out),
            Kind::Int64(values) => integer(values[i], out),
            Kind::UInt8(values) => integer(values[i], out),
            Kind::UInt16(values) => integer(values[i], out),
            Kind::UInt32(values) => integer(values[i], out),
            Kind::UInt64(values) => integer(values[i], out),
            Kind::Float16(array) => float_text(array.value(i).to_f32(), out),
            Kind::Float32(values) => float_text(values[i], out),
            Kind::Float64(values) => float_text(values[i], out),
            Kind::Decimal(values, scale) => decimal(values[i], *scale, out),
            Kind::Digits(formatter) | Kind::Display(formatter) => {
                out.extend_from_slice(formatter.value(i).to_string().as_bytes());
            }
            Kind::Date32(values) => {
                if !write_date(values[i].into(), out) {
                    integer(values[i], out);
                }
            }
            Kind::Date64(values) => {
                if !write_date(values[i].div_euclid(86_400_000), out) {
                    integer(values[i], out);
                }
            }
            Kind::Timestamp(values, per_second) => {
                if !write_rfc3339(values[i], *per_second, out) {
                    integer(values[i], out);
                }
            }
            Kind::Text(texts) => {
                let (bytes, start, end) = texts.place(i);
                write::copy(bytes, start, end, out);
            }
            Kind::Bytes(texts) => out.extend_from_slice(STANDARD.encode(texts.get(i)).as_bytes()),
            Kind::Dictionary(_, values) => values.write_text(self.entry(i).unwrap_or_default(), out),
            Kind::List(..) | Kind::Struct(_) => self.write_json(i, out),
        }
    }
}

fn values<T: arrow::datatypes::ArrowPrimitiveType>(array: &dyn Array) -> Option<&[T::Native]> {
    array.as_primitive_opt::<T>().map(|array: &PrimitiveArray<T>| &**array.values())
}

fn formatter(array: &dyn Array) -> Option<ArrayFormatter<'_>> {
    ArrayFormatter::try_new(array, &DISPLAY).ok()
}

fn timestamp(array: &dyn Array, unit: TimeUnit, timestamps: Timestamps) -> Option<Kind<'_>> {
    let (values, per_second) = match unit {
        TimeUnit::Second => (values::<TimestampSecondType>(array)?, 1),
        TimeUnit::Millisecond => (values::<TimestampMillisecondType>(array)?, 1_000),
        TimeUnit::Microsecond => (values::<TimestampMicrosecondType>(array)?, 1_000_000),
        TimeUnit::Nanosecond => (values::<TimestampNanosecondType>(array)?, 1_000_000_000),
    };
    Some(match timestamps {
        Timestamps::Epoch => Kind::Int64(values),
        Timestamps::Rfc3339 => Kind::Timestamp(values, per_second),
    })
}

/// Strings and bytes with offsets.
trait Offsets: OffsetSizeTrait {
    fn texts<'a>(offsets: &'a [Self], bytes: &'a [u8]) -> Texts<'a>;
}

impl Offsets for i32 {
    fn texts<'a>(offsets: &'a [Self], bytes: &'a [u8]) -> Texts<'a> {
        Texts::Small(offsets, bytes)
    }
}

impl Offsets for i64 {
    fn texts<'a>(offsets: &'a [Self], bytes: &'a [u8]) -> Texts<'a> {
        Texts::Large(offsets, bytes)
    }
}

fn text<O: Offsets>(array: &arrow::array::GenericStringArray<O>) -> Kind<'_> {
    Kind::Text(O::texts(array.value_offsets(), array.value_data()))
}

fn bytes<O: Offsets>(array: &arrow::array::GenericBinaryArray<O>) -> Kind<'_> {
    Kind::Bytes(O::texts(array.value_offsets(), array.value_data()))
}

fn list<O: OffsetSizeTrait>(array: &GenericListArray<O>, timestamps: Timestamps) -> Option<Kind<'_>> {
    let ranges = array.value_offsets().windows(2).map(|pair| (pair[0].as_usize(), pair[1].as_usize())).collect();
    Some(Kind::List(ranges, Box::new(Cells::new(array.values(), timestamps)?)))
}

fn fields(array: &dyn Array, timestamps: Timestamps) -> Option<Kind<'_>> {
    let array = array.as_struct_opt()?;
    let prefixes = prefixes(array.fields().iter().map(|field| field.name().as_str()));
    let cells = array.columns().iter().map(|column| Cells::new(column, timestamps));
    prefixes
        .into_iter()
        .zip(cells)
        .map(|(prefix, cells)| Some((prefix, cells?)))
        .collect::<Option<_>>()
        .map(Kind::Struct)
}

/// What stands before each value of an object: `{"a":`, then `,"b":`.
pub(crate) fn prefixes<'n>(names: impl Iterator<Item = &'n str>) -> Vec<Stamp> {
    let prefix = |(i, name): (usize, &str)| {
        let mut prefix = vec![if i == 0 { b'{' } else { b',' }];
        write::string(name, &mut prefix);
        prefix.push(b':');
        Stamp::new(prefix)
    };
    names.enumerate().map(prefix).collect()
}

fn dictionary(array: &dyn Array, timestamps: Timestamps) -> Option<Kind<'_>> {
    let DataType::Dictionary(key, _) = array.data_type() else { return None };
    match **key {
        DataType::Int8 => entries::<Int8Type>(array, timestamps),
        DataType::Int16 => entries::<Int16Type>(array, timestamps),
        DataType::Int32 => entries::<Int32Type>(array, timestamps),
        DataType::Int64 => entries::<Int64Type>(array, timestamps),
        DataType::UInt8 => entries::<UInt8Type>(array, timestamps),
        DataType::UInt16 => entries::<UInt16Type>(array, timestamps),
        DataType::UInt32 => entries::<UInt32Type>(array, timestamps),
        DataType::UInt64 => entries::<UInt64Type>(array, timestamps),
        _ => None,
    }
}

fn entries<K: ArrowDictionaryKeyType>(array: &dyn Array, timestamps: Timestamps) -> Option<Kind<'_>> {
    let array = array.as_dictionary_opt::<K>()?;
    let values: &ArrayRef = array.values();
    let keys = match (array.keys() as &dyn Array).as_primitive_opt::<Int32Type>() {
        Some(keys) => Cow::Borrowed(&**keys.values()),
        None => (0..array.len()).map(|i| array.key(i).and_then(|key| i32::try_from(key).ok()).unwrap_or(-1)).collect(),
    };
    Some(Kind::Dictionary(keys, Box::new(Cells::new(values, timestamps)?)))
}

#[inline]
fn integer<I: itoa::Integer>(value: I, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A number that some bit pattern may keep from being one.
trait Float: zmij::Float + Copy {
    fn finite(self) -> bool;
    fn positive(self) -> bool;
    fn nan(self) -> bool;
}

impl Float for f64 {
    fn finite(self) -> bool {
        self.is_finite()
    }
    fn positive(self) -> bool {
        self > 0.0
    }
    fn nan(self) -> bool {
        self.is_nan()
    }
}

impl Float for f32 {
    fn finite(self) -> bool {
        self.is_finite()
    }
    fn positive(self) -> bool {
        self > 0.0
    }
    fn nan(self) -> bool {
        self.is_nan()
    }
}

/// The shortest text that reads back as the same number.
#[inline]
fn float<F: Float>(value: F, out: &mut Vec<u8>) {
    if value.finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

fn float_text<F: Float>(value: F, out: &mut Vec<u8>) {
    match value {
        value if value.finite() => float(value, out),
        value if value.nan() => out.extend_from_slice(b"NaN"),
        value if value.positive() => out.extend_from_slice(b"inf"),
        _ => out.extend_from_slice(b"-inf"),
    }
}

/// Appends `value · 10^-scale` with all places.
fn decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs()).as_bytes();
    let scale_abs = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        out.extend_from_slice(digits);
        if value != 0 {
            out.extend(std::iter::repeat_n(b'0', scale_abs));
        }
        return;
    }
    if digits.len() <= scale_abs {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', scale_abs - digits.len()));
        out.extend_from_slice(digits);
    } else {
        let (whole, places) = digits.split_at(digits.len() - scale_abs);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(places);
    }
}

/// Appends what `write` writes, in quotes; the bare number where it can't.
fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> bool, number: i64) {
    out.push(b'"');
    if write(out) {
        out.push(b'"');
    } else {
        // Beyond the calendar: the number is still right, and one event must not stop an output.
        out.pop();
        integer(number, out);
    }
}
