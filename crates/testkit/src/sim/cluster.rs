//! A simulated cluster: input partitions, a group that shares them out, transactions, committed outputs.
//!
//! It keeps the contract of [`Store`], [`Txn`], [`Member`] and [`Source`] as Kafka's own parts do, with every failure
//! that the contract allows: a commit that holds although its writer never learns of it, one that does not hold, one that
//! leaves out tasks whose leases have ended, before it or during it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_connectors::Backend;
use millstream_core::record::NO_TIMESTAMP;
use millstream_core::{
    Change, Chunk, CommitRecord, Error, JournalEntry, Lease, Member, Opener, PollLimit, Polled, Position, RawBatch,
    Receipt, Result, Sink, Source, Store, TaskId, Txn,
};
use millstream_engine::codes::THREAD_FAILED;

use super::Bug;
use super::random::Random;

/// One record of an output: its bytes.
pub type Written = Vec<u8>;

/// What commits hold, and who owns what.
pub struct State {
    /// Chance, for batch cuts and faults.
    pub random: Random,
    /// Events of each partition, visible or not yet.
    pub input: Vec<Vec<Vec<u8>>>,
    /// How many of them are visible.
    pub visible: Vec<usize>,
    /// Committed records by output and partition.
    pub outputs: BTreeMap<(String, u32), Vec<Written>>,
    /// Newest commits.
    pub commits: BTreeMap<TaskId, CommitRecord>,
    /// Committed journals.
    pub journal: BTreeMap<TaskId, Vec<JournalEntry>>,
    /// Whether commits may fail.
    pub faults: bool,
    /// Processes that died inside a commit; the scheduler takes them away.
    pub died: BTreeSet<u64>,
    /// Faults that happened, by name.
    pub happened: BTreeMap<&'static str, u64>,
    bug: Option<Bug>,
    members: BTreeMap<u64, Membership>,
    owners: BTreeMap<TaskId, (u64, Lease)>,
    next: u64,
}

#[derive(Default)]
struct Membership {
    changes: VecDeque<Change>,
    /// Tasks it is asked to hand over, and to whom they go.
    leaving: BTreeMap<TaskId, u64>,
}

/// Shared by everything in a simulation.
#[derive(Clone)]
pub struct Cluster(Arc<Mutex<State>>);

impl Cluster {
    /// A cluster with this input, none of it visible yet.
    pub fn new(seed: u64, input: Vec<Vec<Vec<u8>>>, bug: Option<Bug>) -> Self {
        let visible = vec![0; input.len()];
        Self(Arc::new(Mutex::new(State {
            random: Random::new(seed),
            input,
            visible,
            outputs: BTreeMap::new(),
            commits: BTreeMap::new(),
            journal: BTreeMap::new(),
            faults: true,
            died: BTreeSet::new(),
            happened: BTreeMap::new(),
            bug,
            members: BTreeMap::new(),
            owners: BTreeMap::new(),
            next: 0,
        })))
    }

    /// The state, for the scheduler and the oracle.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What one process sees of the cluster.
    pub fn backend(&self, process: u64) -> SimBackend {
        SimBackend { cluster: self.clone(), process }
    }
}

impl State {
    fn note(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn lease(&mut self) -> Lease {
        self.next += 1;
        Lease(self.next)
    }

    fn give(&mut self, task: TaskId, member: u64) {
        let lease = self.lease();
        self.owners.insert(task, (member, lease));
        if let Some(membership) = self.members.get_mut(&member) {
            membership.changes.push_back(Change::Assigned(vec![(task, lease)]));
        }
    }

    /// Takes a member out of the group because it was not heard of: its leases end now, whether it knows or not.
    pub fn expire(&mut self, member: u64) {
        self.note("session expired");
        let tasks: Vec<TaskId> = self.owners.iter().filter(|(_, (m, _))| *m == member).map(|(t, _)| *t).collect();
        for task in &tasks {
            self.owners.remove(task);
        }
        if let Some(membership) = self.members.get_mut(&member) {
            membership.changes.clear();
            membership.leaving.clear();
            if !tasks.is_empty() {
                membership.changes.push_back(Change::Lost(tasks));
            }
        }
    }

    /// A process is gone for good.
    pub fn remove(&mut self, member: u64) {
        self.members.remove(&member);
        self.owners.retain(|_, (m, _)| *m != member);
    }

    /// Shares the tasks out among `members`: those whose owner changes are revoked first, as cooperative groups do.
    pub fn rebalance(&mut self, members: &[u64]) {
        if members.is_empty() {
            return;
        }
        self.note("rebalance");
        let shift = self.random.below(members.len() as u64) as usize;
        for partition in 0..self.input.len() {
            let task = TaskId::new(partition as u32);
            let to = members[(partition + shift) % members.len()];
            match self.owners.get(&task) {
                Some((owner, _)) if *owner == to => {}
                Some((owner, _)) => {
                    let owner = *owner;
                    let Some(membership) = self.members.get_mut(&owner) else { continue };
                    if membership.leaving.insert(task, to).is_none() {
                        membership.changes.push_back(Change::Revoked(vec![task]));
                    }
                }
                None => self.give(task, to),
            }
        }
    }
}

/// What one process sees.
pub struct SimBackend {
    cluster: Cluster,
    process: u64,
}

impl Backend for SimBackend {
    fn commits_per_worker(&self) -> bool {
        true
    }

