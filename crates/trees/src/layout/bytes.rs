//! Forests whose splits are tests of bytes: the quantiser, and a way to evaluate one row and one for blocks of rows.

use std::sync::Arc;

use super::input::Input;
use super::instructions::Level;
use super::perfect::{Perfect, SLICED_DEPTH_MAX};
use super::quant::{Block, COLUMNS_MAX, Index, Line, Quantiser, RowBytes, count};
use super::ranked::Ranked;
use super::scorer::{Lanes, PACKED_LEAVES, Packed, Planes, TRANSPOSED_LEAVES, Transposed};
use super::shape::{Leaves, Shape, shapes};
use super::table::Table;
use crate::forest::{Forest, Real};
use crate::model::Layout;

/// Bytes up to which a table is the best there is, whatever the instructions.
const SMALL_TABLE_MAX: usize = 128 << 10;

/// How one row is evaluated.
#[derive(Clone, Debug)]
pub(crate) enum Single<T> {
    Perfect(Arc<Perfect>),
    Transposed(Transposed),
    Lanes(Lanes),
    Packed(Packed),
    Table(Table),
    Ranked(Ranked<T>),
}

/// How a block of rows is evaluated.
#[derive(Clone, Debug)]
pub(crate) enum Batch {
    Sliced(Arc<Perfect>),
    Planes(Planes),
}

/// A forest as tests of bytes.
#[derive(Clone, Debug)]
pub(crate) struct Bytes<T> {
    pub(crate) quantiser: Quantiser,
    pub(crate) single: Single<T>,
    /// Which of `leaves` go with `single`.
    pub(crate) single_leaves: usize,
    /// For blocks of rows, with which of `leaves` go with it.
    pub(crate) batch: Option<(Batch, usize)>,
    pub(crate) leaves: Vec<Leaves<T>>,
    level: Level,
}

impl<T: Real> Bytes<T> {
    /// The forest in the wanted layout; `None` if it can't be held so, or `wanted` is automatic and another is better.
    pub(crate) fn new(forest: &Forest<T>, wanted: Layout, level: Level) -> Option<Self> {
        forest.leaf_width()?;
        let (quantiser, index) = Quantiser::new(forest)?;
        let outputs: Vec<u32> = forest.trees.iter().map(|tree| tree.output).collect();
        let shapes = shapes(forest, &index);
        let found = shapes.as_ref().and_then(|shapes| single(shapes, &outputs, &quantiser, wanted, level));
        // Nodes of float64 are four times as large as ranked ones, those of float32 only twice: less than ranking costs.
        let pays = wanted == Layout::Ranked || wanted == Layout::Auto && quantiser.is_double();
        let ranked = || pays.then(|| ranked(forest, &index, &quantiser));
        let (single, leaves) = found.or_else(|| ranked().flatten())?;
        let mut leaves = vec![leaves];
        let batch = shapes
            .filter(|_| level.is_avx512() && wanted != Layout::Ranked)
            .and_then(|shapes| batch(&shapes, &outputs, &single, &mut leaves));
        Some(Self { quantiser, single, single_leaves: 0, batch, leaves, level })
    }

    /// Adds the leaves of one row to `sums`.
    #[inline]
    pub(crate) fn row(&self, input: impl Input<T>, row: usize, sums: &mut [T]) {
        match self.level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(avx512) => avx512.row(self, input, row, sums),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(avx2) => avx2.row(self, input, row, sums),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Level::Neon => super::neon::row(self, input, row, sums),
            Level::Portable => self.row_portable(input, row, sums),
        }
    }

    /// Adds the leaves of up to 64 rows (`first` and how many) to `sums`, which holds 64 numbers for
    /// each output. `false`, and nothing done, if there is no way for blocks.
    #[inline]
    pub(crate) fn block(
        &self,
        input: impl Input<T>,
        rows: (usize, usize),
        columns: &mut [Line; COLUMNS_MAX],
        sums: &mut [T],
    ) -> bool {
        match (self.level, &self.batch) {
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512(avx512), Some(batch)) => {
                avx512.block(self, batch, input, rows, columns, sums);
                true
            }
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2(avx2), _) => avx2.run(|| self.block_portable(input, rows, columns, sums)),
            _ => self.block_portable(input, rows, columns, sums),
        }
    }

    /// [`Bytes::block`] by the portable code: for packed nodes, whose walk gains from staying with a few trees.
    #[inline(always)]
    pub(crate) fn block_portable(
        &self,
        input: impl Input<T>,
        (first, rows): (usize, usize),
        lines: &mut [Line; COLUMNS_MAX],
        sums: &mut [T],
    ) -> bool {
        let Single::Ranked(ranked) = &self.single else { return false };
        let (bytes, _) = lines.as_chunks_mut();
        for (bytes, row) in bytes.iter_mut().zip(first..first + rows) {
            self.quantise(input, row, (count::<true>, count::<false>), bytes);
        }
        ranked.block(&mut bytes.as_flattened_mut()[..rows * 2], sums);
        true
    }

    /// Quantises one row; see [`Quantiser::ranks`] for what counts, the first for float64.
    #[inline(always)]
    pub(crate) fn quantise(
        &self,
        input: impl Input<T>,
        row: usize,
        (double, single): (impl Fn(&Block, f32) -> u32, impl Fn(&Block, f32) -> u32),
        bytes: &mut RowBytes,
    ) {
        if self.quantiser.is_double() {
            self.quantiser.row::<true>(|feature| input.value(row, feature), double, bytes);
        } else {
            self.quantiser.row::<false>(|feature| input.value(row, feature), single, bytes);
        }
    }

    #[inline(always)]
    fn row_portable(&self, input: impl Input<T>, row: usize, sums: &mut [T]) {
        let mut bytes: RowBytes = [Line([0; 64]); 2];
        self.quantise(input, row, (count::<true>, count::<false>), &mut bytes);
        self.sum_portable(&mut bytes, sums);
    }

    /// Adds the leaves of a quantised row, in the layouts that need no instructions.
    #[inline(always)]
    pub(crate) fn sum_portable(&self, bytes: &mut RowBytes, sums: &mut [T]) {
        match &self.single {
            Single::Table(table) => table.row(bytes, &self.leaves[self.single_leaves], sums),
            Single::Ranked(ranked) => ranked.row(bytes, sums),
            // Chosen only with instructions that have kernels for them.
            Single::Perfect(_) | Single::Transposed(_) | Single::Lanes(_) | Single::Packed(_) => {}
        }
    }

    /// What the layouts are called.
    pub(crate) fn name(&self) -> &'static str {
        match self.single {
            Single::Perfect(_) => "perfect",
            Single::Transposed(_) | Single::Lanes(_) | Single::Packed(_) => "scorer",
            Single::Table(_) => "table",
            Single::Ranked(_) => "ranked",
        }
    }

    /// Bytes of the layouts, leaves and thresholds included.
    pub(crate) fn bytes(&self) -> usize {
        let single = match &self.single {
            Single::Perfect(perfect) => perfect.bytes(),
            Single::Transposed(transposed) => transposed.bytes(),
            Single::Lanes(lanes) => lanes.bytes(),
            Single::Packed(packed) => packed.bytes(),
            Single::Table(table) => table.bytes(),
            Single::Ranked(ranked) => ranked.bytes(),
        };
        let batch = match &self.batch {
            Some((Batch::Planes(planes), _)) => planes.bytes(),
            Some((Batch::Sliced(perfect), _)) if !matches!(self.single, Single::Perfect(_)) => perfect.bytes(),
            _ => 0,
        };
        let leaves = self.leaves.iter().map(|leaves| size_of_val(leaves.values.as_slice())).sum::<usize>();
        single + batch + leaves + self.quantiser.bytes()
    }
}

