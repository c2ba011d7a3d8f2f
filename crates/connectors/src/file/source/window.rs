//! A sliding window over the bytes of one file, cut into records.
//!
//! The window is contiguous: it is filled at the end and dropped from the front, and keeps some bytes before the
//! current place so that a position can carry their checksum.

use std::io::Read;

/// How much is asked of the file at once.
const CHUNK: usize = 256 << 10;
/// The longest record that is delivered whole.
pub(crate) const RECORD_BYTES_MAX: usize = 64 << 20;
/// What is delivered of a longer one.
const PREFIX: usize = 64 << 10;
/// Bytes before a position whose checksum it carries.
pub(super) const TAIL: usize = 1024;
/// Bytes at the front of a file whose checksum a position carries.
pub(super) const HEAD: usize = 4096;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// How records end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// At a newline.
    Lines,
    /// At a newline outside quotes.
    Csv,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A record: its bytes in the window, without its line end.
    Record { start: usize, end: usize },
    /// A record longer than allowed; `prefix` is how it begins.
    TooLong { prefix: Vec<u8>, length: u64 },
    /// Nothing complete; more bytes are needed.
    More,
}

/// Where in a CSV record the scan stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Quoting {
    #[default]
    FieldStart,
    Plain,
    Quoted,
    /// After a quote inside quotes: the end, or the first of two.
    Quote,
}

struct Skipped {
    first: u64,
    prefix: Vec<u8>,
}

/// The window.
pub(crate) struct Window {
    framing: Framing,
    data: Vec<u8>,
    /// How much of `data` is filled.
    end: usize,
    /// The file's byte that `data` begins with.
    base: u64,
    /// Where the next record starts.
    start: usize,
    /// How far its end was looked for.
    scanned: usize,
    quoting: Quoting,
    skipped: Option<Skipped>,
    /// The first bytes of the file, up to [`HEAD`].
    head: Vec<u8>,
    /// Whether the last record ended with the file instead of a newline.
    unterminated: bool,
    bom_checked: bool,
}

