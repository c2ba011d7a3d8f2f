//! Why a model says what it says: leaf indices, and each feature's share of a raw output (path-dependent TreeSHAP).
//!
//! Plain code on the caller's thread. What a row needs beside the model lies in the caller's [`Scratch`].
//!
//! Contributions are those of Lundberg et al. (2018), algorithm 2, which XGBoost's `pred_contribs` and LightGBM's
//! `pred_contrib` compute; how they come out so much faster here stands in [`paths`].

mod paths;
mod quadrature;

use crate::encoded::Encoded;
use crate::error::{LoadError, PredictError};
use crate::forest::{Forest, Real};
use crate::model::{Engine, Model, Rows, Scratch};
use paths::{Paths, PathsBuffers};

/// A row of contributions holds at most so many numbers.
const CONTRIBUTIONS_MAX: usize = 1 << 24;

/// How many training rows (or what sum of their Hessians) came through each node: a list for each tree, in the order of
/// its nodes.
pub(crate) type Covers = Vec<Vec<f64>>;

/// What a model can say of contributions.
pub(crate) enum Reasons {
    /// The model was loaded without them.
    NotAsked,
    /// It has none, and why.
    None(&'static str),
    /// A linear model: weight times value.
    Linear,
    Trees(Box<Paths>),
}

/// Memory for one row.
#[derive(Debug, Default)]
pub(crate) struct ReasonBuffers {
    single: Vec<f32>,
    double: Vec<f64>,
    paths: PathsBuffers,
}

impl Reasons {
    /// Prepares contributions.
    pub(crate) fn new(engine: &Engine, covers: &Covers) -> Result<Self, LoadError> {
        Ok(match engine {
            Engine::Single(ensemble) => match unexplained(ensemble.forest()) {
                Some(why) => Self::None(why),
                None => Self::Trees(Box::new(Paths::single(ensemble.forest(), covers)?)),
            },
            Engine::Double(ensemble) => match unexplained(ensemble.forest()) {
                Some(why) => Self::None(why),
                None => Self::Trees(Box::new(Paths::double(ensemble.forest(), covers)?)),
            },
            Engine::Linear(_) => Self::Linear,
            Engine::Encoded(..) => Self::None("CatBoost's `ShapValues` are not computed here"),
            Engine::Graph(_) => Self::None("ONNX files don't say how many training rows came through a node"),
        })
    }

    /// Bytes kept for contributions.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Trees(paths) => paths.bytes(),
            _ => 0,
        }
    }
}

/// Why the framework itself gives no contributions for a forest, if so.
fn unexplained<T: Real>(forest: &Forest<T>) -> Option<&'static str> {
    if forest.trees.iter().any(|tree| !tree.vectors.is_empty()) {
        return Some("XGBoost computes none for trees whose leaves are vectors");
    }
    let linear = forest.trees.iter().any(|tree| !tree.linear.is_empty());
    linear.then_some("LightGBM computes none for linear trees")
}

impl Model {
    /// Numbers per row of [`Model::contributions`]: for each raw output one for each feature, and the expected value.
    pub fn contributions_per_row(&self) -> usize {
        self.raw_outputs.saturating_mul(self.features().len() + 1)
    }

