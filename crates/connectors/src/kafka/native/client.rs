//! A client: a consumer or a producer, its callbacks, and its questions to the cluster.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::mem::ManuallyDrop;
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka_sys as sys;
use rdkafka_sys::types::{RDKafkaRespErr, RDKafkaType};

use super::{Failure, PartitionList, c_string, milliseconds, owned};

const ERROR_TEXT: usize = 512;

/// What a client's callbacks do. Called by librdkafka's own threads.
pub(in crate::kafka) trait Context: Send + Sync {
    /// A line of the client's log; `level` is syslog's.
    fn log(&self, level: i32, facility: &str, line: &str);

    /// A new token for SASL OAUTHBEARER: token, principal, and when it ends (milliseconds since the epoch).
    fn token(&self) -> Result<(String, String, i64), String>;
}

/// What a client is for, and which events it wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Kind {
    /// A member of a group: hears of its assignment.
    Member,
    /// Reads partitions it is told to; its errors come with what it reads.
    Reader,
    /// Writes; hears of records that were not written.
    Producer,
}

/// A client. See the module for what may be done with it.
pub(in crate::kafka) struct Client {
    client: NonNull<sys::rd_kafka_t>,
    /// What librdkafka's opaque pointer points to: freed when the client's threads have ended.
    _context: Box<Arc<dyn Context>>,
}

// SAFETY: librdkafka's clients may be used from any thread.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

/// What the cluster says of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum TopicState {
    /// It has this many partitions.
    Partitions(u32),
    /// It does not exist.
    Missing,
    /// It can't be looked at.
    Failed(Failure),
}

impl Client {
    /// Makes a client. Reaches no network yet.
    pub(in crate::kafka) fn new(
        kind: Kind,
        config: &ClientConfig,
        context: Arc<dyn Context>,
    ) -> Result<Arc<Self>, String> {
        let native = config.create_native_config().map_err(|e| e.to_string())?;
        let context = Box::new(context);
        let (role, events) = match kind {
            Kind::Member => (
                RDKafkaType::RD_KAFKA_CONSUMER,
                sys::RD_KAFKA_EVENT_REBALANCE | sys::RD_KAFKA_EVENT_ERROR | sys::RD_KAFKA_EVENT_STATS,
            ),
            Kind::Reader => (RDKafkaType::RD_KAFKA_CONSUMER, 0),
            Kind::Producer => (
                RDKafkaType::RD_KAFKA_PRODUCER,
                sys::RD_KAFKA_EVENT_DR | sys::RD_KAFKA_EVENT_ERROR | sys::RD_KAFKA_EVENT_STATS,
            ),
        };
        let mut error = [0 as c_char; ERROR_TEXT];
        // SAFETY: the configuration is ours until `rd_kafka_new` succeeds, and then librdkafka's, so that it is not
        // dropped. The opaque pointer points into a box that the client holds for as long as its threads run.
        unsafe {
            sys::rd_kafka_conf_set_events(native.ptr(), events);
            sys::rd_kafka_conf_set_log_cb(native.ptr(), Some(log));
            sys::rd_kafka_conf_set_opaque(native.ptr(), ptr::from_ref(&*context).cast_mut().cast());
            let with_tokens = config.get("sasl.mechanism").or_else(|| config.get("sasl.mechanisms"));
            let with_tokens = with_tokens.is_some_and(|m| m.eq_ignore_ascii_case("OAUTHBEARER"));
            if with_tokens {
                sys::rd_kafka_conf_set_oauthbearer_token_refresh_cb(native.ptr(), Some(refresh_token));
                sys::rd_kafka_conf_enable_sasl_queue(native.ptr(), 1);
            }
            let native = ManuallyDrop::new(native);
            let client = sys::rd_kafka_new(role, native.ptr(), error.as_mut_ptr(), ERROR_TEXT);
            let Some(client) = NonNull::new(client) else {
                drop(ManuallyDrop::into_inner(native));
                return Err(owned(error.as_ptr()));
            };
            let client = Self { client, _context: context };
            if with_tokens {
                Failure::take(sys::rd_kafka_sasl_background_callbacks_enable(client.ptr())).map_err(|f| f.text)?;
            }
            if kind == Kind::Member {
                // One queue to poll.
                sys::rd_kafka_poll_set_consumer(client.ptr());
            }
            Ok(Arc::new(client))
        }
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.client.as_ptr()
    }

    /// The error that made this client useless, if one did.
    pub(in crate::kafka) fn fatal(&self) -> Option<Failure> {
        let mut text = [0 as c_char; ERROR_TEXT];
        // SAFETY: the text has the room that is said, and is ended by librdkafka.
        let (code, text) = unsafe {
            let code = sys::rd_kafka_fatal_error(self.ptr(), text.as_mut_ptr(), ERROR_TEXT);
            (code, owned(text.as_ptr()))
        };
        (code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| Failure {
            fatal: true,
            text,
            ..Failure::new(code)
        })
    }

