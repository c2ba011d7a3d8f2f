//! Path-dependent TreeSHAP by quadrature.
//!
//! Along a path from the root to a leaf, each feature `j` asked there has a cover fraction `z_j` (the product of what its
//! splits let through) and `o_j`, 1 if the row passes all of them, else 0. The leaf is worth `v·Π_S o_j·Π_rest z_j` to
//! a set `S` of known features. The Shapley value of such a game is an integral over its multilinear extension:
//!
//! ```text
//! φ_i = v · ∫₀¹ (o_i - z_i) · Π_{j≠i} (z_j + t·(o_j - z_j)) dt
//! ```
//!
//! It is a polynomial in `t`, and so a few Gauss-Legendre points give it exactly: 4 for paths of up to 8 different
//! features, where the algorithm of the paper keeps and unwinds lists of the square of that. All terms are products of
//! numbers between 0 and 1, so nothing cancels on deep paths either.
//!
//! For four points at a time, one pass goes down a tree (the products of the factors, times the leaves' values) and one
//! comes up (the sums of what is below an edge, which give the edge's feature its share). A feature that a path asks
//! again replaces its factor, and takes back at the lower edge what the upper one gave it.

use super::Covers;
use super::quadrature;
use crate::error::{LoadError, Place};
use crate::forest::{Forest, Node, Real, Tree};

/// Points computed at once.
const LANES: usize = 4;
/// A path may ask so many different features.
const PATH_FEATURES_MAX: usize = 128;

type Lanes = [f64; LANES];

/// A node, and the edge that leads to it; for four points.
#[derive(Clone, Copy, Debug)]
struct Edge {
    /// `1 / (z + t·(1 - z))`
    inverse: Lanes,
    /// The fraction of all splits on this edge's feature down to here.
    fraction: f64,
    /// The value of a leaf, 0 for a split.
    value: f64,
    feature: u32,
    /// The node it comes from.
    parent: u32,
    /// The nearest edge above with the same feature; the root if there is none.
    earlier: u32,
    is_left: bool,
}

/// Stands for the root: a feature that no edge above has asked is wholly let through.
const ROOT: Edge =
    Edge { inverse: [1.0; LANES], fraction: 1.0, value: 0.0, feature: 0, parent: 0, earlier: 0, is_left: false };

/// A tree with splits, in order of a walk from the root that meets parents before children.
#[derive(Debug)]
struct Walk {
    tree: u32,
    output: u32,
    /// Of `Paths::splits`: where the row has to be looked at.
    splits: (usize, usize),
    /// Of `Paths::edges`: `chunks` times the edges of the tree, each for four points.
    edges: usize,
    nodes: usize,
    chunks: usize,
}

/// Everything that contributions need beside the forest.
#[derive(Debug)]
pub(crate) struct Paths {
    walks: Vec<Walk>,
    /// The split's place in the walk, and its node in the tree.
    splits: Vec<(u32, u32)>,
    edges: Vec<Edge>,
    /// By number of chunks: the points and the weights of each.
    rules: Vec<Vec<(Lanes, Lanes)>>,
    /// The expected value of each output.
    expected: Vec<f64>,
    outputs: usize,
    features: usize,
}

/// Memory for one row.
#[derive(Debug, Default)]
pub(crate) struct PathsBuffers {
    goes_left: Vec<bool>,
    on: Vec<bool>,
    products: Vec<Lanes>,
    sums: Vec<Lanes>,
    shares: Vec<Lanes>,
}

impl Paths {
    /// XGBoost: fractions and expected values in float32, as it computes them.
    pub(crate) fn single(forest: &Forest<f32>, covers: &Covers) -> Result<Self, LoadError> {
        let mut paths = Self::new(forest, covers, |part, whole| f64::from(part as f32 / whole as f32))?;
        let mut expected = vec![0.0f32; forest.outputs];
        for (tree, covers) in forest.trees.iter().zip(covers) {
            if let Some(sum) = expected.get_mut(tree.output as usize) {
                *sum += mean(tree, covers);
            }
        }
        let with_start = expected.iter().zip(&forest.start).map(|(sum, start)| f64::from(sum + start));
        paths.expected = with_start.collect();
        Ok(paths)
    }

