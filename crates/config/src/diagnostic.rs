//! What is wrong with a file, all of it at once, and how it is shown to people and to programs.

use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use millstream_core::{Code, Error};
use serde_json::json;

use crate::span::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The file can't be used.
    Error,
    /// The file can be used, and may not do what its author expects.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing to say about one place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The stable code.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// The place; only the part on its first line is underlined.
    pub span: Span,
    /// A lower-case clause: the user's own name quoted, what was seen, what is allowed.
    pub message: String,
    /// A few words beside the underlined text.
    pub label: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// Other places that belong to it, each with a few words.
    pub related: Vec<(Span, String)>,
}

impl Diagnostic {
    /// An error.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            span,
            message: message.into(),
            label: None,
            help: None,
            notes: Vec::new(),
            related: Vec::new(),
        }
    }

    /// A warning.
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// An [`Error`] that a place of the file is to blame for. Its cause becomes a note.
    pub fn from_error(error: &Error, span: Span) -> Self {
        let mut diagnostic = Self::error(error.code(), span, error.message());
        diagnostic.help = error.help_text().map(str::to_owned);
        let mut cause = std::error::Error::source(error);
        while let Some(next) = cause {
            diagnostic.notes.push(next.to_string());
            cause = next.source();
        }
        diagnostic
    }

    /// Adds the words beside the underlined text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a note.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds another place that belongs to it.
    #[must_use]
    pub fn related(mut self, span: Span, words: impl Into<String>) -> Self {
        self.related.push((span, words.into()));
        self
    }
}

/// A place as people count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineColumn {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// Everything there is to say about one file, in the order of the file.
#[derive(Clone, Debug)]
pub struct Diagnostics {
    file: Arc<str>,
    text: Arc<str>,
    items: Vec<Diagnostic>,
    omitted: usize,
}

/// How many problems of one file are kept; more are only counted.
pub const DIAGNOSTICS_MAX: usize = 500;

const BOM: &str = "\u{feff}";

impl Diagnostics {
    /// Nothing yet about the file `file` (a name for people) with the content `text`.
    pub fn new(file: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { file: file.into(), text: text.into(), items: Vec::new(), omitted: 0 }
    }

