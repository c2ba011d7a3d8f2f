//! What a worker's member and its store share: which tasks are the worker's, under which leases.
//!
//! The rule that exactly-once hangs on has two halves. The committer fetches the member's place in the group *first* and
//! looks at the leases *then*, and sends offsets with that place; the member ends leases *before* it lets partitions go.
//! So a place that is newer than the loss of a task always finds its lease ended, and one that is older is refused by the
//! broker. Leases also end when the member's id changes: a member that was put out of its group while the group rebalanced
//! may come back in without being told that it had lost anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millstream_core::{Error, Lease, Result, TaskId};

use super::native::{Client, GroupMetadata};
use crate::codes::KAFKA_TOPIC;

/// Leases are never used twice in a process.
static NEXT_LEASE: AtomicU64 = AtomicU64::new(1);

/// How long things may still be waited for. Shared by all threads of a run.
#[derive(Default)]
pub(super) struct Patience {
    until: Mutex<Option<Instant>>,
}

impl Patience {
    /// The run is ending: what can't be had within `patience` is given up.
    pub(super) fn hurry(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut slot = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(slot.map_or(until, |before| before.min(until)));
    }

    /// Whether to give up now.
    pub(super) fn is_over(&self) -> bool {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() >= until)
    }
}

/// Names the tasks of an input.
#[derive(Debug)]
pub(super) struct TaskNames {
    /// `None`: one topic, whose tasks are named by their partition alone.
    several: bool,
    names: Mutex<BTreeMap<u32, Arc<str>>>,
}

impl TaskNames {
    pub(super) fn new(several: bool) -> Self {
        Self { several, names: Mutex::default() }
    }

    /// The task that a partition is.
    pub(super) fn task(&self, topic: &str, partition: u32) -> Result<TaskId> {
        let number = match self.several {
            true => crc32c::crc32c(topic.as_bytes()).max(1),
            false => 0,
        };
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.entry(number).or_insert_with(|| topic.into());
        if **known != *topic {
            return Err(Error::new(
                KAFKA_TOPIC,
                format!("the topics `{known}` and `{topic}` have names with the same checksum"),
            )
            .help("read one of them by a pipeline of its own"));
        }
        Ok(TaskId { topic: number, partition })
    }

    /// The topic of a task that was named before.
    pub(super) fn topic(&self, task: TaskId) -> Option<Arc<str>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).get(&task.topic).cloned()
    }
}

/// The leases of one worker, and its membership.
pub(super) struct GroupState {
    pub(super) names: Arc<TaskNames>,
    leases: Mutex<BTreeMap<TaskId, Lease>>,
    member: Mutex<Option<Arc<Client>>>,
    /// The member's id when the leases were granted.
    id: Mutex<Option<String>>,
    /// All leases were ended from outside of the member, which does not know yet.
    cut_short: AtomicBool,
}

/// Where a transaction stands with its group.
pub(super) enum Place {
    /// The member is in a generation.
    In(GroupMetadata),
    /// It is in none now, and may get back in without a loss.
    Between,
    /// It was out: all leases are ended.
    Out,
}

impl GroupState {
    pub(super) fn new(names: Arc<TaskNames>) -> Self {
        Self {
            names,
            leases: Mutex::default(),
            member: Mutex::default(),
            id: Mutex::default(),
            cut_short: AtomicBool::new(false),
        }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<TaskId, Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins leases.
    pub(super) fn grant(&self, tasks: &[TaskId]) -> Vec<(TaskId, Lease)> {
        let mut table = self.table();
        tasks
            .iter()
            .map(|task| {
                let lease = Lease(NEXT_LEASE.fetch_add(1, Ordering::Relaxed));
                table.insert(*task, lease);
                (*task, lease)
            })
            .collect()
    }

    /// Ends leases.
    pub(super) fn end(&self, tasks: &[TaskId]) {
        let mut table = self.table();
        for task in tasks {
            table.remove(task);
        }
    }

    /// Ends all leases.
    pub(super) fn end_all(&self) {
        self.table().clear();
    }

    /// Whether a lease lasts.
    pub(super) fn holds(&self, task: TaskId, lease: Lease) -> bool {
        self.table().get(&task) == Some(&lease)
    }

    pub(super) fn set_member(&self, member: Option<Arc<Client>>) {
        *self.member.lock().unwrap_or_else(PoisonError::into_inner) = member;
    }

    /// Notes the id that leases are granted under from now on; whether it is another one than before.
    pub(super) fn set_id(&self, id: String) -> bool {
        let before = self.id.lock().unwrap_or_else(PoisonError::into_inner).replace(id.clone());
        before.is_some_and(|before| before != id)
    }

    /// The member's place now. To be asked for *before* leases are looked at.
    pub(super) fn place(&self) -> Place {
        let Some(member) = self.member() else {
            self.end_all();
            return Place::Out;
        };
        match GroupMetadata::of(&member) {
            Some(place) if self.id.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(&place.id()) => {
                Place::In(place)
            }
            None if !member.assignment_lost() => Place::Between,
            // The worker may be too busy to be told.
            _ => {
                self.cut_short.store(true, Ordering::Release);
                self.end_all();
                Place::Out
            }
        }
    }

    /// Whether leases were ended from outside since this was last asked.
    pub(super) fn take_cut_short(&self) -> bool {
        self.cut_short.load(Ordering::Acquire) && self.cut_short.swap(false, Ordering::AcqRel)
    }

    pub(super) fn member(&self) -> Option<Arc<Client>> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_ended_never_lasts_again() {
        let group = GroupState::new(Arc::new(TaskNames::new(false)));
        let task = TaskId::new(3);
        let first = group.grant(&[task])[0].1;
        assert!(group.holds(task, first));
        group.end(&[task]);
        assert!(!group.holds(task, first));
        let second = group.grant(&[task])[0].1;
        assert!(second > first && !group.holds(task, first) && group.holds(task, second));
        let third = group.grant(&[task])[0].1;
        assert!(!group.holds(task, second) && group.holds(task, third));
        group.end_all();
        assert!(!group.holds(task, third));
    }

    #[test]
    fn tasks_of_several_topics_carry_the_topic() {
        let one = TaskNames::new(false);
        assert_eq!(one.task("a", 2).unwrap(), TaskId::new(2));
        assert_eq!(one.topic(TaskId::new(5)).as_deref(), Some("a"));
        let several = TaskNames::new(true);
        let (a, b) = (several.task("a", 2).unwrap(), several.task("b", 2).unwrap());
        assert!(a != b && a.topic != 0);
        assert_eq!(several.topic(b).as_deref(), Some("b"));
        // Two words with one CRC-32C would be needed; one topic under two names is the same refusal.
        assert!(one.task("b", 0).is_err());
    }

    #[test]
    fn patience_only_shrinks() {
        let patience = Patience::default();
        assert!(!patience.is_over());
        patience.hurry(Duration::ZERO);
        patience.hurry(Duration::from_secs(60));
        assert!(patience.is_over());
    }
}
