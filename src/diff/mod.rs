//! Comparison of two documents by primary key and by value.
//!
//! Two readings. The first makes a digest of every entity (`read`) and finds the digests that
//! only one document has (`merge`); the second reads only those entities again. What one document
//! has more than memory allows is sorted in a temporary file (`sort`). Nothing depends on how a
//! document is written: the order of entities and columns, CDATA, references and white space
//! between elements do not matter.
//!
//! Entities are the same when their primary keys are the same text, and their types' names where a
//! document declares several. Values are compared by their column's type, see [`Cell`]. Where a
//! document repeats a key, equal entities are matched first, then what is left under that key.
//! Entities without a key are matched by their values alone: they are added or removed, never
//! changed.

mod archived;
mod changes;
mod life;
mod merge;
mod plan;
mod read;
mod row;
mod sort;
mod value;

#[cfg(test)]
mod tests;

pub use crate::manifest::ChangeCounts as Counts;
pub use archived::{Archived, Unfiled, Until};
pub use changes::{Change, Changes};
pub use life::{Event, EventKind, Night, Wanted, follow};
pub use plan::ColumnChanges;
pub use row::{ColumnChange, EntityView};
pub use value::Cell;

use crate::dataset::{DocumentLimits, Reader};
use plan::Plan;
use read::{Extract, Index, extract, index};
use sort::Space;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

/// Bytes that each of the four lists of a comparison may hold in memory.
const MEMORY: usize = 20 << 20;
/// The same beside other work of a daemon.
const LITTLE_MEMORY: usize = 4 << 20;

/// The number of the rules of comparison, for those who keep counts: others count otherwise.
pub const RULES: u32 = 1;

/// A document that can be read twice.
pub trait Document: Sync {
    /// What it is read from.
    type Content<'d>: BufRead + Send
    where
        Self: 'd;

    /// What to call it in messages.
    fn name(&self) -> String;

    /// Its limits.
    fn limits(&self) -> DocumentLimits;

    /// Opens it for the first reading.
    ///
    /// # Errors
    /// When it cannot be opened; [`io::ErrorKind::Unsupported`] when that is no damage.
    fn open(&self) -> io::Result<Self::Content<'_>>;

    /// Reads what the first reading has left, and checks that it is the whole document.
    ///
    /// # Errors
    /// A sentence about what differs.
    fn finish(&self, content: Self::Content<'_>) -> Result<(), String>;

    /// Opens it for the second reading, which compares what it reads with the first.
    ///
    /// # Errors
    /// As of [`Document::open`].
    fn open_again(&self) -> io::Result<Box<dyn BufRead + Send + '_>>;
}

/// Which entities are compared, by their primary keys.
#[derive(Debug, Clone)]
pub enum Keys {
    /// All.
    All,
    /// Those with one of these keys.
    Only(Arc<BTreeSet<String>>),
    /// All others, those without a key included.
    Except(Arc<BTreeSet<String>>),
}

impl Keys {
    /// Whether an entity of this key is compared.
    fn has(&self, key: Option<&str>) -> bool {
        match self {
            Keys::All => true,
            Keys::Only(keys) => key.is_some_and(|key| keys.contains(key)),
            Keys::Except(keys) => key.is_none_or(|key| !keys.contains(key)),
        }
    }
}

/// How two documents are compared.
#[derive(Debug, Clone)]
pub struct Options {
    /// Columns that are left out.
    pub ignore: BTreeSet<String>,
    /// Entities that are compared.
    pub keys: Keys,
    /// How many changes are kept, the first by key; all are counted. `None` keeps all.
    pub limit: Option<u64>,
    /// The folder of the temporary file.
    pub folder: PathBuf,
    /// Bytes that each of four lists may hold in memory before it is written there.
    pub memory: usize,
}

impl Options {
    /// All columns and all changes; temporary files in this folder.
    pub fn new(folder: PathBuf) -> Options {
        Options { ignore: BTreeSet::new(), keys: Keys::All, limit: None, folder, memory: MEMORY }
    }

    /// The same, with at most `limit` changes, and in less memory: a daemon has other work.
    pub fn beside_work(folder: PathBuf, limit: u64) -> Options {
        Options { limit: Some(limit), memory: LITTLE_MEMORY, ..Options::new(folder) }
    }

