//! What a newcomer reads after a slip. The snapshots are the messages; a changed one is to be read as they would.

use crate::support::{Job, fraud_pipeline, root};

/// What `check` says of the fraud example with these slips in it.
fn said(slips: &[(&str, &str)]) -> String {
    let job = Job::new(&fraud_pipeline(slips));
    for file in ["model.json", "merchants.csv"] {
        job.copy(&root().join("examples/fraud").join(file), file);
    }
    job.millstream(&["check", "pipeline.yaml"]).expect_code(3).said()
}

#[test]
fn a_typo_in_a_key() {
    insta::assert_snapshot!(said(&[("lateness: 3s ", "latness: 3s ")]));
}

#[test]
fn a_wrong_type_in_sql() {
    insta::assert_snapshot!(said(&[("SUM(t.amount) ", "SUM(t.card_id)")]));
}

#[test]
fn a_missing_model_feature() {
    insta::assert_snapshot!(said(&[("m.risk AS merchant_risk,", "m.risk AS merchant_rsk,")]));
}

#[test]
fn an_unknown_column() {
    insta::assert_snapshot!(said(&[("MAX(t.amount)", "MAX(t.amuont)")]));
}

#[test]
fn a_condition_that_is_none() {
    insta::assert_snapshot!(said(&[("where: score > 0.85", "where: score + 0.85")]));
}

#[test]
fn a_bad_duration_and_a_bad_type() {
    insta::assert_snapshot!(said(&[("lateness: 3s ", "lateness: 3 "), ("type: float64", "type: double")]));
}

#[test]
fn what_a_stream_cannot_do() {
    insta::assert_snapshot!(said(&[
        ("t.event_time, t.transaction_id)\n", "t.event_time, t.transaction_id)\n      ORDER BY t.amount\n"),
        (
            "RANGE BETWEEN INTERVAL '5 minutes' PRECEDING AND CURRENT ROW",
            "RANGE BETWEEN INTERVAL '5 minutes' PRECEDING AND INTERVAL '1 minute' FOLLOWING"
        )
    ]));
}

#[test]
fn clauses_in_another_order() {
    insta::assert_snapshot!(said(&[("WINDOW last_5m AS", "ORDER BY t.amount\n      WINDOW last_5m AS")]));
}

#[test]
fn a_missing_comma() {
    insta::assert_snapshot!(said(&[("t.event_time, t.amount,\n", "t.event_time, t.amount\n")]));
}

#[test]
fn several_slips_at_once() {
    insta::assert_snapshot!(said(&[
        ("event_time: event_time  ", "event_time: event_tim   "),
        ("predict: fraud", "predict: frod"),
        ("amount > 0\n", "amount > 'x'\n"),
        ("path: out/alerts.ndjson", "pth: out/alerts.ndjson"),
    ]));
}
