//! Planning the steps.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use millstream_config::codes::NO_EFFECT;
use millstream_config::pipeline::{self, ModelKind, StepKind as Spec};
use millstream_config::{Diagnostic, Spanned, Text, suggest};
use millstream_core::{Model, OutputKind};
use millstream_features::{Emit, LatePolicy, PartitionedBy, Projection, QueryOptions, plan_projection, plan_query};
use sha2::{Digest as _, Sha256};

use super::{Loader, Node};
use crate::codes::{COLUMN_TWICE, EVENT_TIME, MODEL_INPUTS};
use crate::plan::{PlannedModel, PlannedStep, StepKind};
use crate::predict::{self, PredictPlan, Scorer};

/// A predict step as it was written.
struct Predict<'a> {
    model: &'a Spanned<String>,
    column: &'a Spanned<String>,
    output: &'a Spanned<OutputKind>,
    inputs: &'a [(Spanned<String>, Text)],
    when: Option<&'a Text>,
}

impl Loader<'_> {
    /// All steps, if all could be planned.
    pub(super) fn steps(&mut self) -> Option<Vec<PlannedStep>> {
        let mut steps = Vec::new();
        for step in &self.pipeline.steps {
            let planned = match &step.kind {
                Spec::Sql { sql, emit, late } => self.sql_step(step, sql, emit.as_ref(), late.as_ref()),
                Spec::Predict { model, from, column, output, inputs, when } => {
                    let written = Predict { model, column, output, inputs, when: when.as_ref() };
                    self.node(&from.value).and_then(|(input, node)| self.predict_step(step, input, &node, &written))
                }
            };
            let (planned, node) = planned.map_or((None, None), |(p, n)| (Some(p), Some(n)));
            self.nodes.push((step.name.value.clone(), node));
            steps.push(planned);
        }
        steps.into_iter().collect()
    }

    fn sql_step(
        &mut self,
        step: &pipeline::Step,
        sql: &Text,
        emit: Option<&Spanned<pipeline::Emit>>,
        late: Option<&Spanned<pipeline::Late>>,
    ) -> Option<(PlannedStep, Node)> {
        let catalog = self.catalog();
        // A query over something that could not be planned, or is not there, has been reported with that.
        let unplanned = self.nodes.iter().filter(|(_, node)| node.is_none()).map(|(name, _)| name.as_str());
        let absent =
            self.pipeline.tables.iter().map(|t| t.name.value.as_str()).filter(|t| !self.tables.contains_key(*t));
        if unplanned.chain(absent).any(|name| mentions(&sql.value, name)) {
            return None;
        }
        let keeps_dead_letters = self.pipeline.dead_letters.is_some();
        let options = QueryOptions {
            emit: match emit.map(|e| e.value) {
                Some(pipeline::Emit::OnWatermark) => Emit::OnWatermark,
                Some(pipeline::Emit::OnArrival) | None => Emit::OnArrival,
            },
            late: match late.map(|l| l.value) {
                Some(pipeline::Late::DeadLetter) => LatePolicy::DeadLetter,
                Some(pipeline::Late::Drop) => LatePolicy::Drop,
                None if keeps_dead_letters => LatePolicy::DeadLetter,
                None => LatePolicy::Drop,
            },
        };
        let query = match plan_query(&sql.value, &catalog, &options) {
            Ok(query) => query,
            Err(problems) => {
                self.sql(sql, problems);
                return None;
            }
        };
        if !query.is_stateful() {
            for (name, span) in [("emit", emit.map(|e| e.span)), ("late", late.map(|l| l.span))] {
                if let Some(span) = span {
                    let message = format!("`{name}` has no effect: step `{}` has no windows", step.name.value);
                    let help = format!("remove `{name}`; rows of a query without windows come out at once");
                    self.cx.push(Diagnostic::error(NO_EFFECT, span, message).help(help));
                }
            }
        }
        self.lateness_warning(&query, step);
        let (input, source) = self.node(query.input())?;
        let partitioned_by = match (source.partitioned_by, query.partition_key()) {
            (PartitionedBy::Single, _) => PartitionedBy::Single,
            (_, Some(key)) => PartitionedBy::Key(key),
            (_, None) => PartitionedBy::Unknown,
        };
        let node = Node { schema: query.schema().clone(), event_time: query.event_time(), partitioned_by };
        let schema = query.schema().clone();
        let definition = query.rows_fingerprint();
        let kind = StepKind::Sql(Box::new(query));
        Some((PlannedStep { name: step.name.value.clone(), input, schema, kind, definition }, node))
    }

    /// With windows and no `lateness`, every event that is out of order is late: worth a word.
    fn lateness_warning(&mut self, query: &millstream_features::QueryPlan, step: &pipeline::Step) {
        let Some(source) = self.pipeline.sources.first() else { return };
        // With errors about, it may be missing because its name is misspelt.
        if self.cx.diagnostics().has_errors() {
            return;
        }
        if query.is_stateful() && source.event_time.is_some() && source.lateness.is_zero() {
            let message = format!(
                "step `{}` has windows, and `lateness` is 0: every event out of order is late",
                step.name.value
            );
            let help = format!(
                "say in `sources: {}:` how far out of order events may come, for example `lateness: 5s`",
                source.name.value
            );
            let diagnostic = Diagnostic::warning(EVENT_TIME, source.name.span, message).help(help);
            if !self.cx.diagnostics().items().contains(&diagnostic) {
                self.cx.push(diagnostic);
            }
        }
    }

    fn predict_step(
        &mut self,
        step: &pipeline::Step,
        input: usize,
        node: &Node,
        written: &Predict<'_>,
    ) -> Option<(PlannedStep, Node)> {
        let when = match written.when {
            Some(text) => Some(self.condition(text, &node.schema)?),
            None => None,
        };
        let spec = self.pipeline.model(&written.model.value)?;
        let (scorer, kind) = match &spec.kind {
            ModelKind::File { path, .. } => {
                let model = self.models.get(&spec.name.value)?.clone();
                let path = self.env.resolve(&path.value);
                let kind = self.output_kind(model.as_ref(), written)?;
                let inputs = self.model_inputs(step, node, model.as_ref(), written)?;
                let planned =
                    PlannedModel { name: spec.name.value.clone(), version: spec.version.clone(), path, model };
                (Scorer::Model { model: planned, inputs: Arc::new(inputs), output: written.output.value }, kind)
            }
            ModelKind::Rules { rules, default } => {
                self.rules_without_effect(written);
                let mut planned = Vec::new();
                let mut digest = Sha256::new();
                for rule in rules {
                    digest.update(format!("{}\n{:?}\n", rule.when.value, rule.score));
                    planned.push((self.condition(&rule.when, &node.schema)?, rule.score));
                }
                digest.update(format!("{default:?}"));
                let digest = digest.finalize().iter().map(|b| format!("{b:02x}")).collect();
                let (name, version) = (spec.name.value.clone(), spec.version.clone());
                (
                    Scorer::Rules { name, version, digest, rules: Arc::new(planned), default: *default },
                    DataType::Float64,
                )
            }
        };
        match predict::schema(&node.schema, &written.column.value, kind) {
            Ok(schema) => {
                let plan = PredictPlan { scorer, when, schema: schema.clone() };
                let definition = definition(&plan.scorer, written);
                let kind = StepKind::Predict(Box::new(plan));
                let node = Node { schema: schema.clone(), ..node.clone() };
                Some((PlannedStep { name: step.name.value.clone(), input, schema, kind, definition }, node))
            }
            Err(twice) => {
                let message = format!("step `{}` would have two columns called `{twice}`", step.name.value);
                let help = format!("choose another `as:`, or leave `{twice}` out of the input");
                self.cx.push(Diagnostic::error(COLUMN_TWICE, written.column.span, message).help(help));
                None
            }
        }
    }

    fn rules_without_effect(&mut self, written: &Predict<'_>) {
        let name = &written.model.value;
        if let Some((feature, _)) = written.inputs.first() {
            let message = format!("`inputs` has no effect: `{name}` is a list of rules, which name columns themselves");
            self.cx.push(Diagnostic::error(NO_EFFECT, feature.span, message).help("remove `inputs`"));
        }
        if written.output.value != OutputKind::Prediction {
            let message = format!("`output` has no effect: `{name}` is a list of rules, and a rule has one score");
            self.cx.push(Diagnostic::error(NO_EFFECT, written.output.span, message).help("remove `output`"));
        }
    }

    /// The type of the score column.
    fn output_kind(&mut self, model: &dyn Model, written: &Predict<'_>) -> Option<DataType> {
        let kind = written.output.value;
        if !model.supports(kind) {
            let name = match kind {
                OutputKind::Prediction => "prediction",
                OutputKind::Raw => "raw",
                OutputKind::Class => "class",
            };
            let message = format!("model `{}` ({}) has no output `{name}`", written.model.value, model.describe());
            self.cx
                .push(Diagnostic::error(MODEL_INPUTS, written.output.span, message).help("use `output: prediction`"));
            return None;
        }
        Some(model.output_type(kind))
    }

    /// The model's inputs as expressions over the step's input, in the model's order.
    fn model_inputs(
        &mut self,
        step: &pipeline::Step,
        node: &Node,
        model: &dyn Model,
        written: &Predict<'_>,
    ) -> Option<Projection> {
        let signature = model.signature();
        let names: Vec<String> = signature
            .inputs
            .iter()
            .enumerate()
            .map(|(i, f)| f.name.clone().unwrap_or_else(|| format!("f{i}")))
            .collect();
        let mut fine = true;
        for (feature, _) in written.inputs {
            if !names.contains(&feature.value) {
                fine = false;
                let message = format!("model `{}` has no feature `{}`", written.model.value, feature.value);
                let near = suggest::nearest(&feature.value, names.iter().map(String::as_str));
                let help = near
                    .map_or_else(|| format!("its features: {}", names.join(", ")), |n| format!("did you mean `{n}`?"));
                self.cx.push(Diagnostic::error(MODEL_INPUTS, feature.span, message).help(help));
            }
        }
        let mut items = Vec::with_capacity(names.len());
        let mut missing = Vec::new();
        for (name, input) in names.iter().zip(&signature.inputs) {
            let text = written.inputs.iter().find(|(f, _)| f.value == *name).map(|(_, text)| text);
            let expression = match text {
                Some(text) => text.value.trim().to_owned(),
                None if node.schema.column_with_name(name).is_some() => quoted(name),
                None => {
                    missing.push(name.clone());
                    continue;
                }
            };
            let planned = match plan_projection(std::slice::from_ref(&expression), &node.schema) {
                Ok(planned) => planned,
                Err(problems) => {
                    fine = false;
                    match text {
                        Some(text) => self.sql(text, problems),
                        None => problems.into_iter().for_each(|p| {
                            self.cx.push(Diagnostic::error(p.code, step.name.span, p.message));
                        }),
                    }
                    continue;
                }
            };
            let kind = planned.schema().field(0).data_type().clone();
            match model_type(&kind, input.categorical) {
                Some(DataType::Utf8) => items.push(format!("{expression} AS {}", quoted(name))),
                Some(_) => items.push(format!("CAST({expression} AS DOUBLE) AS {}", quoted(name))),
                None => {
                    fine = false;
                    let span = text.map_or(written.model.span, |t| t.span);
                    let message = format!(
                        "feature `{name}` of model `{}` must be a number, and its column is {kind}",
                        written.model.value
                    );
                    let help = format!("give it a number: `inputs: {{ {name}: <SQL expression> }}`");
                    self.cx.push(Diagnostic::error(MODEL_INPUTS, span, message).help(help));
                }
            }
        }
        if !missing.is_empty() {
            fine = false;
            self.missing_features(step, &node.schema, &missing, written);
        }
        if !fine {
            return None;
        }
        match plan_projection(&items, &node.schema) {
            Ok(inputs) => Some(inputs),
            Err(problems) => {
                for problem in problems {
                    self.cx.push(Diagnostic::error(problem.code, step.name.span, problem.message));
                }
                None
            }
        }
    }

    fn missing_features(&mut self, step: &pipeline::Step, schema: &Schema, missing: &[String], written: &Predict<'_>) {
        let plural = if missing.len() == 1 { "feature" } else { "features" };
        let list = missing.iter().map(|m| format!("`{m}`")).collect::<Vec<_>>().join(", ");
        let message = format!(
            "model `{}` needs the {plural} {list}, and the input of step `{}` has no such column{}",
            written.model.value,
            step.name.value,
            if missing.len() == 1 { "" } else { "s" },
        );
        let columns: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let mut help = String::new();
        for name in missing {
            if let Some(near) = suggest::nearest(name, columns.iter().copied()) {
                help = format!("did you mean the column `{near}`? Then write `inputs: {{ {name}: {near} }}`");
                break;
            }
        }
        if help.is_empty() {
            help = format!(
                "the input has: {}; add the column there (`… AS {}`), or map it with `inputs:`",
                columns.join(", "),
                missing[0]
            );
        }
        self.cx.push(Diagnostic::error(MODEL_INPUTS, written.model.span, message).help(help));
    }
}

/// What a predict step makes of its input, apart from the bytes of a model file.
fn definition(scorer: &Scorer, written: &Predict<'_>) -> String {
    let what = match scorer {
        Scorer::Model { model, output, .. } => format!("model {:?} {output:?}", model.name),
        Scorer::Rules { digest, .. } => format!("rules {digest}"),
    };
    let when = written.when.map(|text| &text.value);
    let inputs: Vec<_> = written.inputs.iter().map(|(name, text)| (&name.value, &text.value)).collect();
    format!("{what} when {when:?} inputs {inputs:?}")
}

/// What a model gets of a column: a number, or text where it knows categories.
fn model_type(kind: &DataType, categorical: bool) -> Option<DataType> {
    match kind {
        DataType::Utf8 if categorical => Some(DataType::Utf8),
        DataType::Boolean | DataType::Null => Some(DataType::Float64),
        kind if kind.is_numeric() => Some(DataType::Float64),
        _ => None,
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether a word stands in a query; enough to tell whether a message would only repeat another.
fn mentions(sql: &str, name: &str) -> bool {
    sql.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).any(|word| word == name)
}
