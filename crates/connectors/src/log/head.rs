//! The witness: a small file beside the store with the number of the last acknowledged commit.
//!
//! The store cuts its journal at the first entry it can't read and says nothing, so after damage in the middle
//! a good deal of acknowledged commits may be gone. The witness is written after each commit, so it is never
//! ahead of a store that lost nothing: a store that ends before it has lost commits.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use millstream_core::{Error, Result};

use crate::codes::{LOG_LOST, LOG_UNOPENABLE, LOG_WRITE};

/// The witness of one log.
pub(super) struct Head {
    path: PathBuf,
    file: File,
    synced: u64,
}

struct Seen {
    sequence: u64,
    synced: u64,
}

fn line(sequence: u64, synced: u64) -> String {
    let text = format!("{sequence:020} {synced:020}");
    let crc = crc32c::crc32c(text.as_bytes());
    format!("{text} {crc:08x}\n")
}

fn parse(text: &str) -> Option<Seen> {
    let mut words = text.split_ascii_whitespace();
    let sequence = words.next()?.parse().ok()?;
    let synced = words.next()?.parse().ok()?;
    (line(sequence, synced) == text).then_some(Seen { sequence, synced })
}

impl Head {
    /// Compares the witness with the last commit of the store, then keeps it for writing.
    pub(super) fn open(dir: &Path, sequence: u64) -> Result<Self> {
        let path = dir.join("committed");
        let failed =
            |e: std::io::Error| Error::new(LOG_UNOPENABLE, format!("`{}` can't be opened", path.display())).because(e);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let mut text = String::new();
        // A witness that is not text is as good as none.
        if file.read_to_string(&mut text).is_err() {
            text.clear();
        }
        let seen = parse(&text);
        if let Some(seen) = &seen
            && seen.sequence > sequence
        {
            return Err(lost(&path, sequence, seen));
        }
        let synced = seen.map_or(0, |s| s.synced);
        let mut head = Self { path: path.clone(), file, synced };
        head.store(sequence, false)?;
        Ok(head)
    }

    /// Notes that commit number `sequence` is acknowledged.
    pub(super) fn store(&mut self, sequence: u64, synced: bool) -> Result<()> {
        if synced {
            self.synced = sequence;
        }
        let text = line(sequence, self.synced);
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(text.as_bytes()));
        written.map_err(|e| Error::new(LOG_WRITE, format!("`{}` can't be written", self.path.display())).because(e))
    }
}

fn lost(path: &Path, sequence: u64, seen: &Seen) -> Error {
    let count = seen.sequence - sequence;
    let cause = if seen.synced > sequence {
        "some of them had been written through to the disk, so the log's files are damaged"
    } else {
        "a loss of power does this under `durability: process`, and so does damage to the log's files"
    };
    Error::new(
        LOG_LOST,
        format!(
            "the log in `{}` ends at commit {sequence}, but commit {} was acknowledged: the last {count} are gone; {cause}",
            path.parent().unwrap_or(path).display(),
            seen.sequence
        ),
    )
    .help(format!(
        "restore the data directory from a backup; or delete `{}` to accept the loss: pipelines then go on from their \
         last commit that is left (their files are cut back to it), and records others appended after it are gone. \
         With `durability: power` a loss of power can't do this",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_behind_its_witness_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut head = Head::open(dir.path(), 0).unwrap();
        head.store(7, false).unwrap();
        drop(head);
        Head::open(dir.path(), 7).unwrap();
        Head::open(dir.path(), 8).unwrap();
        let error = Head::open(dir.path(), 5).err().unwrap();
        assert_eq!(error.code(), LOG_LOST);
        assert!(error.message().contains("commit 5") && error.message().contains("the last 3"), "{error}");
        std::fs::remove_file(dir.path().join("committed")).unwrap();
        Head::open(dir.path(), 5).unwrap();
        std::fs::write(dir.path().join("committed"), "torn").unwrap();
        Head::open(dir.path(), 5).unwrap();
    }
}
