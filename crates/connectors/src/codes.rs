//! The codes of sources, sinks and the log: `MS05xx`, `MS0610` to `MS0649`.

use millstream_core::Code;

/// A `type:` that names no connector.
pub const UNKNOWN_CONNECTOR: Code = Code::new("MS0501", "unknown type of source or output");
/// An option with a value that can't be.
pub const BAD_OPTION: Code = Code::new("MS0502", "an option of a source or output can't have this value");

/// No file at the path, or none that matches the pattern.
pub const FILE_NOT_FOUND: Code = Code::new("MS0510", "the input file does not exist");
/// The operating system refused.
pub const FILE_UNREADABLE: Code = Code::new("MS0511", "the input can't be read");
/// A `.gz` or `.zst` file that does not decompress.
pub const COMPRESSED_DAMAGED: Code = Code::new("MS0512", "a compressed file is damaged");
/// The file is not the one the last commit read.
pub const INPUT_CHANGED: Code = Code::new("MS0513", "the input changed since the last commit");
/// A position that this source did not write.
pub const BAD_CURSOR: Code = Code::new("MS0514", "a stored position can't be read");
/// Compressed bytes under a name that does not say so.
pub const NOT_NAMED_COMPRESSED: Code = Code::new("MS0515", "a compressed file is not named so");
/// A record above the bound.
pub const RECORD_TOO_LONG: Code = Code::new("MS0516", "a record is too long");
/// CSV files whose headers differ, or that have none.
pub const CSV_HEADER: Code = Code::new("MS0517", "the CSV header is missing or differs between files");
/// Standard input can't go back.
pub const STDIN_REPLAY: Code = Code::new("MS0518", "standard input can't be read again");

/// The output is there already, and is not this pipeline's.
pub const OUTPUT_EXISTS: Code = Code::new("MS0530", "the output exists and was not written by this pipeline");
/// Someone else changed the output.
pub const OUTPUT_CHANGED: Code = Code::new("MS0531", "the output was changed by someone else");
/// The operating system refused.
pub const OUTPUT_UNWRITABLE: Code = Code::new("MS0532", "the output can't be written");
/// Staged bytes that are not those the commit named.
pub const STAGED_DAMAGED: Code = Code::new("MS0533", "the staged rows of an output are damaged");
/// The reader of standard output went away.
pub const OUTPUT_CLOSED: Code = Code::new("MS0534", "standard output was closed");
/// The receipts name another output than the pipeline file.
pub const OUTPUT_MOVED: Code = Code::new("MS0535", "the output's path or format changed");
/// A receipt that can't be read.
pub const BAD_RECEIPT: Code = Code::new("MS0536", "a receipt of an output can't be read");

/// A `client:` property that librdkafka does not know, or that can't have this value.
pub const KAFKA_PROPERTY: Code = Code::new("MS0540", "a librdkafka property that can't be set");
/// A `client:` property that belongs to Millstream.
pub const KAFKA_OWNED_PROPERTY: Code = Code::new("MS0541", "a librdkafka property that Millstream sets itself");
/// A password, token or key that can't be read.
pub const KAFKA_SECRET: Code = Code::new("MS0542", "a secret can't be read");
/// Source and outputs that no commit can hold together.
pub const KAFKA_CLUSTERS: Code = Code::new("MS0543", "source and outputs that can't be committed together");
/// The brokers can't be reached or don't let this client in.
pub const KAFKA_UNREACHABLE: Code = Code::new("MS0544", "a Kafka cluster can't be reached");
/// No such topic, or none that matches.
pub const KAFKA_NO_TOPIC: Code = Code::new("MS0545", "a Kafka topic does not exist");
/// A topic with another number of partitions, or a setting that pipelines can't work with.
pub const KAFKA_TOPIC: Code = Code::new("MS0546", "a Kafka topic is not as the pipeline needs it");
/// A request to change or look at topics that the brokers refused.
pub const KAFKA_REFUSED: Code = Code::new("MS0547", "Kafka refused a request");

/// A client that can't be made from the pipeline file's properties.
pub const KAFKA_CLIENT: Code = Code::new("MS0548", "a Kafka client can't be made");
/// A partition that can't be read.
pub const KAFKA_READ: Code = Code::new("MS0549", "a Kafka partition can't be read");

/// Another process has the log.
pub const LOG_LOCKED: Code = Code::new("MS0610", "the log is in use by another process");
/// The log can't be opened.
pub const LOG_UNOPENABLE: Code = Code::new("MS0611", "the log can't be opened");
/// Commits that were acknowledged are gone.
pub const LOG_LOST: Code = Code::new("MS0612", "the log has lost commits");
/// Stored bytes that don't read back.
pub const LOG_DAMAGED: Code = Code::new("MS0613", "the log is damaged");
/// A write that failed.
pub const LOG_WRITE: Code = Code::new("MS0614", "the log can't be written");
/// A read that failed.
pub const LOG_READ: Code = Code::new("MS0615", "the log can't be read");

