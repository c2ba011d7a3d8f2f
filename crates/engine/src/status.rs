//! Where a pipeline stands, and setting it elsewhere: `millstream status` and `millstream reset`, without a run.
//!
//! A reset writes a commit that a run would have written at the new position, so that recovery needs to know nothing of
//! resets. With its state *rebuilt*, a task's history is kept up to there: where it began, its journal so far, snapshots
//! that are not ahead; a run then folds what is missing. With its state *empty*, the history begins anew at the position.
//! Snapshots go first: without them state is folded, with the wrong ones it would be wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_connectors::codes::KAFKA_JOURNAL;
use millstream_connectors::look::{self, Input, Look, Owner, Place};
use millstream_core::{CommitRecord, Delivery, Error, EventTime, JournalEntry, Position, Result, TaskId};

use crate::codes::RESET;
use crate::plan::Plan;
use crate::snapshot::{Info, SnapshotStore};

/// The newest snapshot of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotStatus {
    /// The offset that it is of.
    pub offset: u64,
    /// Since it was written.
    pub age: Duration,
    /// Of all its objects.
    pub bytes: u64,
    /// The watermark in it.
    pub watermark: EventTime,
}

impl From<Info> for SnapshotStatus {
    fn from(info: Info) -> Self {
        Self { offset: info.offset, age: info.age, bytes: info.bytes, watermark: info.watermark }
    }
}

/// Where a task stands, as far as can be known from outside of the processes that run it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The task.
    pub task: TaskId,
    /// Its topic, where the input has topics.
    pub topic: Option<String>,
    /// The oldest offset of the input and the one that the next record gets, where the input can say.
    pub bounds: Option<(u64, u64)>,
    /// The committed position, if the task ever committed.
    pub committed: Option<u64>,
    /// The newest snapshot, if there is one.
    pub snapshot: Option<SnapshotStatus>,
}

/// Where a pipeline stands.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Its tasks, in order.
    pub tasks: Vec<Standing>,
    /// The processes that run it, where the backend knows.
    pub owners: Vec<Owner>,
}

/// Looks where a pipeline stands.
///
/// # Errors
/// The backend can't be reached, or a run on this machine has it to itself.
pub fn overview(plan: &Plan) -> Result<Overview> {
    let look = look::look(&plan.backend, &plan.env, &plan.source.spec, plan.settings.delivery)?;
    let owners = look.owners()?;
    let commits = look.commits()?;
    let mut inputs: BTreeMap<TaskId, Input> = look.inputs()?.into_iter().map(|input| (input.task, input)).collect();
    for task in commits.keys() {
        inputs.entry(*task).or_insert(Input { task: *task, topic: None, bounds: None });
    }
    let snapshots = snapshots(plan)?;
    let standing = |input: Input| Standing {
        task: input.task,
        topic: input.topic,
        bounds: input.bounds,
        committed: commits.get(&input.task).map(|commit| commit.position.offset),
        snapshot: snapshots.as_ref().and_then(|s| s.newest(input.task)).map(SnapshotStatus::from),
    };
    Ok(Overview { tasks: inputs.into_values().map(standing).collect(), owners })
}

/// The committed offset of each task that ever committed.
///
/// # Errors
/// The backend can't be reached, or a run on this machine has it to itself.
pub fn committed(plan: &Plan) -> Result<BTreeMap<TaskId, u64>> {
    let look = look::look(&plan.backend, &plan.env, &plan.source.spec, plan.settings.delivery)?;
    Ok(look.commits()?.into_iter().map(|(task, commit)| (task, commit.position.offset)).collect())
}

/// The newest snapshot of a task, if there is one.
///
/// # Errors
/// The state location makes no sense.
pub fn snapshot(plan: &Plan, task: TaskId) -> Result<Option<SnapshotStatus>> {
    Ok(snapshots(plan)?.and_then(|s| s.newest(task)).map(SnapshotStatus::from))
}

/// Where the snapshots of a plan are; `None` if no step keeps state.
fn snapshots(plan: &Plan) -> Result<Option<SnapshotStore>> {
    match plan.fingerprints().is_empty() {
        true => Ok(None),
        false => SnapshotStore::open(&plan.settings.state, &plan.name).map(Some),
    }
}

/// What becomes of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateAfter {
    /// It begins empty at the position.
    Empty,
    /// It is what an undisturbed run has there.
    Rebuilt,
}

