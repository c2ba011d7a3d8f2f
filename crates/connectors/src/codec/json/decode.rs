//! One JSON event into one row.

use millstream_core::schema::RowSchema;

use crate::codec::codes::{EMPTY, NOT_AN_OBJECT};
use crate::codec::columns::Slot;
use crate::codec::json::cursor::Cursor;
use crate::codec::json::shape::Shape;
use crate::codec::problem::{Parsed, Problem};

/// A byte order mark, which some producers put before every message.
const BOM: char = '\u{FEFF}';

/// Where the fields of an event go.
#[derive(Debug)]
pub(crate) struct JsonRows {
    shape: Shape,
}

impl JsonRows {
    pub(crate) fn new(schema: &RowSchema) -> Self {
        let mut shape = Shape::new(schema.strict);
        for (column, field) in schema.fields.iter().enumerate() {
            shape.declare(&field.path, column as u32);
        }
        Self { shape }
    }

    /// Reads an event; columns it does not have are left as they are.
    pub(crate) fn read(&mut self, text: &str, slots: &mut [Slot]) -> Parsed<()> {
        let mut cursor = Cursor::new(without_bom(text));
        cursor.space();
        match cursor.peek() {
            Some(b'{') => self.shape.read(&mut cursor, slots)?,
            None => return Err(Problem::new(EMPTY, "the event is empty, wanted a JSON object")),
            Some(_) => {
                let seen = cursor.describe_value()?;
                end(&mut cursor)?;
                return Err(Problem::new(NOT_AN_OBJECT, format!("saw {seen}, wanted a JSON object")));
            }
        }
        end(&mut cursor)
    }
}

/// An event without the byte order mark before it.
pub(crate) fn without_bom(text: &str) -> &str {
    text.strip_prefix(BOM).unwrap_or(text)
}

#[inline]
fn end(cursor: &mut Cursor<'_>) -> Parsed<()> {
    cursor.space();
    if cursor.is_at_end() { Ok(()) } else { Err(cursor.unexpected("the end of the event")) }
}
