//! A TCP proxy that a test can cut, freeze, delay and heal.
//!
//! One thread accepts; each connection has a thread to open it and, for each direction, one that reads and one that
//! writes. All end with the connection, and connections with the proxy. Between reading and writing at most
//! [`CHUNKS_MAX`] chunks wait, then the sender is held back as by a slow network.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use super::failure::{Doing, Failure, Result};

const CHUNK_BYTES: usize = 64 * 1024;
const CHUNKS_MAX: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    /// Nothing passes, nothing is closed: a cable pulled out.
    Frozen,
    /// All connections were closed, and new ones are closed at once: a machine that is down.
    Cut,
    /// The proxy is gone.
    Ended,
}

struct State {
    mode: Mode,
    delay: Duration,
    connections: Vec<TcpStream>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, mode: Mode) {
        let mut state = self.state();
        state.mode = mode;
        if matches!(mode, Mode::Cut | Mode::Ended) {
            for connection in state.connections.drain(..) {
                drop(connection.shutdown(Shutdown::Both));
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits while frozen; false if the connection is to end.
    fn pass(&self) -> bool {
        let state = self.changed.wait_while(self.state(), |state| state.mode == Mode::Frozen);
        state.unwrap_or_else(PoisonError::into_inner).mode == Mode::Open
    }

    /// Puts a connection among those that are closed by a cut; false if it came too late.
    fn add(&self, streams: [&TcpStream; 2]) -> bool {
        let mut state = self.state();
        if matches!(state.mode, Mode::Cut | Mode::Ended) {
            return false;
        }
        state.connections.retain(|stream| stream.peer_addr().is_ok());
        state.connections.extend(streams.into_iter().filter_map(|stream| stream.try_clone().ok()));
        true
    }
}

/// Between clients and a broker, which tells clients the proxy's port as its own.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    pub(super) fn new(to: Option<u16>) -> Result<Self> {
        let to = to.ok_or_else(|| Failure::new("no port for a proxy"))?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).doing("no port for a proxy")?;
        let port = listener.local_addr().doing("no port for a proxy")?.port();
        let state = State { mode: Mode::Open, delay: Duration::ZERO, connections: Vec::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = shared.clone();
        spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.state().mode == Mode::Ended {
                    return;
                }
                let shared = accepting.clone();
                spawn(move || connect(&shared, client, to));
            }
        });
        Ok(Self { port, shared })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes all connections, and new ones as soon as they are made, until [`Self::heal`].
    pub fn cut(&self) {
        self.shared.set(Mode::Cut);
    }

    /// Lets nothing through in either direction, without closing anything, until [`Self::heal`].
    pub fn freeze(&self) {
        self.shared.set(Mode::Frozen);
    }

    /// Lets everything through again, what a frozen connection was sent meanwhile included.
    pub fn heal(&self) {
        self.shared.set(Mode::Open);
    }

    /// From now on everything arrives that much later, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.shared.state().delay = delay;
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        let mut state = self.shared.state();
        state.connections.retain(|stream| stream.peer_addr().is_ok());
        state.connections.len() / 2
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.set(Mode::Ended);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream, to: u16) {
    if !shared.pass() {
        return;
    }
    let Ok(broker) = TcpStream::connect(("127.0.0.1", to)) else { return };
    drop((client.set_nodelay(true), broker.set_nodelay(true)));
    let (Ok(from_client), Ok(from_broker)) = (client.try_clone(), broker.try_clone()) else { return };
    if !shared.add([&client, &broker]) {
        return;
    }
    for (from, to) in [(from_client, broker), (from_broker, client)] {
        let (send, receive) = sync_channel(CHUNKS_MAX);
        let (reader, writer) = (shared.clone(), shared.clone());
        spawn(move || read(&reader, from, &send));
        spawn(move || write(&writer, &receive, to));
    }
}

fn read(shared: &Shared, mut from: TcpStream, send: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let due = Instant::now() + shared.state().delay;
        if send.send((due, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
    drop(from.shutdown(Shutdown::Read));
}

fn write(shared: &Shared, receive: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    while let Ok((due, bytes)) = receive.recv() {
        sleep(due.saturating_duration_since(Instant::now()));
        if !shared.pass() || to.write_all(&bytes).is_err() {
            break;
        }
    }
    // Also what was closed passes only when the network does.
    shared.pass();
    drop(to.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets.
    fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        spawn(move || {
            for stream in listener.incoming().flatten() {
                spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
        port
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    fn round_trip(stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(b"hello")?;
        stream.read_exact(&mut [0; 5])
    }

    #[test]
    fn it_passes_and_is_cut_and_heals() {
        let proxy = Proxy::new(Some(echo())).unwrap();
        let mut stream = connect(&proxy);
        round_trip(&mut stream).unwrap();
        assert_eq!(proxy.connections(), 1);
        proxy.cut();
        assert!(round_trip(&mut stream).is_err());
        assert!(round_trip(&mut connect(&proxy)).is_err());
        proxy.heal();
        round_trip(&mut connect(&proxy)).unwrap();
    }

    #[test]
    fn a_frozen_connection_goes_on_where_it_was() {
        let proxy = Proxy::new(Some(echo())).unwrap();
        let mut stream = connect(&proxy);
        round_trip(&mut stream).unwrap();
        proxy.freeze();
        stream.write_all(b"later").unwrap();
        let mut new = connect(&proxy);
        new.write_all(b"later").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(stream.read(&mut [0; 5]).is_err(), "nothing passes");
        stream.set_read_timeout(None).unwrap();
        proxy.heal();
        stream.read_exact(&mut [0; 5]).unwrap();
        new.read_exact(&mut [0; 5]).unwrap();
    }

    #[test]
    fn a_delay_is_of_each_direction() {
        let proxy = Proxy::new(Some(echo())).unwrap();
        proxy.delay(Duration::from_millis(30));
        let mut stream = connect(&proxy);
        let before = Instant::now();
        round_trip(&mut stream).unwrap();
        assert!(before.elapsed() >= Duration::from_millis(60));
    }
}
