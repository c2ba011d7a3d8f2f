//! Reads one partition: its own queue, filled by the reader's threads, emptied by the worker's without an allocation a
//! record.
//!
//! The position is the offset after the last record, or the one that the end of the partition was seen at if that is
//! further: aborted transactions and the marks of committed ones have offsets too. It begins to fetch at the first poll,
//! and ends when it is dropped.

use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_core::record::Header;
use millstream_core::{Error, PollLimit, Polled, Position, RawBatch, Result, Source, TaskId};

use super::clients::Log;
use super::group::Patience;
use super::native::{Client, Code, Failure, Incoming, Message, Queue, Topic, TopicState, c_name};
use crate::codes::{INPUT_CHANGED, KAFKA_NO_TOPIC, KAFKA_OFFSET_GONE, KAFKA_READ, KAFKA_UNREACHABLE};

/// How long a question to a broker may take before it is asked again.
pub(super) const ASK: Duration = Duration::from_secs(5);
/// The pause before that.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long a partition may seem to end before a position that was read: a new leader may not know its end for a moment.
const END_BACK_MAX: Duration = Duration::from_secs(10);

/// How long a partition may be missing before it counts as deleted.
pub(super) const MISSING_MAX: Duration = Duration::from_secs(5);
/// How long the worker may be held up to find that out.
pub(super) const LOOK: Duration = Duration::from_millis(200);

/// Reads partitions for a worker: a client, and what its threads found out.
pub(super) struct Reader {
    pub(super) client: Arc<Client>,
    pub(super) log: Arc<Log>,
    pub(super) patience: Arc<Patience>,
}

impl Reader {
    /// Asks until there is an answer, the answer is final, or the run ends.
    pub(super) fn ask<T>(
        &self,
        what: &str,
        mut question: impl FnMut() -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let mut said = false;
        let mut missing: Option<Instant> = None;
        loop {
            let failure = match question() {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            // A broker that has just started may not know all of its partitions.
            let unknown =
                matches!(failure.code, Code::UnknownPartition | Code::UnknownTopic | Code::UnknownTopicOrPartition);
            let early = unknown && missing.get_or_insert_with(Instant::now).elapsed() < MISSING_MAX;
            let passes = early || passes(&failure);
            if !passes || self.patience.is_over() {
                let code = match passes {
                    true => KAFKA_UNREACHABLE,
                    false => KAFKA_READ,
                };
                return Err(Error::new(code, format!("{what} can't be had from Kafka")).because(failure));
            }
            if !std::mem::replace(&mut said, true) {
                tracing::warn!(target: "kafka", "waiting for {what}: {failure}");
            }
            std::thread::sleep(ASK_AGAIN);
        }
    }

    /// The oldest offset of a partition and the end of what is stable.
    pub(super) fn watermarks(&self, topic: &str, partition: u32) -> Result<(u64, u64)> {
        let what = format!("the offsets of partition {partition} of topic `{topic}`");
        self.ask(&what, || self.client.watermarks(topic, partition as i32, ASK))
    }

    /// The number of a topic's partitions; `None` if it does not exist.
    pub(super) fn partitions(&self, topic: &str) -> Result<Option<u32>> {
        let what = format!("topic `{topic}`");
        self.ask(&what, || match self.client.topic(topic, ASK)? {
            TopicState::Partitions(count) => Ok(Some(count)),
            TopicState::Missing => Ok(None),
            TopicState::Failed(failure) => Err(failure),
        })
    }
}

/// Whether waiting helps: it is not about what was asked, but about who was.
pub(super) fn passes(failure: &Failure) -> bool {
    !failure.fatal
        && matches!(
            failure.code,
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::TimedOutQueue
                | Code::MessageTimedOut
                | Code::WaitingForCoordinator
                | Code::InProgress
                | Code::WaitCache
                | Code::Retry
                | Code::UnknownBroker
                | Code::BrokerDestroy
                | Code::DestroyBroker
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::RequestTimedOut
                | Code::BrokerNotAvailable
                | Code::ReplicaNotAvailable
                | Code::NetworkException
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::NotEnoughReplicas
                | Code::NotEnoughReplicasAfterAppend
                | Code::NotController
                | Code::KafkaStorageError
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::StaleBrokerEpoch
                | Code::OffsetNotAvailable
                | Code::PreferredLeaderNotAvailable
                | Code::UnstableOffsetCommit
                | Code::ThrottlingQuotaExceeded
                | Code::ConcurrentTransactions
                | Code::FetchSessionIdNotFound
                | Code::InvalidFetchSessionEpoch
                | Code::Outdated
        )
}

/// A reader of one partition.
pub(super) struct KafkaSource {
    // Emptied before the queue goes, and the queue before the client.
    incoming: Incoming,
    queue: Queue,
    topic: Topic,
    reader: Arc<Reader>,
    name: Arc<str>,
    c_name: CString,
    task: TaskId,
    /// The offset of the next record.
    next: u64,
    /// Where a bounded input ends.
    bound: Option<u64>,
    /// Where it began, for the fraction.
    began: u64,
    started: bool,
    /// The end was seen, and nothing since.
    at_end: bool,
    /// Losses of contact when the end was seen.
    losses: u64,
    headers: Vec<Header>,
    /// Since when the brokers say that there is no such partition.
    missing: Option<Instant>,
}

impl KafkaSource {
    pub(super) fn new(
        reader: &Arc<Reader>,
        name: &Arc<str>,
        task: TaskId,
        start: u64,
        bound: Option<u64>,
    ) -> Result<Self> {
        let failed = |why: String| {
            Error::new(KAFKA_READ, format!("partition {} of topic `{name}` can't be read: {why}", task.partition))
        };
        let topic = Topic::new(&reader.client, name, &[]).map_err(failed)?;
        let queue = Queue::new(&reader.client).ok_or_else(|| failed("no queue can be made".to_owned()))?;
        Ok(Self {
            incoming: Incoming::new(),
            queue,
            topic,
            reader: reader.clone(),
            name: name.clone(),
            c_name: c_name(name),
            task,
            next: start,
            bound,
            began: start,
            started: false,
            at_end: false,
            losses: 0,
            headers: Vec::new(),
            missing: None,
        })
    }

