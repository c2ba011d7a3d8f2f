//! Reads, writes and administers with confluent-kafka: `tests/kafka/client.py`, past all proxies.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::cluster::Cluster;
use super::config::Listener;
use super::failure::{Doing, Failure, Result};
use super::record::Record;
use super::source;
use super::venv::python;

/// How often a question is asked of a client that crashes.
const READS_MAX: usize = 3;

/// Which records a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions, and those without one.
    ReadCommitted,
    /// All.
    ReadUncommitted,
}

impl Isolation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ReadCommitted => "read_committed",
            Self::ReadUncommitted => "read_uncommitted",
        }
    }
}

/// Whether records are written in a transaction, with which `transactional.id`, and how it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transaction<'a> {
    /// In none.
    None,
    /// In one that is committed.
    Committed(&'a str),
    /// In one that is aborted.
    Aborted(&'a str),
    /// In one that the writer leaves open as it dies; the broker aborts it after [`LEFT_OPEN_MS`] milliseconds.
    LeftOpen(&'a str),
}

/// `transaction.timeout.ms` of a transaction that is left open.
pub const LEFT_OPEN_MS: u32 = 5_000;

/// A partition of a topic. Broker numbers are `node.id`s: one more than in [`Cluster::kill`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number.
    pub partition: i32,
    /// The broker that leads; -1 if there is none.
    pub leader: i32,
    /// The brokers that have a copy.
    pub replicas: Vec<i32>,
    /// Those of them whose copy is complete.
    pub in_sync: Vec<i32>,
}

/// What a group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The partition.
    pub partition: i32,
    /// The next offset to read; `None` if nothing was committed.
    pub offset: Option<i64>,
    /// What was written beside it.
    pub metadata: String,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its `client.id`.
    pub client_id: String,
    /// The topics and partitions it has.
    pub assigned: Vec<(String, i32)>,
}

impl Cluster {
    /// Makes a topic, with options such as `("cleanup.policy", "compact")`, and waits until it can be used.
    ///
    /// # Errors
    /// The broker refuses it.
    pub fn create_topic(&self, topic: &str, partitions: u32, options: &[(&str, &str)]) -> Result<()> {
        let partitions = partitions.to_string();
        let options: Vec<String> = options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut args = vec!["create", topic, &partitions];
        args.extend(options.iter().map(String::as_str));
        self.client(&args, "").map(drop)
    }

