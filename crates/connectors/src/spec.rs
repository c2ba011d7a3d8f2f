//! What the engine knows of a source and of an output before anything is opened.

use std::sync::Arc;
use std::time::Duration;

use millstream_core::{Delivery, Encoder, Error, Position, Receipt, Result, RowSchema, Sink, Source, TaskId};

use crate::codec::{EncodeContext, InputFormat, OutputFormat, Timestamps};
use crate::env::Env;
use crate::kafka::{KafkaInput, KafkaOutput};
use crate::look::{Place, no_place};

/// A source as the pipeline file describes it. Made without touching anything outside the file.
pub trait SourceSpec: Send + Sync {
    /// The strongest guarantee a pipeline that reads from it can give.
    fn delivery(&self) -> Delivery;

    /// Whether it comes to an end by itself.
    fn bounded(&self) -> bool;

    /// What it is, for people: ``file `tx-*.ndjson.gz` ``.
    fn describe(&self) -> String;

    /// How many partitions it has, where the pipeline file alone says so.
    fn declared_partitions(&self) -> Option<u32>;

    /// The format of its records as far as the pipeline file says it: the header of a CSV file is taken to be
    /// the declared fields in their order.
    fn declared_format(&self, schema: &RowSchema) -> InputFormat;

    /// The format of its records; reads the header of a CSV file. May wait for the first line of standard input.
    ///
    /// # Errors
    /// The input does not exist or can't be read, or has no header yet.
    fn input_format(&self, env: &Env, schema: &RowSchema) -> Result<InputFormat>;

    /// Looks whether it is there and readable (`check --connect`). Changes nothing.
    ///
    /// # Errors
    /// It is not there, or can't be read.
    fn probe(&self, env: &Env) -> Result<()>;

    /// What may go wrong with it later, with state written down that often (`check --connect`).
    ///
    /// # Errors
    /// It can't be asked.
    fn doubts(&self, _env: &Env, _snapshot_every: Duration) -> Result<Vec<Error>> {
        Ok(Vec::new())
    }

    /// How many partitions it has; creates what the pipeline file says is to be created. For a source whose
    /// partitions are shared out by Kafka: as many as the largest topic has now.
    ///
    /// # Errors
    /// It can't be reached, or has another number than declared.
    fn partitions(&self, env: &Env) -> Result<u32>;

    /// Opens the reader of one partition, at the place where a pipeline that never committed begins.
    ///
    /// # Errors
    /// It does not exist or can't be read.
    fn open(&self, env: &Env, partition: u32) -> Result<Box<dyn Source>>;

    /// How many partitions it has, without creating any: none where there is nothing yet.
    ///
    /// # Errors
    /// It can't be asked.
    fn existing_partitions(&self, env: &Env) -> Result<u32> {
        self.partitions(env)
    }

    /// The oldest offset of a partition and the one that the next record gets, where it can say.
    ///
    /// # Errors
    /// It can't be asked.
    fn bounds(&self, _env: &Env, _partition: u32) -> Result<Option<(u64, u64)>> {
        Ok(None)
    }

    /// The position of a place in a partition, for a source whose partitions are not shared out by Kafka.
    ///
    /// # Errors
    /// It has no such place, or can't go there.
    fn place(&self, env: &Env, partition: u32, place: Place) -> Result<Position> {
        if self.delivery() == Delivery::AtMostOnce {
            return Err(no_place(&self.describe(), "it can't be read again"));
        }
        match place {
            Place::Earliest => Ok(self.open(env, partition)?.position()),
            _ => Err(no_place(&self.describe(), "it can only go back to its beginning").help("say `--to earliest`")),
        }
    }

    /// What it reads of Kafka, if it does: then a consumer group shares its partitions out.
    fn kafka(&self) -> Option<&KafkaInput> {
        None
    }
}

/// An output as the pipeline file describes it. Made without touching anything outside the file.
pub trait SinkSpec: Send + Sync {
    /// The strongest guarantee a pipeline that writes to it can give.
    fn delivery(&self) -> Delivery;

    /// What it is, for people: ``file `out/scores.ndjson` ``.
    fn describe(&self) -> String;

    /// The format of what it takes.
    fn format(&self) -> OutputFormat;

    /// How it wants timestamps.
    fn timestamps(&self) -> Timestamps;

    /// The column that is the key of its records, where it has keys and one is named.
    fn key(&self) -> Option<&str> {
        None
    }

    /// The column that says to which partition a record goes, where one is named.
    fn partition_column(&self) -> Option<&str> {
        None
    }

    /// The headers that its records get: names, and the columns their values come from.
    fn headers(&self) -> &[(String, String)] {
        &[]
    }

    /// What it writes of Kafka, if it does: then its records go into the epoch's transaction there.
    fn kafka(&self) -> Option<&KafkaOutput> {
        None
    }

    /// Whether its records go into the embedded log, and with them the commit.
    fn embedded_log(&self) -> bool {
        false
    }

    /// Whether it keeps rows apart as records, with key and headers.
    fn boundaries(&self) -> bool {
        false
    }

    /// Looks whether it could be written (`check --connect`). Changes nothing.
    ///
    /// # Errors
    /// It could not be written.
    fn probe(&self, env: &Env) -> Result<()>;

    /// Opens the committer's side for the outputs of `tasks` tasks (`None` where their number may grow). Writes
    /// nothing before [`Sink::recover`](millstream_core::Sink::recover).
    ///
    /// # Errors
    /// It can't be reached or created.
    fn open(&self, env: &Arc<Env>, tasks: Option<u32>, context: &EncodeContext) -> Result<Box<dyn Sink>>;

    /// The worker's side.
    ///
    /// # Errors
    /// The columns can't be written in the output's format.
    fn encoder(&self, context: &EncodeContext) -> Result<Box<dyn Encoder>>;

    /// Removes what earlier runs wrote and the receipts name (`run --fresh`), so that the next run may begin
    /// anew. What this output did not write is left alone.
    ///
    /// # Errors
    /// It can't be removed.
    fn discard(&self, env: &Env, committed: &[(TaskId, Receipt)]) -> Result<()>;
}
