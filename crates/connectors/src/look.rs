//! What a pipeline's backend and input say without a run: commits, offsets, owners; and commits set by hand.
//!
//! For `millstream status` and `millstream reset`. Everything waits for the network or the disk on the caller's thread,
//! each question for a bounded time, and nothing is created by looking.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use millstream_core::{CommitRecord, Delivery, Error, JournalEntry, Position, Result, Store, TaskId};

use crate::backend::Choice;
use crate::codec::{parse_rfc3339, write_rfc3339};
use crate::codes::NO_PLACE;
use crate::env::Env;
use crate::kafka;
use crate::log::LogStore;
use crate::spec::SourceSpec;

/// A task of a pipeline's input, whether or not it ever ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The task.
    pub task: TaskId,
    /// Its topic, where the input has topics.
    pub topic: Option<String>,
    /// The oldest offset and the one that the next record gets, where the input can say.
    pub bounds: Option<(u64, u64)>,
}

/// A place in an input, as people say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The oldest record that is kept.
    Earliest,
    /// Behind the newest record.
    Latest,
    /// This offset.
    Offset(u64),
    /// The first record with this timestamp or a later one, milliseconds since 1970.
    Timestamp(i64),
}

/// A process that runs a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// For people: host and process, or whatever the member calls itself.
    pub name: String,
    /// Its machine and process id, if it is one of ours.
    pub host: Option<(String, u32)>,
    /// Where its HTTP API listens, on its machine.
    pub http: Option<SocketAddr>,
    /// Its name as a static member.
    pub instance: Option<String>,
    /// The tasks that it owns.
    pub tasks: Vec<TaskId>,
}

impl Owner {
    /// What a process calls itself: `millstream-<pipeline>@<host>:<pid>`, and behind a `/` its HTTP address.
    pub(crate) fn client_id(pipeline: &str, http: Option<SocketAddr>) -> String {
        let http = http.map_or_else(String::new, |address| format!("/{address}"));
        format!("millstream-{pipeline}@{}:{}{http}", hostname(), std::process::id())
    }

    /// Reads [`Owner::client_id`]; what others call themselves is taken as it is.
    pub(crate) fn parse(client_id: &str, pipeline: &str, instance: Option<String>, tasks: Vec<TaskId>) -> Self {
        let other =
            Self { name: client_id.to_owned(), host: None, http: None, instance: instance.clone(), tasks: Vec::new() };
        let place = client_id.strip_prefix("millstream-").and_then(|rest| rest.strip_prefix(pipeline));
        let known = place.and_then(|rest| rest.strip_prefix('@')).and_then(|place| {
            let (name, http) = place.split_once('/').map_or((place, None), |(name, http)| (name, Some(http)));
            let (host, pid) = name.rsplit_once(':')?;
            let http = http.and_then(|address| address.parse().ok());
            Some(Self {
                name: name.to_owned(),
                host: Some((host.to_owned(), pid.parse().ok()?)),
                http,
                ..other.clone()
            })
        });
        Self { tasks, ..known.unwrap_or(other) }
    }

    /// Whether it runs on this machine.
    pub fn is_here(&self) -> bool {
        self.host.as_ref().is_some_and(|(host, _)| *host == hostname())
    }
}

/// A time as RFC 3339, in milliseconds since 1970.
pub fn time_ms(text: &str) -> Option<i64> {
    parse_rfc3339(text).map(|micros| micros.div_euclid(1000))
}

/// Milliseconds since 1970 as RFC 3339, in UTC; nothing beyond what a calendar holds.
pub fn time_text(ms: i64) -> Option<String> {
    let mut text = Vec::new();
    write_rfc3339(ms, 1000, &mut text).then(|| String::from_utf8_lossy(&text).into_owned())
}

/// This machine's name.
fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// A backend that is looked at.
pub trait Look {
    /// The tasks of the input, in order.
    ///
    /// # Errors
    /// The input can't be asked, or is not there.
    fn inputs(&self) -> Result<Vec<Input>>;

    /// The newest commit of each task that ever committed.
    ///
    /// # Errors
    /// They can't be read.
    fn commits(&self) -> Result<BTreeMap<TaskId, CommitRecord>>;

    /// The newest commit of one task, if it ever committed.
    ///
    /// # Errors
    /// It can't be read.
    fn commit(&self, task: TaskId) -> Result<Option<CommitRecord>> {
        Ok(self.commits()?.remove(&task))
    }

    /// The processes that run the pipeline, where the backend knows.
    ///
    /// # Errors
    /// It can't be asked.
    fn owners(&self) -> Result<Vec<Owner>>;

