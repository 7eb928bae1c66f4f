//! What changed between two snapshots, as much of it as the status page shows.

use super::{CompareError, Comparer};
use crate::archive::Snapshot;
use crate::dataset::{self, Point};
use crate::diff::{Change, Diff, DiffError};
use crate::manifest::ChangeCounts;
use crate::printable::one_line;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The most entities that are listed, the first by key.
const LISTED: usize = 100;
/// The most entities whose places are drawn, the first by key.
const PLACES: usize = 3000;
/// The most columns of an entity, and of each kind of changed columns, that are shown.
const COLUMNS: usize = 10;
/// The longest text of a column, and of a key, in characters.
const LONGEST: usize = 400;
/// How long the comparison may take.
const LIMIT: Duration = Duration::from_mins(2);

/// What happened to an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Only the new snapshot has it.
    Added,
    /// Only the old snapshot has it.
    Removed,
    /// Its values differ.
    Changed,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [ChangeKind; 3] = [ChangeKind::Added, ChangeKind::Removed, ChangeKind::Changed];

    /// The word that is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Changed => "changed",
        }
    }

    fn of(change: &Change<'_>) -> ChangeKind {
        match change {
            Change::Added(_) => ChangeKind::Added,
            Change::Removed(_) => ChangeKind::Removed,
            Change::Changed { .. } => ChangeKind::Changed,
        }
    }
}

/// One entity that differs. All texts are one line, and not too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownChange {
    /// What happened to it.
    pub kind: ChangeKind,
    /// Its primary key, after its type's name where a snapshot has several; `None` if it has none.
    pub key: Option<String>,
    /// The first columns that changed, each with its old and its new value.
    pub columns: Vec<String>,
    /// How many columns more changed.
    pub more_columns: usize,
}

/// Where an entity is that differs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShownPlace {
    /// What happened to it.
    pub kind: ChangeKind,
    /// Where it is, or was if it was removed.
    pub at: Point,
}

/// Some columns, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownColumns {
    /// The names of the first.
    pub names: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

impl ShownColumns {
    fn of(names: &[String]) -> ShownColumns {
        ShownColumns {
            names: names.iter().take(COLUMNS).map(|name| shortened(name)).collect(),
            more: names.len().saturating_sub(COLUMNS),
        }
    }
}

/// What changed from one snapshot to another.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownChanges {
    /// How many entities there are of each kind.
    pub counts: ChangeCounts,
    /// Columns only in the new snapshot, only in the old one, and of another type in each.
    pub columns: [ShownColumns; 3],
    /// The first entities that differ, by key.
    pub listed: Vec<ShownChange>,
    /// The places of the first entities that differ, of those that have one.
    pub places: Vec<ShownPlace>,
    /// How many entities were looked at for their places.
    pub placed: u64,
}

impl Comparer {
    /// What changed from one snapshot to another. Takes two minutes at most.
    ///
    /// # Errors
    /// See [`CompareError`].
    pub async fn show(
        &self,
        old: Snapshot,
        new: Snapshot,
        stop: &CancellationToken,
    ) -> Result<ShownChanges, CompareError> {
        self.compare((old, new), PLACES as u64, LIMIT, stop, |diff| shown(&diff)).await
    }
}

fn shown(diff: &Diff) -> Result<ShownChanges, DiffError> {
    let columns = diff.columns();
    let mut shown = ShownChanges {
        counts: diff.counts(),
        columns: [&columns.added, &columns.removed, &columns.retyped]
            .map(|names| ShownColumns::of(names)),
        listed: Vec::new(),
        places: Vec::new(),
        placed: 0,
    };
    let mut changes = diff.changes()?;
    while let Some(change) = changes.next_change()? {
        let kind = ChangeKind::of(&change);
        shown.placed += 1;
        if let Some(at) = dataset::place(&change.entity()) {
            shown.places.push(ShownPlace { kind, at });
        }
        if shown.listed.len() < LISTED {
            shown.listed.push(entry(diff, &change, kind));
        }
    }
    Ok(shown)
}

fn entry(diff: &Diff, change: &Change<'_>, kind: ChangeKind) -> ShownChange {
    let columns = diff.differences(change);
    let key = change.entity().key().map(|key| match diff.entity_type(change) {
        Some(name) => shortened(&format!("{name}/{key}")),
        None => shortened(key),
    });
    ShownChange {
        kind,
        key,
        columns: columns.iter().take(COLUMNS).map(|it| shortened(&it.to_string())).collect(),
        more_columns: columns.len().saturating_sub(COLUMNS),
    }
}

/// The beginning of a text, as one line without active characters.
fn shortened(text: &str) -> String {
    let begin: String = text.chars().take(LONGEST).collect();
    let more = if begin.len() < text.len() { "…" } else { "" };
    format!("{}{more}", one_line(&begin))
}
