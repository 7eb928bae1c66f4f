//! Names for sources that are not configured yet.

use crate::archive::is_source;
use std::collections::{BTreeMap, BTreeSet};

/// The longest that a name may be, in bytes.
const LONGEST: usize = 64;
/// How much of it is left free for a number that makes it unique.
const RESERVED: usize = 8;

/// A name for a source: the data source's own, as far as it may be a folder.
#[must_use]
pub fn name_for(theirs: &str) -> String {
    let plain = theirs.to_lowercase();
    let plain: String =
        plain.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let plain = plain.trim_matches('-');
    let name = plain.get(..LONGEST - RESERVED).unwrap_or(plain).trim_end_matches('-');
    if is_source(name) { name.to_owned() } else { "source".to_owned() }
}

/// Gives out names, each once.
#[derive(Debug, Default)]
pub struct Names {
    taken: BTreeSet<String>,
    /// The number that each name got last.
    numbers: BTreeMap<String, u32>,
}

impl Names {
    /// Names beside these.
    pub fn beside(taken: impl IntoIterator<Item = String>) -> Names {
        Names { taken: taken.into_iter().collect(), numbers: BTreeMap::new() }
    }

    /// A name for this data source that nothing has yet.
    pub fn give(&mut self, theirs: &str) -> String {
        let plain = name_for(theirs);
        let number = self.numbers.entry(plain.clone()).or_insert(0);
        loop {
            *number += 1;
            let name = match *number {
                1 => plain.clone(),
                number => format!("{plain}-{number}"),
            };
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}
