//! Rows that wait for the watermark.
//!
//! Each batch is kept as it came, with the order of its rows by event time: a sorted run. Releasing merges
//! the runs: among a few runs the next row is found in a few comparisons, and its columns are picked from
//! their batches by index, once. Runs of a few rows (an input that trickles) are joined into larger ones, so that
//! there are never many; and when most of what is held was released already, the rest is copied together.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{interleave, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use millstream_core::rows::MetaColumns;
use millstream_core::{EventTime, Meta, RawBatch, Rows};

/// Runs below this are joined when there are many of them.
const SMALL_RUN: usize = 512;
/// So many small runs of about one size are joined.
const JOINED: usize = 8;
/// Rows held for nothing before they are worth a copy.
const STALE_ROWS: usize = 16_384;

/// An argument column: often one of the row's own columns, and then not stored again.
#[derive(Debug)]
enum Argument {
    Column(usize),
    Own(ArrayRef),
}

/// Rows of one batch in order of (event time, arrival).
#[derive(Debug)]
struct Run {
    columns: RecordBatch,
    arguments: Vec<Argument>,
    meta: Meta,
    /// Rows by (event time, arrival); those before `next` were released.
    order: Vec<u32>,
    next: usize,
}

impl Run {
    fn new(rows: Rows, arguments: &RecordBatch) -> Self {
        let own = |argument: &ArrayRef| {
            let same = |column: &ArrayRef| std::ptr::addr_eq(Arc::as_ptr(column), Arc::as_ptr(argument));
            let known = rows.columns.columns().iter().position(same);
            known.map_or_else(|| Argument::Own(argument.clone()), Argument::Column)
        };
        let arguments = arguments.columns().iter().map(own).collect();
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_by_key(|&row| rows.meta.event_time(row as usize));
        Self { columns: rows.columns, arguments, meta: rows.meta, order, next: 0 }
    }

    fn left(&self) -> usize {
        self.order.len() - self.next
    }

    fn next_time(&self) -> Option<EventTime> {
        self.order.get(self.next).map(|&row| self.meta.event_time(row as usize))
    }

    /// The event times of the rows that wait.
    fn argument(&self, i: usize) -> Option<&ArrayRef> {
        match self.arguments.get(i)? {
            Argument::Column(at) => self.columns.columns().get(*at),
            Argument::Own(array) => Some(array),
        }
    }
}

/// Rows that were released, in order of (event time, arrival).
#[derive(Debug)]
pub struct Released {
    pub columns: RecordBatch,
    pub arguments: RecordBatch,
    pub meta: Meta,
}

/// A row of a run.
#[derive(Clone, Copy, Debug)]
struct Pick {
    run: u32,
    row: u32,
    time: EventTime,
}

/// The rows that wait.
#[derive(Debug)]
pub struct Pending {
    /// In order of arrival: all rows of a run arrived before those of the next.
    runs: Vec<Run>,
    schema: SchemaRef,
    arguments: SchemaRef,
}

impl Pending {
    /// Nothing waits.
    pub fn new(schema: SchemaRef, arguments: SchemaRef) -> Self {
        Self { runs: Vec::new(), schema, arguments }
    }

    /// The types of the rows and of their arguments.
    pub fn schemas(&self) -> (SchemaRef, SchemaRef) {
        (self.schema.clone(), self.arguments.clone())
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.runs.clear();
    }

    /// Rows that wait.
    pub fn len(&self) -> usize {
        self.runs.iter().map(Run::left).sum()
    }

    /// Bytes of the columns held, those of released rows included.
    pub fn bytes(&self) -> usize {
        let of = |run: &Run| {
            run.columns.get_array_memory_size() + run.meta.batches().iter().map(|b| b.bytes_len()).sum::<usize>()
        };
        self.runs.iter().map(of).sum()
    }

