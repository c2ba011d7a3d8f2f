//! A store: the keys of one PARTITION BY, and the passage of a batch over them.

use millstream_core::StateSize;

use super::evaluate::{Evaluation, OutOfRange};
use super::expiry::Expiry;
use super::intern::Interner;
use super::key::{Key, KeyReader, KeyTable};
use super::output::Output;
use super::partition::{Partition, Place};
use super::plan::{CellPlan, FlagSet, StorePlan};
use super::prefetch::prefetch;
use super::spec::Emit;
use super::ties;
use super::value::{Column, Values};

/// A function's result that its type can't hold.
#[derive(Debug)]
pub struct Overflow {
    /// The row in the batch.
    pub row: usize,
    /// The function's output column.
    pub function: usize,
    /// The value.
    pub value: OutOfRange,
}

/// Which keys changed since changes were last counted anew.
///
/// Counting costs a flag in what a row touches anyway, and a number in a list for each key that changes.
#[derive(Debug, Default)]
pub struct Changed {
    /// Nobody has asked for changes yet, or there are more than a snapshot has keys: then the whole is written.
    pub counted: bool,
    /// Slots of keys whose flag is set, and perhaps of some that have gone.
    pub slots: Vec<u32>,
    /// Keys that are gone.
    pub removed: Vec<Key>,
}

impl Changed {
    /// So many keys may go, besides as many as are held, before changes are no longer counted: bounds the list when
    /// nobody takes them.
    const REMOVED_MAX: usize = 4096;

    #[inline]
    fn touch(&mut self, slot: u32, key: &mut Partition) {
        if !key.dirty && self.counted {
            key.dirty = true;
            self.slots.push(slot);
        }
    }

    fn removed(&mut self, key: &Partition, held: usize) {
        if !self.counted {
            return;
        }
        self.removed.push(key.key.clone());
        self.counted = self.removed.len() <= held + Self::REMOVED_MAX;
    }
}

/// All keys of one PARTITION BY with their rows.
#[derive(Debug)]
pub struct Store {
    pub plan: StorePlan,
    pub(super) table: KeyTable,
    pub(super) slots: Vec<Partition>,
    pub(super) free: Vec<u32>,
    pub(super) interner: Interner,
    pub(super) expiry: Expiry,
    pub(super) rows: u64,
    pub changed: Changed,
    /// Keys were put in or taken out behind the calendar's back.
    pub(super) unscheduled: bool,
    staged: Vec<u64>,
    chosen: Vec<u32>,
}

impl Store {
    /// An empty store.
    pub fn new(plan: StorePlan) -> Self {
        let expiry = Expiry::new(&plan);
        Self {
            plan,
            table: KeyTable::default(),
            slots: Vec::new(),
            free: Vec::new(),
            interner: Interner::default(),
            expiry,
            rows: 0,
            changed: Changed::default(),
            unscheduled: false,
            staged: Vec::new(),
            chosen: Vec::new(),
        }
    }

    /// Takes the rows of a batch in and computes the functions for each, in the batch's order.
    ///
    /// `columns` are the arguments that are read, `times` the event times. Behind the watermark, rows come in
    /// order of time, and all rows of a time are in one batch.
    pub fn process(
        &mut self,
        columns: &[Option<Column>],
        times: &[i64],
        emit: Emit,
        watermark: i64,
        outputs: &mut [Output],
        overflows: &mut Vec<Overflow>,
    ) {
        self.schedule_all(watermark);
        self.find_keys(columns, times.len());
        self.stage(columns, times);
        match emit {
            Emit::OnArrival => {
                for row in 0..times.len() {
                    self.prefetch(row);
                    let Some(slot) = self.chosen.get(row).map(|&slot| slot as usize) else { return };
                    let staged = self.staged.get(row * self.plan.stride..(row + 1) * self.plan.stride);
                    let (Some(key), Some(staged)) = (self.slots.get_mut(slot), staged) else { return };
                    let place = key.place(staged, &self.plan, &mut self.interner);
                    self.rows += 1;
                    self.evaluate(row, slot, place, watermark, outputs, overflows);
                }
            }
            Emit::OnWatermark => self.process_in_order(columns, times, watermark, outputs, overflows),
        }
        // Key bytes and arguments of a batch are not state.
        self.staged.clear();
        self.chosen.clear();
    }

