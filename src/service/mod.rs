//! The remote side: what any slow export service can be asked, and what its answers mean.
//!
//! An [`ExportService`] is asked once per call: it keeps no state, reads no wall clock, never
//! sleeps and never repeats a request. When to ask, and how often, is decided elsewhere; what a
//! request that did not do its job means for that decision is its [`Failure`].

pub mod bing;
pub mod http;

pub use crate::job::{Failure, FailureKind, OtherJob, Polled, Progress, Submitted};

use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

/// What to export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub access_id: String,
    pub data_source: String,
    /// The version's id at the service; `None`: the published one.
    pub version: Option<String>,
}

/// A result that has begun to arrive.
pub struct Download {
    /// The length in bytes, where it was announced and the body has no content encoding.
    pub length: Option<u64>,
    /// The bytes with the content encoding undone. The first error is the last item.
    pub chunks: BoxStream<'static, Result<Bytes, Failure>>,
    /// Oddities worth a line in the job's timeline, free of the key.
    pub notes: Vec<String>,
    /// By what the rest can be asked for, should it break off; `None` where it cannot.
    pub validator: Option<Validator>,
}

/// What says that a result is still the same file: a strong entity tag (RFC 9110, 8.8.3) of an
/// answer without content encoding, whose server has ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    pub(crate) tag: String,
    /// The whole file's length in bytes.
    pub(crate) length: u64,
    /// When the result was first asked for: the download's deadline counts from then.
    pub(crate) begun: Instant,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("length", &self.length)
            .field("notes", &self.notes)
            .field("validator", &self.validator)
            .finish_non_exhaustive()
    }
}

/// An export service: submit, poll, fetch.
///
/// `now` is needed to read a `Retry-After` that is a date, for nothing else.
pub trait ExportService: Send + Sync {
    /// Starts one remote job. Sent at most once, whatever happens.
    ///
    /// # Errors
    /// A [`Failure`] whose `maybe_started` tells whether the service may have begun a job.
    fn submit<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>>;

    /// Asks how far a remote job has come.
    ///
    /// # Errors
    /// When no sensible answer came; this says nothing about the remote job itself.
    fn poll<'a>(
        &'a self,
        target: &'a Target,
        remote_id: Option<&'a str>,
        status_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Polled, Failure>>;

    /// Begins to fetch a result. The caller bounds and proves what it reads.
    ///
    /// # Errors
    /// When the result did not begin to arrive; later failures come through the stream.
    fn fetch<'a>(
        &'a self,
        target: &'a Target,
        result_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Download, Failure>>;

    /// Asks for the rest of a result that broke off after `offset` bytes, if it is still the file
    /// that the validator stands for.
    ///
    /// # Errors
    /// When the rest did not begin to arrive. `Protocol` says that it never will: the file is
    /// another one, or there are no ranges of it.
    fn resume<'a>(
        &'a self,
        target: &'a Target,
        result_url: &'a str,
        offset: u64,
        validator: &'a Validator,
    ) -> BoxFuture<'a, Result<Download, Failure>> {
        let _ = (target, result_url, offset, validator);
        let never = Failure::new(FailureKind::Protocol, "this service has no ranges");
        Box::pin(std::future::ready(Err(never)))
    }

    /// The service's own account of an aborted job: at most 64 KiB of text, free of the key.
    ///
    /// # Errors
    /// When it could not be read.
    fn error_log<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<String, Failure>>;

    /// Whether the service accepts the key for the target, without any effect there.
    ///
    /// # Errors
    /// When it does not, or when the service could not be asked.
    fn try_key<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<(), Failure>>;
}
