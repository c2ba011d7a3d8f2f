//! `type: kafka` under `sources:`.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_config::codes::{DUPLICATE, MISSING_FIELD, NO_EFFECT, OUT_OF_RANGE, STRUCTURE};
use millstream_config::pipeline::{ConnectorSpec, Kind, SourceFormat};
use millstream_config::{Cx, Diagnostic, Map, Spanned, Text, spec, spec_enum};
use millstream_core::{Delivery, Error, Result, RowSchema, Source};

use super::connection::{Brokers, Reached, reach};
use super::start::StartOption;
use super::topic::{check_pattern, check_topic};
use crate::codec::InputFormat;
use crate::codes::BAD_OPTION;
use crate::env::Env;
use crate::file::declared_format;
use crate::kafka::input::{KafkaInput, Protocol, Start, Topics};
use crate::kafka::security::SecurityOptions;
use crate::kafka::{open, probe};
use crate::registry::{SourceConnector, kind, shared};
use crate::spec::SourceSpec;

/// The bounds of a session timeout: below, a pause of the machine looks like a death; above, brokers refuse.
const SESSION_TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(1800);

spec! {
    /// Topics of Kafka, shared out to all processes that run the pipeline.
    pub(crate) struct KafkaSourceOptions {
        /// One of `connections:`. Or write `brokers` and `security` here.
        connection: Text = optional,
        /// Brokers to begin with, where no `connection` is named.
        brokers: Brokers = optional,
        /// How the connection is encrypted and who this side is, where no `connection` is named.
        security: SecurityOptions = optional,
        /// The topic to read. One of `topic`, `topics` and `pattern` must be there.
        topic: Spanned<String> = optional,
        /// The topics to read.
        topics: Spanned<Vec<Spanned<String>>> = optional,
        /// Read all topics whose whole names match this POSIX extended regular expression, new ones too.
        pattern: Spanned<String> = optional,
        /// The consumer group. Default: the pipeline's name.
        group: Spanned<String> = optional,
        /// Where a pipeline begins that has never committed: `earliest`, `latest`, `{ timestamp: 2026-01-01T00:00:00Z }`
        /// (or milliseconds since 1970), `{ offsets: { 0: 12 } }` (partitions that are not named begin at the oldest
        /// record).
        start: Spanned<StartOption> = default(Spanned::new(StartOption(Start::Earliest), millstream_config::Span::default())),
        /// How the group shares partitions out.
        protocol: Spanned<GroupProtocol> = default(Spanned::new(GroupProtocol::Classic, millstream_config::Span::default())),
        /// Whether a process that starts again within `session_timeout` takes its old place, without a rebalance. Needs
        /// `protocol: classic`.
        static_membership: Spanned<bool> = default(Spanned::new(false, millstream_config::Span::default())),
        /// After how long without a sign of life a process counts as dead and others take over. Default: 10s, and 45s with
        /// `static_membership`.
        session_timeout: Spanned<Duration> = optional,
        /// Whether to stop at the end that each partition has when it is first read.
        bounded: Spanned<bool> = default(Spanned::new(false, millstream_config::Span::default())),
        /// Properties of librdkafka for this source, above those of the connection.
        client: Map<Text> = default(Map::default()),
    }
}

spec_enum! {
    /// How a group shares partitions out.
    pub(crate) enum GroupProtocol {
        /// The members agree among themselves (cooperative-sticky).
        Classic = "classic",
        /// The broker decides (KIP-848; Kafka 4.0 and later).
        Consumer = "consumer",
    }
}

/// `type: kafka` under `sources:`
pub(crate) struct KafkaSourceConnector;

impl SourceConnector for KafkaSourceConnector {
    fn kind(&self) -> Kind {
        kind::<KafkaSourceOptions>("kafka")
    }

    fn check(&self, spec: &ConnectorSpec, cx: &mut Cx) -> Option<Box<dyn SourceSpec>> {
        let options: KafkaSourceOptions = spec.fields.decode(cx)?;
        let problems = cx.diagnostics().error_count();
        let topics = topics(spec, &options, cx);
        start(&options, topics.as_ref(), cx);
        group(&options, cx);
        let own = Reached {
            connection: options.connection,
            brokers: options.brokers,
            security: options.security,
            client: options.client,
        };
        let reached = reach(spec, own, cx);
        if cx.diagnostics().error_count() > problems {
            return None;
        }
        let (connection, client) = reached?;
        let protocol = match options.protocol.value {
            GroupProtocol::Classic => Protocol::Classic,
            GroupProtocol::Consumer => Protocol::Consumer,
        };
        let input = KafkaInput {
            connection,
            topics: topics?,
            start: options.start.value.0,
            group: options.group.map(|group| group.value),
            protocol,
            static_membership: options.static_membership.value,
            session_timeout: options.session_timeout.map(|timeout| timeout.value),
            bounded: options.bounded.value,
            client,
        };
        let format = shared(spec, "format").unwrap_or(SourceFormat::Json);
        Some(Box::new(KafkaSourceSpec { input, format }))
    }
}

