//! `status` and `reset` of pipelines that read files and the embedded log.

use serde_json::Value;

use crate::support::{Folder, Running, eventually, json_lines};

/// Running sums of `v` by key, from a source that `source` says.
fn pipeline(source: &str) -> String {
    format!(
        "pipeline: sums
data_dir: data
sources:
  tx: {{ {source}, schema: {{ k: string, v: int64, at: timestamp_ms }}, event_time: at, key: k }}
steps:
  - name: sums
    sql: |
      SELECT k, v, SUM(v) OVER (PARTITION BY k ORDER BY at RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW) AS s
      FROM tx
outputs:
  rows: {{ type: file, path: rows.ndjson }}
dead_letters: {{ type: file, path: dead.ndjson }}
"
    )
}

fn events(values: std::ops::RangeInclusive<u64>) -> String {
    values.map(|v| format!("{{\"k\":\"a\",\"v\":{v},\"at\":{}}}\n", 1_750_000_000_000 + v)).collect()
}

fn partition(folder: &Folder, number: usize) -> Value {
    let out = folder.run(&["status", "p.yaml", "--json"]).succeeded().out;
    let status: Value = serde_json::from_str(&out).unwrap();
    status["partitions"][number].clone()
}

fn sums(folder: &Folder) -> Vec<u64> {
    json_lines(&folder.read("rows.ndjson")).iter().map(|row| row["s"].as_u64().unwrap()).collect()
}

fn reset(folder: &Folder, arguments: &[&str]) -> crate::support::Done {
    folder.run(&[&["reset", "p.yaml"], arguments].concat())
}

#[test]
fn files_go_back_to_the_beginning() {
    let folder = Folder::new();
    folder.write("in.ndjson", &events(1..=4));
    folder.write("p.yaml", &pipeline("type: file, path: in.ndjson"));
    let before = folder.run(&["status", "p.yaml"]).succeeded().out;
    assert!(before.starts_with("sums: not running\n") && !folder.path("data").exists(), "{before}");
    assert!(reset(&folder, &["--state", "empty"]).succeeded().out.contains("nothing to reset"));
    assert!(!folder.path("data").exists(), "looking creates nothing");

    folder.run(&["run", "p.yaml", "--quiet"]).succeeded();
    let after = partition(&folder, 0);
    assert_eq!((&after["committed"], &after["snapshot"]["offset"]), (&4.into(), &4.into()), "{after}");
    assert_eq!(after["end"], Value::Null, "nobody counts the lines of a file");
    let shown = reset(&folder, &["--to", "earliest", "--dry-run"]).succeeded().out;
    assert!(shown.contains("read again") && shown.ends_with("nothing was changed (--dry-run)\n"), "{shown}");
    assert_eq!(partition(&folder, 0)["committed"], 4);
    for (arguments, code, said) in [
        (&["--to", "earliest"][..], 2, "--yes"),
        (&["--to", "latest", "--yes"], 4, "MS0638"),
        (&["--to", "earliest", "--partition", "1", "--yes"], 4, "it has 1, numbered from 0"),
        (&["--to", "tomorrow"], 2, "timestamp="),
        (&[], 2, "--to"),
    ] {
        let done = reset(&folder, arguments);
        assert!(done.code == Some(code) && done.err.contains(said), "{arguments:?}: {:?} {}", done.code, done.err);
    }
    reset(&folder, &["--to", "earliest", "--yes"]).succeeded();
    let after = partition(&folder, 0);
    assert_eq!((&after["committed"], &after["snapshot"]), (&0.into(), &Value::Null), "{after}");
    folder.run(&["run", "p.yaml", "--quiet"]).succeeded();
    assert_eq!(sums(&folder), [1, 3, 6, 10, 1, 3, 6, 10]);
    // What was written twice is in one file, which goes on.
    folder.write("in.ndjson", &events(1..=5));
    folder.run(&["run", "p.yaml", "--quiet"]).succeeded();
    assert_eq!(sums(&folder)[8..], [15]);
}

