//! Starts everything, waits for its end, and stops everything.
//!
//! Threads of a run: the workers, a starter for each, the committers, the snapshot writer. Channels between them are
//! bounded; when the disk or the broker is slow the workers wait, and then the sources are not polled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use millstream_connectors::{Backend, backend};
use millstream_core::{CommitRecord, Error, RawBatch, Receipt, Result, Sink, Store, TaskId};

use crate::artifacts;
use crate::changes;
use crate::clock::{Clock, SystemClock};
use crate::codes::{PARTITIONS_CHANGED, THREAD_FAILED};
use crate::committer::{Committer, CommitterChannels, NamedSink};
use crate::fold::Workshop;
use crate::live::{Live, Phase, Stages, Summary};
use crate::messages::{COMMITTER_QUEUE_MAX, NOTICES_MAX, STARTS_MAX};
use crate::owned::{StageClock, Surroundings};
use crate::plan::Plan;
use crate::recovery::WayOut;
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::starter::{Recoverer, Starter};
use crate::worker::{Worker, WorkerChannels};

/// Once a run is asked to end, a commit may take this long before it is given up.
const PATIENCE: Duration = Duration::from_secs(15);

/// How to begin.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Forget positions, state and the file outputs of earlier runs first.
    pub fresh: bool,
    /// What to do where state can't be rebuilt.
    pub way_out: Option<WayOut>,
}

/// Runs a pipeline until its input ends or [`Live::stop`] is called; then everything read is committed.
///
/// # Errors
/// Whatever stops a pipeline. What was committed before stays committed, and a later run goes on from there.
pub fn run(plan: &Arc<Plan>, options: &RunOptions, live: &Arc<Live>) -> Result<Summary> {
    let clock = Arc::new(SystemClock::start());
    let backend = backend::open(&plan.backend, &plan.env, &plan.source.spec, plan.settings.delivery)?;
    let snapshots = Arc::new(SnapshotStore::open(&plan.settings.state, &plan.name)?);
    // A task has no more than one cut under way (and its last): none is ever dropped for want of room.
    let (snapshots_in, snapshots_out) = sync_channel::<Snapshot>(STARTS_MAX);
    let around = Around {
        backend: backend.as_ref(),
        clock: clock.clone(),
        snapshots: snapshots.clone(),
        snapshots_in,
        sinks: &|output| open_sink(plan, output, backend.tasks()),
    };
    let lanes = prepare(plan, options, live, &around)?;
    drop(around);
    live.set_phase(Phase::Running);
    let first_output = drive(plan, live, lanes, snapshots_out, &snapshots)?;
    Ok(Summary {
        events: live.events.load(Ordering::Relaxed),
        resumed_after: live.resumed_after.load(Ordering::Relaxed),
        folded: live.folded.load(Ordering::Relaxed),
        predictions: live.predictions.load(Ordering::Relaxed),
        outputs: live.outputs.iter().map(|(name, rows)| (name.clone(), rows.load(Ordering::Relaxed))).collect(),
        dead_letters: live.dead_letters.load(Ordering::Relaxed),
        late_dropped: live.late_dropped.load(Ordering::Relaxed),
        epochs: live.epochs.load(Ordering::Relaxed),
        wall: clock.now(),
        first_output,
        stages: live.stage_latencies(),
        stopped: live.stopping(),
    })
}

/// Everything that runs, not yet on its threads.
pub struct Lanes {
    /// The workers.
    pub workers: Vec<Worker>,
    /// A starter for each worker.
    pub starters: Vec<Starter>,
    /// One for all workers, or one for each.
    pub committers: Vec<Committer>,
}

/// What lanes are built on: the real thing, or a simulation of it.
pub struct Around<'a> {
    /// What commits, and shares the input out.
    pub backend: &'a dyn Backend,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where snapshots are read from.
    pub snapshots: Arc<SnapshotStore>,
    /// Where they are handed to be written.
    pub snapshots_in: SyncSender<Snapshot>,
    /// Opens an output by name.
    pub sinks: &'a dyn Fn(&str) -> Result<Box<dyn Sink>>,
}