/// Which topics; one way of saying so, and only one.
fn topics(spec: &ConnectorSpec, options: &KafkaSourceOptions, cx: &mut Cx) -> Option<Topics> {
    let written: Vec<_> = ["topic", "topics", "pattern"].iter().filter_map(|name| spec.fields.get(name)).collect();
    match written.as_slice() {
        [] => {
            let message = format!("{} does not say which topic to read", spec.fields.owner());
            let help = "write `topic: NAME`, `topics: [ONE, TWO]` or `pattern: \"tx-.*\"`";
            cx.error(MISSING_FIELD, spec.fields.owner_span(), message, help);
            return None;
        }
        [_] => {}
        [first, second, ..] => {
            let message = format!("both `{}` and `{}` are given", first.key.value, second.key.value);
            cx.push(
                Diagnostic::error(STRUCTURE, second.key.span, message)
                    .related(first.key.span, "the other one")
                    .help("leave one of the two away"),
            );
            return None;
        }
    }
    if let Some(topic) = &options.topic {
        check_topic(topic, cx)?;
        return Some(Topics::Named(vec![topic.value.clone()]));
    }
    if let Some(pattern) = &options.pattern {
        check_pattern(pattern, cx)?;
        return Some(Topics::Pattern(pattern.value.clone()));
    }
    named(options.topics.as_ref()?, cx)
}

fn named(topics: &Spanned<Vec<Spanned<String>>>, cx: &mut Cx) -> Option<Topics> {
    if topics.value.is_empty() {
        cx.error(STRUCTURE, topics.span, "`topics` names no topic", "write at least one: `topics: [payments]`");
        return None;
    }
    let mut good = true;
    // Tasks are told apart by the checksum of their topic's name.
    let mut seen: BTreeMap<u32, &Spanned<String>> = BTreeMap::new();
    for topic in &topics.value {
        good &= check_topic(topic, cx).is_some();
        let Some(first) = seen.insert(crc32c::crc32c(topic.value.as_bytes()), topic) else { continue };
        good = false;
        let same = first.value == topic.value;
        let message = match same {
            true => format!("the topic `{}` is named twice", topic.value),
            false => format!("the topics `{}` and `{}` have the same checksum", first.value, topic.value),
        };
        let help = if same { "name it once" } else { "read them with two pipelines" };
        cx.push(Diagnostic::error(DUPLICATE, topic.span, message).related(first.span, "the first one").help(help));
    }
    good.then(|| Topics::Named(topics.value.iter().map(|topic| topic.value.clone()).collect()))
}

fn start(options: &KafkaSourceOptions, topics: Option<&Topics>, cx: &mut Cx) {
    let start = &options.start;
    if options.bounded.value && start.value.0 == Start::Latest {
        let message = "`start: latest` with `bounded: true` would never read anything";
        cx.push(Diagnostic::error(BAD_OPTION, start.span, message).help("leave one of the two away"));
    }
    if matches!(start.value.0, Start::Offsets(_)) && topics.is_some_and(Topics::several) {
        let message = "`start` has offsets, which belong to one topic, and this source may read several";
        cx.push(Diagnostic::error(BAD_OPTION, start.span, message).help("name one `topic`, or start at a `timestamp`"));
    }
}

fn group(options: &KafkaSourceOptions, cx: &mut Cx) {
    if let Some(timeout) = &options.session_timeout
        && !SESSION_TIMEOUT.contains(&timeout.value)
    {
        let shown = millstream_config::duration::show(timeout.value);
        let message = format!("`session_timeout` must be from 1s to 30m, found {shown}");
        cx.error(OUT_OF_RANGE, timeout.span, message, "brokers allow 6s to 30m unless they are configured otherwise");
    }
    if options.protocol.value == GroupProtocol::Classic {
        return;
    }
    if options.static_membership.value {
        let message = "`static_membership` and `protocol: consumer` don't go together: a process that starts again would \
                       be refused until its predecessor's session ends";
        let help = "write `protocol: classic`, or leave `static_membership` away";
        cx.push(
            Diagnostic::error(STRUCTURE, options.static_membership.span, message)
                .related(options.protocol.span, "this protocol")
                .help(help),
        );
    }
    if let Some(timeout) = &options.session_timeout {
        let message = "`session_timeout` has no effect with `protocol: consumer`: the broker sets it";
        let help = "remove it, and set `consumer.session.timeout.ms` of the group with Kafka's tools";
        cx.error(NO_EFFECT, timeout.span, message, help);
    }
}

struct KafkaSourceSpec {
    input: KafkaInput,
    format: SourceFormat,
}

impl SourceSpec for KafkaSourceSpec {
    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    fn bounded(&self) -> bool {
        self.input.bounded
    }

    fn describe(&self) -> String {
        let topics = match &self.input.topics {
            Topics::Pattern(pattern) => format!("Kafka topics like `{pattern}`"),
            Topics::Named(names) => {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                format!("Kafka topic{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
            }
        };
        format!("{topics} at {}", self.input.connection.brokers())
    }

    fn declared_partitions(&self) -> Option<u32> {
        None
    }

    fn declared_format(&self, schema: &RowSchema) -> InputFormat {
        declared_format(self.format, schema)
    }

    /// Records of a topic have no header: their fields stand in the order of the schema.
    fn input_format(&self, _env: &Env, schema: &RowSchema) -> Result<InputFormat> {
        Ok(self.declared_format(schema))
    }

    fn probe(&self, env: &Env) -> Result<()> {
        probe::input(&self.input, env)
    }

    fn doubts(&self, env: &Env, snapshot_every: Duration) -> Result<Vec<Error>> {
        probe::doubts(&self.input, env, snapshot_every)
    }

    fn partitions(&self, env: &Env) -> Result<u32> {
        probe::partitions(&self.input, env)
    }

    fn open(&self, env: &Env, partition: u32) -> Result<Box<dyn Source>> {
        open::partition(&self.input, env, partition)
    }

    fn kafka(&self) -> Option<&KafkaInput> {
        Some(&self.input)
    }
}
