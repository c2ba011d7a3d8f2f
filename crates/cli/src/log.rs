//! The embedded log, as the HTTP API and `topic` use it: placement of records, and offsets by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use millstream_connectors::codes::BAD_TOPIC;
use millstream_connectors::log::{self, LogStore, Retention, TopicInfo, TopicOptions};
use millstream_core::murmur::partition_for;
use millstream_core::source::PollLimit;
use millstream_core::{Error, RawBatch, Result, Store, TaskId};
use serde::{Deserialize, Serialize};

use crate::codes::REQUEST;
use crate::http::wire::NewRecord;

pub use millstream_connectors::log::Appended;

/// A log that is open in this process.
#[derive(Clone)]
pub struct Log {
    store: Arc<LogStore>,
    /// Whether appends survive a loss of power before they are acknowledged.
    sync: bool,
}

/// A topic, as it is printed and sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopicView {
    pub name: String,
    /// Kafka does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_ms: Option<i64>,
    #[serde(default)]
    pub retention: Retention,
    /// Kafka's `cleanup.policy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<String>,
    pub partitions: Vec<PartitionView>,
}

/// A partition, as it is printed and sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PartitionView {
    pub partition: u32,
    /// The oldest offset that is kept.
    pub start_offset: u64,
    /// The offset that the next record gets.
    pub next_offset: u64,
    /// Bytes stored (compressed), where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl From<TopicInfo> for TopicView {
    fn from(info: TopicInfo) -> Self {
        let partitions = (0..).zip(&info.partitions).map(|(partition, p)| PartitionView {
            partition,
            start_offset: p.start,
            next_offset: p.end,
            bytes: Some(p.bytes),
        });
        Self {
            name: info.name,
            created_ms: Some(info.created_ms),
            cleanup: None,
            retention: info.retention,
            partitions: partitions.collect(),
        }
    }
}

/// What `topic create` and `POST /topics` say.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTopic {
    pub name: String,
    pub partitions: u32,
    #[serde(default)]
    pub retention: Retention,
}

impl Log {
    pub fn new(store: Arc<LogStore>, sync: bool) -> Self {
        Self { store, sync }
    }

    /// All topics, by name.
    pub fn topics(&self) -> Result<Vec<TopicView>> {
        Ok(self.store.topics().into_iter().map(TopicView::from).collect())
    }

    /// The committed offset of each task of a pipeline that commits to this log.
    pub fn committed(&self, pipeline: &str) -> Result<BTreeMap<TaskId, u64>> {
        let commits = self.store.load_commits(pipeline)?;
        Ok(commits.into_iter().map(|(task, commit)| (task, commit.position.offset)).collect())
    }

    /// One topic.
    pub fn topic(&self, name: &str) -> Result<TopicView> {
        self.store.describe(name).map(TopicView::from)
    }

    /// Creates a topic.
    pub fn create(&self, new: &NewTopic) -> Result<TopicView> {
        self.store.create_topic(&new.name, TopicOptions { partitions: new.partitions, retention: new.retention })?;
        self.topic(&new.name)
    }

    /// Changes how long records are kept, and removes what need not be kept now.
    pub fn alter(&self, name: &str, retention: Retention) -> Result<TopicView> {
        self.store.set_retention(name, retention)?;
        self.store.maintain()?;
        self.topic(name)
    }

    /// Deletes a topic.
    pub fn delete(&self, name: &str) -> Result<()> {
        self.store.delete_topic(name)
    }

