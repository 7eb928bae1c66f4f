//! The possible outcomes of a step, from which decisions are made.

use super::{ErrorKind, FailureKind, Looked};
use chrono::{DateTime, Utc};
use std::path::PathBuf;
use std::time::Duration;

/// The service accepted a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The remote job's identifier, where the answer carries one.
    pub remote_id: Option<String>,
    /// Where to ask for its status, as the service gave it (never with a key).
    pub status_url: String,
    /// Oddities worth a line in the timeline.
    pub notes: Vec<String>,
}

/// How a remote job is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Still at work.
    Pending {
        /// The service's own word.
        word: String,
        /// Whether the word is one that the service is known to use.
        known: bool,
        /// How long the service asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// Done.
    Completed {
        /// Where the result lies; `None` when the answer has no usable link.
        result_url: Option<String>,
        /// How many entities it announces; `None` for none and for 0, which says nothing.
        expected: Option<u64>,
    },
    /// Done: a load, a publication or a rollback, which has no result to fetch.
    Applied {
        /// How many entities were loaded, where the service says so.
        processed: Option<u64>,
        /// How many entities could not be loaded. Any is a failure, although the service calls the
        /// job completed.
        failed: u64,
        /// Where its error log lies.
        error_log_url: Option<String>,
    },
    /// Aborted by the service.
    Aborted {
        /// The service's reasons.
        message: String,
        /// Where its error log lies.
        error_log_url: Option<String>,
    },
}

/// One status answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// How the remote job is doing.
    pub progress: Progress,
    /// The job that the answer is about, where that is not the one that was asked about.
    pub other: Option<OtherJob>,
    /// Oddities worth a line in the timeline.
    pub notes: Vec<String>,
}

impl Polled {
    /// An answer about the job that was asked about, without oddities.
    pub fn ours(progress: Progress) -> Polled {
        Polled { progress, other: None, notes: Vec::new() }
    }
}

/// A remote job that was not asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherJob {
    /// Its identifier.
    pub id: String,
    /// When the service says that it was created; `None` when it says nothing that can be read.
    pub created_at: Option<DateTime<Utc>>,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// A complete sentence, without keys and query strings.
    pub message: String,
    /// How long the service asks to be left alone, at most an hour.
    pub retry_after: Option<Duration>,
    /// Whether a remote job may have come to exist all the same (submissions only).
    pub maybe_started: bool,
    /// Whether the service answered, however badly or incompletely (submissions only). A change
    /// that was answered is never sent again.
    pub answered: bool,
}

impl Failure {
    /// A failure without a `Retry-After`, without a remote job that may exist, and without an
    /// answer to a submission.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        Failure {
            kind,
            message: message.into(),
            retry_after: None,
            maybe_started: false,
            answered: false,
        }
    }
}

/// The outcome of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Submit: a remote job exists.
    Submitted(Submitted),
    /// Poll: the service answered.
    Polled(Polled),
    /// Fetch: a snapshot is in the archive.
    Archived {
        /// Its manifest.
        manifest: PathBuf,
        /// A line for the timeline.
        message: String,
        /// Why it is suspicious; empty when it is not.
        suspicious: Vec<String>,
        /// Further lines for the timeline.
        notes: Vec<String>,
    },
    /// Fetch: the result arrived, but cannot be archived, or not yet: a new remote job replaces it
    /// while attempts are left.
    Unproven {
        /// [`ErrorKind::Incomplete`] or [`ErrorKind::Corrupt`].
        kind: ErrorKind,
        /// The problem, and where the result is kept.
        message: String,
    },
    /// Check: the snapshot is what its manifest says, and the service takes it.
    Checked {
        /// A line for the timeline.
        message: String,
        /// Further lines for the timeline.
        notes: Vec<String>,
    },
    /// Look: what the service lists.
    Looked(Looked),
    /// Look before a backup: a download would bring what the newest snapshot has.
    Unchanged {
        /// Its manifest.
        manifest: PathBuf,
        /// A line for the timeline.
        message: String,
    },
    /// Look before a backup: it is to be exported.
    NotUnchanged {
        /// A line for the timeline, if there is something to say.
        note: Option<String>,
    },
    /// Compare: the staged version is what was to be restored.
    Verified {
        /// A line for the timeline.
        message: String,
    },
    /// Check, compare: it cannot be restored, and another try would find the same.
    Refused {
        /// Why, for programs.
        kind: ErrorKind,
        /// Why, for people.
        message: String,
    },
    /// Any step: the configuration names something else than what this was begun for.
    Retargeted,
    /// Fetch: the archive cannot be written.
    Storage(String),
    /// Any step: it panicked with this message.
    Panicked(String),
    /// Any request: it failed.
    Failed(Failure),
}
