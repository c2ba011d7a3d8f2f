//! The embedded log: offsets, atomicity, retention, reopening, damage.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream_connectors::codes;
use millstream_connectors::log::{LogStore, NewRecord, PartitionReader, Retention, TopicOptions};
use millstream_core::commit::CommitRecord;
use millstream_core::journal::AdvanceCause;
use millstream_core::murmur::partition_for;
use millstream_core::record::Header;
use millstream_core::sink::EncodedRecord;
use millstream_core::{Chunk, JournalEntry, PollLimit, Position, Store, TaskId, Txn};

const ALL: PollLimit = PollLimit { records: usize::MAX, bytes: usize::MAX };

fn record<'a>(key: Option<&'a [u8]>, value: &'a [u8]) -> NewRecord<'a> {
    NewRecord { key, value: Some(value), timestamp_ms: 5, headers: &[] }
}

fn put(store: &LogStore, topic: &str, partition: u32, values: std::ops::Range<u64>) {
    let values: Vec<String> = values.map(|v| format!("value {v}")).collect();
    let records: Vec<_> = values.iter().map(|v| record(None, v.as_bytes())).collect();
    store.append(topic, Some(partition), &records, false).unwrap();
}

fn values(store: &LogStore, topic: &str, partition: u32, from: u64) -> Vec<(u64, String)> {
    let batch = store.read(topic, partition, from, ALL).unwrap();
    (0..batch.len()).map(|i| (batch.offset(i), String::from_utf8(batch.value(i).unwrap().to_vec()).unwrap())).collect()
}

fn chunk(values: &[&str]) -> Chunk {
    let mut chunk = Chunk::default();
    for value in values {
        let start = chunk.data.len() as u32;
        chunk.data.extend_from_slice(value.as_bytes());
        chunk.records.push(EncodedRecord {
            key: None,
            value: Some((start, value.len() as u32)),
            timestamp_ms: 1,
            partition: 0,
            headers: vec![Header { name: "h".into(), value: b"v".to_vec() }],
        });
        chunk.rows += 1;
    }
    chunk
}

#[test]
fn offsets_are_dense_and_reads_start_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(dir.path()).unwrap();
    store.create_topic("t", TopicOptions::partitions(2)).unwrap();
    for start in (0..10_000).step_by(1000) {
        put(&store, "t", 1, start..start + 1000);
    }
    assert_eq!(store.offsets("t", 1).unwrap(), 0..10_000);
    assert_eq!(store.offsets("t", 0).unwrap(), 0..0);
    for from in [0, 1, 999, 1000, 1001, 5555, 9999, 10_000] {
        let got = values(&store, "t", 1, from);
        assert_eq!(got.len() as u64, 10_000 - from);
        for (i, (offset, value)) in got.iter().enumerate() {
            assert_eq!(*offset, from + i as u64);
            assert_eq!(value, &format!("value {offset}"));
        }
    }
    let some = store.read("t", 1, 995, PollLimit { records: 10, bytes: usize::MAX }).unwrap();
    assert_eq!((some.len(), some.offset(9)), (10, 1004));
    let some = store.read("t", 1, 0, PollLimit { records: 100, bytes: 20 }).unwrap();
    assert_eq!(some.len(), 3, "stops after the record that reaches the bound");
}

