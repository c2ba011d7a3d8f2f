//! A plan: a pipeline with every name resolved, every query planned and every model loaded. Immutable, shared
//! by all threads of a run; [`crate::load()`] makes it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{SchemaRef, TimeUnit};
use millstream_connectors::backend::Choice;
use millstream_connectors::codec::OutputFormat;
use millstream_connectors::{EncodeContext, Env, SinkSpec, SourceSpec};
use millstream_core::{Delivery, Model, Result, RowSchema};
use millstream_features::{Projection, QueryPlan, TableFormat, Tables};
use sha2::{Digest as _, Sha256};

use crate::changes::{self, StateReport};
use crate::explain;
use crate::live::Live;
use crate::predict::PredictPlan;
use crate::route::Condition;

/// Settings of a run that stand in the pipeline file or on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) delivery: Delivery,
    pub(crate) workers: usize,
    pub(crate) batch_rows_max: usize,
    pub(crate) linger: Duration,
    pub(crate) epoch_max: Duration,
    pub(crate) snapshot_every: Duration,
    pub(crate) snapshots_keep: usize,
    pub(crate) sync: bool,
    pub(crate) http: Option<SocketAddr>,
    /// Where snapshots go: a folder, or a URL of a store of objects.
    pub(crate) state: String,
    /// How many other processes keep a warm copy of each partition's state.
    pub(crate) standby: usize,
}

/// The source, planned.
pub(crate) struct PlannedSource {
    pub(crate) name: String,
    pub(crate) spec: Arc<dyn SourceSpec>,
    pub(crate) schema: RowSchema,
    pub(crate) columns: SchemaRef,
    /// The event-time column and its unit.
    pub(crate) event_time: Option<(usize, TimeUnit)>,
    pub(crate) lateness_ns: i64,
    pub(crate) idle_after: Option<Duration>,
    pub(crate) checks: Vec<(String, Condition)>,
}

impl PlannedSource {
    /// All that decides which events come to the steps, and as what.
    fn definition(&self) -> String {
        let checks: Vec<_> = self.checks.iter().map(|(_, check)| check.text.as_str()).collect();
        format!("{:?} {:?} {} {checks:?}", self.schema, self.event_time, self.lateness_ns)
    }
}

/// A step, planned. Its number in `Plan::steps` plus one is its node; node 0 is the source.
pub(crate) struct PlannedStep {
    pub(crate) name: String,
    pub(crate) input: usize,
    pub(crate) schema: SchemaRef,
    pub(crate) kind: StepKind,
    /// What its rows are made of, as the pipeline file says it. A model's bytes don't count: the journal knows from
    /// which event on they serve.
    pub(crate) definition: String,
}

pub(crate) enum StepKind {
    Sql(Box<QueryPlan>),
    Predict(Box<PredictPlan>),
}

impl PlannedStep {
    /// The fingerprint of the step's state, if it has any.
    pub(crate) fn state_fingerprint(&self) -> Option<String> {
        match &self.kind {
            StepKind::Sql(query) if query.is_stateful() => Some(query.fingerprint()),
            _ => None,
        }
    }
}

/// An output, planned.
pub(crate) struct PlannedOutput {
    pub(crate) name: String,
    /// The node whose rows it takes.
    pub(crate) input: usize,
    pub(crate) filter: Option<Condition>,
    pub(crate) select: Option<Projection>,
    pub(crate) spec: Box<dyn SinkSpec>,
    pub(crate) context: EncodeContext,
}

/// A model with the names its predictions carry.
#[derive(Clone)]
pub(crate) struct PlannedModel {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) path: std::path::PathBuf,
    pub(crate) model: Arc<dyn Model>,
}

/// How a table was loaded, and can be again.
#[derive(Clone)]
pub(crate) struct TableFile {
    pub(crate) path: std::path::PathBuf,
    pub(crate) format: TableFormat,
    pub(crate) declared: Option<SchemaRef>,
    pub(crate) key: Vec<String>,
}