    /// The file's name.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The file's content.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Adds one, in file order. Saying the same twice about the same place adds nothing.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.items.contains(&diagnostic) {
            return;
        }
        if self.items.len() >= DIAGNOSTICS_MAX {
            self.omitted += 1;
            return;
        }
        let at = self.items.partition_point(|other| other.span.start <= diagnostic.span.start);
        self.items.insert(at, diagnostic);
    }

    /// All of them, in file order.
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether the file can't be used.
    pub fn has_errors(&self) -> bool {
        self.error_count() > 0
    }

    /// How many errors.
    pub fn error_count(&self) -> usize {
        self.count(Severity::Error)
    }

    /// How many warnings.
    pub fn warning_count(&self) -> usize {
        self.count(Severity::Warning)
    }

    fn count(&self, severity: Severity) -> usize {
        self.items.iter().filter(|item| item.severity == severity).count()
    }

    /// `2 errors, 1 warning`; `no problems` where there is nothing to say.
    pub fn summary(&self) -> String {
        let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        let counted = match (self.error_count(), self.warning_count()) {
            (0, 0) => "no problems".to_owned(),
            (errors, 0) => plural(errors, "error"),
            (0, warnings) => plural(warnings, "warning"),
            (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
        };
        if self.omitted > 0 { format!("{counted}, and {} more not shown", self.omitted) } else { counted }
    }

    /// Line and column of a byte of the file. A byte order mark takes no column.
    pub fn line_column(&self, byte: usize) -> LineColumn {
        let bom = self.bom();
        let byte = floor(&self.text, byte).max(bom);
        let before = self.text.get(bom..byte).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        LineColumn {
            line: before.bytes().filter(|&b| b == b'\n').count() + 1,
            column: before.get(line_start..).unwrap_or("").chars().count() + 1,
        }
    }

    /// All of them for people, with the places underlined, as rustc shows them; with `color` for a terminal.
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for item in &self.items {
            out.push_str(&self.render_one(item, color));
            out.push_str("\n\n");
        }
        out
    }

    fn render_one(&self, item: &Diagnostic, color: bool) -> String {
        // Only the lines concerned are handed over: the renderer walks all it gets.
        let spans = || std::iter::once(item.span).chain(item.related.iter().map(|(span, _)| *span));
        let first = spans().map(|span| span.start).min().unwrap_or(0);
        let last = spans().map(|span| self.on_one_line(span).end).max().unwrap_or(0);
        let from = self.text.get(..floor(&self.text, first)).unwrap_or("").rfind('\n').map_or(self.bom(), |i| i + 1);
        let to = self.text.get(last..).unwrap_or("").find('\n').map_or(self.text.len(), |i| last + i);
        let place = |span: Span| {
            let span = self.on_one_line(span);
            span.start.saturating_sub(from)..span.end.saturating_sub(from)
        };
        let mut snippet = Snippet::source(self.text.get(from..to).unwrap_or("").trim_end_matches('\r'))
            .line_start(self.line_column(from).line)
            .path(&*self.file)
            .annotation(AnnotationKind::Primary.span(place(item.span)).label(item.label.as_deref()));
        for (span, words) in &item.related {
            snippet = snippet.annotation(AnnotationKind::Context.span(place(*span)).label(words.as_str()));
        }
        let level = match item.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let message = annotate_snippets::normalize_untrusted_str(&item.message);
        let mut group: Group<'_> = level.primary_title(message).id(item.code.id).element(snippet);
        for note in &item.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        if let Some(help) = &item.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }

    /// How many bytes a byte order mark at the start takes.
    fn bom(&self) -> usize {
        if self.text.starts_with(BOM) { BOM.len() } else { 0 }
    }

    /// The part of a span on its first line, on character boundaries.
    fn on_one_line(&self, span: Span) -> Span {
        let start = floor(&self.text, span.start);
        let end = floor(&self.text, span.end).max(start);
        let covered = self.text.get(start..end).unwrap_or("");
        let line = covered.split(['\n', '\r']).next().unwrap_or("");
        Span::new(start, start + line.trim_end().len())
    }

    /// All of them for programs: one JSON object a line, with `severity`, `code`, `message`, `file`, `line`,
    /// `column`, `end_line`, `end_column` (from 1, in characters), `start`, `end` (bytes), and where there are any
    /// `label`, `help`, `notes`, `related`.
    pub fn to_json_lines(&self) -> String {
        let mut out = String::new();
        for item in &self.items {
            let (from, to) = (self.line_column(item.span.start), self.line_column(item.span.end));
            let mut object = json!({
                "severity": item.severity.name(),
                "code": item.code.id,
                "message": item.message,
                "file": &*self.file,
                "line": from.line,
                "column": from.column,
                "end_line": to.line,
                "end_column": to.column,
                "start": item.span.start,
                "end": item.span.end,
            });
            if let Some(label) = &item.label {
                object["label"] = json!(label);
            }
            if let Some(help) = &item.help {
                object["help"] = json!(help);
            }
            if !item.notes.is_empty() {
                object["notes"] = json!(item.notes);
            }
            if !item.related.is_empty() {
                let related = item.related.iter().map(|(span, words)| {
                    let at = self.line_column(span.start);
                    json!({ "line": at.line, "column": at.column, "message": words })
                });
                object["related"] = related.collect();
            }
            out.push_str(&object.to_string());
            out.push('\n');
        }
        out
    }
}

/// The character boundary at or before `byte`.
fn floor(text: &str, byte: usize) -> usize {
    text.floor_char_boundary(byte)
}