    fn process_in_order(
        &mut self,
        columns: &[Option<Column>],
        times: &[i64],
        watermark: i64,
        outputs: &mut [Output],
        overflows: &mut Vec<Overflow>,
    ) {
        let mut start = 0;
        let mut places: Vec<Place> = Vec::new();
        while let Some(&time) = times.get(start) {
            let same = times.get(start..).unwrap_or_default();
            let end = start + same.iter().position(|&other| other != time).unwrap_or(same.len());
            self.append_peers(columns, start..end, &mut places);
            for (row, &place) in (start..end).zip(&places) {
                self.prefetch(row);
                let Some(slot) = self.chosen.get(row).map(|&slot| slot as usize) else { return };
                let time_end = self.slots.get(slot).map_or(place.time_end, |key| key.ring.end());
                let place = Place { time_end, ..place };
                self.evaluate(row, slot, place, watermark.max(time), outputs, overflows);
            }
            start = end;
        }
    }

    /// Appends the rows of one time, each key's in order of tie-breaks and arrival.
    fn append_peers(&mut self, columns: &[Option<Column>], range: std::ops::Range<usize>, places: &mut Vec<Place>) {
        let none = Place { position: 0, time_end: 0, peers_end: 0 };
        places.clear();
        places.resize(range.len(), none);
        self.rows += range.len() as u64;
        let (chosen, staged, stride) = (&self.chosen, &self.staged, self.plan.stride);
        let slot_of = |row: usize| chosen.get(row).map_or(0, |&slot| slot as usize);
        let row_of = |row: usize| staged.get(row * stride..(row + 1) * stride).unwrap_or_default();
        if range.len() == 1 || self.plan.ties.is_empty() {
            for (row, place) in range.clone().zip(places) {
                let Some(key) = self.slots.get_mut(slot_of(row)) else { return };
                let position = key.append(row_of(row));
                *place = Place { position, time_end: position + 1, peers_end: position + 1 };
            }
            return;
        }
        let ties = self.plan.ties.iter();
        let ties: Vec<_> = ties.filter_map(|tie| Some((*tie, columns.get(tie.argument)?.as_ref()?))).collect();
        let mut order: Vec<usize> = range.clone().collect();
        order.sort_by(|&a, &b| slot_of(a).cmp(&slot_of(b)).then_with(|| ties::compare_columns(&ties, a, b)));
        let equal = |&a: &usize, &b: &usize| slot_of(a) == slot_of(b) && ties::compare_columns(&ties, a, b).is_eq();
        for peers in order.chunk_by(equal) {
            let mut end = 0;
            for &row in peers {
                let Some(key) = self.slots.get_mut(slot_of(row)) else { return };
                let position = key.append(row_of(row));
                end = position + 1;
                if let Some(place) = places.get_mut(row - range.start) {
                    place.position = position;
                }
            }
            for &row in peers {
                if let Some(place) = places.get_mut(row - range.start) {
                    (place.time_end, place.peers_end) = (end, end);
                }
            }
        }
    }

    /// Computes the functions for a row that is in place, and lets go what is out of reach.
    #[inline]
    fn evaluate(
        &mut self,
        row: usize,
        slot: usize,
        place: Place,
        watermark: i64,
        outputs: &mut [Output],
        overflows: &mut Vec<Overflow>,
    ) {
        let (plan, interner) = (&self.plan, &mut self.interner);
        let Some(key) = self.slots.get_mut(slot) else { return };
        for (at, frame) in plan.frames.iter().enumerate() {
            let span = key.move_frame(at, frame, place, plan.stride, interner);
            let evaluation = Evaluation { plan, frame, place, span, interner };
            for function in &frame.functions {
                let Some(out) = outputs.get_mut(function.index) else { continue };
                if let Err(value) = evaluation.put(&function.result, key, out) {
                    overflows.push(Overflow { row, function: function.index, value });
                }
            }
        }
        self.rows -= key.evict(watermark, plan, interner);
        self.changed.touch(slot as u32, key);
        if !key.scheduled {
            key.scheduled = self.expiry.schedule(slot as u32, key, plan, watermark);
        }
    }

