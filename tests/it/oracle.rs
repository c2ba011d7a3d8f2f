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
