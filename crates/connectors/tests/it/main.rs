//! Sources, sinks and the log, against real files.

// A test that can't set up its stage has failed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contract;
mod file_follow;
mod file_sink;
mod file_source;
mod log_connectors;
mod log_kill;
mod log_store;
mod options;
mod support;
