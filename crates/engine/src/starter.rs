//! A starter: brings tasks to their committed positions. One thread a worker, so that the tasks the worker owns already
//! go on while new ones are recovered; it ends when its worker has hung up. Several tasks that come at once are started by
//! as many threads as there are cores, up to a bound: where partitions move, each waits for its own state only.
//!
//! What to do is decided in [`crate::recovery`]; here it is done: the newest usable snapshot is loaded, and events and
//! journal after it are folded up to the committed position. Between orders it folds warm copies along, of tasks that other
//! workers own (`standby:`): a worker that is given such a task has little left to fold.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream_core::{
    CommitRecord, Delivery, Error, JournalEntry, Lease, Opener, Position, Result, Source, Store, TaskId,
};

use crate::artifacts;
use crate::codes::{STATE_LOCATION, STATE_LOST};
use crate::fold::{Fold, Workshop};
use crate::live::Live;
use crate::messages::{Cancel, Ready, STARTS_MAX, StartOrder, Started};
use crate::plan::Plan;
use crate::recovery::{self, Lack, Seen, Start, WayOut};
use crate::snapshot::Loaded;
use crate::task::Task;

/// How often warm copies look for new commits.
const WARM_EVERY: Duration = Duration::from_millis(250);

/// Tasks that one starter brings to their positions at the same time, at most: each holds a snapshot in memory.
const AT_ONCE_MAX: usize = 4;
/// How often a starter with tasks in the making looks for more orders.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Starts tasks for one worker.
pub struct Starter {
    pub(crate) recoverer: Recoverer,
    pub(crate) orders: Receiver<StartOrder>,
    pub(crate) started: SyncSender<Started>,
    /// Copies of tasks that others own.
    pub(crate) warm: BTreeMap<TaskId, Option<Fold>>,
}

/// What it takes to bring a task to its committed position.
pub(crate) struct Recoverer {
    pub(crate) workshop: Workshop,
    pub(crate) live: Arc<Live>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) opener: Arc<dyn Opener>,
    /// What the user allows where state can't be rebuilt.
    pub(crate) way_out: Option<WayOut>,
}

/// A task that is to be started, with its warm copy if there is one.
struct Job {
    task: TaskId,
    lease: Lease,
    cancelled: Cancel,
    warm: Option<Fold>,
}

/// A task brought to its committed position.
struct Recovered {
    task: Task,
    source: Box<dyn Source>,
    /// State was lost on the user's word.
    lossy: bool,
}

