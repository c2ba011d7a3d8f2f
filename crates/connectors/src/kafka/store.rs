//! The store of one worker: commits and journal in Kafka.
//!
//! Where the input is Kafka too, a commit is the group's offset with the rest of the commit as its metadata; otherwise it
//! is a record of the journal topic. Either way it is written by the worker's own producer together with the outputs. The
//! producer belongs to the committer's thread; what reads may be called from any.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream_core::{CommitRecord, Delivery, Error, JournalEntry, Result, Store, TaskId, Txn};

use super::clients::Clients;
use super::decide::{Action, Call, Leases, classify, decide};
use super::group::GroupState;
use super::input::Topics;
use super::instance::random;
use super::journal::Journal;
use super::native::{PartitionList, TopicState};
use super::ops::Ops;
use super::record::Stored;
use super::source::{ASK, Reader, topic_gone};
use super::txn::{KafkaTxn, Producing};
use super::writer::Writer;
use super::{Cluster, KafkaInput};
use crate::codes::{KAFKA_COMMIT, KAFKA_COMMIT_LOST};

/// How long a commit that the journal knows of may be missing: a coordinator that just moved may not have it for a moment.
const MISSING_MAX: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const INIT_CALL: Duration = Duration::from_secs(5);

/// Where the commits are.
#[derive(Clone)]
pub(super) enum Keeps {
    /// In the offsets of the input's group.
    Offsets { group: Arc<GroupState>, input: Box<KafkaInput> },
    /// In the journal topic.
    Records,
}

pub(super) struct KafkaStore {
    pub(super) clients: Arc<Clients>,
    pub(super) cluster: Cluster,
    pub(super) worker: u32,
    pub(super) delivery: Delivery,
    pub(super) keeps: Keeps,
    pub(super) reader: Arc<Reader>,
    pub(super) journal: Arc<Journal>,
    pub(super) producing: Mutex<Producing>,
    /// Names the writes of this store.
    seed: u64,
    writes: AtomicU64,
}

impl KafkaStore {
    /// A store that can be read from: it creates nothing and has no producer yet.
    pub(super) fn new(
        clients: Arc<Clients>,
        cluster: Cluster,
        worker: u32,
        delivery: Delivery,
        keeps: Keeps,
        reader: Arc<Reader>,
        journal: Arc<Journal>,
    ) -> Self {
        let (producing, seed, writes) = (Mutex::default(), random(), AtomicU64::new(0));
        Self { clients, cluster, worker, delivery, keeps, reader, journal, producing, seed, writes }
    }

