//! Removing what retention does not keep, and holding what must stay.

use super::catalogue::Snapshot;
use super::{Archive, Attempt};
use crate::failpoint::{self, Point};
use crate::files::Folder;
use crate::manifest::Name;
use crate::plan::retention::{Candidate, Reasons, reasons};
use crate::settings::Retention;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// A reason is a sentence or two.
const LARGEST_HOLD: u64 = 64 << 10;

/// What is to become of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct RetentionDecision {
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
    /// What retention says of each of a source's snapshots, newest first, at `now`. One that is
    /// damaged (its manifest cannot be read or contradicts its name; its data is missing or has
    /// another length) is passed over, neither counted nor removed: `verify` names it.
    pub fn plan_pruning(
        &self,
        source: &str,
        policy: &Retention,
        zone: Tz,
        now: DateTime<Utc>,
    ) -> io::Result<Vec<RetentionDecision>> {
        let Some(folder) = self.open_source(source)? else { return Ok(Vec::new()) };
        let snapshots: Vec<Snapshot> =
            self.snapshots(source)?.filter(|snapshot| has_data(&folder, snapshot)).collect();
        let candidates: Vec<Candidate> = snapshots
            .iter()
            .map(|snapshot| Candidate {
                created_at: snapshot.manifest.created_at,
                good: snapshot.manifest.suspicious.is_empty(),
                held: held(&folder, snapshot.manifest.name()).map(|hold| hold.reason),
            })
            .collect();
        let reasons = reasons(&candidates, policy, zone, now);
        let decisions = snapshots.into_iter().zip(reasons);
        Ok(decisions.map(|(snapshot, reasons)| RetentionDecision { snapshot, reasons }).collect())
    }

    /// Removes the snapshots of a plan that nothing keeps, and says how many. One that was held
    /// since the plan was made stays.
    ///
    /// The manifest goes first: a crash in between leaves data that `verify` reports as nobody's,
    /// never a manifest without its data.
    pub fn prune(&self, plan: &[RetentionDecision]) -> io::Result<usize> {
        let mut removed = 0;
        for decision in plan.iter().filter(|decision| decision.reasons.is_empty()) {
            let (source, name) =
                (&decision.snapshot.manifest.source, decision.snapshot.manifest.name());
            let Some(folder) = self.open_source(source)? else { continue };
            // Who holds a snapshot, or verifies, sees both files or neither.
            let _both = folder.lock();
            if held(&folder, name).is_some() {
                continue;
            }
            failpoint::hit(Point::PruneManifest, &decision.snapshot.path)?;
            remove(&folder, &name.manifest())?;
            folder.sync()?;
            failpoint::hit(Point::PruneData, &decision.snapshot.path)?;
            remove(&folder, &name.data())?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Why this snapshot is held, if it is. A hold that cannot be read holds all the same.
    pub fn hold_of(&self, source: &str, name: Name) -> Option<Hold> {
        match self.open_source(source) {
            Ok(folder) => folder.and_then(|folder| held(&folder, name)),
            Err(_) => Some(unreadable()),
        }
    }

    /// Exempts a snapshot from retention until [`Archive::unhold`]. An error of the kind `NotFound`
    /// when the snapshot is not there, or not any more.
    pub fn hold(&self, source: &str, name: Name, hold: &Hold) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the snapshot is not there any more");
        let folder = self.open_source(source)?.ok_or_else(gone)?;
        let mut text = serde_json::to_vec_pretty(hold)?;
        text.push(b'\n');
        // No prune in between.
        let _both = folder.lock();
        folder.metadata(name.manifest()).map_err(|_| gone())?;
        // A name of this process's own: another one may be holding the same snapshot.
        let attempt = Attempt::new("hold", u64::from(std::process::id()));
        let partial = attempt.partial_name(&name.hold());
        remove(&folder, &partial)?;
        failpoint::hit(Point::FileCreate, &folder.path().join(&partial))?;
        let mut file = folder.create_new(&partial)?;
        let written = file
            .write_all(&text)
            .and_then(|()| file.sync_all())
            .and_then(|()| folder.rename(&partial, &folder, name.hold()));
        if written.is_err() {
            // Whatever is left of it goes at the daemon's next start.
            let _ = remove(&folder, &partial);
        }
        written?;
        folder.sync()
    }

    /// Lets retention decide about a snapshot again. `false` when it was not held.
    pub fn unhold(&self, source: &str, name: Name) -> io::Result<bool> {
        let Some(folder) = self.open_source(source)? else { return Ok(false) };
        let was_held = remove(&folder, &name.hold())?;
        folder.sync()?;
        Ok(was_held)
    }
}

/// Whether a snapshot's data is there, as long as its manifest says.
fn has_data(folder: &Folder, snapshot: &Snapshot) -> bool {
    let data = folder.metadata(snapshot.manifest.name().data());
    data.is_ok_and(|data| data.is_file() && data.len() == snapshot.manifest.stored.bytes)
}

/// The hold beside a snapshot.
fn held(folder: &Folder, name: Name) -> Option<Hold> {
    let file = match folder.read(name.hold()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        // Whatever stands there: somebody wanted it to hold.
        Err(_) => return Some(unreadable()),
    };
    Some(serde_json::from_reader(file.take(LARGEST_HOLD)).unwrap_or_else(|_| unreadable()))
}

fn unreadable() -> Hold {
    Hold { reason: "the reason cannot be read".to_owned(), since: DateTime::UNIX_EPOCH }
}

/// Removes a file; one that is gone already is as good.
fn remove(folder: &Folder, name: &str) -> io::Result<bool> {
    match folder.remove(name) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
