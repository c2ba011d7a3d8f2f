//! A real Apache Kafka for tests: brokers from Maven Central's jars, on free ports, gone when the test is.
//!
//! ```no_run
//! use millstream_testkit::kafka::{Cluster, Isolation, Record, Transaction};
//!
//! let kafka = Cluster::shared().unwrap();
//! let topic = kafka.fresh_name("payments");
//! kafka.create_topic(&topic, 3, &[]).unwrap();
//! kafka.produce(&topic, &[Record::text("card-1", "{}")], Transaction::None).unwrap();
//! assert_eq!(kafka.consume(&topic, Isolation::ReadCommitted).unwrap().len(), 1);
//! ```
//!
//! [`Cluster::shared`] is one broker for all tests of a binary: use it with names of your own. [`Cluster::start`] is
//! for a test that stops, kills or pauses brokers, wants three of them, or [`ClusterOptions`]: security, a proxy that
//! cuts the network. What was written is read by clients that were not written here: [`Cluster::consume`] is
//! confluent-kafka, [`Cluster::console_consume`] Kafka's own console consumer.
//!
//! The first use on a machine needs `java` 17 or newer, `mvn`, `python3` with venv and the network; it downloads 50 MB
//! and takes half a minute. All of that stays in `~/.cache/millstream` (or `MILLSTREAM_CACHE`). What is missing fails
//! the test with what to install.
//!
//! Nothing is left behind: every broker runs under a shell that kills it when the test process has ended, in whatever
//! way, and a second one removes the folder with its data. No thread of the tests is involved.
//!
//! What it costs, measured on two cores that others kept busy: a broker is there in 1.7 s on a quiet machine and in 2.5
//! to 4 s on a busy one, with 1.3 s of CPU and 150 MB (175 MB after 200,000 records); three of them in 8 s, with 4.5 s
//! of CPU. Stopping takes 0.7 s. A call of the Python client costs 0.2 s, 200,000 records of 200 bytes written in
//! 4 s and read in 6; the console consumer some seconds.
//!
//! Failures are [`Failure`]s whose `unwrap` shows the end of the brokers' logs.

mod client;
mod cluster;
mod config;
mod console;
mod failure;
mod home;
mod process;
mod proxy;
mod record;
mod tls;
mod venv;

pub use client::{Committed, Isolation, Member, PartitionInfo, Transaction};
pub use cluster::{Cluster, ClusterOptions};
pub use config::Listener;
pub use console::Printed;
pub use failure::{Failure, Result};
pub use proxy::Proxy;
pub use record::Record;
pub use tls::Certificates;

use std::path::{Path, PathBuf};

/// The user that listeners with SASL know, for every mechanism.
pub const USER: &str = "alice";
/// The password of [`USER`].
pub const PASSWORD: &str = "wonderland-4711";

/// A file of `tests/kafka`.
fn source(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root).join("tests/kafka").join(name)
}
