//! What sinks of topics share: records of a chunk go to the partitions that their fields say, in one transaction.

use std::sync::Arc;

use millstream_core::{Chunk, EncodedRecord, Receipt, Result, Txn};

/// A record's key; `data` is its chunk's.
pub(crate) fn key<'a>(record: &EncodedRecord, data: &'a [u8]) -> Option<&'a [u8]> {
    let (start, length) = record.key?;
    data.get(start as usize..start as usize + length as usize)
}

/// Appends every record to its partition of a topic: one run a partition, in the order the records came.
pub(crate) fn append(topic: &str, mut chunk: Chunk, txn: &mut dyn Txn) -> Result<Receipt> {
    chunk.records.sort_by_key(|record| record.partition);
    let chunk = Arc::new(chunk);
    let mut first = 0;
    for run in chunk.records.chunk_by(|a, b| a.partition == b.partition) {
        let partition = run.first().map_or(0, |record| record.partition);
        txn.append(topic, partition, &chunk, first..first + run.len())?;
        first += run.len();
    }
    Ok(Receipt::default())
}
