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
pub use millstream_trees::Format as ModelFormat;

/// Reads and loads a model file. Without a format it is told from the file's content.
///
/// # Errors
/// The file can't be read, is no model that is known here, is damaged, or uses something that is not supported.
pub fn load(path: &Path, format: Option<ModelFormat>) -> Result<Arc<dyn Model>> {
    let bytes = read(path)?;
    Ok(Arc::new(trees::TreeModel::load(&path.display().to_string(), &bytes, format)?))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| {
        Error::new(codes::UNREADABLE, format!("model file `{}` can't be read", path.display()))
            .because(e)
            .help("paths in a pipeline file are relative to the folder it stands in")
    })
}

/// A model file with all that its trees can say, for tools.
pub struct Opened {
    /// The model.
    pub model: millstream_trees::Model,
    /// What [`Model::digest`] gives for the file.
    pub digest: String,
    /// The file's size.
    pub bytes: usize,
}

/// Reads and loads a model file, with contributions if they are asked for.
///
/// # Errors
/// As [`load`].
pub fn open(path: &Path, format: Option<ModelFormat>, contributions: bool) -> Result<Opened> {
    let bytes = read(path)?;
    let model = trees::parse(&path.display().to_string(), &bytes, format, contributions)?;
    Ok(Opened { model, digest: trees::digest(&bytes), bytes: bytes.len() })
}
