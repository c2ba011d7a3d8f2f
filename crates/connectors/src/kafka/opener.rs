//! Opens the readers of an input's partitions, where a pipeline that never committed begins.
//!
//! Used by starters. What a bounded input ends at is settled when a task is first opened, and stays so for the run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use millstream_core::{Error, Opener, Result, Source, TaskId};

use super::KafkaInput;
use super::group::TaskNames;
use super::input::Start;
use super::source::{ASK, KafkaSource, Reader, topic_gone};
use crate::codes::KAFKA_OFFSET_GONE;

pub(super) struct KafkaOpener {
    input: KafkaInput,
    names: Arc<TaskNames>,
    reader: Arc<Reader>,
    ends: Mutex<HashMap<TaskId, u64>>,
}

/// Where in a partition with the offsets `low..high` a task begins. `at_time` is the first offset at or after a time.
fn begin(start: &Start, partition: u32, low: u64, high: u64, at_time: Option<u64>) -> std::result::Result<u64, u64> {
    match start {
        Start::Earliest => Ok(low),
        Start::Latest => Ok(high),
        Start::Timestamp(_) => Ok(at_time.unwrap_or(high).clamp(low, high)),
        Start::Offsets(offsets) => match offsets.get(&partition) {
            None => Ok(low),
            Some(offset) if (low..=high).contains(offset) => Ok(*offset),
            Some(offset) => Err(*offset),
        },
    }
}

impl KafkaOpener {
    pub(super) fn new(input: KafkaInput, names: Arc<TaskNames>, reader: Arc<Reader>) -> Self {
        Self { input, names, reader, ends: Mutex::default() }
    }

    pub(super) fn source(&self, task: TaskId) -> Result<KafkaSource> {
        let topic = self.names.topic(task).ok_or_else(|| topic_gone(&format!("of task {task}"), None))?;
        let partition = task.partition;
        match self.reader.partitions(&topic)? {
            Some(count) if partition < count => {}
            Some(_) => return Err(topic_gone(&topic, Some(partition))),
            None => return Err(topic_gone(&topic, None)),
        }
        let (low, high) = self.reader.watermarks(&topic, partition)?;
        let at_time = match self.input.start {
            Start::Timestamp(time_ms) => {
                let what = format!("the offset of a time in partition {partition} of topic `{topic}`");
                self.reader.ask(&what, || self.reader.client.offset_at(&topic, partition as i32, time_ms, ASK))?
            }
            _ => None,
        };
        let start = begin(&self.input.start, partition, low, high, at_time).map_err(|offset| {
            Error::new(
                KAFKA_OFFSET_GONE,
                format!("`start:` wants offset {offset} of partition {partition} of topic `{topic}`, which has {low} to {high}"),
            )
            .help("write an offset that the partition has, or `start: earliest`")
        })?;
        let bound = self
            .input
            .bounded
            .then(|| *self.ends.lock().unwrap_or_else(PoisonError::into_inner).entry(task).or_insert(high));
        KafkaSource::new(&self.reader, &topic, task, start, bound)
    }
}

impl Opener for KafkaOpener {
    fn open(&self, task: TaskId) -> Result<Box<dyn Source>> {
        Ok(Box::new(self.source(task)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_begin() {
        let offsets = Start::Offsets([(0, 12), (1, 99)].into());
        assert_eq!(begin(&Start::Earliest, 0, 5, 20, None), Ok(5));
        assert_eq!(begin(&Start::Latest, 0, 5, 20, None), Ok(20));
        assert_eq!(begin(&Start::Timestamp(1), 0, 5, 20, Some(7)), Ok(7));
        assert_eq!(begin(&Start::Timestamp(1), 0, 5, 20, None), Ok(20));
        assert_eq!(begin(&offsets, 0, 5, 20, None), Ok(12));
        assert_eq!(begin(&offsets, 1, 5, 20, None), Err(99));
        assert_eq!(begin(&offsets, 2, 5, 20, None), Ok(5));
    }
}
