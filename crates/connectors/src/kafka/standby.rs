//! What the group says of its other members, and which of their partitions a member keeps warm copies of.
//!
//! The group's protocol knows nothing of copies, so each member works it out for itself from what the group says of all
//! members, and all come to the same answer: a partition's copies are with the members that follow its owner, in the order
//! of their ids, beginning at a place that the partition's number decides. The group is asked on a thread of its own, one at
//! a time, since the coordinator may take its time; while the answer is out, the one before stands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::native::{self, Client, GroupMember};

/// How long the group's coordinator may take.
const WAIT: Duration = Duration::from_secs(10);

/// What the group said last.
#[derive(Default)]
pub(super) struct Standbys {
    members: Arc<Mutex<Option<Vec<GroupMember>>>>,
    asking: Arc<AtomicBool>,
}

impl Standbys {
    /// Asks the group again, unless the last question is still out.
    pub(super) fn ask(&self, client: &Arc<Client>, group: &str) {
        if self.asking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (members, asking) = (self.members.clone(), self.asking.clone());
        let (client, group) = (client.clone(), group.to_owned());
        let thread = std::thread::Builder::new().name("standbys".to_owned());
        let spawned = thread.spawn(move || {
            match native::classic_members(&client, &group, WAIT) {
                Ok(found) => *members.lock().unwrap_or_else(PoisonError::into_inner) = Some(found),
                Err(failure) => tracing::debug!(target: "kafka", "the group can't say who its members are: {failure}"),
            }
            asking.store(false, Ordering::Release);
        });
        if spawned.is_err() {
            self.asking.store(false, Ordering::Release);
        }
    }

    /// The partitions that the member with the id `own` keeps copies of; `None` before the first answer.
    pub(super) fn of(&self, own: &str, copies: usize) -> Option<Vec<(String, u32)>> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.as_ref().map(|members| choose(members, own, copies))
    }

    /// Whether other members have partitions; `None` before the first answer.
    pub(super) fn others_own(&self, own: &str) -> Option<bool> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.as_ref().map(|members| members.iter().any(|m| m.id != own && !m.partitions.is_empty()))
    }
}

fn choose(members: &[GroupMember], own: &str, copies: usize) -> Vec<(String, u32)> {
    let mut chosen = Vec::new();
    for owner in members.iter().filter(|owner| owner.id != own) {
        let mut others: Vec<&str> = members.iter().map(|m| m.id.as_str()).filter(|id| *id != owner.id).collect();
        others.sort_unstable();
        for (topic, partition) in &owner.partitions {
            let keeps = |copy: usize| others.get((*partition as usize + copy) % others.len().max(1)) == Some(&own);
            if (0..copies.min(others.len())).any(keeps) {
                chosen.push((topic.clone(), *partition));
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, partitions: &[u32]) -> GroupMember {
        GroupMember {
            id: id.to_owned(),
            client_id: String::new(),
            instance: None,
            partitions: partitions.iter().map(|p| ("t".to_owned(), *p)).collect(),
        }
    }

    #[test]
    fn every_partition_has_as_many_copies_as_asked_for_and_none_with_its_owner() {
        let members = [member("c", &[0, 3, 6]), member("a", &[1, 4, 7]), member("b", &[2, 5, 8])];
        for copies in 0..4 {
            let mut count = [0; 9];
            for own in &members {
                for (_, partition) in choose(&members, &own.id, copies) {
                    assert!(!own.partitions.contains(&("t".to_owned(), partition)));
                    count[partition as usize] += 1;
                }
            }
            assert_eq!(count, [copies.min(2); 9], "{copies}");
        }
        assert!(choose(&members, "not there yet", 2).is_empty());
        assert!(choose(&members[..1], "c", 2).is_empty());
    }
}
