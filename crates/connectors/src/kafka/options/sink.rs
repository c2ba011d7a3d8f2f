//! `type: kafka` under `outputs:` and `dead_letters:`.

use std::sync::Arc;

use millstream_config::codes::{NO_EFFECT, STRUCTURE};
use millstream_config::decode::{Decode, choice, choice_schema};
use millstream_config::pipeline::{self, ConnectorSpec, Kind};
use millstream_config::tree::Node;
use millstream_config::{Cx, Diagnostic, Map, Span, Spanned, Text, Whole, spec, spec_enum};
use millstream_core::{Delivery, Encoder, Receipt, Result, Sink, TaskId};
use serde_json::{Value as Json, json};

use super::connection::{Brokers, Reached, reach};
use super::topic::check_topic;
use crate::codec::{self, EncodeContext, OutputFormat, Timestamps};
use crate::codes::BAD_OPTION;
use crate::env::Env;
use crate::file::{no_parquet, output_format, timestamps};
use crate::kafka::output::{Acks, Compression, KafkaOutput, Partitioner};
use crate::kafka::security::SecurityOptions;
use crate::kafka::{open, probe};
use crate::registry::{SinkConnector, kind, shared};
use crate::spec::SinkSpec;

spec! {
    /// A topic of Kafka. Under `exactly_once` its records belong to the transaction that commits the epoch: consumers with
    /// `isolation.level=read_committed` see them once.
    pub(crate) struct KafkaSinkOptions {
        /// One of `connections:`. Or write `brokers` and `security` here.
        connection: Text = optional,
        /// Brokers to begin with, where no `connection` is named.
        brokers: Brokers = optional,
        /// How the connection is encrypted and who this side is, where no `connection` is named.
        security: SecurityOptions = optional,
        /// Properties of librdkafka, where no `connection` is named.
        client: Spanned<Map<Text>> = optional,
        /// The topic to write. It must exist, unless `partitions` is given.
        topic: Spanned<String> = required,
        /// How many partitions the topic is created with if it does not exist; if it does, it must have as many.
        partitions: Whole<1, 10000> = optional,
        /// How many brokers keep a copy of a topic that is created. Default: as the brokers are configured.
        replication: Spanned<Whole<1, 100>> = optional,
        /// The column that is the records' key. Default: the input record's key.
        key: Spanned<String> = optional,
        /// What decides a record's partition. Default: `murmur2` with `key`, `input` otherwise.
        partitioner: Spanned<PartitionerName> = optional,
        /// The column that is the number of the record's partition, instead of a `partitioner`.
        partition: Spanned<String> = optional,
        /// Headers of the records, each with the column of its text. A column that is null gives no header.
        headers: Map<Spanned<String>> = default(Map::default()),
        /// How batches of records are compressed.
        compression: CompressionName = default(CompressionName::Lz4),
        /// Who must have a record before it counts as written.
        acks: Spanned<AcksName> = default(Spanned::new(AcksName(Acks::All), Span::default())),
    }
}

spec_enum! {
    /// What decides a record's partition.
    pub(crate) enum PartitionerName {
        /// The key, as Java's clients do it; records without a key go as with `input`.
        Murmur2 = "murmur2",
        /// The partition of the input that the record came from (modulo, where the output has fewer).
        Input = "input",
    }
}

spec_enum! {
    /// How batches are compressed.
    pub(crate) enum CompressionName {
        /// Not at all.
        None = "none",
        /// Slow and small.
        Gzip = "gzip",
        /// Fast.
        Snappy = "snappy",
        /// Fastest.
        Lz4 = "lz4",
        /// Smallest.
        Zstd = "zstd",
    }
}

/// `all` or `1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AcksName(Acks);

const ACKS: [(&str, Acks); 2] = [("all", Acks::All), ("1", Acks::Leader)];

impl Decode for AcksName {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        choice(node, cx, &ACKS).map(Self)
    }

    fn schema() -> Json {
        let words = choice_schema(&[
            ("all", "All replicas that are in sync."),
            ("1", "The leader alone. What only the leader has is lost when it fails. Needs `delivery: at_least_once`."),
        ]);
        json!({ "anyOf": [words, { "const": 1 }] })
    }

    fn describe() -> String {
        "`all` or `1`".to_owned()
    }

    fn show(&self) -> Json {
        json!(if self.0 == Acks::All { "all" } else { "1" })
    }
}

/// `type: kafka` under `outputs:` and `dead_letters:`
pub(crate) struct KafkaSinkConnector;

impl SinkConnector for KafkaSinkConnector {
    fn kind(&self) -> Kind {
        kind::<KafkaSinkOptions>("kafka")
    }

