//! State to bytes and back.
//!
//! A snapshot holds rows: those of every key in order, and those that wait for the watermark with their original
//! records. Accumulators are not in it: they are built again from the rows when a key is next touched, and being
//! exact they come out the same. Only what was folded from rows that are gone (unbounded frames) is written.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use millstream_core::codes::STATE_CORRUPT;
use millstream_core::error::{Error, Result};
use millstream_core::record::Header;
use millstream_core::rows::MetaColumns;
use millstream_core::{Meta, RawBatch, StateReader, StateWriter};

use super::accumulator::Accumulator;
use super::key::Key;
use super::operator::WindowOperator;
use super::partition::{Partition, Span};
use super::pending::Released;
use super::plan::StorePlan;
use super::store::{Store, add_key};

fn corrupt(what: &str) -> Error {
    Error::new(STATE_CORRUPT, format!("the state of a window is damaged: {what}"))
}

/// Writes an operator's state.
pub fn write(operator: &WindowOperator, out: &mut StateWriter) {
    out.i64(operator.watermark);
    for store in &operator.stores {
        write_store(store, out);
    }
    match operator.pending.all() {
        Ok(Some(pending)) => {
            out.u8(1);
            write_batch(&pending.columns, out);
            write_batch(&pending.arguments, out);
            write_meta(&pending.meta, out);
        }
        Ok(None) => out.u8(0),
        // Rows that can't be gathered can't be released either. Reading says so.
        Err(_) => out.u8(2),
    }
}

/// Reads an operator's state; what it held before is gone.
pub fn read(operator: &mut WindowOperator, state: &mut StateReader<'_>) -> Result<()> {
    operator.watermark = state.i64()?;
    let watermark = operator.watermark;
    for store in &mut operator.stores {
        read_store(store, watermark, state)?;
    }
    match state.u8()? {
        0 => operator.pending.clear(),
        1 => {
            let (schema, arguments) = operator.pending.schemas();
            let columns = read_batch(&schema, state)?;
            let arguments = read_batch(&arguments, state)?;
            let meta = read_meta(columns.num_rows(), state)?;
            operator.pending.restore(Released { columns, arguments, meta });
        }
        _ => return Err(corrupt("rows that wait for the watermark could not be written")),
    }
    Ok(())
}

fn write_store(store: &Store, out: &mut StateWriter) {
    let keys = store.slots.iter().filter(|key| key.key != Key::Vacant);
    out.u64(keys.clone().count() as u64);
    for key in keys {
        out.opt_bytes(key.key.bytes());
        out.u64(key.ring.base());
        out.u64(key.ring.end());
        out.u64(key.settled);
        for position in key.ring.base()..key.ring.end() {
            write_row(store, key.ring.row(position, store.plan.stride), out);
        }
        for (frame, span) in store.plan.frames.iter().zip(&key.spans) {
            if frame.unbounded() {
                out.u64(span.end);
            }
            let accumulators = key.accumulators.iter().skip(frame.first);
            for (accumulator, plan) in accumulators.zip(&frame.accumulators) {
                if frame.unbounded() || plan.operation.of_dropped() {
                    accumulator.snapshot(plan, &store.interner, out);
                }
            }
        }
    }
}

/// Rows are written as they are stored, but with strings in place of their numbers.
fn write_row(store: &Store, row: &[u64], out: &mut StateWriter) {
    let plan = &store.plan;
    let head = plan.stride - plan.cells.len();
    row.iter().take(head).for_each(|&word| out.u64(word));
    for (cell, &value) in plan.cells.iter().zip(row.iter().skip(head)) {
        if !cell.kind.is_interned() {
            out.u64(value);
        } else if holds(row, cell.held) {
            out.bytes(store.interner.get(value));
        }
    }
}

fn holds(row: &[u64], flag: u64) -> bool {
    flag == 0 || row.get(1).is_some_and(|flags| flags & flag != 0)
}

fn read_store(store: &mut Store, watermark: i64, state: &mut StateReader<'_>) -> Result<()> {
    let plan = std::mem::take(&mut store.plan);
    *store = Store::new(plan);
    for _ in 0..state.len(25)? {
        let bytes = state.opt_bytes()?;
        let (base, end, settled) = (state.u64()?, state.u64()?, state.u64()?);
        if base > end || end >= u64::MAX - 2 {
            return Err(corrupt("positions out of order"));
        }
        let Store { plan, table, slots, free, interner, expiry, rows, .. } = store;
        let slot = add_key(plan, table, slots, free, bytes, base);
        let Some(key) = slots.get_mut(slot as usize) else { continue };
        key.settled = settled;
        for _ in base..end {
            let row = read_row(plan, interner, state)?;
            if key.ring.len() > 0 && key.ring.time(key.ring.end() - 1, plan.stride) > row[0] as i64 {
                return Err(corrupt("rows out of order"));
            }
            key.append(&row);
            *rows += 1;
        }
        read_frames(key, plan, interner, state)?;
        key.scheduled = expiry.schedule(slot, key, plan, watermark);
    }
    Ok(())
}

