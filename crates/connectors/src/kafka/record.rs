//! How a commit is written down: as the metadata of a committed offset, or as a record of the journal topic.

use std::collections::BTreeMap;

use millstream_core::{CommitRecord, Error, Position, Receipt, Result};
use serde::{Deserialize, Serialize};

use crate::codes::{KAFKA_COMMIT, KAFKA_JOURNAL};

/// The broker's bound on the metadata of an offset is 4096 bytes unless it is set otherwise.
const METADATA_BYTES_MAX: usize = 4000;
const VERSION: u32 = 1;

/// A commit, in few bytes. The offset stands beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    #[serde(rename = "v")]
    version: u32,
    #[serde(rename = "e")]
    epoch: u64,
    #[serde(rename = "s")]
    start: u64,
    #[serde(rename = "sc", default, skip_serializing_if = "String::is_empty")]
    start_cursor: String,
    /// Only where the offset does not stand beside it.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(rename = "c", default, skip_serializing_if = "String::is_empty")]
    cursor: String,
    #[serde(rename = "j")]
    journal_len: u64,
    #[serde(rename = "r", default, skip_serializing_if = "BTreeMap::is_empty")]
    receipts: BTreeMap<String, Receipt>,
    #[serde(rename = "a", default, skip_serializing_if = "BTreeMap::is_empty")]
    artifacts: BTreeMap<String, String>,
    /// Which write this is: tells a writer that was cut off whether its own write holds.
    #[serde(rename = "w")]
    pub(super) write: String,
}

impl Stored {
    pub(super) fn new(record: &CommitRecord, write: &str) -> Self {
        Self {
            version: VERSION,
            epoch: record.epoch,
            start: record.start.offset,
            start_cursor: record.start.cursor.clone(),
            offset: None,
            cursor: record.position.cursor.clone(),
            journal_len: record.journal_len,
            // A receipt that says nothing is none.
            receipts: record
                .receipts
                .iter()
                .filter(|(_, r)| !r.0.is_empty())
                .map(|(n, r)| (n.clone(), r.clone()))
                .collect(),
            artifacts: record.artifacts.clone(),
            write: write.to_owned(),
        }
    }

    /// As the metadata of the committed offset.
    pub(super) fn metadata(&self) -> Result<String> {
        let text = self.json()?;
        if text.len() > METADATA_BYTES_MAX {
            return Err(Error::new(
                KAFKA_COMMIT,
                format!(
                    "a commit of {} bytes does not fit beside a Kafka offset ({METADATA_BYTES_MAX} bytes)",
                    text.len()
                ),
            )
            .help("use fewer file outputs or shorter paths, or fewer models in one pipeline"));
        }
        Ok(text)
    }

    /// As a record that stands alone.
    pub(super) fn alone(mut self, record: &CommitRecord) -> Result<String> {
        self.offset = Some(record.position.offset);
        self.json()
    }

    fn json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::new(KAFKA_COMMIT, "a commit can't be encoded").because(e))
    }

    /// Reads it back.
    pub(super) fn parse(text: &str, whose: &str) -> Result<Self> {
        let foreign = |why: String| {
            Error::new(KAFKA_JOURNAL, format!("the commit of {whose} was not written by Millstream: {why}")).help(
                "another program commits offsets in this consumer group: give the pipeline a `group:` of its own, or \
                 begin anew with `millstream reset`",
            )
        };
        let stored: Self = serde_json::from_str(text).map_err(|e| foreign(e.to_string()))?;
        if stored.version != VERSION {
            return Err(Error::new(
                KAFKA_JOURNAL,
                format!(
                    "the commit of {whose} has version {}, and this program knows version {VERSION}",
                    stored.version
                ),
            )
            .help("run the newer Millstream that wrote it"));
        }
        Ok(stored)
    }

    /// The commit, with the offset that stood beside it.
    pub(super) fn record(&self, offset: u64) -> CommitRecord {
        CommitRecord {
            epoch: self.epoch,
            start: Position { offset: self.start, cursor: self.start_cursor.clone() },
            position: Position { offset: self.offset.unwrap_or(offset), cursor: self.cursor.clone() },
            journal_len: self.journal_len,
            receipts: self.receipts.clone(),
            artifacts: self.artifacts.clone(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit() -> CommitRecord {
        CommitRecord {
            epoch: 7,
            start: Position { offset: 3, cursor: String::new() },
            position: Position { offset: 90, cursor: "c".into() },
            journal_len: 4,
            receipts: [("out".to_owned(), Receipt("{\"n\":1}".into())), ("k".to_owned(), Receipt::default())].into(),
            artifacts: [("model m".to_owned(), "ab".repeat(32))].into(),
        }
    }

    #[test]
    fn a_commit_comes_back() {
        let mut expected = commit();
        expected.receipts.remove("k");
        let stored = Stored::new(&commit(), "w1");
        let beside = Stored::parse(&stored.metadata().unwrap(), "t").unwrap();
        assert_eq!(beside.record(90), expected);
        assert_eq!((beside.write.as_str(), beside.epoch()), ("w1", 7));
        let alone = stored.alone(&commit()).unwrap();
        assert_eq!(Stored::parse(&alone, "t").unwrap().record(0), expected);
    }

    #[test]
    fn what_others_wrote_is_refused() {
        for text in ["", "hello", "{}", "{\"v\":2,\"e\":1,\"s\":0,\"j\":0,\"w\":\"\"}"] {
            assert!(Stored::parse(text, "partition 0").is_err(), "{text}");
        }
        let mut large = commit();
        large.receipts.insert("x".into(), Receipt("y".repeat(5000)));
        assert!(Stored::new(&large, "w").metadata().is_err());
    }
}
