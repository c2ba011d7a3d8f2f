//! Starts, stops and disturbs brokers.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::config::{Listener, Node, Ports, properties};
use super::failure::{Doing, Failure, Result};
use super::home::{Home, hash};
use super::process::{Folder, Supervised, wait_until};
use super::proxy::Proxy;
use super::tls::Certificates;

/// How often other ports are tried when one was taken meanwhile.
const ATTEMPTS_MAX: usize = 5;
/// From the start of a process until its broker serves. Two seconds; more when all cores are taken.
const READY_MAX: Duration = Duration::from_secs(120);
/// From SIGTERM to the end. Half a second, unless it waits for another broker that is not there.
const STOP_MAX: Duration = Duration::from_secs(60);
/// What a broker logs when it serves.
const READY: &str = "Kafka Server started";
/// How many lines of a log a failure shows.
const TAIL_LINES: usize = 25;

/// What brokers to start.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// How many; topics have a replica on each, and a majority must have a record before it counts as written.
    pub brokers: usize,
    /// Offers every [`Listener`], not only the plain one.
    pub secured: bool,
    /// Puts a [`Proxy`] between clients and the plain listener of each broker.
    pub proxied: bool,
    /// Further options of the brokers.
    pub config: Vec<(String, String)>,
}

impl ClusterOptions {
    /// That many brokers with one plain listener each.
    pub fn new(brokers: usize) -> Self {
        Self { brokers, ..Self::default() }
    }

    /// With SASL and TLS.
    #[must_use]
    pub fn secured(mut self) -> Self {
        self.secured = true;
        self
    }

    /// Behind proxies.
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// With an option of the broker, such as `message.max.bytes`.
    #[must_use]
    pub fn with(mut self, option: &str, value: &str) -> Self {
        self.config.push((option.to_owned(), value.to_owned()));
        self
    }
}

struct Broker {
    ports: Ports,
    folder: PathBuf,
    proxy: Option<Proxy>,
    process: Mutex<Option<Supervised>>,
}

impl Broker {
    fn process(&self) -> MutexGuard<'_, Option<Supervised>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn tail(&self) -> String {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

/// Running brokers. Dropped, they are killed and their data is removed.
pub struct Cluster {
    // Dropped in this order: first the processes, then where they write.
    brokers: Vec<Broker>,
    certificates: Option<Certificates>,
    folder: Folder,
}

impl Cluster {
    /// The one broker of this test binary, started by the first test that asks for it.
    ///
    /// # Errors
    /// Something to start it with is missing, or it does not start.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Cluster>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&ClusterOptions::new(1))).as_ref().map_err(Clone::clone)
    }

    /// Starts brokers and waits until they serve.
    ///
    /// # Errors
    /// Something to start them with is missing, or one does not start: then with the end of its log.
    pub fn start(options: &ClusterOptions) -> Result<Self> {
        Self::start_in(Home::get()?, options, &[])
    }

    fn start_in(home: &Home, options: &ClusterOptions, jvm: &[String]) -> Result<Self> {
        let mut taken = Failure::new("no attempt");
        for _ in 0..ATTEMPTS_MAX {
            let cluster = Self::prepare(home, options)?;
            match cluster.spawn_all(home, jvm) {
                Err(failure) if failure.contains("Address already in use") => taken = failure,
                other => return other.map(|()| cluster),
            }
        }
        Err(taken)
    }