    /// Takes rows in, in order of arrival.
    ///
    /// # Errors
    /// Arrow can't join columns.
    pub fn push(&mut self, rows: Rows, arguments: &RecordBatch) -> Result<(), ArrowError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.runs.push(Run::new(rows, arguments));
        while let Some(last) = self.runs.last().map(Run::left).filter(|&rows| rows < SMALL_RUN) {
            let similar =
                self.runs.iter().rev().take_while(|run| run.left().ilog2_or_zero() <= last.ilog2_or_zero() + 2);
            let similar = similar.count();
            if similar < JOINED {
                break;
            }
            self.join(self.runs.len() - similar)?;
        }
        let held: usize = self.runs.iter().map(|run| run.order.len()).sum();
        if held > 4 * self.len() + STALE_ROWS {
            self.join(0)?;
        }
        Ok(())
    }

    /// Makes one run of the runs from `first` on.
    fn join(&mut self, first: usize) -> Result<(), ArrowError> {
        let mut picks = Vec::new();
        for (at, run) in self.runs.iter().enumerate().skip(first) {
            let mut rows: Vec<u32> = run.order.get(run.next..).unwrap_or_default().to_vec();
            // In order of arrival again.
            rows.sort_unstable();
            let pick = |row: u32| Pick { run: at as u32, row, time: run.meta.event_time(row as usize) };
            picks.extend(rows.into_iter().map(pick));
        }
        let joined = self.gather(&picks, |_, trigger| trigger, true)?;
        self.runs.truncate(first);
        let rows = Rows { columns: joined.columns, meta: joined.meta };
        if !rows.is_empty() {
            self.runs.push(Run::new(rows, &joined.arguments));
        }
        Ok(())
    }

    /// Takes out rows whose time is before the watermark: about `limit` rows, but all of a time together.
    /// `trigger` gives the offset that released a row of some time, from its own trigger.
    ///
    /// # Errors
    /// Arrow can't gather the columns.
    pub fn release(
        &mut self,
        watermark: EventTime,
        limit: usize,
        trigger: impl FnMut(EventTime, u64) -> u64,
    ) -> Result<Option<Released>, ArrowError> {
        let mut picks: Vec<Pick> = Vec::new();
        let heads = self.runs.iter().enumerate();
        let mut heap: BinaryHeap<Reverse<(EventTime, u32)>> =
            heads.filter_map(|(at, run)| Some(Reverse((run.next_time()?, at as u32)))).collect();
        'all: while let Some(Reverse((mut time, at))) = heap.pop() {
            let other = heap.peek().map(|head| head.0);
            let Some(run) = self.runs.get_mut(at as usize) else { break };
            // Stay with this run as long as its next row comes before that of any other.
            loop {
                let new_time = picks.last().is_none_or(|pick| pick.time != time);
                if time >= watermark || picks.len() >= limit && new_time {
                    break 'all;
                }
                let Some(&row) = run.order.get(run.next) else { break };
                picks.push(Pick { run: at, row, time });
                run.next += 1;
                let Some(next) = run.next_time() else { break };
                time = next;
                if other.is_some_and(|other| (time, at) > other) {
                    heap.push(Reverse((time, at)));
                    break;
                }
            }
        }
        if picks.is_empty() {
            return Ok(None);
        }
        let released = self.gather(&picks, trigger, false)?;
        self.runs.retain(|run| run.left() > 0);
        Ok(Some(released))
    }

    /// All that waits, in order of (event time, arrival).
    ///
    /// # Errors
    /// Arrow can't gather the columns.
    pub fn all(&self) -> Result<Option<Released>, ArrowError> {
        let mut picks = Vec::new();
        for (at, run) in self.runs.iter().enumerate() {
            let rows = run.order.get(run.next..).unwrap_or_default().iter();
            picks.extend(rows.map(|&row| Pick { run: at as u32, row, time: run.meta.event_time(row as usize) }));
        }
        picks.sort_by_key(|pick| (pick.time, pick.run));
        if picks.is_empty() { Ok(None) } else { self.gather(&picks, |_, trigger| trigger, true).map(Some) }
    }

    /// Puts back what [`Pending::all`] gave.
    pub fn restore(&mut self, released: Released) {
        let rows = Rows { columns: released.columns, meta: released.meta };
        if !rows.is_empty() {
            self.runs.push(Run::new(rows, &released.arguments));
        }
    }

    fn gather(
        &self,
        picks: &[Pick],
        trigger: impl FnMut(EventTime, u64) -> u64,
        copy_records: bool,
    ) -> Result<Released, ArrowError> {
        // Only the runs that are picked from, renumbered.
        let mut number = vec![u32::MAX; self.runs.len()];
        let mut runs: Vec<&Run> = Vec::new();
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(picks.len());
        for pick in picks {
            let (Some(number), Some(run)) = (number.get_mut(pick.run as usize), self.runs.get(pick.run as usize))
            else {
                continue;
            };
            if *number == u32::MAX {
                *number = runs.len() as u32;
                runs.push(run);
            }
            places.push((*number as usize, pick.row as usize));
        }
        let fields = 0..self.schema.fields().len();
        let columns = fields.map(|i| pick_column(&runs, &places, |run| run.columns.columns().get(i)));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let argument = |i: usize| {
            let shared = runs.first().and_then(|run| match run.arguments.get(i) {
                Some(Argument::Column(at)) => Some(*at),
                _ => None,
            });
            let all_share = |at: &usize| {
                runs.iter().all(|run| matches!(run.arguments.get(i), Some(Argument::Column(other)) if other == at))
            };
            match shared.filter(all_share).and_then(|at| columns.get(at)) {
                Some(column) => Ok(column.clone()),
                None => pick_column(&runs, &places, |run| run.argument(i)),
            }
        };
        let arguments = (0..self.arguments.fields().len()).map(argument).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        Ok(Released {
            columns: RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?,
            arguments: RecordBatch::try_new_with_options(self.arguments.clone(), arguments, &options)?,
            meta: gather_meta(&runs, &places, trigger, copy_records),
        })
    }
}

