//! Who this process is to Kafka: an identity that a restarted process takes up again, so that what it left unfinished is
//! ended at once instead of when it times out.
//!
//! `<data_dir>/instances/<n>` holds an identity; whoever has the file's lock has the identity. Several processes that run
//! from one folder take one each, the first that is free.

use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use millstream_core::{Error, Result};

use crate::codes::KAFKA_INSTANCE;

/// Processes that may run from one folder.
const SLOTS_MAX: u32 = 1024;
/// Characters of an identity.
const ID_LENGTH: usize = 32;

/// An identity, held until it is dropped.
pub(super) struct Instance {
    pub(super) id: String,
    /// The place in the folder.
    pub(super) slot: u32,
    _lock: Option<File>,
}

impl Instance {
    /// Of somebody who looks and writes nothing.
    pub(super) fn nobody() -> Self {
        Self { id: "nobody".to_owned(), slot: 0, _lock: None }
    }

    /// Takes the first identity that is free.
    pub(super) fn take(data_dir: &Path) -> Result<Self> {
        let folder = data_dir.join("instances");
        let failed = |path: &Path, e: std::io::Error| {
            Error::new(KAFKA_INSTANCE, format!("`{}` can't be written", path.display()))
                .help("give the pipeline a `data_dir` that this user can write to")
                .because(e)
        };
        std::fs::create_dir_all(&folder).map_err(|e| failed(&folder, e))?;
        for slot in 0..SLOTS_MAX {
            let path = folder.join(slot.to_string());
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = opened.map_err(|e| failed(&path, e))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(e)) => return Err(failed(&path, e)),
            }
            let id = match read(&mut file).map_err(|e| failed(&path, e))? {
                Some(id) => id,
                None => write(&mut file).map_err(|e| failed(&path, e))?,
            };
            return Ok(Self { id, slot, _lock: Some(file) });
        }
        Err(Error::new(KAFKA_INSTANCE, format!("{SLOTS_MAX} processes run from `{}` already", data_dir.display()))
            .help("give this one a `data_dir` of its own"))
    }
}

fn read(file: &mut File) -> std::io::Result<Option<String>> {
    let mut text = String::new();
    // An identity that is not text, or cut short, is as good as none.
    if file.read_to_string(&mut text).is_err() {
        return Ok(None);
    }
    let id = text.trim();
    let good = id.len() == ID_LENGTH && id.bytes().all(|b| b.is_ascii_hexdigit());
    Ok(good.then(|| id.to_owned()))
}

fn write(file: &mut File) -> std::io::Result<String> {
    let id = format!("{:016x}{:016x}", random(), random());
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{id}\n").as_bytes())?;
    file.sync_all()?;
    Ok(id)
}

/// A number that no other process will come up with. Never part of a result.
pub(super) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_in_one_folder_differ_and_a_restarted_one_is_who_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let first = Instance::take(dir.path()).unwrap();
        let second = Instance::take(dir.path()).unwrap();
        assert_eq!((first.slot, second.slot), (0, 1));
        assert_ne!(first.id, second.id);
        let id = first.id.clone();
        drop(first);
        let again = Instance::take(dir.path()).unwrap();
        assert_eq!((again.slot, &again.id), (0, &id));
        drop(again);
        std::fs::write(dir.path().join("instances/0"), "cut sho").unwrap();
        assert_ne!(Instance::take(dir.path()).unwrap().id, id);
    }
}
