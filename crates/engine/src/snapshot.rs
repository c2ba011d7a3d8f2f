//! Snapshots: a cache of a task's state at a committed position, on disk.
//!
//! One file each, `<dir>/<task>/<offset>-<epoch>.snapshot`: magic, version, a JSON header, the state, and a
//! CRC-32C over all of it. Written to a temporary name, synced, renamed. A file that does not check out is
//! never used and never fatal: recovery takes an older one, or folds from the start. Written by the
//! snapshot thread, read when a task starts.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use millstream_core::{Error, Position, Result, TaskId};
use serde::{Deserialize, Serialize};

use crate::codes::{SNAPSHOT_READ, SNAPSHOT_WRITE};

const MAGIC: &[u8; 8] = b"MSSNAP\r\n";
/// Raised when the layout of the state of any part changes.
const VERSION: u32 = 1;
const HEAD: usize = 8 + 4 + 4 + 8;

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

/// A snapshot in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is of.
    pub header: Header,
    /// The state, as [`crate::task::Task::snapshot`] wrote it.
    pub state: Vec<u8>,
}

fn encode(snapshot: &Snapshot) -> Result<Vec<u8>> {
    let header = serde_json::to_vec(&snapshot.header)
        .map_err(|e| Error::new(SNAPSHOT_WRITE, "a snapshot's header can't be encoded").because(e))?;
    let mut bytes = Vec::with_capacity(HEAD + header.len() + snapshot.state.len() + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(snapshot.state.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&snapshot.state);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// What is wrong with the bytes of a snapshot, or the snapshot.
fn decode(bytes: &[u8]) -> Result<Snapshot, &'static str> {
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or("it is too short")?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return Err("its checksum is wrong");
    }
    let (magic, rest) = body.split_first_chunk::<8>().ok_or("it is too short")?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or("it is too short")?;
    if magic != MAGIC {
        return Err("it is not a snapshot");
    }
    if u32::from_le_bytes(*version) != VERSION {
        return Err("another version of Millstream wrote it");
    }
    let (header_len, rest) = rest.split_first_chunk::<4>().ok_or("it is too short")?;
    let (state_len, rest) = rest.split_first_chunk::<8>().ok_or("it is too short")?;
    let (header, state) = rest.split_at_checked(u32::from_le_bytes(*header_len) as usize).ok_or("it is too short")?;
    if state.len() as u64 != u64::from_le_bytes(*state_len) {
        return Err("its state has the wrong length");
    }
    let header = serde_json::from_slice(header).map_err(|_| "its header does not parse")?;
    Ok(Snapshot { header, state: state.to_vec() })
}

/// The snapshots of one pipeline.
#[derive(Clone, Debug)]
pub struct SnapshotDir {
    dir: PathBuf,
}

impl SnapshotDir {
    /// The snapshots below a data directory.
    pub fn new(data_dir: &Path, pipeline: &str) -> Self {
        Self { dir: data_dir.join("snapshots").join(pipeline) }
    }

    fn task_dir(&self, task: TaskId) -> PathBuf {
        self.dir.join(task.to_string())
    }

    /// Writes a snapshot durably, then removes all but the newest `keep`.
    ///
    /// # Errors
    /// The disk refuses; no half-written file takes the place of a good one.
    pub fn write(&self, snapshot: &Snapshot, keep: usize) -> Result<()> {
        let dir = self.task_dir(snapshot.header.task);
        let name = format!("{:020}-{:012}.snapshot", snapshot.header.position.offset, snapshot.header.epoch);
        let bytes = encode(snapshot)?;
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&dir)?;
            let temporary = dir.join(format!("{name}.tmp"));
            let mut file = fs::File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, dir.join(&name))?;
            fs::File::open(&dir)?.sync_all()
        };
        write().map_err(|e| {
            Error::new(SNAPSHOT_WRITE, format!("can't write snapshot `{name}` in `{}`", dir.display()))
                .help("free some space or fix the permissions; the pipeline goes on, but a restart will take longer")
                .because(e)
        })?;
        for old in self.list(snapshot.header.task).into_iter().skip(keep) {
            // A file that can't be removed now is removed next time.
            let _ = fs::remove_file(old);
        }
        Ok(())
    }

    /// The files of a task, newest position first.
    fn list(&self, task: TaskId) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.task_dir(task)) else { return Vec::new() };
        let mut files: Vec<_> = entries
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "snapshot"))
            .collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        files
    }

    /// Every readable snapshot of a task, newest first, loaded one at a time; what is wrong with each unreadable one.
    pub fn load(&self, task: TaskId) -> impl Iterator<Item = Result<Snapshot>> + use<> {
        self.list(task).into_iter().map(|path| {
            let unusable = |why: &str| {
                Error::new(SNAPSHOT_READ, format!("snapshot `{}` is not used: {why}", path.display()))
                    .help("nothing is lost: an older snapshot is taken, or the input is folded from the start")
            };
            let bytes = fs::read(&path).map_err(|e| unusable("it can't be read").because(e))?;
            decode(&bytes).map_err(unusable)
        })
    }

    /// Removes snapshots ahead of the committed offset: they hold the state of epochs that never were.
    pub fn remove_ahead(&self, task: TaskId, committed: u64) {
        for path in self.list(task) {
            let offset =
                path.file_name().and_then(|n| n.to_str()).and_then(|n| n.split('-').next()?.parse::<u64>().ok());
            if offset.is_some_and(|o| o > committed) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Removes all snapshots of the pipeline.
    ///
    /// # Errors
    /// A file can't be removed.
    pub fn clear(&self) -> Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::new(SNAPSHOT_WRITE, format!("can't remove `{}`", self.dir.display())).because(e))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(offset: u64) -> Snapshot {
        let header = Header {
            pipeline: "p".into(),
            task: TaskId::new(3),
            epoch: offset / 10,
            position: Position { offset, cursor: String::new() },
            journal_len: 0,
            steps: BTreeMap::new(),
            artifacts: BTreeMap::new(),
        };
        Snapshot { header, state: vec![7; 100] }
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let good = encode(&snapshot(10)).unwrap();
        assert_eq!(decode(&good), Ok(snapshot(10)));
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 0x40;
            assert!(decode(&bad).is_err(), "byte {i}");
            assert!(decode(&good[..i]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn the_newest_are_kept_and_torn_ones_skipped() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = SnapshotDir::new(tmp.path(), "p");
        for offset in [10, 20, 30] {
            dir.write(&snapshot(offset), 2).unwrap();
        }
        let files = dir.list(TaskId::new(3));
        assert_eq!(files.len(), 2);
        fs::write(&files[0], b"torn").unwrap();
        let loaded: Vec<_> = dir.load(TaskId::new(3)).collect();
        assert!(loaded[0].is_err());
        assert_eq!(loaded[1].as_ref().unwrap().header.position.offset, 20);
        dir.remove_ahead(TaskId::new(3), 15);
        assert_eq!(dir.load(TaskId::new(3)).count(), 0);
    }
}