    /// Appends records and says where each went. A record goes to the partition it names, else to that of its key
    /// as Kafka's default partitioner places it, else in turn. The records of one partition are one atomic write.
    pub fn append(&self, topic: &str, records: &[NewRecord]) -> Result<Vec<Appended>> {
        let view = self.store.describe(topic)?;
        let count = view.partitions.len() as u32;
        let mut turn: u64 = view.partitions.iter().map(|p| p.end).sum();
        let now = now_ms();
        let mut shares: Vec<(Vec<usize>, Vec<log::NewRecord<'_>>)> = vec![Default::default(); count as usize];
        for (i, record) in records.iter().enumerate() {
            let partition = match (record.partition, &record.key) {
                (Some(partition), _) => partition,
                (None, Some(key)) => partition_for(key, count),
                (None, None) => {
                    turn += 1;
                    ((turn - 1) % u64::from(count.max(1))) as u32
                }
            };
            let Some((places, share)) = shares.get_mut(partition as usize) else {
                // The store words it best.
                return Err(self
                    .store
                    .offsets(topic, partition)
                    .err()
                    .unwrap_or_else(|| no_partition(topic, partition)));
            };
            places.push(i);
            share.push(log::NewRecord {
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                timestamp_ms: record.timestamp_ms.unwrap_or(now),
                headers: &record.headers,
            });
        }
        let mut placed = vec![Appended { partition: 0, offset: 0 }; records.len()];
        let last = shares.iter().rposition(|(places, _)| !places.is_empty());
        for (partition, (places, share)) in shares.iter().enumerate().filter(|(_, (places, _))| !places.is_empty()) {
            // One flush to the disk covers the writes before it.
            let sync = self.sync && Some(partition) == last;
            let appended = self.store.append(topic, Some(partition as u32), share, sync)?;
            for (&place, appended) in places.iter().zip(appended) {
                if let Some(slot) = placed.get_mut(place) {
                    *slot = appended;
                }
            }
        }
        Ok(placed)
    }

    /// Reads records from `offset` on, and says which offset comes after them.
    pub fn read(
        &self,
        topic: &str,
        partition: u32,
        offset: u64,
        records: usize,
        bytes: usize,
    ) -> Result<(RawBatch, u64)> {
        let batch = self.store.read(topic, partition, offset, PollLimit { records, bytes })?;
        let next = batch.len().checked_sub(1).map_or(offset, |last| batch.offset(last) + 1);
        Ok((batch, next))
    }

    /// The offset that the next record of a partition gets. Cheap: never touches the disk.
    pub fn end(&self, topic: &str, partition: u32) -> Result<u64> {
        Ok(self.store.offsets(topic, partition)?.end)
    }

    /// An offset by name: `earliest` (also where nothing is said), `latest`, or a number.
    pub fn offset(&self, topic: &str, partition: u32, word: Option<&str>) -> Result<u64> {
        let known = self.store.offsets(topic, partition)?;
        match word {
            None | Some("earliest") => Ok(known.start),
            Some("latest") => Ok(known.end),
            Some(number) => number.parse().map_err(|cause: std::num::ParseIntError| {
                Error::new(REQUEST, format!("`{number}` is not an offset"))
                    .because(cause)
                    .help("say `earliest`, `latest`, or a number from 0")
            }),
        }
    }
}

fn no_partition(topic: &str, partition: u32) -> Error {
    Error::new(BAD_TOPIC, format!("topic `{topic}` has no partition {partition}"))
}

/// The time that records get when nobody says one.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(dir: &std::path::Path, partitions: u32) -> Log {
        let log = Log::new(Arc::new(LogStore::open(dir).unwrap()), false);
        log.create(&NewTopic { name: "t".to_owned(), partitions, retention: Retention::default() }).unwrap();
        log
    }

    fn record(key: Option<&str>, partition: Option<u32>) -> NewRecord {
        NewRecord {
            key: key.map(|k| k.as_bytes().to_vec()),
            value: Some(b"v".to_vec()),
            partition,
            ..NewRecord::default()
        }
    }

    #[test]
    fn records_go_where_they_belong() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), 3);
        let records = [
            record(None, None),
            record(Some("k"), None),
            record(None, Some(2)),
            record(Some("k"), None),
            record(None, None),
        ];
        let placed = log.append("t", &records).unwrap();
        let home = partition_for(b"k", 3);
        assert_eq!((placed[1].partition, placed[3].partition), (home, home));
        assert!(placed[3].offset > placed[1].offset);
        assert_eq!(placed[2].partition, 2);
        assert_eq!((placed[0].partition, placed[4].partition), (0, 1));
        let total: u64 = log.topic("t").unwrap().partitions.iter().map(|p| p.next_offset).sum();
        assert_eq!(total, 5);
        let error = log.append("t", &[record(None, Some(3))]).unwrap_err();
        assert!(error.to_string().contains("no partition 3"), "{error}");
    }

    #[test]
    fn reads_say_where_to_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), 1);
        log.append("t", &[record(None, None), record(None, None)]).unwrap();
        assert_eq!(log.read("t", 0, 0, 1, 1000).unwrap().1, 1);
        assert_eq!(log.read("t", 0, 1, 10, 1000).unwrap().1, 2);
        assert_eq!(log.read("t", 0, 2, 10, 1000).unwrap().1, 2);
        assert_eq!(log.offset("t", 0, Some("latest")).unwrap(), 2);
        assert!(log.offset("t", 0, Some("x")).is_err());
    }
}
