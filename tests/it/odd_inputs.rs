//! Inputs nobody hopes for. Each has a defined outcome.

use std::io::Write;

use crate::support::Job;

const PIPELINE: &str = "\
pipeline: odd
sources:
  events:
    type: file
    path: PATH
    schema:
      id: { type: int64, required: true }
      amount: float64
outputs:
  rows: { type: file, path: rows.ndjson }
dead_letters: { type: file, path: dead.ndjson }
";

fn job(path: &str, input: &[u8]) -> Job {
    let job = Job::new(&PIPELINE.replace("PATH", path));
    job.write(path, input);
    job
}

/// The ids that came out, and the codes of the dead letters.
fn outcome(job: &Job) -> (Vec<i64>, Vec<String>) {
    job.run().expect_success();
    let ids = job.json_lines("rows.ndjson").iter().map(|row| row["id"].as_i64().expect("an id")).collect();
    let codes = job
        .json_lines("dead.ndjson")
        .iter()
        .map(|letter| letter["code"].as_str().expect("a code").to_owned())
        .collect();
    (ids, codes)
}

#[test]
fn an_empty_input_ends_well() {
    assert_eq!(outcome(&job("in.ndjson", b"")), (vec![], vec![]));
}

#[test]
fn an_input_that_is_all_garbage_ends_well() {
    let garbage: Vec<u8> = (0..2_000u32).flat_map(|n| format!("{n} \u{1F4A9} }}{{ \0\n").into_bytes()).collect();
    let (ids, codes) = outcome(&job("in.ndjson", &garbage));
    assert_eq!((ids.len(), codes.len()), (0, 2_000));
    let binary: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let (ids, codes) = outcome(&job("in.ndjson", &binary));
    assert!(ids.is_empty() && codes.len() > 500, "{} dead letters", codes.len());
}

#[test]
fn windows_line_ends_a_byte_order_mark_and_no_last_line_end() {
    let job = job("in.ndjson", b"\xEF\xBB\xBF{\"id\":1}\r\n{\"id\":2}\r\n{\"id\":3}");
    assert_eq!(outcome(&job), (vec![1, 2, 3], vec![]));
}

#[test]
fn an_event_of_ten_megabytes_is_an_event() {
    let mut input = b"{\"id\":1,\"note\":\"".to_vec();
    input.resize(10 << 20, b'x');
    input.extend_from_slice(b"\",\"amount\":2.5}\n{\"id\":2}\n");
    assert_eq!(outcome(&job("in.ndjson", &input)), (vec![1, 2], vec![]));
}

#[test]
fn numbers_that_do_not_fit_are_refused_one_by_one() {
    let lines = [
        r#"{"id":9007199254740993,"amount":1e308}"#,
        r#"{"id":9223372036854775808}"#,
        r#"{"id":1,"amount":1e999}"#,
        r#"{"id":2,"amount":NaN}"#,
        r#"{"id":3.5}"#,
        r#"{"id":"4"}"#,
        r#"{"id":null}"#,
        r#"{}"#,
        r#"{"id":5,"amount":null}"#,
    ];
    let (ids, codes) = outcome(&job("in.ndjson", (lines.join("\n") + "\n").as_bytes()));
    assert_eq!(ids, [9_007_199_254_740_993, 5], "{codes:?}");
    assert_eq!(codes.len(), 7);
}

#[test]
fn odd_events_are_refused_for_their_own_reason() {
    let deep = format!(r#"{{"id":1,"n":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    // What is refused, and why.
    let refused: [(&[u8], &str); 9] = [
        (b"  ", "MS0403"),
        (br#"{"id":1,"id":2}"#, "MS0406"),
        (br#"{"id":1,"\u0069d":2}"#, "MS0406"),
        (b"{\"id\":1,\"x\":\"\xff\"}", "MS0402"),
        (deep.as_bytes(), "MS0411"),
        (br#"{"id":1} {"id":2}"#, "MS0401"),
        (br#"[{"id":1}]"#, "MS0405"),
        (br#"{"id":1,"amount":"1.5"}"#, "MS0407"),
        (b"{\"id\":1\0}", "MS0401"),
    ];
    // Between them: an empty line, which is nothing, and events that are odd and good.
    let good = ["", r#"{"id":1e2}"#, r#"{"id":13.0}"#, r#"{"\u0069d":14}"#, "\t{\"id\" :15 } "];
    let mut input = Vec::new();
    for (n, (event, _)) in refused.iter().enumerate() {
        input.extend_from_slice(event);
        input.push(b'\n');
        input.extend_from_slice(good[n % good.len()].as_bytes());
        input.push(b'\n');
    }
    let (ids, codes) = outcome(&job("in.ndjson", &input));
    assert_eq!(ids, [100, 13, 14, 15, 100, 13, 14]);
    assert_eq!(codes, refused.map(|(_, code)| code));
}

#[test]
fn compressed_input_gives_what_plain_input_gives() {
    let plain: Vec<u8> = (0..5_000).flat_map(|n| format!("{{\"id\":{n},\"amount\":{n}.25}}\n").into_bytes()).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("memory takes it");
    let gzip = gzip.finish().expect("memory takes it");
    let zstd = zstd::encode_all(plain.as_slice(), 1).expect("memory takes it");
    // Two members in one file are one stream, as their tools have it.
    let twice = [gzip.clone(), gzip.clone()].concat();
    let expected = (0..5_000).collect::<Vec<i64>>();
    assert_eq!(outcome(&job("in.ndjson", &plain)).0, expected);
    assert_eq!(outcome(&job("in.ndjson.gz", &gzip)).0, expected);
    assert_eq!(outcome(&job("in.ndjson.zst", &zstd)).0, expected);
    assert_eq!(outcome(&job("in.ndjson.gz", &twice)).0.len(), 10_000);
}

#[test]
fn from_standard_input_to_standard_output() {
    let pipeline = PIPELINE
        .replace("pipeline: odd\n", "pipeline: odd\ndelivery: at_most_once\n")
        .replace("type: file\n    path: PATH", "type: stdin")
        .replace("{ type: file, path: rows.ndjson }", "{ type: stdout }");
    let job = Job::new(&pipeline);
    let run = job
        .millstream_with_input(&["run", "pipeline.yaml", "--quiet"], b"{\"id\":7}\nnope\n{\"id\":8}\n")
        .expect_success();
    let ids: Vec<serde_json::Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["id"].clone())
        .collect();
    assert_eq!(ids, [7, 8]);
    assert_eq!(job.json_lines("dead.ndjson").len(), 1);
}
