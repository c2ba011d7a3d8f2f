//! Strings and other values that don't fit a cell, each stored once.
//!
//! Windows hold the same few merchants and countries again and again; a row holds the number of the string,
//! and the string lives as long as rows (or what was folded from them) refer to it. Numbers are reused and
//! depend on history, so they never reach an output and are never compared for order.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use super::key::spread;

/// Byte strings by number, with the count of references to each.
#[derive(Debug, Default)]
pub struct Interner {
    /// Hashes and numbers.
    table: HashTable<(u32, u32)>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    state: FixedState,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    bytes: Box<[u8]>,
    hash: u32,
    references: u32,
}

impl Interner {
    /// The number of a string, with one more reference to it.
    pub fn intern(&mut self, bytes: &[u8]) -> u64 {
        let hash = self.state.hash_one(bytes) as u32;
        let entries = &self.entries;
        let same = |&(known, id): &(u32, u32)| {
            known == hash && entries.get(id as usize).is_some_and(|entry| entry.bytes.as_ref() == bytes)
        };
        if let Some(&(_, id)) = self.table.find(spread(hash), same) {
            self.retain(u64::from(id));
            return u64::from(id);
        }
        let entry = Entry { bytes: bytes.into(), hash, references: 1 };
        self.bytes += bytes.len();
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(slot) = self.entries.get_mut(id as usize) {
                    *slot = entry;
                }
                id
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.table.insert_unique(spread(hash), (hash, id), |&(hash, _)| spread(hash));
        u64::from(id)
    }

    /// One more reference.
    #[inline]
    pub fn retain(&mut self, id: u64) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            entry.references += 1;
        }
    }

    /// One reference less; the string is forgotten with the last.
    #[inline]
    pub fn release(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(id as usize) else { return };
        entry.references = entry.references.saturating_sub(1);
        if entry.references > 0 {
            return;
        }
        self.bytes -= entry.bytes.len();
        entry.bytes = Box::default();
        if let Ok(found) = self.table.find_entry(spread(entry.hash), |&(_, known)| u64::from(known) == id) {
            found.remove();
            self.free.push(id as u32);
        }
    }

    /// The string of a number; empty for a number that is not in use.
    #[inline]
    pub fn get(&self, id: u64) -> &[u8] {
        self.entries.get(id as usize).map_or(&[], |entry| &entry.bytes)
    }

    /// Strings held.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes held, estimated.
    pub fn heap_bytes(&self) -> usize {
        self.bytes + self.entries.capacity() * size_of::<Entry>() + self.table.capacity() * 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_live_as_long_as_their_references() {
        let mut interner = Interner::default();
        let a = interner.intern(b"a");
        let b = interner.intern(b"b");
        assert_eq!(interner.intern(b"a"), a);
        assert_ne!(a, b);
        interner.release(a);
        assert_eq!(interner.get(a), b"a");
        interner.release(a);
        assert_eq!((interner.get(a), interner.len()), (&b""[..], 1));
        assert_eq!(interner.intern(b"c"), a, "numbers are reused");
        assert_eq!(interner.get(b), b"b");
    }
}
