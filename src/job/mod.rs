//! The lifecycle of a job: its states, the possible outcomes of each step, and every transition.
//! Pure: no SQL, no HTTP, no clock.
//!
//! ```text
//! queued ──submit──▶ waiting ──poll…──▶ ready ──fetch──▶ archived
//!   ▲ │                 │                 │
//!   │ └─────────────────┴─────────────────┴──▶ failed / cancelled
//!   └── a new remote job replaces one that was aborted, lost or failed validation
//! ```
//!
//! # Transitions
//!
//! A transition is a pure function that takes the job as it is and returns a [`Change`]: the next
//! row, typed events, and what becomes of the remote job's record. The store persists it, guarded
//! by the state that it is for. These are all the moves and who makes them ([`Mover`]); [`EDGES`]
//! has the same in code, and the store refuses any other.
//!
//! ```text
//! [*]       --> queued    : create
//! [*]       --> archived  : import
//! queued    --> queued    : claim, submit, takeover, wake, skip, clock, account, late
//! queued    --> waiting   : submit
//! queued    --> archived  : submit, import
//! queued    --> failed    : submit, takeover
//! queued    --> cancelled : cancel
//! waiting   --> waiting   : poll, skip, clock, account, late
//! waiting   --> queued    : poll
//! waiting   --> ready     : poll
//! waiting   --> archived  : poll, import
//! waiting   --> failed    : poll
//! waiting   --> cancelled : cancel
//! ready     --> ready     : fetch, skip, clock, account, late
//! ready     --> queued    : fetch
//! ready     --> archived  : fetch, import
//! ready     --> failed    : fetch
//! ready     --> cancelled : cancel
//! archived  --> archived  : late
//! failed    --> failed    : late
//! failed    --> archived  : import
//! cancelled --> cancelled : late
//! cancelled --> archived  : late, import
//! ```
//!
//! | mover | function | in |
//! | --- | --- | --- |
//! | `create`, `skip` | [`create()`], [`account_for`] | `create.rs` |
//! | `claim`, `wake`, `account` | [`claim`], [`wake`], [`move_to_account`] | `quota.rs` |
//! | `submit`, `poll`, `fetch` | [`decide()`], [`archived_instead`] | `decide/` |
//! | `takeover` | [`unanswered`] | `decide/submit.rs` |
//! | `cancel`, `late` | [`cancel()`], [`late`] | `cancel.rs` |
//! | `import` | [`import_known`], [`import_unknown`] | `import.rs` |
//! | `clock` | [`correct_clock`] | `clock.rs` |
//!
//! A step of a live job may lead from any of its states to `archived` when it fails for good: then
//! a whole document of an earlier remote job may be archived instead.

mod cancel;
mod change;
mod clock;
mod create;
mod decide;
mod event;
mod import;
mod outcome;
mod policy;
mod quota;
mod remote;
mod state;
#[cfg(test)]
mod tests;

pub use cancel::{cancel, late};
pub use change::Change;
pub use clock::{CURSOR_AHEAD, DRIFT, correct_clock};
pub use create::{NewJob, ScheduledTime, account_for, create};
pub use decide::{archived_instead, decide, unanswered};
pub use event::{EventKind, JobEvent, SourceEvent};
pub use import::{ArchivedJob, import_known, import_unknown};
pub use outcome::{Failure, FailureKind, OtherJob, Outcome, Polled, Progress, Submitted};
pub use policy::{Policy, is_last_attempt, is_past_deadline};
pub use quota::{AccountLimits, LONGEST_REMOTE_JOB, Usage, claim, move_to_account, wake};
pub use remote::{RemoteEffect, RemoteJob};
pub use state::{EDGES, Edge, JobStep, Mover, Operation, State, is_legal};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Declares an enumeration that is stored and shown as lower-case words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize,
            serde::Deserialize,
        )]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every value, in the order of its declaration.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// The word that is stored and shown.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
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
use words;

words! {
    /// Why a job was created.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{kind}: {message}")]
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
    /// What it does.
    pub operation: Operation,
    /// The source's name in the configuration.
    pub source: String,
    /// The account whose quota it spends.
    pub account: String,
    /// How far it has come.
    pub state: State,
    /// Why it was created.
    pub trigger: Trigger,
    /// The scheduled time that it accounts for.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it reached a final state.
    pub finished_at: Option<DateTime<Utc>>,
    /// When a worker may take it next.
    pub due_at: DateTime<Utc>,
    /// The wait that was decided when `due_at` was set. Setting the clock back moves `due_at` no
    /// further away than this.
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
    /// When the first remote job was submitted: the deadline counts from here.
    pub first_submitted_at: Option<DateTime<Utc>>,
    /// The present remote job, from the moment its submission was intended.
    pub remote: Option<RemoteJob>,
    /// Why it failed.
    pub error: Option<JobError>,
    /// The manifest of the snapshot it made.
    pub snapshot: Option<PathBuf>,
}

impl Job {
    /// The step that its state asks for; `None` once it has ended.
    pub fn step(&self) -> Option<JobStep> {
        self.operation.step(self.state)
    }

    /// Whether a submission is under way, or was left unanswered.
    pub fn is_submitting(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.submitting)
    }

    /// When the present remote job was submitted: the instant in the snapshot's name. Without one,
    /// when the job was created.
    pub fn submitted_at(&self) -> DateTime<Utc> {
        self.remote.as_ref().map_or(self.created_at, |remote| remote.submitted_at)
    }

    /// The present remote job's own identifier, where the service gave one.
    pub fn remote_id(&self) -> Option<&str> {
        self.remote.as_ref()?.id.as_deref()
    }

    /// Where to ask for the present remote job's status.
    pub fn status_url(&self) -> Option<&str> {
        self.remote.as_ref()?.status_url.as_deref()
    }

    /// Where the present remote job's result lies.
    pub fn result_url(&self) -> Option<&str> {
        self.remote.as_ref()?.result_url.as_deref()
    }

    /// How many entities the service announced; `None` where it announced none or 0.
    pub fn expected(&self) -> Option<u64> {
        self.remote.as_ref()?.expected
    }
}