fn pick_column<'a>(
    runs: &[&'a Run],
    places: &[(usize, usize)],
    column: impl Fn(&'a Run) -> Option<&'a ArrayRef>,
) -> Result<ArrayRef, ArrowError> {
    let arrays: Vec<&ArrayRef> = runs.iter().filter_map(|run| column(run)).collect();
    if let [array] = arrays.as_slice() {
        let first = places.first().map_or(0, |place| place.1);
        if places.iter().enumerate().all(|(i, place)| place.1 == first + i) {
            return Ok(array.slice(first, places.len()));
        }
        let rows: UInt32Array = places.iter().map(|place| place.1 as u32).collect();
        return take(array, &rows, None);
    }
    let arrays: Vec<&dyn Array> = arrays.into_iter().map(AsRef::as_ref).collect();
    interleave(&arrays, places)
}

/// The metadata of picked rows. With `copy` the original records are copied too, so that batches of which
/// little is left can go.
fn gather_meta(
    runs: &[&Run],
    places: &[(usize, usize)],
    mut trigger: impl FnMut(EventTime, u64) -> u64,
    copy: bool,
) -> Meta {
    let mut out = MetaColumns::default();
    let mut first = Vec::with_capacity(runs.len());
    if !copy {
        for run in runs {
            first.push(out.batches.len() as u32);
            out.batches.extend(run.meta.batches().iter().cloned());
        }
    }
    let mut copies: Vec<RawBatch> = Vec::new();
    for &(run, row) in places {
        let Some(meta) = runs.get(run).map(|run| &run.meta) else { continue };
        if copy {
            let (raw, i) = meta.raw(row);
            copy_record(raw, i, &mut copies);
            let last = copies.last().map_or(0, |batch| batch.len() as u32 - 1);
            out.records.push((copies.len() as u32 - 1, last));
        } else {
            let (batch, i) = meta.record_index(row);
            out.records.push((first.get(run).copied().unwrap_or(0) + batch, i));
        }
        let time = meta.event_time(row);
        out.event_time.push(time);
        out.trigger.push(trigger(time, meta.trigger(row)));
        out.late.push(meta.late(row));
    }
    if copy {
        out.batches = copies.into_iter().map(Arc::new).collect();
    }
    out.into()
}

/// Copies a record into the last of some batches, or a new one where that is full or of another partition.
pub fn copy_record(raw: &RawBatch, i: usize, copies: &mut Vec<RawBatch>) {
    const FULL_BYTES: usize = 64 << 20;
    if copies.last().is_none_or(|batch| batch.task != raw.task || batch.bytes_len() > FULL_BYTES) {
        let mut copy = RawBatch::new(raw.task);
        copy.topic.clone_from(&raw.topic);
        copies.push(copy);
    }
    if let Some(batch) = copies.last_mut() {
        batch.push(raw.offset(i), raw.timestamp_ms(i), raw.key(i), raw.value(i), raw.headers(i));
    }
}

trait Magnitude {
    fn ilog2_or_zero(self) -> u32;
}

impl Magnitude for usize {
    fn ilog2_or_zero(self) -> u32 {
        self.checked_ilog2().unwrap_or(0)
    }
}
