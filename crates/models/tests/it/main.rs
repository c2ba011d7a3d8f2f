//! Models through the trait that the engine uses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, StringArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use millstream_core::{Model, OutputKind};
use millstream_models::{ModelFormat, codes, load};

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../trees/tests/corpus/models").join(name)
}

fn model(name: &str) -> Arc<dyn Model> {
    load(&corpus(name), None).unwrap()
}

/// One column for each input: row `r` of input `i` is `r - i / 2`, with a null here and there.
fn inputs(model: &dyn Model, rows: usize) -> Vec<ArrayRef> {
    let value =
        |row: usize, input: usize| (!(row + input).is_multiple_of(7)).then_some((row % 5) as f64 - input as f64 / 2.0);
    let count = model.signature().inputs.len();
    (0..count).map(|i| Arc::new((0..rows).map(|r| value(r, i)).collect::<Float64Array>()) as ArrayRef).collect()
}

#[test]
fn the_example_model_loads_and_predicts() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fraud/model.json");
    let model = load(&path, Some(ModelFormat::XgboostJson)).unwrap();
    assert_eq!(model.signature().inputs[0].name.as_deref(), Some("amount"));
    assert_eq!(model.signature().outputs, 1);
    assert_eq!(model.digest().len(), 64);
    assert!(model.describe().starts_with("xgboost 3."), "{}", model.describe());
    let scores = model.predict(&inputs(&*model, 10), OutputKind::Prediction).unwrap();
    let scores = scores.as_primitive::<Float64Type>();
    assert!(scores.len() == 10 && scores.null_count() == 0);
    assert!(scores.values().iter().all(|score| (0.0..=1.0).contains(score)));
}

#[test]
fn a_batch_may_be_cut_anywhere() {
    for name in [
        "bin_320.json",
        "softprob_npt_320.json",
        "softmax_320.ubj",
        "multi_l470.txt",
        "linear_l470.txt",
        "lin_multi_320.json",
        "onnx_rf_multi_str.onnx",
        "onnx_if_cont.onnx",
        "onnx_pipe_imp_rf.onnx",
    ] {
        let model = model(name);
        let all = inputs(&*model, 600);
        for kind in [OutputKind::Prediction, OutputKind::Raw, OutputKind::Class] {
            if !model.supports(kind) {
                continue;
            }
            let whole = model.predict(&all, kind).unwrap();
            assert_eq!(whole.data_type(), &model.output_type(kind), "{name} {kind:?}");
            let mut first = 0;
            for length in [1, 2, 255, 1, 341] {
                let part: Vec<ArrayRef> = all.iter().map(|column| column.slice(first, length)).collect();
                assert_eq!(&model.predict(&part, kind).unwrap(), &whole.slice(first, length), "{name} {kind:?}");
                first += length;
            }
            assert_eq!(first, 600);
            assert_eq!(model.predict(&all.iter().map(|c| c.slice(0, 0)).collect::<Vec<_>>(), kind).unwrap().len(), 0);
        }
    }
}

#[test]
fn outputs_have_the_types_the_trait_says() {
    let classes = model("softprob_npt_320.json");
    let rows = inputs(&*classes, 3);
    assert_eq!(classes.signature().outputs, 4);
    for kind in [OutputKind::Prediction, OutputKind::Raw] {
        let lists = classes.predict(&rows, kind).unwrap();
        assert_eq!(lists.as_fixed_size_list().value_length(), 4);
        assert_eq!(lists.data_type(), &DataType::new_fixed_size_list(DataType::Float64, 4, true));
    }
    let class = classes.predict(&rows, OutputKind::Class).unwrap();
    assert!(class.as_primitive::<Int64Type>().values().iter().all(|class| (0..4).contains(class)));
    let softmax = model("softmax_320.json");
    assert_eq!(softmax.signature().outputs, 1);
    let class = softmax.predict(&inputs(&*softmax, 3), OutputKind::Prediction).unwrap();
    assert_eq!(class.data_type(), &DataType::Float64);
    let margins = softmax.predict(&inputs(&*softmax, 3), OutputKind::Raw).unwrap();
    assert_eq!(margins.as_fixed_size_list().value_length(), 4);
    for (name, kind, says) in [
        (
            "stump_l470.txt",
            OutputKind::Class,
            "output `class` is asked of a model with objective `regression`: it has no classes",
        ),
        ("mt_logit_320.json", OutputKind::Class, "a row can have several labels"),
    ] {
        let model = model(name);
        assert!(!model.supports(kind));
        let error = model.predict(&inputs(&*model, 1), kind).unwrap_err();
        assert!(error.code() == codes::OUTPUT && error.to_string().contains(says), "{error}");
    }
}

