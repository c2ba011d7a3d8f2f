//! Pipeline files from text to diagnostics.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are not marked as tests

mod bad;
mod good;
mod random;
mod rendered;
mod schema;
mod spans;

use millstream_config::{Diagnostics, Pipeline};

/// Reads a file with the variables that tests use.
fn parse(text: &str) -> (Option<Pipeline>, Diagnostics) {
    Pipeline::parse("pipeline.yaml", text, &|name| match name {
        "TOPIC" => Some("events".to_owned()),
        "SECRET" => Some("hunter2".to_owned()),
        "THREE" => Some("3".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    })
}

/// A file without problems, to be spoiled.
const GOOD: &str = "\
pipeline: fraud
sources:
  transactions:
    type: file
    path: tx.ndjson
    schema:
      card_id: string
      amount: float64
      at: timestamp_ms
    event_time: at
    lateness: 3s
    key: card_id
    checks:
      positive: amount > 0
tables:
  cards: { type: file, path: cards.csv, key: card_id }
models:
  fraud: { path: fraud.json }
steps:
  - name: features
    sql: SELECT card_id, amount FROM transactions
  - name: scored
    predict: fraud
outputs:
  scores:
    type: file
    path: scores.ndjson
dead_letters: { type: file, path: dead.ndjson }
";

/// The good file with one piece of it replaced.
fn spoiled(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from}");
    GOOD.replacen(from, to, 1)
}
