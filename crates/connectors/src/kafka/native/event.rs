//! Events of a client: membership changes, failed deliveries, errors, statistics.

use std::ptr::NonNull;

use rdkafka_sys as sys;
use rdkafka_sys::types::RDKafkaRespErr;

use super::{Failure, PartitionList, owned};

/// What happened.
pub(in crate::kafka) enum Event {
    /// These partitions are added to the assignment.
    Assign(PartitionList),
    /// These partitions leave it.
    Revoke(PartitionList),
    /// Records that were not written.
    Undelivered(Vec<Delivery>),
    /// The client has trouble, which it mostly overcomes by itself.
    Trouble(Failure),
    /// Statistics, JSON.
    Statistics(String),
    /// Something of no interest here.
    Other,
}

/// A record that was not written.
pub(in crate::kafka) struct Delivery {
    pub(in crate::kafka) topic: String,
    pub(in crate::kafka) partition: i32,
    pub(in crate::kafka) bytes: usize,
    pub(in crate::kafka) failure: Failure,
}

/// Reads an event and destroys it.
///
/// # Safety
/// `event` was just taken from a queue.
pub(super) unsafe fn take(event: NonNull<sys::rd_kafka_event_t>) -> Event {
    let event = event.as_ptr();
    // SAFETY: the event is ours until it is destroyed, at the end; all that is read of it is copied.
    unsafe {
        let taken = match sys::rd_kafka_event_type(event) {
            sys::RD_KAFKA_EVENT_REBALANCE => rebalance(event),
            sys::RD_KAFKA_EVENT_DR => Event::Undelivered(deliveries(event)),
            sys::RD_KAFKA_EVENT_ERROR => {
                let code = sys::rd_kafka_event_error(event);
                let mut failure = Failure::new(code);
                failure.fatal = sys::rd_kafka_event_error_is_fatal(event) != 0;
                failure.text = owned(sys::rd_kafka_event_error_string(event));
                Event::Trouble(failure)
            }
            sys::RD_KAFKA_EVENT_STATS => Event::Statistics(owned(sys::rd_kafka_event_stats(event))),
            _ => Event::Other,
        };
        sys::rd_kafka_event_destroy(event);
        taken
    }
}

/// # Safety
/// `event` is a rebalance event.
unsafe fn rebalance(event: *mut sys::rd_kafka_event_t) -> Event {
    // SAFETY: the list belongs to the event, so it is copied.
    unsafe {
        let list = sys::rd_kafka_event_topic_partition_list(event);
        let list = match list.is_null() {
            true => PartitionList::new(),
            false => PartitionList::copy_of(list),
        };
        match sys::rd_kafka_event_error(event) {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Event::Assign(list),
            _ => Event::Revoke(list),
        }
    }
}

/// # Safety
/// `event` is an event of delivery reports.
unsafe fn deliveries(event: *mut sys::rd_kafka_event_t) -> Vec<Delivery> {
    let mut all = Vec::new();
    // SAFETY: the messages belong to the event, and are read only.
    unsafe {
        while let Some(message) = sys::rd_kafka_event_message_next(event).as_ref() {
            if let Err(failure) = Failure::check(message.err) {
                all.push(Delivery {
                    topic: owned(sys::rd_kafka_topic_name(message.rkt)),
                    partition: message.partition,
                    bytes: message.len + message.key_len,
                    failure,
                });
            }
        }
    }
    all
}