    /// What the cluster has of a topic.
    pub(in crate::kafka) fn topic(&self, topic: &str, wait: Duration) -> Result<TopicState, Failure> {
        let mut states = self.metadata(Some(topic), wait)?;
        Ok(states.remove(topic).unwrap_or(TopicState::Missing))
    }

    /// All topics of the cluster that this client may see.
    pub(in crate::kafka) fn topics(&self, wait: Duration) -> Result<BTreeMap<String, TopicState>, Failure> {
        self.metadata(None, wait)
    }

    fn metadata(&self, only: Option<&str>, wait: Duration) -> Result<BTreeMap<String, TopicState>, Failure> {
        let mut metadata: *const sys::rd_kafka_metadata = ptr::null();
        let mut states = BTreeMap::new();
        // SAFETY: the topic handle lives during the call; the answer is ours, copied and destroyed.
        unsafe {
            let topic = match only {
                Some(name) => sys::rd_kafka_topic_new(self.ptr(), c_string(name).as_ptr(), ptr::null_mut()),
                None => ptr::null_mut(),
            };
            let all = c_int::from(only.is_none());
            let asked = sys::rd_kafka_metadata(self.ptr(), all, topic, &mut metadata, milliseconds(wait));
            if !topic.is_null() {
                sys::rd_kafka_topic_destroy(topic);
            }
            Failure::check(asked)?;
            if let Some(answer) = metadata.as_ref() {
                let topics = match answer.topic_cnt > 0 {
                    true => slice::from_raw_parts(answer.topics, answer.topic_cnt as usize),
                    false => &[],
                };
                for topic in topics {
                    states.insert(owned(topic.topic), state(topic));
                }
                sys::rd_kafka_metadata_destroy(answer);
            }
        }
        Ok(states)
    }

    /// The oldest offset of a partition and the one after its last stable record, asked from its leader.
    pub(in crate::kafka) fn watermarks(
        &self,
        topic: &str,
        partition: i32,
        wait: Duration,
    ) -> Result<(u64, u64), Failure> {
        let (mut low, mut high) = (-1, -1);
        let name = c_string(topic);
        // SAFETY: the name lives during the call.
        Failure::check(unsafe {
            sys::rd_kafka_query_watermark_offsets(
                self.ptr(),
                name.as_ptr(),
                partition,
                &mut low,
                &mut high,
                milliseconds(wait),
            )
        })?;
        Ok((u64::try_from(low).unwrap_or_default(), u64::try_from(high).unwrap_or_default()))
    }

    /// The offset after a partition's last record, stable or not, as the last fetch saw it.
    pub(in crate::kafka) fn cached_high(&self, topic: &CStr, partition: i32) -> Option<u64> {
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the name lives during the call.
        let got =
            unsafe { sys::rd_kafka_get_watermark_offsets(self.ptr(), topic.as_ptr(), partition, &mut low, &mut high) };
        Failure::check(got).ok()?;
        u64::try_from(high).ok()
    }

    /// The first offset at or after a time; `None` if there is none.
    pub(in crate::kafka) fn offset_at(
        &self,
        topic: &str,
        partition: i32,
        time_ms: i64,
        wait: Duration,
    ) -> Result<Option<u64>, Failure> {
        let mut list = PartitionList::new();
        list.add(topic, partition, time_ms);
        // SAFETY: the list is ours.
        Failure::check(unsafe { sys::rd_kafka_offsets_for_times(self.ptr(), list.ptr(), milliseconds(wait)) })?;
        let entry = list.entries().into_iter().next();
        match entry.as_ref().and_then(|e| e.error.clone()) {
            Some(failure) => Err(failure),
            None => Ok(entry.and_then(|e| u64::try_from(e.offset).ok())),
        }
    }

    /// Fills a list with the offsets the group committed. Offsets of transactions that are not decided yet are waited for.
    pub(in crate::kafka) fn committed(&self, list: &mut PartitionList, wait: Duration) -> Result<(), Failure> {
        // SAFETY: the list is ours.
        Failure::check(unsafe { sys::rd_kafka_committed(self.ptr(), list.ptr(), milliseconds(wait)) })
    }

