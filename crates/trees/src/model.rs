//! A loaded model, and predicting with it.

use std::fmt;
use std::path::Path;

use crate::error::{LoadError, PredictError};
use crate::feature::Feature;
use crate::forest::{Forest, Real};
use crate::format::Format;
use crate::interleaved::{BLOCK_ROWS, Interleaved};
use crate::linear::LinearModel;
use crate::link::{Classes, Link, greatest};

/// Which of a model's numbers are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// The sum of the trees, before the link function: XGBoost's `output_margin`, LightGBM's `raw_score`.
    Raw,
    /// What the framework's own `predict` gives.
    Prediction,
    /// The class as a number: 0 or 1 for a binary classifier, the most likely class for a multi-class one.
    Class,
}

/// How a model is evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// The fastest layout that can hold the model.
    #[default]
    Auto,
    /// The plain form: slower, and the reference for all others.
    Plain,
}

/// How to load a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// The format; told from the bytes if absent.
    pub format: Option<Format>,
    /// The layout.
    pub layout: Layout,
}

/// Rows, one after another, each with one value for every feature of the model in its order. NaN is a missing value.
///
/// XGBoost models see float32: float64 values are rounded to it, as XGBoost does. LightGBM models see float64.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// float32 values.
    F32(&'a [f32]),
    /// float64 values.
    F64(&'a [f64]),
}

/// What a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `xgboost` or `lightgbm`.
    pub framework: &'static str,
    /// XGBoost: the version of the library that wrote the file. LightGBM: the version of its text format.
    pub version: Option<String>,
    /// The objective, in the framework's own words.
    pub objective: String,
    /// Trees that predict.
    pub trees: usize,
    /// Trees in the file; more than `trees` after an early stop.
    pub trees_in_file: usize,
    /// Splits on the longest way from a root to a leaf.
    pub depth: u32,
    /// Leaves of all trees that predict.
    pub leaves: usize,
}

/// What a loader gives.
pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    pub(crate) features: Vec<Feature>,
    pub(crate) link: Link,
    pub(crate) classes: Classes,
    pub(crate) description: Description,
}

/// A forest with its fast layout, if it has one.
pub(crate) struct Ensemble<T> {
    forest: Forest<T>,
    fast: Option<Interleaved<T>>,
    /// Divides the predictions' sums (not the raw ones): LightGBM's `average_output`.
    average: Option<f64>,
}

/// The part of a model that computes raw outputs.
pub(crate) enum Engine {
    Single(Ensemble<f32>),
    Double(Ensemble<f64>),
    Linear(LinearModel),
}

/// A model. Immutable; share it between threads, and give each a [`Scratch`] of its own.
pub struct Model {
    engine: Engine,
    features: Vec<Feature>,
    raw_outputs: usize,
    link: Link,
    classes: Classes,
    description: Description,
}

/// Memory for predictions, reused between calls: after the first call with as many rows, none is allocated.
#[derive(Debug, Default)]
pub struct Scratch {
    single: Buffers<f32>,
    double: Buffers<f64>,
    raw: Vec<f64>,
    prediction: Vec<f64>,
}

#[derive(Debug, Default)]
struct Buffers<T> {
    rows: Vec<T>,
    sums: Vec<T>,
}

impl Engine {
    pub(crate) fn single(forest: Forest<f32>) -> Self {
        Self::Single(Ensemble { forest, fast: None, average: None })
    }

    pub(crate) fn double(forest: Forest<f64>, average: Option<f64>) -> Self {
        Self::Double(Ensemble { forest, fast: None, average })
    }
}

impl Model {
    /// Reads and loads a model file.
    ///
    /// # Errors
    /// The file can't be read, or [`Model::from_bytes`] fails.
    pub fn load(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let bytes =
            std::fs::read(path).map_err(|source| LoadError::Read { path: path.display().to_string(), source })?;
        Self::from_bytes(&bytes, options)
    }

