//! A loaded model, and predicting with it.

use std::fmt;
use std::path::Path;

use crate::encoded::{Encoded, EncodedBuffers};
use crate::error::{LoadError, Place, PredictError};
use crate::feature::Feature;
use crate::forest::{Forest, Real};
use crate::format::Format;
use crate::interleaved::BLOCK_ROWS;
use crate::layout::{Buffers, Columns, Doubles, Fast, Input, Instructions, Level, Singles};
use crate::linear::LinearModel;
use crate::link::{Classes, Link, greatest};
use crate::onnx::{GraphBuffers, GraphEngine};
use crate::shap::{Covers, ReasonBuffers, Reasons};

/// Which of a model's numbers are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// The sum of the trees, before the link function: XGBoost's `output_margin`, LightGBM's `raw_score`.
    Raw,
    /// What the framework's own `predict` gives.
    Prediction,
    /// The class as a number: 0 or 1 for a binary classifier, the most likely class for a multi-class one. For CatBoost
    /// and ONNX its label where labels are whole numbers, else its index.
    Class,
}

/// How a model is evaluated. The numbers that come out are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// The fastest layout that can hold the model, by rules that look at the model's shape and the instructions.
    #[default]
    Auto,
    /// The plain form: slow, and the reference for all others. Holds any model.
    Plain,
    /// Packed nodes, several trees walked at once: for deep trees. Numeric splits only, and no linear functions in leaves, like
    /// all that follow.
    Interleaved,
    /// Packed nodes that compare a value's rank among the model's thresholds: a fourth to a half of the memory. Up to 127
    /// ranked columns, which are at least one for each feature.
    Ranked,
    /// What each column's rank rules out, looked up: for small models. Trees of up to 64 leaves.
    Table,
    /// All tests of a tree at once and a walk over bits: up to 8 levels. Needs AVX-512.
    Perfect,
    /// QuickScorer: trees of up to 128 leaves with AVX-512, up to 64 with AVX2 and NEON.
    Scorer,
}

/// How to load a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// The format; told from the bytes if absent.
    pub format: Option<Format>,
    /// The layout. One that can't hold the model is an error.
    pub layout: Layout,
    /// The instructions that may be used. Those that the processor lacks are an error.
    pub instructions: Instructions,
    /// Whether [`Model::contributions`] will be asked for: they need about 130 bytes more for each split, several times
    /// that in deep trees.
    pub contributions: bool,
}

/// Rows, with one value for every feature of the model in its order. NaN is a missing value.
///
/// XGBoost and CatBoost models see float32: float64 values are rounded to it, as they do. LightGBM models see float64, and
/// so do categories of CatBoost models ([`Feature::encode_text`]).
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// float32 values, row after row.
    F32(&'a [f32]),
    /// float64 values, row after row.
    F64(&'a [f64]),
    /// float64 values, a column for each feature, all of one length.
    Columns(&'a [&'a [f64]]),
}

/// What a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// `xgboost`, `lightgbm`, `catboost` or `onnx`.
    pub framework: &'static str,
    /// XGBoost, CatBoost: the version of the library that wrote the file. LightGBM: the version of its text format.
    /// ONNX: what wrote the file.
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
    fast: Fast<T>,
    /// Divides the predictions' sums (not the raw ones): LightGBM's `average_output`.
    average: Option<f64>,
}

/// The part of a model that computes raw outputs.
pub(crate) enum Engine {
    Single(Ensemble<f32>),
    Double(Ensemble<f64>),
    Linear(LinearModel),
    Encoded(Ensemble<f64>, Box<Encoded>),
    Graph(Box<GraphEngine>),
}

/// A model. Immutable; share it between threads, and give each a [`Scratch`] of its own.
pub struct Model {
    pub(crate) engine: Engine,
    features: Vec<Feature>,
    pub(crate) raw_outputs: usize,
    link: Link,
    classes: Classes,
    description: Description,
    pub(crate) reasons: Reasons,
}

