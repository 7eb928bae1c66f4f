//! Limits on concurrent work of the page, for all clients together.
//!
//! Requests that read the database or the archive are answered a few at a time, on threads that
//! never wait for a client; the others wait briefly and then get a 503. Unsent answers are bounded
//! too.

use axum::body::HttpBody;
use axum::extract::{Request, State as Extract};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Concurrent requests.
const AT_ONCE: usize = 4;
/// How long a request waits for its permit.
const PERMIT_WAIT: Duration = Duration::from_secs(5);
/// Pieces of lists that are produced at once. They are small, and a list that has begun should
/// complete.
const PIECES_AT_ONCE: usize = 2;
/// How long a piece waits for its permit.
const PIECE_WAIT: Duration = Duration::from_secs(30);
/// Unsent bytes of all answers together, in KiB.
const UNSENT: usize = 32 << 10;
/// Smaller answers are not counted: the number of connections is bounded.
const SMALL: u64 = 32 << 10;
/// How long to wait for others to read their answers before the slowest is disconnected.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// `Retry-After`, in seconds.
const RETRY_AFTER: &str = "5";

/// State shared by all requests. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Work {
    permits: Arc<Semaphore>,
    pieces: Arc<Semaphore>,
    unsent: Arc<Semaphore>,
    memory_short: Arc<Notify>,
}

impl Default for Work {
    fn default() -> Work {
        Work {
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            pieces: Arc::new(Semaphore::new(PIECES_AT_ONCE)),
            unsent: Arc::new(Semaphore::new(UNSENT)),
            memory_short: Arc::default(),
        }
    }
}

/// No permit was free in time.
#[derive(Debug, thiserror::Error)]
#[error("the page is busy; try again in some seconds")]
pub(super) struct Busy;

impl IntoResponse for Busy {
    fn into_response(self) -> Response {
        retry_later(format!("{self}\n"))
    }
}

/// A 503 that says when to try again.
pub(super) fn retry_later(why: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER)], why).into_response()
}

impl Work {
    /// Notified when an idle reader must be disconnected, because others wait for its memory.
    pub(super) fn memory_short(&self) -> Arc<Notify> {
        Arc::clone(&self.memory_short)
    }

    /// Waits for the permit of a request, which ends when it is dropped.
    pub(super) async fn permit(&self) -> Result<OwnedSemaphorePermit, Busy> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        timeout(PERMIT_WAIT, permit).await.map_err(|_| Busy)?.map_err(|_| Busy)
    }

    /// The same for one piece of a list that has begun.
    pub(super) async fn piece(&self) -> Result<OwnedSemaphorePermit, Busy> {
        let permit = Arc::clone(&self.pieces).acquire_owned();
        timeout(PIECE_WAIT, permit).await.map_err(|_| Busy)?.map_err(|_| Busy)
    }

    /// Runs blocking work with a permit, on another thread. `gone` is cancelled when the caller
    /// stops waiting.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce(&CancellationToken) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let gone = CancellationToken::new();
        let _gone_guard = gone.clone().drop_guard();
        let worked = spawn_blocking(move || {
            // The permit ends with the work, not with the wait for it.
            let _permit = permit;
            work(&gone)
        });
        worked.await.map_err(|error| {
            tracing::error!(%error, "a page could not be made");
            Busy
        })
    }

    /// Waits for memory for this many unsent bytes; they count until the returned value is dropped.
    pub(super) async fn reserve_unsent(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Busy> {
        let most = u32::try_from(UNSENT).unwrap_or(u32::MAX);
        let wanted = u32::try_from(bytes.div_ceil(1024)).unwrap_or(most).min(most);
        let begun = Instant::now();
        while begun.elapsed() < PERMIT_WAIT {
            let share = Arc::clone(&self.unsent).acquire_many_owned(wanted);
            match timeout(LOOK_AGAIN, share).await {
                Ok(share) => return share.map_err(|_| Busy),
                Err(_) => self.memory_short.notify_one(),
            }
        }
        Err(Busy)
    }
}

