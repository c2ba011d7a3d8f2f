//! The few changes to topics and groups that a run makes by itself: it creates and grows its journal, creates outputs that
//! say so, and removes what is not needed any more.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use millstream_core::{Error, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{FromClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::{Offset, TopicPartitionList};

use super::Connection;
use super::native::set_token;
use super::token::oauth_token;
use crate::codes::{KAFKA_CLIENT, KAFKA_REFUSED, KAFKA_UNREACHABLE};

/// How long a controller may take to do as it is told.
const OPERATION: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A client for such changes. Made for one or a few, then dropped.
pub(super) struct Ops {
    client: AdminClient<DefaultClientContext>,
}

impl Ops {
    pub(super) fn new(connection: &Connection, base_dir: &Path) -> Result<Self> {
        let mut config = connection.client_config(base_dir)?;
        // What goes wrong comes back with the answer.
        config.set_log_level(RDKafkaLogLevel::Emerg);
        let unusable = || Error::new(KAFKA_CLIENT, "a Kafka client can't be made");
        let client = AdminClient::from_config(&config).map_err(|e| unusable().because(e))?;
        // Nobody polls this client for the token it wants.
        if let Some(token) = connection.token() {
            let token = oauth_token(token, base_dir).map_err(|e| unusable().because(e.to_string()))?;
            set_token(client.inner().native_client(), &token).map_err(|e| unusable().because(e))?;
        }
        Ok(Self { client })
    }

    /// The client itself, for what only the command line does.
    pub(super) fn client(&self) -> &AdminClient<DefaultClientContext> {
        &self.client
    }

    fn options() -> AdminOptions {
        AdminOptions::new().operation_timeout(Some(OPERATION)).request_timeout(Some(OPERATION))
    }

    /// How many partitions a topic has; `None` if it does not exist.
    pub(super) fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        let what = format!("topic `{topic}` can't be looked at");
        // All topics: a broker that creates topics by itself does so for one that is asked for by name.
        let metadata = self.client.inner().fetch_metadata(None, OPERATION).map_err(|e| {
            Error::new(KAFKA_UNREACHABLE, what.clone()).help("look whether the brokers can be reached").because(e)
        })?;
        let Some(found) = metadata.topics().iter().find(|t| t.name() == topic) else { return Ok(None) };
        match found.error().map(Code::from) {
            None | Some(Code::LeaderNotAvailable) if !found.partitions().is_empty() => {
                Ok(Some(found.partitions().len() as u32))
            }
            None | Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::LeaderNotAvailable) => Ok(None),
            Some(code) => {
                Err(Error::new(KAFKA_REFUSED, what).help("let this user see the topic").because(code.to_string()))
            }
        }
    }

    /// Waits until the brokers know a topic that was just created.
    pub(super) fn await_topic(&self, topic: &str, wait: Duration) -> Result<()> {
        let began = Instant::now();
        while self.partitions(topic)?.is_none() {
            if began.elapsed() >= wait {
                let what = format!("topic `{topic}` was created, but the brokers do not serve it");
                return Err(Error::new(KAFKA_UNREACHABLE, what).help("look at the broker's log, then start again"));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Creates a topic; one that was created meanwhile is fine.
    pub(super) fn create(
        &self,
        topic: &str,
        partitions: u32,
        replication: Option<u16>,
        config: &[(&str, &str)],
    ) -> Result<()> {
        let replication = TopicReplication::Fixed(replication.map_or(-1, i32::from));
        let mut new = NewTopic::new(topic, partitions as i32, replication);
        for (name, value) in config {
            new = new.set(name, value);
        }
        let what = format!("topic `{topic}` can't be created");
        let results = done(block_on(self.client.create_topics([&new], &Self::options())), &what)?;
        each(results, Code::TopicAlreadyExists, &what)
    }

    /// Gives a topic more partitions; one that has them by now is fine.
    pub(super) fn grow(&self, topic: &str, partitions: u32) -> Result<()> {
        let new = NewPartitions::new(topic, partitions as usize);
        let what = format!("topic `{topic}` can't be given {partitions} partitions");
        let results = done(block_on(self.client.create_partitions([&new], &Self::options())), &what)?;
        each(results, Code::InvalidPartitions, &what)
    }

    /// Removes the records of partitions before an offset; all of them if there is none.
    pub(super) fn delete_records(&self, topic: &str, before: &[(u32, Option<u64>)]) -> Result<()> {
        let what = format!("records of topic `{topic}` can't be removed");
        let mut list = TopicPartitionList::new();
        for (partition, offset) in before {
            let offset = offset.map_or(Offset::End, |o| Offset::Offset(i64::try_from(o).unwrap_or(i64::MAX)));
            done(list.add_partition_offset(topic, *partition as i32, offset), &what)?;
        }
        let deleted = done(block_on(self.client.delete_records(&list, &Self::options())), &what)?;
        for element in deleted.elements() {
            done(element.error(), &what)?;
        }
        Ok(())
    }

    /// Removes a group with its offsets; one that does not exist is fine.
    pub(super) fn delete_group(&self, group: &str) -> Result<()> {
        let what = format!("the consumer group `{group}` can't be removed");
        let results = done(block_on(self.client.delete_groups(&[group], &Self::options())), &what)?;
        for result in results {
            match result {
                Ok(_) | Err((_, Code::GroupIdNotFound)) => {}
                Err((_, Code::NonEmptyGroup)) => {
                    return Err(Error::new(KAFKA_REFUSED, format!("{what}: it has members"))
                        .help("stop all processes that run this pipeline first"));
                }
                Err((_, code)) => return Err(Error::new(KAFKA_REFUSED, what).because(code.to_string())),
            }
        }
        Ok(())
    }
}

fn done<T>(result: KafkaResult<T>, what: &str) -> Result<T> {
    result.map_err(|e| match e.rdkafka_error_code() {
        Some(
            Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::NotController,
        ) => {
            let what = format!("{what}: the brokers do not answer");
            Error::new(KAFKA_UNREACHABLE, what).help("look whether the brokers can be reached").because(e)
        }
        _ => Error::new(KAFKA_REFUSED, what).help("look at the rights of this user, and the broker's log").because(e),
    })
}

fn each(results: Vec<std::result::Result<String, (String, Code)>>, fine: Code, what: &str) -> Result<()> {
    for result in results {
        match result {
            Err((_, code)) if code != fine => {
                return Err(Error::new(KAFKA_REFUSED, what)
                    .help("create it by hand, or let this user do so")
                    .because(code.to_string()));
            }
            _ => {}
        }
    }
    Ok(())
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer; librdkafka's threads bring it, so nothing has to be driven.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}