/// Memory for predictions, reused between calls: after the first call with as many rows, none is allocated.
#[derive(Debug, Default)]
pub struct Scratch {
    single: Buffers<f32>,
    double: Buffers<f64>,
    raw: Vec<f64>,
    prediction: Vec<f64>,
    encoded: EncodedBuffers,
    graph: GraphBuffers,
    pub(crate) reasons: ReasonBuffers,
}

impl Engine {
    pub(crate) fn single(forest: Forest<f32>) -> Self {
        Self::Single(Ensemble { forest, fast: Fast::Plain, average: None })
    }

    pub(crate) fn encoded(forest: Forest<f64>, encoded: Encoded) -> Self {
        Self::Encoded(Ensemble { forest, fast: Fast::Plain, average: None }, Box::new(encoded))
    }

    pub(crate) fn double(forest: Forest<f64>, average: Option<f64>) -> Self {
        Self::Double(Ensemble { forest, fast: Fast::Plain, average })
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
        let mut covers = Covers::new();
        let wanted = options.contributions.then_some(&mut covers);
        let loaded = match format {
            Format::XgboostJson => crate::xgboost::load_json(bytes, wanted)?,
            Format::XgboostUbj => crate::xgboost::load_ubj(bytes, wanted)?,
            Format::LightgbmText => crate::lightgbm::load(bytes, wanted)?,
            Format::CatboostCbm => crate::catboost::load_cbm(bytes)?,
            Format::CatboostJson => crate::catboost::load_json(bytes)?,
            Format::Onnx => crate::onnx::load(bytes)?,
        };
        let mut engine = loaded.engine;
        let reasons = if options.contributions { Reasons::new(&engine, &covers)? } else { Reasons::NotAsked };
        let level = Level::of(options.instructions).ok_or_else(|| {
            let what = format!("{:?} on this processor", options.instructions);
            LoadError::unsupported(Place::part("instructions"), what)
        })?;
        match &mut engine {
            Engine::Single(ensemble) => ensemble.fast = Fast::new(&ensemble.forest, options.layout, level)?,
            Engine::Double(ensemble) | Engine::Encoded(ensemble, _) => {
                ensemble.fast = Fast::new(&ensemble.forest, options.layout, level)?;
            }
            Engine::Graph(graph) => graph.lay_out(options.layout, level)?,
            Engine::Linear(_) => {}
        }
        let raw_outputs = match &engine {
            Engine::Single(ensemble) => ensemble.forest.outputs,
            Engine::Double(ensemble) => ensemble.forest.outputs,
            Engine::Linear(linear) => linear.start.len(),
            Engine::Encoded(_, encoded) => encoded.outputs,
            Engine::Graph(graph) => graph.outputs(Output::Raw),
        };
        let Loaded { features, link, classes, description, .. } = loaded;
        Ok(Self { engine, features, raw_outputs, link, classes, description, reasons })
    }

    /// The names of the classes where they are strings (ONNX, CatBoost): a class is then the place of its name. Empty otherwise.
    pub fn class_names(&self) -> &[String] {
        match &self.engine {
            Engine::Graph(graph) => graph.class_names(),
            Engine::Encoded(_, encoded) => &encoded.class_names,
            _ => &[],
        }
    }

