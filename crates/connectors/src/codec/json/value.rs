//! JSON values into columns.

use crate::codec::codes::{BAD_DEFAULT, WRONG_TYPE};
use crate::codec::columns::{Column, Slot, Values};
use crate::codec::json::cursor::Cursor;
use crate::codec::problem::{Parsed, Problem, shorten};
use crate::codec::text::number::Number;
use crate::codec::text::time::{parse_date, parse_rfc3339};

impl Slot {
    /// Appends the value at the cursor, or what stands for null.
    #[inline]
    pub(crate) fn read(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        let read = if cursor.peek() == Some(b'n') {
            cursor.literal("null").and_then(|()| self.fill_null())
        } else {
            self.column.read(cursor)
        };
        read.map_err(|problem| problem.in_column(&self.name))
    }
}

impl Column {
    /// Appends the value at the cursor, which is not null.
    #[inline]
    fn read(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        match (&mut self.values, cursor.peek()) {
            (Values::Text { offsets, bytes }, Some(b'"')) => {
                let string = cursor.string()?;
                if string.escaped {
                    string.unescape(bytes)?;
                } else {
                    // The closing quote is behind it.
                    cursor.copy(cursor.at - 1 - string.raw.len(), cursor.at - 1, bytes);
                }
                offsets.push(bytes.len() as i32);
                self.pushed();
                Ok(())
            }
            (Values::Float(values), Some(b'-' | b'0'..=b'9')) => {
                let number = cursor.number()?;
                match number.to_f64() {
                    Ok(value) => {
                        values.push(value);
                        self.pushed();
                        Ok(())
                    }
                    Err(_) => self.push_number(number),
                }
            }
            (_, Some(b'-' | b'0'..=b'9')) => self.push_number(cursor.number()?),
            (_, Some(b'"')) => self.read_string(cursor),
            (Values::Bool(values), Some(first @ (b't' | b'f'))) => {
                cursor.literal(if first == b't' { "true" } else { "false" })?;
                values.push(first == b't');
                self.pushed();
                Ok(())
            }
            (Values::List { .. }, Some(b'[')) => self.read_list(cursor),
            (Values::Struct { shape, children }, Some(b'{')) => {
                shape.read(cursor, children)?;
                self.complete_struct()
            }
            _ => {
                let seen = cursor.describe_value()?;
                Err(self.wrong_type(&seen))
            }
        }
    }

    /// Appends a value that JSON writes as a string, though it is none.
    fn read_string(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        let start = cursor.at;
        let string = cursor.string()?;
        let mut unescaped = Vec::new();
        let text = string.text(&mut unescaped)?;
        match self.push_text(text) {
            Some(pushed) => pushed,
            None => Err(self.wrong_type(&format!("the string {}", shorten(cursor.since(start))))),
        }
    }

    /// Appends the value of a type that JSON writes as a string: times, dates, and decimals if one likes.
    /// `None` if this column has another type, or `text` is none of its values.
    pub(crate) fn push_text(&mut self, text: &str) -> Option<Parsed<()>> {
        match &mut self.values {
            Values::Rfc3339(values) => values.push(parse_rfc3339(text)?),
            Values::Date(values) => values.push(parse_date(text)?),
            Values::Decimal { .. } => return Number::parse(text).map(|number| self.push_number(number)),
            _ => return None,
        }
        self.pushed();
        Some(Ok(()))
    }

    fn read_list(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        let Values::List { offsets, items } = &mut self.values else {
            return Err(Problem::new(WRONG_TYPE, "a list was read into something else"));
        };
        cursor.eat(b'[');
        cursor.space();
        let first = items.len();
        if !cursor.eat(b']') {
            loop {
                if cursor.peek() == Some(b'n') {
                    cursor.literal("null")?;
                    items.push_null();
                } else {
                    items.read(cursor).map_err(|problem| problem.inside(format!("[{}]", items.len() - first)))?;
                }
                cursor.space();
                if cursor.eat(b',') {
                    cursor.space();
                } else if cursor.eat(b']') {
                    break;
                } else {
                    return Err(cursor.unexpected("`,` or `]`"));
                }
            }
        }
        offsets.push(items.len() as i32);
        self.pushed();
        Ok(())
    }

    /// Fills the fields that a struct's object did not have, and counts the struct.
    pub(crate) fn complete_struct(&mut self) -> Parsed<()> {
        let len = self.len();
        if let Values::Struct { children, .. } = &mut self.values {
            for child in children.iter_mut().filter(|child| child.column.len() == len) {
                child.fill_absent().map_err(|problem| problem.in_column(&child.name))?;
            }
        }
        self.pushed();
        Ok(())
    }

    /// Appends a value from the text of a whole JSON value.
    pub(crate) fn read_whole(&mut self, text: &str) -> Parsed<()> {
        let mut cursor = Cursor::new(text);
        cursor.space();
        self.read(&mut cursor)?;
        cursor.space();
        if cursor.is_at_end() { Ok(()) } else { Err(cursor.unexpected("nothing more")) }
    }

    /// Appends a default, which was read before and found good.
    pub(crate) fn read_default(&mut self, text: &str) -> Parsed<()> {
        self.read_whole(text)
            .map_err(|_| Problem::new(BAD_DEFAULT, format!("the default {} is no {}", shorten(text), self.wanted)))
    }
}
