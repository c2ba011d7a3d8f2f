//! What one write holds: the epochs of some tasks, kept until the outcome is known, so that they can be sent again.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use millstream_core::{Chunk, CommitRecord, Delivery, Error, JournalEntry, Lease, Result, TaskId, Txn};

use super::store::KafkaStore;
use super::write::Write;
use super::writer::Writer;
use crate::codes::KAFKA_COMMIT;

/// The part of one task.
#[derive(Default)]
pub(super) struct Part {
    pub(super) task: TaskId,
    pub(super) lease: Lease,
    pub(super) appends: Vec<Append>,
    pub(super) journal: Vec<(String, String)>,
    pub(super) record: Option<CommitRecord>,
}

pub(super) struct Append {
    pub(super) topic: String,
    pub(super) partition: u32,
    pub(super) chunk: Arc<Chunk>,
    pub(super) records: Range<usize>,
}

/// A producer, and how often it was cut off.
#[derive(Default)]
pub(super) struct Producing {
    pub(super) writer: Option<Writer>,
    pub(super) cuts: VecDeque<Instant>,
    /// When the last transaction was committed.
    pub(super) committed: Option<Instant>,
}

/// A write in the making.
pub(super) struct KafkaTxn<'a> {
    store: &'a KafkaStore,
    parts: Vec<Part>,
}

impl<'a> KafkaTxn<'a> {
    pub(super) fn new(store: &'a KafkaStore) -> Self {
        Self { store, parts: Vec::new() }
    }

    fn part(&mut self) -> &mut Part {
        if self.parts.is_empty() {
            self.parts.push(Part::default());
        }
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }
}

impl Txn for KafkaTxn<'_> {
    fn task(&mut self, task: TaskId, lease: Lease) {
        if self.parts.last().is_none_or(|part| part.task != task || part.lease != lease) {
            self.parts.push(Part { task, lease, ..Part::default() });
        }
    }

    fn append(&mut self, topic: &str, partition: u32, chunk: &Arc<Chunk>, records: Range<usize>) -> Result<()> {
        self.part().appends.push(Append { topic: topic.to_owned(), partition, chunk: chunk.clone(), records });
        Ok(())
    }

    fn put_commit(&mut self, _pipeline: &str, task: TaskId, record: &CommitRecord) -> Result<()> {
        let part = self.part();
        part.task = task;
        part.record = Some(record.clone());
        Ok(())
    }

    fn put_journal(&mut self, _pipeline: &str, task: TaskId, index: u64, entry: &JournalEntry) -> Result<()> {
        let json = serde_json::to_string(entry)
            .map_err(|e| Error::new(KAFKA_COMMIT, "a journal entry can't be encoded").because(e))?;
        self.part().journal.push((super::journal::entry_key(task, index), json));
        Ok(())
    }

    fn commit(self: Box<Self>, _sync: bool) -> Result<Vec<TaskId>> {
        let mut producing = self.store.producing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut write = Write::new(self.store, &mut producing, self.parts);
        match self.store.delivery {
            Delivery::ExactlyOnce => write.exactly_once()?,
            _ => write.at_least_once()?,
        }
        Ok(write.lost)
    }
}
