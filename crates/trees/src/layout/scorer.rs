//! QuickScorer: which leaf a row leaves a tree by, without a walk.
//!
//! A test that sends a row right rules out the leaves below its left child. What is left over when all tests of the tree
//! have spoken begins with the exit (Lucchese and others, SIGIR 2015). Here the tests are answered 64 at a time by a
//! permute and a compare of bytes:
//!
//! - [`Transposed`], for trees of up to 32 leaves: test `k` of 64 trees at once.
//! - [`Lanes`], the same for registers of 32 bytes or less, whose answers are bytes: trees of up to 64 leaves, and the
//!   ruled-out leaves of 32 trees in planes of a byte each.
//! - [`Packed`], for trees of up to 128 leaves: the tests of one tree, and the ruled-out leaves gathered a byte at a time
//!   by permutes of the answers.
//! - [`Planes`], for blocks of 64 rows: a test's answer for 64 rows is a word, and adds one byte of ruled-out leaves to
//!   those rows at once.

use super::perfect::Tests;
use super::quant::{Line, Test};
use super::shape::{Leaves, Shape};
use crate::forest::Real;

/// Trees side by side in [`Transposed`].
pub(crate) const GROUP: usize = 64;

/// Leaves of a tree in [`Transposed`].
pub(crate) const TRANSPOSED_LEAVES: usize = 32;

/// Leaves of a tree in [`Packed`].
pub(crate) const PACKED_LEAVES: usize = 128;

/// The same test number of 64 trees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) tests: Tests,
    /// For each tree, the leaves the test rules out; leaf 0 is the highest bit.
    pub(crate) masks: [Masks; GROUP / 16],
}

/// The masks of 16 trees.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Masks(pub(crate) [u32; 16]);

/// Trees of up to 32 leaves, 64 side by side.
#[derive(Clone, Debug)]
pub(crate) struct Transposed {
    /// The slots of each group, and how many trees it holds.
    pub(crate) groups: Vec<(Vec<Slot>, usize)>,
}

impl Transposed {
    /// `None` if a tree has too many leaves.
    pub(crate) fn new<T: Real>(shapes: &[Shape<T>]) -> Option<Self> {
        if shapes.iter().any(|shape| shape.leaves() > TRANSPOSED_LEAVES) {
            return None;
        }
        let group = |shapes: &[Shape<T>]| {
            let slots = shapes.iter().map(|shape| shape.splits.len()).max().unwrap_or(0);
            ((0..slots).map(|slot| Slot::of(shapes, slot)).collect(), shapes.len())
        };
        Some(Self { groups: shapes.chunks(GROUP).map(group).collect() })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.groups.iter().map(|(slots, _)| size_of_val(slots.as_slice())).sum()
    }
}

impl Slot {
    fn of<T: Real>(shapes: &[Shape<T>], slot: usize) -> Self {
        let mut tests = [Test { column: 0, code: 255 }; GROUP];
        let mut masks = [Masks([0; 16]); GROUP / 16];
        for (tree, shape) in shapes.iter().enumerate() {
            if let Some(split) = shape.splits.get(slot) {
                tests[tree] = split.test;
                masks[tree / 16].0[tree % 16] =
                    (split.first..split.middle).map(|leaf| 1 << (TRANSPOSED_LEAVES as u16 - 1 - leaf)).sum();
            }
        }
        Self { tests: Tests::of(&tests), masks }
    }
}

/// Trees side by side in [`Lanes`].
pub(crate) const LANES: usize = 32;

/// Leaves of a tree in [`Lanes`].
pub(crate) const LANES_LEAVES: usize = 64;

/// A byte for each of 32 trees.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lane(pub(crate) [u8; LANES]);

/// Trees of up to 64 leaves, 32 side by side.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    /// Bytes that hold a bit for each leaf of a tree: 1, 2, 4 or 8.
    pub(crate) planes: usize,
    /// Where the slots of each group end, in `lines`, and how many trees it holds.
    groups: Vec<(u32, u8)>,
    /// For each slot the columns and the codes of its tests, and then, plane by plane, the leaves they rule out.
    lines: Vec<Lane>,
}

