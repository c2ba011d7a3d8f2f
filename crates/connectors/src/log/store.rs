//! The store itself: opening, appending, waiting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use millstream_core::murmur::partition_for;
use millstream_core::record::Header;
use millstream_core::{Error, Result};

use super::blob::{BlobWriter, RECORD_BYTES_MAX};
use super::head::Head;
use super::keys;
use super::lock::Lock;
use super::topic::Topic;
use super::txn::LogTxn;
use crate::codes::{LOG_DAMAGED, LOG_LOCKED, LOG_READ, LOG_UNOPENABLE, LOG_WRITE, RECORD_TOO_LONG};

/// Decompressed blocks kept for readers.
const CACHE_BYTES: u64 = 16 << 20;
/// What is written before it is flushed into a table; up to four of these stand in memory when writes are fast.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Journals on disk: what has to be read again when the log is opened.
const JOURNAL_BYTES: u64 = 64 << 20;
const OPEN_FILES: usize = 200;

/// The embedded log of one data directory. Shared between threads.
pub struct LogStore {
    pub(super) topics: RwLock<BTreeMap<String, Arc<Topic>>>,
    writer: Mutex<Writer>,
    /// Held while records are removed, so that only one thread moves the starts of partitions.
    pub(super) maintenance: Mutex<()>,
    /// Counts appends; waiters sleep on it.
    appends: Mutex<u64>,
    appended: Condvar,
    dir: PathBuf,
    rows: Keyspace,
    db: Database,
    // Last, so that it is let go after the database is closed.
    _lock: Lock,
}

/// What only the thread that writes may touch.
pub(super) struct Writer {
    sequence: u64,
    head: Head,
    pub(super) next_topic: u32,
    failed: bool,
}

/// A record to append.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since the epoch, or [`NO_TIMESTAMP`](millstream_core::record::NO_TIMESTAMP).
    pub timestamp_ms: i64,
    /// Headers.
    pub headers: &'a [Header],
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Appended {
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
}

/// The wall clock, for the time of appending and of creation; never part of a record.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn read_failed(e: fjall::Error) -> Error {
    Error::new(LOG_READ, "the log can't be read").because(e)
}

impl LogStore {
    /// Opens the log under `data_dir`, and creates it if there is none. Runs retention once.
    ///
    /// # Errors
    /// Another process has it, it can't be created, or it is damaged or has lost commits.
    pub fn open(data_dir: &Path) -> Result<Self> {
        let dir = data_dir.join("log");
        std::fs::create_dir_all(data_dir).map_err(|e| {
            Error::new(LOG_UNOPENABLE, format!("the data directory `{}` can't be created", data_dir.display()))
                .help("choose another `data_dir`, or give this user the right to write there")
                .because(e)
        })?;
        let lock = Lock::take(data_dir)?;
        clear_unfinished(&dir)?;
        let db = open_database(&dir)?;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        };
        let rows = db.keyspace("log", options).map_err(|e| open_failed(&dir, e))?;
        let number = |key: &[u8]| -> Result<u64> {
            let Some(sealed) = rows.get(key).map_err(read_failed)? else { return Ok(0) };
            let value = keys::unseal(key, &sealed, "a counter of the log")?;
            Ok(value.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
        };
        let sequence = number(keys::SEQUENCE)?;
        let next_topic = number(keys::NEXT_TOPIC)? as u32;
        let head = Head::open(&dir, sequence)?;
        let store = Self {
            topics: RwLock::default(),
            writer: Mutex::new(Writer { sequence, head, next_topic, failed: false }),
            maintenance: Mutex::new(()),
            appends: Mutex::new(0),
            appended: Condvar::new(),
            dir,
            rows,
            db,
            _lock: lock,
        };
        let topics = store.load_topics()?;
        *store.topics.write().unwrap_or_else(PoisonError::into_inner) = topics;
        store.check_ends()?;
        store.maintain()?;
        Ok(store)
    }

