//! Formats of results: how a result is validated, what is counted in it, and how it is stored.
//!
//! A service says which [`Format`] the results of a target have. The archive validates with it
//! while a result arrives, and again whenever it verifies the snapshot.

mod dataset;
mod input;

pub use dataset::DATASET;
pub use input::Input;

use crate::codec::Codec;
use crate::dataset::{Column, Unproven, Unreadable, Warning};
use std::fmt;

/// Every format. A new one is a module here and a line in this list.
pub static FORMATS: [&dyn Format; 1] = [&DATASET];

/// Why a result is not valid.
pub type Invalid = Box<dyn std::error::Error + Send + Sync>;

/// One format of results.
pub trait Format: fmt::Debug + Send + Sync {
    /// How the names of its files end, without a dot and without what the codec adds: `xml`.
    fn ending(&self) -> &'static str;

    /// How its files are stored.
    fn codec(&self) -> Codec;

    /// Reads a result once, from its first byte to its end, in memory that does not grow with the
    /// result, and checks that it is complete and readable. It may stop at the first error; what is
    /// left of the input is then discarded. It must not do anything else: all versions of this
    /// program must find the same in the same bytes.
    ///
    /// # Errors
    /// The result is not valid or has more than `max_bytes` bytes, or `input` failed.
    fn validate(&self, input: Input<'_>, max_bytes: u64) -> Result<Summary, Invalid>;
}

impl dyn Format {
    /// What follows a snapshot's name in the name of its data file, if that is stored with this
    /// codec: `.xml.zst`. A format's codec may change, and what an older version stored stays.
    pub fn suffix_with(&self, codec: Codec) -> String {
        format!(".{}{}", self.ending(), codec.suffix())
    }
}

/// A data file's name without its suffix, and what the suffix says; `None` for any other file.
pub fn split_suffix(file: &str) -> Option<(&str, &'static dyn Format, Codec)> {
    let all =
        FORMATS.iter().flat_map(|format| Codec::ALL.into_iter().map(move |codec| (*format, codec)));
    all.into_iter().find_map(|(format, codec)| {
        Some((file.strip_suffix(&format.suffix_with(codec))?, format, codec))
    })
}

/// What validation found and counted. Manifests record it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The entities of all types.
    pub entities: u64,
    /// The name of the entities' type; empty where the format has none.
    pub entity_type: String,
    /// The name of the primary key's column; empty where there is none.
    pub primary_key: String,
    /// The columns in the schema's order.
    pub columns: Vec<Column>,
    /// The columns with values that do not match their type, in the schema's order.
    pub unreadable: Vec<Unreadable>,
    /// What could not be proven, at most one of each kind: the first.
    pub warnings: Vec<Warning>,
}

impl Summary {
    /// The kinds of what could not be proven, in order.
    pub fn unproven(&self) -> Vec<Unproven> {
        self.warnings.iter().map(|warning| warning.unproven).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_says_the_format_and_the_codec() {
        for format in FORMATS {
            for codec in Codec::ALL {
                let file = format!("20261125T020001Z-42{}", format.suffix_with(codec));
                let (stem, found, with) = split_suffix(&file).unwrap();
                assert_eq!(
                    (stem, found.ending(), with),
                    ("20261125T020001Z-42", format.ending(), codec)
                );
            }
        }
        assert!(split_suffix("20261125T020001Z-42.json").is_none());
    }
}
