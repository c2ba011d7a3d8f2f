//! Standard input and output.
//!
//! `stdin` is read by a thread of its own, which hands over blocks through a bounded queue and ends with the
//! input (or with the process, as a blocked read can't be called off).
//!
//! `stdout` prints committed rows only, and prints again what an earlier run may not have finished printing: at
//! least once. A run of one pipeline has one `stdout` output.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use millstream_core::record::{Header, NO_TIMESTAMP};
use millstream_core::{
    Chunk, Error, PollLimit, Polled, Position, RawBatch, Receipt, Result, Sink, Source, TaskId, Txn,
};
use serde::{Deserialize, Serialize};

use super::sink::{lock, open, parse, read_at, receipt, staged_path, unwritable, write_at};
use super::source::{Framing, Next, TOO_LONG_HEADER, Window, parse_header};
use crate::codes::{FILE_UNREADABLE, OUTPUT_CLOSED, OUTPUT_UNWRITABLE, STAGED_DAMAGED, STDIN_REPLAY};
use crate::env::Env;

const BLOCK: usize = 64 << 10;
/// Blocks read ahead.
const QUEUE: usize = 16;

type Block = std::io::Result<Vec<u8>>;

/// The receiving end of the reading thread.
struct Blocks {
    queue: Receiver<Block>,
    block: Vec<u8>,
    at: usize,
    /// Whether to wait for the next block instead of saying that there is none yet.
    wait: bool,
}