    /// Loads a model from the bytes of its file. Memory and time are bounded by the number of bytes.
    ///
    /// # Errors
    /// The bytes are no model, are damaged, or use something that is not supported; see [`LoadError`].
    pub fn from_bytes(bytes: &[u8], options: &LoadOptions) -> Result<Self, LoadError> {
        let format = options.format.map_or_else(|| Format::detect(bytes), Ok)?;
        let loaded = match format {
            Format::XgboostJson => crate::xgboost::load_json(bytes)?,
            Format::XgboostUbj => crate::xgboost::load_ubj(bytes)?,
            Format::LightgbmText => crate::lightgbm::load(bytes)?,
        };
        let mut engine = loaded.engine;
        if options.layout == Layout::Auto {
            match &mut engine {
                Engine::Single(ensemble) => ensemble.fast = Interleaved::new(&ensemble.forest),
                Engine::Double(ensemble) => ensemble.fast = Interleaved::new(&ensemble.forest),
                Engine::Linear(_) => {}
            }
        }
        let raw_outputs = match &engine {
            Engine::Single(ensemble) => ensemble.forest.outputs,
            Engine::Double(ensemble) => ensemble.forest.outputs,
            Engine::Linear(linear) => linear.start.len(),
        };
        let Loaded { features, link, classes, description, .. } = loaded;
        Ok(Self { engine, features, raw_outputs, link, classes, description })
    }

    /// The inputs, in the order rows give them.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// What the model is. Its `Display` is a line for people.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The layout that evaluates the model: `interleaved`, `plain` or `linear`.
    pub fn layout(&self) -> &'static str {
        match &self.engine {
            Engine::Single(Ensemble { fast: Some(_), .. }) | Engine::Double(Ensemble { fast: Some(_), .. }) => {
                "interleaved"
            }
            Engine::Single(_) | Engine::Double(_) => "plain",
            Engine::Linear(_) => "linear",
        }
    }

    /// Bytes of the fast layout's nodes; 0 without one.
    pub fn layout_bytes(&self) -> usize {
        match &self.engine {
            Engine::Single(ensemble) => ensemble.fast.as_ref().map_or(0, Interleaved::bytes),
            Engine::Double(ensemble) => ensemble.fast.as_ref().map_or(0, Interleaved::bytes),
            Engine::Linear(_) => 0,
        }
    }

    /// Numbers per row of an output; 0 if the model has no such output (a regression has no classes).
    pub fn outputs(&self, output: Output) -> usize {
        let predictions = self.link.outputs(self.raw_outputs);
        match (output, self.classes) {
            (Output::Raw, _) => self.raw_outputs,
            (Output::Prediction, _) => predictions,
            (Output::Class, Classes::None) => 0,
            (Output::Class, Classes::Half) => predictions,
            (Output::Class, Classes::Greatest | Classes::Prediction) => 1,
        }
    }

    /// Predicts rows into `out`, which holds [`Model::outputs`] numbers for each row, row after row. float32 results
    /// are widened, which changes nothing. A row's numbers don't depend on the rows beside it.
    ///
    /// # Errors
    /// The slices don't fit the model, or it has no such output.
    pub fn predict(
        &self,
        rows: Rows<'_>,
        output: Output,
        out: &mut [f64],
        scratch: &mut Scratch,
    ) -> Result<(), PredictError> {
        let features = self.features.len();
        let values = rows.len();
        if !values.is_multiple_of(features) {
            return Err(PredictError::Input { values, features });
        }
        let (count, outputs) = (values / features, self.outputs(output));
        if outputs == 0 {
            return Err(PredictError::NoClasses { objective: self.description.objective.clone() });
        }
        if out.len() != count * outputs {
            return Err(PredictError::OutputLength { given: out.len(), rows: count, outputs });
        }
        let Scratch { single, double, raw, prediction } = scratch;
        for (block, out) in out.chunks_mut(BLOCK_ROWS * outputs).enumerate() {
            let (first, count) = (block * BLOCK_ROWS, out.len() / outputs);
            raw.resize(count * self.raw_outputs, 0.0);
            match &self.engine {
                Engine::Single(ensemble) => ensemble.raw(rows, first, single, raw),
                Engine::Double(ensemble) => ensemble.raw(rows, first, double, raw),
                Engine::Linear(linear) => {
                    for (row, raw) in (first..).zip(raw.chunks_exact_mut(self.raw_outputs)) {
                        linear.row((0..features).map(|f| rows.at(row * features + f)), raw);
                    }
                }
            }
            self.finish(output, raw, out, prediction);
        }
        Ok(())
    }

    /// From raw outputs to the wanted ones.
    fn finish(&self, output: Output, raw: &mut [f64], out: &mut [f64], prediction: &mut Vec<f64>) {
        if output == Output::Raw {
            out.copy_from_slice(raw);
            return;
        }
        if let Engine::Double(Ensemble { average: Some(count), .. }) = &self.engine {
            raw.iter_mut().for_each(|raw| *raw /= count);
        }
        let raw = raw.chunks_exact(self.raw_outputs);
        let predictions = self.link.outputs(self.raw_outputs);
        if output == Output::Prediction {
            raw.zip(out.chunks_exact_mut(predictions)).for_each(|(raw, out)| self.link.apply(raw, out));
            return;
        }
        prediction.resize(predictions, 0.0);
        for (raw, out) in raw.zip(out.chunks_exact_mut(self.outputs(output))) {
            self.link.apply(raw, prediction);
            match self.classes {
                Classes::Greatest => out.fill(greatest(prediction) as f64),
                Classes::Half => {
                    out.iter_mut().zip(&*prediction).for_each(|(out, &p)| *out = f64::from(u8::from(p > 0.5)));
                }
                Classes::Prediction | Classes::None => out.copy_from_slice(prediction),
            }
        }
    }
}

