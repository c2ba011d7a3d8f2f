//! What an output is: an encoder on the worker's side, a sink on the committer's side.
//!
//! An epoch's outputs stay in memory, as [`Chunk`]s, until the epoch commits. Then each sink *stages* its
//! chunk (durable but invisible, or inside the transaction), the transaction commits the receipts together
//! with positions and journal, and each sink *publishes* what it staged. After a crash [`Sink::recover`] rolls
//! forward what the last commit named and throws away what it did not.

use serde::{Deserialize, Serialize};

use crate::commit::Txn;
use crate::dead_letter::DeadLetter;
use crate::error::Result;
use crate::position::TaskId;
use crate::record::Header;
use crate::rows::Rows;

/// Place of one record inside a [`Chunk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedRecord {
    /// Key bytes in `Chunk::data`, as (start, length); `None` for no key.
    pub key: Option<(u32, u32)>,
    /// Value bytes in `Chunk::data`; `None` for a tombstone.
    pub value: Option<(u32, u32)>,
    /// Milliseconds since the epoch, or [`NO_TIMESTAMP`](crate::record::NO_TIMESTAMP).
    pub timestamp_ms: i64,
    /// The partition of the input the record was made from.
    pub partition: u32,
    /// Headers; dead letters carry their origin and reason here.
    pub headers: Vec<Header>,
}

/// What one task hands to one output in one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The encoded bytes. For a file: exactly what is appended to it.
    pub data: Vec<u8>,
    /// Where each record stands in `data`; left empty by sinks that need no boundaries.
    pub records: Vec<EncodedRecord>,
    /// How many rows it holds.
    pub rows: u64,
}

/// Turns rows into the bytes of one output. Lives on the worker's thread, one for each task and output.
pub trait Encoder: Send {
    /// Appends rows.
    ///
    /// # Errors
    /// A value that the format can't hold. Rows of a bad batch are not written.
    fn write(&mut self, rows: &Rows, chunk: &mut Chunk) -> Result<()>;

    /// Appends a dead letter, with its original bytes, key, headers, origin, step, code and message.
    ///
    /// # Errors
    /// As for [`Encoder::write`].
    fn write_dead_letter(&mut self, letter: &DeadLetter, chunk: &mut Chunk) -> Result<()>;
}

/// What a sink needs to find again what a commit named (a file's name and length, say); JSON text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt(pub String);

/// The committer's side of an output.
pub trait Sink: Send {
    /// Brings a task's part of the output to exactly what its last commit says; called before anything of the task is
    /// staged, each time this process comes to own it. `committed` is `None` if no commit knows of this output.
    ///
    /// # Errors
    /// The output was changed by someone else, or can't be reached.
    fn recover(&mut self, task: TaskId, committed: Option<&Receipt>) -> Result<()>;

    /// Makes a chunk ready: durable but invisible, or part of the transaction. The receipt is committed with it.
    ///
    /// # Errors
    /// Nothing of the chunk is visible then.
    fn stage(&mut self, task: TaskId, chunk: Chunk, txn: &mut dyn Txn) -> Result<Receipt>;

    /// Makes visible what was staged; called after the commit is known. What was staged for the tasks in `lost` was
    /// not committed and is thrown away. Does nothing for sinks inside the transaction.
    ///
    /// # Errors
    /// The epoch is committed all the same; the next `recover` finishes the publication.
    fn publish(&mut self, lost: &[TaskId]) -> Result<()>;

    /// The task goes to another owner: finishes its part of the output as far as it is committed, and lets go of it.
    /// What is staged and not committed is thrown away.
    ///
    /// # Errors
    /// What was committed stays committed.
    fn release(&mut self, _task: TaskId) -> Result<()> {
        Ok(())
    }

    /// Called once when the run ends well, after the last publish: finish part files and the like.
    ///
    /// # Errors
    /// What was committed stays committed.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
