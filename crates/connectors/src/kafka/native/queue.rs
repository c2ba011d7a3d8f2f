//! Queues: of events, and of the records of one partition.

use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use millstream_core::record::{Header, NO_TIMESTAMP};
use rdkafka_sys as sys;
use rdkafka_sys::types::RDKafkaRespErr;

use super::event::{self, Event};
use super::{Client, Failure, milliseconds};

/// Messages asked for at once: the queue's lock is taken once for each anyway, so more brings nothing.
const BATCH: usize = 512;

/// A queue of a client.
pub(in crate::kafka) struct Queue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Destroyed after the queue.
    _client: Arc<Client>,
}

// SAFETY: queues may be used from any thread.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// A queue of its own.
    pub(in crate::kafka) fn new(client: &Arc<Client>) -> Option<Self> {
        // SAFETY: the client is alive, and the queue keeps it so.
        let queue = unsafe { NonNull::new(sys::rd_kafka_queue_new(client.ptr()))? };
        Some(Self { queue, _client: client.clone() })
    }

    /// The queue of a consumer's membership.
    pub(in crate::kafka) fn of_consumer(client: &Arc<Client>) -> Option<Self> {
        // SAFETY: as for `new`.
        let queue = unsafe { NonNull::new(sys::rd_kafka_queue_get_consumer(client.ptr()))? };
        Some(Self { queue, _client: client.clone() })
    }

    /// The queue of a client's own events.
    pub(in crate::kafka) fn main(client: &Arc<Client>) -> Option<Self> {
        // SAFETY: as for `new`.
        let queue = unsafe { NonNull::new(sys::rd_kafka_queue_get_main(client.ptr()))? };
        Some(Self { queue, _client: client.clone() })
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    /// The next event, waited for.
    pub(in crate::kafka) fn event(&self, wait: Duration) -> Option<Event> {
        // SAFETY: the queue is alive; the event is handed to its only reader.
        unsafe {
            let event = NonNull::new(sys::rd_kafka_queue_poll(self.ptr(), milliseconds(wait)))?;
            Some(event::take(event))
        }
    }

    /// Takes up to `max` messages that are there, and waits for the first one if asked to.
    pub(in crate::kafka) fn take(&self, max: usize, wait: Duration, into: &mut Incoming) {
        into.clear();
        let max = max.clamp(1, BATCH);
        // SAFETY: the buffer has room for `max` pointers; as many as the call returns are set, and ours to destroy.
        unsafe {
            let taken =
                sys::rd_kafka_consume_batch_queue(self.ptr(), milliseconds(wait), into.messages.as_mut_ptr(), max);
            into.messages.set_len(usize::try_from(taken).unwrap_or_default().min(max));
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the handle is ours; the client is alive.
        unsafe { sys::rd_kafka_queue_destroy(self.ptr()) }
    }
}

/// Messages that were taken from a queue and not read yet. Empty it before the topic's reading is stopped.
pub(in crate::kafka) struct Incoming {
    messages: Vec<*mut sys::rd_kafka_message_t>,
    next: usize,
}

// SAFETY: messages belong to whoever took them, on whatever thread.
unsafe impl Send for Incoming {}

impl Incoming {
    pub(in crate::kafka) fn new() -> Self {
        Self { messages: Vec::with_capacity(BATCH), next: 0 }
    }

    /// Whether all of it was read.
    pub(in crate::kafka) fn is_empty(&self) -> bool {
        self.next >= self.messages.len()
    }

    /// Destroys what was not read.
    pub(in crate::kafka) fn clear(&mut self) {
        while self.next().is_some() {}
        self.messages.clear();
        self.next = 0;
    }

    /// The next message.
    pub(in crate::kafka) fn next(&mut self) -> Option<Message> {
        let message = NonNull::new(*self.messages.get(self.next)?);
        self.next += 1;
        message.map(|message| Message { message })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.clear();
    }
}

/// One message, destroyed when dropped.
pub(in crate::kafka) struct Message {
    message: NonNull<sys::rd_kafka_message_t>,
}

impl Message {
    fn raw(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: the message is ours until it is dropped.
        unsafe { self.message.as_ref() }
    }

    /// The error it stands for, if it is no record.
    pub(in crate::kafka) fn error(&self) -> Option<Failure> {
        let raw = self.raw();
        if raw.err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let mut failure = Failure::new(raw.err);
        // An error's text is its payload.
        if let Some(text) = self.value().filter(|text| !text.is_empty()) {
            failure.text = String::from_utf8_lossy(text).into_owned();
        }
        Some(failure)
    }

    /// Whether it says that the partition was read to its end, at [`Message::offset`].
    pub(in crate::kafka) fn is_end(&self) -> bool {
        self.raw().err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF
    }

    /// Whether it is a record.
    #[inline]
    pub(in crate::kafka) fn is_record(&self) -> bool {
        self.raw().err == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
    }

    #[inline]
    pub(in crate::kafka) fn offset(&self) -> u64 {
        u64::try_from(self.raw().offset).unwrap_or_default()
    }

    #[inline]
    pub(in crate::kafka) fn key(&self) -> Option<&[u8]> {
        let raw = self.raw();
        // SAFETY: the bytes live as long as the message.
        (!raw.key.is_null()).then(|| unsafe { slice::from_raw_parts(raw.key.cast(), raw.key_len) })
    }

    #[inline]
    pub(in crate::kafka) fn value(&self) -> Option<&[u8]> {
        let raw = self.raw();
        // SAFETY: the bytes live as long as the message.
        (!raw.payload.is_null()).then(|| unsafe { slice::from_raw_parts(raw.payload.cast(), raw.len) })
    }

    /// Milliseconds since the epoch, or [`NO_TIMESTAMP`].
    #[inline]
    pub(in crate::kafka) fn timestamp_ms(&self) -> i64 {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive.
        let time = unsafe { sys::rd_kafka_message_timestamp(self.message.as_ptr(), &mut kind) };
        match kind {
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => NO_TIMESTAMP,
            _ if time < 0 => NO_TIMESTAMP,
            _ => time,
        }
    }

    /// Appends the headers, in order.
    #[inline]
    pub(in crate::kafka) fn headers(&self, out: &mut Vec<Header>) {
        let mut headers = std::ptr::null_mut();
        // SAFETY: the message is alive; the headers belong to it, and what is read of them is copied.
        unsafe {
            if sys::rd_kafka_message_headers(self.message.as_ptr(), &mut headers)
                != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                return;
            }
            for index in 0.. {
                let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
                let got = sys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size);
                if got != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                    return;
                }
                let bytes = match value.is_null() {
                    true => Vec::new(),
                    false => slice::from_raw_parts(value.cast::<u8>(), size).to_vec(),
                };
                out.push(Header { name: super::owned(name), value: bytes });
            }
        }
    }
}

impl Drop for Message {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the message is ours.
        unsafe { sys::rd_kafka_message_destroy(self.message.as_ptr()) }
    }
}
