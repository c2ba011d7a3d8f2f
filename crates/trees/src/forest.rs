//! The plain form of an ensemble: what every loader builds, and what the plain evaluator walks.
//!
//! The plain evaluator is the reference: each fast layout must give its bits. A forest is checked once, when it is
//! built ([`Forest::check`]); after that every index in it is in range and every walk ends.

use crate::error::{LoadError, Place};

/// The number type of thresholds, leaves and sums: float32 for XGBoost, float64 for LightGBM.
pub(crate) trait Real:
    Copy + Default + PartialOrd + std::fmt::Debug + std::ops::AddAssign + Send + Sync + 'static
{
    const INFINITY: Self;
    const NEG_INFINITY: Self;
    const NAN: Self;
    fn from_f64(v: f64) -> Self;
    fn to_f64(self) -> f64;
    fn mul_add_plain(self, factor: Self, addend: Self) -> Self;
    /// The greatest number below this one.
    fn next_down(self) -> Self;
    /// The numbers as float32, if they are of that type.
    fn as_singles(numbers: &[Self]) -> Option<&[f32]>;
    /// The same, to be changed.
    fn as_singles_mut(numbers: &mut [Self]) -> Option<&mut [f32]>;
}

macro_rules! real {
    ($type:ident, $singles:expr, $singles_mut:expr) => {
        impl Real for $type {
            const INFINITY: Self = $type::INFINITY;
            const NEG_INFINITY: Self = $type::NEG_INFINITY;
            const NAN: Self = $type::NAN;
            #[inline]
            fn from_f64(v: f64) -> Self {
                v as $type
            }
            #[inline]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline]
            fn mul_add_plain(self, factor: Self, addend: Self) -> Self {
                // Two roundings, as the frameworks' builds do it; not a fused multiply-add.
                self * factor + addend
            }
            #[inline]
            fn next_down(self) -> Self {
                $type::next_down(self)
            }
            #[inline]
            fn as_singles(numbers: &[Self]) -> Option<&[f32]> {
                let singles: fn(&[Self]) -> Option<&[f32]> = $singles;
                singles(numbers)
            }
            #[inline]
            fn as_singles_mut(numbers: &mut [Self]) -> Option<&mut [f32]> {
                let singles: fn(&mut [Self]) -> Option<&mut [f32]> = $singles_mut;
                singles(numbers)
            }
        }
    };
}
real!(f32, |numbers| Some(numbers), |numbers| Some(numbers));
real!(f64, |_| None, |_| None);

/// How a numeric split compares, the same for all trees of a framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    /// Left if `x < threshold`.
    Less,
    /// Left if `x <= threshold`.
    AtMost,
}

/// Values whose magnitude is at most this are zero for LightGBM: its `kZeroThreshold`, a float32 constant.
pub(crate) const ZERO_THRESHOLD: f64 = 1e-35_f32 as f64;

/// A node of a tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Node<T> {
    Numeric {
        feature: u32,
        threshold: T,
        /// Where a missing value goes.
        missing_left: bool,
        /// Whether zero is a missing value too (LightGBM's `zero_as_missing`).
        zero_missing: bool,
        left: u32,
        right: u32,
    },
    Category {
        feature: u32,
        /// The set of categories: an index of `Tree::sets`.
        set: u32,
        /// Where a category of the set goes; all others go the other way.
        found_left: bool,
        missing_left: bool,
        left: u32,
        right: u32,
    },
    /// A leaf: its value, or where in `Tree::vectors` (or `Tree::linear`) its values stand.
    Leaf { value: T, index: u32 },
}

/// A set of category codes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CategorySet {
    /// Bit `code % 32` of word `code / 32`.
    Bits(Box<[u32]>),
    /// The codes in rising order: for sets whose bits would be mostly empty.
    Sorted(Box<[u32]>),
    /// Values that count only if they are met exactly, fractions and all (ONNX's equality splits), in rising order;
    /// and whether a value is rounded to float32 first.
    Exact { values: Box<[f64]>, rounded: bool },
}

impl CategorySet {
    /// A set of codes, in whichever form is smaller.
    pub(crate) fn of(mut codes: Vec<u32>) -> Self {
        codes.sort_unstable();
        let words = codes.last().map_or(0, |&max| max as usize / 32 + 1);
        if words > codes.len() * 4 + 4 {
            return Self::Sorted(codes.into());
        }
        let mut bits = vec![0u32; words];
        for code in codes {
            bits[code as usize / 32] |= 1 << (code % 32);
        }
        Self::Bits(bits.into())
    }

