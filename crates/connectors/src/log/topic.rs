//! Topics: what they are, and how they come and go.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millstream_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::keys;
use super::store::{LogStore, now_ms, read_failed};
use crate::codes::{BAD_TOPIC, LOG_DAMAGED, PARTITIONS_DIFFER, TOPIC_EXISTS, UNKNOWN_PARTITION, UNKNOWN_TOPIC};

/// The most partitions a topic may have.
pub const PARTITIONS_MAX: u32 = 1024;
const NAME_LENGTH_MAX: usize = 200;

/// How long records are kept. Without bounds: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Records appended longer ago than this may go, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// The oldest records may go while a partition stores more than this many bytes (as stored, compressed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Retention {
    /// Keeps records for `age`.
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.age_ms = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Keeps about `bytes` a partition.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }
}

/// What a topic is created with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicOptions {
    /// From 1 to [`PARTITIONS_MAX`].
    pub partitions: u32,
    /// How long records are kept.
    pub retention: Retention,
}

impl TopicOptions {
    /// That many partitions, and records kept for ever.
    pub fn partitions(partitions: u32) -> Self {
        Self { partitions, retention: Retention::default() }
    }
}

/// A topic as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: i64,
    /// How long records are kept.
    pub retention: Retention,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionInfo>,
}

/// A partition as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionInfo {
    /// The oldest offset that can be read.
    pub start: u64,
    /// The offset that the next record gets.
    pub end: u64,
    /// Bytes stored (compressed).
    pub bytes: u64,
}

/// What is stored of a topic.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    partitions: u32,
    retention: Retention,
    created_ms: i64,
}

/// Where a partition begins and ends. `end` is set after the commit, so that no reader sees what may not last.
#[derive(Default)]
pub(super) struct Bounds {
    pub(super) start: AtomicU64,
    pub(super) end: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Bounds {
    pub(super) fn info(&self) -> PartitionInfo {
        // The end is read last: it only grows, and so does the start.
        let start = self.start.load(Ordering::Acquire);
        let bytes = self.bytes.load(Ordering::Acquire);
        PartitionInfo { start, end: self.end.load(Ordering::Acquire), bytes }
    }

    pub(super) fn set(&self, info: PartitionInfo) {
        self.bytes.store(info.bytes, Ordering::Release);
        self.start.store(info.start, Ordering::Release);
        self.end.store(info.end, Ordering::Release);
    }
}

pub(super) fn encode_bounds(key: &[u8], info: PartitionInfo) -> Vec<u8> {
    let value = [info.start.to_le_bytes(), info.end.to_le_bytes(), info.bytes.to_le_bytes()].concat();
    keys::seal(key, &value)
}

fn decode_bounds(key: &[u8], sealed: &[u8]) -> Result<PartitionInfo> {
    let value = keys::unseal(key, sealed, "the entry of a partition")?;
    let number = |i: usize| value.get(8 * i..)?.first_chunk().map(|b| u64::from_le_bytes(*b));
    match (number(0), number(1), number(2)) {
        (Some(start), Some(end), Some(bytes)) if start <= end => Ok(PartitionInfo { start, end, bytes }),
        _ => Err(Error::new(LOG_DAMAGED, "the entry of a partition is damaged: it is too short or contradicts itself")),
    }
}

/// A topic in memory.
pub(super) struct Topic {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) created_ms: i64,
    pub(super) retention: Mutex<Retention>,
    pub(super) partitions: Vec<Bounds>,
    pub(super) deleted: AtomicBool,
}

impl Topic {
    pub(super) fn bounds(&self, partition: u32) -> Result<&Bounds> {
        if self.deleted.load(Ordering::Acquire) {
            return Err(unknown(&self.name, &[]));
        }
        self.partitions.get(partition as usize).ok_or_else(|| {
            Error::new(
                UNKNOWN_PARTITION,
                format!("topic `{}` has no partition {partition}: it has {}", self.name, self.partitions.len()),
            )
            .help(format!("partitions are numbered from 0 to {}", self.partitions.len().saturating_sub(1)))
        })
    }

