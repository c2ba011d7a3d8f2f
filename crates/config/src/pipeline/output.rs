//! What stands under `outputs:` and `dead_letters:`.

use serde_json::{Value as Json, json};

use super::ConnectorSpec;
use super::model::without_other_kind;
use super::source::connector;
use crate::decode::{Cx, Decode};
use crate::span::Spanned;
use crate::text::Text;
use crate::tree::Node;
use crate::{spec, spec_enum};

spec! {
    /// Where rows go.
    pub(crate) struct OutputFields {
        /// The connector.
        r#type: Spanned<String> = required,
        /// Whose rows it takes: the source or a step. Default: the last step, or the source.
        from: Text = optional,
        /// An SQL condition; only rows for which it is true are written.
        r#where: Text = optional,
        /// What is written of a row: SQL select items, such as `card_id` or `score AS s`. Default: all columns.
        select: Vec<Text> = optional,
        /// What is written next to the row's own columns. Default: `row`.
        include: Spanned<Include> = optional,
        /// How rows are written. Default: by the file's extension, `json` otherwise.
        format: Spanned<OutputFormat> = optional,
        /// How timestamps are written in JSON and CSV. Default: `epoch`.
        timestamps: Spanned<Timestamps> = optional,
    }
}

spec! {
    /// Where events go that can't be used: the original bytes, key and headers, with origin, step, error code and message.
    pub(crate) struct DeadLettersFields {
        /// The connector.
        r#type: Spanned<String> = required,
        /// How they are written. Default: by the file's extension, `json` otherwise.
        format: Spanned<OutputFormat> = optional,
    }
}

spec_enum! {
    /// What is written next to a row's own columns.
    pub enum Include {
        /// Nothing.
        Row = "row",
        /// The fields of the original JSON event; the row's columns win.
        Event = "event",
    }
}

spec_enum! {
    /// How rows are written.
    pub enum OutputFormat {
        /// One JSON object a line or record.
        Json = "json",
        /// Comma-separated values (RFC 4180) with a header.
        Csv = "csv",
        /// Apache Parquet.
        Parquet = "parquet",
    }
}

spec_enum! {
    /// How timestamps are written.
    pub enum Timestamps {
        /// As whole numbers since 1970-01-01T00:00:00Z, in the column's own unit.
        Epoch = "epoch",
        /// As strings such as `2025-06-02T08:00:00.123Z`.
        Rfc3339 = "rfc3339",
    }
}

/// An output: the fields all have, and the connector's own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OutputSpec {
    pub(crate) common: OutputFields,
    pub(crate) connector: ConnectorSpec,
}

impl Decode for OutputSpec {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let (common, connector) = connector(node, cx, |common: &OutputFields| &common.r#type)?;
        Some(Self { common, connector })
    }

    fn schema() -> Json {
        // Which fields an output may have depends on its connector: see `schema.rs`.
        json!({ "type": "object" })
    }

    fn describe() -> String {
        "a map of fields".to_owned()
    }
}

/// The dead-letter output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeadLettersSpec {
    pub(crate) common: DeadLettersFields,
    pub(crate) connector: ConnectorSpec,
    pub(crate) span: crate::span::Span,
}

impl Decode for DeadLettersSpec {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let node = &without_other_kind::<DeadLettersFields, OutputFields>(node, cx, "dead letters");
        let span = cx.key_span().unwrap_or(node.span);
        let (common, connector) = connector(node, cx, |common: &DeadLettersFields| &common.r#type)?;
        Some(Self { common, connector, span })
    }

    fn schema() -> Json {
        json!({ "type": "object" })
    }

    fn describe() -> String {
        "a map of fields".to_owned()
    }
}
