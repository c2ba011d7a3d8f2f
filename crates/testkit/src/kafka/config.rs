//! What a broker is configured with, and where it listens.

use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cluster::ClusterOptions;
use super::failure::{Failure, Result};
use super::tls::Certificates;
use super::{PASSWORD, USER};

/// Where the search for free ports goes on. Below what systems give to outgoing connections, which would otherwise
/// take the port of a broker that is down.
const PORTS: std::ops::Range<u32> = 15_000..32_000;

/// What a client can connect to. All but the first are there with [`ClusterOptions::secured`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Neither encrypted nor authenticated; the one that [`ClusterOptions::proxied`] is about.
    Client,
    /// `SASL_PLAINTEXT`: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER with unsecured tokens.
    Sasl,
    /// `SASL_SSL`: the same mechanisms, encrypted.
    SaslTls,
    /// `SSL`.
    Tls,
    /// `SSL`, and clients must show a certificate.
    MutualTls,
}

const SECURED: [Listener; 4] = [Listener::Sasl, Listener::SaslTls, Listener::Tls, Listener::MutualTls];

impl Listener {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "CLIENT",
            Self::Sasl => "SASL",
            Self::SaslTls => "SASLTLS",
            Self::Tls => "TLS",
            Self::MutualTls => "MUTUALTLS",
        }
    }

    fn protocol(self) -> &'static str {
        match self {
            Self::Client => "PLAINTEXT",
            Self::Sasl => "SASL_PLAINTEXT",
            Self::SaslTls => "SASL_SSL",
            Self::Tls | Self::MutualTls => "SSL",
        }
    }
}

/// The ports of one broker.
#[derive(Clone)]
pub(super) struct Ports {
    /// Between brokers, and for what tests read and write besides the tested program; never through a proxy.
    pub direct: u16,
    pub controller: u16,
    listeners: Vec<(Listener, u16)>,
}

impl Ports {
    pub(super) fn pick(options: &ClusterOptions) -> Result<Self> {
        // Held until all are found, so that they differ.
        let mut held = Vec::new();
        let mut next = || {
            let (listener, port) = free_port()?;
            held.push(listener);
            Ok(port)
        };
        let (direct, controller) = (next()?, next()?);
        let mut listeners = Vec::new();
        if options.proxied {
            listeners.push((Listener::Client, next()?));
        }
        for listener in SECURED.into_iter().filter(|_| options.secured) {
            listeners.push((listener, next()?));
        }
        Ok(Self { direct, controller, listeners })
    }

    /// Where the broker itself listens.
    pub(super) fn of(&self, listener: Listener) -> Option<u16> {
        let own = self.listeners.iter().find(|(l, _)| *l == listener).map(|(_, port)| *port);
        own.or((listener == Listener::Client).then_some(self.direct))
    }
}

fn free_port() -> Result<(TcpListener, u16)> {
    // Tests run in many processes at once: each begins elsewhere.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let spread = std::process::id().wrapping_mul(0x9E37_79B9) >> 8;
    for _ in PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + spread.wrapping_add(step) % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).map_err(|e| Failure::new(e.to_string()))?;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return Ok((listener, port));
        }
    }
    Err(Failure::new(format!("none of the ports {PORTS:?} is free")))
}

/// One broker's part of what [`properties`] writes.
pub(super) struct Node<'a> {
    pub id: usize,
    pub ports: &'a Ports,
    pub proxy_port: Option<u16>,
    pub data: &'a Path,
    /// `1@127.0.0.1:15001,...`
    pub voters: &'a str,
}

pub(super) fn properties(node: &Node<'_>, options: &ClusterOptions, tls: Option<&Certificates>) -> String {
    let brokers = options.brokers;
    let (mut listeners, mut advertised, mut protocols) = (Vec::new(), Vec::new(), Vec::new());
    let own = node.ports.listeners.iter().map(|(l, port)| (l.name(), l.protocol(), *port));
    for (name, protocol, port) in std::iter::once(("DIRECT", "PLAINTEXT", node.ports.direct)).chain(own) {
        let seen = if name == Listener::Client.name() { node.proxy_port.unwrap_or(port) } else { port };
        listeners.push(format!("{name}://127.0.0.1:{port}"));
        advertised.push(format!("{name}://127.0.0.1:{seen}"));
        protocols.push(format!("{name}:{protocol}"));
    }
    listeners.push(format!("CONTROLLER://127.0.0.1:{}", node.ports.controller));
    protocols.push("CONTROLLER:PLAINTEXT".to_owned());
    let mut lines = vec![
        format!("node.id={}", node.id),
        format!("listeners={}", listeners.join(",")),
        format!("advertised.listeners={}", advertised.join(",")),
        format!("listener.security.protocol.map={}", protocols.join(",")),
        format!("controller.quorum.voters={}", node.voters),
        format!("log.dirs={}", node.data.display()),
        format!("offsets.topic.replication.factor={brokers}"),
        format!("transaction.state.log.replication.factor={brokers}"),
        format!("transaction.state.log.min.isr={}", brokers / 2 + 1),
        format!("default.replication.factor={brokers}"),
        format!("min.insync.replicas={}", brokers / 2 + 1),
        FIXED.trim().to_owned(),
    ];
    if brokers > 1 {
        // A killed broker's partitions get a new leader after this time; the default is 9 s.
        lines.push("broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500".to_owned());
    }
    if let Some(tls) = tls {
        lines.push(secured(tls));
    }
    lines.extend(options.config.iter().map(|(key, value)| format!("{key}={value}")));
    lines.join("\n")
}

const FIXED: &str = "
process.roles=broker,controller
controller.listener.names=CONTROLLER
inter.broker.listener.name=DIRECT
auto.create.topics.enable=false
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
transaction.max.timeout.ms=900000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=200
group.consumer.heartbeat.interval.ms=200
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=3000
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.backoff.ms=1000
log.retention.ms=-1
num.network.threads=2
num.io.threads=4
";

fn secured(tls: &Certificates) -> String {
    let (ca, broker) = (tls.authority.display(), tls.broker.display());
    let mut lines = vec![
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER".to_owned(),
        format!("ssl.keystore.type=PEM\nssl.keystore.location={broker}"),
        format!("ssl.truststore.type=PEM\nssl.truststore.location={ca}"),
        "listener.name.mutualtls.ssl.client.auth=required".to_owned(),
    ];
    for listener in ["sasl", "sasltls"] {
        let mut login = |mechanism: &str, module: &str, rest: &str| {
            lines.push(format!(
                "listener.name.{listener}.{mechanism}.sasl.jaas.config=\
                 org.apache.kafka.common.security.{module} required {rest};"
            ));
        };
        login("plain", "plain.PlainLoginModule", &format!("user_{USER}=\"{PASSWORD}\""));
        login("scram-sha-256", "scram.ScramLoginModule", "");
        login("scram-sha-512", "scram.ScramLoginModule", "");
        login("oauthbearer", "oauthbearer.OAuthBearerLoginModule", "unsecuredLoginStringClaim_sub=\"broker\"");
    }
    lines.join("\n")
}
