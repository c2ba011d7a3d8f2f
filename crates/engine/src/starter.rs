//! A starter: brings tasks to their committed positions. One thread a worker, so that the tasks the worker owns already
//! go on while new ones are recovered; it ends when its worker has hung up.
//!
//! What to do is decided in [`crate::recovery`]; here it is done: the newest usable snapshot is loaded, and events and
//! journal after it are folded up to the committed position, with outputs suppressed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};

use millstream_connectors::codec::InputFormat;
use millstream_core::{
    CommitRecord, Delivery, Error, JournalEntry, Opener, PollLimit, Polled, Position, RawBatch, Result, Source, Store,
    TaskId,
};

use crate::artifacts::{self, Serving};
use crate::codes::STATE_LOST;
use crate::live::Live;
use crate::messages::{Cancel, Ready, StartOrder, Started};
use crate::owned::POLL_BYTES_MAX;
use crate::plan::Plan;
use crate::recovery::{self, Lack, Seen, Start, WayOut};
use crate::snapshot::{Loaded, SnapshotStore};
use crate::task::{Mode, NoProbe, Task};

/// Starts tasks for one worker.
pub struct Starter {
    pub(crate) plan: Arc<Plan>,
    pub(crate) live: Arc<Live>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) opener: Arc<dyn Opener>,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) format: InputFormat,
    /// What the user allows where state can't be rebuilt.
    pub(crate) way_out: Option<WayOut>,
    pub(crate) orders: Receiver<StartOrder>,
    pub(crate) started: SyncSender<Started>,
}

/// What a fold begins with.
struct Base {
    task: Task,
    from: Position,
    /// Journal entries that are in it already.
    journal_len: u64,
    serving: BTreeMap<String, String>,
}

impl Starter {
    /// Starts tasks until the worker has hung up.
    pub(crate) fn run(&self) {
        while let Ok(order) = self.orders.recv() {
            if !self.take(order) {
                break;
            }
        }
    }

    /// Starts one task, if one is waiting; whether there was one.
    pub fn step(&self) -> bool {
        self.orders.try_recv().is_ok_and(|order| self.take(order))
    }

    fn take(&self, order: StartOrder) -> bool {
        let StartOrder { task, lease, cancelled } = order;
        let ready = if cancelled.is_cancelled() { Ok(None) } else { self.start(task, &cancelled) };
        self.started.send(Started { task, lease, ready }).is_ok()
    }

    fn start(&self, id: TaskId, cancelled: &Cancel) -> Result<Option<Ready>> {
        let plan = &self.plan;
        let mut source = self.opener.open(id)?;
        // What can't be read again has no memory: each run begins with what comes now.
        let replayable = plan.source.spec.delivery() > Delivery::AtMostOnce;
        let commit = self.store.load_commit(&plan.name, id)?;
        if !plan.fingerprints().is_empty() {
            let (offset, epoch) = commit.as_ref().map_or((0, 0), |c| (c.position.offset, c.epoch));
            if let Err(error) = self.snapshots.remove_ahead(id, offset, epoch) {
                tracing::warn!(code = error.code().id, "{error}");
            }
        }
        let Some(record) = commit.clone().filter(|_| replayable) else {
            let start = source.position();
            let mut journal = vec![JournalEntry::Begin { at: start.offset }];
            journal.extend(artifacts::changes(plan, &BTreeMap::new(), start.offset));
            let task = Task::new(plan.clone(), id, &self.now())?;
            let record = commit.unwrap_or_default();
            return Ok(Some(Ready { task, source, start, journal, record, snapshot_now: false }));
        };
        self.live
            .resumed_after
            .fetch_add(record.position.offset.saturating_sub(record.start.offset), Ordering::Relaxed);
        let Some((task, snapshot_now)) = self.recover(id, &record, source.as_mut(), cancelled)? else {
            return Ok(None);
        };
        let journal = artifacts::changes(plan, &record.artifacts, record.position.offset);
        let task = if journal.is_empty() { task } else { self.with_serving(&task, &self.now())? };
        source.seek(&record.position)?;
        Ok(Some(Ready { task, source, start: record.start.clone(), journal, record, snapshot_now }))
    }

    fn now(&self) -> Serving {
        Serving::now(&self.plan, self.format.clone())
    }

    fn at(&self, digests: &BTreeMap<String, String>) -> Result<Serving> {
        artifacts::fetch(&self.plan, &self.snapshots, digests)?;
        Serving::at(&self.plan, self.format.clone(), digests)
    }

