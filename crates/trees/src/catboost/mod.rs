//! CatBoost models, as `save_model` writes them: CBM, and JSON.
//!
//! Trees see float32 numbers and go right above a border. Categories are hashed; what training counted for them becomes a
//! number by a table and a formula ([`encoder`]). Sums are float64, from 0 in the order of the trees, then scaled and
//! shifted.

mod cbm;
mod city;
mod ctr;
mod encoder;
mod flat;
mod json;
mod lower;
mod objective;
mod parts;

use std::sync::Arc;

use crate::encoded::Encoded;
use crate::error::{LoadError, Place};
use crate::feature::{Categories, Feature};
use crate::model::{Description, Engine, Loaded};
use crate::xgboost::FEATURES_MAX;
pub(crate) use encoder::{Encoder, code_of_number, code_of_text};
use objective::{External, Facts};
use parts::{Parts, check_borders};

/// Loads a CBM model.
pub(crate) fn load_cbm(bytes: &[u8]) -> Result<Loaded, LoadError> {
    load(cbm::load(bytes)?)
}

/// Loads a JSON model.
pub(crate) fn load_json(bytes: &[u8]) -> Result<Loaded, LoadError> {
    load(json::load(bytes)?)
}

fn load((parts, facts): (Parts, Facts)) -> Result<Loaded, LoadError> {
    let features = features(&parts)?;
    for (what, borders) in parts
        .floats
        .iter()
        .map(|f| ("FloatFeatures", &f.borders))
        .chain(parts.ctrs.iter().map(|c| ("CtrFeatures", &c.borders)))
    {
        check_borders(borders).map_err(|problem| LoadError::malformed(Place::part(what), problem))?;
    }
    let (scale, bias) = (parts.scale, parts.bias.clone());
    if !scale.is_finite() || bias.iter().any(|bias| !bias.is_finite()) {
        return Err(LoadError::malformed(Place::part("scale and bias"), "are not finite"));
    }
    let (forest, encoder) = lower::lower(parts, features.len())?;
    let description = Description {
        framework: "catboost",
        version: facts.version,
        objective: facts.objective,
        trees: forest.trees.len(),
        trees_in_file: forest.trees.len(),
        depth: forest.depth(),
        leaves: forest.leaves(),
    };
    let (outputs, places) = match facts.external {
        Some(External { outputs, places }) => (outputs, places),
        None => (forest.outputs, Vec::new()),
    };
    let encoded = Encoded {
        encoder,
        scale,
        bias,
        outputs,
        places,
        labels: facts.labels.numbers,
        class_names: facts.labels.names,
    };
    Ok(Loaded {
        engine: Engine::encoded(forest, encoded),
        features,
        link: facts.link,
        classes: facts.classes,
        description,
    })
}

/// The features in the order of their numbers among all. Numbers that no feature has belong to features that training
/// never used, in models that don't keep those.
fn features(parts: &Parts) -> Result<Vec<Feature>, LoadError> {
    let floats = parts.floats.iter().map(|f| (f.flat, &f.name, false));
    let others = parts.cats.iter().chain(&parts.idle).map(|f| (f.flat, &f.name, true));
    let all: Vec<_> = floats.chain(others).collect();
    let place = || Place::part("features");
    let last = all.iter().map(|(flat, ..)| *flat).max();
    let Some(last) = last else { return Err(LoadError::malformed(place(), "the model has none")) };
    let bound = usize::try_from(last).ok().filter(|&last| last < FEATURES_MAX);
    let count = 1 + bound.ok_or_else(|| LoadError::malformed(place(), format!("one is number {last}")))?;
    let mut features = vec![Feature::default(); count];
    let mut seen = vec![false; count];
    let hashed = Arc::new(Categories::Hashed);
    for (flat, name, categorical) in all {
        let place_of = |flat: i32| usize::try_from(flat).ok();
        let (Some(feature), Some(seen)) =
            (place_of(flat).and_then(|at| features.get_mut(at)), place_of(flat).and_then(|at| seen.get_mut(at)))
        else {
            return Err(LoadError::malformed(place(), format!("one is number {flat}")));
        };
        if std::mem::replace(seen, true) {
            return Err(LoadError::malformed(place(), format!("two are number {flat}")));
        }
        *feature = Feature {
            name: (!name.is_empty()).then(|| name.clone()),
            categorical,
            categories: categorical.then(|| Arc::clone(&hashed)),
        };
    }
    Ok(features)
}
