//! Finding the one row of a table that has a key.

use std::hash::BuildHasher;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{RowConverter, Rows as KeyRows, SortField};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use millstream_core::Result;

use crate::exec::eval::internal;

/// No such row.
pub(crate) const MISSING: u32 = u32::MAX;

/// A unique index over key columns. Rows with a null in the key are not found, as SQL's `=` has it.
pub(crate) struct KeyIndex {
    table: HashTable<u32>,
    hasher: FixedState,
    keys: Keys,
}

enum Keys {
    Strings(StringArray),
    Integers(Int64Array),
    Any { converter: RowConverter, rows: KeyRows },
}

/// Two rows of one key.
#[derive(Debug)]
pub(crate) struct Duplicate {
    pub(crate) first: usize,
    pub(crate) second: usize,
}

fn any_null(columns: &[ArrayRef], row: usize) -> bool {
    columns.iter().any(|c| c.is_null(row))
}

impl KeyIndex {
    /// Indexes the rows of key columns of one length.
    pub(crate) fn build(columns: &[ArrayRef]) -> Result<Result<Self, Duplicate>> {
        let rows = columns.first().map_or(0, |c| c.len());
        let keys = match columns {
            [one] if one.data_type() == &DataType::Utf8 => Keys::Strings(one.as_string().clone()),
            [one] if one.data_type() == &DataType::Int64 => Keys::Integers(one.as_primitive::<Int64Type>().clone()),
            several => {
                let fields = several.iter().map(|c| SortField::new(c.data_type().clone())).collect();
                let converter = RowConverter::new(fields).map_err(internal)?;
                let rows = converter.convert_columns(several).map_err(internal)?;
                Keys::Any { converter, rows }
            }
        };
        let mut index = Self { table: HashTable::with_capacity(rows), hasher: FixedState::default(), keys };
        for row in (0..rows).filter(|&row| !any_null(columns, row)) {
            if let Err(duplicate) = index.insert(row) {
                return Ok(Err(duplicate));
            }
        }
        Ok(Ok(index))
    }

    fn insert(&mut self, row: usize) -> Result<(), Duplicate> {
        let Self { table, hasher, keys } = self;
        let hash = keys.hash(hasher, row);
        match table.find(hash, |&other| keys.equal(other as usize, row)) {
            Some(&first) => Err(Duplicate { first: first as usize, second: row }),
            None => {
                table.insert_unique(hash, row as u32, |&other| keys.hash(hasher, other as usize));
                Ok(())
            }
        }
    }

    /// The row of each key, or [`MISSING`].
    pub(crate) fn find(&self, columns: &[ArrayRef]) -> Result<Vec<u32>> {
        let rows = columns.first().map_or(0, |c| c.len());
        let found = |hit: Option<&u32>| hit.copied().unwrap_or(MISSING);
        match (&self.keys, columns) {
            (Keys::Strings(keys), [one]) if one.data_type() == &DataType::Utf8 => {
                let probe = one.as_string::<i32>();
                Ok((0..rows)
                    .map(|i| {
                        if probe.is_null(i) {
                            return MISSING;
                        }
                        let key = probe.value(i);
                        found(self.table.find(self.hasher.hash_one(key.as_bytes()), |&r| keys.value(r as usize) == key))
                    })
                    .collect())
            }
            (Keys::Integers(keys), [one]) if one.data_type() == &DataType::Int64 => {
                let probe = one.as_primitive::<Int64Type>();
                Ok((0..rows)
                    .map(|i| {
                        if probe.is_null(i) {
                            return MISSING;
                        }
                        let key = probe.value(i);
                        found(self.table.find(self.hasher.hash_one(key), |&r| keys.value(r as usize) == key))
                    })
                    .collect())
            }
            (Keys::Any { converter, rows: keys }, several) => {
                let probe = converter.convert_columns(several).map_err(internal)?;
                Ok((0..rows)
                    .map(|i| {
                        if any_null(several, i) {
                            return MISSING;
                        }
                        let key = probe.row(i);
                        let hash = self.hasher.hash_one(key.data());
                        found(self.table.find(hash, |&r| keys.row(r as usize).data() == key.data()))
                    })
                    .collect())
            }
            _ => Err(internal("the key of a join has another type than the table's")),
        }
    }
}

impl Keys {
    fn hash(&self, hasher: &FixedState, row: usize) -> u64 {
        match self {
            Self::Strings(keys) => hasher.hash_one(keys.value(row).as_bytes()),
            Self::Integers(keys) => hasher.hash_one(keys.value(row)),
            Self::Any { rows, .. } => hasher.hash_one(rows.row(row).data()),
        }
    }

    fn equal(&self, a: usize, b: usize) -> bool {
        match self {
            Self::Strings(keys) => keys.value(a) == keys.value(b),
            Self::Integers(keys) => keys.value(a) == keys.value(b),
            Self::Any { rows, .. } => rows.row(a).data() == rows.row(b).data(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_kind_of_key_finds_its_row() {
        let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("b"), None]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(9)]));
        let floats: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![1.5, 2.5, 3.5]));
        let one = |c: &ArrayRef| {
            KeyIndex::build(std::slice::from_ref(c)).unwrap().unwrap().find(std::slice::from_ref(c)).unwrap()
        };
        assert_eq!(one(&strings), [0, 1, MISSING]);
        assert_eq!(one(&numbers), [0, MISSING, 2]);
        assert_eq!(one(&floats), [0, 1, 2]);
        let both = [strings, numbers];
        assert_eq!(KeyIndex::build(&both).unwrap().unwrap().find(&both).unwrap(), [0, MISSING, MISSING]);
    }

    #[test]
    fn duplicates_are_named() {
        let strings: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "a"]));
        let Err(duplicate) = KeyIndex::build(&[strings]).unwrap() else { panic!("no duplicate found") };
        assert_eq!((duplicate.first, duplicate.second), (0, 2));
    }
}
