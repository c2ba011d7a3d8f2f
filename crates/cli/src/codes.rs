//! The codes of errors raised by the command line and its HTTP API.

use millstream_core::Code;

/// An argument whose value can't be used.
pub const ARGUMENT: Code = Code::new("MS0701", "an argument can't be used");
/// An HTTP address that is not on the loopback interface.
pub const NOT_LOOPBACK: Code = Code::new("MS0702", "the HTTP API is for this machine only");
/// `init` found a file where it would write one.
pub const FILE_EXISTS: Code = Code::new("MS0703", "a file is in the way");
/// An HTTP address that can't be bound.
pub const HTTP_BIND: Code = Code::new("MS0704", "the HTTP address can't be used");
/// The run that holds the data directory answered with an error, or not at all.
pub const HTTP_CALL: Code = Code::new("MS0705", "the running pipeline did not answer as it should");
/// A line given to `topic produce` that can't become a record.
pub const RECORD: Code = Code::new("MS0706", "a line can't become a record");
/// A file or standard stream of a command that can't be read or written.
pub const IO: Code = Code::new("MS0707", "a file or stream can't be read or written");
/// An HTTP request that does not fit the API.
pub const REQUEST: Code = Code::new("MS0708", "an HTTP request can't be understood");
/// An HTTP request body over the limit.
pub const BODY_TOO_LARGE: Code = Code::new("MS0709", "an HTTP request is too large");
/// A topic that can't be deleted because a pipeline runs on its log.
pub const TOPIC_IN_USE: Code = Code::new("MS0710", "the log is in use by a run");
/// A data directory that holds no log.
pub const NO_LOG: Code = Code::new("MS0711", "there is no log in the data directory");
/// A row given to `model predict` that can't be read.
pub const ROW: Code = Code::new("MS0712", "a row can't be read");

/// Every code of this crate.
pub const ALL: &[Code] = &[
    ARGUMENT,
    NOT_LOOPBACK,
    FILE_EXISTS,
    HTTP_BIND,
    HTTP_CALL,
    RECORD,
    IO,
    REQUEST,
    BODY_TOO_LARGE,
    TOPIC_IN_USE,
    NO_LOG,
    ROW,
];
