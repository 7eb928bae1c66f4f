//! The remote job that a job waits for at present.

use chrono::{DateTime, Utc};

/// A job's present remote job, from the intent to submit on. A new remote job replaces all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteJob {
    /// The number of its record, from which quotas are counted. The store sets it; `None` before
    /// that.
    pub record: Option<i64>,
    /// What it was submitted for, as an opaque text
    /// ([`Settings::requested`](crate::settings::Settings::requested)); `None` where an older
    /// version submitted it.
    pub requested: Option<String>,
    /// Whether its submission has not been answered yet.
    pub submitting: bool,
    /// When it was submitted: the instant in the snapshot's name.
    pub submitted_at: DateTime<Utc>,
    /// Its own identifier, where the service gave one.
    pub id: Option<String>,
    /// Where to ask for its status; known once the service has accepted it.
    pub status_url: Option<String>,
    /// Where its result lies; known once it is completed.
    pub result_url: Option<String>,
    /// How many entities the service announced; `None` where it announced none or 0.
    pub expected: Option<u64>,
    /// Since when its status or result URL is answered with 404.
    pub missing_since: Option<DateTime<Utc>>,
}

impl RemoteJob {
    /// One that is about to be submitted.
    pub fn intended(now: DateTime<Utc>) -> RemoteJob {
        RemoteJob {
            record: None,
            requested: None,
            submitting: true,
            submitted_at: now,
            id: None,
            status_url: None,
            result_url: None,
            expected: None,
            missing_since: None,
        }
    }
}

/// What becomes of a remote job's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteEffect {
    /// It stays as it was.
    Keep,
    /// A new one is made before the submission is sent: a remote job may exist from now on.
    Started,
    /// The remote job exists: the service accepted the submission.
    Accepted {
        /// Its identifier, where the service gave one.
        id: Option<String>,
        /// Where to ask for its status.
        status_url: String,
    },
    /// The remote job may exist: the submission's answer was lost. Counted as if it did.
    Unanswered,
    /// The remote job never came to exist: the submission was refused or not sent. Not counted.
    Refused,
    /// The remote job has ended and no longer uses the quota.
    Ended,
    /// A new record is made of a remote job that ended before the history knew of it.
    Imported,
}
