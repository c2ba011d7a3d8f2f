//! CatBoost models: what the corpus doesn't say.

use std::path::{Path, PathBuf};

use millstream_trees::{Categories, Format, LoadError, LoadOptions, Model, Output, PredictError, Rows, Scratch};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(file(&format!("models/{name}"))).unwrap()
}

fn load(bytes: &[u8]) -> Result<Model, LoadError> {
    Model::from_bytes(bytes, &LoadOptions::default())
}

fn message(bytes: &[u8]) -> String {
    load(bytes).unwrap_err().to_string()
}

#[test]
fn models_say_what_they_are() {
    let model = load(&bytes("cb_cat_bin.cbm")).unwrap();
    assert_eq!(model.description().to_string(), "catboost 1.2.10 Logloss, 10 trees, depth 5");
    let names: Vec<_> = model.features().iter().map(|feature| feature.name.clone().unwrap()).collect();
    assert_eq!(names, ["amount", "c1", "k2", "f1", "ö \"x\""]);
    let categories: Vec<bool> = model.features().iter().map(|feature| feature.categorical).collect();
    assert_eq!(categories, [false, true, true, false, true]);
    assert!(matches!(model.features()[1].categories.as_deref(), Some(Categories::Hashed)));
    assert_eq!(
        (model.outputs(Output::Raw), model.outputs(Output::Prediction), model.outputs(Output::Class)),
        (1, 2, 1)
    );
    let tweedie = load(&bytes("cb_tweedie.cbm")).unwrap();
    assert_eq!(tweedie.description().objective, "Tweedie:variance_power=1.3");
    assert_eq!(tweedie.outputs(Output::Class), 0);
    let several = load(&bytes("cb_mc.cbm")).unwrap();
    assert_eq!((several.outputs(Output::Raw), several.outputs(Output::Class)), (6, 1));
}

#[test]
fn classes_have_labels() {
    let json = String::from_utf8(bytes("cb_bin.json")).unwrap();
    let labelled = |names: &str| {
        let model =
            load(json.replacen("\"class_names\":[3,7]", &format!("\"class_names\":{names}"), 1).as_bytes()).unwrap();
        let mut out = [0.0];
        model.predict(Rows::F64(&[0.0; 6]), Output::Class, &mut out, &mut Scratch::new()).unwrap();
        (out[0], model.class_names().to_vec())
    };
    assert_eq!(labelled("[3,7]"), (7.0, vec![]));
    assert_eq!(labelled("[-4,7]"), (7.0, vec![]));
    assert_eq!(labelled("[\"no\",\"ja\"]"), (1.0, vec!["no".to_owned(), "ja".to_owned()]));
    assert_eq!(labelled("[0.5,1]"), (1.0, vec!["0.5".to_owned(), "1".to_owned()]));
    assert_eq!(labelled("[false,true]"), (1.0, vec![]));
    assert_eq!(labelled("[]"), (1.0, vec![]));
}

#[test]
fn both_formats_hold_the_same_model() {
    let mut scratch = Scratch::new();
    for name in ["cb_bin", "cb_mc", "cb_mrmse", "cb_lossguide", "cb_depthwise_mc", "cb_cat_bin", "cb_cat_onehot"] {
        let models = ["cbm", "json"].map(|ending| load(&bytes(&format!("{name}.{ending}"))).unwrap());
        let [binary, json] = &models;
        assert_eq!(binary.features(), json.features(), "{name}");
        assert_eq!(binary.description(), json.description(), "{name}");
        let features = binary.features().len();
        for value in [f64::NAN, -1.0, 0.0, 0.3, 1e30, f64::from(u32::MAX)] {
            let row = vec![value; features];
            let mut out = [vec![0.0; binary.outputs(Output::Raw)], vec![0.0; binary.outputs(Output::Raw)]];
            for (model, out) in models.iter().zip(&mut out) {
                model.predict(Rows::F64(&row), Output::Raw, out, &mut scratch).unwrap();
            }
            assert_eq!(out[0], out[1], "{name} at {value}");
        }
    }
}

/// What CatBoost writes for an integer category is its decimal text; a missing category is the empty string.
#[test]
fn categories_have_codes() {
    let model = load(&bytes("cb_cat_bin.cbm")).unwrap();
    let feature = &model.features()[2];
    assert_eq!(feature.encode_number(-3.0), feature.encode_text("-3"));
    assert_ne!(feature.encode_text("3"), feature.encode_text("3 "));
    let mut scratch = Scratch::new();
    let mut raw = |code: f64| {
        let row = [0.5, code, feature.encode_text("1"), 0.1, feature.encode_text("p")];
        let mut out = [0.0];
        model.predict(Rows::F64(&row), Output::Raw, &mut out, &mut scratch).unwrap();
        out[0]
    };
    assert_eq!(raw(f64::NAN), raw(feature.encode_text("")));
    assert_eq!(raw(-1.0), raw(feature.encode_text("")));
}

#[test]
fn hashes_need_float64() {
    let mut scratch = Scratch::new();
    let categories = load(&bytes("cb_cat_bin.cbm")).unwrap();
    let refused = categories.predict(Rows::F32(&[0.0; 5]), Output::Raw, &mut [0.0], &mut scratch);
    assert_eq!(refused, Err(PredictError::NeedsDouble));
    let numbers = load(&bytes("cb_bin.cbm")).unwrap();
    let row = [0.1f32, 0.2, 1e6, 2.0, -0.5, 0.0];
    let (mut single, mut double) = ([0.0], [0.0]);
    numbers.predict(Rows::F32(&row), Output::Raw, &mut single, &mut scratch).unwrap();
    numbers.predict(Rows::F64(&row.map(f64::from)), Output::Raw, &mut double, &mut scratch).unwrap();
    assert_eq!(single, double);
}

