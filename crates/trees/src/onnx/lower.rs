//! From an ensemble's nodes to the crate's own trees. Every comparison becomes `x <= threshold`, or a set for
//! equality, so that the fast layouts hold the trees; each step is exact for every input, infinities and NaN included.

use std::collections::VecDeque;

use super::ensemble::{Mode, Spec, SpecNode, at};
use super::proto::NodeProto;
use crate::error::LoadError;
use crate::forest::{CategorySet, Node, Real, Tree};

/// A column of an ensemble's input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    /// The forest's feature it is.
    pub(super) feature: u32,
    /// Whether its values are rounded to float32 before float64 thresholds are compared with them.
    pub(super) rounded: bool,
}

/// A tree whose leaves are numbered and have no values yet.
pub(super) struct Lowered<T> {
    pub(super) tree: Tree<T>,
    /// The spec's node behind each leaf, by the leaf's number.
    pub(super) leaves: Vec<u32>,
}

/// Lowers one tree.
pub(super) fn lower<T: Real>(
    node: &NodeProto<'_>,
    spec: &Spec,
    number: usize,
    columns: &[Column],
    seen: &mut [bool],
) -> Result<Lowered<T>, LoadError> {
    let (mut nodes, mut leaves, mut sets) = (Vec::new(), Vec::new(), Vec::new());
    let leaf = Node::Leaf { value: T::default(), index: 0 };
    nodes.push(leaf);
    let mut queue = VecDeque::from([(spec.roots[number], 0usize)]);
    while let Some((from, to)) = queue.pop_front() {
        visit(node, spec, number, seen, from)?;
        let SpecNode::Split { mode, feature, value, tracks_true, yes, no } = spec.nodes[from as usize] else {
            nodes[to] = Node::Leaf { value: T::default(), index: leaves.len() as u32 };
            leaves.push(from);
            continue;
        };
        let Column { feature: column, rounded } = columns[feature as usize];
        let (left, right) = (nodes.len() as u32, nodes.len() as u32 + 1);
        let mut children = if matches!(mode, Mode::AtLeast | Mode::Greater) { [no, yes] } else { [yes, no] };
        nodes[to] = match mode {
            Mode::AtMost | Mode::Less | Mode::AtLeast | Mode::Greater => Node::Numeric {
                feature: column,
                threshold: threshold(mode, T::from_f64(value), rounded),
                missing_left: tracks_true == (children[0] == yes),
                zero_missing: false,
                left,
                right,
            },
            Mode::Equal | Mode::NotEqual | Mode::Member => {
                let (mut members, mut missing) = (vec![value], tracks_true);
                match mode {
                    Mode::Member => members = spec.sets[value as usize].clone(),
                    Mode::Equal => {
                        let chain = Chain { node, spec, number, feature, yes };
                        children[1] = chain.follow(no, &mut members, &mut missing, seen)?;
                    }
                    // Not equal: the set leads to the false branch; NaN is not equal to anything.
                    _ => {
                        children = [no, yes];
                        missing = false;
                    }
                }
                let whole = if mode == Mode::Member && !(rounded && spec.double) { whole_set(&members) } else { None };
                sets.push(whole.unwrap_or_else(|| exact::<T>(members, rounded)));
                let set = sets.len() as u32 - 1;
                Node::Category { feature: column, set, found_left: true, missing_left: missing, left, right }
            }
        };
        nodes.extend([leaf, leaf]);
        queue.push_back((children[0], left as usize));
        queue.push_back((children[1], right as usize));
    }
    Ok(Lowered { tree: Tree { nodes, output: 0, sets, vectors: Vec::new(), linear: Vec::new(), depth: 0 }, leaves })
}

fn visit(node: &NodeProto<'_>, spec: &Spec, number: usize, seen: &mut [bool], at_node: u32) -> Result<(), LoadError> {
    if std::mem::replace(&mut seen[at_node as usize], true) {
        let problem = "the node has two parents, or is its own ancestor".to_owned();
        return Err(at(node, number, spec.ids[at_node as usize], "children", problem));
    }
    Ok(())
}

/// A row of `BRANCH_EQ` splits on one feature whose true branches are one node: how converters write a set.
struct Chain<'a, 'n> {
    node: &'a NodeProto<'n>,
    spec: &'a Spec,
    number: usize,
    feature: u32,
    yes: u32,
}

impl Chain<'_, '_> {
    /// Collects the members of the set, and gives back the branch that is taken by all others.
    fn follow(
        &self,
        mut next: u32,
        members: &mut Vec<f64>,
        missing: &mut bool,
        seen: &mut [bool],
    ) -> Result<u32, LoadError> {
        while let SpecNode::Split { mode: Mode::Equal, feature, value, tracks_true, yes, no } =
            self.spec.nodes[next as usize]
        {
            if feature != self.feature || yes != self.yes || next == yes {
                break;
            }
            visit(self.node, self.spec, self.number, seen, next)?;
            members.push(value);
            *missing |= tracks_true;
            next = no;
        }
        Ok(next)
    }
}

