//! The promises of retention and database copies, checked against a slow and obvious reference.

use crate::promises::Promises;
use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use nightjar::archive::Archive;
use nightjar::manifest::Name;
use nightjar::manifest::Role;
use nightjar::policy::retention::Rules;
use nightjar::settings::Settings;
use nightjar::store::{Store, copies};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A daemon that runs without trouble copies its database and applies retention this often: a day,
/// the hour that a clock set back repeats, and the interval at which the simulation checks.
const RHYTHM: TimeDelta = TimeDelta::hours(27);

/// A snapshot, as the archive first had it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    is_good: bool,
    /// The day, by true time.
    day: NaiveDate,
    /// How long the machine had run without trouble by then.
    at: TimeDelta,
}

/// Watches which snapshots disappear.
#[derive(Debug, Default)]
pub(crate) struct MaintenanceChecks {
    snapshots: BTreeMap<String, BTreeMap<Name, Seen>>,
    copies: BTreeSet<PathBuf>,
    /// For how long a process has run without trouble.
    calm: TimeDelta,
    /// The same, when the newest copy was made.
    copied: TimeDelta,
    pub(crate) pruned: u64,
}

impl MaintenanceChecks {
    /// Time passes without trouble while a process runs.
    pub(crate) fn runs_well(&mut self, time: TimeDelta) {
        self.calm += time;
    }

    /// Compares the archive and the copies with the promises, after every step. `now` is the wall
    /// clock, `truth` the true time.
    pub(crate) fn look(
        &mut self,
        archive: &Archive,
        settings: &Settings,
        now: DateTime<Utc>,
        truth: DateTime<Utc>,
        promises: &mut Promises,
    ) {
        for source in &settings.sources {
            let names: Vec<Name> = archive.names(&source.name).unwrap_or_default();
            let in_order = names.windows(2).all(|pair| matches!(pair, [a, b] if a.job() > b.job()));
            promises.expect(in_order, || format!("{}: not by job: {names:?}", source.name));
            let seen = self.snapshots.entry(source.name.clone()).or_default();
            for name in &names {
                if !seen.contains_key(name)
                    && let Some(snapshot) = archive.find(&source.name, *name)
                    && snapshot.manifest.role == Role::Ordinary
                {
                    let day = truth.date_naive();
                    let is_good = snapshot.manifest.suspicious.is_empty();
                    seen.insert(*name, Seen { is_good, day, at: self.calm });
                }
            }
            let there: BTreeSet<Name> = names.into_iter().collect();
            let gone: Vec<Name> = seen.keys().filter(|it| !there.contains(it)).copied().collect();
            if gone.is_empty() {
                continue;
            }
            let kept = match is_believable(seen, now) {
                true => obviously_kept(seen, &source.retention, source.timezone),
                false => surely_kept(seen, &source.retention),
            };
            for name in &gone {
                promises.expect(!kept.contains(name), || {
                    format!("{}: {name} is gone, and retention keeps it", source.name)
                });
            }
            let (days, left) = (days(seen.values()), days_left(seen, &there));
            let least = days.min(source.retention.keep_daily as usize).div_ceil(2);
            promises.expect(left >= least, || {
                format!("{}: of {days} days {left} are left", source.name)
            });
            seen.retain(|name, _| there.contains(name));
            self.pruned += gone.len() as u64;
        }
        for copy in copies::copies(&settings.state_dir) {
            if self.copies.insert(copy) {
                self.copied = self.calm;
            }
        }
        let (since, copied) = (self.calm - self.copied, self.copied);
        promises.expect(since < RHYTHM, || {
            format!("no copy of the database for {since} of running well, since {copied}")
        });
    }

    /// At the end: everything that retention removes is gone (unless the clock was wrong: then
    /// retention keeps what it is unsure of), and every copy of the database is intact.
    pub(crate) async fn finish(
        &self,
        store: &Store,
        settings: &Settings,
        is_clock_right: bool,
        promises: &mut Promises,
    ) {
        for source in settings.sources.iter().filter(|_| is_clock_right) {
            let Some(seen) = self.snapshots.get(&source.name) else { continue };
            let before = self.calm - RHYTHM;
            let old: BTreeMap<_, _> = seen
                .iter()
                .filter(|(_, it)| it.at < before)
                .map(|(name, it)| (*name, *it))
                .collect();
            let kept = obviously_kept(&old, &source.retention, source.timezone);
            let left: Vec<_> = old.keys().filter(|name| !kept.contains(name)).collect();
            promises.expect(left.is_empty(), || {
                format!("{}: retention lets these go, and they stay: {left:?}", source.name)
            });
        }
        for copy in copies::copies(&settings.state_dir) {
            if let Err(what) = is_whole(&copy, store).await {
                promises.expect(false, || format!("{}: {what}", copy.display()));
            }
        }
    }
}

