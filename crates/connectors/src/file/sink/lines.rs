//! NDJSON and CSV files, exactly once.
//!
//! A chunk is first written to a staging file in the data directory; the commit then names it (file, place,
//! checksum); only after the commit is it appended to the visible file. So a reader never sees a row that is not
//! committed, and what a crash cut short is completed from the staging file.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_core::{Chunk, Receipt, Result, Sink, TaskId, Txn};
use serde::{Deserialize, Serialize};

use super::disk;
use super::naming::{staged_path, task_path};
use super::tasks::{PerTask, not_recovered};
use crate::env::Env;

/// What a commit says of a file: the place of the last bytes that were added to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinesReceipt {
    /// The file, as the pipeline file names it.
    pub(super) file: String,
    from: u64,
    to: u64,
    /// Of the bytes between.
    crc: u32,
}

/// The files of one output, one a task.
pub(crate) struct LinesSink {
    outputs: PerTask<Output>,
    sync: bool,
}

struct Output {
    /// As the pipeline file names it.
    name: String,
    path: PathBuf,
    staged_path: PathBuf,
    /// What a new file begins with.
    header: Vec<u8>,
    files: Option<Files>,
    /// What the visible file holds.
    committed: LinesReceipt,
    /// What is staged after that.
    pending: Option<(LinesReceipt, Vec<u8>)>,
}

struct Files {
    visible: File,
    staged: File,
}

impl LinesSink {
    /// Opens nothing yet: that is done by `recover`.
    pub(crate) fn new(env: &Arc<Env>, path: &str, tasks: Option<u32>, header: Option<Vec<u8>>) -> Self {
        let (env, path, sync) = (env.clone(), path.to_owned(), env.sync());
        let make = move |task| {
            let name = task_path(&path, task, tasks);
            Output {
                path: env.resolve(&name),
                staged_path: staged_path(&env, &name, ".rows"),
                header: header.clone().unwrap_or_default(),
                files: None,
                committed: LinesReceipt { file: name.clone(), from: 0, to: 0, crc: 0 },
                pending: None,
                name,
            }
        };
        Self { outputs: PerTask::new(tasks, make), sync }
    }
}

/// Removes the file that a receipt names, and what is staged for it.
pub(super) fn discard(env: &Env, receipt: &LinesReceipt) -> Result<()> {
    disk::remove(&env.resolve(&receipt.file))?;
    disk::remove(&staged_path(env, &receipt.file, ".rows"))
}

impl Sink for LinesSink {
    fn recover(&mut self, task: TaskId, committed: Option<&Receipt>) -> Result<()> {
        let mut output = self.outputs.make(task)?;
        match committed {
            Some(receipt) => {
                let receipt: LinesReceipt = disk::parse(receipt, &output.name)?;
                if receipt.file != output.name {
                    return Err(disk::moved(&output.name, &receipt.file));
                }
                output.resume(receipt, self.sync)?;
            }
            None => output.begin(self.sync)?,
        }
        self.outputs.all.insert(task, output);
        Ok(())
    }

    /// Staging a task again before `publish` replaces what was staged: its commit failed.
    fn stage(&mut self, task: TaskId, chunk: Chunk, _txn: &mut dyn Txn) -> Result<Receipt> {
        let sync = self.sync;
        let output = self.outputs.get(task)?;
        output.pending = None;
        if chunk.data.is_empty() {
            return disk::receipt(&output.committed);
        }
        let data = if output.committed.to == 0 { [output.header.as_slice(), &chunk.data].concat() } else { chunk.data };
        let from = output.committed.to;
        let receipt =
            LinesReceipt { file: output.name.clone(), from, to: from + data.len() as u64, crc: crc32c::crc32c(&data) };
        let files = output.files.as_mut().ok_or_else(|| not_recovered(&output.name))?;
        disk::write_at(&mut files.staged, &output.staged_path, 0, &data)?;
        if sync {
            disk::sync(&files.staged, &output.staged_path)?;
        }
        let text = disk::receipt(&receipt)?;
        output.pending = Some((receipt, data));
        Ok(text)
    }

    fn publish(&mut self, lost: &[TaskId]) -> Result<()> {
        let sync = self.sync;
        for (task, output) in &mut self.outputs.all {
            if lost.contains(task) {
                output.pending = None;
            }
            output.publish(sync)?;
        }
        Ok(())
    }

    fn release(&mut self, task: TaskId) -> Result<()> {
        self.outputs.all.remove(&task).map_or(Ok(()), |mut output| output.finish())
    }

    /// A CSV without rows has a header all the same. No commit knows it; the next run writes it again.
    fn finish(&mut self) -> Result<()> {
        self.outputs.all.values_mut().try_for_each(Output::finish)
    }
}

