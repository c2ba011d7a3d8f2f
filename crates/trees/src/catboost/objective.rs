//! What a model says of itself: the loss it was trained on, and so its link; its classes; the version that wrote it.

use crate::document::{At, Value, json};
use crate::error::{LoadError, Place};
use crate::link::{Classes, Link};
use crate::xgboost::OUTPUTS_MAX;

/// A fact as a file gives it: text (which may be a JSON document), or a document already.
pub(super) enum Fact<'v, 'a> {
    Text(&'v str),
    Document(&'v Value<'a>),
}

/// What is made of the facts.
pub(super) struct Facts {
    /// The loss function with its parameters, as one gives it to CatBoost.
    pub(super) objective: String,
    pub(super) link: Link,
    pub(super) classes: Classes,
    pub(super) version: Option<String>,
    pub(super) external: Option<External>,
    pub(super) labels: Labels,
}

/// What the classes are called; nothing if they are 0, 1, 2, …
#[derive(Default)]
pub(super) struct Labels {
    /// Whole numbers.
    pub(super) numbers: Vec<f64>,
    /// Strings, or fractions as text.
    pub(super) names: Vec<String>,
}

impl Labels {
    fn read(names: &At<'_, '_>) -> Self {
        match names.value {
            Value::Numbers(numbers) => {
                // `true` and `false` are no labels, and 0 and 1 are what they mean.
                let numbers = numbers.f64s().unwrap_or_default();
                if numbers.iter().all(|number| number.fract() == 0.0) {
                    return Self { numbers, names: Vec::new() };
                }
                Self { numbers: Vec::new(), names: numbers.iter().map(f64::to_string).collect() }
            }
            Value::List(_) => {
                let names = names.strings().unwrap_or_default();
                Self { numbers: Vec::new(), names: names.into_iter().map(str::to_owned).collect() }
            }
            _ => Self::default(),
        }
    }

    /// These, if there are as many as wanted.
    fn only_if(self, wanted: impl Fn(usize) -> bool) -> Self {
        if wanted(self.numbers.len() + self.names.len()) { self } else { Self::default() }
    }
}

/// How the trees' outputs stand among the model's: a model may know of classes that training never saw.
pub(super) struct External {
    /// Outputs of the model.
    pub(super) outputs: usize,
    /// The place of each of the trees' outputs.
    pub(super) places: Vec<u32>,
}

/// Losses whose predictions are the raw sums, as CatBoost's `predict` gives them.
const IDENTITY: &[&str] = &[
    "RMSE",
    "MAE",
    "Quantile",
    "MultiQuantile",
    "GroupQuantile",
    "LogLinQuantile",
    "Expectile",
    "LogCosh",
    "Lq",
    "Huber",
    "MAPE",
    "RMSPE",
    "MSLE",
    "SMAPE",
    "MultiRMSE",
    "MultiRMSEWithMissingValues",
    "SurvivalAft",
    "Cox",
    "PairLogit",
    "PairLogitPairwise",
    "YetiRank",
    "YetiRankPairwise",
    "QueryRMSE",
    "QuerySoftMax",
    "QueryCrossEntropy",
    "LambdaMart",
    "StochasticFilter",
    "StochasticRank",
    "Combination",
    "PythonUserDefinedPerObject",
    "PythonUserDefinedMultiTarget",
    "UserPerObjMetric",
    "UserQuerywiseMetric",
];

impl Facts {
    /// `dimension` is how many outputs the trees have.
    pub(super) fn read<'v, 'a: 'v>(
        find: impl Fn(&str) -> Option<Fact<'v, 'a>>,
        dimension: usize,
    ) -> Result<Self, LoadError> {
        let text = |key| match find(key) {
            Some(Fact::Text(text)) => Some(text),
            _ => None,
        };
        let (name, objective) = match loss(&find)? {
            Some((name, parameters)) if parameters.is_empty() => (name.clone(), name),
            Some((name, parameters)) => (name.clone(), format!("{name}:{parameters}")),
            None => (String::new(), "unknown".into()),
        };
        let threshold = text("binclass_probability_threshold").and_then(|t| t.trim_ascii().parse::<f64>().ok());
        let (link, classes) = link(&name, dimension, threshold)?;
        let several = classes == Classes::RawGreatest;
        let key = if find("class_params").is_some() { "class_params" } else { "multiclass_params" };
        let (mut external, mut labels) = (None, Labels::default());
        if several || link == Link::TwoClasses {
            with_document(key, find(key), |params| {
                (external, labels) = class_params(params, dimension, several)?;
                Ok(())
            })?;
        }
        let version = text("catboost_version_info").and_then(version);
        Ok(Self { objective, link, classes, version, external, labels })
    }
}

/// Gives a fact's document, if there is one.
fn with_document(
    key: &str,
    fact: Option<Fact<'_, '_>>,
    mut read: impl FnMut(At<'_, '_>) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let path = format!("model_info.{key}");
    match fact {
        None => Ok(()),
        Some(Fact::Document(value)) => read(At::root(value).named(&path, None)),
        Some(Fact::Text(text)) => {
            let value =
                json::parse(text.as_bytes()).map_err(|e| LoadError::malformed(Place::part(&path), e.to_string()))?;
            read(At::root(&value).named(&path, None))
        }
    }
}

