//! The law of the event path, on whole pipelines: batch cuts and restarts never show.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on should stop")]

mod kafka;
mod sim;

use std::path::PathBuf;

use millstream_testkit::Driver;
use proptest::prelude::*;

const PIPELINE: &str = r#"
pipeline: split
sources:
  tx:
    type: file
    path: unused.ndjson
    schema: { id: int64, card: string, amount: { type: float64, required: true }, at: timestamp_ms }
    event_time: at
    lateness: 50ms
    checks: { not_too_much: amount < 900 }
models:
  rules:
    rules: [{ when: "n > 3", score: 0.9 }, { when: "CAST(card AS BIGINT) > 2", score: 0.5 }]
steps:
  - name: features
    emit: EMIT
    late: dead_letter
    sql: |
      SELECT id, card, amount, at,
             COUNT(*) OVER w AS n, SUM(amount) OVER w AS s, STDDEV_POP(amount) OVER w AS sd,
             MAX(amount) OVER w AS top, COUNT(DISTINCT amount) OVER w AS kinds,
             LAG(id) OVER (PARTITION BY card ORDER BY at, id) AS before
      FROM tx
      WINDOW w AS (PARTITION BY card ORDER BY at RANGE BETWEEN INTERVAL '200 milliseconds' PRECEDING AND CURRENT ROW)
  - name: scored
    predict: rules
outputs:
  scores: { type: file, path: out/scores.ndjson }
  high: { type: file, path: out/high.ndjson, where: score > 0.4, select: [id, score], include: event }
dead_letters: { type: file, path: out/dead.ndjson }
"#;

struct Pipeline {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn pipeline(emit: &str) -> Pipeline {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipeline.yaml");
    std::fs::write(&path, PIPELINE.replace("EMIT", emit)).unwrap();
    Pipeline { _dir: dir, path }
}

/// Outputs after feeding `events` in batches whose sizes cycle through `cuts`, restarting after batch numbers in `restarts`.
fn outputs(pipeline: &Pipeline, events: &[String], cuts: &[usize], restarts: &[usize]) -> Vec<String> {
    let mut driver = Driver::load(&pipeline.path).unwrap();
    let (mut rest, mut cut) = (events, cuts.iter().cycle());
    let mut number = 0;
    while !rest.is_empty() {
        let size = (*cut.next().unwrap()).clamp(1, rest.len());
        let (now, later) = rest.split_at(size);
        driver.feed(now).unwrap();
        rest = later;
        number += 1;
        if restarts.contains(&number) {
            driver.restart().unwrap();
        }
    }
    driver.end().unwrap();
    ["scores", "high", "dead_letters"].map(|name| driver.text(name)).into()
}

/// Mostly good events, some out of order, some late, some bad in each way there is.
fn event() -> impl Strategy<Value = (i64, u8, f64, u8)> {
    (-120i64..60, 0u8..5, prop_oneof![Just(10.0), 0.0..1000.0f64], 0u8..40)
}

fn events(raw: &[(i64, u8, f64, u8)]) -> Vec<String> {
    let mut clock = 1_000_000;
    let line = |(id, &(step, card, amount, kind)): (usize, &(i64, u8, f64, u8))| {
        clock += step.max(0);
        let at = clock + step.min(0);
        match kind {
            0 => format!("{{\"id\":{id},"),
            1 => format!("{{\"id\":{id},\"card\":\"{card}\",\"at\":{at}}}"),
            2 => format!("{{\"id\":{id},\"card\":\"x{card}\",\"amount\":{amount},\"at\":{at}}}"),
            3 => format!("{{\"id\":{id},\"card\":\"{card}\",\"amount\":{amount}}}"),
            4 => format!("{{\"id\":{id},\"card\":null,\"amount\":{amount},\"at\":{at}}}"),
            _ => format!("{{\"id\":{id},\"card\":\"{card}\",\"amount\":{amount},\"at\":{at}}}"),
        }
    };
    raw.iter().enumerate().map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn batch_cuts_and_restarts_never_show(
        raw in prop::collection::vec(event(), 1..120),
        cuts in prop::collection::vec(1usize..40, 1..6),
        restarts in prop::collection::vec(1usize..30, 0..4),
    ) {
        let events = events(&raw);
        for emit in ["on_arrival", "on_watermark"] {
            let pipeline = pipeline(emit);
            let whole = outputs(&pipeline, &events, &[events.len()], &[]);
            prop_assert_eq!(&outputs(&pipeline, &events, &[1], &[]), &whole, "{} one by one", emit);
            prop_assert_eq!(&outputs(&pipeline, &events, &cuts, &restarts), &whole, "{} cut and restarted", emit);
        }
    }
}

#[test]
fn every_event_is_accounted_for() {
    let raw: Vec<_> = (0..400)
        .map(|i| ((i * 37 % 70) - 20, (i % 5) as u8, f64::from(i as u16 * 31 % 1000), (i % 40) as u8))
        .collect();
    for emit in ["on_arrival", "on_watermark"] {
        let pipeline = pipeline(emit);
        let out = outputs(&pipeline, &events(&raw), &[13], &[3, 9]);
        let (scores, dead) = (out[0].lines().count(), out[2].lines().count());
        assert_eq!(scores + dead, raw.len(), "{emit}: {scores} scores, {dead} dead letters");
        assert!(scores > 200 && dead > 20, "{emit}: {scores} scores, {dead} dead letters");
    }
}

#[test]
fn windows_of_silent_keys_leave_no_state() {
    let pipeline = pipeline("on_arrival");
    let mut driver = Driver::load(&pipeline.path).unwrap();
    for i in 0..1000u64 {
        let at = 1_000_000 + i * 100;
        driver.feed([format!("{{\"id\":{i},\"card\":\"{}\",\"amount\":1,\"at\":{at}}}", i % 3)]).unwrap();
    }
    let (_, size) = driver.state_sizes().remove(0);
    assert_eq!(size.keys, 3);
    assert!(size.rows < 20, "{size:?}");
}
