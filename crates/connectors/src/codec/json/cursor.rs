//! A place in a JSON text, and the steps over its tokens.
//!
//! The grammar is RFC 8259's, nothing more: no comments, no trailing commas, no `NaN`.

use crate::codec::codes::{NOT_JSON, TOO_DEEP};
use crate::codec::json::write::copy;
use crate::codec::problem::{Parsed, Problem, shorten};
use crate::codec::text::number::Number;

/// Lists and objects inside each other, at most: the bits of [`Cursor::skip_value`]'s stack.
const DEPTH_MAX: u32 = 128;

/// A place in a JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pub(crate) at: usize,
}

/// A string token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Str<'a> {
    /// What stands between the quotes.
    pub(crate) raw: &'a str,
    /// Whether there is an escape in it; if not, `raw` is the string.
    pub(crate) escaped: bool,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0 }
    }

    #[inline(always)]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Goes over white space.
    #[inline(always)]
    pub(crate) fn space(&mut self) {
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.more_space();
        }
    }

    fn more_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Goes over `byte` if it stands here.
    #[inline(always)]
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Goes over the words if they stand here: the first `length` bytes of them, the rest being masked out.
    #[inline(always)]
    pub(crate) fn eat_words(&mut self, words: &[(u64, u64)], length: usize) -> bool {
        let Some(rest) = self.bytes.get(self.at..) else { return false };
        let (chunks, _) = rest.as_chunks::<8>();
        if chunks.len() < words.len() {
            return self.eat_last_words(words, length);
        }
        let differs = |((word, mask), chunk): (&(u64, u64), &[u8; 8])| (u64::from_le_bytes(*chunk) ^ word) & mask != 0;
        if words.iter().zip(chunks).any(differs) {
            return false;
        }
        self.at += length;
        true
    }

    /// [`Cursor::eat_words`] where the text ends within the words.
    fn eat_last_words(&mut self, words: &[(u64, u64)], length: usize) -> bool {
        let bytes = words.iter().flat_map(|(word, _)| word.to_le_bytes()).take(length);
        let found = self.bytes.get(self.at..self.at + length).is_some_and(|here| bytes.eq(here.iter().copied()));
        self.at += if found { length } else { 0 };
        found
    }

    /// Goes over `bytes` if they stand here.
    #[inline(always)]
    pub(crate) fn eat_all(&mut self, bytes: &[u8]) -> bool {
        let found = self.bytes.get(self.at..self.at + bytes.len()) == Some(bytes);
        self.at += if found { bytes.len() } else { 0 };
        found
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Appends the text from `start` to `end`, which is often short.
    #[inline(always)]
    pub(crate) fn copy(&self, start: usize, end: usize, out: &mut Vec<u8>) {
        copy(self.bytes, start, end, out);
    }

    /// The text from `start` to here.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The refusal of what stands here, where `wanted` should stand.
    #[cold]
    pub(crate) fn unexpected(&self, wanted: &str) -> Box<Problem> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || "+-._".contains(*c)).take(20).collect();
        let seen = match rest.chars().next() {
            None => "the end of the event".to_owned(),
            Some(c) if c.is_control() => format!("the control character U+{:04X}", u32::from(c)),
            Some(c) if word.is_empty() => format!("`{c}`"),
            Some(_) => format!("`{word}`"),
        };
        let hint = match word.trim_start_matches(['-', '+']) {
            "NaN" | "nan" | "Infinity" | "inf" => {
                " (JSON has no NaN and no infinity; null is the way to say `no number`)"
            }
            _ => "",
        };
        Problem::new(NOT_JSON, format!("at byte {}: saw {seen}, wanted {wanted}{hint}", self.at))
    }

    #[inline]
    pub(crate) fn literal(&mut self, word: &str) -> Parsed<()> {
        if self.eat_all(word.as_bytes()) { Ok(()) } else { Err(self.unexpected("a value")) }
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Parsed<Number<'a>> {
        match Number::scan(self.text, self.at) {
            Some((number, end)) => {
                self.at = end;
                Ok(number)
            }
            None => Err(self.unexpected("a value")),
        }
    }

    /// Reads the string token that begins here.
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Parsed<Str<'a>> {
        if !self.eat(b'"') {
            return Err(self.unexpected("a string"));
        }
        let start = self.at;
        self.at = plain_end(self.bytes, start);
        let escaped = self.peek() != Some(b'"');
        if escaped {
            self.escaped_rest()?;
        }
        let raw = self.since(start);
        self.at += 1;
        Ok(Str { raw, escaped })
    }

    /// From what is not plain in a string to its closing quote.
    #[inline(never)]
    fn escaped_rest(&mut self) -> Parsed<()> {
        loop {
            match self.peek() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.escape()?,
                None => return Err(self.unexpected("the closing quote of a string")),
                Some(_) => return Err(self.unexpected("an escape, like \\n, for a control character in a string")),
            }
            self.at = plain_end(self.bytes, self.at);
        }
    }

    /// Goes over an escape, without asking whether surrogates come in pairs.
    fn escape(&mut self) -> Parsed<()> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') if hex4(self.bytes, self.at + 2).is_some() => self.at += 6,
            _ => return Err(self.unexpected("an escape that JSON knows")),
        }
        Ok(())
    }

    /// Goes over any value, however it is nested (up to a bound).
    #[inline]
    pub(crate) fn skip_value(&mut self) -> Parsed<()> {
        match self.peek() {
            Some(b'{' | b'[') => self.skip_nested(),
            _ => self.scalar(),
        }
    }

    #[inline]
    fn scalar(&mut self) -> Parsed<()> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.number().map(|_| ()),
        }
    }

    fn skip_nested(&mut self) -> Parsed<()> {
        // One bit for each open list (0) or object (1), the innermost lowest.
        let (mut stack, mut depth) = (0u128, 0u32);
        loop {
            // A value stands here.
            let opened = match self.peek() {
                Some(byte @ (b'{' | b'[')) => {
                    if depth == DEPTH_MAX {
                        return Err(Problem::new(
                            TOO_DEEP,
                            format!("more than {DEPTH_MAX} lists and objects inside each other"),
                        ));
                    }
                    self.at += 1;
                    depth += 1;
                    stack = stack << 1 | u128::from(byte == b'{');
                    true
                }
                _ => {
                    self.scalar()?;
                    false
                }
            };
            self.space();
            if !self.next_value(&mut stack, &mut depth, opened)? {
                return Ok(());
            }
        }
    }

    /// From behind a value (or behind an opening bracket) to the next value; false when all is closed.
    #[inline]
    fn next_value(&mut self, stack: &mut u128, depth: &mut u32, mut opened: bool) -> Parsed<bool> {
        loop {
            let object = *stack & 1 == 1;
            if self.eat(if object { b'}' } else { b']' }) {
                *stack >>= 1;
                *depth -= 1;
                opened = false;
                if *depth == 0 {
                    return Ok(false);
                }
                self.space();
                continue;
            }
            if !opened {
                if !self.eat(b',') {
                    return Err(self.unexpected(if object { "`,` or `}`" } else { "`,` or `]`" }));
                }
                self.space();
            }
            if object {
                self.string()?;
                self.colon()?;
            }
            return Ok(true);
        }
    }

    /// Goes over the colon behind a key, and the space around it.
    #[inline]
    pub(crate) fn colon(&mut self) -> Parsed<()> {
        self.space();
        if !self.eat(b':') {
            return Err(self.unexpected("`:`"));
        }
        self.space();
        Ok(())
    }

    /// What an error says of the value here; goes over it.
    #[cold]
    pub(crate) fn describe_value(&mut self) -> Parsed<String> {
        let start = self.at;
        let first = self.peek();
        self.skip_value()?;
        Ok(match first {
            Some(b'"') => format!("the string {}", shorten(self.since(start))),
            Some(b'{') => "an object".to_owned(),
            Some(b'[') => "a list".to_owned(),
            Some(b't' | b'f' | b'n') => self.since(start).to_owned(),
            _ => format!("the number {}", shorten(self.since(start))),
        })
    }
}

