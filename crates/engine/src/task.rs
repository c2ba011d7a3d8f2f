//! A task: the deterministic state machine that turns one partition's events into outputs.
//!
//! `state(task, n) = fold(events[0..n], journal[0..n])`. A task reads no clock, no file and no network; the
//! worker around it does, and hands it events and journal entries. How events are cut into batches never
//! shows in what comes out. Runs on the worker's thread that owns it.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimeUnit};
use millstream_connectors::EncodeContext;
use millstream_connectors::codec::{Decoded, Decoder};
use millstream_core::error::Result;
use millstream_core::rows::MetaColumns;
use millstream_core::time::NO_EVENT_TIME;
use millstream_core::{
    Chunk, DeadLetter, EncodedRecord, Encoder, Error, EventTime, Meta, Progress, RawBatch, RecordRef, Rejection, Rows,
    StateReader, StateSize, StateWriter, Step, StepOutput, TaskId, Watermark,
};

use crate::artifacts::Serving;
use crate::codes::{EVENT_TIME, NO_DEAD_LETTERS};
use crate::plan::{Plan, PlannedOutput, StepKind};
use crate::route;
use crate::snapshot::{Base, Loaded, merge};

/// Told after each stage; measures, and decides nothing.
pub trait Probe {
    /// `rows` rows have just left a stage: 0 is decoding, `1..` are the steps, the last is the outputs.
    fn passed(&mut self, stage: usize, rows: usize);
}

/// Measures nothing.
pub struct NoProbe;

impl Probe for NoProbe {
    fn passed(&mut self, _stage: usize, _rows: usize) {}
}

/// What a task produced since the buffer was last taken: the outputs of the epoch that is open.
#[derive(Debug, Default)]
pub struct EpochBuffer {
    /// One chunk for each output, dead letters last.
    pub chunks: Vec<Chunk>,
    /// Events processed.
    pub events: u64,
    /// Predictions made.
    pub predictions: u64,
    /// Dead letters written.
    pub dead_letters: u64,
    /// Late events dropped by policy.
    pub late_dropped: u64,
}

impl EpochBuffer {
    /// An empty buffer for that many outputs (dead letters included).
    pub fn new(outputs: usize) -> Self {
        Self { chunks: (0..outputs).map(|_| Chunk::default()).collect(), ..Self::default() }
    }

    /// Takes what is there, and leaves room for about as much again: the next epoch need not grow into it.
    pub fn take(&mut self) -> Self {
        let room = |chunk: &Chunk| Chunk {
            data: Vec::with_capacity(chunk.data.len() + chunk.data.len() / 4),
            records: Vec::with_capacity(chunk.records.len() + chunk.records.len() / 4),
            ..Chunk::default()
        };
        let next = Self { chunks: self.chunks.iter().map(room).collect(), ..Self::default() };
        std::mem::replace(self, next)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|c| c.data.len() + c.records.len() * size_of::<EncodedRecord>()).sum()
    }
}

/// Whether outputs are wanted.
pub enum Mode<'a> {
    /// New events: encode outputs into the buffer.
    Emit(&'a mut EpochBuffer),
    /// Events that were committed before: rebuild state only.
    Fold,
}

struct RunningStep {
    step: Box<dyn Step>,
    predicts: bool,
}

/// One partition of a pipeline, running.
pub struct Task {
    plan: Arc<Plan>,
    id: TaskId,
    decoder: Decoder,
    decoded: Decoded,
    watermark: Watermark,
    steps: Vec<RunningStep>,
    encoders: Vec<Box<dyn Encoder>>,
    feeds_state: Vec<bool>,
    /// The snapshot that the state was restored from, if all that changed since is counted.
    base: Option<Base>,
}

/// A refusal with its place in the canonical order: trigger first, then stage.
struct Refused {
    stage: usize,
    letter: DeadLetter,
}

impl Task {
    /// A task with empty state, with the models and tables that serve.
    ///
    /// # Errors
    /// An operator or encoder can't be built from the plan.
    pub fn new(plan: Arc<Plan>, id: TaskId, serving: &Serving) -> Result<Self> {
        let decoder = Decoder::new(&plan.source.schema, serving.format.clone())?;
        let mut steps = Vec::with_capacity(plan.steps.len());
        for planned in &plan.steps {
            steps.push(match &planned.kind {
                StepKind::Sql(query) => RunningStep { step: query.build(&serving.tables)?, predicts: false },
                StepKind::Predict(predict) => {
                    RunningStep { step: predict.build(&plan.name, &planned.name, serving)?, predicts: true }
                }
            });
        }
        let encoder = |o: &PlannedOutput| {
            o.spec.encoder(&EncodeContext { source_format: serving.format.clone(), ..o.context.clone() })
        };
        let encoders = plan.all_outputs().map(encoder).collect::<Result<_>>()?;
        let watermark = Watermark::new(plan.source.lateness_ns);
        let feeds_state = plan.feeds_state();
        Ok(Self { plan, id, decoder, decoded: Decoded::default(), watermark, steps, encoders, feeds_state, base: None })
    }

