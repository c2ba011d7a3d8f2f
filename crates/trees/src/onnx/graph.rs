//! What is left of a graph when it is loaded: the steps before and after its forest, and where its outputs stand.

use std::sync::Arc;

use super::program::Step;
use crate::model::Output;

/// The steps around the forest of a model, and its outputs.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) before: Option<Before>,
    pub(super) after: Vec<Step>,
    /// The registers before a row is predicted: constants.
    pub(super) template: Vec<f64>,
    /// The registers of what the forest gives, in its order.
    pub(super) sums: Vec<u32>,
    pub(super) raw: Vec<u32>,
    pub(super) prediction: Vec<u32>,
    pub(super) class: Vec<u32>,
    pub(super) class_names: Arc<[String]>,
}

/// What is done with a row before the forest sees it.
#[derive(Debug)]
pub(super) struct Before {
    /// Whether each input is rounded to float32.
    pub(super) single: Vec<bool>,
    pub(super) steps: Vec<Step>,
    /// The registers that are the forest's features.
    pub(super) features: Vec<u32>,
}

/// Memory for predictions, reused.
#[derive(Debug, Default)]
pub(super) struct GraphBuffers {
    registers: Vec<f64>,
    work: Vec<f64>,
}

impl Graph {
    /// Numbers per row of an output; 0 if the graph has no such output.
    pub(super) fn outputs(&self, output: Output) -> usize {
        self.places(output).len()
    }

    fn places(&self, output: Output) -> &[u32] {
        match output {
            Output::Raw => &self.raw,
            Output::Class => &self.class,
            _ => &self.prediction,
        }
    }

    /// How many features the forest sees, if they are not the model's own.
    pub(super) fn computed_features(&self) -> Option<usize> {
        self.before.as_ref().map(|before| before.features.len())
    }

    /// Computes the forest's features of the rows that `features` has place for; `value` gives an input of a row.
    pub(super) fn prepare(
        &self,
        value: impl Fn(usize, usize) -> f64,
        features: &mut [f64],
        buffers: &mut GraphBuffers,
    ) {
        let Some(before) = &self.before else { return };
        let GraphBuffers { registers, work } = buffers;
        registers.clear();
        registers.extend_from_slice(&self.template);
        for (row, features) in features.chunks_exact_mut(before.features.len()).enumerate() {
            for (input, (register, &single)) in registers.iter_mut().zip(&before.single).enumerate() {
                let x = value(row, input);
                *register = if single { f64::from(x as f32) } else { x };
            }
            before.steps.iter().for_each(|step| step.run(registers, work));
            features.iter_mut().zip(&before.features).for_each(|(x, &register)| *x = registers[register as usize]);
        }
    }

    /// From what the forest gave for some rows to an output.
    pub(super) fn finish(&self, output: Output, raw: &[f64], out: &mut [f64], buffers: &mut GraphBuffers) {
        let GraphBuffers { registers, work } = buffers;
        registers.clear();
        registers.extend_from_slice(&self.template);
        let places = self.places(output);
        for (sums, out) in raw.chunks_exact(self.sums.len()).zip(out.chunks_exact_mut(places.len())) {
            sums.iter().zip(&self.sums).for_each(|(&sum, &register)| registers[register as usize] = sum);
            self.after.iter().for_each(|step| step.run(registers, work));
            out.iter_mut().zip(places).for_each(|(out, &register)| *out = registers[register as usize]);
        }
    }
}
