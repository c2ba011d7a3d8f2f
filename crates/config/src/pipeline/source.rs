//! What stands under `sources:`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::ConnectorSpec;
use super::column::ColumnSpec;
use super::top::Positive;
use crate::decode::{Cx, Decode, Map};
use crate::span::Spanned;
use crate::spec::{Fields, Reader, Spec};
use crate::text::Text;
use crate::tree::Node;
use crate::{spec, spec_enum};

spec! {
    /// Where events come from.
    pub(crate) struct SourceFields {
        /// The connector.
        r#type: Spanned<String> = required,
        /// How an event is written. Default: by the file's extension, `json` otherwise.
        format: Spanned<SourceFormat> = optional,
        /// Whether an event is refused that has a field which the schema does not declare.
        strict: bool = default(false),
        /// The columns of an event in order: each name with a type, or with a map of more.
        schema: Map<ColumnSpec> = required,
        /// The column that says when an event happened, a timestamp. Windows follow this time.
        event_time: Text = optional,
        /// How far out of order events may come. One that comes later than that is late.
        lateness: Spanned<Duration> = optional,
        /// After how long without events, its end having been read, an input stops holding time back. Default: never.
        idle_after: Spanned<Positive> = optional,
        /// The column that is an event's key. Events with the same key are processed in order, by one worker.
        key: Text = optional,
        /// Named SQL conditions over the columns. An event for which one is false is refused; NULL passes, as in an SQL CHECK.
        checks: Map<Text> = default(Map::default()),
    }
}

spec_enum! {
    /// How an event of a source is written.
    pub enum SourceFormat {
        /// One JSON object a line or record.
        Json = "json",
        /// Comma-separated values (RFC 4180); the first line of a file is the header.
        Csv = "csv",
    }
}

/// A source: the fields all have, and the connector's own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SourceSpec {
    pub(crate) common: SourceFields,
    pub(crate) connector: ConnectorSpec,
}

impl Decode for SourceSpec {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let (common, connector) = connector(node, cx, |common: &SourceFields| &common.r#type)?;
        Some(Self { common, connector })
    }

    fn schema() -> Json {
        // Which fields a source may have depends on its connector: see `schema.rs`.
        json!({ "type": "object" })
    }

    fn describe() -> String {
        "a map of fields".to_owned()
    }
}

/// Reads the common fields of a connector and keeps all of them for the connector itself.
pub(crate) fn connector<T: Spec>(
    node: &Node,
    cx: &mut Cx,
    kind: impl Fn(&T) -> &Spanned<String>,
) -> Option<(T, ConnectorSpec)> {
    let mut reader = Reader::open(node, cx)?;
    let common = T::read(&mut reader, cx);
    let fields = Fields::of(&reader, cx);
    let common = common?;
    let kind = kind(&common).clone();
    Some((common, ConnectorSpec { kind, fields, connections: Arc::default() }))
}
