//! What a `TreeEnsembleClassifier`, `TreeEnsembleRegressor` or `TreeEnsemble` node says, in one form for all of them.

use std::collections::HashMap;

use super::proto::{Data, NodeProto};
use crate::error::LoadError;
use crate::xgboost::OUTPUTS_MAX;

/// How a split compares; the true branch is taken if the comparison holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    AtMost,
    Less,
    AtLeast,
    Greater,
    Equal,
    NotEqual,
    /// Whether the value is one of a set; the split's value is the set's index.
    Member,
}

/// A node of a tree, with children as indexes of [`Spec::nodes`].
#[derive(Clone, Copy, Debug)]
pub(super) enum SpecNode {
    Split {
        mode: Mode,
        feature: u32,
        value: f64,
        tracks_true: bool,
        yes: u32,
        no: u32,
    },
    /// Its weights: a range of [`Spec::weights`]. `value` is the node's own, which counts for a leaf without weights.
    Leaf {
        from: u32,
        to: u32,
        value: f64,
    },
}

/// How the trees' results become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// What is done with the scores in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transform {
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
    Probit,
}

/// The labels of a classifier.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Labels {
    Ints(Vec<i64>),
    Texts(Vec<String>),
}

/// An ensemble as its node describes it.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) nodes: Vec<SpecNode>,
    /// The file's number of each node, for messages.
    pub(super) ids: Vec<i64>,
    pub(super) roots: Vec<u32>,
    /// Target (or class) and weight, those of a leaf side by side.
    pub(super) weights: Vec<(u32, f64)>,
    pub(super) sets: Vec<Vec<f64>>,
    pub(super) targets: usize,
    pub(super) aggregate: Aggregate,
    pub(super) transform: Transform,
    pub(super) base: Vec<f64>,
    /// A classifier's labels.
    pub(super) labels: Option<Labels>,
    /// Whether all weights are for one class.
    pub(super) one_class: bool,
    /// Whether no weight is negative.
    pub(super) positive: bool,
    /// Whether thresholds and sums are float64.
    pub(super) double: bool,
}

impl Labels {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ints(labels) => labels.len(),
            Self::Texts(labels) => labels.len(),
        }
    }
}

/// Numbers of an attribute that is a list of float32, or a tensor beside it.
fn numbers(node: &NodeProto<'_>, name: &str, tensor: &str) -> Result<Vec<f64>, LoadError> {
    let plain: Vec<f64> = node.floats(name)?.into_iter().map(f64::from).collect();
    match node.tensor(tensor)? {
        Some(_) if !plain.is_empty() => {
            Err(node.malformed(tensor, format!("stands beside `{name}`; only one of them may")))
        }
        Some(tensor) => match tensor.data()? {
            Data::Numbers(numbers) => Ok(numbers),
            Data::Strings(_) => Err(node.malformed(name, "is a tensor of strings")),
        },
        None => Ok(plain),
    }
}

pub(super) fn same_length(node: &NodeProto<'_>, part: &str, length: usize, wanted: usize) -> Result<(), LoadError> {
    if length == wanted {
        return Ok(());
    }
    Err(node.malformed(part, format!("holds {length} items, {wanted} belong here")))
}

pub(super) fn index(node: &NodeProto<'_>, part: &str, value: i64, count: usize) -> Result<u32, LoadError> {
    u32::try_from(value)
        .ok()
        .filter(|&value| (value as usize) < count)
        .ok_or_else(|| node.malformed(part, format!("is {value}; 0 to {} is allowed", count.saturating_sub(1))))
}

pub(super) fn feature(
    node: &NodeProto<'_>,
    tree: usize,
    id: i64,
    value: i64,
    columns: usize,
) -> Result<u32, LoadError> {
    let found = u32::try_from(value).ok().filter(|&value| (value as usize) < columns);
    found.ok_or_else(|| {
        at(node, tree, id, "nodes_featureids", format!("splits on feature {value}, its input has {columns}"))
    })
}

/// An error at a node of a tree.
pub(super) fn at(node: &NodeProto<'_>, tree: usize, id: i64, part: &str, problem: String) -> LoadError {
    let mut place = node.place(part);
    place.tree = Some(tree);
    place.node = usize::try_from(id).ok();
    LoadError::malformed(place, problem)
}

