//! A worker's membership in the input's consumer group.
//!
//! Owned by the worker's thread. The group's client holds the membership only: what it is assigned it does not read, so
//! that folds and seeks never disturb the group. A revocation is answered when the worker has given the tasks back, and a
//! loss at once in the lease table, whatever the worker is busy with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_core::{Change, Error, Member, Opener, Result, TaskId};

use super::KafkaInput;
use super::group::GroupState;
use super::native::{Client, Code, Event, Failure, GroupMetadata, PartitionList, Queue, TopicState};
use super::source::{LOOK, MISSING_MAX, passes, topic_gone};
use super::standby::Standbys;
use crate::codes::{KAFKA_IDENTITY, KAFKA_MEMBER};

/// How long leaving the group may take before the others are left to notice by themselves.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// A member has nothing of a bounded input for so long before it asks whether the others have it: its share may be theirs
/// still to give back.
const NOTHING_MIN: Duration = Duration::from_secs(3);
/// How often it asks.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often one trouble is said.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Partitions that the group wants back.
struct Revocation {
    list: PartitionList,
    /// Tasks that the worker has not given back yet.
    waiting: BTreeSet<TaskId>,
    lost: bool,
}

pub(super) struct KafkaMember {
    queue: Queue,
    client: Arc<Client>,
    group: Arc<GroupState>,
    opener: Arc<dyn Opener>,
    revocation: Option<Revocation>,
    /// Tasks that the group has assigned.
    owned: BTreeSet<TaskId>,
    /// Tasks that are the worker's still, but under leases that were cut short: given anew when it has let go of them.
    again: BTreeSet<TaskId>,
    regained: Vec<TaskId>,
    given_again: Option<Change>,
    /// A topic that the brokers do not know, and since when.
    missing: Option<(String, Instant)>,
    /// A run ends when the tasks it was given have ended.
    bounded: bool,
    others_are_known: bool,
    /// The group assigned nothing of a bounded input: when to ask whether others have it.
    ask_at: Option<Instant>,
    left: bool,
    said: Option<(Code, Instant)>,
    /// Asks the group who its members are.
    asker: Arc<Client>,
    group_name: String,
    standbys: Standbys,
}

impl KafkaMember {
    /// Joins the group.
    pub(super) fn join(
        client: Arc<Client>,
        asker: Arc<Client>,
        input: &KafkaInput,
        pipeline: &str,
        group: Arc<GroupState>,
        opener: Arc<dyn Opener>,
    ) -> Result<Self> {
        let topics = input.topics.subscription();
        if topics.is_empty() {
            return Err(Error::new(KAFKA_MEMBER, "the source names no topic"));
        }
        let queue = Queue::of_consumer(&client)
            .ok_or_else(|| Error::new(KAFKA_MEMBER, "the consumer group can't be joined: its queue is missing"))?;
        client.subscribe(&topics).map_err(refused)?;
        group.set_member(Some(client.clone()));
        Ok(Self {
            queue,
            client,
            group,
            opener,
            revocation: None,
            owned: BTreeSet::new(),
            again: BTreeSet::new(),
            regained: Vec::new(),
            given_again: None,
            missing: None,
            bounded: input.bounded,
            others_are_known: input.members_are_known(),
            ask_at: None,
            left: false,
            said: None,
            asker,
            group_name: input.group(pipeline).to_owned(),
            standbys: Standbys::default(),
        })
    }

    fn tasks(&self, list: &PartitionList) -> Result<Vec<TaskId>> {
        list.entries().iter().map(|entry| self.group.names.task(&entry.topic, entry.partition)).collect()
    }

    fn assigned(&mut self, mut list: PartitionList) -> Result<Option<Change>> {
        let tasks = self.tasks(&list)?;
        if let Some(place) = GroupMetadata::of(&self.client)
            && self.group.set_id(place.id())
        {
            // Tasks that it kept through an absence that nobody told of.
            self.group.end_all();
            self.again.extend(&self.owned);
        }
        let leases = self.group.grant(&tasks);
        self.owned.extend(tasks);
        self.client.assign(&mut list).map_err(refused)?;
        self.ask_at = (self.bounded && self.owned.is_empty()).then(|| Instant::now() + NOTHING_MIN);
        Ok((!leases.is_empty()).then_some(Change::Assigned(leases)))
    }

