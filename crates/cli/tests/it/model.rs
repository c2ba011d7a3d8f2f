//! `model inspect` and `model predict`, over every case of a corpus: models of real frameworks with inputs and the
//! framework's own numbers.
//!
//! A small corpus stands in `crates/trees/tests/corpus`; `MILLSTREAM_MODEL_CORPUS` may name a folder with more.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::Folder;

fn corpora() -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../trees/tests/corpus")];
    folders.extend(std::env::var_os("MILLSTREAM_MODEL_CORPUS").map(PathBuf::from));
    folders
}

/// The numbers or strings of a NumPy array, one row after another, and how many rows there are.
fn array(path: &Path) -> (Vec<Value>, usize) {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape: Vec<usize> = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let data = &bytes[10 + length..];
    let kind = header.split_once("'descr': '").unwrap().1.split('\'').next().unwrap();
    let number = |x: f64| match x {
        x if x.is_nan() => Value::from("NaN"),
        x if x.is_infinite() => Value::from(if x > 0.0 { "Infinity" } else { "-Infinity" }),
        x => Value::from(x),
    };
    let mut values: Vec<Value> = match kind {
        "<f4" => data.as_chunks::<4>().0.iter().map(|c| number(f64::from(f32::from_le_bytes(*c)))).collect(),
        "<f8" => data.as_chunks::<8>().0.iter().map(|c| number(f64::from_le_bytes(*c))).collect(),
        "<i8" => data.as_chunks::<8>().0.iter().map(|c| number(i64::from_le_bytes(*c) as f64)).collect(),
        text => {
            let width = text.strip_prefix("<U").unwrap().parse::<usize>().unwrap() * 4;
            let chars = |chars: &[u8]| -> String {
                let codes = chars.as_chunks::<4>().0.iter().map(|c| u32::from_le_bytes(*c));
                codes.take_while(|&code| code != 0).filter_map(char::from_u32).collect()
            };
            data.chunks_exact(width).map(|text| Value::from(chars(text))).collect()
        }
    };
    let rows = shape.first().copied().unwrap_or_default();
    if let ([rows, columns], true) = (&shape[..], header.contains("'fortran_order': True")) {
        values = (0..rows * columns).map(|at| values[at % columns * rows + at / columns].clone()).collect();
    }
    (values, rows)
}

/// The rows of an input as lines.
fn lines(folder: &Path, input: &Value) -> String {
    if let Some(ndjson) = input["ndjson"].as_str() {
        return std::fs::read_to_string(folder.join(ndjson)).unwrap();
    }
    let (values, rows) = array(&folder.join(input["npy"].as_str().unwrap()));
    let width = values.len() / rows;
    values.chunks(width).map(|row| Value::from(row.to_vec()).to_string() + "\n").collect()
}

fn output(kind: &str) -> &'static str {
    match kind {
        kind if kind.contains("contrib") => "contributions",
        kind if kind.contains("leaf") => "leaf",
        "class" | "ort_label" | "ort_output_label" | "sk_label" => "class",
        "ort_score_samples" | "raw" | "margin" => "raw",
        _ => "prediction",
    }
}

fn close(seen: &Value, wanted: &Value, atol: f64, rtol: f64) -> bool {
    match (seen.as_f64(), wanted.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= atol + rtol * b.abs(),
        _ => seen == wanted,
    }
}

/// Every number of a case; what is wrong is added to `failed`.
fn hold(folder: &Path, case: &Value, input: &Value, failed: &mut Vec<String>) -> usize {
    let here = Folder::new();
    here.write("rows.ndjson", &lines(folder, input));
    let model = folder.join(case["model"].as_str().unwrap());
    let format = match case["format"].as_str().unwrap() {
        "lightgbm-txt" => "lightgbm_text".to_owned(),
        other => other.replace('-', "_"),
    };
    let mut held = 0;
    for (kind, expected) in case["expected"].as_object().unwrap() {
        if !expected["role"].is_null() {
            continue;
        }
        let label = format!("{} {format} {kind}", case["id"]);
        let args = ["model", "predict", model.to_str().unwrap(), "--input", "rows.ndjson", "--format", &format];
        let done = here.run(&[&args[..], &["--output", output(kind)]].concat());
        if done.code != Some(0) {
            failed.push(format!("{label}: {}", done.err));
            continue;
        }
        let seen: Vec<Value> = done
            .out
            .lines()
            .flat_map(|line| match serde_json::from_str(line).unwrap() {
                Value::Array(several) => several,
                one => vec![one],
            })
            .collect();
        let (wanted, rows) = array(&folder.join(expected["file"].as_str().unwrap()));
        let (atol, rtol) = (expected["atol"].as_f64().unwrap(), expected["rtol"].as_f64().unwrap());
        let wrong = seen.iter().zip(&wanted).filter(|(seen, wanted)| !close(seen, wanted, atol, rtol)).count();
        if seen.len() != wanted.len() || done.out.lines().count() != rows || wrong > 0 {
            failed.push(format!("{label}: {} numbers, {} expected, {wrong} of them wrong", seen.len(), wanted.len()));
        }
        held += 1;
    }
    held
}