impl Spec {
    /// Reads a `TreeEnsembleClassifier` or `TreeEnsembleRegressor`.
    pub(super) fn classic(node: &NodeProto<'_>, columns: usize, double: bool) -> Result<Self, LoadError> {
        let classifier = node.op == "TreeEnsembleClassifier";
        let labels = if classifier { Some(labels(node)?) } else { None };
        let targets = match &labels {
            Some(labels) => labels.len(),
            None => usize::try_from(node.int("n_targets", 0)?).unwrap_or(0),
        };
        check_targets(node, targets)?;
        let mut spec = Self {
            nodes: Vec::new(),
            ids: node.ints("nodes_nodeids")?,
            roots: Vec::new(),
            weights: Vec::new(),
            sets: Vec::new(),
            targets,
            aggregate: aggregate(node, node.text("aggregate_function", "SUM")?)?,
            transform: transform(node, node.text("post_transform", "NONE")?)?,
            base: numbers(node, "base_values", "base_values_as_tensor")?,
            labels,
            one_class: false,
            positive: false,
            double,
        };
        let trees = node.ints("nodes_treeids")?;
        same_length(node, "nodes_treeids", trees.len(), spec.ids.len())?;
        let place = spec.classic_nodes(node, &trees, columns)?;
        spec.classic_weights(node, classifier, &place)?;
        spec.check_base(node)?;
        Ok(spec)
    }

    /// Reads the nodes; gives back where the node of a tree and a number stands.
    fn classic_nodes(
        &mut self,
        node: &NodeProto<'_>,
        trees: &[i64],
        columns: usize,
    ) -> Result<HashMap<(i64, i64), u32>, LoadError> {
        let count = self.ids.len();
        let list = |name: &'static str| -> Result<Vec<i64>, LoadError> {
            let list = node.ints(name)?;
            same_length(node, name, list.len(), count)?;
            Ok(list)
        };
        let (features, yes, no) = (list("nodes_featureids")?, list("nodes_truenodeids")?, list("nodes_falsenodeids")?);
        let values = numbers(node, "nodes_values", "nodes_values_as_tensor")?;
        same_length(node, "nodes_values", values.len(), count)?;
        let modes = node.strings("nodes_modes")?;
        same_length(node, "nodes_modes", modes.len(), count)?;
        let tracks = node.ints("nodes_missing_value_tracks_true")?;
        if u32::try_from(count).is_err() {
            return Err(node.malformed("nodes_nodeids", "holds more than 2^32 nodes"));
        }
        let mut place = HashMap::with_capacity(count);
        for (at_node, (&tree, &id)) in trees.iter().zip(&self.ids).enumerate() {
            let first = at_node == 0 || trees[at_node - 1] != tree;
            if first {
                self.roots.push(at_node as u32);
            }
            let number = self.roots.len() - 1;
            if place.insert((tree, id), at_node as u32).is_some() {
                return Err(at(node, number, id, "nodes_nodeids", format!("node {id} of tree {tree} is there twice")));
            }
        }
        let mut number = 0;
        for at_node in 0..count {
            let (tree, id) = (trees[at_node], self.ids[at_node]);
            number += usize::from(self.roots.get(number + 1).is_some_and(|&root| root as usize == at_node));
            let Some(mode) = mode(modes[at_node]) else {
                let seen: String = modes[at_node].chars().take(40).collect();
                return Err(at(node, number, id, "nodes_modes", format!("is `{seen}`, no mode that is known")));
            };
            let Some(mode) = mode else {
                self.nodes.push(SpecNode::Leaf { from: 0, to: 0, value: values[at_node] });
                continue;
            };
            let child = |part: &str, child: i64| {
                let found = place.get(&(tree, child)).copied();
                found.ok_or_else(|| at(node, number, id, part, format!("tree {tree} has no node {child}")))
            };
            self.nodes.push(SpecNode::Split {
                mode,
                feature: feature(node, number, id, features[at_node], columns)?,
                value: values[at_node],
                tracks_true: tracks.get(at_node) == Some(&1),
                yes: child("nodes_truenodeids", yes[at_node])?,
                no: child("nodes_falsenodeids", no[at_node])?,
            });
        }
        Ok(place)
    }

    fn classic_weights(
        &mut self,
        node: &NodeProto<'_>,
        classifier: bool,
        place: &HashMap<(i64, i64), u32>,
    ) -> Result<(), LoadError> {
        let names = if classifier {
            ["class_ids", "class_nodeids", "class_treeids", "class_weights", "class_weights_as_tensor"]
        } else {
            ["target_ids", "target_nodeids", "target_treeids", "target_weights", "target_weights_as_tensor"]
        };
        let (targets, nodes, owners) = (node.ints(names[0])?, node.ints(names[1])?, node.ints(names[2])?);
        let weights = numbers(node, names[3], names[4])?;
        same_length(node, names[1], nodes.len(), targets.len())?;
        same_length(node, names[2], owners.len(), targets.len())?;
        same_length(node, names[3], weights.len(), targets.len())?;
        let mut all = Vec::with_capacity(targets.len());
        for (((&target, &id), &tree), &weight) in targets.iter().zip(&nodes).zip(&owners).zip(&weights) {
            let Some(&owner) = place.get(&(tree, id)) else {
                return Err(node.malformed(names[1], format!("tree {tree} has no node {id}")));
            };
            all.push((owner, index(node, names[0], target, self.targets)?, weight));
        }
        self.one_class = !targets.is_empty() && targets.iter().all(|target| Some(target) == targets.first());
        self.positive = !weights.iter().any(|&weight| weight < 0.0);
        // Weights of splits mean nothing; old converters wrote them.
        all.retain(|&(owner, ..)| matches!(self.nodes[owner as usize], SpecNode::Leaf { .. }));
        all.sort_by_key(|&(owner, ..)| owner);
        self.weights = all.iter().map(|&(_, target, weight)| (target, weight)).collect();
        for (position, &(owner, ..)) in all.iter().enumerate() {
            if let SpecNode::Leaf { from, to, .. } = &mut self.nodes[owner as usize] {
                if from == to {
                    *from = position as u32;
                }
                *to = position as u32 + 1;
            }
        }
        Ok(())
    }

    fn check_base(&self, node: &NodeProto<'_>) -> Result<(), LoadError> {
        let (count, targets) = (self.base.len(), self.targets);
        // Two for one class would write beyond the row's one score.
        let allowed = count == 0 || count == targets || (self.labels.is_some() && targets <= 2 && count == 1);
        if allowed {
            Ok(())
        } else {
            Err(node.malformed("base_values", format!("holds {count} numbers for {targets} targets")))
        }
    }
}

