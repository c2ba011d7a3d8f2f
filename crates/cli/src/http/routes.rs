//! What the HTTP API answers. Handlers run on the server's one thread; every call to the log blocks, so it
//! goes to the blocking pool.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use millstream_connectors::log::Retention;
use millstream_core::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::error::HttpError;
use super::wire::{self, LineOptions, NewRecord};
use crate::codes;
use crate::log::{Appended, Log, NewTopic, TopicView};

/// The largest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Records in one answer, unless `limit` says less.
const READ_RECORDS_MAX: usize = 10_000;
/// Bytes of keys and values after which an answer ends, unless `max_bytes` says less.
const READ_BYTES_MAX: usize = 16 << 20;
/// How long a tail sleeps when there is nothing new.
const TAIL_EVERY: Duration = Duration::from_millis(20);

type Answer<T = Json<Value>> = Result<T, HttpError>;

/// The whole API.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/status", get(status))
        .route("/topics", get(topics).post(create))
        .route("/topics/{topic}", get(topic))
        .route("/topics/{topic}/retention", put(alter))
        .route("/topics/{topic}/records", post(append))
        .route("/topics/{topic}/partitions/{partition}/records", get(read))
        .route("/topics/{topic}/partitions/{partition}/tail", get(tail))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(local_only))
        .with_state(shared)
}

/// Refuses requests that a web page could make a browser send to this machine under another name.
async fn local_only(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let local = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if local {
        return next.run(request).await;
    }
    let message = format!("the `Host` header `{host}` is not this machine's loopback address");
    HttpError::request(StatusCode::FORBIDDEN, message, "use 127.0.0.1, [::1] or localhost").into_response()
}

async fn no_such_path(request: Request) -> HttpError {
    let message = format!("there is nothing at `{}`", request.uri().path());
    HttpError::request(StatusCode::NOT_FOUND, message, "docs/http.md lists the paths")
}

async fn no_such_method(request: Request) -> HttpError {
    let message = format!("`{}` can't be used with {}", request.uri().path(), request.method());
    HttpError::request(StatusCode::METHOD_NOT_ALLOWED, message, "docs/http.md lists paths and methods")
}

/// Runs a call that blocks outside the server's thread.
async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    call: impl FnOnce(&Log) -> Result<T> + Send + 'static,
) -> Answer<T> {
    let shared = shared.clone();
    let joined = tokio::task::spawn_blocking(move || shared.log().and_then(call)).await;
    let gone = |cause| Error::new(codes::HTTP_CALL, "the request was given up because the run ends").because(cause);
    Ok(joined.map_err(gone)??)
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({ "status": "ok", "pid": std::process::id(), "pipeline": shared.pipeline }))
}

async fn status(State(shared): State<Arc<Shared>>) -> Answer {
    // The log is asked for commits.
    let joined = tokio::task::spawn_blocking(move || super::status::json(&shared)).await;
    let gone = |cause| Error::new(codes::HTTP_CALL, "the request was given up because the run ends").because(cause);
    Ok(Json(joined.map_err(gone)??))
}

async fn topics(State(shared): State<Arc<Shared>>) -> Answer<Json<Vec<TopicView>>> {
    Ok(Json(blocking(&shared, Log::topics).await?))
}

async fn topic(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
) -> Answer<Json<TopicView>> {
    let Path(topic) = path.map_err(bad_request)?;
    Ok(Json(blocking(&shared, move |log| log.topic(&topic)).await?))
}

