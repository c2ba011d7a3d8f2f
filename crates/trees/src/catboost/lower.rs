//! From a model's parts to a forest with an encoder in front: an oblivious tree becomes an ordinary one whose levels all
//! ask the same, a one-hot question a feature that is 0 or 1, a statistic a feature of its own. Only what trees ask for is
//! encoded.

use std::collections::BTreeMap;

use super::ctr::Combination;
use super::encoder::{Encoder, Inputs, Statistic};
use super::parts::{Parts, Question, RawNode, RawTree, Shape};
use crate::error::{LoadError, Place};
use crate::forest::{Compare, Forest, Node, Tree};

/// A question as a split of the forest.
#[derive(Clone, Copy)]
struct Split {
    feature: u32,
    threshold: f64,
    missing_left: bool,
}

/// Makes the forest and its encoder. `inputs` is how many features the model has.
pub(super) fn lower(mut parts: Parts, inputs: usize) -> Result<(Forest<f64>, Encoder), LoadError> {
    let questions = parts.questions();
    let mut asked = vec![false; questions.len()];
    for (number, tree) in parts.trees.iter().enumerate() {
        for split in tree.shape.splits() {
            let place = usize::try_from(split).ok().and_then(|at| asked.get_mut(at));
            let Some(place) = place else {
                let problem = format!("asks question {split}, the model has {}", questions.len());
                return Err(LoadError::malformed(Place::tree(number, "splits"), problem));
            };
            *place = true;
        }
    }
    let (encoder, splits) = encoder(&mut parts, &questions, &asked, inputs)?;
    let trees = std::mem::take(&mut parts.trees);
    let trees = trees.into_iter().map(|tree| tree.lower(&splits, parts.dimension)).collect();
    let mut forest = Forest {
        features: encoder.width(),
        outputs: parts.dimension,
        compare: Compare::AtMost,
        start: vec![0.0; parts.dimension],
        trees,
        tiny_is_zero: false,
    };
    forest.check()?;
    Ok((forest, encoder))
}

/// Which input a feature's number in its own kind is.
struct Numbering {
    /// By number: the input, and whether a missing value is greater than all.
    floats: BTreeMap<i32, (u32, bool)>,
    cats: BTreeMap<i32, u32>,
}

impl Numbering {
    fn new(parts: &Parts) -> Self {
        let floats = parts.floats.iter().map(|f| (f.index, (f.flat as u32, f.nan_is_greatest))).collect();
        let cats = parts.cats.iter().map(|c| (c.index, c.flat as u32)).collect();
        Self { floats, cats }
    }

    fn float(&self, index: i32, part: &str) -> Result<(u32, bool), LoadError> {
        let missing = || LoadError::malformed(Place::part(part), format!("numeric feature {index} is not there"));
        self.floats.get(&index).copied().ok_or_else(missing)
    }

    fn cat(&self, index: i32, part: &str) -> Result<u32, LoadError> {
        let missing = || LoadError::malformed(Place::part(part), format!("categorical feature {index} is not there"));
        self.cats.get(&index).copied().ok_or_else(missing)
    }

    fn inputs(&self, combination: &Combination) -> Result<Inputs, LoadError> {
        const PART: &str = "CtrFeatures";
        let floats = combination.floats.iter().map(|&(index, border)| {
            let (input, nan_is_greatest) = self.float(index, PART)?;
            Ok((input, border, nan_is_greatest))
        });
        let one_hots = combination.one_hots.iter().map(|&(index, value)| Ok((self.cat(index, PART)?, value)));
        Ok(Inputs {
            cats: combination.cats.iter().map(|&index| self.cat(index, PART)).collect::<Result<_, _>>()?,
            floats: floats.collect::<Result<_, LoadError>>()?,
            one_hots: one_hots.collect::<Result<_, LoadError>>()?,
        })
    }
}