    fn partition(&self) -> i32 {
        self.task.partition as i32
    }

    /// Whether the end was seen, and nothing since.
    pub(super) fn at_end(&self) -> bool {
        self.at_end
    }

    /// The offset after the partition's last record, stable or not, as the last fetch saw it.
    pub(super) fn high(&self) -> Option<u64> {
        self.reader.client.cached_high(&self.c_name, self.partition())
    }

    fn start(&mut self) -> Result<()> {
        self.at_end = false;
        self.losses = self.reader.log.losses();
        self.topic.start(self.partition(), self.next, &self.queue).map_err(|f| self.unreadable(f))?;
        self.started = true;
        Ok(())
    }

    fn stop(&mut self) {
        self.incoming.clear();
        if std::mem::take(&mut self.started)
            && let Err(failure) = self.topic.stop(self.partition())
        {
            tracing::debug!(target: "kafka", "reading partition {} of `{}` did not stop: {failure}", self.task, self.name);
        }
        // What came before it stopped.
        loop {
            self.queue.take(usize::MAX, Duration::ZERO, &mut self.incoming);
            if self.incoming.next().is_none() {
                break;
            }
        }
        self.incoming.clear();
    }

    fn unreadable(&self, failure: Failure) -> Error {
        let (topic, partition) = (&self.name, self.task.partition);
        match failure.code {
            Code::AutoOffsetReset | Code::OffsetOutOfRange => offset_gone(topic, partition, self.next),
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
                topic_gone(topic, Some(partition))
            }
            _ => Error::new(
                KAFKA_READ,
                format!("partition {partition} of topic `{topic}` can't be read at offset {}", self.next),
            )
            .help("look at the broker's log; if the broker refuses this user, let it read the topic")
            .because(failure),
        }
    }

    /// Something that is no record. `Err` if reading is over.
    fn note(&mut self, message: &Message) -> Result<()> {
        if message.is_end() {
            self.next = self.next.max(message.offset());
            self.at_end = true;
            return Ok(());
        }
        let Some(failure) = message.error() else { return Ok(()) };
        match failure.code {
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
                // A broker that was just started may not know it yet.
                self.missing.get_or_insert_with(Instant::now);
                self.at_end = false;
                Ok(())
            }
            _ if passes(&failure) => {
                self.at_end = false;
                Ok(())
            }
            _ => Err(self.unreadable(failure)),
        }
    }

    fn ended(&mut self) -> bool {
        self.bound.is_some_and(|bound| self.next >= bound)
    }

    /// What a poll that brought nothing comes to.
    fn nothing(&mut self) -> Result<Polled> {
        if self.ended() {
            return Ok(Polled::End);
        }
        if self.missing.is_some_and(|since| since.elapsed() >= MISSING_MAX) {
            self.missing = None;
            match self.reader.client.topic(&self.name, LOOK) {
                Ok(TopicState::Partitions(count)) if count > self.task.partition => {
                    self.stop();
                    self.start()?;
                }
                Ok(TopicState::Partitions(_) | TopicState::Missing) => {
                    return Err(topic_gone(&self.name, Some(self.task.partition)));
                }
                _ => self.missing = Some(Instant::now()),
            }
        }
        if self.at_end && self.losses != self.reader.log.losses() {
            // The contact was lost meanwhile: the end must be seen anew.
            self.stop();
            self.start()?;
        }
        Ok(if self.at_end { Polled::CaughtUp } else { Polled::Waiting })
    }
}

