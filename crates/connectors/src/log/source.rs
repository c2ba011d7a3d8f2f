//! The `log` source: partitions of a topic of the embedded log.

use std::ops::Range;
use std::sync::Arc;

use millstream_config::pipeline::{ConnectorSpec, Kind, SourceFormat};
use millstream_config::{Cx, Diagnostic, Spanned, Whole, spec, spec_enum};
use millstream_core::{Delivery, PollLimit, Polled, Position, RawBatch, Result, RowSchema, Source, TaskId};

use super::read::PartitionReader;
use super::store::LogStore;
use super::topic::check_name;
use crate::codec::InputFormat;
use crate::codes::BAD_OPTION;
use crate::env::Env;
use crate::file::declared_format;
use crate::look::{Place, no_place};
use crate::registry::{SourceConnector, kind, shared};
use crate::spec::SourceSpec;

spec! {
    /// A topic of the embedded log.
    pub(crate) struct LogSourceOptions {
        /// The topic to read.
        topic: Spanned<String> = required,
        /// How many partitions the topic is created with if it does not exist; if it does, it must have as many.
        partitions: Whole<1, 1024> = optional,
        /// Where a pipeline begins that has never committed.
        start: Start = default(Start::Earliest),
        /// Whether to stop at the end that each partition has when the run starts.
        bounded: bool = default(false),
    }
}

spec_enum! {
    /// Where to begin.
    pub(crate) enum Start {
        /// At the oldest record that is kept.
        Earliest = "earliest",
        /// Behind the newest record.
        Latest = "latest",
    }
}

/// `type: log`
pub(crate) struct LogSourceConnector;

impl SourceConnector for LogSourceConnector {
    fn kind(&self) -> Kind {
        kind::<LogSourceOptions>("log")
    }

    fn check(&self, spec: &ConnectorSpec, cx: &mut Cx) -> Option<Box<dyn SourceSpec>> {
        let options: LogSourceOptions = spec.fields.decode(cx)?;
        check_topic(&options.topic, cx)?;
        if options.bounded && options.start == Start::Latest {
            let message = "`start: latest` with `bounded: true` would never read anything";
            let diagnostic = Diagnostic::error(BAD_OPTION, spec.fields.span_of("start"), message);
            cx.push(diagnostic.help("leave one of the two away"));
            return None;
        }
        let format = shared(spec, "format").unwrap_or(SourceFormat::Json);
        Some(Box::new(LogSourceSpec { options, format }))
    }
}

/// Says that a topic's name can't be one.
pub(super) fn check_topic(topic: &Spanned<String>, cx: &mut Cx) -> Option<()> {
    let Err(error) = check_name(&topic.value) else { return Some(()) };
    let diagnostic = Diagnostic::error(error.code(), topic.span, error.message());
    cx.push(diagnostic.help(error.help_text().unwrap_or_default()));
    None
}

/// Looks at a topic without creating anything.
pub(super) fn probe_topic(env: &Env, topic: &str, declared: Option<u32>) -> Result<()> {
    let log_exists = env.data_dir().join("log").join("version").exists();
    if declared.is_some() && !log_exists {
        return Ok(());
    }
    let log = env.log()?;
    if declared.is_some() && !log.topics().iter().any(|t| t.name == topic) {
        return Ok(());
    }
    log.ensure_topic(topic, declared).map(|_| ())
}

struct LogSourceSpec {
    options: LogSourceOptions,
    format: SourceFormat,
}

impl LogSourceSpec {
    fn declared(&self) -> Option<u32> {
        self.options.partitions.map(|p| p.0 as u32)
    }
}

impl SourceSpec for LogSourceSpec {
    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    fn bounded(&self) -> bool {
        self.options.bounded
    }

    fn describe(&self) -> String {
        format!("topic `{}`", self.options.topic.value)
    }

    fn declared_partitions(&self) -> Option<u32> {
        self.declared()
    }

    fn declared_format(&self, schema: &RowSchema) -> InputFormat {
        declared_format(self.format, schema)
    }

    /// Records of a topic have no header: their fields stand in the order of the schema.
    fn input_format(&self, _env: &Env, schema: &RowSchema) -> Result<InputFormat> {
        Ok(self.declared_format(schema))
    }

    fn probe(&self, env: &Env) -> Result<()> {
        probe_topic(env, &self.options.topic.value, self.declared())
    }

