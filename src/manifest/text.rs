//! The text of a manifest's file: JSON that ends with its own checksum.

use super::{LARGEST_MANIFEST, Manifest, ManifestFormat};
use crate::digest::sha256;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

impl Manifest {
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
        let sum = sha256(&text);
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
        ManifestFormat::try_from(members.format)?;
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
        "it is of format {0}, and this version knows format {newest}: use the version that wrote it",
        newest = ManifestFormat::NEWEST
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
    let length = tail(&"0".repeat(64)).len();
    let Some((body, end)) = text.len().checked_sub(length).and_then(|at| text.split_at_checked(at))
    else {
        return Ok(false);
    };
    if end == tail(&sha256(body)).as_bytes() {
        return Ok(true);
    }
    // an older manifest ends with other members
    if end.starts_with(b"\"checksum\"") { Err(ManifestError::Checksum) } else { Ok(false) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Origin, Role};

    fn one() -> Manifest {
        let text = include_bytes!("../../tests/corpus/manifest/one.json");
        Manifest::read(text).unwrap().manifest
    }

    #[test]
    fn the_checksum_is_of_all_bytes_before_the_quote_of_its_name() {
        let text = one().render().unwrap();
        let at = text.windows(10).position(|part| part == b"\"checksum\"").unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["checksum"], sha256(&text[..at]));
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
            let sum = sha256(&text);
            text.extend_from_slice(tail(&sum).as_bytes());
            assert!(Manifest::read(&text).is_err(), "without {member}");
        }
    }

    #[test]
    fn only_a_manifest_that_is_not_an_ordinary_one_s_says_its_role() {
        for (role, member) in [
            (Role::Ordinary, None),
            (Role::Safety, Some("safety")),
            (Role::Version, Some("other_version")),
        ] {
            let manifest = Manifest { role, ..one() };
            let text = manifest.render().unwrap();
            assert_eq!(Manifest::read(&text).unwrap().manifest, manifest);
            let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            for name in ["safety", "other_version"] {
                let wanted = (member == Some(name)).then_some(&serde_json::Value::Bool(true));
                assert_eq!(value.get(name), wanted, "{role:?}");
            }
        }
        // A source that asks for a version has ordinary snapshots of it.
        let origin = Origin { version: Some("5bb0".into()), ..one().origin };
        let text = Manifest { origin, ..one() }.render().unwrap();
        assert_eq!(Manifest::read(&text).unwrap().manifest.role, Role::Ordinary);
    }

    #[test]
    fn unknown_members_are_skipped_and_not_kept_in_memory() {
        let older = include_str!("../../tests/corpus/manifest/one.json");
        let whole = older.trim_end().strip_suffix('}').unwrap().trim_end();
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        // A reader that makes values of them refuses both: the number is too large, and the tree
        // too deep.
        for value in ["1e999", deep.as_str()] {
            let text = format!("{whole}, \"later\": {value}\n}}\n");
            assert_eq!(Manifest::read(text.as_bytes()).unwrap().manifest, one());
        }
    }

    #[test]
    fn an_older_manifest_and_a_damaged_one_are_distinguished() {
        let older = include_str!("../../tests/corpus/manifest/one.json");
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
            (
                "an id twice",
                older.replace(
                    "\"access_id\": \"x\",",
                    "\"access_id\": \"x\", \"access_id\": \"x\",",
                ),
            ),
            ("no data_source", older.replace("\"data_source\": \"S\",", "")),
            ("another type of id", older.replace("\"access_id\": \"x\"", "\"access_id\": 1")),
            ("another type", older.replace("\"job\": 42", "\"job\": \"42\"")),
            ("an unproven thing that is none", without(",\"unproven\": [\"x\"]")),
        ] {
            assert_ne!(text, older, "{what}");
            assert!(Manifest::read(text.as_bytes()).is_err(), "{what}");
        }
    }
}
