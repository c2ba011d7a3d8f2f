//! What is asked of librdkafka beside runs: which properties it knows, and a token for clients that nobody polls.

use std::ffi::CStr;
use std::os::raw::c_char;
use std::ptr;

use rdkafka_sys as sys;
use rdkafka_sys::types::{RDKafka, RDKafkaRespErr};

use super::{c_string, owned};

const ERROR_TEXT: usize = 512;

/// The names of all properties, of clients and of topics. Second names of a property are not among them.
pub(in crate::kafka) fn property_names() -> Vec<String> {
    let mut count = 0;
    // SAFETY: the configurations are made, dumped and destroyed here; a dump is an array of `count` strings, names and
    // values by turns, which is copied before its own function frees it.
    unsafe {
        let client = sys::rd_kafka_conf_new();
        let dump = sys::rd_kafka_conf_dump(client, &raw mut count);
        let mut names = every_other(dump, count);
        sys::rd_kafka_conf_dump_free(dump, count);
        sys::rd_kafka_conf_destroy(client);
        let topic = sys::rd_kafka_topic_conf_new();
        let dump = sys::rd_kafka_topic_conf_dump(topic, &raw mut count);
        names.extend(every_other(dump, count));
        sys::rd_kafka_conf_dump_free(dump, count);
        sys::rd_kafka_topic_conf_destroy(topic);
        names
    }
}

/// # Safety
/// `dump` is an array of `count` C strings.
unsafe fn every_other(dump: *const *const c_char, count: usize) -> Vec<String> {
    let name = |i: usize| {
        // SAFETY: the caller says so, and `i` is below `count`.
        let text = unsafe { CStr::from_ptr(*dump.add(i)) };
        text.to_string_lossy().into_owned()
    };
    (0..count).step_by(2).map(name).collect()
}

/// Gives a client of the `rdkafka` crate its token for SASL OAUTHBEARER.
///
/// # Errors
/// librdkafka does not take it.
pub(in crate::kafka) fn set_token(
    client: &rdkafka::client::NativeClient,
    token: &rdkafka::client::OAuthToken,
) -> Result<(), String> {
    let client: *mut RDKafka = client.ptr();
    let (text, principal) = (c_string(&token.token), c_string(&token.principal_name));
    let mut error = [0 as c_char; ERROR_TEXT];
    // SAFETY: the client is borrowed for the call, in which the strings live; the error's room is as said.
    let set = unsafe {
        sys::rd_kafka_oauthbearer_set_token(
            client,
            text.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            ptr::null_mut(),
            0,
            error.as_mut_ptr(),
            ERROR_TEXT,
        )
    };
    if set == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    // SAFETY: librdkafka ended the text.
    Err(unsafe { owned(error.as_ptr()) })
}
