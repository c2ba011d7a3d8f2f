//! From a row's numbers to bytes: the rank of each value among the thresholds the model compares it with.
//!
//! With `t1 < t2 < …` the thresholds of a feature, the rank of `x` is how many of them are at most `x`; then `x < tk` is
//! `rank < k`, without an exception: compares of bytes decide what compares of floats decide. What makes it exact:
//!
//! - `x <= t` is `x < next(t)`.
//! - Where each bound is the least float64 that rounds to its float32, values are rounded and ranked in float32: so it is
//!   for models that round their inputs, whichever number type their thresholds have.
//! - float64 values are ranked in two steps. Rounding to float32 keeps order, so thresholds whose rounded form lies below
//!   the rounded value lie below the value; the one threshold that may round to the same float32 (a table holds no two
//!   such) is compared in float64.
//! - LightGBM reads tiny values as zero; that is a change of the thresholds in that zone.
//! - A missing value has rank 0 where it goes left. Where it goes right, its byte is 255: each feature has a *column* of
//!   bytes for each way its missing values go.
//!
//! A feature with more thresholds than fit a byte, or of which several round to one float32, has several *tables*.

use std::collections::BTreeMap;

use super::input::Value;
use crate::forest::{Compare, Forest, Node, Real, ZERO_THRESHOLD, is_nan};

/// Tables, and columns, that a quantiser may have: what one permute of two registers can look up.
pub(crate) const COLUMNS_MAX: usize = 128;

/// Rows quantised together.
pub(crate) const BLOCK_ROWS: usize = 64;

/// Thresholds of a table, so that ranks fit a byte and a padding is left.
const TABLE_MAX: usize = 255;

/// A cache line of bytes.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// The columns of one row.
pub(crate) type RowBytes = [Line; COLUMNS_MAX / 64];

/// Sixteen thresholds, rising, padded with NaN.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block(pub(crate) [f32; 16]);

/// Some thresholds of one feature.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) feature: u32,
    /// Where the table's blocks begin in `Quantiser::blocks`.
    pub(crate) first: u32,
    /// Whether zero is a missing value.
    pub(crate) zero_missing: bool,
    /// How many thresholds there are.
    pub(crate) len: u8,
}

/// What a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Column {
    pub(crate) table: u8,
    pub(crate) missing_right: bool,
}

/// Turns rows into bytes.
#[derive(Clone, Debug)]
pub(crate) struct Quantiser {
    pub(crate) tables: Vec<Table>,
    /// For each table, the last threshold of each of its blocks but the last, then NaN.
    pub(crate) coarse: Vec<Block>,
    pub(crate) blocks: Vec<Block>,
    /// The same thresholds in float64; empty if values are compared in float32.
    pub(crate) exact: Vec<[f64; 16]>,
    /// Whether zero is a missing value in some table.
    pub(crate) zero_missing: bool,
    pub(crate) columns: Vec<Column>,
    /// For each column, its place among the ranks: tables first, then tables with missing values as 255.
    pub(crate) picks: [u8; COLUMNS_MAX],
}

/// A split as bytes: right if the column's byte is at least `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub(crate) column: u8,
    pub(crate) code: u8,
}

/// Which thresholds share tables.
type Key = (u32, bool);

/// Finds the test of a split.
pub(crate) struct Index {
    /// Sorted thresholds (their ordered bits) of each feature, with table and code.
    places: BTreeMap<Key, Vec<(i64, u8, u8)>>,
    columns: BTreeMap<Column, u8>,
    rule: Rule,
}

/// How thresholds become the bound of `x < bound`.
#[derive(Clone, Copy, Debug)]
struct Rule {
    compare: Compare,
    tiny_is_zero: bool,
    /// Values are float32.
    single: bool,
}

impl Rule {
    /// The bound that stands for a threshold; NaN if every number lies below.
    fn bound(self, threshold: f64) -> f64 {
        let mut bound = match self.compare {
            // Nothing compares with NaN, and nothing is less than −∞: all numbers go right.
            _ if threshold.is_nan() => f64::NEG_INFINITY,
            Compare::Less => threshold,
            Compare::AtMost if threshold == f64::INFINITY => f64::NAN,
            Compare::AtMost => threshold.next_up(),
        };
        if self.tiny_is_zero {
            if bound > 0.0 && bound <= ZERO_THRESHOLD {
                bound = ZERO_THRESHOLD.next_up();
            } else if bound <= 0.0 && bound > -ZERO_THRESHOLD {
                bound = -ZERO_THRESHOLD;
            }
        }
        if self.single && !bound.is_nan() {
            let rounded = bound as f32;
            bound = f64::from(if f64::from(rounded) < bound { rounded.next_up() } else { rounded });
        }
        // No difference between the zeros.
        bound + 0.0
    }
}

