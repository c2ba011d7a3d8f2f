//! Columns while a batch is decoded: plain vectors that are filled value by value, cut back when an event
//! turns out bad, turned into Arrow arrays once a batch, and used again.

mod finish;

use arrow::datatypes::DataType;
use millstream_core::schema::{FieldSpec, FieldType};

pub(crate) use finish::finish;

use crate::codec::codes::{MISSING, OUT_OF_RANGE, WRONG_TYPE};
use crate::codec::json::shape::Shape;
use crate::codec::problem::{Parsed, Problem};
use crate::codec::text::number::{Number, NumberError};

/// Elements of capacity that an emptied vector keeps for the next batch.
const KEPT_CAPACITY_MAX: usize = 1 << 20;

/// A column under construction.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) values: Values,
    len: usize,
    /// The places of nulls, rising.
    nulls: Vec<u32>,
    arrow: DataType,
    /// The type as the user wrote it.
    pub(crate) wanted: Box<str>,
}

/// The values, one for each row; what stands at a null has no meaning.
#[derive(Debug)]
pub(crate) enum Values {
    Text {
        offsets: Vec<i32>,
        bytes: Vec<u8>,
    },
    Bool(Vec<bool>),
    /// All integers but `uint64`, and timestamps given as counts.
    Int {
        values: Vec<i64>,
        min: i64,
        max: i64,
    },
    Unsigned(Vec<u64>),
    Float(Vec<f64>),
    Single(Vec<f32>),
    Decimal {
        values: Vec<i128>,
        limit: i128,
        scale: u8,
    },
    Rfc3339(Vec<i64>),
    Date(Vec<i32>),
    List {
        offsets: Vec<i32>,
        items: Box<Column>,
    },
    Struct {
        shape: Shape,
        children: Vec<Slot>,
    },
}

/// A column and what fills it where an event has no value.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) column: Column,
    pub(crate) name: String,
    pub(crate) required: bool,
    /// The default, as JSON text.
    pub(crate) default: Option<String>,
}

impl Slot {
    pub(crate) fn new(field: &FieldSpec, strict: bool) -> Self {
        Self {
            column: Column::new(&field.kind, strict),
            name: field.name.clone(),
            required: field.required,
            default: field.default.as_ref().filter(|value| !value.is_null()).map(ToString::to_string),
        }
    }

    /// Appends what stands for a null or absent value. `seen` says which of the two it was.
    #[cold]
    fn fill(&mut self, seen: &str) -> Parsed<()> {
        match &self.default {
            Some(default) => self.column.read_default(default),
            None if self.required => Err(Problem::new(MISSING, format!("{seen}, but it is required"))),
            None => {
                self.column.push_null();
                Ok(())
            }
        }
    }

    pub(crate) fn fill_null(&mut self) -> Parsed<()> {
        self.fill("saw null")
    }

    pub(crate) fn fill_absent(&mut self) -> Parsed<()> {
        self.fill("the event does not have it")
    }
}

impl Column {
    pub(crate) fn new(kind: &FieldType, strict: bool) -> Self {
        Self {
            values: Values::new(kind, strict),
            len: 0,
            nulls: Vec::new(),
            arrow: kind.arrow(),
            wanted: type_name(kind).into(),
        }
    }

    /// The number of values so far.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Counts the value that was just put into `values`.
    #[inline]
    pub(crate) fn pushed(&mut self) {
        self.len += 1;
    }

