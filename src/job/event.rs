//! What happens to a job, as typed events. The store writes each as a line of the job's timeline;
//! log, metrics, page and alerts read the same events.

use super::{EventKind, JobError, OtherJob, Stage, WaitReason};
use chrono::{DateTime, Utc};

/// What happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// It was created.
    Queued {
        /// Why.
        note: String,
        /// How many earlier scheduled times it stands for.
        missed: usize,
    },
    /// A scheduled time passed while it was live.
    Skipped {
        /// That time.
        time: DateTime<Utc>,
        /// How many earlier times were missed before it.
        missed: usize,
    },
    /// The service accepted a submission.
    Submitted {
        /// The remote job's identifier, where the service gave one.
        id: Option<String>,
        /// How many remote jobs there were with this one.
        attempt: u32,
    },
    /// The service had accepted a submission, but the job was cancelled or taken over before the
    /// answer could be stored.
    AcceptedLate {
        /// The remote job's identifier, where the service gave one.
        id: Option<String>,
    },
    /// The service uses a word for the status that it is not known to use.
    UnknownStatus {
        /// The word.
        word: String,
    },
    /// The service answered about another remote job, which says nothing about this one.
    AnswerAboutAnother {
        /// The other one.
        other: OtherJob,
        /// The identifier of this job's own.
        ours: Option<String>,
    },
    /// The result of another remote job is as new as this job's own and is taken.
    ResultOfAnother {
        /// The other one.
        other: OtherJob,
        /// The identifier of this job's own.
        ours: Option<String>,
    },
    /// The remote job is completed.
    Completed {
        /// How many entities the service announced.
        expected: Option<u64>,
    },
    /// The service's error log of an aborted remote job.
    ErrorLog(String),
    /// A change at the service is completed.
    Applied {
        /// What it was.
        stage: Stage,
        /// How many entities were loaded, where the service says so.
        processed: Option<u64>,
    },
    /// The snapshot that is to be restored is what its manifest says, and the service takes it.
    Checked {
        /// What was checked.
        message: String,
    },
    /// What the destination published before a restore is in the archive.
    SafetyBackup {
        /// What was archived.
        message: String,
    },
    /// What the service lists was read, and a change follows.
    Looked {
        /// What it lists that matters.
        message: String,
    },
    /// The staged version was compared and is equal.
    Verified {
        /// What was compared.
        message: String,
    },
    /// A restore has ended well.
    Restored {
        /// How.
        message: String,
    },
    /// The next step has to wait.
    Waits {
        /// Why, for programs.
        why: WaitReason,
        /// Why, for people.
        reason: String,
        /// When the step is tried next.
        until: DateTime<Utc>,
    },
    /// The snapshot is in the archive.
    Archived {
        /// What was archived.
        message: String,
    },
    /// The service has what the newest snapshot has: nothing was exported.
    Unchanged {
        /// Which snapshot that is.
        message: String,
    },
    /// The snapshot was in the archive before its job was cancelled.
    ArchivedBeforeCancel,
    /// The job's snapshot was found in the archive, and the history did not know of it.
    Imported,
    /// The snapshot is archived with a warning.
    Suspicious {
        /// The warning.
        reason: String,
    },
    /// The job would have failed with this error, but the document of an earlier remote job is
    /// archived instead.
    ArchivedInstead(JobError),
    /// The job failed.
    Failed(JobError),
    /// A user cancelled the job.
    Cancelled,
    /// A backup of another version was ended for the ordinary backup of its source.
    Superseded,
    /// Something unusual, in a sentence.
    Note(String),
}

/// Why an answer about another remote job keeps a job waiting.
const ANOTHER_JOB: &str = "the service answers about another remote job";

