//! Records as a source delivers them: bytes with a position.

use std::sync::Arc;

use crate::position::TaskId;

/// The timestamp of a record whose source has none.
pub const NO_TIMESTAMP: i64 = i64::MIN;
const ABSENT: u32 = u32::MAX;
/// The most room for payloads that a batch keeps when it is emptied.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// A header: a name and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The header's name.
    pub name: String,
    /// Its value, as it came.
    pub value: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    offset: u64,
    timestamp_ms: i64,
    key: (u32, u32),
    value: (u32, u32),
    headers: (u32, u32),
}

/// A batch of records of one partition, in order of offset, in one allocation.
///
/// Bounded by the reader's [`PollLimit`](crate::source::PollLimit); at most 4 GiB of bytes.
#[derive(Debug, Default)]
pub struct RawBatch {
    /// The task these records belong to.
    pub task: TaskId,
    /// The name of the topic they come from; `None` for a source without topics.
    pub topic: Option<Arc<str>>,
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    headers: Vec<Header>,
}

impl RawBatch {
    /// An empty batch of a task.
    pub fn new(task: TaskId) -> Self {
        Self { task, ..Self::default() }
    }

    /// The same batch without records, for another task perhaps: its room is kept, up to a bound.
    #[must_use]
    pub fn emptied(mut self, task: TaskId) -> Self {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.slots.clear();
        self.slots.shrink_to(KEPT_BYTES_MAX / size_of::<Slot>());
        self.headers.clear();
        Self { task, topic: None, ..self }
    }

    /// The partition these records come from.
    pub fn partition(&self) -> u32 {
        self.task.partition
    }

    /// An empty batch with room for that many records and bytes.
    pub fn with_capacity(task: TaskId, records: usize, bytes: usize) -> Self {
        Self { task, bytes: Vec::with_capacity(bytes), slots: Vec::with_capacity(records), ..Self::default() }
    }

    /// Appends a record. `timestamp_ms` may be [`NO_TIMESTAMP`]; a `None` value is a tombstone.
    pub fn push(
        &mut self,
        offset: u64,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) {
        let key = self.put(key);
        let value = self.put(value);
        let first = self.headers.len() as u32;
        self.headers.extend_from_slice(headers);
        self.slots.push(Slot { offset, timestamp_ms, key, value, headers: (first, headers.len() as u32) });
    }

    fn put(&mut self, part: Option<&[u8]>) -> (u32, u32) {
        let Some(part) = part else { return (0, ABSENT) };
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(part);
        (start, part.len() as u32)
    }

    fn get(&self, (start, length): (u32, u32)) -> Option<&[u8]> {
        if length == ABSENT {
            return None;
        }
        self.bytes.get(start as usize..start as usize + length as usize)
    }

    /// A copy of the records in `range`; out-of-range ends are clamped.
    #[must_use]
    pub fn part(&self, range: std::ops::Range<usize>) -> Self {
        let mut part = Self { topic: self.topic.clone(), ..Self::new(self.task) };
        for i in range.start..range.end.min(self.len()) {
            part.push(self.offset(i), self.timestamp_ms(i), self.key(i), self.value(i), self.headers(i));
        }
        part
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of keys and values held.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The offset of record `i`. Panics if `i` is out of range, as slices do.
    #[inline]
    pub fn offset(&self, i: usize) -> u64 {
        self.slots[i].offset
    }

    /// The record's own timestamp (milliseconds), or [`NO_TIMESTAMP`].
    #[inline]
    pub fn timestamp_ms(&self, i: usize) -> i64 {
        self.slots[i].timestamp_ms
    }

    /// The key of record `i`.
    #[inline]
    pub fn key(&self, i: usize) -> Option<&[u8]> {
        self.get(self.slots[i].key)
    }

    /// The value of record `i`; `None` is a tombstone.
    #[inline]
    pub fn value(&self, i: usize) -> Option<&[u8]> {
        self.get(self.slots[i].value)
    }

    /// The headers of record `i`.
    pub fn headers(&self, i: usize) -> &[Header] {
        let (first, count) = self.slots[i].headers;
        self.headers.get(first as usize..(first + count) as usize).unwrap_or_default()
    }
}

/// One record inside a shared batch.
#[derive(Clone, Debug)]
pub struct RecordRef {
    /// The batch that holds the bytes.
    pub batch: Arc<RawBatch>,
    /// The record's place in it.
    pub index: u32,
}

impl RecordRef {
    /// The record's offset.
    pub fn offset(&self) -> u64 {
        self.batch.offset(self.index as usize)
    }
    /// The record's key.
    pub fn key(&self) -> Option<&[u8]> {
        self.batch.key(self.index as usize)
    }
    /// The record's value.
    pub fn value(&self) -> Option<&[u8]> {
        self.batch.value(self.index as usize)
    }
    /// The record's headers.
    pub fn headers(&self) -> &[Header] {
        self.batch.headers(self.index as usize)
    }
    /// The record's own timestamp, or [`NO_TIMESTAMP`].
    pub fn timestamp_ms(&self) -> i64 {
        self.batch.timestamp_ms(self.index as usize)
    }
}