    /// A set of values that are met exactly; none of them is NaN.
    pub(crate) fn exact(mut values: Vec<f64>, rounded: bool) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        Self::Exact { values: values.into(), rounded }
    }

    #[inline]
    pub(crate) fn contains(&self, code: u32) -> bool {
        match self {
            Self::Exact { .. } => self.contains_value(f64::from(code)),
            Self::Bits(bits) => bits.get(code as usize / 32).is_some_and(|word| word >> (code % 32) & 1 == 1),
            Self::Sorted(codes) => codes.binary_search(&code).is_ok(),
        }
    }

    /// Whether a value that is not NaN is in a set of exact values.
    fn contains_value(&self, x: f64) -> bool {
        let Self::Exact { values, rounded } = self else { return false };
        let x = if *rounded { f64::from(x as f32) } else { x };
        let at = values.partition_point(|&value| value < x);
        values.get(at).is_some_and(|&value| value == x)
    }
}

/// The linear function of a leaf (LightGBM's linear trees): `constant + Σ coefficient · feature`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Linear<T> {
    pub constant: T,
    pub terms: Box<[(u32, T)]>,
}

/// A tree. `nodes[0]` is the root.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tree<T> {
    pub nodes: Vec<Node<T>>,
    /// Which output the tree adds to; 0 if its leaves are vectors.
    pub output: u32,
    pub sets: Vec<CategorySet>,
    /// The leaves' vectors one after another, `outputs` numbers each; empty if leaves are single numbers.
    pub vectors: Vec<T>,
    /// The leaves' linear functions; empty if they have none.
    pub linear: Vec<Linear<T>>,
    /// Splits on the longest way down.
    pub depth: u32,
}

/// An ensemble in its plain form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Forest<T> {
    pub features: usize,
    pub outputs: usize,
    pub compare: Compare,
    /// What the sum of each output starts at.
    pub start: Vec<T>,
    pub trees: Vec<Tree<T>>,
    /// Whether inputs of a magnitude up to [`ZERO_THRESHOLD`] are read as zero.
    pub tiny_is_zero: bool,
}

impl<T: Real> Tree<T> {
    /// Whether every split is numeric and every leaf holds numbers.
    pub(crate) fn is_simple(&self) -> bool {
        self.sets.is_empty() && self.linear.is_empty()
    }

    /// The children of a node, if it has any.
    pub(crate) fn children(&self, node: usize) -> Option<(usize, usize)> {
        match *self.nodes.get(node)? {
            Node::Numeric { left, right, .. } | Node::Category { left, right, .. } => {
                Some((left as usize, right as usize))
            }
            Node::Leaf { .. } => None,
        }
    }

    /// The leaf a row ends in. The row holds the forest's features; NaN is a missing value.
    pub(crate) fn leaf(&self, compare: Compare, row: &[T]) -> (T, usize) {
        match self.nodes[self.leaf_node(compare, row)] {
            Node::Leaf { value, index } => (value, index as usize),
            _ => (T::default(), 0),
        }
    }

    /// The node of that leaf.
    #[inline]
    pub(crate) fn leaf_node(&self, compare: Compare, row: &[T]) -> usize {
        let mut at = 0;
        while let node = &self.nodes[at]
            && let Node::Numeric { left, right, .. } | Node::Category { left, right, .. } = *node
        {
            at = if self.goes_left(node, compare, row) { left } else { right } as usize;
        }
        at
    }

    /// The number that a leaf has beside its value; 0 for a split.
    pub(crate) fn leaf_number(&self, node: usize) -> u32 {
        match self.nodes.get(node) {
            Some(Node::Leaf { index, .. }) => *index,
            _ => 0,
        }
    }

    /// Where a row goes from a node of this tree; nowhere from a leaf.
    #[inline]
    pub(crate) fn goes_left(&self, node: &Node<T>, compare: Compare, row: &[T]) -> bool {
        match *node {
            Node::Leaf { .. } => false,
            Node::Numeric { feature, threshold, missing_left, zero_missing, .. } => {
                let x = row[feature as usize];
                let missing = is_nan(x) || (zero_missing && x.to_f64().abs() <= ZERO_THRESHOLD);
                match compare {
                    _ if missing => missing_left,
                    Compare::Less => x < threshold,
                    Compare::AtMost => x <= threshold,
                }
            }
            Node::Category { feature, set, found_left, missing_left, .. } => {
                let x = row[feature as usize];
                if is_nan(x) { missing_left } else { self.in_set(set, compare, x) == found_left }
            }
        }
    }