impl Source for KafkaSource {
    fn poll(&mut self, limit: PollLimit, out: &mut RawBatch) -> Result<Polled> {
        if self.ended() {
            return Ok(Polled::End);
        }
        if !self.started {
            self.start()?;
        }
        if out.topic.is_none() {
            out.topic = Some(self.name.clone());
        }
        let bound = self.bound.unwrap_or(u64::MAX);
        let bytes_end = out.bytes_len().saturating_add(limit.bytes);
        let mut records = 0;
        while records < limit.records.max(1) && out.bytes_len() < bytes_end {
            let Some(message) = self.incoming.next() else {
                self.queue.take(limit.records - records, Duration::ZERO, &mut self.incoming);
                match self.incoming.is_empty() {
                    true => break,
                    false => continue,
                }
            };
            if !message.is_record() {
                self.note(&message)?;
                continue;
            }
            let offset = message.offset();
            if offset >= bound {
                self.next = self.next.max(bound);
                break;
            }
            self.headers.clear();
            message.headers(&mut self.headers);
            out.push(offset, message.timestamp_ms(), message.key(), message.value(), &self.headers);
            self.next = offset + 1;
            self.at_end = false;
            self.missing = None;
            records += 1;
        }
        match records {
            0 => self.nothing(),
            _ => Ok(Polled::Records),
        }
    }

    fn position(&self) -> Position {
        Position { offset: self.next, cursor: String::new() }
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        let began = Instant::now();
        loop {
            let (low, high) = self.reader.watermarks(&self.name, self.task.partition)?;
            if position.offset < low {
                return Err(offset_gone(&self.name, self.task.partition, position.offset));
            }
            if position.offset <= high {
                break;
            }
            if began.elapsed() >= END_BACK_MAX || self.reader.patience.is_over() {
                return Err(went_back(&self.name, self.task.partition, position.offset, high));
            }
            std::thread::sleep(ASK_AGAIN);
        }
        self.stop();
        self.next = position.offset;
        self.began = self.began.min(position.offset);
        self.at_end = false;
        Ok(())
    }

    fn earliest(&mut self) -> Result<Option<Position>> {
        let (low, _) = self.reader.watermarks(&self.name, self.task.partition)?;
        Ok(Some(Position { offset: low, cursor: String::new() }))
    }

    fn lag(&self) -> Option<u64> {
        if self.at_end {
            return Some(0);
        }
        let high = match self.bound {
            Some(bound) => bound,
            None => self.high()?,
        };
        Some(high.saturating_sub(self.next))
    }

    fn fraction_read(&self) -> Option<f64> {
        let bound = self.bound?;
        let all = bound.saturating_sub(self.began);
        let read = self.next.min(bound).saturating_sub(self.began);
        Some(if all == 0 { 1.0 } else { read as f64 / all as f64 })
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A topic, or one of its partitions, that is not there (any more).
pub(super) fn topic_gone(topic: &str, partition: Option<u32>) -> Error {
    let what = match partition {
        Some(partition) => format!("partition {partition} of topic `{topic}` does not exist"),
        None => format!("topic `{topic}` does not exist"),
    };
    Error::new(KAFKA_NO_TOPIC, what).help(
        "if it was deleted, create it again and begin anew with `millstream reset`; if this user may not see it, give it \
         the right to",
    )
}

fn offset_gone(topic: &str, partition: u32, offset: u64) -> Error {
    Error::new(
        KAFKA_OFFSET_GONE,
        format!("partition {partition} of topic `{topic}` no longer has offset {offset}: its retention has passed it"),
    )
    .help(
        "run with `--rebuild-from earliest` to compute from what is left, or with `--state empty` to go on without the \
         past; a longer retention of the topic keeps this from happening again",
    )
}

fn went_back(topic: &str, partition: u32, offset: u64, end: u64) -> Error {
    Error::new(
        INPUT_CHANGED,
        format!("partition {partition} of topic `{topic}` ends at offset {end}, but it was read up to {offset}"),
    )
    .help(
        "the topic was deleted and created again, or a broker lost its end: begin anew with `millstream reset`, or use \
         another `group:`",
    )
}
