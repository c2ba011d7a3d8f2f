//! Parquet part files, exactly once.
//!
//! Rows are staged in the data directory, one staging file for each part: part `n` holds rows
//! `n * roll_rows .. (n + 1) * roll_rows` of its task, however they were cut into epochs. When the rows of a part
//! are complete and committed, the part is written under a hidden name, synced, and renamed to its own. When the
//! run ends well, the last part is written too; a later run that adds rows to it writes it again.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use millstream_core::{Chunk, Error, Receipt, Result, Sink, TaskId, Txn};
use serde::{Deserialize, Serialize};

use super::disk;
use super::naming::{part_number, part_path, staged_path, task_path};
use super::tasks::{PerTask, not_recovered};
use crate::codec::parquet::{StagedReader, write_parquet};
use crate::codes::STAGED_DAMAGED;
use crate::env::Env;

/// The staged rows of one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Staged {
    part: u64,
    rows: u64,
    bytes: u64,
    /// Of those bytes.
    crc: u32,
}

/// What a commit says of an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartsReceipt {
    /// The path that part names are made from.
    pub(super) file: String,
    /// A checksum of the columns.
    columns: u32,
    /// The part that is being filled.
    open: Staged,
    /// Parts that this commit completed; earlier ones were written before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    closed: Vec<Staged>,
}

/// The part files of one output.
pub(crate) struct PartsSink {
    outputs: PerTask<Output>,
    sync: bool,
}

struct Output {
    name: String,
    path: PathBuf,
    /// Where part `n` is staged: this, with `n`.
    staged: PathBuf,
    roll_rows: u64,
    columns: u32,
    /// There once it is recovered; keeps other outputs away.
    lock: Option<File>,
    committed: Staged,
    /// Parts that are committed and not yet written.
    closed: Vec<Staged>,
    pending: Option<(Staged, Vec<Staged>)>,
    /// The staging file that was written last.
    file: Option<(u64, File)>,
}

impl PartsSink {
    /// Opens nothing yet. `columns` is a checksum of the columns: a part holds rows of one schema.
    pub(crate) fn new(env: &Arc<Env>, path: &str, tasks: Option<u32>, roll_rows: u64, columns: u32) -> Self {
        let (env, path, sync) = (env.clone(), path.to_owned(), env.sync());
        let make = move |task| {
            let name = task_path(&path, task, tasks);
            Output {
                path: env.resolve(&name),
                staged: staged_path(&env, &name, ".part"),
                roll_rows: roll_rows.max(1),
                columns,
                lock: None,
                committed: Staged::default(),
                closed: Vec::new(),
                pending: None,
                file: None,
                name,
            }
        };
        Self { outputs: PerTask::new(tasks, make), sync }
    }
}

/// Removes all parts up to the one a receipt names, and what is staged.
pub(super) fn discard(env: &Env, receipt: &PartsReceipt) -> Result<()> {
    let staged = staged_path(env, &receipt.file, ".part");
    for part in 0..=receipt.open.part {
        let path = env.resolve(part_path(&receipt.file, part));
        disk::remove(&path)?;
        disk::remove(&hidden(&path))?;
        disk::remove(&staged_part(&staged, part))?;
    }
    disk::remove(&staged.with_extension("lock"))
}

fn staged_part(staged: &Path, part: u64) -> PathBuf {
    let mut path = staged.as_os_str().to_owned();
    path.push(format!("-{part:05}"));
    PathBuf::from(path)
}

/// The name of a part while it is being written; readers of a folder pass over names that begin with a dot.
fn hidden(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.tmp", path.file_name().unwrap_or_default().to_string_lossy()))
}

impl Sink for PartsSink {
    fn recover(&mut self, task: TaskId, committed: Option<&Receipt>) -> Result<()> {
        let mut output = self.outputs.make(task)?;
        match committed {
            Some(receipt) => {
                let receipt: PartsReceipt = disk::parse(receipt, &output.name)?;
                if receipt.file != output.name {
                    return Err(disk::moved(&output.name, &receipt.file));
                }
                output.resume(receipt, self.sync)?;
            }
            None => output.begin()?,
        }
        self.outputs.all.insert(task, output);
        Ok(())
    }

