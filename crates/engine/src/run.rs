//! Starts everything, waits for its end, and stops everything.
//!
//! Threads of a run: the workers, the committer, the snapshot writer. Channels between them are bounded; when
//! the disk is slow the workers wait, and then the sources are not polled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Instant;

use millstream_connectors::codec::InputFormat;
use millstream_core::{
    CommitRecord, Delivery, Error, JournalEntry, PollLimit, Polled, RawBatch, Receipt, Result, Source, Store, TaskId,
};

use crate::artifacts::{self, Serving};
use crate::changes;
use crate::codes::{PARTITIONS_CHANGED, STATE_LOST, THREAD_FAILED};
use crate::committer::{Committer, EPOCHS_WAITING_MAX, Epoch, NamedSink};
use crate::live::{Live, Phase, Stages, Summary};
use crate::plan::Plan;
use crate::recovery::{self, Seen, Start};
use crate::snapshot::{Snapshot, SnapshotDir};
use crate::task::{Mode, NoProbe, Task};
use crate::worker::{OwnedTask, POLL_BYTES_MAX, Worker};

/// How to begin.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Forget positions, state and the file outputs of earlier runs first.
    pub fresh: bool,
    /// Go on with empty state where it can't be rebuilt.
    pub allow_state_loss: bool,
}

/// Runs a pipeline until its input ends or [`Live::stop`] is called; then everything read is committed.
///
/// # Errors
/// Whatever stops a pipeline. What was committed before stays committed, and a later run goes on from there.
pub fn run(plan: &Arc<Plan>, options: &RunOptions, live: &Arc<Live>) -> Result<Summary> {
    let started = Instant::now();
    let store: Arc<dyn Store> = plan.env.log()?;
    let snapshots = SnapshotDir::new(plan.env.data_dir(), &plan.name);
    let partitions = plan.source.spec.partitions(&plan.env)?;
    if options.fresh {
        forget(plan, store.as_ref(), &snapshots)?;
    }
    let records: BTreeMap<TaskId, CommitRecord> = store.load_commits(&plan.name)?.into_iter().collect();
    check_partitions(plan, partitions, &records)?;
    changes::check_outputs(plan, &records.values().flat_map(|r| r.receipts.keys().cloned()).collect())?;
    let sinks = open_sinks(plan, partitions, &records)?;
    changes::remember(plan)?;
    artifacts::keep_copies(plan)?;

    let format = plan.source.spec.input_format(&plan.env, &plan.source.schema)?;
    let store_ref = store.as_ref();
    let starter = Starter { plan, store: store_ref, snapshots: &snapshots, records: &records, live, options, format };
    let mut tasks = Vec::new();
    for partition in 0..partitions {
        tasks.push(starter.start(TaskId::new(partition))?);
    }
    let folded = match live.phase() {
        Phase::Recovering { folded } => folded,
        _ => 0,
    };
    let replayable = plan.source.spec.delivery() > Delivery::AtMostOnce;
    let resumed_after =
        records.values().filter(|_| replayable).map(|r| r.position.offset.saturating_sub(r.start.offset)).sum();
    live.set_phase(Phase::Running);
    let committer = Committer {
        pipeline: plan.name.clone(),
        store,
        sinks,
        records,
        steps: plan.fingerprints(),
        sync: plan.settings.sync,
        live: live.clone(),
        started,
        first_output: None,
        stages: Stages::default(),
    };
    let committer = drive(plan, live, tasks, committer, &snapshots)?;
    live.merge_stages(&committer.stages);
    Ok(Summary {
        events: live.events.load(Ordering::Relaxed),
        resumed_after,
        folded,
        predictions: live.predictions.load(Ordering::Relaxed),
        outputs: live.outputs.iter().map(|(name, rows)| (name.clone(), rows.load(Ordering::Relaxed))).collect(),
        dead_letters: live.dead_letters.load(Ordering::Relaxed),
        late_dropped: live.late_dropped.load(Ordering::Relaxed),
        epochs: live.epochs.load(Ordering::Relaxed),
        wall: started.elapsed(),
        first_output: committer.first_output,
        stages: live.stage_latencies(),
        stopped: live.stopping(),
    })
}

