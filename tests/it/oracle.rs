//! Results against engines that were not written here.

use std::process::Command;

use crate::support::{Job, binary, fraud_job, fraud_pipeline, number_from_env, python, root};

/// Runs a script of `tests/python`; the test fails with what it printed if it does.
#[track_caller]
fn script(job: &Job, name: &str, arguments: &[&str]) {
    let Some(python) = python() else {
        eprintln!("left out: {name} needs Python, and MILLSTREAM_TEST_PYTHON is off");
        return;
    };
    let output = Command::new(python)
        .arg(root().join("tests/python").join(name))
        .args(arguments)
        .current_dir(job.path(""))
        .output()
        .expect("Python starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} {}:\n{said}", arguments.join(" "));
    println!("{said}");
}

fn fraud(emit: &str, reference: &str) {
    let pipeline = fraud_pipeline(&[
        ("${TRANSACTIONS:-transactions-100k.ndjson.zst}", "events.ndjson"),
        ("emit: on_arrival", &format!("emit: {emit}")),
    ]);
    let job = fraud_job(&pipeline, number_from_env("MILLSTREAM_ORACLE_EVENTS", 100_000), 5, 0.001);
    job.run().expect_success();
    script(
        &job,
        "fraud_reference.py",
        &[reference, "events.ndjson", "merchants.csv", "model.json", "out/scores.ndjson"],
    );
}

#[test]
fn fraud_job_on_watermark_equals_duckdb_and_xgboost() {
    fraud("on_watermark", "watermark");
}

#[test]
fn fraud_job_on_arrival_equals_plain_python_in_order_of_arrival() {
    fraud("on_arrival", "arrival");
}

#[test]
fn random_queries_equal_duckdb() {
    let seed = number_from_env("MILLSTREAM_QUERY_SEED", 1).to_string();
    let rounds = number_from_env("MILLSTREAM_QUERY_ROUNDS", 25).to_string();
    let job = Job::new("");
    let binary = binary().to_str().expect("the target folder's name is UTF-8");
    // Outside the job's folder, so that what failed is still there to look at.
    let work = std::env::temp_dir().join(format!("millstream-random-queries-{}", std::process::id()));
    let work = work.to_str().expect("the temporary folder's name is UTF-8");
    script(&job, "random_queries.py", &["--millstream", binary, "--seed", &seed, "--rounds", &rounds, "--work", work]);
}

#[test]
fn every_output_format_holds_what_went_in() {
    let job = Job::new(
        "\
pipeline: formats
sources:
  events:
    type: file
    path: events.ndjson
    schema:
      id: int64
      text: string
      flag: bool
      small: int8
      large: uint64
      real: float64
      money: decimal(18, 4)
      day: date
      at: timestamp
outputs:
  as_json: { type: file, path: rows.ndjson, timestamps: rfc3339 }
  as_csv: { type: file, path: rows.csv, timestamps: rfc3339 }
  as_parquet: { type: file, path: rows.parquet, roll_rows: 100 }
",
    );
    let texts = ["", "plain", "com,ma", "quo\"te", "line\nfeed", " space ", "Zürich 日本", "null", "\u{1F980}\t"];
    let mut events = String::new();
    for id in 0..500_i64 {
        let event = serde_json::json!({
            "id": id,
            "text": texts[id as usize % texts.len()],
            "flag": id % 3 == 0,
            "small": (id % 256 - 128) as i8,
            "large": u64::MAX - id as u64,
            "real": (id as f64 - 250.0).powi(7) / 3.0,
            "money": id as f64 / 4.0,
            "day": format!("20{:02}-02-2{}", id % 40, id % 9),
            "at": format!("2025-06-02T08:{:02}:00.{:06}Z", id % 60, id * 1999),
        });
        let mut event = event.as_object().expect("an object").clone();
        // A different field is null in each row, but for the id.
        let names: Vec<String> = event.keys().filter(|k| *k != "id").cloned().collect();
        if id % 2 == 1 {
            event[&names[id as usize % names.len()]] = serde_json::Value::Null;
        }
        events += &format!("{}\n", serde_json::Value::Object(event));
    }
    job.write("events.ndjson", events.as_bytes());
    job.run().expect_success();
    script(&job, "formats.py", &["rows.ndjson", "rows.csv", "rows*.parquet"]);
}
