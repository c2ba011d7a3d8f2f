//! The journal topic `<pipeline>.journal`: entries of tasks, and for inputs outside Kafka their commits too.
//!
//! It has a partition for each partition of the input, and grows with it. An entry's key is `<task>/<index>`, a commit's
//! `commit/<task>`. It is written inside the epochs' transactions; reading goes to the end that the partition has then,
//! open transactions included, so that what a commit counts is never missed.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream_core::{Delivery, Error, JournalEntry, PollLimit, Polled, RawBatch, Result, Source, TaskId};

use super::ops::Ops;
use super::source::{KafkaSource, Reader};
use crate::codes::{KAFKA_JOURNAL, KAFKA_UNREACHABLE};

/// How long a topic that was just created may take to be known to all brokers.
const CREATED_MAX: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// When a wait is worth a line.
const LONG: Duration = Duration::from_secs(5);
/// Records that are looked at first when the last commit is sought from the end.
const TAIL_MIN: u64 = 256;
const LIMIT: PollLimit = PollLimit { records: 4096, bytes: 4 << 20 };
/// A journal is trimmed when this many entries are of no use, since it costs a reading of it.
const TRIM_MIN: u64 = 1000;

/// The key of an entry.
pub(super) fn entry_key(task: TaskId, index: u64) -> String {
    format!("{task}/{index}")
}

/// The key of a commit.
pub(super) fn commit_key(task: TaskId) -> String {
    format!("commit/{task}")
}

/// A record of the journal topic.
struct Line {
    offset: u64,
    key: String,
    value: Vec<u8>,
}

pub(super) struct Journal {
    topic: Arc<str>,
    /// Partitions that the topic is known to have.
    partitions: AtomicU32,
    /// One reading at a time: a reader reads a partition once.
    reading: Mutex<()>,
    trimmed: Mutex<HashMap<TaskId, u64>>,
    /// Whether commits are in it: then old ones may be compacted away.
    with_commits: bool,
    delivery: Delivery,
}