impl Starter {
    /// Starts tasks until the worker has hung up.
    pub(crate) fn run(&mut self) {
        loop {
            let order = match self.warm.is_empty() {
                true => self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => self.orders.recv_timeout(WARM_EVERY),
            };
            let go_on = match order {
                Ok(StartOrder::Start { task, lease, cancelled }) => {
                    let first = self.job(task, lease, cancelled);
                    self.start_at_once(first)
                }
                Ok(StartOrder::Warm(tasks)) => {
                    choose_warm(&mut self.warm, tasks);
                    true
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.keep_warm();
                    true
                }
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if !go_on {
                break;
            }
        }
    }

    /// Starts this task and those that are ordered meanwhile; false when the worker has hung up.
    fn start_at_once(&mut self, first: Job) -> bool {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(AT_ONCE_MAX);
        let (jobs_in, jobs) = sync_channel(STARTS_MAX);
        let jobs = Mutex::new(jobs);
        let unfinished = AtomicUsize::new(1);
        // The receiver lives for as long as the scope.
        drop(jobs_in.send(first));
        let mut hung_up = false;
        std::thread::scope(|scope| {
            let (jobs, unfinished, recoverer) = (&jobs, &unfinished, &self.recoverer);
            let start = |_| {
                let started = self.started.clone();
                scope.spawn(move || {
                    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    while let Ok(job) = next() {
                        if started.send(recoverer.run(job)).is_err() {
                            break;
                        }
                        unfinished.fetch_sub(1, Ordering::AcqRel);
                    }
                })
            };
            let threads: Vec<_> = (0..threads).map(start).collect();
            // One that ends before it is told to finds the worker gone, or has panicked: then so does the scope, which ends
            // the run.
            let ended = || threads.iter().any(|thread| thread.is_finished());
            while !hung_up && unfinished.load(Ordering::Acquire) > 0 && !ended() {
                match self.orders.recv_timeout(LOOK_EVERY) {
                    Ok(StartOrder::Start { task, lease, cancelled }) => {
                        unfinished.fetch_add(1, Ordering::AcqRel);
                        let warm = self.warm.remove(&task).flatten();
                        drop(jobs_in.send(Job { task, lease, cancelled, warm }));
                    }
                    Ok(StartOrder::Warm(tasks)) => choose_warm(&mut self.warm, tasks),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => hung_up = true,
                }
            }
            drop(jobs_in);
        });
        !hung_up
    }

    /// Starts one task, if one is waiting, or folds warm copies along; whether there was an order.
    pub fn step(&mut self) -> bool {
        match self.orders.try_recv() {
            Ok(order) => self.take(order),
            Err(_) => {
                self.keep_warm();
                false
            }
        }
    }

    fn take(&mut self, order: StartOrder) -> bool {
        match order {
            StartOrder::Start { task, lease, cancelled } => {
                let job = self.job(task, lease, cancelled);
                self.started.send(self.recoverer.run(job)).is_ok()
            }
            StartOrder::Warm(tasks) => {
                choose_warm(&mut self.warm, tasks);
                true
            }
        }
    }

    fn job(&mut self, task: TaskId, lease: Lease, cancelled: Cancel) -> Job {
        Job { task, lease, cancelled, warm: self.warm.remove(&task).flatten() }
    }

    /// Folds every warm copy up to the newest commit of its owner. A copy is a convenience: one that fails is made anew.
    fn keep_warm(&mut self) {
        for (task, copy) in &mut self.warm {
            if let Err(error) = self.recoverer.warm_up(*task, copy) {
                tracing::debug!(task = %task, code = error.code().id, "a warm copy is given up for now: {error}");
                *copy = None;
            }
        }
    }
}

/// Keeps copies of these tasks, and of no others.
fn choose_warm(warm: &mut BTreeMap<TaskId, Option<Fold>>, tasks: Vec<TaskId>) {
    warm.retain(|task, _| tasks.contains(task));
    for task in tasks {
        warm.entry(task).or_default();
    }
}

impl Recoverer {
    fn run(&self, job: Job) -> Started {
        let Job { task, lease, cancelled, warm } = job;
        let ready = if cancelled.is_cancelled() { Ok(None) } else { self.start(task, warm, &cancelled) };
        Started { task, lease, ready }
    }

    fn plan(&self) -> &Arc<Plan> {
        &self.workshop.plan
    }

    fn start(&self, id: TaskId, warm: Option<Fold>, cancelled: &Cancel) -> Result<Option<Ready>> {
        let began = Instant::now();
        let plan = self.plan().clone();
        // What can't be read again has no memory: each run begins with what comes now.
        let replayable = plan.source.spec.delivery() > Delivery::AtMostOnce;
        let commit = self.store.load_commit(&plan.name, id)?;
        self.clear_ahead(id, commit.as_ref());
        let Some(record) = commit.clone().filter(|_| replayable) else {
            let source = self.opener.open(id)?;
            let start = source.position();
            let mut journal = vec![JournalEntry::Begin { at: start.offset }];
            journal.extend(artifacts::changes(&plan, &BTreeMap::new(), start.offset));
            let task = self.workshop.new_task(id)?;
            let record = commit.unwrap_or_default();
            return Ok(Some(Ready { task, source, start, journal, record, snapshot_now: false }));
        };
        let before = record.position.offset.saturating_sub(record.start.offset);
        self.live.resumed_after.fetch_add(before, Ordering::Relaxed);
        let recovered = match warm {
            Some(warm) => self.go_on(warm, &record, cancelled)?,
            None => None,
        };
        let recovered = match recovered {
            Some(recovered) => Some(recovered),
            None => self.recover(id, &record, cancelled, Some(&self.live))?.map(|(fold, lossy)| Recovered {
                task: fold.task,
                source: fold.source,
                lossy,
            }),
        };
        let Some(Recovered { task, mut source, lossy }) = recovered else { return Ok(None) };
        let journal = artifacts::changes(&plan, &record.artifacts, record.position.offset);
        let task = if journal.is_empty() { task } else { self.workshop.moved(&task, self.workshop.new_task(id)?)? };
        source.seek(&record.position)?;
        tracing::debug!(task = %id, ms = began.elapsed().as_millis() as u64, "the task is at its committed position");
        Ok(Some(Ready { task, source, start: record.start.clone(), journal, record, snapshot_now: lossy }))
    }

