//! Finding things in a range of rows without looking at each: the row with the greatest value, the k-th row
//! that is not null.
//!
//! A monotonic deque answers the first of these for a frame that only ever slides forward. Ours also has to go
//! back for rows out of order, and several frames over one argument (five minutes, an hour, a day) would each
//! keep a deque of their own. So there is one index for an argument of a key: the summaries of blocks of 16 rows,
//! of 256 rows, and so on. A range is a few rows at each end, a few blocks, a few larger blocks: a lookup costs
//! O(log n) and touches no state of any frame. It is built lazily, when a lookup needs it, so that keys with
//! few rows never pay for it; a row inserted among others invalidates the summaries from its place on.

use super::accumulator::is_better;
use super::intern::Interner;
use super::plan::{IndexPlan, Indexed};
use super::ring::Ring;

/// Rows of a block, and blocks of a larger block: a power of two.
const FAN: u64 = 16;
const SHIFT: u32 = 4;

/// Ranges of no more rows need no summaries.
pub const FEW_ROWS: u64 = FAN;

/// "No row" as a summary of a block.
const NONE: u64 = u64::MAX;

/// The summaries of one index of one key.
#[derive(Debug, Default)]
pub struct Blocks {
    levels: Vec<Level>,
}

/// Summaries of complete, aligned blocks of `FAN^(level + 1)` rows.
#[derive(Debug)]
struct Level {
    /// The number of the first block.
    first: u64,
    entries: Vec<u64>,
}

impl Level {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn get(&self, block: u64) -> Option<u64> {
        self.entries.get(usize::try_from(block.checked_sub(self.first)?).ok()?).copied()
    }
}

/// What a lookup reads besides the summaries.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub ring: &'a Ring,
    pub stride: usize,
    pub plan: &'a IndexPlan,
    pub interner: &'a Interner,
}

impl Rows<'_> {
    #[inline]
    fn counts(&self, position: u64) -> bool {
        self.plan.need == 0 || self.ring.row(position, self.stride)[1] & self.plan.need == self.plan.need
    }

    /// The summary of one row.
    #[inline]
    fn row(&self, position: u64) -> u64 {
        match (self.plan.what, self.counts(position)) {
            (Indexed::Rank, counts) => u64::from(counts),
            (Indexed::Extreme { .. }, true) => position,
            (Indexed::Extreme { .. }, false) => NONE,
        }
    }

    /// The summary of nothing.
    fn nothing(&self) -> u64 {
        if matches!(self.plan.what, Indexed::Rank) { 0 } else { NONE }
    }

    #[inline]
    fn join(&self, a: u64, b: u64) -> u64 {
        match self.plan.what {
            Indexed::Rank => a + b,
            _ if a == NONE => b,
            _ if b == NONE => a,
            Indexed::Extreme { word, kind, greatest } => {
                let cell = |position| self.ring.row(position, self.stride)[word];
                if is_better(kind, greatest, cell(b), cell(a), self.interner) { b } else { a }
            }
        }
    }
}

impl Blocks {
    /// Forgets summaries of blocks that hold a position or lie behind it.
    pub fn invalidate_from(&mut self, position: u64) {
        let mut block = position;
        for level in &mut self.levels {
            block >>= SHIFT;
            level.entries.truncate(block.saturating_sub(level.first) as usize);
        }
    }

    /// Whether so many blocks lie before a new first row, and not before the old one, that forgetting them pays.
    #[inline]
    pub fn is_worth_a_look(old: u64, new: u64) -> bool {
        const ROWS: u64 = FAN * 16;
        old / ROWS != new / ROWS
    }

