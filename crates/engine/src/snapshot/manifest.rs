//! Manifests: what a snapshot is of, and which objects make it.

use std::collections::BTreeMap;

use millstream_core::{EventTime, Position, TaskId};
use serde::{Deserialize, Serialize};

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The pipeline's name.
    pub pipeline: String,
    /// The task.
    pub task: TaskId,
    /// The epoch that committed the position.
    pub epoch: u64,
    /// Where a fold goes on from.
    pub position: Position,
    /// How many journal entries are folded in.
    pub journal_len: u64,
    /// The fingerprint of every stateful step.
    pub steps: BTreeMap<String, String>,
    /// The models and tables that served, by journal name.
    pub artifacts: BTreeMap<String, String>,
}

/// An object with a cut in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) name: String,
    /// Of the object.
    pub(crate) bytes: u64,
    /// Of the object: two writers' objects can't be taken for each other.
    pub(crate) crc: u32,
}

/// A snapshot as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) header: Header,
    /// All of the state first, then changes in order.
    pub(crate) chain: Vec<Link>,
    pub(crate) watermark: EventTime,
    /// By the clock of the machine that wrote it: for people, nothing depends on it.
    pub(crate) created_ms: u64,
}

impl Manifest {
    pub(crate) fn bytes(&self) -> u64 {
        self.chain.iter().map(|link| link.bytes).sum()
    }
}

/// What the name of an object says. Names sort by position, newest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Named {
    pub(crate) offset: u64,
    pub(crate) epoch: u64,
    pub(crate) manifest: bool,
}

pub(crate) const MANIFEST: &str = "manifest";
pub(crate) const FULL: &str = "full";
pub(crate) const CHANGES: &str = "changes";

/// The name of an object. Two writers, even at one position, never use the same.
pub(crate) fn name(header: &Header, writer: &str, extension: &str) -> String {
    format!("{:020}-{:012}-{writer}.{extension}", header.position.offset, header.epoch)
}

/// Reads a name; `None` is somebody else's file. A file that was half written counts as a cut of its position.
pub(crate) fn parse(name: &str) -> Option<Named> {
    let (stem, extension) = name.split_once('.')?;
    let mut parts = stem.split('-');
    let (offset, epoch) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let known = extension.split('.').next().is_some_and(|e| [MANIFEST, FULL, CHANGES].contains(&e));
    (known && parts.next().is_some()).then_some(Named { offset, epoch, manifest: extension == MANIFEST })
}
