//! Snapshots: a cache of tasks' states at committed positions, in the pipeline's `state:` location.
//!
//! Below the location, `<pipeline>/<task>/` holds *cuts* (all of a state, or what changed since the cut before) and
//! *manifests*. A manifest names the chain of cuts that makes a snapshot, and is written last: what no manifest names does
//! not exist. All is checksummed; what does not check out is never used and never fatal: recovery takes an older
//! snapshot, or folds from the start. When the changes of a chain outgrow its first cut, the chain is merged into a new
//! first cut here, so that a worker never stops to write all of a large state.
//!
//! Two processes may write for one task at once (one of them cut off, and not yet aware of it). Both write only what was
//! committed, under names that differ, and a manifest names the cuts of its own chain, so neither can spoil the other's.
//! Used by the thread that writes snapshots and by those that start tasks; owns no thread itself.

mod cut;
mod frame;
mod manifest;
pub(crate) mod merge;
mod place;
mod store;
#[cfg(test)]
mod tests;

pub use cut::StateCut;
pub(crate) use cut::{Base, Cutter};
pub use manifest::Header;
pub use store::SnapshotStore;

use std::time::Duration;

use manifest::Link;
use millstream_core::EventTime;

/// A snapshot on its way to the store: the state at a position that is committed.
#[derive(Debug)]
pub struct Snapshot {
    /// What it is of.
    pub header: Header,
    /// The state, or what changed in it.
    pub state: StateCut,
}

/// A snapshot that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it is of.
    pub header: Header,
    /// All of the state, then changes in order.
    pub cuts: Vec<Vec<u8>>,
    /// The chain, to go on with.
    chain: Vec<Link>,
}

impl Loaded {
    /// What changes to this state go on top of.
    pub(crate) fn base(&self) -> Base {
        Base(self.chain.clone())
    }
}

/// What is known of a snapshot without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Where a fold goes on from.
    pub offset: u64,
    /// The epoch that committed it.
    pub epoch: u64,
    /// Since it was written, by the clocks of the machines.
    pub age: Duration,
    /// Of all its objects.
    pub bytes: u64,
    /// The task's watermark there.
    pub watermark: EventTime,
}
