//! The booster inside a learner: trees (plain, random forest, DART) or a linear model.

use super::{Boosted, BoosterParts, Header, categories, tree};
use crate::document::At;
use crate::error::LoadError;
use crate::forest::{Compare, Forest, Node, Tree};
use crate::linear::LinearModel;
use crate::model::Engine;
use crate::shap::Covers;

const BOOSTER: &str = "learner.gradient_booster";
const MODEL: &str = "learner.gradient_booster.model";

pub(super) fn load(
    learner: &At<'_, '_>,
    header: &Header,
    covers: Option<&mut Covers>,
) -> Result<BoosterParts, LoadError> {
    let booster = learner.get("learner", "gradient_booster")?;
    let name = booster.get(BOOSTER, "name")?;
    match name.str()? {
        "gbtree" => trees(learner, &booster.get(BOOSTER, "model")?, None, header, covers),
        "dart" => {
            let inner = booster.get(BOOSTER, "gbtree")?;
            let weights = booster.get(BOOSTER, "weight_drop")?;
            trees(learner, &inner.get("learner.gradient_booster.gbtree", "model")?, Some(weights), header, covers)
        }
        "gblinear" => linear(&booster.get(BOOSTER, "model")?, header),
        other => Err(LoadError::unsupported(
            name.place(),
            format!("booster `{}`", other.chars().take(60).collect::<String>()),
        )),
    }
}

fn linear(model: &At<'_, '_>, header: &Header) -> Result<BoosterParts, LoadError> {
    let weights = model.get(MODEL, "weights")?;
    let values = weights.f32s()?;
    let wanted = (header.features + 1) * header.outputs;
    if values.len() != wanted {
        return Err(weights.malformed(format!(
            "holds {} numbers; {} features and {} outputs need {wanted}",
            values.len(),
            header.features,
            header.outputs
        )));
    }
    let boosted = Boosted { trees: 0, trees_in_file: 0, depth: 0, leaves: 0, categories: Vec::new() };
    // XGBoost 3 adds the first output's intercept to every output of a linear model, and so its numbers are these.
    let start = vec![header.start.first().copied().unwrap_or_default(); header.outputs];
    let model = LinearModel { features: header.features, start, weights: values };
    Ok((Engine::Linear(model), boosted))
}

fn trees(
    learner: &At<'_, '_>,
    model: &At<'_, '_>,
    weight_drop: Option<At<'_, '_>>,
    header: &Header,
    mut covers: Option<&mut Covers>,
) -> Result<BoosterParts, LoadError> {
    let list = model.get(MODEL, "trees")?;
    let items = list.list()?;
    let infos = model.get(MODEL, "tree_info")?;
    let outputs = infos.i64s()?;
    if outputs.len() != items.len() {
        return Err(infos.malformed(format!("holds {} numbers, there are {} trees", outputs.len(), items.len())));
    }
    let param = model.find(MODEL, "gbtree_model_param");
    if let Some(claimed) = param.and_then(|p| p.find(MODEL, "num_trees"))
        && claimed.int()? != items.len() as i64
    {
        return Err(list.malformed(format!("holds {} trees, num_trees says {}", items.len(), claimed.int()?)));
    }
    let weights = weight_drop.map(|weights| tree_weights(&weights, items.len())).transpose()?;
    let used = trees_used(learner, model, header, items.len())?;
    let mut trees = Vec::new();
    for (index, (item, &output)) in items.iter().zip(&outputs).take(used).enumerate() {
        let at = At::root(item).named("trees", Some(index));
        let output = u32::try_from(output).map_err(|_| at.malformed(format!("tree_info says output {output}")))?;
        let mut tree = tree::load(&at, output, header)?;
        if let Some(covers) = &mut covers {
            // Trees with vectors in leaves have none, and no contributions.
            let simple = tree.vectors.is_empty();
            covers.push(if simple { tree::covers(&at, tree.nodes.len())? } else { Vec::new() });
        }
        if let Some(weights) = &weights {
            scale(&mut tree, weights[index]);
        }
        trees.push(tree);
    }
    let mut forest = Forest {
        features: header.features,
        outputs: header.outputs,
        compare: Compare::Less,
        start: header.start.clone(),
        trees,
        tiny_is_zero: false,
    };
    forest.check()?;
    let boosted = Boosted {
        trees: used,
        trees_in_file: items.len(),
        depth: forest.depth(),
        leaves: forest.leaves(),
        categories: categories::load(model, header.features)?,
    };
    Ok((Engine::single(forest), boosted))
}

/// DART's weight of each tree.
fn tree_weights(weights: &At<'_, '_>, trees: usize) -> Result<Vec<f32>, LoadError> {
    let values = weights.f32s()?;
    if values.len() != trees {
        return Err(weights.malformed(format!("holds {} numbers, there are {trees} trees", values.len())));
    }
    Ok(values)
}

fn scale(tree: &mut Tree<f32>, weight: f32) {
    for node in &mut tree.nodes {
        if let Node::Leaf { value, .. } = node {
            *value *= weight;
        }
    }
    tree.vectors.iter_mut().for_each(|value| *value *= weight);
}

/// How many of the trees predict. XGBoost's own `Booster.predict` uses all; its scikit-learn classes stop after the
/// best iteration of an early-stopped training, and leave a mark in the files they save. So a file predicts here as
/// the class that wrote it does.
fn trees_used(learner: &At<'_, '_>, model: &At<'_, '_>, header: &Header, trees: usize) -> Result<usize, LoadError> {
    const PATH: &str = "learner.attributes";
    let Some(attributes) = learner.find("learner", "attributes") else { return Ok(trees) };
    let (Some(best), Some(_)) = (attributes.find(PATH, "best_iteration"), attributes.find(PATH, "scikit_learn")) else {
        return Ok(trees);
    };
    let iterations = best.count(trees)? + 1;
    if let Some(ends) = model.find(MODEL, "iteration_indptr") {
        let end = ends.i64s()?.get(iterations).copied().unwrap_or(trees as i64);
        let in_range = usize::try_from(end).ok().filter(|&end| end <= trees);
        return in_range.ok_or_else(|| ends.malformed(format!("iteration {iterations} ends at tree {end} of {trees}")));
    }
    let parallel = match model.find(MODEL, "gbtree_model_param").and_then(|p| p.find(MODEL, "num_parallel_tree")) {
        Some(parallel) => parallel.count(trees)?.max(1),
        None => 1,
    };
    Ok(iterations.saturating_mul(parallel).saturating_mul(header.outputs).min(trees))
}
