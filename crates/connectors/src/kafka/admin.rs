//! A cluster's topics, for the command line and for `check --connect`: looked at, created, changed, deleted.
//!
//! Everything here waits for the network, on the thread that calls, each request at most [`WAIT`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream_core::{Error, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::native::{self, Client, Context, Kind, TopicState};
use super::ops::{Ops, block_on};
use super::secret::Secret;
use super::token::oauth_token;
use super::{Connection, options};
use crate::codes::{BAD_TOPIC, KAFKA_NO_TOPIC, KAFKA_REFUSED, KAFKA_UNREACHABLE};
use crate::log::Retention;

/// How long an answer may take.
const WAIT: Duration = Duration::from_secs(10);
/// How long one of the attempts within [`WAIT`] may take.
const ATTEMPT: Duration = Duration::from_secs(1);

/// A way to a cluster.
pub struct Admin {
    client: Arc<Client>,
    admin: Ops,
    reasons: Arc<Reasons>,
    brokers: String,
    pub(super) config: ClientConfig,
    pub(super) token: Option<(Secret, std::path::PathBuf)>,
}

/// A topic, as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaTopic {
    /// Its name.
    pub name: String,
    /// The oldest offset and the one that the next record gets, by partition.
    pub partitions: Vec<(u64, u64)>,
    /// How long records are kept.
    pub retention: Retention,
    /// `cleanup.policy`.
    pub cleanup: String,
}

impl Admin {
    /// Reaches a cluster.
    ///
    /// # Errors
    /// None of the brokers answers, or they don't let this client in.
    pub fn connect(connection: &Connection, base_dir: &Path) -> Result<Self> {
        let mut config = connection.client_config(base_dir)?;
        config.set("client.id", format!("millstream@{}", std::process::id()));
        let token = connection.token().map(|token| (token.clone(), base_dir.to_owned()));
        let reasons = Arc::new(Reasons { token: token.clone(), last: Mutex::default() });
        let failed = |why: String| {
            Error::new(
                KAFKA_UNREACHABLE,
                format!("a client for the Kafka cluster {} can't be made: {why}", connection.brokers()),
            )
            .help("look at `security:` and `client:`")
        };
        // A producer that asks for a topic makes brokers create it, unless they are told never to.
        let mut asking = config.clone();
        asking.set("allow.auto.create.topics", "false");
        let client = Client::new(Kind::Reader, &asking, reasons.clone()).map_err(failed)?;
        let admin = Ops::new(connection, base_dir)?;
        let admin = Self { client, admin, reasons, brokers: connection.brokers(), config, token };
        admin.ask(|client| client.topics(ATTEMPT))?;
        Ok(admin)
    }

