//! Producing records, and transactions.

use std::ffi::CString;
use std::os::raw::{c_char, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use millstream_core::record::Header;
use rdkafka_sys as sys;
use rdkafka_sys::rd_kafka_vtype_t as vtype;
use rdkafka_sys::types::{RDKafkaConfRes, RDKafkaRespErr};

use super::{Client, Failure, PartitionList, c_string, milliseconds, owned};

/// A topic that is written to.
pub(in crate::kafka) struct Topic {
    topic: NonNull<sys::rd_kafka_topic_t>,
    /// Destroyed after the topic.
    client: Arc<Client>,
}

// SAFETY: topics may be used from any thread.
unsafe impl Send for Topic {}
// SAFETY: as above.
unsafe impl Sync for Topic {}

/// A record to write.
#[derive(Clone, Copy)]
pub(in crate::kafka) struct Outgoing<'a> {
    pub(in crate::kafka) partition: i32,
    pub(in crate::kafka) key: Option<&'a [u8]>,
    pub(in crate::kafka) value: Option<&'a [u8]>,
    /// 0: now.
    pub(in crate::kafka) timestamp_ms: i64,
    pub(in crate::kafka) headers: &'a [Header],
}

impl Topic {
    /// A topic with properties of its own.
    pub(in crate::kafka) fn new(client: &Arc<Client>, name: &str, properties: &[(&str, &str)]) -> Result<Self, String> {
        let mut error = [0 as c_char; 512];
        // SAFETY: the configuration is ours until the topic is made, which takes it over whether it succeeds or not: it
        // fails only for names that can't be, before that. The strings live during the calls.
        unsafe {
            let config = sys::rd_kafka_topic_conf_new();
            for (property, value) in properties {
                let (property, value) = (c_string(property), c_string(value));
                let set = sys::rd_kafka_topic_conf_set(
                    config,
                    property.as_ptr(),
                    value.as_ptr(),
                    error.as_mut_ptr(),
                    error.len(),
                );
                if set != RDKafkaConfRes::RD_KAFKA_CONF_OK {
                    sys::rd_kafka_topic_conf_destroy(config);
                    return Err(owned(error.as_ptr()));
                }
            }
            let topic = sys::rd_kafka_topic_new(client.ptr(), c_string(name).as_ptr(), config);
            match NonNull::new(topic) {
                Some(topic) => Ok(Self { topic, client: client.clone() }),
                None => Err(Failure::new(sys::rd_kafka_last_error()).text),
            }
        }
    }

    /// Begins to read a partition into a queue.
    pub(in crate::kafka) fn start(&self, partition: i32, offset: u64, queue: &super::Queue) -> Result<(), Failure> {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        // SAFETY: the queue outlives the reading: whoever calls this stops it before it drops the queue.
        let started = unsafe { sys::rd_kafka_consume_start_queue(self.topic.as_ptr(), partition, offset, queue.ptr()) };
        self.last(started)
    }

    /// Ends what [`Topic::start`] began, and waits for it.
    pub(in crate::kafka) fn stop(&self, partition: i32) -> Result<(), Failure> {
        // SAFETY: the topic is alive.
        let stopped = unsafe { sys::rd_kafka_consume_stop(self.topic.as_ptr(), partition) };
        self.last(stopped)
    }

    fn last(&self, result: i32) -> Result<(), Failure> {
        match result {
            0 => Ok(()),
            // SAFETY: reads this thread's last error.
            _ => Err(Failure::new(unsafe { sys::rd_kafka_last_error() })),
        }
    }

