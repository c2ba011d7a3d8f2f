//! A reader for FlatBuffers, as far as CatBoost's models need them.
//!
//! Every offset and length is checked against the bytes that are there. Two offsets may name the same bytes, so that a
//! small file could describe a large model; a budget of a few times the file's size bounds all that is read.

use std::borrow::Cow;
use std::cell::Cell;

use crate::error::{LoadError, Place};

/// How many times a file may be read over.
const READS_MAX: usize = 4;
/// What looking at a table costs.
const TABLE_COST: usize = 16;

/// A buffer.
pub(super) struct Flat<'a> {
    bytes: &'a [u8],
    /// What the buffer is, for messages.
    name: &'static str,
    budget: Cell<usize>,
}

/// A table in it.
#[derive(Clone, Copy)]
pub(super) struct Table<'f, 'a> {
    flat: &'f Flat<'a>,
    at: usize,
    vtable: usize,
    /// Bytes of the vtable.
    size: usize,
}

impl<'a> Flat<'a> {
    pub(super) fn new(bytes: &'a [u8], name: &'static str) -> Self {
        Self { bytes, name, budget: Cell::new(bytes.len().saturating_mul(READS_MAX).saturating_add(4096)) }
    }

    pub(super) fn root(&self) -> Result<Table<'_, 'a>, LoadError> {
        self.table(0, "root")
    }

    fn bad(&self, part: &str, problem: impl Into<String>) -> LoadError {
        LoadError::malformed(Place::part(format!("{}.{part}", self.name)), problem)
    }

    fn get<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    fn word(&self, at: usize, part: &str) -> Result<usize, LoadError> {
        let bytes = self.get(at).ok_or_else(|| self.bad(part, "points out of the file"))?;
        Ok(u32::from_le_bytes(bytes) as usize)
    }

    fn spend(&self, cost: usize, part: &str) -> Result<(), LoadError> {
        let left = self.budget.get().checked_sub(cost);
        self.budget.set(left.ok_or_else(|| self.bad(part, "is used too often by too many parts"))?);
        Ok(())
    }

    /// The table that the offset at a place leads to.
    fn table(&self, at: usize, part: &str) -> Result<Table<'_, 'a>, LoadError> {
        let broken = || self.bad(part, "is no table: its offset or its vtable points out of the file");
        self.spend(TABLE_COST, part)?;
        let at = at.checked_add(self.word(at, part)?).ok_or_else(broken)?;
        let back = i32::from_le_bytes(self.get(at).ok_or_else(broken)?);
        let vtable = usize::try_from(at as i64 - i64::from(back)).map_err(|_| broken())?;
        let size = usize::from(u16::from_le_bytes(self.get(vtable).ok_or_else(broken)?));
        if size < 4 || self.bytes.len() < vtable + size {
            return Err(broken());
        }
        Ok(Table { flat: self, at, vtable, size })
    }

    /// The vector that the offset at a place leads to: its bytes.
    fn vector(&self, at: usize, item: usize, part: &str) -> Result<&'a [u8], LoadError> {
        let start = at.saturating_add(self.word(at, part)?);
        let length = self.word(start, part)?;
        let bytes = self.bytes.get(start + 4..).and_then(|rest| rest.get(..length.checked_mul(item)?));
        let bytes = bytes.ok_or_else(|| self.bad(part, format!("claims {length} items, more than the file holds")))?;
        self.spend(bytes.len(), part)?;
        Ok(bytes)
    }
}

impl<'f, 'a> Table<'f, 'a> {
    pub(super) fn bad(&self, part: &str, problem: impl Into<String>) -> LoadError {
        self.flat.bad(part, problem)
    }

    /// Where a field stands, if the table has it. Fields are numbered in the order of the schema.
    fn field(&self, slot: usize) -> Option<usize> {
        let entry = 4 + 2 * slot;
        if entry + 2 > self.size {
            return None;
        }
        let offset = u16::from_le_bytes(self.flat.get(self.vtable + entry)?);
        (offset != 0).then(|| self.at + usize::from(offset))
    }

    fn scalar<const N: usize>(&self, slot: usize, part: &str) -> Result<Option<[u8; N]>, LoadError> {
        let Some(at) = self.field(slot) else { return Ok(None) };
        self.flat.get(at).map(Some).ok_or_else(|| self.bad(part, "points out of the file"))
    }

    pub(super) fn i32(&self, slot: usize, default: i32, part: &str) -> Result<i32, LoadError> {
        Ok(self.scalar(slot, part)?.map_or(default, i32::from_le_bytes))
    }

    pub(super) fn f32(&self, slot: usize, default: f32, part: &str) -> Result<f32, LoadError> {
        Ok(self.scalar(slot, part)?.map_or(default, f32::from_le_bytes))
    }

    pub(super) fn f64(&self, slot: usize, default: f64, part: &str) -> Result<f64, LoadError> {
        Ok(self.scalar(slot, part)?.map_or(default, f64::from_le_bytes))
    }

