//! Limits on concurrent work of the page, for all clients together.
//!
//! Requests that read the database or the archive are answered a few at a time, on threads that never
//! wait for a client; the others wait for a moment and then get a 503. Unsent answers are bounded too.

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
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// Pieces of lists under way that are made at once. They are small, and a list that is begun should
/// come to its end.
const PIECES_AT_ONCE: usize = 2;
/// How long a piece waits for its turn.
const PIECE_TURN: Duration = Duration::from_secs(30);
/// Unsent bytes of all answers together, in KiB.
const UNSENT: usize = 32 << 10;
/// A smaller answer is not counted: connections are few.
const SMALL: u64 = 32 << 10;
/// How long to wait for others to read theirs, before the slowest is asked to go.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// When to retry, in seconds.
const RETRY_AFTER: &str = "5";

/// State shared by all requests. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Work {
    turns: Arc<Semaphore>,
    pieces: Arc<Semaphore>,
    unsent: Arc<Semaphore>,
    crowded: Arc<Notify>,
}

impl Default for Work {
    fn default() -> Work {
        Work {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            pieces: Arc::new(Semaphore::new(PIECES_AT_ONCE)),
            unsent: Arc::new(Semaphore::new(UNSENT)),
            crowded: Arc::default(),
        }
    }
}

/// There was no turn in time.
#[derive(Debug, thiserror::Error)]
#[error("the page is busy; try again in some seconds")]
pub(super) struct Busy;

impl IntoResponse for Busy {
    fn into_response(self) -> Response {
        come_again(format!("{self}\n"))
    }
}

/// 503, and when to try again.
pub(super) fn come_again(why: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER)], why).into_response()
}

impl Work {
    /// Notified when an idle reader must be disconnected, because others wait for its memory.
    pub(super) fn crowded(&self) -> Arc<Notify> {
        Arc::clone(&self.crowded)
    }

    /// Waits for a request's turn, which lasts until what is returned is dropped.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Busy> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        timeout(TURN, turn).await.map_err(|_| Busy)?.map_err(|_| Busy)
    }

    /// The same for one piece of a list that is under way.
    pub(super) async fn piece(&self) -> Result<OwnedSemaphorePermit, Busy> {
        let turn = Arc::clone(&self.pieces).acquire_owned();
        timeout(PIECE_TURN, turn).await.map_err(|_| Busy)?.map_err(|_| Busy)
    }

    /// Runs what reads files in its turn, on another thread. `gone` is cancelled when nobody waits
    /// for it any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        turn: OwnedSemaphorePermit,
        work: impl FnOnce(&CancellationToken) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let gone = CancellationToken::new();
        let _told = gone.clone().drop_guard();
        let worked = spawn_blocking(move || {
            // The turn ends with the work, not with the wait for it.
            let _turn = turn;
            work(&gone)
        });
        worked.await.map_err(|error| {
            tracing::error!(%error, "a page could not be made");
            Busy
        })
    }

    /// Waits until so many more bytes may wait to be sent; they count until what is returned is
    /// dropped.
    pub(super) async fn room(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Busy> {
        let most = u32::try_from(UNSENT).unwrap_or(u32::MAX);
        let wanted = u32::try_from(bytes.div_ceil(1024)).unwrap_or(most).min(most);
        let begun = Instant::now();
        while begun.elapsed() < TURN {
            let room = Arc::clone(&self.unsent).acquire_many_owned(wanted);
            match timeout(LOOK_AGAIN, room).await {
                Ok(room) => return room.map_err(|_| Busy),
                Err(_) => self.crowded.notify_one(),
            }
        }
        Err(Busy)
    }
}

/// Answers a request in its turn, on a thread that may wait for disks. When its client goes away,
/// the work ends.
pub(super) async fn in_turn(
    Extract(work): Extract<Work>,
    mut request: Request,
    next: Next,
) -> Response {
    let handle = Handle::current();
    let Ok(turn) = work.turn().await else { return Busy.into_response() };
    let made = work.run(turn, move |gone| {
        request.extensions_mut().insert(Gone(gone.clone()));
        handle.block_on(gone.run_until_cancelled(next.run(request)))
    });
    let mut response = match made.await {
        Ok(Some(response)) => response,
        Ok(None) | Err(Busy) => return Busy.into_response(),
    };
    // What comes piece by piece is made as it is read.
    let Some(bytes) = response.body().size_hint().exact().filter(|bytes| *bytes > SMALL) else {
        return response;
    };
    match work.room(bytes).await {
        Ok(room) => {
            response.extensions_mut().insert(Room::from(room));
            response
        }
        Err(busy) => busy.into_response(),
    }
}

/// Says whether the client of a request has gone.
#[derive(Debug, Clone)]
pub(super) struct Gone(pub(super) CancellationToken);

/// What an answer takes of what may wait to be sent.
#[derive(Debug, Clone)]
pub(super) struct Room {
    _held: Arc<OwnedSemaphorePermit>,
}

impl From<OwnedSemaphorePermit> for Room {
    fn from(held: OwnedSemaphorePermit) -> Room {
        Room { _held: Arc::new(held) }
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
            .route_layer(from_fn_with_state(work.clone(), in_turn));
        TowerToHyperService::new(router)
    }

    async fn ask(page: &TowerToHyperService<Router>, path: &str) -> Response {
        page.call(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_turn_in_time_is_told_when_to_come_again() {
        let work = Work::default();
        let mut turns = Vec::new();
        for _ in 0..AT_ONCE {
            turns.push(work.turn().await.unwrap());
        }
        let answer = ask(&paged(&work), "/").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::RETRY_AFTER], RETRY_AFTER);
        assert!(work.piece().await.is_ok(), "a list that is begun goes on");
        turns.pop();
        assert_eq!(ask(&paged(&work), "/").await.status(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_made_and_not_sent_is_bounded() {
        let work = Work::default();
        let first = ask(&paged(&work), "/large").await;
        assert_eq!(first.status(), StatusCode::OK);
        let crowded = work.crowded();
        let (second, ()) =
            tokio::join!(async { ask(&paged(&work), "/large").await }, crowded.notified());
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE, "and a slow reader was told");
        assert_eq!(ask(&paged(&work), "/").await.status(), StatusCode::OK);
        drop(first);
        assert_eq!(ask(&paged(&work), "/large").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn the_work_for_a_client_that_has_gone_ends_and_its_turn_with_it() {
        let work = Work::default();
        let (begun, begins) = mpsc::channel();
        let (told, ends) = mpsc::channel();
        let router = Router::new()
            .route(
                "/slow",
                get(async move |Extension(Gone(gone)): Extension<Gone>| {
                    begun.send(()).unwrap();
                    // As reading many files does, it only looks now and then.
                    while !gone.is_cancelled() {
                        std::thread::yield_now();
                    }
                    told.send(()).unwrap();
                }),
            )
            .route_layer(from_fn_with_state(work.clone(), in_turn));
        let page = TowerToHyperService::new(router);
        let asking = tokio::spawn(async move { ask(&page, "/slow").await.status() });
        tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
        assert_eq!(work.turns.available_permits(), AT_ONCE - 1);
        asking.abort();
        tokio::task::spawn_blocking(move || ends.recv().unwrap()).await.unwrap();
        let all = Arc::clone(&work.turns).acquire_many_owned(4).await;
        assert!(all.is_ok(), "every turn is free again");
    }
}
