//! What is measured: whatever predicts rows of the events.

use std::error::Error;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Features of every model of the benchmark.
pub const FEATURES: usize = 30;

/// The events, in both precisions (every value is a float32).
pub struct Events {
    pub double: Vec<f64>,
    pub single: Vec<f32>,
}

impl Events {
    pub fn read(path: &std::path::Path) -> Result<Self> {
        let bytes = std::fs::read(path)?;
        let double: Vec<f64> = bytes.as_chunks().0.iter().map(|&number| f64::from_le_bytes(number)).collect();
        let single = double.iter().map(|&x| x as f32).collect();
        Ok(Self { double, single })
    }

    pub fn count(&self) -> usize {
        self.double.len() / FEATURES
    }
}

/// Something that predicts.
pub trait Scorer {
    fn name(&self) -> String;
    /// Predicts `out.len()` events from `first` on: the margin, the raw score, or for forests of averages the prediction.
    fn predict(&mut self, events: &Events, first: usize, out: &mut [f64]) -> Result<()>;
    /// How far its numbers may lie from Millstream's, relative to 1.
    fn tolerance(&self) -> f64;
}
