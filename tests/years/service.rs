//! The simulated service as an engine calls it, where processes can be stopped.

use crate::world::World;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use nightjar::format::{DATASET, Format};
use nightjar::service::{Download, ExportService, Failure, Polled, Submitted, Target};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// Where a process is stopped in the middle of a request, as by SIGSTOP, and continues later.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    passage: Mutex<Passage>,
    stopped: Notify,
    goes_on: Notify,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Passage {
    #[default]
    Open,
    /// The next request is stopped.
    Closing,
    Closed,
}

impl Pause {
    /// Stops the process at its next request.
    pub(crate) fn close(&self) {
        *self.passage.lock().unwrap() = Passage::Closing;
    }

    /// Continues the process.
    pub(crate) fn open(&self) {
        *self.passage.lock().unwrap() = Passage::Open;
        self.goes_on.notify_one();
    }

    /// Waits until the process has been stopped.
    pub(crate) async fn stops(&self) {
        self.stopped.notified().await;
    }

    async fn pass(&self) {
        {
            let mut passage = self.passage.lock().unwrap();
            if *passage != Passage::Closing {
                return;
            }
            *passage = Passage::Closed;
        }
        self.stopped.notify_one();
        while *self.passage.lock().unwrap() == Passage::Closed {
            self.goes_on.notified().await;
        }
    }
}

/// The service, as an engine calls it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) world: Arc<Mutex<World>>,
    pub(crate) pause: Arc<Pause>,
    /// The calling worker.
    pub(crate) worker: u64,
}

impl Service {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

impl ExportService for Service {
    fn format(&self, _: &Target) -> &'static dyn Format {
        &DATASET
    }

    fn submit<'a>(
        &'a self,
        target: &'a Target,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>> {
        async {
            let answer = self.world().submit(target.origin().name());
            self.pause.pass().await;
            if let Ok(Submitted { remote_id: Some(id), .. }) = &answer {
                self.world().answered.push((self.worker, id.parse().unwrap()));
            }
            answer
        }
        .boxed()
    }

    fn poll<'a>(
        &'a self,
        _: &'a Target,
        _: Option<&'a str>,
        status_url: &'a str,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Polled, Failure>> {
        async {
            let answer = self.world().poll(status_url);
            self.pause.pass().await;
            answer
        }
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        _: &'a Target,
        result_url: &'a str,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Download, Failure>> {
        async {
            let mut download = self.world().fetch(result_url)?;
            // Between the two halves of the document.
            let pause = Arc::clone(&self.pause);
            let chunks = download.chunks.enumerate().then(move |(at, chunk)| {
                let pause = Arc::clone(&pause);
                async move {
                    if at == 1 {
                        pause.pass().await;
                    }
                    chunk
                }
            });
            download.chunks = chunks.boxed();
            Ok(download)
        }
        .boxed()
    }

    fn error_log<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<String, Failure>> {
        async { Ok("why it was aborted".to_owned()) }.boxed()
    }

    fn try_key<'a>(
        &'a self,
        _: &'a Target,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async { Ok(()) }.boxed()
    }
}