    /// LightGBM: all in float64.
    pub(crate) fn double(forest: &Forest<f64>, covers: &Covers) -> Result<Self, LoadError> {
        let mut paths = Self::new(forest, covers, |part, whole| part / whole)?;
        let mut expected = forest.start.clone();
        for (tree, covers) in forest.trees.iter().zip(covers) {
            let root = covers.first().copied().unwrap_or(1.0);
            let leaves = tree.nodes.iter().zip(covers).filter_map(|(node, cover)| match *node {
                Node::Leaf { value, .. } => Some((cover / root) * value),
                _ => None,
            });
            let alone = tree.nodes.len() == 1;
            let value = if alone { only_value(tree) } else { leaves.fold(0.0, |sum, term| sum + term) };
            if let Some(sum) = expected.get_mut(tree.output as usize) {
                *sum += value;
            }
        }
        paths.expected = expected;
        Ok(paths)
    }

    fn new<T: Real>(
        forest: &Forest<T>,
        covers: &Covers,
        fraction: impl Fn(f64, f64) -> f64,
    ) -> Result<Self, LoadError> {
        let mut paths = Self {
            walks: Vec::new(),
            splits: Vec::new(),
            edges: Vec::new(),
            rules: Vec::new(),
            expected: Vec::new(),
            outputs: forest.outputs,
            features: forest.features,
        };
        let mut last = vec![0u32; forest.features];
        for (number, (tree, covers)) in forest.trees.iter().zip(covers).enumerate() {
            if tree.children(0).is_some() {
                paths.add(number, tree, covers, &fraction, &mut last)?;
            }
        }
        Ok(paths)
    }

    /// Adds a tree. `last` holds 0 for every feature, and does so again afterwards.
    fn add<T: Real>(
        &mut self,
        number: usize,
        tree: &Tree<T>,
        covers: &[f64],
        fraction: &impl Fn(f64, f64) -> f64,
        last: &mut [u32],
    ) -> Result<(), LoadError> {
        let (first_split, first_edge) = (self.splits.len(), self.edges.len());
        let cover = |node: usize| covers.get(node).copied().unwrap_or_default();
        let mut fractions = vec![1.0];
        // The edges above the node at hand: the feature, and what `last` held for it before.
        let (mut path, mut different, mut most) = (Vec::<(usize, u32)>::new(), 0, 0);
        // Nodes to come: the node, its parent's place in the walk and node, whether it is the left child, and its depth.
        let mut stack = vec![(0usize, 0u32, 0usize, false, 0usize)];
        while let Some((node, parent, parent_node, is_left, depth)) = stack.pop() {
            while path.len() >= depth.max(1) {
                let Some((feature, before)) = path.pop() else { break };
                different -= usize::from(before == 0);
                last[feature] = before;
            }
            let place = if depth == 0 { 0 } else { fractions.len() as u32 };
            if depth > 0 {
                let feature = split_feature(tree, parent_node);
                let earlier = std::mem::replace(&mut last[feature], place);
                path.push((feature, earlier));
                different += usize::from(earlier == 0);
                most = most.max(different);
                let own = fraction(cover(node), cover(parent_node));
                let all = fractions.get(earlier as usize).copied().unwrap_or(1.0) * own;
                fractions.push(all);
                let value = match tree.nodes[node] {
                    Node::Leaf { value, .. } => value.to_f64(),
                    _ => 0.0,
                };
                let feature = feature as u32;
                self.edges.push(Edge {
                    inverse: [0.0; LANES],
                    fraction: all,
                    value,
                    feature,
                    parent,
                    earlier,
                    is_left,
                });
            } else {
                self.edges.push(ROOT);
            }
            if let Some((left, right)) = tree.children(node) {
                self.splits.push((place, node as u32));
                stack.extend([(right, place, node, false, depth + 1), (left, place, node, true, depth + 1)]);
            }
        }
        path.iter().for_each(|&(feature, _)| last[feature] = 0);
        if most > PATH_FEATURES_MAX {
            let what =
                format!("contributions of a path with {most} different features (up to {PATH_FEATURES_MAX} are)");
            return Err(LoadError::unsupported(Place::tree(number, "nodes"), what));
        }
        let chunks = most.div_ceil(2 * LANES).max(1);
        self.fill(first_edge, chunks);
        self.walks.push(Walk {
            tree: number as u32,
            output: tree.output,
            splits: (first_split, self.splits.len()),
            edges: first_edge,
            nodes: fractions.len(),
            chunks,
        });
        Ok(())
    }