impl JobEvent {
    /// The word under which it is stored, counted and logged.
    pub fn kind(&self) -> EventKind {
        match self {
            JobEvent::Queued { .. } => EventKind::Queued,
            JobEvent::Skipped { .. } => EventKind::Skipped,
            JobEvent::Submitted { .. } => EventKind::Submitted,
            JobEvent::Completed { .. } | JobEvent::Applied { .. } => EventKind::Completed,
            JobEvent::Checked { .. } => EventKind::Checked,
            JobEvent::SafetyBackup { .. } => EventKind::Safety,
            JobEvent::Looked { .. } => EventKind::Looked,
            JobEvent::Verified { .. } => EventKind::Verified,
            JobEvent::Restored { .. } => EventKind::Restored,
            JobEvent::ErrorLog(_) => EventKind::ErrorLog,
            JobEvent::Waits { why, .. } => match why {
                WaitReason::Quota => EventKind::Quota,
                WaitReason::Limit => EventKind::Limit,
                WaitReason::Storage => EventKind::Storage,
                WaitReason::Local => EventKind::Local,
                WaitReason::Retry => EventKind::Retry,
                WaitReason::OtherJob => EventKind::Note,
            },
            JobEvent::Archived { .. } | JobEvent::ArchivedBeforeCancel | JobEvent::Imported => {
                EventKind::Archived
            }
            JobEvent::Unchanged { .. } => EventKind::Unchanged,
            JobEvent::Suspicious { .. } => EventKind::Suspicious,
            JobEvent::Failed(_) => EventKind::Failed,
            JobEvent::Cancelled | JobEvent::Superseded => EventKind::Cancelled,
            JobEvent::AcceptedLate { .. }
            | JobEvent::UnknownStatus { .. }
            | JobEvent::AnswerAboutAnother { .. }
            | JobEvent::ResultOfAnother { .. }
            | JobEvent::ArchivedInstead(_)
            | JobEvent::Note(_) => EventKind::Note,
        }
    }

    /// The sentence for people.
    pub fn message(&self) -> String {
        match self {
            JobEvent::Queued { note, missed } => format!("{note}{}", earlier_times(*missed)),
            JobEvent::Skipped { time, missed } => format!(
                "the scheduled time {}{} is skipped: this job is still live",
                second(*time),
                earlier_times(*missed)
            ),
            JobEvent::Submitted { id: Some(id), attempt } => {
                format!("accepted as remote job {id} (attempt {attempt})")
            }
            JobEvent::Submitted { id: None, attempt } => {
                format!("accepted; the service gave no job id (attempt {attempt})")
            }
            JobEvent::AcceptedLate { id } => {
                let id = id.as_ref().map_or_else(
                    || "; it gave no job id".to_owned(),
                    |id| format!(" as remote job {id}"),
                );
                format!(
                    "the service had accepted the submission{id}; the remote job counts against \
                     the quota until it ends"
                )
            }
            JobEvent::UnknownStatus { word } => {
                format!("unknown status \"{word}\" taken as pending")
            }
            JobEvent::AnswerAboutAnother { other, ours } => {
                format!("{ANOTHER_JOB} ({}); ours counts as pending", difference(other, ours))
            }
            JobEvent::ResultOfAnother { other, ours } => format!(
                "{ANOTHER_JOB} ({}); it is no older than our submission, so its result is taken",
                difference(other, ours)
            ),
            JobEvent::Completed { expected } => match expected {
                Some(1) => "the remote job is completed, 1 entity announced".to_owned(),
                Some(n) => format!("the remote job is completed, {n} entities announced"),
                None => "the remote job is completed, no number of entities announced".to_owned(),
            },
            JobEvent::Applied { stage, processed } => applied(*stage, *processed),
            JobEvent::Waits { why: WaitReason::Quota, reason, until } => {
                format!("{reason}; until {}", second(*until))
            }
            JobEvent::Waits { reason, until, .. } => {
                format!("{reason}; next try at {}", second(*until))
            }
            JobEvent::ArchivedBeforeCancel => {
                "the snapshot was in the archive before the cancel".to_owned()
            }
            JobEvent::Imported => "found in the archive".to_owned(),
            JobEvent::Suspicious { reason } => format!("suspicious: {reason}"),
            JobEvent::ArchivedInstead(error) => {
                format!("{error}; the document of an earlier remote job is archived instead")
            }
            JobEvent::Failed(error) => error.to_string(),
            JobEvent::Cancelled => "cancelled by a user".to_owned(),
            JobEvent::Superseded => {
                "ended before it was submitted: the source's ordinary backup comes first".to_owned()
            }
            JobEvent::SafetyBackup { message } => format!("safety backup: {message}"),
            JobEvent::Archived { message }
            | JobEvent::Unchanged { message }
            | JobEvent::Checked { message }
            | JobEvent::Looked { message }
            | JobEvent::Verified { message }
            | JobEvent::Restored { message } => message.clone(),
            JobEvent::ErrorLog(text) | JobEvent::Note(text) => text.clone(),
        }
    }

