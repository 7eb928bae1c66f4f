//! What services offer beyond exports: listings of what an account has, and restore support. Both
//! are optional: see [`ExportService::listing`](super::ExportService::listing) and
//! [`ExportService::restoring`](super::ExportService::restoring).
//!
//! What holds for [`ExportService`](super::ExportService) holds here: one call is one request,
//! nothing is repeated or remembered, and the key is in no text that is returned.

use super::{Failure, Polled, Submitted, Target};
use crate::job::{ListedVersion, RemoteActivity};
use crate::manifest::Origin;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::io;

/// A data source in an account's listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSource {
    /// Where its data comes from: equal to the origin of the target that its keys make.
    pub origin: Origin,
    /// The service's own keys of a source, with their values, as the configuration has them.
    pub keys: Vec<(&'static str, String)>,
}

/// A service that lists what an account has. No call has an effect at the service.
pub trait Listing: Send + Sync {
    /// Every data source of the account.
    ///
    /// # Errors
    /// When there was no valid response, or a part of it could not be read: then nothing may be
    /// concluded from what is missing.
    fn sources(&self, now: DateTime<Utc>) -> BoxFuture<'_, Result<Vec<ListedSource>, Failure>>;

    /// The versions of a data source, the published one first, then the staged one, then the older
    /// ones, newest first. Empty when it exists and has none; `NotFound` when it does not exist.
    ///
    /// # Errors
    /// As for [`Listing::sources`].
    fn versions<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Vec<ListedVersion>, Failure>>;

    /// The target that exports this version instead of the published one.
    ///
    /// # Errors
    /// When another service made the target, or no version can have such an identifier.
    fn at_version(&self, target: &Target, version: &str) -> Result<Target, Failure>;
}

/// How a load treats what the data source has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadMode {
    /// The document becomes the staged version.
    Whole,
    /// The staged version becomes what is published, with the document's entities added or
    /// replaced.
    Entities,
}

/// A document to be loaded.
pub struct LoadDocument {
    /// Its exact length in bytes.
    pub length: u64,
    /// Its bytes. An error ends the request without its end, so that the service cannot take it for
    /// whole.
    pub chunks: BoxStream<'static, io::Result<Bytes>>,
}

impl std::fmt::Debug for LoadDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadDocument").field("length", &self.length).finish_non_exhaustive()
    }
}

/// What the service's documents say about loads.
#[derive(Debug, Clone, Copy)]
pub struct LoadRules {
    /// The most bytes in one load. A larger one is not tried.
    pub bytes: u64,
    /// The most entities in one load. A larger one is not tried.
    pub entities: u64,
    /// The longest primary key that is documented, in characters.
    pub key_length: usize,
    /// The longest text that is documented, in characters.
    pub text_length: usize,
    /// The most columns that are documented, without those that the service computes.
    pub columns: usize,
    /// Whether the documents allow a column of this name.
    pub allows_column: fn(&str) -> bool,
    /// The root element's name in downloads, if no documented load has it.
    pub download_root: Option<&'static str>,
    /// Columns that the service may add by itself, where the schema lacks them.
    pub computed_columns: &'static [&'static str],
    /// How long it keeps a staged version, in days.
    pub staged_days: u32,
}

/// A service that supports loading data.
pub trait Restoring: Send + Sync {
    /// What is documented about its loads.
    fn rules(&self) -> LoadRules;

    /// Loads a document as the data source's staged version. The request is sent at most once.
    ///
    /// # Errors
    /// A [`Failure`] whose `maybe_started` says whether a load may have started: false only if that
    /// is certain.
    fn load<'a>(
        &'a self,
        target: &'a Target,
        mode: LoadMode,
        document: LoadDocument,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>>;

    /// Publishes the staged version, whichever that is.
    ///
    /// # Errors
    /// As for [`Restoring::load`].
    fn publish<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>>;

    /// Publishes an older version again.
    ///
    /// # Errors
    /// As for [`Restoring::load`].
    fn roll_back<'a>(
        &'a self,
        target: &'a Target,
        version: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>>;

    /// Asks for the status of a load, a publication or a rollback. Completed is
    /// [`Progress::Applied`](super::Progress::Applied).
    ///
    /// # Errors
    /// As for [`ExportService::poll`](super::ExportService::poll).
    fn poll_change<'a>(
        &'a self,
        target: &'a Target,
        remote_id: Option<&'a str>,
        status_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Polled, Failure>>;

    /// The account's loads, publications and rollbacks of the last days.
    ///
    /// # Errors
    /// When there was no valid response, or a part of it could not be read.
    fn activities(&self, now: DateTime<Utc>)
    -> BoxFuture<'_, Result<Vec<RemoteActivity>, Failure>>;
}