impl<'a> Str<'a> {
    /// The string this token means; `scratch`, which is empty, holds it where it has escapes.
    pub(crate) fn text<'b>(&self, scratch: &'b mut Vec<u8>) -> Parsed<&'b str>
    where
        'a: 'b,
    {
        if !self.escaped {
            return Ok(self.raw);
        }
        self.unescape(scratch)?;
        Ok(std::str::from_utf8(scratch).unwrap_or_default())
    }

    /// Appends the string this token means.
    pub(crate) fn unescape(&self, out: &mut Vec<u8>) -> Parsed<()> {
        let bytes = self.raw.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let plain = memchr::memchr(b'\\', bytes.get(at..).unwrap_or_default()).map_or(bytes.len(), |n| at + n);
            out.extend_from_slice(bytes.get(at..plain).unwrap_or_default());
            at = plain;
            let Some(escape) = bytes.get(at + 1) else { break };
            at += 2;
            let simple = match escape {
                b'b' => 0x08,
                b'f' => 0x0C,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'u' => {
                    let (c, next) = unicode(bytes, at).ok_or_else(|| {
                        let shown = self.raw.get(at - 2..at + 4).unwrap_or_default();
                        Problem::new(NOT_JSON, format!("saw {shown}, half of a surrogate pair, in a string"))
                    })?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    at = next;
                    continue;
                }
                other => *other,
            };
            out.push(simple);
        }
        Ok(())
    }
}

/// The character whose hexadecimal digits begin at `at`, and where it ends.
fn unicode(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let high = hex4(bytes, at)?;
    if !(0xD800..0xDC00).contains(&high) {
        return char::from_u32(high).map(|c| (c, at + 4));
    }
    let low = hex4(bytes, at + 6).filter(|low| (0xDC00..0xE000).contains(low))?;
    if bytes.get(at + 4..at + 6)? != b"\\u" {
        return None;
    }
    char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).map(|c| (c, at + 10))
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | (digit as char).to_digit(16)?))
}

/// The first place from `at` on where a quote, a backslash or a control character stands, or the end.
#[inline(always)]
pub(crate) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        if let Some(place) = special(*eight) {
            return at + place;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&byte| byte != b'"' && byte != b'\\' && byte >= 0x20) {
        at += 1;
    }
    at
}

/// Whether nothing in `bytes[start..end]` must be escaped in a JSON string. Looks at whole words, as far as there are
/// some, beyond the end too.
#[inline(always)]
pub(crate) fn is_plain(bytes: &[u8], start: usize, end: usize) -> bool {
    let mut at = start;
    while at < end {
        let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
            return plain_end(bytes.get(..end).unwrap_or(bytes), at) >= end;
        };
        if let Some(place) = special(*eight) {
            return at + place >= end;
        }
        at += 8;
    }
    true
}

/// The first of eight bytes that is a quote, a backslash or a control character.
#[inline(always)]
fn special(eight: [u8; 8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(eight);
    let quote = word ^ (ONES * 0x22);
    let backslash = word ^ (ONES * 0x5C);
    // The lowest bit that is set is exact in each term; borrows reach only bytes above a true one.
    let found = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    let found = found & HIGH;
    (found != 0).then(|| (found.trailing_zeros() / 8) as usize)
}
