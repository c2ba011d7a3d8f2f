//! Kafka: a source that a consumer group shares out, outputs inside the epoch's transaction, and the store that
//! keeps positions and journal in Kafka itself.

mod admin;
mod backend;
mod choose;
mod clients;
mod command;
mod connection;
mod decide;
mod group;
mod input;
mod instance;
mod journal;
mod look;
mod member;
mod native;
mod open;
mod opener;
mod ops;
mod options;
mod output;
mod probe;
mod properties;
mod record;
mod refusal;
mod rounds;
mod secret;
mod security;
mod sink;
mod source;
mod standby;
mod store;
mod token;
mod txn;
mod write;
mod write_plain;
mod writer;

pub use admin::{Admin, KafkaTopic};
pub(crate) use backend::backend;
pub(crate) use choose::choose;
pub use command::{Read, Reader, Writer};
pub use connection::Connection;
pub use input::KafkaInput;
pub(crate) use look::look;
pub(crate) use options::{KafkaConnectionConnector, KafkaSinkConnector, KafkaSourceConnector};
pub use options::{find as find_connection, plain as plain_connection};
pub use output::{Cluster, KafkaOutput};