    /// Commits offsets as the member that this client is, and waits for the answer.
    pub(in crate::kafka) fn commit(&self, list: &PartitionList) -> Result<(), Failure> {
        // SAFETY: the list is read only.
        Failure::check(unsafe { sys::rd_kafka_commit(self.ptr(), list.ptr(), 0) })?;
        match list.entries().into_iter().find_map(|entry| entry.error) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Joins its group for these topics; a name that begins with `^` is a pattern.
    pub(in crate::kafka) fn subscribe(&self, topics: &[String]) -> Result<(), Failure> {
        let mut list = PartitionList::new();
        for topic in topics {
            list.add(topic, -1, sys::RD_KAFKA_OFFSET_INVALID.into());
        }
        // SAFETY: the list is copied.
        Failure::check(unsafe { sys::rd_kafka_subscribe(self.ptr(), list.ptr()) })
    }

    /// Takes over partitions that the group assigned, without reading them.
    pub(in crate::kafka) fn assign(&self, list: &mut PartitionList) -> Result<(), Failure> {
        // Any offset but a stored one, which would be asked for; nothing is read.
        list.set_offsets(sys::RD_KAFKA_OFFSET_END.into());
        // SAFETY: the lists are copied, or only written to during the call.
        unsafe {
            Failure::take(sys::rd_kafka_incremental_assign(self.ptr(), list.ptr()))?;
            if !list.is_empty() {
                Failure::check(sys::rd_kafka_pause_partitions(self.ptr(), list.ptr()))?;
            }
        }
        Ok(())
    }

    /// Gives up partitions that the group revoked.
    pub(in crate::kafka) fn unassign(&self, list: &PartitionList) -> Result<(), Failure> {
        // SAFETY: the list is copied.
        unsafe { Failure::take(sys::rd_kafka_incremental_unassign(self.ptr(), list.ptr())) }
    }

    /// Whether the group gave this member's partitions away without asking.
    pub(in crate::kafka) fn assignment_lost(&self) -> bool {
        // SAFETY: the client is alive.
        unsafe { sys::rd_kafka_assignment_lost(self.ptr()) != 0 }
    }

    /// Begins to leave the group; events go to the queue until [`Client::closed`].
    pub(in crate::kafka) fn close(&self, queue: &super::Queue) -> Result<(), Failure> {
        // SAFETY: the queue is alive, and the caller polls it until the client is closed.
        unsafe { Failure::take(sys::rd_kafka_consumer_close_queue(self.ptr(), queue.ptr())) }
    }

    /// Whether the group was left.
    pub(in crate::kafka) fn closed(&self) -> bool {
        // SAFETY: the client is alive.
        unsafe { sys::rd_kafka_consumer_closed(self.ptr()) != 0 }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: queues and topics hold the client, so they are gone. A member that did not leave its group does not
        // begin to now: nobody would answer its events.
        unsafe { sys::rd_kafka_destroy_flags(self.ptr(), sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) }
    }
}

/// # Safety
/// `topic` is part of an answer that is alive.
unsafe fn state(topic: &sys::rd_kafka_metadata_topic) -> TopicState {
    match topic.err {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR if topic.partition_cnt > 0 => {
            TopicState::Partitions(topic.partition_cnt as u32)
        }
        // A topic that is being created has no leaders, or no partitions, for a moment.
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE if topic.partition_cnt > 0 => {
            TopicState::Partitions(topic.partition_cnt as u32)
        }
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
        | RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
        | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC => TopicState::Missing,
        code => TopicState::Failed(Failure::new(code)),
    }
}

/// # Safety
/// Called by librdkafka for a client made above.
unsafe extern "C" fn log(client: *const sys::rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    if client.is_null() {
        return;
    }
    // SAFETY: the opaque pointer is the context's, which outlives the client's threads; the strings live during the call.
    unsafe {
        let context = sys::rd_kafka_opaque(client).cast::<Arc<dyn Context>>();
        if let Some(context) = context.as_ref() {
            context.log(level, &owned(facility), &owned(line));
        }
    }
}

/// # Safety
/// Called by librdkafka for a client made above.
unsafe extern "C" fn refresh_token(client: *mut sys::rd_kafka_t, _config: *const c_char, opaque: *mut c_void) {
    // SAFETY: as for `log`; the strings live during the calls.
    unsafe {
        let Some(context) = opaque.cast::<Arc<dyn Context>>().as_ref() else { return };
        let mut error = [0 as c_char; ERROR_TEXT];
        let refused = match context.token() {
            Ok((token, principal, until_ms)) => {
                let (token, principal) = (c_string(&token), c_string(&principal));
                let set = sys::rd_kafka_oauthbearer_set_token(
                    client,
                    token.as_ptr(),
                    until_ms,
                    principal.as_ptr(),
                    ptr::null_mut(),
                    0,
                    error.as_mut_ptr(),
                    ERROR_TEXT,
                );
                (set != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| CStr::from_ptr(error.as_ptr()).to_owned())
            }
            Err(why) => Some(CString::new(why.replace('\0', "")).unwrap_or_default()),
        };
        if let Some(why) = refused {
            sys::rd_kafka_oauthbearer_set_token_failure(client, why.as_ptr());
        }
    }
}