    /// Whether the category `x` is in a set. A fraction is cut off, as both frameworks do; XGBoost looks at the sign
    /// before that (so -0.5 is no category), LightGBM after it (so -0.5 is category 0).
    fn in_set(&self, set: u32, compare: Compare, x: T) -> bool {
        let (x, set) = (x.to_f64(), &self.sets[set as usize]);
        if let CategorySet::Exact { .. } = set {
            return set.contains_value(x);
        }
        let x = if compare == Compare::AtMost { x.trunc() } else { x };
        (0.0..4_294_967_296.0).contains(&x) && set.contains(x as u32)
    }
}

#[allow(clippy::eq_op)]
#[inline]
pub(crate) fn is_nan<T: Real>(x: T) -> bool {
    x != x
}

impl<T: Real> Forest<T> {
    /// Checks that every index is in range and that every tree is a tree, finds depths, and replaces nodes that can't
    /// be reached (XGBoost keeps pruned ones) by empty leaves.
    pub(crate) fn check(&mut self) -> Result<(), LoadError> {
        for number in 0..self.trees.len() {
            self.check_tree(number)?;
        }
        Ok(())
    }

    fn check_tree(&mut self, number: usize) -> Result<(), LoadError> {
        let (features, outputs) = (self.features, self.outputs);
        let tree = &mut self.trees[number];
        let bad = |node, part: &str, problem: String| LoadError::malformed(Place::node(number, node, part), problem);
        let count = tree.nodes.len();
        if count == 0 {
            return Err(LoadError::malformed(Place::tree(number, "nodes"), "the tree has no nodes"));
        }
        if tree.output as usize >= outputs {
            let problem = format!("the tree adds to output {}, the model has {outputs}", tree.output);
            return Err(LoadError::malformed(Place::tree(number, "output"), problem));
        }
        let (mut seen, mut stack) = (vec![false; count], vec![(0usize, 0u32)]);
        while let Some((at, depth)) = stack.pop() {
            tree.depth = tree.depth.max(depth);
            if std::mem::replace(&mut seen[at], true) {
                return Err(bad(at, "children", "the node has two parents, or is its own ancestor".into()));
            }
            match tree.nodes[at] {
                Node::Numeric { feature, .. } | Node::Category { feature, .. } if feature as usize >= features => {
                    let problem = format!("splits on feature {feature}, the model has {features}");
                    return Err(bad(at, "split feature", problem));
                }
                Node::Category { set, .. } if set as usize >= tree.sets.len() => {
                    return Err(bad(at, "categories", format!("set {set} of {} is meant", tree.sets.len())));
                }
                Node::Leaf { index, .. } => {
                    tree.check_leaf(index as usize, features, outputs).map_err(|problem| bad(at, "leaf", problem))?
                }
                _ => {}
            }
            if let Some((left, right)) = tree.children(at) {
                for child in [right, left] {
                    if child >= count {
                        return Err(bad(
                            at,
                            "children",
                            format!("child {child} is out of range, the tree has {count} nodes"),
                        ));
                    }
                    stack.push((child, depth + 1));
                }
            }
        }
        for (node, seen) in tree.nodes.iter_mut().zip(seen) {
            if !seen {
                *node = Node::Leaf { value: T::default(), index: 0 };
            }
        }
        Ok(())
    }

    /// Whether the fast layouts can hold the trees: all of them simple, and all or none of them with vectors. How many
    /// numbers a leaf holds then.
    pub(crate) fn leaf_width(&self) -> Option<usize> {
        let vectors = self.trees.first().is_some_and(|tree| !tree.vectors.is_empty());
        let fits = |tree: &Tree<T>| tree.is_simple() && tree.vectors.is_empty() != vectors;
        // A vector of one number is for the plain evaluator.
        let several = !vectors || self.outputs > 1;
        (several && self.trees.iter().all(fits)).then_some(if vectors { self.outputs } else { 1 })
    }

    /// Splits on the longest way from a root to a leaf.
    pub(crate) fn depth(&self) -> u32 {
        self.trees.iter().map(|tree| tree.depth).max().unwrap_or(0)
    }

