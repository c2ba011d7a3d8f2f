//! A pipeline's group, commits and journal, looked at and set by hand: see [`crate::look`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_core::{CommitRecord, Delivery, Error, JournalEntry, Lease, Position, Result, Store, TaskId};

use super::admin::Admin;
use super::backend::lock;
use super::clients::Clients;
use super::group::{GroupState, Patience, TaskNames};
use super::input::Topics;
use super::instance::{Instance, random};
use super::journal::Journal;
use super::native::{self, Code, PartitionList};
use super::record::Stored;
use super::source::ASK;
use super::store::{KafkaStore, Keeps};
use super::{Cluster, KafkaInput};
use crate::codes::{KAFKA_OFFSET_GONE, KAFKA_REFUSED, KAFKA_RUNNING, KAFKA_UNREACHABLE};
use crate::env::Env;
use crate::look::{Input, Look, Owner, Place, local_inputs, no_place};
use crate::spec::SourceSpec;

/// How long all questions may take together, once the cluster was reached.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the group's coordinator may take.
const GROUP: Duration = Duration::from_secs(10);

struct KafkaLook {
    admin: Admin,
    store: KafkaStore,
    cluster: Cluster,
    env: Arc<Env>,
    source: Arc<dyn SourceSpec>,
    input: Option<KafkaInput>,
    delivery: Delivery,
    names: Arc<TaskNames>,
}

/// See [`crate::look::look`].
pub(crate) fn look(
    cluster: &Cluster,
    env: &Arc<Env>,
    source: &Arc<dyn SourceSpec>,
    delivery: Delivery,
) -> Result<Box<dyn Look>> {
    let input = source.kafka().cloned();
    // Says within seconds, and why, that a cluster is not to be reached.
    let admin = Admin::connect(&cluster.connection, env.base_dir())?;
    let names = Arc::new(TaskNames::new(input.as_ref().is_some_and(|input| input.topics.several())));
    let patience = Arc::new(Patience::default());
    patience.hurry(PATIENCE);
    let store = store(cluster, env, input.as_ref(), delivery, &names, &patience, Instance::nobody())?;
    let (cluster, env, source) = (cluster.clone(), env.clone(), source.clone());
    Ok(Box::new(KafkaLook { admin, store, cluster, env, source, input, delivery, names }))
}

fn store(
    cluster: &Cluster,
    env: &Arc<Env>,
    input: Option<&KafkaInput>,
    delivery: Delivery,
    names: &Arc<TaskNames>,
    patience: &Arc<Patience>,
    instance: Instance,
) -> Result<KafkaStore> {
    let clients = Arc::new(Clients { env: env.clone(), connection: cluster.connection.clone(), instance });
    let reader = clients.reader_of(input, patience)?;
    let keeps = match input {
        Some(input) => {
            Keeps::Offsets { group: Arc::new(GroupState::new(names.clone())), input: Box::new(input.clone()) }
        }
        None => Keeps::Records,
    };
    let journal = Arc::new(Journal::new(env.pipeline(), input.is_none(), delivery));
    Ok(KafkaStore::new(clients, cluster.clone(), 0, delivery, keeps, reader, journal))
}

impl KafkaLook {
    fn group<'a>(&'a self, input: &'a KafkaInput) -> &'a str {
        input.group(self.env.pipeline())
    }

    /// The partitions of named topics; of a pattern's, those that have a commit or an owner.
    fn partitions(&self, input: &KafkaInput) -> Result<Vec<(TaskId, String, u32)>> {
        let mut all = Vec::new();
        if let Topics::Named(topics) = &input.topics {
            for topic in topics {
                let count = self.admin.partitions_of(topic)?.ok_or_else(|| self.admin.missing(topic))?;
                for partition in 0..count {
                    all.push((self.names.task(topic, partition)?, topic.clone(), partition));
                }
            }
            return Ok(all);
        }
        let mut tasks: BTreeSet<TaskId> = self.commits()?.into_keys().collect();
        tasks.extend(self.owners()?.into_iter().flat_map(|owner| owner.tasks));
        let named = |task: TaskId| Some((task, self.names.topic(task)?.to_string(), task.partition));
        Ok(tasks.into_iter().filter_map(named).collect())
    }

