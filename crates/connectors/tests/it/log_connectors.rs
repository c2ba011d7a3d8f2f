//! The `log` source and sink.

use std::collections::BTreeMap;

use millstream_connectors::Env;
use millstream_connectors::codes;
use millstream_connectors::log::{NewRecord, Retention, TopicOptions};
use millstream_core::murmur::partition_for;
use millstream_core::{PollLimit, Polled, Position, RawBatch, Store, TaskId};

use crate::support::{chunk_of, drain, env, open, seen, sink, source};
use crate::{contract, support};

fn put(env: &Env, topic: &str, values: std::ops::Range<u64>) {
    let values: Vec<String> = values.map(|v| format!("{v}")).collect();
    let records: Vec<_> = values
        .iter()
        .map(|v| NewRecord { key: None, value: Some(v.as_bytes()), timestamp_ms: 0, headers: &[] })
        .collect();
    env.log().unwrap().append(topic, Some(0), &records, false).unwrap();
}

#[test]
fn keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let spec = source("type: log, topic: t, partitions: 1, bounded: true");
    assert_eq!(spec.partitions(&env).unwrap(), 1);
    for start in (0..40).step_by(8) {
        put(&env, "t", start..start + 8);
    }
    let expected: Vec<support::Seen> = (0..40).map(|n| (n, n.to_string())).collect();
    contract::check(&|| spec.open(&env, 0).unwrap(), &expected);

    let empty = source("type: log, topic: nothing, partitions: 1, bounded: true");
    empty.partitions(&env).unwrap();
    contract::check(&|| empty.open(&env, 0).unwrap(), &[]);
}

#[test]
fn a_bounded_source_ends_where_the_topic_ended_when_it_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let bounded = source("type: log, topic: t, partitions: 1, bounded: true");
    bounded.partitions(&env).unwrap();
    put(&env, "t", 0..5);
    let mut reader = bounded.open(&env, 0).unwrap();
    assert_eq!(reader.lag(), Some(5));
    put(&env, "t", 5..9);
    assert_eq!(drain(reader.as_mut()).len(), 5);
    let position = reader.position();
    let mut next_run = bounded.open(&env, 0).unwrap();
    next_run.seek(&position).unwrap();
    assert_eq!(drain(next_run.as_mut()).len(), 4);
}

#[test]
fn an_unbounded_source_waits_for_more() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let earliest = source("type: log, topic: t, partitions: 1");
    earliest.partitions(&env).unwrap();
    put(&env, "t", 0..5);
    let mut from_start = earliest.open(&env, 0).unwrap();
    let mut from_end = source("type: log, topic: t, start: latest").open(&env, 0).unwrap();
    assert_eq!(drain(from_start.as_mut()).len(), 5);
    assert_eq!(drain(from_end.as_mut()).len(), 0);
    put(&env, "t", 5..7);
    assert_eq!(from_end.lag(), Some(2));
    for reader in [&mut from_start, &mut from_end] {
        let mut out = RawBatch::new(millstream_core::TaskId::new(0));
        assert_eq!(reader.poll(PollLimit { records: 10, bytes: 100 }, &mut out).unwrap(), Polled::Records);
        assert_eq!(seen(&out), [(5, "5".to_owned()), (6, "6".to_owned())]);
        assert_eq!(reader.poll(PollLimit { records: 10, bytes: 100 }, &mut out).unwrap(), Polled::CaughtUp);
    }
}

#[test]
fn a_position_that_retention_removed_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let spec = source("type: log, topic: t, partitions: 1");
    spec.partitions(&env).unwrap();
    put(&env, "t", 0..5);
    let log = env.log().unwrap();
    log.set_retention("t", Retention { age_ms: Some(1000), bytes: None }).unwrap();
    log.trim(i64::MAX).unwrap();
    put(&env, "t", 5..8);
    let mut reader = spec.open(&env, 0).unwrap();
    assert_eq!(drain(reader.as_mut()).len(), 3);
    let error = reader.seek(&Position { offset: 2, cursor: String::new() }).unwrap_err();
    assert_eq!(error.code(), codes::OFFSET_GONE);
    assert!(error.message().contains("kept 5 to 8") && error.help_text().unwrap().contains("--fresh"), "{error}");
}

