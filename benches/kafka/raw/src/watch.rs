//! Counts the committed records of a topic as they come, for a driver that reads the counts and the clocks.
//!
//! One line for each change, the count and how many partitions have had any, at most one every `--every-ms`. Ends when it is killed or nobody reads any more.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::Result;
use crate::args::Args;
use crate::client::Consumer;

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    let every = Duration::from_millis(args.number("every-ms", 20)?);
    let offsets = offsets(args)?;
    let mut consumer = Consumer::assign(&properties(args.text("brokers")?), args.text("topic")?, &offsets)?;
    let mut partitions = vec![false; offsets.len()];
    let (mut count, mut said, mut last) = (0, 0, Instant::now());
    loop {
        count += consumer.poll(every.as_millis() as i32, |message| {
            partitions[message.partition as usize] = true;
            Ok(())
        })?;
        if count > said && last.elapsed() >= every {
            let mut out = std::io::stdout().lock();
            let seen = partitions.iter().filter(|seen| **seen).count();
            writeln!(out, "{count} {seen}").and_then(|()| out.flush()).map_err(|error| error.to_string())?;
            (said, last) = (count, Instant::now());
        }
    }
}

/// Of a consumer of what is committed, and at once.
pub fn properties(brokers: &str) -> [(&'static str, &str); 5] {
    [
        ("bootstrap.servers", brokers),
        ("group.id", "kafka-raw-reader"), // needed to be a consumer at all; nothing is committed
        ("enable.auto.commit", "false"),
        ("isolation.level", "read_committed"),
        ("fetch.queue.backoff.ms", "1"),
    ]
}

/// Where to begin, for each partition.
pub fn offsets(args: &Args) -> Result<Vec<i64>> {
    let each = args.text("offsets")?.split(',').map(str::parse::<i64>);
    each.collect::<std::result::Result<_, _>>().map_err(|error| format!("--offsets: {error}"))
}