/// What to reset.
#[derive(Clone, Debug)]
pub struct ResetOptions {
    /// Where the next run goes on; `None` where it is now.
    pub to: Option<Place>,
    /// These partitions only; none means all.
    pub partitions: Vec<u32>,
    /// The state there.
    pub state: StateAfter,
}

/// What a reset changes about a task.
#[derive(Clone, Debug)]
pub struct Change {
    /// The task.
    pub task: TaskId,
    /// Its topic, where the input has topics.
    pub topic: Option<String>,
    /// The committed position until now, if there was one.
    pub from: Option<u64>,
    /// The new one.
    pub to: u64,
    /// The oldest offset of the input and the one that the next record gets, where the input can say.
    pub bounds: Option<(u64, u64)>,
    /// Where the next run begins to fold; `None` if state begins empty, or there is none.
    pub folds_from: Option<u64>,
    commit: CommitRecord,
}

/// A reset that was thought through and not done yet.
pub struct Reset {
    /// What it changes, in the order of tasks.
    pub changes: Vec<Change>,
    /// Whether steps keep state.
    pub stateful: bool,
    /// The processes that run the pipeline now, where the backend knows: while there are any, it can't be done.
    pub owners: Vec<Owner>,
    look: Box<dyn Look>,
    snapshots: SnapshotStore,
}

/// Thinks a reset through, and changes nothing.
///
/// # Errors
/// The backend can't be reached, the pipeline runs, or a partition can't go there.
pub fn prepare_reset(plan: &Plan, options: &ResetOptions) -> Result<Reset> {
    if plan.source.spec.delivery() == Delivery::AtMostOnce {
        return Err(Error::new(
            RESET,
            format!("`{}` has no positions: {}", plan.source.name, plan.source.spec.describe()),
        )
        .help("each run reads what comes; there is nothing to reset"));
    }
    let look = look::look(&plan.backend, &plan.env, &plan.source.spec, plan.settings.delivery)?;
    let inputs = look.inputs()?;
    let mut commits = BTreeMap::new();
    for input in &inputs {
        match look.commit(input.task) {
            // Somebody else's offset is what a reset is there to replace.
            Err(error) if error.code() == KAFKA_JOURNAL && options.to.is_some() => {
                tracing::warn!(code = error.code().id, "{error}");
            }
            commit => drop(commit?.map(|commit| commits.insert(input.task, commit))),
        }
    }
    if let Some(missing) = options.partitions.iter().find(|p| inputs.iter().all(|i| i.task.partition != **p)) {
        let count = inputs.iter().map(|i| i.task.partition + 1).max().unwrap_or(0);
        return Err(Error::new(RESET, format!("`{}` has no partition {missing}", plan.source.name))
            .help(format!("it has {count}, numbered from 0")));
    }
    let stateful = !plan.fingerprints().is_empty();
    let snapshots = SnapshotStore::open(&plan.settings.state, &plan.name)?;
    let mut changes = Vec::new();
    for input in inputs {
        if !options.partitions.is_empty() && !options.partitions.contains(&input.task.partition) {
            continue;
        }
        let before = commits.get(&input.task);
        let position = match (options.to, before) {
            (Some(place), _) => look.position(&input, place)?,
            (None, Some(before)) => before.position.clone(),
            // It begins where `start:` says, with empty state, as it is.
            (None, None) => continue,
        };
        let journal = match (options.state, before) {
            // Ahead, all of the journal counts.
            (StateAfter::Rebuilt, Some(before)) if stateful && position.offset < before.position.offset => look
                .journal(input.task, before.journal_len)
                .map_err(|error| error.help("say `--state empty`: then the journal is not needed"))?,
            _ => Vec::new(),
        };
        let commit = commit_at(before, position, options.state, &journal, stateful);
        let folds = stateful && commit.start.offset < commit.position.offset;
        let folds_from = folds.then(|| {
            let newest = snapshots.newest(input.task).map(|info| info.offset);
            newest.filter(|offset| *offset <= commit.position.offset).unwrap_or(commit.start.offset)
        });
        changes.push(Change {
            task: input.task,
            topic: input.topic,
            from: before.map(|before| before.position.offset),
            to: commit.position.offset,
            bounds: input.bounds,
            folds_from,
            commit,
        });
    }
    Ok(Reset { changes, stateful, owners: look.owners()?, look, snapshots })
}