async fn create(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<(StatusCode, Json<TopicView>)> {
    let body = body.map_err(body_error)?;
    if content_type(&headers)? != BodyKind::Json {
        return Err(wrong_content_type("application/json"));
    }
    let new: NewTopic = serde_json::from_slice(&body).map_err(|cause| {
        let message = format!("the body does not describe a topic: {cause}");
        HttpError::request(StatusCode::BAD_REQUEST, message, r#"send `{"name": "payments", "partitions": 4}`"#)
    })?;
    let view = blocking(&shared, move |log| log.create(&new)).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

async fn alter(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Json<TopicView>> {
    let Path(topic) = path.map_err(bad_request)?;
    let body = body.map_err(body_error)?;
    if content_type(&headers)? != BodyKind::Json {
        return Err(wrong_content_type("application/json"));
    }
    let retention: Retention = serde_json::from_slice(&body).map_err(|cause| {
        let message = format!("the body does not describe a retention: {cause}");
        HttpError::request(StatusCode::BAD_REQUEST, message, r#"send `{"age_ms": 86400000, "bytes": 1000000000}`"#)
    })?;
    Ok(Json(blocking(&shared, move |log| log.alter(&topic, retention)).await?))
}

async fn append(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<LineOptions>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer<Json<Value>> {
    let Path(topic) = path.map_err(bad_request)?;
    let Query(query) = query.map_err(bad_request)?;
    let kind = content_type(&headers)?;
    let body = body.map_err(body_error)?;
    let placed = blocking(&shared, move |log| {
        let records = records_of(kind, &query, &body)?;
        log.append(&topic, &records)
    });
    let placed: Vec<Value> = placed
        .await?
        .into_iter()
        .map(|Appended { partition, offset }| json!({ "partition": partition, "offset": offset }))
        .collect();
    Ok(Json(json!({ "appended": placed.len(), "records": placed })))
}

fn records_of(kind: BodyKind, query: &LineOptions, body: &[u8]) -> Result<Vec<NewRecord>> {
    if kind == BodyKind::Json {
        if *query != LineOptions::default() {
            let message = "`key_field`, `key` and `partition` in the query have no effect on a JSON array";
            return Err(Error::new(codes::REQUEST, message).help("say `key` and `partition` in each record"));
        }
        return wire::parse_array(body);
    }
    wire::parse_lines(body, query)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadQuery {
    offset: Option<String>,
    limit: Option<usize>,
    max_bytes: Option<usize>,
}

async fn read(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, u32)>, PathRejection>,
    query: Result<Query<ReadQuery>, QueryRejection>,
) -> Answer {
    let Path((topic, partition)) = path.map_err(bad_request)?;
    let Query(query) = query.map_err(bad_request)?;
    let limit = query.limit.unwrap_or(READ_RECORDS_MAX).clamp(1, READ_RECORDS_MAX);
    let bytes = query.max_bytes.unwrap_or(READ_BYTES_MAX).clamp(1, READ_BYTES_MAX);
    let answer = blocking(&shared, move |log| {
        let from = log.offset(&topic, partition, query.offset.as_deref())?;
        let (batch, next_offset) = log.read(&topic, partition, from, limit, bytes)?;
        let records: Vec<Value> = (0..batch.len()).map(|i| wire::record(&batch, i)).collect();
        let end = log.end(&topic, partition)?;
        Ok(json!({ "records": records, "next_offset": next_offset, "end_offset": end }))
    });
    Ok(Json(answer.await?))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TailQuery {
    offset: Option<String>,
}

async fn tail(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, u32)>, PathRejection>,
    query: Result<Query<TailQuery>, QueryRejection>,
) -> Answer<Response> {
    let Path((topic, partition)) = path.map_err(bad_request)?;
    let Query(query) = query.map_err(bad_request)?;
    let name = topic.clone();
    let from = blocking(&shared, move |log| log.offset(&name, partition, query.offset.as_deref())).await?;
    let ended = shared.ended.subscribe();
    let start = (shared, topic, partition, from, ended);
    let chunks = futures_util::stream::unfold(start, |(shared, topic, partition, mut from, mut ended)| async move {
        // Where the topic or the offset goes away the stream ends, and a new request says why.
        while shared.log().ok()?.end(&topic, partition).ok()? <= from || *ended.borrow() {
            if *ended.borrow() {
                return None;
            }
            tokio::select! {
                _ = ended.changed() => return None,
                () = tokio::time::sleep(TAIL_EVERY) => {}
            }
        }
        let name = topic.clone();
        let (chunk, next) = blocking(&shared, move |log| lines_from(log, &name, partition, from)).await.ok()?;
        from = next;
        Some((Ok::<_, Infallible>(Bytes::from(chunk)), (shared, topic, partition, from, ended)))
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(chunks)).into_response())
}

/// The next records as NDJSON, and the offset after them.
fn lines_from(log: &Log, topic: &str, partition: u32, from: u64) -> Result<(String, u64)> {
    let (batch, next) = log.read(topic, partition, from, 1000, 1 << 20)?;
    let mut chunk = String::new();
    for i in 0..batch.len() {
        chunk += &wire::record(&batch, i).to_string();
        chunk.push('\n');
    }
    Ok((chunk, next))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyKind {
    Lines,
    Json,
}

/// What the body is. It must be said: a web page can't send these types here unasked.
fn content_type(headers: &HeaderMap) -> Answer<BodyKind> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    match given.split(';').next().unwrap_or("").trim() {
        "application/json" => Ok(BodyKind::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(BodyKind::Lines),
        other => Err(wrong_content_type(other)),
    }
}

fn wrong_content_type(given: &str) -> HttpError {
    let message = format!("the content type `{given}` does not fit here");
    let help = "send `content-type: application/x-ndjson` for lines of values, or `application/json`";
    HttpError::request(StatusCode::UNSUPPORTED_MEDIA_TYPE, message, help)
}

fn bad_request(rejection: impl std::fmt::Display) -> HttpError {
    HttpError::request(StatusCode::BAD_REQUEST, rejection.to_string(), "docs/http.md lists paths and parameters")
}

fn body_error(rejection: BytesRejection) -> HttpError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let message = format!("the body is larger than {} MiB", BODY_BYTES_MAX >> 20);
        return Error::new(codes::BODY_TOO_LARGE, message).help("send the records in several requests").into();
    }
    bad_request(rejection)
}
