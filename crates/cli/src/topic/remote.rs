//! The HTTP API of a run, from the other side.

use std::time::Duration;

use millstream_connectors::codes as log_codes;
use millstream_connectors::log::Retention;
use millstream_core::{Code, Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;

use crate::codes::{self, HTTP_CALL};
use crate::http::discovery::Announcement;
use crate::http::error::ErrorBody;
use crate::http::wire::LineOptions;
use crate::log::{NewTopic, TopicView};

/// Enough for the largest answer: a page of records, escaped.
const ANSWER_BYTES_MAX: u64 = 2 << 30;
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const JSON: &str = "application/json";

/// A run that answers.
pub struct Remote {
    agent: Agent,
    base: String,
    pub pid: u32,
    pub pipeline: String,
}

#[derive(Deserialize)]
struct Health {
    pid: u32,
}

#[derive(Deserialize)]
struct Appended {
    appended: u64,
}

#[derive(Deserialize)]
struct Page {
    records: Vec<Value>,
    next_offset: u64,
}

impl Remote {
    /// Asks the announced port whether it is who it says; `None` if the announcement was left over.
    pub fn connect(announced: &Announcement) -> Option<Self> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(CONNECT_WITHIN))
            .build();
        let run = Self {
            agent: config.into(),
            base: format!("http://{}", announced.address),
            pid: announced.pid,
            pipeline: announced.pipeline.clone(),
        };
        let health: Health = run.get("/healthz").ok()?;
        (health.pid == announced.pid).then_some(run)
    }

    /// What `GET /status` says.
    pub fn status(&self) -> Result<Value> {
        self.get("/status")
    }

    pub fn topics(&self) -> Result<Vec<TopicView>> {
        self.get("/topics")
    }

    pub fn topic(&self, name: &str) -> Result<TopicView> {
        self.get(&format!("/topics/{}", escape(name)))
    }

    pub fn create(&self, new: &NewTopic) -> Result<TopicView> {
        let body = serde_json::to_vec(new).map_err(bad_answer)?;
        self.answer(self.agent.post(format!("{}/topics", self.base)).content_type(JSON).send(&body[..]))
    }

    pub fn alter(&self, name: &str, retention: Retention) -> Result<TopicView> {
        let body = serde_json::to_vec(&retention).map_err(bad_answer)?;
        let path = format!("{}/topics/{}/retention", self.base, escape(name));
        self.answer(self.agent.put(path).content_type(JSON).send(&body[..]))
    }

    pub fn append(&self, topic: &str, lines: &[u8], options: &LineOptions) -> Result<u64> {
        let mut path = format!("{}/topics/{}/records", self.base, escape(topic));
        let LineOptions { key_field, key, partition, first_line } = options;
        let given = [
            ("key_field", key_field.clone()),
            ("key", key.clone()),
            ("partition", partition.map(|n| n.to_string())),
            ("first_line", first_line.map(|n| n.to_string())),
        ];
        let mut sign = '?';
        for (name, value) in given {
            if let Some(value) = value {
                path += &format!("{sign}{name}={}", escape(&value));
                sign = '&';
            }
        }
        let answer: Appended = self.answer(self.agent.post(path).content_type("application/x-ndjson").send(lines))?;
        Ok(answer.appended)
    }

    /// Records as JSON, and the offset after them.
    pub fn read(
        &self,
        topic: &str,
        partition: u32,
        offset: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<(Vec<Value>, u64)> {
        let path = format!(
            "/topics/{}/partitions/{partition}/records?offset={offset}&limit={limit}&max_bytes={bytes}",
            escape(topic)
        );
        let page: Page = self.get(&path)?;
        Ok((page.records, page.next_offset))
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.answer(self.agent.get(format!("{}{path}", self.base)).call())
    }

    fn answer<T: DeserializeOwned>(&self, answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<T> {
        let unreachable = |cause: ureq::Error| {
            Error::new(HTTP_CALL, format!("pipeline `{}` (process {}) does not answer", self.pipeline, self.pid))
                .because(cause)
                .help("has it just ended? then the same command uses the files directly")
        };
        let mut answer = answer.map_err(unreachable)?;
        let good = answer.status().is_success();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(unreachable)?;
        if good {
            return serde_json::from_slice(&body).map_err(bad_answer);
        }
        let said: ErrorBody = serde_json::from_slice(&body).map_err(bad_answer)?;
        let error = Error::new(known_code(&said.code), said.message);
        Err(said.help.into_iter().fold(error, Error::help))
    }
}

fn bad_answer(cause: serde_json::Error) -> Error {
    Error::new(HTTP_CALL, "the run's HTTP port gave an answer that can't be read")
        .because(cause)
        .help("does the run use another version of millstream?")
}

/// The code that an answer names, so that its page and exit code are the same as without HTTP.
fn known_code(id: &str) -> Code {
    let known = log_codes::ALL.iter().chain(codes::ALL).chain(millstream_core::codes::ALL);
    known.copied().find(|code| code.id == id).unwrap_or(HTTP_CALL)
}

/// Percent-encodes a part of a path or query.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back() {
        assert_eq!(known_code("MS0620"), log_codes::UNKNOWN_TOPIC);
        assert_eq!(known_code("MS9999"), HTTP_CALL);
    }

    #[test]
    fn parts_are_escaped() {
        assert_eq!(escape("a.b c/ü"), "a.b%20c%2F%C3%BC");
    }
}
