//! Atomic writes, and the commits and journals of pipelines.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use millstream_core::commit::CommitRecord;
use millstream_core::{Chunk, Error, JournalEntry, Lease, Result, Store, TaskId, Txn};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::blob::{Blob, BlobWriter};
use super::keys;
use super::store::{LogStore, check_size, now_ms, read_failed};
use super::topic::{PartitionInfo, Topic, encode_bounds};
use crate::codes::{LOG_DAMAGED, LOG_WRITE};

/// One atomic write to the log: records of any topics, commits, journal entries.
///
/// Records get their offsets when it commits; what is encoded before takes no lock.
pub(super) struct LogTxn<'a> {
    store: &'a LogStore,
    appends: Vec<(Arc<Topic>, u32, Vec<Blob>)>,
    values: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<'a> LogTxn<'a> {
    pub(super) fn new(store: &'a LogStore) -> Self {
        Self { store, appends: Vec::new(), values: Vec::new() }
    }

    /// Adds blobs of one partition.
    pub(super) fn add(&mut self, topic: &str, partition: u32, blobs: Vec<Blob>) -> Result<()> {
        let topic = self.store.topic(topic)?;
        topic.bounds(partition)?;
        self.appends.push((topic, partition, blobs));
        Ok(())
    }

    fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T, what: &str) -> Result<()> {
        let json = serde_json::to_vec(value)
            .map_err(|e| Error::new(LOG_WRITE, format!("{what} can't be encoded")).because(e))?;
        let sealed = keys::seal(&key, &json);
        self.values.push((key, sealed));
        Ok(())
    }

    /// Commits, and gives the first offset each partition number got (of the last topic, where there are several).
    pub(super) fn commit_all(self, sync: bool) -> Result<BTreeMap<u32, u64>> {
        let store = self.store;
        let mut writer = store.writer()?;
        let mut batch = store.batch();
        let mut ends: BTreeMap<(u32, u32), (Arc<Topic>, PartitionInfo)> = BTreeMap::new();
        let mut bases = BTreeMap::new();
        for (topic, partition, blobs) in self.appends {
            let known = topic.bounds(partition)?.info();
            let (_, info) = ends.entry((topic.id, partition)).or_insert_with(|| (topic.clone(), known));
            bases.entry(partition).or_insert(info.end);
            for blob in blobs {
                info.bytes += blob.bytes.len() as u64;
                batch.insert(store.rows(), keys::blob(topic.id, partition, info.end), blob.bytes);
                info.end += u64::from(blob.count);
            }
        }
        for ((topic, partition), (_, info)) in &ends {
            let key = keys::partition(*topic, *partition);
            let value = encode_bounds(&key, *info);
            batch.insert(store.rows(), key, value);
        }
        for (key, value) in self.values {
            batch.insert(store.rows(), key, value);
        }
        if batch.is_empty() && !sync {
            return Ok(bases);
        }
        store.apply(&mut writer, batch, sync)?;
        for ((_, partition), (topic, info)) in &ends {
            topic.bounds(*partition)?.set(*info);
        }
        drop(writer);
        if !ends.is_empty() {
            store.notify();
        }
        Ok(bases)
    }
}

impl Txn for LogTxn<'_> {
    /// The log has one owner at a time: a lease can't end while it is held.
    fn task(&mut self, _task: TaskId, _lease: Lease) {}

    fn append(&mut self, topic: &str, partition: u32, chunk: &Arc<Chunk>, records: Range<usize>) -> Result<()> {
        let part = |(start, length): (u32, u32)| {
            chunk
                .data
                .get(start as usize..start as usize + length as usize)
                .ok_or_else(|| Error::new(LOG_WRITE, format!("a record for topic `{topic}` lies outside its chunk")))
        };
        let mut writer = BlobWriter::new(now_ms());
        for record in chunk.records.get(records).unwrap_or_default() {
            let key = record.key.map(part).transpose()?;
            let value = record.value.map(part).transpose()?;
            check_size(topic, key, value, &record.headers)?;
            writer.push(key, value, record.timestamp_ms, &record.headers);
        }
        self.add(topic, partition, writer.finish())
    }

    fn put_commit(&mut self, pipeline: &str, task: TaskId, record: &CommitRecord) -> Result<()> {
        self.put(keys::commit(pipeline, task), record, "a commit")
    }

    fn put_journal(&mut self, pipeline: &str, task: TaskId, index: u64, entry: &JournalEntry) -> Result<()> {
        self.put(keys::journal_entry(pipeline, task, index), entry, "a journal entry")
    }

    fn commit(self: Box<Self>, sync: bool) -> Result<Vec<TaskId>> {
        self.commit_all(sync).map(|_| Vec::new())
    }
}

