//! The read API: the JSON of the commands. Lists are produced piece by piece as they are read, so
//! that neither long lists nor slow readers take much memory.

use super::State;
use super::work::{Busy, ClientGone, UnsentShare, retry_later};
use crate::archive::is_source;
use crate::report::{JobView, ReportError, SnapshotView};
use crate::store::Filter;
use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Query, State as Extract};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::mem::size_of_val;
use std::str::FromStr;

/// The most jobs in one response.
const MOST_JOBS: u32 = 10_000;
/// Jobs that are read at once.
const JOBS: u32 = 50;
/// Manifests that are read at once.
const SNAPSHOTS: usize = 20;

/// Why a list ends early.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error("cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

#[derive(Debug, Deserialize)]
pub(super) struct JobsQuery {
    source: Option<String>,
    state: Option<String>,
    limit: Option<u32>,
}

pub(super) async fn jobs(
    Extract(state): Extract<State>,
    Query(query): Query<JobsQuery>,
) -> Result<Response, ReportError> {
    let wanted = match query.state.as_deref().map(crate::job::State::from_str).transpose() {
        Ok(wanted) => wanted,
        Err(error) => {
            return Ok((StatusCode::BAD_REQUEST, format!("state: {error}\n")).into_response());
        }
    };
    let left = query.limit.unwrap_or(50).min(MOST_JOBS);
    let filter = Filter { source: query.source, state: wanted, ..Filter::default() };
    let first = next_jobs(&state, &filter, left, None).await?;
    let rest = stream::try_unfold(
        (state, filter, after(&first, left)),
        |(state, filter, after)| async move {
            let Some((left, last)) = after else { return Ok::<_, Broken>(None) };
            let permit = state.work.piece().await?;
            let jobs = next_jobs(&state, &filter, left, Some(last)).await?;
            drop(permit);
            let after = self::after(&jobs, left);
            Ok(Some((jobs, (state, filter, after))))
        },
    );
    Ok(list(stream::once(async { Ok(first) }).chain(rest)))
}

async fn next_jobs(
    state: &State,
    filter: &Filter,
    left: u32,
    before: Option<i64>,
) -> Result<Vec<JobView>, ReportError> {
    let filter = Filter { before, limit: left.min(JOBS), ..filter.clone() };
    state.reporter.jobs(&filter).await
}

/// How many jobs may follow these, and the last one's id; `None` if there are no more.
fn after(jobs: &[JobView], left: u32) -> Option<(u32, i64)> {
    let left = left.saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
    let is_full = u32::try_from(jobs.len()).is_ok_and(|count| count == JOBS);
    jobs.last().filter(|_| is_full && left > 0).map(|last| (left, last.id))
}

pub(super) async fn sources(Extract(state): Extract<State>) -> Result<Response, ReportError> {
    let sources = state.reporter.sources(&state.settings(), state.clock.now()).await?;
    Ok(Json(sources).into_response())
}

#[derive(Debug, Deserialize)]
pub(super) struct SnapshotsQuery {
    source: Option<String>,
}

pub(super) async fn snapshots(
    Extract(state): Extract<State>,
    Extension(ClientGone(gone)): Extension<ClientGone>,
    Query(query): Query<SnapshotsQuery>,
) -> Result<Response, ReportError> {
    // A source's name is also its folder's: a name that cannot be a folder has no snapshots.
    if query.source.as_ref().is_some_and(|name| !is_source(name)) {
        return Ok((StatusCode::BAD_REQUEST, "source: no such name\n").into_response());
    }
    let names = state.reporter.snapshot_names(query.source.as_deref())?.names;
    let share = match state.work.reserve_unsent(size_of_val(names.as_slice()) as u64).await {
        Ok(share) => UnsentShare::from(share),
        Err(busy) => return Ok(busy.into_response()),
    };
    let mut names = names.into_iter();
    let first = state.reporter.snapshots_of(names.by_ref().take(SNAPSHOTS), &gone);
    let rest = stream::try_unfold((state, names), |(state, mut names)| async move {
        let some: Vec<_> = names.by_ref().take(SNAPSHOTS).collect();
        if some.is_empty() {
            return Ok::<_, Broken>(None);
        }
        let reporter = state.reporter.clone();
        let permit = state.work.piece().await?;
        let read = state.work.run(permit, move |gone| reporter.snapshots_of(some, gone)).await?;
        Ok(Some((read, (state, names))))
    });
    let mut response = list::<SnapshotView>(stream::once(async { Ok(first) }).chain(rest));
    response.extensions_mut().insert(share);
    Ok(response)
}

/// One JSON array of the items of all pieces. If a piece cannot be read, the response breaks off,
/// and the part that was sent is not valid JSON.
fn list<T: Serialize + Send + 'static>(
    pieces: impl Stream<Item = Result<Vec<T>, Broken>> + Send + 'static,
) -> Response {
    let mut is_first = true;
    let items = pieces.map(move |piece| {
        let mut text = Vec::new();
        for item in piece.inspect_err(|error| {
            // Debug only: a client that floods the page must not flood the log.
            tracing::debug!(%error, "an answer of the status page breaks off");
        })? {
            if !std::mem::take(&mut is_first) {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &item)?;
        }
        Ok::<_, Broken>(Bytes::from(text))
    });
    let mark =
        |mark: &'static str| stream::once(async move { Ok(Bytes::from_static(mark.as_bytes())) });
    let text = mark("[").chain(items).chain(mark("]"));
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(text)).into_response()
}

impl IntoResponse for ReportError {
    fn into_response(self) -> Response {
        if self.is_busy() {
            return retry_later(format!("{self}; try again in some seconds\n"));
        }
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{self}\n")).into_response()
    }
}
