//! The changes themselves, in the order of the keys.

use super::plan::Plan;
use super::read::{Extract, ExtractDocument, digest_of, has_key, identity_of};
use super::row::{ColumnChange, EntityView, Row, differences};
use super::sort::Records;
use super::{Diff, DiffError};
use crate::dataset::{DocumentLimits, Entity, Reader};
use std::cmp::Ordering;

/// What happened to an entity.
#[derive(Debug, Clone, Copy)]
pub enum Change<'c> {
    /// Only the new document has it.
    Added(Entity<'c>),
    /// Only the old document has it.
    Removed(Entity<'c>),
    /// Both have it, with different values.
    Changed {
        /// As it was.
        old: Entity<'c>,
        /// As it is.
        new: Entity<'c>,
    },
}

impl<'c> Change<'c> {
    /// The entity, as it is or, if it was removed, as it was.
    pub fn entity(&self) -> Entity<'c> {
        match self {
            Change::Added(entity) | Change::Removed(entity) => *entity,
            Change::Changed { new, .. } => *new,
        }
    }

    /// What happened, in one word.
    pub fn word(&self) -> &'static str {
        match self {
            Change::Added(_) => "added",
            Change::Removed(_) => "removed",
            Change::Changed { .. } => "changed",
        }
    }
}

/// Reads the changes one by one, in the order of the bytes of the keys.
#[derive(Debug)]
pub struct Changes<'d> {
    plan: &'d Plan,
    old: Side<'d>,
    new: Side<'d>,
    scratch: Vec<u8>,
}

impl<'d> Changes<'d> {
    pub(super) fn of(diff: &'d Diff) -> Result<Changes<'d>, DiffError> {
        Ok(Changes {
            plan: &diff.plan,
            old: Side::of(&diff.old)?,
            new: Side::of(&diff.new)?,
            scratch: Vec::new(),
        })
    }

    /// The next change.
    ///
    /// # Errors
    /// When the temporary file cannot be read, or a document is not the same any more.
    pub fn next_change(&mut self) -> Result<Option<Change<'_>>, DiffError> {
        let order = match (self.old.identity(), self.new.identity()) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) if !has_key(old) && !has_key(new) => Ordering::Less,
            (Some(old), Some(new)) => old.cmp(new),
        };
        let scratch = &mut self.scratch;
        Ok(Some(match order {
            Ordering::Less => Change::Removed(self.old.take(&self.plan.old, scratch)?),
            Ordering::Greater => Change::Added(self.new.take(&self.plan.new, scratch)?),
            Ordering::Equal => Change::Changed {
                old: self.old.take(&self.plan.old, scratch)?,
                new: self.new.take(&self.plan.new, scratch)?,
            },
        }))
    }
}

/// The entities of one document that differ.
#[derive(Debug)]
struct Side<'d> {
    /// `None` where there are none.
    reader: Option<Reader<ExtractDocument<'d>>>,
    /// The same entities' identities and digests.
    records: Records<'d>,
}

impl<'d> Side<'d> {
    fn of(extract: &'d Extract) -> Result<Side<'d>, DiffError> {
        let records = extract.entities.records().map_err(DiffError::Spill)?;
        let limits = DocumentLimits { max_bytes: u64::MAX, ..DocumentLimits::default() };
        let reader = match extract.entities.is_empty() {
            true => None,
            false => {
                let document = extract.document().map_err(DiffError::Spill)?;
                Some(Reader::open(document, &limits).map_err(DiffError::inconsistent)?)
            }
        };
        Ok(Side { reader, records })
    }

    fn identity(&self) -> Option<&[u8]> {
        self.records.current().map(|record| identity_of(record.key))
    }

    /// Reads the entity, which must be the one that was found before.
    fn take(
        &mut self,
        plan: &super::plan::SidePlan,
        scratch: &mut Vec<u8>,
    ) -> Result<Entity<'_>, DiffError> {
        let expected = self.records.current().map(|record| digest_of(record.key));
        self.records.advance().map_err(DiffError::Spill)?;
        let entity = match &mut self.reader {
            Some(reader) => reader.next_entity().map_err(DiffError::inconsistent)?,
            None => None,
        };
        match entity {
            Some(entity) if Some(Row::of(plan, &entity).digest(&entity, scratch)) == expected => {
                Ok(entity)
            }
            _ => Err(DiffError::inconsistent("an entity is not where it was")),
        }
    }
}

impl Diff {
    /// The columns of a change whose values differ; none for an entity that was added or removed.
    pub fn differences<'c>(&self, change: &Change<'c>) -> Vec<ColumnChange<'c>> {
        match change {
            Change::Changed { old, new } => differences(&self.plan, old, new),
            Change::Added(_) | Change::Removed(_) => Vec::new(),
        }
    }

    /// All values of the change's entity.
    pub fn view<'c>(&self, change: &Change<'c>) -> EntityView<'c, '_> {
        let side = match change {
            Change::Removed(_) => &self.plan.old,
            Change::Added(_) | Change::Changed { .. } => &self.plan.new,
        };
        EntityView::new(change.entity(), side)
    }

    /// Whether the entity type is part of what identifies an entity.
    pub fn has_types(&self) -> bool {
        self.plan.has_types
    }

    /// The name of the change's entity type, where it is part of what identifies an entity.
    pub fn entity_type<'c>(&self, change: &Change<'c>) -> Option<&'c str> {
        self.plan.has_types.then(|| change.entity().name())
    }
}