#[test]
fn categories_come_as_strings_numbers_or_codes() {
    for name in ["catdict_320.json", "catdict_320.ubj", "catdict_l470.txt"] {
        let model = model(name);
        let categorical: Vec<bool> = model.signature().inputs.iter().map(|input| input.categorical).collect();
        assert_eq!(categorical, [false, true, false], "{name}: only strings need to be told");
        let number: ArrayRef = Arc::new(Float64Array::from(vec![0.5; 4]));
        let code: ArrayRef = Arc::new(Float64Array::from(vec![Some(35.0), Some(10.0), None, Some(11.0)]));
        let names = StringArray::from(vec![Some("genf"), Some("basel"), None, Some("paris")]);
        let keys = Int32Array::from(vec![0, 1, 2, 3]);
        let dictionary: ArrayRef = Arc::new(arrow::array::DictionaryArray::new(keys, Arc::new(names.clone())));
        let strings: ArrayRef = Arc::new(names);
        let by_name = model.predict(&[number.clone(), strings, code.clone()], OutputKind::Prediction).unwrap();
        let by_key = model.predict(&[number, dictionary, code], OutputKind::Prediction).unwrap();
        assert_eq!(&by_name, &by_key);
        let scores = by_name.as_primitive::<Float64Type>();
        assert_ne!(scores.value(0), scores.value(1), "{name}: the category counts");
        assert_eq!(scores.value(2), scores.value(3), "{name}: an unknown category is a missing value");
    }
}

#[test]
fn hashed_categories_come_as_strings_or_whole_numbers() {
    let model = model("cb_cat_only.cbm");
    assert!(model.signature().inputs.iter().all(|input| input.categorical));
    assert_eq!(model.signature().outputs, 2, "the probabilities of both classes");
    let texts = |texts: [Option<&str>; 3]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
    let (a, c) = (texts([Some("a"), Some("ü"), None]), texts([Some("p"), Some("q"), Some("never seen")]));
    let number: ArrayRef = Arc::new(Float64Array::from(vec![Some(2.0), Some(-3.0), None]));
    let by_number = model.predict(&[a.clone(), number, c.clone()], OutputKind::Raw).unwrap();
    let by_text = model.predict(&[a, texts([Some("2"), Some("-3"), Some("")]), c], OutputKind::Raw).unwrap();
    assert_eq!(&by_number, &by_text);
    let scores = by_number.as_primitive::<Float64Type>();
    assert_ne!(scores.value(0), scores.value(1), "the categories count");
}

#[test]
fn refusals_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let bytes = std::fs::read(corpus("bin_320.json")).unwrap();
    let other = String::from_utf8(bytes.clone()).unwrap().replace("binary:logistic", "binary:mine");
    let cases = [
        (folder.path().join("none.json"), codes::UNREADABLE, "none.json` can't be read"),
        (file("a.pkl", b"\x80\x04\x95"), codes::NOT_A_MODEL, "Python pickle"),
        (file("b.json", &bytes[..bytes.len() / 2]), codes::DAMAGED, "the file ends where"),
        (file("c.json", other.as_bytes()), codes::UNSUPPORTED, "objective `binary:mine` is not supported"),
    ];
    for (path, code, says) in cases {
        let Err(error) = load(&path, None) else { panic!("{} loads", path.display()) };
        assert!(error.code() == code && error.to_string().contains(says), "{error}");
    }
    let Err(error) = load(&corpus("bin_320.json"), Some(ModelFormat::LightgbmText)) else { panic!() };
    assert_eq!(error.code(), codes::DAMAGED);

    let model = model("bin_320.json");
    let mut columns = inputs(&*model, 2);
    columns[3] = Arc::new(StringArray::from(vec!["a", "b"]));
    let error = model.predict(&columns, OutputKind::Prediction).unwrap_err();
    assert_eq!(error.to_string(), "input number 3 is Utf8, the model takes Float64");
    columns[3] = Arc::new(Float64Array::from(vec![1.0]));
    let error = model.predict(&columns, OutputKind::Prediction).unwrap_err();
    assert_eq!(error.to_string(), "input number 3 has 1 rows, the first one 2");
    columns.pop();
    let error = model.predict(&columns, OutputKind::Prediction).unwrap_err();
    assert_eq!(error.to_string(), "7 inputs are given, the model takes 8");
    assert_eq!(error.code(), codes::INPUTS);
}

#[test]
fn every_code_has_a_page() {
    for code in codes::ALL {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/errors/{}.md", code.id));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        assert!(text.starts_with(&format!("# {}: {}\n", code.id, code.title)), "{}", page.display());
    }
}

#[test]
fn classes_with_names_are_strings() {
    let model = model("onnx_rf_multi_str.onnx");
    assert!(model.describe().starts_with("onnx skl2onnx"), "{}", model.describe());
    let classes = model.predict(&inputs(&*model, 20), OutputKind::Class).unwrap();
    let chances = model.predict(&inputs(&*model, 20), OutputKind::Prediction).unwrap();
    for (class, chances) in classes.as_string::<i32>().iter().zip(chances.as_fixed_size_list().iter()) {
        let chances = chances.unwrap();
        let chances = chances.as_primitive::<Float64Type>().values();
        let best = (0..chances.len()).rev().max_by(|&a, &b| chances[a].total_cmp(&chances[b])).unwrap();
        assert_eq!(class.unwrap(), format!("c{best}"));
    }
    let outlier = self::model("onnx_if_cont.onnx");
    assert_eq!(outlier.output_type(OutputKind::Class), DataType::Int64);
    let classes = outlier.predict(&inputs(&*outlier, 20), OutputKind::Class).unwrap();
    assert!(classes.as_primitive::<Int64Type>().values().iter().all(|class| [-1, 1].contains(class)));
}
