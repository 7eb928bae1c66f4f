//! Warnings about a document that is valid XML.

use super::error::{Location, excerpt};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a key that are kept to locate an unreadable value (50 characters are documented).
pub(super) const FIRST_KEY: usize = 256;

/// A column with values that do not match its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// The column's name; of another entity type than the first, `Type/Column`.
    pub column: String,
    /// How many of its values do not match.
    pub values: u64,
    /// The primary key of the first entity with such a value, cut to 256 bytes; `null` when the
    /// entity has none.
    pub first_key: Option<String>,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = if self.values == 1 { "value" } else { "values" };
        write!(f, "{} {values} of column {}", self.values, excerpt(&self.column))?;
        match &self.first_key {
            Some(key) => write!(f, " (first: key \"{}\")", excerpt(key)),
            None => f.write_str(" (first: an entity without a key)"),
        }
    }
}

/// What validation could not establish about a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unproven {
    /// That every entity has a primary key, and no two share one.
    Keys,
    /// That the document holds what its schema declares, each column at most once in an entity.
    Schema,
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys => "keys",
            Self::Schema => "schema",
        })
    }
}

/// Why something is [`Unproven`]: the first contrary finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What is not proven.
    pub unproven: Unproven,
    /// What was found: one clause without a full stop, which quotes at most 60 characters of the
    /// document, control characters escaped.
    pub what: String,
    /// Where.
    pub location: Location,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = match self.unproven {
            Unproven::Keys => "bad primary key",
            Unproven::Schema => "not as the schema says",
        };
        write!(f, "{subject}: {} ({})", self.what, self.location)
    }
}

/// The first warning of each kind. Later ones cost nothing.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    keys: Option<Warning>,
    schema: Option<Warning>,
}

impl Warnings {
    /// Notes the first warning of its kind.
    #[cold]
    pub(super) fn raise(
        &mut self,
        unproven: Unproven,
        location: Location,
        what: impl FnOnce() -> String,
    ) {
        let first = match unproven {
            Unproven::Keys => &mut self.keys,
            Unproven::Schema => &mut self.schema,
        };
        if first.is_none() {
            *first = Some(Warning { unproven, what: what(), location });
        }
    }

    pub(super) fn into_vec(self) -> Vec<Warning> {
        self.keys.into_iter().chain(self.schema).collect()
    }
}

/// The beginning of a key, as far as it is kept.
#[inline]
pub(super) fn first_bytes(key: &str) -> &str {
    if key.len() <= FIRST_KEY {
        return key;
    }
    key.get(..key.floor_char_boundary(FIRST_KEY)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_is_cut_between_two_characters() {
        assert_eq!(first_bytes("short"), "short");
        let long = "é".repeat(1000);
        assert_eq!(first_bytes(&long).len(), FIRST_KEY);
        assert_eq!(first_bytes(&format!("x{long}")).len(), FIRST_KEY - 1);
    }

    #[test]
    fn a_displayed_key_fits_on_one_line() {
        let first_key = Some("a\n\u{1b}[2J".to_owned());
        let one = Unreadable { column: "Size".into(), values: 1, first_key };
        assert_eq!(one.to_string(), "1 value of column Size (first: key \"a\\n\\u{1b}[2J\")");
    }
}
