//! librdkafka properties by name. What they hold may be a secret, so it is never printed.
//!
//! There is no list of them to maintain: each is tried on a configuration of its own, and librdkafka says what it thinks
//! of it. Only those that Millstream sets itself are listed here, with the reason.

use std::collections::BTreeMap;
use std::fmt;

use millstream_config::codes::DUPLICATE;
use millstream_config::{Cx, Diagnostic, Map, Text, suggest};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use super::native::property_names;
use super::security::Security;
use crate::codes::{KAFKA_OWNED_PROPERTY, KAFKA_PROPERTY};

/// Properties of a `client:`, checked against librdkafka. `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Properties(pub(crate) BTreeMap<String, String>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Properties {
    /// Sets all of them.
    pub(crate) fn apply(&self, config: &mut ClientConfig) {
        config.extend(self.0.clone());
    }
}

/// Properties that Millstream sets itself, and what to do instead.
const OWNED: &[(&[&str], &str)] = &[
    (&["bootstrap.servers", "metadata.broker.list"], "write `brokers:`"),
    (&["client.id"], "it names the pipeline and the process, so that the broker's tools show who is who"),
    (&["group.id"], "write `group:` in the source"),
    (&["group.instance.id"], "write `static_membership: true` in the source"),
    (&["group.protocol"], "write `protocol:` in the source"),
    (&["session.timeout.ms", "group.session.timeout.ms"], "write `session_timeout:` in the source"),
    (&["partition.assignment.strategy"], "partitions move one by one (cooperative-sticky), so that only they pause"),
    (&["auto.offset.reset"], "write `start:` in the source; a position that is gone is an error, never a jump"),
    (
        &["enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms", "enable.auto.offset.store"],
        "positions are committed with the outputs of their epoch",
    ),
    (&["offset.store.method", "offset.store.path", "offset.store.sync.interval.ms"], "positions are kept in Kafka"),
    (&["isolation.level"], "what is not committed is never read"),
    (&["enable.partition.eof"], "the end of a partition is how a reader knows that it is caught up"),
    (&["transactional.id", "transaction.timeout.ms"], "it fences off a process that is cut off and comes back"),
    (
        &["enable.idempotence", "enable.gapless.guarantee"],
        "producers are always idempotent, so that a retry repeats nothing",
    ),
    (&["acks", "request.required.acks"], "write `acks:` in the output"),
    (
        &["retries", "message.send.max.retries", "message.timeout.ms", "delivery.timeout.ms"],
        "a record is tried until its transaction ends",
    ),
    (&["compression.codec", "compression.type"], "write `compression:` in the output"),
    (&["partitioner"], "write `partitioner:` in the output"),
    (&["allow.auto.create.topics"], "a topic is created only where `partitions:` says so"),
    (
        &["security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password"],
        "write `security:` beside `brokers:`",
    ),
    (
        &["enabled_events", "delivery.report.only.error", "plugin.library.paths"],
        "it is how Millstream drives librdkafka",
    ),
];

/// Checks a `client:`. Every mistake is said to `cx`; then the result is `None`.
pub(crate) fn check(client: &Map<Text>, security: &Security, cx: &mut Cx) -> Option<Properties> {
    let mut properties = Properties::default();
    let mut good = true;
    for (name, value) in client.iter() {
        let mut refuse = |diagnostic: Diagnostic| {
            cx.push(diagnostic);
            good = false;
        };
        if let Some((_, why)) = OWNED.iter().find(|(names, _)| names.contains(&name.value.as_str())) {
            let message = format!("`{}` is set by Millstream", name.value);
            refuse(Diagnostic::error(KAFKA_OWNED_PROPERTY, name.span, message).help(*why));
        } else if security.sets(&name.value) {
            let message = format!("`{}` is said twice: `security:` sets it too", name.value);
            refuse(Diagnostic::error(DUPLICATE, name.span, message).help("leave one of the two away"));
        } else {
            match tried(&name.value, &value.value) {
                Ok(()) => drop(properties.0.insert(name.value.clone(), value.value.clone())),
                Err(Refused::Unknown) => refuse(unknown(name)),
                Err(Refused::Invalid(why)) => {
                    // What came out of a variable may be a secret.
                    let why = if value.is_expanded() { why.replace(&value.value, value.shown()) } else { why };
                    let message = format!("`{}` can't be `{}`: {}", name.value, value.shown(), plain(&why));
                    refuse(
                        Diagnostic::error(KAFKA_PROPERTY, value.span, message)
                            .help("librdkafka's CONFIGURATION.md says what each property may be"),
                    );
                }
            }
        }
    }
    good.then_some(properties)
}

enum Refused {
    Unknown,
    Invalid(String),
}

/// What librdkafka says to a property.
fn tried(name: &str, value: &str) -> Result<(), Refused> {
    let mut config = ClientConfig::new();
    config.set(name, value);
    let Err(error) = config.create_native_config() else { return Ok(()) };
    let KafkaError::ClientConfig(_, why, ..) = error else { return Err(Refused::Invalid(error.to_string())) };
    if why.starts_with("No such configuration property") { Err(Refused::Unknown) } else { Err(Refused::Invalid(why)) }
}

fn unknown(name: &millstream_config::Spanned<String>) -> Diagnostic {
    let message = format!("librdkafka has no property `{}`", name.value);
    let diagnostic = Diagnostic::error(KAFKA_PROPERTY, name.span, message);
    let names = property_names();
    match suggest::nearest(&name.value, names.iter().map(String::as_str)) {
        Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
        None => {
            diagnostic.help("librdkafka's CONFIGURATION.md lists them; those of Java's clients often have other names")
        }
    }
}

/// A sentence of librdkafka's as a clause.
fn plain(why: &str) -> String {
    let mut chars = why.trim().trim_end_matches('.').replace('"', "`").chars().collect::<Vec<_>>();
    if let Some(first) = chars.first_mut() {
        *first = first.to_ascii_lowercase();
    }
    chars.into_iter().collect()
}