impl Journal {
    pub(super) fn new(pipeline: &str, with_commits: bool, delivery: Delivery) -> Self {
        Self {
            topic: format!("{pipeline}.journal").into(),
            partitions: AtomicU32::new(0),
            reading: Mutex::default(),
            trimmed: Mutex::default(),
            with_commits,
            delivery,
        }
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// Where a task's entries are.
    pub(super) fn partition(&self, task: TaskId) -> u32 {
        task.partition
    }

    /// Sees to it that the topic has at least that many partitions.
    pub(super) fn ensure(&self, reader: &Reader, ops: impl Fn() -> Result<Ops>, partitions: u32) -> Result<()> {
        if self.partitions.load(Ordering::Acquire) >= partitions {
            return Ok(());
        }
        let _one = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let has = reader.partitions(&self.topic)?.unwrap_or(0);
        if has < partitions {
            while let Err(error) = self.extend(&ops()?, has, partitions) {
                if error.code() != KAFKA_UNREACHABLE || reader.patience.is_over() {
                    return Err(error);
                }
                tracing::warn!(target: "kafka", "waiting for the journal's topic: {error}");
            }
            self.await_partitions(reader, partitions)?;
        }
        self.partitions.fetch_max(has.max(partitions), Ordering::AcqRel);
        Ok(())
    }

    /// Gives the topic as many partitions.
    fn extend(&self, ops: &Ops, has: u32, partitions: u32) -> Result<()> {
        if has > 0 {
            return ops.grow(&self.topic, partitions);
        }
        let policy = match self.with_commits {
            true => "compact,delete",
            false => "delete",
        };
        let config = [("cleanup.policy", policy), ("retention.ms", "-1"), ("retention.bytes", "-1")];
        ops.create(&self.topic, partitions, None, &config)
    }

    fn await_partitions(&self, reader: &Reader, partitions: u32) -> Result<()> {
        let began = Instant::now();
        loop {
            let known = reader.partitions(&self.topic)?.unwrap_or(0) >= partitions;
            if known && (0..partitions).all(|p| reader.client.watermarks(&self.topic, p as i32, CREATED_MAX).is_ok()) {
                return Ok(());
            }
            if began.elapsed() >= CREATED_MAX || reader.patience.is_over() {
                return Err(Error::new(
                    KAFKA_UNREACHABLE,
                    format!("topic `{}` was created, but the brokers do not serve it", self.topic),
                )
                .help("look at the broker's log, then start again"));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Reads a partition from `from` to the end it has now.
    fn read(&self, reader: &Arc<Reader>, partition: u32, from: u64, mut each: impl FnMut(Line)) -> Result<()> {
        let mut source = KafkaSource::new(reader, &self.topic, TaskId::new(partition), from, None)?;
        let began = Instant::now();
        let mut said = false;
        let mut end = None;
        loop {
            let mut batch = RawBatch::new(TaskId::new(partition));
            let polled = source.poll(LIMIT, &mut batch)?;
            for i in 0..batch.len() {
                each(Line {
                    offset: batch.offset(i),
                    key: String::from_utf8_lossy(batch.key(i).unwrap_or_default()).into_owned(),
                    value: batch.value(i).unwrap_or_default().to_vec(),
                });
            }
            if polled == Polled::Records {
                continue;
            }
            if end.is_none() && source.at_end() {
                end = source.high();
            }
            if end.is_some_and(|end| source.position().offset >= end) {
                return Ok(());
            }
            if reader.patience.is_over() {
                return Err(Error::new(KAFKA_UNREACHABLE, format!("topic `{}` can't be read to its end", self.topic)));
            }
            if began.elapsed() >= LONG && !std::mem::replace(&mut said, true) {
                tracing::warn!(target: "kafka", "waiting for the end of the journal `{}`, partition {partition}", self.topic);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Entries of a task from `from` on, each with its place in the topic.
    fn entries(&self, reader: &Arc<Reader>, task: TaskId, from: u64) -> Result<BTreeMap<u64, (u64, JournalEntry)>> {
        let _one = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let partition = self.partition(task);
        let (low, high) = reader.watermarks(&self.topic, partition)?;
        let mut entries = BTreeMap::new();
        let mut damaged = None;
        if low == high {
            // Nothing stable; what is open is read below.
            tracing::trace!(target: "kafka", "the journal of task {task} has no stable record");
        }
        let prefix = format!("{task}/");
        self.read(reader, partition, low, |line| {
            let Some(index) = line.key.strip_prefix(&prefix).and_then(|i| i.parse::<u64>().ok()) else { return };
            if index < from {
                return;
            }
            match serde_json::from_slice::<JournalEntry>(&line.value) {
                // Without transactions an entry may have been written twice: the later one is what was committed.
                Ok(entry) => drop(entries.insert(index, (line.offset, entry))),
                Err(e) => drop(damaged.get_or_insert((index, e))),
            }
        })?;
        match damaged {
            Some((index, e)) => Err(self.broken(task, &format!("entry {index} does not read back")).because(e)),
            None => Ok(entries),
        }
    }

    fn broken(&self, task: TaskId, what: &str) -> Error {
        Error::new(KAFKA_JOURNAL, format!("the journal of task {task} in topic `{}` is damaged: {what}", self.topic))
            .help("restore the topic, or begin anew with `millstream reset`")
    }

    /// The journal of a task from entry `from`, in order; `len` entries in all, where that is known.
    pub(super) fn load(
        &self,
        reader: &Arc<Reader>,
        task: TaskId,
        from: u64,
        len: Option<u64>,
    ) -> Result<Vec<JournalEntry>> {
        let entries = self.entries(reader, task, from)?;
        let mut journal = Vec::with_capacity(entries.len());
        for (expected, (index, (_, entry))) in (from..).zip(entries) {
            if len.is_some_and(|len| index >= len) {
                break;
            }
            if index != expected {
                return Err(self.broken(task, &format!("entry {expected} is missing")));
            }
            journal.push(entry);
        }
        if self.delivery == Delivery::ExactlyOnce
            && let Some(len) = len
            && from + (journal.len() as u64) < len
        {
            return Err(self
                .broken(task, &format!("it ends at entry {}, but {len} were committed", from + journal.len() as u64)));
        }
        Ok(journal)
    }

    /// Whether a task ever wrote an entry that is still there.
    pub(super) fn knows(&self, reader: &Arc<Reader>, task: TaskId) -> Result<bool> {
        Ok(!self.entries(reader, task, 0)?.is_empty())
    }

    /// The newest commit of a task, where commits are records.
    pub(super) fn last_commit(&self, reader: &Arc<Reader>, task: TaskId) -> Result<Option<String>> {
        let _one = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let partition = self.partition(task);
        let (low, high) = reader.watermarks(&self.topic, partition)?;
        let key = commit_key(task);
        let mut tail = TAIL_MIN;
        loop {
            let from = high.saturating_sub(tail).max(low);
            let mut found = None;
            self.read(reader, partition, from, |line| {
                if line.key == key {
                    found = Some(String::from_utf8_lossy(&line.value).into_owned());
                }
            })?;
            if found.is_some() || from == low {
                return Ok(found);
            }
            tail = tail.saturating_mul(8);
        }
    }

    /// Removes the entries before number `index`, if that is worth it and the partition holds one task only.
    pub(super) fn trim(
        &self,
        reader: &Arc<Reader>,
        ops: impl Fn() -> Result<Ops>,
        task: TaskId,
        index: u64,
    ) -> Result<()> {
        let before = self.trimmed.lock().unwrap_or_else(PoisonError::into_inner).get(&task).copied().unwrap_or(0);
        if task.topic != 0 || index < before + TRIM_MIN {
            return Ok(());
        }
        if let Some((_, (offset, _))) = self.entries(reader, task, index)?.into_iter().next() {
            ops()?.delete_records(&self.topic, &[(self.partition(task), Some(offset))])?;
            self.trimmed.lock().unwrap_or_else(PoisonError::into_inner).insert(task, index);
        }
        Ok(())
    }

    /// Empties the topic.
    pub(super) fn forget(&self, reader: &Reader, ops: &Ops) -> Result<()> {
        let Some(partitions) = reader.partitions(&self.topic)? else { return Ok(()) };
        let all: Vec<_> = (0..partitions).map(|p| (p, None)).collect();
        ops.delete_records(&self.topic, &all)
    }
}
