//! From a pipeline file to a plan. Reads the file, and the tables and models it names; changes nothing.
//!
//! Everything that is wrong comes out together: a part that can't be planned is left out, and what hangs on it
//! is passed over in silence, so that one mistake gives one message.

mod outputs;
mod place;
mod steps;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use millstream_config::decode::Cx;
use millstream_config::pipeline::{self, Durability, ModelKind, Pipeline};
use millstream_config::{Diagnostic, Diagnostics, Span, Text};
use millstream_connectors::codes::KAFKA_UNREACHABLE;
use millstream_connectors::kafka::{Connection, KafkaInput};
use millstream_connectors::{Env, SourceSpec, registry};
use millstream_core::{Delivery, Error, Model, Result};
use millstream_features::{
    Catalog, PartitionedBy, Relation, SqlProblem, Table, TableFormat, TableSchema, plan_predicate,
};
use millstream_models::ModelFormat;

use crate::codes::{DELIVERY, FILE_UNREADABLE, NOT_CHECKED};
use crate::plan::{Plan, PlannedModel, PlannedSource, Settings, TableFile};
use crate::route::Condition;

/// Settings of the command line that stand above the file's.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Threads.
    pub workers: Option<usize>,
    /// Rows a micro-batch may have.
    pub batch_rows_max: Option<usize>,
    /// The data directory; relative to the working directory.
    pub data_dir: Option<PathBuf>,
}

/// How to load.
pub struct LoadOptions<'a> {
    /// Whether inputs, outputs, tables and models must be there: for `run`, and `check --connect`.
    pub connect: bool,
    /// Environment variables for `${VAR}`.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Settings of the command line.
    pub overrides: Overrides,
}

/// A plan if there can be one, and everything that is wrong.
pub struct Loaded {
    /// The plan: there unless the diagnostics have an error, or a file was missing that planning needs.
    pub plan: Option<Arc<Plan>>,
    /// What is wrong, in the order of the file.
    pub diagnostics: Diagnostics,
}

/// Loads a pipeline file.
///
/// # Errors
/// The file itself can't be read. Everything that is wrong in it comes as diagnostics.
pub fn load(path: &Path, options: &LoadOptions<'_>) -> Result<Loaded> {
    let bytes = std::fs::read(path).map_err(|e| {
        Error::new(FILE_UNREADABLE, format!("can't read the pipeline file `{}`", path.display()))
            .help("check the path; `millstream init` writes a pipeline file to begin with")
            .because(e)
    })?;
    let (pipeline, diagnostics) = Pipeline::parse_bytes(&path.display().to_string(), &bytes, options.env);
    let Some(pipeline) = pipeline else { return Ok(Loaded { plan: None, diagnostics }) };
    let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut loader = Loader::new(&pipeline, base, options, Cx::new(diagnostics));
    let plan = loader.plan();
    let diagnostics = loader.cx.into_diagnostics();
    let plan = plan.filter(|_| !diagnostics.has_errors()).map(Arc::new);
    Ok(Loaded { plan, diagnostics })
}

/// What is known of a node - the source or a step - once it is planned.
#[derive(Clone)]
struct Node {
    schema: SchemaRef,
    event_time: Option<usize>,
    partitioned_by: PartitionedBy,
}

struct Loader<'a> {
    pipeline: &'a Pipeline,
    options: &'a LoadOptions<'a>,
    env: Arc<Env>,
    cx: Cx,
    /// The source and the steps by name; `None` where planning failed.
    nodes: Vec<(String, Option<Node>)>,
    tables: BTreeMap<String, LoadedTable>,
    models: BTreeMap<String, Arc<dyn Model>>,
    /// A file was missing, and a plan can't be made without it.
    incomplete: bool,
    /// Clusters that did not answer: nothing more is asked of them.
    unreachable: Vec<Connection>,
}

struct LoadedTable {
    file: TableFile,
    schema: TableSchema,
    table: Option<Arc<Table>>,
}