    /// Which task.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The watermark.
    pub fn watermark(&self) -> &Watermark {
        &self.watermark
    }

    /// Processes a batch of events of the task's partition, in order.
    ///
    /// # Errors
    /// An event was refused and the pipeline has no dead-letter output, or something no single event is to
    /// blame for. The task's state must not be used afterwards.
    pub fn feed(&mut self, raw: Arc<RawBatch>, mut mode: Mode<'_>, probe: &mut dyn Probe) -> Result<()> {
        let mut refused = Vec::new();
        let (rows, progress) = self.decode(&raw, &mut refused)?;
        probe.passed(0, raw.len());
        if let Mode::Emit(buffer) = &mut mode {
            buffer.events += raw.len() as u64;
        }
        if progress.offsets.is_empty() {
            return self.write_refused(refused, &mut mode);
        }
        self.run_steps(rows, &progress, refused, &mut mode, probe)
    }

    /// Moves the watermark for a journaled reason that applies before event `at`.
    ///
    /// # Errors
    /// As for [`Task::feed`].
    pub fn advance(&mut self, at: u64, to: EventTime, mut mode: Mode<'_>, probe: &mut dyn Probe) -> Result<()> {
        self.watermark.advance_to(to);
        let progress = Progress { offsets: vec![at], watermarks: vec![self.watermark.value()] };
        let columns = RecordBatch::new_empty(self.plan.source.columns.clone());
        let rows = Rows { columns, meta: Meta::from(MetaColumns::default()) };
        self.run_steps(rows, &progress, Vec::new(), &mut mode, probe)
    }

    fn run_steps(
        &mut self,
        source_rows: Rows,
        progress: &Progress,
        mut refused: Vec<Refused>,
        mode: &mut Mode<'_>,
        probe: &mut dyn Probe,
    ) -> Result<()> {
        let plan = self.plan.clone();
        let folding = matches!(mode, Mode::Fold);
        // What each node gave for this batch; node 0 is the source.
        let mut nodes: Vec<Vec<Rows>> = Vec::with_capacity(plan.steps.len() + 1);
        nodes.push(vec![source_rows]);
        for (i, planned) in plan.steps.iter().enumerate() {
            let mut out = StepOutput::default();
            if !folding || self.feeds_state[i + 1] {
                let running = &mut self.steps[i];
                process_all(running.step.as_mut(), &nodes[planned.input], progress, &plan, planned.input, &mut out)?;
                let rows: usize = out.rows.iter().map(Rows::len).sum();
                probe.passed(i + 1, rows);
                if let Mode::Emit(buffer) = mode {
                    buffer.late_dropped += out.late_dropped;
                    buffer.predictions += if running.predicts { rows as u64 } else { 0 };
                }
            }
            refused.extend(out.rejected.into_iter().map(|mut letter| {
                letter.step.clone_from(&planned.name);
                Refused { stage: i + 1, letter }
            }));
            nodes.push(out.rows);
        }
        if let Mode::Emit(buffer) = mode {
            for (i, output) in plan.outputs.iter().enumerate() {
                let mut letters = Vec::new();
                for rows in nodes[output.input].iter().filter(|r| !r.is_empty()) {
                    let encoder = self.encoders[i].as_mut();
                    route::write(output, rows, encoder, &mut buffer.chunks[i], &mut letters)?;
                }
                refused.extend(letters.into_iter().map(|letter| Refused { stage: plan.steps.len() + 1 + i, letter }));
            }
            probe.passed(plan.steps.len() + 1, progress.offsets.len());
        }
        self.write_refused(refused, mode)
    }

    /// Writes refusals in canonical order: by the event that caused them, then by stage.
    fn write_refused(&mut self, mut refused: Vec<Refused>, mode: &mut Mode<'_>) -> Result<()> {
        let Mode::Emit(buffer) = mode else { return Ok(()) };
        refused.sort_by_key(|r| (r.letter.trigger, r.stage));
        let Some(first) = refused.first() else { return Ok(()) };
        if self.plan.dead_letters.is_none() {
            return Err(self.no_dead_letters(&first.letter));
        }
        let (Some(encoder), Some(chunk)) = (self.encoders.last_mut(), buffer.chunks.last_mut()) else { return Ok(()) };
        for r in &refused {
            encoder.write_dead_letter(&r.letter, chunk)?;
        }
        buffer.dead_letters += refused.len() as u64;
        Ok(())
    }

