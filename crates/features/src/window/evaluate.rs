//! From the state of a frame to the value of a function.

use super::accumulator::{Accumulator, NOTHING, UNKNOWN, is_better};
use super::blocks::{Blocks, FEW_ROWS, Rows};
use super::exact::{correlation, covariance, regression_slope, variance};
use super::intern::Interner;
use super::output::Output;
use super::partition::{Partition, Place, Span};
use super::plan::{Cell, Computed, FramePlan, StorePlan};
use super::ring::Ring;
use super::value::{Kind, from_order_key};

/// A value that does not fit its type.
#[derive(Clone, Debug)]
pub struct OutOfRange(pub String);

/// Reads one row's results off a key's state.
pub struct Evaluation<'a> {
    pub plan: &'a StorePlan,
    pub frame: &'a FramePlan,
    pub place: Place,
    /// The frame, without what was dropped.
    pub span: Span,
    pub interner: &'a Interner,
}

/// What an accumulator sums up to, next to its count.
macro_rules! state {
    ($partition:expr, $frame:expr, $at:expr, $pattern:pat => $value:expr, else $otherwise:expr) => {
        match $partition.accumulators.get($frame.first + $at) {
            Some($pattern) => $value,
            _ => $otherwise,
        }
    };
}

impl Evaluation<'_> {
    /// Appends a function's value.
    ///
    /// # Errors
    /// The value is out of its type's range; NULL was appended.
    #[inline]
    pub fn put(&self, function: &Computed, key: &mut Partition, out: &mut Output) -> Result<(), OutOfRange> {
        let frame = self.frame;
        match function {
            Computed::CountRows => {
                let from = if frame.unbounded() { 0 } else { self.span.start };
                out.word(self.span.end - from);
            }
            Computed::RowNumber => out.word(self.place.position + 1),
            Computed::Count { at } => out.word(state!(key, frame, at, Accumulator::Count(n) => *n, else 0)),
            Computed::FloatSum { at } => {
                let sum = state!(key, frame, at, Accumulator::Floats { n: 1.., sum } => Some(sum.value()), else None);
                put_float(sum, out);
            }
            Computed::FloatMean { at } => {
                let mean = state!(
                    key, frame, at, Accumulator::Floats { n: n @ 1.., sum } => Some(sum.mean(*n)), else None
                );
                put_float(mean, out);
            }
            Computed::Variance { sum_at, squares_at, sample, root } => {
                let sums = (key.accumulators.get(frame.first + sum_at), key.accumulators.get(frame.first + squares_at));
                let (Some(Accumulator::Floats { n, sum }), Some(Accumulator::Squares(squares))) = sums else {
                    out.null();
                    return Ok(());
                };
                put_float(variance(*n, sum, squares, *sample, *root), out);
            }
            Computed::Extreme { at, dropped_at, index, cell } => {
                self.put_extreme(*at, *dropped_at, *index, *cell, key, out);
            }
            Computed::Distinct { at } => {
                out.word(state!(key, frame, at, Accumulator::Distinct(values) => values.len() as u64, else 0));
            }
            Computed::Lag { offset, cell, need, index, dropped_at, default } => {
                let found = self.lag(*offset, *cell, *need, *index, *dropped_at, key);
                match found {
                    Some(value) => self.put_cell(*cell, value, out),
                    None => out.fallback(default),
                }
            }
            Computed::Nth { n, cell, need, index, dropped_at } => {
                let value = self.nth(*n, *cell, *need, *index, *dropped_at, key);
                self.put_cell(*cell, value, out);
            }
            Computed::Last { cell, need, index, dropped_at } => {
                let value = self.last(*cell, *need, *index, *dropped_at, key);
                self.put_cell(*cell, value, out);
            }
            Computed::Percentile { at, p, kind } => {
                let value = state!(
                    key, frame, at, Accumulator::Sorted(values) => percentile(values, *p, *kind), else None
                );
                match value {
                    Some(word) => out.word(word),
                    None => out.null(),
                }
            }
            Computed::Covariance { .. } | Computed::Correlation { .. } | Computed::Slope { .. } => {
                self.put_moments(function, key, out);
            }
            Computed::IntegerSum { .. }
            | Computed::IntegerMean { .. }
            | Computed::DecimalSum { .. }
            | Computed::DecimalMean { .. } => return self.put_integers(function, key, out),
        }
        Ok(())
    }

    fn put_moments(&self, function: &Computed, key: &Partition, out: &mut Output) {
        let moments = |at: &usize| state!(key, self.frame, *at, Accumulator::Moments(m) => Some(m), else None);
        put_float(
            match function {
                Computed::Covariance { at, sample } => moments(at).and_then(|m| covariance(m, *sample)),
                Computed::Correlation { at } => moments(at).and_then(|m| correlation(m)),
                Computed::Slope { at } => moments(at).and_then(|m| regression_slope(m)),
                _ => None,
            },
            out,
        );
    }

    fn put_integers(&self, function: &Computed, key: &Partition, out: &mut Output) -> Result<(), OutOfRange> {
        let (Computed::IntegerSum { at, .. }
        | Computed::IntegerMean { at }
        | Computed::DecimalSum { at, .. }
        | Computed::DecimalMean { at, .. }) = *function
        else {
            return Ok(());
        };
        let state = state!(key, self.frame, at, Accumulator::Integers { n, sum } => (*n, sum.value()), else (0, None));
        let (n, sum) = match state {
            (0, _) => {
                out.null();
                return Ok(());
            }
            (n, sum) => (i128::from(n), sum),
        };
        let value = match *function {
            Computed::IntegerSum { signed: true, .. } => sum.filter(|&sum| i64::try_from(sum).is_ok()),
            Computed::IntegerSum { .. } => sum.filter(|&sum| u64::try_from(sum).is_ok()),
            Computed::DecimalSum { precision, .. } => sum.filter(|&sum| fits(sum, precision)),
            Computed::DecimalMean { precision, digits, .. } => sum
                .and_then(|sum| sum.checked_mul(10i128.checked_pow(digits)?))
                .map(|sum| sum / n)
                .filter(|&mean| fits(mean, precision)),
            _ => {
                put_float(sum.map(|sum| sum as f64 / n as f64), out);
                return Ok(());
            }
        };
        match (value, function) {
            (Some(value), Computed::IntegerSum { .. }) => out.word(value as u64),
            (Some(value), _) => out.decimal(value),
            (None, _) => {
                out.null();
                let sum = sum.map_or_else(|| "more than 128 bits hold".to_owned(), |sum| sum.to_string());
                return Err(OutOfRange(sum));
            }
        }
        Ok(())
    }

    fn put_extreme(
        &self,
        at: usize,
        dropped_at: Option<usize>,
        index: usize,
        cell: Cell,
        key: &mut Partition,
        out: &mut Output,
    ) {
        let (plan, interner) = (self.plan, self.interner);
        let Some(Accumulator::Extreme { at: known, cell: best }) = key.accumulators.get_mut(self.frame.first + at)
        else {
            return out.null();
        };
        if *known == UNKNOWN {
            *known = match plan.indexes.get(index) {
                Some(indexed) => {
                    let rows = Rows { ring: &key.ring, stride: plan.stride, plan: indexed, interner };
                    let range = self.span.start..self.span.end;
                    let look = |blocks: &mut Blocks| blocks.extreme(range, rows).unwrap_or(NOTHING);
                    with_blocks(&mut key.blocks, index, plan, &key.ring, look)
                }
                None => NOTHING,
            };
            if *known != NOTHING {
                *best = key.ring.row(*known, plan.stride)[cell.word];
            }
        }
        let mut value = (*known != NOTHING).then_some(*best);
        if let Some(old) = dropped_at.and_then(|at| self.dropped(key, at)?.cells.front().copied().flatten()) {
            let greatest = matches!(
                plan.indexes.get(index).map(|index| index.what),
                Some(super::plan::Indexed::Extreme { greatest: true, .. })
            );
            // The older row wins a tie, as it would if it were still there.
            value = match value {
                Some(new) if is_better(cell.kind, greatest, new, old, interner) => Some(new),
                _ => Some(old),
            };
        }
        match value {
            Some(value) => out.cell(cell.kind, value, interner),
            None => out.null(),
        }
    }

    fn dropped<'k>(&self, key: &'k Partition, at: usize) -> Option<&'k super::accumulator::Dropped> {
        match key.accumulators.get(self.frame.first + at) {
            Some(Accumulator::Dropped(dropped)) => Some(dropped),
            _ => None,
        }
    }

    fn put_cell(&self, cell: Cell, value: Option<u64>, out: &mut Output) {
        match value {
            Some(value) => out.cell(cell.kind, value, self.interner),
            None => out.null(),
        }
    }

    /// The value at a position; `None` is NULL.
    #[inline]
    fn value_at(&self, key: &Partition, position: u64, cell: Cell) -> Option<u64> {
        let row = key.ring.row(position, self.plan.stride);
        (cell.valid == 0 || row[1] & cell.valid != 0).then(|| row[cell.word])
    }

    /// `None`: there is no such row. `Some(None)`: its value is NULL.
    fn lag(
        &self,
        offset: u64,
        cell: Cell,
        need: u64,
        index: usize,
        dropped_at: Option<usize>,
        key: &mut Partition,
    ) -> Option<Option<u64>> {
        let (position, base) = (self.place.position, key.ring.base());
        if offset == 0 || need == 0 {
            let back = position.checked_sub(offset).filter(|&back| back >= base)?;
            return Some(self.value_at(key, back, cell));
        }
        match self.rank(index, offset, base..position, true, key) {
            Ok(found) => Some(self.value_at(key, found, cell)),
            Err(seen) => {
                let dropped = self.dropped(key, dropped_at?)?;
                let back = (offset - seen) as usize;
                dropped.cells.len().checked_sub(back).and_then(|at| dropped.cells.get(at).copied())
            }
        }
    }

    fn nth(
        &self,
        n: u64,
        cell: Cell,
        need: u64,
        index: usize,
        dropped_at: Option<usize>,
        key: &mut Partition,
    ) -> Option<u64> {
        let mut n = n;
        if let Some(dropped) = dropped_at.and_then(|at| self.dropped(key, at)) {
            if dropped.seen >= n {
                return dropped.cells.front().copied().flatten();
            }
            n -= dropped.seen;
        }
        let range = self.span.start..self.span.end;
        let found = if need == 0 {
            range.start.checked_add(n - 1).filter(|&at| at < range.end)?
        } else {
            self.rank(index, n, range, false, key).ok()?
        };
        self.value_at(key, found, cell)
    }

    fn last(&self, cell: Cell, need: u64, index: usize, dropped_at: Option<usize>, key: &mut Partition) -> Option<u64> {
        if need == 0 {
            return self.value_at(key, self.span.end - 1, cell);
        }
        match self.rank(index, 1, self.span.start..self.span.end, true, key) {
            Ok(found) => self.value_at(key, found, cell),
            Err(_) => self.dropped(key, dropped_at?)?.cells.back().copied().flatten(),
        }
    }

    /// The `k`-th row of a range that counts, from one side or the other.
    fn rank(
        &self,
        index: usize,
        k: u64,
        range: std::ops::Range<u64>,
        back: bool,
        key: &mut Partition,
    ) -> Result<u64, u64> {
        let Some(plan) = self.plan.indexes.get(index) else { return Err(0) };
        let rows = Rows { ring: &key.ring, stride: self.plan.stride, plan, interner: self.interner };
        with_blocks(&mut key.blocks, index, self.plan, &key.ring, |blocks| {
            if back { blocks.nth_back(k, range, rows) } else { blocks.nth(k, range, rows) }
        })
    }
}