    fn tasks(&self) -> Option<u32> {
        None
    }

    fn store(&self, _worker: u32) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(SimStore { cluster: self.cluster.clone(), process: self.process }))
    }

    fn member(&self, _worker: u32, _workers: u32) -> Result<Box<dyn Member>> {
        self.cluster.state().members.insert(self.process, Membership::default());
        Ok(Box::new(SimMember { cluster: self.cluster.clone(), member: self.process }))
    }
}

struct SimMember {
    cluster: Cluster,
    member: u64,
}

impl Member for SimMember {
    fn poll(&mut self) -> Result<Option<Change>> {
        let mut state = self.cluster.state();
        Ok(state.members.get_mut(&self.member).and_then(|m| m.changes.pop_front()))
    }

    fn opener(&self) -> Arc<dyn Opener> {
        Arc::new(SimOpener { cluster: self.cluster.clone() })
    }

    fn release(&mut self, tasks: &[TaskId]) -> Result<()> {
        let mut state = self.cluster.state();
        for task in tasks {
            let to = state.members.get_mut(&self.member).and_then(|m| m.leaving.remove(task));
            if state.owners.get(task).is_some_and(|(owner, _)| *owner == self.member) {
                state.owners.remove(task);
                if let Some(to) = to.filter(|to| state.members.contains_key(to)) {
                    state.give(*task, to);
                }
            }
        }
        Ok(())
    }

    fn standbys(&mut self, _copies: usize) -> Result<Option<Vec<TaskId>>> {
        let state = self.cluster.state();
        let others = state.owners.iter().filter(|(_, (owner, _))| *owner != self.member);
        Ok(Some(others.map(|(task, _)| *task).collect()))
    }

    fn is_open(&self) -> bool {
        true
    }

    fn leave(&mut self) -> Result<()> {
        self.cluster.state().remove(self.member);
        Ok(())
    }
}

struct SimOpener {
    cluster: Cluster,
}

impl Opener for SimOpener {
    fn open(&self, task: TaskId) -> Result<Box<dyn Source>> {
        Ok(Box::new(SimSource { cluster: self.cluster.clone(), task, next: 0 }))
    }
}

struct SimSource {
    cluster: Cluster,
    task: TaskId,
    next: usize,
}

impl Source for SimSource {
    fn poll(&mut self, limit: PollLimit, out: &mut RawBatch) -> Result<Polled> {
        let mut state = self.cluster.state();
        let partition = self.task.partition as usize;
        let there = state.visible[partition].saturating_sub(self.next);
        if there == 0 {
            return Ok(Polled::CaughtUp);
        }
        let count = 1 + state.random.below(there.min(limit.records) as u64) as usize;
        for event in &state.input[partition][self.next..self.next + count] {
            out.push(self.next as u64, NO_TIMESTAMP, None, Some(event), &[]);
            self.next += 1;
        }
        Ok(Polled::Records)
    }

    fn position(&self) -> Position {
        Position { offset: self.next as u64, cursor: String::new() }
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        self.next = position.offset as usize;
        if self.cluster.state().bug == Some(Bug::DoubleFold) {
            self.next = self.next.saturating_sub(1);
        }
        Ok(())
    }

    fn earliest(&mut self) -> Result<Option<Position>> {
        Ok(Some(Position::default()))
    }

    fn lag(&self) -> Option<u64> {
        None
    }
}

struct SimStore {
    cluster: Cluster,
    process: u64,
}

