//! From what was typed to what it means: names are unique and resolve, columns exist and have the right type,
//! defaults that depend on the rest of the file are filled in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use millstream_core::{FieldSpec, FieldType, OutputKind, RowSchema};

use super::column::ColumnSpec;
use super::connection;
use super::model::ModelSpec;
use super::output::{DeadLettersSpec, OutputSpec};
use super::source::{SourceFields, SourceSpec};
use super::step::{PredictFields, SqlFields, StepFields, StepSpec};
use super::table::TableSpec;
use super::top::PipelineSpec;
use super::{Attempts, Connection, ConnectorSpec, DeadLetters, Model, Output, Pipeline, Source, Step, StepKind, Table};
use crate::codes::{DUPLICATE, NO_DEAD_LETTERS, NO_EFFECT, STRUCTURE, UNRESOLVED, WRONG_COLUMN};
use crate::decode::{Cx, Map, Name, shorten};
use crate::diagnostic::Diagnostic;
use crate::span::{Span, Spanned};
use crate::suggest;
use crate::text::Text;

/// The name under which dead letters are committed and counted.
const DEAD_LETTERS: &str = "dead_letters";

/// `start` is the place of the file's first key.
pub(super) fn resolve(spec: PipelineSpec, start: Span, cx: &mut Cx) -> Pipeline {
    let name = spec.pipeline.0.map_or_else(|| Spanned::new(String::new(), start), |name| name.map(|name| name.0));
    if let Some(sources) = &spec.sources.0 {
        count_sources(sources, name.span, cx);
    }
    if let Some(outputs) = &spec.outputs.0 {
        count_outputs(outputs, name.span, cx);
    }
    let sources = spec.sources.0.unwrap_or_default();
    let outputs = spec.outputs.0.unwrap_or_default();
    for (name, _) in spec.connections.iter() {
        check_name(name, cx);
    }
    let connections = connection::collect(spec.connections);
    let state = spec.state.filter(|state| connection::is_place(state, cx));
    let names = Names::collect(&sources, &spec.tables, &spec.models, &spec.steps, &outputs, cx);
    let has_dead_letters = spec.dead_letters.is_some();
    if !has_dead_letters {
        let message = "there is no `dead_letters` output: the run stops at the first event that can't be used";
        cx.push(
            Diagnostic::warning(NO_DEAD_LETTERS, name.span, message)
                .help("keep such events with their reason: `dead_letters: { type: file, path: dead_letters.ndjson }`"),
        );
    }
    let steps = steps(spec.steps, &names, has_dead_letters, cx);
    unused_models(&spec.models, &steps, cx);
    let delivery = Spanned::new(
        spec.delivery.value,
        if spec.delivery.span == Span::default() { name.span } else { spec.delivery.span },
    );
    let standby = match spec.standby.span == Span::default() {
        true => Spanned::new(0, name.span),
        false => spec.standby.map(|standby| standby.0 as u32),
    };
    let sources = readable(sources, |name, source| self::source(name, source, &connections, cx));
    let outputs = readable(outputs, |name, output| self::output(name, output, &names, &connections, cx));
    let dead_letters = spec.dead_letters.and_then(|attempt| attempt.0).map(|spec| {
        let DeadLettersSpec { common, connector, span } = spec;
        DeadLetters { connector: connected(connector, &connections), format: common.format, span }
    });
    connection::unused(&connections, &sources, &outputs, dead_letters.as_ref(), cx);
    Pipeline {
        name,
        delivery,
        data_dir: spec.data_dir,
        epoch_max: spec.epoch_max.0,
        batch_rows_max: spec.batch_rows_max.0 as usize,
        linger: spec.linger,
        workers: spec.workers.0 as usize,
        snapshot_every: spec.snapshot_every.0,
        snapshots_keep: spec.snapshots_keep.0 as usize,
        durability: spec.durability,
        http: spec.http.0,
        state,
        standby,
        connections: connections.iter().filter_map(|(_, connection)| connection.clone()).collect(),
        sources,
        tables: readable(spec.tables, |name, table| self::table(name, table, cx)),
        models: readable(spec.models, |name, ModelSpec { version, kind }| Model { name, version, kind }),
        steps,
        outputs,
        dead_letters,
    }
}

