//! The lock on a data directory's log: one process has it, and says who it is.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use millstream_core::{Error, Result};

use crate::codes::{LOG_LOCKED, LOG_UNOPENABLE};

/// How often the lock is tried: a process that was just killed may need a moment to let go.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(30);

/// Held for as long as the log is open.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join("log.lock");
        let failed =
            |e: std::io::Error| Error::new(LOG_UNOPENABLE, format!("`{}` can't be opened", path.display())).because(e);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        for attempt in 0.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => return Err(failed(e)),
                Err(TryLockError::WouldBlock) if attempt + 1 < TRIES => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(locked(data_dir, &mut file)),
            }
        }
        let noted = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(std::process::id().to_string().as_bytes()));
        noted.map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn locked(data_dir: &Path, file: &mut File) -> Error {
    let mut owner = String::new();
    let known = file.read_to_string(&mut owner).is_ok() && owner.parse::<u32>().is_ok();
    let by = if known { format!("process {owner}") } else { "another process".to_owned() };
    Error::new(LOG_LOCKED, format!("the log in `{}` is in use by {by}", data_dir.display())).help(
        "one process at a time has a log: stop the other one, reach its log through its HTTP port (`millstream topic` \
         does), or give this pipeline a `data_dir` of its own",
    )
}
