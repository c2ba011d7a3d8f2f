//! Packed nodes of four bytes: a column, the byte it is compared with, and how far ahead the children stand.
//!
//! The walk is that of [`crate::walk`], several trees at once and without a branch that could be predicted wrongly; but a
//! node is a fourth of one with a float64 threshold, so that far more of a large forest stays in the caches. Needs
//! nothing of the processor.
//!
//! `unsafe` is in [`Ranked::walk`] alone; what makes it sound is checked once, in [`Ranked::checked`].

#![allow(unsafe_code)]

use std::collections::VecDeque;

use super::quant::{BLOCK_ROWS, COLUMNS_MAX, Index, Line, RowBytes};
use crate::forest::{Forest, Node, Real};

/// Trees walked at once.
const LANES: usize = 16;

/// The column that leaves look at. It is always 0, and they compare it with 1: they lead to themselves.
const LEAF_COLUMN: u8 = COLUMNS_MAX as u8 - 1;

/// A split or a leaf.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Packed {
    column: u8,
    /// A row goes right if its byte is at least this.
    code: u8,
    /// How far ahead the left child stands; the right one is its neighbour. 0 for a leaf.
    step: u16,
}

const LEAF: Packed = Packed { column: LEAF_COLUMN, code: 1, step: 0 };

/// Trees walked together.
#[derive(Clone, Copy, Debug)]
struct Group {
    roots: [u32; LANES],
    depth: u32,
}

/// A forest of packed nodes.
///
/// Invariants, checked by [`Ranked::checked`]:
/// 1. Every root is the index of a node.
/// 2. Every node's column is below [`COLUMNS_MAX`].
/// 3. A node with `step > 0` has a node `step` and a node `step + 1` further on.
/// 4. A node with `step == 0` is [`LEAF`].
/// 5. There are as many values as nodes.
#[derive(Clone, Debug)]
pub(crate) struct Ranked<T> {
    nodes: Vec<Packed>,
    /// The value of each node that is a leaf.
    values: Vec<T>,
    groups: Vec<Group>,
    outputs: Vec<u32>,
}

impl<T: Real> Ranked<T> {
    /// `None` if the forest uses all columns, its leaves are vectors, or a tree is too large.
    pub(crate) fn new(forest: &Forest<T>, index: &Index, columns: usize) -> Option<Self> {
        if columns > usize::from(LEAF_COLUMN) || forest.leaf_width()? > 1 {
            return None;
        }
        let outputs = forest.trees.iter().map(|tree| tree.output).collect();
        let mut ranked = Self { nodes: Vec::new(), values: Vec::new(), groups: Vec::new(), outputs };
        for trees in forest.trees.chunks(LANES) {
            let mut roots = [0; LANES];
            for (root, tree) in roots.iter_mut().zip(trees) {
                *root = ranked.pack(&tree.nodes, index)?;
            }
            // Lanes without a tree walk the first one again, and are not counted.
            let first = roots[0];
            roots[trees.len()..].fill(first);
            let depth = trees.iter().map(|tree| tree.depth).max().unwrap_or(0);
            ranked.groups.push(Group { roots, depth });
        }
        ranked.checked()
    }

    /// Appends a tree, breadth first, and says where its root stands.
    fn pack(&mut self, tree: &[Node<T>], index: &Index) -> Option<u32> {
        let root = self.nodes.len();
        let mut queue = VecDeque::from([(0usize, root)]);
        self.nodes.push(LEAF);
        self.values.push(T::default());
        while let Some((from, to)) = queue.pop_front() {
            match tree[from] {
                Node::Leaf { value, .. } => self.values[to] = value,
                Node::Numeric { feature, threshold, missing_left, zero_missing, left, right } => {
                    let test = index.test(feature, threshold.to_f64(), missing_left, zero_missing)?;
                    let child = self.nodes.len();
                    let step = u16::try_from(child - to).ok()?;
                    self.nodes[to] = Packed { column: test.column, code: test.code, step };
                    self.nodes.extend([LEAF; 2]);
                    self.values.extend([T::default(); 2]);
                    queue.extend([(left as usize, child), (right as usize, child + 1)]);
                }
                Node::Category { .. } => return None,
            }
        }
        u32::try_from(root).ok()
    }

