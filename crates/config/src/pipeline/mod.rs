//! A pipeline file as it is meant: every name resolved, every value typed, every written thing with its place.
//!
//! SQL stays text here ([`Text`], which maps byte ranges back to the file); what it means is planned elsewhere. So
//! do a connector's own fields ([`ConnectorSpec`]).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millstream_core::{Delivery, FieldType, OutputKind, RowSchema};

use crate::codes::LIMITS;
use crate::decode::{Cx, Decode, Map};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::span::{Span, Spanned};
use crate::spec::Fields;
use crate::text::Text;
use crate::{tree, vars};

mod column;
mod connection;
mod meaning;
mod model;
mod output;
mod reference;
mod schema;
mod source;
mod step;
mod table;
mod top;

pub use connection::Unresolved;
pub use model::{ModelFormat, RuleSpec};
pub use output::{Include, OutputFormat, Timestamps};
pub use reference::Kind;
pub use source::SourceFormat;
pub use step::{Emit, Late};
pub use table::TableFormat;
pub use top::Durability;

/// A pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// Its name.
    pub name: Spanned<String>,
    /// What it promises. Where the file does not say, the place is that of the name.
    pub delivery: Spanned<Delivery>,
    /// The folder of log, commits and snapshots; relative to the file's folder.
    pub data_dir: Text,
    /// An epoch closes when the input is drained, or after this long.
    pub epoch_max: Duration,
    /// Rows a micro-batch may have, 1 to 65536.
    pub batch_rows_max: usize,
    /// How long a worker may wait to fill a batch.
    pub linger: Duration,
    /// Threads, at least 1.
    pub workers: usize,
    /// How often state is written down.
    pub snapshot_every: Duration,
    /// How many snapshots are kept, at least 1.
    pub snapshots_keep: usize,
    /// What a commit survives.
    pub durability: Durability,
    /// Where the log's HTTP API listens, always a loopback address; `None` if it is switched off.
    pub http: Option<SocketAddr>,
    /// Where snapshots go: a path relative to the file's folder, or a URL. `None` for the data directory.
    pub state: Option<Text>,
    /// How many warm copies of each partition's state are kept. Where the file does not say, the place is that of the
    /// name.
    pub standby: Spanned<u32>,
    /// The connections that could be read.
    pub connections: Vec<Connection>,
    /// The sources, in the order of the file: exactly one unless the diagnostics have an error.
    pub sources: Vec<Source>,
    /// Reference data.
    pub tables: Vec<Table>,
    /// The models.
    pub models: Vec<Model>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The outputs.
    pub outputs: Vec<Output>,
    /// Where events go that can't be used.
    pub dead_letters: Option<DeadLetters>,
}

/// A connector and the fields that only it knows.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectorSpec {
    /// The `type:`, any word.
    pub kind: Spanned<String>,
    /// All fields that were written; [`Fields::decode`] reads the connector's own.
    pub fields: Fields,
    /// The connections of the file, for [`ConnectorSpec::connection`]; `None` for those that can't be read.
    pub(crate) connections: Arc<[(Spanned<String>, Option<Connection>)]>,
}

/// How a system outside is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// Its name, and the place of its key.
    pub name: Spanned<String>,
    /// Its type and fields. It refers to no connection itself.
    pub connector: ConnectorSpec,
}

/// Where events come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name, and the place of its key.
    pub name: Spanned<String>,
    /// The connector.
    pub connector: ConnectorSpec,
    /// The `format:`, if it was written.
    pub format: Option<Spanned<SourceFormat>>,
    /// The columns.
    pub schema: RowSchema,
    /// Where each column was written, in the order of `schema`.
    pub columns: Vec<Span>,
    /// The column of the event time: its number in `schema`, a timestamp.
    pub event_time: Option<Spanned<usize>>,
    /// How far out of order events may come.
    pub lateness: Duration,
    /// After how long an input without events stops holding time back.
    pub idle_after: Option<Spanned<Duration>>,
    /// The column of the record's key: its number in `schema`.
    pub key: Option<Spanned<usize>>,
    /// Named SQL conditions over the columns.
    pub checks: Vec<(Spanned<String>, Text)>,
}

/// Reference data to join with.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Its name, and the place of its key.
    pub name: Spanned<String>,
    /// The file, relative to the pipeline file's folder.
    pub path: Text,
    /// The columns that identify a row, at least one; they exist in `schema` where that is given.
    pub key: Vec<Text>,
    /// The format; by the file's extension if `None`.
    pub format: Option<Spanned<TableFormat>>,
    /// The columns with their types; as found in the file if `None`.
    pub schema: Option<Vec<(Spanned<String>, FieldType)>>,
}

/// A model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its name, and the place of its key.
    pub name: Spanned<String>,
    /// The version that predictions carry.
    pub version: String,
    /// What it is.
    pub kind: ModelKind,
}