impl<T: Real> Ensemble<T> {
    /// The raw outputs of the rows from `first` on, as many as `raw` has place for.
    fn raw(&self, rows: Rows<'_>, first: usize, buffers: &mut Buffers<T>, raw: &mut [f64]) {
        let (features, outputs) = (self.forest.features, self.forest.outputs);
        let count = raw.len() / outputs;
        buffers.sums.resize(count * outputs, T::default());
        match &self.fast {
            Some(fast) => {
                let width = fast.slots();
                buffers.rows.resize(count * width, T::default());
                for (row, slots) in (first..).zip(buffers.rows.chunks_exact_mut(width)) {
                    let from = row * features;
                    match rows {
                        Rows::F32(values) => {
                            let row = &values[from..from + features];
                            fast.fill(slots, |f| T::from_f32(row[f as usize]));
                        }
                        Rows::F64(values) => {
                            let row = &values[from..from + features];
                            fast.fill(slots, |f| T::from_f64(row[f as usize]));
                        }
                    }
                }
                fast.sum_block(&buffers.rows, &mut buffers.sums);
            }
            None => {
                buffers.rows.resize(features, T::default());
                for (row, sums) in (first..).zip(buffers.sums.chunks_exact_mut(outputs)) {
                    for (feature, x) in buffers.rows.iter_mut().enumerate() {
                        *x = self.forest.seen(match rows {
                            Rows::F32(values) => T::from_f32(values[row * features + feature]),
                            Rows::F64(values) => T::from_f64(values[row * features + feature]),
                        });
                    }
                    sums.copy_from_slice(&self.forest.start);
                    self.forest.add_row(&buffers.rows, sums);
                }
            }
        }
        raw.iter_mut().zip(&buffers.sums).for_each(|(raw, sum)| *raw = sum.to_f64());
    }
}

impl Rows<'_> {
    fn len(self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    fn at(self, index: usize) -> f32 {
        match self {
            Self::F32(values) => values[index],
            Self::F64(values) => values[index] as f32,
        }
    }
}

impl Scratch {
    /// Empty; it grows with the first calls.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.framework)?;
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        write!(f, " {}", self.objective)?;
        match self.trees_in_file {
            0 => write!(f, ", linear"),
            all if all > self.trees => {
                write!(f, ", {} of {all} trees (best iteration), depth {}", self.trees, self.depth)
            }
            _ => write!(f, ", {} trees, depth {}", self.trees, self.depth),
        }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("description", &self.description)
            .field("layout", &self.layout())
            .finish_non_exhaustive()
    }
}
