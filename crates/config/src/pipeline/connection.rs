//! What stands under `connections:`, and how sources and outputs find it; and where state is kept.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::source::connector;
use super::{Attempt, Attempts, Connection, ConnectorSpec, DeadLetters, Output, Source};
use crate::codes::{NO_EFFECT, STRUCTURE, UNKNOWN_CHOICE, UNRESOLVED, WRONG_TYPE};
use crate::decode::{Cx, Decode, scalar, shorten};
use crate::diagnostic::Diagnostic;
use crate::span::Spanned;
use crate::spec;
use crate::suggest;
use crate::text::Text;
use crate::tree::Node;

spec! {
    /// How a system outside is reached. Sources and outputs name it with `connection:`.
    pub(crate) struct ConnectionFields {
        /// What it is that is reached.
        r#type: Spanned<String> = required,
    }
}

/// A connection: the `type:`, and the fields of its kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConnectionSpec(ConnectorSpec);

impl Decode for ConnectionSpec {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let (_, connector) = connector(node, cx, |common: &ConnectionFields| &common.r#type)?;
        Some(Self(connector))
    }

    fn schema() -> Json {
        // Which fields it may have depends on its type: see `schema.rs`.
        json!({ "type": "object" })
    }

    fn describe() -> String {
        "a map of fields".to_owned()
    }
}

/// All connections of a file, those that can't be read among them: a reference to one of those is no second mistake.
pub(super) fn collect(specs: Attempts<ConnectionSpec>) -> Arc<[(Spanned<String>, Option<Connection>)]> {
    let connection = |(name, Attempt(spec)): (Spanned<String>, Attempt<ConnectionSpec>)| {
        let read = spec.map(|ConnectionSpec(connector)| Connection { name: name.clone(), connector });
        (name, read)
    };
    specs.0.into_iter().map(connection).collect()
}

/// Says which connections nothing names.
pub(super) fn unused(
    connections: &[(Spanned<String>, Option<Connection>)],
    sources: &[Source],
    outputs: &[Output],
    dead_letters: Option<&DeadLetters>,
    cx: &mut Cx,
) {
    if cx.diagnostics().has_errors() {
        // What could not be read may be what uses it.
        return;
    }
    let users = sources.iter().map(|s| &s.connector).chain(outputs.iter().map(|o| &o.connector));
    let named: Vec<&str> = users.chain(dead_letters.map(|d| &d.connector)).filter_map(written).collect();
    for (name, _) in connections.iter().filter(|(name, _)| !named.contains(&name.value.as_str())) {
        let message = format!("nothing uses the connection `{}`", shorten(name));
        cx.push(
            Diagnostic::warning(NO_EFFECT, name.span, message)
                .help(format!("name it in a source or an output (`connection: {}`), or leave it out", name.value)),
        );
    }
}

fn written(connector: &ConnectorSpec) -> Option<&str> {
    match &connector.fields.get("connection")?.node.value {
        crate::tree::Value::Scalar(scalar) => Some(&scalar.text.value),
        _ => None,
    }
}

/// Where objects can be stored, besides a folder.
const STATE_SCHEMES: [&str; 4] = ["s3", "gs", "az", "file"];

/// Whether snapshots can go there; says so if not.
pub(super) fn is_place(state: &Text, cx: &mut Cx) -> bool {
    let Some((scheme, rest)) = state.value.split_once("://") else { return true };
    let shown = shorten(state.shown());
    if !STATE_SCHEMES.contains(&scheme) {
        let message = format!("`state` can't be `{shown}`: there is no storage `{}://`", shorten(scheme));
        let known = "write a path, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`";
        cx.error(UNKNOWN_CHOICE, state.span, message, known);
        return false;
    }
    let bucket = rest.split('/').next().unwrap_or("");
    if scheme != "file" && (bucket.is_empty() || rest.contains(['?', '#', '@'])) {
        let message = format!("`state` is not a bucket and a prefix: `{shown}`");
        let help = "write `s3://bucket/prefix`; credentials, region and endpoint come from the environment";
        cx.error(WRONG_TYPE, state.span, message, help);
        return false;
    }
    true
}

impl ConnectorSpec {
    /// The connection that its field `connection` names; `Ok(None)` if it has no such field. For connectors that have.
    ///
    /// # Errors
    /// `cx` was told why there is none, or the connection itself can't be read.
    pub fn connection(&self, cx: &mut Cx) -> Result<Option<&Connection>, Unresolved> {
        let Some(entry) = self.fields.get("connection") else { return Ok(None) };
        let text = &scalar(&entry.node, cx, "the name of a connection", "main").ok_or(Unresolved)?.text;
        if let Some((name, found)) = self.connections.iter().find(|(name, _)| name.value == text.value) {
            let found = found.as_ref().ok_or(Unresolved)?;
            if found.connector.kind.value == self.kind.value {
                return Ok(Some(found));
            }
            let (theirs, ours) = (&found.connector.kind.value, &self.kind.value);
            let message = format!("the connection `{}` is of type `{}`, not `{ours}`", name.value, shorten(theirs));
            cx.push(
                Diagnostic::error(STRUCTURE, entry.node.span, message)
                    .related(found.connector.kind.span, "its type")
                    .help("name a connection of the same type"),
            );
            return Err(Unresolved);
        }
        let names = || self.connections.iter().map(|(name, _)| name.value.as_str());
        let shown = shorten(text.shown());
        let diagnostic = Diagnostic::error(UNRESOLVED, entry.node.span, format!("there is no connection `{shown}`"));
        let diagnostic = match suggest::nearest(text.shown(), names()) {
            Some(near) => diagnostic.label(format!("did you mean `{near}`?")),
            None => diagnostic,
        };
        cx.push(diagnostic.help(if self.connections.is_empty() {
            format!("declare it: `connections: {{ {shown}: {{ type: {} }} }}`, at the top of the file", self.kind.value)
        } else {
            format!("connections: {}", suggest::list(names(), "and"))
        }));
        Err(Unresolved)
    }
}

/// A reference to a connection that leads nowhere; all was said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unresolved;
