//! Makes a worker's three clients: a member of the group, a reader of partitions, a producer.
//!
//! What the pipeline file says goes in first, then what this module must have. The clients' logs go to `tracing`, each
//! kind of line at most every few seconds: a broker that is down says so many times a second.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream_core::{Delivery, Error, Result};
use rdkafka::ClientConfig;

use super::group::Patience;
use super::input::Protocol;
use super::instance::Instance;
use super::native::{Client, Context, Kind};
use super::output::Acks;
use super::rounds::RequestMax;
use super::secret::Secret;
use super::source::Reader;
use super::token::oauth_token;
use super::writer::Writer;
use super::{Cluster, Connection, KafkaInput};
use crate::codes::KAFKA_CLIENT;
use crate::env::Env;
use crate::look::Owner;

/// After this, the broker ends a transaction by itself: how long a crash can hold up whoever takes over.
pub(super) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// A member learns of a rebalance by its next heartbeat, and a partition that moves waits for two of them.
const HEARTBEAT_MAX: Duration = Duration::from_millis(300);
/// How often lines of one kind are logged.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Kinds of lines that are told apart.
const LOG_KINDS_MAX: usize = 64;
/// The kilobytes that are fetched ahead of each partition.
const FETCH_AHEAD_KB: &str = "4096";
/// Records and kilobytes that may wait in a producer.
const PRODUCE_RECORDS: &str = "500000";
const PRODUCE_KB: &str = "262144";

/// What all clients of a process have in common.
pub(super) struct Clients {
    pub(super) env: Arc<Env>,
    pub(super) connection: Connection,
    pub(super) instance: Instance,
}

impl Clients {
    /// `client.id`: shown by the broker's tools.
    fn name(&self) -> String {
        Owner::client_id(self.env.pipeline(), self.env.http())
    }

    /// The identity that a worker's transactions go under.
    pub(super) fn transactional_id(&self, worker: u32) -> String {
        format!("millstream-{}-{}-{worker}", self.env.pipeline(), self.instance.id)
    }

    fn make(&self, kind: Kind, mut config: ClientConfig, context: &Arc<Log>) -> Result<Arc<Client>> {
        config.set("client.id", self.name());
        Client::new(kind, &config, context.clone()).map_err(refused)
    }

    fn context(&self, what: &'static str) -> Arc<Log> {
        Arc::new(Log::new(what, &self.connection, &self.env))
    }

    /// What reads the input, or without one the journal.
    pub(super) fn reader_of(&self, input: Option<&KafkaInput>, patience: &Arc<Patience>) -> Result<Arc<Reader>> {
        let (config, group) = match input {
            Some(input) => (input.client_config(self.env.base_dir())?, input.group(self.env.pipeline())),
            None => (self.connection.client_config(self.env.base_dir())?, self.env.pipeline()),
        };
        let (client, log) = self.reader(config, group)?;
        Ok(Arc::new(Reader { client, log, patience: patience.clone() }))
    }

    /// A member of the input's group; it never reads.
    pub(super) fn member(&self, input: &KafkaInput, worker: u32) -> Result<Arc<Client>> {
        let mut config = input.client_config(self.env.base_dir())?;
        config
            .set("group.id", input.group(self.env.pipeline()))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("queued.max.messages.kbytes", "64");
        defaults(&mut config, &[("topic.metadata.refresh.interval.ms", "30000"), ("max.poll.interval.ms", "300000")]);
        match input.protocol {
            Protocol::Consumer => {
                config.set("group.protocol", "consumer");
            }
            Protocol::Classic => {
                config.set("group.protocol", "classic").set("partition.assignment.strategy", "cooperative-sticky");
                let timeout_ms = input.session_timeout().as_millis();
                config.set("session.timeout.ms", timeout_ms.to_string());
                let heartbeat_ms = (timeout_ms / 15).clamp(1, HEARTBEAT_MAX.as_millis());
                config.set("heartbeat.interval.ms", heartbeat_ms.to_string());
            }
        }
        if input.static_membership {
            config.set("group.instance.id", format!("{}-{worker}", self.instance.id));
        }
        self.make(Kind::Member, config, &self.context("group member"))
    }

    /// A reader of partitions, which also asks for the group's offsets. Not a member.
    pub(super) fn reader(&self, mut config: ClientConfig, group: &str) -> Result<(Arc<Client>, Arc<Log>)> {
        config.set("group.id", group).set("group.protocol", "classic");
        reading(&mut config);
        let log = self.context("reader");
        Ok((self.make(Kind::Reader, config, &log)?, log))
    }

