//! A worker: one thread that owns some tasks outright - their sources, state and open epochs.
//!
//! It takes what has arrived, up to a bound, and never waits to fill a batch (`linger` is 0 unless set). An
//! epoch closes when the input is drained, after `epoch_max`, or when its outputs reach a bound. The thread
//! ends when every input has ended, when it is asked to stop (after committing what it read), or at an error.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use millstream_core::journal::AdvanceCause;
use millstream_core::{Error, JournalEntry, PollLimit, Polled, Position, RawBatch, Result, Source};

use crate::codes::THREAD_FAILED;
use crate::committer::Epoch;
use crate::live::{Live, Stages};
use crate::plan::Plan;
use crate::task::{EpochBuffer, Mode, Probe, Task};

/// Bytes one poll may bring before it stops.
pub(crate) const POLL_BYTES_MAX: usize = 4 << 20;
/// Output bytes an epoch may hold before it closes early.
const EPOCH_BYTES_MAX: usize = 16 << 20;
/// The longest nap of a worker with nothing to do: bounds the latency that a lone event sees.
const NAP_MAX: Duration = Duration::from_millis(1);

/// A task with what surrounds it.
pub(crate) struct OwnedTask {
    pub(crate) task: Task,
    pub(crate) source: Box<dyn Source>,
    pub(crate) start: Position,
    /// Entries that the next epoch commits.
    pub(crate) journal: Vec<JournalEntry>,
    buffer: EpochBuffer,
    opened: Option<Instant>,
    last_event: Instant,
    last_snapshot: Instant,
    /// State changed since the last snapshot.
    dirty: bool,
    ended: bool,
    lag: u64,
}

impl OwnedTask {
    pub(crate) fn new(task: Task, source: Box<dyn Source>, start: Position, journal: Vec<JournalEntry>) -> Self {
        let now = Instant::now();
        Self {
            task,
            source,
            start,
            journal,
            buffer: EpochBuffer::default(),
            opened: None,
            last_event: now,
            last_snapshot: now,
            dirty: false,
            ended: false,
            lag: 0,
        }
    }
}

pub(crate) struct Worker {
    pub(crate) plan: Arc<Plan>,
    pub(crate) live: Arc<Live>,
    pub(crate) epochs: SyncSender<Epoch>,
    pub(crate) tasks: Vec<OwnedTask>,
    /// Whether any step holds state: else snapshots are pointless.
    pub(crate) stateful: bool,
}

impl Worker {
    /// Runs until the inputs end or the run is asked to stop.
    pub(crate) fn run(mut self) -> Result<()> {
        let mut clock = StageClock::new(&self.plan);
        let mut tasks = std::mem::take(&mut self.tasks);
        let outputs = self.plan.all_outputs().count();
        for owned in &mut tasks {
            owned.buffer = EpochBuffer::new(outputs);
        }
        let mut nap = Duration::ZERO;
        while !tasks.iter().all(|t| t.ended) {
            let stopping = self.live.stopping();
            let mut worked = false;
            for owned in tasks.iter_mut().filter(|t| !t.ended) {
                worked |=
                    if stopping { self.close(owned, true).map(|()| true)? } else { self.turn(owned, &mut clock)? };
            }
            if worked {
                nap = Duration::ZERO;
            } else {
                nap = (nap * 2).clamp(Duration::from_micros(50), NAP_MAX);
                std::thread::sleep(nap);
            }
        }
        self.live.merge_stages(&clock.stages);
        Ok(())
    }

    /// One poll of one task; whether it brought anything.
    fn turn(&self, owned: &mut OwnedTask, clock: &mut StageClock) -> Result<bool> {
        let settings = &self.plan.settings;
        let limit = PollLimit { records: settings.batch_rows_max, bytes: POLL_BYTES_MAX };
        let mut raw = RawBatch::new(owned.task.id());
        let polled = owned.source.poll(limit, &mut raw)?;
        if polled == Polled::Records {
            let now = Instant::now();
            self.fill(owned, &mut raw, now)?;
            owned.opened.get_or_insert(now);
            owned.last_event = now;
            owned.dirty = true;
            let (events, predictions) = (owned.buffer.events, owned.buffer.predictions);
            clock.start(raw.len());
            owned.task.feed(Arc::new(raw), Mode::Emit(&mut owned.buffer), clock)?;
            self.live.events.fetch_add(owned.buffer.events - events, Ordering::Relaxed);
            self.live.predictions.fetch_add(owned.buffer.predictions - predictions, Ordering::Relaxed);
            self.show_progress(owned);
            let due = owned.opened.is_some_and(|o| o.elapsed() >= settings.epoch_max);
            if due || owned.buffer.bytes() >= EPOCH_BYTES_MAX {
                self.close(owned, false)?;
            }
            return Ok(true);
        }
        if polled == Polled::End {
            self.advance(owned, AdvanceCause::End, clock)?;
            self.show_progress(owned);
            self.close(owned, true)?;
            return Ok(true);
        }
        // Drained: what is open is committed at once, so that a lone event does not wait.
        if owned.opened.is_some() || !owned.journal.is_empty() {
            self.close(owned, false)?;
        }
        self.show_progress(owned);
        if self.plan.source.idle_after.is_some_and(|after| owned.last_event.elapsed() >= after) {
            self.advance(owned, AdvanceCause::Idle, clock)?;
        }
        Ok(false)
    }