    /// Whether this member has no share of a bounded input. A group whose topics were only just created assigns nothing to
    /// anyone at first: so nothing is a share only if others have the partitions.
    fn has_no_share(&mut self) -> bool {
        let now = Instant::now();
        if self.ask_at.is_none_or(|at| now < at) {
            return false;
        }
        if !self.others_are_known {
            self.ask_at = None;
            return true;
        }
        self.ask_at = Some(now + ASK_EVERY);
        self.standbys.ask(&self.asker, &self.group_name);
        let id = GroupMetadata::of(&self.client).map(|place| place.id());
        let no_share = id.is_some_and(|id| self.standbys.others_own(&id) == Some(true));
        if no_share {
            self.ask_at = None;
        }
        no_share
    }

    fn revoked(&mut self, list: PartitionList) -> Result<Option<Change>> {
        let tasks = self.tasks(&list)?;
        let lost = self.client.assignment_lost();
        if lost {
            self.group.end(&tasks);
        }
        if tasks.is_empty() {
            self.client.unassign(&list).map_err(refused)?;
            return Ok(None);
        }
        self.owned.retain(|task| !tasks.contains(task));
        self.again.retain(|task| !tasks.contains(task));
        let waiting = tasks.iter().copied().collect();
        self.revocation = Some(Revocation { list, waiting, lost });
        Ok(Some(match lost {
            true => Change::Lost(tasks),
            false => Change::Revoked(tasks),
        }))
    }

    fn trouble(&mut self, failure: Failure) -> Result<()> {
        match failure.code {
            _ if failure.fatal => return Err(refused(failure)),
            Code::UnknownTopicOrPartition | Code::UnknownTopic => {
                // A broker that was just started may not know it yet.
                if let Some(topic) = quoted(&failure.text) {
                    self.missing.get_or_insert_with(|| (topic.to_owned(), Instant::now()));
                }
            }
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::InconsistentGroupProtocol
            | Code::InvalidSessionTimeout
            | Code::InvalidGroupId
            | Code::UnsupportedAssignor
            | Code::GroupMaxSizeReached
            | Code::FencedInstanceId => return Err(refused(failure)),
            _ => {}
        }
        let again = self.said.is_none_or(|(code, at)| code != failure.code || at.elapsed() >= SAY_EVERY);
        if again {
            self.said = Some((failure.code, Instant::now()));
            match passes(&failure) || failure.code == Code::Authentication || failure.code == Code::SSL {
                true => tracing::warn!(target: "kafka", "the group's client has trouble and goes on trying: {failure}"),
                false => tracing::warn!(target: "kafka", "the group's client reports: {failure}"),
            }
        }
        Ok(())
    }

    /// A topic that stays away was deleted.
    fn check_missing(&mut self) -> Result<()> {
        let Some((topic, _)) = self.missing.take_if(|(_, since)| since.elapsed() >= MISSING_MAX) else { return Ok(()) };
        match self.client.topic(&topic, LOOK) {
            Ok(TopicState::Missing) => Err(topic_gone(&topic, None)),
            Ok(_) => Ok(()),
            Err(_) => {
                self.missing = Some((topic, Instant::now()));
                Ok(())
            }
        }
    }

    /// What follows when leases were cut short although the group still has the tasks here.
    fn interrupted(&mut self) -> Option<Change> {
        if self.group.take_cut_short() && self.revocation.is_none() && !self.client.assignment_lost() {
            if let Some(place) = GroupMetadata::of(&self.client) {
                self.group.set_id(place.id());
            }
            self.again.extend(&self.owned);
        }
        if !self.again.is_empty() && self.regained.is_empty() && self.revocation.is_none() {
            let tasks: Vec<TaskId> = std::mem::take(&mut self.again).into_iter().collect();
            self.group.end(&tasks);
            self.regained.clone_from(&tasks);
            return Some(Change::Lost(tasks));
        }
        None
    }

    /// Lets go of what the group wants back, if the worker has.
    fn settle(&mut self) -> Result<()> {
        let Some(revocation) = self.revocation.take_if(|r| r.waiting.is_empty()) else { return Ok(()) };
        let tasks = self.tasks(&revocation.list)?;
        self.group.end(&tasks);
        self.client.unassign(&revocation.list).map_err(refused)
    }
}

