//! librdkafka's consumer and transactional producer, as little wrapped as their safe use allows.
//!
//! Nothing here has callbacks or Rust threads: librdkafka's own threads do the network, the caller's thread the rest.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;

use rdkafka::bindings as rk;
use rdkafka::types::{RDKafkaConfRes, RDKafkaErrorCode, RDKafkaRespErr, RDKafkaType};

use crate::Result;

/// A consumed message.
pub type Message = rk::rd_kafka_message_t;

/// How long any single request to the broker may take.
const TIMEOUT_MS: c_int = 30_000;
/// The most messages that one look into the consumer's queue takes.
pub const BATCH: usize = 4096;

fn text(value: &str) -> Result<CString> {
    CString::new(value).map_err(|_| format!("`{value}` has a zero byte"))
}

fn check(what: &str, code: RDKafkaRespErr) -> Result<()> {
    if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    Err(format!("{what}: {}", RDKafkaErrorCode::from(code)))
}

/// Takes what a transactional call returns.
fn transactional(what: &str, error: *mut rk::rd_kafka_error_t) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the call handed over an error, which is read once and destroyed once.
    let said = unsafe {
        let said = CStr::from_ptr(rk::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        rk::rd_kafka_error_destroy(error);
        said
    };
    Err(format!("{what}: {said}"))
}

fn handle(kind: RDKafkaType, properties: &[(&str, &str)]) -> Result<*mut rk::rd_kafka_t> {
    let mut said = [0 as c_char; 512];
    // SAFETY: the buffer's length is passed along; `rd_kafka_new` takes the configuration over unless it fails, and
    // then the process ends.
    unsafe {
        let conf = rk::rd_kafka_conf_new();
        for (name, value) in properties {
            let set =
                rk::rd_kafka_conf_set(conf, text(name)?.as_ptr(), text(value)?.as_ptr(), said.as_mut_ptr(), said.len());
            if set != RDKafkaConfRes::RD_KAFKA_CONF_OK {
                return Err(CStr::from_ptr(said.as_ptr()).to_string_lossy().into_owned());
            }
        }
        let client = rk::rd_kafka_new(kind, conf, said.as_mut_ptr(), said.len());
        if client.is_null() {
            return Err(CStr::from_ptr(said.as_ptr()).to_string_lossy().into_owned());
        }
        Ok(client)
    }
}

/// Partitions and offsets of one topic.
struct Partitions(*mut rk::rd_kafka_topic_partition_list_t);

