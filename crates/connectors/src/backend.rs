//! What commits a pipeline's epochs and shares its input out to workers.
//!
//! There are two. The *local* one keeps positions, journal and the records of its topics in the embedded log, and
//! gives one process all partitions. The *Kafka* one keeps them in Kafka: an epoch is a transaction of the worker's own
//! producer, and if the source is Kafka too, a consumer group shares the partitions out to all processes that run the
//! pipeline. A pipeline that touches Kafka anywhere uses the second, since only Kafka can commit records to Kafka.

use std::sync::Arc;

use millstream_core::{Change, Delivery, Lease, Member, Opener, Result, Source, Store, TaskId};

use crate::env::Env;
use crate::kafka::{self, Cluster};
use crate::spec::{SinkSpec, SourceSpec};

/// Opens what each worker needs. Shared by the threads of a run.
pub trait Backend: Send + Sync {
    /// Whether every worker commits for itself, through its own store (Kafka), or all through one (the log).
    fn commits_per_worker(&self) -> bool;

    /// How many tasks there are; `None` where their number may grow.
    fn tasks(&self) -> Option<u32>;

    /// The store that worker number `worker` commits to. May wait for the network.
    ///
    /// # Errors
    /// It can't be reached, or is in use by another process.
    fn store(&self, worker: u32) -> Result<Arc<dyn Store>>;

    /// The membership of worker `worker` of `workers`. Called after [`Backend::store`] of the same worker.
    ///
    /// # Errors
    /// The input can't be reached.
    fn member(&self, worker: u32, workers: u32) -> Result<Box<dyn Member>>;
}

/// What a pipeline commits to, known from its file alone.
#[derive(Clone, Debug)]
pub enum Choice {
    /// The embedded log.
    Local,
    /// This Kafka cluster.
    Kafka(Box<Cluster>),
}

/// Why source and outputs can't share a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The output that is to blame, where one is.
    pub output: Option<String>,
    /// What is wrong, for people.
    pub message: String,
    /// The way out.
    pub help: String,
}

/// Decides which backend a pipeline uses. `Err` says, for people, why its source and outputs can't share one.
///
/// # Errors
/// They are on different clusters, or an output of the embedded log would have to join a Kafka transaction.
pub fn choose(
    source: &dyn SourceSpec,
    sinks: &[(&str, &dyn SinkSpec)],
    delivery: Delivery,
) -> std::result::Result<Choice, Clash> {
    kafka::choose(source, sinks, delivery)
}

/// Opens the backend of a pipeline. May wait for the network.
///
/// # Errors
/// It can't be reached.
pub fn open(
    choice: &Choice,
    env: &Arc<Env>,
    source: &Arc<dyn SourceSpec>,
    delivery: Delivery,
) -> Result<Arc<dyn Backend>> {
    match choice {
        Choice::Local => Ok(Arc::new(Local::open(env, source)?)),
        Choice::Kafka(cluster) => kafka::backend(cluster, env, source, delivery),
    }
}

/// Everything in the embedded log.
struct Local {
    env: Arc<Env>,
    source: Arc<dyn SourceSpec>,
    tasks: u32,
}

impl Local {
    fn open(env: &Arc<Env>, source: &Arc<dyn SourceSpec>) -> Result<Self> {
        Ok(Self { env: env.clone(), source: source.clone(), tasks: source.partitions(env)? })
    }
}

impl Backend for Local {
    fn commits_per_worker(&self) -> bool {
        false
    }

    fn tasks(&self) -> Option<u32> {
        Some(self.tasks)
    }

    fn store(&self, _worker: u32) -> Result<Arc<dyn Store>> {
        Ok(self.env.log()?)
    }

    fn member(&self, worker: u32, workers: u32) -> Result<Box<dyn Member>> {
        Ok(Box::new(SoleOwner::new(&self.env, &self.source, self.tasks, worker, workers)))
    }
}

/// A share of an input that one process reads alone: worker `w` of `n` has every `n`-th partition from `w` on, for good.
pub(crate) struct SoleOwner {
    opener: Arc<SpecOpener>,
    tasks: Vec<TaskId>,
    told: bool,
}

impl SoleOwner {
    pub(crate) fn new(env: &Arc<Env>, source: &Arc<dyn SourceSpec>, tasks: u32, worker: u32, workers: u32) -> Self {
        let opener = Arc::new(SpecOpener { env: env.clone(), source: source.clone() });
        let tasks = (0..tasks).filter(|task| task % workers.max(1) == worker).map(TaskId::new).collect();
        Self { opener, tasks, told: false }
    }
}

struct SpecOpener {
    env: Arc<Env>,
    source: Arc<dyn SourceSpec>,
}

impl Opener for SpecOpener {
    fn open(&self, task: TaskId) -> Result<Box<dyn Source>> {
        self.source.open(&self.env, task.partition)
    }
}

impl Member for SoleOwner {
    fn poll(&mut self) -> Result<Option<Change>> {
        let first = !std::mem::replace(&mut self.told, true);
        // Nobody takes them away: one lease lasts.
        Ok(first.then(|| Change::Assigned(self.tasks.iter().map(|task| (*task, Lease(0))).collect())))
    }

    fn opener(&self) -> Arc<dyn Opener> {
        self.opener.clone()
    }

    fn release(&mut self, _tasks: &[TaskId]) -> Result<()> {
        Ok(())
    }

    fn is_open(&self) -> bool {
        false
    }

    fn leave(&mut self) -> Result<()> {
        Ok(())
    }
}
