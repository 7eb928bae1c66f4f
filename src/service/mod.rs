//! The remote side: the interface of a slow export service, and its clients.
//!
//! Each call of an [`ExportService`] sends one request: it keeps no state, reads no wall clock, never
//! sleeps and never repeats a request. Callers decide when and how often to send requests; a
//! [`Failure`] tells them why one failed.

pub mod bing;
pub mod http;
mod kind;

pub use self::kind::{
    AccountSettings, DEFAULT, KINDS, ServiceKind, UnknownService, connect, named,
};
pub use crate::job::{Failure, FailureKind, OtherJob, Polled, Progress, Submitted};
pub use crate::settings::Target;

use std::fmt;

use crate::format::Format;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::time::Instant;

/// A result whose body is being received.
pub struct Download {
    /// The length in bytes, where it was announced and the body has no content encoding.
    pub length: Option<u64>,
    /// The bytes with the content encoding undone. The first error is the last item.
    pub chunks: BoxStream<'static, Result<Bytes, Failure>>,
    /// Oddities to note in the job's timeline, without the key.
    pub notes: Vec<String>,
    /// Allows the download to be resumed; `None` if it cannot be.
    pub validator: Option<Validator>,
}

/// Identifies the file for a resumed download: a strong entity tag (RFC 9110, 8.8.3) of a response
/// without content encoding, from a server that supports ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    pub(crate) tag: String,
    /// The whole file's length in bytes.
    pub(crate) length: u64,
    /// When the result was first requested: the download's deadline counts from then.
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
    /// Starts one remote job. The request is sent at most once.
    ///
    /// # Errors
    /// A [`Failure`] whose `maybe_started` says whether the service may have started a job.
    fn submit<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>>;

    /// Polls the status of a remote job.
    ///
    /// # Errors
    /// When there was no valid response; this says nothing about the remote job itself.
    fn poll<'a>(
        &'a self,
        target: &'a Target,
        remote_id: Option<&'a str>,
        status_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Polled, Failure>>;

    /// The format of the target's results.
    fn format(&self, target: &Target) -> &'static dyn Format;

    /// Starts fetching a result. The caller limits and validates what it reads.
    ///
    /// # Errors
    /// When no body was received; later failures come through the stream.
    fn fetch<'a>(
        &'a self,
        target: &'a Target,
        result_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Download, Failure>>;

    /// Requests the rest of a result that broke off after `offset` bytes, if the file is still the
    /// one that the validator identifies.
    ///
    /// # Errors
    /// When no body was received. `Protocol` means that resuming is impossible: the file has changed,
    /// or the server does not support ranges.
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

    /// A text without the account's key or a part of it: for whatever quotes what the service sent.
    fn redact(&self, text: &str) -> String {
        text.to_owned()
    }

    /// The service's error log of an aborted job: at most 64 KiB of text, without the key.
    ///
    /// # Errors
    /// When it could not be read.
    fn error_log<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<String, Failure>>;

    /// Checks that the service accepts the key for the target, without any side effect.
    ///
    /// # Errors
    /// When it does not, or when the request failed.
    fn try_key<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<(), Failure>>;
}
