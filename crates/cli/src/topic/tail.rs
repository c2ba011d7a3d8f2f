//! `millstream topic tail`: prints records, and with `--follow` waits for more.
//!
//! A follower never holds the log's files while it waits: a run could not start then. It lets go of them, and
//! looks again when they change or when a run announces itself.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use millstream_connectors::codes::LOG_LOCKED;
use millstream_core::Error;

use super::access::{Access, Place};
use crate::args::{From, TailArgs, TopicArgs};
use crate::codes;
use crate::failure::{Failure, Outcome};
use crate::log::TopicView;
use crate::output::Output;

/// How often a follower looks for records in a run.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);
/// How often a follower looks for a run, or for changed files.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Where one partition is read.
pub struct Reading {
    pub partition: u32,
    pub next: u64,
}

/// Prints the records of a topic.
pub fn tail(place: &TopicArgs, args: &TailArgs) -> Outcome {
    let data_dir = place.data_dir.as_path();
    let mut out = Output::new();
    let access = Access::of(place, false)?;
    let view = access.topic(&args.topic)?;
    let mut readings = readings(args, &view)?;
    if let Access::Kafka(kafka) = &access {
        return kafka.tail(args, &view, &readings, &mut out);
    }
    let mut left = args.limit.unwrap_or(u64::MAX);
    if !args.follow {
        print_all(&access, args, &mut readings, &mut left, &mut out)?;
        return Ok(());
    }
    let mut access = Some(access);
    while left > 0 {
        let Some(way) = access.take() else {
            access = wait_for_change(data_dir)?;
            continue;
        };
        match print_all(&way, args, &mut readings, &mut left, &mut out) {
            Ok(()) => {}
            // The run has ended: go on with the files, or with the next run.
            Err(Failure::Error(error)) if error.code() == codes::HTTP_CALL => {
                access = reopen(data_dir)?;
                continue;
            }
            Err(other) => return Err(other),
        }
        if let Access::Run(_) = way {
            std::thread::sleep(FOLLOW_EVERY);
            access = Some(way);
        }
    }
    Ok(())
}

fn readings(args: &TailArgs, view: &TopicView) -> Outcome<Vec<Reading>> {
    let chosen: Vec<_> = view.partitions.iter().filter(|p| args.partition.is_none_or(|n| n == p.partition)).collect();
    let last = view.partitions.len().saturating_sub(1);
    if let (Some(partition), true) = (args.partition, chosen.is_empty()) {
        return Err(Error::new(codes::ARGUMENT, format!("topic `{}` has no partition {partition}", view.name))
            .help(format!("it has partitions 0 to {last}"))
            .into());
    }
    if matches!(args.from, From::Offset(_)) && chosen.len() > 1 {
        return Err(Error::new(codes::ARGUMENT, "an offset belongs to one partition")
            .help(format!("say which with `--partition`, 0 to {last}"))
            .into());
    }
    let start = |p: &crate::log::PartitionView| match args.from {
        From::Earliest => p.start_offset,
        From::Latest => p.next_offset,
        From::Offset(offset) => offset,
    };
    Ok(chosen.into_iter().map(|p| Reading { partition: p.partition, next: start(p) }).collect())
}

/// Prints what there is now, partition by partition.
fn print_all(access: &Access, args: &TailArgs, readings: &mut [Reading], left: &mut u64, out: &mut Output) -> Outcome {
    let mut bytes = Vec::new();
    for reading in readings {
        while *left > 0 {
            bytes.clear();
            let place = Place { topic: &args.topic, partition: reading.partition, offset: reading.next };
            let page = access.read(place, *left, args.format, &mut bytes)?;
            if page.records == 0 {
                break;
            }
            out.write(&bytes)?;
            reading.next = page.next_offset;
            *left -= page.records;
        }
    }
    out.flush()
}

/// Waits until a run announces itself (and gives the way to it) or the files have changed (and opens them).
fn wait_for_change(data_dir: &Path) -> Outcome<Option<Access>> {
    let before = fingerprint(data_dir);
    loop {
        std::thread::sleep(LOOK_EVERY);
        if let Some(run) = Access::run(data_dir) {
            return Ok(Some(run));
        }
        if fingerprint(data_dir) == before {
            continue;
        }
        return reopen(data_dir);
    }
}

fn reopen(data_dir: &Path) -> Outcome<Option<Access>> {
    match Access::open(data_dir, false) {
        Ok(access) => Ok(Some(access)),
        // A run that announces no port has it.
        Err(error) if error.code() == LOG_LOCKED => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Changes whenever something is written to the log.
fn fingerprint(data_dir: &Path) -> u64 {
    fn add(folder: &Path, hasher: &mut DefaultHasher) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        let mut entries: Vec<_> = entries.flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let Ok(about) = entry.metadata() else { continue };
            (entry.file_name(), about.len(), about.modified().ok()).hash(hasher);
            if about.is_dir() {
                add(&entry.path(), hasher);
            }
        }
    }
    let mut hasher = DefaultHasher::new();
    add(&data_dir.join("log"), &mut hasher);
    hasher.finish()
}
