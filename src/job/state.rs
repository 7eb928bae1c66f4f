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
    /// What a job does. An operation is a table of the steps that its states ask for.
    Operation {
        /// Back up a source: submit an export, poll it, fetch the result into the archive.
        Backup = "backup",
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

/// The steps of a backup.
const BACKUP: &[(State, JobStep)] = &[
    (State::Queued, JobStep::Submit),
    (State::Waiting, JobStep::Poll),
    (State::Ready, JobStep::Fetch),
];

impl Operation {
    /// The step that a state asks for; `None` once the job has ended.
    pub fn step(self, state: State) -> Option<JobStep> {
        let steps = match self {
            Operation::Backup => BACKUP,
        };
        steps.iter().find(|(from, _)| *from == state).map(|(_, step)| *step)
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
        /// A worker that finds a dead worker's unanswered submission.
        Takeover = "takeover",
        /// An outcome that came after the job was cancelled or taken over.
        Late = "late",
        /// A user's cancel.
        Cancel = "cancel",
        /// The import of a snapshot that the history does not know.
        Import = "import",
        /// A scheduled time that passes while the job is live.
        Skip = "skip",
        /// Quota that became free.
        Wake = "wake",
        /// The wall clock was set.
        Clock = "clock",
        /// The configuration names another account for the source.
        Account = "account",
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
        Account, Cancel, Claim, Clock, Create, Fetch, Import, Late, Poll, Skip, Submit, Takeover,
        Wake,
    };
    use State::{Archived, Cancelled, Failed, Queued, Ready, Waiting};
    &[
        edge(None, Queued, &[Create]),
        edge(None, Archived, &[Import]),
        edge(Some(Queued), Queued, &[Claim, Submit, Takeover, Wake, Skip, Clock, Account, Late]),
        edge(Some(Queued), Waiting, &[Submit]),
        edge(Some(Queued), Archived, &[Submit, Import]),
        edge(Some(Queued), Failed, &[Submit, Takeover]),
        edge(Some(Queued), Cancelled, &[Cancel]),
        edge(Some(Waiting), Waiting, &[Poll, Skip, Clock, Account, Late]),
        edge(Some(Waiting), Queued, &[Poll]),
        edge(Some(Waiting), Ready, &[Poll]),
        edge(Some(Waiting), Archived, &[Poll, Import]),
        edge(Some(Waiting), Failed, &[Poll]),
        edge(Some(Waiting), Cancelled, &[Cancel]),
        edge(Some(Ready), Ready, &[Fetch, Skip, Clock, Account, Late]),
        edge(Some(Ready), Queued, &[Fetch]),
        edge(Some(Ready), Archived, &[Fetch, Import]),
        edge(Some(Ready), Failed, &[Fetch]),
        edge(Some(Ready), Cancelled, &[Cancel]),
        edge(Some(Archived), Archived, &[Late]),
        edge(Some(Failed), Failed, &[Late]),
        edge(Some(Failed), Archived, &[Import]),
        edge(Some(Cancelled), Cancelled, &[Late]),
        edge(Some(Cancelled), Archived, &[Late, Import]),
    ]
};

/// Whether `by` may move a job from the one state (`None`: it does not exist yet) to the other.
pub fn is_legal(from: Option<State>, to: State, by: Mover) -> bool {
    EDGES.iter().any(|edge| edge.from == from && edge.to == to && edge.by.contains(&by))
}
