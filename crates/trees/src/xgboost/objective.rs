//! XGBoost's objectives: the link after the margin, and the one before `base_score`.

use crate::document::At;
use crate::error::{LoadError, Place};
use crate::link::{Classes, Link};

/// How `base_score`, which stands in the space of predictions, becomes a margin.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Base {
    Identity,
    Logit,
    Log,
}

/// What an objective means for predictions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Objective {
    pub(super) name: String,
    pub(super) link: Link,
    pub(super) classes: Classes,
    base: Base,
}

impl Objective {
    pub(super) fn of(learner: &At<'_, '_>) -> Result<Self, LoadError> {
        let name = learner.get("learner", "objective")?.get("learner.objective", "name")?.str()?;
        let (link, classes, base) = match name {
            "reg:squarederror"
            | "reg:linear"
            | "reg:squaredlogerror"
            | "reg:pseudohubererror"
            | "reg:absoluteerror"
            | "reg:quantileerror"
            | "reg:expectileerror"
            | "rank:pairwise"
            | "rank:ndcg"
            | "rank:map" => (Link::Identity, Classes::None, Base::Identity),
            "reg:logistic" => (Link::Sigmoid32, Classes::None, Base::Logit),
            "binary:logistic" => (Link::Sigmoid32, Classes::Half, Base::Logit),
            "binary:logitraw" => (Link::Identity, Classes::Half, Base::Identity),
            "binary:hinge" => (Link::Hinge, Classes::Half, Base::Identity),
            "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => {
                (Link::Exp32, Classes::None, Base::Log)
            }
            "multi:softmax" => (Link::ArgMax, Classes::Prediction, Base::Identity),
            "multi:softprob" => (Link::Softmax32, Classes::Greatest, Base::Identity),
            other => {
                let other: String = other.chars().take(60).collect();
                let at = Place::part("learner.objective.name");
                return Err(LoadError::unsupported(at, format!("objective `{other}`")));
            }
        };
        Ok(Self { name: name.to_owned(), link, classes, base })
    }

    /// For `binary:logitraw`, which took its `base_score` for a probability before 1.3, and for a margin since.
    fn base(&self, version: &[i64]) -> Base {
        let raw = self.name == "binary:logitraw";
        if raw && version < [1, 3].as_slice() && !version.is_empty() { Base::Logit } else { self.base }
    }

    /// The margin that `base_score` stands for, in float32 as XGBoost computes it.
    pub(super) fn margin(&self, score: f32, version: &[i64]) -> f32 {
        match self.base(version) {
            Base::Identity => score,
            Base::Log => log32(score),
            Base::Logit => {
                // Since 3.1 a score of 0 or 1 (all labels alike) is moved inside; before, it was an error.
                let edge = 1e-6;
                let outside = !(score > 0.0 && score < 1.0);
                let score =
                    if outside || version >= [3, 1].as_slice() { score.max(edge).min(1.0 - edge) } else { score };
                -log32(1.0 / score - 1.0)
            }
        }
    }
}

/// `ln` rounded correctly to float32.
fn log32(x: f32) -> f32 {
    f64::from(x).ln() as f32
}
