//! The values of a frame in order, for percentiles.

/// A chunk that grows beyond this is split in two.
const FULL: usize = 512;
/// A chunk below this is joined with its neighbour.
const SPARSE: usize = 64;

/// A sorted multiset in chunks: finding a place is a binary search, changing it moves less than a chunk, and
/// the k-th value is found by the lengths of the chunks.
#[derive(Clone, Debug, Default)]
pub struct SortedValues {
    chunks: Vec<Vec<u64>>,
    len: usize,
}

impl SortedValues {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The chunk where a value is, or belongs.
    fn chunk(&self, key: u64) -> usize {
        let at = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|&last| last < key));
        at.min(self.chunks.len().saturating_sub(1))
    }

    /// Adds a value.
    pub fn insert(&mut self, key: u64) {
        self.len += 1;
        let at = self.chunk(key);
        let Some(chunk) = self.chunks.get_mut(at) else { return self.chunks.push(vec![key]) };
        let place = chunk.partition_point(|&known| known < key);
        chunk.insert(place, key);
        if chunk.len() > FULL {
            let upper = chunk.split_off(FULL / 2);
            self.chunks.insert(at + 1, upper);
        }
    }

    /// Takes back a value that was added.
    pub fn remove(&mut self, key: u64) {
        let at = self.chunk(key);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let place = chunk.partition_point(|&known| known < key);
        if chunk.get(place) != Some(&key) {
            return;
        }
        chunk.remove(place);
        self.len -= 1;
        let len = chunk.len();
        if len == 0 {
            self.chunks.remove(at);
        } else if len < SPARSE && self.chunks.get(at + 1).is_some_and(|next| next.len() + len <= FULL / 2) {
            let next = self.chunks.remove(at + 1);
            if let Some(chunk) = self.chunks.get_mut(at) {
                chunk.extend(next);
            }
        }
    }

    /// The value with `rank` smaller ones before it.
    pub fn nth(&self, rank: usize) -> Option<u64> {
        let mut rest = rank;
        for chunk in &self.chunks {
            if let Some(&key) = chunk.get(rest) {
                return Some(key);
            }
            rest -= chunk.len();
        }
        None
    }

    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.chunks.iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_a_sorted_vector() {
        let mut values = SortedValues::default();
        let mut expected: Vec<u64> = Vec::new();
        let mut state = 7u64;
        for step in 0..20_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let growing = step / 5000 % 2 == 0;
            if expected.is_empty() || (state >> 40 & 3 != 0) == growing {
                let key = state >> 50;
                values.insert(key);
                expected.insert(expected.partition_point(|&k| k < key), key);
            } else {
                let key = expected.remove((state >> 33) as usize % expected.len());
                values.remove(key);
            }
            if step % 97 == 0 {
                assert!(values.iter().eq(expected.iter().copied()));
                let rank = (state >> 20) as usize % (expected.len() + 1);
                assert_eq!(values.nth(rank), expected.get(rank).copied());
            }
            assert_eq!(values.len(), expected.len());
        }
    }
}
