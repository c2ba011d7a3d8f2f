//! How one write is committed: as one Kafka transaction.
//!
//! Everything is kept until the outcome is known, so that it can be sent again. `commit` sends the records, takes
//! the member's place in the group, looks at the leases, sends the offsets with that place and commits; see [`super::group`] for why in
//! this order, and [`super::decide`] for what follows a failure. A producer that was cut off does not cost the tasks their
//! state: every commit carries the name of its write, so a new producer, which ends what the old one began, reads the
//! newest commits and knows whether this write holds.

use std::time::{Duration, Instant};

use millstream_core::{Error, Result, TaskId};
use rdkafka_sys::types::RDKafkaRespErr;

use super::decide::{Action, Call, Class, Leases, Next, classify, decide};
use super::group::Place;
use super::native::{Code, Failure, PartitionList, TopicState};
use super::record::Stored;
use super::rounds::Rounds;
use super::source::passes;
use super::store::{KafkaStore, Keeps};
use super::txn::{Part, Producing};
use super::writer::Writer;
use crate::codes::{KAFKA_COMMIT, KAFKA_IDENTITY, KAFKA_NO_TOPIC};

/// How long one call of a transaction waits before it looks around and is made again.
const CALL: Duration = Duration::from_secs(3);
/// The same for the end of a transaction that is given up: it waits for events that must be taken meanwhile.
const ABORT_CALL: Duration = Duration::from_millis(100);
/// Pauses between attempts, doubled from one to the other.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// How long the coordinator may be busy with a transaction's end after it said that it is committed.
const AFTERMATH: Duration = Duration::from_millis(20);
/// A producer that is cut off this often within this time has a double.
const CUTS_MAX: usize = 3;
const CUTS_WITHIN: Duration = Duration::from_secs(60);
/// How long an end of the run may take to abort what is open; the broker does it otherwise.
const ABORT_PATIENCE: Duration = Duration::from_secs(2);

/// A call that failed, with what is known of the reason.
pub(super) struct Failed {
    pub(super) call: Call,
    pub(super) failure: Failure,
    /// The record that was not delivered: topic, partition, size.
    pub(super) record: Option<(String, i32, usize)>,
}

/// Either an error of our own, which ends the run, or a failure that is decided about.
pub(super) enum Trouble {
    Error(Error),
    Failed(Failed),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A write on its way.
pub(super) struct Write<'a> {
    pub(super) store: &'a KafkaStore,
    pub(super) producing: &'a mut Producing,
    pub(super) parts: Vec<Part>,
    /// Tasks whose leases had ended.
    pub(super) lost: Vec<TaskId>,
    /// What tells this write from all others.
    name: String,
    pause: Duration,
    /// Whether the transaction may have been committed without our knowing.
    began_commit: bool,
    /// A request of the open transaction may still be on its way although it was given up: see [`Write::calm`].
    disturbed: bool,
}

impl<'a> Write<'a> {
    pub(super) fn new(store: &'a KafkaStore, producing: &'a mut Producing, parts: Vec<Part>) -> Self {
        let name = store.name_write();
        Self {
            store,
            producing,
            parts,
            lost: Vec::new(),
            name,
            pause: PAUSE_MIN,
            began_commit: false,
            disturbed: false,
        }
    }

    /// Commits what is left of it, or finds out that nothing is.
    pub(super) fn exactly_once(&mut self) -> Result<()> {
        self.store.ready(self.producing)?;
        loop {
            self.leave_out_ended();
            if self.parts.is_empty() {
                return Ok(());
            }
            let losses = self.writer()?.losses();
            let attempt = self.attempt();
            self.disturbed |= self.producing.writer.as_ref().is_some_and(|writer| writer.losses() != losses);
            let failed = match attempt {
                Ok(()) => {
                    self.calm();
                    return Ok(());
                }
                Err(Trouble::Error(error)) => {
                    self.abort_for_good();
                    return Err(error);
                }
                Err(Trouble::Failed(failed)) => failed,
            };
            let class = classify(failed.call, &failed.failure);
            tracing::debug!(target: "kafka", call = ?failed.call, ?class, "an epoch's commit failed: {}", failed.failure);
            if self.settle(failed, class)? {
                return Ok(());
            }
            self.rest();
        }
    }

