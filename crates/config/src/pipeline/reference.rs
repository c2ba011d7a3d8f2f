//! The reference of pipeline files, from the same tables as the reading.

use std::fmt::Write as _;

use super::column::ColumnFields;
use super::connection::ConnectionFields;
use super::model::{FileModelFields, RuleModelFields, RuleSpec};
use super::output::{DeadLettersFields, OutputFields};
use super::source::SourceFields;
use super::step::{PredictFields, SqlFields};
use super::table::TableSpec;
use super::top::PipelineSpec;
use crate::spec::{FieldDoc, Presence, Spec};

/// A kind of source or sink: the word after `type:` and the fields that only it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// The word after `type:`.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// Its own fields.
    pub fields: Vec<FieldDoc>,
}

impl Kind {
    /// The kind `name` whose own fields are those of `T`.
    pub fn of<T: Spec>(name: &'static str) -> Self {
        Self { name, doc: T::DOC, fields: T::docs() }
    }

    /// As a dead-letter output, whose records keep the original's key and headers.
    pub(super) fn of_dead_letters(&self) -> Self {
        let kept = |field: &&FieldDoc| !ROW_FIELDS.contains(&field.name);
        let fields = self.fields.iter().filter(kept).cloned().collect();
        Self { name: self.name, doc: self.doc, fields }
    }
}

/// Fields of outputs that are about the columns of rows.
const ROW_FIELDS: [&str; 4] = ["key", "partitioner", "partition", "headers"];

const INTRODUCTION: &str = "\
A pipeline file is YAML: maps, lists and values, without anchors, merge keys and tags. Every field is checked; one that
is not known, or would have no effect, is an error. Paths are relative to the folder of the file.

- **Durations** have units: `250ms`, `5s`, `2m`, `1h30m`, `30d`, `1w` (also `us`, `ns`).
- **Sizes** have units: `500kB`, `64MiB`, `1GB`.
- **Names** begin with a letter or `_` and go on with letters, digits, `_` and `-`. Sources, tables and steps share one
  space of names.
- **Variables**: `${VAR}` and `${VAR:-default}` are put into values after parsing, never into keys; `$${` is a literal
  `${`.
- **Column types**: `string`, `bool`, `int8` … `int64`, `uint8` … `uint64`, `float32`, `float64`,
  `decimal(precision, scale)`, `timestamp_s`, `timestamp_ms`, `timestamp_us`, `timestamp_ns` (whole numbers since 1970),
  `timestamp` (RFC 3339 text), `date` (`YYYY-MM-DD`), `list<T>`, `struct<name: T, …>`.
";

pub(super) fn markdown(connections: &[Kind], sources: &[Kind], sinks: &[Kind]) -> String {
    let mut page = format!("# The pipeline file\n\n{INTRODUCTION}\n");
    section::<PipelineSpec>(&mut page, "##", "Top level");
    section::<ConnectionFields>(&mut page, "##", "`connections`");
    page.push_str("Every connection has a name and this field, and those of its `type`.\n\n");
    kinds(&mut page, connections);
    section::<SourceFields>(&mut page, "##", "`sources`");
    page.push_str("Every source has a name and these fields, and those of its `type`.\n\n");
    kinds(&mut page, sources);
    section::<ColumnFields>(&mut page, "##", "`schema`");
    page.push_str("`amount: float64` is short for `amount: { type: float64 }`.\n\n");
    section::<TableSpec>(&mut page, "##", "`tables`");
    page.push_str("## `models`\n\n");
    section::<FileModelFields>(&mut page, "###", "A file");
    section::<RuleModelFields>(&mut page, "###", "Rules");
    section::<RuleSpec>(&mut page, "####", "Each of the `rules`");
    page.push_str("## `steps`\n\n");
    section::<SqlFields>(&mut page, "###", "`sql`");
    section::<PredictFields>(&mut page, "###", "`predict`");
    section::<OutputFields>(&mut page, "##", "`outputs`");
    page.push_str("Every output has a name and these fields, and those of its `type`.\n\n");
    kinds(&mut page, sinks);
    section::<DeadLettersFields>(&mut page, "##", "`dead_letters`");
    page.push_str("One output: these fields, and those of its `type` except those about the columns of rows: `key`, `partitioner`, `partition`, `headers`.\n");
    page
}

fn section<T: Spec>(page: &mut String, level: &str, title: &str) {
    let _ = writeln!(page, "{level} {title}\n\n{}\n", one_line(T::DOC));
    table(page, &T::docs());
}

fn kinds(page: &mut String, kinds: &[Kind]) {
    for kind in kinds {
        let _ = writeln!(page, "### `type: {}`\n\n{}\n", kind.name, one_line(kind.doc));
        if kind.fields.is_empty() {
            page.push_str("It has no fields of its own.\n\n");
        } else {
            table(page, &kind.fields);
        }
    }
}

fn table(page: &mut String, fields: &[FieldDoc]) {
    page.push_str("| Field | Value | Default | Meaning |\n|---|---|---|---|\n");
    for field in fields {
        let default = match &field.presence {
            Presence::Required => "**required**".to_owned(),
            Presence::Optional => String::new(),
            Presence::Default(serde_json::Value::Null) => "none".to_owned(),
            Presence::Default(serde_json::Value::String(text)) => format!("`{text}`"),
            Presence::Default(value) if value.as_array().is_some_and(Vec::is_empty) => "none".to_owned(),
            Presence::Default(value) => format!("`{value}`"),
        };
        let (kind, doc) = (cell(&field.kind), cell(&field.doc));
        let _ = writeln!(page, "| `{}` | {kind} | {default} | {doc} |", field.name);
    }
    page.push('\n');
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}