impl<'a> Loader<'a> {
    fn new(pipeline: &'a Pipeline, base: &Path, options: &'a LoadOptions<'a>, cx: Cx) -> Self {
        let data_dir = match &options.overrides.data_dir {
            // A path of the command line is relative to where the command runs.
            Some(dir) => std::path::absolute(dir).unwrap_or_else(|_| dir.clone()),
            None => PathBuf::from(&pipeline.data_dir.value),
        };
        let sync = pipeline.durability == Durability::Power;
        let env = Arc::new(Env::new(base, data_dir, pipeline.name.value.clone(), sync));
        Self {
            pipeline,
            options,
            env,
            cx,
            nodes: Vec::new(),
            tables: BTreeMap::new(),
            models: BTreeMap::new(),
            incomplete: false,
            unreachable: Vec::new(),
        }
    }

    fn plan(&mut self) -> Option<Plan> {
        let pipeline = self.pipeline;
        let settings = self.settings();
        self.connections();
        let source = pipeline.sources.first().and_then(|s| self.source(s));
        pipeline.tables.iter().for_each(|t| self.table(t));
        pipeline.models.iter().for_each(|m| self.model(m));
        let steps = self.steps();
        let outputs = self.outputs(source.as_ref());
        let dead_letters = self.dead_letters(source.as_ref());
        self.one_writer_each(outputs.as_deref().unwrap_or_default(), dead_letters.as_ref());
        let known = source.as_ref().zip(outputs.as_deref());
        let backend = known.and_then(|(source, outputs)| self.backend(source, outputs, dead_letters.as_ref()));
        let plannable = !self.incomplete && !self.cx.diagnostics().has_errors();
        let (source, steps, outputs, backend) = (source?, steps?, outputs?, backend?);
        if !plannable {
            return None;
        }
        let models = pipeline.models.iter().filter_map(|m| {
            let ModelKind::File { path, .. } = &m.kind else { return None };
            let model = self.models.get(&m.name.value)?.clone();
            let path = self.env.resolve(&path.value);
            let name = m.name.value.clone();
            Some((name.clone(), PlannedModel { name, version: m.version.clone(), path, model }))
        });
        Some(Plan {
            name: pipeline.name.value.clone(),
            env: self.env.clone(),
            settings,
            backend,
            source,
            tables: self.tables.iter().filter_map(|(n, t)| Some((n.clone(), t.table.clone()?))).collect(),
            table_files: self.tables.iter().map(|(n, t)| (n.clone(), t.file.clone())).collect(),
            models: models.collect(),
            steps,
            outputs,
            dead_letters,
        })
    }

    fn settings(&self) -> Settings {
        let (p, o) = (self.pipeline, &self.options.overrides);
        Settings {
            delivery: p.delivery.value,
            workers: o.workers.unwrap_or(p.workers),
            batch_rows_max: o.batch_rows_max.unwrap_or(p.batch_rows_max),
            linger: p.linger,
            epoch_max: p.epoch_max,
            snapshot_every: p.snapshot_every,
            snapshots_keep: p.snapshots_keep,
            sync: p.durability == Durability::Power,
            http: p.http,
            state: self.state(),
            standby: p.standby.value as usize,
        }
    }

    fn error(&mut self, error: &Error, span: Span) {
        self.cx.push(Diagnostic::from_error(error, span));
    }

    /// Reports what is wrong with a piece of SQL at its place in the file.
    fn sql(&mut self, text: &Text, problems: Vec<SqlProblem>) {
        for problem in problems {
            let span = problem.span.map_or(text.span, |range| text.span_of(range));
            let mut diagnostic = Diagnostic::error(problem.code, span, problem.message);
            if let Some(help) = problem.help {
                diagnostic = diagnostic.help(help);
            }
            self.cx.push(diagnostic);
        }
    }

    /// Plans a condition over a schema, or reports why not.
    fn condition(&mut self, text: &Text, schema: &Schema) -> Option<Condition> {
        match plan_predicate(&text.value, schema) {
            Ok(predicate) => Some(Condition { text: text.value.trim().to_owned(), predicate }),
            Err(problems) => {
                self.sql(text, problems);
                None
            }
        }
    }

