//! The operator: rows in, rows with the functions' columns out.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::{DateTime, SecondsFormat};
use millstream_core::error::{Error, Result};
use millstream_core::time::{NO_EVENT_TIME, WATERMARK_START};
use millstream_core::{
    DeadLetter, EventTime, Progress, Rejection, Rows, StateReader, StateSize, StateWriter, StepOutput,
};

use super::codes;
use super::output::{Output, arrow_error};
use super::pending::Pending;
use super::plan::plan;
use super::snapshot;
use super::spec::{Emit, Function, LatePolicy, WindowFunction, WindowSpec};
use super::store::{Overflow, Store};
use super::value::Column;

/// Rows that come out in one batch, about, when many are released at once.
const RELEASED_ROWS: usize = 8192;

/// Computes OVER windows incrementally. See the [module](super) for how.
#[derive(Debug)]
pub struct WindowOperator {
    spec: WindowSpec,
    schema: SchemaRef,
    /// The type each function gives, before it is made into the planned one.
    natural: Vec<DataType>,
    /// Which argument columns are read.
    used: Vec<bool>,
    pub(super) stores: Vec<Store>,
    pub(super) pending: Pending,
    /// The watermark after the last batch.
    pub(super) watermark: EventTime,
}

impl WindowOperator {
    /// Builds the operator of a plan.
    ///
    /// # Errors
    /// The plan asks for something the operator can't compute: a function over a type it is not defined for, or
    /// an output type that can't hold its values.
    pub fn new(spec: WindowSpec) -> Result<Self> {
        let stores: Vec<Store> = plan(&spec)?.into_iter().map(Store::new).collect();
        let fields = spec.input.fields().iter().cloned();
        let fields: Vec<_> = fields.chain(spec.functions.iter().map(|f| f.output.clone())).collect();
        let natural: Vec<DataType> = spec.functions.iter().map(|f| natural_type(&spec, f)).collect();
        for (function, natural) in spec.functions.iter().zip(&natural) {
            let wanted = function.output.data_type();
            if !Output::can_convert(natural, wanted) {
                let name = function.function.name();
                let message = format!("{name} gives {natural}, which can't be made into {wanted}");
                return Err(Error::new(codes::UNSUPPORTED_WINDOW, message));
            }
        }
        let mut used = vec![false; spec.arguments.fields().len()];
        for store in &stores {
            let plan = &store.plan;
            let arguments = plan.partition_by.iter().chain(plan.cells.iter().map(|cell| &cell.argument));
            let arguments = arguments.chain(plan.flags.iter().map(|flag| &flag.argument));
            for &argument in arguments.chain(plan.ties.iter().map(|tie| &tie.argument)) {
                if let Some(used) = used.get_mut(argument) {
                    *used = true;
                }
            }
        }
        let pending = Pending::new(spec.input.clone(), spec.arguments.clone());
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { spec, schema, natural, used, stores, pending, watermark: WATERMARK_START })
    }

    /// The columns that come out: the input's, then one for each function.
    pub fn output_schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Takes the rows that arrived with their arguments (as many rows), then lets the watermark act.
    ///
    /// Late rows follow the plan's policy. A row without event time, and a row for which a result is out of its
    /// type's range, is refused; the latter has its place in the windows of other rows all the same.
    ///
    /// # Errors
    /// Only what no single row is to blame for.
    pub fn process(
        &mut self,
        rows: Rows,
        arguments: RecordBatch,
        progress: &Progress,
        out: &mut StepOutput,
    ) -> Result<()> {
        let refused_before = out.rejected.len();
        let (rows, arguments) = self.take_in(rows, arguments, progress, out)?;
        let watermark = progress.watermark().max(self.watermark);
        match self.spec.emit {
            Emit::OnArrival => self.compute(rows, &arguments, out)?,
            Emit::OnWatermark => {
                self.pending.push(rows, &arguments).map_err(arrow_error)?;
                // As `Progress::trigger_past`, for times that rise.
                let (mut at, last) = (0, progress.offsets.last().copied().unwrap_or(0));
                let mut trigger = |time, own: u64| {
                    while progress.watermarks.get(at).is_some_and(|&watermark| watermark <= time) {
                        at += 1;
                    }
                    progress.offsets.get(at).copied().unwrap_or(last).max(own)
                };
                while let Some(released) =
                    self.pending.release(watermark, RELEASED_ROWS, &mut trigger).map_err(arrow_error)?
                {
                    let rows = Rows { columns: released.columns, meta: released.meta };
                    self.compute(rows, &released.arguments, out)?;
                }
            }
        }
        self.watermark = watermark;
        for store in &mut self.stores {
            store.expire(watermark);
        }
        // Refusals at intake and on release were collected one after the other.
        if let Some(refused) = out.rejected.get_mut(refused_before..) {
            refused.sort_by_key(|letter| letter.trigger);
        }
        Ok(())
    }

    /// Refuses the rows that can't be placed.
    fn take_in(
        &self,
        rows: Rows,
        arguments: RecordBatch,
        progress: &Progress,
        out: &mut StepOutput,
    ) -> Result<(Rows, RecordBatch)> {
        let meta = &rows.meta;
        let bad = |row: usize| meta.late(row) || meta.event_time(row) == NO_EVENT_TIME;
        if !(0..rows.len()).any(bad) {
            return Ok((rows, arguments));
        }
        let mut kept = Vec::with_capacity(rows.len());
        for row in 0..rows.len() {
            if !bad(row) {
                kept.push(row as u32);
                continue;
            }
            let rejection = if meta.event_time(row) == NO_EVENT_TIME {
                Rejection {
                    code: codes::NO_EVENT_TIME,
                    message: "the row has no event time, so it has no place in a window".to_owned(),
                }
            } else if self.spec.late == LatePolicy::Drop {
                out.late_dropped += 1;
                continue;
            } else {
                let message = self.late_message(meta.event_time(row), meta.offset(row), progress);
                Rejection { code: codes::LATE_EVENT, message }
            };
            let trigger = meta.trigger(row);
            out.rejected.push(DeadLetter { record: meta.record(row), trigger, step: String::new(), rejection });
        }
        let indexes = arrow::array::UInt32Array::from(kept.clone());
        let arguments = millstream_core::rows::take_columns(&arguments, &indexes).map_err(arrow_error)?;
        Ok((rows.take(&kept).map_err(arrow_error)?, arguments))
    }

    fn late_message(&self, time: EventTime, offset: u64, progress: &Progress) -> String {
        let before = progress.offsets.partition_point(|&other| other < offset).checked_sub(1);
        let watermark = before.and_then(|at| progress.watermarks.get(at).copied()).unwrap_or(self.watermark);
        let behind = std::time::Duration::from_nanos(watermark.saturating_sub(time).max(0) as u64);
        format!(
            "the event time {} is {behind:?} behind the watermark {}: the windows it belongs to are closed",
            utc(time),
            utc(watermark),
        )
    }

    /// Computes the functions for rows and gives them out.
    fn compute(&mut self, rows: Rows, arguments: &RecordBatch, out: &mut StepOutput) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut columns = Vec::with_capacity(self.used.len());
        for (array, &used) in arguments.columns().iter().zip(&self.used) {
            columns.push(if used { Some(Column::read(array).map_err(arrow_error)?) } else { None });
        }
        let times: Vec<EventTime> = (0..rows.len()).map(|row| rows.meta.event_time(row)).collect();
        let functions = self.spec.functions.iter().zip(&self.natural);
        let mut outputs: Vec<Output> =
            functions.map(|(f, natural)| Output::new(natural, f.output.data_type(), rows.len())).collect();
        let mut overflows = Vec::new();
        for store in &mut self.stores {
            store.process(&columns, &times, self.spec.emit, self.watermark, &mut outputs, &mut overflows);
        }
        let mut arrays = rows.columns.columns().to_vec();
        for output in outputs {
            arrays.push(output.finish()?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options).map_err(arrow_error)?;
        let mut rows = rows.with_columns(batch);
        if !overflows.is_empty() {
            rows = self.refuse(rows, overflows, out)?;
        }
        if !rows.is_empty() {
            out.rows.push(rows);
        }
        Ok(())
    }

    /// Refuses the rows with a result that is out of range, for the first such function of each.
    fn refuse(&self, rows: Rows, mut overflows: Vec<Overflow>, out: &mut StepOutput) -> Result<Rows> {
        overflows.sort_by_key(|overflow| (overflow.row, overflow.function));
        overflows.dedup_by_key(|overflow| overflow.row);
        for Overflow { row, function, value } in &overflows {
            let Some(function) = self.spec.functions.get(*function) else { continue };
            let (name, field) = (function.function.name(), &function.output);
            let (kind, value) = (field.data_type(), &value.0);
            let message = format!("{name} for `{}` is {value}, which {kind} does not hold", field.name());
            let (record, trigger) = (rows.meta.record(*row), rows.meta.trigger(*row));
            let rejection = Rejection { code: codes::OUT_OF_RANGE, message };
            out.rejected.push(DeadLetter { record, trigger, step: String::new(), rejection });
        }
        let mut refused = overflows.iter().map(|overflow| overflow.row).peekable();
        let kept: Vec<u32> =
            (0..rows.len()).filter(|row| refused.next_if_eq(row).is_none()).map(|row| row as u32).collect();
        rows.take(&kept).map_err(arrow_error)
    }

    /// Writes the state: the rows that frames can still reach, what unbounded frames have summed up, and the
    /// rows that wait for the watermark.
    pub fn snapshot(&self, out: &mut StateWriter) {
        snapshot::write(&[self], out);
    }

    /// Reads what [`WindowOperator::snapshot`] wrote for the same spec.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn restore(&mut self, state: &mut StateReader<'_>) -> Result<()> {
        snapshot::read(&mut [self], state, false)
    }

    /// From now on, changes are counted anew.
    pub fn mark_saved(&mut self) {
        self.stores.iter_mut().for_each(Store::mark_saved);
    }

    /// Writes what changed since changes were last counted anew, and counts anew.
    pub fn take_changes(&mut self, out: &mut StateWriter) {
        snapshot::write_changes(&mut [self], out);
    }

    /// Applies what [`WindowOperator::take_changes`] wrote.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn apply_changes(&mut self, state: &mut StateReader<'_>) -> Result<()> {
        snapshot::read(&mut [self], state, true)
    }

    /// How much state there is. Looks at every key: meant for metrics and snapshots, not for every batch.
    pub fn state_size(&self) -> StateSize {
        let mut size = StateSize { rows: self.pending.len() as u64, bytes: self.pending.bytes() as u64, keys: 0 };
        for store in &self.stores {
            let part = store.size();
            size.keys += part.keys;
            size.rows += part.rows;
            size.bytes += part.bytes;
        }
        size
    }
}

/// The type in which a function gives its values.
fn natural_type(spec: &WindowSpec, function: &WindowFunction) -> DataType {
    use Function as F;
    match function.function {
        F::Count | F::CountDistinct => DataType::Int64,
        F::ApproxDistinct | F::RowNumber => DataType::UInt64,
        F::Sum | F::Avg => function.output.data_type().clone(),
        F::Variance { .. } | F::Covariance { .. } | F::Correlation | F::RegressionSlope => DataType::Float64,
        F::Min | F::Max | F::FirstValue | F::LastValue | F::NthValue(_) | F::Lag { .. } | F::ApproxPercentile(_) => {
            let field = function.arguments.first().and_then(|&argument| spec.arguments.fields().get(argument));
            field.map_or(DataType::Null, |field| super::value::plain_type(field.data_type()))
        }
    }
}

fn utc(time: EventTime) -> String {
    if time == WATERMARK_START {
        return "(none)".to_owned();
    }
    DateTime::from_timestamp_nanos(time).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
