//! Fills a topic: the lines of a file, as fast as the broker takes them.

use std::fs::File;
use std::io::{BufRead, BufReader};

use crate::Result;
use crate::args::Args;
use crate::client::{ANY_PARTITION, Producer};
use crate::lines::card;

/// Settings that the open-loop producer shares but for `linger.ms`.
pub fn producer(brokers: &str, topic: &str, linger_ms: &str) -> Result<Producer> {
    let properties = [
        ("bootstrap.servers", brokers),
        ("enable.idempotence", "true"),
        ("partitioner", "murmur2"), // Java's
        ("linger.ms", linger_ms),
        ("queue.buffering.max.messages", "1000000"),
    ];
    Producer::new(&properties, topic)
}

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    let producer = producer(args.text("brokers")?, args.text("topic")?, "20")?;
    let path = args.text("events")?;
    let most: usize = args.number("most", usize::MAX)?;
    let skip: usize = args.number("skip", 0)?;
    let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut line, mut seen) = (Vec::new(), 0);
    while seen < skip.saturating_add(most) {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(|error| format!("{path}: {error}"))? == 0 {
            break;
        }
        seen += 1;
        if seen <= skip {
            continue;
        }
        let value = line.strip_suffix(b"\n").unwrap_or(&line);
        let key = card(value).ok_or_else(|| format!("{path}: line {seen} has no card_id"))?;
        producer.send(ANY_PARTITION, key, value)?;
    }
    producer.flush()
}
