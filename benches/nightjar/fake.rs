//! An instant service without a network, so that only Nightjar's own work is measured.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt};
use nightjar::format::{DATASET, Format};
use nightjar::service::{Download, ExportService, Failure, Polled, Progress, Submitted, Target};

/// Answers at once.
pub(crate) struct Instantly {
    pub(crate) document: Bytes,
    pub(crate) entities: u64,
}

impl ExportService for Instantly {
    fn format(&self, _: &Target) -> &'static dyn Format {
        &DATASET
    }

    fn submit<'a>(
        &'a self,
        _: &'a Target,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>> {
        let status_url = "https://service.invalid/status".to_owned();
        let submitted =
            Submitted { remote_id: Some("remote".into()), status_url, notes: Vec::new() };
        async move { Ok(submitted) }.boxed()
    }

    fn poll<'a>(
        &'a self,
        _: &'a Target,
        _: Option<&'a str>,
        _: &'a str,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Polled, Failure>> {
        let progress = Progress::Completed {
            result_url: Some("https://service.invalid/result".into()),
            expected: Some(self.entities),
        };
        async move { Ok(Polled::ours(progress)) }.boxed()
    }

    fn fetch<'a>(
        &'a self,
        _: &'a Target,
        _: &'a str,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Download, Failure>> {
        let document = self.document.clone();
        async move {
            Ok(Download {
                length: Some(document.len() as u64),
                chunks: stream::iter([Ok(document)]).boxed(),
                notes: Vec::new(),
                validator: None,
            })
        }
        .boxed()
    }

    fn error_log<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<String, Failure>> {
        async { Ok(String::new()) }.boxed()
    }

    fn try_key<'a>(
        &'a self,
        _: &'a Target,
        _: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async { Ok(()) }.boxed()
    }
}