    /// Removes snapshots of epochs that never were.
    fn clear_ahead(&self, id: TaskId, commit: Option<&CommitRecord>) {
        if self.plan().fingerprints().is_empty() {
            return;
        }
        let (offset, epoch) = commit.map_or((0, 0), |c| (c.position.offset, c.epoch));
        if let Err(error) = self.workshop.snapshots.remove_ahead(id, offset, epoch) {
            tracing::warn!(code = error.code().id, "{error}");
        }
    }

    /// Folds what a warm copy lacks; `None` if it is of no use, or was cancelled.
    fn go_on(&self, mut warm: Fold, commit: &CommitRecord, cancelled: &Cancel) -> Result<Option<Recovered>> {
        if warm.at.offset > commit.position.offset || warm.journal_len > commit.journal_len {
            return Ok(None);
        }
        tracing::info!(task = %warm.task.id(), left = commit.position.offset - warm.at.offset, "taken over from a warm copy");
        let journal = self.store.load_journal(&self.plan().name, warm.task.id(), warm.journal_len)?;
        let journal = journal.into_iter().take((commit.journal_len - warm.journal_len) as usize).collect();
        let there = warm.run(&self.workshop, &commit.position, journal, cancelled, Some(&self.live))?;
        Ok(there.then_some(Recovered { task: warm.task, source: warm.source, lossy: false }))
    }

    fn warm_up(&self, id: TaskId, copy: &mut Option<Fold>) -> Result<()> {
        let Some(commit) = self.store.load_commit(&self.plan().name, id)? else { return Ok(()) };
        let never = Cancel::default();
        match copy {
            Some(fold) if fold.at.offset <= commit.position.offset && fold.journal_len <= commit.journal_len => {
                let journal = match fold.journal_len < commit.journal_len {
                    true => self.store.load_journal(&self.plan().name, id, fold.journal_len)?,
                    false => Vec::new(),
                };
                let journal = journal.into_iter().take((commit.journal_len - fold.journal_len) as usize).collect();
                fold.run(&self.workshop, &commit.position, journal, &never, None).map(|_| ())
            }
            _ => {
                *copy = self.recover(id, &commit, &never, None)?.map(|(fold, _)| fold);
                Ok(())
            }
        }
    }

