//! A committer: makes epochs durable, in the order the workers hand them over.
//!
//! It owns sinks, commit records and the store's writer. For each round it stages the outputs of the epochs that wait
//! (at most one a task), commits positions, journal, receipts and records in one atomic write, publishes, and only then
//! lets a snapshot of such a position be written. With the embedded log there is one for all workers; with Kafka each
//! worker has its own. It runs on a thread of its own and ends when its workers have hung up, or at the first error;
//! then the workers find their channel closed and stop too.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use millstream_core::{Chunk, CommitRecord, JournalEntry, Lease, Result, Sink, Store, TaskId, Txn};

use crate::clock::Clock;
use crate::live::{Live, Stages};
use crate::messages::{Epoch, Notice, Order};
use crate::plan::Plan;
use crate::snapshot::{Header, Snapshot};

/// Epochs of different tasks that may share one atomic write.
const EPOCHS_PER_COMMIT_MAX: usize = 256;

/// An output as the committer knows it.
pub(crate) struct NamedSink {
    pub(crate) name: String,
    pub(crate) sink: Box<dyn Sink>,
}

/// A task that one of the workers owns.
struct Adopted {
    lease: Lease,
    record: CommitRecord,
}

/// Commits for one or more workers.
pub struct Committer {
    pipeline: String,
    pub(crate) store: Arc<dyn Store>,
    sinks: Vec<NamedSink>,
    /// The fingerprints that go into snapshot headers.
    steps: BTreeMap<String, String>,
    sync: bool,
    live: Arc<Live>,
    clock: Arc<dyn Clock>,
    channels: CommitterChannels,
    adopted: BTreeMap<TaskId, Adopted>,
    /// Orders that came too early for the round.
    held: VecDeque<(usize, Order)>,
    /// When the first row was visible, by the clock.
    pub(crate) first_output: Option<Duration>,
    pub(crate) stages: Stages,
}

/// What a committer hears and says.
pub(crate) struct CommitterChannels {
    pub(crate) orders: Receiver<(usize, Order)>,
    /// By number of the worker.
    pub(crate) notices: Vec<SyncSender<Notice>>,
    pub(crate) snapshots: SyncSender<Snapshot>,
}

/// An epoch in its atomic write.
struct Staged {
    record: CommitRecord,
    /// By output.
    rows: Vec<u64>,
}

impl Committer {
    pub(crate) fn new(
        plan: &Plan,
        live: Arc<Live>,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
        sinks: Vec<NamedSink>,
        channels: CommitterChannels,
    ) -> Self {
        Self {
            pipeline: plan.name.clone(),
            store,
            sinks,
            steps: plan.fingerprints(),
            sync: plan.settings.sync,
            live,
            clock,
            channels,
            adopted: BTreeMap::new(),
            held: VecDeque::new(),
            first_output: None,
            stages: Stages::default(),
        }
    }

    /// Commits until the workers hang up, then finishes the sinks.
    pub(crate) fn run(&mut self) -> Result<()> {
        while let Some(order) = self.held.pop_front().or_else(|| self.channels.orders.recv().ok()) {
            self.take(order)?;
        }
        self.finish()
    }

    /// Handles what waits, without waiting for more; whether there was anything.
    ///
    /// # Errors
    /// What ends the run.
    pub fn step(&mut self) -> Result<bool> {
        let Some(order) = self.held.pop_front().or_else(|| self.channels.orders.try_recv().ok()) else {
            return Ok(false);
        };
        self.take(order)?;
        Ok(true)
    }

    /// Closes the outputs. The workers have hung up.
    ///
    /// # Errors
    /// What was committed stays committed.
    pub fn finish(&mut self) -> Result<()> {
        self.sinks.iter_mut().try_for_each(|named| named.sink.finish())
    }

    fn take(&mut self, (worker, order): (usize, Order)) -> Result<()> {
        match order {
            Order::Adopt { task, lease, record } => self.adopt(task, lease, record),
            Order::Release { task, lease } => {
                self.release(task, lease)?;
                self.tell(worker, Notice::Released { task, lease });
                Ok(())
            }
            Order::Commit(epoch) => {
                let round = self.round(worker, epoch);
                self.commit(round)
            }
        }
    }

    fn tell(&self, worker: usize, notice: Notice) {
        if let Some(notices) = self.channels.notices.get(worker) {
            // A worker that is gone needs no notice.
            drop(notices.send(notice));
        }
    }

    fn adopt(&mut self, task: TaskId, lease: Lease, record: CommitRecord) -> Result<()> {
        for named in &mut self.sinks {
            if self.adopted.contains_key(&task) {
                named.sink.release(task)?;
            }
            named.sink.recover(task, record.receipts.get(&named.name))?;
        }
        self.adopted.insert(task, Adopted { lease, record });
        Ok(())
    }

    fn release(&mut self, task: TaskId, lease: Lease) -> Result<()> {
        if self.adopted.get(&task).is_none_or(|adopted| adopted.lease != lease) {
            return Ok(());
        }
        self.adopted.remove(&task);
        self.sinks.iter_mut().try_for_each(|named| named.sink.release(task))
    }

