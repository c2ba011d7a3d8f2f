//! `millstream model`: what a model file holds, and its numbers for rows of one's own.
//!
//! All on the command's thread; each ends with its input.

mod inspect;
mod predict;
mod row;

use std::path::Path;

use millstream_models::{ModelFormat, Opened};

use crate::args::{ModelArgs, ModelCommand};
use crate::failure::Outcome;

/// `millstream model ...`
pub fn model(args: &ModelArgs) -> Outcome {
    match &args.command {
        ModelCommand::Inspect(args) => inspect::inspect(args),
        ModelCommand::Predict(args) => predict::predict(args),
    }
}

fn open(file: &Path, format: Option<ModelFormat>, contributions: bool) -> Outcome<Opened> {
    Ok(millstream_models::open(file, format, contributions)?)
}