#[test]
fn the_declared_partitions_must_match() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    assert_eq!(source("type: log, topic: t").probe(&env).unwrap_err().code(), codes::UNKNOWN_TOPIC);
    source("type: log, topic: t, partitions: 3").probe(&env).unwrap();
    assert_eq!(env.log().unwrap().topics().len(), 0, "looking creates nothing");
    assert_eq!(source("type: log, topic: t, partitions: 3").partitions(&env).unwrap(), 3);
    assert_eq!(source("type: log, topic: t").partitions(&env).unwrap(), 3);
    let fields = "type: log, topic: t, partitions: 4";
    assert_eq!(source(fields).probe(&env).unwrap_err().code(), codes::PARTITIONS_DIFFER);
    assert_eq!(source(fields).partitions(&env).unwrap_err().code(), codes::PARTITIONS_DIFFER);
    let spec = sink(fields);
    let error = spec.open(&env, Some(1), &support::context(spec.as_ref())).err().unwrap();
    assert_eq!(error.code(), codes::PARTITIONS_DIFFER);
}

#[test]
fn rows_arrive_with_the_commit_and_in_their_partition() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    let keyed = sink("type: log, topic: keyed, partitions: 4, key: n");
    let plain = sink("type: log, topic: plain");
    let mut keyed_sink = open(keyed.as_ref(), &env, 2);
    let mut plain_sink = open(plain.as_ref(), &env, 2);
    let log = env.log().unwrap();
    assert_eq!(log.describe("plain").unwrap().partitions.len(), 2, "as many as the input");
    let mut txn = log.begin();
    for task in 0..2u32 {
        let rows = i64::from(task) * 100..i64::from(task) * 100 + 50;
        keyed_sink.stage(TaskId::new(task), chunk_of(keyed.as_ref(), rows.clone(), task), txn.as_mut()).unwrap();
        plain_sink.stage(TaskId::new(task), chunk_of(plain.as_ref(), rows, task), txn.as_mut()).unwrap();
    }
    assert_eq!(log.offsets("plain", 0).unwrap(), 0..0);
    txn.commit(false).unwrap();
    for task in 0..2u32 {
        let batch = log.read("plain", task, 0, PollLimit { records: 1000, bytes: usize::MAX }).unwrap();
        let expected: Vec<String> = (0..50).map(|n| format!("{{\"n\":{}}}", n + task * 100)).collect();
        assert_eq!(seen(&batch).into_iter().map(|s| s.1).collect::<Vec<_>>(), expected);
    }
    let mut by_partition: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for n in (0..50).chain(100..150) {
        let key = n.to_string();
        by_partition.entry(partition_for(key.as_bytes(), 4)).or_default().push(format!("{{\"n\":{n}}}"));
    }
    for partition in 0..4 {
        let batch = log.read("keyed", partition, 0, PollLimit { records: 1000, bytes: usize::MAX }).unwrap();
        let got: Vec<String> = seen(&batch).into_iter().map(|s| s.1).collect();
        assert_eq!(got, by_partition.remove(&partition).unwrap_or_default(), "order is kept within a partition");
    }
}

#[test]
fn a_sink_keeps_the_number_of_an_existing_topic() {
    let dir = tempfile::tempdir().unwrap();
    let env = env(dir.path());
    env.log().unwrap().create_topic("t", TopicOptions::partitions(2)).unwrap();
    let spec = sink("type: log, topic: t");
    let mut opened = open(spec.as_ref(), &env, 5);
    let log = env.log().unwrap();
    let mut txn = log.begin();
    opened.stage(TaskId::new(3), chunk_of(spec.as_ref(), 0..10, 3), txn.as_mut()).unwrap();
    txn.commit(false).unwrap();
    assert_eq!(log.offsets("t", 1).unwrap(), 0..10, "partition 3 of the input goes to 3 modulo 2");
}
