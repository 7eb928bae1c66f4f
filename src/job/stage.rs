//! The stages of an operation, and the step that each state of a stage asks for.

use super::{Operation, State, words};

words! {
    /// A part of a job's operation. A backup has one; a restore goes from one to the next. Within a
    /// stage the states are those of every job.
    Stage {
        /// A backup: submit an export, poll it, fetch the result into the archive.
        Backup = "backup",
        /// A restore: the snapshot's bytes are compared with its manifest, and with what the
        /// service accepts. Nothing is sent.
        Check = "check",
        /// A restore: what the destination publishes now is backed up.
        Safety = "safety",
        /// What the service lists is read before a load is sent, and after its answer was lost.
        BeforeLoad = "before_load",
        /// The document is loaded as the staged version.
        Load = "load",
        /// The staged version is exported, and compared with what was loaded.
        Verify = "verify",
        /// What the service lists is read before the staged version is published, and after the
        /// answer was lost.
        BeforePublish = "before_publish",
        /// The staged version is published.
        Publish = "publish",
        /// What the service lists is read before an older version is published again, and after
        /// the answer was lost.
        BeforeRollBack = "before_roll_back",
        /// An older version is published again.
        RollBack = "roll_back",
    }
}

/// The one effect on the world that a state of a stage asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStep {
    /// Ask the service to start a remote job.
    Submit,
    /// Ask how the remote job is doing.
    Poll,
    /// Fetch, validate and file its result.
    Fetch,
    /// Read the snapshot to be restored, and check it.
    Check,
    /// Read what the service lists, without any effect there.
    Look,
    /// Fetch the staged version and compare it.
    Compare,
}

impl JobStep {
    /// Whether it downloads a result, which may take hours.
    pub fn downloads(self) -> bool {
        matches!(self, JobStep::Fetch | JobStep::Compare)
    }
}

/// Every step: what a job in this state of this stage does next.
pub const STEPS: &[(Stage, State, JobStep)] = &[
    (Stage::Backup, State::Queued, JobStep::Submit),
    (Stage::Backup, State::Waiting, JobStep::Poll),
    (Stage::Backup, State::Ready, JobStep::Fetch),
    (Stage::Check, State::Queued, JobStep::Check),
    (Stage::Safety, State::Queued, JobStep::Submit),
    (Stage::Safety, State::Waiting, JobStep::Poll),
    (Stage::Safety, State::Ready, JobStep::Fetch),
    (Stage::BeforeLoad, State::Queued, JobStep::Look),
    (Stage::Load, State::Queued, JobStep::Submit),
    (Stage::Load, State::Waiting, JobStep::Poll),
    (Stage::Load, State::Ready, JobStep::Look),
    (Stage::Verify, State::Queued, JobStep::Submit),
    (Stage::Verify, State::Waiting, JobStep::Poll),
    (Stage::Verify, State::Ready, JobStep::Compare),
    (Stage::BeforePublish, State::Queued, JobStep::Look),
    (Stage::Publish, State::Queued, JobStep::Submit),
    (Stage::Publish, State::Waiting, JobStep::Poll),
    (Stage::Publish, State::Ready, JobStep::Look),
    (Stage::BeforeRollBack, State::Queued, JobStep::Look),
    (Stage::RollBack, State::Queued, JobStep::Submit),
    (Stage::RollBack, State::Waiting, JobStep::Poll),
    (Stage::RollBack, State::Ready, JobStep::Look),
];

/// Every legal move from one stage to another.
pub const STAGE_MOVES: &[(Stage, Stage)] = &[
    (Stage::Check, Stage::Safety),
    (Stage::Check, Stage::BeforeLoad),
    (Stage::Safety, Stage::BeforeLoad),
    (Stage::BeforeLoad, Stage::Load),
    (Stage::Load, Stage::BeforeLoad),
    (Stage::Load, Stage::Verify),
    (Stage::Load, Stage::BeforePublish),
    (Stage::Verify, Stage::BeforePublish),
    (Stage::BeforePublish, Stage::Publish),
    (Stage::Publish, Stage::BeforePublish),
    (Stage::BeforeRollBack, Stage::RollBack),
    (Stage::RollBack, Stage::BeforeRollBack),
];

impl Stage {
    /// The step that a state of this stage asks for; `None` once the job has ended.
    pub fn step(self, state: State) -> Option<JobStep> {
        STEPS.iter().find(|(stage, from, _)| (*stage, *from) == (self, state)).map(|it| it.2)
    }

    /// The operation that it is a part of.
    pub fn operation(self) -> Operation {
        match self {
            Stage::Backup => Operation::Backup,
            Stage::Check
            | Stage::Safety
            | Stage::BeforeLoad
            | Stage::Load
            | Stage::Verify
            | Stage::BeforePublish
            | Stage::Publish
            | Stage::BeforeRollBack
            | Stage::RollBack => Operation::Restore,
        }
    }

    /// Whether its remote job changes what the service has. Such a request is never repeated after
    /// an answer.
    pub fn is_change(self) -> bool {
        self.before().is_some()
    }

    /// Where its request is decided upon, if it is a change: nothing is sent before what the
    /// service lists was read there.
    pub fn before(self) -> Option<Stage> {
        match self {
            Stage::Load => Some(Stage::BeforeLoad),
            Stage::Publish => Some(Stage::BeforePublish),
            Stage::RollBack => Some(Stage::BeforeRollBack),
            Stage::Backup
            | Stage::Check
            | Stage::Safety
            | Stage::BeforeLoad
            | Stage::Verify
            | Stage::BeforePublish
            | Stage::BeforeRollBack => None,
        }
    }

    /// The change that is decided upon here.
    pub fn change(self) -> Option<Stage> {
        Stage::ALL.iter().copied().find(|stage| stage.before() == Some(self))
    }

    /// Whether a job may go from this stage to that one.
    pub fn may_become(self, next: Stage) -> bool {
        self == next || STAGE_MOVES.contains(&(self, next))
    }
}
