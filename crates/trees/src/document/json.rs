//! A JSON reader for model files. XGBoost writes `NaN` and `Infinity`, which are not JSON and which no JSON
//! library reads; and models are mostly arrays of numbers, which are left as text here.

use std::borrow::Cow;

use super::Cursor;
use super::value::{Numbers, Value};
use crate::error::{LoadError, Place};

/// Parses a whole document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value<'_>, LoadError> {
    let mut reader = Reader { cursor: Cursor::new(bytes) };
    let value = reader.value(0)?;
    reader.space();
    reader.cursor.check_end()?;
    Ok(value)
}

struct Reader<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Reader<'a> {
    fn unexpected(&self, wanted: &str) -> LoadError {
        match self.cursor.peek() {
            Some(byte) if byte.is_ascii_graphic() => {
                self.cursor.problem(format!("`{}` where {wanted} belongs", byte as char))
            }
            Some(byte) => self.cursor.problem(format!("byte 0x{byte:02x} where {wanted} belongs")),
            None => self.cursor.problem(format!("the file ends where {wanted} belongs")),
        }
    }

    fn space(&mut self) {
        while matches!(self.cursor.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.cursor.at += 1;
        }
    }

    /// Skips space and then `byte`, if it comes next.
    fn eat(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.cursor.peek() == Some(byte);
        self.cursor.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, LoadError> {
        self.cursor.check_depth(depth)?;
        self.space();
        match self.cursor.peek() {
            Some(b'{') => self.map(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Value::Str(self.string()?)),
            _ => {
                let word = self.word()?;
                Ok(match word {
                    "" => return Err(self.unexpected("a value")),
                    "null" => Value::Null,
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    number => Value::NumberText(number),
                })
            }
        }
    }

    /// A number or a name: anything up to the next delimiter.
    fn word(&mut self) -> Result<&'a str, LoadError> {
        let rest = self.cursor.bytes.get(self.cursor.at..).unwrap_or_default();
        let length = rest.iter().position(|b| !(b.is_ascii_alphanumeric() || b"+-.".contains(b))).unwrap_or(rest.len());
        let word = rest.get(..length).and_then(|w| std::str::from_utf8(w).ok());
        self.cursor.at += length;
        word.ok_or_else(|| self.unexpected("a value"))
    }

    fn map(&mut self, depth: usize) -> Result<Value<'a>, LoadError> {
        self.cursor.at += 1;
        let mut entries = Vec::new();
        if self.eat(b'}') {
            return Ok(Value::Map(entries));
        }
        loop {
            self.space();
            if self.cursor.peek() != Some(b'"') {
                return Err(self.unexpected("a key"));
            }
            let key = self.string()?;
            if !self.eat(b':') {
                return Err(self.unexpected("`:`"));
            }
            entries.push((key, self.value(depth + 1)?));
            if self.eat(b'}') {
                return Ok(Value::Map(entries));
            }
            if !self.eat(b',') {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value<'a>, LoadError> {
        self.cursor.at += 1;
        self.space();
        let (start, nested) = (self.cursor.at, |byte| matches!(byte, Some(b'{' | b'[' | b'"')));
        if !nested(self.cursor.peek()) {
            match self.numbers() {
                // The numbers are followed by more than numbers: `[1, [0]]`.
                Err(_) if nested(self.cursor.peek()) => self.cursor.at = start,
                numbers => return numbers,
            }
        }
        let mut items = Vec::new();
        loop {
            items.push(self.value(depth + 1)?);
            if self.eat(b']') {
                return Ok(Value::List(items));
            }
            if !self.eat(b',') {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
    }

    /// A flat list of numbers and names, up to the bracket that closes it.
    fn numbers(&mut self) -> Result<Value<'a>, LoadError> {
        let rest = self.cursor.bytes.get(self.cursor.at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|b| !(b.is_ascii_alphanumeric() || b.is_ascii_whitespace() || b"+-.,".contains(b)))
            .unwrap_or(rest.len());
        let text = rest.get(..length).and_then(|t| std::str::from_utf8(t).ok());
        self.cursor.at += length;
        match (self.cursor.peek(), text) {
            (Some(b']'), Some(text)) => {
                self.cursor.at += 1;
                Ok(Value::Numbers(Numbers::Text(text)))
            }
            _ => Err(self.unexpected("a number or `]`")),
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, LoadError> {
        self.cursor.at += 1;
        let start = self.cursor.at;
        let mut owned: Option<Vec<u8>> = None;
        loop {
            let from = self.cursor.at;
            while !matches!(self.cursor.peek(), Some(b'"' | b'\\') | None) {
                self.cursor.at += 1;
            }
            let piece = self.cursor.bytes.get(from..self.cursor.at).unwrap_or_default();
            if let Some(owned) = &mut owned {
                owned.extend_from_slice(piece);
            }
            match self.cursor.peek() {
                Some(b'"') => {
                    self.cursor.at += 1;
                    let not_utf8 = |_| LoadError::malformed(Place::byte(start), "a string is not UTF-8");
                    return match owned {
                        None => std::str::from_utf8(piece).map(Cow::Borrowed).map_err(not_utf8),
                        Some(owned) => String::from_utf8(owned).map(Cow::Owned).map_err(|e| not_utf8(e.utf8_error())),
                    };
                }
                Some(_) => {
                    let mut text = owned.take().unwrap_or_else(|| piece.to_vec());
                    let decoded = self.escape()?;
                    text.extend_from_slice(decoded.encode_utf8(&mut [0; 4]).as_bytes());
                    owned = Some(text);
                }
                None => return Err(self.unexpected("`\"`")),
            }
        }
    }

    /// What stands after a backslash.
    fn escape(&mut self) -> Result<char, LoadError> {
        self.cursor.at += 1;
        let Some(byte) = self.cursor.peek() else { return Err(self.unexpected("an escaped character")) };
        self.cursor.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => byte as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut unit = self.hex()?;
                if (0xd800..0xdc00).contains(&unit)
                    && self.cursor.bytes.get(self.cursor.at..self.cursor.at + 2) == Some(b"\\u")
                {
                    self.cursor.at += 2;
                    let low = self.hex()?;
                    unit = 0x10000 + ((unit - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                }
                char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.cursor.problem("an unknown escape in a string")),
        })
    }

    fn hex(&mut self) -> Result<u32, LoadError> {
        let digits =
            self.cursor.bytes.get(self.cursor.at..self.cursor.at + 4).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let unit = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u32::from_str_radix(d, 16).ok());
        self.cursor.at += 4;
        unit.ok_or_else(|| self.cursor.problem("four hexadecimal digits belong after `\\u`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xgboost_writes_is_read() {
        let text = br#" {"a": [1, -2.5E-1,NaN , Infinity,-Infinity], "b\u00e4\ud83d\ude00\n":"x", "c":[true,false],
            "d":[], "e":[{"f":[["g"]]}], "h": 1E3, "i": null, "a": [7]} "#;
        let value = parse(text).unwrap();
        let Value::Numbers(numbers) = value.find("a").unwrap() else { panic!() };
        assert_eq!(numbers.i64s().unwrap(), [7], "the last of equal keys counts");
        let Value::Map(entries) = &value else { panic!() };
        let Value::Numbers(first) = entries[0].1 else { panic!() };
        let floats = first.f32s().unwrap();
        assert!(floats[2].is_nan() && floats[3] == f32::INFINITY && floats[4] == f32::NEG_INFINITY);
        assert!(first.i64s().is_err());
        assert_eq!(entries[1].0, "bä😀\n");
        let Value::Numbers(flags) = value.find("c").unwrap() else { panic!() };
        assert_eq!(flags.i64s().unwrap(), [1, 0]);
    }

    #[test]
    fn broken_text_is_refused() {
        for bad in [
            "",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,}",
            "[1,2",
            "[\"a\",",
            "{\"a\":1}x",
            "\"\\u12",
            "\"\\q\"",
            "{a:1}",
            "[1;2]",
            "\"\\ud800\\u",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(parse(b"\"\xff\"").is_err());
    }
}
