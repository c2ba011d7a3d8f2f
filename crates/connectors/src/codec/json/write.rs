//! The small pieces of JSON text.

use crate::codec::json::cursor::{is_plain, plain_end};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Most pieces of an event are no longer than this.
const SHORT: usize = 32;

/// Appends `bytes[start..end]`. A short piece is copied together with what happens to stand behind it, which is cut off
/// again: to copy as many bytes each time is a matter of two instructions, and no call.
#[inline(always)]
pub(crate) fn copy(bytes: &[u8], start: usize, end: usize, out: &mut Vec<u8>) {
    let length = end.saturating_sub(start);
    match bytes.get(start..).and_then(|rest| rest.first_chunk::<SHORT>()) {
        Some(chunk) if length <= SHORT => {
            let after = out.len() + length;
            out.extend_from_slice(chunk);
            out.truncate(after);
        }
        _ => out.extend_from_slice(bytes.get(start..end).unwrap_or_default()),
    }
}

/// Bytes that are written again and again.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    /// With zeros behind it, up to what [`copy`] likes.
    padded: Box<[u8]>,
    length: usize,
}

impl Stamp {
    pub(crate) fn new(mut bytes: Vec<u8>) -> Self {
        let length = bytes.len();
        bytes.resize(length.max(SHORT), 0);
        Self { padded: bytes.into(), length }
    }

    #[inline(always)]
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        copy(&self.padded, 0, self.length, out);
    }
}

/// Appends a JSON string.
#[inline]
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    string_bytes(text.as_bytes(), out);
}

/// Appends a JSON string of bytes that are UTF-8.
#[inline]
pub(crate) fn string_bytes(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escaped(text, out);
    out.push(b'"');
}

/// Appends `bytes[start..end]`, which is UTF-8, as a JSON string.
#[inline]
pub(crate) fn string_in(bytes: &[u8], start: usize, end: usize, out: &mut Vec<u8>) {
    if is_plain(bytes, start, end) {
        out.push(b'"');
        copy(bytes, start, end, out);
        out.push(b'"');
    } else {
        string_bytes(bytes.get(start..end).unwrap_or_default(), out);
    }
}

/// Appends the inside of a JSON string; `bytes` is UTF-8.
#[inline]
fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let plain = plain_end(bytes, 0);
    if plain == bytes.len() {
        out.extend_from_slice(bytes);
    } else {
        escaped_from(bytes, plain, out);
    }
}

#[cold]
fn escaped_from(bytes: &[u8], mut plain: usize, out: &mut Vec<u8>) {
    let mut at = 0;
    loop {
        out.extend_from_slice(bytes.get(at..plain).unwrap_or_default());
        let Some(&byte) = bytes.get(plain) else { return };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0C => out.extend_from_slice(b"\\f"),
            other => {
                let digits = [HEX[usize::from(other >> 4)], HEX[usize::from(other & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
        at = plain + 1;
        plain = plain_end(bytes, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_length_are_copied_and_escaped_alike() {
        let mut text: Vec<u8> = (0..100).map(|i| b'a' + i % 26).collect();
        for special in [None, Some(b'"'), Some(b'\\'), Some(b'\n'), Some(0x1F)] {
            for place in [0, 3, 40, 70, 99] {
                let before = text[place];
                text[place] = special.unwrap_or(before);
                for start in 0..text.len() {
                    for end in start..=text.len() {
                        let (mut piece, mut inside, mut whole) = (b"x".to_vec(), Vec::new(), Vec::new());
                        copy(&text, start, end, &mut piece);
                        assert_eq!(&piece[1..], &text[start..end]);
                        string_in(&text, start, end, &mut inside);
                        string_bytes(&text[start..end], &mut whole);
                        assert_eq!(inside, whole);
                    }
                }
                text[place] = before;
            }
        }
    }
}
