//! Tree ensembles (and the linear models that stand in the same kinds of files).

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use millstream_core::{Error, Model, ModelInput, OutputKind, Result, Signature};
use millstream_trees::{Categories, Feature, LoadError, LoadOptions, Output, Rows, Scratch};
use sha2::{Digest, Sha256};

use crate::ModelFormat;
use crate::codes::{DAMAGED, INPUTS, NOT_A_MODEL, OUTPUT, UNREADABLE, UNSUPPORTED};
use crate::columns::Column;

thread_local! {
    /// A thread's memory for predicting, shared by all models: grown once, never per call.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

#[derive(Default)]
struct Buffers {
    /// The columns of a batch that have nulls, one after another: as large as the largest batch makes it.
    filled: Vec<f64>,
    scratch: Scratch,
}

/// A model of `millstream-trees` with its signature and digest.
pub(crate) struct TreeModel {
    model: millstream_trees::Model,
    signature: Signature,
    digest: String,
}

/// Loads the trees of a model from its bytes; `path` is for messages.
pub(crate) fn parse(
    path: &str,
    bytes: &[u8],
    format: Option<ModelFormat>,
    contributions: bool,
) -> Result<millstream_trees::Model> {
    let options = LoadOptions { format, contributions, ..LoadOptions::default() };
    millstream_trees::Model::from_bytes(bytes, &options).map_err(|e| refuse(path, e))
}

/// The SHA-256 of a file, in hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl TreeModel {
    /// Loads a model from its bytes; `path` is for messages.
    pub(crate) fn load(path: &str, bytes: &[u8], format: Option<ModelFormat>) -> Result<Self> {
        let model = parse(path, bytes, format, false)?;
        let inputs = model.features().iter();
        // Categories that are numbers, or that are known by their codes only, are given as numbers.
        let texts = |f: &Feature| matches!(f.categories.as_deref(), Some(Categories::Text(_) | Categories::Hashed));
        let inputs = inputs.map(|f| ModelInput { name: f.name.clone(), categorical: texts(f) }).collect();
        let signature = Signature { inputs, outputs: model.outputs(Output::Prediction) };
        let loaded = Self { model, signature, digest: digest(bytes) };
        loaded.warm_up()?;
        Ok(loaded)
    }

    /// Predicts a row without values: touches the model's memory before the first event waits for it.
    fn warm_up(&self) -> Result<()> {
        let blank: ArrayRef = Arc::new(Float64Array::from(vec![None]));
        self.predict(&vec![blank; self.signature.inputs.len()], OutputKind::Prediction).map(drop)
    }

    /// What messages call an input.
    fn input_name(&self, index: usize) -> String {
        match self.signature.inputs.get(index).and_then(|input| input.name.as_deref()) {
            Some(name) => format!("`{name}`"),
            None => format!("number {index}"),
        }
    }

    /// Looks at the inputs: one column for each feature, all of one length, which is given back.
    fn columns<'a>(&self, inputs: &'a [ArrayRef]) -> Result<(Vec<Column<'a>>, usize)> {
        let features = self.model.features();
        if inputs.len() != features.len() {
            let message = format!("{} inputs are given, the model takes {}", inputs.len(), features.len());
            return Err(Error::new(INPUTS, message));
        }
        let rows = inputs.first().map_or(0, |input| input.len());
        let mut columns = Vec::with_capacity(inputs.len());
        for (index, (input, feature)) in inputs.iter().zip(features).enumerate() {
            let name = self.input_name(index);
            if input.len() != rows {
                return Err(Error::new(INPUTS, format!("input {name} has {} rows, the first one {rows}", input.len())));
            }
            columns.push(Column::new(input, feature, &name)?);
        }
        Ok((columns, rows))
    }

    fn numbers(&self, inputs: &[ArrayRef], output: Output) -> Result<Vec<f64>> {
        let (columns, rows) = self.columns(inputs)?;
        let mut out = vec![0.0; rows * self.model.outputs(output)];
        BUFFERS.with_borrow_mut(|Buffers { filled, scratch }| {
            // Where columns have nulls, a copy that shows them as NaN; the others are read where they stand.
            filled.clear();
            columns.iter().for_each(|column| column.fill(filled));
            let mut filled = filled.as_slice();
            let values: Vec<&[f64]> = columns.iter().map(|column| column.values(&mut filled)).collect();
            let predicted = self.model.predict(Rows::Columns(&values), output, &mut out, scratch);
            predicted.map_err(|e| Error::new(INPUTS, "the inputs don't fit the model").because(e))
        })?;
        Ok(out)
    }
}