    /// Staging a task again before `publish` replaces what was staged: its commit failed.
    fn stage(&mut self, task: TaskId, chunk: Chunk, _txn: &mut dyn Txn) -> Result<Receipt> {
        let sync = self.sync;
        let output = self.outputs.get(task)?;
        let (open, closed) = output.stage(chunk, sync)?;
        let receipt = PartsReceipt { file: output.name.clone(), columns: output.columns, open, closed: closed.clone() };
        let text = disk::receipt(&receipt)?;
        output.pending = Some((open, closed));
        Ok(text)
    }

    fn publish(&mut self, lost: &[TaskId]) -> Result<()> {
        for (task, output) in &mut self.outputs.all {
            if lost.contains(task) {
                output.pending = None;
            }
            if let Some((open, closed)) = output.pending.take() {
                output.committed = open;
                output.closed.extend(closed);
            }
            output.write_closed(self.sync)?;
        }
        Ok(())
    }

    fn release(&mut self, task: TaskId) -> Result<()> {
        self.outputs.all.remove(&task).map_or(Ok(()), |output| output.finish(self.sync))
    }

    fn finish(&mut self) -> Result<()> {
        // The rows stay staged: if the pipeline goes on later, the part grows.
        self.outputs.all.values().try_for_each(|output| output.finish(self.sync))
    }
}

impl Output {
    fn part(&self, part: u64) -> PathBuf {
        let name = Path::new(&part_path(&self.name, part)).file_name().unwrap_or_default().to_owned();
        self.path.with_file_name(name)
    }

    fn finish(&self, sync: bool) -> Result<()> {
        if self.committed.rows > 0 { self.write(&self.committed, sync) } else { Ok(()) }
    }

    fn take_lock(&mut self) -> Result<()> {
        let lock = disk::open(&self.staged.with_extension("lock"))?;
        disk::lock(&lock, &self.name)?;
        self.lock = Some(lock);
        Ok(())
    }

    /// Begins an output that no commit knows.
    fn begin(&mut self) -> Result<()> {
        self.take_lock()?;
        disk::make_parent(&self.path)?;
        let dir = match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        for entry in std::fs::read_dir(&dir).map_err(|e| disk::unwritable(&dir, e))?.flatten() {
            let name = entry.file_name();
            if part_number(&self.name, &name.to_string_lossy()).is_some() {
                return Err(disk::exists(
                    &Path::new(&self.name).with_file_name(name).to_string_lossy(),
                    "is there already",
                ));
            }
        }
        Ok(())
    }

    /// Brings staging and parts to what the last commit says.
    fn resume(&mut self, receipt: PartsReceipt, sync: bool) -> Result<()> {
        self.take_lock()?;
        let open = receipt.open;
        self.committed = open;
        let staged = staged_part(&self.staged, open.part);
        if open.bytes > 0 {
            self.check(&open)?;
        }
        if staged.exists() {
            let file = disk::open(&staged)?;
            file.set_len(open.bytes).map_err(|e| disk::unwritable(&staged, e))?;
        }
        // What an epoch that was not committed had begun.
        let mut beyond = open.part + 1;
        while staged_part(&self.staged, beyond).exists() {
            disk::remove(&staged_part(&self.staged, beyond))?;
            beyond += 1;
        }
        for closed in receipt.closed {
            if staged_part(&self.staged, closed.part).exists() {
                self.check(&closed)?;
                self.closed.push(closed);
            } else if !self.part(closed.part).exists() {
                let part = part_path(&self.name, closed.part);
                return Err(disk::changed(&part, &format!("it is gone, with {} committed rows", closed.rows)));
            }
        }
        if receipt.columns != self.columns && open.rows > 0 {
            // The columns changed: the part ends here.
            self.closed.push(open);
            self.committed = Staged { part: open.part + 1, ..Staged::default() };
        }
        self.write_closed(sync)
    }

