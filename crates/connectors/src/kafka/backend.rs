//! The backend of pipelines that touch Kafka: a store, and if the input is Kafka a membership, for each worker.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::sync::{Arc, Mutex, PoisonError};

use millstream_core::{Delivery, Error, Member, Result, Store};

use super::clients::Clients;
use super::group::{GroupState, Patience, TaskNames};
use super::input::Topics;
use super::instance::Instance;
use super::journal::Journal;
use super::member::KafkaMember;
use super::opener::KafkaOpener;
use super::source::{Reader, topic_gone};
use super::store::{KafkaStore, Keeps};
use super::{Cluster, KafkaInput};
use crate::backend::{Backend, SoleOwner};
use crate::codes::KAFKA_INSTANCE;
use crate::env::Env;
use crate::spec::SourceSpec;

/// What a worker's store and member share.
struct Lane {
    group: Arc<GroupState>,
    reader: Arc<Reader>,
}

struct KafkaBackend {
    clients: Arc<Clients>,
    cluster: Cluster,
    env: Arc<Env>,
    source: Arc<dyn SourceSpec>,
    input: Option<KafkaInput>,
    delivery: Delivery,
    names: Arc<TaskNames>,
    journal: Arc<Journal>,
    /// Partitions of the input when it was opened.
    partitions: u32,
    patience: Arc<Patience>,
    lanes: Mutex<HashMap<u32, Arc<Lane>>>,
    /// One process has an input that no group shares out.
    _sole: Option<File>,
}

/// See [`crate::backend::open`].
pub(crate) fn backend(
    cluster: &Cluster,
    env: &Arc<Env>,
    source: &Arc<dyn SourceSpec>,
    delivery: Delivery,
) -> Result<Arc<dyn Backend>> {
    let input = source.kafka().cloned();
    let sole = match input {
        Some(_) => None,
        None => Some(lock(env)?),
    };
    let instance = Instance::take(env.data_dir())?;
    tracing::debug!(target: "kafka", slot = instance.slot, id = instance.id, "this process's identity");
    let clients = Arc::new(Clients { env: env.clone(), connection: cluster.connection.clone(), instance });
    let several = input.as_ref().is_some_and(|input| input.topics.several());
    let names = Arc::new(TaskNames::new(several));
    if let Some(Topics::Named(topics)) = input.as_ref().map(|input| &input.topics) {
        for topic in topics {
            names.task(topic, 0)?;
        }
    }
    let patience = Arc::new(Patience::default());
    let partitions = match &input {
        Some(input) => input_partitions(&clients, input, &patience)?,
        None => source.partitions(env)?,
    };
    let journal = Arc::new(Journal::new(env.pipeline(), input.is_none(), delivery));
    Ok(Arc::new(KafkaBackend {
        clients,
        cluster: cluster.clone(),
        env: env.clone(),
        source: source.clone(),
        input,
        delivery,
        names,
        journal,
        partitions,
        patience,
        lanes: Mutex::default(),
        _sole: sole,
    }))
}

/// How many partitions the input's largest topic has.
fn input_partitions(clients: &Clients, input: &KafkaInput, patience: &Arc<Patience>) -> Result<u32> {
    let reader = clients.reader_of(Some(input), patience)?;
    let Topics::Named(topics) = &input.topics else { return Ok(1) };
    let mut most = 0;
    for topic in topics {
        most = most.max(reader.partitions(topic)?.ok_or_else(|| topic_gone(topic, None))?);
    }
    Ok(most)
}

/// Sees to it that one process at a time reads an input that nobody shares out.
pub(super) fn lock(env: &Env) -> Result<File> {
    let path = env.data_dir().join("input.lock");
    let failed = |e: std::io::Error| {
        Error::new(KAFKA_INSTANCE, format!("`{}` can't be written", path.display()))
            .help("give the pipeline a `data_dir` that this user can write to")
            .because(e)
    };
    std::fs::create_dir_all(env.data_dir()).map_err(failed)?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(e)) => Err(failed(e)),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            KAFKA_INSTANCE,
            format!("another process runs this pipeline from `{}`", env.data_dir().display()),
        )
        .help("an input that is not Kafka has one reader: stop the other process first")),
    }
}

impl KafkaBackend {
    fn lane(&self, worker: u32) -> Result<Arc<Lane>> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&worker) {
            return Ok(lane.clone());
        }
        let lane = Arc::new(Lane {
            group: Arc::new(GroupState::new(self.names.clone())),
            reader: self.clients.reader_of(self.input.as_ref(), &self.patience)?,
        });
        lanes.insert(worker, lane.clone());
        Ok(lane)
    }
}

impl Backend for KafkaBackend {
    fn commits_per_worker(&self) -> bool {
        true
    }

    fn tasks(&self) -> Option<u32> {
        match self.input {
            Some(_) => None,
            None => Some(self.partitions),
        }
    }

    fn store(&self, worker: u32) -> Result<Arc<dyn Store>> {
        let lane = self.lane(worker)?;
        let keeps = match &self.input {
            Some(input) => Keeps::Offsets { group: lane.group.clone(), input: Box::new(input.clone()) },
            None => Keeps::Records,
        };
        let (clients, cluster) = (self.clients.clone(), self.cluster.clone());
        let (reader, journal) = (lane.reader.clone(), self.journal.clone());
        let store = KafkaStore::new(clients, cluster, worker, self.delivery, keeps, reader, journal);
        Ok(Arc::new(store.open(self.partitions)?))
    }

    fn member(&self, worker: u32, workers: u32) -> Result<Box<dyn Member>> {
        let Some(input) = &self.input else {
            return Ok(Box::new(SoleOwner::new(&self.env, &self.source, self.partitions, worker, workers)));
        };
        let lane = self.lane(worker)?;
        let client = self.clients.member(input, worker)?;
        let opener = Arc::new(KafkaOpener::new(input.clone(), self.names.clone(), lane.reader.clone()));
        let asker = lane.reader.client.clone();
        let pipeline = self.env.pipeline();
        Ok(Box::new(KafkaMember::join(client, asker, input, pipeline, lane.group.clone(), opener)?))
    }
}