/// Looks something up by an index. Keys with few rows have none: their rows are looked at one by one.
fn with_blocks<T>(
    known: &mut Box<[Blocks]>,
    index: usize,
    plan: &StorePlan,
    ring: &Ring,
    look: impl FnOnce(&mut Blocks) -> T,
) -> T {
    if known.is_empty() && ring.len() > FEW_ROWS {
        *known = plan.indexes.iter().map(|_| Blocks::default()).collect();
    }
    match known.get_mut(index) {
        Some(blocks) => look(blocks),
        None => look(&mut Blocks::default()),
    }
}

#[inline]
fn put_float(value: Option<f64>, out: &mut Output) {
    match value {
        Some(value) => out.f64(value),
        None => out.null(),
    }
}

fn fits(value: i128, precision: u8) -> bool {
    10u128.checked_pow(u32::from(precision)).is_some_and(|limit| value.unsigned_abs() < limit)
}

/// Interpolates linearly between the two values next to the place `p * (n - 1)`, as `PERCENTILE_CONT` does;
/// integers are rounded to nearest, ties to even.
fn percentile(values: &super::accumulator::SortedValues, p: f64, kind: Kind) -> Option<u64> {
    let last = values.len().checked_sub(1)?;
    let place = p * last as f64;
    let below = (place.floor() as usize).min(last);
    let fraction = place - below as f64;
    let low = from_order_key(kind, values.nth(below)?);
    let high = from_order_key(kind, values.nth((below + 1).min(last))?);
    if fraction == 0.0 || low == high {
        return Some(low);
    }
    Some(match kind {
        Kind::Float => {
            let (low, high) = (f64::from_bits(low), f64::from_bits(high));
            (low + (high - low) * fraction).to_bits()
        }
        Kind::Int => {
            let (low, high) = (low as i64, high as i64);
            let step = ((i128::from(high) - i128::from(low)) as f64 * fraction).round_ties_even();
            (i128::from(low) + step as i128) as u64
        }
        _ => low + (((high - low) as f64 * fraction).round_ties_even() as u64),
    })
}