    /// Writes what the brokers start from.
    fn prepare(home: &Home, options: &ClusterOptions) -> Result<Self> {
        let folder = Folder::new(&std::env::temp_dir())?;
        let certificates = options.secured.then(|| Certificates::make(&folder.path().join("tls"))).transpose()?;
        let mut brokers = Vec::new();
        for index in 0..options.brokers {
            let ports = Ports::pick(options)?;
            let proxy = options.proxied.then(|| Proxy::new(ports.of(Listener::Client))).transpose()?;
            let folder = folder.path().join(format!("broker-{index}"));
            brokers.push(Broker { ports, folder, proxy, process: Mutex::new(None) });
        }
        let voters = brokers.iter().enumerate().map(|(i, b)| format!("{}@127.0.0.1:{}", i + 1, b.ports.controller));
        let voters = voters.collect::<Vec<_>>().join(",");
        let cluster_id = cluster_id();
        for (index, broker) in brokers.iter().enumerate() {
            let (id, data) = (index + 1, broker.folder.join("data"));
            std::fs::create_dir_all(&data).doing(data.display())?;
            let proxy_port = broker.proxy.as_ref().map(Proxy::port);
            let node = Node { id, ports: &broker.ports, proxy_port, data: &data, voters: &voters };
            let text = properties(&node, options, certificates.as_ref());
            std::fs::write(broker.folder.join("properties"), text).doing(data.display())?;
            // What formatting would write.
            let directory = uuid(&format!("{cluster_id}-{id}"));
            let meta = format!("version=1\ncluster.id={cluster_id}\nnode.id={id}\ndirectory.id={directory}\n");
            std::fs::write(data.join("meta.properties"), meta).doing(data.display())?;
            std::fs::copy(home.bootstrap_checkpoint(), data.join("bootstrap.checkpoint")).doing(data.display())?;
        }
        Ok(Self { brokers, certificates, folder })
    }

    fn spawn_all(&self, home: &Home, jvm: &[String]) -> Result<()> {
        // None of three serves before a second one is there: start all, then wait.
        let from = self.brokers.iter().map(|b| self.spawn(b, home, jvm)).collect::<Result<Vec<_>>>()?;
        self.brokers.iter().zip(from).try_for_each(|(broker, from)| self.wait_ready(broker, from))
    }

    /// Starts a broker's process. Returns how long its log was.
    fn spawn(&self, broker: &Broker, home: &Home, jvm: &[String]) -> Result<usize> {
        let log = broker.log();
        let from = read_to_string(&log).map_or(0, |text| text.len());
        let mut java = home.java("info")?;
        java.args(jvm).arg("kafka.Kafka").arg(broker.folder.join("properties"));
        *broker.process() = Some(Supervised::spawn(&java, &log)?);
        Ok(from)
    }

    fn wait_ready(&self, broker: &Broker, from: usize) -> Result<()> {
        let ready = wait_until(READY_MAX, || {
            // First whether it has ended: what it said before counts.
            let ended = broker.process().as_mut().map_or(Ok(None), Supervised::ended)?;
            if read_to_string(broker.log()).is_ok_and(|text| text.get(from..).is_some_and(|new| new.contains(READY))) {
                return Ok(true);
            }
            match ended {
                None => Ok(false),
                Some(status) => Err(Failure::new(format!("Kafka did not start ({status}):\n{}", broker.tail()))),
            }
        })?;
        if ready {
            return Ok(());
        }
        Err(Failure::new(format!("Kafka does not serve after {} s:\n{}", READY_MAX.as_secs(), broker.tail())))
    }

    /// `bootstrap.servers` for the tested program: through the proxies, if there are any.
    pub fn bootstrap(&self) -> String {
        self.servers(|broker| broker.proxy.as_ref().map_or(broker.ports.direct, Proxy::port))
    }

    /// `bootstrap.servers` that no proxy disturbs.
    pub fn bootstrap_direct(&self) -> String {
        self.servers(|broker| broker.ports.direct)
    }

    /// `bootstrap.servers` of a listener with security.
    ///
    /// # Errors
    /// The cluster was started without.
    pub fn bootstrap_of(&self, listener: Listener) -> Result<String> {
        if listener == Listener::Client {
            return Ok(self.bootstrap());
        }
        if self.certificates.is_none() {
            return Err(Failure::new(format!("{listener:?} needs a cluster with `secured`")));
        }
        Ok(self.servers(|broker| broker.ports.of(listener).unwrap_or_default()))
    }

    fn servers(&self, port: impl Fn(&Broker) -> u16) -> String {
        self.brokers.iter().map(|b| format!("127.0.0.1:{}", port(b))).collect::<Vec<_>>().join(",")
    }

    /// What clients of listeners with TLS need; there with [`ClusterOptions::secured`].
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The proxy of a broker, counted from 0; there with [`ClusterOptions::proxied`].
    pub fn proxy(&self, broker: usize) -> Option<&Proxy> {
        self.brokers.get(broker)?.proxy.as_ref()
    }