    /// Removes a topic.
    ///
    /// # Errors
    /// The broker refuses it.
    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        self.client(&["delete", topic], "").map(drop)
    }

    /// Gives a topic further partitions, up to this many.
    ///
    /// # Errors
    /// The broker refuses it.
    pub fn grow_topic(&self, topic: &str, partitions: u32) -> Result<()> {
        self.client(&["grow", topic, &partitions.to_string()], "").map(drop)
    }

    /// Removes what stands before an offset in each partition of a topic, as retention does.
    ///
    /// # Errors
    /// The broker refuses it; a partition that is shorter is refused.
    pub fn trim_topic(&self, topic: &str, before: u64) -> Result<()> {
        self.client(&["trim", topic, &before.to_string()], "").map(drop)
    }

    /// The partitions of a topic.
    ///
    /// # Errors
    /// It does not exist.
    pub fn describe_topic(&self, topic: &str) -> Result<Vec<PartitionInfo>> {
        let brokers = |value: &Value| value.as_array().into_iter().flatten().map(number).collect();
        let info = |line: &Value| PartitionInfo {
            partition: number(&line["partition"]),
            leader: number(&line["leader"]),
            replicas: brokers(&line["replicas"]),
            in_sync: brokers(&line["in_sync"]),
        };
        Ok(self.client(&["describe", topic], "")?.iter().map(info).collect())
    }

    /// Writes records, in order, and waits until the broker has them.
    ///
    /// # Errors
    /// It does not take one of them.
    pub fn produce(&self, topic: &str, records: &[Record], transaction: Transaction<'_>) -> Result<()> {
        let lines: String = records.iter().map(|record| format!("{}\n", record.to_json())).collect();
        let (end, id) = match transaction {
            Transaction::None => ("none", ""),
            Transaction::Committed(id) => ("commit", id),
            Transaction::Aborted(id) => ("abort", id),
            Transaction::LeftOpen(id) => ("leave", id),
        };
        self.client(&["produce", topic, end, id, &LEFT_OPEN_MS.to_string()], &lines).map(drop)
    }

    /// What is in a topic now, ordered by partition and offset.
    ///
    /// # Errors
    /// It can't be read.
    pub fn consume(&self, topic: &str, isolation: Isolation) -> Result<Vec<Record>> {
        self.consume_at_least(topic, isolation, 0, Duration::ZERO)
    }

    /// What is in a topic as soon as it is at least `count` records, or else when the time is over.
    ///
    /// # Errors
    /// It can't be read. Fewer records are no error.
    pub fn consume_at_least(
        &self,
        topic: &str,
        isolation: Isolation,
        count: usize,
        timeout: Duration,
    ) -> Result<Vec<Record>> {
        let (count, seconds) = (count.to_string(), timeout.as_secs_f64().to_string());
        let lines = self.client(&["consume", topic, isolation.name(), &count, &seconds], "")?;
        lines.iter().map(Record::from_json).collect()
    }

    /// What a group has committed for a topic, by partition.
    ///
    /// # Errors
    /// The broker does not say.
    pub fn committed(&self, group: &str, topic: &str) -> Result<Vec<Committed>> {
        let committed = |line: &Value| Committed {
            partition: number(&line["partition"]),
            offset: line["offset"].as_i64(),
            metadata: line["metadata"].as_str().unwrap_or_default().to_owned(),
        };
        Ok(self.client(&["committed", group, topic], "")?.iter().map(committed).collect())
    }

    /// The members of a group and what each has.
    ///
    /// # Errors
    /// The broker does not say.
    pub fn members(&self, group: &str) -> Result<Vec<Member>> {
        let assigned = |line: &Value| {
            let pairs = line["assigned"].as_array().into_iter().flatten();
            pairs.map(|pair| (pair[0].as_str().unwrap_or_default().to_owned(), number(&pair[1]))).collect()
        };
        let member = |line: &Value| Member {
            client_id: line["client_id"].as_str().unwrap_or_default().to_owned(),
            assigned: assigned(line),
        };
        Ok(self.client(&["members", group], "")?.iter().map(member).collect())
    }

    /// Where the brokers say they are to a client that connects to a listener with these properties of librdkafka:
    /// whether a user, a certificate or a proxy gets through.
    ///
    /// # Errors
    /// The client is refused, with what it says about that.
    pub fn connect_as(&self, listener: Listener, properties: &[(&str, &str)]) -> Result<Vec<String>> {
        let properties: Vec<String> = properties.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut args = vec!["brokers"];
        args.extend(properties.iter().map(String::as_str));
        let lines = self.client_at(&self.bootstrap_of(listener)?, &args, "")?;
        Ok(lines.iter().map(|line| line["address"].as_str().unwrap_or_default().to_owned()).collect())
    }

    fn client(&self, args: &[&str], input: &str) -> Result<Vec<Value>> {
        self.client_at(&self.bootstrap_direct(), args, input)
    }

    /// Runs the script; a line of input and of output is a JSON value.
    fn client_at(&self, servers: &str, args: &[&str], input: &str) -> Result<Vec<Value>> {
        let mut output = Self::run_client(servers, args, input)?;
        // The client is native code too, and not all of it is sound while leaders move: reading is asked again.
        let reads = matches!(args, ["consume" | "committed" | "members" | "brokers" | "describe", ..]);
        for _ in 1..READS_MAX {
            if !reads || output.status.signal().is_none() {
                break;
            }
            output = Self::run_client(servers, args, input)?;
        }
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            let (args, status) = (args.join(" "), output.status);
            return Err(Failure::new(format!("client.py {args} ({status}):\n{errors}\n{}", self.log_tail())));
        }
        let line = |line: &[u8]| serde_json::from_slice(line).map_err(|e| Failure::new(format!("client.py: {e}")));
        output.stdout.split(|&b| b == b'\n').filter(|text| !text.is_empty()).map(line).collect()
    }

    fn run_client(servers: &str, args: &[&str], input: &str) -> Result<Output> {
        let mut command = Command::new(python()?);
        command.arg(source("client.py")).arg(servers).args(args);
        let mut client = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing("the Python client can't be started")?;
        let stdin = client.stdin.take();
        let output = thread::scope(|scope| {
            // It may end before it has read all: that shows in how it ends.
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
            client.wait_with_output()
        });
        output.doing("the Python client")
    }
}

fn number(value: &Value) -> i32 {
    value.as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or(-1)
}