    /// Asks until there is an answer. Who is refused by the brokers need not ask again.
    fn ask<T>(&self, question: impl Fn(&Client) -> Result<T, native::Failure>) -> Result<T> {
        let begun = Instant::now();
        loop {
            let failure = match question(&self.client) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let reason = self.reasons.last();
            let denied =
                reason.as_ref().is_some_and(|r| r.to_lowercase().contains("authentication") || r.contains("SSL"));
            if denied || begun.elapsed() > WAIT {
                let why = reason.unwrap_or(failure.text);
                return Err(Error::new(
                    KAFKA_UNREACHABLE,
                    format!("the Kafka cluster {} can't be reached: {why}", self.brokers),
                )
                .help("check `brokers:` and `security:`, and that the brokers run and can be reached from here"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// How many partitions each topic has; Kafka's own topics are left out.
    ///
    /// # Errors
    /// The cluster can't be reached.
    pub fn partitions(&self) -> Result<BTreeMap<String, u32>> {
        let states = self.ask(|client| client.topics(ATTEMPT))?;
        let known =
            states.into_iter().filter(|(name, _)| !name.starts_with("__")).filter_map(|(name, state)| match state {
                TopicState::Partitions(count) => Some((name, count)),
                TopicState::Missing | TopicState::Failed(_) => None,
            });
        Ok(known.collect())
    }

    /// How many partitions a topic has; `None` if it does not exist.
    ///
    /// # Errors
    /// The cluster can't be reached, or does not let this client look at the topic.
    pub fn partitions_of(&self, topic: &str) -> Result<Option<u32>> {
        match self.ask(|client| client.topic(topic, ATTEMPT))? {
            TopicState::Partitions(count) => Ok(Some(count)),
            TopicState::Missing => Ok(None),
            TopicState::Failed(failure) => {
                Err(self.refused(&format!("topic `{topic}` can't be looked at"), failure.code, &failure.text))
            }
        }
    }

    /// A topic.
    ///
    /// # Errors
    /// It does not exist, or can't be looked at.
    pub fn topic(&self, name: &str) -> Result<KafkaTopic> {
        let Some(count) = self.partitions_of(name)? else { return Err(self.missing(name)) };
        let mut partitions = Vec::with_capacity(count as usize);
        for partition in 0..count as i32 {
            partitions.push(self.ask(|client| client.watermarks(name, partition, ATTEMPT))?);
        }
        let settings = self.settings(name)?;
        let positive = |name: &str| settings.get(name).and_then(|(value, _)| value.parse::<u64>().ok());
        let retention = Retention { age_ms: positive("retention.ms"), bytes: positive("retention.bytes") };
        let cleanup = settings.get("cleanup.policy").map(|(value, _)| value.clone()).unwrap_or_default();
        Ok(KafkaTopic { name: name.to_owned(), partitions, retention, cleanup })
    }

    /// A topic's settings: values, and whether they were set for this topic.
    pub(super) fn settings(&self, topic: &str) -> Result<BTreeMap<String, (String, bool)>> {
        let what = format!("the settings of topic `{topic}` can't be looked at");
        let asked = block_on(self.admin.client().describe_configs(&[ResourceSpecifier::Topic(topic)], &options()));
        let answer = self.done(asked, &what)?.into_iter().next();
        let resource = answer
            .unwrap_or(Err(RDKafkaErrorCode::UnknownTopicOrPartition))
            .map_err(|code| self.refused(&what, code, &words(code)))?;
        let entry = |entry: rdkafka::admin::ConfigEntry| {
            let own = entry.source == ConfigSource::DynamicTopic;
            Some((entry.name, (entry.value?, own)))
        };
        Ok(resource.entries.into_iter().filter_map(entry).collect())
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// Its name can't be, it exists, or the brokers refuse.
    pub fn create(
        &self,
        name: &str,
        partitions: u32,
        replication: Option<u16>,
        retention: Option<Retention>,
    ) -> Result<()> {
        options::check_name(name)
            .map_err(|why| Error::new(BAD_TOPIC, format!("`{name}` can't be the name of a topic: {why}")))?;
        let what = format!("topic `{name}` can't be created");
        let replication = TopicReplication::Fixed(replication.map_or(-1, i32::from));
        let settings: Vec<(&str, String)> = retention.into_iter().flat_map(kept).collect();
        let mut topic = NewTopic::new(name, i32::try_from(partitions).unwrap_or(i32::MAX), replication);
        for (setting, value) in &settings {
            topic = topic.set(setting, value);
        }
        let created = self.done(block_on(self.admin.client().create_topics([&topic], &options())), &what)?;
        self.each(created, &what)?;
        // It is there for those who ask other brokers a moment later.
        let begun = Instant::now();
        while self.partitions_of(name)?.is_none() && begun.elapsed() < WAIT {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Deletes a topic and its records.
    ///
    /// # Errors
    /// It does not exist, or the brokers refuse.
    pub fn delete(&self, name: &str) -> Result<()> {
        if self.partitions_of(name)?.is_none() {
            return Err(self.missing(name));
        }
        let what = format!("topic `{name}` can't be deleted");
        let deleted = self.done(block_on(self.admin.client().delete_topics(&[name], &options())), &what)?;
        self.each(deleted, &what)
    }

    /// Changes how long a topic's records are kept; its other settings stay.
    ///
    /// # Errors
    /// It does not exist, or the brokers refuse.
    pub fn alter(&self, name: &str, retention: Retention) -> Result<()> {
        if self.partitions_of(name)?.is_none() {
            return Err(self.missing(name));
        }
        let what = format!("topic `{name}` can't be changed");
        // The request replaces all that was set for the topic.
        let mut settings = self.settings(name)?;
        settings.retain(|_, (_, own)| *own);
        settings.extend(kept(retention).into_iter().map(|(setting, value)| (setting.to_owned(), (value, true))));
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(name));
        for (setting, (value, _)) in &settings {
            change = change.set(setting, value);
        }
        let changed = self.done(block_on(self.admin.client().alter_configs([&change], &options())), &what)?;
        self.each(
            changed.into_iter().map(|r| r.map(drop).map_err(|(_, code)| (name.to_owned(), code))).collect(),
            &what,
        )
    }

    fn each<T>(&self, results: Vec<Result<T, (String, RDKafkaErrorCode)>>, what: &str) -> Result<()> {
        match results.into_iter().find_map(Result::err) {
            Some((_, code)) => Err(self.refused(what, code, &words(code))),
            None => Ok(()),
        }
    }

    fn done<T>(&self, result: KafkaResult<T>, what: &str) -> Result<T> {
        result.map_err(|error| match error {
            KafkaError::AdminOp(code) => self.refused(what, code, &words(code)),
            other => Error::new(KAFKA_REFUSED, what).because(other),
        })
    }

    fn refused(&self, what: &str, code: RDKafkaErrorCode, text: &str) -> Error {
        let error = Error::new(KAFKA_REFUSED, format!("{what}: {text}"));
        match code {
            RDKafkaErrorCode::TopicAlreadyExists => error.help("choose another name, or delete it first"),
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                error.help("give this user the right in Kafka's ACLs, or connect as another one")
            }
            RDKafkaErrorCode::InvalidReplicationFactor => {
                error.help("there are fewer brokers than copies are asked for")
            }
            RDKafkaErrorCode::PolicyViolation => error.help("a policy of the cluster forbids it"),
            _ => error.help("the brokers' logs say more"),
        }
    }

    pub(super) fn missing(&self, topic: &str) -> Error {
        let names = self.partitions().unwrap_or_default();
        let near = millstream_config::suggest::nearest(topic, names.keys().map(String::as_str)).map(str::to_owned);
        let error =
            Error::new(KAFKA_NO_TOPIC, format!("there is no topic `{topic}` in the Kafka cluster {}", self.brokers));
        error.help(near.map_or_else(
            || format!("create it: `millstream topic --brokers {} create {topic} --partitions N`", self.brokers),
            |near| format!("did you mean `{near}`?"),
        ))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT))
}

/// An error code in words: `TopicAlreadyExists (Broker: Topic already exists)` says it twice.
fn words(code: RDKafkaErrorCode) -> String {
    let text = code.to_string();
    let inner = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(&text);
    inner.strip_prefix("Broker: ").unwrap_or(inner).to_owned()
}

/// A retention as Kafka's settings; -1 is for ever.
fn kept(retention: Retention) -> [(&'static str, String); 2] {
    let value = |bound: Option<u64>| bound.map_or_else(|| "-1".to_owned(), |bound| bound.to_string());
    [("retention.ms", value(retention.age_ms)), ("retention.bytes", value(retention.bytes))]
}

/// Remembers why a client gets nowhere: it does not say so when it is asked.
struct Reasons {
    token: Option<(Secret, std::path::PathBuf)>,
    last: Mutex<Option<String>>,
}

impl Reasons {
    fn last(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Context for Reasons {
    fn log(&self, level: i32, facility: &str, line: &str) {
        tracing::debug!(target: "millstream_connectors::kafka", level, facility, "{line}");
        if facility != "FAIL" && facility != "ERROR" {
            return;
        }
        // `[thrd:host:1/bootstrap]: host:1/bootstrap: Connect to … failed: …`
        let reason = line.split_once("]: ").map_or(line, |(_, reason)| reason).trim();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // That all brokers are down comes last, and says less than why.
        if last.is_none() || !reason.contains("brokers are down") {
            *last = Some(reason.to_owned());
        }
    }

    fn token(&self) -> Result<(String, String, i64), String> {
        let Some((token, base_dir)) = &self.token else { return Err("there is no token".to_owned()) };
        let token = oauth_token(token, base_dir).map_err(|e| e.to_string())?;
        Ok((token.token, token.principal_name, token.lifetime_ms))
    }
}
