//! The log's HTTP API, up while a run is up, for this machine only.
//!
//! One thread (`http`) runs a single-threaded tokio runtime; calls to the log go to its small blocking pool.
//! Dropping the [`Server`] ends open tails, lets other requests finish for a moment, and joins the thread.

pub mod discovery;
pub mod error;
mod routes;
mod status;
pub mod wire;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millstream_core::{Error, Result};
use millstream_engine::Live;
use tokio::sync::watch;

use crate::codes;
use crate::log::Log;

/// Threads for calls that block; more requests wait.
const BLOCKING_THREADS_MAX: usize = 8;
/// How long requests may take to finish when the run ends.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// What the handlers share.
pub struct Shared {
    pub pipeline: String,
    /// `None` where the run has no log open.
    pub log: Option<Log>,
    pub live: Arc<Live>,
    pub started: Instant,
    /// Changes once: when the run has ended.
    pub ended: watch::Sender<bool>,
}

impl Shared {
    /// The log.
    pub fn log(&self) -> Result<&Log> {
        self.log.as_ref().ok_or_else(|| {
            Error::new(codes::NO_LOG, format!("pipeline `{}` reads Kafka: its process has no log", self.pipeline))
                .help("`millstream topic --pipeline FILE` works on the topics of its cluster")
        })
    }
}

/// A server that is up; ends when dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds and starts to answer.
    pub fn start(address: SocketAddr, pipeline: &str, log: Option<Log>, live: Arc<Live>) -> Result<Self> {
        check_loopback(address)?;
        let unusable = |cause: std::io::Error| {
            Error::new(codes::HTTP_BIND, format!("the HTTP API can't listen on `{address}`"))
                .because(cause)
                .help("choose another port with `--http 127.0.0.1:PORT` (0 takes a free one), or switch it off with `--http off`")
        };
        let listener = TcpListener::bind(address).map_err(unusable)?;
        listener.set_nonblocking(true).map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let (ended, _) = watch::channel(false);
        let shared = Arc::new(Shared { pipeline: pipeline.to_owned(), log, live, started: Instant::now(), ended });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .build()
            .map_err(unusable)?;
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            if let Err(cause) = runtime.block_on(serve(listener, of_thread)) {
                tracing::error!("the HTTP API ended: {cause}");
            }
            runtime.shutdown_timeout(FINISH_WITHIN);
        });
        Ok(Self { address, shared, thread: Some(thread.map_err(unusable)?) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&self.shared.ended);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Tells those who listen for it that the run has ended, and those who will: a short run ends before its server has
/// begun, and `send` would change nothing while nobody has subscribed.
fn end(ended: &watch::Sender<bool>) {
    ended.send_replace(true);
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let wait = |mut ended: watch::Receiver<bool>| async move {
        let _ = ended.wait_for(|&ended| ended).await;
    };
    let (first, second) = (shared.ended.subscribe(), shared.ended.subscribe());
    let server = axum::serve(listener, routes::router(shared)).with_graceful_shutdown(wait(first));
    tokio::select! {
        done = server => done,
        // A client that does not read must not hold the process.
        () = async { wait(second).await; tokio::time::sleep(FINISH_WITHIN).await } => Ok(()),
    }
}

/// Refuses addresses that other machines could reach: the API has no passwords.
pub fn check_loopback(address: SocketAddr) -> Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    Err(Error::new(
        codes::NOT_LOOPBACK,
        format!("`{address}` can be reached from other machines, and the HTTP API asks nobody who they are"),
    )
    .help("use 127.0.0.1 or [::1], as in `127.0.0.1:7070`; `off` switches the API off"))
}

/// Reads the value of `--http`: `None` is `off`.
pub fn parse_address(text: &str) -> Result<Option<SocketAddr>> {
    if text == "off" {
        return Ok(None);
    }
    let numeric = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    let address = numeric.parse().map_err(|cause: std::net::AddrParseError| {
        Error::new(codes::ARGUMENT, format!("`{text}` is not an address"))
            .because(cause)
            .help("say an address with a port, as in `127.0.0.1:7070`, or `off`")
    })?;
    check_loopback(address)?;
    Ok(Some(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_before_anyone_listens_for_it_is_an_end() {
        let (ended, _) = watch::channel(false);
        end(&ended);
        assert!(*ended.subscribe().borrow());
    }

    #[test]
    fn only_this_machine() {
        assert_eq!(parse_address("off").unwrap(), None);
        assert_eq!(parse_address("localhost:80").unwrap().unwrap().to_string(), "127.0.0.1:80");
        assert!(parse_address("[::1]:0").unwrap().is_some());
        assert_eq!(parse_address("0.0.0.0:80").unwrap_err().code(), codes::NOT_LOOPBACK);
        assert_eq!(parse_address("7070").unwrap_err().code(), codes::ARGUMENT);
    }
}
