//! The status page, health, metrics and the read API: queries and rendering, never a write.

mod answer;
mod api;
mod auth;
mod changes;
mod connections;
mod export;
mod listener;
mod live;
mod metrics;
mod page;
mod raw;
mod restart;
mod server;
mod work;

pub use auth::Auth;
pub use listener::Listener;
pub use live::Live;
pub use restart::Served;

use crate::archive::Snapshot;
use crate::clock::Clock;
use crate::comparisons::Comparer;
use crate::engine::Engine;
use crate::manifest::Name;
use crate::report::{JobView, ReportError, Reporter};
use crate::settings::Settings;
use axum::Router;
use axum::extract::{Request, State as Extract};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};
use std::sync::{Arc, Mutex, PoisonError};
use work::Work;

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
    auth: Arc<Auth>,
    work: Work,
    maps: page::Maps,
    changes: changes::Changes,
    exports: export::Exports,
}

impl State {
    /// Pages of the values that the reporter reads and of what the engine does. The reporter should
    /// have its own database connections ([`Store::for_page`](crate::store::Store::for_page)).
    pub fn new(
        reporter: Reporter,
        settings: Settings,
        engine: Engine,
        comparer: Comparer,
        live: Live,
        auth: Auth,
    ) -> State {
        let clock = Clock::system();
        let (settings, started) = (Arc::new(Mutex::new(settings)), clock.now());
        State {
            reporter,
            settings,
            engine,
            clock,
            started,
            live,
            auth: Arc::new(auth),
            work: Work::default(),
            maps: page::Maps::default(),
            changes: changes::Changes::new(comparer),
            exports: export::Exports::default(),
        }
    }

    /// The snapshot of this name, if the archive has it. Source and name are compared with the
    /// archive's own list before they become part of a path.
    fn snapshot(&self, source: &str, name: &str) -> Option<Snapshot> {
        let name: Name = name.parse().ok()?;
        let archive = self.reporter.archive();
        let is_one = archive.sources().ok()?.iter().any(|known| known == source);
        if is_one { archive.find(source, name) } else { None }
    }

    /// The page of a job's snapshot, and the snapshot's name; `None` if retention has removed it.
    fn page_of(&self, job: &JobView) -> Option<(String, String)> {
        let name = job.snapshot.as_ref()?.file_stem()?.to_str()?;
        self.snapshot(&job.source, name)?;
        Some((format!("/snapshots/{}/{name}", job.source), name.to_owned()))
    }

    /// The same pages, from another reporter.
    #[must_use]
    pub fn reading_through(&self, reporter: Reporter) -> State {
        State { reporter, ..self.clone() }
    }

    /// The current configuration.
    pub fn settings(&self) -> Settings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the configuration.
    pub fn set_settings(&self, settings: Settings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }
}

/// The routes of all pages.
pub fn router(state: State) -> Router {
    let with_permit = middleware::from_fn_with_state(state.work.clone(), work::with_permit);
    Router::new()
        .route("/", get(page::home))
        .route("/sources/{name}", get(page::source))
        .route("/jobs", get(page::jobs))
        .route("/jobs/{id}", get(page::job))
        .route("/snapshots/{source}/{name}", get(page::snapshot))
        .route("/snapshots/{source}/{name}/data", get(raw::data))
        .route("/snapshots/{source}/{name}/manifest", get(raw::manifest))
        .route("/snapshots/{source}/{name}/export/{format}", get(export::show))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::show))
        .route("/api/jobs", get(api::jobs))
        .route("/api/sources", get(api::sources))
        .route("/api/snapshots", get(api::snapshots))
        .route_layer(with_permit)
        // Cheap routes need no limit.
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/events", get(live::show))
        .route("/style.css", get(page::style))
        .route("/live.js", get(page::script))
        .fallback(page::missing)
        .layer(middleware::from_fn_with_state(Arc::clone(&state.auth), guard))
        .with_state(state)
}

/// The content security policy: this origin only.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Refuses every method but GET and HEAD, and requests that another site has made a browser send
/// (DNS rebinding). Forbids browsers to frame, sniff or store responses.
async fn guard(Extract(auth): Extract<Arc<Auth>>, request: Request, next: Next) -> Response {
    let mut response = match auth.refusal(&request) {
        Some(refusal) => refusal,
        None if matches!(*request.method(), Method::GET | Method::HEAD) => next.run(request).await,
        None => {
            let only = "this page only reads: GET and HEAD\n";
            (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], only).into_response()
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// 503 while a source is overdue or failing.
async fn ready(Extract(state): Extract<State>) -> Result<Response, ReportError> {
    let sources = state.reporter.sources(&state.settings(), state.clock.now()).await?;
    let unready: Vec<_> = sources
        .iter()
        .filter(|source| source.health.needs_attention())
        .map(|source| format!("{}: {}\n", source.source, source.health))
        .collect();
    Ok(match unready.as_slice() {
        [] => "ready\n".into_response(),
        lines => (StatusCode::SERVICE_UNAVAILABLE, lines.concat()).into_response(),
    })
}