#[test]
fn keys_find_their_partition_as_in_kafka() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(dir.path()).unwrap();
    store.create_topic("t", TopicOptions::partitions(5)).unwrap();
    let keys: Vec<String> = (0..100).map(|i| format!("card-{i}")).collect();
    let records: Vec<_> = keys.iter().map(|k| record(Some(k.as_bytes()), k.as_bytes())).collect();
    let placed = store.append("t", None, &records, true).unwrap();
    for (key, place) in keys.iter().zip(placed) {
        assert_eq!(place.partition, partition_for(key.as_bytes(), 5));
        let one = store.read("t", place.partition, place.offset, PollLimit { records: 1, bytes: 1 }).unwrap();
        assert_eq!(one.key(0), Some(key.as_bytes()));
    }
    // "21" hashes to -973932308 in Kafka's own tests.
    let expected = (-973_932_308_i32 as u32 & 0x7fff_ffff) % 5;
    assert_eq!(store.append("t", None, &[record(Some(b"21"), b"")], false).unwrap()[0].partition, expected);
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(dir.path()).unwrap();
    store.create_topic("a", TopicOptions::partitions(1)).unwrap();
    store.create_topic("b", TopicOptions::partitions(1)).unwrap();
    let commit = CommitRecord {
        epoch: 1,
        position: Position { offset: 7, cursor: "{}".into() },
        journal_len: 2,
        ..CommitRecord::default()
    };
    let entries = [
        JournalEntry::Advance { at: 3, watermark: 4, cause: AdvanceCause::Idle },
        JournalEntry::Artifact { at: 5, name: "model m".into(), digest: "d".into() },
    ];
    let write = |txn: &mut dyn Txn| {
        let chunk = Arc::new(chunk(&["x", "y", "z"]));
        txn.append("a", 0, &chunk, 0..2).unwrap();
        txn.append("b", 0, &chunk, 2..3).unwrap();
        txn.append("a", 0, &chunk, 2..3).unwrap();
        txn.put_commit("p", TaskId::new(3), &commit).unwrap();
        for (i, entry) in entries.iter().enumerate() {
            txn.put_journal("p", TaskId::new(3), i as u64, entry).unwrap();
        }
    };
    let mut dropped = store.begin();
    write(&mut *dropped);
    drop(dropped);
    assert_eq!(store.offsets("a", 0).unwrap(), 0..0);
    assert_eq!(store.load_commits("p").unwrap(), vec![]);

    let mut txn = store.begin();
    write(&mut *txn);
    assert_eq!(store.offsets("a", 0).unwrap(), 0..0, "not visible before the commit");
    txn.commit(true).unwrap();
    drop(store);

    let store = LogStore::open(dir.path()).unwrap();
    assert_eq!(values(&store, "a", 0, 0).into_iter().map(|v| v.1).collect::<String>(), "xyz");
    assert_eq!(values(&store, "b", 0, 0).len(), 1);
    let headers = store.read("b", 0, 0, ALL).unwrap().headers(0).to_vec();
    assert_eq!(headers, vec![Header { name: "h".into(), value: b"v".to_vec() }]);
    assert_eq!(store.load_commits("p").unwrap(), vec![(TaskId::new(3), commit.clone())]);
    assert_eq!(store.load_commit("p", TaskId::new(3)).unwrap(), Some(commit));
    assert_eq!(store.load_commit("p", TaskId::new(0)).unwrap(), None);
    assert_eq!(store.load_commits("other").unwrap(), vec![]);
    assert_eq!(store.load_journal("p", TaskId::new(3), 0).unwrap(), entries);
    assert_eq!(store.load_journal("p", TaskId::new(3), 1).unwrap(), entries[1..]);
    assert!(store.begin().append("nope", 0, &Arc::new(chunk(&["x"])), 0..1).is_err());
    assert!(store.begin().append("a", 1, &Arc::new(chunk(&["x"])), 0..1).is_err());
    store.forget("p").unwrap();
    assert_eq!(store.load_commits("p").unwrap(), vec![]);
    assert_eq!(store.load_journal("p", TaskId::new(3), 0).unwrap(), vec![]);
    assert_eq!(store.offsets("a", 0).unwrap(), 0..3, "records stay");
}

