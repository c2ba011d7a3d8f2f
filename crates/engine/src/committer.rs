//! The committer: one thread that makes epochs durable, in the order the workers hand them over.
//!
//! It owns the sinks and the commit records. For each round it stages the outputs of the epochs that wait (at
//! most one a task), commits positions, journal, receipts and log records in one atomic write, publishes, and
//! only then lets a snapshot of such a position be written. It ends when the workers have hung up, or at the
//! first error; then the workers find their channel closed and stop too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use millstream_core::{Chunk, CommitRecord, JournalEntry, Position, Result, Sink, Store, TaskId};

use crate::live::{Live, Stages};
use crate::snapshot::{Header, Snapshot};

/// Epochs that may wait between workers and committer. Two: one being committed, one being handed over.
pub(crate) const EPOCHS_WAITING_MAX: usize = 2;
/// Epochs of different tasks that may share one atomic write.
const EPOCHS_PER_COMMIT_MAX: usize = 16;

/// What one task commits at once.
pub(crate) struct Epoch {
    pub(crate) task: TaskId,
    /// Where the task first began.
    pub(crate) start: Position,
    /// The next record to read.
    pub(crate) position: Position,
    pub(crate) journal: Vec<JournalEntry>,
    /// One chunk an output, dead letters last; empty ones are passed over.
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) events: u64,
    /// When the first event of the epoch was read.
    pub(crate) opened: Instant,
    /// The state at `position`, if a snapshot is due.
    pub(crate) state: Option<Vec<u8>>,
    /// The snapshot must not be skipped: the task ends here.
    pub(crate) last: bool,
}

/// An output as the committer knows it.
pub(crate) struct NamedSink {
    pub(crate) name: String,
    pub(crate) sink: Box<dyn Sink>,
}

pub(crate) struct Committer {
    pub(crate) pipeline: String,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sinks: Vec<NamedSink>,
    pub(crate) records: BTreeMap<TaskId, CommitRecord>,
    /// The fingerprints that go into snapshot headers.
    pub(crate) steps: BTreeMap<String, String>,
    pub(crate) sync: bool,
    pub(crate) live: Arc<Live>,
    pub(crate) started: Instant,
    /// When the first row was visible, counted from `started`.
    pub(crate) first_output: Option<Duration>,
    pub(crate) stages: Stages,
}

impl Committer {
    /// Commits until the workers hang up, then finishes the sinks.
    pub(crate) fn run(&mut self, epochs: &Receiver<Epoch>, snapshots: &SyncSender<Snapshot>) -> Result<()> {
        let mut held = None;
        while let Some(round) = next_round(epochs, &mut held) {
            self.commit(round, snapshots)?;
        }
        for named in &mut self.sinks {
            named.sink.finish()?;
        }
        Ok(())
    }

    fn commit(&mut self, mut round: Vec<Epoch>, snapshots: &SyncSender<Snapshot>) -> Result<()> {
        let began = Instant::now();
        let mut rows = vec![0; self.sinks.len()];
        let mut txn = self.store.begin();
        let mut records = Vec::with_capacity(round.len());
        for epoch in &mut round {
            let mut record = self.records.get(&epoch.task).cloned().unwrap_or_default();
            record.epoch += 1;
            record.start = epoch.start.clone();
            record.position = epoch.position.clone();
            for (i, chunk) in std::mem::take(&mut epoch.chunks).into_iter().enumerate().filter(|(_, c)| c.rows > 0) {
                let named = &mut self.sinks[i];
                rows[i] += chunk.rows;
                let receipt = named.sink.stage(epoch.task, chunk, txn.as_mut())?;
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
            records.push(record);
        }
        txn.commit(self.sync)?;
        for (i, named) in self.sinks.iter_mut().enumerate() {
            if rows[i] > 0 {
                named.sink.publish()?;
                self.live.outputs[i].1.fetch_add(rows[i], Ordering::Relaxed);
                self.first_output.get_or_insert_with(|| self.started.elapsed());
            }
        }
        self.live.epochs.fetch_add(round.len() as u64, Ordering::Relaxed);
        self.measure(&round, began);
        for (epoch, record) in round.into_iter().zip(records) {
            self.snapshot(epoch, &record, snapshots);
        }
        Ok(())
    }

    /// Hands on a snapshot of a position that is committed now.
    fn snapshot(&mut self, epoch: Epoch, record: &CommitRecord, snapshots: &SyncSender<Snapshot>) {
        self.records.insert(epoch.task, record.clone());
        let Some(state) = epoch.state else { return };
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
            drop(snapshots.send(snapshot));
        } else {
            drop(snapshots.try_send(snapshot));
        }
    }

    fn measure(&mut self, round: &[Epoch], began: Instant) {
        let commit = self.stages.stage("commit");
        let total = self.stages.stage("total");
        for epoch in round.iter().filter(|e| e.events > 0) {
            self.stages.record(commit, began.elapsed(), epoch.events);
            self.stages.record(total, epoch.opened.elapsed(), epoch.events);
        }
    }
}

/// The epochs that go into one atomic write: in order, at most one a task, since a sink's receipt tells of its
/// newest chunk only. The epoch that came too early for this round is held for the next. `None`: the workers
/// have hung up.
fn next_round(epochs: &Receiver<Epoch>, held: &mut Option<Epoch>) -> Option<Vec<Epoch>> {
    let mut round = vec![held.take().or_else(|| epochs.recv().ok())?];
    while round.len() < EPOCHS_PER_COMMIT_MAX {
        match epochs.try_recv() {
            Ok(next) if round.iter().any(|e| e.task == next.task) => {
                *held = Some(next);
                break;
            }
            Ok(next) => round.push(next),
            Err(_) => break,
        }
    }
    Some(round)
}
