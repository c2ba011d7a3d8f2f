//! The wire format of protocol buffers: tagged fields, read one after another from bytes that may be anything.

use crate::error::{LoadError, Place};

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
}

/// A field: its number and value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Wire<'a>,
}

/// Reads the fields of one message. After an error it ends.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    /// What the message is, for messages to people.
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    fn broken(&mut self, problem: &str) -> LoadError {
        let left = self.bytes.len();
        self.bytes = &[];
        LoadError::malformed(Place::part(self.what), format!("{problem}, {left} bytes before its end"))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }

    fn next_field(&mut self) -> Result<Field<'a>, LoadError> {
        const CUT: &str = "a field is cut short";
        let Some(tag) = varint(&mut self.bytes) else { return Err(self.broken("a field's tag is damaged")) };
        let value = match tag & 7 {
            0 => varint(&mut self.bytes).map(Wire::Varint),
            1 => self.take().map(Wire::Fixed64),
            5 => self.take().map(Wire::Fixed32),
            2 => varint(&mut self.bytes)
                .and_then(|length| self.bytes.split_at_checked(usize::try_from(length).ok()?))
                .map(|(head, rest)| {
                    self.bytes = rest;
                    Wire::Bytes(head)
                }),
            _ => return Err(self.broken("a field of an unknown kind")),
        };
        match value {
            Some(value) => Ok(Field { number: tag >> 3, value }),
            None => Err(self.broken(CUT)),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, LoadError>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.bytes.is_empty()).then(|| self.next_field())
    }
}

impl<'a> Wire<'a> {
    /// The bytes of a length-delimited field.
    pub(super) fn bytes(self, what: &str) -> Result<&'a [u8], LoadError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(wrong_kind(what)),
        }
    }

    pub(super) fn text(self, what: &str) -> Result<&'a str, LoadError> {
        std::str::from_utf8(self.bytes(what)?).map_err(|_| LoadError::malformed(Place::part(what), "is not UTF-8"))
    }

    pub(super) fn int(self, what: &str) -> Result<i64, LoadError> {
        match self {
            Self::Varint(value) => Ok(value.cast_signed()),
            _ => Err(wrong_kind(what)),
        }
    }

    /// Appends whole numbers, packed or single.
    pub(super) fn ints(self, into: &mut Vec<i64>, what: &str) -> Result<(), LoadError> {
        let mut bytes = match self {
            Self::Varint(value) => {
                into.push(value.cast_signed());
                return Ok(());
            }
            Self::Bytes(bytes) => bytes,
            _ => return Err(wrong_kind(what)),
        };
        while !bytes.is_empty() {
            let value = varint(&mut bytes);
            into.push(
                value.ok_or_else(|| LoadError::malformed(Place::part(what), "a number is cut short"))?.cast_signed(),
            );
        }
        Ok(())
    }

    /// Appends float32 numbers, packed or single.
    pub(super) fn floats(self, into: &mut Vec<f32>, what: &str) -> Result<(), LoadError> {
        match self {
            Self::Fixed32(bytes) => into.push(f32::from_le_bytes(bytes)),
            Self::Bytes(bytes) => {
                let (chunks, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(LoadError::malformed(Place::part(what), "a number is cut short"));
                }
                into.extend(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)));
            }
            _ => return Err(wrong_kind(what)),
        }
        Ok(())
    }

    /// Appends float64 numbers, packed or single.
    pub(super) fn doubles(self, into: &mut Vec<f64>, what: &str) -> Result<(), LoadError> {
        match self {
            Self::Fixed64(bytes) => into.push(f64::from_le_bytes(bytes)),
            Self::Bytes(bytes) => {
                let (chunks, rest) = bytes.as_chunks::<8>();
                if !rest.is_empty() {
                    return Err(LoadError::malformed(Place::part(what), "a number is cut short"));
                }
                into.extend(chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)));
            }
            _ => return Err(wrong_kind(what)),
        }
        Ok(())
    }
}

fn wrong_kind(what: &str) -> LoadError {
    LoadError::malformed(Place::part(what), "a field has a kind it can't have")
}

/// Reads a number of variable length and moves on; `None` if it is cut short or too long.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for index in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_damage_is_seen() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f];
        let fields: Vec<_> = Fields::new(&bytes, "test").map(Result::unwrap).collect();
        assert_eq!(fields[0].value.int("x").unwrap(), 150);
        assert_eq!(fields[1].value.text("x").unwrap(), "hi");
        let mut floats = Vec::new();
        fields[2].value.floats(&mut floats, "x").unwrap();
        assert_eq!((fields[2].number, floats), (3, vec![1.0]));
        for bad in
            [&bytes[..2], &bytes[..5], &bytes[..8], &[0x0b][..], &[0xff; 12][..], &[0x12, 0xff, 0xff, 0xff, 0x7f][..]]
        {
            assert!(Fields::new(bad, "test").any(|field| field.is_err()), "{bad:?}");
        }
    }

    #[test]
    fn negative_numbers_have_ten_bytes() {
        let mut bytes = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01].as_slice();
        assert_eq!(varint(&mut bytes).unwrap().cast_signed(), -1);
    }
}
