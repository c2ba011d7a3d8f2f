//! `connections:` of `type: kafka`, and the same fields written into a source or an output itself.

use millstream_config::codes::{MISSING_FIELD, STRUCTURE};
use millstream_config::decode::{Cx, Decode};
use millstream_config::pipeline::{ConnectorSpec, Kind, Pipeline};
use millstream_config::tree::{Node, Value};
use millstream_config::{Diagnostic, Diagnostics, Map, OneOrMore, Text, spec, suggest};
use millstream_core::{Error, Result};
use serde_json::Value as Json;

use crate::codes::BAD_OPTION;
use crate::kafka::Connection;
use crate::kafka::properties::{self, Properties};
use crate::kafka::security::{Security, SecurityOptions};
use crate::registry::{ConnectionConnector, kind};

spec! {
    /// A Kafka cluster.
    pub(crate) struct KafkaConnectionOptions {
        /// Brokers to begin with, `host:port` each: a list, or one text with commas. The others are found through them.
        brokers: Brokers = required,
        /// How the connection is encrypted, and who this side is: `tls: true` or `tls: { ca, certificate, key, key_password,
        /// key_password_file, verify }`, and `sasl: { mechanism, username, password, password_file, token, token_file }` with
        /// the mechanisms `plain`, `scram_sha_256`, `scram_sha_512` and `oauthbearer`. Default: neither.
        security: SecurityOptions = optional,
        /// Properties of librdkafka, for all clients of this connection.
        client: Map<Text> = default(Map::default()),
    }
}

/// `type: kafka` under `connections:`
pub(crate) struct KafkaConnectionConnector;

impl ConnectionConnector for KafkaConnectionConnector {
    fn kind(&self) -> Kind {
        kind::<KafkaConnectionOptions>("kafka")
    }

    fn check(&self, spec: &ConnectorSpec, cx: &mut Cx) {
        let _ = declared(spec, cx);
    }
}

/// A connection as `connections:` declares it.
fn declared(spec: &ConnectorSpec, cx: &mut Cx) -> Option<Connection> {
    let options: KafkaConnectionOptions = spec.fields.decode(cx)?;
    let security = match options.security {
        Some(security) => Security::check(security, spec.fields.owner_span(), cx)?,
        None => Security::default(),
    };
    let properties = properties::check(&options.client, &security, cx)?;
    readable(spec, &security, &options.brokers, cx);
    Some(Connection { brokers: options.brokers.0, security, properties })
}

