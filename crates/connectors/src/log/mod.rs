//! The embedded partitioned log: topics of dense offsets, and the commits of pipelines, in one fjall database
//! under `<data_dir>/log`.
//!
//! Owns every byte in that folder. One process has it at a time; in that process any thread may read, append
//! and commit at once: writes take one lock, reads none. It starts two threads of the store's own (flushing and
//! compaction), which end when the last handle is dropped; retention runs when [`LogStore::maintain`] is called.

mod blob;
mod head;
mod keys;
mod lock;
mod read;
mod retention;
mod sink;
mod source;
mod store;
mod topic;
mod txn;

pub use blob::RECORD_BYTES_MAX;
pub use read::PartitionReader;
pub(crate) use sink::LogSinkConnector;
pub(crate) use source::LogSourceConnector;
pub use store::{Appended, LogStore, NewRecord};
pub use topic::{PartitionInfo, Retention, TopicInfo, TopicOptions};
