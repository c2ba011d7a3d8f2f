//! One error type for everything a user may see.
//!
//! An [`Error`] has a stable [`Code`] with a page in `docs/errors/`, a lower-case clause that quotes the
//! user's own names and says what was seen and what is allowed, and a `help` that says what to do.

use std::fmt;

/// A stable error code. `id` looks like `MS0101` and names a page in `docs/errors/`; `title` is that page's
/// heading. Every crate lists its codes in a `codes` module (`ALL`), and a test holds the pages against them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    /// `MS` and four digits; never reused.
    pub id: &'static str,
    /// A few words: the heading of the code's page.
    pub title: &'static str,
}

impl Code {
    /// Names a code; used in the `codes` modules only.
    pub const fn new(id: &'static str, title: &'static str) -> Self {
        Self { id, title }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An error with a code, a message, perhaps a way out, and its cause.
#[derive(Debug)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    code: Code,
    message: String,
    help: Option<String>,
    source: Option<Cause>,
}

/// The result of everything that can fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that says what happened, in a lower-case clause.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { inner: Box::new(Inner { code, message: message.into(), help: None, source: None }) }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.inner.help = Some(help.into());
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.inner.source = Some(cause.into());
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.inner.code
    }

    /// The message without code, help and cause.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// What the user can do, where that is known.
    pub fn help_text(&self) -> Option<&str> {
        self.inner.help.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner.message)?;
        if let Some(cause) = &self.inner.source {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner.source.as_deref().map(|cause| cause as _)
    }
}
