//! The `log` sink: rows as records of a topic, inside the epoch's own write.

use std::sync::Arc;

use millstream_config::codes::NO_EFFECT;
use millstream_config::pipeline::{self, ConnectorSpec, Kind};
use millstream_config::{Cx, Diagnostic, Spanned, Whole, spec};
use millstream_core::murmur::partition_for;
use millstream_core::{Chunk, Delivery, Encoder, Error, Receipt, Result, Sink, TaskId, Txn};

use super::source::{check_topic, probe_topic};
use super::store::LogStore;
use crate::codec::{self, EncodeContext, OutputFormat, Timestamps};
use crate::codes::LOG_WRITE;
use crate::env::Env;
use crate::file::{no_parquet, output_format, timestamps};
use crate::partitioned;
use crate::registry::{SinkConnector, kind, shared};
use crate::spec::SinkSpec;

spec! {
    /// A topic of the embedded log.
    pub(crate) struct LogSinkOptions {
        /// The topic to write.
        topic: Spanned<String> = required,
        /// How many partitions the topic is created with if it does not exist; if it does, it must have as many.
        /// Default: as many as the input.
        partitions: Whole<1, 1024> = optional,
        /// The column that is the records' key; it decides a record's partition as Kafka's default partitioner would.
        /// Default: the input record's key, and the partition it came from.
        key: Spanned<String> = optional,
    }
}

/// `type: log`
pub(crate) struct LogSinkConnector;

impl SinkConnector for LogSinkConnector {
    fn kind(&self) -> Kind {
        kind::<LogSinkOptions>("log")
    }

    fn check(&self, spec: &ConnectorSpec, cx: &mut Cx) -> Option<Box<dyn SinkSpec>> {
        let options: LogSinkOptions = spec.fields.decode(cx)?;
        let format = output_format(spec, "");
        check_topic(&options.topic, cx)?;
        no_parquet(spec, format, "a topic holds records", cx)?;
        if let Some(key) = options.key.as_ref().filter(|_| spec.fields.owner() == "`dead_letters`") {
            let diagnostic = Diagnostic::error(NO_EFFECT, key.span, "dead letters keep the key of the original record");
            cx.push(diagnostic.help("remove `key`"));
            return None;
        }
        Some(Box::new(LogSinkSpec {
            options,
            format,
            timestamps: timestamps(shared::<pipeline::Timestamps>(spec, "timestamps")),
        }))
    }
}

struct LogSinkSpec {
    options: LogSinkOptions,
    format: OutputFormat,
    timestamps: Timestamps,
}

impl LogSinkSpec {
    fn declared(&self) -> Option<u32> {
        self.options.partitions.map(|p| p.0 as u32)
    }
}

impl SinkSpec for LogSinkSpec {
    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    fn describe(&self) -> String {
        format!("topic `{}`", self.options.topic.value)
    }

    fn format(&self) -> OutputFormat {
        self.format
    }

    fn timestamps(&self) -> Timestamps {
        self.timestamps
    }

    fn key(&self) -> Option<&str> {
        self.options.key.as_ref().map(|k| k.value.as_str())
    }

    fn embedded_log(&self) -> bool {
        true
    }

    fn boundaries(&self) -> bool {
        true
    }

    fn probe(&self, env: &Env) -> Result<()> {
        // Without `partitions` the number is the input's, so the topic need not be there.
        probe_topic(env, &self.options.topic.value, self.declared()).or_else(|error| match self.declared() {
            None if error.code() == crate::codes::UNKNOWN_TOPIC => Ok(()),
            _ => Err(error),
        })
    }

    fn open(&self, env: &Arc<Env>, tasks: Option<u32>, _context: &EncodeContext) -> Result<Box<dyn Sink>> {
        let log = env.log()?;
        let topic = self.options.topic.value.clone();
        let known = log.topics().iter().any(|t| t.name == topic);
        // A topic that exists keeps its number if the pipeline file names none.
        let declared = self.declared().or_else(|| (!known).then_some(tasks.unwrap_or(1).max(1)));
        let partitions = log.ensure_topic(&topic, declared)?;
        Ok(Box::new(LogSink { _log: log, topic, partitions, keyed: self.options.key.is_some() }))
    }

    fn encoder(&self, context: &EncodeContext) -> Result<Box<dyn Encoder>> {
        codec::encoder(context)
    }

    /// A topic keeps its records: others may have read them.
    fn discard(&self, _env: &Env, _committed: &[(TaskId, Receipt)]) -> Result<()> {
        Ok(())
    }
}

/// Puts records into the epoch's write. It has nothing to recover: the commit holds the records.
struct LogSink {
    _log: Arc<LogStore>,
    topic: String,
    partitions: u32,
    /// Whether a column decides the partition.
    keyed: bool,
}

impl Sink for LogSink {
    fn recover(&mut self, _task: TaskId, _committed: Option<&Receipt>) -> Result<()> {
        Ok(())
    }

    fn stage(&mut self, _task: TaskId, mut chunk: Chunk, txn: &mut dyn Txn) -> Result<Receipt> {
        if chunk.records.is_empty() && !chunk.data.is_empty() {
            return Err(Error::new(LOG_WRITE, format!("rows for topic `{}` have no boundaries", self.topic)));
        }
        for record in &mut chunk.records {
            record.partition = match partitioned::key(record, &chunk.data).filter(|_| self.keyed) {
                Some(key) => partition_for(key, self.partitions),
                None => record.partition % self.partitions,
            };
        }
        partitioned::append(&self.topic, chunk, txn)
    }

    fn publish(&mut self, _lost: &[TaskId]) -> Result<()> {
        Ok(())
    }
}
