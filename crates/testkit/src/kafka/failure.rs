//! What went wrong, for a person who reads the output of a failed test.

use std::fmt;

/// Text, possibly of many lines. Its `Debug` is the text as well, so that `unwrap` shows it as it is.
#[derive(Clone)]
pub struct Failure(String);

/// The result of everything in [`crate::kafka`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the text has `part` in it.
    pub fn contains(&self, part: &str) -> bool {
        self.0.contains(part)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Says what was being done when `std::io` failed.
pub(super) trait Doing<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| Failure::new(format!("{what}: {e}")))
    }
}
