//! How the simulated service behaves when a client changes a source or lists what an account has:
//! healthy by default, faulty on demand.

use super::alteration::Alteration;
use super::data::Data;
use super::scenario::{Ending, Fault};

/// The behaviour for changes of one data source: loads, publications and rollbacks, and for the
/// listing of its versions. Each list has one entry for each of the next requests or jobs; later
/// ones are healthy.
#[derive(Clone, Debug)]
pub struct Changes {
    /// Faults of requests that load a document.
    pub load: Vec<Fault>,
    /// Faults of requests that publish the staged version.
    pub commit: Vec<Fault>,
    /// Faults of requests that roll back.
    pub rollback: Vec<Fault>,
    /// Faults of status requests for any of the three.
    pub status: Vec<Fault>,
    /// Faults of requests for the error log of any of the three.
    pub error_log: Vec<Fault>,
    /// Faults of requests for the listing of the source's versions.
    pub versions: Vec<Fault>,

    /// How loads end.
    pub load_outcomes: Vec<Outcome>,
    /// How publications end.
    pub commit_outcomes: Vec<Outcome>,
    /// How rollbacks end.
    pub rollback_outcomes: Vec<Outcome>,
    /// Status answers that say pending before a job ends.
    pub pending_polls: u32,

    /// What the service does to each document that is loaded. Without this it keeps the bytes.
    pub kept: Option<Alteration>,
    /// Whether loads may be compressed with gzip; nothing documents the kind of compression.
    pub accepts_gzip: bool,
    /// How many listings of the versions still show the state before a change.
    pub versions_lag: u32,
    /// Whether publishing and rolling back give the version the id of their own job. Nothing
    /// documents it.
    pub new_id_on_publish: bool,
    /// Leaves out the links to the data source in answers about completed jobs.
    pub without_source_link: bool,
    /// What other users do meanwhile, each once.
    pub interference: Vec<Interference>,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            load: Vec::new(),
            commit: Vec::new(),
            rollback: Vec::new(),
            status: Vec::new(),
            error_log: Vec::new(),
            versions: Vec::new(),
            load_outcomes: Vec::new(),
            commit_outcomes: Vec::new(),
            rollback_outcomes: Vec::new(),
            pending_polls: 2,
            kept: None,
            accepts_gzip: true,
            versions_lag: 0,
            new_id_on_publish: false,
            without_source_link: false,
            interference: Vec::new(),
        }
    }
}

/// How a job that changes a source ends.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What its status says in the end.
    pub says: Ending,
    /// Whether the source is really changed.
    pub happens: bool,
    /// What `failedEntityCount` says of a load; so many entities at the end are not kept.
    pub failed_entities: u64,
    /// The error log of a completed load; an aborted one has it in `says`.
    pub error_log: Option<String>,
}

impl Outcome {
    /// It succeeds.
    pub fn completed() -> Self {
        Self { says: Ending::Completed, happens: true, failed_entities: 0, error_log: None }
    }

    /// It fails, and says so.
    pub fn aborted(message: &str) -> Self {
        Self { says: Ending::aborted(message), happens: false, ..Self::completed() }
    }

    /// It never ends, and nothing happens.
    pub fn never() -> Self {
        Self { says: Ending::Never, happens: false, ..Self::completed() }
    }

    /// It says that it completed, but nothing happened.
    pub fn completed_without_effect() -> Self {
        Self { happens: false, ..Self::completed() }
    }

    /// It says that it failed, but it happened.
    pub fn aborted_with_effect(message: &str) -> Self {
        Self { happens: true, ..Self::aborted(message) }
    }

    /// A load completes without some of its entities, and has an error log.
    pub fn with_failed_entities(count: u64) -> Self {
        Self {
            failed_entities: count,
            error_log: Some(format!("{count} entities could not be loaded.\n")),
            ..Self::completed()
        }
    }
}

/// What another user does at some moment.
#[derive(Clone, Debug)]
pub struct Interference {
    /// When it happens, once.
    pub at: Moment,
    /// What happens.
    pub act: Act,
}

/// A moment in the life of a source, at which another user may interfere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A load was accepted, and is not carried out yet.
    LoadAccepted,
    /// A load was carried out.
    Loaded,
    /// The staged version is sent to a client.
    StagedFetched,
    /// A request to publish was received, and has no effect yet.
    CommitReceived,
    /// The staged version was published.
    Committed,
}

/// What another user does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Stages this.
    Stage(Data),
    /// Publishes this.
    Publish(Data),
    /// Removes the staged version, as the service does after 30 days.
    DropStaged,
    /// Deletes the source.
    Delete,
}

/// The behaviour for an account as a whole: its listing of sources and its job list.
#[derive(Clone, Debug)]
pub struct AccountScenario {
    /// Faults of requests for the list of sources, one for each of the next ones.
    pub sources: Vec<Fault>,
    /// Faults of requests for the job list.
    pub jobs: Vec<Fault>,
    /// For how many job lists after its creation a job is missing.
    pub jobs_lag: u32,
    /// Leaves all jobs out of the job list.
    pub no_jobs: bool,
    /// The links of jobs in the job list.
    pub job_links: JobLinks,
    /// Leaves the name of the source out of the job list.
    pub without_names: bool,
    /// How many sources the account may have; a load that would make one more is refused with 403.
    pub max_sources: usize,
    /// Whether a deleted source that is loaded again gets another access id. Nothing documents it.
    pub new_access_ids: bool,
}

impl Default for AccountScenario {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            jobs: Vec::new(),
            jobs_lag: 0,
            no_jobs: false,
            job_links: JobLinks::SelfAndSource,
            without_names: false,
            max_sources: 25,
            new_access_ids: false,
        }
    }
}

/// The links of jobs in the account's job list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobLinks {
    /// The status URL, and the source's URL once the job is completed.
    SelfAndSource,
    /// The source's URL once the job is completed.
    Source,
    /// None, as most jobs in the documented example.
    None,
    /// Both, on this host (with its port).
    OtherHost(String),
    /// Both, with the key in their query.
    WithKey,
}
