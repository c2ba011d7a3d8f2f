//! A task with what surrounds it on a worker: its source, the open epoch, the snapshots that are due.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use millstream_core::journal::AdvanceCause;
use millstream_core::{JournalEntry, Lease, PollLimit, Polled, Position, RawBatch, Result, Source};

use crate::clock::Clock;
use crate::live::{Live, Stages, TaskStatus};
use crate::messages::{Epoch, Ready};
use crate::plan::Plan;
use crate::snapshot::Cutter;
use crate::task::{EpochBuffer, Mode, Probe, Task};

/// Bytes one poll may bring before it stops.
pub(crate) const POLL_BYTES_MAX: usize = 4 << 20;
/// Output bytes an epoch may hold before it closes early.
const EPOCH_BYTES_MAX: usize = 4 << 20;
/// Epochs of a task that may be with the committer: one that is committed, one that is next. What comes meanwhile joins
/// the open one, so that a slow commit makes epochs larger, not more.
const IN_FLIGHT_MAX: usize = 2;
/// How often a task says where it stands.
const STATUS_EVERY: Duration = Duration::from_millis(500);

/// What all tasks of a worker share.
pub(crate) struct Surroundings {
    pub(crate) plan: Arc<Plan>,
    pub(crate) live: Arc<Live>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stages: StageClock,
    /// Whether any step holds state: else snapshots are pointless.
    pub(crate) stateful: bool,
    /// An empty batch with the room that one had which nothing holds any more: the next one need not grow into its own.
    pub(crate) spare: RawBatch,
}

/// What a turn of a task came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Events were processed.
    Worked,
    /// There was nothing to do.
    Idle,
    /// The input has ended.
    Ended,
}

pub(crate) struct OwnedTask {
    pub(crate) lease: Lease,
    task: Task,
    source: Box<dyn Source>,
    start: Position,
    /// Entries that the next epoch commits.
    journal: Vec<JournalEntry>,
    buffer: EpochBuffer,
    opened: Option<Duration>,
    /// Epochs handed over whose commit is not known yet: the bytes of each.
    in_flight: VecDeque<usize>,
    last_event: Duration,
    last_snapshot: Duration,
    last_status: Option<Duration>,
    /// State changed since the last snapshot.
    dirty: bool,
    snapshot_now: bool,
    cutter: Cutter,
    pub(crate) ended: bool,
    lag: u64,
}

impl OwnedTask {
    pub(crate) fn new(lease: Lease, ready: Ready, outputs: usize, now: Duration) -> Self {
        Self {
            lease,
            task: ready.task,
            source: ready.source,
            start: ready.start,
            journal: ready.journal,
            buffer: EpochBuffer::new(outputs),
            opened: None,
            in_flight: VecDeque::new(),
            last_event: now,
            last_snapshot: now,
            last_status: None,
            dirty: ready.snapshot_now,
            snapshot_now: ready.snapshot_now,
            cutter: Cutter::default(),
            ended: false,
            lag: 0,
        }
    }

    /// Output bytes that are not committed yet.
    pub(crate) fn uncommitted(&self) -> usize {
        self.buffer.bytes() + self.in_flight.iter().sum::<usize>()
    }

    /// The oldest epoch that was handed over is committed, or was left out.
    pub(crate) fn epoch_done(&mut self) {
        self.in_flight.pop_front();
    }

    /// Whether the input was read to its end, and all of it committed.
    pub(crate) fn is_done(&self) -> bool {
        self.ended && self.in_flight.is_empty()
    }

    /// One poll, if there is room for what it brings; what it came to. Epochs that close are put into `out`.
    pub(crate) fn turn(&mut self, room: bool, around: &mut Surroundings, out: &mut VecDeque<Epoch>) -> Result<Turn> {
        let waits = self.in_flight.len() >= IN_FLIGHT_MAX;
        let room = room && !(waits && self.buffer.bytes() >= EPOCH_BYTES_MAX);
        let turn = if room { self.read(around, out)? } else { Turn::Idle };
        if turn == Turn::Ended {
            return Ok(turn);
        }
        let now = around.clock.now();
        let due = self.opened.is_some_and(|o| now.saturating_sub(o) >= around.plan.settings.epoch_max);
        if !waits && (due || self.buffer.bytes() >= EPOCH_BYTES_MAX) {
            self.close(false, around, out);
        }
        self.show(now, around);
        Ok(turn)
    }

    fn read(&mut self, around: &mut Surroundings, out: &mut VecDeque<Epoch>) -> Result<Turn> {
        let limit = PollLimit { records: around.plan.settings.batch_rows_max, bytes: POLL_BYTES_MAX };
        let mut raw = std::mem::take(&mut around.spare).emptied(self.task.id());
        match self.source.poll(limit, &mut raw)? {
            Polled::Records => {
                self.process(raw, around)?;
                Ok(Turn::Worked)
            }
            Polled::End => {
                self.advance(AdvanceCause::End, around)?;
                self.close(true, around, out);
                Ok(Turn::Ended)
            }
            nothing @ (Polled::CaughtUp | Polled::Waiting) => {
                around.spare = raw;
                // Drained: what is open is committed at once, so that a lone event does not wait; but while a commit
                // is on its way, the next one gathers.
                if (self.opened.is_some() || !self.journal.is_empty()) && self.in_flight.is_empty() {
                    self.close(false, around, out);
                }
                let idle = around.clock.now().saturating_sub(self.last_event);
                let silent = nothing == Polled::CaughtUp;
                if silent && around.plan.source.idle_after.is_some_and(|after| idle >= after) {
                    self.advance(AdvanceCause::Idle, around)?;
                }
                Ok(Turn::Idle)
            }
        }
    }