    /// The inputs, in the order rows give them.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// What the model is. Its `Display` is a line for people.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The layout that evaluates the model: the name of a [`Layout`] in lower case, or `linear` for a model without trees.
    pub fn layout(&self) -> &'static str {
        match &self.engine {
            Engine::Single(ensemble) => ensemble.fast.name(),
            Engine::Double(ensemble) | Engine::Encoded(ensemble, _) => ensemble.fast.name(),
            Engine::Graph(graph) => graph.layout(),
            Engine::Linear(_) => "linear",
        }
    }

    /// Bytes of the fast layout; 0 without one.
    pub fn layout_bytes(&self) -> usize {
        match &self.engine {
            Engine::Single(ensemble) => ensemble.fast.bytes(),
            Engine::Double(ensemble) | Engine::Encoded(ensemble, _) => ensemble.fast.bytes(),
            Engine::Graph(graph) => graph.layout_bytes(),
            Engine::Linear(_) => 0,
        }
    }

    /// Numbers per row of an output; 0 if the model has no such output (a regression has no classes).
    pub fn outputs(&self, output: Output) -> usize {
        if let Engine::Graph(graph) = &self.engine {
            return graph.outputs(output);
        }
        let predictions = self.link.outputs(self.raw_outputs);
        match (output, self.classes) {
            (Output::Raw, _) => self.raw_outputs,
            (Output::Prediction, _) => predictions,
            (Output::Class, Classes::None) => 0,
            (Output::Class, Classes::Half) => predictions,
            (Output::Class, Classes::Greatest | Classes::Prediction | Classes::RawGreatest) => 1,
            (Output::Class, Classes::RawAbove(_)) => self.raw_outputs,
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
        let (count, outputs) = (rows.count(features)?, self.outputs(output));
        if outputs == 0 {
            return Err(PredictError::NoClasses { objective: self.description.objective.clone() });
        }
        if out.len() != count * outputs {
            return Err(PredictError::OutputLength { given: out.len(), rows: count, outputs });
        }
        if let (Rows::F32(_), Engine::Encoded(_, encoded)) = (rows, &self.engine)
            && encoded.encoder.has_categories()
        {
            return Err(PredictError::NeedsDouble);
        }
        if let Engine::Graph(graph) = &self.engine {
            graph.predict(rows, features, output, out, &mut scratch.graph);
            return Ok(());
        }
        for (block, out) in out.chunks_mut(BLOCK_ROWS * outputs).enumerate() {
            let first = block * BLOCK_ROWS;
            if output == Output::Raw {
                self.raw(rows, first, scratch, out);
                continue;
            }
            // Taken out, so that the other buffers can be lent beside it.
            let mut raw = std::mem::take(&mut scratch.raw);
            raw.resize(out.len() / outputs * self.raw_outputs, 0.0);
            self.raw(rows, first, scratch, &mut raw);
            self.finish(output, &mut raw, out, &mut scratch.prediction);
            scratch.raw = raw;
        }
        Ok(())
    }

    /// The raw outputs of the rows from `first` on, as many as `raw` has place for.
    fn raw(&self, rows: Rows<'_>, first: usize, scratch: &mut Scratch, raw: &mut [f64]) {
        let features = self.features.len();
        match (&self.engine, rows) {
            (Engine::Single(forest), Rows::F32(v)) => forest.raw(Singles(v, features), first, &mut scratch.single, raw),
            (Engine::Single(forest), Rows::F64(v)) => forest.raw(Doubles(v, features), first, &mut scratch.single, raw),
            (Engine::Single(forest), Rows::Columns(v)) => forest.raw(Columns(v), first, &mut scratch.single, raw),
            (Engine::Double(forest), Rows::F32(v)) => forest.raw(Singles(v, features), first, &mut scratch.double, raw),
            (Engine::Double(forest), Rows::F64(v)) => forest.raw(Doubles(v, features), first, &mut scratch.double, raw),
            (Engine::Double(forest), Rows::Columns(v)) => forest.raw(Columns(v), first, &mut scratch.double, raw),
            (Engine::Encoded(forest, encoded), _) => {
                let Scratch { double, encoded: buffers, .. } = scratch;
                let value = |row, feature| rows.at64(first + row, feature, features);
                let trees = |rows: &[f64], sums: &mut [f64]| {
                    forest.raw(Doubles(rows, encoded.encoder.width()), 0, double, sums);
                };
                encoded.raw(value, buffers, trees, raw);
            }
            // A graph predicts for itself.
            (Engine::Graph(_), _) => raw.fill(f64::NAN),
            (Engine::Linear(linear), _) => {
                for (row, raw) in (first..).zip(raw.chunks_exact_mut(self.raw_outputs)) {
                    linear.row((0..features).map(|feature| rows.at(row, feature, features)), raw);
                }
            }
        }
    }

    /// From raw outputs to the wanted ones.
    fn finish(&self, output: Output, raw: &mut [f64], out: &mut [f64], prediction: &mut Vec<f64>) {
        if let Engine::Double(Ensemble { average: Some(count), .. }) = &self.engine {
            raw.iter_mut().for_each(|raw| *raw /= count);
        }
        let raw = raw.chunks_exact(self.raw_outputs);
        if let (Output::Class, Classes::RawAbove(_) | Classes::RawGreatest) = (output, self.classes) {
            for (raw, out) in raw.zip(out.chunks_exact_mut(self.outputs(output))) {
                self.class_of_raw(raw, out);
            }
            return;
        }
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
                _ => out.copy_from_slice(prediction),
            }
        }
    }

    /// The class, or the classes, that raw outputs mean by themselves.
    fn class_of_raw(&self, raw: &[f64], out: &mut [f64]) {
        match self.classes {
            Classes::RawAbove(border) => {
                out.iter_mut().zip(raw).for_each(|(out, &raw)| *out = f64::from(u8::from(raw > border)));
            }
            _ => out.fill(greatest(raw) as f64),
        }
        if let (Engine::Encoded(_, encoded), [class]) = (&self.engine, out) {
            *class = encoded.label(*class);
        }
    }
}