    /// The task at its committed position, with the models and tables that served there, and whether state was lost.
    fn recover(
        &self,
        id: TaskId,
        commit: &CommitRecord,
        source: &mut dyn Source,
        cancelled: &Cancel,
    ) -> Result<Option<(Task, bool)>> {
        let plan = &self.plan;
        let steps = plan.fingerprints();
        let snapshots = if steps.is_empty() { Vec::new() } else { self.load_snapshots(id, commit, &steps) };
        let headers: Vec<_> = snapshots.iter().map(|s| s.header.clone()).collect();
        let earliest = source.earliest()?;
        let mut reaches = |position: &Position| match &earliest {
            Some(earliest) => position.offset >= earliest.offset,
            None => source.seek(position).is_ok(),
        };
        let seen = Seen {
            commit: Some(commit),
            reaches: headers.iter().map(|h| h.position == commit.position || reaches(&h.position)).collect(),
            snapshots: &headers,
            steps: &steps,
            reaches_start: reaches(&commit.start),
            way_out: self.way_out,
        };
        let (base, to, lossy) = match recovery::decide(&seen) {
            Start::Fresh | Start::Stateless { .. } => {
                return Ok(Some((Task::new(plan.clone(), id, &self.at(&commit.artifacts)?)?, false)));
            }
            Start::Empty { .. } => {
                return Ok(Some((Task::new(plan.clone(), id, &self.at(&commit.artifacts)?)?, true)));
            }
            Start::Restore { snapshot, to, lost } => {
                (self.restore(id, &snapshots[snapshot], &lost)?, to, !lost.is_empty())
            }
            Start::Refold { from, to } => {
                tracing::info!(task = %id, "state is folded from the start of the input");
                (self.from_start(id, from)?, to, false)
            }
            Start::RefoldEarliest { to } => {
                let from = earliest.unwrap_or_else(|| commit.start.clone());
                tracing::warn!(task = %id, from = from.offset, "state is folded from the oldest event that is kept; what came before is missing in it");
                (self.from_start(id, from)?, to, true)
            }
            Start::Refuse { lack } => return Err(refusal(plan, id, &lack, earliest.as_ref())),
        };
        drop(snapshots);
        let journal = self.store.load_journal(&plan.name, id, base.journal_len)?;
        source.seek(&base.from)?;
        let folded = self.fold(base, source, to.offset, journal, cancelled)?;
        Ok(folded.map(|task| (task, lossy)))
    }

    /// Every snapshot up to the first that can serve, newest first. What does not check out is passed over.
    fn load_snapshots(&self, id: TaskId, commit: &CommitRecord, steps: &BTreeMap<String, String>) -> Vec<Loaded> {
        let mut snapshots = Vec::new();
        for snapshot in self.snapshots.load(id) {
            match snapshot {
                Ok(snapshot) => {
                    let serves = snapshot.header.position.offset <= commit.position.offset
                        && recovery::includes(&snapshot.header.steps, steps);
                    snapshots.push(snapshot);
                    if serves {
                        break;
                    }
                }
                Err(error) => tracing::warn!(code = error.code().id, "{error}"),
            }
        }
        snapshots
    }

    fn restore(&self, id: TaskId, chosen: &Loaded, lost: &[String]) -> Result<Base> {
        let header = &chosen.header;
        let mut task = Task::new(self.plan.clone(), id, &self.at(&header.artifacts)?)?;
        task.resume(chosen, lost)?;
        let (from, journal_len, serving) = (header.position.clone(), header.journal_len, header.artifacts.clone());
        Ok(Base { task, from, journal_len, serving })
    }

    fn from_start(&self, id: TaskId, from: Position) -> Result<Base> {
        let journal = self.store.load_journal(&self.plan.name, id, 0)?;
        let mut serving = BTreeMap::new();
        for entry in journal.iter().take_while(|e| e.at() <= from.offset) {
            if let JournalEntry::Artifact { name, digest, .. } = entry {
                serving.insert(name.clone(), digest.clone());
            }
        }
        let task = Task::new(self.plan.clone(), id, &self.at(&serving)?)?;
        Ok(Base { task, from, journal_len: 0, serving })
    }