    pub(super) fn rows(&self) -> &Keyspace {
        &self.rows
    }

    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.db.batch()
    }

    /// The one lock that writes take.
    pub(super) fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.failed {
            return Err(Error::new(LOG_WRITE, "the log takes no more writes: an earlier one failed")
                .help("stop this process and start it again; what was acknowledged is kept"));
        }
        Ok(writer)
    }

    /// Commits a batch as the next in sequence. With `sync` it is on the disk when this returns.
    pub(super) fn apply(&self, writer: &mut Writer, mut batch: OwnedWriteBatch, sync: bool) -> Result<()> {
        let sequence = writer.sequence + 1;
        batch.insert(&self.rows, keys::SEQUENCE, keys::seal(keys::SEQUENCE, &sequence.to_le_bytes()));
        let mode = if sync { PersistMode::SyncAll } else { PersistMode::Buffer };
        if let Err(e) = batch.durability(Some(mode)).commit() {
            // The store can't say whether the batch reached the file, so nothing may follow it.
            writer.failed = true;
            return Err(Error::new(
                LOG_WRITE,
                format!("a write to the log in `{}` failed, and its outcome is unknown", self.dir.display()),
            )
            .help("look for a full or failing disk, then start again; what was acknowledged is kept")
            .because(e));
        }
        writer.sequence = sequence;
        writer.head.store(sequence, sync).inspect_err(|_| writer.failed = true)
    }

    /// Wakes those who wait for records.
    pub(super) fn notify(&self) {
        *self.appends.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.appended.notify_all();
    }

    /// Appends records to a topic in one atomic write, and says where each went. A record goes to `partition`
    /// if one is given; else to the partition of its key, as Kafka's default partitioner places it; without a
    /// key, to partition 0. With `sync` the records survive a loss of power when this returns; without it, a
    /// crash of the process.
    ///
    /// # Errors
    /// The topic or partition does not exist, a record is too large, or the log can't be written.
    pub fn append(
        &self,
        topic: &str,
        partition: Option<u32>,
        records: &[NewRecord<'_>],
        sync: bool,
    ) -> Result<Vec<Appended>> {
        let count = self.topic(topic)?.partitions.len() as u32;
        let mut writers: BTreeMap<u32, BlobWriter> = BTreeMap::new();
        let mut placed = Vec::with_capacity(records.len());
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        let now = now_ms();
        for record in records {
            check_size(topic, record.key, record.value, record.headers)?;
            let partition = partition.unwrap_or_else(|| record.key.map_or(0, |key| partition_for(key, count)));
            let nth = counts.entry(partition).or_default();
            placed.push(Appended { partition, offset: *nth });
            *nth += 1;
            let writer = writers.entry(partition).or_insert_with(|| BlobWriter::new(now));
            writer.push(record.key, record.value, record.timestamp_ms, record.headers);
        }
        let mut txn = LogTxn::new(self);
        for (partition, writer) in writers {
            txn.add(topic, partition, writer.finish())?;
        }
        let bases = txn.commit_all(sync)?;
        for (place, base) in placed.iter_mut().map(|p| (bases.get(&p.partition).copied(), p)).map(|(b, p)| (p, b)) {
            place.offset += base.unwrap_or_default();
        }
        Ok(placed)
    }

    /// Waits until the partition holds a record at `offset` or after it, or `timeout` is over. True if it does.
    ///
    /// # Errors
    /// The topic or partition does not exist, or is deleted meanwhile.
    pub fn wait(&self, topic: &str, partition: u32, offset: u64, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        let topic = self.topic(topic)?;
        let mut seen = self.appends.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if topic.bounds(partition)?.info().end > offset {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            seen = self.appended.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

pub(super) fn check_size(topic: &str, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> Result<()> {
    let size = key.map_or(0, <[u8]>::len)
        + value.map_or(0, <[u8]>::len)
        + headers.iter().map(|h| h.name.len() + h.value.len()).sum::<usize>();
    if size > RECORD_BYTES_MAX {
        return Err(Error::new(
            RECORD_TOO_LONG,
            format!("a record for topic `{topic}` has {size} bytes, but the log takes at most {RECORD_BYTES_MAX}"),
        )
        .help("keep large payloads elsewhere and put a reference to them in the record"));
    }
    Ok(())
}

/// A database whose creation was cut short can't be opened and holds nothing.
fn clear_unfinished(dir: &Path) -> Result<()> {
    if !dir.exists() || dir.join("version").exists() {
        return Ok(());
    }
    let empty_store = std::fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().all(|e| matches!(e.file_name().to_str(), Some("0.jnl" | "keyspaces" | "lock" | "committed")))
    });
    if !empty_store || dir.join("keyspaces").read_dir().is_ok_and(|mut k| k.next().is_some()) {
        return Err(Error::new(LOG_UNOPENABLE, format!("`{}` is not a log: it holds other files", dir.display()))
            .help("choose another `data_dir`, or move these files away"));
    }
    std::fs::remove_dir_all(dir).map_err(|e| {
        Error::new(LOG_UNOPENABLE, format!("the unfinished log in `{}` can't be removed", dir.display())).because(e)
    })
}

fn open_database(dir: &Path) -> Result<Database> {
    let open = || {
        Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .journal_compression(CompressionType::None)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(OPEN_FILES))
            .worker_threads(2)
            .open()
    };
    // The store asserts what it reads from its journal: a damaged length is a panic there.
    match std::panic::catch_unwind(open) {
        Ok(opened) => opened.map_err(|e| open_failed(dir, e)),
        Err(_) => Err(damaged(dir)),
    }
}

fn damaged(dir: &Path) -> Error {
    Error::new(LOG_DAMAGED, format!("the log in `{}` is damaged", dir.display()))
        .help("restore the data directory from a backup, or delete it to begin anew")
}

fn open_failed(dir: &Path, e: fjall::Error) -> Error {
    let place = dir.display();
    match e {
        fjall::Error::Locked => Error::new(LOG_LOCKED, format!("the log in `{place}` is in use by another process"))
            .help("stop the other process, or give this pipeline a `data_dir` of its own"),
        fjall::Error::Io(e) => Error::new(LOG_UNOPENABLE, format!("the log in `{place}` can't be opened"))
            .help("look at the rights of the folder and the space on the disk")
            .because(e),
        e => damaged(dir).because(e),
    }
}