    /// The task at its committed position, with the models and tables that served there, and whether state was lost.
    fn recover(
        &self,
        id: TaskId,
        commit: &CommitRecord,
        cancelled: &Cancel,
        live: Option<&Live>,
    ) -> Result<Option<(Fold, bool)>> {
        let plan = self.plan();
        let steps = plan.fingerprints();
        let mut source = self.opener.open(id)?;
        let began = Instant::now();
        let (snapshots, mut trouble) = match steps.is_empty() {
            true => (Vec::new(), None),
            false => self.load_snapshots(id, commit, &steps),
        };
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
        let at_commit = |source, lossy| {
            let task = self.workshop.task_at(id, &commit.artifacts)?;
            let fold =
                Fold::begin(task, source, commit.position.clone(), commit.journal_len, commit.artifacts.clone())?;
            Ok(Some((fold, lossy)))
        };
        let start = recovery::decide(&seen);
        if start.loses()
            && let Some(error) = trouble.take_if(|error| error.code() == STATE_LOCATION)
        {
            // What may be there is not lost because it can't be asked for just now.
            return Err(error);
        }
        let (mut fold, lossy) = match start {
            Start::Fresh | Start::Stateless { .. } => return at_commit(source, false),
            Start::Empty { .. } => return at_commit(source, true),
            Start::Restore { snapshot, lost, .. } => {
                (self.restore(id, &snapshots[snapshot], &lost, source)?, !lost.is_empty())
            }
            Start::Refold { from, .. } => {
                tracing::info!(task = %id, "state is folded from the start of the input");
                (self.fold_from_start(id, from, source, commit.journal_len)?, false)
            }
            Start::RefoldEarliest { .. } => {
                let from = earliest.unwrap_or_else(|| commit.start.clone());
                tracing::warn!(
                    task = %id, from = from.offset,
                    "state is folded from the oldest event that is kept; what came before is missing in it"
                );
                (self.fold_from_start(id, from, source, commit.journal_len)?, true)
            }
            Start::Refuse { lack } => {
                return Err(trouble.into_iter().fold(refusal(plan, id, &lack, earliest.as_ref()), Error::because));
            }
        };
        drop(snapshots);
        tracing::debug!(task = %id, ms = began.elapsed().as_millis() as u64, "the state of its snapshot is loaded");
        // What was written after the commit that was read belongs to a newer one.
        let journal = self.store.load_journal(&plan.name, id, fold.journal_len)?;
        let journal = journal.into_iter().take(commit.journal_len.saturating_sub(fold.journal_len) as usize).collect();
        let there = fold.run(&self.workshop, &commit.position, journal, cancelled, live)?;
        if !seen.reaches_start {
            self.trim(id);
        }
        Ok(there.then_some((fold, lossy)))
    }

    /// Lets go of journal entries that no fold can begin before any more.
    fn trim(&self, id: TaskId) {
        let Some(folded) = self.workshop.snapshots.journal_folded(id).filter(|folded| *folded > 0) else { return };
        if let Err(error) = self.store.trim_journal(&self.plan().name, id, folded) {
            tracing::warn!(code = error.code().id, "{error}");
        }
    }

    /// Every snapshot up to the first that can serve, newest first. What does not check out is passed over; the first
    /// reason of that comes along.
    fn load_snapshots(
        &self,
        id: TaskId,
        commit: &CommitRecord,
        steps: &BTreeMap<String, String>,
    ) -> (Vec<Loaded>, Option<Error>) {
        let (mut snapshots, mut trouble) = (Vec::new(), None);
        for snapshot in self.workshop.snapshots.load(id) {
            match snapshot {
                Ok(snapshot) => {
                    let serves = snapshot.header.position.offset <= commit.position.offset
                        && recovery::includes(&snapshot.header.steps, steps);
                    snapshots.push(snapshot);
                    if serves {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(code = error.code().id, "{error}");
                    trouble.get_or_insert(error);
                }
            }
        }
        (snapshots, trouble)
    }

    fn restore(&self, id: TaskId, chosen: &Loaded, lost: &[String], source: Box<dyn Source>) -> Result<Fold> {
        let header = &chosen.header;
        let mut task = self.workshop.task_at(id, &header.artifacts)?;
        task.resume(chosen, lost)?;
        Fold::begin(task, source, header.position.clone(), header.journal_len, header.artifacts.clone())
    }

    fn fold_from_start(&self, id: TaskId, from: Position, source: Box<dyn Source>, journal_len: u64) -> Result<Fold> {
        let journal = self.store.load_journal(&self.plan().name, id, 0)?;
        let mut serving = BTreeMap::new();
        for entry in journal.iter().take(journal_len as usize).take_while(|e| e.at() <= from.offset) {
            if let JournalEntry::Artifact { name, digest, .. } = entry {
                serving.insert(name.clone(), digest.clone());
            }
        }
        Fold::begin(self.workshop.task_at(id, &serving)?, source, from, 0, serving)
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
