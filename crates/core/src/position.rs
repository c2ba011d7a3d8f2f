//! Tasks, leases and positions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A task: the unit of order, state and time. It is one partition of the pipeline's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    /// Which topic, for a source that reads several: a checksum of its name. 0 for every other source.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub topic: u32,
    /// The partition.
    pub partition: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(topic: &u32) -> bool {
    *topic == 0
}

impl TaskId {
    /// A partition of a source that reads one topic, file or stream.
    pub const fn new(partition: u32) -> Self {
        Self { topic: 0, partition }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.topic {
            0 => self.partition.fmt(f),
            topic => write!(f, "{topic:08x}-{}", self.partition),
        }
    }
}

/// One uninterrupted ownership of a task by a worker. A task that is lost and comes back, or is rebuilt, comes under a
/// new lease; an epoch is committed only while the lease it was computed under lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease(pub u64);

/// Where a task stands in its input: the offset of the next record it will read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The next offset. Offsets rise within a partition; they need not be dense.
    pub offset: u64,
    /// What the source needs besides the offset to go on from here (a file's name and byte, say). Opaque to
    /// everyone else; empty where the offset says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cursor: String,
}
