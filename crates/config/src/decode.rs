//! From the tree to typed values. Nothing stops at the first problem: whatever is wrong is said to the [`Cx`], and
//! decoding goes on.

use std::time::Duration;

use millstream_core::Code;
use serde_json::{Value as Json, json};

use crate::codes::{BAD_NAME, OUT_OF_RANGE, UNKNOWN_CHOICE, WRONG_TYPE};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::duration;
use crate::size::{self, ByteSize};
use crate::span::{Span, Spanned};
use crate::suggest;
use crate::text::Text;
use crate::tree::{Meaning, Node, Scalar, Value};

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

impl Decode for bool {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if let Value::Scalar(scalar) = &node.value {
            if let Meaning::Bool(value) = scalar.meaning() {
                return Some(value);
            }
            let meant = match scalar.text.value.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "1" | "true" => Some(true),
                "no" | "off" | "n" | "0" | "false" => Some(false),
                _ => None,
            };
            if let Some(meant) = meant {
                let message = format!("{} must be `true` or `false`, found {}", cx.name(), seen(node));
                let help = format!("write {}", cx.example(if meant { "true" } else { "false" }));
                cx.push(Diagnostic::error(WRONG_TYPE, node.span, message).label(format!("write `{meant}`")).help(help));
                return None;
            }
        }
        let example = cx.example("true");
        cx.wrong_type(node, "`true` or `false`", &example);
        None
    }

    fn schema() -> Json {
        // A variable stands as a string in the file; what it holds is checked when it is known.
        json!({ "type": ["boolean", "string"], "pattern": VARIABLE_PATTERN })
    }

    fn describe() -> String {
        "`true` or `false`".to_owned()
    }

    fn show(&self) -> Json {
        json!(self)
    }
}

const VARIABLE_PATTERN: &str = r"^\$\{[^}]*\}$";

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Whole<const MIN: u64, const MAX: u64>(pub u64);

fn whole(node: &Node, cx: &mut Cx, min: i128, max: i128) -> Option<i128> {
    let expected = whole_words(min, max);
    let example = min.max(1).min(max).to_string();
    let scalar = scalar(node, cx, &expected, &example)?;
    match scalar.meaning() {
        Meaning::Int(value) if (min..=max).contains(&value) => Some(value),
        Meaning::Int(_) => {
            let message = format!("{} must be {expected}, found {}", cx.name(), seen(node));
            cx.error(OUT_OF_RANGE, node.span, message, format!("allowed: {min} to {max}"));
            None
        }
        Meaning::String => {
            let digits: String = scalar.text.shown().chars().filter(|c| !matches!(c, '_' | ',' | '\'' | ' ')).collect();
            let example = if !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) {
                format!("{}, without quotes and separators", cx.example(&digits))
            } else {
                cx.example(&example)
            };
            cx.wrong_type(node, &expected, &example);
            None
        }
        _ => {
            let example = cx.example(&example);
            cx.wrong_type(node, &expected, &example);
            None
        }
    }
}

fn whole_words(min: i128, max: i128) -> String {
    if max >= i128::from(i64::MAX) {
        if min == i128::from(i64::MIN) {
            return "a whole number".to_owned();
        }
        return format!("a whole number of at least {min}");
    }
    format!("a whole number from {min} to {max}")
}

fn whole_schema(min: i128, max: i128) -> Json {
    let mut schema = json!({ "type": ["integer", "string"], "pattern": VARIABLE_PATTERN });
    if let Ok(min) = i64::try_from(min) {
        schema["minimum"] = json!(min);
    }
    if max < i128::from(i64::MAX) {
        schema["maximum"] = json!(max as i64);
    }
    schema
}

impl<const MIN: u64, const MAX: u64> Decode for Whole<MIN, MAX> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        whole(node, cx, i128::from(MIN), i128::from(MAX)).and_then(|value| u64::try_from(value).ok()).map(Self)
    }

    fn schema() -> Json {
        whole_schema(i128::from(MIN), i128::from(MAX))
    }

    fn describe() -> String {
        whole_words(i128::from(MIN), i128::from(MAX))
    }

    fn show(&self) -> Json {
        json!(self.0)
    }
}

macro_rules! decode_whole {
    ($($type:ty),*) => { $(
        impl Decode for $type {
            fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
                whole(node, cx, <$type>::MIN as i128, <$type>::MAX as i128).and_then(|value| value.try_into().ok())
            }

            fn schema() -> Json {
                whole_schema(<$type>::MIN as i128, <$type>::MAX as i128)
            }

            fn describe() -> String {
                whole_words(<$type>::MIN as i128, <$type>::MAX as i128)
            }

            fn show(&self) -> Json {
                json!(self)
            }
        }
    )* };
}

