//! Removing what retention does not keep, and holding what must stay.

use super::catalogue::Snapshot;
use super::{Archive, Attempt};
use crate::failpoint::{self, Point};
use crate::files;
use crate::manifest::Name;
use crate::plan::retention::{Candidate, Reasons, reasons};
use crate::settings::Retention;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// What is to become of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Fate {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Why it stays; it goes when there is no reason.
    pub reasons: Reasons,
}

/// Why a snapshot is held, as it lies beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// In somebody's own words.
    pub reason: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

impl Archive {
    /// What retention says of each of a source's snapshots, newest first. One whose manifest or
    /// data is missing or cannot be read is passed over, neither counted nor removed: `verify`
    /// names it.
    pub fn plan_pruning(
        &self,
        source: &str,
        policy: &Retention,
        zone: Tz,
    ) -> io::Result<Vec<Fate>> {
        let snapshots: Vec<Snapshot> =
            self.snapshots(source)?.filter(|snapshot| snapshot.data().is_file()).collect();
        let candidates: Vec<Candidate> = snapshots
            .iter()
            .map(|snapshot| Candidate {
                created_at: snapshot.manifest.created_at,
                good: snapshot.manifest.suspicious.is_empty(),
                held: self.hold_of(source, snapshot.manifest.name()).map(|hold| hold.reason),
            })
            .collect();
        let reasons = reasons(&candidates, policy, zone);
        let fates = snapshots.into_iter().zip(reasons);
        Ok(fates.map(|(snapshot, reasons)| Fate { snapshot, reasons }).collect())
    }

    /// Removes the snapshots of a plan that nothing keeps, and says how many.
    ///
    /// The manifest goes first: a crash in between leaves data that `verify` reports as nobody's,
    /// never a manifest without its data.
    pub fn prune(&self, plan: &[Fate]) -> io::Result<usize> {
        let mut removed = 0;
        for fate in plan.iter().filter(|fate| fate.reasons.is_empty()) {
            failpoint::hit(Point::PruneManifest, &fate.snapshot.path)?;
            remove(&fate.snapshot.path)?;
            if let Some(folder) = fate.snapshot.path.parent() {
                files::sync_folder(folder)?;
            }
            failpoint::hit(Point::PruneData, &fate.snapshot.path)?;
            remove(&fate.snapshot.data())?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Why this snapshot is held, if it is. A hold that cannot be read holds all the same.
    pub fn hold_of(&self, source: &str, name: Name) -> Option<Hold> {
        let text = match fs::read(self.folder(source).join(name.hold())) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(_) => Vec::new(),
        };
        let unreadable =
            || Hold { reason: "the reason cannot be read".to_owned(), since: DateTime::UNIX_EPOCH };
        Some(serde_json::from_slice(&text).unwrap_or_else(|_| unreadable()))
    }

    /// Exempts a snapshot from retention until [`Archive::unhold`].
    pub fn hold(&self, source: &str, name: Name, hold: &Hold) -> io::Result<()> {
        let folder = self.folder(source);
        let attempt = Attempt::new("hold", u64::from(std::process::id()));
        let partial = folder.join(attempt.partial_name(&name.hold()));
        let mut text = serde_json::to_vec_pretty(hold)?;
        text.push(b'\n');
        let mut file = files::create(&partial)?;
        file.write_all(&text)?;
        file.sync_all()?;
        super::filing::give_name(&partial, &folder.join(name.hold()))?;
        files::sync_folder(&folder)
    }

    /// Lets retention decide about a snapshot again. `false` when it was not held.
    pub fn unhold(&self, source: &str, name: Name) -> io::Result<bool> {
        let folder = self.folder(source);
        let was_held = remove(&folder.join(name.hold()))?;
        files::sync_folder(&folder)?;
        Ok(was_held)
    }
}

/// Removes a file; one that is gone already is as good.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