    pub(super) fn byte(&self, slot: usize, default: u8, part: &str) -> Result<u8, LoadError> {
        Ok(self.scalar(slot, part)?.map_or(default, |[byte]: [u8; 1]| byte))
    }

    pub(super) fn table(&self, slot: usize, part: &str) -> Result<Option<Self>, LoadError> {
        self.field(slot).map(|at| self.flat.table(at, part)).transpose()
    }

    /// A table that must be there.
    pub(super) fn need(&self, slot: usize, part: &str) -> Result<Self, LoadError> {
        self.table(slot, part)?.ok_or_else(|| self.bad(part, "is missing; the file is cut short or damaged"))
    }

    /// A vector's bytes, `item` for each of its items; empty if there is none.
    fn bytes(&self, slot: usize, item: usize, part: &str) -> Result<&'a [u8], LoadError> {
        self.field(slot).map_or(Ok(&[][..]), |at| self.flat.vector(at, item, part))
    }

    /// A vector of numbers or small structs, each of `N` bytes.
    pub(super) fn items<const N: usize>(&self, slot: usize, part: &str) -> Result<&'a [[u8; N]], LoadError> {
        Ok(self.bytes(slot, N, part)?.as_chunks().0)
    }

    pub(super) fn f32s(&self, slot: usize, part: &str) -> Result<Vec<f32>, LoadError> {
        Ok(self.items(slot, part)?.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    pub(super) fn f64s(&self, slot: usize, part: &str) -> Result<Vec<f64>, LoadError> {
        Ok(self.items(slot, part)?.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect())
    }

    pub(super) fn i32s(&self, slot: usize, part: &str) -> Result<Vec<i32>, LoadError> {
        Ok(self.items(slot, part)?.iter().map(|&bytes| i32::from_le_bytes(bytes)).collect())
    }

    pub(super) fn raw(&self, slot: usize, part: &str) -> Result<&'a [u8], LoadError> {
        self.bytes(slot, 1, part)
    }

    pub(super) fn text(&self, slot: usize, part: &str) -> Result<Cow<'a, str>, LoadError> {
        Ok(String::from_utf8_lossy(self.bytes(slot, 1, part)?))
    }

    /// A vector of tables.
    pub(super) fn tables(&self, slot: usize, part: &str) -> Result<Vec<Self>, LoadError> {
        let Some(places) = self.places(slot, part)? else { return Ok(Vec::new()) };
        places.map(|at| self.flat.table(at, part)).collect()
    }

    /// A vector of strings.
    pub(super) fn texts(&self, slot: usize, part: &str) -> Result<Vec<Cow<'a, str>>, LoadError> {
        let Some(places) = self.places(slot, part)? else { return Ok(Vec::new()) };
        places.map(|at| Ok(String::from_utf8_lossy(self.flat.vector(at, 1, part)?))).collect()
    }

    /// Where the offsets of a vector of offsets stand.
    fn places(&self, slot: usize, part: &str) -> Result<Option<impl Iterator<Item = usize> + use<>>, LoadError> {
        let Some(at) = self.field(slot) else { return Ok(None) };
        let count = self.flat.vector(at, 4, part)?.len() / 4;
        let first = at + self.flat.word(at, part)? + 4;
        Ok(Some((0..count).map(move |index| first + 4 * index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with one field, a vector of three i32: written by hand.
    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(12u32.to_le_bytes()); // root at 12
        bytes.extend([6, 0, 8, 0, 4, 0, 0, 0]); // vtable at 4: 6 bytes, table of 8, field 0 at 4; padding
        bytes.extend(8i32.to_le_bytes()); // the table at 12: its vtable is 8 before it
        bytes.extend(4u32.to_le_bytes()); // field 0 at 16: the vector is 4 further on
        bytes.extend(3u32.to_le_bytes());
        [7i32, -1, 9].iter().for_each(|n| bytes.extend(n.to_le_bytes()));
        bytes
    }

    #[test]
    fn what_is_there_is_read() {
        let bytes = sample();
        let flat = Flat::new(&bytes, "x");
        let root = flat.root().unwrap();
        assert_eq!(root.i32s(0, "list").unwrap(), [7, -1, 9]);
        assert!(root.i32s(1, "none").unwrap().is_empty());
        assert_eq!(root.i32(5, 42, "none").unwrap(), 42);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let bytes = sample();
        for length in 0..bytes.len() {
            let flat = Flat::new(&bytes[..length], "x");
            assert!(flat.root().and_then(|root| root.i32s(0, "list")).is_err(), "{length}");
        }
        let mut long = bytes.clone();
        long[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        let flat = Flat::new(&long, "x");
        let error = flat.root().unwrap().i32s(0, "list").unwrap_err().to_string();
        assert_eq!(error, "x.list: claims 4294967295 items, more than the file holds");
    }

    #[test]
    fn reading_the_same_bytes_again_and_again_ends() {
        let bytes = sample();
        let flat = Flat::new(&bytes, "x");
        let root = flat.root().unwrap();
        assert!((0..1000).any(|_| root.i32s(0, "list").is_err()));
    }
}
