//! What alerts depend on, read from the reports and the disks.

use crate::discovery::{self, AccountLook};
use crate::files;
use crate::report::{ReportError, Reporter, SourceStatus};
use crate::service;
use crate::settings::Settings;
use crate::store::copies;
use chrono::{DateTime, NaiveDate, Utc};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// All that the problems are found in.
#[derive(Debug)]
pub struct Situation {
    /// When it was read.
    pub now: DateTime<Utc>,
    /// How every configured source is doing.
    pub sources: Vec<SourceStatus>,
    /// The disks of the archive and of the state, or the one that holds both.
    pub disks: Vec<DiskSpace>,
    /// Fewer free bytes than this are a problem.
    pub disk_low: u64,
    /// The newest database that was damaged and set aside, while it exists.
    pub damaged_database: Option<PathBuf>,
    /// The last days of the services in use.
    pub ends: Vec<ServiceEnd>,
    /// What the accounts' last looks say.
    pub looks: Vec<AccountLook>,
}

/// What is left on a disk.
#[derive(Debug)]
pub struct DiskSpace {
    /// What the folder holds, as a word: the archive or the state.
    pub holds: &'static str,
    /// A folder on it.
    pub folder: PathBuf,
    /// Bytes that are free.
    pub free: u64,
}

/// A service that its operator ends.
#[derive(Debug)]
pub struct ServiceEnd {
    /// What it is called.
    pub service: &'static str,
    /// The last day on which it works.
    pub last_day: NaiveDate,
}

impl Situation {
    /// Reads the present situation.
    ///
    /// # Errors
    /// When the reports cannot be read.
    pub async fn read(
        reporter: &Reporter,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Result<Situation, ReportError> {
        Ok(Situation {
            now,
            sources: reporter.sources(settings, now).await?,
            disks: disks(settings),
            disk_low: settings.notify.disk_low,
            damaged_database: copies::moved_aside(&settings.state_dir).into_iter().next(),
            ends: ends(settings),
            looks: discovery::looks(settings),
        })
    }
}

/// The last days of the services that the sources need.
fn ends(settings: &Settings) -> Vec<ServiceEnd> {
    let accounts = settings.sources.iter().filter_map(|source| settings.account_of(source));
    let words: BTreeSet<&str> = accounts.map(|account| account.service).collect();
    let kinds = words.into_iter().filter_map(service::named);
    let end = |kind: &service::ServiceKind| {
        Some(ServiceEnd { service: kind.title, last_day: kind.last_day? })
    };
    kinds.filter_map(end).collect()
}

fn disks(settings: &Settings) -> Vec<DiskSpace> {
    let space = |holds, folder: &Path| {
        // A missing folder is reported where it is written to.
        let free = files::free_bytes(folder).ok()?;
        Some(DiskSpace { holds, folder: folder.to_owned(), free })
    };
    let (archive, state) = (&settings.archive_dir, &settings.state_dir);
    let second = if files::same_disk(archive, state) { None } else { space("state", state) };
    space("archive", archive).into_iter().chain(second).collect()
}
