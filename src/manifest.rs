//! The manifest of a snapshot: `docs/archive-format.md` as types.

use crate::dataset::{Column, Unproven, Unreadable};
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The version of the archive's format that this program writes and reads.
pub const FORMAT: u32 = 1;
/// Bytes that a manifest may have: more than any that the limits of a document allow.
pub const LARGEST_MANIFEST: usize = 16 << 20;
/// How the data file's name ends.
pub const DATA_SUFFIX: &str = ".xml.zst";
/// How the manifest's name ends.
pub const MANIFEST_SUFFIX: &str = ".json";
/// How the name of a hold ends, which exempts its snapshot from retention.
pub const HOLD_SUFFIX: &str = ".hold";
/// The highest job number that a snapshot can have: 2^53 - 1, which every reader of JSON keeps
/// exactly. A file name with a higher one is not a snapshot's.
pub const HIGHEST_JOB: i64 = (1 << 53) - 1;
/// The link to the newest manifest.
pub const LATEST: &str = "latest.json";
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// One snapshot: its content, its origin and its checksums. File names are relative to the
/// manifest's directory.
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
    /// The requested version; `null` for the published one.
    #[serde(default)]
    pub version: Option<String>,
    /// The job that made it.
    pub job: i64,
    /// The remote job's identifier, where the service gave one.
    #[serde(deserialize_with = "promised")]
    pub remote_id: Option<String>,
    /// The scheduled time that it covers.
    #[serde(deserialize_with = "promised")]
    pub scheduled_for: Option<DateTime<Utc>>,
    /// When the remote job was submitted: the instant in the file names, to the millisecond.
    pub created_at: DateTime<Utc>,
    /// When validation was complete.
    pub completed_at: DateTime<Utc>,
    /// How many entities it holds, counted.
    pub entities: u64,
    /// How many the service announced; `null` if it announced none or 0.
    #[serde(deserialize_with = "promised")]
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
    #[serde(default)]
    pub notes: Vec<String>,
    /// An earlier manifest with identical content, if the data file is a link to that one's.
    #[serde(deserialize_with = "promised")]
    pub same_content_as: Option<String>,
    /// The program that wrote it.
    pub generator: String,
    /// The columns with values that do not match their type; empty when there are none.
    #[serde(default)]
    pub unreadable: Vec<Unreadable>,
    /// What could not be proven of the document; empty when all was.
    #[serde(default)]
    pub unproven: Vec<Unproven>,
}

/// A member that may be `null`, but not be missing.
fn promised<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer)
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

    /// The text of its file, which ends with its checksum.
    ///
    /// # Errors
    /// When it cannot be serialized, which does not occur.
    pub fn render(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        // the checksum becomes the last member
        if text.ends_with(b"\n}") {
            text.truncate(text.len() - 2);
        }
        text.extend_from_slice(b",\n  ");
        let sum = hex(&Sha256::digest(&text));
        text.extend_from_slice(tail(&sum).as_bytes());
        Ok(text)
    }

    /// Reads the text of a manifest's file.
    ///
    /// # Errors
    /// The manifest is damaged, or this version cannot read it.
    pub fn read(text: &[u8]) -> Result<ReadManifest, ManifestError> {
        if text.len() > LARGEST_MANIFEST {
            return Err(ManifestError::TooLarge);
        }
        let has_checksum = check_sum(text)?;
        let members: Members = serde_json::from_slice(text)?;
        if members.format != FORMAT {
            return Err(ManifestError::Format(members.format));
        }
        let is_newer = members.checksum.is_some()
            || members.unreadable.is_some()
            || members.unproven.is_some();
        if is_newer && !has_checksum {
            return Err(ManifestError::Checksum);
        }
        let all = [
            ("version", members.version),
            ("notes", members.notes),
            ("unreadable", members.unreadable),
            ("unproven", members.unproven),
        ];
        // Those of older versions may lack them, and have no checksum.
        if has_checksum && let Some((missing, _)) = all.into_iter().find(|(_, it)| it.is_none()) {
            return Err(ManifestError::Incomplete(missing));
        }
        Ok(ReadManifest { manifest: serde_json::from_slice(text)?, has_checksum })
    }
}

/// A manifest as its file was read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadManifest {
    /// The manifest.
    pub manifest: Manifest,
    /// Whether a checksum protects it. Manifests of older versions have none.
    pub has_checksum: bool,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More than [`LARGEST_MANIFEST`] bytes.
    #[error("it has more than {LARGEST_MANIFEST} bytes")]
    TooLarge,
    /// The file is not what was written.
    #[error("it was changed after it was written: its checksum is missing or does not fit")]
    Checksum,
    /// A checksum that fits, without this member, which comes with it.
    #[error("it has a checksum, but no `{0}`")]
    Incomplete(&'static str),
    /// A format that this version does not know.
    #[error(
        "it is of format {0}, and this version knows format {FORMAT}: use the version that wrote it"
    )]
    Format(u32),
    /// Not JSON, or members are missing, duplicate or of another type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

