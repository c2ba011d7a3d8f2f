//! What a source is: a reader of one partition, and a member of the group that shares the partitions out.

use std::sync::Arc;

use crate::error::Result;
use crate::position::{Lease, Position, TaskId};
use crate::record::RawBatch;

/// How much one poll may bring.
#[derive(Clone, Copy, Debug)]
pub struct PollLimit {
    /// Records at most; at least 1.
    pub records: usize,
    /// Stop after the record that reaches this many bytes.
    pub bytes: usize,
}

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// At least one record was added.
    Records,
    /// Nothing now: the reader is caught up with the input's end, and more may come.
    CaughtUp,
    /// Nothing now, and whether the input goes on is not known: what was asked for is on its way, or the input is out of
    /// reach. No evidence of silence.
    Waiting,
    /// Nothing, and nothing will come: a bounded input has ended.
    End,
}

/// Reads one partition in order. Owned by one worker thread; never blocks for more than a few milliseconds.
pub trait Source: Send {
    /// Appends records from the reader's place to `out`, up to `limit`, and moves past them.
    ///
    /// # Errors
    /// The input can't be read; the message says which and what to do. Records are never skipped.
    fn poll(&mut self, limit: PollLimit, out: &mut RawBatch) -> Result<Polled>;

    /// Where the next poll starts.
    fn position(&self) -> Position;

    /// Goes to a position this source returned earlier, perhaps in another process.
    ///
    /// # Errors
    /// The input no longer reaches back to that position, or is not the same input.
    fn seek(&mut self, position: &Position) -> Result<()>;

    /// The oldest position that [`Source::seek`] can still go to, where the input forgets its beginning.
    ///
    /// # Errors
    /// The input can't be asked.
    fn earliest(&mut self) -> Result<Option<Position>> {
        Ok(None)
    }

    /// How many records lie ahead, where that is known.
    fn lag(&self) -> Option<u64>;

    /// How much of a bounded input has been read, 0.0 to 1.0, where that is known.
    fn fraction_read(&self) -> Option<f64> {
        None
    }
}

/// A change of what a worker owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// These tasks are this worker's from now on.
    Assigned(Vec<(TaskId, Lease)>),
    /// These tasks are to be handed over: finish their epochs, then call [`Member::release`].
    Revoked(Vec<TaskId>),
    /// These tasks are someone else's already: throw away what is not committed, then call [`Member::release`].
    Lost(Vec<TaskId>),
}

/// A worker's membership in whatever shares the input's partitions out. Owned by one worker thread.
pub trait Member: Send {
    /// What changed since the last call, one change at a time. Never blocks for more than a few milliseconds; must
    /// be called at least every few seconds, since that is what keeps the membership alive.
    ///
    /// # Errors
    /// The membership can't be kept, and waiting would not help.
    fn poll(&mut self) -> Result<Option<Change>>;

    /// Opens the readers of assigned tasks, on any thread.
    fn opener(&self) -> Arc<dyn Opener>;

    /// Gives tasks back that were revoked or lost. Their readers have been dropped.
    ///
    /// # Errors
    /// As for [`Member::poll`].
    fn release(&mut self, tasks: &[TaskId]) -> Result<()>;

    /// Tasks of other workers that this one should keep a warm copy of, so that each task has `copies` of them among the
    /// group; `None` if that is not known now. Never blocks for more than a few milliseconds.
    ///
    /// # Errors
    /// As for [`Member::poll`].
    fn standbys(&mut self, _copies: usize) -> Result<Option<Vec<TaskId>>> {
        Ok(None)
    }

    /// Whether more tasks may be assigned later. If not, a run ends when all tasks have ended.
    fn is_open(&self) -> bool;

    /// Leaves, so that others take over at once. All epochs are committed or given up.
    ///
    /// # Errors
    /// The others will notice by themselves, later.
    fn leave(&mut self) -> Result<()>;
}

/// Opens readers of partitions.
pub trait Opener: Send + Sync {
    /// Opens the reader of one task, at the place where a pipeline that never committed begins. May wait for the
    /// network.
    ///
    /// # Errors
    /// It does not exist or can't be read.
    fn open(&self, task: TaskId) -> Result<Box<dyn Source>>;
}
