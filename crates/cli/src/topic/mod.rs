//! `millstream topic`: the topics of an embedded log, or of a Kafka cluster.

mod access;
mod kafka;
mod produce;
pub mod remote;
mod tail;

use std::time::Duration;

use millstream_config::ByteSize;
use millstream_config::command_line::{parse_duration, parse_size};
use millstream_connectors::log::Retention;
use millstream_core::{Error, Result};

use self::access::Access;
use crate::args::{KeepArgs, TableFormat, TopicArgs, TopicCommand};
use crate::codes;
use crate::failure::Outcome;
use crate::log::{NewTopic, TopicView};
use crate::output::{self, table, thousands};

/// Does what one of the `topic` commands says.
pub fn topic(args: &TopicArgs) -> Outcome {
    match &args.command {
        TopicCommand::Create(new) => {
            let retention = retention(&new.keep, Retention::default())?;
            let kept = new.keep.keep_for.is_some() || new.keep.keep_bytes.is_some();
            let topic = NewTopic { name: new.topic.clone(), partitions: new.partitions, retention };
            let made = Access::of(args, true)?.create(&topic, kept, new.replication)?;
            output::print(format!("created topic `{}` with {}\n", made.name, partitions(&made)))
        }
        TopicCommand::List { format } => list(args, *format),
        TopicCommand::Describe { topic, format } => {
            let view = Access::of(args, false)?.topic(topic)?;
            output::print(describe(&view, *format))
        }
        TopicCommand::Alter { topic, keep } => {
            if keep.keep_for.is_none() && keep.keep_bytes.is_none() {
                return Err(Error::new(codes::ARGUMENT, "`topic alter` was not told what to change")
                    .help("say `--keep-for` or `--keep-bytes`")
                    .into());
            }
            let access = Access::of(args, false)?;
            let view = access.alter(topic, retention(keep, access.topic(topic)?.retention)?)?;
            output::print(describe(&view, TableFormat::Text))
        }
        TopicCommand::Delete { topic } => {
            Access::of(args, false)?.delete(topic)?;
            output::print(format!("deleted topic `{topic}`\n"))
        }
        TopicCommand::Produce(produce) => produce::produce(args, produce),
        TopicCommand::Tail(tail) => tail::tail(args, tail),
    }
}

/// What the arguments make of a retention.
fn retention(keep: &KeepArgs, mut retention: Retention) -> Result<Retention> {
    match keep.keep_for.as_deref() {
        None => {}
        Some("forever") => retention.age_ms = None,
        Some(text) => retention = retention.age(parse_duration("`--keep-for`", text)?),
    }
    match keep.keep_bytes.as_deref() {
        None => {}
        Some("unlimited") => retention.bytes = None,
        Some(text) => retention = retention.bytes(parse_size("`--keep-bytes`", text)?.0),
    }
    Ok(retention)
}

fn kept(retention: Retention) -> String {
    let age = retention.age_ms.map(|ms| millstream_config::duration::show(Duration::from_millis(ms)));
    let bytes = retention.bytes.map(|bytes| format!("{} a partition", ByteSize(bytes)));
    match (age, bytes) {
        (None, None) => "forever".to_owned(),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(age), Some(bytes)) => format!("{age}, {bytes}"),
    }
}

fn partitions(view: &TopicView) -> String {
    let n = view.partitions.len();
    format!("{n} partition{}", if n == 1 { "" } else { "s" })
}

fn list(args: &TopicArgs, format: TableFormat) -> Outcome {
    let topics = Access::of(args, false)?.topics()?;
    if format == TableFormat::Json {
        return output::print(json_text(&topics));
    }
    if topics.is_empty() {
        return output::print("no topics\n");
    }
    let rows: Vec<Vec<String>> = topics
        .iter()
        .map(|topic| {
            let records = topic.partitions.iter().map(|p| p.next_offset - p.start_offset).sum();
            let bytes: Option<u64> = topic.partitions.iter().map(|p| p.bytes).sum();
            vec![
                topic.name.clone(),
                topic.partitions.len().to_string(),
                thousands(records),
                bytes.map_or_else(|| "-".to_owned(), thousands),
                kept_as(topic),
            ]
        })
        .collect();
    output::print(table(&["topic", "partitions", "records", "bytes", "kept"], &rows, &[1, 2, 3]))
}

fn describe(view: &TopicView, format: TableFormat) -> String {
    if format == TableFormat::Json {
        return json_text(view);
    }
    let rows: Vec<Vec<String>> = view
        .partitions
        .iter()
        .map(|p| {
            let records = p.next_offset - p.start_offset;
            let mut row = [u64::from(p.partition), p.start_offset, p.next_offset, records].map(thousands).to_vec();
            row.extend(p.bytes.map(thousands));
            row
        })
        .collect();
    let head = format!("topic `{}`: {}, records are kept: {}\n", view.name, partitions(view), kept_as(view));
    let columns = ["partition", "oldest offset", "next offset", "records", "bytes"];
    let shown = if view.partitions.iter().any(|p| p.bytes.is_none()) { 4 } else { 5 };
    head + &table(&columns[..shown], &rows, &[0, 1, 2, 3, 4][..shown])
}

/// How long records are kept, compaction included.
fn kept_as(view: &TopicView) -> String {
    match view.cleanup.as_deref() {
        Some("compact") => "the newest of each key".to_owned(),
        Some(both) if both.contains("compact") => format!("{}, the newest of each key", kept(view.retention)),
        _ => kept(view.retention),
    }
}

fn json_text(value: &impl serde::Serialize) -> String {
    // Plain maps, lists and numbers always have a JSON form.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_said_and_read() {
        let keep = |keep_for: Option<&str>, keep_bytes: Option<&str>| KeepArgs {
            keep_for: keep_for.map(str::to_owned),
            keep_bytes: keep_bytes.map(str::to_owned),
        };
        let week = retention(&keep(Some("1w"), Some("1GB")), Retention::default()).unwrap();
        assert_eq!(kept(week), "1w, 1GB a partition");
        let bytes = retention(&keep(Some("forever"), None), week).unwrap();
        assert_eq!(kept(bytes), "1GB a partition");
        assert!(retention(&keep(Some("long"), None), week).is_err());
    }
}
