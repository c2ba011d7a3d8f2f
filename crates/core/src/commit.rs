//! The store that makes an epoch atomic: outputs, positions and journal together, or none of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::journal::JournalEntry;
use crate::position::{Lease, Position, TaskId};
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

/// One atomic write: the epochs of one or more tasks.
pub trait Txn {
    /// What follows, up to the next call, belongs to `task` and counts only while `lease` lasts.
    fn task(&mut self, task: TaskId, lease: Lease);

    /// Appends records to a partition of a topic of the store. The chunk may be kept, so that the records can be sent
    /// again.
    ///
    /// # Errors
    /// The topic or partition does not exist.
    fn append(&mut self, topic: &str, partition: u32, chunk: &Arc<Chunk>, records: Range<usize>) -> Result<()>;

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

    /// Commits all of it, but for the parts of tasks whose leases have ended: it gives those tasks, and whoever owns them
    /// now computes the same again. Then the write survives a crash of the process; with `sync` it survives a loss of
    /// power too. Waits and tries again for as long as that can help: see [`Store::hurry`]. A writer that is cut off
    /// settles here whether its write holds.
    ///
    /// # Errors
    /// What ends the run: nothing was written, or (said in the message) the outcome is unknown.
    fn commit(self: Box<Self>, sync: bool) -> Result<Vec<TaskId>>;
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

    /// Allows the journal of a task before entry `index` to be removed: a snapshot that is kept has it folded in, and
    /// the input no longer reaches back to before it. Stores that keep all of it do nothing.
    ///
    /// # Errors
    /// The store can't be written.
    fn trim_journal(&self, _pipeline: &str, _task: TaskId, _index: u64) -> Result<()> {
        Ok(())
    }

    /// The run is ending: a commit that can't be had within `patience` is to be given up.
    fn hurry(&self, _patience: Duration) {}

    /// Forgets a pipeline's commits and journal.
    ///
    /// # Errors
    /// The store can't be written.
    fn forget(&self, pipeline: &str) -> Result<()>;
}
