//! One table for a group of fields: the struct, how it is read, its JSON Schema and its reference come from the
//! same lines.
//!
//! ```
//! use millstream_config::{spec, decode::{Decode, Whole}};
//!
//! spec! {
//!     /// Reads from a topic.
//!     pub struct TopicOptions {
//!         /// The topic's name.
//!         topic: String = required,
//!         /// How many partitions to create it with.
//!         partitions: Whole<1, 1024> = optional,
//!         /// Whether to stop at the end.
//!         bounded: bool = default(false),
//!     }
//! }
//! # assert_eq!(TopicOptions::schema()["required"], serde_json::json!(["topic"]));
//! ```
//!
//! An `optional` field becomes an `Option`. A field whose name is a word of Rust is written raw (`r#where`).

use serde_json::{Value as Json, json};

use crate::codes::{MISSING_FIELD, UNKNOWN_FIELD};
use crate::decode::{Cx, Decode, Place};
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::suggest;
use crate::tree::{Entry, Node, Value};

/// A group of fields; made by [`spec!`](crate::spec!).
pub trait Spec: Sized {
    /// What the group is, in Markdown.
    const DOC: &'static str;

    /// The fields, in order.
    fn docs() -> Vec<FieldDoc>;

    /// Takes the fields out of a map. `None` if one that is required is missing or can't be read; one that has a
    /// default, or is optional, counts as absent when it can't be read (and was reported). What is missing is reported
    /// when the reader is finished.
    fn read(reader: &mut Reader<'_>, cx: &mut Cx) -> Option<Self>;
}

/// What there is to know about a field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldDoc {
    /// The key in the file.
    pub name: &'static str,
    /// What it is, in Markdown.
    pub doc: String,
    /// The kind of value: `a duration`.
    pub kind: String,
    /// Whether it must be there.
    pub presence: Presence,
    /// The JSON Schema of the value.
    pub schema: Json,
}

/// Whether a field must be there.
#[derive(Clone, Debug, PartialEq)]
pub enum Presence {
    /// It must.
    Required,
    /// It may be left out.
    Optional,
    /// If it is left out, this is how its value would be written.
    Default(Json),
}

impl FieldDoc {
    /// For the `spec!` macro: `name` as it stands in Rust, `doc` as it stands in the doc comment.
    pub fn new<T: Decode>(name: &'static str, doc: &str, presence: Presence) -> Self {
        let doc = doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
        Self { name: field_name(name), doc: doc.trim().to_owned(), kind: T::describe(), presence, schema: T::schema() }
    }
}

/// A field's name without the mark of a raw identifier.
pub fn field_name(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}

