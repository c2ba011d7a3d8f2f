//! The topics of a Kafka cluster, for the same commands.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use millstream_config::Pipeline;
use millstream_connectors::codes::OFFSET_GONE;
use millstream_connectors::kafka::{Admin, Connection, KafkaTopic, Read, Writer, find_connection, plain_connection};
use millstream_connectors::log::{self, Retention};
use millstream_core::record::NO_TIMESTAMP;
use millstream_core::{Error, Result};

use super::tail::Reading;
use crate::args::{ClusterArgs, From, TailArgs};
use crate::codes;
use crate::failure::Outcome;
use crate::http::wire::{self, LineOptions};
use crate::log::{NewTopic, PartitionView, TopicView};
use crate::output::Output;

/// How long a reader waits at a time.
const LOOK: Duration = Duration::from_millis(100);

/// A cluster that was reached.
pub struct Kafka {
    admin: Admin,
    writer: RefCell<Option<Writer>>,
}

impl Kafka {
    /// The cluster that the arguments name, if they name one.
    pub fn open(args: &ClusterArgs) -> Result<Option<Self>> {
        let (connection, base) = match (&args.brokers, &args.pipeline) {
            (Some(brokers), _) => (plain_connection(brokers)?, Path::new("").to_owned()),
            (None, Some(file)) => {
                let base = file.parent().unwrap_or(Path::new("")).to_owned();
                (connection(file, args.connection.as_deref())?, base)
            }
            (None, None) => return Ok(None),
        };
        let admin = Admin::connect(&connection, &base)?;
        Ok(Some(Self { admin, writer: RefCell::new(None) }))
    }

    pub fn topics(&self) -> Result<Vec<TopicView>> {
        self.admin.partitions()?.keys().map(|name| self.topic(name)).collect()
    }

    pub fn topic(&self, name: &str) -> Result<TopicView> {
        self.admin.topic(name).map(view)
    }

    pub fn create(&self, new: &NewTopic, replication: Option<u16>, retention: Option<Retention>) -> Result<TopicView> {
        self.admin.create(&new.name, new.partitions, replication, retention)?;
        self.topic(&new.name)
    }

    pub fn alter(&self, name: &str, retention: Retention) -> Result<TopicView> {
        self.admin.alter(name, retention)?;
        self.topic(name)
    }

    pub fn delete(&self, name: &str) -> Result<()> {
        self.admin.delete(name)
    }

    /// Appends lines of values; gives how many records that were.
    pub fn append(&self, topic: &str, lines: &[u8], options: &LineOptions) -> Result<u64> {
        let records = wire::parse_lines(lines, options)?;
        let partitions = self.admin.partitions_of(topic)?.unwrap_or(1);
        let placed: Vec<_> = records
            .iter()
            .map(|record| {
                let new = log::NewRecord {
                    key: record.key.as_deref(),
                    value: record.value.as_deref(),
                    timestamp_ms: record.timestamp_ms.unwrap_or(NO_TIMESTAMP),
                    headers: &record.headers,
                };
                (record.partition, new)
            })
            .collect();
        let mut slot = self.writer.borrow_mut();
        let mut writer = match slot.take() {
            Some(writer) => writer,
            None => self.admin.writer()?,
        };
        let sent = writer.append(topic, partitions, &placed);
        *slot = Some(writer);
        sent
    }

    /// Prints records as they come, of all partitions that are read.
    pub fn tail(&self, args: &TailArgs, view: &TopicView, readings: &[Reading], out: &mut Output) -> Outcome {
        if let (From::Offset(offset), [reading]) = (args.from, readings)
            && let Some(p) = view.partitions.iter().find(|p| p.partition == reading.partition)
            && !(p.start_offset..=p.next_offset).contains(&offset)
        {
            let message = format!("partition {} of topic `{}` has no offset {offset}", p.partition, view.name);
            return Err(Error::new(OFFSET_GONE, message)
                .help(format!("it has {} to {}", p.start_offset, p.next_offset))
                .into());
        }
        let mut left = args.limit.unwrap_or(u64::MAX);
        let from: Vec<(u32, u64)> = readings.iter().map(|r| (r.partition, r.next)).collect();
        let ends =
            |partition: u32| view.partitions.iter().find(|p| p.partition == partition).map_or(0, |p| p.next_offset);
        // Partitions whose end, as it was at the start, lies ahead.
        let mut open: Vec<u32> =
            from.iter().filter(|(p, next)| args.follow || *next < ends(*p)).map(|(p, _)| *p).collect();
        let mut reader = self.admin.reader(&args.topic, &from)?;
        let mut bytes = Vec::new();
        while left > 0 && !open.is_empty() {
            match reader.next(LOOK)? {
                Read::Record(batch) => {
                    // Without `--follow`, what came after the start is left for the next time.
                    if !args.follow && !open.contains(&batch.partition()) {
                        continue;
                    }
                    bytes.clear();
                    super::access::print(&batch, 0, args.format, &mut bytes);
                    out.write(&bytes)?;
                    left -= 1;
                    if batch.offset(0) + 1 >= ends(batch.partition()) && !args.follow {
                        open.retain(|p| *p != batch.partition());
                    }
                }
                Read::End(partition) if !args.follow => open.retain(|p| *p != partition),
                Read::End(_) | Read::Nothing => out.flush()?,
            }
        }
        out.flush()
    }
}

fn connection(file: &Path, name: Option<&str>) -> Result<Connection> {
    let failed = |why: String| Error::new(codes::ARGUMENT, format!("the pipeline file `{}` {why}", file.display()));
    let bytes = std::fs::read(file).map_err(|cause| failed("can't be read".to_owned()).because(cause))?;
    let env = |name: &str| std::env::var(name).ok();
    let (pipeline, _) = Pipeline::parse_bytes(&file.display().to_string(), &bytes, &env);
    let pipeline =
        pipeline.ok_or_else(|| failed("is none".to_owned()).help("`millstream check` says what is wrong with it"))?;
    find_connection(&pipeline, name)
}

fn view(topic: KafkaTopic) -> TopicView {
    let partitions = (0..).zip(&topic.partitions).map(|(partition, &(start_offset, next_offset))| PartitionView {
        partition,
        start_offset,
        next_offset,
        bytes: None,
    });
    TopicView {
        partitions: partitions.collect(),
        name: topic.name,
        created_ms: None,
        retention: topic.retention,
        cleanup: Some(topic.cleanup),
    }
}