    fn space(&self) -> Space {
        Space { memory: self.memory, folder: self.folder.clone() }
    }
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A document is not what it should be.
    #[error("{document} is damaged: {what}; `nightjar verify` says more")]
    Damaged {
        /// Its name.
        document: String,
        /// What is not right.
        what: String,
    },
    /// This version cannot read a document.
    #[error("{document} cannot be read: {what}")]
    Unsupported {
        /// Its name.
        document: String,
        /// Why not.
        what: String,
    },
    /// Which of several entity types is meant is not known.
    #[error("{document} has several entity types ({types}): choose one with --entity")]
    SeveralTypes {
        /// The document's name.
        document: String,
        /// The names of its types.
        types: String,
    },
    /// The documents cannot be compared by key.
    #[error("the primary keys differ: {} before, {} now", shown_key(.old), shown_key(.new))]
    DifferentKeys {
        /// The primary key's column in the old document.
        old: Option<String>,
        /// In the new one.
        new: Option<String>,
    },
    /// The second reading found something else than the first.
    #[error("a document changed while it was read: {0}")]
    Inconsistent(String),
    /// The temporary file cannot be used.
    #[error("the temporary file, for what is more than memory allows, cannot be used: {0}")]
    Spill(#[source] io::Error),
}

fn shown_key(key: &Option<String>) -> &str {
    key.as_deref().unwrap_or("none")
}

impl DiffError {
    fn damaged(document: &impl Document, what: impl Display) -> DiffError {
        DiffError::Damaged { document: document.name(), what: what.to_string() }
    }

    /// A document that cannot be opened.
    fn closed(document: &impl Document, error: io::Error) -> DiffError {
        match error.kind() {
            io::ErrorKind::Unsupported => {
                DiffError::Unsupported { document: document.name(), what: error.to_string() }
            }
            _ => DiffError::damaged(document, error),
        }
    }

    fn inconsistent(what: impl Display) -> DiffError {
        DiffError::Inconsistent(what.to_string())
    }
}

/// The result of a comparison.
#[derive(Debug)]
pub struct Diff {
    plan: Plan,
    counts: Counts,
    old: Extract,
    new: Extract,
}

impl Diff {
    /// How many entities there are of each kind.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The columns that are not in both documents with the same type.
    pub fn columns(&self) -> &ColumnChanges {
        &self.plan.columns
    }

    /// Whether anything differs.
    pub fn differs(&self) -> bool {
        self.counts.differing() > 0 || !self.plan.columns.is_empty()
    }

    /// The changes that were kept, from the first on. They can be read several times.
    ///
    /// # Errors
    /// See [`Changes::next_change`].
    pub fn changes(&self) -> Result<Changes<'_>, DiffError> {
        Changes::of(self)
    }
}

/// Compares two documents.
///
/// # Errors
/// See [`DiffError`].
pub fn compare(
    old: &impl Document,
    new: &impl Document,
    options: &Options,
) -> Result<Diff, DiffError> {
    let space = options.space();
    let (plan, old_index, new_index) = first_reading(old, new, options, &space)?;
    let limit = options.limit.unwrap_or(u64::MAX);
    let Index { frame: old_frame, records: old_records } = old_index;
    let Index { frame: new_frame, records: new_records } = new_index;
    let differing = merge::merge(&old_records, &new_records, limit, &space)?;
    drop((old_records, new_records));
    let (old, new) = both(
        || extract(old, &old_frame, &differing.old, &space),
        || extract(new, &new_frame, &differing.new, &space),
    );
    Ok(Diff { plan, counts: differing.counts, old: old?, new: new? })
}

/// Reads both documents to their ends, at the same time.
fn first_reading(
    old: &impl Document,
    new: &impl Document,
    options: &Options,
    space: &Space,
) -> Result<(Plan, Index, Index), DiffError> {
    let mut old_content = old.open().map_err(|error| DiffError::closed(old, error))?;
    let mut new_content = new.open().map_err(|error| DiffError::closed(new, error))?;
    let old_reader = Reader::open(&mut old_content, &old.limits());
    let old_reader = old_reader.map_err(|error| DiffError::damaged(old, error))?;
    let new_reader = Reader::open(&mut new_content, &new.limits());
    let new_reader = new_reader.map_err(|error| DiffError::damaged(new, error))?;
    if let Err(error) = plan::check_keys(old_reader.schema(), new_reader.schema()) {
        drop((old_reader, new_reader));
        // A damaged document has no keys to speak of.
        old.finish(old_content).map_err(|error| DiffError::damaged(old, error))?;
        new.finish(new_content).map_err(|error| DiffError::damaged(new, error))?;
        return Err(error);
    }
    let plan = Plan::of(old_reader.schema(), new_reader.schema(), &options.ignore);
    let (old_index, new_index) = both(
        || index(old_reader, &plan.old, &options.keys, space, old),
        || index(new_reader, &plan.new, &options.keys, space, new),
    );
    let (old_index, new_index) = (old_index?, new_index?);
    old.finish(old_content).map_err(|error| DiffError::damaged(old, error))?;
    new.finish(new_content).map_err(|error| DiffError::damaged(new, error))?;
    Ok((plan, old_index, new_index))
}

/// Runs both at the same time.
fn both<T: Send, U>(one: impl FnOnce() -> T + Send, other: impl FnOnce() -> U) -> (T, U) {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        match one.join() {
            Ok(one) => (one, other),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
