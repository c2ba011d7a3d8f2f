//! A fold: a task on its way to a committed position, outputs suppressed.
//!
//! `state(task, n) = fold(events[0..n], journal[0..n])`: here is the fold. A starter folds a task that its worker is given
//! up to the newest commit; a warm copy is folded along, a piece at a time, behind whoever owns the task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millstream_connectors::codec::InputFormat;
use millstream_core::{Error, JournalEntry, PollLimit, Polled, Position, RawBatch, Result, Source, TaskId};

use crate::artifacts::{self, Serving};
use crate::codes::STATE_LOST;
use crate::live::Live;
use crate::messages::Cancel;
use crate::owned::POLL_BYTES_MAX;
use crate::plan::Plan;
use crate::snapshot::SnapshotStore;
use crate::task::{Mode, NoProbe, Task};

/// How long to wait for a reader over a network that is still on its way to what is known to be there.
const READER_NAP: Duration = Duration::from_millis(1);

/// What a fold needs to build tasks from.
#[derive(Clone)]
pub(crate) struct Workshop {
    pub(crate) plan: Arc<Plan>,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) format: InputFormat,
}

impl Workshop {
    /// An empty task under the models and tables as they are now.
    pub(crate) fn new_task(&self, id: TaskId) -> Result<Task> {
        Task::new(self.plan.clone(), id, &Serving::now(&self.plan, self.format.clone()))
    }

    /// An empty task under the models and tables with these digests.
    pub(crate) fn task_at(&self, id: TaskId, digests: &BTreeMap<String, String>) -> Result<Task> {
        artifacts::fetch(&self.plan, &self.snapshots, digests)?;
        Task::new(self.plan.clone(), id, &Serving::at(&self.plan, self.format.clone(), digests)?)
    }

    /// The state of `task` in a task built anew.
    pub(crate) fn moved(&self, task: &Task, into: Task) -> Result<Task> {
        let mut into = into;
        into.restore(&task.snapshot(), &[])?;
        Ok(into)
    }
}

/// A task under way.
pub(crate) struct Fold {
    pub(crate) task: Task,
    pub(crate) source: Box<dyn Source>,
    /// The next event to fold.
    pub(crate) at: Position,
    /// Journal entries that are folded in.
    pub(crate) journal_len: u64,
    /// The models and tables that serve at `at`.
    pub(crate) serving: BTreeMap<String, String>,
    /// Events that were read and lie at or behind where the fold last stopped.
    ahead: RawBatch,
}

impl Fold {
    /// Begins at a snapshot's position, or wherever `task` is of. The source may stand anywhere.
    pub(crate) fn begin(
        task: Task,
        mut source: Box<dyn Source>,
        at: Position,
        journal_len: u64,
        serving: BTreeMap<String, String>,
    ) -> Result<Self> {
        source.seek(&at)?;
        let ahead = RawBatch::new(task.id());
        Ok(Self { task, source, at, journal_len, serving, ahead })
    }

    /// Folds up to `to` with the journal's next entries; whether it got there before it was cancelled.
    pub(crate) fn run(
        &mut self,
        workshop: &Workshop,
        to: &Position,
        journal: Vec<JournalEntry>,
        cancelled: &Cancel,
        live: Option<&Live>,
    ) -> Result<bool> {
        let left = live.map(|live| Left::new(live, to.offset.saturating_sub(self.at.offset)));
        let mut journal = journal.into_iter().peekable();
        loop {
            if cancelled.is_cancelled() {
                return Ok(false);
            }
            let next = if self.ahead.is_empty() { self.source.position().offset } else { self.ahead.offset(0) };
            if let Some(left) = &left {
                left.set(to.offset.saturating_sub(next));
            }
            while let Some(entry) = journal.next_if(|e| e.at() <= next.min(to.offset)) {
                self.apply(workshop, &entry)?;
            }
            if self.ahead.is_empty() && next < to.offset {
                self.read_ahead(&workshop.plan, to.offset)?;
            }
            // Up to the next journal entry or the end of the fold, whichever comes first.
            let until = journal.peek().map_or(to.offset, |e| e.at().min(to.offset));
            let count = (0..self.ahead.len()).take_while(|&i| self.ahead.offset(i) < until).count();
            let passed = if self.ahead.is_empty() { self.source.position().offset } else { self.ahead.offset(0) };
            if count == 0 && passed >= to.offset {
                break;
            }
            if count > 0 {
                self.feed(count)?;
                if let Some(live) = live {
                    live.folded.fetch_add(count as u64, Ordering::Relaxed);
                }
            }
        }
        // Entries written at the committed position itself, after its last event.
        for entry in journal {
            self.apply(workshop, &entry)?;
        }
        self.at = to.clone();
        Ok(true)
    }

    fn feed(&mut self, count: usize) -> Result<()> {
        let rest = self.ahead.part(count..self.ahead.len());
        let ahead = std::mem::replace(&mut self.ahead, rest);
        let now = if self.ahead.is_empty() { ahead } else { ahead.part(0..count) };
        self.task.feed(Arc::new(now), Mode::Fold, &mut NoProbe)
    }

    fn read_ahead(&mut self, plan: &Plan, to: u64) -> Result<()> {
        let limit = PollLimit { records: plan.settings.batch_rows_max, bytes: POLL_BYTES_MAX };
        let next = self.source.position().offset;
        match self.source.poll(limit, &mut self.ahead)? {
            Polled::Records => Ok(()),
            // An input may end in offsets without records (empty lines, say).
            _ if self.source.position().offset >= to => Ok(()),
            Polled::Waiting => {
                std::thread::sleep(READER_NAP);
                Ok(())
            }
            _ => Err(Error::new(
                STATE_LOST,
                format!("`{}` ends at offset {next}, before the committed offset {to}", plan.source.name),
            )
            .help("the input is shorter than it was: put it back, or start over with `--fresh`")),
        }
    }

    fn apply(&mut self, workshop: &Workshop, entry: &JournalEntry) -> Result<()> {
        self.journal_len += 1;
        match entry {
            JournalEntry::Begin { .. } => Ok(()),
            JournalEntry::Advance { at, watermark, .. } => self.task.advance(*at, *watermark, Mode::Fold, &mut NoProbe),
            JournalEntry::Artifact { name, digest, .. } => {
                if self.serving.insert(name.clone(), digest.clone()).as_ref() != Some(digest) {
                    let into = workshop.task_at(self.task.id(), &self.serving)?;
                    self.task = workshop.moved(&self.task, into)?;
                }
                Ok(())
            }
        }
    }
}

/// This fold's share of the events that are left to fold.
struct Left<'a> {
    live: &'a Live,
    share: std::cell::Cell<u64>,
}

impl<'a> Left<'a> {
    fn new(live: &'a Live, share: u64) -> Self {
        live.fold_left.fetch_add(share, Ordering::Relaxed);
        Self { live, share: share.into() }
    }

    fn set(&self, share: u64) {
        let before = self.share.get();
        if share < before {
            self.live.fold_left.fetch_sub(before - share, Ordering::Relaxed);
            self.share.set(share);
        }
    }
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}