    fn check(&self, spec: &ConnectorSpec, cx: &mut Cx) -> Option<Box<dyn SinkSpec>> {
        let options: KafkaSinkOptions = spec.fields.decode(cx)?;
        let problems = cx.diagnostics().error_count();
        let format = output_format(spec, "");
        let _ = check_topic(&options.topic, cx);
        let _ = no_parquet(spec, format, "a topic holds records", cx);
        fits(spec, &options, cx);
        let client = options.client.map_or_else(Map::default, |client| client.value);
        let reached = reach(
            spec,
            Reached { connection: options.connection, brokers: options.brokers, security: options.security, client },
            cx,
        );
        if cx.diagnostics().error_count() > problems {
            return None;
        }
        let (mut connection, client) = reached?;
        connection.properties.0.extend(client.0);
        let partitioner = match (&options.partition, options.partitioner, &options.key) {
            (Some(_), ..) => Partitioner::Column,
            (None, Some(Spanned { value: PartitionerName::Murmur2, .. }), _) | (None, None, Some(_)) => {
                Partitioner::Murmur2
            }
            (None, Some(Spanned { value: PartitionerName::Input, .. }), _) | (None, None, None) => Partitioner::Input,
        };
        let compression = match options.compression {
            CompressionName::None => Compression::None,
            CompressionName::Gzip => Compression::Gzip,
            CompressionName::Snappy => Compression::Snappy,
            CompressionName::Lz4 => Compression::Lz4,
            CompressionName::Zstd => Compression::Zstd,
        };
        Some(Box::new(KafkaSinkSpec {
            output: KafkaOutput {
                connection,
                topic: options.topic.value,
                partitioner,
                compression,
                acks: options.acks.value.0,
                partitions: options.partitions.map(|p| p.0 as u32),
                replication: options.replication.map(|r| r.value.0 as u16),
            },
            key: options.key.map(|key| key.value),
            partition: options.partition.map(|column| column.value),
            headers: options.headers.0.into_iter().map(|(name, column)| (name.value, column.value)).collect(),
            format,
            timestamps: timestamps(shared::<pipeline::Timestamps>(spec, "timestamps")),
        }))
    }
}

/// Says which fields don't go together.
fn fits(spec: &ConnectorSpec, options: &KafkaSinkOptions, cx: &mut Cx) {
    if spec.fields.owner() == "`dead_letters`" {
        let why = "dead letters keep the key and the headers of the original record";
        for field in ["key", "partitioner", "partition", "headers"] {
            if let Some(entry) = spec.fields.get(field) {
                cx.error(NO_EFFECT, entry.key.span, why, format!("remove `{field}`"));
            }
        }
    }
    if let (Some(partitioner), Some(partition)) = (&options.partitioner, &options.partition) {
        cx.push(
            Diagnostic::error(STRUCTURE, partition.span, "both `partition` and `partitioner` are given")
                .related(partitioner.span, "the other one")
                .help("leave one of the two away"),
        );
    }
    if let Some(replication) = options.replication.as_ref().filter(|_| options.partitions.is_none()) {
        let message = "`replication` has no effect without `partitions`: only then the topic is created";
        cx.error(NO_EFFECT, replication.span, message, "add `partitions:`, or remove `replication`");
    }
    if let (Some(client), Some(connection)) = (&options.client, &options.connection) {
        let message = "`client` has no place beside `connection`: one producer writes all outputs of a connection";
        cx.push(
            Diagnostic::error(STRUCTURE, client.span, message)
                .related(connection.span, "this connection")
                .help("move the properties to the connection's `client:`"),
        );
    }
    for (name, _) in options.headers.iter() {
        if name.value.is_empty() || name.value.contains('\0') {
            cx.error(BAD_OPTION, name.span, "a header needs a name without zero bytes", "give it one");
        }
    }
    if options.acks.value.0 == Acks::Leader {
        let message =
            "with `acks: 1` what only the leader of a partition has is lost when it fails, and nobody is told";
        cx.push(Diagnostic::warning(BAD_OPTION, options.acks.span, message).help("`acks: all` keeps at_least_once"));
    }
}

struct KafkaSinkSpec {
    output: KafkaOutput,
    key: Option<String>,
    partition: Option<String>,
    headers: Vec<(String, String)>,
    format: OutputFormat,
    timestamps: Timestamps,
}

impl SinkSpec for KafkaSinkSpec {
    fn delivery(&self) -> Delivery {
        match self.output.acks {
            Acks::All => Delivery::ExactlyOnce,
            Acks::Leader => Delivery::AtLeastOnce,
        }
    }

    fn describe(&self) -> String {
        format!("Kafka topic `{}` at {}", self.output.topic, self.output.connection.brokers())
    }

    fn format(&self) -> OutputFormat {
        self.format
    }

    fn timestamps(&self) -> Timestamps {
        self.timestamps
    }

    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    fn partition_column(&self) -> Option<&str> {
        self.partition.as_deref()
    }

    fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    fn kafka(&self) -> Option<&KafkaOutput> {
        Some(&self.output)
    }

    fn boundaries(&self) -> bool {
        true
    }

    fn probe(&self, env: &Env) -> Result<()> {
        probe::output(&self.output, env)
    }

    fn open(&self, env: &Arc<Env>, tasks: Option<u32>, context: &EncodeContext) -> Result<Box<dyn Sink>> {
        open::sink(&self.output, env, tasks, context)
    }

    fn encoder(&self, context: &EncodeContext) -> Result<Box<dyn Encoder>> {
        codec::encoder(context)
    }

    /// A topic keeps its records: others may have read them.
    fn discard(&self, _env: &Env, _committed: &[(TaskId, Receipt)]) -> Result<()> {
        Ok(())
    }
}
