//! What a position in files carries besides its offset, so that another process finds the place again, and
//! notices when the files are no longer the same.

use millstream_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::codes::{BAD_CURSOR, INPUT_CHANGED};
use crate::file::paths::Found;

/// A place in a list of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The file, as the pipeline file would name it.
    pub(super) file: String,
    /// The next record's first byte, after decompression.
    pub(super) byte: u64,
    /// Length and checksum of the file's first bytes.
    pub(super) head: (u32, u32),
    /// Length and checksum of the bytes before `byte`.
    pub(super) tail: (u32, u32),
    /// How many files of the list were read before it, and a checksum of their names and sizes.
    pub(super) before: (u32, u32),
    /// Whether the last record ended with the file, without a newline.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) unterminated: bool,
}

pub(super) fn seal(bytes: &[u8]) -> (u32, u32) {
    (bytes.len() as u32, crc32c::crc32c(bytes))
}

/// A checksum of the names and sizes of files that were read to their ends.
pub(super) fn seal_files(files: &[Found]) -> (u32, u32) {
    let mut crc = 0;
    for file in files {
        crc = crc32c::crc32c_append(crc, file.name.as_bytes());
        crc = crc32c::crc32c_append(crc, &[0]);
        crc = crc32c::crc32c_append(crc, &file.size.to_le_bytes());
    }
    (files.len() as u32, crc)
}

impl Cursor {
    pub(super) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| {
            Error::new(BAD_CURSOR, format!("the stored position `{text}` is not one in a file"))
                .help("the source was another one when it was stored; begin anew with `--fresh`")
                .because(e)
        })
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// An error that says how the file differs from what was read, and the ways out.
    pub(super) fn changed(&self, what: &str) -> Error {
        Error::new(
            INPUT_CHANGED,
            format!("`{}` is not the file that was read up to byte {}: {what}", self.file, self.byte),
        )
        .help(
            "put the old file back under this name; or give the new content another name that sorts after it; or begin \
             anew with `--fresh`, which forgets what this pipeline has read and written",
        )
    }

    /// Finds the file in the list as it is now.
    pub(super) fn locate(&self, files: &[Found]) -> Result<usize> {
        let before = self.before.0 as usize;
        let place = files.iter().position(|f| f.name == self.file);
        let changed = |what: String| {
            Error::new(INPUT_CHANGED, what).help(
                "files are read in the order of their names, and each once: put those that were read back as they were, \
                 give new ones names that sort after them; or begin anew with `--fresh`",
            )
        };
        match place {
            None => Err(changed(format!("`{}`, which was being read, is gone", self.file))),
            Some(place) if place != before => Err(changed(format!(
                "{place} files stand before `{}` now, but {before} did when it was read",
                self.file
            ))),
            Some(place) if seal_files(&files[..place]) != self.before => Err(changed(format!(
                "the files before `{}` changed their names or sizes after they were read",
                self.file
            ))),
            Some(place) => Ok(place),
        }
    }
}
