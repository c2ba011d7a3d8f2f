//! The HTTP API while a run is up, and `topic` through it.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::support::{Folder, Running, eventually, json_lines};

const PIPELINE: &str = "\
pipeline: live
data_dir: data
sources:
  payments:
    type: log
    topic: payments
    partitions: 2
    schema:
      id: { type: string, required: true }
      amount: float64
models:
  risk: { rules: [ { when: amount > 100, score: 0.9 } ], default: 0.1 }
steps:
  - { name: scored, predict: risk }
outputs:
  scores: { type: log, topic: scores, select: [id, score] }
  alerts: { type: file, path: alerts.ndjson, where: score > 0.5, select: [id] }
dead_letters: { type: log, topic: dead }
";

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into()
}

fn get(url: &str) -> (u16, Value) {
    let mut answer = agent().get(url).call().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap())
}

fn post(url: &str, kind: &str, body: &str) -> (u16, Value) {
    let mut answer = agent().post(url).content_type(kind).send(body).unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap())
}

#[test]
fn records_go_in_and_scores_come_out() {
    let folder = Folder::new();
    folder.write("live.yaml", PIPELINE);
    let running = Running::start(&folder, "live.yaml", "data");
    assert_eq!(get(&running.url("/healthz")).1["pipeline"], "live");

    let records = running.url("/topics/payments/records");
    let (status, placed) = post(
        &format!("{records}?key_field=id"),
        "application/x-ndjson",
        "{\"id\":\"a\",\"amount\":5}\n{\"id\":\"b\",\"amount\":500}\n",
    );
    assert_eq!((status, &placed["appended"]), (200, &json!(2)), "{placed}");
    let array = json!([{ "key": "a", "value": { "id": "c", "amount": 101 } }, { "value": "not json", "partition": 1 }]);
    let (status, placed) = post(&records, "application/json", &array.to_string());
    assert_eq!((status, &placed["records"][1]["partition"]), (200, &json!(1)), "{placed}");

    // The same through the command line, which finds the port.
    let said = folder.run_with(
        &["topic", "produce", "payments", "--data-dir", "data", "--key-field", "id"],
        "{\"id\":\"d\",\"amount\":1}\n",
    );
    assert_eq!(said.succeeded().err, "appended 1 records to `payments`\n");
    let rows = eventually("four scores", || {
        let out = folder.run(&["topic", "tail", "scores", "--data-dir", "data"]).succeeded().out;
        Some(json_lines(&out)).filter(|rows| rows.len() == 4)
    });
    let mut ids: Vec<_> = rows.iter().map(|r| (r["id"].as_str().unwrap(), r["score"].as_f64().unwrap())).collect();
    ids.sort_by(|a, b| a.partial_cmp(b).unwrap());
    assert_eq!(ids, [("a", 0.1), ("b", 0.9), ("c", 0.9), ("d", 0.1)]);

    let (_, dead) = eventually("the dead letter", || {
        (0..2)
            .map(|p| get(&running.url(&format!("/topics/dead/partitions/{p}/records"))))
            .find(|(_, page)| !page["records"].as_array().unwrap().is_empty())
    });
    assert_eq!(dead["records"].as_array().unwrap().len(), 1, "{dead}");
    let (_, status) = get(&running.url("/status"));
    assert_eq!((&status["phase"], &status["events"]), (&json!("running"), &json!(5)), "{status}");

    let refused = folder.run(&["topic", "delete", "scores", "--data-dir", "data"]);
    assert_eq!(refused.code, Some(4));
    assert!(refused.err.starts_with("error[MS0710]: "), "{}", refused.err);
    running.signal("-TERM");
    let (code, log) = running.wait();
    assert_eq!(code, Some(0), "{log}");
    // One file for each of the two tasks.
    let alerts = folder.read("alerts-0.ndjson") + &folder.read("alerts-1.ndjson");
    assert_eq!(json_lines(&alerts).len(), 2);
    // The files are free again.
    let out = folder.run(&["topic", "tail", "scores", "--data-dir", "data"]).succeeded().out;
    assert_eq!(out.lines().count(), 4);
}

#[test]
fn a_tail_streams_until_the_run_ends() {
    let folder = Folder::new();
    folder.write("live.yaml", PIPELINE);
    let running = Running::start(&folder, "live.yaml", "data");
    let answer = agent().get(running.url("/topics/payments/partitions/0/tail?offset=latest")).call().unwrap();
    let mut lines = BufReader::new(answer.into_body().into_reader()).lines();
    for n in 0..3 {
        let body = format!("[{{\"value\":{{\"id\":\"x{n}\"}},\"partition\":0,\"headers\":{{\"h\":\"v\"}}}}]");
        assert_eq!(post(&running.url("/topics/payments/records"), "application/json", &body).0, 200);
        let record: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(record["offset"], n);
        assert_eq!(record["value"], format!("{{\"id\":\"x{n}\"}}"));
        assert_eq!(record["headers"]["h"], "v");
    }
    let mut follower =
        folder.command(&["topic", "tail", "payments", "--data-dir", "data", "--follow", "-n", "4"]).spawn().unwrap();
    let body = "[{\"value\":{\"id\":\"last\"},\"partition\":1}]";
    assert_eq!(post(&running.url("/topics/payments/records"), "application/json", body).0, 200);
    assert!(follower.wait().unwrap().success(), "four records, then the end");
    running.signal("-INT");
    assert!(lines.next().is_none(), "the stream ends with the run");
    assert_eq!(running.wait().0, Some(0));
}

#[test]
fn what_does_not_fit_is_answered_clearly() {
    let folder = Folder::new();
    folder.write("live.yaml", PIPELINE);
    let running = Running::start(&folder, "live.yaml", "data");
    let records = running.url("/topics/payments/records");
    let lines = "application/x-ndjson";
    let cases = [
        (get(&running.url("/topics/nope")), 404, "MS0620"),
        (get(&running.url("/topics/payments/partitions/7/records")), 404, "MS0625"),
        (get(&running.url("/topics/payments/partitions/0/records?offset=99")), 410, "MS0623"),
        (get(&running.url("/topics/payments/partitions/0/records?ofset=1")), 400, "MS0708"),
        (get(&running.url("/nothing")), 404, "MS0708"),
        (get(&records), 405, "MS0708"),
        (post(&records, "text/plain", "{}"), 415, "MS0708"),
        (post(&records, "application/json", "{"), 400, "MS0708"),
        (post(&format!("{records}?key_field=id"), lines, "{}\n"), 400, "MS0706"),
        (post(&running.url("/topics/nope/records"), lines, "{}\n"), 404, "MS0620"),
        (post(&running.url("/topics"), "application/json", r#"{"name":"payments","partitions":1}"#), 409, "MS0621"),
        (post(&records, lines, &"x".repeat((64 << 20) + 1)), 413, "MS0709"),
    ];
    for ((status, body), wanted, code) in cases {
        assert_eq!((status, body["code"].as_str()), (wanted, Some(code)), "{body}");
        assert!(body["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}");
    }
    let answer = agent().get(running.url("/status")).header("host", "evil.example").call().unwrap();
    assert_eq!(answer.status().as_u16(), 403);
    let (status, made) = post(&running.url("/topics"), "application/json", r#"{"name":"new","partitions":3}"#);
    assert_eq!((status, made["partitions"].as_array().unwrap().len()), (201, 3));
}