impl Store for SimStore {
    fn begin(&self) -> Box<dyn Txn + '_> {
        Box::new(SimTxn { store: self, parts: Vec::new() })
    }

    fn load_commit(&self, _pipeline: &str, task: TaskId) -> Result<Option<CommitRecord>> {
        Ok(self.cluster.state().commits.get(&task).cloned())
    }

    fn load_commits(&self, _pipeline: &str) -> Result<Vec<(TaskId, CommitRecord)>> {
        Ok(self.cluster.state().commits.clone().into_iter().collect())
    }

    fn load_journal(&self, _pipeline: &str, task: TaskId, from: u64) -> Result<Vec<JournalEntry>> {
        let state = self.cluster.state();
        Ok(state
            .journal
            .get(&task)
            .map_or(Vec::new(), |entries| entries.get(from as usize..).unwrap_or_default().to_vec()))
    }

    fn forget(&self, _pipeline: &str) -> Result<()> {
        Ok(())
    }
}

/// What a task wants to commit.
#[derive(Default)]
struct Part {
    task: TaskId,
    lease: Lease,
    records: Vec<((String, u32), Written)>,
    journal: Vec<JournalEntry>,
    commit: Option<CommitRecord>,
}

struct SimTxn<'a> {
    store: &'a SimStore,
    parts: Vec<Part>,
}

impl SimTxn<'_> {
    /// The part of the task that was named last.
    fn part(&mut self) -> &mut Part {
        if self.parts.is_empty() {
            self.parts.push(Part::default());
        }
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }
}

impl Txn for SimTxn<'_> {
    fn task(&mut self, task: TaskId, lease: Lease) {
        self.parts.push(Part { task, lease, ..Part::default() });
    }

    fn append(&mut self, topic: &str, partition: u32, chunk: &Arc<Chunk>, records: Range<usize>) -> Result<()> {
        for record in &chunk.records[records] {
            let (start, length) = record.value.unwrap_or_default();
            let value = chunk.data[start as usize..(start + length) as usize].to_vec();
            self.part().records.push(((topic.to_owned(), partition), value));
        }
        Ok(())
    }

    fn put_commit(&mut self, _pipeline: &str, _task: TaskId, record: &CommitRecord) -> Result<()> {
        self.part().commit = Some(record.clone());
        Ok(())
    }

    fn put_journal(&mut self, _pipeline: &str, _task: TaskId, _index: u64, entry: &JournalEntry) -> Result<()> {
        self.part().journal.push(entry.clone());
        Ok(())
    }

    fn commit(self: Box<Self>, _sync: bool) -> Result<Vec<TaskId>> {
        let mut state = self.store.cluster.state();
        let member = self.store.process;
        let fault = if state.faults { state.random.below(24) } else { u64::MAX };
        if fault == 0 {
            state.note("died before a commit");
            state.died.insert(member);
            return Err(Error::new(THREAD_FAILED, "the process died"));
        }
        if fault == 1 {
            // A writer that was cut off comes back with a new producer; it is late by then.
            state.note("put out of the group before a commit");
            state.expire(member);
        }
        let mut lost = Vec::new();
        for part in self.parts {
            let held = state.owners.get(&part.task) == Some(&(member, part.lease));
            if !held && state.bug != Some(Bug::ZombieCommits) {
                state.note("a lease had ended");
                lost.push(part.task);
                continue;
            }
            if let Some(commit) = part.commit {
                state.commits.insert(part.task, commit);
            }
            if state.bug == Some(Bug::CommitBeforeWrite) && fault == 2 {
                continue;
            }
            for (place, value) in part.records {
                state.outputs.entry(place).or_default().push(value);
            }
            let lose = state.bug == Some(Bug::JournalLost);
            let kept =
                part.journal.into_iter().filter(|entry| !(lose && matches!(entry, JournalEntry::Advance { .. })));
            let kept: Vec<_> = kept.collect();
            state.journal.entry(part.task).or_default().extend(kept);
        }
        if fault == 2 {
            state.note("died after a commit");
            state.died.insert(member);
            return Err(Error::new(THREAD_FAILED, "the process died"));
        }
        if fault == 3 {
            state.note("put out of the group after a commit");
            state.expire(member);
        }
        Ok(lost)
    }
}

/// Puts an output's records into the transaction, in the partition of their task.
pub struct SimSink(pub String);

impl Sink for SimSink {
    fn recover(&mut self, _task: TaskId, _committed: Option<&Receipt>) -> Result<()> {
        Ok(())
    }

    fn stage(&mut self, task: TaskId, chunk: Chunk, txn: &mut dyn Txn) -> Result<Receipt> {
        let records = 0..chunk.records.len();
        txn.append(&self.0, task.partition, &Arc::new(chunk), records)?;
        Ok(Receipt::default())
    }

    fn publish(&mut self, _lost: &[TaskId]) -> Result<()> {
        Ok(())
    }
}