/// No topic of that name.
pub const UNKNOWN_TOPIC: Code = Code::new("MS0620", "the topic does not exist");
/// A topic of that name is there.
pub const TOPIC_EXISTS: Code = Code::new("MS0621", "the topic exists already");
/// A name or a number of partitions that can't be.
pub const BAD_TOPIC: Code = Code::new("MS0622", "a topic can't be created like this");
/// An offset that retention has removed, or that was never written.
pub const OFFSET_GONE: Code = Code::new("MS0623", "the log does not reach back to this offset");
/// The topic has another number of partitions than declared.
pub const PARTITIONS_DIFFER: Code = Code::new("MS0624", "the topic has another number of partitions");
/// A partition that the topic does not have.
pub const UNKNOWN_PARTITION: Code = Code::new("MS0625", "the topic has no such partition");

/// Committed offsets that are gone.
pub const KAFKA_COMMIT_LOST: Code = Code::new("MS0630", "the committed offsets are gone");
/// An epoch that can't be committed.
pub const KAFKA_COMMIT: Code = Code::new("MS0631", "an epoch can't be committed to Kafka");
/// Two processes under one identity.
pub const KAFKA_IDENTITY: Code = Code::new("MS0632", "another process uses this process's identity");
/// A commit or a journal entry that does not read back.
pub const KAFKA_JOURNAL: Code = Code::new("MS0633", "commits or journal in Kafka are not as they were written");
/// An offset that retention has removed.
pub const KAFKA_OFFSET_GONE: Code = Code::new("MS0634", "Kafka no longer has this offset");
/// No identity, or no lock, in the data directory.
pub const KAFKA_INSTANCE: Code = Code::new("MS0635", "this process can't take its place in the data directory");
/// The group refuses this member.
pub const KAFKA_MEMBER: Code = Code::new("MS0636", "the consumer group can't be joined or kept");

/// A pipeline whose positions can't be set because it runs.
pub const KAFKA_RUNNING: Code = Code::new("MS0637", "the pipeline is running");
/// A place that an input can't go to.
pub const NO_PLACE: Code = Code::new("MS0638", "the input has no such place");

/// Every code of this crate but those of the codecs.
pub const ALL: &[Code] = &[
    UNKNOWN_CONNECTOR,
    BAD_OPTION,
    FILE_NOT_FOUND,
    FILE_UNREADABLE,
    COMPRESSED_DAMAGED,
    INPUT_CHANGED,
    BAD_CURSOR,
    NOT_NAMED_COMPRESSED,
    RECORD_TOO_LONG,
    CSV_HEADER,
    STDIN_REPLAY,
    OUTPUT_EXISTS,
    OUTPUT_CHANGED,
    OUTPUT_UNWRITABLE,
    STAGED_DAMAGED,
    OUTPUT_CLOSED,
    OUTPUT_MOVED,
    BAD_RECEIPT,
    KAFKA_PROPERTY,
    KAFKA_OWNED_PROPERTY,
    KAFKA_SECRET,
    KAFKA_CLUSTERS,
    KAFKA_UNREACHABLE,
    KAFKA_NO_TOPIC,
    KAFKA_TOPIC,
    KAFKA_REFUSED,
    KAFKA_CLIENT,
    KAFKA_READ,
    LOG_LOCKED,
    LOG_UNOPENABLE,
    LOG_LOST,
    LOG_DAMAGED,
    LOG_WRITE,
    LOG_READ,
    UNKNOWN_TOPIC,
    TOPIC_EXISTS,
    BAD_TOPIC,
    OFFSET_GONE,
    PARTITIONS_DIFFER,
    UNKNOWN_PARTITION,
    KAFKA_COMMIT_LOST,
    KAFKA_COMMIT,
    KAFKA_IDENTITY,
    KAFKA_JOURNAL,
    KAFKA_OFFSET_GONE,
    KAFKA_INSTANCE,
    KAFKA_MEMBER,
    KAFKA_RUNNING,
    NO_PLACE,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_its_page() {
        let mut seen = BTreeSet::new();
        for code in super::ALL.iter().chain(crate::codec::codes::ALL) {
            assert!(seen.insert(code.id), "{code} stands for two things");
            let path = format!("{}/../../docs/errors/{code}.md", env!("CARGO_MANIFEST_DIR"));
            let page = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
            assert_eq!(page.lines().next(), Some(format!("# {code}: {}", code.title).as_str()));
        }
    }
}
