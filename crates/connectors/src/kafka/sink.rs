//! The committer's side of a Kafka output: puts records into the epoch's transaction, each to its partition.

use millstream_core::murmur::partition_for;
use millstream_core::{Chunk, Error, Receipt, Result, Sink, TaskId, Txn};

use super::output::Partitioner;
use crate::codes::KAFKA_COMMIT;
use crate::partitioned;

/// It has nothing to recover: the transaction holds the records, or does not.
pub(super) struct KafkaSink {
    topic: String,
    partitions: u32,
    partitioner: Partitioner,
}

impl KafkaSink {
    pub(super) fn new(topic: &str, partitions: u32, partitioner: Partitioner) -> Self {
        Self { topic: topic.to_owned(), partitions: partitions.max(1), partitioner }
    }

    /// Sets every record's partition to that of the output.
    fn place(&self, chunk: &mut Chunk) -> Result<()> {
        let keyed = self.partitioner == Partitioner::Murmur2;
        for record in &mut chunk.records {
            record.partition = match partitioned::key(record, &chunk.data).filter(|_| keyed) {
                Some(key) => partition_for(key, self.partitions),
                None if self.partitioner == Partitioner::Column => self.declared(record.partition)?,
                None => record.partition % self.partitions,
            };
        }
        Ok(())
    }

    fn declared(&self, partition: u32) -> Result<u32> {
        if partition < self.partitions {
            return Ok(partition);
        }
        Err(Error::new(
            KAFKA_COMMIT,
            format!("a row says partition {partition} of topic `{}`, which has {}", self.topic, self.partitions),
        )
        .help("let the column of `partition:` hold numbers that the topic has, or give the topic more partitions"))
    }
}

impl Sink for KafkaSink {
    fn recover(&mut self, _task: TaskId, _committed: Option<&Receipt>) -> Result<()> {
        Ok(())
    }

    fn stage(&mut self, _task: TaskId, mut chunk: Chunk, txn: &mut dyn Txn) -> Result<Receipt> {
        if chunk.records.is_empty() && !chunk.data.is_empty() {
            return Err(Error::new(KAFKA_COMMIT, format!("rows for topic `{}` have no boundaries", self.topic)));
        }
        self.place(&mut chunk)?;
        partitioned::append(&self.topic, chunk, txn)
    }

    fn publish(&mut self, _lost: &[TaskId]) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use millstream_core::{CommitRecord, EncodedRecord, JournalEntry, Lease};

    use super::*;

    #[derive(Default)]
    struct Seen(Vec<(u32, Vec<String>)>);

    impl Txn for Seen {
        fn task(&mut self, _task: TaskId, _lease: Lease) {}

        fn append(&mut self, _topic: &str, partition: u32, chunk: &Arc<Chunk>, records: Range<usize>) -> Result<()> {
            let values = chunk.records[records].iter().map(|record| {
                let (start, length) = record.value.unwrap();
                String::from_utf8(chunk.data[start as usize..(start + length) as usize].to_vec()).unwrap()
            });
            self.0.push((partition, values.collect()));
            Ok(())
        }

        fn put_commit(&mut self, _: &str, _: TaskId, _: &CommitRecord) -> Result<()> {
            Ok(())
        }

        fn put_journal(&mut self, _: &str, _: TaskId, _: u64, _: &JournalEntry) -> Result<()> {
            Ok(())
        }

        fn commit(self: Box<Self>, _sync: bool) -> Result<Vec<TaskId>> {
            Ok(Vec::new())
        }
    }

    fn chunk(records: &[(Option<&str>, u32)]) -> Chunk {
        let mut chunk = Chunk::default();
        for (i, (key, partition)) in records.iter().enumerate() {
            let mut put = |text: &str| {
                let start = chunk.data.len() as u32;
                chunk.data.extend_from_slice(text.as_bytes());
                (start, text.len() as u32)
            };
            let key = key.map(&mut put);
            let value = put(&i.to_string());
            chunk.records.push(EncodedRecord {
                key,
                value: Some(value),
                timestamp_ms: 0,
                partition: *partition,
                headers: Vec::new(),
            });
        }
        chunk.rows = records.len() as u64;
        chunk
    }

    fn stage(partitioner: Partitioner, records: &[(Option<&str>, u32)]) -> Result<Vec<(u32, Vec<String>)>> {
        let mut seen = Seen::default();
        KafkaSink::new("t", 4, partitioner).stage(TaskId::new(0), chunk(records), &mut seen)?;
        Ok(seen.0)
    }

    #[test]
    fn records_go_to_their_partitions_in_order() {
        let names = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let input = stage(Partitioner::Input, &[(None, 5), (Some("21"), 2), (None, 1)]).unwrap();
        assert_eq!(input, [(1, names(&["0", "2"])), (2, names(&["1"]))]);
        let keyed = stage(Partitioner::Murmur2, &[(Some("foobar"), 5), (None, 6), (Some("foobar"), 0)]).unwrap();
        let place = partition_for(b"foobar", 4);
        assert!(keyed.contains(&(place, names(if place == 2 { &["0", "1", "2"] } else { &["0", "2"] }))));
        assert_eq!(stage(Partitioner::Column, &[(None, 3), (None, 3)]).unwrap(), [(3, names(&["0", "1"]))]);
        assert!(stage(Partitioner::Column, &[(None, 4)]).is_err());
    }
}
