//! Every case of a corpus: models of real frameworks with inputs and the framework's own numbers.
//!
//! A small corpus stands in `tests/corpus`. `MILLSTREAM_MODEL_CORPUS` may name a folder with more (its
//! `manifest*.json` are read the same way); cases of formats that are not supported are passed over.

use std::path::{Path, PathBuf};

use millstream_trees::{Format, Instructions, Layout, LoadOptions, Model, Output, Rows, Scratch};
use serde_json::Value;

use crate::npy;

pub fn folders() -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")];
    folders.extend(std::env::var_os("MILLSTREAM_MODEL_CORPUS").map(PathBuf::from));
    folders
}

pub struct Manifest {
    pub folder: PathBuf,
    json: Value,
}

pub fn manifests() -> Vec<Manifest> {
    let mut all = Vec::new();
    for folder in folders() {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
            .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("manifest"))
            .collect();
        files.sort();
        for file in files {
            let json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            all.push(Manifest { folder: folder.clone(), json });
        }
    }
    all
}

impl Manifest {
    /// The rows of an input, as the model sees them.
    pub fn input(&self, name: &str, model: &Model) -> Vec<f64> {
        let input = &self.json["inputs"][name];
        if let Some(npy) = input["npy"].as_str() {
            return npy::read(&self.folder.join(npy)).0;
        }
        let text = std::fs::read_to_string(self.folder.join(input["ndjson"].as_str().unwrap())).unwrap();
        let columns = input["columns"].as_array().unwrap();
        let mut rows = Vec::new();
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            for (column, feature) in columns.iter().zip(model.features()) {
                rows.push(match &row[column.as_str().unwrap()] {
                    Value::Null => f64::NAN,
                    Value::String(text) => feature.encode_text(text),
                    number => feature.encode_number(number.as_f64().unwrap()),
                });
            }
        }
        rows
    }

    pub fn cases(&self) -> impl Iterator<Item = (&Value, Format)> {
        self.json["cases"].as_array().unwrap().iter().filter_map(|case| {
            Some((
                case,
                match case["format"].as_str().unwrap() {
                    "xgboost-json" => Format::XgboostJson,
                    "xgboost-ubj" => Format::XgboostUbj,
                    "lightgbm-txt" => Format::LightgbmText,
                    "catboost-cbm" => Format::CatboostCbm,
                    "catboost-json" => Format::CatboostJson,
                    "onnx" => Format::Onnx,
                    _ => return None,
                },
            ))
        })
    }
}