    /// The position of a place in a task's input.
    ///
    /// # Errors
    /// The input has no such place, or can't go there.
    fn position(&self, input: &Input, place: Place) -> Result<Position>;

    /// The first `len` entries of a task's journal.
    ///
    /// # Errors
    /// They can't be read, or are not all there any more.
    fn journal(&self, task: TaskId, len: u64) -> Result<Vec<JournalEntry>>;

    /// Makes these the newest commits of their tasks. What their journals hold beyond the length that a commit says does
    /// not count from then on. For each task it is done or not; a failure in between leaves some done.
    ///
    /// # Errors
    /// The pipeline runs, or the backend refuses.
    fn set(&self, commits: &[(TaskId, CommitRecord)]) -> Result<()>;
}

/// Looks at the backend of a pipeline.
///
/// # Errors
/// It can't be reached, or a run has it.
pub fn look(
    choice: &Choice,
    env: &Arc<Env>,
    source: &Arc<dyn SourceSpec>,
    delivery: Delivery,
) -> Result<Box<dyn Look>> {
    match choice {
        Choice::Local => Ok(Box::new(LocalLook { env: env.clone(), source: source.clone() })),
        Choice::Kafka(cluster) => kafka::look(cluster, env, source, delivery),
    }
}

/// The tasks of an input that one process reads alone.
pub(crate) fn local_inputs(env: &Env, source: &dyn SourceSpec) -> Result<Vec<Input>> {
    let partitions = source.existing_partitions(env)?;
    let input =
        |partition| Ok(Input { task: TaskId::new(partition), topic: None, bounds: source.bounds(env, partition)? });
    (0..partitions).map(input).collect()
}

/// That a place can't be gone to.
pub(crate) fn no_place(input: &str, why: &str) -> Error {
    Error::new(NO_PLACE, format!("{input}: {why}"))
}

/// Everything in the embedded log.
struct LocalLook {
    env: Arc<Env>,
    source: Arc<dyn SourceSpec>,
}

impl LocalLook {
    /// The log, if there is one.
    fn log(&self) -> Result<Option<Arc<LogStore>>> {
        if !self.env.data_dir().join("log").exists() {
            return Ok(None);
        }
        self.env.log().map(Some)
    }
}

impl Look for LocalLook {
    fn inputs(&self) -> Result<Vec<Input>> {
        local_inputs(&self.env, self.source.as_ref())
    }

    fn commits(&self) -> Result<BTreeMap<TaskId, CommitRecord>> {
        let Some(log) = self.log()? else { return Ok(BTreeMap::new()) };
        Ok(log.load_commits(self.env.pipeline())?.into_iter().collect())
    }

    fn commit(&self, task: TaskId) -> Result<Option<CommitRecord>> {
        let Some(log) = self.log()? else { return Ok(None) };
        log.load_commit(self.env.pipeline(), task)
    }

    fn owners(&self) -> Result<Vec<Owner>> {
        // Whoever runs it has the log, and then this process does not get that far.
        Ok(Vec::new())
    }

    fn position(&self, input: &Input, place: Place) -> Result<Position> {
        self.source.place(&self.env, input.task.partition, place)
    }

    fn journal(&self, task: TaskId, len: u64) -> Result<Vec<JournalEntry>> {
        let Some(log) = self.log()? else { return Ok(Vec::new()) };
        let mut entries = log.load_journal(self.env.pipeline(), task, 0)?;
        entries.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(entries)
    }

    fn set(&self, commits: &[(TaskId, CommitRecord)]) -> Result<()> {
        self.env.log()?.set_commits(self.env.pipeline(), commits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_known_by_what_they_call_themselves() {
        let http: SocketAddr = "127.0.0.1:7070".parse().unwrap();
        let own = Owner::parse(&Owner::client_id("p", Some(http)), "p", None, vec![TaskId::new(1)]);
        assert_eq!((own.http, own.host.as_ref().map(|(_, pid)| *pid)), (Some(http), Some(std::process::id())));
        assert!(own.is_here() && own.tasks == [TaskId::new(1)], "{own:?}");
        let quiet = Owner::parse("millstream-p@a.b:12", "p", None, Vec::new());
        assert_eq!((quiet.name.as_str(), quiet.http, quiet.host), ("a.b:12", None, Some(("a.b".to_owned(), 12))));
        let six = Owner::parse("millstream-p@a:12/[::1]:80", "p", None, Vec::new());
        assert_eq!(six.http.map(|a| a.port()), Some(80));
        let other = Owner::parse("console-consumer", "p", None, Vec::new());
        assert_eq!((other.name.as_str(), other.host), ("console-consumer", None));
    }
}