/// The name of the loss and its parameters. Models that were summed up have it outside of `params`.
fn loss<'v, 'a: 'v>(find: &impl Fn(&str) -> Option<Fact<'v, 'a>>) -> Result<Option<(String, String)>, LoadError> {
    let mut found = None;
    with_document("params", find("params"), |params| {
        if let Some(loss) = params.find("model_info.params", "loss_function") {
            found = described(&loss)?;
        }
        Ok(())
    })?;
    if found.is_some() {
        return Ok(found);
    }
    match find("loss_function") {
        Some(Fact::Text(text)) if !text.trim_ascii().starts_with('{') => {
            let (name, parameters) = text.trim_ascii().split_once(':').unwrap_or((text.trim_ascii(), ""));
            Ok((!name.is_empty()).then(|| (name.to_owned(), parameters.to_owned())))
        }
        other => {
            with_document("loss_function", other, |loss| {
                found = described(&loss)?;
                Ok(())
            })?;
            Ok(found)
        }
    }
}

/// `{"type": "Tweedie", "params": {"variance_power": "1.5"}}`
fn described(loss: &At<'_, '_>) -> Result<Option<(String, String)>, LoadError> {
    const PATH: &str = "model_info.params.loss_function";
    if let Value::Str(name) = loss.value {
        return Ok(Some((name.to_string(), String::new())));
    }
    let name = loss.get(PATH, "type")?.str()?.to_owned();
    let mut parameters = Vec::new();
    if let Some(Value::Map(entries)) = loss.find(PATH, "params").map(|params| params.value) {
        for (key, value) in entries {
            match value {
                Value::Str(text) if !key.starts_with("__") => parameters.push(format!("{key}={text}")),
                Value::NumberText(text) => parameters.push(format!("{key}={text}")),
                _ => {}
            }
        }
    }
    Ok(Some((name, parameters.join(";"))))
}

fn link(name: &str, dimension: usize, threshold: Option<f64>) -> Result<(Link, Classes), LoadError> {
    const SIGMOID: Link = Link::Sigmoid64 { slope: 1.0 };
    let place = || Place::part("model_info.params.loss_function");
    let border = match threshold {
        Some(p) if p > 0.0 && p < 1.0 => -(1.0 / p - 1.0).ln(),
        _ => 0.0,
    };
    let (link, classes, wanted) = match name {
        "Logloss" | "CrossEntropy" | "Focal" => (Link::TwoClasses, Classes::RawAbove(border), Some(1)),
        "MultiClass" => (Link::FastSoftmax, Classes::RawGreatest, None),
        "MultiClassOneVsAll" => (SIGMOID, Classes::RawGreatest, None),
        "MultiLogloss" | "MultiCrossEntropy" => (SIGMOID, Classes::RawAbove(0.0), None),
        "Poisson" | "Tweedie" => (Link::FastExp, Classes::None, Some(1)),
        "RMSEWithUncertainty" => (Link::MeanAndVariance, Classes::None, Some(2)),
        // A model that doesn't say what it was trained on predicts its sums.
        "" => (Link::Identity, Classes::None, None),
        other if IDENTITY.contains(&other) => (Link::Identity, Classes::None, None),
        other => {
            let other: String = other.chars().take(60).collect();
            return Err(LoadError::unsupported(place(), format!("loss function `{other}`")));
        }
    };
    match wanted {
        Some(wanted) if wanted != dimension => Err(LoadError::malformed(
            place(),
            format!("is `{name}`, whose leaves hold {wanted} numbers; this model's hold {dimension}"),
        )),
        _ => Ok((link, classes)),
    }
}

/// Labels, and where the trees' outputs stand among the classes.
fn class_params(params: At<'_, '_>, dimension: usize, several: bool) -> Result<(Option<External>, Labels), LoadError> {
    const PATH: &str = "model_info.class_params";
    let list = |key| params.find(PATH, key).filter(|list| !matches!(list.value, Value::Null));
    let names = list("class_names");
    let labels = names.as_ref().map(Labels::read).unwrap_or_default();
    if !several {
        return Ok((None, labels.only_if(|count| count <= 2)));
    }
    let named = match names.map(|names| names.value) {
        Some(Value::List(items)) => items.len(),
        _ => labels.numbers.len() + labels.names.len(),
    };
    let count = list("classes_count").map_or(Ok(0), |count| count.count(OUTPUTS_MAX))?;
    let places = list("class_to_label").map_or(Ok(Vec::new()), |places| places.i64s())?;
    let outputs = if count.max(named) == 0 { dimension } else { count.max(named) };
    if places.is_empty() {
        return Ok((None, labels.only_if(|count| count == dimension)));
    }
    let malformed = |problem| LoadError::malformed(Place::part(format!("{PATH}.class_to_label")), problem);
    if places.len() != dimension {
        return Err(malformed(format!("holds {} numbers, leaves hold {dimension}", places.len())));
    }
    let mut taken = vec![false; outputs];
    let mut kept = Vec::with_capacity(places.len());
    for place in places {
        match usize::try_from(place).ok().and_then(|place| taken.get_mut(place)) {
            Some(taken) if !*taken => *taken = true,
            // Labels of the user's own, in a model that doesn't say how many there are.
            _ if count.max(named) == 0 => return Ok((None, Labels::default())),
            _ => return Err(malformed(format!("{place} is no class of {outputs}, or stands there twice"))),
        }
        kept.push(place as u32);
    }
    let same = outputs == dimension && kept.iter().zip(0..).all(|(&place, index)| place == index);
    let external = (!same).then_some(External { outputs, places: kept });
    Ok((external, labels.only_if(|count| count == outputs)))
}

/// The version in CatBoost's build information: `… Branch: tags/v1.2.10 …`.
fn version(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("tags/v")?;
    let version: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '.').take(20).collect();
    (!version.is_empty()).then_some(version)
}