pub(super) fn check_targets(node: &NodeProto<'_>, targets: usize) -> Result<(), LoadError> {
    if (1..=OUTPUTS_MAX).contains(&targets) {
        return Ok(());
    }
    let part = if node.op == "TreeEnsembleClassifier" { "classlabels_int64s" } else { "n_targets" };
    Err(node.malformed(part, format!("{targets} targets or classes; 1 to {OUTPUTS_MAX} is allowed")))
}

/// The labels that a classifier's node lists.
pub(super) fn labels(node: &NodeProto<'_>) -> Result<Labels, LoadError> {
    let texts = node.strings("classlabels_strings")?;
    if !texts.is_empty() {
        return Ok(Labels::Texts(texts.into_iter().map(str::to_owned).collect()));
    }
    let ints = node.ints("classlabels_int64s")?;
    Ok(Labels::Ints(if ints.is_empty() { node.ints("classlabels_ints")? } else { ints }))
}

fn aggregate(node: &NodeProto<'_>, name: &str) -> Result<Aggregate, LoadError> {
    Ok(match name {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => {
            return Err(
                node.malformed("aggregate_function", format!("is `{}`", other.chars().take(40).collect::<String>()))
            );
        }
    })
}

pub(super) fn transform(node: &NodeProto<'_>, name: &str) -> Result<Transform, LoadError> {
    Ok(match name {
        "NONE" => Transform::None,
        "SOFTMAX" => Transform::Softmax,
        "LOGISTIC" => Transform::Logistic,
        "SOFTMAX_ZERO" => Transform::SoftmaxZero,
        "PROBIT" => Transform::Probit,
        other => {
            return Err(
                node.malformed("post_transform", format!("is `{}`", other.chars().take(40).collect::<String>()))
            );
        }
    })
}

/// The mode of a name: `None` for an unknown one, `Some(None)` for a leaf.
#[allow(clippy::option_option)]
fn mode(name: &str) -> Option<Option<Mode>> {
    Some(Some(match name {
        "BRANCH_LEQ" => Mode::AtMost,
        "BRANCH_LT" => Mode::Less,
        "BRANCH_GTE" => Mode::AtLeast,
        "BRANCH_GT" => Mode::Greater,
        "BRANCH_EQ" => Mode::Equal,
        "BRANCH_NEQ" => Mode::NotEqual,
        "LEAF" => return Some(None),
        _ => return None,
    }))
}