#[test]
fn retention_by_age_and_size() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(dir.path()).unwrap();
    store.create_topic("t", TopicOptions::partitions(1)).unwrap();
    store.create_topic("kept", TopicOptions::partitions(1)).unwrap();
    for start in (0..10_000).step_by(100) {
        put(&store, "t", 0, start..start + 100);
    }
    put(&store, "kept", 0, 0..10);
    let mut slow =
        PartitionReader::open(Arc::new(LogStore::open(tempfile::tempdir().unwrap().path()).unwrap()), "x", 0, 0);
    assert!(slow.as_mut().is_err());
    assert_eq!(store.maintain().unwrap(), 0);

    let before = store.describe("t").unwrap().partitions[0];
    store.set_retention("t", Retention::default().bytes(before.bytes / 2)).unwrap();
    let removed = store.maintain().unwrap();
    let after = store.describe("t").unwrap().partitions[0];
    assert!(removed >= 4900 && removed.is_multiple_of(100), "{removed}");
    assert_eq!((after.start, after.end), (removed, 10_000));
    assert!(after.bytes <= before.bytes / 2 && after.bytes > before.bytes / 3);
    assert_eq!(values(&store, "t", 0, removed).len() as u64, 10_000 - removed);
    let error = store.read("t", 0, removed - 1, ALL).unwrap_err();
    assert_eq!(error.code(), codes::OFFSET_GONE);
    assert!(error.message().contains(&format!("retention kept {removed} to 10000")), "{error}");
    assert_eq!(store.read("t", 0, 10_001, ALL).unwrap_err().code(), codes::OFFSET_GONE);

    store.set_retention("t", Retention::default().age(Duration::from_secs(3600))).unwrap();
    assert_eq!(store.maintain().unwrap(), 0);
    let later = store.describe("t").unwrap().created_ms + 2 * 3_600_000;
    assert_eq!(store.trim(later).unwrap(), 10_000 - removed);
    assert_eq!(store.offsets("t", 0).unwrap(), 10_000..10_000);
    put(&store, "t", 0, 10_000..10_003);
    assert_eq!(values(&store, "t", 0, 10_000).len(), 3);
    drop(store);
    let store = LogStore::open(dir.path()).unwrap();
    assert_eq!(store.offsets("t", 0).unwrap(), 10_000..10_003);
    assert_eq!(values(&store, "kept", 0, 0).len(), 10);
}

#[test]
fn topics_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(dir.path()).unwrap();
    for bad in ["", "a b", "a/b", ".x", "ü"] {
        assert_eq!(store.create_topic(bad, TopicOptions::partitions(1)).unwrap_err().code(), codes::BAD_TOPIC, "{bad}");
    }
    assert_eq!(store.create_topic("t", TopicOptions::partitions(0)).unwrap_err().code(), codes::BAD_TOPIC);
    assert_eq!(store.ensure_topic("t", None).unwrap_err().code(), codes::UNKNOWN_TOPIC);
    assert_eq!(store.ensure_topic("t", Some(3)).unwrap(), 3);
    assert_eq!(store.ensure_topic("t", Some(3)).unwrap(), 3);
    assert_eq!(store.ensure_topic("t", None).unwrap(), 3);
    let error = store.ensure_topic("t", Some(4)).unwrap_err();
    assert_eq!(error.code(), codes::PARTITIONS_DIFFER);
    assert_eq!(store.create_topic("t", TopicOptions::partitions(3)).unwrap_err().code(), codes::TOPIC_EXISTS);
    assert_eq!(store.offsets("t", 3).unwrap_err().code(), codes::UNKNOWN_PARTITION);

    put(&store, "t", 2, 0..5000);
    store.delete_topic("t").unwrap();
    assert_eq!(store.read("t", 2, 0, ALL).unwrap_err().code(), codes::UNKNOWN_TOPIC);
    assert!(store.topics().is_empty());
    store.create_topic("t", TopicOptions::partitions(1)).unwrap();
    assert_eq!(store.offsets("t", 0).unwrap(), 0..0, "nothing of the old topic is left");
    put(&store, "t", 0, 0..2);
    drop(store);
    let store = LogStore::open(dir.path()).unwrap();
    assert_eq!(store.topics().len(), 1);
    assert_eq!(values(&store, "t", 0, 0).len(), 2);
}

#[test]
fn waiting_wakes_at_an_append() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LogStore::open(dir.path()).unwrap());
    store.create_topic("t", TopicOptions::partitions(1)).unwrap();
    assert!(!store.wait("t", 0, 0, Duration::from_millis(5)).unwrap());
    let waiter = {
        let store = store.clone();
        std::thread::spawn(move || store.wait("t", 0, 0, Duration::from_secs(30)).unwrap())
    };
    std::thread::sleep(Duration::from_millis(20));
    put(&store, "t", 0, 0..1);
    assert!(waiter.join().unwrap());
}