impl Output {
    fn finish(&mut self) -> Result<()> {
        match &mut self.files {
            Some(files) if self.committed.to == 0 => disk::write_at(&mut files.visible, &self.path, 0, &self.header),
            _ => Ok(()),
        }
    }

    fn open(&mut self) -> Result<&mut Files> {
        let visible = disk::open(&self.path)?;
        disk::lock(&visible, &self.name)?;
        let staged = disk::open(&self.staged_path)?;
        Ok(self.files.insert(Files { visible, staged }))
    }

    /// Begins a file that no commit knows.
    fn begin(&mut self, sync: bool) -> Result<()> {
        if let Ok(meta) = std::fs::metadata(&self.path) {
            if meta.is_dir() {
                return Err(disk::exists(&self.name, "is a folder"));
            }
            // A run without any row leaves the header, see `finish`.
            let header_only = meta.len() == self.header.len() as u64
                && std::fs::read(&self.path).is_ok_and(|bytes| bytes == self.header);
            if meta.len() > 0 && !header_only {
                return Err(disk::exists(&self.name, &format!("has {} bytes already", meta.len())));
            }
        }
        let path = self.path.clone();
        self.open()?.visible.set_len(0).map_err(|e| disk::unwritable(&path, e))?;
        if sync {
            disk::sync_parent(&self.path)?;
            disk::sync_parent(&self.staged_path)?;
        }
        Ok(())
    }

    /// Brings the file to what the last commit says.
    fn resume(&mut self, receipt: LinesReceipt, sync: bool) -> Result<()> {
        if receipt.to > 0 && !self.path.exists() {
            return Err(disk::changed(&self.name, &format!("it is gone, with {} committed bytes", receipt.to)));
        }
        let (name, path, staged_path) = (self.name.clone(), self.path.clone(), self.staged_path.clone());
        let files = self.open()?;
        let length = disk::length(&files.visible, &path)?;
        if length < receipt.from {
            let what = format!("it has {length} bytes, but {} were written to it", receipt.from);
            return Err(disk::changed(&name, &what));
        }
        let size = receipt.to - receipt.from;
        let seen = disk::read_at(&mut files.visible, &path, receipt.from, size)?;
        if length >= receipt.to {
            if crc32c::crc32c(&seen) != receipt.crc {
                return Err(disk::changed(
                    &name,
                    &format!("its bytes from {} to {} are others", receipt.from, receipt.to),
                ));
            }
            if length > receipt.to {
                self.cut(&receipt, length)?;
            }
        } else {
            let staged = disk::read_at(&mut files.staged, &staged_path, 0, size)?;
            if staged.len() as u64 != size || crc32c::crc32c(&staged) != receipt.crc {
                return Err(disk::staged_damaged(&name, &staged_path));
            }
            if !staged.starts_with(&seen) {
                return Err(disk::changed(&name, &format!("its bytes from {} on are others", receipt.from)));
            }
            disk::write_at(&mut files.visible, &path, receipt.from, &staged)?;
            if sync {
                disk::sync(&files.visible, &path)?;
            }
        }
        self.committed = receipt;
        Ok(())
    }

    /// The file goes beyond the last commit: the log has lost commits, or someone appended to it. The surplus is
    /// put aside, not thrown away.
    fn cut(&mut self, receipt: &LinesReceipt, length: u64) -> Result<()> {
        let Some(files) = &mut self.files else { return Ok(()) };
        let aside = self.staged_path.with_extension(format!("surplus-{}-{length}", receipt.to));
        let surplus = disk::read_at(&mut files.visible, &self.path, receipt.to, length - receipt.to)?;
        std::fs::write(&aside, surplus).map_err(|e| disk::unwritable(&aside, e))?;
        tracing::warn!(
            file = %self.name,
            "the file has {} bytes more than this pipeline has committed; they were cut off and kept in `{}`",
            length - receipt.to,
            aside.display()
        );
        files.visible.set_len(receipt.to).map_err(|e| disk::unwritable(&self.path, e))
    }

    fn publish(&mut self, sync: bool) -> Result<()> {
        let Some((receipt, data)) = self.pending.take() else { return Ok(()) };
        let files = self.files.as_mut().ok_or_else(|| not_recovered(&self.name))?;
        let length = disk::length(&files.visible, &self.path)?;
        if length != receipt.from || !disk::is_same(&files.visible, &self.path) {
            let what = if length == receipt.from { "it was moved or removed" } else { "its length changed" };
            return Err(disk::changed(&self.name, &format!("{what} while the pipeline was running")));
        }
        disk::write_at(&mut files.visible, &self.path, receipt.from, &data)?;
        if sync {
            disk::sync(&files.visible, &self.path)?;
        }
        self.committed = receipt;
        Ok(())
    }
}
