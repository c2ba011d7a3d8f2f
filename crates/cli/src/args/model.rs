//! The arguments of `model`.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use millstream_models::ModelFormat;

#[derive(Debug, Args)]
pub struct ModelArgs {
    #[command(subcommand)]
    pub command: ModelCommand,
}

#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Show what a model file holds: framework, features, trees, outputs, and what a row costs
    #[command(after_long_help = "Example:\n  millstream model inspect fraud.json")]
    Inspect(InspectArgs),
    /// Predict rows: one line of JSON out for each line in
    ///
    /// A row is an object by feature names, or a list in the order of the features. null is a missing value; "NaN",
    /// "Infinity" and "-Infinity" are the numbers of that name. A single output is written as a number, several as a
    /// list.
    #[command(after_long_help = PREDICT_EXAMPLES)]
    Predict(PredictArgs),
}

const PREDICT_EXAMPLES: &str = "\
Examples:
  millstream model predict fraud.json --input rows.ndjson
  millstream model predict fraud.txt --input rows.ndjson --output raw
  echo '[12.5, null, 3]' | millstream model predict fraud.json --input - --output contributions";

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The model file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The format of the file, where it is not to be told from its content
    #[arg(long, value_parser = model_format(), value_name = "FORMAT")]
    pub format: Option<ModelFormat>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct PredictArgs {
    /// The model file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Rows, one JSON text a line; `-` is standard input
    #[arg(long, short, value_name = "FILE")]
    pub input: PathBuf,
    /// The format of the model file, where it is not to be told from its content
    #[arg(long, value_parser = model_format(), value_name = "FORMAT")]
    pub format: Option<ModelFormat>,
    /// What is written for each row
    #[arg(long, short, value_enum, default_value_t = ModelOutput::Prediction)]
    pub output: ModelOutput,
}

/// The formats, by the names that pipeline files call them.
fn model_format() -> impl TypedValueParser<Value = ModelFormat> {
    let names = ModelFormat::NAMES.map(|(_, name, what)| PossibleValue::new(name).help(what));
    PossibleValuesParser::new(names).try_map(|name| {
        let found = ModelFormat::NAMES.into_iter().find(|(_, known, _)| *known == name);
        found.map(|(format, _, _)| format).ok_or("no such format")
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelOutput {
    /// The sum of the trees, before the link function
    Raw,
    /// What the framework's own `predict` gives
    Prediction,
    /// The class
    Class,
    /// The leaf reached in each tree, as the framework numbers them
    Leaf,
    /// For each raw output, the share of each feature (TreeSHAP) and then the expected value
    Contributions,
}
