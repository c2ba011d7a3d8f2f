//! What a `kafka` output writes, and the cluster that a pipeline commits to.

use super::Connection;
use super::properties::Properties;

/// A Kafka output, meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaOutput {
    /// The cluster.
    pub(crate) connection: Connection,
    pub(crate) topic: String,
    pub(crate) partitioner: Partitioner,
    pub(crate) compression: Compression,
    pub(crate) acks: Acks,
    /// How many partitions the topic is created with; if it exists, it must have as many.
    pub(crate) partitions: Option<u32>,
    /// How many brokers keep a copy of a topic that is created; the broker's default if `None`.
    pub(crate) replication: Option<u16>,
}

impl KafkaOutput {
    /// The cluster.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// What decides a record's partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Partitioner {
    /// The key, as Java's default partitioner; a record without a key goes as with [`Partitioner::Input`].
    Murmur2,
    /// The partition of the input, modulo.
    Input,
    /// The record says it: `EncodedRecord::partition` is the output's partition.
    Column,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// librdkafka's word, for the topic property `compression.codec`.
    pub(crate) fn codec(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Who must have a record before it counts as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    /// All replicas in sync.
    All,
    /// The leader alone: faster, and what it has when it fails is lost. Needs a producer that is not idempotent; never
    /// under `exactly_once`.
    Leader,
}

/// The cluster a pipeline commits to, with all that its producers need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// How it is reached.
    pub(crate) connection: Connection,
    /// The outputs on it, dead letters among them: each names its topic, compression and acks.
    pub(crate) outputs: Vec<KafkaOutput>,
    /// The `client:` of the outputs' connections, for producers; the connection's own are among them.
    pub(crate) producer: Properties,
}

impl Cluster {
    /// `bootstrap.servers`.
    pub fn brokers(&self) -> String {
        self.connection.brokers()
    }

    /// Whether any output asked for less than all replicas: then no producer can be idempotent.
    pub(crate) fn acks(&self) -> Acks {
        match self.outputs.iter().any(|output| output.acks == Acks::Leader) {
            true => Acks::Leader,
            false => Acks::All,
        }
    }
}
