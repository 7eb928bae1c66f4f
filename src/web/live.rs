//! Server-sent events about running jobs.

use super::State;
use super::server::places;
use super::work::come_again;
use crate::engine::Notice;
use axum::extract::State as Extract;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::json;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

/// What a slow reader may miss.
const QUEUE: usize = 64;
/// How often the progress of one download is sent.
const APART: Duration = Duration::from_millis(300);
/// They may take this part of the page's connections: one in so many. They stay for long, and no
/// other client could have its place meanwhile.
const PART_OF_CONNECTIONS: usize = 4;
/// How long one reader may follow. Browsers begin again by themselves; others get a chance.
const FOLLOWS: Duration = Duration::from_mins(5);
/// Downloads whose last notice is remembered, however many there were.
const REMEMBERED: usize = 64;

/// Tells readers of the page what the engine does. Clones are the same.
#[derive(Debug, Clone)]
pub struct Live {
    news: broadcast::Sender<(&'static str, String)>,
    told: Arc<Mutex<BTreeMap<i64, Instant>>>,
    readers: Arc<Semaphore>,
    closing: CancellationToken,
}

impl Default for Live {
    fn default() -> Live {
        let (news, _) = broadcast::channel(QUEUE);
        Live {
            news,
            told: Arc::default(),
            readers: Arc::new(Semaphore::new(places() / PART_OF_CONNECTIONS)),
            closing: CancellationToken::new(),
        }
    }
}

impl Live {
    /// To be called with everything that the engine does. Returns at once.
    pub fn notice(&self, notice: &Notice<'_>) {
        if self.news.receiver_count() == 0 {
            return;
        }
        let news = match notice {
            Notice::Moved { job, events } if !events.is_empty() => {
                self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&job.id);
                ("moved", json!({ "job": job.id, "source": job.source, "state": job.state }))
            }
            Notice::Receiving { job, bytes, length } if self.is_time(*job) => {
                ("receiving", json!({ "job": job, "bytes": bytes, "length": length }))
            }
            _ => return,
        };
        // No listener is left.
        let _ = self.news.send((news.0, news.1.to_string()));
    }

    /// Ends what readers follow.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    fn is_time(&self, job: i64) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_time = told.get(&job).is_none_or(|last| now - *last >= APART);
        if is_time {
            if told.len() >= REMEMBERED {
                told.retain(|_, last| now - *last < APART);
            }
            told.insert(job, now);
        }
        is_time
    }
}

/// Server-sent events `moved` and `receiving`.
pub(super) async fn show(Extract(state): Extract<State>) -> Response {
    let live = state.live;
    let Ok(place) = Arc::clone(&live.readers).try_acquire_owned() else {
        return come_again("too many follow already\n".to_owned());
    };
    let until = tokio::time::Instant::now() + FOLLOWS;
    let closing = live.closing.clone();
    let ended = async move {
        let _ = tokio::time::timeout_at(until, closing.cancelled()).await;
    };
    let events = stream::unfold((live.news.subscribe(), place), |(mut news, place)| async move {
        loop {
            match news.recv().await {
                Ok((name, data)) => {
                    let event = Event::default().event(name).data(data);
                    return Some((Ok::<_, Infallible>(event), (news, place)));
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(events.take_until(Box::pin(ended))).keep_alive(KeepAlive::default()).into_response()
}