/// The encoder of what is asked, and each question as a split (a useless one for those that nobody asks).
fn encoder(
    parts: &mut Parts,
    questions: &[Question],
    asked: &[bool],
    inputs: usize,
) -> Result<(Encoder, Vec<Split>), LoadError> {
    let numbering = Numbering::new(parts);
    let used = || questions.iter().zip(asked).filter(|(_, asked)| **asked).map(|(question, _)| question);
    let (mut numbers, mut values) = (Vec::new(), Vec::new());
    let (mut floats, mut ctrs) = (vec![None; parts.floats.len()], vec![None; parts.ctrs.len()]);
    let mut statistics: Vec<usize> = Vec::new();
    for question in used() {
        match *question {
            Question::Border { float, .. } => {
                let (Some(place), Some(feature)) = (floats.get_mut(float), parts.floats.get(float)) else { continue };
                place.get_or_insert_with(|| {
                    numbers.push(feature.flat as u32);
                    numbers.len() - 1
                });
            }
            Question::Value { index, value } => values.push((numbering.cat(index, "OneHotFeatures")?, value)),
            Question::Ctr { ctr, .. } => {
                let Some(place) = ctrs.get_mut(ctr) else { continue };
                place.get_or_insert_with(|| {
                    statistics.push(ctr);
                    statistics.len() - 1
                });
            }
        }
    }
    let (first_value, first_statistic) = (numbers.len(), numbers.len() + values.len());
    let mut next_value = first_value;
    let splits = questions.iter().zip(asked).map(|(question, &asked)| match *question {
        _ if !asked => Split { feature: 0, threshold: 0.0, missing_left: true },
        Question::Border { float, border } => {
            let greatest = parts.floats.get(float).is_some_and(|feature| feature.nan_is_greatest);
            // A missing value stands for an infinity, which is not above an infinite border.
            let missing_left = !greatest || border == f32::INFINITY;
            let feature = floats.get(float).copied().flatten().unwrap_or_default();
            Split { feature: feature as u32, threshold: f64::from(border), missing_left }
        }
        Question::Value { .. } => {
            next_value += 1;
            Split { feature: next_value as u32 - 1, threshold: 0.5, missing_left: true }
        }
        Question::Ctr { ctr, border } => {
            let feature = first_statistic + ctrs.get(ctr).copied().flatten().unwrap_or_default();
            Split { feature: feature as u32, threshold: f64::from(border), missing_left: true }
        }
    });
    let splits = splits.collect();
    let mut combinations: Vec<Inputs> = Vec::new();
    let mut made = Vec::with_capacity(statistics.len());
    for &ctr in &statistics {
        let Some(feature) = parts.ctrs.get(ctr) else { continue };
        let inputs = numbering.inputs(&feature.combination)?;
        // CatBoost writes statistics in the order of their combinations.
        if combinations.last() != Some(&inputs) {
            combinations.push(inputs);
        }
        made.push(Statistic { combination: combinations.len() - 1, table: feature.table, formula: feature.formula });
    }
    let tables = std::mem::take(&mut parts.tables);
    for statistic in &made {
        let Some(table) = tables.get(statistic.table) else { continue };
        table.check(&statistic.formula).map_err(|problem| LoadError::malformed(Place::part("CtrFeatures"), problem))?;
    }
    let has_categories = !parts.cats.is_empty();
    debug_assert!(numbers.iter().all(|&input| (input as usize) < inputs));
    Ok((Encoder { numbers, values, combinations, statistics: made, tables, has_categories }, splits))
}

impl Shape {
    fn splits(&self) -> impl Iterator<Item = i32> {
        let (levels, nodes) = match self {
            Self::Oblivious(levels) => (levels.as_slice(), &[][..]),
            Self::Nodes(nodes) => (&[][..], nodes.as_slice()),
        };
        let of_nodes = nodes.iter().filter_map(|node| match *node {
            RawNode::Split { split, .. } => Some(split),
            RawNode::Leaf(_) => None,
        });
        levels.iter().copied().chain(of_nodes)
    }
}

impl RawTree {
    fn lower(self, splits: &[Split], dimension: usize) -> Tree<f64> {
        let value = |leaf: u32| if dimension == 1 { self.leaves.get(leaf as usize).copied() } else { None };
        let leaf = |leaf: u32| Node::Leaf { value: value(leaf).unwrap_or_default(), index: leaf };
        let node = |split: i32, left: u32, right: u32| {
            let split = usize::try_from(split).ok().and_then(|at| splits.get(at));
            let Split { feature, threshold, missing_left } =
                split.copied().unwrap_or(Split { feature: 0, threshold: 0.0, missing_left: true });
            Node::Numeric { feature, threshold, missing_left, zero_missing: false, left, right }
        };
        let nodes = match self.shape {
            // A heap: level by level, the last question first, so that leaves stand in the order of their numbers.
            Shape::Oblivious(ref levels) => {
                let mut nodes = Vec::with_capacity((2 << levels.len()) - 1);
                for (depth, &split) in levels.iter().rev().enumerate() {
                    for _ in 0..1u32 << depth {
                        let child = 2 * nodes.len() as u32 + 1;
                        nodes.push(node(split, child, child + 1));
                    }
                }
                nodes.extend((0..1u32 << levels.len()).map(leaf));
                nodes
            }
            Shape::Nodes(ref nodes) => nodes
                .iter()
                .map(|&raw| match raw {
                    RawNode::Split { split, left, right } => node(split, left, right),
                    RawNode::Leaf(index) => leaf(index),
                })
                .collect(),
        };
        let vectors = if dimension == 1 { Vec::new() } else { self.leaves };
        Tree { nodes, output: 0, sets: Vec::new(), vectors, linear: Vec::new(), depth: 0 }
    }
}
