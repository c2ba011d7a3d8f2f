//! Small steps on the disk, with errors in the user's terms.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use millstream_core::{Error, Receipt, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codes::{BAD_RECEIPT, OUTPUT_CHANGED, OUTPUT_EXISTS, OUTPUT_MOVED, OUTPUT_UNWRITABLE, STAGED_DAMAGED};

pub(in crate::file) fn unwritable(path: &Path, e: std::io::Error) -> Error {
    let help = match e.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room on the disk and start again; nothing committed is lost"
        }
        ErrorKind::PermissionDenied => "give this user the right to write there, or choose another path",
        _ => "look at the path and the disk, then start again; nothing committed is lost",
    };
    Error::new(OUTPUT_UNWRITABLE, format!("`{}` can't be written", path.display())).help(help).because(e)
}

/// Opens for reading and writing, and creates the file and its folders.
pub(in crate::file) fn open(path: &Path) -> Result<File> {
    make_parent(path)?;
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(|e| unwritable(path, e))
}

pub(super) fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => std::fs::create_dir_all(dir).map_err(|e| unwritable(dir, e)),
        _ => Ok(()),
    }
}

/// Writes through to the disk that a file of this name exists.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    if cfg!(unix) { File::open(dir).and_then(|d| d.sync_all()).map_err(|e| unwritable(dir, e)) } else { Ok(()) }
}

pub(in crate::file) fn write_at(file: &mut File, path: &Path, at: u64, bytes: &[u8]) -> Result<()> {
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes)).map_err(|e| unwritable(path, e))
}

pub(super) fn sync(file: &File, path: &Path) -> Result<()> {
    file.sync_data().map_err(|e| unwritable(path, e))
}

pub(super) fn length(file: &File, path: &Path) -> Result<u64> {
    file.metadata().map(|m| m.len()).map_err(|e| unwritable(path, e))
}

/// `length` bytes from `at`, or as many as there are.
pub(in crate::file) fn read_at(file: &mut File, path: &Path, at: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.take(length).read_to_end(&mut bytes));
    read.map_err(|e| unwritable(path, e))?;
    Ok(bytes)
}

/// Removes a file; fine if there is none.
pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(unwritable(path, e)),
        _ => Ok(()),
    }
}

/// Whether a path still names an open file.
#[cfg(unix)]
pub(super) fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
pub(super) fn is_same(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Keeps others that ask from writing the same; goes with the handle. A file system without locks is taken as it is.
pub(in crate::file) fn lock(file: &File, name: &str) -> Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::new(
            OUTPUT_UNWRITABLE,
            format!("`{name}` is being written by another output or another pipeline"),
        )
        .help("give each output a path of its own; of `stdout` there can be one")),
        Err(TryLockError::Error(_)) | Ok(()) => Ok(()),
    }
}

pub(super) fn changed(name: &str, what: &str) -> Error {
    Error::new(OUTPUT_CHANGED, format!("`{name}` is not as this pipeline left it: {what}")).help(
        "an output belongs to its pipeline until it is done with it: put the file back as it was, or begin anew with \
         `--fresh`, which removes what this pipeline has written and reads its input again",
    )
}

pub(super) fn exists(name: &str, what: &str) -> Error {
    Error::new(OUTPUT_EXISTS, format!("`{name}` {what}, and this pipeline has not written it")).help(
        "move it away or delete it, or give the output another path; a pipeline never appends to what it did not write",
    )
}

pub(super) fn moved(name: &str, old: &str) -> Error {
    Error::new(OUTPUT_MOVED, format!("the output is now `{name}`, but the last commit wrote to `{old}`")).help(
        "an output goes on where it stopped: put the old path and format back, or begin anew with `--fresh`; to write \
         to a new place and leave the old file as it is, give the output another name",
    )
}

pub(super) fn staged_damaged(name: &str, staged: &Path) -> Error {
    Error::new(
        STAGED_DAMAGED,
        format!(
            "rows of `{name}` were committed but not yet written, and `{}` does not hold them any more",
            staged.display()
        ),
    )
    .help("restore the data directory from a backup, or begin anew with `--fresh`")
}

pub(in crate::file) fn receipt<T: Serialize>(value: &T) -> Result<Receipt> {
    serde_json::to_string(value)
        .map(Receipt)
        .map_err(|e| Error::new(BAD_RECEIPT, "a receipt can't be written down").because(e))
}

pub(in crate::file) fn parse<T: DeserializeOwned>(receipt: &Receipt, name: &str) -> Result<T> {
    serde_json::from_str(&receipt.0).map_err(|e| {
        Error::new(BAD_RECEIPT, format!("the receipt of `{name}` in the last commit is of another kind of output"))
            .help("put the old `type` and `format` of the output back, or begin anew with `--fresh`")
            .because(e)
    })
}