type Connections = Arc<[(Spanned<String>, Option<Connection>)]>;

fn connected(connector: ConnectorSpec, connections: &Connections) -> ConnectorSpec {
    ConnectorSpec { connections: connections.clone(), ..connector }
}

fn readable<T, U>(attempts: Attempts<T>, mut make: impl FnMut(Spanned<String>, T) -> U) -> Vec<U> {
    attempts.0.into_iter().filter_map(|(name, attempt)| Some(make(name, attempt.0?))).collect()
}

fn count_sources(sources: &Attempts<SourceSpec>, pipeline: Span, cx: &mut Cx) {
    let mut names = sources.iter().map(|(name, _)| name);
    match (names.next(), names.next()) {
        (None, _) => {
            let help = "give one: `events: { type: file, path: events.ndjson, schema: { id: string } }`";
            cx.error(STRUCTURE, pipeline, "the pipeline has no source", help);
        }
        (Some(first), Some(second)) => cx.push(
            Diagnostic::error(STRUCTURE, second.span, "a pipeline has exactly one source in this version")
                .label("a second source")
                .related(first.span, "the first one")
                .help("write one pipeline file for each source"),
        ),
        _ => {}
    }
}

fn count_outputs(outputs: &Attempts<OutputSpec>, pipeline: Span, cx: &mut Cx) {
    if outputs.is_empty() {
        let help = "give at least one: `results: { type: file, path: out/results.ndjson }`";
        cx.error(STRUCTURE, pipeline, "the pipeline has no output", help);
    }
}

/// Every name that something in the file can refer to, readable or not.
struct Names {
    source: Option<String>,
    tables: Vec<String>,
    models: Vec<String>,
    /// `None` for a step without a name.
    steps: Vec<Option<String>>,
}

