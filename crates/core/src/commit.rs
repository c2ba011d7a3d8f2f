//! The store that makes an epoch atomic: outputs, positions and journal together, or none of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::journal::JournalEntry;
use crate::position::{Position, TaskId};
use crate::sink::{Chunk, Receipt};

/// The state of one task's commits: what the newest committed epoch says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// Counts the task's epochs from 1.
    pub epoch: u64,
    /// Where the task read its first record: what a fold from the very beginning starts at.
    pub start: Position,
    /// The next record to read.
    pub position: Position,
    /// How many journal entries the task has written in all.
    pub journal_len: u64,
    /// The newest receipt of every output, by output name.
    pub receipts: BTreeMap<String, Receipt>,
    /// Digest of each model and table that serves, by journal name.
    pub artifacts: BTreeMap<String, String>,
}

/// One atomic write.
pub trait Txn {
    /// Appends records to a partition of a topic of the embedded log.
    ///
    /// # Errors
    /// The topic or partition does not exist.
    fn append(&mut self, topic: &str, partition: u32, chunk: &Chunk, records: std::ops::Range<usize>) -> Result<()>;

    /// Sets a task's commit record.
    ///
    /// # Errors
    /// The record can't be encoded.
    fn put_commit(&mut self, pipeline: &str, task: TaskId, record: &CommitRecord) -> Result<()>;

    /// Appends a journal entry as number `index` (from 0) of a task.
    ///
    /// # Errors
    /// The entry can't be encoded.
    fn put_journal(&mut self, pipeline: &str, task: TaskId, index: u64, entry: &JournalEntry) -> Result<()>;

    /// Commits all of it. When this returns `Ok` the write survives a crash of the process; with `sync` it
    /// survives a loss of power too.
    ///
    /// # Errors
    /// Nothing was written, or (said in the message) the outcome is unknown.
    fn commit(self: Box<Self>, sync: bool) -> Result<()>;
}

/// Where commits live. Shared between threads.
pub trait Store: Send + Sync {
    /// Opens an atomic write.
    fn begin(&self) -> Box<dyn Txn + '_>;

    /// The newest commit record of a task, if it ever committed.
    ///
    /// # Errors
    /// The store is damaged or can't be read.
    fn load_commit(&self, pipeline: &str, task: TaskId) -> Result<Option<CommitRecord>>;

    /// Every task of a pipeline that ever committed, with its record.
    ///
    /// # Errors
    /// The store is damaged or can't be read.
    fn load_commits(&self, pipeline: &str) -> Result<Vec<(TaskId, CommitRecord)>>;

    /// The journal of a task from entry number `from`, in order.
    ///
    /// # Errors
    /// The store is damaged or can't be read.
    fn load_journal(&self, pipeline: &str, task: TaskId, from: u64) -> Result<Vec<JournalEntry>>;

    /// Forgets a pipeline's commits and journal.
    ///
    /// # Errors
    /// The store can't be written.
    fn forget(&self, pipeline: &str) -> Result<()>;
}
