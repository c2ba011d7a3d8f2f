//! Rows: a micro-batch between two stages, its visible columns next to what Millstream knows of each row.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{filter_record_batch, take_arrays};
use arrow::error::ArrowError;

use crate::record::{RawBatch, RecordRef};
use crate::time::EventTime;

/// What is known of each row besides its columns. Kept out of the columns so that no query can lose it.
///
/// Cheap to clone, filter and take: rows are picked by index from shared storage.
#[derive(Clone, Debug)]
pub struct Meta {
    base: Arc<MetaColumns>,
    selection: Option<Arc<[u32]>>,
}

/// The stored columns of a [`Meta`]; all of one length but `batches`.
#[derive(Debug, Default)]
pub struct MetaColumns {
    /// The batches that hold the original records.
    pub batches: Vec<Arc<RawBatch>>,
    /// Which record of which batch each row comes from: (index into `batches`, index in that batch).
    pub records: Vec<(u32, u32)>,
    /// Event time in ns, or [`NO_EVENT_TIME`](crate::time::NO_EVENT_TIME).
    pub event_time: Vec<EventTime>,
    /// The offset of the event whose arrival caused this row to come out: its own, unless it had to wait
    /// for the watermark. All outputs of a task are ordered by it, so batch boundaries never show.
    pub trigger: Vec<u64>,
    /// Whether the event was behind the watermark when it arrived.
    pub late: Vec<bool>,
}

impl MetaColumns {
    /// Appends a row. The batch is shared with the rows before it where it is the same.
    pub fn push(&mut self, record: &RecordRef, event_time: EventTime, trigger: u64, late: bool) {
        let known = self.batches.iter().rposition(|b| Arc::ptr_eq(b, &record.batch));
        let batch = known.unwrap_or_else(|| {
            self.batches.push(record.batch.clone());
            self.batches.len() - 1
        });
        self.records.push((batch as u32, record.index));
        self.event_time.push(event_time);
        self.trigger.push(trigger);
        self.late.push(late);
    }
}

impl From<MetaColumns> for Meta {
    fn from(columns: MetaColumns) -> Self {
        Self { base: Arc::new(columns), selection: None }
    }
}

impl Meta {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.selection.as_ref().map_or(self.base.records.len(), |s| s.len())
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn at(&self, i: usize) -> usize {
        self.selection.as_ref().map_or(i, |s| s[i] as usize)
    }

    /// The event time of row `i` in ns.
    #[inline]
    pub fn event_time(&self, i: usize) -> EventTime {
        self.base.event_time[self.at(i)]
    }

    /// The offset of the event that caused row `i` to come out; see [`MetaColumns::trigger`].
    #[inline]
    pub fn trigger(&self, i: usize) -> u64 {
        self.base.trigger[self.at(i)]
    }

    /// Whether row `i`'s event was late.
    #[inline]
    pub fn late(&self, i: usize) -> bool {
        self.base.late[self.at(i)]
    }

    /// Whether any row is late.
    pub fn any_late(&self) -> bool {
        match &self.selection {
            None => self.base.late.contains(&true),
            Some(s) => s.iter().any(|&i| self.base.late[i as usize]),
        }
    }

    /// The original record of row `i`.
    pub fn record(&self, i: usize) -> RecordRef {
        let (batch, index) = self.base.records[self.at(i)];
        RecordRef { batch: self.base.batches[batch as usize].clone(), index }
    }

    /// The original record's batch and index, without touching its reference count.
    #[inline]
    pub fn raw(&self, i: usize) -> (&RawBatch, usize) {
        let (batch, index) = self.base.records[self.at(i)];
        (&self.base.batches[batch as usize], index as usize)
    }

    /// The batches that hold the original records.
    pub fn batches(&self) -> &[Arc<RawBatch>] {
        &self.base.batches
    }

    /// Which record row `i` comes from: (index into [`Meta::batches`], index in that batch).
    #[inline]
    pub fn record_index(&self, i: usize) -> (u32, u32) {
        self.base.records[self.at(i)]
    }

    /// The source offset of row `i`.
    #[inline]
    pub fn offset(&self, i: usize) -> u64 {
        let (batch, index) = self.raw(i);
        batch.offset(index)
    }

    /// The rows at `indices`, in that order.
    #[must_use]
    pub fn take(&self, indices: &[u32]) -> Self {
        let selection = indices.iter().map(|&i| self.at(i as usize) as u32).collect();
        Self { base: self.base.clone(), selection: Some(selection) }
    }
}

/// The rows of a batch at `indices`, in that order. Unlike Arrow's own it takes a batch without columns, which has
/// rows nevertheless: `COUNT(*)` needs no argument.
pub fn take_columns(batch: &RecordBatch, indices: &UInt32Array) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
    RecordBatch::try_new_with_options(batch.schema(), take_arrays(batch.columns(), indices, None)?, &options)
}

/// A micro-batch of rows of one task.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The columns that queries see.
    pub columns: RecordBatch,
    /// As many entries as `columns` has rows.
    pub meta: Meta,
}

impl Rows {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.columns.num_rows()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows for which `mask` is true (null counts as false).
    pub fn filter(&self, mask: &BooleanArray) -> Result<Self, ArrowError> {
        let kept: Vec<u32> = (0..self.len() as u32)
            .filter(|&i| mask.value(i as usize) && !arrow::array::Array::is_null(mask, i as usize))
            .collect();
        Ok(Self { columns: filter_record_batch(&self.columns, mask)?, meta: self.meta.take(&kept) })
    }

    /// The rows at `indices`, in that order.
    pub fn take(&self, indices: &[u32]) -> Result<Self, ArrowError> {
        let array = UInt32Array::from(indices.to_vec());
        Ok(Self { columns: take_columns(&self.columns, &array)?, meta: self.meta.take(indices) })
    }

    /// The same rows with other columns (as many rows).
    #[must_use]
    pub fn with_columns(&self, columns: RecordBatch) -> Self {
        debug_assert_eq!(columns.num_rows(), self.meta.len());
        Self { columns, meta: self.meta.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_columns_are_rows() {
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let schema = std::sync::Arc::new(arrow::datatypes::Schema::empty());
        let batch = RecordBatch::try_new_with_options(schema, vec![], &options).unwrap();
        let taken = take_columns(&batch, &UInt32Array::from(vec![2, 0])).unwrap();
        assert_eq!((taken.num_rows(), taken.num_columns()), (2, 0));
    }
}
