//! `millstream model inspect`: what is in a model file, and what a row of it costs here and now.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use millstream_models::Opened;
use millstream_trees::{Categories, Feature, Model, Output, Rows, Scratch};
use serde_json::{Value, json};

use crate::args::InspectArgs;
use crate::failure::Outcome;
use crate::output::{self, thousands};

/// Rows that are measured with; batches of 64 go through all of them.
const ROWS: usize = 1024;
/// How long one figure is measured for.
const MEASURED_FOR: Duration = Duration::from_millis(60);
/// Rounds at the least, however long they take.
const ROUNDS_MIN: usize = 2;
/// Numbers in the measured rows at most: fewer rows for models with very many features.
const NUMBERS_MAX: usize = 1 << 20;
/// Classes and categories named in the text.
const NAMES_MAX: usize = 8;

/// `millstream model inspect FILE`
pub fn inspect(args: &InspectArgs) -> Outcome {
    let opened = super::open(&args.file, args.format, true)?;
    let facts = facts(&opened);
    if args.json {
        return output::print(serde_json::to_string_pretty(&facts).unwrap_or_default() + "\n");
    }
    output::print(text(&facts))
}

fn facts(opened: &Opened) -> Value {
    let model = &opened.model;
    let about = model.description();
    json!({
        "framework": about.framework,
        "version": about.version,
        "objective": about.objective,
        "trees": about.trees,
        "trees_in_file": about.trees_in_file,
        "depth": about.depth,
        "leaves": about.leaves,
        "features": model.features().iter().enumerate().map(|(place, f)| feature(place, f)).collect::<Vec<_>>(),
        "outputs": outputs(model).into_iter().collect::<serde_json::Map<_, _>>(),
        "classes": model.class_names(),
        "layout": model.layout(),
        "file_bytes": opened.bytes,
        "layout_bytes": model.layout_bytes(),
        "contributions_bytes": model.contributions_bytes(),
        "digest": opened.digest,
        "ns_per_row": {
            "batch_1": measure(model, 1),
            "batch_64": measure(model, 64),
            "contributions": measure_contributions(model),
        },
    })
}

fn feature(place: usize, feature: &Feature) -> Value {
    let categories = match feature.categories.as_deref() {
        Some(Categories::Text(names)) => json!(names.names()),
        Some(Categories::Numbers(numbers)) => json!(numbers),
        Some(Categories::Hashed) => json!("any"),
        None => Value::Null,
    };
    let kind = if feature.categorical { "categorical" } else { "numeric" };
    json!({ "index": place, "name": feature.name, "type": kind, "categories": categories })
}

/// The outputs that the model has, and how many numbers each gives for a row.
fn outputs(model: &Model) -> Vec<(String, Value)> {
    let mut scratch = Scratch::new();
    let none = Rows::F64(&[]);
    let kinds = [("raw", Output::Raw), ("prediction", Output::Prediction), ("class", Output::Class)];
    let mut all: Vec<(&str, usize)> = kinds.map(|(name, output)| (name, model.outputs(output))).into();
    if model.leaf_indices(none, &mut [], &mut scratch).is_ok() {
        all.push(("leaf", model.leaves_per_row()));
    }
    if has_contributions(model) {
        all.push(("contributions", model.contributions_per_row()));
    }
    all.into_iter()
        .filter(|(_, numbers)| *numbers > 0)
        .map(|(name, numbers)| (name.to_owned(), numbers.into()))
        .collect()
}

fn has_contributions(model: &Model) -> bool {
    model.contributions(Rows::F64(&[]), &mut [], &mut Scratch::new()).is_ok()
}

/// The best of some rounds over rows, in whole nanoseconds for each row.
fn measure(model: &Model, batch: usize) -> Option<u64> {
    let outputs = model.outputs(Output::Prediction);
    let (mut out, mut scratch) = (vec![0.0; batch * outputs], Scratch::new());
    time(model, batch, |rows| model.predict(rows, Output::Prediction, &mut out, &mut scratch).is_ok())
}

