//! The example a newcomer runs first.

use std::path::Path;

use crate::support::{Job, fraud_pipeline, root};

/// The example in a folder of its own, as it is in the repository.
fn example() -> Job {
    let job = Job::new(&fraud_pipeline(&[]));
    for file in ["model.json", "merchants.csv", "transactions-100k.ndjson.zst"] {
        job.copy(&root().join("examples/fraud").join(file), file);
    }
    job
}

#[test]
fn it_scores_every_good_transaction_and_keeps_the_bad_ones() {
    let job = example();
    job.run().expect_success();
    let scores = job.json_lines("out/scores.ndjson");
    assert_eq!(scores.len(), 99_994);
    let alerts = job.json_lines("out/alerts.ndjson");
    assert_eq!(alerts.len(), scores.iter().filter(|row| row["score"].as_f64().is_some_and(|s| s > 0.85)).count());
    assert!(alerts.len() > 500, "{} alerts", alerts.len());
    let digest = scores[0]["model_digest"].as_str().expect("every prediction names its model's digest");
    assert!(
        scores
            .iter()
            .all(|row| row["model"] == "fraud" && row["model_version"] == "1" && row["model_digest"] == digest)
    );
    let dead = String::from_utf8(job.read("out/dead_letters.ndjson")).expect("UTF-8");
    assert_eq!(dead.lines().count(), 6, "{dead}");
    for reason in ["123.11 EUR", "positive_amount", "card_id"] {
        assert!(dead.contains(reason), "no dead letter speaks of {reason}:\n{dead}");
    }
}

#[test]
fn a_second_run_adds_nothing_and_a_fresh_one_starts_over() {
    let job = example();
    job.run().expect_success();
    let scores = job.read("out/scores.ndjson");
    job.run().expect_success();
    assert!(job.read("out/scores.ndjson") == scores, "a second run over the same input changed its output");
    job.millstream(&["run", "pipeline.yaml", "--quiet", "--fresh"]).expect_success();
    assert!(job.read("out/scores.ndjson") == scores, "a fresh run gave other bytes");
}

#[test]
fn check_and_explain_are_content_with_every_example() {
    for folder in std::fs::read_dir(root().join("examples")).expect("there are examples") {
        let pipeline = folder.expect("an entry").path().join("pipeline.yaml");
        let job = Job::new("");
        let path = |p: &Path| p.to_str().expect("UTF-8").to_owned();
        job.millstream(&["check", &path(&pipeline)]).expect_success();
        job.millstream(&["explain", &path(&pipeline)]).expect_success();
    }
}
