//! What a source is: a reader of one partition.

use crate::error::Result;
use crate::position::Position;
use crate::record::RawBatch;

/// How much one poll may bring.
#[derive(Clone, Copy, Debug)]
pub struct PollLimit {
    /// Records at most; at least 1.
    pub records: usize,
    /// Stop after the record that reaches this many bytes.
    pub bytes: usize,
}

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// At least one record was added.
    Records,
    /// Nothing now: the reader is caught up with the input's end, and more may come.
    CaughtUp,
    /// Nothing, and nothing will come: a bounded input has ended.
    End,
}

/// Reads one partition in order. Owned by one worker thread; never blocks for more than a few milliseconds.
pub trait Source: Send {
    /// Appends records from the reader's place to `out`, up to `limit`, and moves past them.
    ///
    /// # Errors
    /// The input can't be read; the message says which and what to do. Records are never skipped.
    fn poll(&mut self, limit: PollLimit, out: &mut RawBatch) -> Result<Polled>;

    /// Where the next poll starts.
    fn position(&self) -> Position;

    /// Goes to a position this source returned earlier, perhaps in another process.
    ///
    /// # Errors
    /// The input no longer reaches back to that position, or is not the same input.
    fn seek(&mut self, position: &Position) -> Result<()>;

    /// How many records lie ahead, where that is known.
    fn lag(&self) -> Option<u64>;

    /// How much of a bounded input has been read, 0.0 to 1.0, where that is known.
    fn fraction_read(&self) -> Option<f64> {
        None
    }
}