    /// Leaves of all trees: in a binary tree one more than its splits.
    pub(crate) fn leaves(&self) -> usize {
        let splits = |tree: &Tree<T>| (0..tree.nodes.len()).filter(|&node| tree.children(node).is_some()).count();
        self.trees.iter().map(|tree| splits(tree) + 1).sum()
    }

    /// Adds the trees' leaves for one prepared row to `sums`, which holds the start.
    pub(crate) fn add_row(&self, row: &[T], sums: &mut [T]) {
        for tree in &self.trees {
            let (value, index) = tree.leaf(self.compare, row);
            if tree.vectors.is_empty() {
                let linear = tree.linear.get(index).and_then(|linear| linear.value(row));
                sums[tree.output as usize] += linear.unwrap_or(value);
            } else {
                let vector = &tree.vectors[index * self.outputs..][..self.outputs];
                sums.iter_mut().zip(vector).for_each(|(sum, &v)| *sum += v);
            }
        }
    }

    /// A value as the trees see it.
    #[inline]
    pub(crate) fn seen(&self, x: T) -> T {
        if self.tiny_is_zero && x.to_f64().abs() <= ZERO_THRESHOLD { T::default() } else { x }
    }
}

impl<T: Real> Tree<T> {
    fn check_leaf(&self, index: usize, features: usize, outputs: usize) -> Result<(), String> {
        let vectors = self.vectors.len() / outputs.max(1);
        if !self.vectors.is_empty() && index >= vectors {
            return Err(format!("vector {index} is meant, the tree has {vectors}"));
        }
        let Some(linear) = self.linear.get(index) else {
            return if self.linear.is_empty() { Ok(()) } else { Err("the leaf has no linear function".into()) };
        };
        match linear.terms.iter().find(|(feature, _)| *feature as usize >= features) {
            Some((feature, _)) => Err(format!("its linear function uses feature {feature}, the model has {features}")),
            None => Ok(()),
        }
    }
}

impl<T: Real> Linear<T> {
    /// The function's value; `None` if a feature it uses is missing, for then the leaf's own value counts.
    fn value(&self, row: &[T]) -> Option<T> {
        let mut sum = self.constant;
        for &(feature, coefficient) in &self.terms {
            let x = row[feature as usize];
            if is_nan(x) {
                return None;
            }
            sum = coefficient.mul_add_plain(x, sum);
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(feature: u32, left: u32, right: u32) -> Node<f32> {
        Node::Numeric { feature, threshold: 1.0, missing_left: true, zero_missing: false, left, right }
    }

    const LEAF: Node<f32> = Node::Leaf { value: 1.0, index: 0 };

    fn check(nodes: Vec<Node<f32>>) -> Result<(), String> {
        let trees = vec![Tree { nodes, output: 0, sets: vec![], vectors: vec![], linear: vec![], depth: 0 }];
        let mut forest =
            Forest { features: 2, outputs: 1, compare: Compare::Less, start: vec![0.0], trees, tiny_is_zero: false };
        forest.check().map_err(|e| e.to_string())
    }

    #[test]
    fn only_trees_pass() {
        assert!(
            check(vec![split(0, 1, 2), LEAF, LEAF, split(9, 9, 9)]).is_ok(),
            "what can't be reached does not count"
        );
        let cases = [
            (vec![], "tree 0, nodes: the tree has no nodes"),
            (vec![split(0, 0, 1), LEAF], "tree 0, node 0, children: the node has two parents, or is its own ancestor"),
            (vec![split(0, 1, 1), LEAF], "tree 0, node 1, children: the node has two parents, or is its own ancestor"),
            (vec![split(0, 1, 2), LEAF], "tree 0, node 0, children: child 2 is out of range, the tree has 2 nodes"),
            (vec![split(2, 1, 2), LEAF, LEAF], "tree 0, node 0, split feature: splits on feature 2, the model has 2"),
        ];
        for (nodes, message) in cases {
            assert_eq!(check(nodes).unwrap_err(), message);
        }
    }

    #[test]
    fn both_forms_of_a_set_agree() {
        for codes in [vec![], vec![0], vec![3, 31, 32, 5], vec![16_777_215, 0, 70]] {
            let set = CategorySet::of(codes.clone());
            for code in [0, 1, 3, 5, 31, 32, 33, 70, 16_777_215, u32::MAX] {
                assert_eq!(set.contains(code), codes.contains(&code), "{code} in {codes:?}");
            }
        }
        assert!(matches!(CategorySet::of(vec![16_777_215]), CategorySet::Sorted(_)));
    }
}
