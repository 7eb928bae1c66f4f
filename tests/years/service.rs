//! The simulated service as an engine calls it, where processes can be stopped.

use crate::world::World;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use nightjar::format::{DATASET, Format};
use nightjar::manifest::Origin;
use nightjar::service::{
    Download, ExportService, Failure, FailureKind, ListedSource, ListedVersion, Listing,
    LoadDocument, LoadMode, LoadRules, Polled, RemoteActivity, Restoring, Submitted, Target,
};
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
            let origin = target.origin();
            let answer = self.world().submit(origin.name(), origin.version.as_deref());
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

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn restoring(&self) -> Option<&dyn Restoring> {
        Some(self)
    }
}

impl Listing for Service {
    fn sources(&self, _: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<ListedSource>, Failure>> {
        async { Err(Failure::new(FailureKind::Unavailable, "no list of sources")) }.boxed()
    }

    fn versions<'a>(
        &'a self,
        target: &'a Target,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Vec<ListedVersion>, Failure>> {
        async {
            let answer = self.world().list_versions(target.origin().name());
            self.pause.pass().await;
            answer
        }
        .boxed()
    }

    fn at_version(&self, target: &Target, version: &str) -> Result<Target, Failure> {
        let origin = Origin { version: Some(version.to_owned()), ..target.origin().clone() };
        Ok(Target::new(origin, ()))
    }
}

impl Restoring for Service {
    fn rules(&self) -> LoadRules {
        LoadRules {
            bytes: 300_000_000,
            entities: 200_000,
            key_length: 50,
            text_length: 2_560,
            columns: 350,
            allows_column: |_| true,
            download_root: None,
            computed_columns: &[],
            staged_days: 30,
        }
    }

    fn load<'a>(
        &'a self,
        target: &'a Target,
        _: LoadMode,
        document: LoadDocument,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>> {
        async {
            let chunks: Vec<_> = document.chunks.collect().await;
            let chunks: Result<Vec<_>, _> = chunks.into_iter().collect();
            let Ok(chunks) = chunks else {
                // Without its end the request has no effect.
                let lost = Failure::new(FailureKind::Lost, "the document could not be read");
                return Err(Failure { maybe_started: true, ..lost });
            };
            let answer = self.world().load(target.origin().name(), &chunks.concat());
            self.pause.pass().await;
            answer
        }
        .boxed()
    }

    fn publish<'a>(
        &'a self,
        target: &'a Target,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>> {
        async {
            let answer = self.world().publish(target.origin().name());
            self.pause.pass().await;
            answer
        }
        .boxed()
    }

    fn roll_back<'a>(
        &'a self,
        target: &'a Target,
        version: &'a str,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>> {
        async {
            let answer = self.world().roll_back(target.origin().name(), version);
            self.pause.pass().await;
            answer
        }
        .boxed()
    }

    fn poll_change<'a>(
        &'a self,
        _: &'a Target,
        _: Option<&'a str>,
        status_url: &'a str,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Polled, Failure>> {
        async {
            let answer = self.world().poll_change(status_url);
            self.pause.pass().await;
            answer
        }
        .boxed()
    }

    fn activities(&self, _: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<RemoteActivity>, Failure>> {
        async {
            let answer = self.world().list_activities();
            self.pause.pass().await;
            answer
        }
        .boxed()
    }
}
