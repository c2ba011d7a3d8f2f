//! Where the specs of sources and outputs open what runs: the seam between the two halves of the connector.

use std::sync::Arc;

use millstream_core::{Result, Sink, Source};

use super::{KafkaInput, KafkaOutput};
use crate::codec::EncodeContext;
use crate::env::Env;

/// A reader of one partition of the input's only topic, without a group: for `millstream sample` and the like. Runs
/// read through a [`Member`](millstream_core::Member)'s opener.
pub(crate) fn partition(_input: &KafkaInput, _env: &Env, _partition: u32) -> Result<Box<dyn Source>> {
    unimplemented!("the reader of a partition")
}

/// The committer's side of an output. Creates the topic if `partitions:` says so; `tasks` is the default number.
pub(crate) fn sink(
    _output: &KafkaOutput,
    _env: &Arc<Env>,
    _tasks: Option<u32>,
    _context: &EncodeContext,
) -> Result<Box<dyn Sink>> {
    unimplemented!("the committer's side of an output")
}
