//! The order of rows of one time.

use std::cmp::Ordering;

use super::intern::Interner;
use super::plan::{StorePlan, TiePlan};
use super::value::{Column, Values, compare, identity, order_key};

/// Orders two stored rows of one time.
pub fn compare_rows(ties: &[TiePlan], a: &[u64], b: &[u64], interner: &Interner) -> Ordering {
    for tie in ties {
        let is_valid = |row: &[u64]| tie.valid == 0 || row[1] & tie.valid != 0;
        let order = directed(tie, is_valid(a), is_valid(b), || {
            let (a, b) = (identity(tie.kind, a[tie.word]), identity(tie.kind, b[tie.word]));
            compare(tie.kind, a, b, interner)
        });
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Orders two rows of a batch that have one time.
pub fn compare_columns(ties: &[(TiePlan, &Column)], a: usize, b: usize) -> Ordering {
    for (tie, column) in ties {
        let order = directed(tie, column.is_valid(a), column.is_valid(b), || match &column.values {
            Values::Words(words) => {
                let key = |i: usize| words.get(i).map(|&w| order_key(tie.kind, identity(tie.kind, w)));
                key(a).cmp(&key(b))
            }
            Values::Bytes(values) => values.value(a).cmp(values.value(b)),
            Values::Wide(values) => values.value(a).cmp(&values.value(b)),
            Values::Opaque => Ordering::Equal,
        });
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn directed(tie: &TiePlan, a: bool, b: bool, values: impl FnOnce() -> Ordering) -> Ordering {
    let null_first = if tie.nulls_first { Ordering::Less } else { Ordering::Greater };
    match (a, b) {
        (true, true) if tie.descending => values().reverse(),
        (true, true) => values(),
        (true, false) => null_first.reverse(),
        (false, true) => null_first,
        (false, false) => Ordering::Equal,
    }
}

impl StorePlan {
    /// Gives back what a row holds of the interner.
    #[inline]
    pub fn release_row(&self, row: &[u64], interner: &mut Interner) {
        if !self.interns {
            return;
        }
        for (cell, &value) in self.cells.iter().zip(&row[self.stride - self.cells.len()..]) {
            if cell.kind.is_interned() && (cell.held == 0 || row[1] & cell.held != 0) {
                interner.release(value);
            }
        }
    }
}

/// Lets the tie-breaks of a row go that no row of its time can follow: they order nothing any more.
pub fn forget(plan: &StorePlan, row: &mut [u64], interner: &mut Interner) {
    for cell in plan.cells.iter().filter(|cell| cell.tie_only && cell.kind.is_interned()) {
        let Some(tie) = plan.ties.iter().find(|tie| tie.argument == cell.argument) else { continue };
        if row[1] & tie.valid != 0 {
            interner.release(row[tie.word]);
            row[tie.word] = 0;
            row[1] &= !tie.valid;
        }
    }
}
