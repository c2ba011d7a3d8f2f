//! The `file` source: NDJSON or CSV files as one partition.
//!
//! The files that a path or pattern names are read in the order of their names. The offset of a record counts
//! the lines before it (CSV: records) over all files, empty lines and headers included, so that an offset leads
//! back to a line. Owned and driven by one worker thread; nothing runs besides.

mod cursor;
mod follow;
mod input;
mod reader;
mod window;

use std::path::PathBuf;
use std::sync::Arc;

use millstream_core::record::{Header, NO_TIMESTAMP};
use millstream_core::{Error, PollLimit, Polled, Position, RawBatch, Result, Source};

use self::cursor::{Cursor, seal_files};
use self::follow::Seen;
use self::reader::{Reader, same_header};
use super::paths::{Found, find};
use crate::codes::{BAD_CURSOR, CSV_HEADER};

pub(super) use self::reader::parse_header;
pub(crate) use self::window::{Framing, Next, Window};

/// The header of a record that was too long to be delivered whole; its value is the record's length in bytes.
/// Such a record holds only how it begins, and decoders refuse it.
pub const TOO_LONG_HEADER: &str = "millstream.record-too-long";

/// What a source reads.
#[derive(Clone, Debug)]
pub(crate) struct FileOptions {
    pub(crate) base_dir: PathBuf,
    /// A path or a pattern.
    pub(crate) path: String,
    pub(crate) framing: Framing,
    pub(crate) follow: bool,
}

/// Reads files.
pub(crate) struct FileSource {
    options: FileOptions,
    /// The files to read, in order. When following, the last one is the path that is followed.
    files: Vec<Found>,
    /// How many of them were read to their ends, or are being read.
    taken: usize,
    current: Option<Reader>,
    /// A checksum of the files before the one being read.
    before: (u32, u32),
    /// The columns of the first CSV file, which all must have.
    columns: Option<Arc<[String]>>,
    offset: u64,
    /// Bytes on disk of the files that were read to their ends.
    done_bytes: u64,
}

impl FileSource {
    /// Finds the files; reads nothing yet.
    pub(crate) fn open(options: FileOptions) -> Result<Self> {
        let files = find(&options.base_dir, &options.path)?;
        Ok(Self {
            options,
            files,
            taken: 0,
            current: None,
            before: seal_files(&[]),
            columns: None,
            offset: 0,
            done_bytes: 0,
        })
    }

    /// The columns that the first file with content names.
    pub(crate) fn header(options: &FileOptions) -> Result<Arc<[String]>> {
        for file in find(&options.base_dir, &options.path)? {
            if let Some(columns) = Reader::open(&file, Framing::Csv)?.header()? {
                return Ok(columns);
            }
        }
        Err(Error::new(CSV_HEADER, format!("`{}` has no CSV header: it is empty", options.path))
            .help("the first line of a CSV file names its columns; write it before the pipeline is started"))
    }

    /// Opens the next file of the list, if there is one.
    fn advance(&mut self) -> Result<bool> {
        let Some(file) = self.files.get(self.taken) else { return Ok(false) };
        let reader = Reader::open(file, self.options.framing)?;
        if let Some(done) = self.current.replace(reader) {
            self.done_bytes += done.input.read_bytes();
        }
        self.before = seal_files(&self.files[..self.taken]);
        self.taken += 1;
        Ok(true)
    }

    /// Whether the file being read is the one that grows.
    fn follows(&self) -> bool {
        self.options.follow && self.taken == self.files.len()
    }

    /// Takes records from what the window holds. False if it needs more.
    fn drain(&mut self, limit: PollLimit, before: (usize, usize), out: &mut RawBatch) -> Result<bool> {
        let Some(reader) = &mut self.current else { return Ok(false) };
        loop {
            let count = out.len() - before.0;
            if count >= limit.records || (count > 0 && out.bytes_len() - before.1 >= limit.bytes) {
                return Ok(true);
            }
            let next = reader.window.next(reader.at_end);
            let offset = self.offset;
            match next {
                Next::More => return Ok(false),
                Next::Record { start, end } => {
                    self.offset += 1;
                    let line = reader.window.bytes(start, end);
                    if line.is_empty() {
                        continue;
                    }
                    if reader.header_due {
                        let columns = parse_header(&reader.file.name, line)?;
                        same_header(&reader.file.name, self.columns.get_or_insert(columns.clone()), &columns)?;
                        reader.header_due = false;
                        continue;
                    }
                    out.push(offset, NO_TIMESTAMP, None, Some(line), &[]);
                }
                Next::TooLong { prefix, length } => {
                    self.offset += 1;
                    let header = Header { name: TOO_LONG_HEADER.to_owned(), value: length.to_string().into_bytes() };
                    out.push(offset, NO_TIMESTAMP, None, Some(&prefix), &[header]);
                }
            }
        }
    }

