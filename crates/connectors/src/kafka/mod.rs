//! Kafka: a source that a consumer group shares out, outputs inside the epoch's transaction, and the store that
//! keeps positions and journal in Kafka itself.

mod choose;
mod connection;
mod input;
mod open;
mod output;
mod properties;
mod secret;
mod security;
mod token;

use std::sync::Arc;

use millstream_core::{Delivery, Result};

pub(crate) use choose::choose;
pub use connection::Connection;
pub use input::KafkaInput;
pub use output::{Cluster, KafkaOutput};

use crate::backend::Backend;
use crate::env::Env;
use crate::spec::SourceSpec;

/// See [`crate::backend::open`].
pub(crate) fn backend(
    _cluster: &Cluster,
    _env: &Arc<Env>,
    _source: &Arc<dyn SourceSpec>,
    _delivery: Delivery,
) -> Result<Arc<dyn Backend>> {
    unimplemented!("the Kafka backend")
}
