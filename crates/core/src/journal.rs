//! The journal: every outside influence on a task, written down in order.
//!
//! `state(task, n) = fold(events[0..n], journal[0..n])`: whoever folds the same events and the same journal
//! gets the same state and the same outputs.

use serde::{Deserialize, Serialize};

use crate::time::EventTime;

/// One outside influence. `at` is the offset of the first event it applies to: an entry takes effect after
/// all events before `at` and before event `at`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JournalEntry {
    /// The watermark moved for a reason other than an event.
    Advance {
        /// Where in the input.
        at: u64,
        /// The new watermark, ns.
        watermark: EventTime,
        /// Why.
        cause: AdvanceCause,
    },
    /// The task began here. Its first epoch writes it, so that a lost commit is never taken for a task that never began.
    Begin {
        /// The first record of the input that the task reads.
        at: u64,
    },
    /// A model or table with these bytes serves from here on.
    Artifact {
        /// Where in the input.
        at: u64,
        /// `model <name>` or `table <name>`.
        name: String,
        /// SHA-256 of its bytes, hex.
        digest: String,
    },
}

/// Why a watermark moved without an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdvanceCause {
    /// A bounded input came to its end.
    End,
    /// The input was read to its end and stayed silent for `idle_after`.
    Idle,
}

impl JournalEntry {
    /// The offset of the first event the entry applies to.
    pub fn at(&self) -> u64 {
        match self {
            Self::Begin { at } | Self::Advance { at, .. } | Self::Artifact { at, .. } => *at,
        }
    }
}
