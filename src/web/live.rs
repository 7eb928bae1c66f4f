//! Server-sent events about running jobs.

use super::State;
use super::server::max_connections;
use super::work::retry_later;
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

/// How many events a slow reader may miss.
const QUEUE: usize = 64;
/// How often the progress of one download is sent.
const APART: Duration = Duration::from_millis(300);
/// Readers may use at most this fraction of the page's connections, as a divisor. They stay
/// connected for long and would block other clients.
const PART_OF_CONNECTIONS: usize = 4;
/// How long one reader may stay. Browsers reconnect; other readers get a chance.
const FOLLOWS: Duration = Duration::from_mins(5);
/// The most downloads whose last event is remembered.
const REMEMBERED: usize = 64;

/// Publishes what the engine does to readers of the page. Clones share their state.
#[derive(Debug, Clone)]
pub struct Live {
    events: broadcast::Sender<(&'static str, String)>,
    last_sent: Arc<Mutex<BTreeMap<i64, Instant>>>,
    readers: Arc<Semaphore>,
    closing: CancellationToken,
}

impl Default for Live {
    fn default() -> Live {
        let (events, _) = broadcast::channel(QUEUE);
        Live {
            events,
            last_sent: Arc::default(),
            readers: Arc::new(Semaphore::new(max_connections() / PART_OF_CONNECTIONS)),
            closing: CancellationToken::new(),
        }
    }
}

impl Live {
    /// Call this with every notice of the engine. Returns at once.
    pub fn notice(&self, notice: &Notice<'_>) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let event = match notice {
            Notice::Moved { job, events } if !events.is_empty() => {
                self.last_sent.lock().unwrap_or_else(PoisonError::into_inner).remove(&job.id);
                ("moved", json!({ "job": job.id, "source": job.source, "state": job.state }))
            }
            Notice::Receiving { job, bytes, length } if self.is_time(*job) => {
                ("receiving", json!({ "job": job, "bytes": bytes, "length": length }))
            }
            _ => return,
        };
        // An error means that no reader is left.
        let _ = self.events.send((event.0, event.1.to_string()));
    }

    /// Ends all event streams.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    fn is_time(&self, job: i64) -> bool {
        let mut last_sent = self.last_sent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_time = last_sent.get(&job).is_none_or(|last| now - *last >= APART);
        if is_time {
            if last_sent.len() >= REMEMBERED {
                last_sent.retain(|_, last| now - *last < APART);
            }
            last_sent.insert(job, now);
        }
        is_time
    }
}

/// Server-sent events `moved` and `receiving`.
pub(super) async fn show(Extract(state): Extract<State>) -> Response {
    let live = state.live;
    let Ok(place) = Arc::clone(&live.readers).try_acquire_owned() else {
        return retry_later("too many follow already\n".to_owned());
    };
    let until = tokio::time::Instant::now() + FOLLOWS;
    let closing = live.closing.clone();
    let ended = async move {
        let _ = tokio::time::timeout_at(until, closing.cancelled()).await;
    };
    let events =
        stream::unfold((live.events.subscribe(), place), |(mut events, place)| async move {
            loop {
                match events.recv().await {
                    Ok((name, data)) => {
                        let event = Event::default().event(name).data(data);
                        return Some((Ok::<_, Infallible>(event), (events, place)));
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
    Sse::new(events.take_until(Box::pin(ended))).keep_alive(KeepAlive::default()).into_response()
}
