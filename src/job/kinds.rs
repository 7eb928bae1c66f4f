//! The words for what goes wrong and what happens, one list each:
//!
//! - [`FailureKind`]: what one failed request means. An adapter of a service chooses it.
//! - [`WaitReason`]: why a live job waits. [`super::decide()`] chooses it, often for a failure.
//! - [`ErrorKind`]: what kind of error ended a job.
//! - [`EventKind`]: a line of a job's timeline, under which it is stored, counted and logged.
//!
//! `docs/commands.md` and `docs/logging.md` have tables of the error kinds and the event kinds.

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
pub(super) use words;

words! {
    /// What a failed request means for the decision.
    FailureKind {
        /// This machine lacks a resource that the request needs, such as file descriptors: nothing
        /// was sent.
        Local = "local",
        /// It never reached the service: it had no effect there.
        NotSent = "not_sent",
        /// It was sent, and no complete answer came: it may have taken effect there.
        Lost = "lost",
        /// The service answered: try later.
        Unavailable = "unavailable",
        /// The account's limits do not allow it now.
        Quota = "quota",
        /// The key is refused.
        Credentials = "credentials",
        /// What was asked for does not exist.
        NotFound = "not_found",
        /// The request is refused as it is.
        Rejected = "rejected",
        /// The answer is unintelligible.
        Protocol = "protocol",
        /// The answer arrived, and its content encoding is damaged.
        Undecodable = "undecodable",
    }
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

words! {
    /// The word under which an event is stored, counted and logged.
    EventKind {
        /// The job was created.
        Queued = "queued",
        /// A scheduled time was skipped because the job was still live.
        Skipped = "skipped",
        /// Scheduled times passed while no daemon ran, and are not made up for.
        Missed = "missed",
        /// The service accepted the submission.
        Submitted = "submitted",
        /// The remote job is completed.
        Completed = "completed",
        /// The snapshot is in the archive.
        Archived = "archived",
        /// The service has what the newest snapshot has: nothing was exported.
        Unchanged = "unchanged",
        /// The snapshot is archived with a warning.
        Suspicious = "suspicious",
        /// A snapshot that is to be restored was checked.
        Checked = "checked",
        /// The safety backup of a restore is in the archive.
        Safety = "safety",
        /// What the service lists was read before a change.
        Looked = "looked",
        /// The staged version was compared and is equal.
        Verified = "verified",
        /// A restore has ended well.
        Restored = "restored",
        /// Something unusual.
        Note = "note",
        /// The service's error log of an aborted remote job.
        ErrorLog = "error_log",
        /// The job waits after a transient failure, or for a new remote job.
        Retry = "retry",
        /// The job waits for the account's quota, by Nightjar's own count.
        Quota = "quota",
        /// The job waits because the service says that a limit is reached.
        Limit = "limit",
        /// The job waits because the archive cannot be written.
        Storage = "storage",
        /// The job waits because this machine lacks a resource.
        Local = "local",
        /// The job failed.
        Failed = "failed",
        /// A user cancelled the job.
        Cancelled = "cancelled",
    }
}