fn measure_contributions(model: &Model) -> Option<u64> {
    if !has_contributions(model) {
        return None;
    }
    let (mut out, mut scratch) = (vec![0.0; model.contributions_per_row()], Scratch::new());
    time(model, 1, |rows| model.contributions(rows, &mut out, &mut scratch).is_ok())
}

fn time(model: &Model, batch: usize, mut call: impl FnMut(Rows<'_>) -> bool) -> Option<u64> {
    let features = model.features().len();
    let count = (NUMBERS_MAX / features.max(1)).clamp(batch, ROWS) / batch * batch;
    let rows = random_rows(count * features);
    let (mut best, mut rounds) = (Duration::MAX, 0);
    let until = Instant::now() + MEASURED_FOR;
    while rounds < ROUNDS_MIN || Instant::now() < until {
        let started = Instant::now();
        for rows in rows.chunks_exact(batch * features) {
            if !call(Rows::F64(black_box(rows))) {
                return None;
            }
        }
        best = best.min(started.elapsed());
        rounds += 1;
    }
    Some((best.as_nanos() / count as u128) as u64)
}

/// Numbers of many magnitudes, one in twenty missing, from a small generator with a fixed seed.
fn random_rows(count: usize) -> Vec<f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let number = |_| {
        let (bits, scale) = (next(), next() % 5);
        let unit = (bits >> 11) as f64 / (1u64 << 53) as f64;
        if bits % 20 == 0 { f64::NAN } else { (unit * 2.0 - 0.7) * 10f64.powi(scale as i32) }
    };
    (0..count).map(number).collect()
}

/// The facts for people.
fn text(facts: &Value) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let count = |key: &str| thousands(facts[key].as_u64().unwrap_or_default());
    let kib = |key: &str| format!("{} KiB", thousands(facts[key].as_u64().unwrap_or_default().div_ceil(1024)));
    let mut framework = word(&facts["framework"]);
    if !facts["version"].is_null() {
        framework = format!("{framework} {}", word(&facts["version"]));
    }
    let trees = match facts["trees_in_file"] == facts["trees"] {
        true => count("trees"),
        false => format!("{} of {} (best iteration)", count("trees"), count("trees_in_file")),
    };
    let outputs = facts["outputs"].as_object().into_iter().flatten();
    let outputs: Vec<String> = outputs.map(|(name, numbers)| format!("{name} ({numbers})")).collect();
    let mut lines = vec![
        ("framework", framework),
        ("objective", word(&facts["objective"])),
        ("trees", trees),
        ("depth", count("depth")),
        ("leaves", count("leaves")),
        ("outputs", outputs.join(", ")),
    ];
    let classes = facts["classes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !classes.is_empty() {
        lines.push(("classes", names(classes)));
    }
    let ns = |key: &str| {
        facts["ns_per_row"][key].as_u64().map_or_else(|| "none".to_owned(), |ns| format!("{} ns", thousands(ns)))
    };
    lines.extend([
        ("layout", format!("{}, {}", word(&facts["layout"]), kib("layout_bytes"))),
        ("file", kib("file_bytes")),
        ("digest", word(&facts["digest"])),
        ("one row", format!("{} (predictions, measured now), contributions {}", ns("batch_1"), ns("contributions"))),
        ("one of 64", ns("batch_64")),
    ]);
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<10} {value}");
    }
    text.push('\n');
    let rows = facts["features"].as_array().into_iter().flatten().map(|feature| {
        let categories = match &feature["categories"] {
            Value::Array(all) => names(all),
            Value::String(any) => any.clone(),
            _ => String::new(),
        };
        let name = feature["name"].as_str().unwrap_or("").to_owned();
        vec![feature["index"].to_string(), name, word(&feature["type"]), categories]
    });
    text + &output::table(&["", "feature", "type", "categories"], &rows.collect::<Vec<_>>(), &[0])
}

/// The first names of a list, and how many there are if those are not all.
fn names(all: &[Value]) -> String {
    let first: Vec<String> = all.iter().take(NAMES_MAX).map(ToString::to_string).collect();
    let more = if all.len() > NAMES_MAX { format!(", ... ({} in all)", all.len()) } else { String::new() };
    first.join(", ") + &more
}
