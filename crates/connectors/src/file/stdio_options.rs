//! `type: stdin` and `type: stdout`.

use std::sync::Arc;

use millstream_config::pipeline::{ConnectorSpec, Kind, SourceFormat};
use millstream_config::{Cx, spec};
use millstream_core::{Delivery, Encoder, Receipt, Result, RowSchema, Sink, Source, TaskId};

use super::options::{csv, declared_format, framing, no_parquet, output_format, timestamps};
use super::stdio::{Stdin, StdoutSink, discard_stdout};
use crate::codec::{self, EncodeContext, InputFormat, OutputFormat, Timestamps};
use crate::env::Env;
use crate::registry::{SinkConnector, SourceConnector, kind, shared};
use crate::spec::{SinkSpec, SourceSpec};

spec! {
    /// Standard input: lines of JSON, or CSV with a header. It can't be read again, so a stop loses what was read and
    /// not committed: `delivery: at_most_once`.
    pub(crate) struct StdinOptions {}
}

spec! {
    /// Standard output: committed rows only. After a crash the rows of the last epoch may be printed again:
    /// `delivery: at_least_once`.
    pub(crate) struct StdoutOptions {}
}

/// `type: stdin`
pub(crate) struct StdinConnector;

impl SourceConnector for StdinConnector {
    fn kind(&self) -> Kind {
        kind::<StdinOptions>("stdin")
    }

    fn check(&self, spec: &ConnectorSpec, cx: &mut Cx) -> Option<Box<dyn SourceSpec>> {
        let StdinOptions {} = spec.fields.decode(cx)?;
        let format = shared(spec, "format").unwrap_or(SourceFormat::Json);
        Some(Box::new(StdinSpec { format, stream: Stdin::default() }))
    }
}

struct StdinSpec {
    format: SourceFormat,
    stream: Stdin,
}

impl SourceSpec for StdinSpec {
    fn delivery(&self) -> Delivery {
        Delivery::AtMostOnce
    }

    fn bounded(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        "standard input".to_owned()
    }

    fn declared_partitions(&self) -> Option<u32> {
        Some(1)
    }

    fn declared_format(&self, schema: &RowSchema) -> InputFormat {
        declared_format(self.format, schema)
    }

    fn input_format(&self, _env: &Env, _schema: &RowSchema) -> Result<InputFormat> {
        match self.format {
            SourceFormat::Json => Ok(InputFormat::Json),
            SourceFormat::Csv => self.stream.with(framing(self.format), |s| s.header()).map(csv),
        }
    }

    fn probe(&self, _env: &Env) -> Result<()> {
        Ok(())
    }

    fn partitions(&self, _env: &Env) -> Result<u32> {
        Ok(1)
    }

    fn open(&self, _env: &Env, _partition: u32) -> Result<Box<dyn Source>> {
        Ok(Box::new(self.stream.take(framing(self.format))?))
    }
}

/// `type: stdout`
pub(crate) struct StdoutConnector;

impl SinkConnector for StdoutConnector {
    fn kind(&self) -> Kind {
        kind::<StdoutOptions>("stdout")
    }

    fn check(&self, spec: &ConnectorSpec, cx: &mut Cx) -> Option<Box<dyn SinkSpec>> {
        let StdoutOptions {} = spec.fields.decode(cx)?;
        let format = output_format(spec, "");
        no_parquet(spec, format, "standard output is a stream", cx)?;
        Some(Box::new(StdoutSpec { format, timestamps: timestamps(shared(spec, "timestamps")) }))
    }
}

struct StdoutSpec {
    format: OutputFormat,
    timestamps: Timestamps,
}

impl SinkSpec for StdoutSpec {
    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    fn describe(&self) -> String {
        "standard output".to_owned()
    }

    fn format(&self) -> OutputFormat {
        self.format
    }

    fn timestamps(&self) -> Timestamps {
        self.timestamps
    }

    fn probe(&self, _env: &Env) -> Result<()> {
        Ok(())
    }

    fn open(&self, env: &Arc<Env>, _tasks: Option<u32>, context: &EncodeContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(StdoutSink::new(env, std::io::stdout(), codec::header(context))))
    }

    fn encoder(&self, context: &EncodeContext) -> Result<Box<dyn Encoder>> {
        codec::encoder(context)
    }

    fn discard(&self, env: &Env, committed: &[(TaskId, Receipt)]) -> Result<()> {
        discard_stdout(env, committed)
    }
}
