//! The lifecycle of a job: its states, the possible outcomes of each step, and the one function that
//! decides what follows. Pure: no SQL, no HTTP, no clock.
//!
//! ```text
//! queued ──submit──▶ waiting ──poll…──▶ ready ──fetch──▶ archived
//!   ▲ │                 │                 │
//!   │ └─────────────────┴─────────────────┴──▶ failed / cancelled
//!   └── a new remote job replaces one that was aborted, lost or failed validation
//! ```

mod clock;
mod decide;
mod outcome;
#[cfg(test)]
mod tests;

pub use clock::{DRIFT, corrected};
pub use decide::{
    Decision, JobEvent, Policy, RemoteEffect, archived_instead, decide, is_last_attempt,
    is_past_deadline, unanswered,
};
pub use outcome::{Failure, FailureKind, OtherJob, Outcome, Polled, Progress, Submitted};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Declares an enumeration that is stored and shown as lower-case words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every value, in the order of its declaration.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// The word that is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                $name::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = $name::ALL.iter().map(|value| value.as_str()).collect();
                    format!("\"{text}\" is none of {}", known.join(", "))
                })
            }
        }
    };
}

words! {
    /// A job's progress. When its next step is due is `due_at`, apart from the state: a retry is the
    /// same state with a later time.
    State {
        /// Made by the schedule or by hand; a worker submits it as soon as the quota allows.
        Queued = "queued",
        /// A remote job exists; a worker polls it until it is completed, aborted or lost.
        Waiting = "waiting",
        /// The remote job is completed; a worker fetches, validates and files its result.
        Ready = "ready",
        /// A proven snapshot lies in the archive. Final.
        Archived = "archived",
        /// Failed, with an error kind and a message. Final.
        Failed = "failed",
        /// Cancelled by a user. Final.
        Cancelled = "cancelled",
    }
}

impl State {
    /// Whether nothing moves a job out of this state any more.
    pub fn is_final(self) -> bool {
        matches!(self, State::Archived | State::Failed | State::Cancelled)
    }
}

words! {
    /// Why a job was made.
    Trigger {
        /// Its time came while the daemon was running.
        Schedule = "schedule",
        /// A user asked for it.
        Manual = "manual",
        /// Its time came while no daemon was running.
        CatchUp = "catch_up",
    }
}

words! {
    /// What kind of error ended a job, or keeps it waiting.
    ErrorKind {
        /// The service refuses the key.
        Credentials = "credentials",
        /// The source, or the remote job, does not exist at the service.
        NotFound = "not_found",
        /// The service refuses the request itself.
        Rejected = "rejected",
        /// The service aborted the remote job.
        Aborted = "aborted",
        /// The remote job did not complete in time.
        Deadline = "deadline",
        /// Another number of entities arrived than was announced.
        Incomplete = "incomplete",
        /// It arrived, but failed validation.
        Corrupt = "corrupt",
        /// The service could not be reached, or broke off, too often.
        Unavailable = "unavailable",
        /// An unintelligible answer.
        Protocol = "protocol",
        /// The archive or the database cannot be written.
        Storage = "storage",
    }
}

/// A kind for programs and a message for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// The error kind.
    pub kind: ErrorKind,
    /// What happened, to what, and what to do about it.
    pub message: String,
}

/// Why a live job waits until its `due_at`. Shown as `hold` in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The reason, for programs.
    pub why: WaitReason,
    /// The reason, for people.
    pub message: String,
}

words! {
    /// Why a live job waits, other than for the service to complete the export.
    WaitReason {
        /// By Nightjar's own count, the account's quota is used up.
        Quota = "quota",
        /// The service says that a limit of the account is reached.
        Limit = "limit",
        /// The archive cannot be written now.
        Storage = "storage",
        /// This machine lacks a resource that a request needs, such as file descriptors.
        Local = "local",
        /// The last request failed with a transient error.
        Retry = "retry",
        /// The service answers about another remote job, which counts as pending.
        OtherJob = "other_job",
    }
}

/// One job, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number; never used twice.
    pub id: i64,
    /// The source's name in the configuration.
    pub source: String,
    /// The account whose quota it spends.
    pub account: String,
    /// How far it has come.
    pub state: State,
    /// Why it was made.
    pub trigger: Trigger,
    /// The scheduled time that it accounts for.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it reached a final state.
    pub finished_at: Option<DateTime<Utc>>,
    /// When a worker may take it next.
    pub due_at: DateTime<Utc>,
    /// The wait that was decided when `due_at` was set. Setting the clock back moves `due_at` no further
    /// away than this.
    pub wait: TimeDelta,
    /// Why it waits until then, if not for the service to complete the export.
    pub waiting: Option<Wait>,
    /// Remote jobs that exist or may exist for it.
    pub attempts: u32,
    /// Status answers received, over all remote jobs.
    pub polls: u32,
    /// Waits in the present state: the exponent of the polling backoff.
    pub rounds: u32,
    /// Failures in a row of the present request: the exponent of the retry backoff.
    pub failures: u32,
    /// The present remote job's row, from the moment its submission was intended.
    pub remote: Option<i64>,
    /// Whether that submission has not been answered yet.
    pub submitting: bool,
    /// The present remote job's own identifier, where the service gave one.
    pub remote_id: Option<String>,
    /// Where to ask for its status.
    pub status_url: Option<String>,
    /// Where its result lies.
    pub result_url: Option<String>,
    /// When the first remote job was submitted: the deadline counts from here.
    pub first_submitted_at: Option<DateTime<Utc>>,
    /// When the present remote job was submitted: the instant in the snapshot's name.
    pub submitted_at: Option<DateTime<Utc>>,
    /// How many entities the service announced; `None` where it announced none or 0.
    pub expected: Option<u64>,
    /// Since when its status or result URL is answered with 404.
    pub missing_since: Option<DateTime<Utc>>,
    /// Why it failed.
    pub error: Option<JobError>,
    /// The manifest of the snapshot it made.
    pub snapshot: Option<PathBuf>,
}

impl Job {
    /// The step that its state asks for; `None` once it has ended.
    pub fn step(&self) -> Option<JobStep> {
        match self.state {
            State::Queued => Some(JobStep::Submit),
            State::Waiting => Some(JobStep::Poll),
            State::Ready => Some(JobStep::Fetch),
            State::Archived | State::Failed | State::Cancelled => None,
        }
    }
}

/// The one effect on the world that a state asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStep {
    /// Ask the service to start a remote job.
    Submit,
    /// Ask how the remote job is doing.
    Poll,
    /// Fetch, validate and file its result.
    Fetch,
}
