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
//! queued    --> queued    : claim, submit, takeover, wake, skip, clock, account, late, check, look
//! queued    --> waiting   : submit, look
//! queued    --> ready     : look
//! queued    --> archived  : submit, import, look
//! queued    --> failed    : submit, takeover, check, look, import
//! queued    --> cancelled : cancel
//! waiting   --> waiting   : poll, skip, clock, account, late
//! waiting   --> queued    : poll
//! waiting   --> ready     : poll
//! waiting   --> archived  : poll, import
//! waiting   --> failed    : poll, import
//! waiting   --> cancelled : cancel
//! ready     --> ready     : fetch, skip, clock, account, late, look, compare
//! ready     --> queued    : fetch, look, compare
//! ready     --> archived  : fetch, import, look, compare
//! ready     --> failed    : fetch, look, compare, import
//! ready     --> cancelled : cancel
//! archived  --> archived  : late, release
//! failed    --> failed    : late, release
//! failed    --> archived  : import
//! cancelled --> cancelled : late, release
//! cancelled --> archived  : late, import
//! ```
//!
//! | mover | function | in |
//! | --- | --- | --- |
//! | `create` | [`create()`], [`create_restore`], [`create_version`] | `create.rs` |
//! | `skip` | [`account_for`] | `create.rs` |
//! | `claim`, `wake`, `account` | [`claim`], [`wake`], [`move_to_account`] | `quota.rs` |
//! | `submit`, `poll`, `fetch` | [`decide()`], [`archived_instead`] | `decide/` |
//! | `check`, `look`, `compare` | [`decide()`] | `decide/` |
//! | `takeover` | [`unanswered`] | `decide/submit.rs` |
//! | `cancel`, `late` | [`cancel()`], [`supersede`], [`late`] | `cancel.rs` |
//! | `import` | [`import_known`], [`import_unknown`], [`end_of_copied`] | `import.rs` |
//! | `clock` | [`correct_clock`] | `clock.rs` |
//! | `release` | [`released`] | `hold.rs` |
//!
//! # Stages
//!
//! A restore goes through [stages](Stage), each with the states of every job; [`STEPS`] has the
//! step of each, and [`STAGE_MOVES`] the moves between stages. A request that changes what the
//! service has is sent only after a look at what it lists, and never again after an answer.
//!
//! ```text
//! check ──▶ safety ──▶ before_load ◀──▶ load ──▶ verify ──▶ before_publish ◀──▶ publish
//!                                                           before_roll_back ◀──▶ roll_back
//! ```
//!
//! A step of a live job may lead from any of its states to `archived` when it fails for good: then
//! a whole document of an earlier remote job may be archived instead.

mod cancel;
mod change;
mod clock;
mod create;
mod decide;
mod event;
mod hold;
mod import;
mod kinds;
mod listing;
mod orphan;
mod outcome;
mod policy;
mod quota;
mod refusal;
mod remote;
mod restore;
mod stage;
mod state;
#[cfg(test)]
mod tests;

pub use cancel::{cancel, is_too_late_to_cancel, late, supersede};
pub use change::Change;
pub use clock::{CURSOR_AHEAD, DRIFT, correct_clock};
pub use create::{
    NewJob, ScheduledTime, account_for, create, create_restore, create_version, trigger_for,
};
pub use decide::{archived_instead, decide, decide_as_seen, unanswered};
pub use event::{JobEvent, SourceEvent};
pub use hold::{JobHold, hold_of_restored, hold_of_safety, releasable, released, restoring_job};
pub use import::{ArchivedJob, end_of_copied, import_known, import_unknown};
pub use kinds::{ErrorKind, EventKind, FailureKind, WaitReason};
pub use listing::{ActivityKind, ListedVersion, RemoteActivity, VersionState};
pub use orphan::orphan_has_ended;
pub use outcome::{Failure, OtherJob, Outcome, Polled, Progress, Submitted};
pub use policy::{Policy, is_last_attempt, is_past_deadline};
pub use quota::{
    AccountLimits, LONGEST_REMOTE_JOB, Usage, claim, goes_first, looks_first, move_to_account, wake,
};
pub use refusal::{refusal, wrong_number};
pub use remote::{RemoteEffect, RemoteJob};
pub use restore::{Goal, Looked, Restore, RestoredSnapshot, Seen, Unsettled};
pub use stage::{JobStep, STAGE_MOVES, STEPS, Stage};
pub use state::{EDGES, Edge, Mover, Operation, State, is_legal};

use chrono::{DateTime, TimeDelta, Utc};
use kinds::words;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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

/// One job, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its number; never used twice.
    pub id: i64,
    /// What it does.
    pub operation: Operation,
    /// A backup: the version that it is of, where that is not what the source itself asks for.
    pub version: Option<String>,
    /// A restore: what it is to do, and what it has learnt. `None` for one whose history was lost.
    pub restore: Option<Box<Restore>>,
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
    /// When the first remote job of the present stage was submitted: the deadline counts from
    /// here.
    pub first_submitted_at: Option<DateTime<Utc>>,
    /// The present remote job, from the moment its submission was intended.
    pub remote: Option<RemoteJob>,
    /// Why it failed.
    pub error: Option<JobError>,
    /// The manifest of the snapshot it made; a restore's is the safety backup.
    pub snapshot: Option<PathBuf>,
}

impl Job {
    /// The step that its state asks for; `None` once it has ended.
    pub fn step(&self) -> Option<JobStep> {
        self.stage().step(self.state)
    }

    /// The stage of its operation.
    pub fn stage(&self) -> Stage {
        self.restore.as_ref().map_or(Stage::Backup, |restore| restore.stage)
    }

    /// Whether it is an ordinary backup of its source: what the source's health and its baselines
    /// come from.
    pub fn is_ordinary_backup(&self) -> bool {
        self.operation == Operation::Backup && self.version.is_none()
    }

    /// Remote jobs that exist or may exist for its present stage.
    pub fn attempts_of_stage(&self) -> u32 {
        let before = self.restore.as_ref().map_or(0, |restore| restore.attempts_before);
        self.attempts.saturating_sub(before)
    }

    /// Whether this is still the step that `other` was at: the same stage and state, the same
    /// remote job, and the same counters, of which every outcome of a step changes one. The
    /// record's number alone would not do: that of a refused submission is given again.
    pub fn is_at_step_of(&self, other: &Job) -> bool {
        let step = |job: &Job| {
            let record = job.remote.as_ref().map(|remote| remote.record);
            (job.stage(), job.state, record, [job.attempts, job.polls, job.rounds, job.failures])
        };
        step(self) == step(other)
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
