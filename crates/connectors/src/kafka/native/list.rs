//! Lists of partitions with offsets.

use std::ptr::NonNull;
use std::slice;

use rdkafka_sys as sys;

use super::{Client, Failure, c_string, owned};

/// A list of partitions, each with an offset and perhaps metadata.
pub(in crate::kafka) struct PartitionList {
    list: NonNull<sys::rd_kafka_topic_partition_list_t>,
}

// SAFETY: a list is plain memory with one owner.
unsafe impl Send for PartitionList {}

/// An entry, copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Entry {
    pub(in crate::kafka) topic: String,
    pub(in crate::kafka) partition: u32,
    /// Below 0: none.
    pub(in crate::kafka) offset: i64,
    pub(in crate::kafka) metadata: String,
    pub(in crate::kafka) error: Option<Failure>,
}

impl PartitionList {
    pub(in crate::kafka) fn new() -> Self {
        // SAFETY: the list is given to its only owner. librdkafka ends the process when memory does.
        let list = unsafe { NonNull::new(sys::rd_kafka_topic_partition_list_new(8)) };
        let Some(list) = list else { std::process::abort() };
        Self { list }
    }

    /// Takes over a list.
    ///
    /// # Safety
    /// `list` is a list that nobody else owns.
    pub(super) unsafe fn copy_of(list: *const sys::rd_kafka_topic_partition_list_t) -> Self {
        // SAFETY: the caller's list is read only, and the copy is ours.
        let copy = unsafe { NonNull::new(sys::rd_kafka_topic_partition_list_copy(list)) };
        copy.map_or_else(Self::new, |list| Self { list })
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.list.as_ptr()
    }

    /// Adds a partition.
    pub(in crate::kafka) fn add(&mut self, topic: &str, partition: i32, offset: i64) {
        let name = c_string(topic);
        // SAFETY: the name is copied; the entry is valid until the next change of the list.
        unsafe {
            let entry = sys::rd_kafka_topic_partition_list_add(self.ptr(), name.as_ptr(), partition);
            if let Some(entry) = entry.as_mut() {
                entry.offset = offset;
            }
        }
    }

    /// Adds a partition with metadata, whose memory is librdkafka's from then on.
    pub(in crate::kafka) fn add_with(
        &mut self,
        client: &Client,
        topic: &str,
        partition: i32,
        offset: i64,
        metadata: &str,
    ) {
        let name = c_string(topic);
        // SAFETY: as for `add`; the bytes come from the allocator that librdkafka frees them with.
        unsafe {
            let entry = sys::rd_kafka_topic_partition_list_add(self.ptr(), name.as_ptr(), partition);
            let Some(entry) = entry.as_mut() else { return };
            entry.offset = offset;
            if !metadata.is_empty() {
                let bytes = sys::rd_kafka_mem_malloc(client.ptr(), metadata.len());
                if !bytes.is_null() {
                    std::ptr::copy_nonoverlapping(metadata.as_ptr(), bytes.cast(), metadata.len());
                    entry.metadata = bytes;
                    entry.metadata_size = metadata.len();
                }
            }
        }
    }

    /// Sets all offsets.
    pub(in crate::kafka) fn set_offsets(&mut self, offset: i64) {
        for entry in self.raw_mut() {
            entry.offset = offset;
        }
    }

    pub(in crate::kafka) fn entries(&self) -> Vec<Entry> {
        let entry = |raw: &sys::rd_kafka_topic_partition_t| {
            // SAFETY: topic is a C string, metadata the bytes it says; both are copied.
            unsafe {
                let metadata = match raw.metadata.is_null() {
                    true => &[][..],
                    false => slice::from_raw_parts(raw.metadata.cast::<u8>(), raw.metadata_size),
                };
                Entry {
                    topic: owned(raw.topic),
                    partition: u32::try_from(raw.partition).unwrap_or_default(),
                    offset: raw.offset,
                    metadata: String::from_utf8_lossy(metadata).into_owned(),
                    error: Failure::check(raw.err).err(),
                }
            }
        };
        self.raw().iter().map(entry).collect()
    }

    pub(in crate::kafka) fn is_empty(&self) -> bool {
        self.raw().is_empty()
    }

    fn raw(&self) -> &[sys::rd_kafka_topic_partition_t] {
        // SAFETY: the list is alive and nobody else's; it has `cnt` entries, and `elems` is null only if it has none.
        unsafe {
            let list = self.list.as_ref();
            match list.cnt > 0 && !list.elems.is_null() {
                true => slice::from_raw_parts(list.elems, list.cnt as usize),
                false => &[],
            }
        }
    }

    fn raw_mut(&mut self) -> &mut [sys::rd_kafka_topic_partition_t] {
        // SAFETY: as for `raw`.
        unsafe {
            let list = self.list.as_ref();
            match list.cnt > 0 && !list.elems.is_null() {
                true => slice::from_raw_parts_mut(list.elems, list.cnt as usize),
                false => &mut [],
            }
        }
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: the list is ours.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_what_they_are_given() {
        let mut list = PartitionList::new();
        assert!(list.is_empty());
        list.add("a", 3, 7);
        list.add("b", 0, -1001);
        let copy = unsafe { PartitionList::copy_of(list.ptr()) };
        drop(list);
        let entries = copy.entries();
        assert_eq!((entries[0].topic.as_str(), entries[0].partition, entries[0].offset), ("a", 3, 7));
        assert_eq!((entries[1].topic.as_str(), entries[1].partition, entries[1].offset), ("b", 0, -1001));
    }
}