    /// Each feature's contribution to each raw output, and after them the output's expected value: together they are the
    /// raw output. `out` holds [`Model::contributions_per_row`] numbers for each row, row after row.
    ///
    /// They are what XGBoost's `pred_contribs` and LightGBM's `pred_contrib` give, but for the roundings that those gather.
    ///
    /// # Errors
    /// The model was loaded without [`LoadOptions::contributions`](crate::LoadOptions::contributions) or can't give any,
    /// or the slices don't fit.
    pub fn contributions(&self, rows: Rows<'_>, out: &mut [f64], scratch: &mut Scratch) -> Result<(), PredictError> {
        let (features, width) = (self.features().len(), self.contributions_per_row());
        let count = rows.count(features)?;
        let none = |why| Err(PredictError::NoContributions { why });
        match &self.reasons {
            Reasons::NotAsked => return none("the model was loaded without them (`LoadOptions::contributions`)"),
            Reasons::None(why) => return none(why),
            Reasons::Linear | Reasons::Trees(_) => {}
        }
        if width > CONTRIBUTIONS_MAX {
            return none("a row of them would hold more than 16 million numbers");
        }
        if out.len() != count * width {
            return Err(PredictError::OutputLength { given: out.len(), rows: count, outputs: width });
        }
        let ReasonBuffers { single, double, paths: buffers } = &mut scratch.reasons;
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            match (&self.reasons, &self.engine) {
                (Reasons::Trees(paths), Engine::Single(ensemble)) => {
                    read(ensemble.forest(), rows, row, single);
                    paths.explain(ensemble.forest(), single, buffers, out);
                }
                (Reasons::Trees(paths), Engine::Double(ensemble)) => {
                    read(ensemble.forest(), rows, row, double);
                    paths.explain(ensemble.forest(), double, buffers, out);
                }
                (Reasons::Linear, Engine::Linear(linear)) => {
                    linear.contributions((0..features).map(|feature| rows.at(row, feature, features)), out);
                }
                // Reasons are made from the engine.
                _ => out.fill(f64::NAN),
            }
        }
        Ok(())
    }

    /// Numbers per row of [`Model::leaf_indices`]: one for each tree that predicts.
    pub fn leaves_per_row(&self) -> usize {
        self.description().trees
    }

    /// The leaf that a row reaches in each tree, as its framework numbers them (XGBoost's `pred_leaf`, LightGBM's
    /// `pred_leaf`, CatBoost's `calc_leaf_indexes`). `out` holds [`Model::leaves_per_row`] numbers for each row.
    ///
    /// # Errors
    /// The model has no numbered leaves (a linear model, ONNX), or the slices don't fit.
    pub fn leaf_indices(&self, rows: Rows<'_>, out: &mut [u32], scratch: &mut Scratch) -> Result<(), PredictError> {
        let (features, trees) = (self.features().len(), self.leaves_per_row());
        let count = rows.count(features)?;
        match &self.engine {
            Engine::Linear(_) => return Err(PredictError::NoLeaves { why: "it is linear and has no trees" }),
            Engine::Graph(_) => return Err(PredictError::NoLeaves { why: "ONNX does not number leaves" }),
            Engine::Encoded(_, encoded) => self.check_width(rows, encoded)?,
            Engine::Single(_) | Engine::Double(_) => {}
        }
        if out.len() != count * trees {
            return Err(PredictError::OutputLength { given: out.len(), rows: count, outputs: trees });
        }
        // A forest can be without trees.
        let ReasonBuffers { single, double, .. } = &mut scratch.reasons;
        for (row, out) in out.chunks_exact_mut(trees.max(1)).enumerate() {
            match &self.engine {
                Engine::Single(ensemble) => {
                    read(ensemble.forest(), rows, row, single);
                    leaves(ensemble.forest(), single, true, out);
                }
                Engine::Double(ensemble) => {
                    read(ensemble.forest(), rows, row, double);
                    leaves(ensemble.forest(), double, false, out);
                }
                Engine::Encoded(ensemble, encoded) => {
                    double.resize(encoded.encoder.width(), 0.0);
                    encoded.encoder.encode(|feature| rows.at64(row, feature, features), double);
                    leaves(ensemble.forest(), double, false, out);
                }
                Engine::Linear(_) | Engine::Graph(_) => {}
            }
        }
        Ok(())
    }

    /// Whether contributions were asked for when the model was loaded, and how many bytes they take.
    pub fn contributions_bytes(&self) -> usize {
        self.reasons.bytes()
    }

    fn check_width(&self, rows: Rows<'_>, encoded: &Encoded) -> Result<(), PredictError> {
        let hashed = matches!(rows, Rows::F32(_)) && encoded.encoder.has_categories();
        if hashed { Err(PredictError::NeedsDouble) } else { Ok(()) }
    }
}

/// Reads a row as the trees see it.
fn read<T: Real>(forest: &Forest<T>, rows: Rows<'_>, row: usize, into: &mut Vec<T>) {
    into.clear();
    into.extend((0..forest.features).map(|feature| {
        let value = rows.at64(row, feature, forest.features);
        forest.seen(T::from_f64(value))
    }));
}

/// The leaf of each tree: the number of its node, or the leaf's own.
fn leaves<T: Real>(forest: &Forest<T>, row: &[T], by_node: bool, out: &mut [u32]) {
    for (tree, out) in forest.trees.iter().zip(out) {
        let node = tree.leaf_node(forest.compare, row);
        *out = if by_node { node as u32 } else { tree.leaf_number(node) };
    }
}
