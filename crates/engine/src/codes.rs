//! The codes of errors raised by the engine.

use millstream_core::Code;

/// A pipeline file that can't be read from disk.
pub const FILE_UNREADABLE: Code = Code::new("MS0801", "the pipeline file can't be read");
/// An event was refused and there is no dead-letter output.
pub const NO_DEAD_LETTERS: Code = Code::new("MS0802", "an event was refused and nothing takes dead letters");
/// A worker or the committer ended in a way it should not.
pub const THREAD_FAILED: Code = Code::new("MS0803", "a thread of the run failed");
/// `predict` inputs that don't match the model's signature.
pub const MODEL_INPUTS: Code = Code::new("MS0804", "a model's inputs don't match the step");
/// A source or sink that can't keep the declared delivery.
pub const DELIVERY: Code = Code::new("MS0805", "the delivery guarantee can't be kept");
/// A statement about time that the pipeline needs and lacks.
pub const EVENT_TIME: Code = Code::new("MS0807", "event time is missing or out of range");
/// A table or model that could not be read while planning.
pub const NOT_CHECKED: Code = Code::new("MS0809", "a part of the pipeline could not be checked");
/// Two columns of one name in a step or an output.
pub const COLUMN_TWICE: Code = Code::new("MS0810", "a column name stands twice");
/// A row that a source's check refuses.
pub const CHECK_FAILED: Code = Code::new("MS0812", "an event failed a check");
/// The state of earlier runs can't be brought up to the changed pipeline.
pub const STATE_LOST: Code = Code::new("MS0650", "the state of earlier runs can't be rebuilt");
/// A snapshot that could not be written.
pub const SNAPSHOT_WRITE: Code = Code::new("MS0651", "a snapshot can't be written");
/// A snapshot that could not be read.
pub const SNAPSHOT_READ: Code = Code::new("MS0652", "a snapshot can't be read");
/// An input whose partitions changed in number.
pub const PARTITIONS_CHANGED: Code = Code::new("MS0653", "the input's partition count changed");
/// A model or table that served earlier is gone.
pub const ARTIFACT_MISSING: Code = Code::new("MS0654", "an earlier model or table is gone");
/// A `state:` location that makes no sense or can't be reached.
pub const STATE_LOCATION: Code = Code::new("MS0655", "the state location can't be used");
/// A reset that makes no sense for the pipeline.
pub const RESET: Code = Code::new("MS0656", "a reset can't be done");

/// Every code of this crate.
pub const ALL: &[Code] = &[
    FILE_UNREADABLE,
    NO_DEAD_LETTERS,
    THREAD_FAILED,
    MODEL_INPUTS,
    DELIVERY,
    EVENT_TIME,
    NOT_CHECKED,
    COLUMN_TWICE,
    CHECK_FAILED,
    STATE_LOST,
    SNAPSHOT_WRITE,
    SNAPSHOT_READ,
    PARTITIONS_CHANGED,
    ARTIFACT_MISSING,
    STATE_LOCATION,
    RESET,
];
