//! What is wrong with a piece of SQL, and where.

use std::fmt;
use std::ops::Range;

use datafusion_sql::sqlparser::tokenizer::{Location, Span};
use millstream_core::Code;

/// One thing that is wrong with SQL text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlProblem {
    /// The stable code.
    pub code: Code,
    /// A lower-case clause: what was seen, and why it can't be.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Bytes in the text that the problem is about.
    pub span: Option<Range<usize>>,
    /// Which text, where several were given (select items); 0 otherwise.
    pub item: usize,
}

impl SqlProblem {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, span: None, item: 0 }
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    #[must_use]
    pub(crate) fn help_opt(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    #[must_use]
    pub(crate) fn at(mut self, span: Option<Range<usize>>) -> Self {
        self.span = span;
        self
    }
}

impl fmt::Display for SqlProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

/// Turns the parser's lines and columns into byte ranges.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self { text, starts }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    fn byte(&self, location: Location) -> Option<usize> {
        let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
        let column = usize::try_from(location.column).ok()?.checked_sub(1)?;
        let start = *self.starts.get(line)?;
        let rest = self.text.get(start..)?;
        Some(start + rest.char_indices().nth(column).map_or(rest.len(), |(i, _)| i))
    }

    /// The bytes of a parser's span; `None` for the empty span that stands for "unknown".
    pub(crate) fn range(&self, span: Span) -> Option<Range<usize>> {
        if span == Span::empty() {
            return None;
        }
        let (start, end) = (self.byte(span.start)?, self.byte(span.end)?);
        (start < end).then(|| self.closed(start..end))
    }

    /// The parser's spans of calls leave out the closing parenthesis.
    fn closed(&self, range: Range<usize>) -> Range<usize> {
        let Some(inside) = self.text.get(range.clone()) else { return range };
        let open = inside.matches('(').count().saturating_sub(inside.matches(')').count());
        let mut end = range.end;
        for _ in 0..open {
            let Some(rest) = self.text.get(end..) else { break };
            let trimmed = rest.trim_start();
            if !trimmed.starts_with(')') {
                break;
            }
            end += rest.len() - trimmed.len() + 1;
        }
        range.start..end
    }

    /// Where a text that ends too early ends.
    pub(crate) fn last_character(&self) -> Option<Range<usize>> {
        let text = self.text.trim_end();
        text.char_indices().next_back().map(|(i, _)| i..text.len())
    }

    /// The bytes of a planner's span.
    pub(crate) fn planner_range(&self, span: datafusion_common::Span) -> Option<Range<usize>> {
        let location = |l: datafusion_common::Location| Location { line: l.line, column: l.column };
        self.range(Span::new(location(span.start), location(span.end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_not_bytes() {
        let lines = Lines::new("é a\nñandú bc");
        let span = Span::new(Location { line: 2, column: 7 }, Location { line: 2, column: 9 });
        assert_eq!(&lines.text()[lines.range(span).unwrap()], "bc");
        let end = Span::new(Location { line: 1, column: 3 }, Location { line: 1, column: 4 });
        assert_eq!(&lines.text()[lines.range(end).unwrap()], "a");
        assert_eq!(lines.range(Span::empty()), None);
    }
}
