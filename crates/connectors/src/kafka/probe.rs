//! `check --connect`: whether a source's and an output's topics are there, and as they must be.

use std::time::Duration;

use millstream_config::duration::show;
use millstream_core::{Error, Result};

use super::admin::Admin;
use super::input::{Start, Topics};
use super::{KafkaInput, KafkaOutput};
use crate::codes::{KAFKA_NO_TOPIC, KAFKA_TOPIC};
use crate::env::Env;

/// Snapshots of which this many fit into the input's retention can be trusted to be found in time.
const SNAPSHOTS_WITHIN_RETENTION: u32 = 10;

/// See [`crate::spec::SourceSpec::probe`].
pub(super) fn input(input: &KafkaInput, env: &Env) -> Result<()> {
    let admin = Admin::connect(&input.connection, env.base_dir())?;
    let topics = topics(input, &admin)?;
    if let (Start::Offsets(offsets), [(topic, count)]) = (&input.start, topics.as_slice())
        && let Some((&partition, _)) = offsets.last_key_value()
        && partition >= *count
    {
        return Err(Error::new(
            KAFKA_TOPIC,
            format!("`start` names partition {partition}, and topic `{topic}` has {count}"),
        )
        .help("partitions are numbered from 0"));
    }
    Ok(())
}

/// See [`crate::spec::SourceSpec::partitions`].
pub(super) fn partitions(input: &KafkaInput, env: &Env) -> Result<u32> {
    let admin = Admin::connect(&input.connection, env.base_dir())?;
    Ok(topics(input, &admin)?.iter().map(|(_, count)| *count).max().unwrap_or(1))
}

/// The topics of an input, with their numbers of partitions. Those that a pattern may find later need not be there.
fn topics(input: &KafkaInput, admin: &Admin) -> Result<Vec<(String, u32)>> {
    match &input.topics {
        Topics::Named(names) => {
            let one = |name: &String| {
                let count = admin.partitions_of(name)?.ok_or_else(|| admin.missing(name))?;
                Ok((name.clone(), count))
            };
            names.iter().map(one).collect()
        }
        // Only librdkafka's own compiler knows what matches; a topic that is there is asked for each.
        Topics::Pattern(_) => {
            let all: Vec<_> = admin.partitions()?.into_iter().collect();
            if all.is_empty() {
                return Err(Error::new(KAFKA_NO_TOPIC, "the Kafka cluster has no topics that `pattern:` could match")
                    .help("create one, or look whether these are the right `brokers:`"));
            }
            Ok(all)
        }
    }
}

/// See [`crate::spec::SourceSpec::doubts`].
pub(super) fn doubts(input: &KafkaInput, env: &Env, snapshot_every: Duration) -> Result<Vec<Error>> {
    let Topics::Named(names) = &input.topics else { return Ok(Vec::new()) };
    let admin = Admin::connect(&input.connection, env.base_dir())?;
    let mut doubts = Vec::new();
    for name in names {
        let settings = admin.settings(name)?;
        let setting = |name: &str| settings.get(name).map_or("", |(value, _)| value.as_str());
        if setting("cleanup.policy").contains("compact") {
            let message = format!(
                "topic `{name}` is compacted: state that is rebuilt from it can't see records that were removed"
            );
            doubts.push(Error::new(KAFKA_TOPIC, message).help(
                "set `cleanup.policy=delete`, or a `min.compaction.lag.ms` above the age of the oldest snapshot plus the \
                 longest stop",
            ));
        }
        let kept = setting("retention.ms").parse().ok().map(Duration::from_millis);
        if let Some(kept) = kept.filter(|kept| *kept < snapshot_every * SNAPSHOTS_WITHIN_RETENTION) {
            let message = format!(
                "topic `{name}` keeps records for {}, and state is written down every {}: after a longer stop it can't be \
                 rebuilt",
                show(kept),
                show(snapshot_every)
            );
            doubts.push(Error::new(KAFKA_TOPIC, message).help(
                "keep records longer than the pipeline may ever stand still (`millstream topic alter … --keep-for`)",
            ));
        }
    }
    Ok(doubts)
}

/// See [`crate::spec::SinkSpec::probe`].
pub(super) fn output(output: &KafkaOutput, env: &Env) -> Result<()> {
    let admin = Admin::connect(&output.connection, env.base_dir())?;
    match (admin.partitions_of(&output.topic)?, output.partitions) {
        (None, None) => Err(admin.missing(&output.topic)),
        (Some(count), Some(declared)) if count != declared => Err(differs(&output.topic, count, declared)),
        _ => Ok(()),
    }
}

/// A topic has another number of partitions than declared.
pub(super) fn differs(topic: &str, count: u32, declared: u32) -> Error {
    Error::new(KAFKA_TOPIC, format!("topic `{topic}` has {count} partitions, but the pipeline declares {declared}"))
        .help(format!("write `partitions: {count}`, or leave `partitions` away"))
}
