//! LightGBM models, as `save_model` writes them: text, versions 2 to 4.

mod objective;
mod text;
mod tree;

use std::sync::Arc;

use crate::error::{LoadError, Place};
use crate::feature::{Categories, CategoryNames, Feature};
use crate::forest::{Compare, Forest};
use crate::model::{Description, Engine, Loaded};
use crate::shap::Covers;
use crate::xgboost::{FEATURES_MAX, OUTPUTS_MAX};
use objective::Objective;
use text::{Document, Section};

/// Loads a text model.
pub(crate) fn load(bytes: &[u8], covers: Option<&mut Covers>) -> Result<Loaded, LoadError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| LoadError::malformed(Place::byte(e.valid_up_to()), "the text is not UTF-8"))?;
    let document = Document::split(text)?;
    let header = &document.header;
    let version = version(header)?;
    let features = header.get("max_feature_idx")?.count(FEATURES_MAX - 1)? + 1;
    let outputs = header.get("num_tree_per_iteration")?.count(OUTPUTS_MAX)?;
    if outputs == 0 || !document.trees.len().is_multiple_of(outputs) {
        let problem = format!("is {outputs}, the model has {} trees", document.trees.len());
        return Err(LoadError::malformed(Place::part("num_tree_per_iteration"), problem));
    }
    let objective = Objective::of(header, outputs)?;
    let mut trees = Vec::new();
    for (index, section) in document.trees.iter().enumerate() {
        trees.push(tree::load(section, (index % outputs) as u32)?);
    }
    let mut forest = Forest {
        features,
        outputs,
        compare: Compare::AtMost,
        start: vec![0.0; outputs],
        trees,
        // Every way into LightGBM's predictor goes through a sparse row, which drops what is as good as zero.
        tiny_is_zero: true,
    };
    forest.check()?;
    if let Some(covers) = covers {
        let sections = document.trees.iter().zip(&forest.trees);
        *covers = sections.map(|(section, of)| tree::covers(section, of.nodes.len())).collect::<Result<_, _>>()?;
    }
    let iterations = forest.trees.len() / outputs;
    let average = header.has("average_output").then_some(iterations as f64);
    let description = Description {
        framework: "lightgbm",
        version: Some(version.to_owned()),
        objective: objective.text.clone(),
        trees: forest.trees.len(),
        trees_in_file: forest.trees.len(),
        depth: forest.depth(),
        leaves: forest.leaves(),
    };
    let features = self::features(header, features, document.pandas_categorical)?;
    Ok(Loaded {
        engine: Engine::double(forest, average),
        features,
        link: objective.link,
        classes: objective.classes,
        description,
    })
}

fn version<'a>(header: &Section<'a>) -> Result<&'a str, LoadError> {
    let version = header.get("version")?;
    match version.text {
        "v2" | "v3" | "v4" => Ok(version.text),
        other => {
            let other: String = other.chars().take(20).collect();
            Err(LoadError::unsupported(Place::part("version"), format!("version `{other}` (v2, v3 and v4 are known)")))
        }
    }
}

/// Names and categories. Names that LightGBM made up itself (`Column_0`, `Column_1`, …) are no names.
fn features(header: &Section<'_>, count: usize, pandas: Option<&str>) -> Result<Vec<Feature>, LoadError> {
    let names: Vec<&str> = header.get("feature_names")?.words().collect();
    let infos: Vec<&str> = header.find("feature_infos").map(|f| f.words().collect()).unwrap_or_default();
    for (key, length) in [("feature_names", names.len()), ("feature_infos", infos.len())] {
        if length != count && !(key == "feature_infos" && length == 0) {
            let problem = format!("holds {length} entries, max_feature_idx says {count}");
            return Err(LoadError::malformed(Place::part(key), problem));
        }
    }
    let made_up =
        names.iter().enumerate().all(|(i, name)| name.strip_prefix("Column_") == Some(i.to_string().as_str()));
    let mut features: Vec<Feature> = (0..count)
        .map(|index| Feature {
            name: (!made_up).then(|| names[index].to_owned()),
            // `[min:max]` for a number, `none` for one that is never used, `3:0:7` for categories.
            categorical: infos.get(index).is_some_and(|info| !info.starts_with('[') && *info != "none"),
            categories: None,
        })
        .collect();
    let lists: Vec<Vec<serde_json::Value>> =
        pandas.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    // The lists stand in the order of the categorical columns, without their names: they can be told apart only if
    // every one of those columns is still recognisable.
    if lists.len() == features.iter().filter(|feature| feature.categorical).count() {
        for (feature, list) in features.iter_mut().filter(|feature| feature.categorical).zip(lists) {
            feature.categories = categories(&list).map(Arc::new);
        }
    }
    Ok(features)
}

fn categories(list: &[serde_json::Value]) -> Option<Categories> {
    let text: Option<Vec<String>> = list.iter().map(|v| v.as_str().map(str::to_owned)).collect();
    let numbers = || list.iter().map(serde_json::Value::as_f64).collect::<Option<Vec<f64>>>();
    text.map(|names| Categories::Text(CategoryNames::new(names))).or_else(|| numbers().map(Categories::Numbers))
}
