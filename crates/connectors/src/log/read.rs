//! Reading a partition in order.

use std::sync::Arc;

use millstream_core::source::PollLimit;
use millstream_core::{Error, RawBatch, Result, TaskId};

use super::blob::{BlobReader, RECORDS_MAX};
use super::store::{LogStore, read_failed};
use super::topic::Topic;
use super::{blob, keys};
use crate::codes::{LOG_DAMAGED, OFFSET_GONE};

/// Reads one partition of a topic from an offset on. Holds the blob it is in, so that the next read goes on
/// without looking anything up.
pub struct PartitionReader {
    store: Arc<LogStore>,
    cursor: Cursor,
}

/// The reader's place, without its hold on the store.
struct Cursor {
    topic: Arc<Topic>,
    partition: u32,
    next: u64,
    blob: BlobReader,
}

impl PartitionReader {
    /// A reader whose next record is the one at `offset`.
    ///
    /// # Errors
    /// The topic or partition does not exist, or it does not reach back (or forward) to `offset`.
    pub fn open(store: Arc<LogStore>, topic: &str, partition: u32, offset: u64) -> Result<Self> {
        let mut cursor = Cursor::new(&store, topic, partition)?;
        cursor.seek(offset)?;
        Ok(Self { store, cursor })
    }

    /// The offset of the next record.
    pub fn next_offset(&self) -> u64 {
        self.cursor.next
    }

    /// The oldest offset that is kept and the one that the next record gets.
    ///
    /// # Errors
    /// The topic was deleted.
    pub fn offsets(&self) -> Result<std::ops::Range<u64>> {
        let info = self.cursor.topic.bounds(self.cursor.partition)?.info();
        Ok(info.start..info.end)
    }

    /// Goes to an offset.
    ///
    /// # Errors
    /// The partition does not reach back (or forward) to it.
    pub fn seek(&mut self, offset: u64) -> Result<()> {
        self.cursor.seek(offset)
    }

    /// Appends the records before `end` that are there to `out`, up to `limit`. Gives how many.
    ///
    /// # Errors
    /// Retention has overtaken the reader, the topic was deleted, or the log is damaged or can't be read.
    pub fn read(&mut self, end: u64, limit: PollLimit, out: &mut RawBatch) -> Result<usize> {
        self.cursor.read(&self.store, end, limit, out)
    }
}

impl LogStore {
    /// Reads records from `offset` on, up to `limit`; empty at the partition's end.
    ///
    /// # Errors
    /// The topic or partition does not exist, or it does not reach back (or forward) to `offset`.
    pub fn read(&self, topic: &str, partition: u32, offset: u64, limit: PollLimit) -> Result<RawBatch> {
        let mut cursor = Cursor::new(self, topic, partition)?;
        cursor.seek(offset)?;
        let mut out = RawBatch::new(TaskId::new(partition));
        cursor.read(self, u64::MAX, limit, &mut out)?;
        Ok(out)
    }

    /// Compares the last blob of every partition with its end.
    pub(super) fn check_ends(&self) -> Result<()> {
        for info in self.topics() {
            let topic = self.topic(&info.name)?;
            for (number, bounds) in (0u32..).zip(&info.partitions) {
                if bounds.start == bounds.end {
                    continue;
                }
                let last = self.rows().prefix(keys::records(topic.id, Some(number))).next_back();
                let end = match last {
                    None => None,
                    Some(entry) => {
                        let (key, value) = entry.into_inner().map_err(read_failed)?;
                        let count = blob::head(&value).map(|h| u64::from(h.count));
                        keys::tail_u64(&key).zip(count).map(|(base, count)| base + count)
                    }
                };
                if end != Some(bounds.end) {
                    let seen = end.map_or("no records".to_owned(), |e| format!("records up to offset {e}"));
                    return Err(damaged(&topic, number, &format!("it has {seen} instead of {}", bounds.end)));
                }
            }
        }
        Ok(())
    }
}

fn damaged(topic: &Topic, partition: u32, what: &str) -> Error {
    Error::new(LOG_DAMAGED, format!("partition {partition} of topic `{}` is damaged: {what}", topic.name))
        .help("restore the data directory from a backup, or delete the topic and write it again")
}

impl Cursor {
    fn new(store: &LogStore, topic: &str, partition: u32) -> Result<Self> {
        let topic = store.topic(topic)?;
        topic.bounds(partition)?;
        Ok(Self { topic, partition, next: 0, blob: BlobReader::default() })
    }

    fn seek(&mut self, offset: u64) -> Result<()> {
        let info = self.topic.bounds(self.partition)?.info();
        if offset < info.start || offset > info.end {
            return Err(self.gone(offset));
        }
        self.next = offset;
        self.blob.reset();
        Ok(())
    }

    fn gone(&self, offset: u64) -> Error {
        let info = self.topic.bounds(self.partition).map(super::topic::Bounds::info);
        let (start, end) = info.map_or((0, 0), |i| (i.start, i.end));
        let (name, partition) = (&self.topic.name, self.partition);
        let message = format!("offset {offset} of topic `{name}`, partition {partition}, ");
        if offset < start {
            Error::new(OFFSET_GONE, format!("{message}is gone: retention kept {start} to {end}")).help(
                "the events in between are lost to this pipeline; keep records longer (`millstream topic alter`) than it \
                 may stand still, and begin anew with `--fresh` (its state and outputs then start at the oldest record)",
            )
        } else {
            Error::new(OFFSET_GONE, format!("{message}was never written: the partition ends at {end}")).help(
                "the topic was deleted and created again, or the log is not the one the pipeline read before; begin \
                 anew with `--fresh`",
            )
        }
    }

    fn read(&mut self, store: &LogStore, end: u64, limit: PollLimit, out: &mut RawBatch) -> Result<usize> {
        let end = end.min(self.topic.bounds(self.partition)?.info().end);
        let bytes_before = out.bytes_len();
        let mut count = 0;
        while self.next < end && count < limit.records && (count == 0 || out.bytes_len() - bytes_before < limit.bytes) {
            if self.blob.next_offset() != Some(self.next) {
                self.load(store)?;
            }
            self.blob.take(out)?;
            self.next += 1;
            count += 1;
        }
        Ok(count)
    }

    /// Fetches the blob that holds the next offset.
    fn load(&mut self, store: &LogStore) -> Result<()> {
        let (topic, partition, next) = (self.topic.id, self.partition, self.next);
        // Readers that go on stand at the start of a blob nearly always.
        let exact = store.rows().get(keys::blob(topic, partition, next)).map_err(read_failed)?;
        if let Some(bytes) = exact {
            return self.blob.load(next, &bytes);
        }
        let first = keys::blob(topic, partition, next.saturating_sub(RECORDS_MAX as u64));
        let last = keys::blob(topic, partition, next);
        if let Some(entry) = store.rows().range(first..last).next_back() {
            let (key, bytes) = entry.into_inner().map_err(read_failed)?;
            self.blob.load(keys::tail_u64(&key).unwrap_or_default(), &bytes)?;
            self.blob.skip_to(next)?;
        }
        if self.blob.next_offset() == Some(next) {
            return Ok(());
        }
        let start = self.topic.bounds(partition)?.info().start;
        if next < start {
            Err(self.gone(next))
        } else {
            Err(damaged(&self.topic, partition, &format!("offset {next} is missing")))
        }
    }
}
