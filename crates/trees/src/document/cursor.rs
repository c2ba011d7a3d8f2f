//! A place in a document's bytes.

use super::DEPTH_MAX;
use crate::error::{LoadError, Place};

/// The bytes of a document, and how far they have been read.
pub(crate) struct Cursor<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// What is wrong at this place.
    pub(crate) fn problem(&self, problem: impl Into<String>) -> LoadError {
        LoadError::malformed(Place::byte(self.at), problem)
    }

    /// Refuses to go deeper than [`DEPTH_MAX`]: readers recurse.
    pub(crate) fn check_depth(&self, depth: usize) -> Result<(), LoadError> {
        match depth {
            0..=DEPTH_MAX => Ok(()),
            _ => Err(self.problem(format!("maps and lists nest deeper than {DEPTH_MAX}"))),
        }
    }

    /// Refuses a document that goes on.
    pub(crate) fn check_end(&self) -> Result<(), LoadError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.problem("something follows the end of the document")),
        }
    }
}
