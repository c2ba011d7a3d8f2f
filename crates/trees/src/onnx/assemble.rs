//! From what was read of a graph to something that predicts: one forest, in the form that suits it.

use std::rc::Rc;

use super::builder::{Draft, Given};
use super::ensemble::{Aggregate, Spec};
use super::sparse::{Lists, Sparse};
use crate::error::LoadError;
use crate::forest::{Compare, Forest, Node, Real, Tree};

/// Numbers that vectors of leaves may take up for each weight in the file.
const VECTOR_NUMBERS_PER_WEIGHT: usize = 8;

/// A forest of one number type, as plain sums or with lists of weights.
pub(super) enum Assembled<T> {
    Plain(Forest<T>),
    Sparse(Sparse<T>),
}

/// Facts for the description, and the outputs that the forest gives, in its order.
pub(super) struct Facts {
    pub(super) trees: usize,
    pub(super) depth: u32,
    pub(super) leaves: usize,
    pub(super) outputs: Vec<u32>,
}

/// How many leaves give how: what decides the form of the whole.
fn needs_lists(draft: &Draft<impl Real>, ensembles: &[Rc<Spec>], outputs: usize) -> bool {
    let (mut vectors, mut weights) = (0usize, 0usize);
    for used in &draft.uses {
        let (ensemble, ranges) = match &used.given {
            Given::Numbers { aggregate: Aggregate::Min | Aggregate::Max, .. } => return true,
            Given::Numbers { .. } => continue,
            Given::Lists { ensemble, ranges, .. } => (ensemble, ranges),
        };
        let spec = &ensembles[*ensemble];
        if !matches!(spec.aggregate, Aggregate::Sum | Aggregate::Average) {
            return true;
        }
        if single_target(spec, ranges).is_some() {
            continue;
        }
        let targets =
            |&(from, to): &(u32, u32)| spec.weights[from as usize..to as usize].iter().map(|&(target, _)| target);
        // Each leaf must give to the same targets, to each once: then the sums are those of vectors.
        let all = sorted(ranges.first().map(targets));
        if all.windows(2).any(|pair| pair[0] == pair[1])
            || ranges.iter().any(|range| sorted(Some(targets(range))) != all)
        {
            return true;
        }
        vectors = vectors.saturating_add(ranges.len().saturating_mul(outputs));
        weights += ranges.len() * all.len();
    }
    vectors > weights.saturating_mul(VECTOR_NUMBERS_PER_WEIGHT)
}

fn sorted(targets: Option<impl Iterator<Item = u32>>) -> Vec<u32> {
    let mut targets: Vec<u32> = targets.into_iter().flatten().collect();
    targets.sort_unstable();
    targets
}

/// The one target of all leaves of a tree, if each has one weight.
fn single_target(spec: &Spec, ranges: &[(u32, u32)]) -> Option<u32> {
    let target = |&(from, to): &(u32, u32)| (to == from + 1).then(|| spec.weights[from as usize].0);
    let first = target(ranges.first()?)?;
    ranges.iter().all(|range| target(range) == Some(first)).then_some(first)
}

