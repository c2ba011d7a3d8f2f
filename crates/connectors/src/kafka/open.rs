//! Where the specs of sources and outputs open what runs: the seam between the two halves of the connector.

use std::sync::Arc;

use millstream_core::{Error, Result, Sink, Source};

use super::clients::plain_reader;
use super::group::{Patience, TaskNames};
use super::input::Topics;
use super::opener::KafkaOpener;
use super::ops::Ops;
use super::sink::KafkaSink;
use super::source::{Reader, topic_gone};
use super::{KafkaInput, KafkaOutput};
use crate::codec::EncodeContext;
use crate::codes::{KAFKA_NO_TOPIC, KAFKA_TOPIC};
use crate::env::Env;

/// How long the brokers may take to know a topic that was just created.
const CREATED_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// A reader of one partition of the input's only topic, without a group: for `millstream sample` and the like. Runs
/// read through a [`Member`](millstream_core::Member)'s opener.
pub(crate) fn partition(input: &KafkaInput, env: &Env, partition: u32) -> Result<Box<dyn Source>> {
    let Topics::Named(topics) = &input.topics else {
        return Err(Error::new(KAFKA_NO_TOPIC, "a pattern names no single topic to read").help("write `topic:`"));
    };
    let topic = topics.first().ok_or_else(|| topic_gone("", None))?;
    let names = Arc::new(TaskNames::new(false));
    let task = names.task(topic, partition)?;
    let (client, log) = plain_reader(input, env)?;
    let reader = Arc::new(Reader { client, log, patience: Arc::new(Patience::default()) });
    Ok(Box::new(KafkaOpener::new(input.clone(), names, reader).source(task)?))
}

/// The committer's side of an output. Creates the topic if `partitions:` says so; `tasks` is the default number.
pub(crate) fn sink(
    output: &KafkaOutput,
    env: &Arc<Env>,
    tasks: Option<u32>,
    _context: &EncodeContext,
) -> Result<Box<dyn Sink>> {
    let ops = Ops::new(&output.connection, env.base_dir())?;
    let partitions = match ops.partitions(&output.topic)? {
        Some(partitions) => {
            if let Some(declared) = output.partitions.filter(|declared| *declared != partitions) {
                return Err(Error::new(
                    KAFKA_TOPIC,
                    format!("topic `{}` has {partitions} partitions, but the output declares {declared}", output.topic),
                )
                .help(format!("write `partitions: {partitions}`, or leave `partitions` away")));
            }
            partitions
        }
        None => {
            let Some(partitions) = output.partitions.or(tasks) else {
                return Err(Error::new(
                    KAFKA_NO_TOPIC,
                    format!("topic `{}`, which an output writes, does not exist", output.topic),
                )
                .help("create it, or write how many `partitions:` it is to be created with"));
            };
            ops.create(&output.topic, partitions.max(1), output.replication, &[])?;
            ops.await_topic(&output.topic, CREATED_MAX)?;
            partitions.max(1)
        }
    };
    Ok(Box::new(KafkaSink::new(&output.topic, partitions, output.partitioner)))
}
