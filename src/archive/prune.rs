//! Removing snapshots that retention does not keep, and holding those that must stay.

use super::catalogue::Snapshot;
use super::{Archive, Attempt, layout};
use crate::failpoint::{self, Point};
use crate::files::Folder;
use crate::manifest::{Name, Role};
use crate::policy::apart::{self, KEEP_VERSIONS};
use crate::policy::retention::{Candidate, Reasons, Rules, reasons};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// A reason is a sentence or two.
const LARGEST_HOLD: u64 = 64 << 10;

/// What retention decides about a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct RetentionDecision {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Why it stays; a snapshot without a reason is removed.
    pub reasons: Reasons,
}

/// Why a snapshot is held: the content of its `.hold` file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The reason as the user gave it.
    pub reason: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A snapshot, and why it is held, if it is.
struct Listed {
    snapshot: Snapshot,
    held: Option<String>,
}

impl Listed {
    fn candidate(&self) -> Candidate {
        let manifest = &self.snapshot.manifest;
        let (created_at, good) = (manifest.created_at, manifest.suspicious.is_empty());
        Candidate { created_at, good, held: self.held.clone() }
    }
}

impl Archive {
    /// What retention decides at `now` about each of a source's snapshots, newest first. A damaged
    /// snapshot (its manifest cannot be read or contradicts its name; its data is missing or has
    /// another length) is skipped, neither counted nor removed: `verify` reports it.
    pub fn plan_pruning(
        &self,
        source: &str,
        policy: &Rules,
        zone: Tz,
        now: DateTime<Utc>,
    ) -> io::Result<Vec<RetentionDecision>> {
        let Some(folder) = self.open_source(source)? else { return Ok(Vec::new()) };
        let found = self.snapshots(source)?.filter(|snapshot| has_data(&folder, snapshot));
        let listed: Vec<Listed> = found
            .map(|snapshot| {
                let hold = held(&folder, snapshot.manifest.name());
                Listed { snapshot, held: hold.map(|hold| hold.reason) }
            })
            .collect();
        let of_role =
            |role: Role| listed.iter().filter(move |it| it.snapshot.manifest.role == role);
        let ordinary: Vec<Candidate> = of_role(Role::Ordinary).map(Listed::candidate).collect();
        let reasons_apart = |role: Role, keep: u32, what: &str| {
            let held: Vec<_> = of_role(role).map(|it| it.held.clone()).collect();
            apart::reasons(&held, keep, what).into_iter()
        };
        // What is not ordinary takes no ordinary one's place.
        let mut ordinary = reasons(&ordinary, policy, zone, now).into_iter();
        let mut safety = reasons_apart(Role::Safety, policy.keep_last, "safety backup");
        let mut versions = reasons_apart(Role::Version, KEEP_VERSIONS, "version");
        let decide = |listed: Listed| {
            let reasons = match listed.snapshot.manifest.role {
                Role::Ordinary => ordinary.next(),
                Role::Safety => safety.next(),
                Role::Version => versions.next(),
            };
            RetentionDecision { snapshot: listed.snapshot, reasons: reasons.unwrap_or_default() }
        };
        Ok(listed.into_iter().map(decide).collect())
    }

    /// Removes the snapshots of a plan that have no reason to stay, and returns how many. A
    /// snapshot held since the plan was made stays.
    ///
    /// The manifest goes first: a crash in between leaves data without a manifest, which `verify`
    /// reports, never a manifest without its data.
    pub fn prune(&self, plan: &[RetentionDecision]) -> io::Result<usize> {
        let mut removed = 0;
        for decision in plan.iter().filter(|decision| decision.reasons.is_empty()) {
            let (source, name) =
                (&decision.snapshot.manifest.source, decision.snapshot.manifest.name());
            let Some(folder) = self.open_source(source)? else { continue };
            // A concurrent hold or verify sees both files or neither.
            let _both = folder.lock();
            if held(&folder, name).is_some() {
                continue;
            }
            failpoint::hit(Point::PruneManifest, &decision.snapshot.path)?;
            remove(&folder, &name.manifest())?;
            folder.sync()?;
            failpoint::hit(Point::PruneData, &decision.snapshot.path)?;
            remove(&folder, &layout::data_name(name, &decision.snapshot.manifest))?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Why this snapshot is held, if it is. A hold that cannot be read still counts.
    pub fn hold_of(&self, source: &str, name: Name) -> Option<Hold> {
        match self.open_source(source) {
            Ok(folder) => folder.and_then(|folder| held(&folder, name)),
            Err(_) => Some(unreadable()),
        }
    }

    /// Exempts a snapshot from retention until [`Archive::unhold`]. An error of the kind `NotFound`
    /// when the snapshot does not exist (any more).
    pub fn hold(&self, source: &str, name: Name, hold: &Hold) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the snapshot is not there any more");
        let folder = self.open_source(source)?.ok_or_else(gone)?;
        let mut text = serde_json::to_vec_pretty(hold)?;
        text.push(b'\n');
        // Keeps a prune out.
        let _both = folder.lock();
        folder.metadata(name.manifest()).map_err(|_| gone())?;
        // The name includes this process's id: another process may hold the same snapshot now.
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
            // The daemon's next start removes any remains.
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
    let data = folder.metadata(layout::data_name(snapshot.manifest.name(), &snapshot.manifest));
    data.is_ok_and(|data| data.is_file() && data.len() == snapshot.manifest.stored.bytes)
}

/// The hold beside a snapshot.
fn held(folder: &Folder, name: Name) -> Option<Hold> {
    let file = match folder.read(name.hold()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        // Anything at this path counts as a hold.
        Err(_) => return Some(unreadable()),
    };
    Some(serde_json::from_reader(file.take(LARGEST_HOLD)).unwrap_or_else(|_| unreadable()))
}

fn unreadable() -> Hold {
    Hold { reason: "the reason cannot be read".to_owned(), since: DateTime::UNIX_EPOCH }
}

/// Removes a file; returns whether it existed.
fn remove(folder: &Folder, name: &str) -> io::Result<bool> {
    match folder.remove(name) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
