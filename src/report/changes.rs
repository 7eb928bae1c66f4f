//! How much each snapshot changed against the one before it. The counts are kept in the database,
//! by content: only the archive says which two contents belong together.

use super::{ReportError, Reporter, SnapshotFacts};
use crate::archive::Snapshot;
use crate::diff;
use crate::manifest::{ChangeCounts, Manifest, Name};
use crate::store::{ContentPair, StoredComparison};
use serde::Serialize;
use std::collections::BTreeMap;

/// How many entities a snapshot added, removed and changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SnapshotChanges {
    /// Those that the snapshot before does not have.
    pub added: u64,
    /// Those that only the snapshot before has.
    pub removed: u64,
    /// Those whose values differ.
    pub changed: u64,
}

impl From<ChangeCounts> for SnapshotChanges {
    fn from(counts: ChangeCounts) -> SnapshotChanges {
        let ChangeCounts { added, removed, changed, .. } = counts;
        SnapshotChanges { added, removed, changed }
    }
}

/// What of a manifest decides what its snapshot is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comparable {
    /// The SHA-256 of its content.
    content: String,
    version: Option<String>,
    /// How many entities it has; `None` where its manifest does not count all of them.
    entities: Option<u64>,
}

impl From<&Manifest> for Comparable {
    fn from(manifest: &Manifest) -> Comparable {
        Comparable {
            content: manifest.content.sha256.clone(),
            version: manifest.origin.version.clone(),
            entities: manifest.unproven.is_empty().then_some(manifest.entities),
        }
    }
}

/// Two snapshots that follow each other, with different content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The one before.
    pub old: Name,
    /// The one after it.
    pub new: Name,
    /// What is compared.
    pub contents: ContentPair,
    /// How many entities each has, as far as the manifests say.
    entities: [Option<u64>; 2],
}

impl Pair {
    /// Whether a comparison of the two can have this result. A stored one is never trusted blindly.
    fn allows(&self, counts: &ChangeCounts) -> bool {
        let [old, new] = self.entities;
        old.is_none_or(|count| count == counts.before())
            && new.is_none_or(|count| count == counts.after())
    }

    /// The stored result, if it is one of these contents.
    fn result(&self, stored: &StoredComparison) -> Option<Option<ChangeCounts>> {
        let is_allowed = stored.counts.is_none_or(|counts| self.allows(&counts));
        (stored.pair == self.contents && is_allowed).then_some(stored.counts)
    }
}

/// What a snapshot is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Before {
    /// There is none before it.
    Nothing,
    /// The one before it has the same content.
    Same,
    /// The one before it has other content.
    Other(Pair),
}

/// What each snapshot is compared with: the one before it of the same version. They are given
/// newest first.
fn before(snapshots: &[(Name, Comparable)]) -> Vec<(Name, Before)> {
    let against = |at: usize, new: &Comparable| {
        let older = snapshots.get(at + 1..).unwrap_or_default();
        older.iter().find(|(_, old)| old.version == new.version)
    };
    let each = |(at, (name, new)): (usize, &(Name, Comparable))| {
        let before = match against(at, new) {
            None => Before::Nothing,
            Some((_, old)) if old.content == new.content => Before::Same,
            Some((old_name, old)) => Before::Other(Pair {
                old: *old_name,
                new: *name,
                contents: ContentPair { old: old.content.clone(), new: new.content.clone() },
                entities: [old.entities, new.entities],
            }),
        };
        (*name, before)
    };
    snapshots.iter().enumerate().map(each).collect()
}

impl Reporter {
    /// What each of the newest `most` of these snapshots is compared with, newest first.
    fn compared(&self, source: &str, names: &[Name], most: usize) -> Vec<(Name, Before)> {
        let facts = names.iter().filter_map(|name| {
            let SnapshotFacts { comparable, role, .. } = self.facts(source, *name)?;
            // Safety backups and other versions are no nights of the source.
            role.is_ordinary().then_some((*name, comparable))
        });
        // One more: the oldest of them is compared too.
        let facts: Vec<_> = facts.take(most.saturating_add(1)).collect();
        let mut compared = before(&facts);
        compared.truncate(most);
        compared
    }

    /// How much the newest of these snapshots changed; `None` while that is not known, and where
    /// there is none before it.
    pub(super) async fn newest_changes(
        &self,
        source: &str,
        names: &[Name],
    ) -> Result<Option<SnapshotChanges>, ReportError> {
        let Some((_, before)) = self.compared(source, names, 1).pop() else { return Ok(None) };
        let pair = match before {
            Before::Nothing => return Ok(None),
            Before::Same => return Ok(Some(SnapshotChanges::default())),
            Before::Other(pair) => pair,
        };
        let Some(store) = &self.store else { return Ok(None) };
        let stored = store.comparison(source, &pair.contents, diff::RULES).await?;
        Ok(stored.and_then(|stored| pair.result(&stored)).flatten().map(SnapshotChanges::from))
    }

