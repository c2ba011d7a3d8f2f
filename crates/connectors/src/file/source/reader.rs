//! One file being read: opened at its front, or at a place where an earlier process stopped.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use millstream_core::{Error, Result};

use super::cursor::{Cursor, seal};
use super::input::Input;
use super::window::{Framing, Next, Window};
use crate::codes::CSV_HEADER;
use crate::file::paths::{Compression, Found, unreadable};

/// A file with a window over it.
pub(super) struct Reader {
    pub(super) file: Found,
    pub(super) input: Input,
    pub(super) window: Window,
    /// Whether the header of a CSV file is still to come.
    pub(super) header_due: bool,
    /// Whether the end of the file was seen at the last look.
    pub(super) at_end: bool,
}

impl Reader {
    /// Opens a file at its front.
    pub(super) fn open(file: &Found, framing: Framing) -> Result<Self> {
        let input = Input::open(&file.name, &file.path, 0)?;
        let header_due = framing == Framing::Csv;
        Ok(Self { file: file.clone(), input, window: Window::new(framing), header_due, at_end: false })
    }

    /// Opens a file at the place that `cursor` names, after making sure it still is the file that was read.
    pub(super) fn resume(file: &Found, framing: Framing, cursor: &Cursor) -> Result<Self> {
        let plain = Compression::of(&file.name) == Compression::None;
        let mut reader = if plain {
            Self::resume_plain(file, framing, cursor)?
        } else {
            Self::resume_compressed(file, framing, cursor)?
        };
        // A position before the header of a CSV file is the front.
        reader.header_due = framing == Framing::Csv && cursor.byte == 0;
        if cursor.unterminated {
            reader.end_last_record(cursor)?;
        }
        Ok(reader)
    }

    fn resume_plain(found: &Found, framing: Framing, cursor: &Cursor) -> Result<Self> {
        let failed = |e| unreadable(&found.name, e);
        let mut file = File::open(&found.path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        if size < cursor.byte {
            return Err(cursor.changed(&format!("it has only {size} bytes now")));
        }
        let mut read_at = |at: u64, length: u32| -> Result<Vec<u8>> {
            let mut bytes = vec![0; length as usize];
            file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes)).map_err(failed)?;
            Ok(bytes)
        };
        let head = read_at(0, cursor.head.0)?;
        if seal(&head) != cursor.head {
            return Err(cursor.changed("it begins with other bytes"));
        }
        let base = cursor.byte.saturating_sub(u64::from(cursor.tail.0));
        let tail = read_at(base, cursor.tail.0)?;
        if seal(&tail) != cursor.tail {
            return Err(cursor.changed("the bytes before that place are others"));
        }
        if cursor.byte == 0 {
            return Self::open(found, framing);
        }
        let input = Input::open(&found.name, &found.path, cursor.byte)?;
        let window = Window::resume(framing, head, base, &tail, cursor.unterminated);
        Ok(Self { file: found.clone(), input, window, header_due: false, at_end: false })
    }

    fn resume_compressed(found: &Found, framing: Framing, cursor: &Cursor) -> Result<Self> {
        let mut reader = Self::open(found, framing)?;
        while reader.window.byte() < cursor.byte {
            if reader.fill()? == 0 {
                let seen = reader.window.byte();
                return Err(cursor.changed(&format!("it has only {seen} bytes (decompressed) now")));
            }
            reader.window.drop_rest(cursor.byte);
        }
        if seal(reader.window.head()) != cursor.head || seal(reader.window.tail()) != cursor.tail {
            return Err(cursor.changed("its content is another"));
        }
        reader.window.set_unterminated(cursor.unterminated);
        Ok(reader)
    }

    /// The last record was taken as it stood at the file's end. If the file has grown, it must go on with a newline.
    fn end_last_record(&mut self, cursor: &Cursor) -> Result<()> {
        let place = self.window.byte();
        while self.window.filled() < place + 2 && self.fill()? > 0 {}
        let rest = self.window.rest();
        let newline = match rest {
            [] => return Ok(()),
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return Err(cursor.changed("its last line had no newline when it was read, and goes on now")),
        };
        self.window.drop_rest(place + newline);
        self.window.set_unterminated(false);
        Ok(())
    }

    /// Reads more of the file into the window; 0 at its end.
    pub(super) fn fill(&mut self) -> Result<usize> {
        self.window.fill(&mut self.input).map_err(|e| self.input.explain(self.window.filled(), e))
    }

    /// The fields of the header; `None` if the file has no record.
    pub(super) fn header(&mut self) -> Result<Option<Arc<[String]>>> {
        let mut at_end = false;
        loop {
            match self.window.next(at_end) {
                Next::Record { start, end } if start == end => {}
                Next::Record { start, end } => {
                    return parse_header(&self.file.name, self.window.bytes(start, end)).map(Some);
                }
                Next::TooLong { .. } => return Err(not_a_header(&self.file.name, "its first line is far too long")),
                Next::More if at_end => return Ok(None),
                Next::More => at_end = self.fill()? == 0,
            }
        }
    }

    /// The place of the next record; `before` are the files read before this one.
    pub(super) fn cursor(&self, name: &str, before: (u32, u32)) -> Cursor {
        Cursor {
            file: name.to_owned(),
            byte: self.window.byte(),
            head: seal(self.window.head()),
            tail: seal(self.window.tail()),
            before,
            unterminated: self.window.unterminated(),
        }
    }
}

fn not_a_header(name: &str, what: &str) -> Error {
    Error::new(CSV_HEADER, format!("`{name}` does not begin with a CSV header: {what}"))
        .help("the first line names the columns, separated by commas")
}

/// The names in a header line.
pub(crate) fn parse_header(name: &str, line: &[u8]) -> Result<Arc<[String]>> {
    // The csv crate would end the header at the first of them, and the rest of the file would be gone without a word.
    if line.contains(&b'\r') && !line.contains(&b'"') {
        return Err(not_a_header(name, "its lines end with a carriage return alone")
            .help("lines end with a newline: `tr '\\r' '\\n' < old.csv > new.csv` makes it so"));
    }
    let mut record = csv::StringRecord::new();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
    let read = reader.read_record(&mut record).map_err(|e| not_a_header(name, "it can't be read").because(e))?;
    if !read || record.iter().all(str::is_empty) {
        return Err(not_a_header(name, "its first line is empty"));
    }
    Ok(record.iter().map(|field| field.trim().to_owned()).collect())
}

/// Refuses a file whose columns are not those of the files before it.
pub(super) fn same_header(name: &str, expected: &[String], seen: &[String]) -> Result<()> {
    if expected == seen {
        return Ok(());
    }
    let list = |names: &[String]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    Err(Error::new(
        CSV_HEADER,
        format!("the header of `{name}` differs: it has {}, but the files before it have {}", list(seen), list(expected)),
    )
    .help("files that are read together need the same columns in the same order; read the others with a pipeline of their own"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_with_a_newline() {
        assert_eq!(parse_header("f", b"a, b").unwrap().as_ref(), ["a", "b"]);
        let old_mac = parse_header("f", b"a,b\r1,2\r3,4").unwrap_err();
        assert_eq!(old_mac.code(), CSV_HEADER);
        assert!(old_mac.to_string().contains("carriage return alone"), "{old_mac}");
    }
}