    /// Gets a failed transaction out of the way. `true`: it holds after all.
    fn settle(&mut self, mut failed: Failed, mut class: Class) -> Result<bool> {
        loop {
            match decide(failed.call, class, self.leases(), self.store.reader.patience.is_over()) {
                Action::Same | Action::Stop => {
                    return Err(self.ended(&failed, failed.call == Call::Commit || self.began_commit));
                }
                Action::Abort(next) => match self.abort() {
                    Ok(()) => {
                        self.began_commit = false;
                        self.calm();
                        if next == Next::Stop {
                            return Err(self.ended(&failed, false));
                        }
                        self.check_topics(&failed)?;
                        self.store.ready(self.producing)?;
                        return Ok(false);
                    }
                    Err(worse) => {
                        class = classify(Call::Abort, &worse.failure);
                        failed = worse;
                    }
                },
                Action::Replace(_) => {
                    tracing::warn!(
                        target: "kafka",
                        "the producer was cut off ({}); a new one finds out what holds",
                        failed.failure
                    );
                    self.replace(&failed)?;
                    return match std::mem::take(&mut self.began_commit) {
                        true => self.holds(),
                        false => Ok(false),
                    };
                }
            }
        }
    }

    /// After a transaction: a request that was given up, and was answered when it was made again, may still reach the
    /// broker, and would then commit or abort the *next* transaction of this producer (until brokers and clients have
    /// KIP-890). A new producer has a new epoch, under which it is refused.
    fn calm(&mut self) {
        if std::mem::take(&mut self.disturbed) {
            self.producing.writer = None;
        }
    }

    /// One transaction, from its beginning to its commit.
    fn attempt(&mut self) -> std::result::Result<(), Trouble> {
        self.await_place();
        if self.parts.is_empty() {
            return Ok(());
        }
        self.again(Call::Begin, |writer| writer.client.begin_transaction())?;
        let crowded = self.producing.committed.is_some_and(|at| at.elapsed() < AFTERMATH);
        if crowded {
            self.send_offsets()?;
            self.send()?;
        } else {
            self.send()?;
            self.send_offsets()?;
        }
        if let Keeps::Records = self.store.keeps {
            self.send_records()?;
        }
        self.drain()?;
        self.began_commit = true;
        self.again(Call::Commit, |writer| writer.client.commit_transaction(CALL))?;
        self.began_commit = false;
        self.producing.committed = Some(Instant::now());
        Ok(())
    }

    /// Sends the offsets. Before the records right after a transaction, while the coordinator is still busy with its end:
    /// it is asked again for offsets after two milliseconds, and for partitions after 20. Otherwise while they are on
    /// their way.
    fn send_offsets(&mut self) -> std::result::Result<(), Trouble> {
        let Keeps::Offsets { group, .. } = &self.store.keeps else { return Ok(()) };
        let group = group.clone();
        loop {
            // The place first, then the leases: never the other way round.
            let Place::In(place) = group.place() else { return Err(moved()) };
            if self.parts.iter().any(|part| !group.holds(part.task, part.lease)) {
                return Err(moved());
            }
            let offsets = self.offsets()?;
            match self.writer()?.client.send_offsets(&offsets, &place, CALL) {
                Ok(()) => return Ok(()),
                Err(failure) => self.may_repeat(Call::Offsets, failure)?,
            }
        }
    }

    /// Waits, with no transaction open, until the member has a place in its group or the tasks are gone. Not at the first
    /// attempt: there it nearly always has.
    fn await_place(&mut self) {
        let Keeps::Offsets { group, .. } = &self.store.keeps else { return };
        let group = group.clone();
        if self.pause == PAUSE_MIN {
            return;
        }
        while matches!(group.place(), Place::Between) && !self.store.reader.patience.is_over() {
            std::thread::sleep(PAUSE_MIN);
        }
        self.leave_out_ended();
    }

    fn writer(&mut self) -> std::result::Result<&mut Writer, Error> {
        self.producing.writer.as_mut().ok_or_else(|| Error::new(KAFKA_COMMIT, "the producer is gone"))
    }

    /// Makes a call until it succeeds or fails for good.
    fn again(
        &mut self,
        call: Call,
        mut make: impl FnMut(&mut Writer) -> std::result::Result<(), Failure>,
    ) -> std::result::Result<(), Trouble> {
        loop {
            let writer = self.writer()?;
            let result = make(writer);
            writer.serve();
            match result {
                Ok(()) => return Ok(()),
                Err(failure) => self.may_repeat(call, failure)?,
            }
        }
    }

    /// Rests before the same call, or says why there is no point.
    fn may_repeat(&mut self, call: Call, failure: Failure) -> std::result::Result<(), Trouble> {
        let class = classify(call, &failure);
        match decide(call, class, Leases::Held, self.store.reader.patience.is_over()) {
            Action::Same => {
                self.disturbed |= passes(&failure);
                tracing::debug!(target: "kafka", ?call, "made again: {failure}");
                self.rest();
                Ok(())
            }
            _ => Err(self.failed(call, failure)),
        }
    }

