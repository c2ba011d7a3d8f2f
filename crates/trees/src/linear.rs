//! Linear models in XGBoost files (`gblinear`).

/// `start + bias + Σ weight · feature` in float32, features in order, missing ones left out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinearModel {
    pub features: usize,
    /// One number for each output.
    pub start: Vec<f32>,
    /// For each feature, and after them for the bias, one weight for each output.
    pub weights: Vec<f32>,
}

impl LinearModel {
    /// The raw outputs of one row.
    pub(crate) fn row(&self, row: impl Iterator<Item = f32> + Clone, out: &mut [f64]) {
        let outputs = self.start.len();
        let bias = self.weights.get(self.features * outputs..).unwrap_or_default();
        for (output, ((out, start), bias)) in out.iter_mut().zip(&self.start).zip(bias).enumerate() {
            let mut sum = bias + start;
            let weights = self.weights.iter().skip(output).step_by(outputs);
            for (x, weight) in row.clone().zip(weights) {
                if !x.is_nan() {
                    sum += x * weight;
                }
            }
            *out = f64::from(sum);
        }
    }

    /// Weight times value for each feature, and what remains: for each output, one after another.
    pub(crate) fn contributions(&self, row: impl Iterator<Item = f32> + Clone, out: &mut [f64]) {
        let outputs = self.start.len();
        let bias = self.weights.get(self.features * outputs..).unwrap_or_default();
        let blocks = out.chunks_exact_mut(self.features + 1);
        for (output, ((out, start), bias)) in blocks.zip(&self.start).zip(bias).enumerate() {
            let weights = self.weights.iter().skip(output).step_by(outputs);
            for ((out, x), weight) in out.iter_mut().zip(row.clone()).zip(weights) {
                *out = if x.is_nan() { 0.0 } else { f64::from(x * weight) };
            }
            if let Some(last) = out.last_mut() {
                *last = f64::from(bias + start);
            }
        }
    }
}
