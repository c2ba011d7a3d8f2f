//! Predicting with a graph: its forest, with the steps before and after it.

use super::graph::{Graph, GraphBuffers as Registers};
use super::sparse::Sparse;
use crate::error::LoadError;
use crate::forest::Real;
use crate::interleaved::BLOCK_ROWS;
use crate::layout::{Buffers, Columns, Doubles, Level, Singles};
use crate::model::{Ensemble, Layout, Output, Rows};

/// What computes the sums of a graph's trees.
pub(super) enum Core {
    Single(Ensemble<f32>),
    Double(Ensemble<f64>),
    SparseSingle(Sparse<f32>),
    SparseDouble(Sparse<f64>),
    /// No trees: the inputs themselves, and whether each is rounded to float32.
    Inputs(Vec<bool>),
}

/// A graph that predicts.
pub(crate) struct GraphEngine {
    pub(super) core: Core,
    pub(super) graph: Graph,
}

/// Memory for predictions, reused.
#[derive(Debug, Default)]
pub(crate) struct GraphBuffers {
    registers: Registers,
    single: Buffers<f32>,
    double: Buffers<f64>,
    features: Vec<f64>,
    raw: Vec<f64>,
    sparse_single: SparseBuffers<f32>,
    sparse_double: SparseBuffers<f64>,
}

/// Memory for one row of a forest with lists of weights.
#[derive(Debug, Default)]
struct SparseBuffers<T> {
    row: Vec<T>,
    sums: Vec<T>,
    has: Vec<bool>,
}

impl GraphEngine {
    /// Gives the forest its fast layout.
    pub(crate) fn lay_out(&mut self, layout: Layout, level: Level) -> Result<(), LoadError> {
        match &mut self.core {
            Core::Single(ensemble) => ensemble.lay_out(layout, level),
            Core::Double(ensemble) => ensemble.lay_out(layout, level),
            _ => Ok(()),
        }
    }

    pub(crate) fn layout(&self) -> &'static str {
        match &self.core {
            Core::Single(ensemble) => ensemble.layout(),
            Core::Double(ensemble) => ensemble.layout(),
            Core::SparseSingle(_) | Core::SparseDouble(_) => "plain",
            Core::Inputs(_) => "linear",
        }
    }

    pub(crate) fn layout_bytes(&self) -> usize {
        match &self.core {
            Core::Single(ensemble) => ensemble.layout_bytes(),
            Core::Double(ensemble) => ensemble.layout_bytes(),
            _ => 0,
        }
    }

    /// Numbers per row of an output; 0 if the graph has no such output.
    pub(crate) fn outputs(&self, output: Output) -> usize {
        self.graph.outputs(output)
    }

    /// The names of classes that are strings.
    pub(crate) fn class_names(&self) -> &[String] {
        &self.graph.class_names
    }

    /// Numbers that the core gives for a row.
    fn core_outputs(&self) -> usize {
        self.graph.sums.len()
    }

    /// Predicts rows of `features` values; `out` has place for all of them.
    pub(crate) fn predict(
        &self,
        rows: Rows<'_>,
        features: usize,
        output: Output,
        out: &mut [f64],
        buffers: &mut GraphBuffers,
    ) {
        let outputs = self.outputs(output);
        for (block, out) in out.chunks_mut(BLOCK_ROWS * outputs).enumerate() {
            let first = block * BLOCK_ROWS;
            let count = out.len() / outputs;
            // Taken out, so that the other buffers can be lent beside it.
            let mut raw = std::mem::take(&mut buffers.raw);
            raw.resize(count * self.core_outputs(), 0.0);
            match self.graph.computed_features() {
                None => self.raw(rows, features, first, &mut raw, buffers),
                Some(width) => {
                    let mut computed = std::mem::take(&mut buffers.features);
                    computed.resize(count * width, 0.0);
                    let value = |row, feature| rows.at64(first + row, feature, features);
                    self.graph.prepare(value, &mut computed, &mut buffers.registers);
                    self.raw(Rows::F64(&computed), width, 0, &mut raw, buffers);
                    buffers.features = computed;
                }
            }
            self.graph.finish(output, &raw, out, &mut buffers.registers);
            buffers.raw = raw;
        }
    }

    /// What the core gives for the rows from `first` on, as many as `raw` has place for.
    fn raw(&self, rows: Rows<'_>, features: usize, first: usize, raw: &mut [f64], buffers: &mut GraphBuffers) {
        let (single, double) = (&mut buffers.single, &mut buffers.double);
        match (&self.core, rows) {
            (Core::Single(forest), Rows::F32(v)) => forest.raw(Singles(v, features), first, single, raw),
            (Core::Single(forest), Rows::F64(v)) => forest.raw(Doubles(v, features), first, single, raw),
            (Core::Single(forest), Rows::Columns(v)) => forest.raw(Columns(v), first, single, raw),
            (Core::Double(forest), Rows::F32(v)) => forest.raw(Singles(v, features), first, double, raw),
            (Core::Double(forest), Rows::F64(v)) => forest.raw(Doubles(v, features), first, double, raw),
            (Core::Double(forest), Rows::Columns(v)) => forest.raw(Columns(v), first, double, raw),
            (Core::SparseSingle(sparse), _) => {
                for (row, raw) in (first..).zip(raw.chunks_exact_mut(self.core_outputs())) {
                    buffers.sparse_single.row(sparse, |feature| rows.at64(row, feature, features), raw);
                }
            }
            (Core::SparseDouble(sparse), _) => {
                for (row, raw) in (first..).zip(raw.chunks_exact_mut(self.core_outputs())) {
                    buffers.sparse_double.row(sparse, |feature| rows.at64(row, feature, features), raw);
                }
            }
            (Core::Inputs(single), _) => {
                for (row, raw) in (first..).zip(raw.chunks_exact_mut(self.core_outputs())) {
                    for (feature, (raw, &single)) in raw.iter_mut().zip(single).enumerate() {
                        let x = rows.at64(row, feature, features);
                        *raw = if single { f64::from(x as f32) } else { x };
                    }
                }
            }
        }
    }
}

impl<T: Real> SparseBuffers<T> {
    /// The sums of one row, and then for each whether any leaf gave to it.
    fn row(&mut self, sparse: &Sparse<T>, value: impl Fn(usize) -> f64, raw: &mut [f64]) {
        let outputs = sparse.forest.outputs;
        self.row.clear();
        self.row.extend((0..sparse.forest.features).map(|feature| T::from_f64(value(feature))));
        self.sums.resize(outputs, T::default());
        self.has.resize(outputs, false);
        sparse.row(&self.row, &mut self.sums, &mut self.has);
        let (sums, has) = raw.split_at_mut(outputs);
        sums.iter_mut().zip(&self.sums).for_each(|(raw, sum)| *raw = sum.to_f64());
        has.iter_mut().zip(&self.has).for_each(|(raw, &has)| *raw = f64::from(u8::from(has)));
    }
}
