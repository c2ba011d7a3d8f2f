//! `type: file`, as a source and as an output: options, and what they open.

use std::path::Path;
use std::sync::Arc;

use millstream_config::codes::NO_EFFECT;
use millstream_config::pipeline::{self, ConnectorSpec, Kind, SourceFormat};
use millstream_config::{Cx, Diagnostic, Spanned, Whole, spec};
use millstream_core::{Delivery, Encoder, Receipt, Result, RowSchema, Sink, Source, TaskId};

use super::paths::{Compression, find, inner_extension, is_pattern};
use super::sink::{self, LinesSink, PartsSink};
use super::source::{FileOptions, FileSource, Framing};
use crate::codec::{self, EncodeContext, InputFormat, OutputFormat, Timestamps};
use crate::codes::{BAD_OPTION, OUTPUT_UNWRITABLE};
use crate::env::Env;
use crate::registry::{SinkConnector, SourceConnector, kind, shared};
use crate::spec::{SinkSpec, SourceSpec};

/// Rows of a part file unless the pipeline file says otherwise.
const ROLL_ROWS: u64 = 1_000_000;

spec! {
    /// Files with lines of JSON (NDJSON) or CSV, plain or compressed (`.gz`, `.zst`), read one after another.
    pub(crate) struct FileSourceOptions {
        /// A path, or a pattern such as `tx-*.ndjson.gz` whose files are read in the order of their names.
        path: Spanned<String> = required,
        /// Whether to go on reading as the file grows, and after it was rotated. Plain files only.
        follow: bool = default(false),
    }
}

spec! {
    /// A file: lines of JSON (NDJSON), CSV, or Parquet parts. A pipeline with several tasks writes one a task.
    pub(crate) struct FileSinkOptions {
        /// The path. The extension decides the `format` unless that is given.
        path: Spanned<String> = required,
        /// Rows of a Parquet part file. Default: 1000000.
        roll_rows: Whole<1, 1_000_000_000> = optional,
    }
}

/// The format of a source's records as the pipeline file has it.
pub(crate) fn declared_format(format: SourceFormat, schema: &RowSchema) -> InputFormat {
    match format {
        SourceFormat::Json => InputFormat::Json,
        SourceFormat::Csv => {
            let name = |f: &millstream_core::FieldSpec| f.path.first().unwrap_or(&f.name).clone();
            InputFormat::Csv { columns: schema.fields.iter().map(name).collect() }
        }
    }
}

/// The format of an output: as written, or by the extension of its path.
pub(crate) fn output_format(spec: &ConnectorSpec, path: &str) -> OutputFormat {
    match shared::<pipeline::OutputFormat>(spec, "format") {
        Some(pipeline::OutputFormat::Json) => OutputFormat::Json,
        Some(pipeline::OutputFormat::Csv) => OutputFormat::Csv,
        Some(pipeline::OutputFormat::Parquet) => OutputFormat::Parquet,
        None => match inner_extension(path).as_str() {
            "csv" => OutputFormat::Csv,
            "parquet" => OutputFormat::Parquet,
            _ => OutputFormat::Json,
        },
    }
}

pub(crate) fn timestamps(written: Option<pipeline::Timestamps>) -> Timestamps {
    match written {
        Some(pipeline::Timestamps::Rfc3339) => Timestamps::Rfc3339,
        Some(pipeline::Timestamps::Epoch) | None => Timestamps::Epoch,
    }
}

/// Refuses Parquet where rows can't wait for a whole file.
pub(crate) fn no_parquet(spec: &ConnectorSpec, format: OutputFormat, why: &str, cx: &mut Cx) -> Option<()> {
    if format != OutputFormat::Parquet {
        return Some(());
    }
    let message = format!("{} can't be `format: parquet`: {why}, and Parquet is a file", spec.fields.owner());
    let diagnostic = Diagnostic::error(BAD_OPTION, spec.fields.span_of("format"), message);
    cx.push(diagnostic.help("write `format: json` or `format: csv`, or use `type: file`"));
    None
}

fn bad(cx: &mut Cx, at: &Spanned<String>, message: impl Into<String>, help: impl Into<String>) {
    cx.push(Diagnostic::error(BAD_OPTION, at.span, message.into()).help(help.into()));
}

/// `type: file` under `sources:`
pub(crate) struct FileSourceConnector;

