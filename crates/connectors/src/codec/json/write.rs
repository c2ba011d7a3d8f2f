//! The small pieces of JSON text.

use crate::codec::json::cursor::plain_end;

const HEX: &[u8; 16] = b"0123456789abcdef";

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
