//! The fast layout for ensembles of plain numeric splits: packed nodes, several trees walked at once.
//!
//! A walk down one tree waits for memory at every step. Here [`LANES`] trees are walked in lockstep, so that their
//! waits overlap, and no step has a branch that could be predicted wrongly:
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

use crate::forest::{Compare, Forest, Node, Real, ZERO_THRESHOLD, is_nan};

/// Trees walked at once.
const LANES: usize = 8;
/// Rows taken through a group of trees together.
pub(crate) const BLOCK_ROWS: usize = 64;

/// A split or a leaf.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Packed<T> {
    /// The threshold of a split, the value of a leaf.
    threshold: T,
    /// Which slot of the row is compared.
    slot: u16,
    /// How far ahead the left child stands; the right one is its neighbour. 0 for a leaf.
    step: u16,
}

/// How a slot shows missing values. The order of the kinds is the order of their slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Missing {
    Left,
    Right,
    ZeroLeft,
    ZeroRight,
}

/// A group of trees that are walked together.
#[derive(Clone, Debug)]
struct Group {
    roots: [u32; LANES],
    outputs: [u32; LANES],
    /// How many of the lanes hold a tree; the others walk one that is not counted.
    trees: usize,
    depth: u32,
}

/// An ensemble in the fast layout.
///
/// Invariant, made by [`Interleaved::new`] and relied on by [`walk`]: for every node, `slot < slots()`, and either
/// `step` is 0, `slot` is 0 and the node's value is above −∞, or `step + 1` further on there still is a node. Every root is a node.
#[derive(Clone, Debug)]
pub(crate) struct Interleaved<T> {
    compare: Compare,
    tiny_is_zero: bool,
    nodes: Vec<Packed<T>>,
    groups: Vec<Group>,
    /// The feature behind each slot but the first, by kind.
    sources: [Vec<u32>; 4],
    start: Vec<T>,
}

impl<T: Real> Interleaved<T> {
    /// Builds the layout; `None` if the forest has something it can't hold.
    pub(crate) fn new(forest: &Forest<T>) -> Option<Self> {
        if !forest.trees.iter().all(|tree| tree.is_simple()) {
            return None;
        }
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
                Node::Leaf { value, .. } if is_nan(value) || value == T::NEG_INFINITY => return None,
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
        let mut layout = Self {
            compare: forest.compare,
            tiny_is_zero: forest.tiny_is_zero,
            nodes: Vec::new(),
            groups: Vec::new(),
            sources,
            start: forest.start.clone(),
        };
        for trees in forest.trees.chunks(LANES) {
            let mut group = Group { roots: [0; LANES], outputs: [0; LANES], trees: trees.len(), depth: 0 };
            for (lane, tree) in trees.iter().enumerate() {
                group.roots[lane] = layout.add_tree(&tree.nodes, &slots)?;
                group.outputs[lane] = tree.output;
                group.depth = group.depth.max(tree.depth);
            }
            for lane in trees.len()..LANES {
                group.roots[lane] = group.roots[0];
            }
            layout.groups.push(group);
        }
        Some(layout)
    }

    /// Appends a tree, breadth first, and says where its root stands.
    fn add_tree(&mut self, nodes: &[Node<T>], slots: &[(Missing, u32)]) -> Option<u32> {
        let root = u32::try_from(self.nodes.len()).ok()?;
        let blank = Packed { threshold: T::default(), slot: 0, step: 0 };
        self.nodes.push(blank);
        let mut queue = std::collections::VecDeque::from([(0usize, root as usize)]);
        while let Some((from, to)) = queue.pop_front() {
            self.nodes[to] = match nodes[from] {
                Node::Leaf { value, .. } => Packed { threshold: value, slot: 0, step: 0 },
                Node::Numeric { feature, threshold, missing_left, zero_missing, left, right } => {
                    let child = self.nodes.len();
                    let step = u16::try_from(child - to).ok()?;
                    let slot = slots.binary_search(&(Missing::of(missing_left, zero_missing), feature)).ok()?;
                    self.nodes.extend([blank, blank]);
                    queue.extend([(left as usize, child), (right as usize, child + 1)]);
                    Packed { threshold, slot: u16::try_from(slot + 1).ok()?, step }
                }
                Node::Category { .. } => return None,
            };
        }
        Some(root)
    }

    /// How many slots a row has.
    pub(crate) fn slots(&self) -> usize {
        1 + self.sources.iter().map(Vec::len).sum::<usize>()
    }

    /// Bytes of the layout's nodes.
    pub(crate) fn bytes(&self) -> usize {
        self.nodes.len() * size_of::<Packed<T>>()
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
        for group in &self.groups {
            for (row, sums) in slots.chunks_exact(width).zip(sums.chunks_exact_mut(outputs)) {
                let leaves = walk::<T, LESS>(&self.nodes, &group.roots, group.depth, row);
                if let [sum] = sums {
                    leaves.iter().take(group.trees).for_each(|&leaf| *sum += leaf);
                } else {
                    let leaves = leaves.iter().zip(&group.outputs).take(group.trees);
                    leaves.for_each(|(&leaf, &output)| sums[output as usize] += leaf);
                }
            }
        }
    }
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

#[inline(always)]
fn walk<T: Real, const LESS: bool>(nodes: &[Packed<T>], roots: &[u32; LANES], depth: u32, row: &[T]) -> [T; LANES] {
    let mut at = roots.map(|root| root as usize);
    for _ in 0..depth {
        for at in &mut at {
            let node = nodes[*at];
            let x = row[node.slot as usize];
            let left = if LESS { x < node.threshold } else { x <= node.threshold };
            *at += usize::from(node.step) + usize::from(!left);
        }
    }
    at.map(|at| nodes[at].threshold)
}
