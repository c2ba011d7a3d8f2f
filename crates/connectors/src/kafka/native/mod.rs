//! The part of librdkafka that a run needs, called directly: what lies between is a copy or a wait that the event path
//! can't afford (one event object a message, one report a produced record, 100 ms in every commit).
//!
//! The only `unsafe` code of the Kafka connector. Its rules:
//! - A [`Client`] owns its `rd_kafka_t`. Whatever points into it ([`Queue`], [`Topic`]) holds an `Arc` of it and is
//!   destroyed first; the callbacks' [`Context`] is freed after it, when its threads have ended.
//! - librdkafka's handles may be used from any thread; messages, lists and events belong to one thread at a time, and are
//!   destroyed by their owner's `Drop`.
//! - No slice into librdkafka's memory outlives the message, list or event it is in.

mod admin;
mod classic;
mod client;
mod error;
mod event;
mod groups;
mod list;
mod producer;
mod queue;

pub(super) use admin::{property_names, set_token};
pub(super) use classic::classic_members;
pub(super) use client::{Client, Context, Kind, TopicState};
pub(super) use error::{Code, Failure};
pub(super) use event::{Delivery, Event};
pub(super) use groups::{GroupMember, alter_offsets, members};
pub(super) use list::PartitionList;
pub(super) use producer::{GroupMetadata, Outgoing, Topic, c_name};
pub(super) use queue::{Incoming, Message, Queue};

use std::ffi::{CStr, CString};
use std::os::raw::c_char;
use std::time::Duration;

/// A name as C wants it. Names with a NUL byte were refused long before; one here would name nothing.
fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "")).unwrap_or_default()
}

/// A string of librdkafka's, copied.
///
/// # Safety
/// `text` is null or a C string.
unsafe fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller says so.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A wait as librdkafka counts it; never "for ever".
fn milliseconds(wait: Duration) -> i32 {
    i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)
}
