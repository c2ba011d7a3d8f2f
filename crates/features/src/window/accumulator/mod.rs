//! What a frame keeps so that it need not look at its rows again.
//!
//! Every accumulator is a pure function of the rows it was given: adding and taking back are exact, in any
//! order. That is what lets a frame be moved back for a row that came out of order, built anew when that is
//! cheaper, or forgotten by a snapshot.

mod distinct;
mod sorted;

use std::collections::VecDeque;

use millstream_core::error::Result;
use millstream_core::{StateReader, StateWriter};

use super::exact::{ExactProducts, ExactSum, Moments};
use super::intern::Interner;
use super::plan::{AccumulatorPlan, Cell, Operation};
use super::value::{Kind, as_f64, compare, identity, order_key, wide_value};
pub use distinct::Multiset;
pub use sorted::SortedValues;

/// No row is known to have the extreme value: it has to be looked up.
pub const UNKNOWN: u64 = u64::MAX;
/// There is no row with a value.
pub const NOTHING: u64 = u64::MAX - 1;

/// A sum of 128-bit integers that can't overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IntegerSum {
    /// Sum of the low 64 bits of all values, and of the high ones, as two's complement of 128 bits.
    words: [u64; 4],
}

impl IntegerSum {
    #[inline]
    fn parts(&self) -> (i128, i128) {
        let [a, b, c, d] = self.words.map(u128::from);
        ((a | b << 64) as i128, (c | d << 64) as i128)
    }

    #[inline]
    fn change(&mut self, value: i128, remove: bool) {
        let (mut low, mut high) = self.parts();
        let (part_low, part_high) = (i128::from(value as u64), value >> 64);
        if remove {
            (low, high) = (low - part_low, high - part_high);
        } else {
            (low, high) = (low + part_low, high + part_high);
        }
        self.words = [low as u64, (low >> 64) as u64, high as u64, (high >> 64) as u64];
    }

    /// The sum, if 128 bits hold it.
    #[inline]
    pub fn value(&self) -> Option<i128> {
        let (low, high) = self.parts();
        let high = high.checked_add(low >> 64)?;
        let limit = i128::from(i64::MAX);
        (-limit - 1 <= high && high <= limit).then(|| high << 64 | i128::from(low as u64))
    }
}

/// The state of one accumulator.
#[derive(Clone, Debug)]
pub enum Accumulator {
    Count(u64),
    Integers {
        n: u64,
        sum: IntegerSum,
    },
    Floats {
        n: u64,
        sum: ExactSum,
    },
    Squares(ExactProducts),
    Moments(Box<Moments>),
    Distinct(Box<Multiset>),
    Sorted(Box<SortedValues>),
    /// The position of the row with the extreme value and the value; or [`UNKNOWN`], or [`NOTHING`].
    Extreme {
        at: u64,
        cell: u64,
    },
    Dropped(Box<Dropped>),
}

/// What is kept of rows that were dropped.
#[derive(Clone, Debug, Default)]
pub struct Dropped {
    /// How many of them counted.
    pub seen: u64,
    /// The values that are still needed, oldest first; `None` is NULL.
    pub cells: VecDeque<Option<u64>>,
}

impl AccumulatorPlan {
    /// The accumulator of no rows.
    pub fn empty(&self) -> Accumulator {
        match self.operation {
            Operation::Count => Accumulator::Count(0),
            Operation::Integers | Operation::WideIntegers => Accumulator::Integers { n: 0, sum: IntegerSum::default() },
            Operation::Floats => Accumulator::Floats { n: 0, sum: ExactSum::default() },
            Operation::Squares => Accumulator::Squares(ExactProducts::default()),
            Operation::Moments => Accumulator::Moments(Box::default()),
            Operation::Distinct => Accumulator::Distinct(Box::default()),
            Operation::Sorted => Accumulator::Sorted(Box::default()),
            Operation::Extreme { .. } => Accumulator::Extreme { at: NOTHING, cell: 0 },
            Operation::DroppedNth(_) | Operation::DroppedLast(_) | Operation::DroppedExtreme { .. } => {
                Accumulator::Dropped(Box::default())
            }
        }
    }

    #[inline]
    fn counts(&self, row: &[u64]) -> bool {
        self.need == 0 || row[1] & self.need == self.need
    }

    #[inline]
    fn integer(&self, row: &[u64], interner: &Interner) -> i128 {
        let cell = row[self.cell.word];
        match self.cell.kind {
            Kind::Wide => wide_value(interner.get(cell)),
            Kind::Int => i128::from(cell as i64),
            _ => i128::from(cell),
        }
    }
}

