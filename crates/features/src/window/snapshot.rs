//! State to bytes and back.
//!
//! A snapshot holds rows: those of every key in order, and those that wait for the watermark with their original
//! records. Accumulators are not in it: they are built again from the rows when a key is next touched, and being
//! exact they come out the same. Only what was folded from rows that are gone (unbounded frames) is written.
//!
//! State is [entries]: one for each key, one for the rows that wait, one for the watermark. Changes are the
//! entries of the keys that were touched and the rows that came, so they can be merged without the operator.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use millstream_core::codes::STATE_CORRUPT;
use millstream_core::entries::{self, Extent};
use millstream_core::error::{Error, Result};
use millstream_core::record::Header;
use millstream_core::rows::MetaColumns;
use millstream_core::{Meta, RawBatch, StateReader, StateWriter, TaskId};

use super::accumulator::Accumulator;
use super::intern::Interner;
use super::key::Key;
use super::operator::WindowOperator;
use super::partition::{Partition, Span};
use super::pending::Released;
use super::plan::StorePlan;
use super::ring::Ring;
use super::store::{Store, add_partition};

fn corrupt(what: &str) -> Error {
    Error::new(STATE_CORRUPT, format!("the state of a window is damaged: {what}"))
}

/// The sorts of entries.
const WATERMARK: u8 = b'w';
const WAITING: u8 = b'c';
const KEY: u8 = b'k';

/// Writes the state of the operators of a step.
pub fn write(operators: &[&WindowOperator], out: &mut StateWriter) {
    entries::begin(Extent::Whole, out);
    for (number, operator) in (0u16..).zip(operators) {
        write_watermark(number, operator, out);
        for (store_number, store) in (0u16..).zip(&operator.stores) {
            for key in store.slots.iter().filter(|key| key.key != Key::Vacant) {
                put_key(number, store_number, store, key, out);
            }
        }
        let all = operator.pending.all();
        if !matches!(all, Ok(None)) {
            put_waiting(number, &all.ok().flatten(), out);
        }
    }
    entries::end(out);
}

/// Writes what changed since changes were last counted anew, or all where nobody counted; and counts anew.
pub fn write_changes(operators: &mut [&mut WindowOperator], out: &mut StateWriter) {
    let counted = |operator: &&mut WindowOperator| operator.stores.iter().all(|store| store.changed.counted);
    if !operators.iter().all(counted) {
        write(&operators.iter().map(|operator| &**operator).collect::<Vec<_>>(), out);
        operators.iter_mut().for_each(|operator| operator.mark_saved());
        return;
    }
    entries::begin(Extent::Changes, out);
    for (number, operator) in (0u16..).zip(operators) {
        write_watermark(number, operator, out);
        for (store_number, store) in (0u16..).zip(&mut operator.stores) {
            write_changed_keys(number, store_number, store, out);
        }
        // Rows that wait for the watermark do not wait for long: they are written whole each time.
        match operator.pending.all() {
            Ok(None) => entries::remove(&[&number.to_le_bytes(), &[WAITING]], out),
            Ok(rows) => put_waiting(number, &rows, out),
            Err(_) => put_waiting(number, &None, out),
        }
    }
    entries::end(out);
}

fn write_changed_keys(number: u16, store_number: u16, store: &mut Store, out: &mut StateWriter) {
    // First what went: a key may have come back since.
    for key in &store.changed.removed {
        with_key_id(number, store_number, key, |id| entries::remove(id, out));
    }
    for &slot in &store.changed.slots {
        // A slot may stand here twice, if its key went and another came.
        if let Some(key) = store.slots.get(slot as usize).filter(|key| key.dirty) {
            put_key(number, store_number, store, key, out);
        }
        if let Some(key) = store.slots.get_mut(slot as usize) {
            key.dirty = false;
        }
    }
    store.mark_saved();
}