    /// For a wait that may repeat: the sentence apart from what differs each time. Waits in a row
    /// of one kind for one reason are one line of the timeline, with a count.
    pub fn reason(&self) -> Option<&str> {
        match self {
            JobEvent::Waits { reason, .. } => Some(reason),
            JobEvent::AnswerAboutAnother { .. } => Some(ANOTHER_JOB),
            _ => None,
        }
    }

    /// Replaces every text that comes from outside by what `map` makes of it.
    pub(super) fn map_texts(&mut self, map: &impl Fn(&str) -> String) {
        match self {
            JobEvent::Submitted { id, .. } | JobEvent::AcceptedLate { id } => {
                map_each(id.iter_mut(), map);
            }
            JobEvent::AnswerAboutAnother { other, ours }
            | JobEvent::ResultOfAnother { other, ours } => {
                map_each(std::iter::once(&mut other.id).chain(ours), map);
            }
            JobEvent::UnknownStatus { word: text }
            | JobEvent::Queued { note: text, .. }
            | JobEvent::Waits { reason: text, .. }
            | JobEvent::Archived { message: text }
            | JobEvent::Unchanged { message: text }
            | JobEvent::Checked { message: text }
            | JobEvent::SafetyBackup { message: text }
            | JobEvent::Looked { message: text }
            | JobEvent::Verified { message: text }
            | JobEvent::Restored { message: text }
            | JobEvent::Suspicious { reason: text }
            | JobEvent::ArchivedInstead(JobError { message: text, .. })
            | JobEvent::Failed(JobError { message: text, .. })
            | JobEvent::ErrorLog(text)
            | JobEvent::Note(text) => *text = map(text),
            JobEvent::Skipped { .. }
            | JobEvent::Completed { .. }
            | JobEvent::Applied { .. }
            | JobEvent::ArchivedBeforeCancel
            | JobEvent::Imported
            | JobEvent::Cancelled
            | JobEvent::Superseded => {}
        }
    }
}

/// What happened to a source's schedule, and belongs to no job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent {
    /// Scheduled times passed while no daemon ran, and are not made up for.
    Missed {
        /// How many.
        times: usize,
        /// The last one.
        until: DateTime<Utc>,
    },
    /// A wrong clock had moved the schedule's cursor far ahead; it starts again from now.
    CursorReset,
}

impl SourceEvent {
    /// The word under which it is stored and counted.
    pub fn kind(&self) -> EventKind {
        match self {
            SourceEvent::Missed { .. } => EventKind::Missed,
            SourceEvent::CursorReset => EventKind::Note,
        }
    }

    /// The sentence for people.
    pub fn message(&self) -> String {
        match self {
            SourceEvent::Missed { times, until } => {
                let times = match times {
                    1 => "one scheduled time".to_owned(),
                    n => format!("{n} scheduled times"),
                };
                format!(
                    "{times} up to {} missed while no daemon ran; catch_up is off",
                    second(*until)
                )
            }
            SourceEvent::CursorReset => {
                "the clock was far ahead: the schedule goes on from now".to_owned()
            }
        }
    }
}

fn map_each<'a>(texts: impl Iterator<Item = &'a mut String>, map: &impl Fn(&str) -> String) {
    texts.for_each(|text| *text = map(text));
}

fn applied(stage: Stage, processed: Option<u64>) -> String {
    match (stage, processed) {
        (Stage::Load, Some(1)) => "the load is completed, 1 entity loaded".to_owned(),
        (Stage::Load, Some(n)) => format!("the load is completed, {n} entities loaded"),
        (Stage::Load, None) => "the load is completed".to_owned(),
        (Stage::RollBack, _) => "the service has rolled back".to_owned(),
        _ => "the service has published the version".to_owned(),
    }
}

fn second(at: DateTime<Utc>) -> impl std::fmt::Display {
    at.format("%Y-%m-%dT%H:%M:%SZ")
}

fn earlier_times(missed: usize) -> String {
    match missed {
        0 => String::new(),
        1 => " (and one earlier time that was missed)".to_owned(),
        n => format!(" (and {n} earlier times that were missed)"),
    }
}

fn difference(other: &OtherJob, ours: &Option<String>) -> String {
    let created = match other.created_at {
        Some(at) => format!("created {}", second(at)),
        None => "without a date of creation that can be read".to_owned(),
    };
    format!("{}, {created}, not {}", other.id, ours.as_deref().unwrap_or("ours"))
}
