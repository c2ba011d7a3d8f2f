//! One tree of a LightGBM model. Splits are numbered from 0; child `-1 - n` is leaf `n`.

use super::text::{Entry, Section};
use crate::error::{LoadError, Place};
use crate::forest::{CategorySet, Linear, Node, Tree};

/// Bits of a node's `decision_type`.
const CATEGORICAL: i32 = 1;
const DEFAULT_LEFT: i32 = 2;

/// What bits 2 and 3 of `decision_type` say is missing.
const MISSING_NONE: i32 = 0;
const MISSING_ZERO: i32 = 1;
const MISSING_NAN: i32 = 2;

pub(super) fn load(section: &Section<'_>, output: u32) -> Result<Tree<f64>, LoadError> {
    let claimed = section.get("num_leaves")?;
    let values: Vec<f64> = section.get("leaf_value")?.list()?;
    let leaves = claimed.count(i32::MAX as usize)?;
    if leaves == 0 || values.len() != leaves {
        return Err(claimed.malformed(format!("is {leaves}, leaf_value holds {} numbers", values.len())));
    }
    let splits = leaves - 1;
    let sets = if splits > 0 { category_sets(section)? } else { Vec::new() };
    let mut nodes = if splits > 0 { self::splits(section, splits, sets.len())? } else { Vec::new() };
    nodes.extend((0u32..).zip(&values).map(|(index, &value)| Node::Leaf { value, index }));
    let is_linear = section.find("is_linear").is_some_and(|entry| entry.text == "1");
    let linear = if is_linear { linear(section, leaves)? } else { Vec::new() };
    Ok(Tree { nodes, output, sets, vectors: Vec::new(), linear, depth: 0 })
}

/// How many training rows came through each split, and to each leaf.
pub(super) fn covers(section: &Section<'_>, nodes: usize) -> Result<Vec<f64>, LoadError> {
    let leaves = nodes / 2 + 1;
    if leaves == 1 {
        return Ok(vec![1.0]);
    }
    let mut covers = section.list::<f64>("internal_count", leaves - 1)?;
    covers.extend(section.list::<f64>("leaf_count", leaves)?);
    Ok(covers)
}

fn splits(section: &Section<'_>, splits: usize, sets: usize) -> Result<Vec<Node<f64>>, LoadError> {
    let (left, right) = (section.list::<i32>("left_child", splits)?, section.list::<i32>("right_child", splits)?);
    let features = section.list::<u32>("split_feature", splits)?;
    let thresholds = section.list::<f64>("threshold", splits)?;
    let decisions = match section.find("decision_type") {
        Some(_) => section.list::<i32>("decision_type", splits)?,
        None => vec![0; splits],
    };
    let tree = section.tree.unwrap_or(0);
    let child = |child: i32| if child >= 0 { child as u32 } else { splits as u32 + !child as u32 };
    let mut nodes = Vec::with_capacity(splits * 2 + 1);
    for at in 0..splits {
        let (feature, threshold, decision) = (features[at], thresholds[at], decisions[at]);
        let (left, right) = (child(left[at]), child(right[at]));
        let missing = decision >> 2;
        if !(MISSING_NONE..=MISSING_NAN).contains(&missing) {
            let problem = format!("is {decision}, whose missing type {missing} is unknown");
            return Err(LoadError::malformed(Place::node(tree, at, "decision_type"), problem));
        }
        if decision & CATEGORICAL != 0 {
            let set = threshold as u32;
            if f64::from(set) != threshold || set as usize >= sets {
                let problem = format!("set {threshold} is meant, the tree has {sets}");
                return Err(LoadError::malformed(Place::node(tree, at, "threshold"), problem));
            }
            nodes.push(Node::Category { feature, set, found_left: true, missing_left: false, left, right });
            continue;
        }
        // Without a missing type of its own, NaN is read as 0.
        let missing_left = if missing == MISSING_NONE { 0.0 <= threshold } else { decision & DEFAULT_LEFT != 0 };
        let zero_missing = missing == MISSING_ZERO;
        nodes.push(Node::Numeric { feature, threshold, missing_left, zero_missing, left, right });
    }
    Ok(nodes)
}

fn category_sets(section: &Section<'_>) -> Result<Vec<CategorySet>, LoadError> {
    let count = section.find("num_cat").map_or(Ok(0), |entry| entry.count(i32::MAX as usize))?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let boundaries = section.get("cat_boundaries")?;
    let ends: Vec<usize> = boundaries.list()?;
    let words: Vec<u32> = section.get("cat_threshold")?.list()?;
    if ends.len() != count.saturating_add(1) || ends.first() != Some(&0) {
        return Err(
            boundaries.malformed(format!("holds {} numbers; {count} sets need one more, from 0 on", ends.len()))
        );
    }
    let set = |pair: &[usize]| {
        let bits = words.get(pair[0]..pair[1]);
        bits.map(|bits| CategorySet::Bits(bits.into())).ok_or_else(|| {
            boundaries.malformed(format!("{} to {} is no range of {} words", pair[0], pair[1], words.len()))
        })
    };
    // Rising boundaries, so that the sets together are no larger than the words.
    if let Some(pair) = ends.windows(2).find(|pair| pair[0] > pair[1]) {
        return Err(boundaries.malformed(format!("falls from {} to {}", pair[0], pair[1])));
    }
    ends.windows(2).map(set).collect()
}

/// The linear functions of the leaves.
fn linear(section: &Section<'_>, leaves: usize) -> Result<Vec<Linear<f64>>, LoadError> {
    let constants = section.list::<f64>("leaf_const", leaves)?;
    let lengths = section.list::<usize>("num_features", leaves)?;
    let total = lengths.iter().fold(0usize, |sum, &n| sum.saturating_add(n));
    let optional = |entry: Option<Entry<'_>>| entry.is_some() || total > 0;
    let features =
        if optional(section.find("leaf_features")) { section.list::<u32>("leaf_features", total)? } else { Vec::new() };
    let coefficients =
        if optional(section.find("leaf_coeff")) { section.list::<f64>("leaf_coeff", total)? } else { Vec::new() };
    let mut terms = features.into_iter().zip(coefficients);
    Ok(constants
        .into_iter()
        .zip(lengths)
        .map(|(constant, length)| Linear { constant, terms: terms.by_ref().take(length).collect() })
        .collect())
}
