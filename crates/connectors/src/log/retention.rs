//! Removing what need not be kept.

use std::sync::PoisonError;

use millstream_core::Result;

use super::store::{LogStore, now_ms, read_failed};
use super::topic::{PartitionInfo, Topic, encode_bounds};
use super::{blob, keys};

/// Blobs removed in one batch.
const BATCH: usize = 1000;

impl LogStore {
    /// Removes the records that no topic's retention keeps any longer, and what is left of deleted topics. Meant
    /// to be called every now and then from a thread that may wait. Gives how many records went.
    ///
    /// Only whole blobs go, so up to some thousand records more than asked for are kept.
    ///
    /// # Errors
    /// The log can't be read or written.
    pub fn maintain(&self) -> Result<u64> {
        self.trim(now_ms())
    }

    /// [`LogStore::maintain`], as if it were `now_ms` (milliseconds since the epoch).
    ///
    /// # Errors
    /// The log can't be read or written.
    pub fn trim(&self, now_ms: i64) -> Result<u64> {
        let mut removed = 0;
        for info in self.topics() {
            if info.retention.age_ms.is_none() && info.retention.bytes.is_none() {
                continue;
            }
            // The topic may have been deleted meanwhile.
            let Ok(topic) = self.topic(&info.name) else { continue };
            for partition in 0..topic.partitions.len() as u32 {
                removed += self.trim_partition(&topic, partition, now_ms)?;
            }
        }
        self.sweep_deleted()?;
        Ok(removed)
    }

    fn trim_partition(&self, topic: &Topic, partition: u32, now_ms: i64) -> Result<u64> {
        let _only_one = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = 0;
        loop {
            let Ok(bounds) = topic.bounds(partition) else { return Ok(removed) };
            let retention = topic.retention();
            let info = bounds.info();
            let oldest = retention.age_ms.map(|age| now_ms.saturating_sub_unsigned(age));
            let (mut start, mut freed, mut keys) = (info.start, 0u64, Vec::new());
            for entry in self.rows().prefix(keys::records(topic.id, Some(partition))) {
                let (key, value) = entry.into_inner().map_err(read_failed)?;
                let Some(head) = blob::head(&value) else { break };
                let base = keys::tail_u64(&key).unwrap_or_default();
                let too_old = oldest.is_some_and(|oldest| head.appended_ms < oldest);
                let too_many = retention.bytes.is_some_and(|max| info.bytes.saturating_sub(freed) > max);
                if !(too_old || too_many) || base >= info.end || keys.len() == BATCH {
                    break;
                }
                start = base + u64::from(head.count);
                freed += value.len() as u64;
                keys.push(key);
            }
            if keys.is_empty() {
                return Ok(removed);
            }
            let mut writer = self.writer()?;
            let mut batch = self.batch();
            for key in keys {
                batch.remove(self.rows(), key);
            }
            // Others may have appended since: the end is read again under the lock.
            let now = bounds.info();
            let after = PartitionInfo { start, end: now.end, bytes: now.bytes.saturating_sub(freed) };
            let key = keys::partition(topic.id, partition);
            let value = encode_bounds(&key, after);
            batch.insert(self.rows(), key, value);
            self.apply(&mut writer, batch, false)?;
            bounds.set(after);
            removed += start - info.start;
        }
    }

    /// Removes the records of deleted topics.
    pub(super) fn sweep_deleted(&self) -> Result<()> {
        let _only_one = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in self.rows().prefix(keys::DELETED) {
            let note = entry.key().map_err(read_failed)?;
            let id = keys::tail_u32(&note).unwrap_or_default();
            loop {
                let mut batch = self.batch();
                for entry in self.rows().prefix(keys::records(id, None)).take(BATCH) {
                    batch.remove(self.rows(), entry.key().map_err(read_failed)?);
                }
                let done = batch.len() < BATCH;
                if done {
                    batch.remove(self.rows(), note.clone());
                }
                let mut writer = self.writer()?;
                self.apply(&mut writer, batch, false)?;
                if done {
                    break;
                }
            }
        }
        Ok(())
    }
}