impl Model for TreeModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn digest(&self) -> &str {
        &self.digest
    }

    fn describe(&self) -> String {
        self.model.description().to_string()
    }

    fn supports(&self, kind: OutputKind) -> bool {
        match kind {
            OutputKind::Prediction | OutputKind::Raw => true,
            // Several labels a row have no single class.
            OutputKind::Class => self.model.outputs(Output::Class) == 1,
        }
    }

    /// As many margins as there are, too, for `multi:softmax`: it predicts one class from several of them.
    fn output_type(&self, kind: OutputKind) -> DataType {
        match self.model.outputs(output(kind)) {
            _ if kind == OutputKind::Class && !self.model.class_names().is_empty() => DataType::Utf8,
            _ if kind == OutputKind::Class => DataType::Int64,
            1 => DataType::Float64,
            several => DataType::FixedSizeList(item(), i32::try_from(several).unwrap_or(i32::MAX)),
        }
    }

    fn predict(&self, inputs: &[ArrayRef], kind: OutputKind) -> Result<ArrayRef> {
        if !self.supports(kind) {
            return Err(self.no_class());
        }
        let output = output(kind);
        let numbers = self.numbers(inputs, output)?;
        if kind == OutputKind::Class && !self.model.class_names().is_empty() {
            let names = numbers.iter().map(|&class| self.model.class_names().get(class as usize));
            return Ok(Arc::new(names.collect::<StringArray>()));
        }
        if kind == OutputKind::Class {
            return Ok(Arc::new(numbers.into_iter().map(|class| class as i64).collect::<Int64Array>()));
        }
        let numbers = Arc::new(Float64Array::from(numbers));
        match self.output_type(kind) {
            DataType::FixedSizeList(item, width) => {
                let lists = FixedSizeListArray::try_new(item, width, numbers, None);
                Ok(Arc::new(
                    lists.map_err(|e| Error::new(INPUTS, "the model's outputs fill no whole lists").because(e))?,
                ))
            }
            _ => Ok(numbers),
        }
    }
}

/// The output of the trees crate.
fn output(kind: OutputKind) -> Output {
    match kind {
        OutputKind::Prediction => Output::Prediction,
        OutputKind::Raw => Output::Raw,
        OutputKind::Class => Output::Class,
    }
}

/// The items of a list of numbers.
fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float64, true))
}

impl TreeModel {
    fn no_class(&self) -> Error {
        let objective = &self.model.description().objective;
        let why = match self.model.outputs(Output::Class) {
            0 => "it has no classes",
            _ => "a row can have several labels",
        };
        Error::new(OUTPUT, format!("output `class` is asked of a model with objective `{objective}`: {why}"))
            .help("use `output: prediction` or `output: raw`")
    }
}

/// What a user is told about a file that is refused.
fn refuse(path: &str, error: LoadError) -> Error {
    let message = |what: &str| format!("model file `{path}` {what}");
    match error {
        LoadError::UnknownFormat { .. } => {
            Error::new(NOT_A_MODEL, message("is no model that is known here")).because(error).help(
                "models are read as XGBoost's, LightGBM's and CatBoost's own `save_model` writes them: `.json` or `.ubj`, \
                 text, and `.cbm` or `.json`; and ONNX files",
            )
        }
        LoadError::Malformed { .. } => {
            Error::new(DAMAGED, message("is damaged or not in the format it is said to be in")).because(error).help(
                "save the model again, compare the file's size with the original's, and check `format:` if it is given",
            )
        }
        LoadError::Unsupported { .. } => Error::new(UNSUPPORTED, message("can't be used")).because(error),
        other => Error::new(UNREADABLE, message("can't be read")).because(other),
    }
}
