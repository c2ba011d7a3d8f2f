//! The stream side of a join with a table: one look-up per row, at most one match.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use millstream_core::{DeadLetter, Result, Rows};

use super::eval::{Evaluated, RowError, batch_of, internal, mask_of, reject};
use crate::plan::op::{JoinColumn, JoinPlan, Residual};
use crate::table::index::{KeyIndex, MISSING};

/// A table made ready for one join: its columns after the table side's own filter, and their index.
pub(crate) struct Lookup {
    pub(crate) columns: RecordBatch,
    pub(crate) index: Arc<KeyIndex>,
}

impl Lookup {
    /// Joins a batch in place; rows whose keys or conditions fail are rejected.
    pub(crate) fn join(&self, plan: &JoinPlan, rows: &mut Rows, rejected: &mut Vec<DeadLetter>) -> Result<()> {
        let keys = match plan.keys.evaluate(&rows.columns)? {
            Evaluated::All(keys) => keys,
            Evaluated::Some { batch, kept, failed } => {
                reject(&rows.meta, failed, rejected);
                *rows = rows.take(&kept).map_err(internal)?;
                batch
            }
        };
        let mut found = self.index.find(keys.columns())?;
        if let Some(residual) = &plan.residual {
            self.check(residual, rows, &mut found, rejected)?;
        }
        if !plan.outer && found.contains(&MISSING) {
            let kept: Vec<u32> = (0..found.len() as u32).filter(|&i| found.get(i as usize) != Some(&MISSING)).collect();
            *rows = rows.take(&kept).map_err(internal)?;
            found.retain(|&row| row != MISSING);
        }
        self.output(plan, rows, found)
    }

    fn output(&self, plan: &JoinPlan, rows: &mut Rows, found: Vec<u32>) -> Result<()> {
        let indices = indices(found);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(plan.outputs.len());
        for output in &plan.outputs {
            columns.push(match *output {
                JoinColumn::Stream(i) => stream_column(&rows.columns, i)?,
                JoinColumn::Table(i) => self.taken(i, &indices)?,
            });
        }
        rows.columns = batch_of(plan.schema.clone(), columns, rows.meta.len())?;
        Ok(())
    }

    fn taken(&self, column: usize, indices: &UInt32Array) -> Result<ArrayRef> {
        let column = self.columns.columns().get(column).ok_or_else(|| internal("a table column is not there"))?;
        take(column, indices, None).map_err(internal)
    }

    /// Unmatches the rows whose further conditions are not true. A row without a match has no pair to look
    /// at, so nothing is evaluated for it.
    fn check(
        &self,
        residual: &Residual,
        rows: &mut Rows,
        found: &mut Vec<u32>,
        rejected: &mut Vec<DeadLetter>,
    ) -> Result<()> {
        let matched: Vec<u32> = (0..found.len() as u32).filter(|&i| found.get(i as usize) != Some(&MISSING)).collect();
        let stream_places = UInt32Array::from(matched.clone());
        let table_places = UInt32Array::from_iter_values(found.iter().copied().filter(|&row| row != MISSING));
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(residual.columns.len());
        for column in &residual.columns {
            columns.push(match *column {
                JoinColumn::Stream(i) => {
                    take(&stream_column(&rows.columns, i)?, &stream_places, None).map_err(internal)?
                }
                JoinColumn::Table(i) => self.taken(i, &table_places)?,
            });
        }
        let pairs = batch_of(residual.schema.clone(), columns, matched.len())?;
        let (answers, places, failed) = match residual.condition.evaluate(&pairs)? {
            Evaluated::All(answers) => (answers, matched.clone(), Vec::new()),
            Evaluated::Some { batch, kept, failed } => {
                (batch, kept.iter().filter_map(|&k| matched.get(k as usize).copied()).collect(), failed)
            }
        };
        let mask = mask_of(&answers)?;
        for (i, &place) in places.iter().enumerate() {
            let holds = mask.is_valid(i) && mask.value(i);
            if let (false, Some(slot)) = (holds, found.get_mut(place as usize)) {
                *slot = MISSING;
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        let failed: Vec<RowError> = failed
            .into_iter()
            .filter_map(|e| matched.get(e.row).map(|&row| RowError { row: row as usize, message: e.message }))
            .collect();
        let kept: Vec<u32> = (0..found.len() as u32).filter(|&i| failed.iter().all(|e| e.row != i as usize)).collect();
        reject(&rows.meta, failed, rejected);
        *found = kept.iter().filter_map(|&i| found.get(i as usize).copied()).collect();
        *rows = rows.take(&kept).map_err(internal)?;
        Ok(())
    }
}

fn stream_column(batch: &RecordBatch, column: usize) -> Result<ArrayRef> {
    batch.columns().get(column).cloned().ok_or_else(|| internal("a column of the stream is not there"))
}

fn indices(found: Vec<u32>) -> UInt32Array {
    if found.contains(&MISSING) {
        found.into_iter().map(|row| (row != MISSING).then_some(row)).collect()
    } else {
        UInt32Array::from(found)
    }
}