    /// Reports that something the pipeline runs on can't keep what it declares.
    fn check_delivery(&mut self, given: Delivery, what: &str, span: Span) {
        let declared = &self.pipeline.delivery;
        if given >= declared.value {
            return;
        }
        let message = format!("{what} can give {given} at the most, but the pipeline's delivery is {}", declared.value);
        let help = format!(
            "declare `delivery: {given}`, or use a connector that can do more (`file`, `log` and `kafka` are exactly_once)"
        );
        self.cx.push(Diagnostic::error(DELIVERY, span, message).help(help));
    }

    fn source(&mut self, source: &pipeline::Source) -> Option<PlannedSource> {
        let columns = source.schema.arrow();
        let event_time = source.event_time.as_ref().and_then(|c| match columns.field(c.value).data_type() {
            DataType::Timestamp(unit, _) => Some((c.value, *unit)),
            _ => None,
        });
        let checks: Vec<_> = source
            .checks
            .iter()
            .filter(|_| columns_are_known(source))
            .filter_map(|(name, text)| Some((name.value.clone(), self.condition(text, &columns)?)))
            .collect();
        let spec = registry::source(&source.connector, &mut self.cx);
        let partitions = spec.as_ref().and_then(|s| s.declared_partitions());
        let partitioned_by = match (partitions, &source.key) {
            (Some(1), _) => PartitionedBy::Single,
            (_, Some(key)) => PartitionedBy::Key(key.value),
            (_, None) => PartitionedBy::Unknown,
        };
        let node = Node { schema: columns.clone(), event_time: assumed_event_time(source, &columns), partitioned_by };
        self.nodes.push((source.name.value.clone(), columns_are_known(source).then_some(node)));
        let spec: Arc<dyn SourceSpec> = spec?.into();
        self.check_delivery(spec.delivery(), &format!("source `{}`", source.name.value), source.connector.kind.span);
        let span = source.connector.kind.span;
        if self.options.connect && self.probe(spec.kafka().map(KafkaInput::connection), span, |env| spec.probe(env)) {
            self.doubts(spec.as_ref(), span);
        }
        Some(PlannedSource {
            name: source.name.value.clone(),
            spec,
            schema: source.schema.clone(),
            columns,
            event_time,
            lateness_ns: i64::try_from(source.lateness.as_nanos()).unwrap_or(i64::MAX),
            idle_after: source.idle_after.as_ref().map(|d| d.value),
            checks,
        })
    }

    /// Asks whether a connector's other side is there; `cluster` is where that is, if it is Kafka.
    fn probe(&mut self, cluster: Option<&Connection>, span: Span, ask: impl FnOnce(&Env) -> Result<()>) -> bool {
        if cluster.is_some_and(|cluster| self.unreachable.contains(cluster)) {
            return false;
        }
        let Err(error) = ask(&self.env) else { return true };
        if error.code() == KAFKA_UNREACHABLE {
            self.unreachable.extend(cluster.cloned());
        }
        self.error(&error, span);
        false
    }

    fn table(&mut self, table: &pipeline::Table) {
        let name = table.name.value.clone();
        let path = self.env.resolve(&table.path.value);
        let format = match &table.format {
            Some(format) => match format.value {
                pipeline::TableFormat::Csv => TableFormat::Csv,
                pipeline::TableFormat::Json => TableFormat::Json,
                pipeline::TableFormat::Parquet => TableFormat::Parquet,
            },
            None => TableFormat::of(&path).unwrap_or(TableFormat::Csv),
        };
        let fields = |columns: &Vec<(millstream_config::Spanned<String>, millstream_core::FieldType)>| -> SchemaRef {
            let field = |(name, kind): &(millstream_config::Spanned<String>, millstream_core::FieldType)| {
                arrow::datatypes::Field::new(&name.value, kind.arrow(), true)
            };
            Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
        };
        let declared = table.schema.as_ref().map(fields);
        let key: Vec<String> = table.key.iter().map(|k| k.value.clone()).collect();
        let file = TableFile { path: path.clone(), format, declared: declared.clone(), key: key.clone() };
        if !path.exists() && !self.options.connect {
            self.missing(&format!("table `{name}`"), &path, table.path.span);
            if let Some(schema) = declared {
                let key = key.iter().filter_map(|k| schema.index_of(k).ok()).collect();
                let schema = TableSchema { name: name.clone(), schema, key };
                self.tables.insert(name, LoadedTable { file, schema, table: None });
            }
            return;
        }
        match Table::load(&path, format, declared, &key) {
            Ok(loaded) => {
                let schema = loaded.describe(&name);
                self.tables.insert(name, LoadedTable { file, schema, table: Some(Arc::new(loaded)) });
            }
            Err(error) => self.error(&error, table.path.span),
        }
    }

