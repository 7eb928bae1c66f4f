//! What changed in a snapshot, compared when its page is requested. One comparison runs at a time.
//! It continues when its client has gone, so that the next request finds the result.

use crate::archive::Snapshot;
use crate::comparisons::{Comparer, ShownChanges};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// How many results are cached.
const KNOWN: usize = 8;
/// How long a request waits for its comparison.
const WAIT: Duration = Duration::from_secs(1);
/// How long an error is cached.
const ERROR_KEPT: Duration = Duration::from_secs(60);

/// The manifests of the snapshots that are compared, the old one first.
type Key = (PathBuf, PathBuf);

/// The comparisons of the page. Clones share the cache.
#[derive(Debug, Clone)]
pub(super) struct Changes {
    comparer: Comparer,
    inner: Arc<Mutex<Inner>>,
    finished: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    known: VecDeque<Known>,
    running: Option<Key>,
}

#[derive(Debug)]
struct Known {
    key: Key,
    at: Instant,
    result: Result<Arc<ShownChanges>, String>,
}

/// What is known of a comparison.
#[derive(Debug)]
pub(super) enum Comparison {
    /// Its result.
    Known(Arc<ShownChanges>),
    /// Why there is none.
    Failed(String),
    /// It is running.
    Running,
    /// Another one is running.
    Busy,
}

impl Changes {
    pub(super) fn new(comparer: Comparer) -> Changes {
        Changes { comparer, inner: Arc::default(), finished: Arc::default() }
    }

    /// What changed from one snapshot to another. Begins a comparison, unless one is running, and
    /// waits for it briefly.
    pub(super) async fn between(&self, old: &Snapshot, new: &Snapshot) -> Comparison {
        let key = (old.path.clone(), new.path.clone());
        let until = Instant::now() + WAIT;
        loop {
            let finished = self.finished.notified();
            match self.look(&key) {
                Some(Comparison::Running) => {}
                Some(comparison) => return comparison,
                None => self.begin(key.clone(), old.clone(), new.clone()),
            }
            if timeout_at(until, finished).await.is_err() {
                return self.look(&key).unwrap_or(Comparison::Running);
            }
        }
    }

    fn look(&self, key: &Key) -> Option<Comparison> {
        let mut inner = self.inner();
        inner.known.retain(|it| it.result.is_ok() || it.at.elapsed() < ERROR_KEPT);
        if let Some(known) = inner.known.iter().find(|it| it.key == *key) {
            return Some(match &known.result {
                Ok(shown) => Comparison::Known(Arc::clone(shown)),
                Err(error) => Comparison::Failed(error.clone()),
            });
        }
        match &inner.running {
            None => None,
            Some(running) if running == key => Some(Comparison::Running),
            Some(_) => Some(Comparison::Busy),
        }
    }

    /// Begins a comparison, unless another request has been faster.
    fn begin(&self, key: Key, old: Snapshot, new: Snapshot) {
        {
            let mut inner = self.inner();
            if inner.running.is_some() {
                return;
            }
            inner.running = Some(key.clone());
        }
        let running = Running { changes: self.clone() };
        let comparer = self.comparer.clone();
        // It ends with the page's runtime.
        tokio::spawn(async move {
            let stop = CancellationToken::new();
            let result = comparer.show(old, new, &stop).await;
            let result = result.map(Arc::new).map_err(|error| error.to_string());
            running.changes.remember(Known { key, at: Instant::now(), result });
        });
    }

    fn remember(&self, known: Known) {
        let mut inner = self.inner();
        inner.known.truncate(KNOWN - 1);
        inner.known.push_front(known);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running comparison. It has ended when this is dropped, however it ended.
struct Running {
    changes: Changes,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.changes.inner().running = None;
        self.changes.finished.notify_waiters();
    }
}