    fn no_dead_letters(&self, letter: &DeadLetter) -> Error {
        Error::new(
            NO_DEAD_LETTERS,
            format!(
                "event {} of partition {} of `{}` was refused at `{}`: {} [{}]",
                letter.record.offset(),
                self.id,
                self.plan.source.name,
                letter.step,
                letter.rejection.message,
                letter.rejection.code,
            ),
        )
        .help("add `dead_letters: { type: file, path: dead_letters.ndjson }` to keep such events aside and go on")
    }

    /// Decodes and validates a batch. Refused events do not move the watermark.
    fn decode(&mut self, raw: &Arc<RawBatch>, refused: &mut Vec<Refused>) -> Result<(Rows, Progress)> {
        self.decoder.decode(raw, &mut self.decoded)?;
        let mut columns = self.decoded.columns.clone();
        let mut kept = std::mem::take(&mut self.decoded.kept);
        let mut refuse = |index: u32, step: &str, rejection: Rejection| {
            let record = RecordRef { batch: raw.clone(), index };
            let letter = DeadLetter { trigger: record.offset(), record, step: step.to_owned(), rejection };
            refused.push(Refused { stage: 0, letter });
        };
        for (index, rejection) in self.decoded.rejected.drain(..) {
            refuse(index, "decode", rejection);
        }
        let mut times = vec![NO_EVENT_TIME; kept.len()];
        if let Some((column, unit)) = self.plan.source.event_time {
            let mask = read_event_times(&columns, column, unit, &mut times, |row, rejection| {
                refuse(kept[row], "event_time", rejection);
            });
            if let Some(mask) = mask {
                keep(&mask, &mut columns, &mut kept, &mut times)?;
            }
        }
        for (name, check) in &self.plan.source.checks {
            let refusals = route::check(check, &columns, name)?;
            if !refusals.is_empty() {
                let mask = route::kept(columns.num_rows(), &refusals);
                for (row, rejection) in refusals {
                    refuse(kept[row], &format!("check {name}"), rejection);
                }
                keep(&mask, &mut columns, &mut kept, &mut times)?;
            }
        }
        let mut meta = MetaColumns {
            batches: vec![raw.clone()],
            records: Vec::with_capacity(kept.len()),
            trigger: Vec::with_capacity(kept.len()),
            late: Vec::with_capacity(kept.len()),
            event_time: Vec::new(),
        };
        let mut progress = Progress::default();
        for (&index, &time) in kept.iter().zip(&times) {
            let offset = raw.offset(index as usize);
            meta.records.push((0, index));
            meta.trigger.push(offset);
            meta.late.push(time != NO_EVENT_TIME && self.watermark.observe(time));
            progress.offsets.push(offset);
            progress.watermarks.push(self.watermark.value());
        }
        meta.event_time = times;
        self.decoded.kept = kept;
        Ok((Rows { columns, meta: meta.into() }, progress))
    }

    /// Writes the state of the watermark and of every stateful step, by name.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = StateWriter::new();
        out.nested(|out| self.watermark.snapshot(out));
        let stateful: Vec<_> = self.stateful().collect();
        out.u64(stateful.len() as u64);
        for (name, running) in stateful {
            out.str(name);
            out.bool(running.step.writes_entries());
            out.nested(|out| running.step.snapshot(out));
        }
        out.into_bytes()
    }

    /// From now on, changes are counted anew: the state as it stands is part of a snapshot.
    pub fn mark_saved(&mut self) {
        for running in &mut self.steps {
            running.step.mark_saved();
        }
    }

    /// Writes what changed since changes were last counted anew, in the form of [`Task::snapshot`], and counts anew.
    pub fn take_changes(&mut self) -> Vec<u8> {
        let mut out = StateWriter::new();
        out.nested(|out| self.watermark.snapshot(out));
        out.u64(self.stateful().count() as u64);
        let named = self.plan.steps.iter().zip(&mut self.steps);
        for (planned, running) in named.filter(|(planned, _)| planned.state_fingerprint().is_some()) {
            out.str(&planned.name);
            out.bool(running.step.writes_entries());
            out.nested(|out| running.step.take_changes(out));
        }
        out.into_bytes()
    }

    fn stateful(&self) -> impl Iterator<Item = (&str, &RunningStep)> {
        let named = self.plan.steps.iter().zip(&self.steps);
        named.filter(|(planned, _)| planned.state_fingerprint().is_some()).map(|(p, r)| (p.name.as_str(), r))
    }

    /// Reads what [`Task::snapshot`] wrote. Steps in `skip`, and steps the plan no longer has, are passed over.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn restore(&mut self, state: &[u8], skip: &[String]) -> Result<()> {
        self.read(state, skip, |step, state| step.restore(state))
    }

    /// Applies what [`Task::take_changes`] wrote to the state it was taken on.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn apply_changes(&mut self, changes: &[u8], skip: &[String]) -> Result<()> {
        self.read(changes, skip, |step, state| step.apply_changes(state))
    }

    /// Takes over the state of a snapshot; the task's next cut is what changes from here on.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub(crate) fn resume(&mut self, snapshot: &Loaded, skip: &[String]) -> Result<()> {
        for (i, cut) in snapshot.cuts.iter().enumerate() {
            if i == 0 { self.restore(cut, skip)? } else { self.apply_changes(cut, skip)? }
        }
        self.base = Some(snapshot.base());
        Ok(())
    }

    /// The snapshot that the changes to the state are counted from, once.
    pub(crate) fn take_base(&mut self) -> Option<Base> {
        self.base.take()
    }

    fn read(
        &mut self,
        state: &[u8],
        skip: &[String],
        apply: impl Fn(&mut dyn Step, &mut StateReader<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut state = StateReader::new(state);
        self.watermark.restore(&mut StateReader::new(state.bytes()?))?;
        for step in merge::read_steps(&mut state)? {
            if skip.iter().any(|s| s == step.name) {
                continue;
            }
            let known = self.plan.steps.iter().position(|p| p.name == step.name && p.state_fingerprint().is_some());
            if let Some(running) = known.and_then(|i| self.steps.get_mut(i)) {
                apply(running.step.as_mut(), &mut StateReader::new(step.state))?;
            }
        }
        Ok(())
    }

    /// The state each stateful step holds.
    pub fn state_sizes(&self) -> Vec<(String, StateSize)> {
        self.stateful().map(|(name, r)| (name.to_owned(), r.step.state_size())).collect()
    }
}

