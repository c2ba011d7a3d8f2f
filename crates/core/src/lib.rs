//! The vocabulary and the pure rules of Millstream.
//!
//! Everything that two crates must agree on stands here: what a record, a row, a position and a watermark
//! are, what a step may do, and what an epoch commits. Nothing in this crate reads a clock, a file, the
//! network or the environment, and nothing in it spawns a thread.
//!
//! The way of an event through these types:
//!
//! ```text
//! Source::poll -> RawBatch -> decode -> Rows -> Step::process ... -> Encoder -> Chunk -> Sink::stage
//!                               \-> DeadLetter                                             \-> Txn::commit
//! ```

pub mod codes;
pub mod commit;
pub mod dead_letter;
pub mod delivery;
pub mod entries;
pub mod error;
pub mod journal;
pub mod model;
pub mod murmur;
pub mod position;
pub mod record;
pub mod rows;
pub mod schema;
pub mod sink;
pub mod source;
pub mod state;
pub mod step;
pub mod time;

pub use commit::{CommitRecord, Store, Txn};
pub use dead_letter::{DeadLetter, Rejection};
pub use delivery::Delivery;
pub use error::{Code, Error, Result};
pub use journal::JournalEntry;
pub use model::{Model, ModelInput, OutputKind, Signature};
pub use position::{Lease, Position, TaskId};
pub use record::{RawBatch, RecordRef};
pub use rows::{Meta, Rows};
pub use schema::{FieldSpec, FieldType, RowSchema};
pub use sink::{Chunk, EncodedRecord, Encoder, Receipt, Sink};
pub use source::{Change, Member, Opener, PollLimit, Polled, Source};
pub use state::{StateReader, StateWriter};
pub use step::{Progress, StateSize, Step, StepOutput};
pub use time::{EventTime, Watermark};
