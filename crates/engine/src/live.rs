//! What a run shows while it runs, and what it says when it ends. Counters only: nothing here decides.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use millstream_core::{EventTime, TaskId};

/// What the run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opening inputs and outputs.
    Starting,
    /// At least one task is brought to its committed position: a snapshot is loaded, and the events after it are
    /// folded, with outputs suppressed. Other tasks may be processing.
    Recovering {
        /// Events folded so far, over all tasks of this run.
        folded: u64,
        /// Events still to fold, as far as is known.
        left: u64,
    },
    /// Processing new events.
    Running,
    /// Committing what was read, and closing.
    Draining,
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    /// The next record to read.
    pub position: u64,
    /// Records behind the input's end, where known.
    pub lag: Option<u64>,
    /// The watermark, ns; [`millstream_core::time::WATERMARK_START`] before the first event.
    pub watermark: EventTime,
    /// Keys held in state.
    pub state_keys: u64,
    /// Bytes of state, estimated.
    pub state_bytes: u64,
}

/// Shared between a run and whoever watches or stops it. All counts are of this run, over all tasks; events
/// count when they are read, outputs when they are committed.
#[derive(Debug)]
pub struct Live {
    stop: AtomicBool,
    ended: AtomicBool,
    phase: Mutex<Phase>,
    /// Events read and processed.
    pub events: AtomicU64,
    /// Predictions made.
    pub predictions: AtomicU64,
    /// Events refused to the dead-letter output.
    pub dead_letters: AtomicU64,
    /// Late events dropped by policy.
    pub late_dropped: AtomicU64,
    /// Epochs committed.
    pub epochs: AtomicU64,
    /// Records behind the input's end, where known.
    pub lag: AtomicU64,
    /// Share of a bounded input read, in millionths; `u64::MAX` where unknown.
    pub fraction_ppm: AtomicU64,
    /// Rows committed for each output, in the order of the file.
    pub outputs: Vec<(String, AtomicU64)>,
    /// Events that earlier runs had committed, of the tasks that this run owned.
    pub resumed_after: AtomicU64,
    /// Events folded to rebuild state.
    pub folded: AtomicU64,
    /// Events still to be folded by the tasks that start now.
    pub fold_left: AtomicU64,
    starting: AtomicU64,
    tasks: Mutex<BTreeMap<TaskId, TaskStatus>>,
    stages: Mutex<Vec<(String, Histogram<u64>)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind the locks of this file is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    pub(crate) fn new(outputs: impl IntoIterator<Item = String>) -> Self {
        Self {
            stop: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            phase: Mutex::new(Phase::Starting),
            events: AtomicU64::new(0),
            predictions: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            late_dropped: AtomicU64::new(0),
            epochs: AtomicU64::new(0),
            lag: AtomicU64::new(0),
            fraction_ppm: AtomicU64::new(u64::MAX),
            outputs: outputs.into_iter().map(|name| (name, AtomicU64::new(0))).collect(),
            resumed_after: AtomicU64::new(0),
            folded: AtomicU64::new(0),
            fold_left: AtomicU64::new(0),
            starting: AtomicU64::new(0),
            tasks: Mutex::new(BTreeMap::new()),
            stages: Mutex::new(Vec::new()),
        }
    }

    /// Asks the run to drain: finish the epoch that is open, commit it, and end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the run was asked to end.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The workers have ended.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// What the run is doing now.
    pub fn phase(&self) -> Phase {
        match *lock(&self.phase) {
            Phase::Running if self.starting.load(Ordering::Relaxed) > 0 => Phase::Recovering {
                folded: self.folded.load(Ordering::Relaxed),
                left: self.fold_left.load(Ordering::Relaxed),
            },
            phase => phase,
        }
    }

    /// Where each task of this process stands, as of about half a second ago.
    pub fn tasks(&self) -> Vec<(TaskId, TaskStatus)> {
        lock(&self.tasks).iter().map(|(task, status)| (*task, *status)).collect()
    }

    pub(crate) fn set_task(&self, task: TaskId, status: TaskStatus) {
        lock(&self.tasks).insert(task, status);
    }

    pub(crate) fn remove_task(&self, task: TaskId) {
        lock(&self.tasks).remove(&task);
    }

    /// A task begins to start: until [`Live::start_ended`] the run is recovering.
    pub(crate) fn start_began(&self) {
        self.starting.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn start_ended(&self) {
        self.starting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        *lock(&self.phase) = phase;
    }

    /// Adds a worker's histograms to the run's.
    pub(crate) fn merge_stages(&self, stages: &Stages) {
        let mut all = lock(&self.stages);
        for (name, histogram) in &stages.0 {
            match all.iter_mut().find(|(known, _)| known == name) {
                // Both have the same bounds, so adding can't fail.
                Some((_, sum)) => drop(sum.add(histogram)),
                None => all.push((name.clone(), histogram.clone())),
            }
        }
    }

    pub(crate) fn stage_latencies(&self) -> Vec<StageLatency> {
        let all = lock(&self.stages);
        let at = |h: &Histogram<u64>, q| Duration::from_nanos(h.value_at_quantile(q));
        all.iter().map(|(stage, h)| StageLatency { stage: stage.clone(), p50: at(h, 0.5), p99: at(h, 0.99) }).collect()
    }
}

/// Latency histograms of one thread, by stage.
#[derive(Debug, Default)]
pub(crate) struct Stages(Vec<(String, Histogram<u64>)>);

impl Stages {
    const MAX_NS: u64 = 3_600_000_000_000;

    /// The number of a stage, made if it is new.
    pub(crate) fn stage(&mut self, name: &str) -> usize {
        if let Some(i) = self.0.iter().position(|(known, _)| known == name) {
            return i;
        }
        let histogram = Histogram::new_with_bounds(1, Self::MAX_NS, 2)
            .or_else(|_| Histogram::new(2))
            .unwrap_or_else(|_| unreachable!("two significant digits are always valid"));
        self.0.push((name.to_owned(), histogram));
        self.0.len() - 1
    }

    /// Records that `events` events spent `time` in a stage.
    pub(crate) fn record(&mut self, stage: usize, time: Duration, events: u64) {
        if let Some((_, histogram)) = self.0.get_mut(stage) {
            let ns = u64::try_from(time.as_nanos()).unwrap_or(Self::MAX_NS).clamp(1, Self::MAX_NS);
            histogram.saturating_record_n(ns, events);
        }
    }
}

/// How long events spent in one stage, each event counted with its whole micro-batch.
#[derive(Clone, Debug)]
pub struct StageLatency {
    /// `decode`, a step's name, `outputs`, `commit`, or `total` (read to committed).
    pub stage: String,
    /// Median.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Events read in this run.
    pub events: u64,
    /// Events that earlier runs had committed.
    pub resumed_after: u64,
    /// Events folded to rebuild state before the first new one.
    pub folded: u64,
    /// Predictions made.
    pub predictions: u64,
    /// Rows written to each output.
    pub outputs: Vec<(String, u64)>,
    /// Events written to the dead-letter output.
    pub dead_letters: u64,
    /// Late events dropped by policy.
    pub late_dropped: u64,
    /// Epochs committed.
    pub epochs: u64,
    /// From start to end.
    pub wall: Duration,
    /// From start to the first committed output row, if there was one.
    pub first_output: Option<Duration>,
    /// Latency by stage.
    pub stages: Vec<StageLatency>,
    /// Whether the run ended because it was asked to, not because its input did.
    pub stopped: bool,
}
