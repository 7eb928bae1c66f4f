//! The manifest of a snapshot: `docs/archive-format.md` as types.

mod changes;
mod format;
mod name;
mod origin;
mod published;
mod role;
mod suspicion;
mod text;

pub use changes::ChangeCounts;
pub use format::ManifestFormat;
pub use name::Name;
pub use origin::Origin;
pub use published::{PublishedVersion, is_unchanged};
pub use role::Role;
pub use suspicion::{changed_much, newly_unreadable, suspicions};
pub use text::{ManifestError, ReadManifest};

use crate::dataset::{Column, Unproven, Unreadable};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Bytes that a manifest may have: more than any that the limits of a document allow.
pub const LARGEST_MANIFEST: usize = 16 << 20;
/// How the manifest's name ends.
pub const MANIFEST_SUFFIX: &str = ".json";
/// How the name of a hold ends, which exempts its snapshot from retention.
pub const HOLD_SUFFIX: &str = ".hold";
/// The highest job number that a snapshot can have: 2^53 - 1, which every reader of JSON keeps
/// exactly. A file name with a higher one is not a snapshot's.
pub const HIGHEST_JOB: i64 = (1 << 53) - 1;
/// The link to the newest manifest.
pub const LATEST: &str = "latest.json";

/// One snapshot: its content, its origin and its checksums. File names are relative to the
/// manifest's directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "origin::ManifestMembers")]
pub struct Manifest {
    /// Which members it has.
    pub format: ManifestFormat,
    /// The source's name in the configuration, and the folder's.
    pub source: String,
    /// Where the data came from at the service.
    #[serde(flatten)]
    pub origin: Origin,
    /// What it is for.
    #[serde(flatten)]
    pub role: Role,
    /// The version that it came from, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_version: Option<PublishedVersion>,
    /// The job that made it.
    pub job: i64,
    /// The remote job's identifier, where the service gave one.
    pub remote_id: Option<String>,
    /// The scheduled time that it covers.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// When the remote job was submitted: the instant in the file names, to the millisecond.
    pub created_at: DateTime<Utc>,
    /// When validation was complete.
    pub completed_at: DateTime<Utc>,
    /// How many entities it holds, counted.
    pub entities: u64,
    /// How many the service announced; `null` if it announced none or 0.
    pub expected_entities: Option<u64>,
    /// The name of the entities' element.
    pub entity_type: String,
    /// The name of the column whose value is unique; empty where the schema names none.
    pub primary_key: String,
    /// The inline schema's columns, in order.
    pub columns: Vec<Column>,
    /// The bytes that the service sent, after its content encoding.
    pub content: Content,
    /// The file that they are stored in.
    pub stored: Stored,
    /// Why it is suspicious; empty when it is not.
    pub suspicious: Vec<String>,
    /// What validation could not check, and other notes; empty when there are none.
    pub notes: Vec<String>,
    /// An earlier manifest with identical content, if the data file is a link to that one's.
    pub same_content_as: Option<String>,
    /// The program that wrote it.
    pub generator: String,
    /// The columns with values that do not match their type; empty when there are none.
    pub unreadable: Vec<Unreadable>,
    /// What could not be proven of the document; empty when all was.
    pub unproven: Vec<Unproven>,
}

/// Length and digest of the content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// In bytes.
    pub bytes: u64,
    /// SHA-256, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// The data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Its name.
    pub file: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal digits.
    pub sha256: String,
    /// How the content is encoded in it: the name of a [`crate::codec::Codec`].
    pub encoding: String,
}

impl Manifest {
    /// The name that its files share.
    pub fn name(&self) -> Name {
        Name::new(self.created_at, self.job)
    }
}