/// Runs the threads to their end; the first cause of a failure is what is reported.
fn drive(
    plan: &Arc<Plan>,
    live: &Arc<Live>,
    tasks: Vec<OwnedTask>,
    mut committer: Committer,
    snapshots: &SnapshotDir,
) -> Result<Committer> {
    let (epochs_in, epochs) = sync_channel::<Epoch>(EPOCHS_WAITING_MAX);
    let (snapshots_in, snapshots_out) = sync_channel::<Snapshot>(1);
    let keep = plan.settings.snapshots_keep;
    let stateful = !committer.steps.is_empty();
    thread::scope(|scope| {
        scope.spawn(move || write_snapshots(&snapshots_out, snapshots, keep));
        let committing = scope.spawn(move || {
            let result = committer.run(&epochs, &snapshots_in);
            result.map(|()| committer)
        });
        let workers: Vec<_> = share_out(tasks, plan.settings.workers)
            .into_iter()
            .map(|tasks| {
                let worker =
                    Worker { plan: plan.clone(), live: live.clone(), epochs: epochs_in.clone(), tasks, stateful };
                scope.spawn(move || {
                    // One worker's failure ends the run: the others drain and commit what they have.
                    let result = worker.run();
                    if result.is_err() {
                        live.stop();
                    }
                    result
                })
            })
            .collect();
        drop(epochs_in);
        let mut failed = None;
        for worker in workers {
            if let Err(error) = worker.join().unwrap_or_else(|_| Err(died("a worker"))) {
                failed.get_or_insert(error);
            }
        }
        live.set_phase(Phase::Draining);
        // What ended the committer ended the workers: its error is the cause.
        let committer = committing.join().unwrap_or_else(|_| Err(died("the committer")))?;
        failed.map_or(Ok(committer), Err)
    })
}

fn died(who: &str) -> Error {
    Error::new(THREAD_FAILED, format!("{who} panicked"))
        .help("this is a bug in Millstream; nothing uncommitted was written")
}

fn write_snapshots(snapshots: &Receiver<Snapshot>, dir: &SnapshotDir, keep: usize) {
    for snapshot in snapshots {
        if let Err(error) = dir.write(&snapshot, keep) {
            tracing::warn!(code = error.code().id, "{error}");
        }
    }
}

/// Shares tasks out to at most `workers` threads, round robin.
fn share_out(tasks: Vec<OwnedTask>, workers: usize) -> Vec<Vec<OwnedTask>> {
    let count = workers.clamp(1, tasks.len().max(1));
    let mut shares: Vec<Vec<OwnedTask>> = (0..count).map(|_| Vec::new()).collect();
    for (i, task) in tasks.into_iter().enumerate() {
        shares[i % count].push(task);
    }
    shares
}

fn forget(plan: &Plan, store: &dyn Store, snapshots: &SnapshotDir) -> Result<()> {
    let records = store.load_commits(&plan.name)?;
    for output in plan.all_outputs() {
        output.spec.discard(&plan.env, &receipts_of(&output.name, records.iter().map(|(t, r)| (t, r))))?;
    }
    store.forget(&plan.name)?;
    changes::forget(plan);
    snapshots.clear()
}

fn receipts_of<'a>(
    output: &str,
    records: impl Iterator<Item = (&'a TaskId, &'a CommitRecord)>,
) -> Vec<(TaskId, Receipt)> {
    records.filter_map(|(task, record)| Some((*task, record.receipts.get(output)?.clone()))).collect()
}

fn check_partitions(plan: &Plan, partitions: u32, records: &BTreeMap<TaskId, CommitRecord>) -> Result<()> {
    match records.keys().next_back() {
        Some(last) if last.0 >= partitions => Err(Error::new(
            PARTITIONS_CHANGED,
            format!("`{}` has {partitions} partitions, but earlier runs committed partition {last}", plan.source.name),
        )
        .help("restore the input's partitions, or start over with `--fresh`")),
        _ => Ok(()),
    }
}

fn open_sinks(plan: &Plan, tasks: u32, records: &BTreeMap<TaskId, CommitRecord>) -> Result<Vec<NamedSink>> {
    plan.all_outputs()
        .map(|output| {
            let mut sink = output.spec.open(&plan.env, tasks, &output.context)?;
            sink.recover(&receipts_of(&output.name, records.iter()))?;
            Ok(NamedSink { name: output.name.clone(), sink })
        })
        .collect()
}

/// Brings tasks to their committed positions.
struct Starter<'a> {
    plan: &'a Arc<Plan>,
    store: &'a dyn Store,
    snapshots: &'a SnapshotDir,
    records: &'a BTreeMap<TaskId, CommitRecord>,
    live: &'a Live,
    options: &'a RunOptions,
    format: InputFormat,
}

