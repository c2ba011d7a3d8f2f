//! What must come out: the same pipeline over the same records in the embedded log, from beginning to end in one
//! undisturbed run. And how what came out differs from it.

use std::collections::BTreeMap;
use std::fmt::Write;

use millstream_connectors::log::{LogStore, NewRecord, TopicOptions};
use millstream_core::record::{Header, NO_TIMESTAMP};
use millstream_core::{PollLimit, RawBatch};
use millstream_testkit::kafka::Record;

use super::job::{End, LAST, OUTPUTS, Scoring};
use crate::support::Job;

/// Differences that are shown of an output.
const SHOWN_MAX: usize = 3;

/// Each output's records.
pub type Outputs = BTreeMap<&'static str, Vec<Record>>;

/// What an input without end gives: what the end of a bounded one lets out still waits.
pub fn expected(scoring: &Scoring, input: &[Record]) -> Outputs {
    let mut outputs = expected_with_the_end(scoring, input);
    let settled = outputs.entry("settled").or_default();
    settled.retain(|record| !record.value_text().contains(&format!("\"transaction_id\":\"{LAST}")));
    outputs
}

/// What an input gives that ends with these records.
pub fn expected_with_the_end(scoring: &Scoring, input: &[Record]) -> Outputs {
    let job = scoring.job(End::Log, End::Log);
    fill(&job, scoring, input);
    job.run().expect_success();
    let mut outputs = read(&job, scoring);
    // Where the origin is a topic of Kafka, its name is told.
    let topic = ("ms.topic".to_owned(), Some(scoring.input.clone().into_bytes()));
    for record in outputs.entry("dead").or_default() {
        let at = record.headers.iter().position(|(name, _)| name == "ms.partition").unwrap();
        record.headers.insert(at, topic.clone());
    }
    outputs
}

/// The outputs in a job's log.
pub fn read(job: &Job, scoring: &Scoring) -> Outputs {
    let store = LogStore::open(&job.path(".millstream")).unwrap();
    OUTPUTS.map(|output| (output, read_topic(&store, &scoring.topic(output), scoring.partitions))).into()
}

/// Puts an input into a job's log.
pub fn fill(job: &Job, scoring: &Scoring, input: &[Record]) {
    let store = LogStore::open(&job.path(".millstream")).unwrap();
    store.create_topic(&scoring.input, TopicOptions::partitions(scoring.partitions)).unwrap();
    for (nth, record) in input.iter().enumerate() {
        let partition = record.partition.unwrap() as u32;
        let headers: Vec<Header> = record
            .headers
            .iter()
            .map(|(name, value)| Header { name: name.clone(), value: value.clone().unwrap_or_default() })
            .collect();
        let new = NewRecord {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            timestamp_ms: record.timestamp_ms.unwrap_or(NO_TIMESTAMP),
            headers: &headers,
        };
        let placed = store.append(&scoring.input, Some(partition), &[new], false).unwrap();
        // Ids of predictions and dead letters hold offsets.
        assert_eq!(Some(placed[0].offset as i64), record.offset, "record {nth} of the input is elsewhere in the log");
    }
}

fn read_topic(store: &LogStore, topic: &str, partitions: u32) -> Vec<Record> {
    let mut records = Vec::new();
    for partition in 0..partitions {
        loop {
            let offset = records.iter().filter(|r: &&Record| r.partition == Some(partition as i32)).count() as u64;
            let limit = PollLimit { records: 10_000, bytes: 64 << 20 };
            let batch = store.read(topic, partition, offset, limit).unwrap();
            if batch.is_empty() {
                break;
            }
            records.extend((0..batch.len()).map(|i| record(&batch, i)));
        }
    }
    records
}

