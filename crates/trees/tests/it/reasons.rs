//! Contributions and leaf indices: the frameworks' own, for every case of a corpus that has them.

use millstream_trees::{LoadOptions, Model, Output, PredictError, Rows, Scratch};

use crate::corpus::manifests;
use crate::npy;

fn load(path: &std::path::Path) -> Model {
    Model::load(path, &LoadOptions { contributions: true, ..LoadOptions::default() }).unwrap()
}

#[test]
fn every_case_gives_the_frameworks_contributions_and_leaves() {
    let (mut cases, mut failed) = (0, Vec::new());
    for manifest in manifests() {
        for (case, format) in manifest.cases() {
            let expected = case["expected"].as_object().unwrap();
            let is_reason = |kind: &&String| kind.contains("contrib") || kind.contains("leaf");
            for kind in expected.keys().filter(is_reason) {
                cases += 1;
                let expected = &expected[kind];
                let label = format!("{} {format:?} {kind}", case["id"]);
                let model = load(&manifest.folder.join(case["model"].as_str().unwrap()));
                let rows = manifest.input(case["input"].as_str().unwrap(), &model);
                let wanted = npy::read(&manifest.folder.join(expected["file"].as_str().unwrap())).0;
                let count = rows.len() / model.features().len();
                let mut scratch = Scratch::new();
                let seen: Vec<f64> = if kind.contains("leaf") {
                    let mut leaves = vec![0; count * model.leaves_per_row()];
                    model.leaf_indices(Rows::F64(&rows), &mut leaves, &mut scratch).unwrap();
                    leaves.into_iter().map(f64::from).collect()
                } else {
                    let mut out = vec![f64::NAN; count * model.contributions_per_row()];
                    model.contributions(Rows::F64(&rows), &mut out, &mut scratch).unwrap();
                    out
                };
                assert_eq!(seen.len(), wanted.len(), "{label}");
                let (atol, rtol) = (expected["atol"].as_f64().unwrap(), expected["rtol"].as_f64().unwrap());
                let (mut worst, mut wrong) = (0.0f64, 0);
                for (&a, &b) in seen.iter().zip(&wanted) {
                    let close = (a - b).abs() <= atol + rtol * b.abs() || (a.is_nan() && b.is_nan());
                    wrong += usize::from(!close);
                    worst = worst.max((a - b).abs());
                }
                if worst > 0.0 {
                    println!("{label}: {worst:.1e}");
                }
                if wrong > 0 {
                    failed.push(format!("{label}: {wrong} of {} are wrong, by {worst:.1e}", seen.len()));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(cases > 100, "the cases are missing: {cases}");
}

/// Together they are the raw output; a row's don't depend on the rows beside it.
#[test]
fn contributions_add_up() {
    for manifest in manifests() {
        for (case, _) in manifest.cases() {
            let model = load(&manifest.folder.join(case["model"].as_str().unwrap()));
            let rows = manifest.input(case["input"].as_str().unwrap(), &model);
            let (features, width) = (model.features().len(), model.contributions_per_row());
            let outputs = model.outputs(Output::Raw);
            let count = rows.len() / features;
            let mut scratch = Scratch::new();
            let mut out = vec![f64::NAN; count * width];
            match model.contributions(Rows::F64(&rows), &mut out, &mut scratch) {
                Ok(()) => {}
                Err(PredictError::NoContributions { .. }) => continue,
                Err(other) => panic!("{}: {other}", case["id"]),
            }
            let mut raw = vec![0.0; count * outputs];
            model.predict(Rows::F64(&rows), Output::Raw, &mut raw, &mut scratch).unwrap();
            let mut one = vec![0.0; width];
            for ((row, out), raw) in rows.chunks(features).zip(out.chunks(width)).zip(raw.chunks(outputs)) {
                model.contributions(Rows::F64(row), &mut one, &mut scratch).unwrap();
                assert!(one.iter().zip(out).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", case["id"]);
                for (shares, &raw) in out.chunks(features + 1).zip(raw) {
                    let (sum, size) = shares.iter().fold((0.0, 1.0f64), |(s, m), x| (s + x, m.max(x.abs())));
                    let close = (sum - raw).abs() < 4e-6 * size * (features as f64);
                    assert!(close || !raw.is_finite(), "{}: {sum} is not {raw}", case["id"]);
                }
            }
        }
    }
}