/// Reads the state of the operators of a step; with `changes`, or changes to what they hold.
pub fn read(operators: &mut [&mut WindowOperator], state: &mut StateReader<'_>, changes: bool) -> Result<()> {
    match entries::read_head(state)? {
        Extent::Changes if !changes => return Err(corrupt("there are changes, and nothing before them")),
        Extent::Changes => {}
        Extent::Whole => operators.iter_mut().for_each(|operator| clear(operator)),
    }
    let mut complete = 0;
    let mut words = Vec::new();
    while let Some(entry) = entries::read(state)? {
        let mut id = StateReader::new(entry.id);
        let [low, high, sort] = *id.raw(3)? else { return Err(corrupt("an entry of no sort")) };
        let number = usize::from(u16::from_le_bytes([low, high]));
        let operator = operators.get_mut(number).ok_or_else(|| corrupt("an entry of no window"))?;
        match (sort, entry.value) {
            (WATERMARK, Some(value)) => {
                operator.watermark = StateReader::new(value).i64()?;
                complete += 1;
            }
            (WAITING, value) => {
                operator.pending.clear();
                if let Some(value) = value {
                    let rows = read_waiting(operator, &mut StateReader::new(value))?;
                    operator.pending.restore(rows);
                }
            }
            (KEY, value) => {
                let store = usize::from(u16::from_le_bytes([id.u8()?, id.u8()?]));
                let store = operator.stores.get_mut(store).ok_or_else(|| corrupt("a key of no window"))?;
                apply_key(store, id.opt_rest()?, value, &mut words)?;
            }
            _ => return Err(corrupt("an entry of no sort")),
        }
    }
    if complete != operators.len() {
        return Err(corrupt("there is no watermark"));
    }
    for operator in operators {
        operator.stores.iter_mut().for_each(Store::mark_saved);
    }
    Ok(())
}

fn clear(operator: &mut WindowOperator) {
    operator.pending.clear();
    for store in &mut operator.stores {
        let plan = std::mem::take(&mut store.plan);
        *store = Store::new(plan);
    }
}

fn write_watermark(number: u16, operator: &WindowOperator, out: &mut StateWriter) {
    entries::put(&[&number.to_le_bytes(), &[WATERMARK]], out, |out| out.i64(operator.watermark));
}

fn put_waiting(number: u16, rows: &Option<Released>, out: &mut StateWriter) {
    entries::put(&[&number.to_le_bytes(), &[WAITING]], out, |out| {
        // Rows that can't be gathered can't be released either. Reading says so.
        out.bool(rows.is_some());
        if let Some(rows) = rows {
            write_batch(&rows.columns, out);
            write_batch(&rows.arguments, out);
            write_meta(&rows.meta, out);
        }
    });
}

fn read_waiting(operator: &WindowOperator, state: &mut StateReader<'_>) -> Result<Released> {
    if !state.bool()? {
        return Err(corrupt("rows that wait for the watermark could not be written"));
    }
    let (schema, arguments) = operator.pending.schemas();
    let columns = read_batch(&schema, state)?;
    let arguments = read_batch(&arguments, state)?;
    let meta = read_meta(columns.num_rows(), state)?;
    Ok(Released { columns, arguments, meta })
}

fn with_key_id(number: u16, store_number: u16, key: &Key, write: impl FnOnce(&[&[u8]])) {
    let (number, store) = (number.to_le_bytes(), store_number.to_le_bytes());
    let [a, b] = number;
    let bytes = key.bytes();
    write(&[&[a, b, KEY], &store, &[u8::from(bytes.is_some())], bytes.unwrap_or_default()]);
}

fn put_key(number: u16, store_number: u16, store: &Store, key: &Partition, out: &mut StateWriter) {
    with_key_id(number, store_number, &key.key, |id| entries::put(id, out, |out| write_key(store, key, out)));
}