    /// The window is used up and the file gave nothing more. True if there is another place to read from.
    fn end_of_file(&mut self) -> Result<bool> {
        if !self.follows() {
            return self.end_or_advance();
        }
        let (Some(followed), Some(reader)) = (self.files.last().cloned(), &mut self.current) else { return Ok(false) };
        match follow::look(&followed.path, reader.input.id, reader.window.filled()) {
            Seen::Same => Ok(false),
            Seen::Cut { size } => {
                tracing::warn!(
                    file = %followed.name,
                    "the file was cut from {} to {size} bytes: what was written between the last look and the cut is \
                     lost; rotate by renaming instead of copying and truncating",
                    reader.window.filled()
                );
                self.taken -= 1;
                self.advance()
            }
            Seen::Rotated => {
                // Whatever was written before the writer moved on is there by now.
                if reader.fill()? > 0 {
                    return Ok(true);
                }
                self.files = follow::after(&followed, reader.input.id);
                self.taken = 0;
                // The old file has ended for good, so its last line counts without a newline too.
                self.end_or_advance()
            }
        }
    }

    fn end_or_advance(&mut self) -> Result<bool> {
        if let Some(reader) = &mut self.current
            && !reader.at_end
        {
            reader.at_end = true;
            return Ok(true);
        }
        self.advance()
    }

    /// Finds the place in the files as they are now.
    fn resume(&mut self, cursor: &Cursor) -> Result<()> {
        let framing = self.options.framing;
        if !self.options.follow {
            let place = cursor.locate(&self.files)?;
            self.current = Some(Reader::resume(&self.files[place], framing, cursor)?);
            self.before = cursor.before;
            self.taken = place + 1;
            self.done_bytes = self.files[..place].iter().map(|f| f.size).sum();
            return Ok(());
        }
        let followed = find(&self.options.base_dir, &self.options.path)?;
        let Some(path) = followed.first() else { return Ok(()) };
        let first = Reader::resume(path, framing, cursor);
        let error = match first {
            Ok(reader) => {
                (self.files, self.taken, self.current) = (followed, 1, Some(reader));
                return Ok(());
            }
            Err(error) => error,
        };
        // Perhaps it was rotated meanwhile.
        for files in follow::candidates(path) {
            if cursor.byte > 0
                && let Some(file) = files.first()
                && let Ok(reader) = Reader::resume(file, framing, cursor)
            {
                (self.files, self.taken, self.current) = (files, 1, Some(reader));
                return Ok(());
            }
        }
        Err(error)
    }
}

impl Source for FileSource {
    fn poll(&mut self, limit: PollLimit, out: &mut RawBatch) -> Result<Polled> {
        let before = (out.len(), out.bytes_len());
        if self.current.is_none() && !self.advance()? {
            return Ok(Polled::End);
        }
        loop {
            if self.drain(limit, before, out)? {
                return Ok(Polled::Records);
            }
            let Some(reader) = &mut self.current else { return Ok(Polled::End) };
            if !reader.at_end && reader.fill()? > 0 {
                continue;
            }
            // A file that is followed is looked at again only when everything known is out.
            if self.follows() && out.len() > before.0 {
                return Ok(Polled::Records);
            }
            if !self.end_of_file()? {
                return Ok(match (out.len() > before.0, self.options.follow) {
                    (true, _) => Polled::Records,
                    (false, true) => Polled::CaughtUp,
                    (false, false) => Polled::End,
                });
            }
        }
    }

    fn position(&self) -> Position {
        let Some(reader) = &self.current else { return Position { offset: self.offset, cursor: String::new() } };
        let cursor = if self.options.follow {
            reader.cursor(&self.options.path, (0, 0))
        } else {
            reader.cursor(&reader.file.name, self.before)
        };
        Position { offset: self.offset, cursor: cursor.text() }
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        self.done_bytes = 0;
        if position.cursor.is_empty() {
            if position.offset != 0 {
                return Err(Error::new(
                    BAD_CURSOR,
                    format!(
                        "the stored position {} does not say where in `{}` it is",
                        position.offset, self.options.path
                    ),
                )
                .help("the source was another one when it was stored; begin anew with `--fresh`"));
            }
            (self.current, self.taken, self.offset) = (None, 0, 0);
            return Ok(());
        }
        self.resume(&Cursor::parse(&position.cursor)?)?;
        self.offset = position.offset;
        Ok(())
    }

    fn lag(&self) -> Option<u64> {
        None
    }

    fn fraction_read(&self) -> Option<f64> {
        if self.options.follow {
            return None;
        }
        let total: u64 = self.files.iter().map(|f| f.size).sum();
        let read = self.done_bytes + self.current.as_ref().map_or(0, |r| r.input.read_bytes());
        Some(if total == 0 { 1.0 } else { (read as f64 / total as f64).min(1.0) })
    }
}
