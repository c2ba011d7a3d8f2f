//! Millstream itself, with the instructions it finds and with fewer.

use std::path::Path;

use millstream_trees::{Instructions, LoadOptions, Model, Output, Rows, Scratch};

use crate::scorer::{Events, Result, Scorer, FEATURES};

pub struct Millstream {
    model: Model,
    instructions: Instructions,
    output: Output,
    scratch: Scratch,
    /// What the model gives, if that is more than one number a row.
    wide: Vec<f64>,
}

impl Millstream {
    pub fn open(path: &Path, instructions: Instructions, output: Output) -> Result<Self> {
        let model = Model::load(path, &LoadOptions { instructions, ..LoadOptions::default() })?;
        Ok(Self { model, instructions, output, scratch: Scratch::new(), wide: Vec::new() })
    }

    /// What the model is, and how it is evaluated.
    pub fn describe(&self) -> String {
        format!(
            "{}; {} layout, {} KiB",
            self.model.description(),
            self.model.layout(),
            self.model.layout_bytes() / 1024
        )
    }
}

impl Scorer for Millstream {
    fn name(&self) -> String {
        match self.instructions {
            Instructions::Auto => "Millstream".into(),
            other => format!("Millstream, {other:?} only"),
        }
    }

    fn predict(&mut self, events: &Events, first: usize, out: &mut [f64]) -> Result<()> {
        let rows = Rows::F64(&events.double[first * FEATURES..][..out.len() * FEATURES]);
        let outputs = self.model.outputs(self.output);
        if outputs == 1 {
            return Ok(self.model.predict(rows, self.output, out, &mut self.scratch)?);
        }
        self.wide.resize(out.len() * outputs, 0.0);
        self.model.predict(rows, self.output, &mut self.wide, &mut self.scratch)?;
        out.iter_mut().zip(self.wide.chunks_exact(outputs)).for_each(|(out, row)| *out = row[outputs - 1]);
        Ok(())
    }

    fn tolerance(&self) -> f64 {
        0.0
    }
}
