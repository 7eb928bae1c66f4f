//! Finds the entities that differ: those of one index whose digest the other does not have.

use super::read::{has_key, identity_of};
use super::sort::{Records, Sorted, Sorter, Space};
use super::{Counts, DiffError};
use std::cmp::Ordering;

/// What differs.
#[derive(Debug)]
pub(super) struct Differing {
    pub(super) counts: Counts,
    /// The entities of the old document: place, with identity and digest.
    pub(super) old: Sorted,
    /// Those of the new one.
    pub(super) new: Sorted,
}

/// Compares two indexes. Entities with the same key and values are a pair each, however many there
/// are; what is left under one key is a change for each pair, and added or removed beyond that. At
/// most `limit` changes are collected, the first by key; all are counted.
pub(super) fn merge(
    old: &Sorted,
    new: &Sorted,
    limit: u64,
    space: &Space,
) -> Result<Differing, DiffError> {
    let spill = DiffError::Spill;
    let (mut old, mut new) = (old.records().map_err(spill)?, new.records().map_err(spill)?);
    let mut merge = Merge {
        counts: Counts::default(),
        limit,
        identity: Vec::new(),
        old: Leftover::new(space),
        new: Leftover::new(space),
    };
    loop {
        let order = match (old.current(), new.current()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.key.cmp(new.key),
        };
        match order {
            Ordering::Equal => merge.counts.unchanged += 1,
            Ordering::Less => merge.take(&old, Side::Old)?,
            Ordering::Greater => merge.take(&new, Side::New)?,
        }
        if order.is_le() {
            old.advance().map_err(spill)?;
        }
        if order.is_ge() {
            new.advance().map_err(spill)?;
        }
    }
    merge.end_identity();
    let Merge { counts, old, new, .. } = merge;
    Ok(Differing {
        counts,
        old: old.sorter.finish().map_err(spill)?,
        new: new.sorter.finish().map_err(spill)?,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Old,
    New,
}

/// Entities of one document that the other does not have.
#[derive(Debug)]
struct Leftover {
    sorter: Sorter,
    /// Those with the current identity.
    count: u64,
}

impl Leftover {
    fn new(space: &Space) -> Leftover {
        Leftover { sorter: Sorter::new(space), count: 0 }
    }
}

#[derive(Debug)]
struct Merge {
    counts: Counts,
    limit: u64,
    /// The identity of the leftovers that are counted.
    identity: Vec<u8>,
    old: Leftover,
    new: Leftover,
}

impl Merge {
    fn take(&mut self, records: &Records<'_>, side: Side) -> Result<(), DiffError> {
        let Some(record) = records.current() else { return Ok(()) };
        let identity = identity_of(record.key);
        // Entities without a key are never a pair, so that each is one change.
        if identity != self.identity || !has_key(identity) {
            self.end_identity();
            self.identity.clear();
            self.identity.extend_from_slice(identity);
        }
        let is_wanted = self.counts.differing() < self.limit;
        let leftover = match side {
            Side::Old => &mut self.old,
            Side::New => &mut self.new,
        };
        leftover.count += 1;
        if is_wanted {
            leftover.sorter.push(record.value, record.key).map_err(DiffError::Spill)?;
        }
        Ok(())
    }

    /// Counts the leftovers of one identity.
    fn end_identity(&mut self) {
        let (old, new) = (std::mem::take(&mut self.old.count), std::mem::take(&mut self.new.count));
        let pairs = if has_key(&self.identity) { old.min(new) } else { 0 };
        self.counts.changed += pairs;
        self.counts.removed += old - pairs;
        self.counts.added += new - pairs;
    }
}
