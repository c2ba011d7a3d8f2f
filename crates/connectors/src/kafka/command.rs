//! Records for the command line: `millstream topic produce` and `tail`. Runs have faster ways of their own.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream_core::murmur::partition_for;
use millstream_core::record::{Header, NO_TIMESTAMP, RawBatch};
use millstream_core::{Error, Result, TaskId};
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header as NamedHeader, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext};
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};

use super::Admin;
use super::secret::Secret;
use super::token::oauth_token;
use crate::codes::{KAFKA_REFUSED, KAFKA_UNREACHABLE, OFFSET_GONE};
use crate::log::NewRecord;

/// How long records may wait for their acknowledgement, and a reader for its first answer.
const WAIT: Duration = Duration::from_secs(30);
/// How long one look for events takes.
const LOOK: Duration = Duration::from_millis(1);

/// Writes records to topics of a cluster, idempotently and without a transaction.
pub struct Writer {
    producer: BaseProducer<Deliveries>,
    turn: u64,
}

/// Reads partitions of a topic, committed records only.
pub struct Reader {
    consumer: BaseConsumer<Tokens>,
    topic: String,
    begun: Instant,
    answered: bool,
}

/// What a reader came to.
pub enum Read {
    /// A record, alone in its batch.
    Record(RawBatch),
    /// The end of a partition, as it is now.
    End(u32),
    /// Nothing within the wait.
    Nothing,
}

/// Gives clients their tokens, and keeps their logs quiet: what matters comes back as an error.
struct Tokens(Option<(Secret, PathBuf)>);

impl ClientContext for Tokens {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, _level: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(target: "millstream_connectors::kafka", facility, "{line}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "millstream_connectors::kafka", %error, "{reason}");
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        let (token, base_dir) = self.0.as_ref().ok_or("there is no token")?;
        oauth_token(token, base_dir)
    }
}

impl ConsumerContext for Tokens {}

/// Counts acknowledgements, and keeps the first refusal.
struct Deliveries {
    tokens: Tokens,
    delivered: AtomicU64,
    refused: Mutex<Option<KafkaError>>,
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.tokens.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.tokens.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        self.tokens.generate_oauth_token(config)
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => drop(self.delivered.fetch_add(1, Ordering::AcqRel)),
            Err((error, _)) => {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                refused.get_or_insert_with(|| error.clone());
            }
        }
    }
}

impl Admin {
    /// A writer of records.
    ///
    /// # Errors
    /// No client can be made.
    pub fn writer(&self) -> Result<Writer> {
        let mut config = self.config.clone();
        config.set("enable.idempotence", "true").set("linger.ms", "5").set("compression.type", "lz4");
        let tokens = Tokens(self.token.clone());
        let context = Deliveries { tokens, delivered: AtomicU64::new(0), refused: Mutex::new(None) };
        let producer = config.create_with_context(context).map_err(unusable)?;
        Ok(Writer { producer, turn: 0 })
    }

    /// A reader of some partitions of a topic, each from an offset on.
    ///
    /// # Errors
    /// No client can be made.
    pub fn reader(&self, topic: &str, from: &[(u32, u64)]) -> Result<Reader> {
        let mut config = self.config.clone();
        // A consumer needs the name of a group, even if it joins none.
        config
            .set("group.id", "millstream-topic-tail")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", "16384");
        let consumer: BaseConsumer<Tokens> =
            config.create_with_context(Tokens(self.token.clone())).map_err(unusable)?;
        let mut partitions = TopicPartitionList::new();
        for (partition, offset) in from {
            let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
            partitions.add_partition_offset(topic, *partition as i32, offset).map_err(unusable)?;
        }
        consumer.assign(&partitions).map_err(unusable)?;
        Ok(Reader { consumer, topic: topic.to_owned(), begun: Instant::now(), answered: false })
    }
}

fn unusable(error: KafkaError) -> Error {
    Error::new(KAFKA_REFUSED, "a Kafka client can't be made").because(error)
}