/// A set of whole numbers in which ONNX Runtime looks values up with their fractions cut off: it does so where a set
/// has many members, or great ones. `None` for other sets, and for members that can't be looked up like that.
fn whole_set(members: &[f64]) -> Option<CategorySet> {
    const FEW: usize = 31;
    const SMALL: f64 = 30.0;
    if members.len() < FEW && members.iter().all(|member| (0.0..=SMALL).contains(member)) {
        return None;
    }
    let code =
        |&member: &f64| (member.fract() == 0.0 && (0.0..2_147_483_648.0).contains(&member)).then_some(member as u32);
    members.iter().map(code).collect::<Option<Vec<u32>>>().map(CategorySet::of)
}

/// A set of values. Values rounded to float32 equal none that is no float32.
fn exact<T: Real>(mut members: Vec<f64>, rounded: bool) -> CategorySet {
    for member in &mut members {
        *member = T::from_f64(*member).to_f64();
    }
    members.retain(|member| !member.is_nan() && (!rounded || f64::from(*member as f32) == *member));
    CategorySet::exact(members, rounded)
}

/// The threshold of `x <= threshold` that is true just when the mode's comparison is (or, for `>=` and `>`, just
/// when it is false). NaN is below nothing, and so stands for "never".
fn threshold<T: Real>(mode: Mode, value: T, rounded: bool) -> T {
    let below = |value: T| if value == T::NEG_INFINITY { T::NAN } else { value.next_down() };
    let nan = crate::forest::is_nan(value);
    let threshold = match (mode, nan) {
        // Nothing is at most or below NaN, and nothing at least or above it.
        (Mode::AtMost | Mode::Less, true) => value,
        (_, true) => T::INFINITY,
        (Mode::Less | Mode::AtLeast, false) => below(value),
        (_, false) => value,
    };
    if rounded && !crate::forest::is_nan(threshold) {
        T::from_f64(rounded_threshold(threshold.to_f64()))
    } else {
        threshold
    }
}

/// The float64 `t` for which `x <= t` is the same as `(x as f32) <= threshold`: the middle between the greatest float32
/// that passes and the next one, or one step below it if the middle itself is rounded up.
fn rounded_threshold(threshold: f64) -> f64 {
    let nearest = threshold as f32;
    let last = if f64::from(nearest) > threshold { nearest.next_down() } else { nearest };
    if last == f32::INFINITY {
        return f64::INFINITY;
    }
    let next = last.next_up();
    // Beyond the greatest float32 the next step would be 2^128; what is rounded there becomes infinite.
    let edge = |x: f32| if x.is_infinite() { f64::from(x.signum()) * 2f64.powi(128) } else { f64::from(x) };
    let middle = edge(last) / 2.0 + edge(next) / 2.0;
    if (middle as f32) <= last { middle } else { middle.next_down() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_threshold_splits_where_the_rounded_input_does() {
        let ends =
            [0.0, -0.0, 1.0, -1.0, 0.1, -0.3, 16_777_217.0, 1e-45, 1e-50, -1e-46, 1e39, -1e39, f64::MAX, f64::INFINITY];
        let floats = [f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::INFINITY, f32::NEG_INFINITY, 3.0].map(f64::from);
        for threshold in
            ends.into_iter().chain(floats).chain((0..2000).map(|i| f64::from(i).sin() * 10f64.powi(i % 80 - 45)))
        {
            let moved = rounded_threshold(threshold);
            let near =
                [moved, moved.next_up(), moved.next_down(), threshold, threshold.next_up(), threshold.next_down()];
            for x in near.into_iter().chain(ends).chain(floats) {
                assert_eq!(
                    x <= moved,
                    f64::from(x as f32) <= threshold,
                    "{x:e} against {threshold:e}, moved to {moved:e}"
                );
            }
        }
    }

    #[test]
    fn every_comparison_becomes_at_most() {
        let values =
            [f32::NEG_INFINITY, f32::MIN, -1.0, -0.0, 0.0, f32::from_bits(1), 1.0, f32::MAX, f32::INFINITY, f32::NAN];
        for value in values {
            for x in values.into_iter().filter(|x| !x.is_nan()) {
                let left = |mode| x <= threshold(mode, value, false);
                assert_eq!(left(Mode::AtMost), x <= value, "{x} <= {value}");
                assert_eq!(left(Mode::Less), x < value, "{x} < {value}");
                assert_eq!(!left(Mode::AtLeast), x >= value, "{x} >= {value}");
                assert_eq!(!left(Mode::Greater), x > value, "{x} > {value}");
            }
        }
    }
}
