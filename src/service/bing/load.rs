//! Restore support: loads, publications and rollbacks. Each request is sent at most once, on a
//! connection of its own.

use super::classify::RequestKind;
use super::kind::version_id;
use super::submit::sent;
use super::{Bing, CONTROL_LIMIT, DataSource, JSON, data_source};
use crate::service::http::Upload;
use crate::service::{
    Failure, FailureKind, LoadDocument, LoadMode, LoadRules, Polled, RemoteActivity, Restoring,
    Submitted, Target,
};
use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

/// "Geocode and Data Source Limits": 300 MB of uncompressed data. The documents do not say which
/// megabyte; the larger one leaves the doubtful cases to the service.
const MAX_BYTES: u64 = 300 << 20;
/// The rest of what is documented: "Geocode and Data Source Limits" (enterprise keys), "Load Data
/// Source Data Schema and Sample Input" (lengths, columns), "Publish a Staged Data Source" (days).
const RULES: LoadRules = LoadRules {
    bytes: MAX_BYTES,
    entities: 200_000,
    key_length: 50,
    text_length: 2_560,
    columns: 350,
    allows_column,
    download_root: Some("MainRoot"),
    computed_columns: &["Latitude", "Longitude"],
    staged_days: 30,
};
/// The longest name of a column, in characters.
const LONGEST_NAME: usize = 50;
/// "Create a Load Data Source Job and Input Entity Data": the content type of `input=xml`.
const XML: &str = "application/xml";

impl Restoring for Bing {
    fn rules(&self) -> LoadRules {
        RULES
    }

    fn load<'a>(
        &'a self,
        target: &'a Target,
        mode: LoadMode,
        document: LoadDocument,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>> {
        Box::pin(async move { self.post(data_source(target)?, mode, document, now).await })
    }

    fn publish<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>> {
        Box::pin(async move {
            let url = self.addresses.publish(data_source(target)?);
            self.start(url, RequestKind::Publish, now).await
        })
    }

    fn roll_back<'a>(
        &'a self,
        target: &'a Target,
        version: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>> {
        Box::pin(async move {
            let source = data_source(target)?;
            let Some(version) = version_id(version) else {
                let message = "no version of a data source can have this identifier";
                return Err(Failure::new(FailureKind::Rejected, message));
            };
            let url = self.addresses.roll_back(source, &version);
            self.start(url, RequestKind::RollBack, now).await
        })
    }

    fn poll_change<'a>(
        &'a self,
        target: &'a Target,
        remote_id: Option<&'a str>,
        status_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Polled, Failure>> {
        Box::pin(async move {
            let source = data_source(target)?;
            self.change_status(source, remote_id, status_url, now).await
        })
    }

    fn activities(
        &self,
        now: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<Vec<RemoteActivity>, Failure>> {
        Box::pin(self.jobs(now))
    }
}

impl Bing {
    async fn post(
        &self,
        source: &DataSource,
        mode: LoadMode,
        document: LoadDocument,
        now: DateTime<Utc>,
    ) -> Result<Submitted, Failure> {
        let url = self.addresses.load(source, mode);
        let with_key = self.addresses.with_key(&url, &self.key);
        let upload = Upload { content_type: XML, length: document.length, chunks: document.chunks };
        let response = self.clients.post(with_key, JSON, upload).await.map_err(sent)?;
        let reply = self.read(response, url, CONTROL_LIMIT).await?;
        self.started(&reply, RequestKind::Load, now)
    }
}

/// Whether a column may have this name ("Property name requirements").
fn allows_column(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_alphabetic() || first == '_');
    let is_plain = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    begins && is_plain && !name.starts_with("__") && name.chars().count() <= LONGEST_NAME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_column_names_are_letters_digits_and_underscores() {
        for name in ["a", "_a", "A1_", "é"] {
            assert!(allows_column(name), "{name}");
        }
        for name in ["", "1a", "__a", "a-b", "a.b", &"x".repeat(51)] {
            assert!(!allows_column(name), "{name}");
        }
    }
}