fn write_key(store: &Store, key: &Partition, out: &mut StateWriter) {
    let plan = &store.plan;
    out.words(&[key.ring.base(), key.ring.end(), key.settled]);
    if plan.interns {
        for position in key.ring.base()..key.ring.end() {
            write_row(store, key.ring.row(position, plan.stride), out);
        }
    } else {
        let (first, second) = key.ring.words(plan.stride);
        out.words(first);
        out.words(second);
    }
    for (frame, span) in plan.frames.iter().zip(&key.spans) {
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

/// Rows are written as they are stored, but with strings in place of their numbers.
fn write_row(store: &Store, row: &[u64], out: &mut StateWriter) {
    let plan = &store.plan;
    let (head, cells) = row.split_at(plan.stride - plan.cells.len());
    out.words(head);
    for (cell, &value) in plan.cells.iter().zip(cells) {
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

/// Puts the state of a key in the place of what it was, or takes the key out. `words` is scratch.
fn apply_key(store: &mut Store, key: Option<&[u8]>, value: Option<&[u8]>, words: &mut Vec<u64>) -> Result<()> {
    store.unscheduled = true;
    let Store { plan, table, slots, free, interner, rows, .. } = store;
    let same = |slot: u32, bytes: &[u8]| slots.get(slot as usize).and_then(|p| p.key.bytes()) == Some(bytes);
    let known = table.find(key, same);
    let Some(value) = value else {
        if let Some((slot, place)) = known.and_then(|slot| Some((slot, slots.get_mut(slot as usize)?))) {
            *rows -= place.ring.len();
            table.remove(key, slot);
            place.discard(plan, interner);
            free.push(slot);
        }
        return Ok(());
    };
    let partition = read_key(key, plan, interner, &mut StateReader::new(value), words)?;
    *rows += partition.ring.len();
    match known.and_then(|slot| slots.get_mut(slot as usize)) {
        Some(place) => {
            *rows -= place.ring.len();
            place.discard(plan, interner);
            *place = partition;
        }
        None => {
            add_partition(table, slots, free, partition);
        }
    }
    Ok(())
}

fn read_key(
    key: Option<&[u8]>,
    plan: &StorePlan,
    interner: &mut Interner,
    state: &mut StateReader<'_>,
    scratch: &mut Vec<u64>,
) -> Result<Partition> {
    let (base, end, settled) = (state.u64()?, state.u64()?, state.u64()?);
    if base > end || end >= u64::MAX - 2 {
        return Err(corrupt("positions out of order"));
    }
    let mut partition = Partition::new(Key::new(key), plan, base);
    partition.settled = settled;
    let words = usize::try_from(end - base).ok().and_then(|rows| rows.checked_mul(plan.stride));
    let words = words.ok_or_else(|| corrupt("more rows than there can be"))?;
    partition.ring = if plan.interns {
        read_rows(end - base, plan, interner, state, scratch)?;
        Ring::filled(base, end - base, plan.stride, scratch.iter().copied())
    } else {
        Ring::filled(base, end - base, plan.stride, state.words(words)?)
    };
    let ring = &partition.ring;
    if (base..end).zip(base + 1..end).any(|(a, b)| ring.time(a, plan.stride) > ring.time(b, plan.stride)) {
        return Err(corrupt("rows out of order"));
    }
    read_frames(&mut partition, plan, interner, state)?;
    Ok(partition)
}

/// Reads rows with strings in them.
fn read_rows(
    rows: u64,
    plan: &StorePlan,
    interner: &mut Interner,
    state: &mut StateReader<'_>,
    words: &mut Vec<u64>,
) -> Result<()> {
    let head = plan.stride - plan.cells.len();
    words.clear();
    for _ in 0..rows {
        let start = words.len();
        words.extend(state.words(head)?);
        for cell in &plan.cells {
            let word = if !cell.kind.is_interned() {
                state.u64()?
            } else if holds(words.get(start..).unwrap_or_default(), cell.held) {
                interner.intern(state.bytes()?)
            } else {
                0
            };
            words.push(word);
        }
    }
    Ok(())
}

fn read_frames(
    key: &mut Partition,
    plan: &StorePlan,
    interner: &mut Interner,
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
        let mut single = RawBatch::new(task);
        single.topic = topic;
        single.push(offset, timestamp_ms, key, value, &headers);
        super::pending::copy_record(&single, 0, &mut copies);
        let last = copies.last().map_or(0, |batch| batch.len() as u32 - 1);
        out.records.push((copies.len() as u32 - 1, last));
    }
    out.batches = copies.into_iter().map(std::sync::Arc::new).collect();
    Ok(out.into())
}
