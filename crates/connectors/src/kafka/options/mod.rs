//! The options of `type: kafka` in a pipeline file. Everything here is pure: no broker is asked, no file read.

mod connection;
mod sink;
mod source;
mod start;
mod topic;

pub(crate) use connection::KafkaConnectionConnector;
pub use connection::{find, plain};
pub(crate) use sink::KafkaSinkConnector;
pub(crate) use source::KafkaSourceConnector;
pub(crate) use topic::check_name;

#[cfg(test)]
mod tests;
