//! How single values are read: booleans, numbers, text, names, durations, sizes.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::codes::{BAD_NAME, OUT_OF_RANGE, WRONG_TYPE};
use crate::decode::{Cx, Decode, scalar, seen, shorten};
use crate::diagnostic::Diagnostic;
use crate::duration;
use crate::size::{self, ByteSize};
use crate::span::{Span, Spanned};
use crate::text::Text;
use crate::tree::{Entry, Meaning, Node, Value};

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
                cx.error(WRONG_TYPE, node.span, message, help);
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

/// Says so where there is nothing but white space.
fn not_empty(text: &Text, cx: &mut Cx) -> bool {
    let empty = text.value.trim().is_empty();
    if empty {
        let message = format!("{} is empty", cx.name());
        cx.error(WRONG_TYPE, text.span, message, "write a value, or leave the field out");
    }
    !empty
}

/// Text of any kind, SQL above all: takes every scalar as it is written, `true` and `3` too.
impl Decode for Text {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = &scalar(node, cx, "text", "some text")?.text;
        not_empty(text, cx).then(|| text.clone())
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
        if let Meaning::Bool(value) = scalar.meaning()
            && !scalar.text.is_expanded()
        {
            let example = format!("{} if the word is meant", cx.example(&format!("\"{value}\"")));
            cx.wrong_type(node, "a string", &example);
            return None;
        }
        not_empty(&scalar.text, cx).then(|| scalar.text.value.clone())
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

    /// Whether `text` can be a name; says so where it can't.
    pub fn check(text: &Text, cx: &mut Cx) -> bool {
        if Self::is_valid(&text.value) {
            return true;
        }
        let shown = text.shown();
        let message = format!("`{}` can't be a name", shorten(shown));
        let mut diagnostic = Diagnostic::error(BAD_NAME, text.span, message)
            .help("a name begins with a letter or `_`, and goes on with letters, digits, `_` and `-`");
        let proposal: String =
            shown.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let proposal = if Self::is_valid(&proposal) { proposal } else { format!("_{proposal}") };
        if !text.is_expanded() && Self::is_valid(&proposal) && proposal.len() < 60 {
            diagnostic = diagnostic.label(format!("perhaps `{proposal}`"));
        }
        cx.push(diagnostic);
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
        Self::check(text, cx).then(|| Self(text.value.clone()))
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
        duration::parse(&text.value).map_err(|problem| cx.push(problem.diagnostic(&cx.name(), text))).ok()
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
        size::parse(&text.value).map_err(|problem| cx.push(problem.diagnostic(&cx.name(), text))).ok()
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

/// Any value, as JSON.
impl Decode for Json {
    fn decode(node: &Node, _: &mut Cx) -> Option<Self> {
        as_json(node)
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

fn as_json(node: &Node) -> Option<Json> {
    Some(match &node.value {
        Value::Invalid => return None,
        Value::List(items) => Json::Array(items.iter().map(as_json).collect::<Option<_>>()?),
        Value::Map(entries) => {
            let entry = |e: &Entry| Some((e.key.value.clone(), as_json(&e.node)?));
            Json::Object(entries.iter().map(entry).collect::<Option<_>>()?)
        }
        Value::Scalar(scalar) => match scalar.meaning() {
            Meaning::Null => Json::Null,
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