    /// The epochs that go into one atomic write: in order, at most one a task, since a sink's receipt tells of its
    /// newest chunk only. What can't join is held for later.
    fn round(&mut self, worker: usize, first: Epoch) -> Vec<(usize, Epoch)> {
        let mut round = vec![(worker, first)];
        while round.len() < EPOCHS_PER_COMMIT_MAX {
            match self.held.pop_front().or_else(|| self.channels.orders.try_recv().ok()) {
                Some((worker, Order::Commit(next))) if round.iter().all(|(_, e)| e.task != next.task) => {
                    round.push((worker, next));
                }
                Some(other) => {
                    self.held.push_front(other);
                    break;
                }
                None => break,
            }
        }
        round
    }

    fn commit(&mut self, mut round: Vec<(usize, Epoch)>) -> Result<()> {
        let began = self.clock.now();
        // What was computed under a lease that ended is computed anew by whoever owns the task now.
        let adopted = &self.adopted;
        let done: Vec<_> = round.iter().map(|(worker, e)| (*worker, e.task, e.lease)).collect();
        round.retain(|(_, e)| adopted.get(&e.task).is_some_and(|a| a.lease == e.lease));
        if !round.is_empty() {
            let store = self.store.clone();
            let mut txn = store.begin();
            let staged = self.stage(&mut round, txn.as_mut())?;
            let lost = txn.commit(self.sync)?;
            let touched = |i: usize| staged.iter().any(|staged| staged.rows[i] > 0);
            for (_, named) in self.sinks.iter_mut().enumerate().filter(|(i, _)| touched(*i)) {
                named.sink.publish(&lost)?;
            }
            let epochs = round.into_iter().map(|(_, epoch)| epoch);
            let held = epochs.zip(staged).filter(|(epoch, _)| !lost.contains(&epoch.task)).collect();
            self.committed(held, began);
        }
        for (worker, task, lease) in done {
            self.tell(worker, Notice::Done { task, lease });
        }
        Ok(())
    }

    fn stage(&mut self, round: &mut [(usize, Epoch)], txn: &mut dyn Txn) -> Result<Vec<Staged>> {
        let mut all = Vec::with_capacity(round.len());
        for (_, epoch) in round {
            let mut record = self.adopted.get(&epoch.task).map(|a| a.record.clone()).unwrap_or_default();
            record.epoch += 1;
            record.start = epoch.start.clone();
            record.position = epoch.position.clone();
            txn.task(epoch.task, epoch.lease);
            let chunks: Vec<Chunk> = std::mem::take(&mut epoch.chunks);
            let rows = chunks.iter().map(|chunk| chunk.rows).collect();
            for (named, chunk) in self.sinks.iter_mut().zip(chunks).filter(|(_, chunk)| chunk.rows > 0) {
                let receipt = named.sink.stage(epoch.task, chunk, txn)?;
                record.receipts.insert(named.name.clone(), receipt);
            }
            for entry in &epoch.journal {
                if let JournalEntry::Artifact { name, digest, .. } = entry {
                    record.artifacts.insert(name.clone(), digest.clone());
                }
                txn.put_journal(&self.pipeline, epoch.task, record.journal_len, entry)?;
                record.journal_len += 1;
            }
            txn.put_commit(&self.pipeline, epoch.task, &record)?;
            all.push(Staged { record, rows });
        }
        Ok(all)
    }

    /// Takes in what holds: counts it, and lets its snapshots be written.
    fn committed(&mut self, held: Vec<(Epoch, Staged)>, began: Duration) {
        self.live.epochs.fetch_add(held.len() as u64, Ordering::Relaxed);
        let (commit, total) = (self.stages.stage("commit"), self.stages.stage("total"));
        let now = self.clock.now();
        for (epoch, staged) in held {
            for (rows, output) in staged.rows.iter().zip(&self.live.outputs).filter(|(rows, _)| **rows > 0) {
                output.1.fetch_add(*rows, Ordering::Relaxed);
                self.first_output.get_or_insert(now);
            }
            if epoch.events > 0 {
                self.stages.record(commit, now.saturating_sub(began), epoch.events);
                self.stages.record(total, now.saturating_sub(epoch.opened), epoch.events);
            }
            self.snapshot(epoch, staged.record);
        }
    }

    /// Hands on a snapshot of a position that is committed now.
    fn snapshot(&mut self, epoch: Epoch, record: CommitRecord) {
        if let Some(state) = epoch.state {
            let header = Header {
                pipeline: self.pipeline.clone(),
                task: epoch.task,
                epoch: record.epoch,
                position: record.position.clone(),
                journal_len: record.journal_len,
                steps: self.steps.clone(),
                artifacts: record.artifacts.clone(),
            };
            let snapshot = Snapshot { header, state };
            // A writer that is still busy skips one: a snapshot is only a cache.
            if epoch.last {
                drop(self.channels.snapshots.send(snapshot));
            } else {
                drop(self.channels.snapshots.try_send(snapshot));
            }
        }
        if let Some(adopted) = self.adopted.get_mut(&epoch.task) {
            adopted.record = record;
        }
    }
}