/// Gives a step all batches of its input; at least one call, so that the watermark reaches it.
fn process_all(
    step: &mut dyn Step,
    input: &[Rows],
    progress: &Progress,
    plan: &Plan,
    node: usize,
    out: &mut StepOutput,
) -> Result<()> {
    let Some((last, before)) = input.split_last() else {
        let schema = node.checked_sub(1).map_or(&plan.source.columns, |i| &plan.steps[i].schema);
        let rows = Rows { columns: RecordBatch::new_empty(schema.clone()), meta: Meta::from(MetaColumns::default()) };
        return step.process(rows, progress, out);
    };
    // The watermark may act only when all rows are in: earlier batches see it where it stood before.
    let standing = Progress { offsets: progress.offsets[..1].to_vec(), watermarks: vec![EventTime::MIN] };
    for rows in before {
        step.process(rows.clone(), &standing, out)?;
    }
    step.process(last.clone(), progress, out)
}

/// Reads the event-time column in ns. Rows without a usable time are reported, and masked out.
fn read_event_times(
    columns: &RecordBatch,
    column: usize,
    unit: TimeUnit,
    times: &mut [EventTime],
    mut refuse: impl FnMut(usize, Rejection),
) -> Option<BooleanArray> {
    let array = columns.column(column);
    let factor: i64 = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    // The same 64-bit counts, read without their unit.
    let counts = array.to_data();
    let counts =
        arrow::array::make_array(counts.into_builder().data_type(arrow::datatypes::DataType::Int64).build().ok()?);
    let counts = counts.as_primitive::<Int64Type>();
    let mut bad = false;
    for (row, time) in times.iter_mut().enumerate() {
        let ns = if counts.is_null(row) { None } else { counts.value(row).checked_mul(factor) };
        match ns {
            Some(ns) if ns != NO_EVENT_TIME => *time = ns,
            _ => {
                bad = true;
                let name = columns.schema_ref().field(column).name();
                let message = if counts.is_null(row) {
                    format!("event time `{name}` is null: the event can't be placed in time")
                } else {
                    format!("event time `{name}` is {}, outside the years 1677 to 2262", counts.value(row))
                };
                refuse(row, Rejection { code: EVENT_TIME, message });
            }
        }
    }
    bad.then(|| times.iter().map(|t| Some(*t != NO_EVENT_TIME)).collect())
}

fn keep(mask: &BooleanArray, columns: &mut RecordBatch, kept: &mut Vec<u32>, times: &mut Vec<EventTime>) -> Result<()> {
    *columns = arrow::compute::filter_record_batch(columns, mask)
        .map_err(|e| Error::new(EVENT_TIME, "refused rows can't be taken out of a batch").because(e))?;
    let mut row = 0;
    kept.retain(|_| {
        row += 1;
        mask.value(row - 1)
    });
    row = 0;
    times.retain(|_| {
        row += 1;
        mask.value(row - 1)
    });
    Ok(())
}