    /// Folds events and journal up to offset `to`, outputs suppressed; `None` if it was cancelled.
    fn fold(
        &self,
        base: Base,
        source: &mut dyn Source,
        to: u64,
        journal: Vec<JournalEntry>,
        cancelled: &Cancel,
    ) -> Result<Option<Task>> {
        let Base { mut task, from, mut serving, .. } = base;
        let left = Left::new(&self.live, to.saturating_sub(from.offset));
        let mut journal = journal.into_iter().peekable();
        let mut ahead = RawBatch::new(task.id());
        loop {
            if cancelled.is_cancelled() {
                return Ok(None);
            }
            let next = if ahead.is_empty() { source.position().offset } else { ahead.offset(0) };
            left.set(to.saturating_sub(next));
            while let Some(entry) = journal.next_if(|e| e.at() <= next.min(to)) {
                task = self.apply(task, &entry, &mut serving)?;
            }
            if ahead.is_empty() && next < to {
                let limit = PollLimit { records: self.plan.settings.batch_rows_max, bytes: POLL_BYTES_MAX };
                self.read_ahead(source, limit, to, &mut ahead)?;
            }
            // Up to the next journal entry or the end of the fold, whichever comes first.
            let until = journal.peek().map_or(to, |e| e.at().min(to));
            let count = (0..ahead.len()).take_while(|&i| ahead.offset(i) < until).count();
            if count == 0 && (ahead.is_empty() || ahead.offset(0) >= to) && source.position().offset >= to {
                break;
            }
            if count > 0 {
                let rest = ahead.part(count..ahead.len());
                let now = if rest.is_empty() { ahead } else { ahead.part(0..count) };
                self.live.folded.fetch_add(count as u64, Ordering::Relaxed);
                task.feed(Arc::new(now), Mode::Fold, &mut NoProbe)?;
                ahead = rest;
            }
        }
        // Entries written at the committed position itself, after its last event.
        for entry in journal {
            task = self.apply(task, &entry, &mut serving)?;
        }
        Ok(Some(task))
    }

    fn read_ahead(&self, source: &mut dyn Source, limit: PollLimit, to: u64, ahead: &mut RawBatch) -> Result<()> {
        let next = source.position().offset;
        match source.poll(limit, ahead)? {
            Polled::Records => Ok(()),
            // An input may end in offsets without records (empty lines, say).
            _ if source.position().offset >= to => Ok(()),
            // A reader over a network is still on its way to what is known to be there.
            Polled::CaughtUp if self.plan.source.spec.kafka().is_some() => {
                std::thread::sleep(std::time::Duration::from_millis(1));
                Ok(())
            }
            _ => Err(Error::new(
                STATE_LOST,
                format!("`{}` ends at offset {next}, before the committed offset {to}", self.plan.source.name),
            )
            .help("the input is shorter than it was: put it back, or start over with `--fresh`")),
        }
    }

    fn apply(&self, mut task: Task, entry: &JournalEntry, serving: &mut BTreeMap<String, String>) -> Result<Task> {
        match entry {
            JournalEntry::Begin { .. } => Ok(task),
            JournalEntry::Advance { at, watermark, .. } => {
                task.advance(*at, *watermark, Mode::Fold, &mut NoProbe)?;
                Ok(task)
            }
            JournalEntry::Artifact { name, digest, .. } => {
                if serving.insert(name.clone(), digest.clone()).as_ref() == Some(digest) {
                    return Ok(task);
                }
                self.with_serving(&task, &self.at(serving)?)
            }
        }
    }

    /// The same state under other models and tables.
    fn with_serving(&self, task: &Task, serving: &Serving) -> Result<Task> {
        let state = task.snapshot();
        let mut task = Task::new(self.plan.clone(), task.id(), serving)?;
        task.restore(&state, &[])?;
        Ok(task)
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
        self.live.fold_left.fetch_sub(self.share.replace(share).saturating_sub(share), Ordering::Relaxed);
    }
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}

fn refusal(plan: &Plan, id: TaskId, lack: &Lack, earliest: Option<&Position>) -> Error {
    let source = &plan.source.name;
    let quoted = |names: &[String]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let oldest = earliest.map_or("a later place".to_owned(), |e| format!("offset {}", e.offset));
    let message = match lack {
        Lack::Retention { snapshot } => format!(
            "task {id}: `{source}` begins at {oldest} now, but the newest snapshot is of offset {snapshot}: events between \
             are gone"
        ),
        Lack::State { lost } => format!(
            "task {id}: the state of {} can't be rebuilt: `{source}` begins at {oldest} now, and no snapshot holds it",
            quoted(lost)
        ),
    };
    Error::new(STATE_LOST, message).help(
        "choose what to go on with: `--rebuild-from earliest` folds what the input still has, `--state empty` starts these \
         steps empty, `--fresh` starts all over",
    )
}
