//! Where a run reads and writes: its directories and its log, opened when first asked for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use millstream_core::Result;

use crate::log::LogStore;

/// The surroundings of a pipeline. Shared by all threads of a run.
pub struct Env {
    base_dir: PathBuf,
    data_dir: PathBuf,
    pipeline: String,
    sync: bool,
    log: Mutex<Option<Arc<LogStore>>>,
    http: OnceLock<SocketAddr>,
}

impl Env {
    /// The surroundings of a pipeline whose file stands in `base_dir`; a relative `data_dir` starts there too.
    /// With `sync`, what is committed survives a loss of power.
    pub fn new(
        base_dir: impl Into<PathBuf>,
        data_dir: impl AsRef<Path>,
        pipeline: impl Into<String>,
        sync: bool,
    ) -> Self {
        let base_dir = base_dir.into();
        let data_dir = base_dir.join(data_dir);
        Self { base_dir, data_dir, pipeline: pipeline.into(), sync, log: Mutex::new(None), http: OnceLock::new() }
    }

    /// The folder that relative paths of the pipeline file start from.
    pub fn base_dir(&self) -> &Path {
        &self.base_dir
    }

    /// The folder of the log, of staged output and of snapshots.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        &self.pipeline
    }

    /// Whether writes must survive a loss of power (`durability: power`).
    pub fn sync(&self) -> bool {
        self.sync
    }

    /// Where the process that runs the pipeline answers, if it does: others are told.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http.get().copied()
    }

    /// Says where this process answers. Only the first one counts.
    pub fn set_http(&self, address: SocketAddr) {
        self.http.get_or_init(|| address);
    }

    /// A path of the pipeline file, as this process can open it.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.base_dir.join(path)
    }

    /// The log, opened (and created) at the first call.
    ///
    /// # Errors
    /// The log is in use by another process, damaged, or can't be created.
    pub fn log(&self) -> Result<Arc<LogStore>> {
        let mut slot = self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(log) = &*slot {
            return Ok(log.clone());
        }
        let log = Arc::new(LogStore::open(&self.data_dir)?);
        *slot = Some(log.clone());
        Ok(log)
    }
}
