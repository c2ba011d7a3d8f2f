//! The models a pipeline can call: whatever stands behind [`millstream_core::Model`].
//!
//! A model file is read once, when the pipeline is planned, and shared by all workers; predicting takes no lock, starts
//! no thread and touches no file. Today every model is an ensemble of trees (or a linear model in the same files),
//! evaluated by the crate `millstream-trees`.

pub mod codes;
mod columns;
mod trees;

use std::path::Path;
use std::sync::Arc;

use millstream_core::{Error, Model, Result};

/// The formats of model files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelFormat {
    /// XGBoost, JSON.
    XgboostJson,
    /// XGBoost, Universal Binary JSON.
    XgboostUbj,
    /// LightGBM, text.
    LightgbmText,
    /// CatBoost, binary (CBM).
    CatboostCbm,
    /// CatBoost, JSON.
    CatboostJson,
    /// ONNX, of trees.
    Onnx,
}

/// Reads and loads a model file. Without a format it is told from the file's content.
///
/// # Errors
/// The file can't be read, is no model that is known here, is damaged, or uses something that is not supported.
pub fn load(path: &Path, format: Option<ModelFormat>) -> Result<Arc<dyn Model>> {
    let bytes = std::fs::read(path).map_err(|e| {
        Error::new(codes::UNREADABLE, format!("model file `{}` can't be read", path.display()))
            .because(e)
            .help("paths in a pipeline file are relative to the folder it stands in")
    })?;
    Ok(Arc::new(trees::TreeModel::load(&path.display().to_string(), &bytes, format)?))
}