/// Connects, looks at what earlier runs left, and builds workers, starters and committers.
///
/// # Errors
/// An input, output or store can't be reached, or does not fit what earlier runs left.
pub fn prepare(plan: &Arc<Plan>, options: &RunOptions, live: &Arc<Live>, around: &Around<'_>) -> Result<Lanes> {
    let backend = around.backend;
    let first = backend.store(0)?;
    if options.fresh {
        forget(plan, first.as_ref(), &around.snapshots)?;
    }
    look_back(plan, backend, first.as_ref())?;
    artifacts::share(plan, &around.snapshots)?;
    let format = plan.source.spec.input_format(&plan.env, &plan.source.schema)?;
    let workers = match backend.tasks() {
        Some(tasks) => plan.settings.workers.clamp(1, tasks.max(1) as usize),
        None => plan.settings.workers,
    };
    let mut lanes = Lanes { workers: Vec::new(), starters: Vec::new(), committers: Vec::new() };
    let groups: Vec<Vec<usize>> = match backend.commits_per_worker() {
        true => (0..workers).map(|worker| vec![worker]).collect(),
        false => vec![(0..workers).collect()],
    };
    for group in groups {
        let store = match group.first() {
            Some(0) | None => first.clone(),
            Some(&worker) => backend.store(worker as u32)?,
        };
        let (orders_in, orders) = sync_channel(COMMITTER_QUEUE_MAX);
        let mut notices_in = Vec::new();
        for &number in &group {
            let (notice_in, notices) = sync_channel(NOTICES_MAX);
            notices_in.push(notice_in);
            let (starts, start_orders) = sync_channel(STARTS_MAX);
            let (started_in, started) = sync_channel(STARTS_MAX);
            let member = backend.member(number as u32, workers as u32)?;
            let recoverer = Recoverer {
                workshop: Workshop { plan: plan.clone(), snapshots: around.snapshots.clone(), format: format.clone() },
                live: live.clone(),
                store: store.clone(),
                opener: member.opener(),
                way_out: options.way_out,
            };
            lanes.starters.push(Starter {
                recoverer,
                orders: start_orders,
                started: started_in,
                warm: BTreeMap::new(),
            });
            let surroundings = Surroundings {
                plan: plan.clone(),
                live: live.clone(),
                clock: around.clock.clone(),
                stages: StageClock::new(plan),
                stateful: !plan.fingerprints().is_empty(),
                spare: RawBatch::default(),
            };
            let channels = WorkerChannels { starts, started, orders: orders_in.clone(), notices };
            lanes.workers.push(Worker::new(notices_in.len() - 1, surroundings, member, channels));
        }
        let channels = CommitterChannels { orders, notices: notices_in, snapshots: around.snapshots_in.clone() };
        let sinks = open_sinks(plan, around.sinks)?;
        lanes.committers.push(Committer::new(plan, live.clone(), around.clock.clone(), store, sinks, channels));
    }
    Ok(lanes)
}

/// Holds the plan against what earlier runs left, and writes down what this one is.
fn look_back(plan: &Arc<Plan>, backend: &dyn Backend, store: &dyn Store) -> Result<()> {
    let records: BTreeMap<TaskId, CommitRecord> = store.load_commits(&plan.name)?.into_iter().collect();
    if let Some(tasks) = backend.tasks() {
        check_partitions(plan, tasks, &records)?;
    }
    let written: BTreeSet<String> = records.values().flat_map(|r| r.receipts.keys().cloned()).collect();
    changes::check_outputs(plan, &written)?;
    changes::remember(plan)?;
    artifacts::keep_copies(plan)
}