impl Partitions {
    fn new(topic: &CStr, offsets: impl Iterator<Item = (i32, Option<i64>)>) -> Self {
        // SAFETY: the list is owned by the new value; the topic's name is copied.
        unsafe {
            let list = rk::rd_kafka_topic_partition_list_new(8);
            for (partition, offset) in offsets {
                let entry = rk::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition);
                if let Some(offset) = offset {
                    (*entry).offset = offset;
                }
            }
            Self(list)
        }
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        // SAFETY: owned, and dropped once.
        unsafe { rk::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

/// A consumer of one topic. It lives as long as the process.
pub struct Consumer {
    client: *mut rk::rd_kafka_t,
    queue: *mut rk::rd_kafka_queue_t,
    messages: Vec<*mut Message>,
}

impl Consumer {
    /// As a member of the group of the properties.
    pub fn subscribe(properties: &[(&str, &str)], topic: &str) -> Result<Self> {
        let this = Self::open(properties)?;
        let topics = Partitions::new(&text(topic)?, std::iter::once((-1, None)));
        // SAFETY: both pointers are alive.
        check("subscribe", unsafe { rk::rd_kafka_subscribe(this.client, topics.0) })?;
        Ok(this)
    }

    /// All of the partitions, from `offsets` on (one for each).
    pub fn assign(properties: &[(&str, &str)], topic: &str, offsets: &[i64]) -> Result<Self> {
        let this = Self::open(properties)?;
        let each = offsets.iter().enumerate().map(|(partition, offset)| (partition as i32, Some(*offset)));
        let list = Partitions::new(&text(topic)?, each);
        // SAFETY: both pointers are alive.
        check("assign", unsafe { rk::rd_kafka_assign(this.client, list.0) })?;
        Ok(this)
    }

    fn open(properties: &[(&str, &str)]) -> Result<Self> {
        let client = handle(RDKafkaType::RD_KAFKA_CONSUMER, properties)?;
        // SAFETY: the client is alive, and stays so.
        let queue = unsafe {
            rk::rd_kafka_poll_set_consumer(client);
            rk::rd_kafka_queue_get_consumer(client)
        };
        Ok(Self { client, queue, messages: vec![ptr::null_mut(); BATCH] })
    }

    /// Calls `each` with every message that is there, and returns how many that were. Waits for the first one only.
    pub fn poll(&mut self, wait_ms: c_int, mut each: impl FnMut(&Message) -> Result<()>) -> Result<usize> {
        self.poll_batch(wait_ms, |messages| messages.iter().try_for_each(|message| each(message)))
    }

    /// The same with all of them at once; there is at least one.
    pub fn poll_batch(&mut self, wait_ms: c_int, each: impl FnOnce(&[&Message]) -> Result<()>) -> Result<usize> {
        let mut count = self.batch()?;
        if count == 0 && wait_ms > 0 {
            // The batch call would wait for a full batch; this one returns with the first message.
            // SAFETY: the client is alive; what comes is null or a message, which is now ours.
            let first = unsafe { rk::rd_kafka_consumer_poll(self.client, wait_ms) };
            if !first.is_null() {
                self.messages[0] = first;
                count = 1;
            }
        }
        if count == 0 {
            return Ok(0);
        }
        // SAFETY: that many messages of ours, none null, alive until they are destroyed below.
        let messages = unsafe { std::slice::from_raw_parts(self.messages.as_ptr().cast::<&Message>(), count) };
        let good = messages.iter().try_for_each(|message| check("consume", message.err));
        let outcome = good.and_then(|()| each(messages));
        for message in &self.messages[..count] {
            // SAFETY: destroyed once; the references above are gone.
            unsafe { rk::rd_kafka_message_destroy(*message) };
        }
        outcome.map(|()| count)
    }

    fn batch(&mut self) -> Result<usize> {
        // SAFETY: the array is as long as said.
        let count =
            unsafe { rk::rd_kafka_consume_batch_queue(self.queue, 0, self.messages.as_mut_ptr(), self.messages.len()) };
        usize::try_from(count).map_err(|_| "consume failed".to_owned())
    }
}

/// A message's value. Empty for a tombstone.
pub fn value(message: &Message) -> &[u8] {
    if message.payload.is_null() {
        return &[];
    }
    // SAFETY: librdkafka says how long the value is, and it lives as long as the message.
    unsafe { std::slice::from_raw_parts(message.payload.cast(), message.len) }
}

/// A producer to one topic. It lives as long as the process.
pub struct Producer {
    client: *mut rk::rd_kafka_t,
    topic: *mut rk::rd_kafka_topic_t,
    run: Vec<Message>,
}

// SAFETY: handles of librdkafka may be used from any threads at the same time.
unsafe impl Sync for Producer {}

/// To leave the choice to the partitioner.
pub const ANY_PARTITION: i32 = -1;

impl Producer {
    /// Opens it.
    pub fn new(properties: &[(&str, &str)], topic: &str) -> Result<Self> {
        let client = handle(RDKafkaType::RD_KAFKA_PRODUCER, properties)?;
        // SAFETY: the client is alive; the topic takes the client's configuration.
        let topic = unsafe { rk::rd_kafka_topic_new(client, text(topic)?.as_ptr(), ptr::null_mut()) };
        if topic.is_null() {
            return Err("the topic can't be opened".to_owned());
        }
        Ok(Self { client, topic, run: Vec::with_capacity(BATCH) })
    }

    /// Hands a record over; key and value are copied. Waits while librdkafka's queue is full.
    pub fn send(&self, partition: i32, key: &[u8], value: &[u8]) -> Result<()> {
        let flags = rk::RD_KAFKA_MSG_F_COPY | rk::RD_KAFKA_MSG_F_BLOCK;
        // SAFETY: librdkafka reads the slices and, with F_COPY, keeps nothing of them.
        let refused = unsafe {
            rk::rd_kafka_produce(
                self.topic,
                partition,
                flags,
                value.as_ptr().cast_mut().cast::<c_void>(),
                value.len(),
                key.as_ptr().cast(),
                key.len(),
                ptr::null_mut(),
            )
        };
        if refused == 0 {
            return Ok(());
        }
        // SAFETY: reads the error of this thread's last call.
        check("produce", unsafe { rk::rd_kafka_last_error() })
    }

    /// Hands over messages that were consumed, to the partition they came from, which is the same for all. They are
    /// copied, but not looked at; with one call for all, the clock is read and the queue locked once.
    pub fn forward(&mut self, run: &[&Message]) -> Result<()> {
        let Some(partition) = run.first().map(|message| message.partition) else { return Ok(()) };
        self.run.clear();
        self.run.extend(run.iter().map(|message| Message { _private: ptr::null_mut(), ..**message }));
        // SAFETY: the array is as long as said and librdkafka writes only errors to it; with F_COPY it keeps no pointer.
        let taken = unsafe {
            rk::rd_kafka_produce_batch(
                self.topic,
                partition,
                rk::RD_KAFKA_MSG_F_COPY,
                self.run.as_mut_ptr(),
                self.run.len() as c_int,
            )
        };
        if taken as usize == run.len() {
            return Ok(());
        }
        self.run.iter().try_for_each(|message| check("produce", message.err))
    }

    /// Waits until all is acknowledged.
    pub fn flush(&self) -> Result<()> {
        // SAFETY: the client is alive.
        check("flush", unsafe { rk::rd_kafka_flush(self.client, TIMEOUT_MS) })
    }

    /// Once, before the first transaction: ends what a predecessor left open.
    pub fn init_transactions(&self) -> Result<()> {
        // SAFETY: the client is alive.
        transactional("init", unsafe { rk::rd_kafka_init_transactions(self.client, TIMEOUT_MS) })
    }

    /// Local; no request is made.
    pub fn begin(&self) -> Result<()> {
        // SAFETY: the client is alive.
        transactional("begin", unsafe { rk::rd_kafka_begin_transaction(self.client) })
    }

    /// Adds the consumer's positions and commits. Waits for the records that are on their way.
    pub fn commit(&self, consumer: &Consumer, topic: &CStr, next: &[Option<i64>]) -> Result<()> {
        let moved = next.iter().enumerate().filter(|(_, offset)| offset.is_some());
        let list = Partitions::new(topic, moved.map(|(partition, offset)| (partition as i32, *offset)));
        // SAFETY: all pointers are alive during the calls; the metadata is destroyed once.
        unsafe {
            let group = rk::rd_kafka_consumer_group_metadata(consumer.client);
            let sent = rk::rd_kafka_send_offsets_to_transaction(self.client, list.0, group, TIMEOUT_MS);
            rk::rd_kafka_consumer_group_metadata_destroy(group);
            transactional("send offsets", sent)?;
            transactional("commit", rk::rd_kafka_commit_transaction(self.client, TIMEOUT_MS))
        }
    }
}
