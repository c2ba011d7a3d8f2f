//! Loads tree ensembles and evaluates them, exactly as the framework that trained them does.
//!
//! - XGBoost 1.0 to 3.x, JSON and UBJ: `gbtree`, `dart`, `gblinear`, random forests, categorical splits, vector leaves.
//! - CatBoost CBM and JSON: numbers, categories (one-hot and statistics), oblivious and other trees.
//! - ONNX: tree ensembles of `ai.onnx.ml` 1 to 5, and scikit-learn's forests as skl2onnx writes them.
//! - LightGBM text (v2 to v4): all objectives, categorical splits, linear trees.
//!
//! ```no_run
//! use millstream_trees::{LoadOptions, Model, Output, Rows, Scratch};
//!
//! let model = Model::load("model.json", &LoadOptions::default())?;
//! let row = vec![f64::NAN; model.features().len()]; // NaN is a missing value
//! let mut out = vec![0.0; model.outputs(Output::Prediction)];
//! let mut scratch = Scratch::new(); // one per thread
//! model.predict(Rows::F64(&row), Output::Prediction, &mut out, &mut scratch)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Inputs are compared in the framework's own number type, sums are added in its order, and links are computed in its
//! arithmetic: XGBoost's margins come out bit for bit. A prediction for a row never depends on which rows share its
//! call. Nothing here starts a thread, reads a clock, or touches a file (but for [`Model::load`], which reads one).

#![deny(unsafe_code)]
// Blocks of rows have kernels on x86-64 alone; what serves them is compiled everywhere.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]

mod catboost;
mod document;
mod encoded;
mod error;
mod exp32;
mod exp64;
mod feature;
mod forest;
mod format;
mod interleaved;
mod layout;
mod lightgbm;
mod linear;
mod link;
mod model;
mod onnx;
mod shap;
mod walk;
mod xgboost;

pub use error::{LoadError, Place, PredictError};
pub use feature::{Categories, CategoryNames, Feature};
pub use format::Format;
pub use layout::Instructions;
pub use model::{Description, Layout, LoadOptions, Model, Output, Rows, Scratch};

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
