//! Keys: the values of PARTITION BY as bytes, and the table that finds the slot of a key.
//!
//! A single string column is its own bytes: no copy, no allocation for a key that is known. Everything else is
//! encoded, null and value apart. Equal values have equal bytes: `-0.0` is `0.0`, all NaNs are one.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::value::{Column, Kind, Values, identity};

/// Bytes that a key may have without an allocation of its own.
const INLINE: usize = 22;

/// A stored key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The slot is free.
    Vacant,
    /// The one null key of a single string column.
    Null,
    /// Few bytes.
    Short(u8, [u8; INLINE]),
    /// More bytes.
    Long(Box<[u8]>),
}

impl Key {
    /// Stores a key; `None` is the null key.
    pub fn new(bytes: Option<&[u8]>) -> Self {
        let Some(bytes) = bytes else { return Self::Null };
        let mut inline = [0; INLINE];
        match inline.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Self::Short(bytes.len() as u8, inline)
            }
            None => Self::Long(bytes.into()),
        }
    }

    /// The bytes; `None` is the null key (or none at all).
    #[inline]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Vacant | Self::Null => None,
            Self::Short(len, bytes) => bytes.get(..usize::from(*len)),
            Self::Long(bytes) => Some(bytes),
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        if let Self::Long(bytes) = self { bytes.len() } else { 0 }
    }
}

/// Reads the keys of a batch.
pub struct KeyReader<'a> {
    columns: Vec<(&'a Column, Kind)>,
    buffer: Vec<u8>,
}

impl<'a> KeyReader<'a> {
    /// A reader of the key columns, in order.
    pub fn new(columns: Vec<(&'a Column, Kind)>) -> Self {
        Self { columns, buffer: Vec::new() }
    }

    /// The key of row `i`; `None` is the null key of a single string column.
    #[inline]
    pub fn read(&mut self, i: usize) -> Option<&[u8]> {
        if let [(column, Kind::Bytes)] = self.columns.as_slice() {
            let Values::Bytes(values) = &column.values else { return None };
            return column.is_valid(i).then(|| values.value(i));
        }
        self.buffer.clear();
        for (column, kind) in &self.columns {
            let valid = column.is_valid(i);
            self.buffer.push(u8::from(valid));
            if !valid {
                continue;
            }
            match &column.values {
                Values::Words(words) => {
                    let word = words.get(i).copied().unwrap_or_default();
                    self.buffer.extend_from_slice(&identity(*kind, word).to_le_bytes());
                }
                Values::Wide(values) => self.buffer.extend_from_slice(&values.value(i).to_le_bytes()),
                Values::Bytes(values) => {
                    let value = values.value(i);
                    self.buffer.extend_from_slice(&(value.len() as u32).to_le_bytes());
                    self.buffer.extend_from_slice(value);
                }
                Values::Opaque => {}
            }
        }
        Some(&self.buffer)
    }
}

/// Finds the slot of a key. Its order shows nowhere.
#[derive(Debug, Default)]
pub struct KeyTable {
    table: HashTable<(u32, u32)>,
    null: Option<u32>,
    state: FixedState,
}

impl KeyTable {
    /// The hash of a key.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u32 {
        let hash = self.state.hash_one(bytes);
        (hash ^ hash >> 32) as u32
    }

    /// The slot of a key, if it has one. `same` compares with the key of a slot.
    #[inline]
    pub fn find(&self, key: Option<&[u8]>, same: impl Fn(u32, &[u8]) -> bool) -> Option<u32> {
        let Some(bytes) = key else { return self.null };
        let hash = self.hash(bytes);
        let found = self.table.find(spread(hash), |&(known, slot)| known == hash && same(slot, bytes));
        found.map(|&(_, slot)| slot)
    }

    /// The slot that a key most likely has, by its hash alone.
    #[inline]
    pub fn guess(&self, key: Option<&[u8]>) -> Option<u32> {
        let Some(bytes) = key else { return self.null };
        let hash = self.hash(bytes);
        self.table.find(spread(hash), |&(known, _)| known == hash).map(|&(_, slot)| slot)
    }

    /// Gives a key that has none a slot.
    pub fn insert(&mut self, key: Option<&[u8]>, slot: u32) {
        let Some(bytes) = key else {
            self.null = Some(slot);
            return;
        };
        let hash = self.hash(bytes);
        self.table.insert_unique(spread(hash), (hash, slot), |&(hash, _)| spread(hash));
    }

    /// Takes the slot of a key away.
    pub fn remove(&mut self, key: Option<&[u8]>, slot: u32) {
        let Some(bytes) = key else {
            self.null = None;
            return;
        };
        if let Ok(entry) = self.table.find_entry(spread(self.hash(bytes)), |&(_, known)| known == slot) {
            entry.remove();
        }
        let (len, capacity) = (self.table.len(), self.table.capacity());
        if capacity > 1024 && len < capacity / 8 {
            self.table.shrink_to(len * 2, |&(hash, _)| spread(hash));
        }
    }

    /// Keys that have a slot, but for the null key.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.table.capacity() * 9
    }
}

/// The table takes its tag from the upper bits and its place from the lower ones.
#[inline]
pub(super) fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}
