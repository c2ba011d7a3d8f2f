//! What stands around an ensemble whose trees don't see a model's features themselves (CatBoost's): an encoder in front,
//! and behind it a scale, a bias and the classes that training never saw.

use crate::catboost::Encoder;

/// Everything around the ensemble.
pub(crate) struct Encoded {
    pub(crate) encoder: Encoder,
    /// A raw output is the trees' sum times the scale, plus its bias.
    pub(crate) scale: f64,
    /// One number for each of the trees' outputs.
    pub(crate) bias: Vec<f64>,
    /// Raw outputs of the model.
    pub(crate) outputs: usize,
    /// Which raw output each of the trees' outputs is; empty if they are the same. The others are −∞.
    pub(crate) places: Vec<u32>,
    /// The labels of the classes; empty if they are 0, 1, 2, …
    pub(crate) labels: Vec<f64>,
    /// The names of the classes, where they are no numbers.
    pub(crate) class_names: Vec<String>,
}

/// Memory for a block of rows.
#[derive(Debug, Default)]
pub(crate) struct EncodedBuffers {
    rows: Vec<f64>,
    sums: Vec<f64>,
}

impl Encoded {
    /// The raw outputs of rows, as many as `raw` has place for. `value` gives the value of a row's feature, `trees` adds
    /// up the trees for encoded rows.
    pub(crate) fn raw(
        &self,
        value: impl Fn(usize, usize) -> f64,
        buffers: &mut EncodedBuffers,
        trees: impl FnOnce(&[f64], &mut [f64]),
        raw: &mut [f64],
    ) {
        let (width, dimension) = (self.encoder.width(), self.bias.len());
        let count = raw.len() / self.outputs;
        buffers.rows.resize(count * width, 0.0);
        for (row, out) in buffers.rows.chunks_exact_mut(width).enumerate() {
            self.encoder.encode(|feature| value(row, feature), out);
        }
        buffers.sums.resize(count * dimension, 0.0);
        trees(&buffers.rows, &mut buffers.sums);
        if self.scale != 1.0 || self.bias.iter().any(|&bias| bias != 0.0) {
            for sums in buffers.sums.chunks_exact_mut(dimension) {
                sums.iter_mut().zip(&self.bias).for_each(|(sum, bias)| *sum = self.scale * *sum + bias);
            }
        }
        if self.places.is_empty() {
            raw.copy_from_slice(&buffers.sums);
            return;
        }
        raw.fill(f64::NEG_INFINITY);
        for (raw, sums) in raw.chunks_exact_mut(self.outputs).zip(buffers.sums.chunks_exact(dimension)) {
            for (&place, &sum) in self.places.iter().zip(sums) {
                if let Some(raw) = raw.get_mut(place as usize) {
                    *raw = sum;
                }
            }
        }
    }

    /// The label of a class.
    pub(crate) fn label(&self, class: f64) -> f64 {
        self.labels.get(class as usize).copied().unwrap_or(class)
    }
}