    pub(super) fn retention(&self) -> Retention {
        *self.retention.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn info(&self) -> TopicInfo {
        TopicInfo {
            name: self.name.clone(),
            created_ms: self.created_ms,
            retention: self.retention(),
            partitions: self.partitions.iter().map(Bounds::info).collect(),
        }
    }

    fn stored(&self, retention: Retention) -> Result<Vec<u8>> {
        let stored = Stored {
            name: self.name.clone(),
            partitions: self.partitions.len() as u32,
            retention,
            created_ms: self.created_ms,
        };
        let json = serde_json::to_vec(&stored)
            .map_err(|e| Error::new(BAD_TOPIC, format!("topic `{}` can't be written down", self.name)).because(e))?;
        Ok(keys::seal(&keys::topic(self.id), &json))
    }
}

fn unknown(name: &str, known: &[String]) -> Error {
    let error = Error::new(UNKNOWN_TOPIC, format!("there is no topic `{name}` in the log"));
    let create =
        format!("create it with `millstream topic create {name}`, or let the pipeline do so with `partitions:`");
    if known.is_empty() {
        return error.help(create);
    }
    error
        .help(format!("topics: {}; or {create}", known.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")))
}

pub(super) fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(good) || name.starts_with('.') {
        return Err(Error::new(BAD_TOPIC, format!("`{name}` can't be the name of a topic")).help(format!(
            "a name is 1 to {NAME_LENGTH_MAX} of the characters A-Z a-z 0-9 `_` `-` `.`, and does not begin with `.`"
        )));
    }
    Ok(())
}

impl LogStore {
    /// Reads all topics; called once when the log is opened.
    pub(super) fn load_topics(&self) -> Result<BTreeMap<String, Arc<Topic>>> {
        let mut topics = BTreeMap::new();
        for entry in self.rows().prefix(keys::TOPICS) {
            let (key, value) = entry.into_inner().map_err(read_failed)?;
            let json = keys::unseal(&key, &value, "the entry of a topic")?;
            let stored: Stored = serde_json::from_slice(json)
                .map_err(|e| Error::new(LOG_DAMAGED, "the entry of a topic does not read back").because(e))?;
            let id = keys::tail_u32(&key).unwrap_or_default();
            let mut partitions = Vec::new();
            for number in 0..stored.partitions {
                let bounds = Bounds::default();
                let key = keys::partition(id, number);
                if let Some(sealed) = self.rows().get(&key).map_err(read_failed)? {
                    bounds.set(decode_bounds(&key, &sealed)?);
                }
                partitions.push(bounds);
            }
            let topic = Topic {
                id,
                name: stored.name.clone(),
                created_ms: stored.created_ms,
                retention: Mutex::new(stored.retention),
                partitions,
                deleted: AtomicBool::new(false),
            };
            topics.insert(stored.name, Arc::new(topic));
        }
        Ok(topics)
    }

    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(name).cloned().ok_or_else(|| unknown(name, &topics.keys().cloned().collect::<Vec<_>>()))
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// It exists already, or its name or number of partitions can't be.
    pub fn create_topic(&self, name: &str, options: TopicOptions) -> Result<()> {
        check_name(name)?;
        if options.partitions == 0 || options.partitions > PARTITIONS_MAX {
            return Err(Error::new(BAD_TOPIC, format!("topic `{name}` can't have {} partitions", options.partitions))
                .help(format!("a topic has 1 to {PARTITIONS_MAX} partitions")));
        }
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(name) {
            let n = topic.partitions.len();
            return Err(Error::new(TOPIC_EXISTS, format!("topic `{name}` exists already, with {n} partitions"))
                .help("choose another name, or delete it first with `millstream topic delete`"));
        }
        let mut writer = self.writer()?;
        let id = writer.next_topic;
        let topic = Topic {
            id,
            name: name.to_owned(),
            created_ms: now_ms(),
            retention: Mutex::new(options.retention),
            partitions: (0..options.partitions).map(|_| Bounds::default()).collect(),
            deleted: AtomicBool::new(false),
        };
        let mut batch = self.batch();
        batch.insert(self.rows(), keys::topic(id), topic.stored(options.retention)?);
        let next = keys::seal(keys::NEXT_TOPIC, &(id + 1).to_le_bytes());
        batch.insert(self.rows(), keys::NEXT_TOPIC, next);
        self.apply(&mut writer, batch, true)?;
        writer.next_topic = id + 1;
        topics.insert(name.to_owned(), Arc::new(topic));
        Ok(())
    }

    /// The number of partitions of a topic, which is created with `declared` partitions if it does not exist.
    ///
    /// # Errors
    /// It does not exist and none are declared, or it has another number than declared.
    pub fn ensure_topic(&self, name: &str, declared: Option<u32>) -> Result<u32> {
        let known = self.topics.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        match (known, declared) {
            (Some(topic), Some(declared)) if topic.partitions.len() != declared as usize => {
                let actual = topic.partitions.len();
                Err(Error::new(
                    PARTITIONS_DIFFER,
                    format!("topic `{name}` has {actual} partitions, but the pipeline declares {declared}"),
                )
                .help(format!(
                    "write `partitions: {actual}`, or leave `partitions` away; a topic's number of partitions can't \
                     change, as keys would move to other partitions"
                )))
            }
            (Some(topic), _) => Ok(topic.partitions.len() as u32),
            (None, Some(declared)) => {
                self.create_topic(name, TopicOptions::partitions(declared))?;
                Ok(declared)
            }
            (None, None) => self.topic(name).map(|t| t.partitions.len() as u32),
        }
    }

    /// Deletes a topic and its records. The space comes back as the store compacts.
    ///
    /// # Errors
    /// It does not exist, or the log can't be written.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let topic = self.topic(name)?;
        {
            let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
            let mut writer = self.writer()?;
            let mut batch = self.batch();
            batch.remove(self.rows(), keys::topic(topic.id));
            for number in 0..topic.partitions.len() as u32 {
                batch.remove(self.rows(), keys::partition(topic.id, number));
            }
            // The records go afterwards, in many small batches; this note survives a crash in between.
            batch.insert(self.rows(), keys::deleted(topic.id), []);
            self.apply(&mut writer, batch, true)?;
            topic.deleted.store(true, Ordering::Release);
            topics.remove(name);
        }
        self.sweep_deleted()
    }

    /// Changes how long a topic's records are kept; takes effect at the next [`LogStore::maintain`].
    ///
    /// # Errors
    /// The topic does not exist, or the log can't be written.
    pub fn set_retention(&self, name: &str, retention: Retention) -> Result<()> {
        let topic = self.topic(name)?;
        let mut writer = self.writer()?;
        let mut batch = self.batch();
        batch.insert(self.rows(), keys::topic(topic.id), topic.stored(retention)?);
        self.apply(&mut writer, batch, true)?;
        *topic.retention.lock().unwrap_or_else(PoisonError::into_inner) = retention;
        Ok(())
    }

    /// All topics, by name.
    pub fn topics(&self) -> Vec<TopicInfo> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.values().map(|t| t.info()).collect()
    }

    /// One topic.
    ///
    /// # Errors
    /// It does not exist.
    pub fn describe(&self, name: &str) -> Result<TopicInfo> {
        self.topic(name).map(|t| t.info())
    }

    /// The offsets that can be read: from the oldest that is kept to the one that the next record gets.
    ///
    /// # Errors
    /// The topic or partition does not exist.
    pub fn offsets(&self, name: &str, partition: u32) -> Result<Range<u64>> {
        let info = self.topic(name)?.bounds(partition)?.info();
        Ok(info.start..info.end)
    }
}
