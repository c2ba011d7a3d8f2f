//! A reader for Universal Binary JSON as XGBoost writes it (and as the specification allows, without the
//! high-precision numbers that XGBoost doesn't read either).

use std::borrow::Cow;

use crate::document::{Cursor, Kind, Number, Numbers, Value};
use crate::error::LoadError;

/// Parses a whole document.
pub(super) fn parse(bytes: &[u8]) -> Result<Value<'_>, LoadError> {
    let mut reader = Reader { cursor: Cursor::new(bytes) };
    let marker = reader.byte("a value")?;
    let value = reader.value(marker, 0)?;
    reader.cursor.check_end()?;
    Ok(value)
}

struct Reader<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Reader<'a> {
    fn byte(&mut self, wanted: &str) -> Result<u8, LoadError> {
        let byte = self.cursor.bytes.get(self.cursor.at).copied();
        let byte = byte.ok_or_else(|| self.cursor.problem(format!("the file ends where {wanted} belongs")))?;
        self.cursor.at += 1;
        Ok(byte)
    }

    fn take(&mut self, length: usize, wanted: &str) -> Result<&'a [u8], LoadError> {
        let end = self.cursor.at.checked_add(length);
        let taken = end.and_then(|end| self.cursor.bytes.get(self.cursor.at..end));
        let taken = taken.ok_or_else(|| {
            let left = self.cursor.bytes.len().saturating_sub(self.cursor.at);
            self.cursor.problem(format!("{wanted} needs {length} bytes, the file has {left} left"))
        })?;
        self.cursor.at += length;
        Ok(taken)
    }

    /// A length: a marker and a whole number.
    fn length(&mut self) -> Result<usize, LoadError> {
        let marker = self.byte("a length")?;
        let kind =
            Kind::of(marker).ok_or_else(|| self.cursor.problem(format!("marker 0x{marker:02x} begins no length")))?;
        let bytes = self.take(kind.size(), "a length")?;
        match kind.read(bytes) {
            Some(Number::Int(length)) => {
                usize::try_from(length).map_err(|_| self.cursor.problem(format!("a length is {length}")))
            }
            _ => Err(self.cursor.problem("a length is no whole number")),
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, LoadError> {
        let length = self.length()?;
        let bytes = self.take(length, "a string")?;
        std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| self.cursor.problem("a string is not UTF-8"))
    }

    fn value(&mut self, marker: u8, depth: usize) -> Result<Value<'a>, LoadError> {
        self.cursor.check_depth(depth)?;
        if let Some(kind) = Kind::of(marker) {
            let bytes = self.take(kind.size(), "a number")?;
            return match kind.read(bytes) {
                Some(Number::Int(v)) => Ok(Value::Int(v)),
                Some(Number::Single(v)) => Ok(Value::Float(f64::from(v))),
                Some(Number::Double(v)) => Ok(Value::Float(v)),
                None => Err(self.cursor.problem("a number is cut short")),
            };
        }
        match marker {
            b'{' => self.map(depth),
            b'[' => self.list(depth),
            b'S' => Ok(Value::Str(self.string()?)),
            b'C' => match self.take(1, "a character")? {
                [byte] if byte.is_ascii() => Ok(Value::Str(Cow::Owned(char::from(*byte).to_string()))),
                _ => Err(self.cursor.problem("a character is not ASCII")),
            },
            b'Z' => Ok(Value::Null),
            b'T' => Ok(Value::Bool(true)),
            b'F' => Ok(Value::Bool(false)),
            _ => Err(self.cursor.problem(format!("marker 0x{marker:02x} begins no value"))),
        }
    }

    /// The `$type` and `#count` that may stand at the head of a list or a map.
    fn head(&mut self) -> Result<(Option<u8>, Option<usize>), LoadError> {
        let mut marker = None;
        if self.cursor.peek() == Some(b'$') {
            self.cursor.at += 1;
            marker = Some(self.byte("a type")?);
            if self.cursor.peek() != Some(b'#') {
                return Err(self.cursor.problem("a typed list has no count"));
            }
        }
        let mut count = None;
        if self.cursor.peek() == Some(b'#') {
            self.cursor.at += 1;
            count = Some(self.length()?);
        }
        Ok((marker, count))
    }

    fn list(&mut self, depth: usize) -> Result<Value<'a>, LoadError> {
        let (marker, count) = self.head()?;
        if let Some(marker) = marker {
            // Other types have no use in a model, and those without bytes could claim any count.
            let kind = Kind::of(marker)
                .ok_or_else(|| self.cursor.problem(format!("a list of type 0x{marker:02x} is not known in models")))?;
            let length = count.unwrap_or(0).saturating_mul(kind.size());
            return Ok(Value::Numbers(Numbers::Packed(kind, self.take(length, "a list of numbers")?)));
        }
        if let Some(numbers) = self.plain_numbers(count)? {
            return Ok(Value::Numbers(numbers));
        }
        let mut items = Vec::new();
        while count.is_none_or(|n| items.len() < n) {
            let marker = self.byte("an item")?;
            if count.is_none() && marker == b']' {
                break;
            }
            items.push(self.value(marker, depth + 1)?);
        }
        Ok(Value::List(items))
    }

    /// A list whose items all are numbers with markers of their own; `None` (and nothing read) if one is not.
    fn plain_numbers(&mut self, count: Option<usize>) -> Result<Option<Numbers<'a>>, LoadError> {
        let (start, mut items) = (self.cursor.at, 0);
        while count.is_none_or(|n| items < n) {
            let Some(marker) = self.cursor.peek() else {
                return Err(self.cursor.problem("the file ends inside a list"));
            };
            if count.is_none() && marker == b']' {
                break;
            }
            let Some(kind) = Kind::of(marker) else {
                self.cursor.at = start;
                return Ok(None);
            };
            self.cursor.at += 1;
            self.take(kind.size(), "a number")?;
            items += 1;
        }
        let numbers = Numbers::Mixed(self.cursor.bytes.get(start..self.cursor.at).unwrap_or_default());
        self.cursor.at += usize::from(count.is_none());
        Ok(Some(numbers))
    }

    fn map(&mut self, depth: usize) -> Result<Value<'a>, LoadError> {
        let (marker, count) = self.head()?;
        if marker.is_some() {
            return Err(self.cursor.problem("a typed map is not known in models"));
        }
        let mut entries = Vec::new();
        loop {
            match count {
                Some(count) if entries.len() == count => break,
                None if self.cursor.peek() == Some(b'}') => {
                    self.cursor.at += 1;
                    break;
                }
                _ => {}
            }
            let key = self.string()?;
            let marker = self.byte("a value")?;
            entries.push((key, self.value(marker, depth + 1)?));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_plain_and_counted_lists_are_read() {
        let mut bytes = b"{i\x01a[$d#i\x02".to_vec();
        bytes.extend(1.5f32.to_be_bytes());
        bytes.extend((-2f32).to_be_bytes());
        bytes.extend(b"i\x01b[#i\x02i\x05l\x00\x00\x01\x00i\x01c[i\x07Si\x01x]i\x01d[i\x01]i\x01eSi\x01zi\x01f[]}");
        let value = parse(&bytes).unwrap();
        let Some(Value::Numbers(a)) = value.find("a") else { panic!() };
        assert_eq!(a.f32s().unwrap(), [1.5, -2.0]);
        let Some(Value::Numbers(b)) = value.find("b") else { panic!() };
        assert_eq!(b.i64s().unwrap(), [5, 256]);
        assert!(matches!(value.find("c"), Some(Value::List(items)) if items.len() == 2));
        let Some(Value::Numbers(d)) = value.find("d") else { panic!() };
        assert_eq!(d.f64s().unwrap(), [1.0]);
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn hostile_sizes_cost_nothing() {
        let huge = i64::MAX.to_be_bytes();
        for head in [b"[$d#L".as_slice(), b"[#L", b"{#L", b"SL", b"[$Z#L", b"[$T#L"] {
            let bytes = [head, huge.as_slice()].concat();
            assert!(parse(&bytes).is_err());
        }
        assert!(parse(&vec![b'['; 100_000]).is_err());
        assert!(parse(b"[#i\xff").is_err());
    }
}
