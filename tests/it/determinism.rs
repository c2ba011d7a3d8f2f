//! How the work is cut into batches and shared out among workers never shows in a result.

use std::collections::BTreeMap;

use crate::support::{Job, fraud_job, fraud_pipeline, fraud_topic};

const FROM_LOG: (&str, &str) = (
    "    path: ${TRANSACTIONS:-transactions-100k.ndjson.zst}",
    "    topic: transactions\n    partitions: 4\n    bounded: true",
);
const AS_LOG: (&str, &str) = ("type: file                        # also: log", "type: log  #");

/// A job whose input is the events in a topic of four partitions.
fn log_job(emit: &str, events: u64) -> Job {
    let pipeline = fraud_pipeline(&[AS_LOG, FROM_LOG, ("emit: on_arrival", &format!("emit: {emit}"))]);
    let job = fraud_job(&pipeline, events, 11, 0.005);
    fraud_topic(&job, "4");
    job
}

fn outputs(job: &Job) -> BTreeMap<String, Vec<u8>> {
    let folder = std::fs::read_dir(job.path("out")).expect("the run wrote its outputs");
    folder
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .map(|name| (name.clone(), job.read(&format!("out/{name}"))))
        .collect()
}

fn same_bytes_however_it_is_cut(base: &Job, files: usize) {
    let mut first: Option<BTreeMap<String, Vec<u8>>> = None;
    for (batch, workers) in [("1024", "1"), ("1", "1"), ("7", "2"), ("4096", "2")] {
        let job = base.duplicate();
        job.millstream(&["run", "pipeline.yaml", "--quiet", "--batch-rows-max", batch, "--workers", workers])
            .expect_success();
        let outputs = outputs(&job);
        assert_eq!(outputs.len(), files, "{:?}", outputs.keys());
        assert!(outputs.values().any(|bytes| bytes.len() > 100_000), "the outputs are too small to show anything");
        match &first {
            None => first = Some(outputs),
            Some(first) => {
                for (name, bytes) in &outputs {
                    assert!(first.get(name) == Some(bytes), "{name} differs at batches of {batch}, {workers} workers");
                }
            }
        }
    }
}

#[test]
fn a_file_gives_the_same_bytes_whatever_the_batches() {
    for emit in ["on_arrival", "on_watermark"] {
        let pipeline = fraud_pipeline(&[
            ("${TRANSACTIONS:-transactions-100k.ndjson.zst}", "events.ndjson"),
            ("emit: on_arrival", &format!("emit: {emit}")),
        ]);
        same_bytes_however_it_is_cut(&fraud_job(&pipeline, 3_000, 11, 0.005), 3);
    }
}

#[test]
fn a_topic_of_four_partitions_gives_the_same_bytes_whatever_the_batches_and_workers() {
    for emit in ["on_arrival", "on_watermark"] {
        same_bytes_however_it_is_cut(&log_job(emit, 3_000), 12);
    }
}

#[test]
fn partitions_hold_together_what_one_file_holds() {
    let from_file = fraud_pipeline(&[("${TRANSACTIONS:-transactions-100k.ndjson.zst}", "events.ndjson")]);
    let one = fraud_job(&from_file, 3_000, 11, 0.005);
    one.run().expect_success();
    let four = log_job("on_arrival", 3_000);
    four.run().expect_success();
    // A transaction's features depend on its card alone, so they do not depend on the partitions.
    let by_id = |rows: Vec<serde_json::Value>| -> BTreeMap<String, serde_json::Value> {
        rows.into_iter()
            .map(|mut row| {
                row.as_object_mut().expect("an object").remove("prediction_id").expect("every row has one");
                (row["transaction_id"].as_str().expect("a string").to_owned(), row)
            })
            .collect()
    };
    let all = |name: &str| (0..4).flat_map(|p| four.json_lines(&format!("out/{name}-{p}.ndjson"))).collect::<Vec<_>>();
    let bad = all("dead_letters").len();
    assert_eq!(bad, one.json_lines("out/dead_letters.ndjson").len());
    let (rows, expected) = (by_id(all("scores")), by_id(one.json_lines("out/scores.ndjson")));
    assert_eq!(rows.len(), 3_000 - bad);
    assert_eq!(rows, expected);
}