    /// How much each of the newest `most` snapshots of a source changed, as far as that is known.
    ///
    /// # Errors
    /// The archive or the database cannot be read.
    pub async fn changes(
        &self,
        source: &str,
        most: usize,
    ) -> Result<BTreeMap<Name, SnapshotChanges>, ReportError> {
        let names = self.archive.names(source).map_err(|error| self.unreadable(error))?;
        let stored = self.stored(source).await?;
        let known = self.compared(source, &names, most).into_iter().filter_map(|(name, before)| {
            let changes = match before {
                Before::Nothing => return None,
                Before::Same => SnapshotChanges::default(),
                Before::Other(pair) => pair.result(stored.get(&pair.contents)?)??.into(),
            };
            Some((name, changes))
        });
        Ok(known.collect())
    }

    /// The pairs among the newest `most` snapshots of a source that were not compared yet, newest
    /// first.
    ///
    /// # Errors
    /// The archive or the database cannot be read.
    pub async fn uncompared(&self, source: &str, most: usize) -> Result<Vec<Pair>, ReportError> {
        let names = self.archive.names(source).map_err(|error| self.unreadable(error))?;
        let stored = self.stored(source).await?;
        let unknown = self.compared(source, &names, most).into_iter().filter_map(|(_, before)| {
            let Before::Other(pair) = before else { return None };
            let is_known =
                stored.get(&pair.contents).is_some_and(|stored| pair.result(stored).is_some());
            (!is_known).then_some(pair)
        });
        Ok(unknown.collect())
    }

    /// What a snapshot is compared with: the newest earlier one with other content.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub fn earlier(&self, new: &Snapshot) -> Result<Option<Snapshot>, ReportError> {
        self.archive.earlier(new).map_err(|error| self.unreadable(error))
    }

    /// The contents of a source's snapshots, each as its SHA-256.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub fn contents(&self, source: &str) -> Result<Vec<String>, ReportError> {
        let names = self.archive.names(source).map_err(|error| self.unreadable(error))?;
        let content = |name: &Name| Some(self.facts(source, *name)?.comparable.content);
        Ok(names.iter().filter_map(content).collect())
    }

    /// How much changed from one snapshot to another, if that is known.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn counts_between(
        &self,
        old: &Manifest,
        new: &Manifest,
    ) -> Result<Option<ChangeCounts>, ReportError> {
        let Some(store) = &self.store else { return Ok(None) };
        let (one, other) = (Comparable::from(old), Comparable::from(new));
        let contents = ContentPair { old: one.content, new: other.content };
        let stored = store.comparison(&new.source, &contents, diff::RULES).await?;
        let entities = [one.entities, other.entities];
        let pair = Pair { old: old.name(), new: new.name(), contents, entities };
        Ok(stored.and_then(|stored| pair.result(&stored)).flatten())
    }

    /// The stored comparisons of a source.
    async fn stored(
        &self,
        source: &str,
    ) -> Result<BTreeMap<ContentPair, StoredComparison>, ReportError> {
        let Some(store) = &self.store else { return Ok(BTreeMap::new()) };
        let stored = store.comparisons(source, diff::RULES).await?;
        Ok(stored.into_iter().map(|it| (it.pair.clone(), it)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    /// Snapshots of these contents, oldest first; a content's first letter is its version.
    fn snapshots(contents: &[&str]) -> Vec<(Name, Comparable)> {
        let mut all: Vec<_> = (1..)
            .zip(contents)
            .map(|(job, content)| {
                let version = content.strip_prefix('v').map(|rest| rest[..1].to_owned());
                let entities = Some(10);
                (name(job), Comparable { content: (*content).into(), version, entities })
            })
            .collect();
        all.reverse();
        all
    }

    fn name(job: i64) -> Name {
        Name::new(DateTime::UNIX_EPOCH, job)
    }

    #[test]
    fn a_snapshot_is_compared_with_the_one_before_it_of_the_same_version() {
        let compared = before(&snapshots(&["a", "b", "v1a", "b", "c", "v2a", "v1b"]));
        let seen: Vec<_> = compared
            .iter()
            .map(|(new, before)| match before {
                Before::Nothing => (new.job(), "nothing", 0),
                Before::Same => (new.job(), "same", 0),
                Before::Other(pair) => {
                    assert_eq!(pair.new, *new);
                    (new.job(), "other", pair.old.job())
                }
            })
            .collect();
        assert_eq!(
            seen,
            [
                (7, "other", 3),
                (6, "nothing", 0),
                (5, "other", 4),
                (4, "same", 0),
                (3, "nothing", 0),
                (2, "other", 1),
                (1, "nothing", 0),
            ]
        );
    }

    #[test]
    fn a_result_that_the_manifests_contradict_does_not_count() {
        let all = snapshots(&["a", "b"]);
        let Before::Other(pair) = before(&all)[0].1.clone() else { panic!() };
        let stored = |old: &str, added, removed, unchanged| StoredComparison {
            pair: ContentPair { old: old.into(), new: "b".into() },
            counts: Some(ChangeCounts { added, removed, changed: 1, unchanged }),
        };
        let good = stored("a", 2, 2, 7);
        assert_eq!(pair.result(&good), Some(good.counts));
        assert_eq!(pair.result(&stored("c", 2, 2, 7)), None);
        assert_eq!(pair.result(&stored("a", 1, 2, 7)), None);
        assert_eq!(pair.result(&stored("a", 2, 1, 7)), None);
        assert_eq!(pair.result(&StoredComparison { counts: None, ..good }), Some(None));
        let unproven = Pair { entities: [None, None], ..pair };
        assert!(unproven.result(&stored("a", 1, 2, 7)).is_some());
    }
}