fn predict(model: &Model, rows: &[f64], output: Output, batch: usize) -> Vec<f64> {
    let (features, outputs, mut scratch) = (model.features().len(), model.outputs(output), Scratch::new());
    let mut out = vec![f64::NAN; rows.len() / features * outputs];
    for (rows, out) in rows.chunks(batch * features).zip(out.chunks_mut(batch * outputs)) {
        model.predict(Rows::F64(rows), output, out, &mut scratch).unwrap();
    }
    out
}

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[test]
fn every_case_gives_the_frameworks_numbers() {
    let (mut cases, mut numbers, mut equal, mut failed) = (0, 0, 0, Vec::new());
    for manifest in manifests() {
        for (case, format) in manifest.cases() {
            cases += 1;
            let label = format!("{} {} on {}", case["id"], case["format"], case["input"]);
            let path = manifest.folder.join(case["model"].as_str().unwrap());
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(Format::detect(&bytes).unwrap(), format, "{label}");
            let model = match Model::from_bytes(&bytes, &LoadOptions::default()) {
                Ok(model) => model,
                Err(error) => {
                    failed.push(format!("{label}: {error}"));
                    continue;
                }
            };
            let rows = manifest.input(case["input"].as_str().unwrap(), &model);
            for (kind, expected) in case["expected"].as_object().unwrap() {
                if !expected["role"].is_null() {
                    continue;
                }
                let output = match kind.as_str() {
                    kind if kind.contains("contrib") || kind.contains("leaf") => continue, // `reasons` looks at them
                    "class" | "ort_label" | "ort_output_label" | "sk_label" => Output::Class,
                    "ort_score_samples" => Output::Raw,
                    kind if matches!(kind, "pred" | "proba") || kind.starts_with("ort_") => Output::Prediction,
                    _ => Output::Raw,
                };
                let wanted =
                    npy::places(&manifest.folder.join(expected["file"].as_str().unwrap()), model.class_names());
                let (atol, rtol) = (expected["atol"].as_f64().unwrap(), expected["rtol"].as_f64().unwrap());
                let seen = predict(&model, &rows, output, usize::MAX / 1024);
                if seen.len() != wanted.len() {
                    failed.push(format!("{label}, {kind}: {} numbers, {} expected", seen.len(), wanted.len()));
                    continue;
                }
                let (mut different, mut worst, mut wrong) = (0, 0.0f64, 0);
                for (&a, &b) in seen.iter().zip(&wanted) {
                    if !same(a, b) {
                        different += 1;
                        let close = (a - b).abs() <= atol + rtol * b.abs();
                        wrong += usize::from(!close);
                        worst = worst.max((a - b).abs() / b.abs().max(1e-300));
                    }
                }
                numbers += seen.len();
                equal += seen.len() - different;
                if different > 0 {
                    println!("{label}, {kind}: {different} of {} differ in their bits, by {worst:.1e}", seen.len());
                }
                if wrong > 0 {
                    failed.push(format!("{label}, {kind}: {wrong} of {} are wrong, by {worst:.1e}", seen.len()));
                }
            }
        }
    }
    println!("{cases} cases, {numbers} numbers, {equal} equal to the last bit");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(cases > 20, "the corpus is missing");
}

#[test]
fn layouts_instructions_and_batches_change_no_bit() {
    let mut layouts = std::collections::BTreeSet::new();
    for manifest in manifests() {
        for (case, _) in manifest.cases() {
            let path = manifest.folder.join(case["model"].as_str().unwrap());
            let plain = Model::load(&path, &LoadOptions { layout: Layout::Plain, ..LoadOptions::default() }).unwrap();
            let rows = manifest.input(case["input"].as_str().unwrap(), &plain);
            for output in [Output::Raw, Output::Prediction, Output::Class] {
                if plain.outputs(output) == 0 {
                    continue;
                }
                let wanted = predict(&plain, &rows, output, 1);
                for (layout, instructions) in ways() {
                    let options = LoadOptions { layout, instructions, ..LoadOptions::default() };
                    // A layout that was asked for and can't hold the model is refused; an automatic one never is.
                    let Ok(model) = Model::load(&path, &options) else {
                        assert_ne!(layout, Layout::Auto, "{}", case["id"]);
                        continue;
                    };
                    layouts.insert((model.layout(), format!("{instructions:?}")));
                    for batch in [1, 7, 64, 1000] {
                        let seen = predict(&model, &rows, output, batch);
                        let differ = seen.iter().zip(&wanted).filter(|&(&a, &b)| !same(a, b)).count();
                        assert_eq!(differ, 0, "{} {layout:?} {instructions:?} {output:?}, batch {batch}", case["id"]);
                    }
                }
            }
        }
    }
    println!("{layouts:?}");
}

/// Every layout with all instructions that this processor has.
pub fn ways() -> impl Iterator<Item = (Layout, Instructions)> {
    let layouts = [Layout::Auto, Layout::Interleaved, Layout::Table, Layout::Perfect, Layout::Scorer];
    let instructions = [Instructions::Portable, Instructions::Avx2, Instructions::Avx512, Instructions::Neon];
    let instructions = instructions.into_iter().filter(|instructions| instructions.available());
    instructions.flat_map(move |instructions| layouts.map(|layout| (layout, instructions)))
}