    /// Fetches the state of the keys of rows to come: first what is found in the slot, then what that points to.
    #[inline]
    fn prefetch(&self, row: usize) {
        const AHEAD: usize = 8;
        let key = |ahead: usize| self.slots.get(*self.chosen.get(row + ahead)? as usize);
        if let Some(key) = key(3 * AHEAD) {
            prefetch(Some(&key.ring));
            prefetch(Some(&key.spans));
        }
        if let Some(key) = key(2 * AHEAD) {
            key.prefetch_state(self.plan.stride);
        }
        if let Some(key) = key(AHEAD) {
            key.prefetch_leaving(self.plan.stride);
        }
    }

    /// Finds or makes the slot of every row's key.
    fn find_keys(&mut self, columns: &[Option<Column>], rows: usize) {
        let read = |&argument: &usize| columns.get(argument)?.as_ref().map(|column| (column, column.kind));
        let mut keys = KeyReader::new(self.plan.partition_by.iter().filter_map(read).collect());
        // First guess all, then look whether the guesses are right: so the slots can be fetched ahead.
        const AHEAD: usize = 8;
        self.chosen.clear();
        self.chosen.extend((0..rows).map(|row| self.table.guess(keys.read(row)).unwrap_or(u32::MAX)));
        for row in 0..rows {
            let key_of = |row: usize| self.slots.get(*self.chosen.get(row)? as usize).map(|slot| &slot.key);
            prefetch(key_of(row + AHEAD));
            let key = keys.read(row);
            if let (Some(bytes), Some(known)) = (key, key_of(row))
                && known.bytes() == Some(bytes)
            {
                continue;
            }
            let slots = &self.slots;
            let same = |slot: u32, bytes: &[u8]| slots.get(slot as usize).and_then(|p| p.key.bytes()) == Some(bytes);
            let slot = match self.table.find(key, same) {
                Some(slot) => slot,
                None => {
                    let partition = Partition::new(Key::new(key), &self.plan, 0);
                    add_partition(&mut self.table, &mut self.slots, &mut self.free, partition)
                }
            };
            if let Some(chosen) = self.chosen.get_mut(row) {
                *chosen = slot;
            }
        }
    }

    /// Lays out the batch's rows as they are stored.
    fn stage(&mut self, columns: &[Option<Column>], times: &[i64]) {
        let stride = self.plan.stride;
        self.staged.clear();
        self.staged.resize(times.len() * stride, 0);
        for (row, &time) in self.staged.chunks_exact_mut(stride).zip(times) {
            row[0] = time as u64;
        }
        for (at, flag) in self.plan.flags.iter().enumerate() {
            let Some(Some(column)) = columns.get(flag.argument) else { continue };
            let bit = 1u64 << at;
            let rows = self.staged.chunks_exact_mut(stride);
            match (flag.set, &column.nulls) {
                (FlagSet::Valid | FlagSet::Tied, None) => rows.for_each(|row| row[1] |= bit),
                (FlagSet::Valid | FlagSet::Tied, Some(nulls)) => {
                    rows.zip(nulls).for_each(|(row, valid)| row[1] |= if valid { bit } else { 0 });
                }
                (FlagSet::True, _) => {
                    rows.enumerate().for_each(|(i, row)| row[1] |= if column.is_true(i) { bit } else { 0 });
                }
            }
        }
        let head = stride - self.plan.cells.len();
        for (at, cell) in self.plan.cells.iter().enumerate() {
            let Some(Some(column)) = columns.get(cell.argument) else { continue };
            stage_cell(cell, column, head + at, stride, &mut self.staged, &mut self.interner);
        }
    }

