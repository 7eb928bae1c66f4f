//! The status page, health, metrics and the read API: queries and rendering, never a write.

mod metrics;
mod page;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::report::{ReportError, Reporter};
use crate::settings::Settings;
use crate::store::Filter;
use axum::extract::{Query, Request, State as Extract};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the pages are made from.
#[derive(Debug, Clone)]
pub struct State {
    reporter: Reporter,
    settings: Arc<Mutex<Settings>>,
    engine: Engine,
    clock: Clock,
    /// When this process began.
    started: DateTime<Utc>,
}

impl State {
    /// Pages on what the reporter reads and the engine does.
    pub fn new(reporter: Reporter, settings: Settings, engine: Engine) -> State {
        let clock = Clock::system();
        let (settings, started) = (Arc::new(Mutex::new(settings)), clock.now());
        State { reporter, settings, engine, clock, started }
    }

    /// The configuration that is shown.
    pub fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows another configuration from now on.
    pub fn set_settings(&self, settings: Settings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }
}

/// Serves until it is told to stop.
pub async fn serve(listener: TcpListener, state: State, stop: CancellationToken) {
    let served = axum::serve(listener, router(state)).with_graceful_shutdown(async move {
        stop.cancelled().await;
    });
    if let Err(error) = served.await {
        tracing::error!(%error, "the status page has ended");
    }
}

/// Every page.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/", get(page::show))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::show))
        .route("/api/jobs", get(jobs))
        .route("/api/sources", get(sources))
        .route("/api/snapshots", get(snapshots))
        .layer(middleware::from_fn(guard))
        .with_state(state)
}

/// Refuses requests that a foreign page has led a browser to make by giving its own name to this
/// address; and lets browsers neither frame, sniff nor keep what they get.
async fn guard(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_local) {
        return (
            StatusCode::FORBIDDEN,
            "this page is only served to this machine by its own name\n",
        )
            .into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a `Host` header names this machine's loopback.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl IntoResponse for ReportError {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{self}\n")).into_response()
    }
}

/// 503 while somebody should look into it.
async fn ready(Extract(state): Extract<State>) -> Result<Response, ReportError> {
    let sources = state.reporter.sources(&state.settings(), state.clock.now()).await?;
    let alarming: Vec<_> = sources
        .iter()
        .filter(|source| source.health.is_alarming())
        .map(|source| format!("{}: {}\n", source.source, source.health))
        .collect();
    Ok(match alarming.as_slice() {
        [] => "ready\n".into_response(),
        lines => (StatusCode::SERVICE_UNAVAILABLE, lines.concat()).into_response(),
    })
}

#[derive(Debug, Deserialize)]
struct JobsQuery {
    source: Option<String>,
    state: Option<String>,
    limit: Option<u32>,
}

/// The most jobs that one request gets.
const MOST_JOBS: u32 = 10_000;

async fn jobs(
    Extract(state): Extract<State>,
    Query(query): Query<JobsQuery>,
) -> Result<Response, ReportError> {
    let wanted = match query.state.as_deref().map(crate::job::State::from_str).transpose() {
        Ok(wanted) => wanted,
        Err(error) => {
            return Ok((StatusCode::BAD_REQUEST, format!("state: {error}\n")).into_response());
        }
    };
    let limit = query.limit.unwrap_or(50).min(MOST_JOBS);
    let filter = Filter { source: query.source, state: wanted, limit };
    Ok(Json(state.reporter.jobs(&filter).await?).into_response())
}

async fn sources(Extract(state): Extract<State>) -> Result<Response, ReportError> {
    let sources = state.reporter.sources(&state.settings(), state.clock.now()).await?;
    Ok(Json(sources).into_response())
}

#[derive(Debug, Deserialize)]
struct SnapshotsQuery {
    source: Option<String>,
}

async fn snapshots(
    Extract(state): Extract<State>,
    Query(query): Query<SnapshotsQuery>,
) -> Result<Response, ReportError> {
    // A source's name is a folder's: what cannot be one has no snapshots.
    let plain = |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if query.source.as_ref().is_some_and(|name| name.is_empty() || !plain(name)) {
        return Ok((StatusCode::BAD_REQUEST, "source: no such name\n").into_response());
    }
    let reporter = state.reporter.clone();
    let found = tokio::task::spawn_blocking(move || reporter.snapshots(query.source.as_deref()));
    match found.await {
        Ok(found) => Ok(Json(found?).into_response()),
        Err(_) => Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
    }
}