/// The members that decide how a manifest is read.
#[derive(Deserialize)]
struct Members {
    format: u32,
    #[serde(default, deserialize_with = "present")]
    version: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    notes: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    unreadable: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    unproven: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    checksum: Option<IgnoredAny>,
}

/// A member that is there, whatever its value is.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IgnoredAny>, D::Error> {
    IgnoredAny::deserialize(deserializer).map(Some)
}

/// The end of a manifest's file, from the quote that opens its last member's name.
fn tail(sum: &str) -> String {
    format!("\"checksum\": \"{sum}\"\n}}\n")
}

/// Whether the text ends with a checksum as [`Manifest::render`] writes it; an error if the
/// checksum does not match the text before it.
fn check_sum(text: &[u8]) -> Result<bool, ManifestError> {
    let length = tail(&hex(&[0; 32])).len();
    let Some((body, end)) = text.len().checked_sub(length).and_then(|at| text.split_at_checked(at))
    else {
        return Ok(false);
    };
    if end == tail(&hex(&Sha256::digest(body))).as_bytes() {
        return Ok(true);
    }
    // an older manifest ends with other members
    if end.starts_with(b"\"checksum\"") { Err(ManifestError::Checksum) } else { Ok(false) }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The name that a snapshot's two files share: the second its remote job was submitted, and the
/// number of its job. Of two names the greater one is newer: job numbers only ever rise, while a
/// clock may have been wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    // First: it decides which is newer.
    job: i64,
    created_at: DateTime<Utc>,
}

impl Name {
    /// The name of the snapshot that job `job` makes from a remote job submitted at `created_at`.
    pub fn new(created_at: DateTime<Utc>, job: i64) -> Name {
        let whole = DateTime::from_timestamp(created_at.timestamp(), 0).unwrap_or(created_at);
        Name { created_at: whole, job }
    }

    /// Whether it reads back from its own text. One that does not (a job number below 1 or above
    /// [`HIGHEST_JOB`], an instant outside the years of four digits) would file a snapshot that
    /// nothing finds again.
    pub fn is_valid(&self) -> bool {
        self.to_string().parse() == Ok(*self)
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
        let is_own = name.to_string() == text && (1..=HIGHEST_JOB).contains(&name.job);
        if is_own { Ok(name) } else { Err(()) }
    }
}

/// Why unreadable values make a snapshot suspicious: the columns that had none in the previous
/// snapshot, suspicious or not. A column that already had some is not reported again.
pub fn newly_unreadable(found: &[Unreadable], before: Option<&[Unreadable]>) -> Option<String> {
    /// How many columns are named.
    const NAMED: usize = 5;
    let known = |one: &&Unreadable| {
        before.unwrap_or_default().iter().any(|earlier| earlier.column == one.column)
    };
    let fresh: Vec<&Unreadable> = found.iter().filter(|one| !known(one)).collect();
    if fresh.is_empty() {
        return None;
    }
    let named: Vec<String> = fresh.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match fresh.len().saturating_sub(NAMED) {
        0 => String::new(),
        1 => ", and 1 column more".to_owned(),
        more => format!(", and {more} columns more"),
    };
    Some(format!(
        "values that do not read as their column's type, where the snapshot before had none: {}{more}",
        named.join(", ")
    ))
}