#[test]
fn nothing_is_allocated_after_the_first_call() {
    for name in ["cb_cat_bin.cbm", "cb_mc.cbm", "cb_bin.cbm"] {
        let model = load(&bytes(name)).unwrap();
        let rows = vec![0.25; model.features().len() * 100];
        let mut scratch = Scratch::new();
        for output in [Output::Raw, Output::Prediction, Output::Class] {
            let mut out = vec![0.0; model.outputs(output) * 100];
            let mut call = || model.predict(Rows::F64(&rows), output, &mut out, &mut scratch).unwrap();
            call();
            let ((), allocations) = crate::memory::allocations(call);
            assert_eq!(allocations, 0, "{name}, {output:?}");
        }
    }
}

#[test]
fn formats_are_told_apart() {
    assert_eq!(Format::detect(&bytes("cb_bin.cbm")).unwrap(), Format::CatboostCbm);
    assert_eq!(Format::detect(&bytes("cb_bin.json")).unwrap(), Format::CatboostJson);
    assert_eq!(Format::detect(&bytes("cb_depthwise_mc.json")).unwrap(), Format::CatboostJson);
    assert_eq!(Format::detect(br#" { "model_info" : {} }"#).unwrap(), Format::CatboostJson);
    assert_eq!(Format::detect(br#"{"learner":{"oblivious_trees":1}}"#).unwrap(), Format::XgboostJson);
    assert_eq!(Format::detect(br#"{"a":{"trees":["ctr_data"]},"b\"":"#).unwrap(), Format::XgboostJson);
}

#[test]
fn what_is_not_supported_is_named() {
    let text = std::fs::read(file("catboost_text.cbm")).unwrap();
    assert_eq!(message(&text), "EstimatedFeatures: a model of texts or embeddings is not supported");
    let json = String::from_utf8(bytes("cb_bin.json")).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        message(json.replacen(from, to, 1).as_bytes())
    };
    assert_eq!(
        changed("\"type\":\"Logloss\"", "\"type\":\"Mine\""),
        "model_info.params.loss_function: loss function `Mine` is not supported"
    );
    assert_eq!(
        changed("\"type\":\"Logloss\"", "\"type\":\"RMSEWithUncertainty\""),
        "model_info.params.loss_function: is `RMSEWithUncertainty`, whose leaves hold 2 numbers; this model's hold 1"
    );
    assert_eq!(
        changed("\"feature_index\":1", "\"feature_index\":0"),
        "tree 0, splits: question 4 of 17 is not what the split asks"
    );
}

#[test]
fn what_is_damaged_is_named() {
    let json = String::from_utf8(bytes("cb_lossguide.json")).unwrap();
    let (first, rest) = json.split_once("\"split_index\":").unwrap();
    let changed = format!("{first}\"split_index\":99{rest}");
    assert!(message(changed.as_bytes()).starts_with("tree 0, splits: question 99"), "{}", message(changed.as_bytes()));
    let mut cbm = bytes("cb_bin.cbm");
    cbm.truncate(cbm.len() - 1);
    assert_eq!(message(&cbm), "the model: is cut short");
    assert_eq!(message(b"CBM1"), "the model: is cut short");
    let mut cbm = bytes("cb_bin.cbm");
    cbm[4..8].copy_from_slice(&20u32.to_le_bytes());
    assert!(load(&cbm).is_err());
}

/// A generator of numbers: the same ones on every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

/// Whatever is written over the bytes of a binary model, loading it ends, in bounded memory, and what loads predicts.
#[test]
fn bytes_that_are_changed_end_in_a_model_or_an_error() {
    let mut numbers = Numbers(20);
    let mut scratch = Scratch::new();
    let words = [0u32, 1, 4, 0xff, 0xffff, 0x10000, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff];
    let (mut loaded, mut refused) = (0, 0);
    for name in ["cb_cat_types.cbm", "cb_cat_bin.cbm", "cb_lossguide.cbm", "cb_mc.cbm", "cb_cat_onehot.cbm"] {
        let original = bytes(name);
        for round in 0..900 {
            let mut changed = original.clone();
            for _ in 0..=numbers.next(3) {
                let at = numbers.next(changed.len() - 4);
                match round % 3 {
                    0 => changed[at] = numbers.next(256) as u8,
                    1 => changed[at & !3..][..4].copy_from_slice(&words[numbers.next(words.len())].to_le_bytes()),
                    _ => changed[at & !3] = changed[at & !3].wrapping_add(numbers.next(16) as u8 * 4),
                }
            }
            let (model, peak) = crate::memory::peak(|| load(&changed));
            assert!(peak <= (64 << 20) + 100 * changed.len(), "{name}, round {round}: {peak} bytes");
            let Ok(model) = model else {
                refused += 1;
                continue;
            };
            loaded += 1;
            for value in [f64::NAN, 0.0, -3.0, 1e9] {
                let row = vec![value; model.features().len()];
                for output in [Output::Raw, Output::Prediction, Output::Class] {
                    let mut out = vec![0.0; model.outputs(output)];
                    let predicted = model.predict(Rows::F64(&row), output, &mut out, &mut scratch);
                    assert!(predicted.is_ok() || model.outputs(output) == 0, "{name}, round {round}");
                }
            }
        }
    }
    assert!(loaded > 500 && refused > 500, "{loaded} loaded, {refused} refused");
}