decode_whole!(u8, u16, u32, u64, usize, i32, i64);

impl Decode for f64 {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let scalar = scalar(node, cx, "a number", "0.5")?;
        match scalar.meaning() {
            Meaning::Int(value) => Some(value as f64),
            Meaning::Float(value) if value.is_finite() => Some(value),
            Meaning::Float(_) => {
                let message = format!("{} must be a finite number, found {}", cx.name(), seen(node));
                cx.error(OUT_OF_RANGE, node.span, message, "infinities and NaN are not allowed here");
                None
            }
            _ => {
                let example = cx.example("0.5");
                cx.wrong_type(node, "a number", &example);
                None
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": ["number", "string"], "pattern": VARIABLE_PATTERN })
    }

    fn describe() -> String {
        "a number".to_owned()
    }

    fn show(&self) -> Json {
        json!(self)
    }
}

/// Text of any kind, SQL above all: takes every scalar as it is written, `true` and `3` too.
impl Decode for Text {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Some(scalar(node, cx, "text", "some text")?.text.clone())
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number", "boolean"] })
    }

    fn describe() -> String {
        "text".to_owned()
    }

    fn show(&self) -> Json {
        json!(self.value)
    }
}

/// A string. A number without quotes is taken as it is written (`version: 3`), a boolean is not.
impl Decode for String {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let scalar = scalar(node, cx, "a string", "some text")?;
        if let Meaning::Bool(value) = scalar.meaning() {
            let example = format!("{} if the word is meant", cx.example(&format!("\"{value}\"")));
            cx.wrong_type(node, "a string", &example);
            return None;
        }
        Some(scalar.text.value.clone())
    }

    fn schema() -> Json {
        json!({ "type": ["string", "number"] })
    }

    fn describe() -> String {
        "a string".to_owned()
    }

    fn show(&self) -> Json {
        json!(self)
    }
}

/// The name of something in a pipeline: `[A-Za-z_][A-Za-z0-9_-]*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub String);

const NAME_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_-]*$";

impl Name {
    /// Whether `text` can be a name.
    pub fn is_valid(text: &str) -> bool {
        let mut chars = text.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    }

    /// Says so where `shown` can't be a name.
    pub fn check(text: &str, shown: &str, span: Span, cx: &mut Cx) -> bool {
        if Self::is_valid(text) {
            return true;
        }
        let proposal: String =
            shown.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let proposal = if Self::is_valid(&proposal) { proposal } else { format!("_{proposal}") };
        let message = format!("`{}` can't be a name", shorten(shown));
        cx.push(
            Diagnostic::error(BAD_NAME, span, message)
                .label(format!("perhaps `{proposal}`"))
                .help("a name begins with a letter or `_`, and goes on with letters, digits, `_` and `-`"),
        );
        false
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Decode for Name {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = &scalar(node, cx, "a name", "fraud")?.text;
        Self::check(&text.value, text.shown(), node.span, cx).then(|| Self(text.value.clone()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": format!(r"{NAME_PATTERN}|\$\{{") })
    }

    fn describe() -> String {
        "a name".to_owned()
    }

    fn show(&self) -> Json {
        json!(self.0)
    }
}

impl Decode for Duration {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = &scalar(node, cx, "a duration", "5s")?.text;
        duration::parse(&text.value)
            .map_err(|problem| cx.push(problem.diagnostic(&cx.name(), text.shown(), node.span)))
            .ok()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": duration::PATTERN, "examples": ["250ms", "5s", "1h30m"] })
    }

    fn describe() -> String {
        "a duration".to_owned()
    }

    fn show(&self) -> Json {
        json!(duration::show(*self))
    }
}

impl Decode for ByteSize {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = &scalar(node, cx, "a size", "64MiB")?.text;
        size::parse(&text.value)
            .map_err(|problem| cx.push(problem.diagnostic(&cx.name(), text.shown(), node.span)))
            .ok()
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": size::PATTERN, "examples": ["500kB", "64MiB", "1GB"] })
    }

    fn describe() -> String {
        "a size".to_owned()
    }

    fn show(&self) -> Json {
        json!(self.to_string())
    }
}

impl<T: Decode> Decode for Spanned<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Some(Spanned::new(T::decode(node, cx)?, node.span))
    }

    fn schema() -> Json {
        T::schema()
    }

    fn describe() -> String {
        T::describe()
    }

    fn show(&self) -> Json {
        self.value.show()
    }

    fn nothing() -> Option<Self> {
        T::nothing().map(|value| Spanned::new(value, Span::default()))
    }
}

/// A list. Items that can't be read are left out (and reported). A key with nothing after it is an empty list.
impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Value::List(items) = &node.value else {
            let expected = Self::describe();
            cx.wrong_type(node, &expected, "`[one, two]`, or one item a line, each after a `- `");
            return None;
        };
        let parent = cx.name();
        let item = |(i, item): (usize, &Node)| {
            let place = Place { name: format!("item {} of {parent}", i + 1), span: first_line_key(item) };
            cx.within(place, |cx| T::decode(item, cx))
        };
        Some(items.iter().enumerate().filter_map(item).collect())
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }

    fn describe() -> String {
        let item = T::describe();
        format!("a list, each item {item}")
    }

    fn show(&self) -> Json {
        self.iter().map(Decode::show).collect()
    }

    fn nothing() -> Option<Self> {
        Some(Vec::new())
    }
}

