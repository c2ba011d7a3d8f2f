//! LightGBM's objectives: the header's `objective=` line, and the link it means.

use super::text::Section;
use crate::error::{LoadError, Place};
use crate::link::{Classes, Link};

pub(super) struct Objective {
    /// The line as it stands in the file, or `custom` without one.
    pub(super) text: String,
    pub(super) link: Link,
    pub(super) classes: Classes,
}

impl Objective {
    pub(super) fn of(header: &Section<'_>, outputs: usize) -> Result<Self, LoadError> {
        // Trained on an objective of the user's own: predictions are the raw sums, as LightGBM gives them.
        let Some(entry) = header.find("objective").filter(|entry| !entry.text.is_empty()) else {
            return Ok(Self { text: "custom".into(), link: Link::Identity, classes: Classes::None });
        };
        let mut words = entry.words();
        let name = words.next().unwrap_or_default();
        let parameters: Vec<&str> = words.collect();
        let slope = || -> Result<f64, LoadError> {
            let Some(text) = parameters.iter().find_map(|p| p.strip_prefix("sigmoid:")) else { return Ok(1.0) };
            let slope = text.parse().ok().filter(|slope| *slope > 0.0);
            slope.ok_or_else(|| entry.malformed(format!("sigmoid is `{text}`, not a positive number")))
        };
        let (link, classes) = match name {
            "binary" => (Link::Sigmoid64 { slope: slope()? }, Classes::Half),
            "multiclass" | "softmax" => (Link::Softmax64, Classes::Greatest),
            "multiclassova" | "multiclass_ova" | "ova" | "ovr" => {
                (Link::Sigmoid64 { slope: slope()? }, Classes::Greatest)
            }
            "regression" | "regression_l1" | "fair" | "quantile" | "mape" if parameters.contains(&"sqrt") => {
                (Link::SignedSquare, Classes::None)
            }
            "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" | "lambdarank" | "rank_xendcg"
            | "custom" | "none" => (Link::Identity, Classes::None),
            "poisson" | "gamma" | "tweedie" => (Link::Exp64, Classes::None),
            "cross_entropy" | "xentropy" => (Link::Sigmoid64 { slope: 1.0 }, Classes::None),
            "cross_entropy_lambda" | "xentlambda" => (Link::LogOnePlusExp, Classes::None),
            other => {
                let other: String = other.chars().take(60).collect();
                return Err(LoadError::unsupported(Place::part("objective"), format!("objective `{other}`")));
            }
        };
        if let Some(classes) = header.find("num_class") {
            let classes = classes.count(crate::xgboost::OUTPUTS_MAX)?;
            if classes != outputs {
                return Err(entry.malformed(format!("num_class is {classes}, num_tree_per_iteration {outputs}")));
            }
        }
        Ok(Self { text: entry.text.to_owned(), link, classes })
    }
}
