//! The keys of the log's one keyspace, and the seal around small values.
//!
//! One keyspace, because a keyspace that is idle keeps the store's journals from being removed.

use millstream_core::{Error, Result, TaskId};

use crate::codes::LOG_DAMAGED;

/// The number of the last commit.
pub(super) const SEQUENCE: &[u8] = b"m/sequence";
/// The number of the next topic.
pub(super) const NEXT_TOPIC: &[u8] = b"m/next-topic";
pub(super) const TOPICS: &[u8] = b"t";
pub(super) const PARTITIONS: &[u8] = b"p";
pub(super) const DELETED: &[u8] = b"d";

pub(super) fn topic(id: u32) -> Vec<u8> {
    [TOPICS, &id.to_be_bytes()].concat()
}

pub(super) fn deleted(id: u32) -> Vec<u8> {
    [DELETED, &id.to_be_bytes()].concat()
}

pub(super) fn partition(topic: u32, partition: u32) -> Vec<u8> {
    [PARTITIONS, &topic.to_be_bytes(), &partition.to_be_bytes()].concat()
}

/// The blobs of a topic, or of one of its partitions.
pub(super) fn records(topic: u32, partition: Option<u32>) -> Vec<u8> {
    let mut key = [b"r", topic.to_be_bytes().as_slice()].concat();
    if let Some(partition) = partition {
        key.extend_from_slice(&partition.to_be_bytes());
    }
    key
}

pub(super) fn blob(topic: u32, partition: u32, base: u64) -> Vec<u8> {
    [records(topic, Some(partition)).as_slice(), &base.to_be_bytes()].concat()
}

/// The number at the end of a key.
pub(super) fn tail_u64(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|b| u64::from_be_bytes(*b))
}

pub(super) fn tail_u32(key: &[u8]) -> Option<u32> {
    key.last_chunk().map(|b| u32::from_be_bytes(*b))
}

/// The commits of a pipeline. Names of pipelines hold no NUL. A source that reads several topics never commits here,
/// so a partition says which task it is.
pub(super) fn commits(pipeline: &str) -> Vec<u8> {
    [b"c", pipeline.as_bytes(), b"\0"].concat()
}

pub(super) fn commit(pipeline: &str, task: TaskId) -> Vec<u8> {
    [commits(pipeline).as_slice(), &task.partition.to_be_bytes()].concat()
}

pub(super) fn journals(pipeline: &str) -> Vec<u8> {
    [b"j", pipeline.as_bytes(), b"\0"].concat()
}

pub(super) fn journal(pipeline: &str, task: TaskId) -> Vec<u8> {
    [journals(pipeline).as_slice(), &task.partition.to_be_bytes()].concat()
}

pub(super) fn journal_entry(pipeline: &str, task: TaskId, index: u64) -> Vec<u8> {
    [journal(pipeline, task).as_slice(), &index.to_be_bytes()].concat()
}

/// A value with the checksum of its key and itself before it.
pub(super) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), value);
    [crc.to_le_bytes().as_slice(), value].concat()
}

/// The value that [`seal`] wrote.
pub(super) fn unseal<'a>(key: &[u8], sealed: &'a [u8], what: &str) -> Result<&'a [u8]> {
    let damaged = || {
        Error::new(LOG_DAMAGED, format!("{what} is damaged: its checksum does not match"))
            .help("restore the data directory from a backup, or delete it to begin anew")
    };
    let (crc, value) = sealed.split_first_chunk::<4>().ok_or_else(damaged)?;
    if u32::from_le_bytes(*crc) != crc32c::crc32c_append(crc32c::crc32c(key), value) {
        return Err(damaged());
    }
    Ok(value)
}