    /// Lets every key whose time has come drop what is out of reach, and forgets keys that have nothing left.
    pub fn expire(&mut self, watermark: i64) {
        self.schedule_all(watermark);
        while let Some(slots) = self.expiry.due(watermark) {
            for slot in slots {
                let Some(key) = self.slots.get_mut(slot as usize) else { continue };
                key.scheduled = false;
                let settled = key.settled;
                let evicted = key.evict(watermark, &self.plan, &mut self.interner);
                self.rows -= evicted;
                if key.ring.len() == 0 && !self.plan.permanent {
                    self.changed.removed(key, self.table.len());
                    self.table.remove(key.key.bytes(), slot);
                    key.discard(&self.plan, &mut self.interner);
                    self.free.push(slot);
                } else {
                    if evicted > 0 || key.settled != settled {
                        self.changed.touch(slot, key);
                    }
                    key.scheduled = self.expiry.schedule(slot, key, &self.plan, watermark);
                }
            }
        }
        // Slots at the end that nobody uses go back to the system.
        if self.free.len() > 1024 && self.free.len() > self.slots.len() / 4 * 3 {
            self.give_back();
        }
    }

    /// Makes the calendar anew where keys were restored.
    fn schedule_all(&mut self, watermark: i64) {
        if !std::mem::take(&mut self.unscheduled) {
            return;
        }
        self.expiry = Expiry::new(&self.plan);
        for (slot, key) in self.slots.iter_mut().enumerate().filter(|(_, key)| key.key != Key::Vacant) {
            key.scheduled = self.expiry.schedule(slot as u32, key, &self.plan, watermark);
        }
    }

    #[cold]
    fn give_back(&mut self) {
        while self.slots.last().is_some_and(|key| key.key == Key::Vacant) {
            self.slots.pop();
        }
        let len = self.slots.len() as u32;
        self.free.retain(|&slot| slot < len);
        self.slots.shrink_to(len as usize * 2);
    }

    /// Counts changes anew.
    pub fn mark_saved(&mut self) {
        for slot in self.changed.slots.drain(..) {
            if let Some(key) = self.slots.get_mut(slot as usize) {
                key.dirty = false;
            }
        }
        self.changed.removed.clear();
        self.changed.counted = true;
    }

    /// How much state there is.
    pub fn size(&self) -> StateSize {
        let accumulators: usize = self.plan.frames.iter().map(|frame| frame.accumulators.len()).sum();
        let fixed = size_of::<Partition>()
            + accumulators * size_of::<super::accumulator::Accumulator>()
            + self.plan.frames.len() * size_of::<super::partition::Span>()
            + self.plan.indexes.len() * size_of::<super::blocks::Blocks>();
        let of_key = |key: &Partition| {
            key.ring.capacity_words() * 8
                + key.key.heap_bytes()
                + key.blocks.iter().map(super::blocks::Blocks::heap_bytes).sum::<usize>()
        };
        let bytes = self.slots.len() * fixed
            + self.slots.iter().map(of_key).sum::<usize>()
            + self.interner.heap_bytes()
            + self.table.heap_bytes();
        StateSize { keys: (self.slots.len() - self.free.len()) as u64, rows: self.rows, bytes: bytes as u64 }
    }
}

/// Gives a new key a slot.
pub(super) fn add_partition(
    table: &mut KeyTable,
    slots: &mut Vec<Partition>,
    free: &mut Vec<u32>,
    partition: Partition,
) -> u32 {
    let slot = free.pop().unwrap_or(slots.len() as u32);
    table.insert(partition.key.bytes(), slot);
    match slots.get_mut(slot as usize) {
        Some(place) => *place = partition,
        None => slots.push(partition),
    }
    slot
}

fn stage_cell(
    cell: &CellPlan,
    column: &Column,
    word: usize,
    stride: usize,
    staged: &mut [u64],
    interner: &mut Interner,
) {
    let rows = staged.chunks_exact_mut(stride);
    match &column.values {
        Values::Words(words) => rows.zip(words).for_each(|(row, &value)| row[word] = value),
        Values::Bytes(values) => {
            for (i, row) in rows.enumerate().filter(|(i, _)| column.is_valid(*i)) {
                row[word] = interner.intern(values.value(i));
            }
        }
        Values::Wide(values) => {
            for (i, row) in rows.enumerate().filter(|(i, _)| column.is_valid(*i)) {
                row[word] = interner.intern(&values.value(i).to_le_bytes());
            }
        }
        Values::Opaque => {}
    }
    debug_assert!(cell.kind == column.kind || matches!(column.values, Values::Opaque));
}