impl Lanes {
    /// `None` if a tree has too many leaves.
    pub(crate) fn new<T: Real>(shapes: &[Shape<T>]) -> Option<Self> {
        let most = shapes.iter().map(|shape| shape.leaves()).max()?;
        if most > LANES_LEAVES {
            return None;
        }
        let mut new = Self { planes: most.div_ceil(8).next_power_of_two(), groups: Vec::new(), lines: Vec::new() };
        for shapes in shapes.chunks(LANES) {
            let slots = shapes.iter().map(|shape| shape.splits.len()).max().unwrap_or(0);
            (0..slots).for_each(|slot| new.push(shapes, slot));
            new.groups.push((u32::try_from(new.lines.len()).ok()?, shapes.len() as u8));
        }
        Some(new)
    }

    /// Appends test `slot` of each tree.
    fn push<T: Real>(&mut self, shapes: &[Shape<T>], slot: usize) {
        let mut lines = [Lane([0; LANES]); 2 + LANES_LEAVES / 8];
        lines[1].0.fill(255);
        for (tree, shape) in shapes.iter().enumerate() {
            if let Some(split) = shape.splits.get(slot) {
                lines[0].0[tree] = split.test.column;
                lines[1].0[tree] = split.test.code;
                for leaf in usize::from(split.first)..usize::from(split.middle) {
                    lines[2 + leaf / 8].0[tree] |= 1 << (leaf % 8);
                }
            }
        }
        self.lines.extend_from_slice(&lines[..2 + self.planes]);
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }

    /// Adds the leaves of one row. `answers` says of 32 columns and codes where the row's byte is at least the code: 255,
    /// else 0.
    #[inline(always)]
    pub(crate) fn row<T: Real>(&self, answers: impl Fn(&Lane, &Lane) -> Lane, leaves: &Leaves<T>, sums: &mut [T]) {
        match self.planes {
            1 => self.row_of::<T, 1, 8>(answers, leaves, sums),
            2 => self.row_of::<T, 2, 16>(answers, leaves, sums),
            4 => self.row_of::<T, 4, 32>(answers, leaves, sums),
            _ => self.row_of::<T, 8, 64>(answers, leaves, sums),
        }
    }

    #[inline(always)]
    fn row_of<T: Real, const PLANES: usize, const STRIDE: usize>(
        &self,
        answers: impl Fn(&Lane, &Lane) -> Lane,
        leaves: &Leaves<T>,
        sums: &mut [T],
    ) {
        let mut from = 0;
        for (number, &(end, trees)) in self.groups.iter().enumerate() {
            let mut ruled_out = [Lane([0; LANES]); PLANES];
            for lines in self.lines[from..end as usize].chunks_exact(2 + PLANES) {
                let answers = answers(&lines[0], &lines[1]);
                for (ruled_out, mask) in ruled_out.iter_mut().zip(&lines[2..]) {
                    let bytes = ruled_out.0.iter_mut().zip(&answers.0).zip(&mask.0);
                    bytes.for_each(|((ruled_out, &answer), &mask)| *ruled_out |= answer & mask);
                }
            }
            from = end as usize;
            let exits = exits(&ruled_out);
            leaves.add::<STRIDE>(number * LANES, &exits[..usize::from(trees)], sums);
        }
    }
}

/// The first leaf of each tree that is not ruled out.
#[inline(always)]
fn exits(planes: &[Lane]) -> [u8; LANES] {
    let (mut exits, mut open) = ([0u8; LANES], [255u8; LANES]);
    for (plane, ruled_out) in (0u8..).zip(planes) {
        for ((exit, open), &ruled_out) in exits.iter_mut().zip(&mut open).zip(&ruled_out.0) {
            let found = if ruled_out == 255 { 0 } else { *open };
            *exit |= found & (plane * 8 + ruled_out.trailing_ones() as u8);
            *open &= !found;
        }
    }
    exits
}

/// Where a tree of [`Packed`] begins, and what it is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) first: u32,
    /// Blocks of 64 tests: 1 or 2.
    pub(crate) tests: u8,
    /// Lines of entries.
    pub(crate) entries: u8,
    /// Bytes that hold a bit for each leaf: 4, 8 or 16.
    pub(crate) planes: u8,
}

/// Trees of up to 128 leaves, one after another.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub(crate) heads: Vec<Head>,
    /// For each tree its tests, and then its entries: which test's answer, and which leaves of the byte it rules out.
    pub(crate) lines: Vec<Tests>,
}