/// A pipeline ready to run.
pub struct Plan {
    pub(crate) name: String,
    pub(crate) env: Arc<Env>,
    pub(crate) settings: Settings,
    /// What epochs are committed to.
    pub(crate) backend: Choice,
    pub(crate) source: PlannedSource,
    pub(crate) tables: Tables,
    /// Where each table comes from.
    pub(crate) table_files: BTreeMap<String, TableFile>,
    pub(crate) models: BTreeMap<String, PlannedModel>,
    pub(crate) steps: Vec<PlannedStep>,
    pub(crate) outputs: Vec<PlannedOutput>,
    /// The output of dead letters, named `dead_letters`.
    pub(crate) dead_letters: Option<PlannedOutput>,
}

/// The name of the dead-letter output in commits and summaries.
pub(crate) const DEAD_LETTERS: &str = "dead_letters";

impl Plan {
    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the input has an end.
    pub fn bounded(&self) -> bool {
        self.source.spec.bounded()
    }

    /// The directories and the log the pipeline uses.
    pub fn env(&self) -> &Arc<Env> {
        &self.env
    }

    /// Whether a run opens the embedded log. If not, several processes may run from one data directory.
    pub fn uses_log(&self) -> bool {
        self.source.spec.kafka().is_none()
    }

    /// Whether commits are in the embedded log.
    pub fn commits_to_log(&self) -> bool {
        matches!(self.backend, Choice::Local)
    }

    /// Where the log's HTTP API is to listen; `None` if it is switched off.
    pub fn http(&self) -> Option<SocketAddr> {
        self.settings.http
    }

    /// Whether refused events have somewhere to go.
    pub fn has_dead_letters(&self) -> bool {
        self.dead_letters.is_some()
    }

    /// Fresh counters for a run.
    pub fn live(&self) -> Arc<Live> {
        Arc::new(Live::new(self.all_outputs().map(|o| o.name.clone())))
    }

    /// Where each output writes, for people.
    pub fn output_descriptions(&self) -> Vec<(String, String)> {
        self.all_outputs().map(|o| (o.name.clone(), o.spec.describe())).collect()
    }

    /// The plan, the state each step keeps, guarantees and settings, for people.
    pub fn explain(&self) -> String {
        explain::explain(self)
    }

    /// What a run of this plan would do with the state of earlier runs.
    ///
    /// # Errors
    /// The state directory can't be read.
    pub fn state_report(&self) -> Result<StateReport> {
        changes::report(self)
    }

    /// The outputs, dead letters last.
    pub(crate) fn all_outputs(&self) -> impl Iterator<Item = &PlannedOutput> {
        self.outputs.iter().chain(&self.dead_letters)
    }

    /// What must not change about an output that rows were written to, by output: a file of CSV has one header.
    pub(crate) fn output_forms(&self) -> BTreeMap<String, String> {
        let form = |output: &PlannedOutput| {
            let context = &output.context;
            let columns = match context.format {
                OutputFormat::Csv if !context.dead_letters => {
                    let names: Vec<_> = context.schema.fields().iter().map(|f| f.name().as_str()).collect();
                    format!(" of {}, timestamps {:?}", names.join(", "), context.timestamps)
                }
                _ => String::new(),
            };
            (output.name.clone(), format!("{:?}{columns}", context.format).to_lowercase())
        };
        self.all_outputs().map(form).collect()
    }

    /// The fingerprint of every stateful step.
    pub(crate) fn fingerprints(&self) -> BTreeMap<String, String> {
        let prints = self.steps.iter().filter_map(|step| {
            let mut print = step.state_fingerprint()?;
            // State holds what earlier steps made of the events.
            let mut node = step.input;
            while let Some(before) = node.checked_sub(1).and_then(|i| self.steps.get(i)) {
                print = chained(&print, &before.definition);
                node = before.input;
            }
            Some((step.name.clone(), chained(&print, &self.source.definition())))
        });
        prints.collect()
    }

    /// Which nodes some state depends on: the only ones a fold has to compute.
    pub(crate) fn feeds_state(&self) -> Vec<bool> {
        let mut feeds = vec![false; self.steps.len() + 1];
        for (i, step) in self.steps.iter().enumerate().rev() {
            feeds[i + 1] |= step.state_fingerprint().is_some();
            feeds[step.input] |= feeds[i + 1];
        }
        feeds
    }
}

/// A fingerprint that changes when either part does.
fn chained(print: &str, definition: &str) -> String {
    let digest = Sha256::digest(format!("{print}\n{definition}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
