//! XGBoost models, as `save_model` writes them: JSON since 1.0, UBJ since 1.6.

mod booster;
mod categories;
mod objective;
mod tree;
mod ubj;

use std::sync::Arc;

use crate::document::{At, Value, json};
use crate::error::{LoadError, Place};
use crate::feature::{Categories, Feature};
use crate::model::{Description, Engine, Loaded};
use crate::shap::Covers;
use objective::Objective;

/// More inputs than this can't be meant for dense rows; it also bounds what a hostile header can claim.
pub(crate) const FEATURES_MAX: usize = 1 << 20;
/// The same for outputs.
pub(crate) const OUTPUTS_MAX: usize = 1 << 16;

/// Loads a JSON model.
pub(crate) fn load_json(bytes: &[u8], covers: Option<&mut Covers>) -> Result<Loaded, LoadError> {
    load(&json::parse(bytes)?, covers)
}

/// Loads a UBJ model.
pub(crate) fn load_ubj(bytes: &[u8], covers: Option<&mut Covers>) -> Result<Loaded, LoadError> {
    load(&ubj::parse(bytes)?, covers)
}

/// What `learner_model_param` and the objective say.
struct Header {
    features: usize,
    outputs: usize,
    objective: Objective,
    /// Where the margin of each output starts.
    start: Vec<f32>,
}

fn load(document: &Value<'_>, covers: Option<&mut Covers>) -> Result<Loaded, LoadError> {
    let root = At::root(document);
    let learner = match root.find("", "learner") {
        Some(learner) => learner,
        None => {
            return Err(LoadError::UnknownFormat {
                seen: crate::format::foreign_json(|key| root.find("", key).is_some()),
            });
        }
    };
    let version = version(&root)?;
    let header = header(&learner, &version)?;
    let mut features = features(&learner, header.features)?;
    let (engine, boosted) = booster::load(&learner, &header, covers)?;
    let description = Description {
        framework: "xgboost",
        version: (!version.is_empty()).then(|| version.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")),
        objective: header.objective.name.clone(),
        trees: boosted.trees,
        trees_in_file: boosted.trees_in_file,
        depth: boosted.depth,
        leaves: boosted.leaves,
    };
    for (feature, known) in features.iter_mut().zip(boosted.categories) {
        feature.categorical |= known.is_some();
        feature.categories = known.map(Arc::new);
    }
    Ok(Loaded { engine, features, link: header.objective.link, classes: header.objective.classes, description })
}

fn version(root: &At<'_, '_>) -> Result<Vec<i64>, LoadError> {
    let version = root.find("", "version").map(|v| v.i64s()).transpose()?.unwrap_or_default();
    match version.first() {
        Some(major) if !(1..=3).contains(major) => Err(LoadError::unsupported(
            Place::part("version"),
            format!(
                "a model of XGBoost {}; 1.0 to 3.x are known, and this version",
                version.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
            ),
        )),
        _ => Ok(version),
    }
}

fn header(learner: &At<'_, '_>, version: &[i64]) -> Result<Header, LoadError> {
    const PATH: &str = "learner.learner_model_param";
    let param = learner.get("learner", "learner_model_param")?;
    let count = |key, max| param.find(PATH, key).map_or(Ok(0), |value| value.count(max));
    let features = param.get(PATH, "num_feature")?.count(FEATURES_MAX)?;
    if features == 0 {
        return Err(param.get(PATH, "num_feature")?.malformed("is 0; a model has at least one feature"));
    }
    let outputs = count("num_class", OUTPUTS_MAX)?.max(count("num_target", OUTPUTS_MAX)?).max(1);
    let objective = Objective::of(learner)?;
    let base_score = param.get(PATH, "base_score")?;
    let mut scores = scores(&base_score)?;
    if scores.len() == 1 {
        scores = vec![scores[0]; outputs];
    }
    if scores.len() != outputs {
        return Err(base_score.malformed(format!("holds {} numbers, the model has {outputs} outputs", scores.len())));
    }
    let start = scores.into_iter().map(|score| objective.margin(score, version)).collect();
    Ok(Header { features, outputs, objective, start })
}

/// `base_score` is a string: `5E-1` up to XGBoost 3.0, `[5E-1]` or `[1E0,2E0]` since.
fn scores(base_score: &At<'_, '_>) -> Result<Vec<f32>, LoadError> {
    let text = match base_score.value {
        Value::Str(text) => text.as_ref(),
        Value::NumberText(text) => text,
        Value::Float(number) => return Ok(vec![*number as f32]),
        Value::Int(number) => return Ok(vec![*number as f32]),
        _ => return base_score.f32s(),
    };
    let text = text.trim_ascii();
    let list = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let scores: Result<Vec<f32>, _> = list.split(',').map(|item| item.trim_ascii().parse()).collect();
    scores.map_err(|_| {
        base_score
            .malformed(format!("is `{}`, not a number or a list of numbers", text.chars().take(60).collect::<String>()))
    })
}

fn features(learner: &At<'_, '_>, count: usize) -> Result<Vec<Feature>, LoadError> {
    let strings = |key| -> Result<Vec<&str>, LoadError> {
        let Some(list) = learner.find("learner", key) else { return Ok(Vec::new()) };
        let strings = list.strings()?;
        if !strings.is_empty() && strings.len() != count {
            return Err(list.malformed(format!("holds {} names, the model has {count} features", strings.len())));
        }
        Ok(strings)
    };
    let (names, types) = (strings("feature_names")?, strings("feature_types")?);
    Ok((0..count)
        .map(|index| Feature {
            name: names.get(index).map(|&name| name.to_owned()),
            categorical: types.get(index).is_some_and(|&t| t == "c" || t == "categorical"),
            categories: None,
        })
        .collect())
}

/// Facts about the booster, for the description.
struct Boosted {
    trees: usize,
    trees_in_file: usize,
    depth: u32,
    leaves: usize,
    categories: Vec<Option<Categories>>,
}

type BoosterParts = (Engine, Boosted);
