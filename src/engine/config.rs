//! What an engine runs with.

use crate::config;
use crate::job::Policy;
use crate::policy::backoff::Backoff;
use crate::policy::quota::Quota;
use crate::service::http::HttpClients;
use crate::service::{self, ExportService};
use crate::settings::{Account, Settings, Source};
use crate::store::AccountLimits;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// What an engine runs with: a configuration, and the service behind each account.
#[derive(Clone)]
pub struct EngineConfig {
    /// The configuration.
    pub settings: Settings,
    /// By account.
    pub services: BTreeMap<String, Arc<dyn ExportService>>,
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why the service of an account cannot be used: a line for each reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

impl EngineConfig {
    /// A configuration with the service of every account. Reads their keys.
    ///
    /// # Errors
    /// When a key cannot be read, or a service cannot be used.
    pub fn connect_all(settings: &Settings) -> Result<EngineConfig, ConnectError> {
        let accounts = settings.accounts.keys().map(String::as_str).collect();
        EngineConfig::connect(settings, &accounts)
    }

    /// A configuration with the services of these accounts. Reads their keys.
    ///
    /// # Errors
    /// When a key cannot be read, or a service cannot be used.
    pub fn connect(
        settings: &Settings,
        accounts: &BTreeSet<&str>,
    ) -> Result<EngineConfig, ConnectError> {
        let failed = |error: &dyn fmt::Display| ConnectError(error.to_string());
        let clients = HttpClients::new(&settings.http).map_err(|error| failed(&error))?;
        let mut services: BTreeMap<String, Arc<dyn ExportService>> = BTreeMap::new();
        let mut problems = Vec::new();
        for account in settings.accounts.values().filter(|it| accounts.contains(it.name.as_str())) {
            match config::read_key(&account.key, &account.name) {
                Ok((key, warnings)) => {
                    for warning in warnings {
                        tracing::warn!(account = account.name, "{warning}");
                    }
                    let client = service::connect(account, key, clients.clone());
                    let client = client.map_err(|error| failed(&error))?;
                    services.insert(account.name.clone(), client);
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        match problems.is_empty() {
            true => Ok(EngineConfig { settings: settings.clone(), services }),
            false => Err(ConnectError(problems.join("\n"))),
        }
    }

    /// The policy that this configuration sets.
    pub fn policy(&self) -> Policy {
        let Settings { poll, retry, http, .. } = &self.settings;
        Policy {
            poll: Backoff {
                initial: poll.initial,
                max: poll.max,
                factor: poll.factor,
                jitter: poll.jitter,
            },
            deadline: poll.deadline,
            // Retries spread like polls do; their growth is not configurable.
            retry: Backoff {
                initial: retry.initial,
                max: retry.max,
                factor: 2.0,
                jitter: poll.jitter,
            },
            attempts: retry.attempts,
            job_attempts: retry.job_attempts,
            lost_after: http.lost_after,
        }
    }

    /// What each source's account allows, for sources whose account has a service here.
    pub(super) fn limits(&self) -> BTreeMap<String, AccountLimits> {
        let policy = self.policy();
        let limits = |source: &Source, account: &Account| AccountLimits {
            quota: Quota {
                max_in_process: account.max_in_process,
                max_jobs_per_day: account.max_jobs_per_day,
            },
            policy: policy.clone(),
            requested: self.settings.requested(source),
            looks_first: source.skip_unchanged.is_some(),
        };
        let served = |source: &&Source| self.services.contains_key(&source.account);
        self.settings
            .sources
            .iter()
            .filter(served)
            .filter_map(|it| Some((it.name.clone(), limits(it, self.settings.account_of(it)?))))
            .collect()
    }
}