/// Answers a request with a permit, on a thread that may block. If the client disconnects, the work
/// ends.
pub(super) async fn with_permit(
    Extract(work): Extract<Work>,
    mut request: Request,
    next: Next,
) -> Response {
    let handle = Handle::current();
    let Ok(permit) = work.permit().await else { return Busy.into_response() };
    let made = work.run(permit, move |gone| {
        request.extensions_mut().insert(ClientGone(gone.clone()));
        handle.block_on(gone.run_until_cancelled(next.run(request)))
    });
    let mut response = match made.await {
        Ok(Some(response)) => response,
        Ok(None) | Err(Busy) => return Busy.into_response(),
    };
    // Streamed bodies have no exact size: they are produced only as they are read.
    let Some(bytes) = response.body().size_hint().exact().filter(|bytes| *bytes > SMALL) else {
        return response;
    };
    match work.reserve_unsent(bytes).await {
        Ok(share) => {
            response.extensions_mut().insert(UnsentShare::from(share));
            response
        }
        Err(busy) => busy.into_response(),
    }
}

/// Cancelled when the client of a request has disconnected.
#[derive(Debug, Clone)]
pub(super) struct ClientGone(pub(super) CancellationToken);

/// An answer's share of the memory for unsent answers.
#[derive(Debug, Clone)]
pub(super) struct UnsentShare {
    _held: Arc<OwnedSemaphorePermit>,
}

impl From<OwnedSemaphorePermit> for UnsentShare {
    fn from(held: OwnedSemaphorePermit) -> UnsentShare {
        UnsentShare { _held: Arc::new(held) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::extract::Extension;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use std::sync::mpsc;

    fn paged(work: &Work) -> TowerToHyperService<Router> {
        let router = Router::new()
            .route("/", get(|| async { "ok" }))
            .route("/large", get(|| async { vec![b'x'; 20 << 20] }))
            .route_layer(from_fn_with_state(work.clone(), with_permit));
        TowerToHyperService::new(router)
    }

    async fn ask(page: &TowerToHyperService<Router>, path: &str) -> Response {
        page.call(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_a_permit_in_time_gets_a_503_with_retry_after() {
        let work = Work::default();
        let mut permits = Vec::new();
        for _ in 0..AT_ONCE {
            permits.push(work.permit().await.unwrap());
        }
        let answer = ask(&paged(&work), "/").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::RETRY_AFTER], RETRY_AFTER);
        assert!(work.piece().await.is_ok(), "a list that is begun goes on");
        permits.pop();
        assert_eq!(ask(&paged(&work), "/").await.status(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn unsent_answers_are_bounded() {
        let work = Work::default();
        let first = ask(&paged(&work), "/large").await;
        assert_eq!(first.status(), StatusCode::OK);
        let memory_short = work.memory_short();
        let (second, ()) =
            tokio::join!(async { ask(&paged(&work), "/large").await }, memory_short.notified());
        assert_eq!(
            second.status(),
            StatusCode::SERVICE_UNAVAILABLE,
            "and the slowest reader is disconnected"
        );
        assert_eq!(ask(&paged(&work), "/").await.status(), StatusCode::OK);
        drop(first);
        assert_eq!(ask(&paged(&work), "/large").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn work_for_a_client_that_has_disconnected_ends_and_frees_its_permit() {
        let work = Work::default();
        let (begun, begins) = mpsc::channel();
        let (ended, ends) = mpsc::channel();
        let router = Router::new()
            .route(
                "/slow",
                get(async move |Extension(ClientGone(gone)): Extension<ClientGone>| {
                    begun.send(()).unwrap();
                    // Like work that reads many files, it checks only now and then.
                    while !gone.is_cancelled() {
                        std::thread::yield_now();
                    }
                    ended.send(()).unwrap();
                }),
            )
            .route_layer(from_fn_with_state(work.clone(), with_permit));
        let page = TowerToHyperService::new(router);
        let asking = tokio::spawn(async move { ask(&page, "/slow").await.status() });
        tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
        assert_eq!(work.permits.available_permits(), AT_ONCE - 1);
        asking.abort();
        tokio::task::spawn_blocking(move || ends.recv().unwrap()).await.unwrap();
        let all = Arc::clone(&work.permits).acquire_many_owned(4).await;
        assert!(all.is_ok(), "every permit is free again");
    }
}