/// Why a validated snapshot is suspicious. `baseline` is the number of entities in the last
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

    fn one() -> Manifest {
        let text = include_bytes!("../tests/corpus/manifest/one.json");
        Manifest::read(text).unwrap().manifest
    }

    #[test]
    fn the_checksum_is_of_all_bytes_before_the_quote_of_its_name() {
        let text = one().render().unwrap();
        let at = text.windows(10).position(|part| part == b"\"checksum\"").unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["checksum"], hex(&Sha256::digest(&text[..at])));
        assert_eq!(value.as_object().unwrap().len(), 24);
        let read = Manifest::read(&text).unwrap();
        assert_eq!(read, ReadManifest { manifest: one(), has_checksum: true });
        assert!(text.ends_with(b"\"\n}\n"));
    }

    #[test]
    fn every_flipped_bit_of_a_manifest_is_found() {
        let mut text = one().render().unwrap();
        for at in 0..text.len() {
            for bit in 0..8 {
                text[at] ^= 1 << bit;
                let read = Manifest::read(&text);
                assert!(
                    read.is_err(),
                    "bit {bit} of byte {at}: {}",
                    String::from_utf8_lossy(&text)
                );
                text[at] ^= 1 << bit;
            }
        }
        for length in 0..text.len() {
            assert!(Manifest::read(&text[..length]).is_err(), "{length} bytes");
        }
        for more in [" ", "\n", "{}"] {
            assert!(Manifest::read(&[&text, more.as_bytes()].concat()).is_err(), "{more:?}");
        }
    }

    #[test]
    fn a_manifest_with_a_checksum_lacks_no_member() {
        let whole: serde_json::Value = serde_json::to_value(one()).unwrap();
        let members: Vec<String> = whole.as_object().unwrap().keys().cloned().collect();
        assert_eq!(members.len(), 23);
        for member in members {
            let mut value = whole.clone();
            value.as_object_mut().unwrap().remove(&member);
            let mut text = serde_json::to_vec(&value).unwrap();
            text.pop();
            text.push(b',');
            let sum = hex(&Sha256::digest(&text));
            text.extend_from_slice(tail(&sum).as_bytes());
            assert!(Manifest::read(&text).is_err(), "without {member}");
        }
    }

    #[test]
    fn an_older_manifest_and_a_damaged_one_are_distinguished() {
        let older = include_str!("../tests/corpus/manifest/one.json");
        assert!(!Manifest::read(older.as_bytes()).unwrap().has_checksum);
        let newer = String::from_utf8(one().render().unwrap()).unwrap();
        let sum = newer.rfind("\"checksum\"").unwrap();
        let without = |more: &str| {
            older.trim_end().strip_suffix('}').unwrap().trim_end().to_owned() + more + "\n}\n"
        };
        assert!(Manifest::read(without("").as_bytes()).is_ok());
        for (what, text) in [
            ("no checksum", newer[..sum].trim_end().trim_end_matches(',').to_owned() + "\n}\n"),
            ("unreadable alone", without(",\"unreadable\": []")),
            ("unproven alone", without(",\"unproven\": []")),
            ("a checksum alone", without(",\"checksum\": \"\"")),
            ("a checksum that is null", without(",\"checksum\": null")),
            ("no format", older.replace("\"format\": 1,", "")),
            ("format 0", older.replace("\"format\": 1", "\"format\": 0")),
            ("format 2", older.replace("\"format\": 1", "\"format\": 2")),
            ("no remote_id", older.replace("\"remote_id\": \"5bb0\",", "")),
            ("no scheduled_for", older.replace("\"scheduled_for\"", "\"other\"")),
            ("no expected_entities", older.replace("\"expected_entities\": 3,", "")),
            ("no same_content_as", older.replace("\"same_content_as\": null,", "")),
            ("a member twice", older.replace("\"job\": 42,", "\"job\": 42, \"job\": 42,")),
            ("another type", older.replace("\"job\": 42", "\"job\": \"42\"")),
            ("an unproven thing that is none", without(",\"unproven\": [\"x\"]")),
        ] {
            assert_ne!(text, older, "{what}");
            assert!(Manifest::read(text.as_bytes()).is_err(), "{what}");
        }
    }

    #[test]
    fn columns_that_were_unreadable_before_give_no_warning() {
        let column = |name: &str, values| Unreadable {
            column: name.to_owned(),
            values,
            first_key: Some("7".to_owned()),
        };
        assert_eq!(newly_unreadable(&[], None), None);
        let before = [column("Size", 900)];
        assert_eq!(newly_unreadable(&[column("Size", 1)], Some(&before)), None);
        let all = [column("Open", 1), column("Size", 2)];
        let reason = newly_unreadable(&all, Some(&before)).unwrap();
        assert!(reason.ends_with(": 1 value of column Open (first: key \"7\")"), "{reason}");
        let reason = newly_unreadable(&all, None).unwrap();
        assert!(reason.contains("Open") && reason.contains("2 values of column Size"), "{reason}");
        let many: Vec<_> = (0..4096).map(|at| column(&format!("C{at}"), 1)).collect();
        let reason = newly_unreadable(&many, None).unwrap();
        assert!(reason.len() < 400 && reason.ends_with("and 4091 columns more"), "{reason}");
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
            "20261125T020001Z-9007199254740992",
            "20261125T020001Z-9223372036854775807",
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

    #[test]
    fn of_two_names_the_one_of_the_later_job_is_newer() {
        let at = |text: &str| text.parse::<Name>().unwrap();
        assert!(at("20251125T020001Z-43") > at("20261125T020001Z-42"));
    }

    proptest! {
        #[test]
        fn a_name_reads_back(seconds in 0i64..4_000_000_000, job in 1..=HIGHEST_JOB) {
            let name = Name::new(DateTime::from_timestamp(seconds, 0).unwrap(), job);
            prop_assert_eq!(name.to_string().parse(), Ok(name));
            prop_assert!(name.is_valid());
        }

        #[test]
        fn a_name_is_valid_when_its_file_is_found_again(millis: i64, job: i64) {
            let Some(at) = DateTime::from_timestamp_millis(millis) else { return Ok(()) };
            let name = Name::new(at, job);
            prop_assert_eq!(name.is_valid(), name.to_string().parse::<Name>() == Ok(name));
        }
    }
}
