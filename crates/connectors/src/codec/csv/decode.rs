//! One CSV record into one row.

use millstream_core::schema::RowSchema;
use millstream_core::{Error, Result};

use super::split::{Field, split, without_line_end};
use crate::codec::codes::{EMPTY, FIELD_COUNT, HEADER};
use crate::codec::columns::{Column, Slot, Values};
use crate::codec::problem::{Parsed, Problem, shorten};
use crate::codec::text::number::Number;

/// Which field goes to which column.
#[derive(Debug)]
pub(crate) struct CsvRows {
    /// (place in the record, column).
    fills: Vec<(usize, usize)>,
    /// Fields that the header has.
    fields: usize,
    scratch: String,
}

impl CsvRows {
    pub(crate) fn new(schema: &RowSchema, header: &[String]) -> Result<Self> {
        let mut fills = Vec::new();
        for (column, field) in schema.fields.iter().enumerate() {
            // A dotted `from:` is a path in JSON; a header may have it as a name.
            let name = field.path.join(".");
            let mut places = header.iter().enumerate().filter(|(_, have)| **have == name).map(|(i, _)| i);
            match (places.next(), places.next()) {
                (Some(place), None) => fills.push((place, column)),
                (None, _) if field.default.is_some() => {}
                (None, _) => {
                    return Err(Error::new(
                        HEADER,
                        format!("the CSV header has no column `{name}`: {}", shorten(&header.join(","))),
                    )
                    .help("name the header's column with `from:`, or give the field a `default:`"));
                }
                _ => {
                    return Err(Error::new(HEADER, format!("the CSV header has the column `{name}` twice"))
                        .help("give the columns different names"));
                }
            }
        }
        if schema.strict {
            let known = |name: &String| schema.fields.iter().any(|field| field.path.join(".") == *name);
            if let Some(extra) = header.iter().find(|name| !known(name)) {
                return Err(Error::new(HEADER, format!("the CSV header has a column `{extra}` that is not declared"))
                    .help("declare it in `schema:`, or set `strict: false`"));
            }
        }
        Ok(Self { fills, fields: header.len(), scratch: String::new() })
    }

    /// Reads a record; columns that the header does not have are left as they are. `fields` is a buffer.
    pub(crate) fn read<'a>(&mut self, record: &'a str, fields: &mut Vec<Field<'a>>, slots: &mut [Slot]) -> Parsed<()> {
        let record = without_line_end(record);
        if record.trim_ascii().is_empty() {
            return Err(Problem::new(EMPTY, "the record is empty, wanted a CSV record"));
        }
        split(record, fields)?;
        if fields.len() != self.fields {
            let count = fields.len();
            return Err(Problem::new(
                FIELD_COUNT,
                format!("the record has {count} fields, the header has {}", self.fields),
            ));
        }
        for &(place, column) in &self.fills {
            let (Some(field), Some(slot)) = (fields.get(place), slots.get_mut(column)) else { continue };
            let read = match field.text(&mut self.scratch) {
                None => slot.fill_null(),
                Some(text) => slot.column.push_field(text),
            };
            read.map_err(|problem| problem.in_column(&slot.name))?;
        }
        Ok(())
    }
}

impl Column {
    /// Appends the value that a CSV field's text means. Numbers have JSON's form, with blanks around them;
    /// lists and structs are JSON texts.
    fn push_field(&mut self, text: &str) -> Parsed<()> {
        match &mut self.values {
            Values::Text { offsets, bytes } => {
                bytes.extend_from_slice(text.as_bytes());
                offsets.push(bytes.len() as i32);
                self.pushed();
                return Ok(());
            }
            Values::Bool(values) => {
                let text = text.trim_ascii();
                let value = text.eq_ignore_ascii_case("true");
                if value || text.eq_ignore_ascii_case("false") {
                    values.push(value);
                    self.pushed();
                    return Ok(());
                }
            }
            Values::Rfc3339(_) | Values::Date(_) => {
                if let Some(pushed) = self.push_text(text.trim_ascii()) {
                    return pushed;
                }
            }
            Values::List { .. } | Values::Struct { .. } => return self.read_whole(text),
            _ => {
                if let Some(number) = Number::parse(text.trim_ascii()) {
                    return self.push_number(number);
                }
            }
        }
        Err(self.wrong_type(&format!("{:?}", shorten(text))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::codes::{OUT_OF_RANGE, WRONG_TYPE};

    #[test]
    fn codes_of_numbers_are_those_of_json() {
        let mut column = Column::new(&millstream_core::FieldType::parse("int8").unwrap(), false);
        assert_eq!(column.push_field("300").unwrap_err().into_rejection().code, OUT_OF_RANGE);
        assert_eq!(column.push_field("3x").unwrap_err().into_rejection().code, WRONG_TYPE);
        assert_eq!(column.push_field("007").unwrap_err().into_rejection().code, WRONG_TYPE);
        assert!(column.push_field(" 12 ").is_ok());
    }
}
