//! The fast layout for ensembles of plain numeric splits: packed nodes, several trees walked at once.
//!
//! A walk down one tree waits for memory at every step. Here `LANES` trees are walked in lockstep, so that their
//! waits overlap, and no step has a branch that could be predicted wrongly (the loop itself is in [`crate::walk`]):
//!
//! - The children of a node stand side by side, `step` nodes further on; a step adds `step`, and one more to go right.
//! - A row is first copied into *slots*: one for each feature and treatment of missing values that occurs. A slot
//!   whose missing values go left holds −∞ for them, one whose missing values go right holds NaN, which no compare
//!   accepts. So the walk itself knows nothing of missing values.
//! - A leaf is a node with `step` 0 that reads slot 0, which always holds −∞: it leads to itself, and carries its
//!   value where a split has its threshold.
//!
//! Rows are taken in blocks, and all rows of a block go through a group of trees before the next group's nodes are
//! touched. The sums of each row are still added tree by tree in order, so a prediction never depends on its block.

use std::collections::VecDeque;

use crate::forest::{Compare, Forest, Node, Real, ZERO_THRESHOLD, is_nan};
use crate::walk::{LANES, Packed, Walker};

/// Rows taken through a group of trees together.
pub(crate) const BLOCK_ROWS: usize = 64;

/// Vectors of leaves, at most: as many as float32 can number.
const VECTORS_MAX: usize = 1 << 24;

/// How a slot shows missing values. The order of the kinds is the order of their slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Missing {
    Left,
    Right,
    ZeroLeft,
    ZeroRight,
}

/// An ensemble in the fast layout.
#[derive(Clone, Debug)]
pub(crate) struct Interleaved<T> {
    compare: Compare,
    tiny_is_zero: bool,
    walker: Walker<T>,
    /// Which output each tree adds to.
    outputs: Vec<u32>,
    /// The feature behind each slot but the first, by kind.
    sources: [Vec<u32>; 4],
    start: Vec<T>,
    /// The leaves' vectors; if there are some, the walker's leaves hold their numbers.
    vectors: Vec<T>,
}

impl<T: Real> Interleaved<T> {
    /// Builds the layout; `None` if the forest has something it can't hold.
    pub(crate) fn new(forest: &Forest<T>) -> Option<Self> {
        let width = forest.leaf_width()?;
        let mut slots: Vec<(Missing, u32)> = Vec::new();
        for node in forest.trees.iter().flat_map(|tree| &tree.nodes) {
            match *node {
                Node::Numeric { feature, threshold, missing_left, zero_missing, .. } => {
                    // Nothing is left of −∞, and NaN compares with nothing: missing values could not be sent left.
                    if is_nan(threshold) || (threshold == T::NEG_INFINITY && forest.compare == Compare::Less) {
                        return None;
                    }
                    slots.push((Missing::of(missing_left, zero_missing), feature));
                }
                Node::Leaf { value, .. } if width == 1 && (is_nan(value) || value == T::NEG_INFINITY) => return None,
                Node::Leaf { .. } => {}
                Node::Category { .. } => return None,
            }
        }
        slots.sort_unstable();
        slots.dedup();
        u16::try_from(slots.len()).ok()?;
        let mut sources: [Vec<u32>; 4] = Default::default();
        for &(missing, feature) in &slots {
            sources[missing as usize].push(feature);
        }
        let (mut nodes, mut groups, mut vectors) = (Vec::new(), Vec::new(), Vec::new());
        for trees in forest.trees.chunks(LANES) {
            let mut roots = [0; LANES];
            for (root, tree) in roots.iter_mut().zip(trees) {
                *root = pack(&tree.nodes, &slots, &mut nodes, (width > 1).then_some(vectors.len() / width))?;
                vectors.extend_from_slice(&tree.vectors);
            }
            // Lanes without a tree walk the first one again, and are not counted.
            let first = roots[0];
            roots[trees.len()..].fill(first);
            groups.push((roots, trees.iter().map(|tree| tree.depth).max().unwrap_or(0)));
        }
        Some(Self {
            compare: forest.compare,
            tiny_is_zero: forest.tiny_is_zero,
            walker: Walker::new(nodes, groups, slots.len() + 1)?,
            outputs: forest.trees.iter().map(|tree| tree.output).collect(),
            sources,
            start: forest.start.clone(),
            vectors: if vectors.len() / width <= VECTORS_MAX { vectors } else { return None },
        })
    }

    /// How many slots a row has.
    pub(crate) fn slots(&self) -> usize {
        self.walker.slots()
    }

    /// Bytes of the layout's nodes.
    pub(crate) fn bytes(&self) -> usize {
        self.walker.bytes()
    }