    /// Forgets summaries of blocks that lie before a position.
    pub fn drop_before(&mut self, position: u64) {
        let mut block = position;
        for level in &mut self.levels {
            block >>= SHIFT;
            let stale = (block.saturating_sub(level.first) as usize).min(level.entries.len());
            if stale > 16 && stale * 2 >= level.entries.len() {
                level.entries.drain(..stale);
                level.first += stale as u64;
                if level.entries.capacity() > 4 * level.entries.len() + 64 {
                    level.entries.shrink_to_fit();
                }
            }
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.levels.iter().map(|level| level.entries.capacity() * 8 + size_of::<Level>()).sum()
    }

    /// Brings the summaries up to the last complete block.
    fn extend(&mut self, rows: Rows<'_>) {
        let (mut from, mut until) = (rows.ring.base(), rows.ring.end());
        for depth in 0.. {
            (from, until) = (from.div_ceil(FAN), until >> SHIFT);
            if from >= until {
                break;
            }
            if self.levels.len() <= depth {
                self.levels.push(Level { first: from, entries: Vec::new() });
            }
            let (below, above) = self.levels.split_at_mut(depth);
            let Some(level) = above.first_mut() else { break };
            if level.end() < from || level.entries.is_empty() {
                level.entries.clear();
                level.first = from;
            }
            for block in level.end()..until {
                let parts = block * FAN..(block + 1) * FAN;
                let summary = match below.last() {
                    None => parts.fold(rows.nothing(), |sum, row| rows.join(sum, rows.row(row))),
                    Some(below) => parts
                        .fold(rows.nothing(), |sum, part| rows.join(sum, below.get(part).unwrap_or(rows.nothing()))),
                };
                level.entries.push(summary);
            }
            (from, until) = (level.first, level.end());
        }
    }

    /// The position of the row with the extreme value in a range of positions; of equal ones the first.
    pub fn extreme(&mut self, range: std::ops::Range<u64>, rows: Rows<'_>) -> Option<u64> {
        if range.end - range.start > FEW_ROWS {
            self.extend(rows);
        }
        let mut best = NONE;
        let mut at = range.start;
        while at < range.end {
            let (summary, size) = self.step_up(at, range.end, rows);
            best = rows.join(best, summary);
            at += size;
        }
        (best != NONE).then_some(best)
    }

    /// The `k`-th row (from 1) in a range that counts, seen from the range's start, or how many there are.
    pub fn nth(&mut self, k: u64, range: std::ops::Range<u64>, rows: Rows<'_>) -> Result<u64, u64> {
        if range.end - range.start > FEW_ROWS {
            self.extend(rows);
        }
        let mut seen = 0;
        let (mut at, mut end) = (range.start, range.end);
        while at < end {
            let (count, size) = self.step_up(at, end, rows);
            if seen + count < k {
                seen += count;
                at += size;
            } else if size == 1 {
                return Ok(at);
            } else {
                // It is in this block: look no further than its last part.
                end = at + size - 1;
                if let Some(found) = self.descend(k - seen, at, size, rows) {
                    return Ok(found);
                }
            }
        }
        Err(seen)
    }

    /// The `k`-th row that counts (from 1), seen from the range's end, or how many there are.
    pub fn nth_back(&mut self, k: u64, range: std::ops::Range<u64>, rows: Rows<'_>) -> Result<u64, u64> {
        if range.end - range.start > FEW_ROWS {
            self.extend(rows);
        }
        let mut seen = 0;
        let mut end = range.end;
        while end > range.start {
            let (count, size) = self.step_down(range.start, end, rows);
            if seen + count < k {
                seen += count;
                end -= size;
            } else if size == 1 {
                return Ok(end - 1);
            } else {
                // The k-th from the end is the (count - (k - seen) + 1)-th from the block's start.
                return self.descend(count + seen + 1 - k, end - size, size, rows).ok_or(seen);
            }
        }
        Err(seen)
    }

    /// The `k`-th row (from 1) that counts in a complete block, which has as many.
    fn descend(&self, mut k: u64, start: u64, size: u64, rows: Rows<'_>) -> Option<u64> {
        let (mut at, mut size) = (start, size);
        while size > 1 {
            size >>= SHIFT;
            let depth = (size.trailing_zeros() / SHIFT) as usize;
            for _ in 0..FAN {
                let level = depth.checked_sub(1).and_then(|depth| self.levels.get(depth));
                let count = level.map_or_else(|| rows.row(at), |level| level.get(at / size).unwrap_or(0));
                if count >= k {
                    break;
                }
                k -= count;
                at += size;
            }
        }
        (at < rows.ring.end() && rows.counts(at)).then_some(at)
    }

    /// The summary and size of the largest known block that starts at `at` and ends by `end`.
    #[inline]
    fn step_up(&self, at: u64, end: u64, rows: Rows<'_>) -> (u64, u64) {
        let (mut found, mut size) = (None, 1);
        let mut larger = FAN;
        for level in &self.levels {
            if at & (larger - 1) != 0 || at + larger > end {
                break;
            }
            let Some(summary) = level.get(at / larger) else { break };
            (found, size) = (Some(summary), larger);
            larger <<= SHIFT;
        }
        (found.unwrap_or_else(|| rows.row(at)), size)
    }

    /// The summary and size of the largest known block that ends at `end` and starts no earlier than `start`.
    #[inline]
    fn step_down(&self, start: u64, end: u64, rows: Rows<'_>) -> (u64, u64) {
        let (mut found, mut size) = (None, 1);
        let mut larger = FAN;
        for level in &self.levels {
            if end & (larger - 1) != 0 || start + larger > end {
                break;
            }
            let Some(summary) = level.get(end / larger - 1) else { break };
            (found, size) = (Some(summary), larger);
            larger <<= SHIFT;
        }
        (found.unwrap_or_else(|| rows.row(end - 1)), size)
    }
}
