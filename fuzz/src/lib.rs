//! What the fuzz targets have in common.

use millstream_trees::{Format, Layout, LoadOptions, Model, Output, Rows, Scratch};

/// Models with more inputs are loaded, but not asked to predict: a header may claim a million.
const FEATURES_MAX: usize = 2048;

/// Values that a row's features are taken from.
const VALUES: [f64; 11] = [f64::NAN, 0.0, -0.0, 1.0, -3.5, 7.0, 1e-36, 1e30, 1e300, f64::INFINITY, f64::NEG_INFINITY];

/// Rows of a batch, so that layouts that take blocks of rows are used as well.
const ROWS: usize = 40;

/// Loads bytes as a model. Whatever they are, that ends with a model or an error; and a model predicts the same in
/// its fast layout and its plain form, one row at a time and many.
pub fn load_and_predict(bytes: &[u8], format: Option<Format>) {
    let options = LoadOptions { format, ..LoadOptions::default() };
    let model = match Model::from_bytes(bytes, &options) {
        Ok(model) => model,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let features = model.features().len();
    if features > FEATURES_MAX {
        return;
    }
    let plain = Model::from_bytes(bytes, &LoadOptions { layout: Layout::Plain, ..options });
    let plain = plain.expect("what has a fast layout has a plain form");
    let rows: Vec<f64> = (0..ROWS * features).map(|at| VALUES[(at * 7 + at / features) % VALUES.len()]).collect();
    for output in [Output::Raw, Output::Prediction, Output::Class] {
        let outputs = model.outputs(output);
        if outputs == 0 || outputs > FEATURES_MAX {
            continue;
        }
        let batch = predict(&model, &rows, output);
        let single: Vec<f64> = rows.chunks_exact(features).flat_map(|row| predict(&model, row, output)).collect();
        let reference = predict(&plain, &rows, output);
        for (at, ((a, b), c)) in batch.iter().zip(&single).zip(&reference).enumerate() {
            let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            assert!(same(*a, *b) && same(*a, *c), "{output:?} {at}: {a} in a batch, {b} alone, {c} plainly");
        }
    }
}

fn predict(model: &Model, rows: &[f64], output: Output) -> Vec<f64> {
    let mut out = vec![0.0; rows.len() / model.features().len() * model.outputs(output)];
    model.predict(Rows::F64(rows), output, &mut out, &mut Scratch::new()).expect("the rows fit the model");
    out
}
