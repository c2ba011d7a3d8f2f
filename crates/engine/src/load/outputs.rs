//! Planning the outputs.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use millstream_config::codes::{NO_EFFECT, STRUCTURE, WRONG_COLUMN};
use millstream_config::pipeline::{self, ConnectorSpec};
use millstream_config::{Diagnostic, Span, suggest};
use millstream_connectors::codec::OutputFormat;
use millstream_connectors::kafka::KafkaOutput;
use millstream_connectors::{EncodeContext, SinkSpec, registry};
use millstream_core::Delivery;
use millstream_features::{Projection, plan_projection};

use super::{Loader, Node};
use crate::codes::COLUMN_TWICE;
use crate::plan::{DEAD_LETTERS, PlannedOutput, PlannedSource};

impl Loader<'_> {
    /// Two outputs may not write to one place: how their rows interleave would depend on when epochs close.
    pub(super) fn one_writer_each(&mut self, outputs: &[PlannedOutput], dead_letters: Option<&PlannedOutput>) {
        let mut seen: Vec<(&str, String)> = Vec::new();
        for output in outputs.iter().chain(dead_letters) {
            let place = output.spec.describe();
            let first = seen.iter().find(|(_, other)| *other == place).map(|(name, _)| *name);
            // Standard output is for people.
            if let Some(first) = first.filter(|_| output.spec.delivery() == Delivery::ExactlyOnce) {
                let span = self.pipeline.outputs.iter().find(|o| o.name.value == output.name).map(|o| o.name.span);
                let span = span.or(self.pipeline.dead_letters.as_ref().map(|d| d.span)).unwrap_or_default();
                let message = format!("outputs `{first}` and `{}` both write to {place}", output.name);
                self.cx.push(Diagnostic::error(STRUCTURE, span, message).help("give each output a place of its own"));
            }
            seen.push((&output.name, place));
        }
    }

    /// All outputs, if all could be planned.
    pub(super) fn outputs(&mut self, source: Option<&PlannedSource>) -> Option<Vec<PlannedOutput>> {
        let planned: Vec<_> = self.pipeline.outputs.iter().map(|output| self.output(output, source)).collect();
        planned.into_iter().collect()
    }

    fn output(&mut self, output: &pipeline::Output, source: Option<&PlannedSource>) -> Option<PlannedOutput> {
        let spec = self.sink(&output.connector, &output.name.value);
        // What hangs on a step that could not be planned was reported with the step.
        let (input, node) = self.node(&output.from.value)?;
        let filter = match &output.where_ {
            Some(text) => self.condition(text, &node.schema).map(Some),
            None => Some(None),
        };
        let select = match &output.select {
            Some(items) => self.select(items, &node).map(Some),
            None => Some(None),
        };
        let (spec, filter, select, source) = (spec?, filter?, select?, source?);
        let schema = select.as_ref().map_or_else(|| node.schema.clone(), |s: &Projection| s.schema().clone());
        let include_event = output.include.as_ref().is_some_and(|i| i.value == pipeline::Include::Event);
        if let Some(include) = output.include.as_ref().filter(|_| include_event && spec.format() != OutputFormat::Json)
        {
            let message = "`include: event` works with JSON only: the events' own fields have no columns";
            self.cx.push(
                Diagnostic::error(NO_EFFECT, include.span, message).help("use `format: json`, or select the columns"),
            );
        }
        let key_column = self.key_column(spec.as_ref(), &schema, output)?;
        if let Some(twice) = column_twice(&schema) {
            let message = format!("output `{}` would have two columns called `{twice}`", output.name.value);
            self.cx.push(
                Diagnostic::error(COLUMN_TWICE, output.name.span, message).help("give one another name with `select:`"),
            );
        }
        let partition_column = self.partition_column(spec.as_ref(), &schema, output)?;
        let header_columns = self.header_columns(spec.as_ref(), &schema, output)?;
        let context = self.context(spec.as_ref(), source, schema, include_event, false);
        let context = EncodeContext { key_column, partition_column, header_columns, ..context };
        if let Err(error) = spec.encoder(&context) {
            self.error(&error, output.name.span);
        }
        Some(PlannedOutput { name: output.name.value.clone(), input, filter, select, spec, context })
    }

    /// The output of dead letters, if there is one.
    pub(super) fn dead_letters(&mut self, source: Option<&PlannedSource>) -> Option<PlannedOutput> {
        let written = self.pipeline.dead_letters.as_ref()?;
        let spec = self.sink(&written.connector, DEAD_LETTERS)?;
        let context = self.context(spec.as_ref(), source?, Arc::new(Schema::empty()), false, true);
        if let Err(error) = spec.encoder(&context) {
            self.error(&error, written.span);
        }
        Some(PlannedOutput { name: DEAD_LETTERS.to_owned(), input: 0, filter: None, select: None, spec, context })
    }

    fn sink(&mut self, connector: &ConnectorSpec, name: &str) -> Option<Box<dyn SinkSpec>> {
        let spec = registry::sink(connector, &mut self.cx)?;
        self.check_delivery(spec.delivery(), &format!("output `{name}`"), connector.kind.span);
        if self.options.connect {
            let cluster = spec.kafka().map(KafkaOutput::connection);
            self.probe(cluster, connector.kind.span, |env| spec.probe(env));
        }
        Some(spec)
    }

    fn select(&mut self, items: &[millstream_config::Text], node: &Node) -> Option<Projection> {
        let texts: Vec<String> = items.iter().map(|t| t.value.clone()).collect();
        match plan_projection(&texts, &node.schema) {
            Ok(projection) => Some(projection),
            Err(problems) => {
                for (i, item) in items.iter().enumerate() {
                    self.sql(item, problems.iter().filter(|p| p.item == i).cloned().collect());
                }
                None
            }
        }
    }

    /// The column of the records' key; the outer `None` is a key that does not exist.
    fn key_column(
        &mut self,
        spec: &dyn SinkSpec,
        schema: &SchemaRef,
        output: &pipeline::Output,
    ) -> Option<Option<usize>> {
        let Some(key) = spec.key() else { return Some(None) };
        let span = output.connector.fields.span_of("key");
        self.column(key, "its records' key", span, schema, output).map(Some)
    }

    /// The column of the records' partition, a whole number; the outer `None` is one that can't be.
    fn partition_column(
        &mut self,
        spec: &dyn SinkSpec,
        schema: &SchemaRef,
        output: &pipeline::Output,
    ) -> Option<Option<usize>> {
        let Some(name) = spec.partition_column() else { return Some(None) };
        let span = output.connector.fields.span_of("partition");
        let column = self.column(name, "its records' partition", span, schema, output)?;
        let kind = schema.field(column).data_type();
        if kind.is_integer() {
            return Some(Some(column));
        }
        let message = format!("a partition is a whole number, and the column `{name}` is {kind}");
        let help = format!("cast it in `select:`: `CAST({name} AS INT) AS {name}`");
        self.cx.push(Diagnostic::error(WRONG_COLUMN, span, message).help(help));
        None
    }

    /// The columns of the records' headers; `None` if one does not exist.
    fn header_columns(
        &mut self,
        spec: &dyn SinkSpec,
        schema: &SchemaRef,
        output: &pipeline::Output,
    ) -> Option<Vec<(String, usize)>> {
        let mut columns = Vec::new();
        for (header, column) in spec.headers() {
            let entry = output.connector.fields.get("headers");
            let span = entry.and_then(|e| e.node.get(header)).map_or(output.name.span, |node| node.span);
            let number = self.column(column, &format!("the header `{header}`"), span, schema, output);
            columns.push(number.map(|number| (header.clone(), number)));
        }
        columns.into_iter().collect()
    }

    /// The number of a column that an output's rows are to have.
    fn column(
        &mut self,
        name: &str,
        what: &str,
        span: Span,
        schema: &SchemaRef,
        output: &pipeline::Output,
    ) -> Option<usize> {
        if let Ok(column) = schema.index_of(name) {
            return Some(column);
        }
        let names = || schema.fields().iter().map(|f| f.name().as_str());
        let message = format!("output `{}` has no column `{name}` to take {what} from", output.name.value);
        let near = suggest::nearest(name, names());
        let help = near.map_or_else(
            || format!("its columns: {}", names().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        self.cx.push(Diagnostic::error(NO_EFFECT, span, message).help(help));
        None
    }

    fn context(
        &self,
        spec: &dyn SinkSpec,
        source: &PlannedSource,
        schema: SchemaRef,
        include_event: bool,
        dead_letters: bool,
    ) -> EncodeContext {
        EncodeContext {
            pipeline: self.pipeline.name.value.clone(),
            source: source.name.clone(),
            schema,
            format: spec.format(),
            timestamps: spec.timestamps(),
            include_event,
            source_format: source.spec.declared_format(&source.schema),
            key_column: None,
            partition_column: None,
            header_columns: Vec::new(),
            dead_letters,
            boundaries: spec.boundaries(),
        }
    }
}

fn column_twice(schema: &Schema) -> Option<&str> {
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)).map(|(_, name)| *name)
}