impl Accumulator {
    /// Takes in a row that enters the frame. Not for extremes and dropped rows.
    #[inline]
    pub fn add(&mut self, plan: &AccumulatorPlan, row: &[u64], interner: &mut Interner) {
        self.change(plan, row, interner, false);
    }

    /// Takes back a row that leaves the frame. Not for extremes and dropped rows.
    #[inline]
    pub fn remove(&mut self, plan: &AccumulatorPlan, row: &[u64], interner: &mut Interner) {
        self.change(plan, row, interner, true);
    }

    #[inline(always)]
    fn change(&mut self, plan: &AccumulatorPlan, row: &[u64], interner: &mut Interner, remove: bool) {
        if !plan.counts(row) {
            return;
        }
        let step = |n: &mut u64| *n = if remove { n.saturating_sub(1) } else { *n + 1 };
        let cell = || row[plan.cell.word];
        match self {
            Self::Count(n) => step(n),
            Self::Floats { n, sum } => {
                step(n);
                let value = as_f64(plan.cell.kind, cell());
                if remove { sum.subtract(value) } else { sum.add(value) }
            }
            Self::Squares(sum) => {
                let value = as_f64(plan.cell.kind, cell());
                if remove { sum.subtract(value, value) } else { sum.add(value, value) }
            }
            Self::Integers { n, sum } => {
                step(n);
                sum.change(plan.integer(row, interner), remove);
            }
            Self::Moments(moments) => {
                let (y, x) = (as_f64(plan.cell.kind, cell()), as_f64(plan.other.kind, row[plan.other.word]));
                if remove { moments.subtract(y, x) } else { moments.add(y, x) }
            }
            Self::Distinct(values) => {
                let key = identity(plan.cell.kind, cell());
                if remove { values.remove(key) } else { values.insert(key) }
                    .then(|| if remove { release(plan.cell, key, interner) } else { retain(plan.cell, key, interner) });
            }
            Self::Sorted(values) => {
                let key = order_key(plan.cell.kind, cell());
                if remove { values.remove(key) } else { values.insert(key) }
            }
            Self::Extreme { .. } | Self::Dropped(_) => {}
        }
    }

    /// Goes back to no rows.
    pub fn clear(&mut self, plan: &AccumulatorPlan, interner: &mut Interner) {
        if let Self::Distinct(values) = self
            && plan.cell.kind.is_interned()
        {
            values.keys().for_each(|key| interner.release(key));
        }
        *self = plan.empty();
    }

    /// Takes in a row that is dropped from the store for good.
    pub fn drop_row(&mut self, plan: &AccumulatorPlan, row: &[u64], interner: &mut Interner) {
        let Self::Dropped(dropped) = self else { return };
        if !plan.counts(row) {
            return;
        }
        dropped.seen += 1;
        let valid = plan.cell.valid == 0 || row[1] & plan.cell.valid != 0;
        let cell = valid.then(|| row[plan.cell.word]);
        let keep = |dropped: &mut Dropped, interner: &mut Interner| {
            cell.into_iter().for_each(|cell| retain(plan.cell, cell, interner));
            dropped.cells.push_back(cell);
        };
        match plan.operation {
            Operation::DroppedNth(n) if dropped.seen == n => keep(dropped, interner),
            Operation::DroppedLast(n) => {
                keep(dropped, interner);
                if dropped.cells.len() as u64 > n {
                    let oldest = dropped.cells.pop_front().flatten();
                    oldest.into_iter().for_each(|cell| release(plan.cell, cell, interner));
                }
            }
            Operation::DroppedExtreme { greatest } => {
                let known = dropped.cells.front().copied().flatten();
                let better = match (known, cell) {
                    (Some(known), Some(cell)) => is_better(plan.cell.kind, greatest, cell, known, interner),
                    _ => true,
                };
                if better {
                    known.into_iter().for_each(|known| release(plan.cell, known, interner));
                    dropped.cells.clear();
                    keep(dropped, interner);
                }
            }
            _ => {}
        }
    }

    /// Forgets everything, giving back what it holds of the interner.
    pub fn discard(&mut self, plan: &AccumulatorPlan, interner: &mut Interner) {
        if let Self::Dropped(dropped) = self {
            dropped.cells.drain(..).flatten().for_each(|cell| release(plan.cell, cell, interner));
        }
        self.clear(plan, interner);
    }