    fn failed(&self, call: Call, failure: Failure) -> Trouble {
        let record = self.producing.writer.as_ref().and_then(Writer::undelivered);
        match record {
            // A commit that fails for a record that was not delivered fails for the record's reason.
            Some(delivery) if failure.code == Code::Inconsistent || call == Call::Deliver => Trouble::Failed(Failed {
                call: Call::Deliver,
                failure: delivery.failure.clone(),
                record: Some((delivery.topic.clone(), delivery.partition, delivery.bytes)),
            }),
            _ => Trouble::Failed(Failed { call, failure, record: None }),
        }
    }

    pub(super) fn rest(&mut self) {
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// Gives the producer all records. Those of the last round may still be on their way.
    pub(super) fn send(&mut self) -> std::result::Result<(), Trouble> {
        let parts = std::mem::take(&mut self.parts);
        let sent = self.send_parts(&parts);
        self.parts = parts;
        sent
    }

    fn send_parts(&mut self, parts: &[Part]) -> std::result::Result<(), Trouble> {
        let store = self.store;
        let writer = self.writer()?;
        writer.forget_undelivered();
        send_journal(store, writer, parts)?;
        let mut rounds = Rounds::new(parts, writer.request_max);
        let mut first = true;
        loop {
            let round = rounds.next();
            if round.is_empty() {
                return Ok(());
            }
            if !std::mem::take(&mut first) {
                self.drain()?;
            }
            let writer = self.writer()?;
            for portion in round {
                writer
                    .send_portion(&store.cluster, &portion)?
                    .map_err(|failure| produced(failure, portion.topic, portion.partition))?;
            }
        }
    }

    /// Gives the producer the commits, where they are records.
    pub(super) fn send_records(&mut self) -> std::result::Result<(), Trouble> {
        let store = self.store;
        let mut records = Vec::new();
        for part in &self.parts {
            if let Some(record) = &part.record {
                let partition = store.journal.partition(part.task);
                let value = Stored::new(record, &self.name).alone(record)?;
                records.push((partition, super::journal::commit_key(part.task), value));
            }
        }
        let writer = self.writer()?;
        for (partition, key, value) in records {
            writer
                .send_one(&store.cluster, store.journal.topic(), partition, &key, &value)?
                .map_err(|failure| produced(failure, store.journal.topic(), partition))?;
        }
        Ok(())
    }

    /// Waits until every record is delivered.
    pub(super) fn drain(&mut self) -> std::result::Result<(), Trouble> {
        loop {
            let writer = self.writer()?;
            let drained = writer.drained();
            if let Some(failure) = writer.undelivered().map(|d| d.failure.clone()) {
                return Err(self.failed(Call::Deliver, failure));
            }
            if drained {
                return Ok(());
            }
            if let Some(failure) = writer.client.fatal() {
                return Err(self.failed(Call::Produce, failure));
            }
            if self.store.reader.patience.is_over() {
                let failure = Failure::new(RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT);
                return Err(self.failed(Call::Produce, failure));
            }
        }
    }

    pub(super) fn offsets(&self) -> Result<PartitionList> {
        let store = self.store;
        let mut list = PartitionList::new();
        let Keeps::Offsets { group, .. } = &store.keeps else { return Ok(list) };
        for part in &self.parts {
            let Some(record) = &part.record else { continue };
            let topic = group
                .names
                .topic(part.task)
                .ok_or_else(|| Error::new(KAFKA_NO_TOPIC, format!("the topic of task {} is not known", part.task)))?;
            let metadata = Stored::new(record, &self.name).metadata()?;
            let offset = i64::try_from(record.position.offset).unwrap_or(i64::MAX);
            if let Some(writer) = &self.producing.writer {
                list.add_with(&writer.client, &topic, part.task.partition as i32, offset, &metadata);
            }
        }
        Ok(list)
    }

    /// Takes out the parts whose leases have ended.
    pub(super) fn leave_out_ended(&mut self) {
        let Keeps::Offsets { group, .. } = &self.store.keeps else { return };
        let lost = &mut self.lost;
        self.parts.retain(|part| {
            let held = group.holds(part.task, part.lease);
            if !held {
                lost.push(part.task);
            }
            held
        });
    }

    fn leases(&self) -> Leases {
        let Keeps::Offsets { group, .. } = &self.store.keeps else { return Leases::Held };
        match self.parts.iter().any(|part| group.holds(part.task, part.lease)) {
            true => Leases::Held,
            false => Leases::Ended,
        }
    }

    /// Aborts what is open.
    fn abort(&mut self) -> std::result::Result<(), Failed> {
        match self.again(Call::Abort, |writer| {
            // Events of records that are thrown away must be taken while it waits.
            let aborted = writer.client.abort_transaction(ABORT_CALL);
            writer.serve();
            aborted
        }) {
            Ok(()) => {
                if let Some(writer) = &mut self.producing.writer {
                    writer.forget_undelivered();
                }
                Ok(())
            }
            Err(Trouble::Failed(failed)) => Err(failed),
            Err(Trouble::Error(error)) => Err(Failed {
                call: Call::Abort,
                failure: Failure { text: error.to_string(), ..Failure::new(RDKafkaRespErr::RD_KAFKA_RESP_ERR__STATE) },
                record: None,
            }),
        }
    }

    /// Aborts what is open as far as that goes quickly.
    fn abort_for_good(&mut self) {
        let began = Instant::now();
        while let Some(writer) = &mut self.producing.writer
            && began.elapsed() < ABORT_PATIENCE
        {
            let aborted = writer.client.abort_transaction(ABORT_CALL);
            writer.serve();
            match aborted {
                Err(failure) if failure.retriable => {}
                _ => return,
            }
        }
    }

    /// Makes a new producer, which ends what the old one began.
    fn replace(&mut self, failed: &Failed) -> Result<()> {
        let now = Instant::now();
        self.producing.cuts.push_back(now);
        while self.producing.cuts.front().is_some_and(|at| now.duration_since(*at) > CUTS_WITHIN) {
            self.producing.cuts.pop_front();
        }
        if self.producing.cuts.len() >= CUTS_MAX {
            return Err(Error::new(
                KAFKA_IDENTITY,
                format!(
                    "this worker's producer was cut off {CUTS_MAX} times within {} s: another process uses the identity `{}`",
                    CUTS_WITHIN.as_secs(),
                    self.store.identity()
                ),
            )
            .help(
                "do not copy a `data_dir` that a process runs from; give each process its own. If there is no other \
                 process, the broker takes longer than the transaction timeout to answer: look at its log",
            )
            .because(failed.failure.clone()));
        }
        self.producing.writer = None;
        self.disturbed = false;
        self.store.ready(self.producing)
    }

    /// Whether this write is what was committed last. Parts that someone else committed meanwhile are lost.
    fn holds(&mut self) -> Result<bool> {
        let mut holds = false;
        let parts = std::mem::take(&mut self.parts);
        let mut kept = Vec::with_capacity(parts.len());
        for part in parts {
            let Some(record) = &part.record else {
                kept.push(part);
                continue;
            };
            match self.store.load_stored(part.task)? {
                Some((stored, _)) if stored.write == self.name => {
                    holds = true;
                    kept.push(part);
                }
                Some((stored, _)) if stored.epoch() >= record.epoch => {
                    if let Keeps::Offsets { group, .. } = &self.store.keeps {
                        group.end(&[part.task]);
                    }
                    self.lost.push(part.task);
                }
                _ => kept.push(part),
            }
        }
        self.parts = kept;
        Ok(holds)
    }

    /// After an abort: a topic that is gone would be waited for for ever.
    pub(super) fn check_topics(&self, failed: &Failed) -> Result<()> {
        if failed.call != Call::Deliver && failed.call != Call::Produce {
            return Ok(());
        }
        let mut seen: Vec<&str> = Vec::new();
        for append in self.parts.iter().flat_map(|part| &part.appends) {
            if seen.contains(&append.topic.as_str()) {
                continue;
            }
            seen.push(&append.topic);
            if let Ok(TopicState::Missing) = self.store.reader.client.topic(&append.topic, CALL) {
                return Err(Error::new(
                    KAFKA_NO_TOPIC,
                    format!("topic `{}`, which an output writes, does not exist", append.topic),
                )
                .help("create it again, or write `partitions:` in the output and start again, which creates it"));
            }
        }
        Ok(())
    }
}

fn send_journal(store: &KafkaStore, writer: &mut Writer, parts: &[Part]) -> std::result::Result<(), Trouble> {
    for part in parts {
        let partition = store.journal.partition(part.task);
        for (key, value) in &part.journal {
            writer
                .send_one(&store.cluster, store.journal.topic(), partition, key, value)?
                .map_err(|failure| produced(failure, store.journal.topic(), partition))?;
        }
    }
    Ok(())
}

fn produced(failure: Failure, topic: &str, partition: u32) -> Trouble {
    Trouble::Failed(Failed { call: Call::Produce, failure, record: Some((topic.to_owned(), partition as i32, 0)) })
}

/// The member has no place in its group, or a lease has ended.
fn moved() -> Trouble {
    let failure = Failure::new(RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST);
    Trouble::Failed(Failed { call: Call::Offsets, failure, record: None })
}