fn record(batch: &RawBatch, i: usize) -> Record {
    Record {
        partition: Some(batch.partition() as i32),
        offset: Some(batch.offset(i) as i64),
        timestamp_ms: Some(batch.timestamp_ms(i)).filter(|&ms| ms != NO_TIMESTAMP),
        key: batch.key(i).map(<[u8]>::to_vec),
        value: batch.value(i).map(<[u8]>::to_vec),
        headers: batch.headers(i).iter().map(|h| (h.name.clone(), Some(h.value.clone()))).collect(),
    }
}

/// What is the same however epochs of different tasks alternate: the records of one task in one partition, in order.
type Lanes = BTreeMap<(i32, String), Vec<String>>;

fn lanes(scoring: &Scoring, output: &str, records: &[Record]) -> Lanes {
    let mut lanes = Lanes::new();
    for record in records {
        let place = record.partition.unwrap();
        // Outputs by key mix tasks in a partition: cards tell which.
        let task = match output {
            "scores" | "dead" => place.to_string(),
            _ => task_of(scoring, &record.value_text()),
        };
        lanes.entry((place, task)).or_default().push(show(record));
    }
    lanes
}

fn task_of(scoring: &Scoring, value: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(value).unwrap_or_else(|e| panic!("{e} in {value}"));
    let card = value["card_id"].as_str().unwrap_or_else(|| panic!("no card in {value}"));
    match card.strip_prefix('c').and_then(|number| number.parse::<u32>().ok()) {
        Some(number) => (number % scoring.partitions).to_string(),
        None => value["transaction_id"].as_str().unwrap_or_default().to_owned(),
    }
}

/// All of a record but its offset, which counts the marks of transactions too.
fn show(record: &Record) -> String {
    let bytes = |bytes: &Option<Vec<u8>>| match bytes {
        Some(bytes) => format!("`{}`", bytes.escape_ascii()),
        None => "nothing".to_owned(),
    };
    let headers: Vec<String> = record.headers.iter().map(|(name, value)| format!("{name}={}", bytes(value))).collect();
    let time = record.timestamp_ms.unwrap_or(-1);
    format!("key {} value {} time {time} headers {}", bytes(&record.key), bytes(&record.value), headers.join(" "))
}

/// How an output differs; empty if it does not.
pub fn differences(scoring: &Scoring, output: &str, expected: &[Record], seen: &[Record]) -> String {
    let (expected, seen) = (lanes(scoring, output, expected), lanes(scoring, output, seen));
    let mut text = String::new();
    if expected == seen {
        return text;
    }
    let places: std::collections::BTreeSet<_> = expected.keys().chain(seen.keys()).collect();
    for place in places {
        let none = Vec::new();
        let (expected, seen) = (expected.get(place).unwrap_or(&none), seen.get(place).unwrap_or(&none));
        if expected == seen {
            continue;
        }
        let mut counts: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        expected.iter().for_each(|record| counts.entry(record).or_default().0 += 1);
        seen.iter().for_each(|record| counts.entry(record).or_default().1 += 1);
        let wrong = |test: &dyn Fn(i64, i64) -> bool| -> Vec<&str> {
            counts.iter().filter(|(_, (e, s))| test(*e, *s)).map(|(record, _)| *record).collect()
        };
        let missing = wrong(&|e, s| s < e);
        let twice = wrong(&|e, s| e > 0 && s > e);
        let unknown = wrong(&|e, s| e == 0 && s > 0);
        let first = expected.iter().zip(seen).position(|(e, s)| e != s).unwrap_or(expected.len().min(seen.len()));
        writeln!(
            text,
            "{output}, partition {}, task {}: {} expected, {} seen; {} missing, {} twice, {} unknown; from record {first} on",
            place.0, place.1, expected.len(), seen.len(), missing.len(), twice.len(), unknown.len()
        )
        .unwrap();
        for (what, records) in [("missing", missing), ("twice", twice), ("unknown", unknown)] {
            for record in records.iter().take(SHOWN_MAX) {
                writeln!(text, "  {what}: {record}").unwrap();
            }
        }
    }
    text
}