impl Names {
    /// Collects them, and reports those that can't be names or are taken.
    fn collect(
        sources: &Attempts<SourceSpec>,
        tables: &Attempts<TableSpec>,
        models: &Attempts<ModelSpec>,
        steps: &[StepSpec],
        outputs: &Attempts<OutputSpec>,
        cx: &mut Cx,
    ) -> Self {
        let mut relations: Vec<(&'static str, Spanned<String>)> = Vec::new();
        relations.extend(sources.iter().map(|(name, _)| ("source", name.clone())));
        relations.extend(tables.iter().map(|(name, _)| ("table", name.clone())));
        let others = models.iter().map(|(name, _)| name).chain(outputs.iter().map(|(name, _)| name));
        for name in relations.iter().map(|(_, name)| name).chain(others) {
            check_name(name, cx);
        }
        // A step's name was checked when it was read.
        relations.extend(steps.iter().filter_map(|step| Some(("step", step.name.clone()?))));
        unique(&relations, cx);
        if let Some((name, _)) = outputs.iter().find(|(name, _)| name.value == DEAD_LETTERS) {
            let message = "an output can't be called `dead_letters`";
            cx.error(DUPLICATE, name.span, message, "dead letters have a field of their own, next to `outputs:`");
        }
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        Self {
            source: sources.keys().next().map(str::to_owned),
            tables: owned(tables.keys().collect()),
            models: owned(models.keys().collect()),
            steps: steps.iter().map(|step| step.name.as_ref().map(|name| name.value.clone())).collect(),
        }
    }

    /// What step number `before` may read when it does not say: the step before it, or the source.
    fn default_input(&self, before: usize) -> String {
        self.steps.iter().take(before).rev().flatten().next().or(self.source.as_ref()).cloned().unwrap_or_default()
    }

    /// A reference from something that stands after `before` steps. Gives the name whether it resolves or not.
    fn input(&self, from: &Text, before: usize, cx: &mut Cx) -> Spanned<String> {
        let name = Spanned::new(from.value.clone(), from.span);
        let earlier = || self.steps.iter().take(before).flatten().chain(&self.source);
        if self.source.is_none() || earlier().any(|known| *known == from.value) {
            return name;
        }
        let shown = shorten(from.shown());
        let later = self.steps.iter().skip(before).flatten().any(|step| *step == from.value);
        let mut diagnostic = if later {
            Diagnostic::error(UNRESOLVED, from.span, format!("`{shown}` does not come before the step that reads it"))
                .help("steps run in the order of the file; move it up, or read an earlier one")
        } else if self.tables.contains(&from.value) {
            Diagnostic::error(
                UNRESOLVED,
                from.span,
                format!("`{shown}` is a table; rows come from the source or a step"),
            )
            .help("tables are joined inside the SQL of a step")
        } else {
            let known = suggest::list(earlier().map(String::as_str), "and");
            Diagnostic::error(UNRESOLVED, from.span, format!("there is no source or step `{shown}` to read from"))
                .help(format!("there is: {known}"))
        };
        if let Some(near) = suggest::nearest(from.shown(), earlier().map(String::as_str))
            && !later
        {
            diagnostic = diagnostic.label(format!("did you mean `{near}`?"));
        }
        cx.push(diagnostic);
        name
    }
}

fn check_name(name: &Spanned<String>, cx: &mut Cx) {
    Name::check(&Text::new(name.value.clone(), name.span), cx);
}

fn unique(names: &[(&'static str, Spanned<String>)], cx: &mut Cx) {
    let mut seen: HashMap<&str, (&'static str, Span)> = HashMap::new();
    for (what, name) in names {
        match seen.entry(&name.value) {
            Entry::Vacant(entry) => {
                entry.insert((what, name.span));
            }
            Entry::Occupied(entry) => {
                let (other, first) = *entry.get();
                let message = format!("the name `{}` of a {what} is taken by a {other}", shorten(name));
                cx.push(
                    Diagnostic::error(DUPLICATE, name.span, message)
                        .label("the same name again")
                        .related(first, format!("the {other} with this name"))
                        .help("SQL finds sources, tables and steps by name: each needs its own"),
                );
            }
        }
    }
}

fn source(name: Spanned<String>, spec: SourceSpec, connections: &Connections, cx: &mut Cx) -> Source {
    let SourceSpec { common, connector } = spec;
    let connector = connected(connector, connections);
    let field = |(name, column): &(Spanned<String>, ColumnSpec)| FieldSpec {
        name: name.value.clone(),
        kind: column.kind.clone(),
        path: column.path.clone().unwrap_or_else(|| vec![name.value.clone()]),
        required: column.required,
        default: column.default.clone(),
    };
    let schema = RowSchema { fields: common.schema.0.iter().map(field).collect(), strict: common.strict };
    let columns = common.schema.0.iter().map(|(name, _)| name.span).collect();
    columns_exist(&name, &schema, &connector, cx);
    without_event_time(&common, &connector, cx);
    let event_time = common.event_time.as_ref().and_then(|text| event_time(text, &schema, &connector, cx));
    let key = common.key.as_ref().and_then(|text| key(text, &schema, &connector, cx));
    for (check, _) in common.checks.iter() {
        check_name(check, cx);
    }
    Source {
        name,
        connector,
        format: common.format,
        schema,
        columns,
        event_time,
        lateness: common.lateness.map_or(Duration::ZERO, |lateness| lateness.value),
        idle_after: common.idle_after.map(|idle| idle.map(|positive| positive.0)),
        key,
        checks: common.checks.0,
    }
}

fn columns_exist(name: &Spanned<String>, schema: &RowSchema, connector: &ConnectorSpec, cx: &mut Cx) {
    let written = connector.fields.get("schema").is_some_and(|entry| entry.node.has_entries());
    if schema.fields.is_empty() && !written {
        let message = format!("the schema of `{}` has no columns", shorten(name));
        let span = connector.fields.span_of("schema");
        cx.error(STRUCTURE, span, message, "declare the fields that the pipeline uses: `amount: float64`");
    }
    for entry in connector.fields.get("schema").into_iter().flat_map(|entry| entry.node.entries()) {
        if entry.key.value.trim().is_empty() {
            cx.error(STRUCTURE, entry.key.span, "a column has an empty name", "give it one");
        }
    }
}

/// Settings of event time, where there is none.
fn without_event_time(common: &SourceFields, connector: &ConnectorSpec, cx: &mut Cx) {
    if connector.fields.get("event_time").is_some() {
        return;
    }
    for field in ["lateness", "idle_after"] {
        let given = if field == "lateness" { common.lateness.is_some() } else { common.idle_after.is_some() };
        if let Some(entry) = connector.fields.get(field)
            && given
        {
            let message = format!("`{field}` has no effect without `event_time`");
            cx.push(
                Diagnostic::error(NO_EFFECT, entry.key.span, message)
                    .label("no effect here")
                    .help("name the column that says when an event happened: `event_time: COLUMN`"),
            );
        }
    }
}

/// The number of a column, if it is declared. Says nothing about one that is declared with a bad type.
fn column(
    what: &str,
    text: &Text,
    schema: &RowSchema,
    connector: &ConnectorSpec,
    cx: &mut Cx,
) -> Option<Spanned<usize>> {
    if let Some(i) = schema.fields.iter().position(|field| field.name == text.value) {
        return Some(Spanned::new(i, text.span));
    }
    let declared = connector.fields.get("schema");
    if declared.is_none_or(|entry| entry.node.get(&text.value).is_some()) {
        return None;
    }
    let names = || schema.fields.iter().map(|field| field.name.as_str());
    let message = format!("`{what}` names the column `{}`, which the schema does not have", shorten(text.shown()));
    let diagnostic =
        Diagnostic::error(UNRESOLVED, text.span, message).help(format!("columns: {}", suggest::list(names(), "and")));
    cx.push(match suggest::nearest(text.shown(), names()) {
        Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
        None => diagnostic,
    });
    None
}

fn event_time(text: &Text, schema: &RowSchema, connector: &ConnectorSpec, cx: &mut Cx) -> Option<Spanned<usize>> {
    let found = column("event_time", text, schema, connector, cx)?;
    let is_time = |kind: &FieldType| matches!(kind, FieldType::Timestamp(_) | FieldType::Rfc3339);
    let field = schema.fields.get(found.value)?;
    if is_time(&field.kind) {
        return Some(found);
    }
    let message = format!("`event_time` must be a timestamp column, and `{}` is none", field.name);
    let mut diagnostic = Diagnostic::error(WRONG_COLUMN, text.span, message);
    if let Some(span) =
        connector.fields.get("schema").and_then(|entry| entry.node.get(&field.name)).map(|node| node.span)
    {
        diagnostic = diagnostic.related(span, "its type");
    }
    let others = schema.fields.iter().filter(|field| is_time(&field.kind)).map(|field| field.name.as_str());
    let others: Vec<&str> = others.collect();
    cx.push(diagnostic.help(if others.is_empty() {
        "declare it as `timestamp_ms` (or `_s`, `_us`, `_ns`) for numbers, `timestamp` for RFC 3339 text".to_owned()
    } else {
        format!("timestamp columns: {}", suggest::list(others, "and"))
    }));
    None
}

fn key(text: &Text, schema: &RowSchema, connector: &ConnectorSpec, cx: &mut Cx) -> Option<Spanned<usize>> {
    let found = column("key", text, schema, connector, cx)?;
    let field = schema.fields.get(found.value)?;
    if matches!(field.kind, FieldType::List(_) | FieldType::Struct(_)) {
        let message = format!("`key` must be a single value, and `{}` is a list or a struct", field.name);
        let help = "declare the field inside of it as a column, with `from: outer.inner`";
        cx.error(WRONG_COLUMN, text.span, message, help);
        return None;
    }
    Some(found)
}

fn table(name: Spanned<String>, spec: TableSpec, cx: &mut Cx) -> Table {
    if let Some(schema) = &spec.schema {
        for key in &spec.key.0 {
            if schema.get(&key.value).is_none() {
                let message =
                    format!("`key` names the column `{}`, which the schema does not have", shorten(key.shown()));
                let diagnostic = Diagnostic::error(UNRESOLVED, key.span, message)
                    .help(format!("columns: {}", suggest::list(schema.keys(), "and")));
                cx.push(match suggest::nearest(key.shown(), schema.keys()) {
                    Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
                    None => diagnostic,
                });
            }
        }
    }
    Table {
        name,
        path: spec.path,
        key: spec.key.0,
        format: spec.format,
        schema: spec.schema.map(|Map(columns)| columns),
    }
}

fn steps(specs: Vec<StepSpec>, names: &Names, has_dead_letters: bool, cx: &mut Cx) -> Vec<Step> {
    let mut steps = Vec::with_capacity(specs.len());
    for (i, spec) in specs.into_iter().enumerate() {
        match spec.kind {
            Some(StepFields::Sql(fields)) => steps.push(sql(fields, has_dead_letters, cx)),
            Some(StepFields::Predict(fields)) => steps.push(predict(*fields, i, names, cx)),
            None => {}
        }
    }
    steps
}

fn sql(fields: SqlFields, has_dead_letters: bool, cx: &mut Cx) -> Step {
    if let Some(late) = &fields.late
        && late.value == super::Late::DeadLetter
        && !has_dead_letters
    {
        let message = "`late: dead_letter` needs a `dead_letters` output";
        cx.error(
            STRUCTURE,
            late.span,
            message,
            "add `dead_letters: { type: file, path: dead_letters.ndjson }`, or write `late: drop`",
        );
    }
    let kind = StepKind::Sql { sql: fields.sql, emit: fields.emit, late: fields.late };
    Step { name: fields.name.map(|name| name.0), kind }
}

fn predict(fields: PredictFields, number: usize, names: &Names, cx: &mut Cx) -> Step {
    let name = fields.name.map(|name| name.0);
    let model = Spanned::new(fields.predict.value.clone(), fields.predict.span);
    if !names.models.contains(&model.value) {
        let known = || names.models.iter().map(String::as_str);
        let message = format!("there is no model `{}`", shorten(fields.predict.shown()));
        let diagnostic = Diagnostic::error(UNRESOLVED, model.span, message).help(if names.models.is_empty() {
            "declare it: `models: { NAME: { path: model.json } }`".to_owned()
        } else {
            format!("models: {}", suggest::list(known(), "and"))
        });
        cx.push(match suggest::nearest(fields.predict.shown(), known()) {
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    }
    let from = match &fields.from {
        Some(from) => names.input(from, number, cx),
        None => Spanned::new(names.default_input(number), name.span),
    };
    let column =
        fields.r#as.map_or_else(|| Spanned::new("score".to_owned(), name.span), |column| column.map(|name| name.0));
    let output = fields.output.unwrap_or(Spanned::new(OutputKind::Prediction, model.span));
    let kind = StepKind::Predict { model, from, column, output, inputs: fields.inputs.0, when: fields.when };
    Step { name, kind }
}

fn unused_models(models: &Attempts<ModelSpec>, steps: &[Step], cx: &mut Cx) {
    if cx.diagnostics().has_errors() {
        // A step that could not be read may be the one that uses it.
        return;
    }
    for (name, _) in models.iter() {
        let used = |step: &Step| matches!(&step.kind, StepKind::Predict { model, .. } if model.value == name.value);
        if !steps.iter().any(used) {
            let message = format!("no step uses the model `{}`", name.value);
            cx.push(
                Diagnostic::warning(NO_EFFECT, name.span, message)
                    .help(format!("use it (`predict: {}`), or leave it out", name.value)),
            );
        }
    }
}

fn output(name: Spanned<String>, spec: OutputSpec, names: &Names, connections: &Connections, cx: &mut Cx) -> Output {
    let OutputSpec { common, connector } = spec;
    let connector = connected(connector, connections);
    let from = match &common.from {
        Some(from) => names.input(from, names.steps.len(), cx),
        None => Spanned::new(names.default_input(names.steps.len()), name.span),
    };
    if let Some(select) = &common.select
        && select.is_empty()
        && connector.fields.get("select").is_some_and(|entry| !entry.node.has_entries())
    {
        let message = format!("the output `{}` selects nothing", shorten(&name));
        cx.error(
            STRUCTURE,
            connector.fields.span_of("select"),
            message,
            "name at least one column, or leave `select` out for all of them",
        );
    }
    Output {
        name,
        connector,
        from,
        where_: common.r#where,
        select: common.select,
        include: common.include,
        format: common.format,
        timestamps: common.timestamps,
    }
}