    fn journal_exists(&self) -> Result<bool> {
        Ok(self.admin.partitions_of(self.store.journal.topic())?.is_some())
    }

    /// Sets the offsets of the group, which the broker does for one without members only.
    fn set_offsets(&self, input: &KafkaInput, commits: &[(TaskId, CommitRecord)]) -> Result<()> {
        let group = self.group(input);
        let client = &self.store.reader.client;
        let mut list = PartitionList::new();
        for (task, record) in commits {
            let Some(topic) = self.names.topic(*task) else { continue };
            let metadata = Stored::new(record, &format!("reset-{:x}", random())).metadata()?;
            let offset = i64::try_from(record.position.offset).unwrap_or(i64::MAX);
            list.add_with(client, &topic, task.partition as i32, offset, &metadata);
        }
        native::alter_offsets(client, group, &list, GROUP).map_err(|failure| match failure.code {
            Code::UnknownMemberId | Code::NonEmptyGroup | Code::RebalanceInProgress | Code::IllegalGeneration => {
                running(group, None)
            }
            _ => Error::new(KAFKA_REFUSED, format!("the offsets of the consumer group `{group}` can't be set"))
                .help("let this user read the group and its topics (ACL `Read`), and look at the broker's log")
                .because(failure),
        })?;
        // What no commit counts any more need not be kept. If it stays, it is passed over.
        let all: BTreeSet<u32> = commits.iter().map(|(task, _)| self.store.journal.partition(*task)).collect();
        let emptied = |p: &u32| commits.iter().filter(|(t, _)| t.partition == *p).all(|(_, r)| r.journal_len == 0);
        let emptied: Vec<_> = all.into_iter().filter(emptied).map(|p| (p, None)).collect();
        if !emptied.is_empty()
            && self.journal_exists()?
            && let Err(error) = self.store.ops()?.delete_records(self.store.journal.topic(), &emptied)
        {
            tracing::warn!(code = error.code().id, "{error}");
        }
        Ok(())
    }

    /// Writes commits as records of the journal.
    fn write_records(&self, commits: &[(TaskId, CommitRecord)]) -> Result<()> {
        let _sole = lock(&self.env)?;
        let instance = Instance::take(self.env.data_dir())?;
        let patience = self.store.reader.patience.clone();
        let store = store(&self.cluster, &self.env, None, self.delivery, &self.names, &patience, instance)?;
        let partitions = commits.iter().map(|(task, _)| task.partition + 1).max().unwrap_or(1);
        let store = store.open(partitions)?;
        let mut txn = store.begin();
        for (task, record) in commits {
            txn.task(*task, Lease(0));
            txn.put_commit(self.env.pipeline(), *task, record)?;
        }
        // Records of the journal are under no lease: none is left out.
        txn.commit(true).map(|_| ())
    }
}

/// That a group has members.
fn running(group: &str, who: Option<&[Owner]>) -> Error {
    let who = match who {
        Some(who) => {
            let names: BTreeSet<&str> = who.iter().map(|owner| owner.name.as_str()).collect();
            format!(": {}", names.into_iter().collect::<Vec<_>>().join(", "))
        }
        None => String::new(),
    };
    Error::new(KAFKA_RUNNING, format!("the consumer group `{group}` has members{who}"))
        .help("stop all processes that run this pipeline; one that was killed counts until `session_timeout` is over")
}

impl Look for KafkaLook {
    fn inputs(&self) -> Result<Vec<Input>> {
        let Some(input) = &self.input else { return local_inputs(&self.env, self.source.as_ref()) };
        let look = |(task, topic, partition): (TaskId, String, u32)| {
            let bounds = Some(self.store.reader.watermarks(&topic, partition)?);
            Ok(Input { task, topic: Some(topic), bounds })
        };
        self.partitions(input)?.into_iter().map(look).collect()
    }