    /// The forest, if every invariant holds.
    fn checked(self) -> Option<Self> {
        let count = self.nodes.len();
        let sound = |(at, node): (usize, &Packed)| {
            let leaf = (node.column, node.code) == (LEAF.column, LEAF.code);
            let step = usize::from(node.step);
            usize::from(node.column) < COLUMNS_MAX && if step == 0 { leaf } else { at + step + 1 < count }
        };
        let roots = self.groups.iter().flat_map(|group| &group.roots).all(|&root| (root as usize) < count);
        let sound = roots && self.values.len() == count && self.nodes.iter().enumerate().all(sound);
        sound.then_some(self)
    }

    /// The leaves where a row leaves the trees of a group.
    ///
    /// # Panics
    /// If the row's leaf column is not 0.
    #[inline(always)]
    fn walk(&self, group: &Group, row: &[u8; COLUMNS_MAX]) -> [T; LANES] {
        assert!(row[usize::from(LEAF_COLUMN)] == 0, "the row was not prepared");
        let mut at = group.roots.map(|root| root as usize);
        for _ in 0..group.depth {
            let mut moved = 0;
            for at in &mut at {
                debug_assert!(*at < self.nodes.len());
                // SAFETY: `at` is the index of a node: it begins at a root (invariant 1), and each step goes to a node, for: a
                // split leads `step` or `step + 1` further on (3); a leaf (4) leads to itself, because it compares a byte that
                // is 0 (asserted above) with 1, so that it adds 0 and 0.
                let node = unsafe { *self.nodes.get_unchecked(*at) };
                // SAFETY: the column is below `COLUMNS_MAX` (2).
                let byte = unsafe { *row.get_unchecked(usize::from(node.column)) };
                *at += usize::from(node.step) + usize::from(byte >= node.code);
                moved |= node.step;
            }
            if moved == 0 {
                break;
            }
        }
        // SAFETY: `at` is the index of a node, as above, and there are as many values (5).
        at.map(|at| unsafe { *self.values.get_unchecked(at) })
    }

    /// Adds the leaves of one row. Not compiled into its callers: with wide registers the compiler would turn the walk into
    /// gathers, which are slower.
    #[inline(never)]
    pub(crate) fn row(&self, bytes: &mut RowBytes, sums: &mut [T]) {
        let row = prepare(bytes);
        for (group, outputs) in self.groups.iter().zip(self.outputs.chunks(LANES)) {
            let leaves = self.walk(group, row);
            if let [sum] = sums {
                leaves.iter().take(outputs.len()).for_each(|&leaf| *sum += leaf);
            } else {
                leaves.iter().zip(outputs).for_each(|(&leaf, &output)| sums[output as usize] += leaf);
            }
        }
    }

    /// Adds the leaves of the rows in `lines`, two lines for each row, to `sums`: [`BLOCK_ROWS`] numbers for each output.
    #[inline(never)]
    pub(crate) fn block(&self, lines: &mut [Line], sums: &mut [T]) {
        let (rows, _) = lines.as_chunks_mut::<{ COLUMNS_MAX / 64 }>();
        for (group, outputs) in self.groups.iter().zip(self.outputs.chunks(LANES)) {
            for (number, row) in rows.iter_mut().enumerate() {
                let leaves = self.walk(group, prepare(row));
                for (&leaf, &output) in leaves.iter().zip(outputs) {
                    sums[output as usize * BLOCK_ROWS + number] += leaf;
                }
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.nodes.as_slice()) + size_of_val(self.values.as_slice())
    }
}

/// The row's bytes with the leaf column set.
#[inline(always)]
fn prepare(bytes: &mut RowBytes) -> &[u8; COLUMNS_MAX] {
    // SAFETY: a `Line` is 64 bytes without padding (`repr(C)`, aligned to its size), so a row is `COLUMNS_MAX` bytes.
    let row = unsafe { &mut *std::ptr::from_mut(bytes).cast::<[u8; COLUMNS_MAX]>() };
    row[usize::from(LEAF_COLUMN)] = 0;
    row
}