impl Packed {
    /// `None` if a tree has too many leaves.
    pub(crate) fn new<T: Real>(shapes: &[Shape<T>]) -> Option<Self> {
        let mut packed = Self { heads: Vec::new(), lines: Vec::new() };
        for shape in shapes {
            let planes = match shape.leaves() {
                0..=32 => 4,
                33..=64 => 8,
                65..=PACKED_LEAVES => 16,
                _ => return None,
            };
            let first = u32::try_from(packed.lines.len()).ok()?;
            let tests: Vec<Test> = shape.splits.iter().map(|split| split.test).collect();
            packed.lines.extend(tests.chunks(64).map(Tests::of));
            if tests.is_empty() {
                packed.lines.push(Tests::of(&[]));
            }
            let tests = packed.lines.len() - first as usize;
            packed.lines.extend(entries(shape, planes));
            let entries = packed.lines.len() - first as usize - tests;
            packed.heads.push(Head {
                first,
                tests: tests as u8,
                entries: u8::try_from(entries).ok()?,
                planes: planes as u8,
            });
        }
        Some(packed)
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }
}

/// The entries of a tree: line by line, entry `k` of byte `p` at place `k · planes + p`.
fn entries<T: Real>(shape: &Shape<T>, planes: usize) -> Vec<Tests> {
    let per_line = 64 / planes;
    let by_plane: Vec<Vec<(u8, u8)>> = (0..planes).map(|plane| ruled_out(shape, plane).collect()).collect();
    let most = by_plane.iter().map(Vec::len).max().unwrap_or(0);
    let mut lines = vec![Tests { columns: Line([0; 64]), codes: Line([0; 64]) }; most.div_ceil(per_line)];
    for (plane, entries) in by_plane.iter().enumerate() {
        for (number, &(split, mask)) in entries.iter().enumerate() {
            let place = number % per_line * planes + plane;
            lines[number / per_line].columns.0[place] = split;
            lines[number / per_line].codes.0[place] = mask;
        }
    }
    lines
}

/// For one byte of leaves: the splits that rule some of them out, and which. Leaf 0 is the lowest bit of byte 0.
fn ruled_out<T: Real>(shape: &Shape<T>, plane: usize) -> impl Iterator<Item = (u8, u8)> {
    shape.splits.iter().enumerate().filter_map(move |(number, split)| {
        let (start, end) = (usize::from(split.first).max(plane * 8), usize::from(split.middle).min(plane * 8 + 8));
        let mask = (start..end).fold(0u8, |mask, leaf| mask | 1 << (leaf % 8));
        (mask != 0).then_some((number as u8, mask))
    })
}

/// Trees of up to 256 leaves, for blocks of rows.
#[derive(Clone, Debug)]
pub(crate) struct Planes {
    /// Where the tests and the planes of each tree end.
    pub(crate) trees: Vec<PlanesEnd>,
    pub(crate) tests: Vec<Test>,
    /// Where the entries of each plane end.
    pub(crate) planes: Vec<u32>,
    /// Which test, and which leaves of the plane it rules out.
    pub(crate) entries: Vec<(u8, u8)>,
}

/// Where a tree of [`Planes`] ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanesEnd {
    pub(crate) tests: u32,
    pub(crate) planes: u32,
}

impl Planes {
    pub(crate) fn new<T: Real>(shapes: &[Shape<T>]) -> Option<Self> {
        let mut new = Self { trees: Vec::new(), tests: Vec::new(), planes: Vec::new(), entries: Vec::new() };
        for shape in shapes {
            new.tests.extend(shape.splits.iter().map(|split| split.test));
            for plane in 0..shape.leaves().div_ceil(8) {
                new.entries.extend(ruled_out(shape, plane));
                new.planes.push(u32::try_from(new.entries.len()).ok()?);
            }
            let end = |len| u32::try_from(len).ok();
            new.trees.push(PlanesEnd { tests: end(new.tests.len())?, planes: end(new.planes.len())? });
        }
        Some(new)
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.tests.as_slice())
            + size_of_val(self.planes.as_slice())
            + size_of_val(self.entries.as_slice())
            + size_of_val(self.trees.as_slice())
    }
}