    fn process(&mut self, mut raw: RawBatch, around: &mut Surroundings) -> Result<()> {
        let now = around.clock.now();
        self.fill(&mut raw, now, around)?;
        self.opened.get_or_insert(now);
        self.last_event = now;
        self.dirty = true;
        let (events, predictions) = (self.buffer.events, self.buffer.predictions);
        around.stages.start(raw.len());
        let raw = Arc::new(raw);
        self.task.feed(raw.clone(), Mode::Emit(&mut self.buffer), &mut around.stages)?;
        // Windows may hold it.
        around.spare = Arc::try_unwrap(raw).unwrap_or_default();
        around.live.events.fetch_add(self.buffer.events - events, Ordering::Relaxed);
        around.live.predictions.fetch_add(self.buffer.predictions - predictions, Ordering::Relaxed);
        Ok(())
    }

    /// Waits up to `linger` for a batch to fill.
    fn fill(&mut self, raw: &mut RawBatch, since: Duration, around: &Surroundings) -> Result<()> {
        let settings = &around.plan.settings;
        while !settings.linger.is_zero()
            && raw.len() < settings.batch_rows_max
            && raw.bytes_len() < POLL_BYTES_MAX
            && around.clock.now().saturating_sub(since) < settings.linger
            && !around.live.stopping()
        {
            let limit =
                PollLimit { records: settings.batch_rows_max - raw.len(), bytes: POLL_BYTES_MAX - raw.bytes_len() };
            match self.source.poll(limit, raw)? {
                Polled::Records => {}
                Polled::CaughtUp | Polled::Waiting => {
                    std::thread::sleep(Duration::from_millis(1).min(settings.linger));
                }
                Polled::End => break,
            }
        }
        Ok(())
    }

    /// Moves the watermark past all that was seen, and writes down why.
    fn advance(&mut self, cause: AdvanceCause, around: &mut Surroundings) -> Result<()> {
        let Some(watermark) = self.task.watermark().at_end() else { return Ok(()) };
        let at = self.source.position().offset;
        self.journal.push(JournalEntry::Advance { at, watermark, cause });
        self.opened.get_or_insert_with(|| around.clock.now());
        self.dirty = true;
        let predictions = self.buffer.predictions;
        around.stages.start(0);
        self.task.advance(at, watermark, Mode::Emit(&mut self.buffer), &mut around.stages)?;
        around.live.predictions.fetch_add(self.buffer.predictions - predictions, Ordering::Relaxed);
        Ok(())
    }

    /// Closes the open epoch. `last`: nothing comes after it under this lease.
    pub(crate) fn close(&mut self, last: bool, around: &Surroundings, out: &mut VecDeque<Epoch>) {
        self.ended |= last;
        let now = around.clock.now();
        let snapshot_due = now.saturating_sub(self.last_snapshot) >= around.plan.settings.snapshot_every;
        // One at a time: a cut that would only wait behind another is made later, of more.
        let wanted = last || self.snapshot_now || (snapshot_due && self.cutter.is_idle());
        let snapshot = around.stateful && self.dirty && wanted;
        if self.opened.is_none() && self.journal.is_empty() && !snapshot {
            return;
        }
        let buffer = self.buffer.take();
        around.live.dead_letters.fetch_add(buffer.dead_letters, Ordering::Relaxed);
        around.live.late_dropped.fetch_add(buffer.late_dropped, Ordering::Relaxed);
        let state = snapshot.then(|| self.cutter.cut(&mut self.task));
        if snapshot {
            (self.dirty, self.snapshot_now, self.last_snapshot) = (false, false, now);
        }
        self.in_flight.push_back(buffer.bytes());
        out.push_back(Epoch {
            task: self.task.id(),
            lease: self.lease,
            start: self.start.clone(),
            position: self.source.position(),
            journal: std::mem::take(&mut self.journal),
            chunks: buffer.chunks,
            events: buffer.events,
            opened: self.opened.take().unwrap_or(now),
            state,
            last,
        });
    }

    /// Says where the task stands.
    fn show(&mut self, now: Duration, around: &Surroundings) {
        if let Some(lag) = self.source.lag() {
            // Wrapping: the sum over tasks is right though a single difference may be negative.
            around.live.lag.fetch_add(lag.wrapping_sub(self.lag), Ordering::Relaxed);
            self.lag = lag;
        }
        if let Some(fraction) = self.source.fraction_read() {
            around.live.fraction_ppm.store((fraction * 1e6) as u64, Ordering::Relaxed);
        }
        if self.last_status.is_some_and(|last| now.saturating_sub(last) < STATUS_EVERY) {
            return;
        }
        self.last_status = Some(now);
        let sizes = self.task.state_sizes();
        around.live.set_task(
            self.task.id(),
            TaskStatus {
                position: self.source.position().offset,
                lag: self.source.lag(),
                watermark: self.task.watermark().value(),
                state_keys: sizes.iter().map(|(_, size)| size.keys).sum(),
                state_bytes: sizes.iter().map(|(_, size)| size.bytes).sum(),
            },
        );
    }

    /// Takes the task out of what the run shows.
    pub(crate) fn hide(&self, live: &Live) {
        live.lag.fetch_sub(self.lag, Ordering::Relaxed);
        live.remove_task(self.task.id());
    }
}

/// Measures the stages of a batch; nothing depends on what it says.
pub(crate) struct StageClock {
    pub(crate) stages: Stages,
    ids: Vec<usize>,
    since: Instant,
    events: u64,
}

impl StageClock {
    pub(crate) fn new(plan: &Plan) -> Self {
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