impl<T: Real> Ensemble<T> {
    /// A forest that is evaluated plainly as yet.
    pub(crate) fn new(forest: Forest<T>) -> Self {
        Self { forest, fast: Fast::Plain, average: None }
    }

    /// Gives the forest its fast layout.
    pub(crate) fn lay_out(&mut self, layout: Layout, level: Level) -> Result<(), LoadError> {
        self.fast = Fast::new(&self.forest, layout, level)?;
        Ok(())
    }

    pub(crate) fn forest(&self) -> &Forest<T> {
        &self.forest
    }

    pub(crate) fn layout(&self) -> &'static str {
        self.fast.name()
    }

    pub(crate) fn layout_bytes(&self) -> usize {
        self.fast.bytes()
    }

    #[inline]
    pub(crate) fn raw(&self, input: impl Input<T>, first: usize, buffers: &mut Buffers<T>, raw: &mut [f64]) {
        self.fast.raw(&self.forest, input, first, buffers, raw);
    }
}

impl Rows<'_> {
    /// How many rows there are, if they are whole rows of `features` values.
    pub(crate) fn count(self, features: usize) -> Result<usize, PredictError> {
        let values = match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::Columns(columns) => {
                let rows = columns.first().map_or(0, |column| column.len());
                if columns.len() != features || columns.iter().any(|column| column.len() != rows) {
                    let (shortest, longest) =
                        columns.iter().fold((rows, rows), |(s, l), column| (s.min(column.len()), l.max(column.len())));
                    return Err(PredictError::Columns { columns: columns.len(), features, shortest, longest });
                }
                return Ok(rows);
            }
        };
        if values.is_multiple_of(features) {
            Ok(values / features)
        } else {
            Err(PredictError::Input { values, features })
        }
    }

    pub(crate) fn at64(self, row: usize, feature: usize, features: usize) -> f64 {
        match self {
            Self::F32(values) => f64::from(values[row * features + feature]),
            Self::F64(values) => values[row * features + feature],
            Self::Columns(columns) => columns[feature][row],
        }
    }

    pub(crate) fn at(self, row: usize, feature: usize, features: usize) -> f32 {
        match self {
            Self::F32(values) => values[row * features + feature],
            Self::F64(values) => values[row * features + feature] as f32,
            Self::Columns(columns) => columns[feature][row] as f32,
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
