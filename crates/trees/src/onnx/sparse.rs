//! Ensembles that are no plain sums: minimum and maximum of trees, leaves that give to some targets only, and leaves
//! whose targets would fill much memory if every leaf had a number for each of them.

use super::ensemble::Aggregate;
use crate::forest::{Compare, Forest, Real};

/// What a tree's leaves give.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    /// For each leaf a range of the weights.
    pub(super) ranges: Box<[(u32, u32)]>,
    /// Added to the target of each weight.
    pub(super) first: u32,
    /// Which list of weights.
    pub(super) weights: usize,
    pub(super) aggregate: Aggregate,
}

/// Trees with lists of weights at their leaves.
#[derive(Clone, Debug)]
pub(crate) struct Sparse<T> {
    /// The trees; a leaf's index is its place in the tree's lists.
    pub(super) forest: Forest<T>,
    pub(super) lists: Vec<Lists>,
    pub(super) weights: Vec<Vec<(u32, T)>>,
}

impl<T: Real> Sparse<T> {
    /// The results of one row, and whether any leaf gave to them; `row` has the forest's features.
    pub(super) fn row(&self, row: &[T], sums: &mut [T], has: &mut [bool]) {
        sums.fill(T::default());
        has.fill(false);
        for (tree, lists) in self.forest.trees.iter().zip(&self.lists) {
            let (_, leaf) = tree.leaf(Compare::AtMost, row);
            let (from, to) = lists.ranges[leaf];
            for &(target, weight) in &self.weights[lists.weights][from as usize..to as usize] {
                let target = (lists.first + target) as usize;
                let sum = &mut sums[target];
                match lists.aggregate {
                    Aggregate::Sum | Aggregate::Average => *sum += weight,
                    Aggregate::Min if !has[target] || weight < *sum => *sum = weight,
                    Aggregate::Max if !has[target] || weight > *sum => *sum = weight,
                    Aggregate::Min | Aggregate::Max => {}
                }
                has[target] = true;
            }
        }
    }
}
