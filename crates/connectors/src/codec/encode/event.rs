//! The fields of the original event, before those of the row (`include: event`).

use std::collections::HashSet;

use millstream_core::record::RawBatch;
use millstream_core::{Error, Result};

use crate::codec::InputFormat;
use crate::codec::codes::ENCODE;
use crate::codec::csv::split::{Field, split, without_line_end};
use crate::codec::json::cursor::Cursor;
use crate::codec::json::decode::without_bom;
use crate::codec::json::keys::Keys;
use crate::codec::json::write;
use crate::codec::problem::Parsed;

/// Copies an event's fields, but not those that the row has too.
pub(crate) enum EventFields {
    Json {
        /// The keys of events, and whether the row has them too.
        keys: Keys<bool>,
        row: HashSet<Box<str>>,
    },
    /// For each field of a record its `"name":`, or nothing if the row has it too.
    Csv { prefixes: Vec<Option<Vec<u8>>>, scratch: String },
}

impl EventFields {
    pub(crate) fn new<'a>(format: &InputFormat, row: impl Iterator<Item = &'a str>) -> Self {
        let row: HashSet<Box<str>> = row.map(Box::from).collect();
        match format {
            InputFormat::Json => Self::Json { keys: Keys::default(), row },
            InputFormat::Csv { columns } => {
                let prefix = |name: &String| {
                    let mut prefix = Vec::new();
                    write::string(name, &mut prefix);
                    prefix.push(b':');
                    prefix
                };
                let prefixes =
                    columns.iter().map(|name| (!row.contains(name.as_str())).then(|| prefix(name))).collect();
                Self::Csv { prefixes, scratch: String::new() }
            }
        }
    }

    /// Appends the fields of record `i` with commas between them; says whether there were any.
    pub(crate) fn write(&mut self, raw: &RawBatch, i: usize, out: &mut Vec<u8>) -> Result<bool> {
        let text = std::str::from_utf8(raw.value(i).unwrap_or_default());
        let written = text.ok().and_then(|text| match self {
            Self::Json { keys, row } => json_fields(text, keys, row, out).ok(),
            Self::Csv { prefixes, scratch } => csv_fields(text, prefixes, scratch, out).ok(),
        });
        written.ok_or_else(|| {
            let (offset, partition) = (raw.offset(i), raw.partition());
            Error::new(
                ENCODE,
                format!("the original event at offset {offset} of partition {partition} does not read back"),
            )
        })
    }
}

fn json_fields(text: &str, keys: &mut Keys<bool>, row: &HashSet<Box<str>>, out: &mut Vec<u8>) -> Parsed<bool> {
    let mut cursor = Cursor::new(without_bom(text));
    let before = out.len();
    cursor.space();
    if !cursor.eat(b'{') {
        return Err(cursor.unexpected("`{`"));
    }
    cursor.space();
    if cursor.eat(b'}') {
        return Ok(false);
    }
    let mut place = keys.start();
    loop {
        cursor.space();
        let start = cursor.at;
        let replaced = match keys.read(&mut cursor, &mut place, |name| Ok(row.contains(name)))? {
            Some(key) => key.known,
            None => row.contains(keys.unknown()),
        };
        cursor.skip_value()?;
        if !replaced {
            if out.len() > before {
                out.push(b',');
            }
            one_line(cursor.since(start), out);
        }
        cursor.space();
        if !cursor.eat(b',') {
            return Ok(out.len() > before);
        }
    }
}

/// Appends JSON text. Line ends stand only between tokens; where there are some, all space between tokens goes.
fn one_line(json: &str, out: &mut Vec<u8>) {
    let bytes = json.as_bytes();
    if memchr::memchr2(b'\n', b'\r', bytes).is_none() {
        out.extend_from_slice(bytes);
        return;
    }
    let mut cursor = Cursor::new(json);
    loop {
        cursor.space();
        let start = cursor.at;
        match cursor.peek() {
            None => return,
            Some(b'"') if cursor.string().is_ok() => {}
            Some(_) => cursor.at += 1,
        }
        out.extend_from_slice(cursor.since(start).as_bytes());
    }
}

fn csv_fields(text: &str, prefixes: &[Option<Vec<u8>>], scratch: &mut String, out: &mut Vec<u8>) -> Parsed<bool> {
    let mut fields: Vec<Field<'_>> = Vec::new();
    split(without_line_end(text), &mut fields)?;
    let before = out.len();
    for (prefix, field) in prefixes.iter().zip(&fields) {
        let Some(prefix) = prefix else { continue };
        if out.len() > before {
            out.push(b',');
        }
        out.extend_from_slice(prefix);
        match field.text(scratch) {
            Some(text) => write::string(text, out),
            None => out.extend_from_slice(b"null"),
        }
    }
    Ok(out.len() > before)
}