    fn commits(&self) -> Result<BTreeMap<TaskId, CommitRecord>> {
        if self.input.is_none() && !self.journal_exists()? {
            return Ok(BTreeMap::new());
        }
        Ok(self.store.load_commits(self.env.pipeline())?.into_iter().collect())
    }

    fn commit(&self, task: TaskId) -> Result<Option<CommitRecord>> {
        if self.input.is_none() && !self.journal_exists()? {
            return Ok(None);
        }
        Ok(self.store.load_stored(task)?.map(|(stored, offset)| stored.record(offset)))
    }

    fn owners(&self) -> Result<Vec<Owner>> {
        let Some(input) = &self.input else {
            // Nobody can be asked, but whoever runs it holds a lock.
            let busy = self.env.data_dir().join("input.lock").exists() && lock(&self.env).is_err();
            let owner = |name: String| Owner { name, host: None, http: None, instance: None, tasks: Vec::new() };
            let place = self.env.data_dir().display();
            return Ok(busy.then(|| owner(format!("a process in `{place}`"))).into_iter().collect());
        };
        let group = self.group(input);
        let reader = &self.store.reader;
        // A coordinator that was just asked for the first time may not be there yet.
        let members = reader.ask("the members of the consumer group", || native::members(&reader.client, group, GROUP));
        let members = members.map_err(|error| {
            Error::new(KAFKA_UNREACHABLE, format!("the consumer group `{group}` can't be looked at"))
                .help("let this user look at the group (ACL `Describe`), and look whether its coordinator is up")
                .because(error)
        })?;
        let owner = |member: native::GroupMember| {
            let tasks = member.partitions.iter().map(|(topic, partition)| self.names.task(topic, *partition));
            Ok(Owner::parse(&member.client_id, self.env.pipeline(), member.instance, tasks.collect::<Result<_>>()?))
        };
        members.into_iter().map(owner).collect()
    }

    fn position(&self, input: &Input, place: Place) -> Result<Position> {
        if self.input.is_none() {
            return self.source.place(&self.env, input.task.partition, place);
        }
        let (topic, partition) = (input.topic.as_deref().unwrap_or_default(), input.task.partition);
        let whose = format!("partition {partition} of topic `{topic}`");
        let (low, high) = input.bounds.ok_or_else(|| no_place(&whose, "its offsets are not known"))?;
        let reader = &self.store.reader;
        let offset = match place {
            Place::Earliest => low,
            Place::Latest => high,
            Place::Timestamp(time_ms) => {
                let what = format!("the offset of a time in {whose}");
                let found = reader.ask(&what, || reader.client.offset_at(topic, partition as i32, time_ms, ASK))?;
                found.unwrap_or(high).clamp(low, high)
            }
            Place::Offset(offset) if (low..=high).contains(&offset) => offset,
            Place::Offset(offset) => {
                return Err(Error::new(KAFKA_OFFSET_GONE, format!("{whose} has no offset {offset}"))
                    .help(format!("it has {low} to {high}; say `--partition` to move some partitions only")));
            }
        };
        Ok(Position { offset, cursor: String::new() })
    }

    fn journal(&self, task: TaskId, len: u64) -> Result<Vec<JournalEntry>> {
        if len == 0 || !self.journal_exists()? {
            return Ok(Vec::new());
        }
        let mut entries = self.store.journal.load(&self.store.reader, task, 0, Some(len))?;
        entries.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(entries)
    }

    fn set(&self, commits: &[(TaskId, CommitRecord)]) -> Result<()> {
        let Some(input) = &self.input else { return self.write_records(commits) };
        let owners = self.owners()?;
        if !owners.is_empty() {
            return Err(running(self.group(input), Some(&owners)));
        }
        self.set_offsets(input, commits)
    }
}
