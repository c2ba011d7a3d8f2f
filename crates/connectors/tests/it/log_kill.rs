//! A process that writes the log is killed again and again.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use millstream_connectors::log::{LogStore, NewRecord, Retention, TopicOptions};
use millstream_core::{PollLimit, Position, Store, TaskId, commit::CommitRecord, sink::EncodedRecord};

const DIR: &str = "MILLSTREAM_TEST_KILL_DIR";
const ROUNDS: u32 = 12;
/// Memory that a process may take that does nothing but write, beyond what it holds itself.
const MEMORY_KB_MAX: u64 = 150_000;

/// Bytes that don't compress, and follow from the offset.
fn value(offset: u64) -> Vec<u8> {
    let mut state = offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let length = 200 + offset as usize % 50;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    line.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Not a test of its own: what the child of the test below runs. Each commit carries records of two partitions
/// and a position, and what is acknowledged is printed.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = LogStore::open(Path::new(&dir)).unwrap();
    store.ensure_topic("t", Some(2)).unwrap();
    loop {
        let ends: Vec<u64> = (0..2).map(|p| store.offsets("t", p).unwrap().end).collect();
        let mut txn = store.begin();
        for (partition, end) in ends.iter().enumerate() {
            let mut chunk = millstream_core::Chunk::default();
            for offset in *end..*end + 2000 {
                let bytes = value(offset);
                chunk.records.push(EncodedRecord {
                    key: None,
                    value: Some((chunk.data.len() as u32, bytes.len() as u32)),
                    timestamp_ms: 0,
                    partition: 0,
                    headers: vec![],
                });
                chunk.data.extend_from_slice(&bytes);
            }
            txn.append("t", partition as u32, &std::sync::Arc::new(chunk), 0..2000).unwrap();
        }
        let next = ends[0] + 2000;
        let commit = CommitRecord {
            position: Position { offset: next, cursor: String::new() },
            epoch: next / 2000,
            ..CommitRecord::default()
        };
        txn.put_commit("p", TaskId::new(0), &commit).unwrap();
        txn.commit(next.is_multiple_of(20_000)).unwrap();
        println!("acknowledged {next} {}", memory_kb());
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_writing_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0u64;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "log_kill::child", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Some rounds die young, some after the memory was flushed many times over.
        let wanted = acknowledged + [2000, 40_000, 150_000][round as usize % 3];
        for line in lines.by_ref().map_while(Result::ok) {
            let Some(rest) = line.split_once("acknowledged ").map(|(_, rest)| rest) else { continue };
            let numbers: Vec<u64> = rest.split(' ').map(|n| n.parse().unwrap()).collect();
            assert!(numbers[1] < MEMORY_KB_MAX, "{} kB of memory", numbers[1]);
            assert_eq!(numbers[0], acknowledged.max(numbers[0] - 2000) + 2000);
            acknowledged = numbers[0];
            if acknowledged >= wanted {
                break;
            }
        }
        assert!(acknowledged >= wanted, "the child stopped by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        // What it wrote between the last line we read and its death.
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.split_once("acknowledged ").and_then(|(_, rest)| rest.split(' ').next()) {
                acknowledged = number.parse().unwrap_or(acknowledged).max(acknowledged);
            }
        }

        let store = LogStore::open(dir.path()).unwrap();
        let commit = store.load_commit("p", TaskId::new(0)).unwrap().unwrap();
        for partition in 0..2 {
            let offsets = store.offsets("t", partition).unwrap();
            assert_eq!(offsets, 0..commit.position.offset, "records and position are of one commit");
        }
        assert!(commit.position.offset >= acknowledged, "{} < {acknowledged}", commit.position.offset);
        acknowledged = commit.position.offset;
        for from in [0, acknowledged / 2, acknowledged - 1000] {
            let batch = store.read("t", round % 2, from, PollLimit { records: 1000, bytes: usize::MAX }).unwrap();
            for i in 0..batch.len() {
                assert_eq!(batch.value(i).unwrap(), value(batch.offset(i)));
            }
        }
    }
}

fn disk_bytes(dir: &Path) -> u64 {
    let sizes = std::fs::read_dir(dir).unwrap().flatten().map(|entry| {
        let meta = entry.metadata().map_or((false, 0), |m| (m.is_dir(), m.len()));
        if meta.0 { disk_bytes(&entry.path()) } else { meta.1 }
    });
    sizes.sum()
}

#[test]
fn retention_gives_the_disk_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = LogStore::open(dir.path()).unwrap();
    let options = TopicOptions { partitions: 1, retention: Retention::default().bytes(20 << 20) };
    store.create_topic("t", options).unwrap();
    let mut next = 0u64;
    for _ in 0..40 {
        let values: Vec<Vec<u8>> = (next..next + 20_000).map(value).collect();
        let records: Vec<_> =
            values.iter().map(|v| NewRecord { key: None, value: Some(v), timestamp_ms: 0, headers: &[] }).collect();
        store.append("t", None, &records, false).unwrap();
        next += 20_000;
        store.maintain().unwrap();
    }
    // Compaction runs on threads of its own.
    let mut used = disk_bytes(dir.path());
    for _ in 0..100 {
        if used < 140 << 20 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        used = disk_bytes(dir.path());
    }
    // 190 MB were written, 20 MB are kept, and the journals take 64 MB and more.
    assert!(used < 140 << 20, "{used} bytes on disk");
    assert!(store.describe("t").unwrap().partitions[0].bytes <= 20 << 20);
}