impl LogStore {
    /// Sets the newest commits of tasks, in one write, and removes what their journals hold beyond them.
    ///
    /// # Errors
    /// The log can't be written.
    pub fn set_commits(&self, pipeline: &str, commits: &[(TaskId, CommitRecord)]) -> Result<()> {
        let mut writer = self.writer()?;
        let mut batch = self.batch();
        for (task, record) in commits {
            let first = keys::journal_entry(pipeline, *task, record.journal_len);
            for entry in self.rows().range(first..=keys::journal_entry(pipeline, *task, u64::MAX)) {
                batch.remove(self.rows(), entry.key().map_err(read_failed)?);
            }
            let key = keys::commit(pipeline, *task);
            let json = serde_json::to_vec(record)
                .map_err(|e| Error::new(LOG_WRITE, "a commit can't be encoded").because(e))?;
            let sealed = keys::seal(&key, &json);
            batch.insert(self.rows(), key, sealed);
        }
        self.apply(&mut writer, batch, true)
    }
}

fn read_back<T: DeserializeOwned>(key: &[u8], sealed: &[u8], what: &str) -> Result<T> {
    let json = keys::unseal(key, sealed, what)?;
    serde_json::from_slice(json).map_err(|e| Error::new(LOG_DAMAGED, format!("{what} does not read back")).because(e))
}

impl Store for LogStore {
    fn begin(&self) -> Box<dyn Txn + '_> {
        Box::new(LogTxn::new(self))
    }

    fn load_commit(&self, pipeline: &str, task: TaskId) -> Result<Option<CommitRecord>> {
        let key = keys::commit(pipeline, task);
        let sealed = self.rows().get(&key).map_err(read_failed)?;
        sealed.map(|sealed| read_back(&key, &sealed, "a commit")).transpose()
    }

    fn load_commits(&self, pipeline: &str) -> Result<Vec<(TaskId, CommitRecord)>> {
        let mut commits = Vec::new();
        for entry in self.rows().prefix(keys::commits(pipeline)) {
            let (key, sealed) = entry.into_inner().map_err(read_failed)?;
            let task = TaskId::new(keys::tail_u32(&key).unwrap_or_default());
            commits.push((task, read_back(&key, &sealed, "a commit")?));
        }
        Ok(commits)
    }

    fn load_journal(&self, pipeline: &str, task: TaskId, from: u64) -> Result<Vec<JournalEntry>> {
        let first = keys::journal_entry(pipeline, task, from);
        let last = keys::journal_entry(pipeline, task, u64::MAX);
        let mut entries = Vec::new();
        for (expected, entry) in (from..).zip(self.rows().range(first..=last)) {
            let (key, sealed) = entry.into_inner().map_err(read_failed)?;
            if keys::tail_u64(&key) != Some(expected) {
                return Err(Error::new(
                    LOG_DAMAGED,
                    format!("the journal of task {task} of `{pipeline}` lacks entry {expected}"),
                )
                .help("restore the data directory from a backup, or start the pipeline anew with `--fresh`"));
            }
            entries.push(read_back(&key, &sealed, "a journal entry")?);
        }
        Ok(entries)
    }

    fn forget(&self, pipeline: &str) -> Result<()> {
        let mut writer = self.writer()?;
        let mut batch = self.batch();
        for prefix in [keys::commits(pipeline), keys::journals(pipeline)] {
            for entry in self.rows().prefix(prefix) {
                batch.remove(self.rows(), entry.key().map_err(read_failed)?);
            }
        }
        self.apply(&mut writer, batch, true)
    }
}