#[test]
fn every_case_of_the_corpus_comes_out() {
    let (mut held, mut failed) = (0, Vec::new());
    for folder in corpora() {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut manifests: Vec<PathBuf> =
            entries.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("manifest")).collect();
        manifests.sort();
        for manifest in manifests {
            let json: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
            for case in json["cases"].as_array().unwrap() {
                if !case["format"].as_str().unwrap().starts_with("sklearn") {
                    held += hold(&folder, case, &json["inputs"][case["input"].as_str().unwrap()], &mut failed);
                }
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(held > 300, "the corpus is missing: {held}");
}

fn corpus_model(name: &str) -> String {
    corpora()[0].join("models").join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_model_is_described() {
    let folder = Folder::new();
    let model = corpus_model("cat_l470.txt");
    let facts: Value =
        serde_json::from_str(&folder.run(&["model", "inspect", &model, "--json"]).succeeded().out).unwrap();
    assert_eq!((&facts["framework"], &facts["version"]), (&Value::from("lightgbm"), &Value::from("v4")));
    assert_eq!(facts["features"].as_array().unwrap().len(), 8);
    assert_eq!(facts["digest"].as_str().unwrap().len(), 64);
    assert_eq!(facts["outputs"]["contributions"], 9);
    assert!(facts["ns_per_row"]["batch_1"].is_u64() && facts["ns_per_row"]["batch_64"].is_u64());
    let text = folder.run(&["model", "inspect", &model]).succeeded().out;
    assert!(text.starts_with("framework  lightgbm v4\n") && text.contains("categorical"), "{text}");
    let linear: Value = serde_json::from_str(
        &folder.run(&["model", "inspect", &corpus_model("lgb_linear_tree.txt"), "--json"]).succeeded().out,
    )
    .unwrap();
    assert_eq!(linear["outputs"]["contributions"], Value::Null, "LightGBM has none for linear trees");
}

#[test]
fn rows_that_cannot_be_read_are_named() {
    let folder = Folder::new();
    let model = corpus_model("xgb_bin_bs05.ubj");
    let predict = |rows: &str, output: &str| {
        folder.run_with(&["model", "predict", &model, "--input", "-", "--output", output], rows)
    };
    let good = format!("[{}]\n", vec!["null"; 30].join(","));
    let mixed = predict(&format!("{good}\n{}", good.replacen("null", "\"x\"", 1)), "raw");
    assert_eq!((mixed.code, mixed.out.lines().count()), (Some(1), 1), "{}", mixed.err);
    assert!(mixed.err.starts_with("error[MS0712]: line 3 of standard input: "), "{}", mixed.err);
    assert!(mixed.err.contains("is the string \"x\"; a number, null"), "{}", mixed.err);
    let short = predict("[1]\n", "leaf");
    assert!(short.err.contains("there are 1 values; the model takes 30"), "{}", short.err);
    let leaves = predict(&good, "leaf").succeeded();
    assert_eq!(serde_json::from_str::<Vec<u32>>(&leaves.out).unwrap().len(), 30);
    let folder = Folder::new();
    let none = folder.run_with(
        &["model", "predict", &corpus_model("lgb_linear_tree.txt"), "--input", "-", "--output", "contributions"],
        "",
    );
    assert_eq!(none.code, Some(1));
    assert!(none.err.contains("error[MS0306]") && none.err.contains("linear trees"), "{}", none.err);
}
