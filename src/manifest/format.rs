//! The formats of manifests, by number.

use super::ManifestError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A format of manifests that this program writes and reads. What depends on it is matched without
/// a default, so that a new one is decided everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum ManifestFormat {
    /// Of a data source: its content is XML with an inline schema.
    One,
}

impl ManifestFormat {
    /// The one that new manifests have.
    pub const NEWEST: ManifestFormat = ManifestFormat::One;
}

impl From<ManifestFormat> for u32 {
    fn from(format: ManifestFormat) -> u32 {
        match format {
            ManifestFormat::One => 1,
        }
    }
}

impl TryFrom<u32> for ManifestFormat {
    type Error = ManifestError;

    fn try_from(number: u32) -> Result<ManifestFormat, ManifestError> {
        match number {
            1 => Ok(ManifestFormat::One),
            other => Err(ManifestError::Format(other)),
        }
    }
}

impl fmt::Display for ManifestFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        u32::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_numbers_are_formats() {
        for number in 0..10 {
            match ManifestFormat::try_from(number) {
                Ok(format) => assert_eq!(
                    (u32::from(format), format.to_string()),
                    (number, number.to_string())
                ),
                Err(error) => {
                    assert!(number != 1, "{error}");
                    let wanted = format!(
                        "it is of format {number}, and this version knows format 1: use the \
                         version that wrote it"
                    );
                    assert_eq!(error.to_string(), wanted);
                }
            }
        }
    }
}
