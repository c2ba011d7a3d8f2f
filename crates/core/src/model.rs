//! What a model is: named inputs, named outputs, a digest, and a pure function between them.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};

use crate::error::Result;

/// One input of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInput {
    /// The model's own name for the feature, where it has one.
    pub name: Option<String>,
    /// Whether the feature is a category rather than a number.
    pub categorical: bool,
}

/// Which of a model's numbers a step wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// What the framework's own `predict` gives: probability of a binary classifier, value of a regression,
    /// the list of class probabilities of a multi-class one.
    Prediction,
    /// The margin, before the link function.
    Raw,
    /// The most likely class, as an integer, or by its name where the model names its classes.
    Class,
}

/// What goes in and what comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The inputs in the model's order.
    pub inputs: Vec<ModelInput>,
    /// Numbers per row: 1 for a score, the number of classes or targets otherwise.
    pub outputs: usize,
}

/// A loaded model. Shared between workers; immutable.
///
/// A prediction for a row never depends on which rows share its batch.
pub trait Model: Send + Sync {
    /// Names and types of inputs and outputs.
    fn signature(&self) -> &Signature;

    /// SHA-256 of the model's bytes, hex.
    fn digest(&self) -> &str;

    /// What it is, for people: `xgboost 3.2 binary:logistic, 100 trees`.
    fn describe(&self) -> String;

    /// Whether the model can give this output.
    fn supports(&self, kind: OutputKind) -> bool;

    /// The type of the column that `predict` gives.
    fn output_type(&self, kind: OutputKind) -> DataType {
        match (kind, self.signature().outputs) {
            (OutputKind::Class, _) => DataType::Int64,
            (_, 1) => DataType::Float64,
            (_, n) => {
                let item = Field::new("item", DataType::Float64, true);
                DataType::FixedSizeList(Arc::new(item), i32::try_from(n).unwrap_or(i32::MAX))
            }
        }
    }

    /// Predicts a batch. `inputs` holds one array for each input of the signature, in its order, all of one
    /// length; numeric inputs as `Float64` (null is a missing value). Gives `Float64`, or
    /// `FixedSizeList<Float64>` where there are several numbers a row, or `Int64` for [`OutputKind::Class`] (`Utf8`
    /// if the classes have names).
    ///
    /// # Errors
    /// The inputs don't have the shape the signature says.
    fn predict(&self, inputs: &[ArrayRef], kind: OutputKind) -> Result<ArrayRef>;
}