/// Whether `x < bound` is the same as `(x as f32) < (bound as f32)` for all float64.
fn rounds(bound: f64) -> bool {
    bound.is_nan() || bound == f64::NEG_INFINITY || (bound.next_down() as f32) < bound as f32
}

/// Bits that order as the bounds do, with NaN above all.
fn ordered(bound: f64) -> i64 {
    if bound.is_nan() {
        return i64::MAX;
    }
    let bits = bound.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

impl Quantiser {
    /// The quantiser of a forest of simple trees; `None` if it would need more tables or columns than there may be.
    pub(crate) fn new<T: Real>(forest: &Forest<T>) -> Option<(Self, Index)> {
        let single = size_of::<T>() == size_of::<f32>();
        let rule = Rule { compare: forest.compare, tiny_is_zero: forest.tiny_is_zero, single };
        let mut bounds: BTreeMap<Key, Vec<f64>> = BTreeMap::new();
        let mut uses: BTreeMap<(Key, bool), ()> = BTreeMap::new();
        for node in forest.trees.iter().flat_map(|tree| &tree.nodes) {
            if let Node::Numeric { feature, threshold, missing_left, zero_missing, .. } = *node {
                let key = (feature, zero_missing);
                bounds.entry(key).or_default().push(rule.bound(threshold.to_f64()));
                uses.insert((key, !missing_left), ());
            }
        }
        let single = single || bounds.iter().all(|(key, bounds)| !key.1 && bounds.iter().all(|&bound| rounds(bound)));
        let mut quantiser = Self {
            tables: Vec::new(),
            coarse: Vec::new(),
            blocks: Vec::new(),
            exact: Vec::new(),
            zero_missing: bounds.keys().any(|key| key.1),
            columns: Vec::new(),
            picks: [0; COLUMNS_MAX],
        };
        let mut index = Index { places: BTreeMap::new(), columns: BTreeMap::new(), rule };
        let mut uses_of_table = Vec::new();
        for (key, mut bounds) in bounds {
            bounds.sort_unstable_by_key(|&bound| ordered(bound));
            bounds.dedup_by_key(|bound| ordered(*bound));
            let places = index.places.entry(key).or_default();
            for (number, chunk) in chunks(&bounds, single)?.into_iter().enumerate() {
                let table = u8::try_from(quantiser.tables.len()).ok().filter(|&t| usize::from(t) < COLUMNS_MAX)?;
                places.extend((1u8..=255).zip(&chunk).map(|(code, &bound)| (ordered(bound), table, code)));
                quantiser.push(key, &chunk, single);
                uses_of_table.push((key, number));
            }
            places.sort_unstable();
        }
        for (table, (key, _)) in (0u8..).zip(&uses_of_table) {
            for missing_right in [false, true] {
                if uses.contains_key(&(*key, missing_right)) {
                    let number =
                        u8::try_from(quantiser.columns.len()).ok().filter(|&c| usize::from(c) < COLUMNS_MAX)?;
                    quantiser.picks[usize::from(number)] = table + if missing_right { COLUMNS_MAX as u8 } else { 0 };
                    quantiser.columns.push(Column { table, missing_right });
                    index.columns.insert(Column { table, missing_right }, number);
                }
            }
        }
        Some((quantiser, index))
    }

    fn push(&mut self, (feature, zero_missing): Key, bounds: &[f64], single: bool) {
        let first = self.blocks.len() as u32;
        // One place more than there are thresholds, so that the last block always ends in NaN.
        for block in 0..=bounds.len() / 16 {
            let at = |k: usize| bounds.get(block * 16 + k).copied().unwrap_or(f64::NAN);
            self.blocks.push(Block(std::array::from_fn(|k| at(k) as f32)));
            if !single {
                self.exact.push(std::array::from_fn(at));
            }
        }
        let blocks = &self.blocks[first as usize..];
        let coarse = std::array::from_fn(|k| if k + 1 < blocks.len() { blocks[k].0[15] } else { f32::NAN });
        self.coarse.push(Block(coarse));
        self.tables.push(Table { feature, first, zero_missing, len: bounds.len() as u8 });
    }

    /// Whether values are ranked in float64.
    pub(crate) fn is_double(&self) -> bool {
        !self.exact.is_empty()
    }

    /// Bytes of the tables.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.tables.as_slice())
            + size_of_val(self.coarse.as_slice())
            + size_of_val(self.blocks.as_slice())
            + size_of_val(self.exact.as_slice())
    }

    /// How many ranks a column can have: its table's thresholds and one.
    pub(crate) fn ranks_of(&self, column: usize) -> usize {
        usize::from(self.tables[usize::from(self.columns[column].table)].len) + 1
    }

    /// The rank of each table's value in a row, and the value itself in float32 (0 beyond the tables). `count` says how
    /// many bounds of a block are at most a value, or below it if `DOUBLE` is set; see [`count`].
    #[inline(always)]
    pub(crate) fn ranks<const DOUBLE: bool>(
        &self,
        value: impl Fn(u32) -> Value,
        count: impl Fn(&Block, f32) -> u32,
        ranks: &mut [u8; COLUMNS_MAX],
        singles: &mut Singles,
    ) {
        // In passes over the tables, so that many loads that wait for others' results are under way at once.
        let seen = |table: &Table| {
            let value = value(table.feature);
            if self.zero_missing { value.seen::<DOUBLE>(table.zero_missing) } else { value }
        };
        for (table, single) in self.tables.iter().zip(&mut singles.0) {
            *single = seen(table).single;
        }
        for (((table, coarse), rank), &single) in self.tables.iter().zip(&self.coarse).zip(&mut *ranks).zip(&singles.0)
        {
            *rank = self.rank(table, coarse, single, &count) as u8;
        }
        if DOUBLE {
            let exact = self.exact.as_flattened();
            for (table, rank) in self.tables.iter().zip(ranks) {
                let bound = exact[table.first as usize * 16 + usize::from(*rank)];
                *rank += u8::from(bound <= seen(table).double);
            }
        }
    }

    /// The rank of a value among a table's thresholds in float32.
    #[inline(always)]
    pub(crate) fn rank(&self, table: &Table, coarse: &Block, single: f32, count: impl Fn(&Block, f32) -> u32) -> u32 {
        let block = count(coarse, single);
        block * 16 + count(&self.blocks[(table.first + block) as usize], single)
    }

    /// Quantises one row.
    #[inline(always)]
    pub(crate) fn row<const DOUBLE: bool>(
        &self,
        value: impl Fn(u32) -> Value,
        count: impl Fn(&Block, f32) -> u32,
        out: &mut RowBytes,
    ) {
        let mut ranks = [[0u8; COLUMNS_MAX]; 2];
        let mut singles = Singles([0.0; COLUMNS_MAX]);
        let [left, right] = &mut ranks;
        self.ranks::<DOUBLE>(value, count, left, &mut singles);
        for ((right, &left), &single) in right.iter_mut().zip(&*left).zip(&singles.0) {
            *right = left | 0u8.wrapping_sub(u8::from(is_nan(single)));
        }
        let (ranks, bytes) = (ranks.as_flattened(), out.iter_mut().flat_map(|line| &mut line.0));
        bytes.zip(&self.picks).take(self.columns.len()).for_each(|(byte, &pick)| *byte = ranks[usize::from(pick)]);
    }
}

