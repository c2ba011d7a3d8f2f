//! What workers, starters and committers say to each other. All channels are bounded; only the committer and the
//! starter ever wait on one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream_core::{Chunk, CommitRecord, JournalEntry, Lease, Position, Result, Source, TaskId};

use crate::snapshot::StateCut;
use crate::task::Task;

/// Messages that may wait between a worker and its committer.
pub(crate) const COMMITTER_QUEUE_MAX: usize = 64;
/// Notices that may wait for a worker: more than a worker can have asked for.
pub(crate) const NOTICES_MAX: usize = 4096;
/// Tasks that may wait to be started, or to be taken over by the worker.
pub(crate) const STARTS_MAX: usize = 4096;

/// To a committer, with the number of the worker that sends it. Handled in order.
pub(crate) enum Order {
    /// A worker has taken a task over at its committed position: bring the outputs there too.
    Adopt { task: TaskId, lease: Lease, record: CommitRecord },
    /// Commit this.
    Commit(Epoch),
    /// The worker gives the task up.
    Release { task: TaskId, lease: Lease },
}

/// From a committer to a worker.
#[derive(Debug)]
pub(crate) enum Notice {
    /// An epoch of the task was committed, or left out because its lease had ended.
    Done { task: TaskId, lease: Lease },
    /// The outputs of the task are closed; everything of it that could be committed is.
    Released { task: TaskId, lease: Lease },
}

/// What one task commits at once.
pub(crate) struct Epoch {
    pub(crate) task: TaskId,
    pub(crate) lease: Lease,
    /// Where the task first began.
    pub(crate) start: Position,
    /// The next record to read.
    pub(crate) position: Position,
    pub(crate) journal: Vec<JournalEntry>,
    /// One chunk an output, dead letters last; empty ones are passed over.
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) events: u64,
    /// When the first event of the epoch was read, by the engine's clock.
    pub(crate) opened: Duration,
    /// The state at `position`, if a snapshot is due.
    pub(crate) state: Option<StateCut>,
    /// The snapshot must not be skipped: the task ends here.
    pub(crate) last: bool,
}

/// To a starter.
pub(crate) enum StartOrder {
    /// Bring this task to its committed position.
    Start { task: TaskId, lease: Lease, cancelled: Cancel },
    /// Keep warm copies of these tasks, and of no others.
    Warm(Vec<TaskId>),
}

/// A task that was started, at its committed position.
pub(crate) struct Started {
    pub(crate) task: TaskId,
    pub(crate) lease: Lease,
    /// `None` if it was cancelled.
    pub(crate) ready: Result<Option<Ready>>,
}

/// All that a worker needs to go on with a task.
pub(crate) struct Ready {
    pub(crate) task: Task,
    pub(crate) source: Box<dyn Source>,
    pub(crate) start: Position,
    /// Entries that the next epoch commits.
    pub(crate) journal: Vec<JournalEntry>,
    /// The newest commit; empty if there is none.
    pub(crate) record: CommitRecord,
    /// State was lost on the user's word: a snapshot now keeps a later start from asking again.
    pub(crate) snapshot_now: bool,
}

/// Tells a starter to give up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub(crate) fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