    fn model(&mut self, model: &pipeline::Model) {
        let ModelKind::File { path, format } = &model.kind else { return };
        let file = self.env.resolve(&path.value);
        if !file.exists() && !self.options.connect {
            self.missing(&format!("model `{}`", model.name.value), &file, path.span);
            return;
        }
        let format = format.as_ref().map(|f| match f.value {
            pipeline::ModelFormat::XgboostJson => ModelFormat::XgboostJson,
            pipeline::ModelFormat::XgboostUbj => ModelFormat::XgboostUbj,
            pipeline::ModelFormat::LightgbmText => ModelFormat::LightgbmText,
            pipeline::ModelFormat::CatboostCbm => ModelFormat::CatboostCbm,
            pipeline::ModelFormat::CatboostJson => ModelFormat::CatboostJson,
            pipeline::ModelFormat::Onnx => ModelFormat::Onnx,
        });
        match millstream_models::load(&file, format) {
            Ok(loaded) => drop(self.models.insert(model.name.value.clone(), loaded)),
            Err(error) => self.error(&error, path.span),
        }
    }

    /// A file that planning needs is not there, and that is no error yet.
    fn missing(&mut self, what: &str, path: &Path, span: Span) {
        self.incomplete = true;
        let message = format!("{what} is not there: `{}`; what depends on it is not checked", path.display());
        let help = "put the file in place; with `--connect`, and for `run`, this is an error";
        self.cx.push(Diagnostic::warning(NOT_CHECKED, span, message).help(help));
    }

    /// What queries may read: the source, the steps planned so far, the tables.
    fn catalog(&self) -> Catalog {
        let relation = |(name, node): &(String, Option<Node>)| {
            let node = node.clone()?;
            Some(Relation {
                name: name.clone(),
                schema: node.schema,
                event_time: node.event_time,
                partitioned_by: node.partitioned_by,
            })
        };
        Catalog {
            relations: self.nodes.iter().filter_map(relation).collect(),
            tables: self.tables.values().map(|t| t.schema.clone()).collect(),
        }
    }

    /// The number and what is known of a node; `None` where it does not exist or could not be planned.
    fn node(&self, name: &str) -> Option<(usize, Node)> {
        let number = self.nodes.iter().position(|(n, _)| n == name)?;
        Some((number, self.nodes[number].1.clone()?))
    }
}

/// The column of event time, for planning. Where one is named that can't be it, that has been reported; queries are
/// then checked with the first column that could be, so that not every window repeats the complaint.
fn assumed_event_time(source: &pipeline::Source, columns: &Schema) -> Option<usize> {
    let is_time = |column: usize| matches!(columns.field(column).data_type(), DataType::Timestamp(..));
    let named = source.event_time.as_ref().map(|c| c.value).filter(|&c| is_time(c));
    let written = || source.connector.fields.get("event_time").is_some();
    named.or_else(|| if written() { (0..columns.fields().len()).find(|&c| is_time(c)) } else { None })
}

/// Whether every column that was written could be read. One that could not has been reported, and whatever reads it
/// would only say that it is not there.
fn columns_are_known(source: &pipeline::Source) -> bool {
    let written = source.connector.fields.get("schema").map_or(0, |entry| entry.node.entries().len());
    source.schema.fields.len() >= written
}
