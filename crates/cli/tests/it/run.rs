//! `init` and `run` on files.

use crate::support::{Folder, Running, eventually, json_lines};

#[test]
fn init_then_run_works_at_once() {
    let folder = Folder::new();
    folder.run(&["init", "demo"]).succeeded();
    let done = folder.run(&["run", "demo/pipeline.yaml"]).succeeded();
    assert_eq!(done.out, "", "standard output is for data");
    for said in ["payments: end of input", "events", "predictions", "dead letters", "CPU time", "out/scores.ndjson"] {
        assert!(done.err.contains(said), "{said}:\n{}", done.err);
    }
    let scores = json_lines(&folder.read("demo/out/scores.ndjson"));
    assert_eq!(scores.len(), 203);
    assert!(scores.iter().all(|row| row["score"].is_f64() && row["model"] == "risk"));
    let dead = json_lines(&folder.read("demo/out/dead_letters.ndjson"));
    assert_eq!(dead.len(), 2);
    let alerts = folder.read("demo/out/alerts.csv");
    assert!(alerts.starts_with("payment_id,account,amount,count_10m,sum_10m,score\n"), "{alerts}");
    assert!((3..40).contains(&alerts.lines().count()), "{alerts}");

    let again = folder.run(&["run", "demo/pipeline.yaml"]).succeeded();
    assert!(again.err.contains("nothing new to read"), "{}", again.err);
    assert!(again.err.contains("--fresh"), "{}", again.err);
    let fresh = folder.run(&["run", "demo/pipeline.yaml", "--fresh", "--quiet"]).succeeded();
    assert_eq!(fresh.err, "");
    assert_eq!(json_lines(&folder.read("demo/out/scores.ndjson")), scores);
}

#[test]
fn init_overwrites_nothing() {
    let folder = Folder::new();
    folder.write("pipeline.yaml", "mine");
    let done = folder.run(&["init"]);
    assert_eq!(done.code, Some(1));
    assert!(done.err.starts_with("error[MS0703]: "), "{}", done.err);
    assert_eq!(folder.read("pipeline.yaml"), "mine");
    assert!(!folder.path("payments.ndjson").exists());
}

#[test]
fn json_logs_are_json_to_the_last_line() {
    let folder = Folder::new();
    folder.run(&["init"]).succeeded();
    let done = folder.run(&["run", "pipeline.yaml", "--log-format", "json"]).succeeded();
    let lines = json_lines(&done.err);
    let last = lines.last().unwrap();
    assert_eq!(last["summary"]["events"], 205, "{last}");
    assert_eq!(last["summary"]["dead_letters"], 2, "{last}");
    assert!(last["summary"]["cpu_ms"].as_f64().unwrap() > 0.0, "{last}");

    folder.write("broken.yaml", "pipeline: broken\n");
    let broken = folder.run(&["run", "broken.yaml", "--log-format", "json"]);
    assert_eq!(broken.code, Some(3));
    assert!(!json_lines(&broken.err).is_empty());
}

#[test]
fn a_second_run_on_the_same_data_is_refused() {
    let folder = Folder::new();
    folder.run(&["init"]).succeeded();
    let text = folder.read("pipeline.yaml").replace("# follow: true  ", "follow: true    ");
    folder.write("pipeline.yaml", &text);
    let running = Running::start(&folder, "pipeline.yaml", ".millstream");
    let second = folder.run(&["run", "pipeline.yaml"]);
    assert_eq!(second.code, Some(4), "{}", second.err);
    assert!(second.err.contains("error[MS0610]"), "{}", second.err);
    // What is added while it follows is scored.
    eventually("the first rows", || std::fs::metadata(folder.path("out/scores.ndjson")).ok().filter(|m| m.len() > 0));
    let event = r#"{"payment_id":"NEW","account":"A-1","amount":5,"country":"CH","paid_at":1750009999000}"#;
    let all = folder.read("payments.ndjson") + event + "\n";
    let mut file = std::fs::OpenOptions::new().append(true).open(folder.path("payments.ndjson")).unwrap();
    std::io::Write::write_all(&mut file, format!("{event}\n").as_bytes()).unwrap();
    assert_eq!(all.lines().count(), 206);
    eventually("the new row", || folder.read("out/scores.ndjson").contains("\"NEW\"").then_some(()));
    running.signal("-INT");
    let (code, log) = running.wait();
    assert_eq!(code, Some(0), "{log}");
    let last = json_lines(&log).pop().unwrap();
    assert_eq!(last["summary"]["stopped"], true);
    assert_eq!(last["summary"]["events"], 206);
    assert!(!folder.path(".millstream/http.json").exists());
}

#[test]
fn addresses_others_could_reach_are_refused() {
    let folder = Folder::new();
    folder.run(&["init"]).succeeded();
    let done = folder.run(&["run", "pipeline.yaml", "--http", "0.0.0.0:0"]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.starts_with("error[MS0702]: "), "{}", done.err);
    folder.run(&["run", "pipeline.yaml", "--http", "off"]).succeeded();
}

#[test]
fn state_follows_the_steps_before_it() {
    let folder = Folder::new();
    let yaml = |times: u32| {
        format!(
            "pipeline: p
sources:
  tx:
    type: file
    path: in-*.ndjson
    schema: {{ k: string, x: int64, t: timestamp_s }}
    event_time: t
    lateness: 1s
steps:
  - {{ name: doubled, sql: \"SELECT k, t, x * {times} AS x FROM tx\" }}
  - name: sums
    sql: |
      SELECT t, SUM(x) OVER (PARTITION BY k ORDER BY t RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW) AS s
      FROM doubled
outputs: {{ o: {{ type: file, path: out.ndjson }} }}
dead_letters: {{ type: file, path: dead.ndjson }}
"
        )
    };
    folder.write("p.yaml", &yaml(2));
    folder.write("in-1.ndjson", "{\"k\":\"a\",\"x\":1,\"t\":1}\n");
    folder.run(&["run", "p.yaml", "--quiet"]).succeeded();
    assert!(folder.run(&["check", "p.yaml"]).succeeded().out.contains("step `sums` keeps its state"));
    // A step without state of its own changes what the next one's state holds.
    folder.write("p.yaml", &yaml(3));
    folder.write("in-2.ndjson", "{\"k\":\"a\",\"x\":1,\"t\":2}\n");
    assert!(folder.run(&["check", "p.yaml"]).succeeded().out.contains("step `sums` is new or changed"));
    folder.run(&["run", "p.yaml", "--quiet"]).succeeded();
    assert_eq!(folder.read("out.ndjson"), "{\"t\":1,\"s\":2}\n{\"t\":2,\"s\":6}\n");
}

#[test]
fn a_standard_error_that_is_full_is_no_bug() {
    let folder = Folder::new();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full");
    // Not every system has one.
    let Ok(full) = full() else { return };
    let status = folder.command(&["run", "nope.yaml"]).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(1));
}
