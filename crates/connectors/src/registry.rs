//! The connectors there are: one line each.

use millstream_config::pipeline::{ConnectorSpec, Kind};
use millstream_config::{Cx, Decode, Diagnostic, Diagnostics, Spec, suggest};

use crate::codes::UNKNOWN_CONNECTOR;
use crate::file::{FileSinkConnector, FileSourceConnector, StdinConnector, StdoutConnector};
use crate::kafka::{KafkaConnectionConnector, KafkaSinkConnector, KafkaSourceConnector};
use crate::log::{LogSinkConnector, LogSourceConnector};
use crate::spec::{SinkSpec, SourceSpec};

/// What can stand after `type:` under `connections:`.
pub const CONNECTIONS: &[&dyn ConnectionConnector] = &[&KafkaConnectionConnector];

/// What can stand after `type:` under `sources:`.
pub const SOURCES: &[&dyn SourceConnector] =
    &[&FileSourceConnector, &StdinConnector, &LogSourceConnector, &KafkaSourceConnector];

/// What can stand after `type:` under `outputs:` and `dead_letters:`.
pub const SINKS: &[&dyn SinkConnector] =
    &[&FileSinkConnector, &StdoutConnector, &LogSinkConnector, &KafkaSinkConnector];

/// A kind of system outside that sources and outputs share the way to.
pub trait ConnectionConnector: Sync {
    /// Its name and its own fields, for the JSON Schema and the reference.
    fn kind(&self) -> Kind;

    /// Checks its fields. Pure; what is wrong is said to `cx`.
    fn check(&self, spec: &ConnectorSpec, cx: &mut Cx);
}

/// A kind of source.
pub trait SourceConnector: Sync {
    /// Its name and its own fields, for the JSON Schema and the reference.
    fn kind(&self) -> Kind;

    /// Reads its fields. Pure; what is wrong is said to `cx`.
    fn check(&self, spec: &ConnectorSpec, cx: &mut Cx) -> Option<Box<dyn SourceSpec>>;
}

/// A kind of output.
pub trait SinkConnector: Sync {
    /// Its name and its own fields, for the JSON Schema and the reference.
    fn kind(&self) -> Kind;

    /// Reads its fields. Pure; what is wrong is said to `cx`.
    fn check(&self, spec: &ConnectorSpec, cx: &mut Cx) -> Option<Box<dyn SinkSpec>>;
}

/// Checks a connection that the pipeline file describes, whether anything uses it or not.
pub fn connection(spec: &ConnectorSpec, cx: &mut Cx) {
    match CONNECTIONS.iter().find(|c| c.kind().name == spec.kind.value) {
        Some(connector) => connector.check(spec, cx),
        None => drop(unknown::<()>("connection", spec, &connection_kinds(), cx)),
    }
}

/// The source that the pipeline file describes; `None` if `cx` was told what is wrong.
pub fn source(spec: &ConnectorSpec, cx: &mut Cx) -> Option<Box<dyn SourceSpec>> {
    match SOURCES.iter().find(|c| c.kind().name == spec.kind.value) {
        Some(connector) => connector.check(spec, cx),
        None => unknown("source", spec, &source_kinds(), cx),
    }
}

/// The output that the pipeline file describes; `None` if `cx` was told what is wrong.
pub fn sink(spec: &ConnectorSpec, cx: &mut Cx) -> Option<Box<dyn SinkSpec>> {
    match SINKS.iter().find(|c| c.kind().name == spec.kind.value) {
        Some(connector) => connector.check(spec, cx),
        None => unknown("output", spec, &sink_kinds(), cx),
    }
}

/// Names and fields of all kinds of connections.
pub fn connection_kinds() -> Vec<Kind> {
    CONNECTIONS.iter().map(|c| c.kind()).collect()
}

/// Names and fields of all kinds of sources.
pub fn source_kinds() -> Vec<Kind> {
    SOURCES.iter().map(|c| c.kind()).collect()
}

/// Names and fields of all kinds of outputs.
pub fn sink_kinds() -> Vec<Kind> {
    SINKS.iter().map(|c| c.kind()).collect()
}

fn unknown<T>(what: &str, spec: &ConnectorSpec, kinds: &[Kind], cx: &mut Cx) -> Option<T> {
    let names = || kinds.iter().map(|k| k.name);
    let message = format!("there is no {what} of type `{}`", spec.kind.value);
    let mut diagnostic = Diagnostic::error(UNKNOWN_CONNECTOR, spec.kind.span, message);
    if let Some(near) = suggest::nearest(&spec.kind.value, names()) {
        diagnostic = diagnostic.label(format!("did you mean `{near}`?"));
    }
    cx.push(diagnostic.help(format!("write one of {}", suggest::list(names(), "or"))));
    None
}

/// The kind `name` with the fields of `T`.
pub(crate) fn kind<T: Spec>(name: &'static str) -> Kind {
    Kind::of::<T>(name)
}

/// A field that all connectors share, as this connector sees it. That it can't be read was said elsewhere.
pub(crate) fn shared<T: Decode>(spec: &ConnectorSpec, name: &str) -> Option<T> {
    let entry = spec.fields.get(name)?;
    T::decode(&entry.node, &mut Cx::new(Diagnostics::new("", "")))
}
