//! Bing Maps Spatial Data Services: the DataSourceDownload dataflow (create, status, result), what
//! an account has (AtomPub), and restore support (LoadDataSource, publication, rollback).

mod activities;
mod address;
mod atom;
mod classify;
mod fetch;
mod kind;
mod listing;
mod load;
mod poll;
mod requests;
mod submit;
#[cfg(test)]
mod tests;
mod text;
mod wire;

pub use kind::{DataSource, ENDPOINT, KIND, MAX_IN_PROCESS, MAX_JOBS_PER_DAY};

use self::address::Addresses;
use self::classify::{RequestKind, ResponseClassifier};
use self::text::tidy;
use self::wire::Answer;
use super::http::{Connection, HttpClients};
use super::{
    Download, ExportService, Failure, FailureKind, Listing, Polled, Restoring, Submitted, Target,
    Validator,
};
use crate::format::{DATASET, Format};
use crate::secret::{Key, redact, redact_parts};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use url::Url;

/// The most bytes of a control response that are read.
const CONTROL_LIMIT: usize = 1 << 20;
const JSON: &str = "application/json";
/// Result and log are not JSON; some hosts insist on a matching `Accept` header.
const ANYTHING: &str = "application/xml, text/xml;q=0.9, */*;q=0.8";

/// One account at the service.
pub struct Bing {
    addresses: Addresses,
    account: String,
    key: Key,
    clients: HttpClients,
}

impl std::fmt::Debug for Bing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bing").field("account", &self.account).finish_non_exhaustive()
    }
}

impl Bing {
    /// An account at the service: its name for messages, the service's address, and its key.
    pub fn new(account: &str, endpoint: &Url, key: Key, clients: HttpClients) -> Bing {
        Bing { addresses: Addresses::new(endpoint), account: account.to_owned(), key, clients }
    }

    fn classifier(&self, request: RequestKind, now: DateTime<Utc>) -> ResponseClassifier<'_> {
        ResponseClassifier { account: &self.account, key: &self.key, request, now }
    }

    /// Asks for a data source's versions, of which it reads only whether it may ask.
    async fn may_ask(&self, source: &DataSource, now: DateTime<Utc>) -> Result<(), Failure> {
        let url = self.addresses.versions(source);
        let reply = self.ask(url, Connection::Pooled, ANYTHING, CONTROL_LIMIT).await?;
        let classifier = self.classifier(RequestKind::Versions, now);
        if !reply.is_success() {
            return Err(classifier.failure(&reply));
        }
        let answer = Answer::parse(&reply.body).ok();
        let contradiction = answer.and_then(|answer| classifier.contradiction(&reply, &answer));
        contradiction.map_or(Ok(()), Err)
    }

    /// A link of the service as a URL that may be stored. The `key` parameter is removed; a URL
    /// that holds the key anywhere else is refused.
    fn link(&self, text: &str, base: &Url) -> Option<Url> {
        let url = self.addresses.link(text, base)?;
        (redact(url.as_str(), &[&self.key]) == url.as_str()).then_some(url)
    }

    fn tidy(&self, text: &str) -> String {
        tidy(text, &self.key)
    }
}

impl ExportService for Bing {
    fn submit<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>> {
        Box::pin(async move { self.create(data_source(target)?, now).await })
    }

    fn poll<'a>(
        &'a self,
        _target: &'a Target,
        remote_id: Option<&'a str>,
        status_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Polled, Failure>> {
        Box::pin(self.status(remote_id, status_url, now))
    }

    fn format(&self, _target: &Target) -> &'static dyn Format {
        &DATASET
    }

    fn fetch<'a>(
        &'a self,
        _target: &'a Target,
        result_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Download, Failure>> {
        Box::pin(self.result(result_url, now))
    }

    fn resume<'a>(
        &'a self,
        _target: &'a Target,
        result_url: &'a str,
        offset: u64,
        validator: &'a Validator,
    ) -> BoxFuture<'a, Result<Download, Failure>> {
        Box::pin(self.rest(result_url, offset, validator))
    }

    fn redact(&self, text: &str) -> String {
        redact_parts(text, &self.key)
    }

    fn error_log<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<String, Failure>> {
        Box::pin(self.log(url))
    }

    fn try_key<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move { self.may_ask(data_source(target)?, now).await })
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn restoring(&self) -> Option<&dyn Restoring> {
        Some(self)
    }
}

/// What to export, if the target is one of this service.
fn data_source(target: &Target) -> Result<&DataSource, Failure> {
    let foreign = || Failure::new(FailureKind::Protocol, "the target is not of this service");
    target.request().ok_or_else(foreign)
}