    /// Writes the state of an accumulator that can't be built from rows.
    pub fn snapshot(&self, plan: &AccumulatorPlan, interner: &Interner, out: &mut StateWriter) {
        match self {
            Self::Count(n) => out.u64(*n),
            Self::Integers { n, sum } => {
                out.u64(*n);
                sum.words.iter().for_each(|&word| out.u64(word));
            }
            Self::Floats { n, sum } => {
                out.u64(*n);
                sum.snapshot(out);
            }
            Self::Squares(sum) => sum.snapshot(out),
            Self::Moments(m) => {
                out.u64(m.n);
                m.x.snapshot(out);
                m.y.snapshot(out);
                m.xy.snapshot(out);
                m.xx.snapshot(out);
                m.yy.snapshot(out);
            }
            Self::Distinct(values) => {
                out.u64(values.len() as u64);
                for (key, count) in values.iter() {
                    put_cell(plan.cell, key, interner, out);
                    out.u64(count);
                }
            }
            Self::Sorted(values) => {
                out.u64(values.len() as u64);
                values.iter().for_each(|key| out.u64(key));
            }
            Self::Extreme { .. } => {}
            Self::Dropped(dropped) => {
                out.u64(dropped.seen);
                out.u64(dropped.cells.len() as u64);
                for cell in &dropped.cells {
                    out.bool(cell.is_some());
                    cell.iter().for_each(|&cell| put_cell(plan.cell, cell, interner, out));
                }
            }
        }
    }

    /// Reads what [`Accumulator::snapshot`] wrote.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn restore(plan: &AccumulatorPlan, interner: &mut Interner, state: &mut StateReader<'_>) -> Result<Self> {
        let mut restored = plan.empty();
        match &mut restored {
            Self::Count(n) => *n = state.u64()?,
            Self::Integers { n, sum } => {
                *n = state.u64()?;
                sum.words = [state.u64()?, state.u64()?, state.u64()?, state.u64()?];
            }
            Self::Floats { n, sum } => (*n, *sum) = (state.u64()?, ExactSum::restore(state)?),
            Self::Squares(sum) => *sum = ExactProducts::restore(state)?,
            Self::Moments(m) => {
                let (n, x, y) = (state.u64()?, ExactSum::restore(state)?, ExactSum::restore(state)?);
                let [xy, xx, yy] =
                    [ExactProducts::restore(state)?, ExactProducts::restore(state)?, ExactProducts::restore(state)?];
                **m = Moments { n, x, y, xy, xx, yy };
            }
            Self::Distinct(values) => {
                for _ in 0..state.len(9)? {
                    let key = take_cell(plan.cell, interner, state)?;
                    values.restore(key, state.u64()?);
                }
            }
            Self::Sorted(values) => {
                for _ in 0..state.len(8)? {
                    values.insert(state.u64()?);
                }
            }
            Self::Extreme { at, .. } => *at = UNKNOWN,
            Self::Dropped(dropped) => {
                dropped.seen = state.u64()?;
                for _ in 0..state.len(1)? {
                    let cell = if state.bool()? { Some(take_cell(plan.cell, interner, state)?) } else { None };
                    dropped.cells.push_back(cell);
                }
            }
        }
        Ok(restored)
    }
}

/// Whether a value is greater (or less) than the best known one.
#[inline]
pub fn is_better(kind: Kind, greatest: bool, value: u64, than: u64, interner: &Interner) -> bool {
    let order = compare(kind, value, than, interner);
    if greatest { order.is_gt() } else { order.is_lt() }
}

fn retain(cell: Cell, value: u64, interner: &mut Interner) {
    if cell.kind.is_interned() {
        interner.retain(value);
    }
}

fn release(cell: Cell, value: u64, interner: &mut Interner) {
    if cell.kind.is_interned() {
        interner.release(value);
    }
}

/// Writes a cell so that it means the same to another interner.
pub fn put_cell(cell: Cell, value: u64, interner: &Interner, out: &mut StateWriter) {
    if cell.kind.is_interned() { out.bytes(interner.get(value)) } else { out.u64(value) }
}

/// Reads what [`put_cell`] wrote; an interned value gets a reference.
///
/// # Errors
/// The bytes are damaged.
pub fn take_cell(cell: Cell, interner: &mut Interner, state: &mut StateReader<'_>) -> Result<u64> {
    if cell.kind.is_interned() { Ok(interner.intern(state.bytes()?)) } else { state.u64() }
}
