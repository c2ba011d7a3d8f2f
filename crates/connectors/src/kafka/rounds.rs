//! In which portions a producer is given the records of a write.
//!
//! librdkafka has one request under way for each partition, and while more records of that partition wait behind it, the
//! thread of that broker polls without a pause (it takes the records in flight for requests, of which five may be: see
//! `rd_kafka_toppar_producer_serve`). A quarter of a busy producer's CPU time went there. So a producer is given no more of
//! each partition than one request holds, and the next round when that one is answered.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use millstream_core::{Chunk, EncodedRecord};

use super::txn::Part;

/// What librdkafka counts for a record besides its key, value and headers, at most.
const RECORD_OVERHEAD: usize = 64;
/// The same for a header.
const HEADER_OVERHEAD: usize = 16;

/// What one request to a partition may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestMax {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// Records of one chunk that go to one partition.
pub(super) struct Portion<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: u32,
    pub(super) chunk: &'a Chunk,
    pub(super) records: Range<usize>,
}

/// The records of a write that were not handed out yet, by partition.
pub(super) struct Rounds<'a> {
    max: RequestMax,
    lanes: Vec<VecDeque<Portion<'a>>>,
}

impl<'a> Rounds<'a> {
    pub(super) fn new(parts: &'a [Part], max: RequestMax) -> Self {
        let mut places = HashMap::new();
        let mut lanes: Vec<VecDeque<Portion<'a>>> = Vec::new();
        for append in parts.iter().flat_map(|part| &part.appends) {
            let topic = append.topic.as_str();
            let lane = *places.entry((topic, append.partition)).or_insert(lanes.len());
            if lane == lanes.len() {
                lanes.push(VecDeque::new());
            }
            let portion =
                Portion { topic, partition: append.partition, chunk: &append.chunk, records: append.records.clone() };
            lanes[lane].push_back(portion);
        }
        Self { max, lanes }
    }

    /// The next round: of each partition as much as fits a request, at least a record; empty when all were handed out.
    pub(super) fn next(&mut self) -> Vec<Portion<'a>> {
        let mut round = Vec::new();
        for lane in &mut self.lanes {
            let mut left = self.max;
            let mut first = true;
            while let Some(portion) = lane.front_mut() {
                let all = portion.chunk.records.get(portion.records.clone()).unwrap_or_default();
                let fit = fitting(all, &mut left, first);
                if fit == 0 && !all.is_empty() {
                    break;
                }
                let middle = portion.records.start + fit;
                round.push(Portion { records: portion.records.start..middle, ..*portion });
                portion.records.start = middle;
                if portion.records.is_empty() {
                    lane.pop_front();
                }
                first = false;
            }
        }
        round
    }
}

/// How many of these fit what is left of a request; one at least, if it is the first.
fn fitting(records: &[EncodedRecord], left: &mut RequestMax, first: bool) -> usize {
    let mut count = 0;
    for record in records {
        let bytes = size(record);
        let fits = left.records > 0 && bytes <= left.bytes;
        if !(fits || first && count == 0) {
            break;
        }
        left.records = left.records.saturating_sub(1);
        left.bytes = left.bytes.saturating_sub(bytes);
        count += 1;
    }
    count
}

fn size(record: &EncodedRecord) -> usize {
    let part = |place: Option<(u32, u32)>| place.map_or(0, |(_, length)| length as usize);
    let headers = record.headers.iter().map(|header| header.name.len() + header.value.len() + HEADER_OVERHEAD);
    part(record.key) + part(record.value) + RECORD_OVERHEAD + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kafka::txn::Append;

    fn part(partition: u32, lengths: &[u32]) -> Part {
        let record = |&length: &u32| EncodedRecord {
            key: None,
            value: Some((0, length)),
            timestamp_ms: 0,
            partition,
            headers: Vec::new(),
        };
        let chunk = Arc::new(Chunk { records: lengths.iter().map(record).collect(), ..Chunk::default() });
        let append = Append { topic: "t".to_owned(), partition, records: 0..lengths.len(), chunk };
        Part { appends: vec![append], ..Part::default() }
    }

    fn all(parts: &[Part], max: RequestMax) -> Vec<Vec<(u32, Range<usize>)>> {
        let mut rounds = Rounds::new(parts, max);
        std::iter::repeat_with(|| rounds.next())
            .take_while(|round| !round.is_empty())
            .map(|round| round.into_iter().map(|p| (p.partition, p.records)).collect())
            .collect()
    }

    #[test]
    fn a_round_has_a_request_of_each_partition_in_order() {
        let parts = [part(0, &[36, 36, 36]), part(1, &[36]), part(0, &[36, 1000, 36])];
        let max = RequestMax { records: 4, bytes: 200 };
        let rounds = all(&parts, max);
        assert_eq!(
            rounds,
            [
                vec![(0, 0..2), (1, 0..1)],
                vec![(0, 2..3), (0, 0..1)],
                vec![(0, 1..2)], // larger than a request: alone
                vec![(0, 2..3)],
            ]
        );
        let few = all(&parts, RequestMax { records: 1, bytes: 1 << 20 });
        assert_eq!(few.len(), 6);
        let at_once = all(&parts, RequestMax { records: 100, bytes: 1 << 20 });
        assert_eq!(at_once, [vec![(0, 0..3), (0, 0..3), (1, 0..1)]]);
    }

    #[test]
    fn nothing_makes_no_round() {
        assert!(all(&[part(3, &[])], RequestMax { records: 1, bytes: 1 }).concat().iter().all(|(_, r)| r.is_empty()));
    }
}