/// Whether a copy opens, is undamaged, and knows no job that the database does not.
async fn is_whole(copy: &Path, store: &Store) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    std::fs::copy(copy, folder.path().join("nightjar.db")).unwrap();
    let opened = Store::open(folder.path(), 0).await.map_err(|error| error.to_string())?;
    let faults = opened.integrity().await.map_err(|error| error.to_string())?;
    if !faults.is_empty() {
        return Err(faults.join("; "));
    }
    let all = nightjar::store::Filter { limit: 1_000_000, ..Default::default() };
    let jobs = opened.jobs(&all).await.map_err(|error| error.to_string())?;
    opened.close().await;
    for copied in jobs {
        let known = store.job(copied.id).await.map_err(|error| error.to_string())?;
        let is_known = known.is_some_and(|known| {
            (known.source, known.scheduled_for, known.created_at)
                == (copied.source, copied.scheduled_for, copied.created_at)
        });
        if !is_known {
            return Err(format!("its job {} is not the database's", copied.id));
        }
    }
    Ok(())
}

/// The snapshots that a policy keeps, as documented: the newest of each period, while fewer periods
/// than the rule's number are newer; the newest good one; and the oldest while a rule has not found
/// as many periods as it may keep. Newest is the highest job id.
fn obviously_kept(all: &BTreeMap<Name, Seen>, policy: &Rules, zone: Tz) -> BTreeSet<Name> {
    let mut names: Vec<Name> = all.keys().copied().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.job()));
    type Period = fn(NaiveDate) -> (i32, u32);
    let rules: [(u32, Period); 4] = [
        (policy.keep_daily, |day| (day.year(), day.ordinal())),
        (policy.keep_weekly, |day| (day.iso_week().year(), day.iso_week().week())),
        (policy.keep_monthly, |day| (day.year(), day.month())),
        (policy.keep_yearly, |day| (day.year(), 0)),
    ];
    let day = |name: &Name| name.created_at().with_timezone(&zone).date_naive();
    let mut kept: BTreeSet<Name> = names.iter().take(policy.keep_last as usize).copied().collect();
    let mut is_full = names.len() >= policy.keep_last as usize;
    for (keep, period) in rules {
        let periods: BTreeSet<_> = names.iter().map(|name| period(day(name))).collect();
        is_full &= periods.len() >= keep as usize;
        for (index, name) in names.iter().enumerate() {
            let newer: BTreeSet<_> =
                names.iter().take(index).map(|other| period(day(other))).collect();
            if newer.len() < keep as usize && !newer.contains(&period(day(name))) {
                kept.insert(*name);
            }
        }
    }
    kept.extend(names.iter().find(|name| all.get(name).is_some_and(|seen| seen.is_good)));
    if !is_full {
        kept.extend(names.last());
    }
    kept
}

/// Whether the instants are in the order of the job ids, and none is in the future.
fn is_believable(all: &BTreeMap<Name, Seen>, now: DateTime<Utc>) -> bool {
    let mut names: Vec<&Name> = all.keys().collect();
    names.sort_by_key(|name| name.job());
    names.is_sorted_by_key(|name| name.created_at())
        && names.iter().all(|name| name.created_at() <= now)
}

/// The snapshots that are kept independent of their instants: the last few, and the newest good
/// one.
fn surely_kept(all: &BTreeMap<Name, Seen>, policy: &Rules) -> BTreeSet<Name> {
    let mut names: Vec<Name> = all.keys().copied().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.job()));
    let last = names.iter().take(policy.keep_last as usize);
    let good = names.iter().find(|name| all.get(name).is_some_and(|seen| seen.is_good));
    last.chain(good).copied().collect()
}

fn days<'a>(snapshots: impl Iterator<Item = &'a Seen>) -> usize {
    snapshots.map(|it| it.day).collect::<BTreeSet<_>>().len()
}

fn days_left(all: &BTreeMap<Name, Seen>, there: &BTreeSet<Name>) -> usize {
    days(all.iter().filter(|(name, _)| there.contains(name)).map(|(_, seen)| seen))
}

/// The end of the day: a machine that is off every night is on again by then.
pub(crate) fn is_off(now: DateTime<Utc>, zone: Tz) -> bool {
    use chrono::Timelike as _;
    (3..6).contains(&now.with_timezone(&zone).hour())
}