impl Read for Blocks {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.block.len() {
            let next = if self.wait { self.queue.recv().ok() } else { self.try_next()? };
            // The thread is gone: the input has ended.
            let Some(next) = next else { return Ok(0) };
            (self.block, self.at) = (next?, 0);
        }
        let n = buf.len().min(self.block.len() - self.at);
        buf[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

impl Blocks {
    fn try_next(&mut self) -> std::io::Result<Option<Block>> {
        match self.queue.try_recv() {
            Ok(block) => Ok(Some(block)),
            Err(TryRecvError::Disconnected) => Ok(None),
            Err(TryRecvError::Empty) => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

fn pump(mut input: impl Read, queue: &SyncSender<Block>) {
    loop {
        let mut block = vec![0; BLOCK];
        let read = input.read(&mut block);
        let message = match read {
            Ok(0) => return,
            Ok(n) => {
                block.truncate(n);
                Ok(block)
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => Err(e),
        };
        let failed = message.is_err();
        if queue.send(message).is_err() || failed {
            return;
        }
    }
}

/// Reads lines from a stream that can't go back.
pub(crate) struct StreamSource {
    blocks: Blocks,
    window: Window,
    header_due: bool,
    offset: u64,
    at_end: bool,
}

impl StreamSource {
    /// Starts reading.
    pub(crate) fn start(input: impl Read + Send + 'static, framing: Framing) -> Result<Self> {
        let (send, queue) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("stdin".to_owned()).spawn(move || pump(input, &send));
        thread.map_err(|e| failed(e).help("the system allows no more threads"))?;
        let blocks = Blocks { queue, block: Vec::new(), at: 0, wait: false };
        let header_due = framing == Framing::Csv;
        Ok(Self { blocks, window: Window::new(framing), header_due, offset: 0, at_end: false })
    }

    /// Waits for the header of a CSV input and takes it.
    pub(crate) fn header(&mut self) -> Result<Arc<[String]>> {
        self.blocks.wait = true;
        let header = loop {
            match self.window.next(self.at_end) {
                Next::More if self.at_end => break parse_header("standard input", b""),
                Next::More => self.at_end = self.window.fill(&mut self.blocks).map_err(failed)? == 0,
                Next::TooLong { prefix, .. } => break parse_header("standard input", &prefix),
                Next::Record { start, end } => {
                    self.offset += 1;
                    if start < end {
                        break parse_header("standard input", self.window.bytes(start, end));
                    }
                }
            }
        };
        self.blocks.wait = false;
        self.header_due = false;
        header
    }
}

fn failed(e: std::io::Error) -> Error {
    Error::new(FILE_UNREADABLE, "standard input can't be read").because(e)
}

impl Source for StreamSource {
    fn poll(&mut self, limit: PollLimit, out: &mut RawBatch) -> Result<Polled> {
        if self.header_due {
            self.header()?;
        }
        let before = (out.len(), out.bytes_len());
        loop {
            let count = out.len() - before.0;
            if count >= limit.records || (count > 0 && out.bytes_len() - before.1 >= limit.bytes) {
                return Ok(Polled::Records);
            }
            match self.window.next(self.at_end) {
                Next::Record { start, end } => {
                    let line = self.window.bytes(start, end);
                    if !line.is_empty() {
                        out.push(self.offset, NO_TIMESTAMP, None, Some(line), &[]);
                    }
                    self.offset += 1;
                }
                Next::TooLong { prefix, length } => {
                    let header = Header { name: TOO_LONG_HEADER.to_owned(), value: length.to_string().into_bytes() };
                    out.push(self.offset, NO_TIMESTAMP, None, Some(&prefix), &[header]);
                    self.offset += 1;
                }
                Next::More if self.at_end => {
                    return Ok(if count > 0 { Polled::Records } else { Polled::End });
                }
                Next::More => match self.window.fill(&mut self.blocks) {
                    Ok(n) => self.at_end = n == 0,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        return Ok(if count > 0 { Polled::Records } else { Polled::CaughtUp });
                    }
                    Err(e) => return Err(failed(e)),
                },
            }
        }
    }

    fn position(&self) -> Position {
        Position { offset: self.offset, cursor: String::new() }
    }

    /// Works only to the place where it is.
    fn seek(&mut self, position: &Position) -> Result<()> {
        if position.offset == self.offset {
            return Ok(());
        }
        Err(Error::new(
            STDIN_REPLAY,
            format!("standard input can't go to record {}: it is at {}", position.offset, self.offset),
        )
        .help(
            "what was read from standard input is gone; put it in a file or a topic of the log to be able to go on \
             after a stop, or begin anew with `--fresh`",
        ))
    }

    fn lag(&self) -> Option<u64> {
        None
    }
}

/// What a commit says of standard output.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Printed {
    stdout: u64,
    bytes: u64,
    crc: u32,
}

/// Prints rows once their commit is known.
pub(crate) struct StdoutSink {
    tasks: BTreeMap<TaskId, Task>,
    make: Box<dyn Fn(TaskId) -> Task + Send>,
    out: Box<dyn Write + Send>,
    header: Vec<u8>,
    header_due: bool,
}

struct Task {
    /// The last chunk's bytes; then how many chunks are known to be printed.
    staged_path: PathBuf,
    printed_path: PathBuf,
    files: Option<(File, File)>,
    committed: Printed,
    pending: Option<(Printed, Vec<u8>)>,
}

impl StdoutSink {
    pub(crate) fn new(env: &Arc<Env>, out: impl Write + Send + 'static, header: Option<Vec<u8>>) -> Self {
        let env = env.clone();
        let make = move |task| Task {
            staged_path: staged_path(&env, &format!("stdout-{task}"), ".rows"),
            printed_path: staged_path(&env, &format!("stdout-{task}"), ".printed"),
            files: None,
            committed: Printed::default(),
            pending: None,
        };
        let header = header.unwrap_or_default();
        let (tasks, make) = (BTreeMap::new(), Box::new(make));
        Self { tasks, make, out: Box::new(out), header_due: !header.is_empty(), header }
    }

    fn print(&mut self, bytes: &[u8]) -> Result<()> {
        let header = if std::mem::take(&mut self.header_due) { self.header.as_slice() } else { &[] };
        let written =
            self.out.write_all(header).and_then(|()| self.out.write_all(bytes)).and_then(|()| self.out.flush());
        written.map_err(|e| match e.kind() {
            ErrorKind::BrokenPipe => Error::new(OUTPUT_CLOSED, "whoever reads standard output has closed it")
                .help("what was committed stays committed"),
            _ => Error::new(OUTPUT_UNWRITABLE, "standard output can't be written").because(e),
        })
    }
}

impl Task {
    fn note_printed(&mut self) -> Result<()> {
        let Some((_, printed)) = &mut self.files else { return Ok(()) };
        write_at(printed, &self.printed_path, 0, &self.committed.stdout.to_le_bytes())
    }
}

impl Sink for StdoutSink {
    fn recover(&mut self, id: TaskId, committed: Option<&Receipt>) -> Result<()> {
        let mut task = (self.make)(id);
        let mut staged = open(&task.staged_path)?;
        lock(&staged, "stdout")?;
        let mut printed = open(&task.printed_path)?;
        let mut missing = None;
        if let Some(text) = committed {
            let receipt: Printed = parse(text, "stdout")?;
            let count = read_at(&mut printed, &task.printed_path, 0, 8)?;
            let count = count.first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
            if count < receipt.stdout {
                let bytes = read_at(&mut staged, &task.staged_path, 0, receipt.bytes)?;
                if bytes.len() as u64 != receipt.bytes || crc32c::crc32c(&bytes) != receipt.crc {
                    return Err(Error::new(
                        STAGED_DAMAGED,
                        "rows for standard output were committed but not yet printed, and are gone",
                    )
                    .help("restore the data directory from a backup, or begin anew with `--fresh`"));
                }
                missing = Some(bytes);
            }
            task.committed = receipt;
        }
        task.files = Some((staged, printed));
        if let Some(bytes) = missing {
            self.print(&bytes)?;
            task.note_printed()?;
        }
        self.tasks.insert(id, task);
        Ok(())
    }

    fn stage(&mut self, task: TaskId, chunk: Chunk, _txn: &mut dyn Txn) -> Result<Receipt> {
        let Some(task) = self.tasks.get_mut(&task) else {
            return Err(Error::new(OUTPUT_UNWRITABLE, format!("task {task} of standard output was not recovered")));
        };
        task.pending = None;
        if chunk.data.is_empty() {
            return receipt(&task.committed);
        }
        let next = Printed {
            stdout: task.committed.stdout + 1,
            bytes: chunk.data.len() as u64,
            crc: crc32c::crc32c(&chunk.data),
        };
        if let Some((staged, _)) = &mut task.files {
            write_at(staged, &task.staged_path, 0, &chunk.data)?;
        }
        let text = receipt(&next)?;
        task.pending = Some((next, chunk.data));
        Ok(text)
    }

    fn publish(&mut self, lost: &[TaskId]) -> Result<()> {
        let mut tasks = std::mem::take(&mut self.tasks);
        let printed = tasks.iter_mut().try_for_each(|(id, task)| match task.pending.take() {
            Some((receipt, data)) if !lost.contains(id) => {
                self.print(&data)?;
                task.committed = receipt;
                task.note_printed()
            }
            _ => Ok(()),
        });
        self.tasks = tasks;
        printed
    }

    fn release(&mut self, task: TaskId) -> Result<()> {
        self.tasks.remove(&task);
        Ok(())
    }
}

/// Forgets what was staged for standard output.
pub(crate) fn discard_stdout(env: &Env, committed: &[(TaskId, Receipt)]) -> Result<()> {
    for (task, _) in committed {
        for suffix in [".rows", ".printed"] {
            let path = staged_path(env, &format!("stdout-{task}"), suffix);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(unwritable(&path, e)),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Standard input, started once and shared between looking at its header and reading it.
#[derive(Clone, Default)]
pub(crate) struct Stdin(Arc<Mutex<Option<StreamSource>>>);

impl Stdin {
    /// Does something with the stream; it is started if need be.
    pub(crate) fn with<T>(&self, framing: Framing, work: impl FnOnce(&mut StreamSource) -> Result<T>) -> Result<T> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = match &mut *slot {
            Some(stream) => stream,
            None => slot.insert(StreamSource::start(std::io::stdin(), framing)?),
        };
        work(stream)
    }

    /// Takes the stream.
    pub(crate) fn take(&self, framing: Framing) -> Result<StreamSource> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take().map_or_else(|| StreamSource::start(std::io::stdin(), framing), Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use millstream_core::Store;

    use super::*;
    use crate::codes::OUTPUT_CLOSED;

    fn read_all(source: &mut StreamSource) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        loop {
            let mut out = RawBatch::new(TaskId::new(0));
            match source.poll(PollLimit { records: 3, bytes: 1 << 20 }, &mut out).unwrap() {
                Polled::End => return all,
                Polled::CaughtUp | Polled::Waiting => std::thread::yield_now(),
                Polled::Records => all.extend(
                    (0..out.len())
                        .map(|i| (out.offset(i), String::from_utf8_lossy(out.value(i).unwrap()).into_owned())),
                ),
            }
        }
    }

    #[test]
    fn a_stream_gives_its_lines_as_they_come() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut source = StreamSource::start(reader, Framing::Lines).unwrap();
        let mut out = RawBatch::new(TaskId::new(0));
        let limit = PollLimit { records: 10, bytes: 1 << 20 };
        assert_eq!(source.poll(limit, &mut out).unwrap(), Polled::CaughtUp, "does not wait");
        writer.write_all(b"one\n\ntw").unwrap();
        while source.poll(limit, &mut out).unwrap() == Polled::CaughtUp {}
        assert_eq!((out.len(), out.value(0)), (1, Some(&b"one"[..])));
        let position = source.position();
        assert_eq!(position.offset, 2);
        source.seek(&position).unwrap();
        assert_eq!(source.seek(&Position::default()).unwrap_err().code(), STDIN_REPLAY);
        writer.write_all(b"o\r\nthree").unwrap();
        drop(writer);
        assert_eq!(read_all(&mut source), [(2, "two".to_owned()), (3, "three".to_owned())]);
    }

    #[test]
    fn a_stream_of_csv_waits_for_its_header() {
        let mut source = StreamSource::start(&b"\na, n\n\"x\ny\",1\n"[..], Framing::Csv).unwrap();
        assert_eq!(*source.header().unwrap(), ["a".to_owned(), "n".to_owned()]);
        assert_eq!(read_all(&mut source), [(2, "\"x\ny\",1".to_owned())]);
        let mut empty = StreamSource::start(&b""[..], Framing::Csv).unwrap();
        assert_eq!(empty.header().unwrap_err().code(), crate::codes::CSV_HEADER);
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(buf)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn stage(env: &Env, sink: &mut StdoutSink, text: &str) -> Receipt {
        let log = env.log().unwrap();
        let mut txn = log.begin();
        let chunk = Chunk { data: text.as_bytes().to_vec(), rows: 1, ..Chunk::default() };
        sink.stage(TaskId::new(0), chunk, txn.as_mut()).unwrap()
    }

    fn start(dir: &Path, committed: &[Receipt]) -> (StdoutSink, Arc<Env>, Shared) {
        let env = Arc::new(Env::new(dir, "data", "p", false));
        let out = Shared::default();
        let mut sink = StdoutSink::new(&env, out.clone(), Some(b"n\n".to_vec()));
        sink.recover(TaskId::new(0), committed.first()).unwrap();
        (sink, env, out)
    }

    fn text(out: &Shared) -> String {
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn committed_rows_are_printed_and_none_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let (mut sink, env, out) = start(dir.path(), &[]);
        stage(&env, &mut sink, "never committed\n");
        stage(&env, &mut sink, "1\n");
        assert_eq!(text(&out), "");
        sink.publish(&[]).unwrap();
        let printed = stage(&env, &mut sink, "");
        sink.publish(&[]).unwrap();
        assert_eq!(text(&out), "n\n1\n");
        drop((sink, env));
        let (mut sink, env, out) = start(dir.path(), &[printed]);
        assert_eq!(text(&out), "", "known to be printed");
        let receipt = stage(&env, &mut sink, "2\n");
        drop((sink, env));
        // It died between commit and publication.
        let (_, env, out) = start(dir.path(), std::slice::from_ref(&receipt));
        assert_eq!(text(&out), "n\n2\n");
        drop(env);
        let (_, env, out) = start(dir.path(), std::slice::from_ref(&receipt));
        assert_eq!(text(&out), "");
        discard_stdout(&env, &[(TaskId::new(0), receipt)]).unwrap();
    }

    #[test]
    fn a_closed_pipe_has_a_code_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let env = Arc::new(Env::new(dir.path(), "data", "p", false));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut sink = StdoutSink::new(&env, writer, None);
        sink.recover(TaskId::new(0), None).unwrap();
        stage(&env, &mut sink, "1\n");
        assert_eq!(sink.publish(&[]).unwrap_err().code(), OUTPUT_CLOSED);
    }
}
