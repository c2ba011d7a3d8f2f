//! Errors as the HTTP API answers them: `{"code", "message", "help"}` and a fitting status.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use millstream_connectors::codes as log_codes;
use millstream_core::{Code, Error};
use serde::{Deserialize, Serialize};

use crate::codes;

/// The body of an answer that is not a success.
#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A stable code with a page in `docs/errors/`.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// An error on its way to a client.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    error: Error,
}

impl HttpError {
    /// A request that does not fit the API.
    pub fn request(status: StatusCode, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { status, error: Error::new(codes::REQUEST, message).help(help) }
    }
}

impl From<Error> for HttpError {
    fn from(error: Error) -> Self {
        Self { status: status_of(error.code()), error }
    }
}

fn status_of(code: Code) -> StatusCode {
    match code {
        log_codes::UNKNOWN_TOPIC | log_codes::UNKNOWN_PARTITION => StatusCode::NOT_FOUND,
        log_codes::TOPIC_EXISTS | log_codes::PARTITIONS_DIFFER => StatusCode::CONFLICT,
        log_codes::OFFSET_GONE => StatusCode::GONE,
        log_codes::BAD_TOPIC | codes::REQUEST | codes::RECORD => StatusCode::BAD_REQUEST,
        codes::BODY_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::error!(code = self.error.code().id, "the HTTP API failed: {}", self.error);
        }
        let body = ErrorBody {
            code: self.error.code().id.to_owned(),
            message: self.error.to_string(),
            help: self.error.help_text().map(str::to_owned),
        };
        (self.status, Json(body)).into_response()
    }
}