    /// Makes it ready to be written to: makes the producer, which ends what an earlier run of this worker left open.
    pub(super) fn open(self, partitions: u32) -> Result<Self> {
        self.journal.ensure(&self.reader, || self.ops(), partitions.max(1))?;
        self.ready(&mut self.producing.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(self)
    }

    /// The identity of this worker's transactions.
    pub(super) fn identity(&self) -> String {
        self.clients.transactional_id(self.worker)
    }

    pub(super) fn name_write(&self) -> String {
        format!("{:x}-{:x}", self.seed, self.writes.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn ops(&self) -> Result<Ops> {
        Ops::new(&self.cluster.connection, self.clients.env.base_dir())
    }

    /// Sees to it that there is a producer that may begin a transaction.
    pub(super) fn ready(&self, producing: &mut Producing) -> Result<()> {
        if producing.writer.is_some() {
            return Ok(());
        }
        let writer = self.clients.producer(&self.cluster, self.worker, self.delivery)?;
        if self.delivery == Delivery::ExactlyOnce {
            self.init(&writer)?;
        }
        producing.writer = Some(writer);
        Ok(())
    }

    /// Ends what an earlier producer of this identity left open, and cuts it off.
    fn init(&self, writer: &Writer) -> Result<()> {
        let mut said = false;
        while let Err(failure) = writer.client.init_transactions(INIT_CALL) {
            let class = classify(Call::Init, &failure);
            if decide(Call::Init, class, Leases::Held, self.reader.patience.is_over()) != Action::Same {
                return Err(Error::new(KAFKA_COMMIT, "transactions can't be begun")
                    .help(
                        "let this user write transactions (ACL `Write` on the transactional ids that begin with \
                         `millstream-`), and look at the broker's log",
                    )
                    .because(failure));
            }
            if !std::mem::replace(&mut said, true) {
                tracing::warn!(target: "kafka", "waiting for the transaction coordinator: {failure}");
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Offsets that the group committed, for the partitions of a list.
    fn committed(&self, list: &mut PartitionList) -> Result<()> {
        self.reader.ask("the group's committed offsets", || {
            self.reader.client.committed(list, ASK)?;
            match list.entries().into_iter().find_map(|entry| entry.error) {
                Some(failure) => Err(failure),
                None => Ok(()),
            }
        })
    }

    fn topic(&self, group: &GroupState, input: &KafkaInput, task: TaskId) -> Result<Arc<str>> {
        if let Some(topic) = group.names.topic(task) {
            return Ok(topic);
        }
        self.input_topics(group, input)?;
        group.names.topic(task).ok_or_else(|| topic_gone(&format!("of task {task}"), None))
    }

    /// The topics of the input that exist, with their numbers of partitions. Names the tasks of those that are listed.
    fn input_topics(&self, group: &GroupState, input: &KafkaInput) -> Result<Vec<(String, u32)>> {
        let mut all = Vec::new();
        let Topics::Named(names) = &input.topics else {
            let topics = self.reader.ask("the topics", || self.reader.client.topics(ASK))?;
            let count = |state| match state {
                TopicState::Partitions(count) => Some(count),
                _ => None,
            };
            all.extend(topics.into_iter().filter_map(|(name, state)| Some((name, count(state)?))));
            return Ok(all);
        };
        for name in names {
            if let Some(partitions) = self.reader.partitions(name)? {
                group.names.task(name, 0)?;
                all.push((name.clone(), partitions));
            }
        }
        Ok(all)
    }

    /// The newest commit of a task as it was written, with its offset.
    pub(super) fn load_stored(&self, task: TaskId) -> Result<Option<(Stored, u64)>> {
        match &self.keeps {
            Keeps::Offsets { group, input } => {
                let topic = self.topic(group, input, task)?;
                let mut list = PartitionList::new();
                list.add(&topic, task.partition as i32, -1);
                self.committed(&mut list)?;
                let entry = list.entries().into_iter().next();
                let Some((entry, offset)) =
                    entry.and_then(|e| Some((u64::try_from(e.offset).ok()?, e))).map(|(offset, entry)| (entry, offset))
                else {
                    return Ok(None);
                };
                let whose = format!("partition {} of topic `{topic}`", task.partition);
                Ok(Some((Stored::parse(&entry.metadata, &whose)?, offset)))
            }
            Keeps::Records => {
                let Some(text) = self.journal.last_commit(&self.reader, task)? else { return Ok(None) };
                Ok(Some((Stored::parse(&text, &format!("task {task}"))?, 0)))
            }
        }
    }

    fn ensure_for(&self, task: TaskId) -> Result<()> {
        self.journal.ensure(&self.reader, || self.ops(), self.journal.partition(task) + 1)
    }
}

impl Store for KafkaStore {
    fn begin(&self) -> Box<dyn Txn + '_> {
        Box::new(KafkaTxn::new(self))
    }

    fn load_commit(&self, _pipeline: &str, task: TaskId) -> Result<Option<CommitRecord>> {
        self.ensure_for(task)?;
        let began = Instant::now();
        loop {
            if let Some((stored, offset)) = self.load_stored(task)? {
                return Ok(Some(stored.record(offset)));
            }
            if !self.journal.knows(&self.reader, task)? {
                return Ok(None);
            }
            if self.delivery != Delivery::ExactlyOnce {
                // The journal comes before the offset, so a crash between them leaves just this.
                return Ok(None);
            }
            if began.elapsed() >= MISSING_MAX || self.reader.patience.is_over() {
                return Err(lost(task, self.journal.topic()));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn load_commits(&self, _pipeline: &str) -> Result<Vec<(TaskId, CommitRecord)>> {
        let mut commits = Vec::new();
        let Keeps::Offsets { group, input } = &self.keeps else {
            let partitions = self.reader.partitions(self.journal.topic())?.unwrap_or(0);
            for task in (0..partitions).map(TaskId::new) {
                if let Some((stored, offset)) = self.load_stored(task)? {
                    commits.push((task, stored.record(offset)));
                }
            }
            return Ok(commits);
        };
        let mut list = PartitionList::new();
        for (topic, partitions) in self.input_topics(group, input)? {
            for partition in 0..partitions {
                list.add(&topic, partition as i32, -1);
            }
        }
        self.committed(&mut list)?;
        for entry in list.entries() {
            let Ok(offset) = u64::try_from(entry.offset) else { continue };
            let task = group.names.task(&entry.topic, entry.partition)?;
            let whose = format!("partition {} of topic `{}`", entry.partition, entry.topic);
            commits.push((task, Stored::parse(&entry.metadata, &whose)?.record(offset)));
        }
        Ok(commits)
    }

    fn load_journal(&self, _pipeline: &str, task: TaskId, from: u64) -> Result<Vec<JournalEntry>> {
        self.ensure_for(task)?;
        let len = match self.delivery {
            Delivery::ExactlyOnce => None,
            // What was written after the last commit does not count.
            _ => Some(self.load_stored(task)?.map_or(0, |(stored, offset)| stored.record(offset).journal_len)),
        };
        self.journal.load(&self.reader, task, from, len)
    }

    fn trim_journal(&self, _pipeline: &str, task: TaskId, index: u64) -> Result<()> {
        self.journal.trim(&self.reader, || self.ops(), task, index)
    }

    fn hurry(&self, patience: Duration) {
        self.reader.patience.hurry(patience);
    }

    fn forget(&self, pipeline: &str) -> Result<()> {
        let ops = self.ops()?;
        if let Keeps::Offsets { input, .. } = &self.keeps {
            ops.delete_group(input.group(pipeline))?;
        }
        self.journal.forget(&self.reader, &ops)
    }
}

fn lost(task: TaskId, journal: &str) -> Error {
    Error::new(
        KAFKA_COMMIT_LOST,
        format!(
            "the group has no committed offset for task {task}, but the journal `{journal}` knows that it committed"
        ),
    )
    .help(
        "brokers remove the offsets of a group that nobody was in for `offsets.retention.minutes` (7 days unless set \
         otherwise). Begin anew with `millstream reset`, or set the group's offset back by hand",
    )
}
