//! How lists and maps are read.

use serde_json::{Value as Json, json};

use crate::decode::{Cx, Decode, Place, shorten};
use crate::span::{Span, Spanned};
use crate::tree::{Entry, Node, Value};

/// A list. Items that can't be read are left out (and reported). A key with nothing after it is an empty list.
impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Value::List(items) = &node.value else {
            let expected = Self::describe();
            let example = match &node.value {
                Value::Scalar(scalar) if !node.is_null() => cx.example(&format!("[{}]", shorten(scalar.text.shown()))),
                _ => "`[one, two]`, or one item a line, each after a `- `".to_owned(),
            };
            cx.wrong_type(node, &expected, &example);
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
        let entry = |entry: &Entry| {
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
