//! The producer of one worker, and what became of the records it was given.
//!
//! Used by the committer's thread alone. Records that were delivered are not reported, only those that were not.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use millstream_core::{Error, Result};

use super::Cluster;
use super::clients::Log;
use super::native::{Client, Code, Delivery, Event, Failure, Outgoing, Queue, Topic, TopicState};
use super::rounds::{Portion, RequestMax};
use crate::codes::{KAFKA_CLIENT, KAFKA_COMMIT};

/// Failed records that are remembered; the rest are counted only.
const UNDELIVERED_MAX: usize = 16;
/// How long a wait for records lasts before failed ones are looked for. Ends at once when all are delivered.
const DRAIN_STEP: Duration = Duration::from_millis(20);
/// How often, and for how long each time, the brokers are asked for a partition that the producer does not know.
const PARTITION_LOOKS_MAX: u32 = 5;
const PARTITION_LOOK: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    // Destroyed before the client, as is the queue.
    topics: HashMap<String, Topic>,
    main: Queue,
    pub(super) client: Arc<Client>,
    log: Arc<Log>,
    undelivered: Vec<Delivery>,
    /// What a request of this producer may hold.
    pub(super) request_max: RequestMax,
}

impl Writer {
    pub(super) fn new((client, log): (Arc<Client>, Arc<Log>), request_max: RequestMax) -> Result<Self> {
        let main = Queue::main(&client).ok_or_else(|| Error::new(KAFKA_CLIENT, "a producer has no queue"))?;
        Ok(Self { topics: HashMap::new(), main, client, log, undelivered: Vec::new(), request_max })
    }

    /// The handle of a topic, with the properties that its output wants.
    fn topic(&mut self, name: &str, cluster: &Cluster) -> Result<&Topic> {
        match self.topics.entry(name.to_owned()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let output = cluster.outputs.iter().find(|output| output.topic == name);
                let codec = output.map_or("none", |output| output.compression.codec());
                let topic = Topic::new(&self.client, name, &[("compression.codec", codec)])
                    .map_err(|why| Error::new(KAFKA_CLIENT, format!("topic `{name}` can't be written: {why}")))?;
                Ok(place.insert(topic))
            }
        }
    }

    /// Gives the producer records of a chunk. The inner error is Kafka's.
    pub(super) fn send_portion(
        &mut self,
        cluster: &Cluster,
        portion: &Portion<'_>,
    ) -> Result<std::result::Result<(), Failure>> {
        let Portion { topic, partition, chunk, records } = portion;
        let part = |(start, length): (u32, u32)| {
            chunk
                .data
                .get(start as usize..start as usize + length as usize)
                .ok_or_else(|| Error::new(KAFKA_COMMIT, format!("a record for topic `{topic}` lies outside its chunk")))
        };
        let client = self.client.clone();
        let handle = self.topic(topic, cluster)?;
        for record in chunk.records.get(records.clone()).unwrap_or_default() {
            let outgoing = Outgoing {
                partition: *partition as i32,
                key: record.key.map(part).transpose()?,
                value: record.value.map(part).transpose()?,
                // Kafka has no time before 1970.
                timestamp_ms: record.timestamp_ms.max(0),
                headers: &record.headers,
            };
            if let Err(failure) = send(handle, &client, topic, &outgoing) {
                return Ok(Err(failure));
            }
        }
        Ok(Ok(()))
    }

    /// Gives the producer one record.
    pub(super) fn send_one(
        &mut self,
        cluster: &Cluster,
        topic: &str,
        partition: u32,
        key: &str,
        value: &str,
    ) -> Result<std::result::Result<(), Failure>> {
        let client = self.client.clone();
        let outgoing = Outgoing {
            partition: partition as i32,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            timestamp_ms: 0,
            headers: &[],
        };
        Ok(send(self.topic(topic, cluster)?, &client, topic, &outgoing))
    }

    /// Rises each time a connection is lost.
    pub(super) fn losses(&self) -> u64 {
        self.log.losses()
    }

    /// Notes the events that are there.
    pub(super) fn serve(&mut self) {
        while let Some(event) = self.main.event(Duration::ZERO) {
            match event {
                Event::Undelivered(failed) => {
                    let room = UNDELIVERED_MAX - self.undelivered.len().min(UNDELIVERED_MAX);
                    self.undelivered.extend(failed.into_iter().take(room));
                }
                Event::Trouble(failure) => tracing::debug!(target: "kafka", client = "producer", "{failure}"),
                Event::Statistics(json) => tracing::debug!(target: "kafka", client = "producer", statistics = json),
                _ => {}
            }
        }
    }

    /// Waits a step for all records to be delivered; `true` when nothing is on its way.
    pub(super) fn drained(&mut self) -> bool {
        let drained = self.client.flush(DRAIN_STEP);
        self.serve();
        drained
    }

    /// The first record that was not delivered, for another reason than that it was thrown away.
    pub(super) fn undelivered(&self) -> Option<&Delivery> {
        let thrown = |d: &&Delivery| matches!(d.failure.code, Code::PurgeQueue | Code::PurgeInflight);
        self.undelivered.iter().find(|d| !thrown(d)).or(self.undelivered.first())
    }

    pub(super) fn forget_undelivered(&mut self) {
        self.undelivered.clear();
    }
}

/// Gives the producer a record; waits while it is full. A partition that it does not know may be newer than what it
/// knows: then it learns of it from the brokers.
fn send(topic: &Topic, client: &Client, name: &str, record: &Outgoing<'_>) -> std::result::Result<(), Failure> {
    let mut looks = 0;
    loop {
        match topic.send(record) {
            // Every record that is delivered makes room. Those that fail do so too, in the end.
            Err(failure) if failure.code == Code::QueueFull => drop(client.flush(DRAIN_STEP)),
            Err(failure) if failure.code == Code::UnknownPartition && looks < PARTITION_LOOKS_MAX => {
                looks += 1;
                let known = match client.topic(name, PARTITION_LOOK) {
                    Ok(TopicState::Partitions(count)) => count,
                    _ => 0,
                };
                if i64::from(known) <= i64::from(record.partition) {
                    // Not all brokers know it at once; what was never made is refused after the last look.
                    std::thread::sleep(DRAIN_STEP);
                }
            }
            sent => return sent,
        }
    }
}