/// The values of a row, one for each table.
#[repr(C, align(64))]
pub(crate) struct Singles(pub(crate) [f32; COLUMNS_MAX]);

/// How many bounds are at most the value, or below it if `DOUBLE` is set.
#[inline(always)]
pub(crate) fn count<const DOUBLE: bool>(bounds: &Block, value: f32) -> u32 {
    bounds.0.iter().map(|&bound| u32::from(if DOUBLE { bound < value } else { bound <= value })).sum()
}

/// Thresholds in tables: as many as fit, and in float64 no two in one table that round to the same float32.
fn chunks(bounds: &[f64], single: bool) -> Option<Vec<Vec<f64>>> {
    let mut chunks: Vec<Vec<f64>> = Vec::new();
    for &bound in bounds {
        let clash = |last: f64| !single && (last as f32 == bound as f32 || bound.is_nan() && last.is_nan());
        let free = |chunk: &Vec<f64>| chunk.len() < TABLE_MAX && chunk.last().is_none_or(|&last| !clash(last));
        match chunks.iter().position(free) {
            Some(chunk) => chunks[chunk].push(bound),
            None if chunks.len() == COLUMNS_MAX => return None,
            None => chunks.push(vec![bound]),
        }
    }
    Some(chunks)
}

impl Index {
    /// The test of a numeric split.
    pub(crate) fn test(&self, feature: u32, threshold: f64, missing_left: bool, zero_missing: bool) -> Option<Test> {
        let places = self.places.get(&(feature, zero_missing))?;
        let bound = ordered(self.rule.bound(threshold));
        let (_, table, code) = places[places.binary_search_by_key(&bound, |place| place.0).ok()?];
        let column = *self.columns.get(&Column { table, missing_right: !missing_left })?;
        Some(Test { column, code })
    }
}