#[test]
fn standard_input_has_no_positions() {
    let folder = Folder::new();
    let text = pipeline("type: stdin").replace("data_dir", "delivery: at_most_once\ndata_dir");
    folder.write("p.yaml", &text);
    folder.run(&["status", "p.yaml"]).succeeded();
    let done = reset(&folder, &["--to", "earliest", "--yes"]);
    assert!(done.code == Some(4) && done.err.contains("MS0656"), "{}", done.err);
}

#[test]
fn the_log_goes_anywhere() {
    let folder = Folder::new();
    folder.write("p.yaml", &pipeline("type: log, topic: tx, bounded: true"));
    let topic = |arguments: &[&str], input: &str| {
        folder.run_with(&[&["topic", "--data-dir", "data"], arguments].concat(), input).succeeded().out
    };
    topic(&["create", "tx"], "");
    topic(&["produce", "tx"], &events(1..=5));
    assert_eq!(partition(&folder, 0)["lag"], 5);
    folder.run(&["run", "p.yaml", "--quiet"]).succeeded();
    let after = partition(&folder, 0);
    assert_eq!((&after["committed"], &after["end"], &after["lag"]), (&5.into(), &5.into(), &0.into()), "{after}");

    // Back to 3: with the state of then, and with none.
    reset(&folder, &["--to", "offset=3", "--yes"]).succeeded();
    assert_eq!(partition(&folder, 0)["lag"], 2);
    folder.run(&["run", "p.yaml", "--quiet"]).succeeded();
    assert_eq!(sums(&folder), [1, 3, 6, 10, 15, 10, 15]);
    reset(&folder, &["--to", "offset=3", "--state", "empty", "--yes"]).succeeded();
    folder.run(&["run", "p.yaml", "--quiet"]).succeeded();
    assert_eq!(sums(&folder)[7..], [4, 9]);

    // Times are those of the records.
    reset(&folder, &["--to", "timestamp=2020-01-01T00:00:00Z", "--state", "rebuild", "--yes"]).succeeded();
    assert_eq!(partition(&folder, 0)["committed"], 0);
    reset(&folder, &["--to", "timestamp=2200-01-01T00:00:00Z", "--yes"]).succeeded();
    assert_eq!(partition(&folder, 0)["committed"], 5);
    topic(&["produce", "tx"], &events(6..=6));
    folder.run(&["run", "p.yaml", "--quiet"]).succeeded();
    assert_eq!(sums(&folder)[9..], [21], "what was skipped is in the state");
    let wrong = reset(&folder, &["--to", "offset=7", "--yes"]);
    assert!(wrong.code == Some(4) && wrong.err.contains("0 to 6"), "{}", wrong.err);
}

#[test]
fn a_run_is_asked_and_is_in_the_way() {
    let folder = Folder::new();
    folder.write("p.yaml", &pipeline("type: log, topic: tx, partitions: 2"));
    let running = Running::start(&folder, "p.yaml", "data");
    folder.run_with(&["topic", "--data-dir", "data", "produce", "tx", "--partition", "1"], &events(1..=3)).succeeded();
    let row = eventually("a committed position", || {
        Some(partition(&folder, 1)).filter(|row| row["committed"] == 3 && row["position"] == 3)
    });
    assert!(row["owner"].as_str().unwrap().starts_with("process "), "{row}");
    assert_eq!(
        (&row["lag"], &row["watermark_ms"], &row["state_keys"]),
        (&0.into(), &1_750_000_000_003_u64.into(), &1.into())
    );
    let text = folder.run(&["status", "p.yaml"]).succeeded().out;
    assert!(text.starts_with("sums: 1 process\n") && text.contains("2025-06-15T15:06:40.003Z"), "{text}");
    let refused = reset(&folder, &["--to", "earliest", "--yes"]);
    assert!(refused.code == Some(4) && refused.err.contains("MS0610"), "{}", refused.err);
    running.signal("-TERM");
    assert_eq!(running.wait().0, Some(0));
    reset(&folder, &["--to", "earliest", "--partition", "1", "--yes"]).succeeded();
    assert_eq!(partition(&folder, 1)["committed"], 0);
}