/// What a model is.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelKind {
    /// A file.
    File {
        /// The file, relative to the pipeline file's folder.
        path: Text,
        /// Its format; by its content if `None`.
        format: Option<Spanned<ModelFormat>>,
    },
    /// SQL conditions with scores; the first true one wins.
    Rules {
        /// The rules in order, at least one.
        rules: Vec<RuleSpec>,
        /// The score where none is true.
        default: f64,
    },
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its name.
    pub name: Spanned<String>,
    /// What it does.
    pub kind: StepKind,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// A query.
    Sql {
        /// The query; its FROM names the source or an earlier step.
        sql: Text,
        /// When rows come out, if it was written.
        emit: Option<Spanned<Emit>>,
        /// What happens to late rows, if it was written.
        late: Option<Spanned<Late>>,
    },
    /// A model.
    Predict {
        /// The model: a name in [`Pipeline::models`], unless the diagnostics have an error.
        model: Spanned<String>,
        /// The step or source whose rows it scores. Where the file does not say, the place is that of the step's name.
        from: Spanned<String>,
        /// The column of the score. Where the file does not say, the place is that of the step's name.
        column: Spanned<String>,
        /// Which of the model's numbers. Where the file does not say, the place is that of the model's name.
        output: Spanned<OutputKind>,
        /// SQL expressions for inputs of the model, by the input's name.
        inputs: Vec<(Spanned<String>, Text)>,
        /// An SQL condition; rows for which it is not true get no score.
        when: Option<Text>,
    },
}

/// Where rows go.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name, and the place of its key.
    pub name: Spanned<String>,
    /// The connector.
    pub connector: ConnectorSpec,
    /// The step or source whose rows it takes. Where the file does not say, the place is that of the output's name.
    pub from: Spanned<String>,
    /// An SQL condition for the rows it takes.
    pub where_: Option<Text>,
    /// SQL select items; all columns if `None`.
    pub select: Option<Vec<Text>>,
    /// What is written next to the row's own columns, if it was written.
    pub include: Option<Spanned<Include>>,
    /// The `format:`, if it was written.
    pub format: Option<Spanned<OutputFormat>>,
    /// How timestamps are written, if it was said.
    pub timestamps: Option<Spanned<Timestamps>>,
}

/// Where events go that can't be used.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetters {
    /// The connector.
    pub connector: ConnectorSpec,
    /// The `format:`, if it was written.
    pub format: Option<Spanned<OutputFormat>>,
    /// The place of `dead_letters:`.
    pub span: Span,
}

impl Pipeline {
    /// Reads a pipeline file. `file_name` is what diagnostics call it; `env` gives environment variables.
    ///
    /// The pipeline is there even when the diagnostics have errors, as long as the file is a map: what could not be read
    /// counts as left out then, so that more can be checked. Such a pipeline must not be run.
    pub fn parse(file_name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> (Option<Self>, Diagnostics) {
        let mut diagnostics = Diagnostics::new(file_name, text);
        let Some(mut root) = tree::parse(text, &mut diagnostics) else { return (None, diagnostics) };
        vars::expand(&mut root, env, &mut diagnostics);
        let mut cx = Cx::new(diagnostics);
        let start = root.entries().first().map_or(Span::default(), |entry| entry.key.span);
        let pipeline = top::PipelineSpec::decode(&root, &mut cx).map(|spec| meaning::resolve(spec, start, &mut cx));
        (pipeline, cx.into_diagnostics())
    }

    /// [`Pipeline::parse`] for the bytes of a file, which may turn out not to be text.
    pub fn parse_bytes(
        file_name: &str,
        bytes: &[u8],
        env: &dyn Fn(&str) -> Option<String>,
    ) -> (Option<Self>, Diagnostics) {
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => return Self::parse(file_name, text, env),
            Err(error) => error,
        };
        let good = error.valid_up_to();
        let mut diagnostics = Diagnostics::new(file_name, String::from_utf8_lossy(bytes).into_owned());
        let wide = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        let what = if wide {
            "the file is UTF-16, not UTF-8".to_owned()
        } else {
            format!("the file is not UTF-8 from byte {good} on")
        };
        diagnostics.push(Diagnostic::error(LIMITS, Span::new(good, good + 1), what).help("save it as UTF-8"));
        (None, diagnostics)
    }

    /// The source with this name.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name.value == name)
    }

    /// The model with this name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name.value == name)
    }

    /// The JSON Schema (2020-12) of pipeline files, for editors.
    pub fn json_schema(connections: &[Kind], sources: &[Kind], sinks: &[Kind]) -> serde_json::Value {
        schema::json_schema(connections, sources, sinks)
    }

    /// The reference of pipeline files, in Markdown.
    pub fn reference_markdown(connections: &[Kind], sources: &[Kind], sinks: &[Kind]) -> String {
        reference::markdown(connections, sources, sinks)
    }
}

/// A value that may turn out unreadable without taking what surrounds it along: an entry of a map keeps its name, so
/// that references to it still resolve.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attempt<T>(pub(crate) Option<T>);

impl<T: Decode> Decode for Attempt<T> {
    fn decode(node: &tree::Node, cx: &mut Cx) -> Option<Self> {
        Some(Self(T::decode(node, cx)))
    }

    fn schema() -> serde_json::Value {
        T::schema()
    }

    fn describe() -> String {
        T::describe()
    }

    fn show(&self) -> serde_json::Value {
        self.0.as_ref().map_or(serde_json::Value::Null, T::show)
    }

    fn nothing() -> Option<Self> {
        T::nothing().map(|nothing| Self(Some(nothing)))
    }

    fn stand_in() -> Option<Self> {
        Some(Self(None))
    }
}

type Attempts<T> = Map<Attempt<T>>;
