//! Trees as the byte layouts want them: splits as tests of bytes, leaves in their order from left to right.

use super::quant::{Index, Test};
use crate::forest::{Forest, Node, Real, Tree};

/// Leaves of a tree, at most: an exit is a byte.
pub(crate) const LEAVES_MAX: usize = 256;

/// Splits on the longest way down, at most; bounds the recursion below.
const DEPTH_MAX: u32 = 255;

/// What a split leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    Split(u16),
    Leaf(u16),
}

/// A split. Its left subtree holds the leaves from `first` to before `middle`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    pub(crate) test: Test,
    pub(crate) left: Child,
    pub(crate) right: Child,
    pub(crate) first: u16,
    pub(crate) middle: u16,
}

/// A tree with up to [`LEAVES_MAX`] leaves.
#[derive(Clone, Debug)]
pub(crate) struct Shape<T> {
    pub(crate) root: Child,
    /// Each before those below it.
    pub(crate) splits: Vec<Split>,
    /// The leaves from left to right, `width` numbers each.
    pub(crate) leaves: Vec<T>,
    width: usize,
    pub(crate) depth: u32,
}

impl<T: Real> Shape<T> {
    /// The shape of a simple tree; `None` if it is too large.
    fn of(tree: &Tree<T>, index: &Index, width: usize) -> Option<Self> {
        if tree.depth > DEPTH_MAX {
            return None;
        }
        let mut shape = Self { root: Child::Leaf(0), splits: Vec::new(), leaves: Vec::new(), width, depth: tree.depth };
        shape.root = shape.visit(tree, index, 0)?;
        Some(shape)
    }

    fn visit(&mut self, tree: &Tree<T>, index: &Index, node: u32) -> Option<Child> {
        match *tree.nodes.get(node as usize)? {
            Node::Leaf { value, index } => {
                let number = self.leaves();
                match self.width {
                    1 => self.leaves.push(value),
                    width => self.leaves.extend_from_slice(&tree.vectors[index as usize * width..][..width]),
                }
                (number < LEAVES_MAX).then_some(Child::Leaf(number as u16))
            }
            Node::Numeric { feature, threshold, missing_left, zero_missing, left, right } => {
                let test = index.test(feature, threshold.to_f64(), missing_left, zero_missing)?;
                let (at, first) = (self.splits.len(), self.leaves() as u16);
                self.splits.push(Split { test, left: Child::Leaf(0), right: Child::Leaf(0), first, middle: 0 });
                let left = self.visit(tree, index, left)?;
                let middle = self.leaves() as u16;
                let right = self.visit(tree, index, right)?;
                self.splits[at] = Split { test, left, right, first, middle };
                Some(Child::Split(at as u16))
            }
            Node::Category { .. } => None,
        }
    }

    /// How many leaves there are.
    pub(crate) fn leaves(&self) -> usize {
        self.leaves.len() / self.width
    }

    /// The numbers of a leaf.
    pub(crate) fn leaf(&self, leaf: u16) -> &[T] {
        &self.leaves[usize::from(leaf) * self.width..][..self.width]
    }

    /// The leaf at each place of a perfect tree of `depth` levels, and the test at each inner place (counted from 1, the
    /// children of `p` are `2p` and `2p + 1`). Below a leaf all places are that leaf, whatever is tested.
    pub(crate) fn perfect(&self, depth: u32) -> (Vec<u16>, Vec<Test>) {
        let inner = 1usize << depth;
        let mut tests = vec![Test { column: 0, code: 255 }; inner];
        let mut leaves = vec![0; inner];
        let mut stack = vec![(self.root, 1usize, 0u32)];
        while let Some((child, place, level)) = stack.pop() {
            match child {
                Child::Leaf(leaf) => {
                    let below = depth - level;
                    leaves[(place << below) - inner..((place + 1) << below) - inner].fill(leaf);
                }
                Child::Split(split) => {
                    let split = &self.splits[usize::from(split)];
                    tests[place] = split.test;
                    stack.push((split.left, 2 * place, level + 1));
                    stack.push((split.right, 2 * place + 1, level + 1));
                }
            }
        }
        (leaves, tests)
    }
}

