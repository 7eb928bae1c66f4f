//! The status page, health, metrics and the read API: queries and rendering, never a write.

mod gate;
mod listener;
mod live;
mod metrics;
mod page;
mod raw;

pub use gate::Gate;
pub use listener::Listener;
pub use live::Live;

use crate::archive::Snapshot;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::manifest::Name;
use crate::report::{JobView, ReportError, Reporter, SnapshotView};
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
    live: Live,
    gate: Arc<Gate>,
}

impl State {
    /// Pages on what the reporter reads and the engine does.
    pub fn new(
        reporter: Reporter,
        settings: Settings,
        engine: Engine,
        live: Live,
        gate: Gate,
    ) -> State {
        let clock = Clock::system();
        let (settings, started) = (Arc::new(Mutex::new(settings)), clock.now());
        State { reporter, settings, engine, clock, started, live, gate: Arc::new(gate) }
    }

    /// The snapshot of this name, if the archive has it. Both are held against what the archive
    /// lists, and never joined to a path before.
    fn snapshot(&self, source: &str, name: &str) -> Option<Snapshot> {
        let name: Name = name.parse().ok()?;
        let archive = self.reporter.archive();
        let is_one = archive.sources().ok()?.iter().any(|known| known == source);
        if is_one { archive.find(source, name) } else { None }
    }

    /// A source's snapshots, newest first.
    async fn snapshots(&self, source: &str) -> Result<Vec<SnapshotView>, ReportError> {
        let (reporter, source) = (self.reporter.clone(), source.to_owned());
        let read = tokio::task::spawn_blocking(move || reporter.snapshots(Some(&source)));
        read.await.unwrap_or_else(|_| Ok(Vec::new()))
    }

    /// Where a job's snapshot is shown, and its name; `None` when retention has removed it.
    fn page_of(&self, job: &JobView) -> Option<(String, String)> {
        let name = job.snapshot.as_ref()?.file_stem()?.to_str()?;
        self.snapshot(&job.source, name)?;
        Some((format!("/snapshots/{}/{name}", job.source), name.to_owned()))
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
pub async fn serve(listener: Listener, state: State, stop: CancellationToken) {
    let (router, stopped) = (router(state), async move { stop.cancelled().await });
    let served = match listener {
        Listener::Tcp(tcp) => axum::serve(tcp, router).with_graceful_shutdown(stopped).await,
        Listener::Unix(unix, _path) => {
            axum::serve(unix, router).with_graceful_shutdown(stopped).await
        }
    };
    if let Err(error) = served {
        tracing::error!(%error, "the status page has ended");
    }
}

/// Every page.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/", get(page::home))
        .route("/sources/{name}", get(page::source))
        .route("/jobs", get(page::jobs))
        .route("/jobs/{id}", get(page::job))
        .route("/snapshots/{source}/{name}", get(page::snapshot))
        .route("/snapshots/{source}/{name}/data", get(raw::data))
        .route("/snapshots/{source}/{name}/manifest", get(raw::manifest))
        .route("/events", get(live::show))
        .route("/style.css", get(page::style))
        .route("/live.js", get(page::script))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::show))
        .route("/api/jobs", get(jobs))
        .route("/api/sources", get(sources))
        .route("/api/snapshots", get(snapshots))
        .fallback(page::missing)
        .layer(middleware::from_fn_with_state(Arc::clone(&state.gate), guard))
        .with_state(state)
}

/// Everything comes from here, and nothing else does.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Refuses requests that a foreign page has led a browser to make by giving its own name to this
/// address; and lets browsers neither frame, sniff nor keep what they get.
async fn guard(Extract(gate): Extract<Arc<Gate>>, request: Request, next: Next) -> Response {
    if let Some(refusal) = gate.refusal(request.headers()) {
        return refusal;
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
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
