//! The states of a job, the moves between them, and the step that each state asks for.

use super::words;

words! {
    /// A job's progress. When its next step is due is `due_at`, apart from the state: a retry is
    /// the same state with a later time.
    State {
        /// Created by the schedule or by hand; a worker submits it as soon as the quota allows.
        Queued = "queued",
        /// A remote job exists; a worker polls it until it is completed, aborted or lost.
        Waiting = "waiting",
        /// The remote job is completed; a worker fetches, validates and files its result.
        Ready = "ready",
        /// A proven snapshot lies in the archive. Final.
        Archived = "archived",
        /// Failed, with an error kind and a message. Only its own snapshot, found in the archive,
        /// changes that.
        Failed = "failed",
        /// Cancelled by a user. Only its own snapshot, found in the archive, changes that.
        Cancelled = "cancelled",
    }
}

impl State {
    /// Whether a job in this state has ended: no worker moves it any more.
    pub fn is_final(self) -> bool {
        matches!(self, State::Archived | State::Failed | State::Cancelled)
    }
}

words! {
    /// What a job does, in [stages](super::Stage).
    Operation {
        /// Back up a source.
        Backup = "backup",
        /// Change what the service has: load a snapshot, publish a version.
        Restore = "restore",
    }
}

words! {
    /// Who changes a job. Each is one function of this module.
    Mover {
        /// The schedule, or a user.
        Create = "create",
        /// A worker that takes the job to submit it: it writes the intent, or waits for quota.
        Claim = "claim",
        /// The outcome of a submission.
        Submit = "submit",
        /// The outcome of a poll.
        Poll = "poll",
        /// The outcome of a fetch.
        Fetch = "fetch",
        /// The outcome of checking a snapshot that is to be restored.
        Check = "check",
        /// The outcome of a look at what the service lists.
        Look = "look",
        /// The outcome of comparing the staged version.
        Compare = "compare",
        /// A worker that finds a dead worker's unanswered submission.
        Takeover = "takeover",
        /// An outcome that came after the job was cancelled or taken over.
        Late = "late",
        /// A user's cancel.
        Cancel = "cancel",
        /// The import of a snapshot or of an older history: what the archive or the copy shows.
        Import = "import",
        /// A scheduled time that passes while the job is live.
        Skip = "skip",
        /// Quota that became free.
        Wake = "wake",
        /// The wall clock was set.
        Clock = "clock",
        /// The configuration names another account for the source.
        Account = "account",
        /// The holds of a restore that has ended are released.
        Release = "release",
    }
}

/// A legal move of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The state before; `None` for a job that does not exist yet.
    pub from: Option<State>,
    /// The state after.
    pub to: State,
    /// Who may move it.
    pub by: &'static [Mover],
}

const fn edge(from: Option<State>, to: State, by: &'static [Mover]) -> Edge {
    Edge { from, to, by }
}

/// Every legal move. The diagram in the documentation of [`crate::job`] shows the same.
pub const EDGES: &[Edge] = {
    use Mover::{
        Account, Cancel, Check, Claim, Clock, Compare, Create, Fetch, Import, Late, Look, Poll,
        Release, Skip, Submit, Takeover, Wake,
    };
    use State::{Archived, Cancelled, Failed, Queued, Ready, Waiting};
    &[
        edge(None, Queued, &[Create]),
        edge(None, Archived, &[Import]),
        edge(
            Some(Queued),
            Queued,
            &[Claim, Submit, Takeover, Wake, Skip, Clock, Account, Late, Check, Look],
        ),
        edge(Some(Queued), Waiting, &[Submit, Look]),
        edge(Some(Queued), Ready, &[Look]),
        edge(Some(Queued), Archived, &[Submit, Import, Look]),
        edge(Some(Queued), Failed, &[Submit, Takeover, Check, Look, Import]),
        edge(Some(Queued), Cancelled, &[Cancel]),
        edge(Some(Waiting), Waiting, &[Poll, Skip, Clock, Account, Late]),
        edge(Some(Waiting), Queued, &[Poll]),
        edge(Some(Waiting), Ready, &[Poll]),
        edge(Some(Waiting), Archived, &[Poll, Import]),
        edge(Some(Waiting), Failed, &[Poll, Import]),
        edge(Some(Waiting), Cancelled, &[Cancel]),
        edge(Some(Ready), Ready, &[Fetch, Skip, Clock, Account, Late, Look, Compare]),
        edge(Some(Ready), Queued, &[Fetch, Look, Compare]),
        edge(Some(Ready), Archived, &[Fetch, Import, Look, Compare]),
        edge(Some(Ready), Failed, &[Fetch, Look, Compare, Import]),
        edge(Some(Ready), Cancelled, &[Cancel]),
        edge(Some(Archived), Archived, &[Late, Release]),
        edge(Some(Failed), Failed, &[Late, Release]),
        edge(Some(Failed), Archived, &[Import]),
        edge(Some(Cancelled), Cancelled, &[Late, Release]),
        edge(Some(Cancelled), Archived, &[Late, Import]),
    ]
};

/// Whether `by` may move a job from the one state (`None`: it does not exist yet) to the other.
pub fn is_legal(from: Option<State>, to: State, by: Mover) -> bool {
    EDGES.iter().any(|edge| edge.from == from && edge.to == to && edge.by.contains(&by))
}
