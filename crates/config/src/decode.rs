//! From the tree to typed values. Nothing stops at the first problem: whatever is wrong is said to the [`Cx`], and
//! decoding goes on.

use millstream_core::Code;
use serde_json::{Value as Json, json};

use crate::codes::{UNKNOWN_CHOICE, WRONG_TYPE};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::span::Span;
use crate::suggest;
use crate::tree::{Meaning, Node, Scalar, Value};

pub use crate::collections::{Map, OneOrMore};
pub use crate::values::{Name, Whole};

/// A value that can stand in a pipeline file.
pub trait Decode: Sized {
    /// Reads it. `None` means that it could not be read and that `cx` was told why.
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self>;

    /// The JSON Schema of what `decode` accepts.
    fn schema() -> Json;

    /// What it is, for people: `duration`, `integer from 1 to 64`.
    fn describe() -> String;

    /// How the value is written, for the defaults in reference and schema.
    fn show(&self) -> Json {
        Json::Null
    }

    /// What stands for a key with nothing after it; `None` where a value must be written.
    fn nothing() -> Option<Self> {
        None
    }

    /// What stands in for a required value that is missing or can't be read (which was reported), so that what
    /// surrounds it can be read all the same.
    fn stand_in() -> Option<Self> {
        None
    }
}

/// Where decoding is, and what was found wrong so far.
#[derive(Debug)]
pub struct Cx {
    diagnostics: Diagnostics,
    path: Vec<Place>,
}

/// One step on the way from the root to the value being decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// How it is called in messages, backticks included.
    pub name: String,
    /// What is underlined when something is missing in it: its key.
    pub span: Span,
}

impl Cx {
    /// At the root of a file.
    pub fn new(diagnostics: Diagnostics) -> Self {
        Self { diagnostics, path: Vec::new() }
    }

    /// What was found wrong.
    pub fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }

    /// What was found wrong.
    pub fn into_diagnostics(self) -> Diagnostics {
        self.diagnostics
    }

    /// Says that something is wrong.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Says that something is wrong, with help.
    pub fn error(&mut self, code: Code, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(Diagnostic::error(code, span, message).help(help));
    }

    /// Does something inside of a place.
    pub fn within<T>(&mut self, place: Place, work: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(place);
        let done = work(self);
        self.path.pop();
        done
    }

    /// Does something at another place.
    pub(crate) fn at<T>(&mut self, path: Vec<Place>, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.path, path);
        let done = work(self);
        self.path = before;
        done
    }

    /// The way to the current place.
    pub fn path(&self) -> &[Place] {
        &self.path
    }

    /// How the current place is called in messages: `` `lateness` ``, ``item 2 of `select` ``.
    pub fn name(&self) -> String {
        self.path.last().map_or_else(|| "the pipeline file".to_owned(), |place| place.name.clone())
    }

    /// The key to underline when something is missing here; the file's start at the root.
    pub fn key_span(&self) -> Option<Span> {
        self.path.last().map(|place| place.span)
    }

    /// Says that a node is not what is allowed here. Nothing is said about a node that was already reported.
    pub fn wrong_type(&mut self, node: &Node, expected: &str, example: &str) {
        if node.value == Value::Invalid {
            return;
        }
        let name = self.name();
        let (message, label) = if node.is_null() {
            (format!("{name} has no value; it must be {expected}"), format!("expected {expected}"))
        } else {
            let seen = seen(node);
            (format!("{name} must be {expected}, found {seen}"), format!("expected {expected}"))
        };
        let mut diagnostic = Diagnostic::error(WRONG_TYPE, node.span, message).label(label);
        if !example.is_empty() {
            diagnostic = diagnostic.help(format!("for example: {example}"));
        }
        self.push(diagnostic);
    }

    /// The example `` `name: value` `` for the current place.
    pub fn example(&self, value: &str) -> String {
        match self.path.last() {
            Some(place) if place.name.starts_with('`') => format!("`{}: {value}`", place.name.trim_matches('`')),
            _ => format!("`{value}`"),
        }
    }
}

/// A node in a few words: ``the string `two` ``, `a list`. Variables are shown by name.
pub fn seen(node: &Node) -> String {
    match &node.value {
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
        Value::Invalid => "something invalid".to_owned(),
        Value::Scalar(scalar) => {
            let kind = match scalar.meaning() {
                Meaning::Null => return "nothing".to_owned(),
                _ if scalar.text.is_expanded() => "the string",
                Meaning::Bool(_) => "the boolean",
                Meaning::Int(_) | Meaning::Float(_) => "the number",
                Meaning::String => "the string",
            };
            format!("{kind} `{}`", shorten(scalar.text.shown()))
        }
    }
}

/// The first line, and not too much of it.
pub fn shorten(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let line = text.lines().next().unwrap_or("");
    if line.chars().count() > SHOWN_MAX || line.len() < text.trim_end().len() {
        format!("{}…", line.chars().take(SHOWN_MAX).collect::<String>())
    } else {
        line.to_owned()
    }
}

/// The scalar that must stand here.
pub fn scalar<'a>(node: &'a Node, cx: &mut Cx, expected: &str, example: &str) -> Option<&'a Scalar> {
    match &node.value {
        Value::Scalar(scalar) if scalar.meaning() != Meaning::Null => Some(scalar),
        _ => {
            let example = cx.example(example);
            cx.wrong_type(node, expected, &example);
            None
        }
    }
}

/// One of a few words.
pub fn choice<T: Clone>(node: &Node, cx: &mut Cx, choices: &[(&str, T)]) -> Option<T> {
    let names = || choices.iter().map(|(name, _)| *name);
    let expected = suggest::list(names(), "or");
    let first = choices.first().map_or("", |(name, _)| *name);
    let scalar = scalar(node, cx, &expected, first)?;
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == scalar.text.value) {
        return Some(value.clone());
    }
    let message = format!("{} must be {expected}, found {}", cx.name(), seen(node));
    let mut diagnostic = Diagnostic::error(UNKNOWN_CHOICE, node.span, message);
    if let Some(near) = suggest::nearest(scalar.text.shown(), names()) {
        diagnostic = diagnostic.label(format!("did you mean `{near}`?"));
    }
    cx.push(diagnostic.help(format!("write one of {}", suggest::list(names(), "or"))));
    None
}

/// The schema of [`choice`].
pub fn choice_schema(choices: &[(&str, &str)]) -> Json {
    let one_of: Vec<Json> = choices.iter().map(|(name, doc)| json!({ "const": name, "description": doc })).collect();
    json!({ "type": "string", "oneOf": one_of })
}