impl Writer {
    /// Appends records to a topic of so many partitions and waits until all are acknowledged. A record goes to the partition
    /// it names, else to that of its key as Java's default partitioner places it, else in turn.
    ///
    /// # Errors
    /// A record was not acknowledged; those before it may have been.
    pub fn append(&mut self, topic: &str, partitions: u32, records: &[(Option<u32>, NewRecord<'_>)]) -> Result<u64> {
        let before = self.producer.context().delivered.load(Ordering::Acquire);
        for (partition, record) in records {
            let partition = partition.unwrap_or_else(|| match record.key {
                Some(key) => partition_for(key, partitions),
                None => {
                    self.turn += 1;
                    ((self.turn - 1) % u64::from(partitions.max(1))) as u32
                }
            });
            self.send(topic, partition, record)?;
        }
        let begun = Instant::now();
        while self.producer.in_flight_count() > 0 && begun.elapsed() < WAIT {
            self.producer.poll(LOOK);
        }
        if let Some(error) = self.producer.context().refused.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(refused(topic, error));
        }
        let sent = self.producer.context().delivered.load(Ordering::Acquire) - before;
        if sent < records.len() as u64 {
            let message =
                format!("{sent} of {} records for topic `{topic}` were acknowledged in {WAIT:?}", records.len());
            return Err(Error::new(KAFKA_UNREACHABLE, message)
                .help("look whether the brokers run; the others may still arrive"));
        }
        Ok(sent)
    }

    fn send(&self, topic: &str, partition: u32, record: &NewRecord<'_>) -> Result<()> {
        let mut headers = OwnedHeaders::new();
        for header in record.headers {
            headers = headers.insert(NamedHeader { key: &header.name, value: Some(&header.value) });
        }
        let mut waiting: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(topic).partition(partition as i32).headers(headers);
        waiting.timestamp = (record.timestamp_ms != NO_TIMESTAMP).then_some(record.timestamp_ms);
        waiting.key = record.key;
        waiting.payload = record.value;
        loop {
            match self.producer.send(waiting) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    waiting = again;
                    self.producer.poll(LOOK);
                }
                Err((error, _)) => return Err(refused(topic, error)),
            }
        }
    }
}

fn refused(topic: &str, error: KafkaError) -> Error {
    let error = Error::new(KAFKA_REFUSED, format!("a record for topic `{topic}` was refused")).because(error);
    error.help("records before it may have been written")
}

impl Reader {
    /// What comes next, waited for that long.
    ///
    /// # Errors
    /// The topic can't be read from there.
    pub fn next(&mut self, wait: Duration) -> Result<Read> {
        let result = match self.consumer.poll(wait) {
            None => {
                if !self.answered && self.begun.elapsed() > WAIT {
                    let message = format!("topic `{}` can't be read: no broker answers", self.topic);
                    return Err(Error::new(KAFKA_UNREACHABLE, message).help("look whether the partitions have leaders"));
                }
                return Ok(Read::Nothing);
            }
            Some(result) => result,
        };
        match result {
            Ok(message) => {
                self.answered = true;
                Ok(Read::Record(batch(&message)))
            }
            Err(KafkaError::PartitionEOF(partition)) => {
                self.answered = true;
                Ok(Read::End(partition as u32))
            }
            // The client tries again by itself.
            Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve,
            )) => Ok(Read::Nothing),
            Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)) => {
                let message = format!("topic `{}` does not have this offset, or not any more", self.topic);
                Err(Error::new(OFFSET_GONE, message).help("`millstream topic describe` says which offsets there are"))
            }
            Err(error) => {
                Err(Error::new(KAFKA_REFUSED, format!("topic `{}` can't be read", self.topic)).because(error))
            }
        }
    }
}

fn batch(message: &BorrowedMessage<'_>) -> RawBatch {
    let mut batch = RawBatch::new(TaskId::new(message.partition() as u32));
    batch.topic = Some(message.topic().into());
    let header = |header: NamedHeader<'_, &[u8]>| Header {
        name: header.key.to_owned(),
        value: header.value.unwrap_or_default().to_vec(),
    };
    let headers: Vec<Header> = message.headers().into_iter().flat_map(|all| all.iter().map(header)).collect();
    let timestamp = message.timestamp().to_millis().unwrap_or(NO_TIMESTAMP);
    let offset = u64::try_from(message.offset()).unwrap_or_default();
    batch.push(offset, timestamp, message.key(), message.payload(), &headers);
    batch
}
