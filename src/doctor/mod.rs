//! Checks of everything that a backup needs, each with a fix. They change nothing.

mod folders;
mod keys;
mod service;
mod unit;

pub use keys::{TriedKey, try_keys};

use crate::alerts::{self, Channels};
use crate::archive::Archive;
use crate::clock::Clock;
use crate::config;
use crate::report::{self, Health, Reporter};
use crate::settings::Settings;
use crate::store::copies;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// All is well.
    Ok,
    /// It may be intended.
    Warning,
    /// Backups fail, or will.
    Error,
}

/// One finding: what was checked, the result, and the fix.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What was checked, as a word.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub fix: Option<String>,
}

/// Everything found so far.
#[derive(Debug, Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Adds that a check has found nothing wrong.
    pub fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.0.push(Finding { check, level: Level::Ok, message: message.into(), fix: None });
    }

    /// Adds a warning, with its fix.
    pub fn warn(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let (message, fix) = (message.into(), Some(fix.into()));
        self.0.push(Finding { check, level: Level::Warning, message, fix });
    }

    /// Adds an error, with its fix.
    pub fn error(
        &mut self,
        check: &'static str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let (message, fix) = (message.into(), Some(fix.into()));
        self.0.push(Finding { check, level: Level::Error, message, fix });
    }
}

/// What to check.
#[derive(Debug)]
pub struct Doctor<'s> {
    /// The configuration.
    pub settings: &'s Settings,
    /// Whether to skip the checks that contact the service.
    pub offline: bool,
    /// This machine's clock.
    pub clock: Clock,
}

impl Doctor<'_> {
    /// Checks everything that a backup needs. Changes nothing.
    pub async fn examine(&self, found: &mut Findings) {
        let (settings, now) = (self.settings, self.clock.now());
        sources(settings, now, found);
        keys(settings, found);
        folders::examine(settings, found);
        database(settings, now, found).await;
        if !self.offline {
            service::examine(settings, &self.clock, found).await;
        }
        notifications(settings, found);
        unit::examine(settings, found);
    }
}

/// Are there sources, and does a day's quota suffice for their schedules?
fn sources(settings: &Settings, now: DateTime<Utc>, found: &mut Findings) {
    let sources = &settings.sources;
    if sources.is_empty() {
        found.error(
            "sources",
            "there is no [[sources]] table: nothing will be backed up",
            "add one for each data source, see config.example.toml",
        );
    }
    for account in settings.accounts.values() {
        let until = now + TimeDelta::days(1);
        let of_account = sources.iter().filter(|source| source.account == account.name);
        let runs: usize = of_account
            .map(|source| source.schedule.count_between(now, until, source.timezone, 10_000))
            .sum();
        let most = account.max_jobs_per_day as usize;
        let message = format!(
            "the schedules of account {} need {runs} of the {most} exports that it may start in 24 \
             hours",
            account.name
        );
        match runs {
            runs if runs > most => found.error(
                "quota",
                message,
                "back up less often, or fewer sources: jobs beyond the quota wait for the next \
                 day, each day longer",
            ),
            runs if 2 * runs > most => found.warn(
                "quota",
                message,
                "leave some quota for repeated exports, in case the service aborts one",
            ),
            _ => found.ok("quota", message),
        }
    }
}

fn keys(settings: &Settings, found: &mut Findings) {
    for account in settings.accounts.values() {
        match config::read_key(&account.key, &account.name) {
            Ok((_, warnings)) if warnings.is_empty() => {
                found.ok("key", format!("the key of account {} can be read", account.name));
            }
            Ok((_, warnings)) => {
                for warning in warnings {
                    found.warn("key", warning.message, "run the command in the message");
                }
            }
            Err(error) => match &account.key {
                crate::settings::KeySource::Credential(_) => found.warn(
                    "key",
                    error.to_string(),
                    "nothing, if only the service needs it; see docs/configuration.md for \
                     commands that you run by hand",
                ),
                _ => found.error(
                    "key",
                    error.to_string(),
                    "put the account's master key there, readable only by the service's user",
                ),
            },
        }
    }
}

fn archive(settings: &Settings) -> Archive {
    Archive::new(&settings.archive_dir, &settings.state_dir)
}

/// Is the database intact, and are the sources healthy?
async fn database(settings: &Settings, now: DateTime<Utc>, found: &mut Findings) {
    let path = settings.state_dir.join(crate::store::FILE);
    let read = async |it: &Reporter| Ok((it.integrity().await?, it.sources(settings, now).await));
    let sources = match report::reading(settings, read).await {
        Err(error) => {
            found.error(
                "database",
                error.to_string(),
                "start the daemon, or run `nightjar backup` as the program's user: both migrate the \
                 database and rebuild a damaged one; `nightjar reindex` rebuilds it now",
            );
            None
        }
        // Copies would have been an error.
        Ok((None, sources)) if archive(settings).highest_job().is_ok_and(|job| job > 0) => {
            found.error(
                "database",
                format!("{} is missing or empty, but the archive has snapshots", path.display()),
                "start the daemon, or run `nightjar reindex` as the program's user: both rebuild it \
                 from the archive",
            );
            sources.ok()
        }
        Ok((None, sources)) => {
            found.ok("database", "there is none yet; the first backup creates it");
            sources.ok()
        }
        Ok((Some(problems), sources)) if problems.is_empty() => {
            found.ok("database", format!("{} is intact", path.display()));
            sources.ok()
        }
        Ok((Some(problems), sources)) => {
            found.error(
                "database",
                format!("{} is damaged: {}", path.display(), problems.join("; ")),
                "stop the daemon and run `nightjar reindex`: it sets the damaged file aside and \
                 rebuilds the database from its newest copy and the archive",
            );
            sources.ok()
        }
    };
    if let Some(aside) = copies::moved_aside(&settings.state_dir).first() {
        found.warn(
            "database",
            format!("an earlier one was damaged and is kept as {}", aside.display()),
            "check the disk (`smartctl`), then remove it",
        );
    }
    for source in sources.iter().flatten() {
        let name = &source.source;
        match source.health {
            Health::Ok => found.ok("backups", format!("{name} is healthy")),
            Health::New => found.ok("backups", format!("{name} has not been due yet")),
            Health::Suspicious => found.warn(
                "backups",
                format!("{name}: {}", source.suspicious.join("; ")),
                format!("compare it with an earlier one: `nightjar snapshots {name}`"),
            ),
            Health::Overdue | Health::Failing => {
                let why = source
                    .last_error
                    .as_ref()
                    .map_or(String::new(), |error| format!(": {}: {}", error.kind, error.message));
                found.error(
                    "backups",
                    format!("{name} is {}{why}", source.health),
                    format!("`nightjar jobs --source {name}`, then `nightjar backup {name}`"),
                );
            }
        }
    }
}

fn notifications(settings: &Settings, found: &mut Findings) {
    let Channels { notifier, problems } = alerts::channels(settings);
    let fails = !problems.is_empty();
    for problem in problems {
        found.error("notify", problem, "then try `nightjar notify test`");
    }
    let pinged = settings.notify.ping.is_some();
    if notifier.has_channels() || pinged {
        found.ok("notify", "alerts are configured");
    } else if !fails {
        found.warn(
            "notify",
            "no alerts are configured",
            "add a [notify] table, see docs/notifications.md",
        );
    }
}
