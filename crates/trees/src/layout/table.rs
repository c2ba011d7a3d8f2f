//! Tables of ruled-out leaves: for each column and each rank it can have, the leaves of all trees that its tests rule out.
//!
//! What the tests of one column rule out depends on its rank alone, so it can be known beforehand. A row then takes one
//! line of the table for each column, and joins them: no test is made at all. This is QuickScorer with its inner loop run
//! at load; it is the fastest layout wherever the table is small enough to stay in the cache, and needs nothing of the
//! processor but wide registers.

use super::quant::{Quantiser, RowBytes};
use super::shape::{Leaves, Shape};
use crate::forest::Real;

/// Bytes a table may have with AVX2: what the second cache of today's processors holds.
pub(crate) const BYTES_MAX: usize = 1 << 20;

/// Words that are joined at a time.
const BLOCK: usize = 16;

/// Words of a block of joined lines.
type Block = [u64; BLOCK];

/// The tables of a forest.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// 32 or 64: bits of a tree, a bit for each leaf, leaf 0 the lowest.
    pub(crate) bits: usize,
    trees: usize,
    /// Blocks of a line.
    blocks: usize,
    /// Where each column's lines begin, in lines, and its greatest rank.
    columns: Vec<(u32, u8)>,
    lines: Vec<Block>,
}

impl Table {
    /// `None` if a tree has more than 64 leaves, or the table would be larger than `bytes_max`.
    pub(crate) fn new<T: Real>(shapes: &[Shape<T>], quantiser: &Quantiser, bytes_max: usize) -> Option<Self> {
        let bits = match shapes.iter().map(|shape| shape.leaves()).max()? {
            0..=32 => 32,
            33..=64 => 64,
            _ => return None,
        };
        let per_word = 64 / bits;
        let blocks = shapes.len().div_ceil(per_word * BLOCK);
        let ranks = |column| quantiser.ranks_of(column);
        let lines: usize = (0..quantiser.columns.len()).map(ranks).sum();
        if lines.checked_mul(blocks)?.checked_mul(size_of::<Block>())? > bytes_max {
            return None;
        }
        let mut table = Self { bits, trees: shapes.len(), blocks, columns: Vec::new(), lines: Vec::new() };
        let mut first = 0u32;
        for column in 0..quantiser.columns.len() {
            table.columns.push((first, (ranks(column) - 1) as u8));
            first += ranks(column) as u32;
        }
        table.lines.resize(lines * blocks, [0; BLOCK]);
        for (tree, shape) in shapes.iter().enumerate() {
            let (word, shift) = (tree / per_word, tree % per_word * bits);
            for split in &shape.splits {
                let ruled_out = (split.first..split.middle).fold(0u64, |mask, leaf| mask | 1 << leaf) << shift;
                let (first, greatest) = table.columns[usize::from(split.test.column)];
                for rank in split.test.code..=greatest {
                    let line = (first as usize + usize::from(rank)) * blocks;
                    table.lines[line + word / BLOCK][word % BLOCK] |= ruled_out;
                }
            }
        }
        Some(table)
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }

    /// Adds the leaves of one row.
    #[inline(always)]
    pub(crate) fn row<T: Real>(&self, bytes: &RowBytes, leaves: &Leaves<T>, sums: &mut [T]) {
        let mut lines = [0usize; super::quant::COLUMNS_MAX];
        let ranks = bytes.iter().flat_map(|line| &line.0);
        for ((line, &rank), &(first, greatest)) in lines.iter_mut().zip(ranks).zip(&self.columns) {
            *line = (first as usize + usize::from(rank.min(greatest))) * self.blocks;
        }
        let lines = &lines[..self.columns.len()];
        for block in 0..self.blocks {
            let mut joined = [0u64; BLOCK];
            for &line in lines {
                let other = &self.lines[line + block];
                joined.iter_mut().zip(other).for_each(|(joined, other)| *joined |= other);
            }
            if self.bits == 32 {
                self.exits::<T, 32>(block, &joined, leaves, sums);
            } else {
                self.exits::<T, 64>(block, &joined, leaves, sums);
            }
        }
    }

    /// Adds the leaves of a block of trees: the first of each that is not ruled out.
    #[inline(always)]
    fn exits<T: Real, const BITS: usize>(&self, block: usize, joined: &Block, leaves: &Leaves<T>, sums: &mut [T]) {
        let per_block = BLOCK * 64 / BITS;
        let mut exits = [0u8; BLOCK * 2];
        if BITS == 32 {
            for (exits, &word) in exits.chunks_exact_mut(2).zip(joined) {
                exits[0] = (word as u32).trailing_ones() as u8;
                exits[1] = ((word >> 32) as u32).trailing_ones() as u8;
            }
        } else {
            exits.iter_mut().zip(joined).for_each(|(exit, &word)| *exit = word.trailing_ones() as u8);
        }
        let first = block * per_block;
        let trees = per_block.min(self.trees - first);
        leaves.add::<BITS>(first, &exits[..trees], sums);
    }
}