#[test]
fn many_threads_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LogStore::open(dir.path()).unwrap());
    store.create_topic("t", TopicOptions::partitions(2)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let store = store.clone();
            scope.spawn(move || {
                for i in 0..200 {
                    put(&store, "t", (thread % 2) as u32, thread * 1000 + i..thread * 1000 + i + 3);
                }
            });
        }
        for partition in 0..2 {
            let store = store.clone();
            scope.spawn(move || {
                let mut reader = PartitionReader::open(store, "t", partition, 0).unwrap();
                let mut seen = 0u64;
                while seen < 1200 {
                    let mut out = millstream_core::RawBatch::new(TaskId::new(partition));
                    reader.read(u64::MAX, PollLimit { records: 50, bytes: usize::MAX }, &mut out).unwrap();
                    for i in 0..out.len() {
                        assert_eq!(out.offset(i), seen);
                        seen += 1;
                    }
                }
            });
        }
    });
    assert_eq!(store.offsets("t", 0).unwrap(), 0..1200);
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(dir.path()).unwrap();
    let error = LogStore::open(dir.path()).err().unwrap();
    assert_eq!(error.code(), codes::LOG_LOCKED);
    assert!(error.message().contains(&dir.path().display().to_string()), "{error}");
    assert!(error.message().contains(&std::process::id().to_string()), "{error}");
    drop(store);
    LogStore::open(dir.path()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A copy of the folder while the store is open is what a kill leaves behind.
#[test]
fn a_killed_process_leaves_all_commits() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(dir.path()).unwrap();
    store.create_topic("t", TopicOptions::partitions(1)).unwrap();
    for round in 0..5u64 {
        put(&store, "t", 0, round * 20..round * 20 + 20);
        let after = tempfile::tempdir().unwrap();
        copy(dir.path(), after.path());
        let copied = LogStore::open(after.path()).unwrap();
        assert_eq!(values(&copied, "t", 0, 0).len() as u64, round * 20 + 20);
        put(&copied, "t", 0, 0..1);
        drop(copied);
        let again = LogStore::open(after.path()).unwrap();
        assert_eq!(again.offsets("t", 0).unwrap(), 0..round * 20 + 21);
    }
}

#[test]
fn damage_in_the_journal_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(dir.path()).unwrap();
    store.create_topic("t", TopicOptions::partitions(1)).unwrap();
    for i in 0..50 {
        put(&store, "t", 0, i..i + 1);
    }
    drop(store);
    let journal = dir.path().join("log/0.jnl");
    let sound = std::fs::read(&journal).unwrap();
    let used = sound.iter().rposition(|b| *b != 0).unwrap() + 1;
    let mut silent = Vec::new();
    for at in (used / 4..used).step_by(used / 40) {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let mut bytes = sound.clone();
        bytes[at] ^= 0xff;
        std::fs::write(copied.path().join("log/0.jnl"), bytes).unwrap();
        match LogStore::open(copied.path()) {
            Err(error) => assert!([codes::LOG_LOST, codes::LOG_DAMAGED].contains(&error.code()), "{error}"),
            Ok(store) if store.offsets("t", 0).unwrap() == (0..50) && values(&store, "t", 0, 0).len() == 50 => {}
            Ok(_) => silent.push(at),
        }
    }
    assert_eq!(silent, Vec::<usize>::new(), "damage that was not noticed");

    // The way out that the message names.
    let mut bytes = sound;
    bytes[used / 2] ^= 0xff;
    bytes.truncate(used);
    std::fs::write(&journal, bytes).unwrap();
    if let Err(error) = LogStore::open(dir.path())
        && error.code() == codes::LOG_LOST
    {
        assert!(error.help_text().unwrap().contains("committed"));
        std::fs::remove_file(dir.path().join("log/committed")).unwrap();
        let store = LogStore::open(dir.path()).unwrap();
        let left = store.offsets("t", 0).unwrap();
        assert!(left.end < 50);
        assert_eq!(values(&store, "t", 0, 0).len() as u64, left.end);
    }
}

#[test]
fn an_unfinished_creation_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    std::fs::create_dir_all(log.join("keyspaces")).unwrap();
    std::fs::write(log.join("0.jnl"), vec![0; 100]).unwrap();
    std::fs::write(log.join("lock"), "").unwrap();
    LogStore::open(dir.path()).unwrap();
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(other.path().join("log")).unwrap();
    std::fs::write(other.path().join("log/thesis.txt"), "x").unwrap();
    assert_eq!(LogStore::open(other.path()).err().unwrap().code(), codes::LOG_UNOPENABLE);
    assert!(other.path().join("log/thesis.txt").exists());
}
