//! What clients do to the sources of the simulated service: loads, publications of staged versions
//! and rollbacks. The service calls each a job, and lists them as such.

use bytes::Bytes;

use super::change_scenario::Outcome;
use super::jobs::RemoteState;
use super::scenario::Ending;

/// What a load does to a data source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadOperation {
    /// Publishes the document in the place of what is published.
    Complete,
    /// Stages the document.
    CompleteStaging,
    /// Publishes what is published with entities replaced, added and deleted.
    Incremental,
    /// Stages what is published with entities replaced, added and deleted.
    IncrementalStaging,
}

impl LoadOperation {
    const ALL: [Self; 4] =
        [Self::Complete, Self::CompleteStaging, Self::Incremental, Self::IncrementalStaging];

    /// The word of the request's parameter `loadOperation`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::CompleteStaging => "completeStaging",
            Self::Incremental => "incremental",
            Self::IncrementalStaging => "incrementalStaging",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word().eq_ignore_ascii_case(word))
    }

    pub(super) fn is_staging(self) -> bool {
        matches!(self, Self::CompleteStaging | Self::IncrementalStaging)
    }

    pub(super) fn is_incremental(self) -> bool {
        matches!(self, Self::Incremental | Self::IncrementalStaging)
    }
}

/// The kinds of jobs that change a data source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A document was posted.
    Load(LoadOperation),
    /// The staged version is published.
    Commit,
    /// An older version is published again.
    Rollback,
}

impl ChangeKind {
    /// The job's `description` in the account's job list (Get Job List).
    pub fn description(self) -> &'static str {
        match self {
            Self::Load(LoadOperation::Complete) => "DataSourceComplete",
            Self::Load(LoadOperation::CompleteStaging) => "DataSourceCompleteStaging",
            Self::Load(LoadOperation::Incremental) => "DataSourceIncremental",
            Self::Load(LoadOperation::IncrementalStaging) => "DataSourceIncrementalStaging",
            Self::Commit => "DataSourcePublishFromStaged",
            Self::Rollback => "DataSourceRollback",
        }
    }
}

/// A job that changes a data source, as tests see it.
#[derive(Clone, Debug)]
pub struct RemoteChange {
    /// Its id; a loaded version is known by the id of its load.
    pub id: String,
    /// Its kind.
    pub kind: ChangeKind,
    /// The name of the source.
    pub source: String,
    /// The version that a rollback asks for.
    pub version: Option<String>,
    /// What was posted, decompressed; empty for all but loads.
    pub body: Bytes,
    /// Whether it was posted compressed.
    pub is_compressed: bool,
    /// Status requests carried out for it, answered or not.
    pub polls: u32,
    /// What the service says of its progress.
    pub state: RemoteState,
    /// Whether the source was really changed.
    pub happened: bool,
    /// Whether the answer to its creation was sent whole.
    pub creation_answered: bool,
    /// Whether another user did it, as [`Simulator::load_elsewhere`](super::Simulator) does.
    pub is_elsewhere: bool,
}

pub(super) struct Change {
    pub(super) seen: RemoteChange,
    /// Which of the sources.
    pub(super) source: usize,
    pub(super) outcome: Outcome,
    /// Entities in the posted document.
    pub(super) total: u64,
    /// Steps towards the end.
    pub(super) steps: u32,
    /// Seconds on the simulated calendar.
    pub(super) created: u64,
    /// How many requests for the job list were answered since it was created.
    pub(super) lists: u32,
}

impl Change {
    /// The state in which it ends.
    pub(super) fn end(&self) -> RemoteState {
        match self.outcome.says {
            Ending::Completed => RemoteState::Completed,
            Ending::Aborted { .. } => RemoteState::Aborted,
            Ending::Never => RemoteState::InProcess,
        }
    }
}
