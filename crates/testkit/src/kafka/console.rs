//! Kafka's own console consumer, from the jars of the broker.

use std::time::Duration;

use super::client::Isolation;
use super::cluster::Cluster;
use super::failure::{Failure, Result};
use super::home::Home;

/// Between the fields of a line; it must not be in the records.
const SEPARATOR: char = '\u{1}';
/// What stands for no key or a tombstone.
const NULL: &str = "\u{2}";

/// A record as the console consumer prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// `CreateTime:1000` or `LogAppendTime:1000`.
    pub timestamp: String,
    /// Its partition.
    pub partition: i32,
    /// Its place.
    pub offset: i64,
    /// `name:value,name:value`, or `NO_HEADERS`.
    pub headers: String,
    /// The key as text.
    pub key: Option<String>,
    /// The value as text.
    pub value: Option<String>,
}

impl Cluster {
    /// Reads a topic from its beginning until nothing has come for `quiet`, ordered by partition and offset.
    ///
    /// It costs a JVM, 1 to 2 s of CPU, and is for texts of one line: [`Cluster::consume`] is cheaper and for all.
    ///
    /// # Errors
    /// The console consumer fails.
    pub fn console_consume(&self, topic: &str, isolation: Isolation, quiet: Duration) -> Result<Vec<Printed>> {
        let mut java = Home::get()?.java("error")?;
        java.arg("org.apache.kafka.tools.consumer.ConsoleConsumer");
        java.args(["--bootstrap-server", &self.bootstrap_direct(), "--topic", topic, "--from-beginning"]);
        java.args(["--isolation-level", isolation.name(), "--timeout-ms", &quiet.as_millis().to_string()]);
        for field in ["timestamp", "partition", "offset", "headers", "key", "value"] {
            java.args(["--property", &format!("print.{field}=true")]);
        }
        java.args(["--property", &format!("key.separator={SEPARATOR}")]);
        java.args(["--property", &format!("null.literal={NULL}")]);
        let output = java.output().map_err(|e| Failure::new(format!("`java` can't be started: {e}")))?;
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // It ends by a timeout, which it takes for an error: the count on standard error is what says that all went well.
        if !errors.contains("Processed a total of") {
            return Err(Failure::new(format!("the console consumer failed:\n{text}{errors}\n{}", self.log_tail())));
        }
        let mut records = text.lines().map(parse).collect::<Result<Vec<_>>>()?;
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }
}

fn parse(line: &str) -> Result<Printed> {
    let unexpected = || Failure::new(format!("the console consumer printed `{}`", line.escape_debug()));
    let fields: Vec<&str> = line.split(SEPARATOR).collect();
    let [timestamp, partition, offset, headers, key, value] = fields[..] else { return Err(unexpected()) };
    let number = |text: &str| text.split_once(':').and_then(|(_, digits)| digits.parse::<i64>().ok());
    let partition = number(partition).and_then(|partition| i32::try_from(partition).ok());
    let text = |text: &str| (text != NULL).then(|| text.to_owned());
    Ok(Printed {
        timestamp: timestamp.to_owned(),
        partition: partition.ok_or_else(unexpected)?,
        offset: number(offset).ok_or_else(unexpected)?,
        headers: headers.to_owned(),
        key: text(key),
        value: text(value),
    })
}