/// The commit that sets a task to a position.
fn commit_at(
    before: Option<&CommitRecord>,
    position: Position,
    state: StateAfter,
    journal: &[JournalEntry],
    stateful: bool,
) -> CommitRecord {
    let old = before.cloned().unwrap_or_default();
    let anew = CommitRecord {
        epoch: old.epoch + 1,
        start: position.clone(),
        position,
        journal_len: 0,
        receipts: old.receipts,
        artifacts: BTreeMap::new(),
    };
    // Before its first event a task has no state.
    if state == StateAfter::Empty || !stateful || before.is_none() || anew.position.offset <= old.start.offset {
        return anew;
    }
    if before.is_some_and(|before| anew.position.offset >= before.position.offset) {
        return CommitRecord { start: old.start, journal_len: old.journal_len, artifacts: old.artifacts, ..anew };
    }
    let kept = journal.iter().take_while(|entry| entry.at() <= anew.position.offset);
    let mut artifacts = BTreeMap::new();
    let mut journal_len = 0;
    for entry in kept {
        if let JournalEntry::Artifact { name, digest, .. } = entry {
            artifacts.insert(name.clone(), digest.clone());
        }
        journal_len += 1;
    }
    CommitRecord { start: old.start, journal_len, artifacts, ..anew }
}

impl Reset {
    /// Does it.
    ///
    /// # Errors
    /// The pipeline runs, or a store refuses. What was done by then is said by `millstream status`; the same reset may be
    /// done again.
    pub fn apply(&self) -> Result<()> {
        // The backend has the last word, but then snapshots would be gone.
        let owners = self.look.owners()?;
        for change in self.changes.iter().filter(|_| owners.is_empty()) {
            // With empty state, no snapshot holds it.
            let keep = if change.commit.journal_len == 0 { 0 } else { change.to };
            let epoch = if keep == 0 { 0 } else { change.commit.epoch };
            self.snapshots.remove_ahead(change.task, keep, epoch)?;
        }
        let commits: Vec<_> = self.changes.iter().map(|change| (change.task, change.commit.clone())).collect();
        self.look.set(&commits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before() -> CommitRecord {
        CommitRecord {
            epoch: 7,
            start: Position { offset: 10, cursor: String::new() },
            position: Position { offset: 90, cursor: String::new() },
            journal_len: 3,
            receipts: [("o".to_owned(), millstream_core::Receipt("r".to_owned()))].into(),
            artifacts: [("model m".to_owned(), "new".to_owned())].into(),
        }
    }

    fn journal() -> Vec<JournalEntry> {
        let artifact =
            |at, digest: &str| JournalEntry::Artifact { at, name: "model m".to_owned(), digest: digest.to_owned() };
        vec![JournalEntry::Begin { at: 10 }, artifact(10, "old"), artifact(50, "new")]
    }

    fn at(offset: u64) -> Position {
        Position { offset, cursor: String::new() }
    }

    #[test]
    fn state_that_is_rebuilt_keeps_the_history_up_to_the_position() {
        let commit = commit_at(Some(&before()), at(40), StateAfter::Rebuilt, &journal(), true);
        assert_eq!((commit.epoch, commit.start.offset, commit.journal_len), (8, 10, 2));
        assert_eq!(commit.artifacts["model m"], "old");
        assert_eq!(commit.receipts, before().receipts, "outputs go on where they are");
        let ahead = commit_at(Some(&before()), at(200), StateAfter::Rebuilt, &[], true);
        assert_eq!((ahead.start.offset, ahead.journal_len, ahead.artifacts["model m"].as_str()), (10, 3, "new"));
    }

    #[test]
    fn state_that_is_empty_begins_a_history() {
        for (before, position, state, stateful) in [
            (Some(before()), 40, StateAfter::Empty, true),
            (Some(before()), 10, StateAfter::Rebuilt, true),
            (Some(before()), 5, StateAfter::Rebuilt, true),
            (Some(before()), 40, StateAfter::Rebuilt, false),
            (None, 40, StateAfter::Rebuilt, true),
        ] {
            let commit = commit_at(before.as_ref(), at(position), state, &journal(), stateful);
            assert_eq!((commit.start.offset, commit.position.offset, commit.journal_len), (position, position, 0));
            assert!(commit.artifacts.is_empty());
            assert_eq!(commit.epoch, before.map_or(1, |b| b.epoch + 1));
        }
    }
}
