//! What a service that keeps versions of its data sources lists: the versions, and the account's
//! loads, publications and rollbacks. Restores are decided from it.

use super::words;
use chrono::{DateTime, Utc};

words! {
    /// Where a version of a data source stands.
    VersionState {
        /// What the service's queries and ordinary exports answer from.
        Published = "published",
        /// Loaded, but not published yet.
        Staged = "staged",
        /// It was published before.
        Older = "older",
    }
}

/// One version of a data source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVersion {
    /// The identifier of the remote job that loaded it; an export takes it to name the version.
    pub id: String,
    /// Where it stands.
    pub state: VersionState,
    /// When it was loaded or published, where the service says so readably.
    pub date: Option<DateTime<Utc>>,
}

words! {
    /// What a remote job changes at the service.
    ActivityKind {
        /// It loads a document into a data source.
        Load = "load",
        /// It publishes a staged version.
        Publish = "publish",
        /// It publishes an older version again.
        RollBack = "roll_back",
        /// Something else that is known, like geocoding.
        Other = "other",
        /// The service does not say what, or in a word that is not known.
        Unknown = "unknown",
    }
}

/// A remote job in the account's list of jobs. Exports are not listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteActivity {
    /// Its identifier.
    pub id: String,
    /// What it does.
    pub kind: ActivityKind,
    /// The name of the data source that it changes: known for certain only from a completed one.
    pub name: Option<String>,
    /// When the service says that it was created. Information only.
    pub created_at: Option<DateTime<Utc>>,
    /// Where to ask for its status, without a key; `None` when the list has no usable link.
    pub status_url: Option<String>,
    /// Whether it has ended; `None` when its status is unknown.
    pub ended: Option<bool>,
    /// How many entities it loaded, where the list says so.
    pub entities: Option<u64>,
}