impl Starter<'_> {
    fn now(&self) -> Serving {
        Serving::now(self.plan, self.format.clone())
    }

    fn at(&self, digests: &BTreeMap<String, String>) -> Result<Serving> {
        Serving::at(self.plan, self.format.clone(), digests)
    }

    fn start(&self, id: TaskId) -> Result<OwnedTask> {
        let plan = self.plan;
        let mut source = plan.source.spec.open(&plan.env, id.0)?;
        // What can't be read again has no memory: each run begins with what comes now.
        let replayable = plan.source.spec.delivery() > Delivery::AtMostOnce;
        let Some(commit) = self.records.get(&id).filter(|_| replayable) else {
            // Snapshots without a commit are of epochs that never were.
            self.snapshots.remove_ahead(id, 0);
            let start = source.position();
            let journal = artifacts::changes(plan, &BTreeMap::new(), start.offset);
            let task = Task::new(plan.clone(), id, &self.now())?;
            return Ok(OwnedTask::new(task, source, start, journal));
        };
        self.snapshots.remove_ahead(id, commit.position.offset);
        let task = self.recover(id, commit, source.as_mut())?;
        let journal = artifacts::changes(plan, &commit.artifacts, commit.position.offset);
        let task = if journal.is_empty() { task } else { self.with_serving(&task, &self.now())? };
        source.seek(&commit.position)?;
        Ok(OwnedTask::new(task, source, commit.start.clone(), journal))
    }

    /// The task at its committed position, with the models and tables that served there.
    fn recover(&self, id: TaskId, commit: &CommitRecord, source: &mut dyn Source) -> Result<Task> {
        let plan = self.plan;
        let steps = plan.fingerprints();
        let mut snapshots = Vec::new();
        for snapshot in self.snapshots.load(id) {
            match snapshot {
                Ok(snapshot) => snapshots.push(snapshot),
                Err(error) => tracing::warn!(code = error.code().id, "{error}"),
            }
        }
        let headers: Vec<_> = snapshots.iter().map(|s| s.header.clone()).collect();
        let seen = Seen {
            commit: Some(commit),
            snapshots: &headers,
            steps: &steps,
            reaches_start: source.seek(&commit.start).is_ok(),
            allow_state_loss: self.options.allow_state_loss,
        };
        let (task, from, done, to, serving) = match recovery::decide(&seen) {
            Start::Fresh | Start::Stateless { .. } | Start::Empty { .. } => {
                return Task::new(plan.clone(), id, &self.at(&commit.artifacts)?);
            }
            Start::Restore { snapshot, to, lost } => {
                let chosen = &snapshots[snapshot];
                let mut task = Task::new(plan.clone(), id, &self.at(&chosen.header.artifacts)?)?;
                task.restore(&chosen.state, &lost)?;
                let header = &chosen.header;
                (task, header.position.clone(), header.journal_len, to, header.artifacts.clone())
            }
            Start::Refold { from, to } => {
                tracing::info!(task = id.0, "state is folded from the start of the input");
                let journal = self.store.load_journal(&plan.name, id, 0)?;
                let mut first = BTreeMap::new();
                for entry in journal.iter().take_while(|e| e.at() <= from.offset) {
                    if let JournalEntry::Artifact { name, digest, .. } = entry {
                        first.entry(name.clone()).or_insert_with(|| digest.clone());
                    }
                }
                (Task::new(plan.clone(), id, &self.at(&first)?)?, from, 0, to, first)
            }
            Start::Refuse { lost } => {
                return Err(Error::new(
                    STATE_LOST,
                    format!(
                        "the state of {} can't be rebuilt: the input no longer reaches back to its start",
                        quoted(&lost)
                    ),
                )
                .help(
                    "run with `--allow-state-loss` to go on with these steps empty, or with `--fresh` to start over",
                ));
            }
        };
        let journal = self.store.load_journal(&plan.name, id, done)?;
        source.seek(&from)?;
        self.fold(task, source, to.offset, journal, serving)
    }

    /// Folds events and journal up to offset `to`, outputs suppressed.
    fn fold(
        &self,
        mut task: Task,
        source: &mut dyn Source,
        to: u64,
        journal: Vec<JournalEntry>,
        mut serving: BTreeMap<String, String>,
    ) -> Result<Task> {
        let mut journal = journal.into_iter().peekable();
        let mut ahead = RawBatch::new(task.id());
        loop {
            let next = if ahead.is_empty() { source.position().offset } else { ahead.offset(0) };
            while let Some(entry) = journal.next_if(|e| e.at() <= next.min(to)) {
                task = self.apply(task, &entry, &mut serving)?;
            }
            if ahead.is_empty() && next < to {
                let limit = PollLimit { records: self.plan.settings.batch_rows_max, bytes: POLL_BYTES_MAX };
                let polled = source.poll(limit, &mut ahead)?;
                // An input may end in offsets without records (empty lines, say).
                if polled != Polled::Records && source.position().offset < to {
                    return Err(Error::new(
                        STATE_LOST,
                        format!("`{}` ends at offset {next}, before the committed offset {to}", self.plan.source.name),
                    )
                    .help("the input is shorter than it was: put it back, or start over with `--fresh`"));
                }
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
                self.live.set_phase(match self.live.phase() {
                    Phase::Recovering { folded } => Phase::Recovering { folded: folded + count as u64 },
                    _ => Phase::Recovering { folded: count as u64 },
                });
                task.feed(Arc::new(now), Mode::Fold, &mut NoProbe)?;
                ahead = rest;
            }
        }
        // Entries written at the committed position itself, after its last event.
        for entry in journal {
            task = self.apply(task, &entry, &mut serving)?;
        }
        Ok(task)
    }

    fn apply(&self, mut task: Task, entry: &JournalEntry, serving: &mut BTreeMap<String, String>) -> Result<Task> {
        match entry {
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

fn quoted(names: &[String]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
