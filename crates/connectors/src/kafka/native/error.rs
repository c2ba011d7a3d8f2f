//! Errors as librdkafka gives them, with what it says may be done about them.

use std::fmt;

use rdkafka_sys as sys;
use rdkafka_sys::types::RDKafkaRespErr;

use super::owned;

/// librdkafka's codes: its own are negative, the broker's are not.
pub(in crate::kafka) type Code = rdkafka_sys::types::RDKafkaErrorCode;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Failure {
    pub(in crate::kafka) code: Code,
    /// The client is of no use any more.
    pub(in crate::kafka) fatal: bool,
    /// The same call may be made again.
    pub(in crate::kafka) retriable: bool,
    /// The transaction must be aborted.
    pub(in crate::kafka) abortable: bool,
    pub(in crate::kafka) text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// A failure that is nothing but its code.
    pub(in crate::kafka) fn new(code: RDKafkaRespErr) -> Self {
        // SAFETY: the string is static.
        let text = unsafe { owned(sys::rd_kafka_err2str(code)) };
        Self { code: code.into(), fatal: false, retriable: false, abortable: false, text }
    }

    /// The result of a call that returns a code.
    pub(super) fn check(code: RDKafkaRespErr) -> Result<(), Self> {
        match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err(Self::new(code)),
        }
    }

    /// The result of a call that returns an error object, which is destroyed.
    ///
    /// # Safety
    /// `error` is null or was just returned by librdkafka.
    pub(super) unsafe fn take(error: *mut sys::rd_kafka_error_t) -> Result<(), Self> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: the error is ours until it is destroyed, and its strings are copied before.
        unsafe {
            let failure = Self {
                code: sys::rd_kafka_error_code(error).into(),
                fatal: sys::rd_kafka_error_is_fatal(error) != 0,
                retriable: sys::rd_kafka_error_is_retriable(error) != 0,
                abortable: sys::rd_kafka_error_txn_requires_abort(error) != 0,
                text: owned(sys::rd_kafka_error_string(error)),
            };
            sys::rd_kafka_error_destroy(error);
            Err(failure)
        }
    }
}
