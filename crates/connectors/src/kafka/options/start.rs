//! `start:`: a word, a time or offsets.

use std::collections::BTreeMap;

use millstream_config::codes::{OUT_OF_RANGE, STRUCTURE, UNKNOWN_CHOICE, UNKNOWN_FIELD, WRONG_TYPE};
use millstream_config::decode::{Cx, Decode, Place, scalar, seen};
use millstream_config::tree::{Entry, Meaning, Node, Value};
use millstream_config::{Diagnostic, Whole, suggest};
use serde_json::{Value as Json, json};

use crate::kafka::input::Start;

/// Numbers below this are taken for seconds: as milliseconds they are days of 1970.
const LEAST_MS: i128 = 100_000_000_000;
const EXAMPLES: &str = "write `earliest`, `latest`, `{ timestamp: 2026-01-01T00:00:00Z }` or `{ offsets: { 0: 12 } }`";

/// Where a pipeline begins that has never committed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StartOption(pub(crate) Start);

impl Decode for StartOption {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Scalar(_) => word(node, cx),
            Value::Map(entries) => match entries.as_slice() {
                [one] => one_of(one, cx),
                _ => {
                    let message = format!("{} has {} of `timestamp` and `offsets`", cx.name(), how_many(entries.len()));
                    let span = cx.key_span().unwrap_or(node.span);
                    cx.error(STRUCTURE, span, message, EXAMPLES);
                    None
                }
            },
            Value::List(_) | Value::Invalid => {
                cx.wrong_type(node, &Self::describe(), "`start: earliest`");
                None
            }
        }
        .map(Self)
    }

    fn schema() -> Json {
        json!({ "anyOf": [
            { "enum": ["earliest", "latest"] },
            {
                "type": "object",
                "properties": {
                    "timestamp": { "type": ["string", "integer"] },
                    "offsets": { "type": "object", "additionalProperties": { "type": ["integer", "string"] } },
                },
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": false,
            },
        ] })
    }

    fn describe() -> String {
        "`earliest`, `latest`, `{ timestamp: … }` or `{ offsets: { … } }`".to_owned()
    }

    fn show(&self) -> Json {
        match &self.0 {
            Start::Earliest => json!("earliest"),
            Start::Latest => json!("latest"),
            Start::Timestamp(ms) => json!({ "timestamp": ms }),
            Start::Offsets(offsets) => json!({ "offsets": offsets }),
        }
    }
}

fn how_many(entries: usize) -> &'static str {
    if entries == 0 { "neither" } else { "more than one" }
}

fn word(node: &Node, cx: &mut Cx) -> Option<Start> {
    let text = &scalar(node, cx, &StartOption::describe(), "earliest")?.text;
    match text.value.as_str() {
        "earliest" => return Some(Start::Earliest),
        "latest" => return Some(Start::Latest),
        _ => {}
    }
    let message = format!("{} must be {}, found {}", cx.name(), StartOption::describe(), seen(node));
    let mut diagnostic = Diagnostic::error(UNKNOWN_CHOICE, node.span, message);
    if let Some(near) = suggest::nearest(text.shown(), ["earliest", "latest"]) {
        diagnostic = diagnostic.label(format!("did you mean `{near}`?"));
    }
    cx.push(diagnostic.help(EXAMPLES));
    None
}

fn one_of(entry: &Entry, cx: &mut Cx) -> Option<Start> {
    let place = Place { name: format!("`{}`", entry.key.value), span: entry.key.span };
    match entry.key.value.as_str() {
        "timestamp" => cx.within(place, |cx| timestamp(&entry.node, cx)).map(Start::Timestamp),
        "offsets" => cx.within(place, |cx| offsets(&entry.node, cx)).map(Start::Offsets),
        other => {
            let message = format!("unknown field `{other}` in {}", cx.name());
            let mut diagnostic = Diagnostic::error(UNKNOWN_FIELD, entry.key.span, message);
            if let Some(near) = suggest::nearest(other, ["timestamp", "offsets"]) {
                diagnostic = diagnostic.label(format!("did you mean `{near}`?"));
            }
            cx.push(diagnostic.help(EXAMPLES));
            None
        }
    }
}

fn timestamp(node: &Node, cx: &mut Cx) -> Option<i64> {
    let expected = "a time such as `2026-01-01T00:00:00Z`, or milliseconds since 1970";
    let value = scalar(node, cx, expected, "2026-01-01T00:00:00Z")?;
    match value.meaning() {
        Meaning::Int(ms) if (0..LEAST_MS).contains(&ms) && ms != 0 => {
            let message =
                format!("{} must be milliseconds since 1970, and {} is a day of 1970 to 1973", cx.name(), seen(node));
            cx.error(
                OUT_OF_RANGE,
                node.span,
                message,
                "are these seconds? Multiply by 1000, or write the time as text",
            );
            None
        }
        Meaning::Int(ms) => i64::try_from(ms).ok().filter(|ms| *ms >= 0).or_else(|| {
            let message = format!("{} must be {expected}, found {}", cx.name(), seen(node));
            cx.error(OUT_OF_RANGE, node.span, message, "Kafka knows no times before 1970");
            None
        }),
        _ => {
            let read = chrono::DateTime::parse_from_rfc3339(&value.text.value);
            let ms = read.map(|time| time.timestamp_millis());
            ms.ok().filter(|ms| *ms >= 0).or_else(|| {
                let message = format!("{} must be {expected}, found {}", cx.name(), seen(node));
                cx.error(
                    WRONG_TYPE,
                    node.span,
                    message,
                    "date, time and zone (RFC 3339): `2026-01-01T00:00:00Z`, `2026-01-01T01:00:00+01:00`",
                );
                None
            })
        }
    }
}

fn offsets(node: &Node, cx: &mut Cx) -> Option<BTreeMap<u32, u64>> {
    let Value::Map(entries) = &node.value else {
        cx.wrong_type(node, "a map of partitions, each with an offset", "`{ 0: 12, 1: 0 }`");
        return None;
    };
    let mut offsets = BTreeMap::new();
    let mut good = !entries.is_empty();
    if entries.is_empty() {
        cx.error(STRUCTURE, node.span, "`offsets` names no partition", "for example: `{ 0: 12, 1: 0 }`");
    }
    for entry in entries {
        let partition = entry.key.value.parse::<u32>().ok().filter(|p| i32::try_from(*p).is_ok());
        if partition.is_none() {
            let message = format!("`{}` is not the number of a partition", entry.key.value);
            cx.error(WRONG_TYPE, entry.key.span, message, "partitions are numbered from 0");
        }
        let place = Place { name: format!("the offset of partition {}", entry.key.value), span: entry.key.span };
        let offset = cx.within(place, |cx| Whole::<0, { i64::MAX as u64 }>::decode(&entry.node, cx));
        match (partition, offset) {
            (Some(partition), Some(offset)) => {
                offsets.insert(partition, offset.0);
            }
            _ => good = false,
        }
    }
    good.then_some(offsets)
}
