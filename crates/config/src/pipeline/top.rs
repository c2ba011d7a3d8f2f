//! The fields of a pipeline file's top level.

use std::net::SocketAddr;
use std::time::Duration;

use millstream_core::Delivery;
use serde_json::{Value as Json, json};

use super::connection::ConnectionSpec;
use super::model::ModelSpec;
use super::output::{DeadLettersSpec, OutputSpec};
use super::source::SourceSpec;
use super::step::StepSpec;
use super::table::TableSpec;
use super::{Attempt, Attempts};
use crate::codes::{OUT_OF_RANGE, WRONG_TYPE};
use crate::decode::{Cx, Decode, Map, Name, Whole, choice, choice_schema, scalar, seen};
use crate::diagnostic::Diagnostic;
use crate::span::{Span, Spanned};
use crate::text::Text;
use crate::tree::Node;
use crate::{spec, spec_enum};

spec! {
    /// A Millstream pipeline: events come from a source, pass the steps, and go to the outputs.
    pub(crate) struct PipelineSpec {
        /// The pipeline's name. Commits and state are found by it: a pipeline with another name starts anew.
        pipeline: Attempt<Spanned<Name>> = required,
        /// What is promised when a process crashes and starts again.
        delivery: Spanned<Delivery> = default(Spanned::new(Delivery::ExactlyOnce, Span::default())),
        /// The folder of the embedded log, commits and snapshots, relative to this file.
        data_dir: Text = default(Text::new(".millstream", Span::default())),
        /// An epoch (the unit of commit) closes when the input is drained, or after this long.
        epoch_max: Positive = default(Positive(Duration::from_millis(50))),
        /// How many rows a micro-batch may have. It changes speed, never results.
        batch_rows_max: Whole<1, 65536> = default(Whole(4096)),
        /// How long a worker may wait to fill a batch. 0 takes what is there: lowest latency.
        linger: Duration = default(Duration::ZERO),
        /// How many threads share the partitions of the input. It changes speed, never results.
        workers: Whole<1, 1024> = default(Whole(1)),
        /// How often state is written down, so that a restart has less to compute again.
        snapshot_every: Positive = default(Positive(Duration::from_secs(60))),
        /// How many snapshots are kept.
        snapshots_keep: Whole<1, 1000> = default(Whole(2)),
        /// What a commit survives.
        durability: Durability = default(Durability::Process),
        /// Where the log's HTTP API listens while the pipeline runs: a loopback address (port 0 takes a free one), or `off`.
        http: HttpAddress = default(HttpAddress(Some(SocketAddr::from(([127, 0, 0, 1], 0))))),
        /// Where snapshots go: a folder, or a URL of S3 (`s3://bucket/prefix`), Google Cloud (`gs://…`) or Azure
        /// (`az://container/prefix`), whose credentials come from the environment. Processes on several machines need one
        /// that all of them reach. Default: `state` in the data directory.
        state: Text = optional,
        /// How many other processes keep a warm copy of each partition's state, so that they take over at once. For Kafka sources.
        standby: Spanned<Whole<0, 8>> = default(Spanned::new(Whole(0), Span::default())),
        /// How systems outside are reached, for sources and outputs to share.
        connections: Attempts<ConnectionSpec> = default(Map::default()),
        /// Where events come from; exactly one in this version.
        sources: Attempt<Attempts<SourceSpec>> = required,
        /// Reference data to join with.
        tables: Attempts<TableSpec> = default(Map::default()),
        /// The models that steps predict with.
        models: Attempts<ModelSpec> = default(Map::default()),
        /// What happens to events, in order.
        steps: Vec<StepSpec> = default(Vec::new()),
        /// Where rows go; at least one.
        outputs: Attempt<Attempts<OutputSpec>> = required,
        /// Where events go that can't be read, fail a check or can't be processed: the original bytes with the reason.
        /// Without it the run stops at the first one.
        dead_letters: Attempt<DeadLettersSpec> = optional,
    }
}

spec_enum! {
    /// What a commit survives.
    pub enum Durability {
        /// A crash of the process.
        Process = "process",
        /// A loss of power too (every commit waits for the disk).
        Power = "power",
    }
}

const DELIVERIES: [(&str, Delivery); 3] = [
    ("exactly_once", Delivery::ExactlyOnce),
    ("at_least_once", Delivery::AtLeastOnce),
    ("at_most_once", Delivery::AtMostOnce),
];

impl Decode for Delivery {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        choice(node, cx, &DELIVERIES)
    }

    fn schema() -> Json {
        choice_schema(&[
            ("exactly_once", "Nothing is lost, nothing comes out twice."),
            ("at_least_once", "Nothing is lost; a crash may repeat outputs."),
            ("at_most_once", "Nothing comes out twice; a crash may lose events."),
        ])
    }

    fn describe() -> String {
        crate::suggest::list(DELIVERIES.iter().map(|(name, _)| *name), "or")
    }

    fn show(&self) -> Json {
        json!(self.name())
    }
}

/// A duration longer than zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Positive(pub(crate) Duration);

impl Decode for Positive {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let duration = Duration::decode(node, cx)?;
        if duration.is_zero() {
            let message = format!("{} must be longer than zero, found {}", cx.name(), seen(node));
            cx.error(OUT_OF_RANGE, node.span, message, "for example: `1s`");
            return None;
        }
        Some(Self(duration))
    }

    fn schema() -> Json {
        Duration::schema()
    }

    fn describe() -> String {
        "a duration longer than zero".to_owned()
    }

    fn show(&self) -> Json {
        self.0.show()
    }
}

/// A loopback address, or `off`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HttpAddress(pub(crate) Option<SocketAddr>);

impl Decode for HttpAddress {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let expected = Self::describe();
        let text = &scalar(node, cx, &expected, "127.0.0.1:8080")?.text;
        if text.value == "off" {
            return Some(Self(None));
        }
        let parsed = text.value.parse::<SocketAddr>();
        if let Ok(address) = parsed
            && address.ip().is_loopback()
        {
            return Some(Self(Some(address)));
        }
        let message = format!("{} must be {expected}, found {}", cx.name(), seen(node));
        let code = if parsed.is_ok() { OUT_OF_RANGE } else { WRONG_TYPE };
        let diagnostic = Diagnostic::error(code, node.span, message);
        let diagnostic = match meant(&text.value, parsed.ok()) {
            Some(meant) if !text.is_expanded() => diagnostic.label(format!("did you mean `{meant}`?")),
            _ => diagnostic,
        };
        cx.push(diagnostic.help("the log's HTTP API has no passwords, so it listens on this machine only: `127.0.0.1:PORT`, `[::1]:PORT` or `off`"));
        None
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["127.0.0.1:0", "127.0.0.1:8080", "off"] })
    }

    fn describe() -> String {
        "a loopback address with a port, or `off`".to_owned()
    }

    fn show(&self) -> Json {
        json!(self.0.map_or_else(|| "off".to_owned(), |address| address.to_string()))
    }
}

fn meant(text: &str, address: Option<SocketAddr>) -> Option<String> {
    if let Some(address) = address {
        return Some(format!("127.0.0.1:{}", address.port()));
    }
    if matches!(text, "false" | "no" | "none") {
        return Some("off".to_owned());
    }
    let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok())?;
    Some(format!("127.0.0.1:{port}"))
}
