//! Durations and sizes as words of a command line: the same as in a pipeline file, without a file to point into.

use std::time::Duration;

use millstream_core::{Error, Result};

use crate::diagnostic::Diagnostic;
use crate::size::ByteSize;
use crate::span::Span;
use crate::text::Text;
use crate::{duration, size};

fn error(diagnostic: Diagnostic) -> Error {
    let mut message = diagnostic.message;
    if let Some(label) = diagnostic.label {
        message = format!("{message}; {label}");
    }
    let error = Error::new(diagnostic.code, message);
    match diagnostic.help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// Reads a duration such as `30s` or `7d`; `name` is what the message calls it.
///
/// # Errors
/// The text is not a duration; the error says what was probably meant.
pub fn parse_duration(name: &str, text: &str) -> Result<Duration> {
    duration::parse(text).map_err(|problem| error(problem.diagnostic(name, &Text::new(text, Span::default()))))
}

/// Reads a size such as `64MiB` or `1GB`; `name` is what the message calls it.
///
/// # Errors
/// The text is not a size; the error says what was probably meant.
pub fn parse_size(name: &str, text: &str) -> Result<ByteSize> {
    size::parse(text).map_err(|problem| error(problem.diagnostic(name, &Text::new(text, Span::default()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_or_explained() {
        assert_eq!(parse_duration("`--keep-for`", "1h30m").unwrap(), Duration::from_secs(5400));
        let wrong = parse_duration("`--keep-for`", "5 minutes").unwrap_err();
        assert!(wrong.to_string().starts_with("`--keep-for` must be a duration"), "{wrong}");
        assert!(parse_size("`--keep-bytes`", "1GB").is_ok());
        assert!(parse_size("`--keep-bytes`", "much").is_err());
    }
}
