//! Sources, sinks and the log, against real files.

mod contract;
mod file_follow;
mod file_sink;
mod file_source;
mod log_connectors;
mod log_kill;
mod log_store;
mod options;
mod support;
