//! Damaged models: whatever the bytes, loading ends with a model or an error, in bounded memory, and a model that was
//! loaded predicts.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use millstream_trees::{Format, LoadError, LoadOptions, Model, Output, Rows, Scratch};
use proptest::prelude::*;

use crate::memory;

/// The models of the corpus, the smallest of each kind first.
static MODELS: LazyLock<Vec<(PathBuf, Vec<u8>)>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/models");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut models: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    models.sort_by_key(|(path, bytes)| (bytes.len(), path.clone()));
    models.retain(|(_, bytes)| bytes.len() < 24_000);
    models
});

/// Loads bytes as a format, in bounded memory, and predicts if that works.
fn load(bytes: &[u8], format: Option<Format>) -> Result<(), String> {
    let options = LoadOptions { format, ..LoadOptions::default() };
    let (loaded, peak) = memory::peak(|| Model::from_bytes(bytes, &options));
    // A header can claim a million features without naming them; everything else is paid for in bytes of the file.
    let bound = (64 << 20) + 100 * bytes.len();
    assert!(peak <= bound, "{peak} bytes for a file of {}", bytes.len());
    let model = loaded.map_err(|e| e.to_string())?;
    let features = model.features().len();
    let mut scratch = Scratch::new();
    for value in [f64::NAN, 0.0, 1e30, -3.0] {
        let row = vec![value; features];
        for output in [Output::Raw, Output::Prediction, Output::Class] {
            let mut out = vec![0.0; model.outputs(output)];
            let predicted = model.predict(Rows::F64(&row), output, &mut out, &mut scratch);
            assert!(predicted.is_ok() || model.outputs(output) == 0);
        }
    }
    Ok(())
}

/// One change of a file.
#[derive(Clone, Debug)]
enum Damage {
    Set(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
    Insert(usize, &'static str),
    /// Another digit in the place of a digit: numbers that are wrong rather than broken.
    Digit(usize, u8),
}

const PIECES: [&str; 16] = [
    "-1",
    "99999999999",
    "1e400",
    "NaN",
    "[",
    "]",
    "{",
    "}",
    "\"",
    ",",
    "=",
    "\n",
    "L\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f",
    "4294967296",
    " ",
    "Tree=",
];

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>().prop_map(|index| index.index(1 << 30));
    prop_oneof![
        (place.clone(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        place.clone().prop_map(Damage::Cut),
        (place.clone(), 1..200usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (place.clone(), 1..200usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
        (place.clone(), prop::sample::select(&PIECES)).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        (place, b'0'..=b'9').prop_map(|(at, digit)| Damage::Digit(at, digit)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    let place = |at: usize, bytes: &Vec<u8>| if bytes.is_empty() { 0 } else { at % bytes.len() };
    match *damage {
        Damage::Set(at, byte) => {
            let at = place(at, bytes);
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
        }
        Damage::Cut(at) => bytes.truncate(place(at, bytes)),
        Damage::Remove(at, length) => {
            let from = place(at, bytes);
            bytes.drain(from..bytes.len().min(from + length));
        }
        Damage::Repeat(at, length) => {
            let from = place(at, bytes);
            let piece = bytes[from..bytes.len().min(from + length)].to_vec();
            bytes.splice(from..from, piece);
        }
        Damage::Insert(at, piece) => {
            let at = place(at, bytes);
            bytes.splice(at..at, piece.bytes());
        }
        Damage::Digit(at, digit) => {
            let from = place(at, bytes);
            if let Some(slot) = bytes[from..].iter_mut().find(|byte| byte.is_ascii_digit()) {
                *slot = digit;
            }
        }
    }
}

proptest! {
    #[test]
    fn damaged_models_load_or_are_refused(
        model in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let mut bytes = MODELS[model.index(MODELS.len())].1.clone();
        damages.iter().for_each(|damage| apply(&mut bytes, damage));
        let _ = load(&bytes, None);
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for format in [
            Format::XgboostJson,
            Format::XgboostUbj,
            Format::LightgbmText,
            Format::CatboostCbm,
            Format::CatboostJson,
            Format::Onnx,
        ] {
            prop_assert!(load(&bytes, Some(format)).is_err());
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for extension in ["json", "ubj", "txt", "cbm"] {
        let (path, bytes) = MODELS.iter().find(|(path, _)| path.extension().is_some_and(|e| e == extension)).unwrap();
        // What follows a LightGBM model's trees is not needed to predict.
        let end = bytes.windows(12).position(|w| w == b"end of trees").map_or(bytes.len(), |at| at + 11);
        for length in 0..end {
            let error = load(&bytes[..length], None).expect_err(&format!("{} cut at {length}", path.display()));
            assert!(!error.is_empty());
        }
    }
}

#[test]
fn messages_name_the_place() {
    let text = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/models").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let message = |text: String| load(text.as_bytes(), None).unwrap_err();
    let json = text("bin_320.json");
    let cases = [
        (
            json.replacen("\"left_children\":[1,3,", "\"left_children\":[1,99,", 1),
            "tree 0, node 1, children: child 99 is out of range, the tree has 13 nodes",
        ),
        (
            json.replacen("\"left_children\":[1,3,", "\"left_children\":[1,0,", 1),
            "tree 0, node 0, children: the node has two parents, or is its own ancestor",
        ),
        (
            json.replacen("binary:logistic", "binary:mine", 1),
            "learner.objective.name: objective `binary:mine` is not supported",
        ),
        (
            json.replacen("\"num_trees\":\"4\"", "\"num_trees\":\"5\"", 1),
            "learner.gradient_booster.model.trees: holds 4 trees, num_trees says 5",
        ),
        (json.replacen("\"version\":[3,", "\"version\":[9,", 1), "version: a model of XGBoost 9.2.0"),
        (
            json.replacen("\"split_indices\":[0,", "\"split_indices\":[8,", 1),
            "tree 0, node 0, split feature: splits on feature 8, the model has 8",
        ),
        (
            json.replacen("\"split_conditions\":[", "\"split_conditions\":[x", 1),
            "tree 0, split_conditions: item 0 is `x",
        ),
        (json[..json.len() - 9].to_owned(), "the file ends where"),
    ];
    for (text, wanted) in cases {
        let seen = message(text);
        assert!(seen.contains(wanted), "`{seen}` should say `{wanted}`");
    }
    let model = text("stump_l470.txt");
    let seen = message(model.replacen("split_feature=", "split_feature=x", 1));
    assert!(seen.starts_with("tree 0, split_feature: item 0 is `x"), "{seen}");
    let seen = message(model.replacen("objective=regression", "objective=mine", 1));
    assert_eq!(seen, "objective: objective `mine` is not supported");
    let seen = message(model.replacen("num_leaves=2", "num_leaves=3", 1));
    assert_eq!(seen, "tree 0, num_leaves: is 3, leaf_value holds 2 numbers");
}

#[test]
fn other_files_are_told_apart() {
    let cases: [(&[u8], &str); 4] = [
        (b"", "the file is empty"),
        (b"\x80\x04\x95", "Python pickle"),
        (b"{\"name\":\"tree\",\"tree_info\":[]}", "dump_model"),
        (b"hello", "XGBoost JSON, XGBoost UBJ, LightGBM text, CatBoost"),
    ];
    for (bytes, wanted) in cases {
        let error = Model::from_bytes(bytes, &LoadOptions::default()).unwrap_err();
        assert!(matches!(error, LoadError::UnknownFormat { .. }) && error.to_string().contains(wanted), "{error}");
    }
}
