//! The rows of one key, in order, in a ring of words.

use super::prefetch::prefetch;

/// Rows of `stride` words each, the first of which is the event time. A row is known by its *position*: how many
/// rows of the key came before it in order, those already dropped included. Positions rise with the order,
/// so a frame is a range of them.
#[derive(Debug, Default)]
pub struct Ring {
    words: Box<[u64]>,
    /// Rows of capacity minus one; capacity is a power of two. Without meaning while `words` is empty.
    mask: u64,
    base: u64,
    end: u64,
}

impl Ring {
    /// An empty ring whose first row will have this position.
    pub fn starting_at(base: u64) -> Self {
        Self { base, end: base, ..Self::default() }
    }

    /// A ring with `rows` rows from position `base` on, their words one after the other.
    pub fn filled(base: u64, rows: u64, stride: usize, mut words: impl Iterator<Item = u64>) -> Self {
        if rows == 0 {
            return Self::starting_at(base);
        }
        let capacity = rows.next_power_of_two();
        let mask = capacity - 1;
        let mut all = vec![0; capacity as usize * stride].into_boxed_slice();
        let length = rows as usize * stride;
        let (before, after) = all.split_at_mut((base & mask) as usize * stride);
        let first = length.min(after.len());
        after.iter_mut().take(first).zip(&mut words).for_each(|(place, word)| *place = word);
        before.iter_mut().take(length - first).zip(&mut words).for_each(|(place, word)| *place = word);
        Self { words: all, mask, base, end: base + rows }
    }

    /// The words of all rows, in order: one after the other.
    pub fn words(&self, stride: usize) -> (&[u64], &[u64]) {
        let length = self.len() as usize * stride;
        if length == 0 {
            return (&[], &[]);
        }
        let (before, after) = self.words.split_at(self.start(self.base, stride));
        let first = length.min(after.len());
        (&after[..first], &before[..length - first])
    }

    /// The position of the first row held.
    #[inline]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The position after the last row.
    #[inline]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Rows held.
    #[inline]
    pub fn len(&self) -> u64 {
        self.end - self.base
    }

    /// Words allocated.
    #[inline]
    pub fn capacity_words(&self) -> usize {
        self.words.len()
    }

    #[inline]
    fn start(&self, position: u64, stride: usize) -> usize {
        (position & self.mask) as usize * stride
    }

    /// The row at a position in `base..end`.
    #[inline]
    pub fn row(&self, position: u64, stride: usize) -> &[u64] {
        let start = self.start(position, stride);
        &self.words[start..start + stride]
    }

    /// The row at a position in `base..end`.
    #[inline]
    pub fn row_mut(&mut self, position: u64, stride: usize) -> &mut [u64] {
        let start = self.start(position, stride);
        &mut self.words[start..start + stride]
    }

    /// The event time of the row at a position in `base..end`.
    #[inline]
    pub fn time(&self, position: u64, stride: usize) -> i64 {
        self.words[self.start(position, stride)] as i64
    }

    /// Asks for a row that is needed soon.
    #[inline]
    pub fn prefetch(&self, position: u64, stride: usize) {
        prefetch(self.words.get(self.start(position, stride)));
    }

    /// Puts a row at a position in `base..=end`; the rows from there on move up by one.
    #[inline]
    pub fn insert(&mut self, position: u64, row: &[u64]) {
        let stride = row.len();
        if (self.len() as usize + 1) * stride > self.words.len() {
            self.resize(self.len() + 1, stride);
        }
        self.end += 1;
        let mut at = self.end - 1;
        while at > position {
            let (from, to) = (self.start(at - 1, stride), self.start(at, stride));
            self.words.copy_within(from..from + stride, to);
            at -= 1;
        }
        self.row_mut(position, stride).copy_from_slice(row);
    }

    /// Drops the rows before a position in `base..=end`.
    pub fn drop_before(&mut self, position: u64, stride: usize) {
        self.base = position;
        let (rows, capacity) = (self.len(), (self.words.len() / stride) as u64);
        if rows == 0 {
            self.words = Box::default();
        } else if rows * 4 <= capacity && capacity > 4 {
            self.resize(rows, stride);
        }
    }

    /// Makes room for at least `rows` rows, and not much more.
    #[cold]
    fn resize(&mut self, rows: u64, stride: usize) {
        let capacity = rows.next_power_of_two();
        let mut words = vec![0; capacity as usize * stride].into_boxed_slice();
        let mask = capacity - 1;
        for position in self.base..self.end {
            let to = (position & mask) as usize * stride;
            words[to..to + stride].copy_from_slice(self.row(position, stride));
        }
        (self.words, self.mask) = (words, mask);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_order_while_the_ring_turns() {
        let mut ring = Ring::starting_at(5);
        let mut expected: Vec<u64> = Vec::new();
        let mut state = 1u64;
        for step in 0..2000u64 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            let back = (state >> 60).min(ring.len());
            ring.insert(ring.end() - back, &[step, step * 3]);
            expected.insert(expected.len() - back as usize, step);
            if state >> 33 & 3 == 0 {
                let drop = (state >> 40 & 7).min(ring.len());
                ring.drop_before(ring.base() + drop, 2);
                expected.drain(..drop as usize);
            }
            let rows: Vec<u64> = (ring.base()..ring.end()).map(|p| ring.row(p, 2)[0]).collect();
            assert_eq!(rows, expected);
            assert!((ring.base()..ring.end()).all(|p| ring.row(p, 2)[1] == ring.time(p, 2) as u64 * 3));
            let (first, second) = ring.words(2);
            let copy = Ring::filled(ring.base(), ring.len(), 2, first.iter().chain(second).copied());
            assert_eq!((copy.base(), copy.end()), (ring.base(), ring.end()));
            assert!((ring.base()..ring.end()).all(|p| ring.row(p, 2) == copy.row(p, 2)));
        }
        let all = ring.end();
        ring.drop_before(all, 2);
        assert_eq!(ring.capacity_words(), 0);
    }
}