impl SourceConnector for FileSourceConnector {
    fn kind(&self) -> Kind {
        kind::<FileSourceOptions>("file")
    }

    fn check(&self, spec: &ConnectorSpec, cx: &mut Cx) -> Option<Box<dyn SourceSpec>> {
        let options: FileSourceOptions = spec.fields.decode(cx)?;
        let path = &options.path;
        let problems = cx.diagnostics().error_count();
        if path.value.contains("**") {
            let help = "write one `*` for each folder on the way: `data/*/*.csv`";
            bad(cx, path, format!("`{}` has `**`, which patterns don't have", path.value), help);
        }
        let follow_span = Spanned::new(String::new(), spec.fields.span_of("follow"));
        if options.follow && Compression::of(&path.value) != Compression::None {
            let help = "follow the plain file, or leave `follow` away to read the compressed one to its end";
            bad(cx, &follow_span, format!("`{}` is compressed, and such a file can't be followed", path.value), help);
        }
        if options.follow && is_pattern(&path.value) {
            let help = "follow one file; rotated files beside it (`app.log.1`) are found without a pattern";
            bad(cx, &follow_span, format!("`{}` is a pattern, and only one file can be followed", path.value), help);
        }
        let extension = inner_extension(&path.value);
        let format = shared(spec, "format");
        if extension == "parquet" && format.is_none() {
            let help = "a source is a stream of lines: convert the file to NDJSON or CSV; a table may be Parquet";
            bad(cx, path, format!("`{}` is Parquet, which a source can't read", path.value), help);
        }
        if cx.diagnostics().error_count() > problems {
            return None;
        }
        let by_extension = if extension == "csv" { SourceFormat::Csv } else { SourceFormat::Json };
        Some(Box::new(FileSourceSpec { options, format: format.unwrap_or(by_extension) }))
    }
}

struct FileSourceSpec {
    options: FileSourceOptions,
    format: SourceFormat,
}

pub(super) fn framing(format: SourceFormat) -> Framing {
    match format {
        SourceFormat::Json => Framing::Lines,
        SourceFormat::Csv => Framing::Csv,
    }
}

impl FileSourceSpec {
    fn reading(&self, env: &Env) -> FileOptions {
        FileOptions {
            base_dir: env.base_dir().to_owned(),
            path: self.options.path.value.clone(),
            framing: framing(self.format),
            follow: self.options.follow,
        }
    }
}

impl SourceSpec for FileSourceSpec {
    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    fn bounded(&self) -> bool {
        !self.options.follow
    }

    fn describe(&self) -> String {
        let followed = if self.options.follow { ", followed" } else { "" };
        format!("file `{}`{followed}", self.options.path.value)
    }

    fn declared_partitions(&self) -> Option<u32> {
        Some(1)
    }

    fn declared_format(&self, schema: &RowSchema) -> InputFormat {
        declared_format(self.format, schema)
    }

    fn input_format(&self, env: &Env, _schema: &RowSchema) -> Result<InputFormat> {
        match self.format {
            SourceFormat::Json => Ok(InputFormat::Json),
            SourceFormat::Csv => FileSource::header(&self.reading(env)).map(|columns| InputFormat::Csv { columns }),
        }
    }

    fn probe(&self, env: &Env) -> Result<()> {
        for file in find(env.base_dir(), &self.options.path.value)? {
            std::fs::File::open(&file.path).map_err(|e| super::paths::unreadable(&file.name, e))?;
        }
        Ok(())
    }

    fn partitions(&self, env: &Env) -> Result<u32> {
        find(env.base_dir(), &self.options.path.value)?;
        Ok(1)
    }

    fn open(&self, env: &Env, _partition: u32) -> Result<Box<dyn Source>> {
        Ok(Box::new(FileSource::open(self.reading(env))?))
    }
}

/// `type: file` under `outputs:`
pub(crate) struct FileSinkConnector;

impl SinkConnector for FileSinkConnector {
    fn kind(&self) -> Kind {
        kind::<FileSinkOptions>("file")
    }