    /// A name that no other test in this process gets, for a topic or a group.
    pub fn fresh_name(&self, prefix: &str) -> String {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        format!("{prefix}-{}", COUNTER.fetch_add(1, Ordering::Relaxed))
    }

    /// Stops a broker, counted from 0 (its `node.id` is one more), as an operator does: SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// It is not running, or does not end.
    pub fn stop(&self, broker: usize) -> Result<()> {
        let broker = self.broker(broker)?;
        let mut process = broker.process();
        let running = process.as_mut().ok_or_else(not_running)?;
        running.signal("TERM")?;
        if !running.wait(STOP_MAX)? {
            let tail = broker.tail();
            return Err(Failure::new(format!("Kafka does not end after {} s:\n{tail}", STOP_MAX.as_secs())));
        }
        *process = None;
        Ok(())
    }

    /// Kills a broker with SIGKILL; it is gone when this returns.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill(&self, broker: usize) -> Result<()> {
        self.broker(broker)?.process().take().map(drop).ok_or_else(not_running)
    }

    /// Holds a broker with SIGSTOP: connections stay open, nothing is answered.
    ///
    /// # Errors
    /// It is not running.
    pub fn pause(&self, broker: usize) -> Result<()> {
        self.broker(broker)?.process().as_mut().ok_or_else(not_running)?.signal("STOP")
    }

    /// Lets a paused broker go on.
    ///
    /// # Errors
    /// It is not running.
    pub fn resume(&self, broker: usize) -> Result<()> {
        self.broker(broker)?.process().as_mut().ok_or_else(not_running)?.signal("CONT")
    }

    /// Starts a broker, which is stopped first if it runs, with its data and at its ports; waits until it serves.
    ///
    /// # Errors
    /// It does not stop or not start. One of three that are all down does not: see [`Self::restart_all`].
    pub fn restart(&self, broker: usize) -> Result<()> {
        if self.broker(broker)?.process().is_some() {
            self.stop(broker)?;
        }
        let broker = self.broker(broker)?;
        let from = self.spawn(broker, Home::get()?, &[])?;
        self.wait_ready(broker, from)
    }

    /// Kills what runs, starts all brokers, waits until they serve.
    ///
    /// # Errors
    /// One does not start.
    pub fn restart_all(&self) -> Result<()> {
        self.brokers.iter().for_each(|broker| drop(broker.process().take()));
        self.spawn_all(Home::get()?, &[])
    }

    /// The process id of a running broker.
    pub fn pid(&self, broker: usize) -> Option<String> {
        self.brokers.get(broker)?.process().as_ref().map(|running| running.pid().to_owned())
    }

    /// Where the brokers keep configuration, logs and data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The last lines of all brokers' logs.
    pub fn log_tail(&self) -> String {
        let tails = self.brokers.iter().enumerate().map(|(i, b)| format!("-- log of broker {i}:\n{}", b.tail()));
        tails.collect::<Vec<_>>().join("\n")
    }

    fn broker(&self, index: usize) -> Result<&Broker> {
        let count = self.brokers.len();
        self.brokers.get(index).ok_or_else(|| Failure::new(format!("there is no broker {index}, there are {count}")))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

fn not_running() -> Failure {
    Failure::new("the broker is not running")
}

/// Another one for each cluster, so that a broker that finds another cluster at a port does not join it.
fn cluster_id() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    uuid(&format!("{}-{}-{now:?}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)))
}

/// As Kafka writes them.
fn uuid(of: &str) -> String {
    let half = hash(&[of.as_bytes()]).to_be_bytes();
    // Kafka's own never begin with `-`, which options of a command line would be confused by.
    let mut bytes = [half, *b"-testing"].concat();
    bytes[0] = 0x4D;
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Starts and stops a broker that writes down which classes it loaded.
pub(super) fn archive_classes(home: &Home, to: &Path) -> Result<()> {
    let archive = format!("-XX:ArchiveClassesAtExit={}", to.display());
    let cluster = Cluster::start_in(home, &ClusterOptions::new(1), &[archive])?;
    cluster.stop(0)
}