/// What to underline of a list item when something is missing in it: its first key.
fn first_line_key(item: &Node) -> Span {
    match &item.value {
        Value::Map(entries) => entries.first().map_or(item.span, |entry| entry.key.span),
        _ => item.span,
    }
}

/// A map with keys of the user's choosing, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Map<T>(pub Vec<(Spanned<String>, T)>);

impl<T> Default for Map<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Map<T> {
    /// Keys and values in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&Spanned<String>, &T)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&T> {
        self.0.iter().find(|(k, _)| k.value == key).map(|(_, value)| value)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.value.as_str())
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Entries that can't be read are left out (and reported). A key with nothing after it is an empty map.
impl<T: Decode> Decode for Map<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let expected = Self::describe();
            cx.wrong_type(node, &expected, "one `name: …` a line, indented");
            return None;
        };
        let entry = |entry: &crate::tree::Entry| {
            let place = Place { name: format!("`{}`", entry.key.value), span: entry.key.span };
            let value = cx.within(place, |cx| match T::nothing() {
                Some(nothing) if entry.node.is_null() => Some(nothing),
                _ => T::decode(&entry.node, cx),
            });
            Some((entry.key.clone(), value?))
        };
        Some(Self(entries.iter().filter_map(entry).collect()))
    }

    fn schema() -> Json {
        json!({ "type": ["object", "null"], "additionalProperties": T::schema() })
    }

    fn describe() -> String {
        let value = T::describe();
        format!("a map of names, each with {value}")
    }

    fn nothing() -> Option<Self> {
        Some(Self::default())
    }
}

/// A list of names, or one of them written without brackets.
#[derive(Clone, Debug, PartialEq)]
pub struct OneOrMore<T>(pub Vec<T>);

impl<T: Decode> Decode for OneOrMore<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                let expected = Self::describe();
                cx.wrong_type(node, &expected, "");
                None
            }
            Value::List(_) => Vec::decode(node, cx).map(Self),
            _ => T::decode(node, cx).map(|one| Self(vec![one])),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [T::schema(), { "type": "array", "minItems": 1, "items": T::schema() }] })
    }

    fn describe() -> String {
        let one = T::describe();
        format!("{one} or a list of them")
    }

    fn show(&self) -> Json {
        self.0.iter().map(Decode::show).collect()
    }
}

/// Any value, as JSON.
impl Decode for Json {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        Some(match &node.value {
            Value::Invalid => return None,
            Value::List(items) => Self::Array(items.iter().map(|item| Self::decode(item, cx)).collect::<Option<_>>()?),
            Value::Map(entries) => {
                let entry = |e: &crate::tree::Entry| Some((e.key.value.clone(), Self::decode(&e.node, cx)?));
                Self::Object(entries.iter().map(entry).collect::<Option<_>>()?)
            }
            Value::Scalar(scalar) => match scalar.meaning() {
                Meaning::Null => Self::Null,
                Meaning::Bool(value) => json!(value),
                Meaning::Int(value) => match (i64::try_from(value), u64::try_from(value)) {
                    (Ok(value), _) => json!(value),
                    (_, Ok(value)) => json!(value),
                    _ => json!(value as f64),
                },
                Meaning::Float(value) if value.is_finite() => json!(value),
                Meaning::Float(_) | Meaning::String => json!(scalar.text.value),
            },
        })
    }

    fn schema() -> Json {
        json!({})
    }

    fn describe() -> String {
        "any value".to_owned()
    }

    fn show(&self) -> Json {
        self.clone()
    }
}