    /// The producer of everything a worker writes.
    pub(super) fn producer(&self, cluster: &Cluster, worker: u32, delivery: Delivery) -> Result<Writer> {
        let mut config = cluster.connection.client_config(self.env.base_dir())?;
        cluster.producer.apply(&mut config);
        config.set("delivery.report.only.error", "true");
        defaults(
            &mut config,
            &[
                // Longer than it takes to hand over a round (see `rounds`), or its beginning would be a request of its own.
                // Nothing waits for it to pass: a write is flushed when its offsets are sent.
                ("linger.ms", "5"),
                ("batch.size", "1000000"),
                ("batch.num.messages", "10000"),
                ("retry.backoff.ms", "2"),
                ("retry.backoff.max.ms", "200"),
                ("reconnect.backoff.ms", "50"),
                ("reconnect.backoff.max.ms", "1000"),
                ("queue.buffering.max.messages", PRODUCE_RECORDS),
                ("queue.buffering.max.kbytes", PRODUCE_KB),
                // The broker knows what is too large for a topic.
                ("message.max.bytes", "104857600"),
                ("allow.auto.create.topics", "false"),
            ],
        );
        match delivery {
            Delivery::ExactlyOnce => {
                config
                    .set("transactional.id", self.transactional_id(worker))
                    .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string())
                    .set("enable.idempotence", "true");
            }
            _ => {
                config.set("enable.idempotence", (cluster.acks() == Acks::All).to_string());
                // A record is given up only when the run is.
                config.set("message.timeout.ms", "0");
            }
        }
        let number = |name: &str| config.get(name).and_then(|text| text.parse().ok()).unwrap_or(1);
        let request_max = RequestMax { records: number("batch.num.messages"), bytes: number("batch.size") };
        let log = self.context("producer");
        Writer::new((self.make(Kind::Producer, config, &log)?, log), request_max)
    }
}

/// A reader for looking at an input, which is nobody's group.
pub(super) fn plain_reader(input: &KafkaInput, env: &Env) -> Result<(Arc<Client>, Arc<Log>)> {
    let log = Arc::new(Log::new("reader", &input.connection, env));
    let mut config = input.client_config(env.base_dir())?;
    config.set("client.id", format!("millstream-{}", env.pipeline()));
    reading(&mut config);
    let client = Client::new(Kind::Reader, &config, log.clone()).map_err(refused)?;
    Ok((client, log))
}

fn refused(why: String) -> Error {
    Error::new(KAFKA_CLIENT, format!("a Kafka client can't be made: {why}"))
        .help("look at the `connections:` and the `client:` properties of the pipeline file")
}

/// How partitions are read.
fn reading(config: &mut ClientConfig) {
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("allow.auto.create.topics", "false");
    defaults(
        config,
        &[
            ("queued.max.messages.kbytes", FETCH_AHEAD_KB),
            ("queued.min.messages", "100000"),
            ("fetch.queue.backoff.ms", "10"),
            ("fetch.error.backoff.ms", "100"),
            // A fetch that waits is answered as soon as a record is there; but a partition that is added waits for the
            // one before.
            ("fetch.wait.max.ms", "100"),
            ("fetch.min.bytes", "1"),
            ("reconnect.backoff.ms", "50"),
            ("reconnect.backoff.max.ms", "1000"),
        ],
    );
}

/// Sets what the pipeline file leaves open.
fn defaults(config: &mut ClientConfig, properties: &[(&str, &str)]) {
    for (name, value) in properties {
        if config.get(name).is_none() {
            config.set(*name, *value);
        }
    }
}

/// Takes a client's log lines to `tracing`, and counts its losses of contact.
pub(super) struct Log {
    what: &'static str,
    token: Option<Secret>,
    base_dir: PathBuf,
    spoken: Mutex<HashMap<String, Spoken>>,
    trouble: AtomicU64,
}

struct Spoken {
    at: Instant,
    unspoken: u64,
}

impl Log {
    fn new(what: &'static str, connection: &Connection, env: &Env) -> Self {
        Self {
            what,
            token: connection.token().cloned(),
            base_dir: env.base_dir().to_owned(),
            spoken: Mutex::default(),
            trouble: AtomicU64::new(0),
        }
    }

    /// Rises each time a connection is lost: what was known of an input's end is not known any more.
    pub(super) fn losses(&self) -> u64 {
        self.trouble.load(Ordering::Relaxed)
    }

    /// Whether a line of this kind is to be logged now, and how many were not since the last one.
    fn may_speak(&self, kind: &str) -> Option<u64> {
        let mut spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        if spoken.len() >= LOG_KINDS_MAX && !spoken.contains_key(kind) {
            return None;
        }
        match spoken.get_mut(kind) {
            Some(last) if last.at.elapsed() < LOG_EVERY => {
                last.unspoken += 1;
                None
            }
            Some(last) => {
                last.at = Instant::now();
                Some(std::mem::take(&mut last.unspoken))
            }
            None => {
                spoken.insert(kind.to_owned(), Spoken { at: Instant::now(), unspoken: 0 });
                Some(0)
            }
        }
    }
}

impl Context for Log {
    fn log(&self, level: i32, facility: &str, line: &str) {
        // syslog: 3 is an error, 4 a warning, 5 a notice.
        if facility == "FAIL" || facility == "ERROR" {
            self.trouble.fetch_add(1, Ordering::Relaxed);
        }
        if level > 4 {
            tracing::debug!(target: "kafka", client = self.what, facility, "{line}");
            return;
        }
        let Some(unspoken) = self.may_speak(facility) else { return };
        match unspoken {
            0 => tracing::warn!(target: "kafka", client = self.what, facility, "{line}"),
            _ => tracing::warn!(target: "kafka", client = self.what, facility, unspoken, "{line}"),
        }
    }

    fn token(&self) -> Result<(String, String, i64), String> {
        let secret = self.token.as_ref().ok_or("the connection names no token")?;
        let token = oauth_token(secret, &self.base_dir).map_err(|e| e.to_string())?;
        Ok((token.token, token.principal_name, token.lifetime_ms))
    }
}