/// Runs the threads to their end; the first cause of a failure is what is reported. Gives when the first row was
/// visible.
fn drive(
    plan: &Plan,
    live: &Arc<Live>,
    lanes: Lanes,
    snapshots_out: Receiver<Snapshot>,
    snapshots: &SnapshotStore,
) -> Result<Option<Duration>> {
    let keep = plan.settings.snapshots_keep;
    let stores: Vec<Arc<dyn Store>> = lanes.committers.iter().map(|c| c.store.clone()).collect();
    // Whatever fails after the first failure may only follow from it.
    let first: Mutex<Option<Error>> = Mutex::default();
    let fail = |error: Error| {
        first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        live.stop();
    };
    let ended: Vec<(Stages, Option<Duration>)> = thread::scope(|scope| {
        let writing = scope.spawn(move || {
            let _guard = StopIfPanicking(live);
            write_snapshots(&snapshots_out, snapshots, keep);
        });
        let starting: Vec<_> = lanes
            .starters
            .into_iter()
            .map(|mut starter| {
                scope.spawn(move || {
                    let _guard = StopIfPanicking(live);
                    starter.run();
                })
            })
            .collect();
        let committing: Vec<_> = lanes
            .committers
            .into_iter()
            .map(|mut committer| {
                let fail = &fail;
                scope.spawn(move || {
                    let _guard = StopIfPanicking(live);
                    // Before its workers find that it is gone.
                    committer.run().unwrap_or_else(fail);
                    // The rest of the committer goes here: the snapshot writer waits for it to hang up.
                    (std::mem::take(&mut committer.stages), committer.first_output)
                })
            })
            .collect();
        let workers: Vec<_> = lanes
            .workers
            .into_iter()
            .map(|mut worker| {
                let fail = &fail;
                // One worker's failure ends the run: the others drain and commit what they have.
                scope.spawn(move || {
                    let _guard = StopIfPanicking(live);
                    worker.run().unwrap_or_else(fail);
                })
            })
            .collect();
        scope.spawn(|| {
            while !live.stopping() && !live.ended() {
                thread::sleep(Duration::from_millis(20));
            }
            if live.stopping() {
                stores.iter().for_each(|store| store.hurry(PATIENCE));
            }
        });
        // Each kind of thread ends when the one before it has hung up. All are joined, so that a panic is an error.
        let worked = join(workers, "a worker");
        live.set_phase(Phase::Draining);
        live.end();
        let started = join(starting, "a starter");
        let committed = join(committing, "a committer");
        let written = join(vec![writing], "the snapshot writer");
        worked.and(started).and(written).and(committed)
    })?;
    if let Some(error) = first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    ended.iter().for_each(|(stages, _)| live.merge_stages(stages));
    Ok(ended.iter().filter_map(|(_, first_output)| *first_output).min())
}

/// Ends the run when its thread panics: the others would go on without that thread's share of the input.
struct StopIfPanicking<'a>(&'a Live);

impl Drop for StopIfPanicking<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}

/// Waits for threads; the error says that one of them panicked.
fn join<T>(threads: Vec<ScopedJoinHandle<'_, T>>, who: &str) -> Result<Vec<T>> {
    let joined: Vec<_> = threads.into_iter().map(ScopedJoinHandle::join).collect();
    joined.into_iter().map(|result| result.map_err(|_| died(who))).collect()
}

fn died(who: &str) -> Error {
    Error::new(THREAD_FAILED, format!("{who} panicked"))
        .help("this is a bug in Millstream; nothing uncommitted was written")
}

fn write_snapshots(snapshots: &Receiver<Snapshot>, store: &SnapshotStore, keep: usize) {
    for snapshot in snapshots {
        if let Err(error) = store.write(&snapshot, keep) {
            tracing::warn!(code = error.code().id, "{error}");
        }
    }
}

fn forget(plan: &Plan, store: &dyn Store, snapshots: &SnapshotStore) -> Result<()> {
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
        Some(last) if last.partition >= partitions => Err(Error::new(
            PARTITIONS_CHANGED,
            format!("`{}` has {partitions} partitions, but earlier runs committed partition {last}", plan.source.name),
        )
        .help("restore the input's partitions, or start over with `--fresh`")),
        _ => Ok(()),
    }
}

fn open_sinks(plan: &Plan, open: &dyn Fn(&str) -> Result<Box<dyn Sink>>) -> Result<Vec<NamedSink>> {
    plan.all_outputs().map(|o| Ok(NamedSink { name: o.name.clone(), sink: open(&o.name)? })).collect()
}

fn open_sink(plan: &Plan, name: &str, tasks: Option<u32>) -> Result<Box<dyn Sink>> {
    match plan.all_outputs().find(|output| output.name == name) {
        Some(output) => output.spec.open(&plan.env, tasks, &output.context),
        None => Err(Error::new(THREAD_FAILED, format!("there is no output `{name}`"))),
    }
}
