//! `millstream status` and `millstream reset` against a real Kafka, and on files and the embedded log.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use millstream_testkit::kafka::{Cluster, Isolation, Record, Transaction};
use serde_json::Value;

use crate::support::Job;

const PATIENCE: Duration = Duration::from_secs(120);

/// Counts the events of each key, in topics of its own.
fn pipeline(name: &str, input: &str, output: &str, more: &str) -> String {
    format!(
        "pipeline: {name}
connections:
  main: {{ type: kafka, brokers: \"{}\" }}
sources:
  s:
    type: kafka
    connection: main
    topic: {input}
    schema: {{ id: string, time: timestamp_ms }}
    event_time: time
    key: id
{more}steps:
  - name: counted
    sql: |
      SELECT id, time, COUNT(*) OVER all_of_it AS n FROM s
      WINDOW all_of_it AS (PARTITION BY id ORDER BY time
                           RANGE BETWEEN INTERVAL '365 days' PRECEDING AND CURRENT ROW)
outputs:
  o: {{ type: kafka, connection: main, topic: {output}, partitions: 2 }}
dead_letters: {{ type: file, path: dead.ndjson }}
",
        Cluster::shared().unwrap().bootstrap()
    )
}

/// A run in the background; asked to end when it is let go.
struct Running(Child);

impl Running {
    fn start(job: &Job) -> Self {
        let mut command = job.command(&["run", "pipeline.yaml", "--quiet"]);
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    fn end(mut self) {
        let pid = self.0.id().to_string();
        assert!(std::process::Command::new("kill").arg(pid).status().unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status(job: &Job) -> Value {
    serde_json::from_str(&job.millstream(&["status", "pipeline.yaml", "--json"]).expect_success().stdout).unwrap()
}

/// Waits until the status is as wanted.
fn eventually(job: &Job, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = status(job);
        let partitions = status["partitions"].as_array().unwrap();
        if wanted(partitions) {
            return partitions.clone();
        }
        assert!(Instant::now() < deadline, "it never came: {what}; {status:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn numbers(partitions: &[Value], field: &str) -> Vec<Option<u64>> {
    partitions.iter().map(|p| p[field].as_u64()).collect()
}

/// Events of one key each partition, from number `from` on.
fn fill(kafka: &Cluster, topic: &str, numbers: std::ops::Range<u64>) {
    let records: Vec<Record> = numbers
        .flat_map(|n| {
            (0..2).map(move |p| {
                let value = format!("{{\"id\": \"p{p}\", \"time\": {}}}", 1_750_000_000_000 + n * 1000);
                Record { partition: Some(p), ..Record::text("k", &value) }
            })
        })
        .collect();
    kafka.produce(topic, &records, Transaction::None).unwrap();
}

/// What was counted for each key, in the order it was written.
fn counts(kafka: &Cluster, topic: &str) -> BTreeMap<String, Vec<u64>> {
    let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in kafka.consume(topic, Isolation::ReadCommitted).unwrap() {
        let row: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        all.entry(row["id"].as_str().unwrap().to_owned()).or_default().push(row["n"].as_u64().unwrap());
    }
    all
}

#[test]
fn kafka_says_where_it_stands_and_goes_elsewhere() {
    let kafka = Cluster::shared().unwrap();
    let (name, input, output) = (kafka.fresh_name("operate"), kafka.fresh_name("in"), kafka.fresh_name("out"));
    kafka.create_topic(&input, 2, &[]).unwrap();
    let job = Job::new(&pipeline(&name, &input, &output, ""));
    let reset = |arguments: &[&str]| job.millstream(&[&["reset", "pipeline.yaml"], arguments].concat());

    let empty = job.millstream(&["status", "pipeline.yaml"]).expect_success().stdout;
    assert!(empty.starts_with(&format!("{name}: not running\n")) && empty.contains("no records yet"), "{empty}");
    assert!(reset(&["--state", "empty"]).expect_success().stdout.contains("nothing to reset"));
    fill(kafka, &input, 0..10);
    assert_eq!(numbers(&eventually(&job, "records", |_| true), "lag"), [Some(10), Some(10)]);

    // Two processes of one folder.
    let runs = [Running::start(&job), Running::start(&job)];
    let both = eventually(&job, "both own one", |partitions| {
        let owner = |i: usize| partitions[i]["owner"].as_str();
        numbers(partitions, "lag") == [Some(0); 2]
            && owner(0).is_some()
            && owner(1).is_some()
            && owner(0) != owner(1)
            && numbers(partitions, "position") == [Some(10); 2]
    });
    assert_eq!(numbers(&both, "committed"), [Some(10); 2]);
    assert!(
        both.iter().all(|p| p["watermark_ms"].as_i64() == Some(1_750_000_009_000) && p["state_keys"] == 1),
        "{both:#?}"
    );
    let refused = reset(&["--to", "earliest", "--yes"]).expect_code(4);
    assert!(refused.stderr.contains("MS0637"), "{}", refused.stderr);
    assert!(reset(&["--to", "earliest", "--dry-run"]).expect_success().stdout.contains("while these processes run"));
    runs.into_iter().for_each(Running::end);
    let first = counts(kafka, &output);
    assert_eq!(first["p0"], (1..=10).collect::<Vec<_>>());

    // Partition 0 goes back to 4, with the state of then; 1 forgets its state and stays.
    let asked = reset(&["--to", "offset=4", "--partition", "0"]).expect_code(2);
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    let shown = reset(&["--to", "offset=4", "--partition", "0", "--dry-run"]).expect_success().stdout;
    assert!(shown.contains("folded from 0") && shown.contains("nothing was changed"), "{shown}");
    assert_eq!(numbers(&eventually(&job, "nothing changed", |_| true), "committed"), [Some(10); 2]);
    reset(&["--to", "offset=4", "--partition", "0", "--yes"]).expect_success();
    reset(&["--state", "empty", "--partition", "1", "--yes"]).expect_success();
    assert_eq!(numbers(&eventually(&job, "changed", |_| true), "committed"), [Some(4), Some(10)]);
    fill(kafka, &input, 10..12);
    let run = Running::start(&job);
    eventually(&job, "all of it", |partitions| numbers(partitions, "lag") == [Some(0); 2]);
    run.end();
    let second = counts(kafka, &output);
    assert_eq!(second["p0"][10..], [5, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!(second["p1"][10..], [1, 2]);

    // A time ahead: what lies between is in the state and not in the output. Then all anew.
    fill(kafka, &input, 12..14);
    reset(&["--to", "offset=13", "--partition", "0", "--yes"]).expect_success();
    reset(&["--to", "earliest", "--partition", "1", "--yes"]).expect_success();
    let run = Running::start(&job);
    eventually(&job, "all of it again", |partitions| numbers(partitions, "lag") == [Some(0); 2]);
    run.end();
    let third = counts(kafka, &output);
    assert_eq!(third["p0"][18..], [14]);
    assert_eq!(third["p1"][12..], (1..=14).collect::<Vec<_>>()[..]);
    let wrong = reset(&["--to", "offset=99", "--yes"]).expect_code(4);
    assert!(wrong.stderr.contains("MS0634") && wrong.stderr.contains("0 to 14"), "{}", wrong.stderr);
}

#[test]
fn members_of_the_new_protocol_are_seen_too() {
    let kafka = Cluster::shared().unwrap();
    let (name, input, output) = (kafka.fresh_name("operate848"), kafka.fresh_name("in"), kafka.fresh_name("out"));
    kafka.create_topic(&input, 2, &[]).unwrap();
    fill(kafka, &input, 0..5);
    let job = Job::new(&pipeline(&name, &input, &output, "    protocol: consumer\n"));
    let run = Running::start(&job);
    let owned = eventually(&job, "owned", |partitions| {
        partitions.iter().all(|p| p["owner"].is_string() && p["position"] == 5 && p["committed"] == 5)
    });
    assert_eq!(owned.len(), 2);
    let refused = job.millstream(&["reset", "pipeline.yaml", "--to", "earliest", "--yes"]).expect_code(4);
    assert!(refused.stderr.contains("MS0637"), "{}", refused.stderr);
    run.end();
    job.millstream(&["reset", "pipeline.yaml", "--to", "latest", "--yes"]).expect_success();
}

#[test]
fn a_bounded_input_is_read_again() {
    let kafka = Cluster::shared().unwrap();
    let (name, input, output) = (kafka.fresh_name("bounded"), kafka.fresh_name("in"), kafka.fresh_name("out"));
    kafka.create_topic(&input, 2, &[]).unwrap();
    fill(kafka, &input, 0..5);
    let job = Job::new(&pipeline(&name, &input, &output, "    bounded: true\n"));
    job.millstream(&["run", "pipeline.yaml", "--quiet"]).expect_success();
    assert_eq!(counts(kafka, &output)["p1"], [1, 2, 3, 4, 5]);
    job.millstream(&["reset", "pipeline.yaml", "--to", "earliest", "--yes"]).expect_success();
    job.millstream(&["run", "pipeline.yaml", "--quiet"]).expect_success();
    assert_eq!(counts(kafka, &output)["p1"][5..], [1, 2, 3, 4, 5]);
    job.millstream(&["run", "pipeline.yaml", "--quiet"]).expect_success();
    assert_eq!(counts(kafka, &output)["p1"].len(), 10, "nothing is read twice");
}

#[test]
fn topics_of_a_list_or_a_pattern_stand_apart() {
    let kafka = Cluster::shared().unwrap();
    let (name, prefix, output) = (kafka.fresh_name("several"), kafka.fresh_name("many"), kafka.fresh_name("out"));
    let topics = [format!("{prefix}-a"), format!("{prefix}-b")];
    for topic in &topics {
        kafka.create_topic(topic, 2, &[]).unwrap();
        fill(kafka, topic, 0..3);
    }
    let text = pipeline(&name, "IN", &output, "    bounded: true\n");
    let job = Job::new(&text.replace("topic: IN", &format!("topics: [{}, {}]", topics[0], topics[1])));
    job.millstream(&["run", "pipeline.yaml", "--quiet"]).expect_success();
    job.millstream(&["reset", "pipeline.yaml", "--to", "offset=1", "--partition", "1", "--yes"]).expect_success();
    let list = job.millstream(&["status", "pipeline.yaml"]).expect_success().stdout;
    assert!(list.lines().nth(1).unwrap().starts_with("topic"), "{list}");
    // A pattern knows the topics that it read.
    job.write("pipeline.yaml", text.replace("topic: IN", &format!("pattern: \"{prefix}-.*\"")).as_bytes());
    assert_eq!(job.millstream(&["status", "pipeline.yaml"]).expect_success().stdout, list);
    let mut rows = eventually(&job, "a status", |_| true);
    rows.sort_by_key(|row| (row["topic"].to_string(), row["partition"].as_u64()));
    assert_eq!(numbers(&rows, "committed"), [Some(3), Some(1), Some(3), Some(1)]);
    job.millstream(&["run", "pipeline.yaml", "--quiet"]).expect_success();
    let counts = counts(kafka, &output);
    assert_eq!((counts["p0"].len(), counts["p1"].len()), (6, 10), "{counts:?}");
    assert!(counts["p1"][6..].iter().all(|n| (2..=3).contains(n)), "{counts:?}");
}

#[test]
fn a_cluster_that_is_not_there_is_said_so() {
    let kafka = Cluster::shared().unwrap();
    let text = pipeline("gone", "in", "out", "").replace(&kafka.bootstrap(), "127.0.0.1:1");
    let job = Job::new(&text);
    for command in [&["status", "pipeline.yaml"][..], &["reset", "pipeline.yaml", "--to", "latest", "--yes"]] {
        let run = job.millstream(command).expect_code(1);
        assert!(run.stderr.contains("MS0544") && run.stderr.contains("help:"), "{}", run.stderr);
    }
}

#[test]
fn files_to_kafka_go_back_to_the_beginning() {
    let kafka = Cluster::shared().unwrap();
    let (name, output) = (kafka.fresh_name("file-operate"), kafka.fresh_name("out"));
    let job = Job::new(&format!(
        "pipeline: {name}
connections:
  main: {{ type: kafka, brokers: \"{}\" }}
sources:
  s: {{ type: file, path: in.ndjson, schema: {{ id: string }} }}
outputs:
  o: {{ type: kafka, connection: main, topic: {output}, partitions: 1 }}
dead_letters: {{ type: file, path: dead.ndjson }}
",
        kafka.bootstrap()
    ));
    job.write("in.ndjson", b"{\"id\": \"a\"}\n{\"id\": \"b\"}\n");
    assert_eq!(eventually(&job, "a status", |_| true)[0]["committed"], Value::Null);
    job.millstream(&["run", "pipeline.yaml", "--quiet"]).expect_success();
    assert_eq!(eventually(&job, "a status", |_| true)[0]["committed"], 2);
    job.millstream(&["reset", "pipeline.yaml", "--to", "earliest", "--yes"]).expect_success();
    assert_eq!(eventually(&job, "a status", |_| true)[0]["committed"], 0);
    job.millstream(&["run", "pipeline.yaml", "--quiet"]).expect_success();
    assert_eq!(kafka.consume(&output, Isolation::ReadCommitted).unwrap().len(), 4);
    let refused = job.millstream(&["reset", "pipeline.yaml", "--to", "latest", "--yes"]).expect_code(4);
    assert!(refused.stderr.contains("MS0638"), "{}", refused.stderr);
}