    /// Computes what depends on the points, for a tree's edges and copies of them for more points.
    fn fill(&mut self, first: usize, chunks: usize) {
        while self.rules.len() < chunks {
            let rule = quadrature::rule((self.rules.len() + 1) * LANES);
            let lanes = rule.as_chunks::<LANES>().0.iter();
            self.rules.push(lanes.map(|points| (points.map(|p| p.0), points.map(|p| p.1))).collect());
        }
        let count = self.edges.len() - first;
        for _ in 1..chunks {
            self.edges.extend_from_within(first..first + count);
        }
        let Some(rule) = self.rules.get(chunks - 1) else { return };
        for (edges, (points, _)) in self.edges[first..].chunks_mut(count).zip(rule) {
            for edge in edges {
                let z = edge.fraction;
                edge.inverse = points.map(|t| 1.0 / (z + t * (1.0 - z)));
            }
        }
    }

    /// Bytes of all this.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.edges.as_slice()) + size_of_val(self.splits.as_slice()) + size_of_val(self.walks.as_slice())
    }

    /// The contributions of one prepared row.
    pub(crate) fn explain<T: Real>(&self, forest: &Forest<T>, row: &[T], buffers: &mut PathsBuffers, out: &mut [f64]) {
        let PathsBuffers { goes_left, on, products, sums, shares } = buffers;
        shares.clear();
        shares.resize(self.outputs * self.features, [0.0; LANES]);
        for walk in &self.walks {
            let tree = &forest.trees[walk.tree as usize];
            for buffer in [&mut *products, &mut *sums] {
                buffer.resize(buffer.len().max(walk.nodes), [0.0; LANES]);
            }
            for buffer in [&mut *goes_left, &mut *on] {
                buffer.resize(buffer.len().max(walk.nodes), false);
            }
            for &(place, node) in &self.splits[walk.splits.0..walk.splits.1] {
                goes_left[place as usize] = tree.goes_left(&tree.nodes[node as usize], forest.compare, row);
            }
            let shares = &mut shares[walk.output as usize * self.features..][..self.features];
            let edges = self.edges[walk.edges..].chunks_exact(walk.nodes);
            for (edges, (points, weights)) in edges.zip(&self.rules[walk.chunks - 1]) {
                down(edges, points, weights, goes_left, on, products, sums);
                up(edges, points, on, sums, shares);
            }
        }
        for ((out, shares), expected) in
            out.chunks_exact_mut(self.features + 1).zip(shares.chunks_exact(self.features)).zip(&self.expected)
        {
            let Some((last, out)) = out.split_last_mut() else { continue };
            out.iter_mut().zip(shares).for_each(|(out, [a, b, c, d])| *out = (a + b) + (c + d));
            *last = *expected;
        }
    }
}