impl Window {
    /// A window at the front of a file.
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            framing,
            data: Vec::new(),
            end: 0,
            base: 0,
            start: 0,
            scanned: 0,
            quoting: Quoting::default(),
            skipped: None,
            head: Vec::new(),
            unterminated: false,
            bom_checked: false,
        }
    }

    /// A window that goes on at `base + tail.len()`, of a file that begins with `head`.
    pub(crate) fn resume(framing: Framing, head: Vec<u8>, base: u64, tail: &[u8], unterminated: bool) -> Self {
        let mut window = Self::new(framing);
        window.data.extend_from_slice(tail);
        window.end = tail.len();
        window.base = base;
        window.start = tail.len();
        window.scanned = tail.len();
        window.head = head;
        window.unterminated = unterminated;
        window.bom_checked = true;
        window
    }

    /// The file's byte that the next record starts with.
    pub(crate) fn byte(&self) -> u64 {
        self.skipped.as_ref().map_or(self.base + self.start as u64, |s| s.first)
    }

    /// The file's byte that is read next.
    pub(crate) fn filled(&self) -> u64 {
        self.base + self.end as u64
    }

    /// The bytes before the next record, up to [`TAIL`].
    pub(crate) fn tail(&self) -> &[u8] {
        if self.skipped.is_some() {
            return &[];
        }
        &self.data[self.start - self.start.min(TAIL)..self.start]
    }

    /// The first bytes of the file as far as they lie before the next record, up to [`HEAD`].
    pub(crate) fn head(&self) -> &[u8] {
        let length = usize::try_from(self.byte()).unwrap_or(usize::MAX).min(self.head.len());
        &self.head[..length]
    }

    /// Whether the last record ended with the file instead of a newline.
    pub(crate) fn unterminated(&self) -> bool {
        self.unterminated
    }

    /// Bytes that were read and not yet given out.
    pub(crate) fn has_rest(&self) -> bool {
        self.start < self.end || self.skipped.is_some()
    }

    /// What was read and not yet given out.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// The bytes of a [`Next::Record`].
    pub(crate) fn bytes(&self, start: usize, end: usize) -> &[u8] {
        &self.data[start..end]
    }

    /// Reads once from `input`. 0 at its end.
    pub(crate) fn fill(&mut self, input: &mut dyn Read) -> std::io::Result<usize> {
        if self.data.len() - self.end < CHUNK / 4 {
            self.make_room();
        }
        let free = self.data.len().min(self.end + CHUNK);
        let got = loop {
            match input.read(&mut self.data[self.end..free]) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if self.head.len() < HEAD && self.filled() == self.head.len() as u64 {
            let new = &self.data[self.end..self.end + got];
            self.head.extend_from_slice(&new[..new.len().min(HEAD - self.head.len())]);
        }
        self.end += got;
        Ok(got)
    }

    fn make_room(&mut self) {
        let keep_from = self.start - self.start.min(TAIL);
        if keep_from > 0 {
            self.data.copy_within(keep_from..self.end, 0);
            self.base += keep_from as u64;
            self.start -= keep_from;
            self.scanned -= keep_from;
            self.end -= keep_from;
        }
        if self.data.len() - self.end < CHUNK {
            let room = (self.end + CHUNK).max(self.data.len().min(RECORD_BYTES_MAX) * 2);
            self.data.resize(room, 0);
        }
    }

    /// Drops all that was read but not given out, as if it had been.
    pub(crate) fn drop_rest(&mut self, up_to: u64) {
        let all = self.end - self.start;
        let wanted = usize::try_from(up_to.saturating_sub(self.byte())).unwrap_or(usize::MAX);
        self.start += all.min(wanted);
        self.scanned = self.start;
        self.bom_checked = true;
    }

    /// Marks the last record as ended by the end of the file.
    pub(crate) fn set_unterminated(&mut self, unterminated: bool) {
        self.unterminated = unterminated;
    }

    /// The next record. With `at_end`, what is left is the last one.
    pub(crate) fn next(&mut self, at_end: bool) -> Next {
        if !self.bom_checked {
            let begins = &self.data[..self.end];
            if begins.len() < BOM.len() && BOM.starts_with(begins) && !at_end {
                return Next::More;
            }
            self.bom_checked = true;
            if begins.starts_with(BOM) {
                self.start = BOM.len();
                self.scanned = BOM.len();
            }
        }
        let found = match self.framing {
            Framing::Lines => memchr::memchr(b'\n', &self.data[self.scanned..self.end]).map(|i| self.scanned + i),
            Framing::Csv => self.csv_end(),
        };
        let (end, after) = match found {
            Some(i) => (i, i + 1),
            None => {
                self.scanned = self.end;
                self.give_up_if_too_long();
                if !(at_end && self.has_rest()) {
                    return Next::More;
                }
                (self.end, self.end)
            }
        };
        self.unterminated = found.is_none();
        let next = self.cut(end);
        self.start = after;
        self.scanned = after;
        self.quoting = Quoting::FieldStart;
        next
    }

    fn cut(&mut self, mut end: usize) -> Next {
        if let Some(skipped) = self.skipped.take() {
            let length = self.base + end as u64 - skipped.first;
            return Next::TooLong { prefix: skipped.prefix, length };
        }
        let start = self.start;
        if end - start > RECORD_BYTES_MAX {
            let prefix = self.data[start..start + PREFIX].to_vec();
            return Next::TooLong { prefix, length: (end - start) as u64 };
        }
        if end > start && self.data[end - 1] == b'\r' {
            end -= 1;
        }
        Next::Record { start, end }
    }

    /// Stops keeping a record that has grown too long; its end is still looked for.
    fn give_up_if_too_long(&mut self) {
        if self.skipped.is_none() {
            if self.end - self.start <= RECORD_BYTES_MAX {
                return;
            }
            let prefix = self.data[self.start..self.start + PREFIX].to_vec();
            self.skipped = Some(Skipped { first: self.base + self.start as u64, prefix });
        }
        self.start = self.end;
    }

    /// Quotes count only where a field begins with one, as for every CSV reader.
    fn csv_end(&mut self) -> Option<usize> {
        let mut at = self.scanned;
        while at < self.end {
            let rest = &self.data[at..self.end];
            match self.quoting {
                Quoting::Quoted => {
                    at += memchr::memchr(b'"', rest)? + 1;
                    self.quoting = Quoting::Quote;
                }
                Quoting::Plain => {
                    at += memchr::memchr2(b',', b'\n', rest)?;
                    if self.data[at] == b'\n' {
                        return Some(at);
                    }
                    at += 1;
                    self.quoting = Quoting::FieldStart;
                }
                Quoting::FieldStart | Quoting::Quote => {
                    self.quoting = match (rest[0], self.quoting) {
                        (b'\n', _) => return Some(at),
                        (b'"', _) => Quoting::Quoted,
                        (b',', _) => Quoting::FieldStart,
                        _ => Quoting::Plain,
                    };
                    at += 1;
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out at most `step` bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(buf.len()).min(self.0.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn records(framing: Framing, bytes: &[u8], step: usize) -> Vec<(u64, Vec<u8>)> {
        let mut input = Drip(bytes, step);
        let mut window = Window::new(framing);
        let (mut out, mut at_end) = (Vec::new(), false);
        loop {
            match window.next(at_end) {
                Next::Record { start, end } => out.push((window.byte(), window.bytes(start, end).to_vec())),
                Next::TooLong { prefix, length } => out.push((length, prefix)),
                Next::More if at_end => break,
                Next::More => at_end = window.fill(&mut input).unwrap() == 0,
            }
        }
        assert_eq!(window.byte(), bytes.len() as u64);
        assert_eq!(window.head(), &bytes[..bytes.len().min(HEAD)]);
        assert!(bytes.ends_with(window.tail()));
        out
    }

    #[test]
    fn cuts_do_not_show() {
        let cases: [(Framing, &[u8], &[&str]); 8] = [
            (Framing::Lines, b"a\nbb\r\n\nc", &["a", "bb", "", "c"]),
            (Framing::Lines, b"\xef\xbb\xbfa\n\r\n", &["a", ""]),
            (Framing::Lines, b"", &[]),
            (Framing::Lines, b"\xef\xbb\xbf", &[]),
            (Framing::Lines, b"x", &["x"]),
            (Framing::Csv, b"a,\"b\nc\",d\r\n1,2\n", &["a,\"b\nc\",d", "1,2"]),
            (Framing::Csv, b"a \"quoted\" b\n\"say \"\"hi\n\"\"\",x\n", &["a \"quoted\" b", "\"say \"\"hi\n\"\"\",x"]),
            (Framing::Csv, b"\"never closed\nx\n", &["\"never closed\nx\n"]),
        ];
        for (framing, bytes, expected) in cases {
            for step in [1, 2, 3, 1000] {
                let got: Vec<String> =
                    records(framing, bytes, step).into_iter().map(|(_, b)| String::from_utf8(b).unwrap()).collect();
                assert_eq!(got, expected, "{framing:?} step {step}");
            }
        }
    }

    #[test]
    fn long_files_slide_through() {
        let mut bytes = Vec::new();
        for i in 0..200_000 {
            bytes.extend_from_slice(format!("{{\"n\":{i}}}\n").as_bytes());
        }
        let got = records(Framing::Lines, &bytes, 10_000);
        assert_eq!(got.len(), 200_000);
        assert_eq!(got[123_456].1, b"{\"n\":123456}");
    }

    #[test]
    fn a_record_beyond_the_bound_is_cut_short_and_the_next_is_whole() {
        for framing in [Framing::Lines, Framing::Csv] {
            let mut bytes = b"first\n".to_vec();
            bytes.resize(6 + RECORD_BYTES_MAX + 1, b'x');
            bytes.extend_from_slice(b"\nlast\n");
            let got = records(framing, &bytes, 10 << 20);
            assert_eq!(got.len(), 3);
            assert_eq!(got[1].0, RECORD_BYTES_MAX as u64 + 1);
            assert_eq!(got[1].1.len(), PREFIX);
            assert_eq!(got[2].1, b"last");
            bytes.remove(10);
            assert_eq!(records(framing, &bytes, 10 << 20)[1].1.len(), RECORD_BYTES_MAX);
        }
    }
}
