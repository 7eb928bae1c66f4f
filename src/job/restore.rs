//! What a restore is to do, and what it has learnt so far.

use super::{ListedVersion, RemoteActivity, Stage, VersionState, words};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// For how long a look at what the service lists is good enough to send a change.
const LOOK_IS_RECENT: TimeDelta = TimeDelta::minutes(1);

words! {
    /// What a restore is to achieve.
    Goal {
        /// Load a snapshot as the staged version, and perhaps publish it.
        Load = "load",
        /// Publish the version that is staged.
        Publish = "publish",
        /// Publish an older version again.
        RollBack = "roll_back",
    }
}

impl Goal {
    /// The stage that it begins with.
    pub fn first_stage(self) -> Stage {
        match self {
            Goal::Load => Stage::Check,
            Goal::Publish => Stage::BeforePublish,
            Goal::RollBack => Stage::BeforeRollBack,
        }
    }
}

/// The snapshot that is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredSnapshot {
    /// Its manifest.
    pub manifest: PathBuf,
    /// The source that it belongs to.
    pub source: String,
    /// SHA-256 of its document when the restore was asked for, in lower-case hexadecimal digits.
    pub sha256: String,
    /// The document's length in bytes.
    pub bytes: u64,
    /// How many entities it holds.
    pub entities: u64,
}

/// What a restore is to do, and what it has learnt so far. Stored with its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// What it is to achieve.
    pub goal: Goal,
    /// The destination as it was when the restore was asked for
    /// ([`Settings::requested`](crate::settings::Settings::requested)). A restore never goes on to
    /// another one.
    pub destination: String,
    /// The snapshot; `None` where no document is loaded.
    #[serde(default)]
    pub snapshot: Option<RestoredSnapshot>,
    /// The primary keys of the only entities to load; empty for all.
    #[serde(default)]
    pub only: Vec<String>,
    /// Whether what the destination publishes is backed up first.
    #[serde(default)]
    pub safety: bool,
    /// Whether the staged version is exported and compared. Set where it has to be, whatever was
    /// asked for: see [`Restore::require_verification`].
    #[serde(default)]
    pub verify: bool,
    /// Whether the staged version is published in the end.
    #[serde(default)]
    pub publish: bool,
    /// How far it has come.
    pub stage: Stage,
    /// How many remote jobs there were before the present stage.
    #[serde(default)]
    pub attempts_before: u32,
    /// What the service listed before the last request for a change was sent.
    #[serde(default)]
    pub seen: Option<Seen>,
    /// What is not known about that request, if anything.
    #[serde(default)]
    pub unsettled: Option<Unsettled>,
    /// The version that it is about: the one that was loaded, or that is to be published.
    #[serde(default)]
    pub version: Option<String>,
    /// The version that is published when the restore is asked for; where that is not known, when
    /// it first looked. If another one is published later, nothing is sent any more.
    #[serde(default)]
    pub published_before: Option<String>,
    /// Whether another user has published the version that was loaded.
    #[serde(default)]
    pub published_elsewhere: bool,
    /// Whether its holds are released. Only an ended job's are.
    #[serde(default)]
    pub released: bool,
}

/// What the service listed, by identifiers in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When it was listed; `None` where an older version of Nightjar did not store it.
    #[serde(default)]
    pub looked_at: Option<DateTime<Utc>>,
    /// The account's loads, publications and rollbacks.
    pub activities: BTreeSet<String>,
    /// The data source's versions.
    pub versions: BTreeSet<String>,
}

/// A request for a change was sent, and it is not known whether it took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    /// Whether the service answered it, however badly: then it is not sent again.
    pub answered: bool,
}

/// What a look at the service found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// What the data source is called there.
    pub name: String,
    /// The account's loads, publications and rollbacks.
    pub activities: Vec<RemoteActivity>,
    /// The data source's versions; empty where it does not exist.
    pub versions: Vec<ListedVersion>,
    /// Identifiers, in lower case, of remote jobs that Nightjar has started for other jobs.
    pub others: BTreeSet<String>,
}

impl Looked {
    /// What is to be remembered of it, which was read at this instant.
    pub fn seen(&self, at: DateTime<Utc>) -> Seen {
        let activities = self.activities.iter().map(|it| it.id.to_ascii_lowercase());
        let versions = self.versions.iter().map(|it| it.id.to_ascii_lowercase());
        Seen { looked_at: Some(at), activities: activities.collect(), versions: versions.collect() }
    }

    /// Whether another job of Nightjar has started this remote job.
    pub fn is_of_another(&self, id: &str) -> bool {
        self.others.contains(&id.to_ascii_lowercase())
    }

    /// The first version in this state.
    pub fn first(&self, state: VersionState) -> Option<&ListedVersion> {
        self.versions.iter().find(|version| version.state == state)
    }

    /// The version of this identifier.
    pub fn version(&self, id: &str) -> Option<&ListedVersion> {
        self.versions.iter().find(|version| version.id.eq_ignore_ascii_case(id))
    }
}

impl Seen {
    /// Whether a change may be sent because of it: it is not older than a minute, and not of the
    /// future. Another user may have changed what is listed since.
    pub fn is_recent(&self, now: DateTime<Utc>) -> bool {
        self.looked_at.is_some_and(|at| at <= now && now - at <= LOOK_IS_RECENT)
    }

    /// Whether this activity was listed.
    pub fn has_activity(&self, id: &str) -> bool {
        self.activities.contains(&id.to_ascii_lowercase())
    }

    /// Whether this version was listed.
    pub fn has_version(&self, id: &str) -> bool {
        self.versions.contains(&id.to_ascii_lowercase())
    }
}

impl Restore {
    /// A restore that has not begun.
    pub fn new(goal: Goal, destination: String) -> Restore {
        Restore {
            goal,
            destination,
            snapshot: None,
            only: Vec::new(),
            safety: goal == Goal::Load,
            verify: goal == Goal::Load,
            publish: goal == Goal::Publish,
            stage: goal.first_stage(),
            attempts_before: 0,
            seen: None,
            unsettled: None,
            version: None,
            published_before: None,
            published_elsewhere: false,
            released: false,
        }
    }

    /// The load was found in a list, or its end was never reported: only a comparison shows that it
    /// is ours and whole.
    pub fn require_verification(&mut self) {
        self.verify = true;
    }

    /// Whether a request to publish is on its way or was sent: from then on a cancel is too late.
    pub fn is_publishing(&self, is_submitting: bool, is_queued: bool) -> bool {
        match self.stage {
            Stage::Publish | Stage::RollBack => is_submitting || !is_queued,
            Stage::BeforePublish | Stage::BeforeRollBack => self.unsettled.is_some(),
            _ => false,
        }
    }
}