/// The products from the root down to every node, times a leaf's value. Without branches that depend on the row but for
/// features that a path asks again: they could not be foretold.
#[inline(always)]
fn down(
    edges: &[Edge],
    points: &Lanes,
    weights: &Lanes,
    goes_left: &[bool],
    on: &mut [bool],
    products: &mut [Lanes],
    sums: &mut [Lanes],
) {
    let nodes = edges.len();
    let (goes_left, on) = (&goes_left[..nodes], &mut on[..nodes]);
    let (products, sums) = (&mut products[..nodes], &mut sums[..nodes]);
    (on[0], products[0], sums[0]) = (true, *weights, [0.0; LANES]);
    for (place, edge) in edges.iter().enumerate().skip(1) {
        let (parent, earlier) = (edge.parent as usize, edge.earlier as usize);
        let was_on = on[earlier];
        let is_on = was_on & (goes_left[parent] == edge.is_left);
        on[place] = is_on;
        let (z, before, above) = (edge.fraction, &edges[earlier], products[parent]);
        let mut product = [0.0; LANES];
        if was_on {
            let slope = f64::from(u8::from(is_on)) - z;
            for lane in 0..LANES {
                product[lane] = above[lane] * ((z + points[lane] * slope) * before.inverse[lane]);
            }
        } else {
            // The factor was z·(1 - t) and is so again.
            let ratio = if z == 0.0 { 0.0 } else { z / before.fraction };
            product = above.map(|above| above * ratio);
        }
        products[place] = product;
        sums[place] = product.map(|product| product * edge.value);
    }
}

/// The sums below every edge, and what they give the edge's feature.
#[inline(always)]
fn up(edges: &[Edge], points: &Lanes, on: &[bool], sums: &mut [Lanes], shares: &mut [Lanes]) {
    let nodes = edges.len();
    let (on, sums) = (&on[..nodes], &mut sums[..nodes]);
    let off = points.map(|t| -1.0 / (1.0 - t));
    for (place, edge) in edges.iter().enumerate().skip(1).rev() {
        let (parent, earlier) = (edge.parent as usize, edge.earlier as usize);
        let sum = sums[place];
        let above = &mut sums[parent];
        for lane in 0..LANES {
            above[lane] += sum[lane];
        }
        // Off above, off here: what the upper edge gave is right.
        if !on[earlier] {
            continue;
        }
        let before = &edges[earlier];
        let (slope, slope_before) = (1.0 - edge.fraction, 1.0 - before.fraction);
        let mask = 0u64.wrapping_sub(u64::from(on[place]));
        let share = &mut shares[edge.feature as usize];
        for lane in 0..LANES {
            let is_on = (slope * edge.inverse[lane]).to_bits() & mask;
            let here = f64::from_bits(is_on | (off[lane].to_bits() & !mask));
            share[lane] += sum[lane] * (here - slope_before * before.inverse[lane]);
        }
    }
}

fn split_feature<T: Real>(tree: &Tree<T>, node: usize) -> usize {
    match tree.nodes[node] {
        Node::Numeric { feature, .. } | Node::Category { feature, .. } => feature as usize,
        Node::Leaf { .. } => 0,
    }
}

fn only_value<T: Real>(tree: &Tree<T>) -> T {
    match tree.nodes.first() {
        Some(&Node::Leaf { value, .. }) => value,
        _ => T::default(),
    }
}

/// The expected value of a tree in float32, from the leaves up: each node's is the mean of its children's.
fn mean(tree: &Tree<f32>, covers: &[f64]) -> f32 {
    let cover = |node: usize| covers.get(node).copied().unwrap_or_default() as f32;
    let mut means = vec![0.0f32; tree.nodes.len()];
    let mut stack = vec![(0usize, false)];
    while let Some((node, children_done)) = stack.pop() {
        means[node] = match (tree.children(node), tree.nodes[node]) {
            (Some((left, right)), _) if children_done => {
                (means[left] * cover(left) + means[right] * cover(right)) / cover(node)
            }
            (Some((left, right)), _) => {
                stack.extend([(node, true), (right, false), (left, false)]);
                continue;
            }
            (None, Node::Leaf { value, .. }) => value,
            (None, _) => 0.0,
        };
    }
    means.first().copied().unwrap_or_default()
}