impl Member for KafkaMember {
    fn poll(&mut self) -> Result<Option<Change>> {
        if let Some(change) = self.given_again.take() {
            return Ok(Some(change));
        }
        if let Some(revocation) = &mut self.revocation
            && !revocation.lost
            && self.client.assignment_lost()
        {
            // Too slow to give them back: the group took them.
            revocation.lost = true;
            let tasks: Vec<TaskId> = revocation.waiting.iter().copied().collect();
            self.group.end(&tasks);
            return Ok(Some(Change::Lost(tasks)));
        }
        self.check_missing()?;
        if let Some(change) = self.interrupted() {
            return Ok(Some(change));
        }
        if self.has_no_share() {
            return Ok(Some(Change::Assigned(Vec::new())));
        }
        while let Some(event) = self.queue.event(Duration::ZERO) {
            let change = match event {
                Event::Assign(list) => self.assigned(list)?,
                Event::Revoke(list) => self.revoked(list)?,
                Event::Trouble(failure) => {
                    self.trouble(failure)?;
                    None
                }
                Event::Statistics(json) => {
                    tracing::debug!(target: "kafka", client = "group member", statistics = json);
                    None
                }
                Event::Undelivered(_) | Event::Other => None,
            };
            if change.is_some() {
                return Ok(change);
            }
        }
        Ok(None)
    }

    fn opener(&self) -> Arc<dyn Opener> {
        self.opener.clone()
    }

    fn release(&mut self, tasks: &[TaskId]) -> Result<()> {
        self.group.end(tasks);
        let regained: Vec<TaskId> = self.regained.extract_if(.., |task| tasks.contains(task)).collect();
        let regained: Vec<TaskId> = regained.into_iter().filter(|task| self.owned.contains(task)).collect();
        if !regained.is_empty() {
            self.given_again = Some(Change::Assigned(self.group.grant(&regained)));
        }
        if let Some(revocation) = &mut self.revocation {
            for task in tasks {
                revocation.waiting.remove(task);
            }
        }
        self.settle()
    }

    fn standbys(&mut self, copies: usize) -> Result<Option<Vec<TaskId>>> {
        self.standbys.ask(&self.asker, &self.group_name);
        let Some(place) = GroupMetadata::of(&self.client) else { return Ok(None) };
        let Some(chosen) = self.standbys.of(&place.id(), copies) else { return Ok(None) };
        let tasks = chosen.iter().map(|(topic, partition)| self.group.names.task(topic, *partition));
        tasks.collect::<Result<_>>().map(Some)
    }

    fn is_open(&self) -> bool {
        !self.bounded
    }

    fn leave(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.left, true) {
            return Ok(());
        }
        self.group.end_all();
        self.group.set_member(None);
        if let Some(revocation) = self.revocation.take() {
            self.client.unassign(&revocation.list).map_err(refused)?;
        }
        self.client.close(&self.queue).map_err(refused)?;
        let began = Instant::now();
        while !self.client.closed() {
            match self.queue.event(Duration::from_millis(10)) {
                Some(Event::Revoke(list)) => self.client.unassign(&list).map_err(refused)?,
                Some(Event::Assign(mut list)) => self.client.assign(&mut list).map_err(refused)?,
                _ => {}
            }
            if began.elapsed() >= LEAVE_MAX {
                // What was read is committed: nothing is wrong but the delay.
                tracing::warn!(
                    code = KAFKA_MEMBER.id,
                    "the consumer group was not left in time; the others take over after the session timeout"
                );
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Drop for KafkaMember {
    /// A run that ends with an error leaves too: the others need not wait for the session to end.
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            tracing::debug!(target: "kafka", "the consumer group was not left: {error}");
        }
    }
}

/// What stands between the first quotes or after "not available:" of librdkafka's text.
fn quoted(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("not available: ")?;
    rest.split([':', ' ']).next().filter(|name| !name.is_empty())
}

fn refused(failure: Failure) -> Error {
    match failure.code {
        Code::FencedInstanceId | Code::UnreleasedInstanceId => Error::new(
            KAFKA_IDENTITY,
            "the consumer group shut this process out: its static membership was taken over or has run out",
        )
        .help(
            "start it again; if another process runs from a copy of this `data_dir`, give each its own; if this machine was \
             held up for longer than `session_timeout`, let that be longer",
        )
        .because(failure),
        Code::InconsistentGroupProtocol | Code::UnsupportedAssignor => Error::new(
            KAFKA_MEMBER,
            "the consumer group can't be joined: its members use another protocol or another assignment strategy",
        )
        .help("give the pipeline a `group:` of its own; other programs must not be in it")
        .because(failure),
        _ => Error::new(KAFKA_MEMBER, "the consumer group can't be joined or kept")
            .help("look at the broker's log; if the broker refuses this user, let it read the topic and the group")
            .because(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_topic_is_named() {
        let text = "Subscribed topic not available: tx: Broker: Unknown topic or partition";
        assert_eq!(quoted(text), Some("tx"));
        assert_eq!(quoted("something else"), None);
    }
}
