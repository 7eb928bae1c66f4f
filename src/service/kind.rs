//! The kinds of services, as accounts choose them with `service = "…"`.

use super::http::HttpClients;
use super::{ExportService, Target, bing};
use crate::manifest::Origin;
use crate::secret::Key;
use crate::settings::Account;
use crate::toml_reader::Table;
use chrono::NaiveDate;
use std::fmt;
use std::sync::Arc;
use url::Url;

/// Every kind. A new one is a module beside [`bing`] and a line here.
pub static KINDS: [&ServiceKind; 1] = [&bing::KIND];

/// The kind of accounts that name none.
pub static DEFAULT: &ServiceKind = &bing::KIND;

/// A kind of service: all that the rest of the program knows of it.
pub struct ServiceKind {
    /// The word in the configuration.
    pub word: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Its last day, if it has been announced.
    pub last_day: Option<NaiveDate>,
    /// The keys that its accounts have beside those of every account.
    pub account_keys: &'static [&'static str],
    /// The keys that its sources have beside those of every source.
    pub source_keys: &'static [&'static str],
    /// Reads its own keys of an account, or records the mistakes in them. It must not touch other
    /// keys.
    pub read_account: fn(&Table<'_>) -> Option<AccountSettings>,
    /// Reads its own keys of a source, or records the mistakes in them. It must not touch other
    /// keys.
    pub read_source: fn(&Table<'_>) -> Option<Target>,
    /// A text that is equal for two origins of one data source, whatever their versions are: names
    /// are compared as the service compares them.
    pub source_identity: fn(&Origin) -> String,
    /// Makes the client of an account, without any I/O.
    pub connect: fn(&Account, Key, HttpClients) -> Arc<dyn ExportService>,
    /// What `doctor` says when the service refuses a key.
    pub refused_key_advice: &'static str,
}

impl fmt::Debug for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceKind").field(&self.word).finish()
    }
}

/// What a service's own keys of an account say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSettings {
    /// The service's address.
    pub endpoint: Url,
    /// Remote jobs that may be unfinished at once, at least 1.
    pub max_in_process: u32,
    /// Remote jobs that may be started in any 24 hours, at least 1.
    pub max_jobs_per_day: u32,
}

/// The kind of that word.
pub fn named(word: &str) -> Option<&'static ServiceKind> {
    KINDS.into_iter().find(|kind| kind.word == word)
}

/// A word that is no kind's.
#[derive(Debug, thiserror::Error)]
#[error("there is no service `{0}`")]
pub struct UnknownService(&'static str);

/// The client of an account.
///
/// # Errors
/// The account names a service that does not exist. A configuration that was read has none such.
pub fn connect(
    account: &Account,
    key: Key,
    clients: HttpClients,
) -> Result<Arc<dyn ExportService>, UnknownService> {
    let kind = named(account.service).ok_or(UnknownService(account.service))?;
    Ok((kind.connect)(account, key, clients))
}
