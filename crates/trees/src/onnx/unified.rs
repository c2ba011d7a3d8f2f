//! `TreeEnsemble` of `ai.onnx.ml` 5: one operator for all ensembles, whose leaves are numbered apart from its splits.

use super::ensemble::{Aggregate, Mode, Spec, SpecNode, Transform, at, check_targets, feature, index, same_length};
use super::proto::{Data, NodeProto};
use crate::error::LoadError;

/// The splits as lists.
struct Splits {
    modes: Vec<f64>,
    values: Vec<f64>,
    features: Vec<i64>,
    yes: Vec<i64>,
    no: Vec<i64>,
    yes_leaf: Vec<i64>,
    no_leaf: Vec<i64>,
    tracks: Vec<i64>,
    members: Vec<f64>,
}

fn tensor(node: &NodeProto<'_>, name: &str) -> Result<Vec<f64>, LoadError> {
    match node.tensor(name)?.map(|tensor| tensor.data()).transpose()? {
        None => Ok(Vec::new()),
        Some(Data::Numbers(numbers)) => Ok(numbers),
        Some(Data::Strings(_)) => Err(node.malformed(name, "is a tensor of strings")),
    }
}

impl Splits {
    fn of(node: &NodeProto<'_>) -> Result<Self, LoadError> {
        let modes = tensor(node, "nodes_modes")?;
        let values = tensor(node, "nodes_splits")?;
        same_length(node, "nodes_splits", values.len(), modes.len())?;
        let list = |name: &'static str| -> Result<Vec<i64>, LoadError> {
            let list = node.ints(name)?;
            same_length(node, name, list.len(), modes.len())?;
            Ok(list)
        };
        Ok(Self {
            features: list("nodes_featureids")?,
            yes: list("nodes_truenodeids")?,
            no: list("nodes_falsenodeids")?,
            yes_leaf: list("nodes_trueleafs")?,
            no_leaf: list("nodes_falseleafs")?,
            tracks: node.ints("nodes_missing_value_tracks_true")?,
            members: tensor(node, "membership_values")?,
            values,
            modes,
        })
    }

    /// The splits as nodes of a spec; `leaves` is how many leaves there are.
    fn nodes(
        &self,
        node: &NodeProto<'_>,
        columns: usize,
        leaves: usize,
        sets: &mut Vec<Vec<f64>>,
    ) -> Result<Vec<SpecNode>, LoadError> {
        let splits = self.modes.len();
        let mut nodes = Vec::with_capacity(splits + leaves);
        let mut members = self.members.split(|member| member.is_nan());
        for at_node in 0..splits {
            let child = |part: &str, child: i64, leaf: i64| -> Result<u32, LoadError> {
                if leaf == 0 {
                    return index(node, part, child, splits);
                }
                Ok(splits as u32 + index(node, part, child, leaves)?)
            };
            let id = at_node as i64;
            let mode = mode(node, id, self.modes[at_node])?;
            let mut value = self.values[at_node];
            if mode == Mode::Member {
                value = sets.len() as f64;
                sets.push(members.next().unwrap_or_default().to_vec());
            }
            nodes.push(SpecNode::Split {
                mode,
                feature: feature(node, 0, id, self.features[at_node], columns)?,
                value,
                tracks_true: self.tracks.get(at_node) == Some(&1),
                yes: child("nodes_truenodeids", self.yes[at_node], self.yes_leaf[at_node])?,
                no: child("nodes_falsenodeids", self.no[at_node], self.no_leaf[at_node])?,
            });
        }
        Ok(nodes)
    }
}

fn mode(node: &NodeProto<'_>, id: i64, code: f64) -> Result<Mode, LoadError> {
    Ok(match code as i64 {
        0 => Mode::AtMost,
        1 => Mode::Less,
        2 => Mode::AtLeast,
        3 => Mode::Greater,
        4 => Mode::Equal,
        5 => Mode::NotEqual,
        6 => Mode::Member,
        _ => return Err(at(node, 0, id, "nodes_modes", format!("is {code}; 0 to 6 is allowed"))),
    })
}

fn aggregate(node: &NodeProto<'_>) -> Result<Aggregate, LoadError> {
    Ok(match node.int("aggregate_function", 1)? {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => return Err(node.malformed("aggregate_function", format!("is {other}; 0 to 3 is allowed"))),
    })
}

fn transform(node: &NodeProto<'_>) -> Result<Transform, LoadError> {
    Ok(match node.int("post_transform", 0)? {
        0 => Transform::None,
        // ONNX Runtime reads these two the other way round than the specification has them; its numbers count.
        1 => Transform::Logistic,
        2 => Transform::Softmax,
        3 => Transform::SoftmaxZero,
        4 => Transform::Probit,
        other => return Err(node.malformed("post_transform", format!("is {other}; 0 to 4 is allowed"))),
    })
}

impl Spec {
    /// Reads a `TreeEnsemble`.
    pub(super) fn unified(node: &NodeProto<'_>, columns: usize, double: bool) -> Result<Self, LoadError> {
        let targets = usize::try_from(node.int("n_targets", 0)?).unwrap_or(0);
        check_targets(node, targets)?;
        let (ids, weights) = (node.ints("leaf_targetids")?, tensor(node, "leaf_weights")?);
        same_length(node, "leaf_weights", weights.len(), ids.len())?;
        let all = Splits::of(node)?;
        let (splits, leaves) = (all.modes.len(), ids.len());
        let mut sets = Vec::new();
        let mut spec = Self {
            nodes: all.nodes(node, columns, leaves, &mut sets)?,
            ids: (0..splits as i64).chain(0..leaves as i64).collect(),
            roots: Vec::new(),
            weights: Vec::with_capacity(leaves),
            sets,
            targets,
            aggregate: aggregate(node)?,
            transform: transform(node)?,
            base: Vec::new(),
            labels: None,
            one_class: false,
            positive: false,
            double,
        };
        for (leaf, (&target, &weight)) in (0u32..).zip(ids.iter().zip(&weights)) {
            spec.weights.push((index(node, "leaf_targetids", target, targets)?, weight));
            spec.nodes.push(SpecNode::Leaf { from: leaf, to: leaf + 1, value: 0.0 });
        }
        for root in node.ints("tree_roots")? {
            let root = index(node, "tree_roots", root, splits)?;
            // A tree that is one leaf is written as a split whose branches both are that leaf.
            let single = match spec.nodes[root as usize] {
                SpecNode::Split { yes, no, .. } if yes == no && yes as usize >= splits => yes,
                _ => root,
            };
            spec.roots.push(single);
        }
        Ok(spec)
    }
}