    /// Makes sure that the staged rows are those that were committed.
    fn check(&self, staged: &Staged) -> Result<()> {
        let path = staged_part(&self.staged, staged.part);
        let damaged = || disk::staged_damaged(&self.name, &path);
        let mut file = File::open(&path).map_err(|e| damaged().because(e))?;
        let (mut crc, mut left, mut buffer) = (0, staged.bytes, vec![0; 1 << 16]);
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = file.read(&mut buffer[..want]).map_err(|e| damaged().because(e))?;
            if got == 0 {
                return Err(damaged());
            }
            crc = crc32c::crc32c_append(crc, &buffer[..got]);
            left -= got as u64;
        }
        if crc == staged.crc { Ok(()) } else { Err(damaged()) }
    }

    fn stage(&mut self, chunk: Chunk, sync: bool) -> Result<(Staged, Vec<Staged>)> {
        if self.lock.is_none() {
            return Err(not_recovered(&self.name));
        }
        let mut open = self.committed;
        let mut closed = Vec::new();
        if chunk.rows > 0 && open.rows + chunk.rows <= self.roll_rows {
            self.add(&mut open, &chunk.data, chunk.rows)?;
            self.close_if_full(&mut open, &mut closed, sync)?;
        } else if chunk.rows > 0 {
            for batch in StagedReader::new(chunk.data.as_slice()) {
                self.add_batch(&mut open, &mut closed, &batch?, sync)?;
            }
        }
        if sync && let Some((part, file)) = &self.file {
            disk::sync(file, &staged_part(&self.staged, *part))?;
        }
        Ok((open, closed))
    }

    /// Cuts a batch at the ends of parts.
    fn add_batch(
        &mut self,
        open: &mut Staged,
        closed: &mut Vec<Staged>,
        batch: &RecordBatch,
        sync: bool,
    ) -> Result<()> {
        let mut at = 0;
        while at < batch.num_rows() {
            self.close_if_full(open, closed, sync)?;
            let room = usize::try_from(self.roll_rows - open.rows).unwrap_or(usize::MAX);
            let rows = room.min(batch.num_rows() - at);
            let bytes = staged_bytes(&batch.slice(at, rows))?;
            self.add(open, &bytes, rows as u64)?;
            at += rows;
        }
        self.close_if_full(open, closed, sync)
    }

    fn close_if_full(&mut self, open: &mut Staged, closed: &mut Vec<Staged>, sync: bool) -> Result<()> {
        if open.rows < self.roll_rows {
            return Ok(());
        }
        if sync && let Some((part, file)) = &self.file {
            disk::sync(file, &staged_part(&self.staged, *part))?;
        }
        closed.push(*open);
        *open = Staged { part: open.part + 1, ..Staged::default() };
        Ok(())
    }

    fn add(&mut self, open: &mut Staged, bytes: &[u8], rows: u64) -> Result<()> {
        let path = staged_part(&self.staged, open.part);
        if self.file.as_ref().is_none_or(|(part, _)| *part != open.part) {
            self.file = Some((open.part, disk::open(&path)?));
        }
        if let Some((_, file)) = &mut self.file {
            disk::write_at(file, &path, open.bytes, bytes)?;
        }
        open.rows += rows;
        open.bytes += bytes.len() as u64;
        open.crc = crc32c::crc32c_append(open.crc, bytes);
        Ok(())
    }

    fn write_closed(&mut self, sync: bool) -> Result<()> {
        while let Some(closed) = self.closed.first().copied() {
            self.write(&closed, sync)?;
            disk::remove(&staged_part(&self.staged, closed.part))?;
            if self.file.as_ref().is_some_and(|(part, _)| *part == closed.part) {
                self.file = None;
            }
            self.closed.remove(0);
        }
        Ok(())
    }

    /// Writes a part from its staged rows.
    fn write(&self, staged: &Staged, sync: bool) -> Result<()> {
        let path = self.part(staged.part);
        let temporary = hidden(&path);
        let rows_path = staged_part(&self.staged, staged.part);
        disk::make_parent(&path)?;
        let rows = File::open(&rows_path).map_err(|e| disk::staged_damaged(&self.name, &rows_path).because(e))?;
        let rows = std::io::BufReader::with_capacity(1 << 18, rows.take(staged.bytes));
        let written = write_parquet(StagedReader::new(rows), &temporary)?;
        if written != staged.rows {
            return Err(disk::staged_damaged(&self.name, &rows_path));
        }
        std::fs::rename(&temporary, &path).map_err(|e| disk::unwritable(&path, e))?;
        if sync { disk::sync_parent(&path) } else { Ok(()) }
    }
}

/// A batch as a staged chunk of its own.
fn staged_bytes(batch: &RecordBatch) -> Result<Vec<u8>> {
    let failed = |e| Error::new(STAGED_DAMAGED, "rows can't be staged for a part file").because(e);
    let mut bytes = vec![0; 8];
    let mut writer = StreamWriter::try_new(&mut bytes, batch.schema_ref()).map_err(failed)?;
    writer.write(batch).map_err(failed)?;
    drop(writer);
    let length = (bytes.len() - 8) as u64;
    bytes[..8].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}
