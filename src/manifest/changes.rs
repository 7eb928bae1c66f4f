//! How much differs between two snapshots.

use serde::Serialize;

/// How many entities there are of each kind, in a comparison of two documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ChangeCounts {
    /// Only in the new document.
    pub added: u64,
    /// Only in the old document.
    pub removed: u64,
    /// In both, with different values.
    pub changed: u64,
    /// In both, with the same values.
    pub unchanged: u64,
}

impl ChangeCounts {
    /// Those that are not in both with the same values.
    pub fn differing(&self) -> u64 {
        self.added.saturating_add(self.removed).saturating_add(self.changed)
    }

    /// How many entities the old document has.
    pub fn before(&self) -> u64 {
        self.removed.saturating_add(self.changed).saturating_add(self.unchanged)
    }

    /// How many entities the new document has.
    pub fn after(&self) -> u64 {
        self.added.saturating_add(self.changed).saturating_add(self.unchanged)
    }
}