    fn check(&self, spec: &ConnectorSpec, cx: &mut Cx) -> Option<Box<dyn SinkSpec>> {
        let options: FileSinkOptions = spec.fields.decode(cx)?;
        let path = &options.path;
        let problems = cx.diagnostics().error_count();
        if path.value.ends_with('/') || Path::new(&path.value).file_name().is_none() {
            bad(cx, path, format!("`{}` names no file", path.value), "write a path such as `out/scores.ndjson`");
        }
        if is_pattern(&path.value) {
            bad(
                cx,
                path,
                format!("`{}` is a pattern, and an output needs a path", path.value),
                "leave `*`, `?` and `[` away",
            );
        }
        if Compression::of(&path.value) != Compression::None {
            let help = "write it plain and compress it afterwards, or use `format: parquet`, which is compressed";
            bad(cx, path, format!("`{}` would be compressed, and outputs are written plain", path.value), help);
        }
        let format = output_format(spec, &path.value);
        let mut useless = |field: &str, why: &str| {
            let diagnostic = Diagnostic::error(
                NO_EFFECT,
                spec.fields.span_of(field),
                format!("`{field}` has no effect here: {why}"),
            );
            cx.push(diagnostic.help(format!("remove `{field}`")));
        };
        if options.roll_rows.is_some() && format != OutputFormat::Parquet {
            useless("roll_rows", "only Parquet is written in part files");
        }
        if spec.fields.get("timestamps").is_some() && format == OutputFormat::Parquet {
            useless("timestamps", "Parquet has timestamps of its own");
        }
        if cx.diagnostics().error_count() > problems {
            return None;
        }
        let roll_rows = options.roll_rows.map_or(ROLL_ROWS, |r| r.0);
        let timestamps = timestamps(shared(spec, "timestamps"));
        Some(Box::new(FileSinkSpec { path: options.path.value, format, timestamps, roll_rows }))
    }
}

struct FileSinkSpec {
    path: String,
    format: OutputFormat,
    timestamps: Timestamps,
    roll_rows: u64,
}

impl SinkSpec for FileSinkSpec {
    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    fn describe(&self) -> String {
        match self.format {
            OutputFormat::Parquet => format!("parts of `{}`, {} rows each", self.path, self.roll_rows),
            OutputFormat::Json | OutputFormat::Csv => format!("file `{}`", self.path),
        }
    }

    fn format(&self) -> OutputFormat {
        self.format
    }

    fn timestamps(&self) -> Timestamps {
        self.timestamps
    }

    fn probe(&self, env: &Env) -> Result<()> {
        let path = env.resolve(&self.path);
        let Some(nearest) = path.ancestors().skip(1).find(|p| p.as_os_str().is_empty() || p.exists()) else {
            return Ok(());
        };
        let nearest = if nearest.as_os_str().is_empty() { Path::new(".") } else { nearest };
        let refuse = |what: &str| {
            let message = format!("`{}` can't be written: `{}` {what}", self.path, nearest.display());
            Err(millstream_core::Error::new(OUTPUT_UNWRITABLE, message)
                .help("choose another path, or change the folder's rights"))
        };
        match std::fs::metadata(nearest) {
            Ok(meta) if !meta.is_dir() => refuse("is not a folder"),
            Ok(meta) if meta.permissions().readonly() => refuse("can't be written to"),
            Ok(_) if path.is_dir() => refuse("has a folder of that name"),
            Ok(_) => Ok(()),
            Err(e) => Err(super::sink::unwritable(nearest, e)),
        }
    }

    fn open(&self, env: &Arc<Env>, tasks: Option<u32>, context: &EncodeContext) -> Result<Box<dyn Sink>> {
        Ok(match self.format {
            OutputFormat::Json | OutputFormat::Csv => {
                Box::new(LinesSink::new(env, &self.path, tasks, codec::header(context)))
            }
            OutputFormat::Parquet => {
                let columns = crc32c::crc32c(format!("{:?}", context.schema.fields()).as_bytes());
                Box::new(PartsSink::new(env, &self.path, tasks, self.roll_rows, columns))
            }
        })
    }

    fn encoder(&self, context: &EncodeContext) -> Result<Box<dyn Encoder>> {
        codec::encoder(context)
    }

    fn discard(&self, env: &Env, committed: &[(TaskId, Receipt)]) -> Result<()> {
        committed.iter().try_for_each(|(_, receipt)| sink::discard(env, receipt))
    }
}

/// The columns of a CSV header that a stream began with.
pub(super) fn csv(columns: Arc<[String]>) -> InputFormat {
    InputFormat::Csv { columns }
}
