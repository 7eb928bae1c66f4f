//! The remote side: the interface of a slow export service, and its clients.
//!
//! An [`ExportService`] is the client of one account. Each call sends one request: it keeps no
//! state between calls, reads no wall clock, never waits before a request and never repeats one.
//! Callers decide when and how often to send requests; a [`Failure`] tells them why one failed.
//! `conformance` tests these promises; every service runs it.
//!
//! # Adding a service
//!
//! 1. A folder beside [`bing`] with a type that implements [`ExportService`], and its own request
//!    type, which it puts into a [`Target`].
//! 2. A [`ServiceKind`] in that folder: its word, and how it reads its keys of accounts and
//!    sources.
//! 3. A line in [`KINDS`].
//! 4. If its results have a new format: a [`Format`], and a line in [`crate::format::FORMATS`].
//! 5. A test that runs `conformance` against a simulated form of the service.
//! 6. Where it lists what an account has, or takes data back: [`Listing`] and [`Restoring`], which
//!    `conformance` tests too.
//! 7. Its keys in `docs/configuration.md`, under headings of its own, and in `config.example.toml`;
//!    a test compares them.

pub mod bing;
#[cfg(test)]
mod conformance;
pub mod http;
mod kind;
mod restoring;

pub use self::kind::{
    AccountSettings, DEFAULT, KINDS, ServiceKind, UnknownService, connect, named,
};
pub use self::restoring::{ListedSource, Listing, LoadDocument, LoadMode, LoadRules, Restoring};
pub use crate::job::{
    ActivityKind, Failure, FailureKind, ListedVersion, OtherJob, Polled, Progress, RemoteActivity,
    Submitted, VersionState,
};
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

/// The client of an account at an export service: submit, poll, fetch.
///
/// What holds for all methods:
/// - One call is one request, with its redirects. Nothing is repeated or remembered: after a
///   restart another client continues with the texts that were stored.
/// - `remote_id`, `status_url` and `result_url` are the service's own texts. The caller stores them
///   as they are and gives them back; it does not read them.
/// - The key goes to the account's own hosts only, and is in no text that is returned: not in URLs,
///   messages, notes or errors.
/// - A target that another service made is a failure of the kind `Protocol`, without a request.
/// - Dropping a call is safe at any time. Bodies are read with the limits and timeouts of the
///   clients, so that no call lasts forever.
/// - `now` is for reading a `Retry-After` that is a date, and for nothing else.
pub trait ExportService: Send + Sync {
    /// Starts one remote job. The request is sent at most once, on a connection of its own, because
    /// a pooled one may make the library send it again.
    ///
    /// # Errors
    /// A [`Failure`] whose `maybe_started` says whether the service may have started a job: false
    /// only if that is certain.
    fn submit<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>>;

    /// Asks for the status of a remote job. An unknown status word is pending, not a failure: the
    /// caller's deadline ends the job.
    ///
    /// # Errors
    /// When there was no valid response; this says nothing about the remote job itself. `NotFound`
    /// means that the service does not know the job.
    fn poll<'a>(
        &'a self,
        target: &'a Target,
        remote_id: Option<&'a str>,
        status_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Polled, Failure>>;

    /// The format of the target's results.
    fn format(&self, target: &Target) -> &'static dyn Format;

    /// Starts fetching a result, which has no effect at the service. The caller limits and
    /// validates what it reads.
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
    /// When no body was received. `Protocol` means that resuming is impossible: the file has
    /// changed, or the server does not support ranges.
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

    /// What it lists, if it lists anything.
    fn listing(&self) -> Option<&dyn Listing> {
        None
    }

    /// Its restore support, if it has any.
    fn restoring(&self) -> Option<&dyn Restoring> {
        None
    }
}
