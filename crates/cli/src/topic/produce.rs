//! `millstream topic produce`: lines in, records appended.
//!
//! A thread (`lines`) reads whole lines and hands over what has come whenever it would have to wait for more, so
//! that a trickle is appended at once and a bulk load in large batches. Memory is bounded by the channel.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use millstream_core::Error;

use super::access::Access;
use crate::args::{ProduceArgs, TopicArgs};
use crate::codes;
use crate::failure::{Failure, Outcome};
use crate::http::wire::LineOptions;
use crate::output::{self, thousands};

/// A batch is appended when it has this many bytes.
const BATCH_BYTES: usize = 4 << 20;
/// The longest line; also the most that the HTTP API takes at once.
const LINE_BYTES_MAX: usize = 60 << 20;
const CHUNKS_WAITING_MAX: usize = 4;
/// When nothing comes for so long, others may have the log.
const KEEP_OPEN: Duration = Duration::from_millis(200);

/// Whole lines, and how many (empty ones too).
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    lines: u64,
}

/// Appends every line of the input to a topic.
pub fn produce(place: &TopicArgs, args: &ProduceArgs) -> Outcome {
    let mut access = Some(Access::of(place, false)?);
    // Look before reading: a wrong name should not wait for the first line.
    if let Some(access) = &access {
        let partitions = access.topic(&args.topic)?.partitions.len();
        if let Some(partition) = args.partition.filter(|&n| n as usize >= partitions) {
            return Err(Error::new(codes::ARGUMENT, format!("topic `{}` has no partition {partition}", args.topic))
                .help(format!("it has partitions 0 to {}", partitions.saturating_sub(1)))
                .into());
        }
    }
    let input = open(args.input.as_deref())?;
    let (sender, chunks) = sync_channel(CHUNKS_WAITING_MAX);
    let reading = std::thread::Builder::new().name("lines".to_owned()).spawn(move || read_lines(input, &sender));
    reading.map_err(|cause| Failure::io("starting to read", cause))?;
    let mut appended = 0;
    let result = append_all(place, args, &mut access, &chunks, &mut appended);
    if !args.quiet {
        output::complain(format!("appended {} records to `{}`\n", thousands(appended), args.topic));
    }
    result
}

fn append_all(
    place: &TopicArgs,
    args: &ProduceArgs,
    access: &mut Option<Access>,
    chunks: &Receiver<io::Result<Chunk>>,
    appended: &mut u64,
) -> Outcome {
    let mut first_line = 1;
    loop {
        let mut batch = match chunks.recv_timeout(KEEP_OPEN) {
            Ok(chunk) => read(args, chunk)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                // A cluster is nobody's to let go of.
                access.take_if(|access| !matches!(access, Access::Kafka(_)));
                let Ok(chunk) = chunks.recv() else { return Ok(()) };
                read(args, chunk)?
            }
        };
        while batch.bytes.len() < BATCH_BYTES {
            let Ok(more) = chunks.try_recv() else { break };
            let more = read(args, more)?;
            batch.bytes.extend_from_slice(&more.bytes);
            batch.lines += more.lines;
        }
        let way = match access.take() {
            Some(way) => way,
            None => Access::of(place, false)?,
        };
        let options = LineOptions {
            key_field: args.key_field.clone(),
            key: args.key.clone(),
            partition: args.partition,
            first_line: Some(first_line),
        };
        *appended += way.append(&args.topic, &batch.bytes, &options)?;
        *access = Some(way);
        first_line += batch.lines;
    }
}

fn read(args: &ProduceArgs, chunk: io::Result<Chunk>) -> Outcome<Chunk> {
    let what = args.input.as_ref().map_or_else(|| "standard input".to_owned(), |path| format!("`{}`", path.display()));
    chunk.map_err(|cause| Failure::io(format!("reading {what}"), cause))
}

fn open(path: Option<&Path>) -> Outcome<Box<dyn Read + Send>> {
    let Some(path) = path else { return Ok(Box::new(io::stdin())) };
    let failed = |cause| Failure::io(format!("opening `{}`", path.display()), cause);
    let file = File::open(path).map_err(failed)?;
    Ok(match path.extension().and_then(|e| e.to_str()) {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::new(file).map_err(failed)?),
        _ => Box::new(file),
    })
}

fn read_lines(input: Box<dyn Read + Send>, chunks: &SyncSender<io::Result<Chunk>>) {
    let mut input = BufReader::with_capacity(256 << 10, input);
    let mut chunk = Chunk::default();
    loop {
        let before = chunk.bytes.len();
        let read = (&mut input).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut chunk.bytes);
        let ended = matches!(read, Ok(0));
        if let Err(cause) = read {
            let _ = chunks.send(Err(cause));
            return;
        }
        if chunk.bytes.len() - before > LINE_BYTES_MAX {
            let _ = chunks.send(Err(io::Error::other(format!("a line is longer than {} MiB", LINE_BYTES_MAX >> 20))));
            return;
        }
        chunk.lines += u64::from(!ended);
        let full = chunk.bytes.len() >= BATCH_BYTES || input.buffer().is_empty();
        if (full || ended) && !chunk.bytes.is_empty() && chunks.send(Ok(std::mem::take(&mut chunk))).is_err() {
            return;
        }
        if ended {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_all() {
        let text: Vec<u8> = (0..50_000).flat_map(|i| format!("{{\"n\":{i}}}\n").into_bytes()).chain(*b"last").collect();
        let (sender, chunks) = sync_channel(1000);
        read_lines(Box::new(io::Cursor::new(text.clone())), &sender);
        drop(sender);
        let all: Vec<Chunk> = chunks.iter().map(Result::unwrap).collect();
        assert_eq!(all.iter().map(|c| c.lines).sum::<u64>(), 50_001);
        assert_eq!(all.iter().flat_map(|c| c.bytes.clone()).collect::<Vec<_>>(), text);
        let (_, whole) = all.split_last().unwrap();
        assert!(whole.iter().all(|c| c.bytes.ends_with(b"\n")));
    }
}