/// The JSON Schema of some fields as an object that allows no others.
pub fn object_schema(doc: &str, fields: &[FieldDoc]) -> Json {
    let mut properties = serde_json::Map::new();
    let mut required = Vec::new();
    for field in fields {
        let mut schema = field.schema.clone();
        if !field.doc.is_empty() {
            schema["description"] = json!(field.doc);
        }
        match &field.presence {
            Presence::Required => required.push(field.name),
            Presence::Default(value) if !value.is_null() => schema["default"] = value.clone(),
            Presence::Default(_) | Presence::Optional => {}
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !doc.trim().is_empty() {
        schema["description"] = json!(doc.lines().map(str::trim).collect::<Vec<_>>().join("\n").trim());
    }
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// Gives the descriptions of a group's fields.
pub type Docs = fn() -> Vec<FieldDoc>;

/// Takes fields out of a map and knows which were asked for.
#[derive(Debug)]
pub struct Reader<'a> {
    entries: &'a [Entry],
    /// What is underlined when something is missing.
    span: Span,
    asked: Vec<&'static str>,
    /// Fields that must be there and are not, to be reported once all names are known.
    missing: Vec<(&'static str, Docs)>,
}

impl<'a> Reader<'a> {
    /// Reads from a node that must be a map; if it is not, `cx` is told.
    pub fn open(node: &'a Node, cx: &mut Cx) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            cx.wrong_type(node, "a map of fields", "one `field: value` a line, indented, or `{ field: value }`");
            return None;
        };
        let first = entries.first().map_or(node.span, |entry| entry.key.span);
        let span = cx.key_span().unwrap_or(first);
        Some(Self::over(entries, span))
    }

    /// Reads from entries; `span` is underlined when something is missing.
    pub fn over(entries: &'a [Entry], span: Span) -> Self {
        Self { entries, span, asked: Vec::new(), missing: Vec::new() }
    }

    /// The entry of a field, which counts as asked for.
    pub fn entry(&mut self, name: &'static str) -> Option<&'a Entry> {
        let name = field_name(name);
        self.asked.push(name);
        self.entries.iter().find(|entry| entry.key.value == name)
    }

    /// A field that may be left out: what it holds, or `None` if it was left out or can't be read.
    pub fn optional<T: Decode>(&mut self, name: &'static str, cx: &mut Cx) -> Option<T> {
        let entry = self.entry(name)?;
        decode_entry(entry, cx)
    }

    /// A field that must be there; `fields` is where its description is looked up.
    pub fn required<T: Decode>(&mut self, name: &'static str, cx: &mut Cx, fields: Docs) -> Option<T> {
        let read = match self.entry(name) {
            Some(entry) => decode_entry(entry, cx),
            None => {
                self.missing.push((field_name(name), fields));
                None
            }
        };
        read.or_else(T::stand_in)
    }

    fn report_missing(&self, name: &str, fields: Docs, cx: &mut Cx) {
        let message = format!("{} needs the field `{name}`", cx.name());
        let mut diagnostic =
            Diagnostic::error(MISSING_FIELD, self.span, message).label(format!("`{name}` is missing here"));
        if let Some(doc) = fields().into_iter().find(|field| field.name == name) {
            let first = doc.doc.split("\n\n").next().unwrap_or("").replace('\n', " ");
            diagnostic = diagnostic.help(format!("`{name}` ({}): {first}", doc.kind));
        }
        cx.push(diagnostic);
    }

    /// The entry that is probably meant to be the field `name`, among those nothing asked for.
    fn misspelt(&self, name: &str, known: &[&str]) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| {
            let key = entry.key.value.as_str();
            !known.contains(&key) && suggest::nearest(key, known.iter().copied()) == Some(name)
        })
    }

    /// Reports what is missing, and the entries that nothing asked for. `more` are further names that are allowed in
    /// this place (and read elsewhere). A misspelt field that must be there is one mistake, not two.
    pub fn finish(self, more: &[&'static str], cx: &mut Cx) {
        let known: Vec<&str> = self.asked.iter().chain(more).copied().collect();
        for &(name, fields) in &self.missing {
            if self.misspelt(name, &known).is_none() {
                self.report_missing(name, fields, cx);
            }
        }
        for entry in self.entries.iter().filter(|entry| !known.contains(&entry.key.value.as_str())) {
            unknown_field(entry, &known, cx);
        }
    }

    /// Reports what is missing. Gives the misspelt fields that were reported instead.
    fn finish_shared(&self, cx: &mut Cx) -> Vec<String> {
        let mut reported = Vec::new();
        for &(name, fields) in &self.missing {
            match self.misspelt(name, &self.asked) {
                Some(entry) => {
                    unknown_field(entry, &self.asked, cx);
                    reported.push(entry.key.value.clone());
                }
                None => self.report_missing(name, fields, cx),
            }
        }
        reported
    }
}

fn decode_entry<T: Decode>(entry: &Entry, cx: &mut Cx) -> Option<T> {
    let place = Place { name: format!("`{}`", entry.key.value), span: entry.key.span };
    cx.within(place, |cx| match T::nothing() {
        Some(nothing) if entry.node.is_null() => Some(nothing),
        _ => T::decode(&entry.node, cx),
    })
}

/// Says that a field is none of those known.
pub fn unknown_field(entry: &Entry, known: &[&str], cx: &mut Cx) {
    let message = format!("unknown field `{}` in {}", entry.key.value, cx.name());
    let diagnostic = Diagnostic::error(UNKNOWN_FIELD, entry.key.span, message);
    cx.push(match suggest::nearest(&entry.key.value, known.iter().copied()) {
        Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
        None => diagnostic
            .label("not known here")
            .help(format!("allowed here: {}", suggest::list(known.iter().copied(), "and"))),
    });
}

/// Reads a whole map as one group of fields; what [`spec!`](crate::spec!) uses for `Decode`.
pub fn decode_spec<T: Spec>(node: &Node, cx: &mut Cx) -> Option<T> {
    let mut reader = Reader::open(node, cx)?;
    let spec = T::read(&mut reader, cx);
    reader.finish(&[], cx);
    spec
}

/// Fields whose meaning another crate knows: those of a connector, next to the fields all connectors share.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    entries: Vec<Entry>,
    /// Names that were read already. They count in suggestions, and are not reported as unknown.
    common: Vec<&'static str>,
    /// Fields that were reported already, as misspelt.
    reported: Vec<String>,
    path: Vec<Place>,
    span: Span,
}

impl Fields {
    /// All fields of the map at the current place, of which `reader` has asked for those that are shared.
    pub(crate) fn of(reader: &Reader<'_>, cx: &mut Cx) -> Self {
        Self {
            reported: reader.finish_shared(cx),
            entries: reader.entries.to_vec(),
            common: reader.asked.clone(),
            path: cx.path().to_vec(),
            span: reader.span,
        }
    }

    /// Reads a connector's own fields, reports those that are neither its own nor shared, and suggests from both
    /// groups of names. A connector may read a shared field too (`format`) by declaring it.
    pub fn decode<T: Spec>(&self, cx: &mut Cx) -> Option<T> {
        cx.at(self.path.clone(), |cx| {
            let unreported = |entry: &&Entry| !self.reported.contains(&entry.key.value);
            let entries: Vec<Entry> = self.entries.iter().filter(unreported).cloned().collect();
            let mut reader = Reader::over(&entries, self.span);
            let spec = T::read(&mut reader, cx);
            reader.finish(&self.common, cx);
            spec
        })
    }

    /// Where a field was written: key and value.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.value == name)
    }

    /// The value's place of a field that was written, the owner's key otherwise: what to underline when a field's
    /// value turns out to be wrong later.
    pub fn span_of(&self, name: &str) -> Span {
        self.get(name).map_or(self.span, |entry| entry.node.span)
    }

    /// The key of whatever has these fields.
    pub fn owner_span(&self) -> Span {
        self.span
    }

    /// How whatever has these fields is called in messages.
    pub fn owner(&self) -> String {
        self.path.last().map_or_else(String::new, |place| place.name.clone())
    }
}

