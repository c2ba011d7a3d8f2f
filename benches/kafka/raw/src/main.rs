//! The benchmark's tools, straight on librdkafka's C interface.
//!
//! * `pass` is the limit that Millstream is measured against: consume, produce, send offsets, commit; one thread.
//! * `load` writes the lines of a file to a topic, with the card as the key.
//! * `latency` is an open-loop producer and a `read_committed` consumer in one process, and therefore on one clock.
//! * `watch` counts the committed records of a topic.
//!
//! Arguments are `--name value`; an error ends the process with a line on standard error.

mod args;
mod client;
mod histogram;
mod latency;
mod lines;
mod load;
mod pass;
mod watch;

use std::process::ExitCode;

/// What a tool can fail with is only ever read by a person.
type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let tool = words.next().unwrap_or_default();
    let done = args::Args::parse(words).and_then(|args| match tool.as_str() {
        "pass" => pass::run(&args),
        "load" => load::run(&args),
        "latency" => latency::run(&args),
        "watch" => watch::run(&args),
        other => Err(format!("`{other}` is not a tool; there are pass, load, latency and watch")),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kafka-raw {tool}: {error}");
            ExitCode::FAILURE
        }
    }
}
