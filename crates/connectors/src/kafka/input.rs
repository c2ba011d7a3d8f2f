//! What a `kafka` source reads, and how its group works.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use millstream_core::Result;
use rdkafka::ClientConfig;

use super::Connection;
use super::properties::Properties;

/// How long a process that was killed keeps its partitions from others: one that stops in order gives them back at once.
/// Members send a sign of life every fifteenth of it, so that even a machine that is very busy has some before it is over.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for static members: they are to be back before it is over, and Kafka's own default is meant for that.
const SESSION_TIMEOUT_STATIC: Duration = Duration::from_secs(45);

/// A Kafka source, meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaInput {
    /// The cluster.
    pub(crate) connection: Connection,
    pub(crate) topics: Topics,
    pub(crate) start: Start,
    /// `group:`, if it was written; see [`KafkaInput::group`].
    pub(crate) group: Option<String>,
    pub(crate) protocol: Protocol,
    /// Whether a restarted process takes its old place in the group. Never with [`Protocol::Consumer`].
    pub(crate) static_membership: bool,
    /// `session_timeout:`, if it was written. Never with [`Protocol::Consumer`]: there it is the broker's.
    pub(crate) session_timeout: Option<Duration>,
    /// Whether to stop at the end that each partition has when it is first opened.
    pub(crate) bounded: bool,
    /// The source's own `client:`, above that of the connection.
    pub(crate) client: Properties,
}

/// Which topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topics {
    /// These, at least one.
    Named(Vec<String>),
    /// Those whose whole name matches; in librdkafka's dialect (POSIX extended), without `^` and `$`.
    Pattern(String),
}

/// Where a task begins that never committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the oldest record kept.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At the first record with this timestamp or a later one; milliseconds since 1970. At the end if there is none.
    Timestamp(i64),
    /// At these offsets, by partition; partitions that are not named begin at the oldest record. One topic only.
    Offsets(BTreeMap<u32, u64>),
}

/// Which group protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The members agree, cooperative-sticky.
    Classic,
    /// The broker decides (KIP-848).
    Consumer,
}

impl Topics {
    /// What to subscribe to. A name that begins with `^` is a regular expression to librdkafka.
    pub(crate) fn subscription(&self) -> Vec<String> {
        match self {
            Self::Named(names) => names.clone(),
            Self::Pattern(pattern) => vec![format!("^({pattern})$")],
        }
    }

    /// Whether there may be more than one topic: then tasks carry the topic's checksum.
    pub(crate) fn several(&self) -> bool {
        !matches!(self, Self::Named(names) if names.len() == 1)
    }
}

impl KafkaInput {
    /// The cluster.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether the members of the group can be known to each other: `standby:` and `bounded:` go by that.
    pub fn members_are_known(&self) -> bool {
        self.protocol == Protocol::Classic
    }

    /// The group's name, in a pipeline of this name.
    pub(crate) fn group<'a>(&'a self, pipeline: &'a str) -> &'a str {
        self.group.as_deref().unwrap_or(pipeline)
    }

    /// After how long without a sign of life a member counts as dead. Of the classic protocol only.
    pub(crate) fn session_timeout(&self) -> Duration {
        let unless_written = if self.static_membership { SESSION_TIMEOUT_STATIC } else { SESSION_TIMEOUT };
        self.session_timeout.unwrap_or(unless_written)
    }

    /// How the group works and where it begins, for people.
    pub fn explain(&self, pipeline: &str) -> String {
        let protocol = match (self.protocol, self.static_membership) {
            (Protocol::Classic, false) => "classic protocol, cooperative-sticky",
            (Protocol::Classic, true) => "classic protocol, cooperative-sticky, static members",
            (Protocol::Consumer, _) => "consumer protocol (KIP-848)",
        };
        let start = match &self.start {
            Start::Earliest => "the oldest record".to_owned(),
            Start::Latest => "the end".to_owned(),
            Start::Timestamp(ms) => format!("the first record of {ms} ms since 1970 or later"),
            Start::Offsets(offsets) => {
                let each: Vec<String> = offsets.iter().map(|(p, o)| format!("{o} of partition {p}")).collect();
                format!("offset {}, and the oldest record elsewhere", each.join(", "))
            }
        };
        format!("consumer group {} ({protocol}); one that never committed begins at {start}", self.group(pipeline))
    }

    /// The configuration of a consumer, as far as the pipeline file says it: see [`Connection::client_config`].
    ///
    /// # Errors
    /// The file of a secret can't be read.
    pub(crate) fn client_config(&self, base_dir: &Path) -> Result<ClientConfig> {
        let mut config = self.connection.client_config(base_dir)?;
        self.client.apply(&mut config);
        Ok(config)
    }
}
