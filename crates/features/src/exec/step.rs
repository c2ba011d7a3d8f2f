//! The chain of operators as a step.

use std::sync::Arc;

use arrow::compute::concat_batches;
use millstream_core::rows::MetaColumns;
use millstream_core::{
    DeadLetter, Meta, Progress, Result, Rows, StateReader, StateSize, StateWriter, Step, StepOutput,
};

use super::eval::{Evaluated, ExprSet, internal, kept_by, mask_of, reject, select};
use super::join::Lookup;
use crate::plan::op::{FilterPlan, Op};
use crate::window::{WindowOperator, snapshot};

/// A running query of one task.
pub(crate) struct QueryStep {
    plan: Arc<[Op]>,
    running: Vec<Running>,
}

/// What an operator holds while it runs, next to its plan.
pub(crate) enum Running {
    Stateless,
    Join(Arc<Lookup>),
    Window { operator: Box<WindowOperator>, nothing: Rows },
}

impl QueryStep {
    pub(crate) fn new(plan: Arc<[Op]>, running: Vec<Running>) -> Self {
        Self { plan, running }
    }

    fn windows(&mut self) -> Vec<&mut WindowOperator> {
        let mut windows = Vec::new();
        for running in &mut self.running {
            if let Running::Window { operator, .. } = running {
                windows.push(operator.as_mut());
            }
        }
        windows
    }
}

impl Step for QueryStep {
    fn process(&mut self, rows: Rows, progress: &Progress, out: &mut StepOutput) -> Result<()> {
        let first = out.rejected.len();
        let mut current = vec![rows];
        for (op, running) in self.plan.iter().zip(&mut self.running) {
            current.retain(|rows| !rows.is_empty());
            match (op, running) {
                (Op::Window(plan), Running::Window { operator, nothing }) => {
                    let rows = merge(current, nothing)?;
                    let mut given = StepOutput::default();
                    let (rows, arguments) = split(rows, &plan.arguments, &mut out.rejected)?;
                    let columns = select(&rows.columns, &plan.input, &plan.spec.input)?;
                    operator.process(Rows { columns, meta: rows.meta }, arguments, progress, &mut given)?;
                    out.rejected.append(&mut given.rejected);
                    out.late_dropped += given.late_dropped;
                    current = given.rows;
                }
                (op, running) => {
                    for rows in &mut current {
                        stateless(op, running, rows, &mut out.rejected)?;
                    }
                }
            }
        }
        current.retain(|rows| !rows.is_empty());
        out.rows.append(&mut current);
        // Each operator rejects in its own turn; a batch cut elsewhere must give the same order.
        if let Some(new) = out.rejected.get_mut(first..) {
            new.sort_by_key(|letter| letter.trigger);
        }
        Ok(())
    }

    fn writes_entries(&self) -> bool {
        true
    }

    fn snapshot(&self, out: &mut StateWriter) {
        let mut windows = Vec::new();
        for running in &self.running {
            if let Running::Window { operator, .. } = running {
                windows.push(operator.as_ref());
            }
        }
        snapshot::write(&windows, out);
    }

    fn mark_saved(&mut self) {
        self.windows().into_iter().for_each(WindowOperator::mark_saved);
    }

    fn take_changes(&mut self, out: &mut StateWriter) {
        snapshot::write_changes(&mut self.windows(), out);
    }

    fn apply_changes(&mut self, state: &mut StateReader<'_>) -> Result<()> {
        snapshot::read(&mut self.windows(), state, true)
    }

    fn restore(&mut self, state: &mut StateReader<'_>) -> Result<()> {
        snapshot::read(&mut self.windows(), state, false)
    }

    fn state_size(&self) -> StateSize {
        let mut all = StateSize::default();
        for running in &self.running {
            if let Running::Window { operator, .. } = running {
                let size = operator.state_size();
                all.keys += size.keys;
                all.rows += size.rows;
                all.bytes += size.bytes;
            }
        }
        all
    }
}

fn stateless(op: &Op, running: &Running, rows: &mut Rows, rejected: &mut Vec<DeadLetter>) -> Result<()> {
    match (op, running) {
        (Op::Project(set), _) => project(set, rows, rejected),
        (Op::Filter(plan), _) => filter(plan, rows, rejected),
        (Op::Join(plan), Running::Join(lookup)) => lookup.join(plan, rows, rejected),
        _ => Err(internal("an operator runs without its state")),
    }
}

/// Evaluates a set into new columns; failed rows go.
pub(crate) fn project(set: &ExprSet, rows: &mut Rows, rejected: &mut Vec<DeadLetter>) -> Result<()> {
    match set.evaluate(&rows.columns)? {
        Evaluated::All(columns) => rows.columns = columns,
        Evaluated::Some { batch, kept, failed } => {
            reject(&rows.meta, failed, rejected);
            rows.meta = rows.meta.take(&kept);
            rows.columns = batch;
        }
    }
    Ok(())
}

/// Evaluates a set next to the rows; failed rows go from both.
pub(crate) fn split(
    rows: Rows,
    set: &ExprSet,
    rejected: &mut Vec<DeadLetter>,
) -> Result<(Rows, arrow::array::RecordBatch)> {
    match set.evaluate(&rows.columns)? {
        Evaluated::All(values) => Ok((rows, values)),
        Evaluated::Some { batch, kept, failed } => {
            reject(&rows.meta, failed, rejected);
            Ok((rows.take(&kept).map_err(internal)?, batch))
        }
    }
}

fn filter(plan: &FilterPlan, rows: &mut Rows, rejected: &mut Vec<DeadLetter>) -> Result<()> {
    let (mask, places, failed) = match plan.predicate.evaluate(&rows.columns)? {
        Evaluated::All(batch) => (batch, None, Vec::new()),
        Evaluated::Some { batch, kept, failed } => (batch, Some(kept), failed),
    };
    reject(&rows.meta, failed, rejected);
    let kept = match (kept_by(mask_of(&mask)?), places) {
        (kept, None) => kept,
        (None, Some(places)) => Some(places),
        (Some(kept), Some(places)) => Some(kept.into_iter().filter_map(|i| places.get(i as usize).copied()).collect()),
    };
    if let Some(columns) = &plan.keep {
        rows.columns = select(&rows.columns, columns, &plan.schema)?;
    }
    if let Some(kept) = kept {
        *rows = rows.take(&kept).map_err(internal)?;
    }
    Ok(())
}

/// One batch of rows out of several: an operator with state must see all of them before the watermark acts.
fn merge(mut all: Vec<Rows>, nothing: &Rows) -> Result<Rows> {
    match all.len() {
        0 => return Ok(nothing.clone()),
        1 => return Ok(all.swap_remove(0)),
        _ => {}
    }
    let schema = all.first().map_or_else(|| nothing.columns.schema(), |rows| rows.columns.schema());
    let columns = concat_batches(&schema, all.iter().map(|rows| &rows.columns)).map_err(internal)?;
    let mut meta = MetaColumns::default();
    for rows in &all {
        for i in 0..rows.len() {
            let m = &rows.meta;
            meta.push(&m.record(i), m.event_time(i), m.trigger(i), m.late(i));
        }
    }
    Ok(Rows { columns, meta: Meta::from(meta) })
}