/// A connection of a pipeline file, by its name; the only one there is where none is named.
///
/// # Errors
/// There is none, or not only one, or it can't be read.
pub fn find(pipeline: &Pipeline, name: Option<&str>) -> Result<Connection> {
    let kafka: Vec<_> = pipeline.connections.iter().filter(|c| c.connector.kind.value == "kafka").collect();
    let names = || kafka.iter().map(|c| c.name.value.as_str());
    let found = match (name, kafka.as_slice()) {
        (Some(name), _) => kafka.iter().find(|c| c.name.value == name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let Some(found) = found else {
        let message = match (name, kafka.is_empty()) {
            (_, true) => "the pipeline file has no connection to Kafka under `connections:`".to_owned(),
            (Some(name), false) => format!("the pipeline file has no connection `{name}`"),
            (None, false) => "the pipeline file has several connections".to_owned(),
        };
        return Err(Error::new(BAD_OPTION, message).help(match kafka.is_empty() {
            true => "say `--brokers HOST:PORT`, or declare the connection".to_owned(),
            false => format!("say `--connection`, one of {}", suggest::list(names(), "and")),
        }));
    };
    let mut cx = Cx::new(Diagnostics::new("", ""));
    declared(&found.connector, &mut cx).ok_or_else(|| {
        let said = cx.diagnostics().items().first().map(|d| d.message.clone()).unwrap_or_default();
        Error::new(BAD_OPTION, format!("the connection `{}` can't be used: {said}", found.name.value))
            .help("`millstream check` shows the place in the file")
    })
}

/// A connection without security, from what stands behind `--brokers`.
///
/// # Errors
/// It is no list of brokers.
pub fn plain(brokers: &str) -> Result<Connection> {
    if let Some((broker, why)) = brokers.split(',').find_map(|b| Some((b, broker_problem(b.trim())?))) {
        return Err(Error::new(BAD_OPTION, format!("`{}` is no broker: {why}", broker.trim()))
            .help("write `host:port`, or several with commas between them"));
    }
    Ok(Connection::plain(brokers))
}

/// The fields of a source or an output that say how Kafka is reached.
pub(super) struct Reached {
    pub(super) connection: Option<Text>,
    pub(super) brokers: Option<Brokers>,
    pub(super) security: Option<SecurityOptions>,
    pub(super) client: Map<Text>,
}

/// The connection that a source or an output names or describes, and its own `client:`, which stands above that of a
/// named connection.
pub(super) fn reach(spec: &ConnectorSpec, own: Reached, cx: &mut Cx) -> Option<(Connection, Properties)> {
    if own.connection.is_none() && spec.fields.get("connection").is_some() {
        // That it can't be read was said.
        return None;
    }
    let named = match spec.connection(cx) {
        Ok(named) => named,
        Err(_) => {
            // Its properties are checked all the same, as far as that goes.
            let _ = properties::check(&own.client, &Security::default(), cx);
            return None;
        }
    };
    if let Some(named) = named {
        let mut fits = true;
        for field in ["brokers", "security"] {
            if let Some(entry) = spec.fields.get(field) {
                let message = format!("`{field}` has no place beside `connection`, which says how Kafka is reached");
                cx.error(STRUCTURE, entry.key.span, message, "leave one of the two away");
                fits = false;
            }
        }
        let connection = declared(&named.connector, cx)?;
        let client = properties::check(&own.client, &connection.security, cx)?;
        return fits.then_some((connection, client));
    }
    let Some(brokers) = own.brokers else {
        if spec.fields.get("brokers").is_none() {
            let message = format!("{} does not say how Kafka is reached", spec.fields.owner());
            let help = "name one of `connections:` (`connection: main`), or write `brokers: host:9092`";
            cx.error(MISSING_FIELD, spec.fields.owner_span(), message, help);
        }
        return None;
    };
    let security = match own.security {
        Some(security) => Security::check(security, spec.fields.owner_span(), cx)?,
        None => Security::default(),
    };
    let client = properties::check(&own.client, &security, cx)?;
    readable(spec, &security, &brokers, cx);
    Some((Connection { brokers: brokers.0, security, properties: Properties::default() }, client))
}

/// Warns of a password or token that everyone on the way can read.
fn readable(spec: &ConnectorSpec, security: &Security, brokers: &Brokers, cx: &mut Cx) {
    let local = |broker: &String| ["localhost", "127.", "[::1]"].iter().any(|host| broker.starts_with(host));
    if security.is_readable() && !brokers.0.iter().all(local) {
        let message = "the password or token is sent so that everyone on the way can read it";
        let span = spec.fields.get("security").map_or(spec.fields.owner_span(), |entry| entry.key.span);
        cx.push(Diagnostic::warning(BAD_OPTION, span, message).help("add `tls: true`, or use a SCRAM mechanism"));
    }
}

/// `host:port` each, at least one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Brokers(pub(crate) Vec<String>);

impl Decode for Brokers {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            cx.wrong_type(node, &Self::describe(), "`brokers: localhost:9092`");
            return None;
        }
        let texts = OneOrMore::<Text>::decode(node, cx)?;
        let mut brokers = Vec::new();
        let mut good = true;
        for text in &texts.0 {
            for broker in text.value.split(',').map(str::trim) {
                if let Some(problem) = broker_problem(broker) {
                    let shown = if text.is_expanded() { text.shown() } else { broker };
                    let message = format!("`{shown}` is no broker: {problem}");
                    cx.error(BAD_OPTION, text.span, message, "write `host:port`, or several with commas between them");
                    good = false;
                }
                brokers.push(broker.to_owned());
            }
        }
        (good && !brokers.is_empty()).then_some(Self(brokers))
    }

    fn schema() -> Json {
        OneOrMore::<Text>::schema()
    }

    fn describe() -> String {
        "`host:port`, or a list of them".to_owned()
    }
}

/// Why a text can't be a broker's address.
fn broker_problem(broker: &str) -> Option<String> {
    if broker.is_empty() {
        return Some("it is empty".to_owned());
    }
    if let Some((scheme, _)) = broker.split_once("://") {
        return Some(format!("`{scheme}://` does not belong to it; encryption is set with `security:`"));
    }
    if broker.contains(|c: char| c.is_whitespace() || c == '/' || c == '@' || c.is_control()) {
        return Some("an address has no spaces, `/` and `@`".to_owned());
    }
    // An IPv6 address has colons of its own, and needs brackets where a port follows.
    let (host, port) = match broker.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(""))),
        None => match broker.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (broker, None),
        },
    };
    if host.is_empty() {
        return Some("it has no host".to_owned());
    }
    match port {
        Some(port) if port.parse::<u16>().map_or(true, |n| n == 0) => Some(format!("`{port}` is no port")),
        _ => None,
    }
}
