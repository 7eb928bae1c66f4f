//! What is known of a snapshot, as it lies beside it: `docs/archive-format.md` in types.

use crate::dataset::Column;
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The version of the archive's format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// How the data file's name ends.
pub const DATA_SUFFIX: &str = ".xml.zst";
/// How the manifest's name ends.
pub const MANIFEST_SUFFIX: &str = ".json";
/// How the name of a hold ends, which exempts its snapshot from retention.
pub const HOLD_SUFFIX: &str = ".hold";
/// The link to the newest manifest.
pub const LATEST: &str = "latest.json";
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// One snapshot: what it holds, whence it came, and what proves it. File names are relative to the
/// manifest's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`] when it was written.
    pub format: u32,
    /// The source's name in the configuration, and the folder's.
    pub source: String,
    /// The data source's access id at the service.
    pub access_id: String,
    /// The data source's name at the service.
    pub data_source: String,
    /// The version that was asked for; `null` for the published one.
    #[serde(default)]
    pub version: Option<String>,
    /// The job that made it.
    pub job: i64,
    /// The remote job's identifier, where the service gave one.
    pub remote_id: Option<String>,
    /// The scheduled time that it accounts for.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// When the remote job was submitted: the instant in the file names, to the millisecond.
    pub created_at: DateTime<Utc>,
    /// When the proof was complete.
    pub completed_at: DateTime<Utc>,
    /// How many entities it holds, counted.
    pub entities: u64,
    /// How many the service announced; `null` for none and for 0, which proves nothing.
    pub expected_entities: Option<u64>,
    /// The name of the entities' element.
    pub entity_type: String,
    /// The name of the column whose value is unique.
    pub primary_key: String,
    /// The inline schema's columns, in order.
    pub columns: Vec<Column>,
    /// The bytes that the service sent, after its content encoding.
    pub content: Content,
    /// The file that they are stored in.
    pub stored: Stored,
    /// Why it deserves a second look; empty when it does not.
    pub suspicious: Vec<String>,
    /// What the proof could not cover, and other things worth knowing; empty when there are none.
    #[serde(default)]
    pub notes: Vec<String>,
    /// An earlier manifest with identical content, if the data file is a link to that one's.
    pub same_content_as: Option<String>,
    /// The program that wrote it.
    pub generator: String,
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
    /// How the content is encoded in it: `zstd`.
    pub encoding: String,
}

impl Manifest {
    /// The name that its files share.
    pub fn name(&self) -> Name {
        Name::new(self.created_at, self.job)
    }
}

/// The name that a snapshot's two files share: the second its remote job was submitted, and the
/// number of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    created_at: DateTime<Utc>,
    job: i64,
}

impl Name {
    /// The name of the snapshot that job `job` makes from a remote job submitted at `created_at`.
    pub fn new(created_at: DateTime<Utc>, job: i64) -> Name {
        let whole = DateTime::from_timestamp(created_at.timestamp(), 0).unwrap_or(created_at);
        Name { created_at: whole, job }
    }

    /// When the remote job was submitted, to the second.
    pub fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// The job's number.
    pub fn job(&self) -> i64 {
        self.job
    }

    /// The instant as it stands in the name.
    pub fn timestamp(&self) -> String {
        self.created_at.format(STAMP).to_string()
    }

    /// The data file's name.
    pub fn data(&self) -> String {
        format!("{self}{DATA_SUFFIX}")
    }

    /// The hold's name.
    pub fn hold(&self) -> String {
        format!("{self}{HOLD_SUFFIX}")
    }

    /// The manifest's name.
    pub fn manifest(&self) -> String {
        format!("{self}{MANIFEST_SUFFIX}")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.created_at.format(STAMP), self.job)
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Name, ()> {
        let (stamp, job) = text.split_once('-').ok_or(())?;
        let created_at = NaiveDateTime::parse_from_str(stamp, STAMP).map_err(|_| ())?.and_utc();
        let name = Name { created_at, job: job.parse().map_err(|_| ())? };
        // Only what this program writes: no signs, no leading zeros.
        if name.to_string() == text && name.job > 0 { Ok(name) } else { Err(()) }
    }
}

/// Why a proven snapshot deserves a second look. `baseline` is the number of entities in the last
/// snapshot that was not suspicious itself.
pub fn suspicions(
    entities: u64,
    min_entities: u64,
    max_shrink: f64,
    baseline: Option<u64>,
) -> Vec<String> {
    let mut reasons = Vec::new();
    if entities < min_entities {
        reasons.push(format!("{entities} entities, fewer than min_entities = {min_entities}"));
    }
    if let Some(before) = baseline
        && entities < before
    {
        let lost = (before - entities) as f64 / before as f64;
        if lost > max_shrink {
            reasons.push(format!(
                "{entities} entities after {before}: {:.0} % lost, more than max_shrink = {max_shrink}",
                lost * 100.0
            ));
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_the_submission_s_second_and_the_job() {
        let at = DateTime::parse_from_rfc3339("2026-11-25T02:00:01.987Z").unwrap().to_utc();
        let name = Name::new(at, 42);
        assert_eq!(name.to_string(), "20261125T020001Z-42");
        assert_eq!(name.data(), "20261125T020001Z-42.xml.zst");
        assert_eq!("20261125T020001Z-42".parse(), Ok(name));
    }

    #[test]
    fn names_that_this_program_never_writes_are_no_names() {
        for text in [
            "20261125T020001Z",
            "20261125T020001Z-",
            "20261125T020001Z-0",
            "latest",
            "20261125T020001Z-007",
            "20261125T020001Z-+7",
            "20261325T020001Z-7",
            "",
        ] {
            assert_eq!(text.parse::<Name>(), Err(()), "{text}");
        }
    }

    #[test]
    fn fewer_than_the_least_and_a_large_loss_are_suspicious() {
        assert_eq!(suspicions(10, 1, 0.5, Some(20)), Vec::<String>::new());
        assert_eq!(
            suspicions(9, 1, 0.5, Some(20)),
            ["9 entities after 20: 55 % lost, more than max_shrink = 0.5"]
        );
        assert_eq!(suspicions(0, 1, 1.0, None), ["0 entities, fewer than min_entities = 1"]);
        assert_eq!(suspicions(5, 0, 0.0, Some(5)), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn a_name_reads_back(seconds in 0i64..4_000_000_000, job in 1i64..) {
            let name = Name::new(DateTime::from_timestamp(seconds, 0).unwrap(), job);
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }
    }
}