    /// Hands a record to the client, which copies it.
    pub(in crate::kafka) fn send(&self, record: &Outgoing<'_>) -> Result<(), Failure> {
        let headers = headers(record.headers);
        let (key, key_size) = bytes(record.key);
        let (value, value_size) = bytes(record.value);
        let mut parts = [
            unit(vtype::RD_KAFKA_VTYPE_RKT, Union { rkt: self.topic.as_ptr() }),
            unit(vtype::RD_KAFKA_VTYPE_PARTITION, Union { i32_: record.partition }),
            unit(vtype::RD_KAFKA_VTYPE_MSGFLAGS, Union { i: sys::RD_KAFKA_MSG_F_COPY }),
            unit(vtype::RD_KAFKA_VTYPE_VALUE, Union { mem: Memory { ptr: value, size: value_size } }),
            unit(vtype::RD_KAFKA_VTYPE_KEY, Union { mem: Memory { ptr: key, size: key_size } }),
            unit(vtype::RD_KAFKA_VTYPE_TIMESTAMP, Union { i64_: record.timestamp_ms }),
            unit(vtype::RD_KAFKA_VTYPE_END, Union { i: 0 }),
        ];
        let mut count = parts.len() - 1;
        if let Some(headers) = headers {
            parts[count] = unit(vtype::RD_KAFKA_VTYPE_HEADERS, Union { headers });
            count += 1;
        }
        // SAFETY: the slices live during the call, which copies them; the headers become librdkafka's if it succeeds,
        // and stay ours if not.
        unsafe {
            let sent = Failure::take(sys::rd_kafka_produceva(self.client.ptr(), parts.as_ptr(), count));
            if sent.is_err()
                && let Some(headers) = headers
            {
                sys::rd_kafka_headers_destroy(headers);
            }
            sent
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: the handle is ours; the client is alive.
        unsafe { sys::rd_kafka_topic_destroy(self.topic.as_ptr()) }
    }
}

type Union = sys::rd_kafka_vu_s__bindgen_ty_1;
type Memory = sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1;

fn unit(vtype: vtype, u: Union) -> sys::rd_kafka_vu_t {
    sys::rd_kafka_vu_t { vtype, u }
}

/// Absent is null; empty is not.
fn bytes(part: Option<&[u8]>) -> (*mut c_void, usize) {
    part.map_or((ptr::null_mut(), 0), |part| (part.as_ptr().cast_mut().cast(), part.len()))
}

fn headers(all: &[Header]) -> Option<*mut sys::rd_kafka_headers_t> {
    if all.is_empty() {
        return None;
    }
    // SAFETY: names and values are copied, with the lengths they have.
    unsafe {
        let headers = sys::rd_kafka_headers_new(all.len());
        for header in all {
            let (name, value) = (header.name.as_bytes(), &header.value);
            sys::rd_kafka_header_add(
                headers,
                name.as_ptr().cast(),
                name.len() as isize,
                value.as_ptr().cast(),
                value.len() as isize,
            );
        }
        Some(headers)
    }
}

/// A member's place in its group, as a transaction needs it.
pub(in crate::kafka) struct GroupMetadata {
    metadata: NonNull<sys::rd_kafka_consumer_group_metadata_t>,
}

// SAFETY: plain memory with one owner.
unsafe impl Send for GroupMetadata {}

impl GroupMetadata {
    /// What `member` is now. `None` while it is in no generation of its group: offsets sent without one would be taken
    /// from anybody.
    pub(in crate::kafka) fn of(member: &Client) -> Option<Self> {
        // SAFETY: the member is alive; the copy is ours.
        unsafe {
            let metadata = NonNull::new(sys::rd_kafka_consumer_group_metadata(member.ptr()))?;
            let metadata = Self { metadata };
            let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata.metadata.as_ptr());
            let id = owned(sys::rd_kafka_consumer_group_metadata_member_id(metadata.metadata.as_ptr()));
            (generation > 0 && !id.is_empty()).then_some(metadata)
        }
    }

    /// The member's id: a member that was out of the group comes back under another one (under the classic protocol).
    pub(in crate::kafka) fn id(&self) -> String {
        // SAFETY: the metadata is ours, and its string is copied.
        unsafe { owned(sys::rd_kafka_consumer_group_metadata_member_id(self.metadata.as_ptr())) }
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: the copy is ours.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.metadata.as_ptr()) }
    }
}

/// Transactions and waiting. One call at a time.
impl Client {
    /// Waits until nothing is on its way, at once when that is so. Records that failed are on their way until their event
    /// is taken from the main queue.
    pub(in crate::kafka) fn flush(&self, wait: Duration) -> bool {
        // SAFETY: the client is alive.
        let flushed = unsafe { sys::rd_kafka_flush(self.ptr(), milliseconds(wait)) };
        flushed == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    /// Throws away what waits to be sent or answered. Their events come to the main queue.
    pub(in crate::kafka) fn purge(&self) {
        let what = sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: the client is alive.
        unsafe { sys::rd_kafka_purge(self.ptr(), what) };
    }

    pub(in crate::kafka) fn init_transactions(&self, wait: Duration) -> Result<(), Failure> {
        // SAFETY: the client is alive.
        unsafe { Failure::take(sys::rd_kafka_init_transactions(self.ptr(), milliseconds(wait))) }
    }

    pub(in crate::kafka) fn begin_transaction(&self) -> Result<(), Failure> {
        // SAFETY: the client is alive.
        unsafe { Failure::take(sys::rd_kafka_begin_transaction(self.ptr())) }
    }

    pub(in crate::kafka) fn send_offsets(
        &self,
        offsets: &PartitionList,
        group: &GroupMetadata,
        wait: Duration,
    ) -> Result<(), Failure> {
        // SAFETY: both are copied.
        unsafe {
            Failure::take(sys::rd_kafka_send_offsets_to_transaction(
                self.ptr(),
                offsets.ptr(),
                group.metadata.as_ptr(),
                milliseconds(wait),
            ))
        }
    }

    pub(in crate::kafka) fn commit_transaction(&self, wait: Duration) -> Result<(), Failure> {
        // SAFETY: the client is alive.
        unsafe { Failure::take(sys::rd_kafka_commit_transaction(self.ptr(), milliseconds(wait))) }
    }

    pub(in crate::kafka) fn abort_transaction(&self, wait: Duration) -> Result<(), Failure> {
        // SAFETY: the client is alive.
        unsafe { Failure::take(sys::rd_kafka_abort_transaction(self.ptr(), milliseconds(wait))) }
    }
}

/// A name that C sees often.
pub(in crate::kafka) fn c_name(name: &str) -> CString {
    c_string(name)
}
