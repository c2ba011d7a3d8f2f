//! The log of a data directory: its files where nothing runs, the HTTP port of the run where something does.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_connectors::codes::LOG_LOCKED;
use millstream_connectors::log::{LogStore, Retention};
use millstream_core::{Error, RawBatch, Result};
use serde_json::Value;

use super::kafka::Kafka;
use super::remote::Remote;
use crate::args::{TailFormat, TopicArgs};
use crate::codes;
use crate::http::discovery::Announcement;
use crate::http::wire::{self, LineOptions};
use crate::log::{Log, NewTopic, TopicView};

/// How long a run that has the log may take to announce its port.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(3);
const RETRY_EVERY: Duration = Duration::from_millis(50);
/// Records and bytes of one read.
const PAGE_RECORDS: usize = 5000;
const PAGE_BYTES: usize = 8 << 20;

/// One of the ways to a log.
pub enum Access {
    /// This process has the log.
    Files(Log),
    /// A run has it.
    Run(Remote),
    /// It is a Kafka cluster.
    Kafka(Box<Kafka>),
}

/// What one read brought.
pub struct Page {
    /// How many records.
    pub records: u64,
    /// Where the next read goes on.
    pub next_offset: u64,
}

impl Access {
    /// Finds the way that the arguments say. With `create`, a log that is not there is made.
    pub fn of(args: &TopicArgs, create: bool) -> Result<Self> {
        match Kafka::open(&args.cluster)? {
            Some(kafka) => Ok(Self::Kafka(Box::new(kafka))),
            None => Self::open(&args.data_dir, create),
        }
    }

    /// Finds the way to the log of a data directory.
    pub fn open(data_dir: &Path, create: bool) -> Result<Self> {
        let deadline = Instant::now() + ANNOUNCED_WITHIN;
        loop {
            if let Some(run) = Self::run(data_dir) {
                return Ok(run);
            }
            if !create && !data_dir.join("log").exists() {
                return Err(no_log(data_dir));
            }
            match LogStore::open(data_dir) {
                // Whoever says that records are durable means it: this command may be the only copy's reader.
                Ok(store) => return Ok(Self::Files(Log::new(Arc::new(store), true))),
                Err(error) if error.code() == LOG_LOCKED && Instant::now() < deadline => {
                    std::thread::sleep(RETRY_EVERY)
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The run that has the log, if there is one and it answers.
    pub fn run(data_dir: &Path) -> Option<Self> {
        Remote::connect(&Announcement::read(data_dir)?).map(Self::Run)
    }

    pub fn topics(&self) -> Result<Vec<TopicView>> {
        match self {
            Self::Files(log) => log.topics(),
            Self::Run(run) => run.topics(),
            Self::Kafka(kafka) => kafka.topics(),
        }
    }

    pub fn topic(&self, name: &str) -> Result<TopicView> {
        match self {
            Self::Files(log) => log.topic(name),
            Self::Run(run) => run.topic(name),
            Self::Kafka(kafka) => kafka.topic(name),
        }
    }

    /// Creates a topic. `kept` says whether the retention was said; `replication` is Kafka's.
    pub fn create(&self, new: &NewTopic, kept: bool, replication: Option<u16>) -> Result<TopicView> {
        if let (Some(_), Self::Files(_) | Self::Run(_)) = (replication, self) {
            return Err(Error::new(codes::ARGUMENT, "the embedded log keeps no copies: `--replication` is for Kafka")
                .help("leave it away, or say which cluster with `--brokers`"));
        }
        match self {
            Self::Files(log) => log.create(new),
            Self::Run(run) => run.create(new),
            Self::Kafka(kafka) => kafka.create(new, replication, kept.then_some(new.retention)),
        }
    }

    pub fn alter(&self, name: &str, retention: Retention) -> Result<TopicView> {
        match self {
            Self::Files(log) => log.alter(name, retention),
            Self::Run(run) => run.alter(name, retention),
            Self::Kafka(kafka) => kafka.alter(name, retention),
        }
    }

    pub fn delete(&self, name: &str) -> Result<()> {
        match self {
            Self::Files(log) => log.delete(name),
            Self::Run(run) => Err(Error::new(
                codes::TOPIC_IN_USE,
                format!(
                    "topic `{name}` can't be deleted while pipeline `{}` runs on this log (process {})",
                    run.pipeline, run.pid
                ),
            )
            .help("stop the run first")),
            Self::Kafka(kafka) => kafka.delete(name),
        }
    }

    /// Appends lines of values; gives how many records that were.
    pub fn append(&self, topic: &str, lines: &[u8], options: &LineOptions) -> Result<u64> {
        match self {
            Self::Files(log) => Ok(log.append(topic, &wire::parse_lines(lines, options)?)?.len() as u64),
            Self::Run(run) => run.append(topic, lines, options),
            Self::Kafka(kafka) => kafka.append(topic, lines, options),
        }
    }

    /// Reads up to `limit` records as they are printed, and appends them to `out`.
    pub fn read(&self, place: Place<'_>, limit: u64, format: TailFormat, out: &mut Vec<u8>) -> Result<Page> {
        let Place { topic, partition, offset } = place;
        let limit = usize::try_from(limit).unwrap_or(PAGE_RECORDS).min(PAGE_RECORDS);
        match self {
            Self::Files(log) => {
                let (batch, next_offset) = log.read(topic, partition, offset, limit, PAGE_BYTES)?;
                (0..batch.len()).for_each(|i| print(&batch, i, format, out));
                Ok(Page { records: batch.len() as u64, next_offset })
            }
            Self::Run(run) => {
                let (records, next_offset) = run.read(topic, partition, offset, limit, PAGE_BYTES)?;
                records.iter().for_each(|record| print_json(record, format, out));
                Ok(Page { records: records.len() as u64, next_offset })
            }
            // It is read as its records come, not page by page.
            Self::Kafka(_) => Ok(Page { records: 0, next_offset: offset }),
        }
    }
}

/// Where to read.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub topic: &'a str,
    pub partition: u32,
    pub offset: u64,
}

/// Appends a record as it is printed.
pub fn print(batch: &RawBatch, i: usize, format: TailFormat, out: &mut Vec<u8>) {
    match format {
        TailFormat::Value => out.extend_from_slice(batch.value(i).unwrap_or_default()),
        TailFormat::Json => out.extend_from_slice(wire::record(batch, i).to_string().as_bytes()),
    }
    out.push(b'\n');
}

fn print_json(record: &Value, format: TailFormat, out: &mut Vec<u8>) {
    match format {
        TailFormat::Value => out.extend_from_slice(&wire::value_of(record).unwrap_or_default()),
        TailFormat::Json => out.extend_from_slice(record.to_string().as_bytes()),
    }
    out.push(b'\n');
}

fn no_log(data_dir: &Path) -> Error {
    Error::new(codes::NO_LOG, format!("there is no log in `{}`", data_dir.display())).help(
        "name the `data_dir` of the pipeline with `--data-dir` (it lies next to the pipeline file), or create a topic with \
         `millstream topic create`",
    )
}