/// Packed nodes, which hold their leaves themselves.
fn ranked<T: Real>(forest: &Forest<T>, index: &Index, quantiser: &Quantiser) -> Option<(Single<T>, Leaves<T>)> {
    let ranked = Ranked::new(forest, index, quantiser.columns.len())?;
    Some((Single::Ranked(ranked), Leaves::new(1, 1, std::iter::empty(), &[])))
}

/// The way for one row.
fn single<T: Real>(
    shapes: &[Shape<T>],
    outputs: &[u32],
    quantiser: &Quantiser,
    wanted: Layout,
    level: Level,
) -> Option<(Single<T>, Leaves<T>)> {
    let most = shapes.iter().map(|shape| shape.leaves()).max()?;
    let depth = shapes.iter().map(|shape| shape.depth).max()?;
    let in_order = |stride| Leaves::in_order(stride, shapes, outputs);
    let table = |bytes_max| {
        let table = Table::new(shapes, quantiser, bytes_max)?;
        let leaves = in_order(table.bits);
        Some((Single::Table(table), leaves))
    };
    let perfect = || {
        let (perfect, leaves) = Perfect::new(shapes, outputs)?;
        Some((Single::Perfect(Arc::new(perfect)), leaves))
    };
    let scorer = || match () {
        _ if !level.is_avx512() => {
            let lanes = Lanes::new(shapes)?;
            let stride = lanes.planes * 8;
            Some((Single::Lanes(lanes), in_order(stride)))
        }
        _ if most <= TRANSPOSED_LEAVES => Some((Single::Transposed(Transposed::new(shapes)?), in_order(32))),
        _ if most <= PACKED_LEAVES => Some((Single::Packed(Packed::new(shapes)?), in_order(most.next_power_of_two()))),
        _ => None,
    };
    match wanted {
        Layout::Table => table(usize::MAX),
        Layout::Perfect if level.is_avx512() => perfect(),
        Layout::Scorer if level.has_scorer() => scorer(),
        Layout::Auto => {
            let narrow = most <= TRANSPOSED_LEAVES;
            let large = !narrow && level.has_wide_words();
            let small = table(if large { super::table::BYTES_MAX } else { SMALL_TABLE_MAX });
            match () {
                _ if small.is_some() => small,
                _ if level.is_avx512() && !narrow && depth <= super::perfect::DEPTH_MAX => perfect(),
                _ if level.is_avx512() || narrow && level.has_scorer() => scorer(),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The way for blocks of rows.
fn batch<T: Real>(
    shapes: &[Shape<T>],
    outputs: &[u32],
    single: &Single<T>,
    leaves: &mut Vec<Leaves<T>>,
) -> Option<(Batch, usize)> {
    let depth = shapes.iter().map(|shape| shape.depth).max()?;
    let most = shapes.iter().map(|shape| shape.leaves()).max()?;
    if depth <= SLICED_DEPTH_MAX && most > TRANSPOSED_LEAVES {
        if let Single::Perfect(perfect) = single {
            return Some((Batch::Sliced(perfect.clone()), 0));
        }
        let (perfect, places) = Perfect::new(shapes, outputs)?;
        leaves.push(places);
        return Some((Batch::Sliced(Arc::new(perfect)), leaves.len() - 1));
    }
    let planes = Planes::new(shapes)?;
    let in_order = !matches!(single, Single::Perfect(_) | Single::Ranked(_));
    if !in_order {
        let stride = most.next_power_of_two().max(32);
        leaves.push(Leaves::in_order(stride, shapes, outputs));
    }
    Some((Batch::Planes(planes), leaves.len() - 1))
}