    pub(crate) fn push_null(&mut self) {
        self.nulls.push(self.len as u32);
        self.len += 1;
        match &mut self.values {
            Values::Text { offsets, bytes } => offsets.push(bytes.len() as i32),
            Values::Bool(values) => values.push(false),
            Values::Int { values, .. } | Values::Rfc3339(values) => values.push(0),
            Values::Unsigned(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Single(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
            Values::Date(values) => values.push(0),
            Values::List { offsets, items } => offsets.push(items.len() as i32),
            Values::Struct { children, .. } => children.iter_mut().for_each(|child| child.column.push_null()),
        }
    }

    /// Appends a number, if numbers are what this column holds.
    pub(crate) fn push_number(&mut self, number: Number<'_>) -> Parsed<()> {
        let pushed = match &mut self.values {
            Values::Int { values, min, max } => number.to_int(*min, *max).map(|value| values.push(value)),
            Values::Float(values) => number.to_f64().map(|value| values.push(value)),
            Values::Single(values) => number.to_f32().map(|value| values.push(value)),
            Values::Unsigned(values) => number.to_u64().map(|value| values.push(value)),
            Values::Decimal { values, limit, scale } => number
                .to_scaled(*scale)
                .and_then(|value| if value.abs() < *limit { Ok(value) } else { Err(NumberError::OutOfRange) })
                .map(|value| values.push(value)),
            _ => return Err(self.wrong_type(&format!("the number {}", super::problem::shorten(number.text)))),
        };
        match pushed {
            Ok(()) => {
                self.pushed();
                Ok(())
            }
            Err(error) => Err(self.misfit(number.text, error)),
        }
    }

    #[cold]
    fn misfit(&self, text: &str, error: NumberError) -> Box<Problem> {
        let what = match error {
            NumberError::OutOfRange => "beyond the range of",
            NumberError::Fraction => "which has more places after the point than fit",
        };
        Problem::new(OUT_OF_RANGE, format!("saw the number {}, {what} {}", super::problem::shorten(text), self.wanted))
    }

    /// The refusal of a value of another type.
    #[cold]
    pub(crate) fn wrong_type(&self, seen: &str) -> Box<Problem> {
        let hint = match &self.values {
            Values::Rfc3339(_) => " (RFC 3339 with an offset, like 2025-06-02T08:00:00Z)",
            Values::Date(_) => " (YYYY-MM-DD)",
            Values::Int { .. } if matches!(self.arrow, DataType::Timestamp(..)) => " (an integer)",
            _ => "",
        };
        Problem::new(WRONG_TYPE, format!("saw {seen}, wanted {}{hint}", self.wanted))
    }

    /// Cuts the column back to its first `len` values, whatever state an unfinished value left it in.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = len;
        while self.nulls.last().is_some_and(|&at| at as usize >= len) {
            self.nulls.pop();
        }
        match &mut self.values {
            Values::Text { offsets, bytes } => {
                offsets.truncate(len + 1);
                bytes.truncate(offsets.last().map_or(0, |&end| end as usize));
            }
            Values::Bool(values) => values.truncate(len),
            Values::Int { values, .. } | Values::Rfc3339(values) => values.truncate(len),
            Values::Unsigned(values) => values.truncate(len),
            Values::Float(values) => values.truncate(len),
            Values::Single(values) => values.truncate(len),
            Values::Decimal { values, .. } => values.truncate(len),
            Values::Date(values) => values.truncate(len),
            Values::List { offsets, items } => {
                offsets.truncate(len + 1);
                items.truncate(offsets.last().map_or(0, |&end| end as usize));
            }
            Values::Struct { children, .. } => children.iter_mut().for_each(|child| child.column.truncate(len)),
        }
    }

    /// Empties the column and gives back what one enormous batch made it take.
    pub(crate) fn clear(&mut self) {
        self.truncate(0);
        match &mut self.values {
            Values::Text { bytes, .. } => bytes.shrink_to(KEPT_CAPACITY_MAX),
            Values::List { items, .. } => items.clear(),
            Values::Struct { children, .. } => children.iter_mut().for_each(|child| child.column.clear()),
            _ => {}
        }
    }
}

impl Values {
    fn new(kind: &FieldType, strict: bool) -> Self {
        match kind {
            FieldType::String => Self::Text { offsets: vec![0], bytes: Vec::new() },
            FieldType::Bool => Self::Bool(Vec::new()),
            FieldType::Number(DataType::Float64) => Self::Float(Vec::new()),
            FieldType::Number(DataType::Float32) => Self::Single(Vec::new()),
            FieldType::Number(DataType::UInt64) => Self::Unsigned(Vec::new()),
            FieldType::Number(number) => {
                let (min, max) = range(number);
                Self::Int { values: Vec::new(), min, max }
            }
            FieldType::Timestamp(_) => Self::Int { values: Vec::new(), min: i64::MIN, max: i64::MAX },
            FieldType::Decimal(precision, scale) => {
                let limit = 10i128.pow(u32::from(*precision).min(38));
                Self::Decimal { values: Vec::new(), limit, scale: scale.unsigned_abs() }
            }
            FieldType::Rfc3339 => Self::Rfc3339(Vec::new()),
            FieldType::Date => Self::Date(Vec::new()),
            FieldType::List(item) => Self::List { offsets: vec![0], items: Box::new(Column::new(item, strict)) },
            FieldType::Struct(fields) => {
                let children: Vec<Slot> = fields
                    .iter()
                    .map(|(name, kind)| Slot {
                        column: Column::new(kind, strict),
                        name: name.clone(),
                        required: false,
                        default: None,
                    })
                    .collect();
                Self::Struct {
                    shape: Shape::of_names(children.iter().map(|child| child.name.as_str()), strict),
                    children,
                }
            }
        }
    }
}

fn range(number: &DataType) -> (i64, i64) {
    match number {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::UInt8 => (0, u8::MAX.into()),
        DataType::UInt16 => (0, u16::MAX.into()),
        DataType::UInt32 => (0, u32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    }
}

/// A type as it is written in a pipeline file.
fn type_name(kind: &FieldType) -> String {
    use arrow::datatypes::TimeUnit;
    match kind {
        FieldType::String => "string".into(),
        FieldType::Bool => "bool".into(),
        FieldType::Number(number) => format!("{number:?}").to_lowercase(),
        FieldType::Decimal(precision, scale) => format!("decimal({precision}, {scale})"),
        FieldType::Timestamp(TimeUnit::Second) => "timestamp_s".into(),
        FieldType::Timestamp(TimeUnit::Millisecond) => "timestamp_ms".into(),
        FieldType::Timestamp(TimeUnit::Microsecond) => "timestamp_us".into(),
        FieldType::Timestamp(TimeUnit::Nanosecond) => "timestamp_ns".into(),
        FieldType::Rfc3339 => "timestamp".into(),
        FieldType::Date => "date".into(),
        FieldType::List(item) => format!("list<{}>", type_name(item)),
        FieldType::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, kind)| format!("{name}: {}", type_name(kind))).collect();
            format!("struct<{}>", fields.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names_read_back() {
        for text in [
            "string",
            "bool",
            "int8",
            "uint64",
            "float32",
            "decimal(10, 2)",
            "timestamp_s",
            "timestamp_ns",
            "timestamp",
            "date",
            "list<int64>",
            "struct<a: int64, b: list<struct<c: date>>>",
        ] {
            assert_eq!(type_name(&FieldType::parse(text).unwrap()), text);
        }
    }

    #[test]
    fn a_half_written_row_is_cut_off() {
        let kind = FieldType::parse("list<struct<a: int64, b: string>>").unwrap();
        let mut column = Column::new(&kind, false);
        column.push_null();
        let Values::List { items, .. } = &mut column.values else { panic!() };
        let Values::Struct { children, .. } = &mut items.values else { panic!() };
        children[0].column.push_null();
        column.truncate(1);
        let Values::List { items, .. } = &column.values else { panic!() };
        let Values::Struct { children, .. } = &items.values else { panic!() };
        assert_eq!((column.len(), items.len(), children[0].column.len()), (1, 0, 0));
    }
}