    /// Waits up to `linger` for a batch to fill.
    fn fill(&self, owned: &mut OwnedTask, raw: &mut RawBatch, since: Instant) -> Result<()> {
        let settings = &self.plan.settings;
        while !settings.linger.is_zero()
            && raw.len() < settings.batch_rows_max
            && raw.bytes_len() < POLL_BYTES_MAX
            && since.elapsed() < settings.linger
            && !self.live.stopping()
        {
            let limit =
                PollLimit { records: settings.batch_rows_max - raw.len(), bytes: POLL_BYTES_MAX - raw.bytes_len() };
            match owned.source.poll(limit, raw)? {
                Polled::Records => {}
                Polled::CaughtUp => std::thread::sleep(NAP_MAX.min(settings.linger)),
                Polled::End => break,
            }
        }
        Ok(())
    }

    /// Moves the watermark past all that was seen, and writes down why.
    fn advance(&self, owned: &mut OwnedTask, cause: AdvanceCause, clock: &mut StageClock) -> Result<()> {
        let Some(watermark) = owned.task.watermark().at_end() else { return Ok(()) };
        let at = owned.source.position().offset;
        owned.journal.push(JournalEntry::Advance { at, watermark, cause });
        owned.opened.get_or_insert_with(Instant::now);
        owned.dirty = true;
        let predictions = owned.buffer.predictions;
        clock.start(0);
        owned.task.advance(at, watermark, Mode::Emit(&mut owned.buffer), clock)?;
        self.live.predictions.fetch_add(owned.buffer.predictions - predictions, Ordering::Relaxed);
        Ok(())
    }

    /// Closes the open epoch and hands it to the committer; waits there while two epochs are ahead of it.
    fn close(&self, owned: &mut OwnedTask, last: bool) -> Result<()> {
        owned.ended = last;
        let snapshot_due = owned.last_snapshot.elapsed() >= self.plan.settings.snapshot_every;
        let snapshot = self.stateful && owned.dirty && (last || snapshot_due);
        if owned.opened.is_none() && owned.journal.is_empty() && !snapshot {
            return Ok(());
        }
        let outputs = owned.buffer.chunks.len();
        let buffer = std::mem::replace(&mut owned.buffer, EpochBuffer::new(outputs));
        self.live.dead_letters.fetch_add(buffer.dead_letters, Ordering::Relaxed);
        self.live.late_dropped.fetch_add(buffer.late_dropped, Ordering::Relaxed);
        let epoch = Epoch {
            task: owned.task.id(),
            start: owned.start.clone(),
            position: owned.source.position(),
            journal: std::mem::take(&mut owned.journal),
            chunks: buffer.chunks,
            events: buffer.events,
            opened: owned.opened.take().unwrap_or_else(Instant::now),
            state: snapshot.then(|| owned.task.snapshot()),
            last,
        };
        if snapshot {
            owned.dirty = false;
            owned.last_snapshot = Instant::now();
        }
        self.epochs.send(epoch).map_err(|_| Error::new(THREAD_FAILED, "the committer ended before the worker did"))
    }

    fn show_progress(&self, owned: &mut OwnedTask) {
        if let Some(lag) = owned.source.lag() {
            // Wrapping: the sum over tasks is right though a single difference may be negative.
            self.live.lag.fetch_add(lag.wrapping_sub(owned.lag), Ordering::Relaxed);
            owned.lag = lag;
        }
        if let Some(fraction) = owned.source.fraction_read() {
            self.live.fraction_ppm.store((fraction * 1e6) as u64, Ordering::Relaxed);
        }
    }
}

/// Measures the stages of a batch: the only clock near a task, and nothing depends on what it says.
struct StageClock {
    stages: Stages,
    ids: Vec<usize>,
    since: Instant,
    events: u64,
}

impl StageClock {
    fn new(plan: &Plan) -> Self {
        let mut stages = Stages::default();
        let names = plan.steps.iter().map(|s| s.name.as_str());
        let ids = std::iter::once("decode").chain(names).chain(["outputs"]).map(|n| stages.stage(n)).collect();
        Self { stages, ids, since: Instant::now(), events: 0 }
    }

    fn start(&mut self, events: usize) {
        self.since = Instant::now();
        self.events = events as u64;
    }
}

impl Probe for StageClock {
    fn passed(&mut self, stage: usize, _rows: usize) {
        let now = Instant::now();
        if let (Some(&id), 1..) = (self.ids.get(stage), self.events) {
            self.stages.record(id, now - self.since, self.events);
        }
        self.since = now;
    }
}