    fn partitions(&self, env: &Env) -> Result<u32> {
        env.log()?.ensure_topic(&self.options.topic.value, self.declared())
    }

    fn existing_partitions(&self, env: &Env) -> Result<u32> {
        if !env.data_dir().join("log").exists() {
            return Ok(0);
        }
        let log = env.log()?;
        let known = log.topics().into_iter().find(|topic| topic.name == self.options.topic.value);
        Ok(known.map_or(0, |topic| topic.partitions.len() as u32))
    }

    fn bounds(&self, env: &Env, partition: u32) -> Result<Option<(u64, u64)>> {
        let offsets = env.log()?.offsets(&self.options.topic.value, partition)?;
        Ok(Some((offsets.start, offsets.end)))
    }

    fn place(&self, env: &Env, partition: u32, place: Place) -> Result<Position> {
        let (log, topic) = (env.log()?, &self.options.topic.value);
        let offsets = log.offsets(topic, partition)?;
        let whose = format!("partition {partition} of topic `{topic}`");
        let offset = match place {
            Place::Earliest => offsets.start,
            Place::Latest => offsets.end,
            Place::Offset(offset) if (offsets.start..=offsets.end).contains(&offset) => offset,
            Place::Offset(offset) => {
                return Err(no_place(&whose, &format!("it has no offset {offset}"))
                    .help(format!("it has {} to {}", offsets.start, offsets.end)));
            }
            Place::Timestamp(time_ms) => first_since(&log, topic, partition, &offsets, time_ms)?,
        };
        Ok(Position { offset, cursor: String::new() })
    }

    fn open(&self, env: &Env, partition: u32) -> Result<Box<dyn Source>> {
        let log = env.log()?;
        let topic = &self.options.topic.value;
        let offsets = log.offsets(topic, partition)?;
        let first = match self.options.start {
            Start::Earliest => offsets.start,
            Start::Latest => offsets.end,
        };
        let reader = PartitionReader::open(log, topic, partition, first)?;
        Ok(Box::new(LogSource { reader, first, end: self.options.bounded.then_some(offsets.end) }))
    }
}

/// The offset of the first record with this timestamp or a later one; the end if there is none. Reads what comes before.
fn first_since(log: &Arc<LogStore>, topic: &str, partition: u32, offsets: &Range<u64>, time_ms: i64) -> Result<u64> {
    let mut reader = PartitionReader::open(log.clone(), topic, partition, offsets.start)?;
    loop {
        let mut batch = RawBatch::new(TaskId::new(partition));
        if reader.read(offsets.end, LOOK, &mut batch)? == 0 {
            return Ok(offsets.end);
        }
        if let Some(i) = (0..batch.len()).find(|&i| batch.timestamp_ms(i) >= time_ms) {
            return Ok(batch.offset(i));
        }
    }
}

/// What is read at once in search of a time.
const LOOK: PollLimit = PollLimit { records: 4096, bytes: 4 << 20 };

/// Reads one partition.
struct LogSource {
    reader: PartitionReader,
    first: u64,
    /// Where a bounded input ends.
    end: Option<u64>,
}

impl LogSource {
    fn ahead(&self) -> Result<Range<u64>> {
        let end = match self.end {
            Some(end) => end,
            None => self.reader.offsets()?.end,
        };
        Ok(self.reader.next_offset()..end)
    }
}

impl Source for LogSource {
    fn poll(&mut self, limit: PollLimit, out: &mut RawBatch) -> Result<Polled> {
        let count = self.reader.read(self.end.unwrap_or(u64::MAX), limit, out)?;
        Ok(match (count, self.end) {
            (1.., _) => Polled::Records,
            (0, Some(_)) => Polled::End,
            (0, None) => Polled::CaughtUp,
        })
    }

    fn position(&self) -> Position {
        Position { offset: self.reader.next_offset(), cursor: String::new() }
    }

    fn seek(&mut self, position: &Position) -> Result<()> {
        self.reader.seek(position.offset)?;
        self.first = position.offset;
        Ok(())
    }

    fn lag(&self) -> Option<u64> {
        self.ahead().ok().map(|ahead| ahead.end.saturating_sub(ahead.start))
    }

    fn fraction_read(&self) -> Option<f64> {
        let end = self.end?;
        let all = end.saturating_sub(self.first);
        Some(if all == 0 { 1.0 } else { (self.reader.next_offset() - self.first) as f64 / all as f64 })
    }
}