/// The shapes of all trees; `None` if one has none.
pub(crate) fn shapes<T: Real>(forest: &Forest<T>, index: &Index) -> Option<Vec<Shape<T>>> {
    let width = forest.leaf_width()?;
    forest.trees.iter().map(|tree| Shape::of(tree, index, width)).collect()
}

/// The leaves of all trees, each tree's at a place of its own.
#[derive(Clone, Debug)]
pub(crate) struct Leaves<T> {
    /// Leaves of a tree: a power of two.
    pub(crate) stride: usize,
    /// Numbers of a leaf: one, or one for each output.
    pub(crate) width: usize,
    pub(crate) values: Vec<T>,
    /// Which output each tree adds to, if a leaf is one number.
    pub(crate) outputs: Vec<u32>,
}

impl<T: Real> Leaves<T> {
    /// Takes the leaves of each tree, at most `stride` of them.
    pub(crate) fn new(stride: usize, width: usize, trees: impl Iterator<Item = Vec<T>>, outputs: &[u32]) -> Self {
        let mut values = Vec::with_capacity(outputs.len() * stride * width);
        for mut tree in trees {
            tree.resize(stride * width, T::default());
            values.append(&mut tree);
        }
        Self { stride, width, values, outputs: outputs.to_vec() }
    }

    /// The leaves of trees in their order.
    pub(crate) fn in_order(stride: usize, shapes: &[Shape<T>], outputs: &[u32]) -> Self {
        let width = shapes.first().map_or(1, |shape| shape.width);
        Self::new(stride, width, shapes.iter().map(|shape| shape.leaves.clone()), outputs)
    }

    /// The leaves at the places of perfect trees.
    pub(crate) fn at_places(places: &[Vec<u16>], shapes: &[Shape<T>], outputs: &[u32]) -> Self {
        let width = shapes.first().map_or(1, |shape| shape.width);
        let stride = places.first().map_or(1, Vec::len);
        let trees = places.iter().zip(shapes);
        let leaves = trees.map(|(places, shape)| places.iter().flat_map(|&leaf| shape.leaf(leaf)).copied().collect());
        Self::new(stride, width, leaves, outputs)
    }

    /// Adds the leaves at which a row leaves the trees from `first` on, in their order. `STRIDE` is the stride.
    #[inline(always)]
    pub(crate) fn add<const STRIDE: usize>(&self, first: usize, exits: &[u8], sums: &mut [T]) {
        debug_assert_eq!(self.stride, STRIDE);
        if self.width > 1 {
            return self.add_vectors(first, exits, sums);
        }
        let (trees, _) = self.values[first * STRIDE..].as_chunks::<STRIDE>();
        let leaves = trees.iter().zip(exits).map(|(values, &exit)| values[usize::from(exit) & (STRIDE - 1)]);
        if let [sum] = sums {
            let mut total = *sum;
            leaves.for_each(|leaf| total += leaf);
            *sum = total;
        } else {
            leaves.zip(&self.outputs[first..]).for_each(|(leaf, &output)| sums[output as usize] += leaf);
        }
    }

    /// The same where leaves are vectors.
    fn add_vectors(&self, first: usize, exits: &[u8], sums: &mut [T]) {
        for (tree, &exit) in (first..).zip(exits) {
            sums.iter_mut().zip(self.vector(tree, exit)).for_each(|(sum, &number)| *sum += number);
        }
    }

    /// The numbers of a leaf.
    #[inline]
    pub(crate) fn vector(&self, tree: usize, exit: u8) -> &[T] {
        let leaf = tree * self.stride + (usize::from(exit) & (self.stride - 1));
        &self.values[leaf * self.width..][..self.width]
    }
}
