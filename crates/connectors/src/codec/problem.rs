//! Why one event was refused, while the reason is still being found.

use millstream_core::{Code, Rejection};

/// Characters of a value that an error shows.
const SHOWN_CHARS_MAX: usize = 80;

/// The result of reading a part of an event. The error is boxed: it is rare, and the good way stays small.
pub(crate) type Parsed<T> = Result<T, Box<Problem>>;

/// A refusal on its way out of nested fields.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    message: String,
    /// Names of the fields around it, from the inside out; list items as `[3]`.
    path: Vec<String>,
    column: bool,
}

impl Problem {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { code, message: message.into(), path: Vec::new(), column: false })
    }

    /// Says inside which field this happened.
    pub(crate) fn inside(mut self: Box<Self>, name: impl Into<String>) -> Box<Self> {
        self.path.push(name.into());
        self
    }

    /// Says in which column this happened. Its name stands for the place in the event (`from:`).
    pub(crate) fn in_column(mut self: Box<Self>, name: &str) -> Box<Self> {
        self.column = true;
        self.inside(name)
    }

    /// Whether a column's name is part of the path.
    pub(crate) fn names_column(&self) -> bool {
        self.column
    }

    pub(crate) fn into_rejection(self) -> Rejection {
        let mut message = String::new();
        for (i, name) in self.path.iter().rev().enumerate() {
            if i > 0 && !name.starts_with('[') {
                message.push('.');
            }
            message.push_str(&shorten(name));
        }
        if message.is_empty() {
            return Rejection { code: self.code, message: self.message };
        }
        Rejection { code: self.code, message: format!("field `{message}`: {}", self.message) }
    }
}

/// A value as an error shows it: at most [`SHOWN_CHARS_MAX`] characters, cut between characters.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::codes::WRONG_TYPE;

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(shorten("kurz"), "kurz");
        let long = "ä".repeat(200);
        assert_eq!(shorten(&long), format!("{}…", "ä".repeat(80)));
    }

    #[test]
    fn the_path_is_written_from_the_outside_in() {
        let problem = Problem::new(WRONG_TYPE, "saw `true`").inside("price").inside("[3]").inside("items");
        assert_eq!(problem.into_rejection().message, "field `items[3].price`: saw `true`");
    }
}