fn read_row(plan: &StorePlan, interner: &mut super::intern::Interner, state: &mut StateReader<'_>) -> Result<Vec<u64>> {
    let head = plan.stride - plan.cells.len();
    let mut row = Vec::with_capacity(plan.stride);
    for _ in 0..head {
        row.push(state.u64()?);
    }
    for cell in &plan.cells {
        row.push(if !cell.kind.is_interned() {
            state.u64()?
        } else if holds(&row, cell.held) {
            interner.intern(state.bytes()?)
        } else {
            0
        });
    }
    Ok(row)
}

fn read_frames(
    key: &mut Partition,
    plan: &StorePlan,
    interner: &mut super::intern::Interner,
    state: &mut StateReader<'_>,
) -> Result<()> {
    let (base, end) = (key.ring.base(), key.ring.end());
    for (frame, span) in plan.frames.iter().zip(&mut key.spans) {
        if frame.unbounded() {
            let until = state.u64()?;
            if until < base || until > end {
                return Err(corrupt("a frame ends where there are no rows"));
            }
            *span = Span { start: base, end: until };
        }
        let accumulators = key.accumulators.iter_mut().skip(frame.first);
        for (accumulator, plan) in accumulators.zip(&frame.accumulators) {
            if frame.unbounded() || plan.operation.of_dropped() {
                *accumulator = Accumulator::restore(plan, interner, state)?;
            }
        }
    }
    Ok(())
}

fn write_batch(batch: &RecordBatch, out: &mut StateWriter) {
    out.u64(batch.num_rows() as u64);
    let mut bytes = Vec::new();
    // Writing to memory fails only for types that IPC does not know, and Arrow knows all its own.
    let written = StreamWriter::try_new(&mut bytes, &batch.schema()).and_then(|mut writer| {
        writer.write(batch)?;
        writer.finish()
    });
    if written.is_err() {
        bytes.clear();
    }
    out.bytes(&bytes);
}

fn read_batch(schema: &SchemaRef, state: &mut StateReader<'_>) -> Result<RecordBatch> {
    let rows = state.u64()?;
    let bytes = state.bytes()?;
    let damaged = |e| corrupt("rows that wait for the watermark").because(e);
    let mut reader = StreamReader::try_new(bytes, None).map_err(damaged)?;
    let batch = reader.next().ok_or_else(|| corrupt("no rows that wait for the watermark"))?.map_err(damaged)?;
    if batch.num_rows() as u64 != rows {
        return Err(corrupt("rows that wait for the watermark are missing"));
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options).map_err(damaged)
}

fn write_meta(meta: &Meta, out: &mut StateWriter) {
    for row in 0..meta.len() {
        let (raw, i) = meta.raw(row);
        out.i64(meta.event_time(row));
        out.u64(meta.trigger(row));
        out.u32(raw.task.topic);
        out.u32(raw.task.partition);
        out.opt_bytes(raw.topic.as_deref().map(str::as_bytes));
        out.u64(raw.offset(i));
        out.i64(raw.timestamp_ms(i));
        out.opt_bytes(raw.key(i));
        out.opt_bytes(raw.value(i));
        out.u64(raw.headers(i).len() as u64);
        for header in raw.headers(i) {
            out.str(&header.name);
            out.bytes(&header.value);
        }
    }
}

fn read_meta(rows: usize, state: &mut StateReader<'_>) -> Result<Meta> {
    let mut out = MetaColumns::default();
    let mut copies: Vec<RawBatch> = Vec::new();
    for _ in 0..rows {
        out.event_time.push(state.i64()?);
        out.trigger.push(state.u64()?);
        out.late.push(false);
        let task = TaskId { topic: state.u32()?, partition: state.u32()? };
        let topic = state.opt_bytes()?.map(|name| String::from_utf8_lossy(name).as_ref().into());
        let (offset, timestamp_ms) = (state.u64()?, state.i64()?);
        let (key, value) = (state.opt_bytes()?, state.opt_bytes()?);
        let mut headers = Vec::new();
        for _ in 0..state.len(16)? {
            headers.push(Header { name: state.str()?.to_owned(), value: state.bytes()?.to_vec() });
        }
        let mut single = RawBatch { topic, ..RawBatch::new(task) };
        single.push(offset, timestamp_ms, key, value, &headers);
        super::pending::copy_record(&single, 0, &mut copies);
        let last = copies.last().map_or(0, |batch| batch.len() as u32 - 1);
        out.records.push((copies.len() as u32 - 1, last));
    }
    out.batches = copies.into_iter().map(std::sync::Arc::new).collect();
    Ok(out.into())
}