/// Defines a group of fields: see the [module](crate::spec).
#[macro_export]
macro_rules! spec {
    (
        $(#[doc = $doc:literal])*
        $vis:vis struct $name:ident {
            $( $(#[doc = $field_doc:literal])* $field:ident : $type:ty = $kind:ident $(($default:expr))? ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $( $(#[doc = $field_doc])* pub $field: $crate::__spec_type!($kind $type), )*
        }

        impl $crate::spec::Spec for $name {
            const DOC: &'static str = concat!($($doc, "\n"),*);

            fn docs() -> ::std::vec::Vec<$crate::spec::FieldDoc> {
                ::std::vec![$(
                    $crate::spec::FieldDoc::new::<$type>(
                        stringify!($field),
                        concat!($($field_doc, "\n"),*),
                        $crate::__spec_presence!($kind $type $(, $default)?),
                    )
                ),*]
            }

            fn read(
                reader: &mut $crate::spec::Reader<'_>,
                cx: &mut $crate::decode::Cx,
            ) -> ::std::option::Option<Self> {
                $( let $field = $crate::__spec_read!(reader, cx, $field, $kind $type $(, $default)?); )*
                ::std::option::Option::Some(Self { $($field: $field?),* })
            }
        }

        impl $crate::decode::Decode for $name {
            fn decode(
                node: &$crate::tree::Node,
                cx: &mut $crate::decode::Cx,
            ) -> ::std::option::Option<Self> {
                $crate::spec::decode_spec(node, cx)
            }

            fn schema() -> $crate::spec::JsonValue {
                $crate::spec::object_schema(
                    <Self as $crate::spec::Spec>::DOC,
                    &<Self as $crate::spec::Spec>::docs(),
                )
            }

            fn describe() -> ::std::string::String {
                "a map of fields".to_owned()
            }
        }
    };
}

/// For `spec!`, which must not depend on its user's crates.
pub use serde_json::Value as JsonValue;

/// The type of a field.
#[doc(hidden)]
#[macro_export]
macro_rules! __spec_type {
    (required $type:ty) => { $type };
    (optional $type:ty) => { ::std::option::Option<$type> };
    (default $type:ty) => { $type };
}

/// Whether a field must be there.
#[doc(hidden)]
#[macro_export]
macro_rules! __spec_presence {
    (required $type:ty) => {
        $crate::spec::Presence::Required
    };
    (optional $type:ty) => {
        $crate::spec::Presence::Optional
    };
    (default $type:ty, $default:expr) => {{
        let value: $type = $default;
        $crate::spec::Presence::Default($crate::decode::Decode::show(&value))
    }};
}

/// How a field is read.
#[doc(hidden)]
#[macro_export]
macro_rules! __spec_read {
    ($reader:ident, $cx:ident, $field:ident, required $type:ty) => {
        $reader.required::<$type>(stringify!($field), $cx, <Self as $crate::spec::Spec>::docs)
    };
    ($reader:ident, $cx:ident, $field:ident, optional $type:ty) => {
        ::std::option::Option::Some($reader.optional::<$type>(stringify!($field), $cx))
    };
    ($reader:ident, $cx:ident, $field:ident, default $type:ty, $default:expr) => {
        ::std::option::Option::Some(
            $reader.optional::<$type>(stringify!($field), $cx).unwrap_or_else(|| -> $type { $default }),
        )
    };
}

/// Defines an enum whose values are words in a pipeline file:
///
/// ```
/// use millstream_config::spec_enum;
///
/// spec_enum! {
///     /// Where to begin.
///     pub enum Start {
///         /// At the oldest record.
///         Earliest = "earliest",
///         /// At the end.
///         Latest = "latest",
///     }
/// }
/// # assert_eq!(Start::Latest.name(), "latest");
/// ```
#[macro_export]
macro_rules! spec_enum {
    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident {
            $( $(#[doc = $variant_doc:literal])* $variant:ident = $word:literal ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name {
            $( $(#[doc = $variant_doc])* $variant, )*
        }

        impl $name {
            /// The word in a pipeline file.
            $vis fn name(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl $crate::decode::Decode for $name {
            fn decode(
                node: &$crate::tree::Node,
                cx: &mut $crate::decode::Cx,
            ) -> ::std::option::Option<Self> {
                $crate::decode::choice(node, cx, &[$(($word, Self::$variant)),*])
            }

            fn schema() -> $crate::spec::JsonValue {
                $crate::decode::choice_schema(&[$(($word, concat!($($variant_doc, "\n"),*).trim())),*])
            }

            fn describe() -> ::std::string::String {
                $crate::suggest::list([$($word),*], "or")
            }

            fn show(&self) -> $crate::spec::JsonValue {
                $crate::spec::JsonValue::from(self.name())
            }
        }
    };
}