    /// Copies one row into its slots. `value` gives a feature's value in the model's number type.
    pub(crate) fn fill(&self, slots: &mut [T], value: impl Fn(u32) -> T) {
        let seen = |x: T| if self.tiny_is_zero && x.to_f64().abs() <= ZERO_THRESHOLD { T::default() } else { x };
        let Some((first, mut rest)) = slots.split_first_mut() else { return };
        *first = T::NEG_INFINITY;
        let zero_or_nan = |x: T| is_nan(x) || x.to_f64().abs() <= ZERO_THRESHOLD;
        for (kind, features) in self.sources.iter().enumerate() {
            let (these, others) = rest.split_at_mut(features.len());
            let pairs = these.iter_mut().zip(features);
            match kind {
                0 => pairs.for_each(|(slot, &f)| {
                    let x = seen(value(f));
                    *slot = if is_nan(x) { T::NEG_INFINITY } else { x }
                }),
                1 => pairs.for_each(|(slot, &f)| *slot = seen(value(f))),
                2 => pairs.for_each(|(slot, &f)| {
                    let x = value(f);
                    *slot = if zero_or_nan(x) { T::NEG_INFINITY } else { x }
                }),
                _ => pairs.for_each(|(slot, &f)| {
                    let x = value(f);
                    *slot = if zero_or_nan(x) { T::NAN } else { x }
                }),
            }
            rest = others;
        }
    }

    /// Computes the sums of the rows in `slots` (filled, one row after another) into `sums`.
    pub(crate) fn sum_block(&self, slots: &[T], sums: &mut [T]) {
        match self.compare {
            Compare::Less => self.sum_block_with::<true>(slots, sums),
            Compare::AtMost => self.sum_block_with::<false>(slots, sums),
        }
    }

    fn sum_block_with<const LESS: bool>(&self, slots: &[T], sums: &mut [T]) {
        let (width, outputs) = (self.slots(), self.start.len());
        for sums in sums.chunks_exact_mut(outputs) {
            sums.copy_from_slice(&self.start);
        }
        for (group, trees) in (0..self.walker.groups()).zip(self.outputs.chunks(LANES)) {
            for (row, sums) in slots.chunks_exact(width).zip(sums.chunks_exact_mut(outputs)) {
                let leaves = self.walker.leaves::<LESS>(group, row);
                if !self.vectors.is_empty() {
                    for leaf in leaves.iter().take(trees.len()) {
                        let vector = &self.vectors[leaf.to_f64() as usize * outputs..][..outputs];
                        sums.iter_mut().zip(vector).for_each(|(sum, &number)| *sum += number);
                    }
                } else if let [sum] = sums {
                    leaves.iter().take(trees.len()).for_each(|&leaf| *sum += leaf);
                } else {
                    leaves.iter().zip(trees).for_each(|(&leaf, &output)| sums[output as usize] += leaf);
                }
            }
        }
    }
}

/// Appends a tree, breadth first, and says where its root stands.
/// `first_vector` is the number of the tree's first vector, if its leaves are vectors.
fn pack<T: Real>(
    tree: &[Node<T>],
    slots: &[(Missing, u32)],
    nodes: &mut Vec<Packed<T>>,
    first_vector: Option<usize>,
) -> Option<u32> {
    let root = nodes.len();
    let blank = Packed { threshold: T::default(), slot: 0, step: 0 };
    nodes.push(blank);
    let mut queue = VecDeque::from([(0usize, root)]);
    while let Some((from, to)) = queue.pop_front() {
        nodes[to] = match tree[from] {
            Node::Leaf { value, index } => {
                let number = |first: usize| T::from_f64((first + index as usize) as f64);
                Packed { threshold: first_vector.map_or(value, number), slot: 0, step: 0 }
            }
            Node::Numeric { feature, threshold, missing_left, zero_missing, left, right } => {
                let child = nodes.len();
                let step = u16::try_from(child - to).ok()?;
                let slot = slots.binary_search(&(Missing::of(missing_left, zero_missing), feature)).ok()?;
                nodes.extend([blank, blank]);
                queue.extend([(left as usize, child), (right as usize, child + 1)]);
                Packed { threshold, slot: u16::try_from(slot + 1).ok()?, step }
            }
            Node::Category { .. } => return None,
        };
    }
    u32::try_from(root).ok()
}

impl Missing {
    fn of(left: bool, zero: bool) -> Self {
        match (zero, left) {
            (false, true) => Self::Left,
            (false, false) => Self::Right,
            (true, true) => Self::ZeroLeft,
            (true, false) => Self::ZeroRight,
        }
    }
}
