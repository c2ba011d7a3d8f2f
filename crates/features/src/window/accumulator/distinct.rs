//! How often each value occurs in a frame.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Few values are searched one by one: less memory than a table, and faster.
const FEW: usize = 8;

/// A multiset of cells.
#[derive(Clone, Debug, Default)]
pub struct Multiset {
    few: Vec<(u64, u64)>,
    many: Option<HashMap<u64, u64, FixedState>>,
}

impl Multiset {
    /// Different values.
    pub fn len(&self) -> usize {
        self.many.as_ref().map_or(self.few.len(), HashMap::len)
    }

    /// Adds an occurrence; `true` if the value is new.
    pub fn insert(&mut self, key: u64) -> bool {
        if let Some(many) = &mut self.many {
            let count = many.entry(key).or_insert(0);
            *count += 1;
            return *count == 1;
        }
        if let Some((_, count)) = self.few.iter_mut().find(|(known, _)| *known == key) {
            *count += 1;
            return false;
        }
        self.restore(key, 1);
        true
    }

    /// Takes an occurrence back; `true` if it was the last one.
    pub fn remove(&mut self, key: u64) -> bool {
        if let Some(many) = &mut self.many {
            let Some(count) = many.get_mut(&key) else { return false };
            *count -= 1;
            let last = *count == 0;
            if last {
                many.remove(&key);
                if many.is_empty() {
                    self.many = None;
                }
            }
            return last;
        }
        let Some(at) = self.few.iter().position(|(known, _)| *known == key) else { return false };
        let Some((_, count)) = self.few.get_mut(at) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            self.few.swap_remove(at);
        }
        last
    }

    /// Puts a value that is not there yet, with its count.
    pub fn restore(&mut self, key: u64, count: u64) {
        if let Some(many) = &mut self.many {
            many.insert(key, count);
        } else if self.few.len() < FEW {
            self.few.push((key, count));
        } else {
            let mut many: HashMap<_, _, _> = std::mem::take(&mut self.few).into_iter().collect();
            many.insert(key, count);
            self.many = Some(many);
        }
    }

    /// The values with their counts, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let many = self.many.iter().flat_map(|many| many.iter().map(|(&key, &count)| (key, count)));
        self.few.iter().copied().chain(many)
    }

    /// The values.
    pub fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        self.iter().map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_through_both_forms() {
        let mut set = Multiset::default();
        for round in 0..3 {
            for key in 0..20 {
                assert_eq!(set.insert(key), round == 0);
            }
        }
        assert_eq!(set.len(), 20);
        for round in 0..3 {
            for key in 0..20 {
                assert_eq!(set.remove(key), round == 2);
            }
        }
        assert_eq!(set.len(), 0);
        assert!(set.insert(1));
    }
}