/// Builds the forest of all trees in use. `has` learns which outputs any leaf gives to, where that is always so.
pub(super) fn assemble<T: Real>(
    mut draft: Draft<T>,
    ensembles: &[Rc<Spec>],
    features: usize,
    outputs: usize,
    has: &mut dyn FnMut(u32),
) -> Result<(Assembled<T>, Facts), LoadError> {
    let mut forest = Forest {
        features,
        outputs,
        compare: Compare::AtMost,
        start: vec![T::default(); outputs],
        trees: Vec::with_capacity(draft.uses.len()),
        tiny_is_zero: false,
    };
    let lists_needed = needs_lists(&draft, ensembles, outputs);
    let mut sparse = Sparse { forest: forest.clone(), lists: Vec::new(), weights: Vec::new() };
    if lists_needed {
        let widen =
            |spec: &Rc<Spec>| spec.weights.iter().map(|&(target, weight)| (target, T::from_f64(weight))).collect();
        sparse.weights = ensembles.iter().map(widen).collect();
    }
    // A tree is moved to its last use, and copied for those before it.
    let mut uses_left = vec![0usize; draft.trees.len()];
    draft.uses.iter().for_each(|used| uses_left[used.tree] += 1);
    for used in draft.uses {
        uses_left[used.tree] -= 1;
        let empty = Tree { nodes: vec![], output: 0, sets: vec![], vectors: vec![], linear: vec![], depth: 0 };
        let tree = &mut draft.trees[used.tree];
        let mut tree = if uses_left[used.tree] == 0 { std::mem::replace(tree, empty) } else { tree.clone() };
        if lists_needed {
            sparse.give(ensembles, used.given);
            tree.output = 0;
        } else {
            give(&mut tree, ensembles, used.given, outputs, has);
        }
        forest.trees.push(tree);
    }
    forest.check()?;
    let all = (0..outputs as u32).collect();
    let (depth, leaves) = (forest.depth(), forest.leaves());
    let mut facts = Facts { trees: forest.trees.len(), depth, leaves, outputs: all };
    if lists_needed {
        sparse.forest = forest;
        return Ok((Assembled::Sparse(sparse), facts));
    }
    facts.outputs = drop_unused(&mut forest);
    Ok((Assembled::Plain(forest), facts))
}

/// Takes out the outputs that no tree gives to (a classifier of two classes mostly has weights for one); those left.
fn drop_unused<T: Real>(forest: &mut Forest<T>) -> Vec<u32> {
    let all = forest.outputs;
    let mut used = vec![false; all];
    for tree in &forest.trees {
        if tree.vectors.is_empty() {
            used[tree.output as usize] = true;
        } else {
            used.fill(true);
        }
    }
    // A forest has at least one output.
    if !used.contains(&true) {
        used.truncate(1);
        used.fill(true);
    }
    let left: Vec<u32> = (0u32..).zip(&used).filter(|(_, used)| **used).map(|(output, _)| output).collect();
    if left.len() < all {
        for tree in &mut forest.trees {
            tree.output = left.partition_point(|&output| output < tree.output) as u32;
        }
        forest.outputs = left.len();
        forest.start.truncate(left.len());
    }
    left
}

/// Writes values into the leaves of a tree.
fn give<T: Real>(tree: &mut Tree<T>, ensembles: &[Rc<Spec>], given: Given, outputs: usize, has: &mut dyn FnMut(u32)) {
    let mut fill = |output: u32, value: &dyn Fn(usize) -> f64| {
        tree.output = output;
        for node in &mut tree.nodes {
            if let Node::Leaf { value: slot, index } = node {
                *slot = T::from_f64(value(*index as usize));
            }
        }
        has(output);
    };
    match given {
        Given::Numbers { output, values, .. } => fill(output, &|leaf| values[leaf]),
        Given::Lists { first, ensemble, ranges } => {
            let weights = &ensembles[ensemble].weights;
            if let Some(target) = single_target(&ensembles[ensemble], &ranges) {
                return fill(first + target, &|leaf| weights[ranges[leaf].0 as usize].1);
            }
            tree.vectors = vec![T::default(); ranges.len() * outputs];
            for (vector, &(from, to)) in tree.vectors.chunks_exact_mut(outputs).zip(&ranges) {
                for &(target, weight) in &weights[from as usize..to as usize] {
                    vector[(first + target) as usize] = T::from_f64(weight);
                    has(first + target);
                }
            }
        }
    }
}

impl<T: Real> Sparse<T> {
    /// Takes down what the next tree gives.
    fn give(&mut self, ensembles: &[Rc<Spec>], given: Given) {
        let lists = match given {
            Given::Lists { first, ensemble, ranges } => {
                Lists { ranges: ranges.into(), first, weights: ensemble, aggregate: ensembles[ensemble].aggregate }
            }
            Given::Numbers { output, values, aggregate } => {
                self.weights.push(values.iter().map(|&value| (0, T::from_f64(value))).collect());
                Lists {
                    ranges: (0..values.len() as u32).map(|leaf| (leaf, leaf + 1)).collect(),
                    first: output,
                    weights: self.weights.len() - 1,
                    aggregate,
                }
            }
        };
        self.lists.push(lists);
    }
}
