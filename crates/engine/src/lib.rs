//! Plans, wires and drives pipelines. Knows no vendor and no SQL: connectors, features and models come
//! through the traits of `millstream-core`.
//!
//! Three phases, never mixed: [`load`] is pure (it reads the pipeline file, and the models and tables it
//! names, and changes nothing), [`Plan`] can be explained and asked about its state, [`run`] connects and spawns.

pub mod artifacts;
pub mod changes;
pub mod clock;
pub mod codes;
mod committer;
pub mod explain;
mod fold;
pub mod live;
mod load;
mod messages;
mod owned;
mod plan;
mod predict;
mod recovery;
mod route;
mod run;
mod snapshot;
mod starter;
pub mod status;
pub mod task;
mod worker;

pub use changes::{StateChange, StateReport};
pub use live::{Live, Phase, StageLatency, Summary, TaskStatus};
pub use load::{LoadOptions, Loaded, Overrides, load};
pub use millstream_features::panic_is_caught;
pub use plan::Plan;
pub use recovery::WayOut;
pub use run::{Around, Lanes, RunOptions, prepare, run};
pub use snapshot::{Snapshot, SnapshotStore};
pub use starter::Starter;
pub use worker::Step as WorkerStep;
