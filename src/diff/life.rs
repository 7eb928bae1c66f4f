//! The life of one entity over many documents of one source.

use super::plan::{Plan, SidePlan};
use super::read::end_tag;
use super::row::{ColumnChange, Digest, EntityView, Row, differences};
use super::value::Cell;
use super::{DiffError, Document};
use crate::dataset::{DocumentLimits, Entity, Reader, Schema};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, BufRead, Read};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

/// Documents that are read at the same time, at most.
const MOST_AT_ONCE: usize = 4;

/// A document of the source, at its place in the order of all.
#[derive(Debug)]
pub struct Night<D> {
    /// The document.
    pub document: D,
    /// A digest of its content. Documents with the same one are read once.
    pub content: String,
    /// Whether each of its entities is known to have a primary key of its own: it is parsed up to
    /// the entity then, otherwise to its end.
    pub keys_are_proven: bool,
}

/// Which entity is followed.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its primary key's text. Where a document repeats it, all its entities are followed: equal
    /// ones are matched first, as in a comparison of two documents.
    pub key: String,
    /// The name of its type; needed where a document declares several.
    pub entity_type: Option<String>,
}

/// What happened to the entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// It is in this document, and not in the one before.
    Added,
    /// It has other values than in the document before.
    Changed,
    /// It is not in this document, and was in the one before.
    Removed,
}

/// What is found on the way.
#[derive(Debug)]
pub enum Event<'e, D> {
    /// The entity changed from the document before to this one.
    Change {
        /// The document.
        night: &'e Night<D>,
        /// What happened.
        kind: EventKind,
        /// The values that differ; all of them where it was added or removed, nulls aside.
        columns: &'e [ColumnChange<'e>],
    },
    /// A document cannot be used. Those beside it are compared with each other.
    Damaged(DiffError),
}

/// Follows an entity through documents that are given newest first, and reports its events newest
/// first. Each document is proven to its end.
///
/// # Errors
/// What `report` returns, and [`DiffError::SeveralTypes`].
pub fn follow<D: Document, E: From<DiffError>>(
    nights: &[Night<D>],
    wanted: &Wanted,
    mut report: impl FnMut(Event<'_, D>) -> Result<(), E>,
) -> Result<(), E> {
    let last_use: HashMap<&str, usize> =
        nights.iter().enumerate().map(|(at, night)| (night.content.as_str(), at)).collect();
    let mut read: HashMap<&str, Option<Arc<Sighting>>> = HashMap::new();
    let mut newer: Option<(&Night<D>, Arc<Sighting>)> = None;
    for (at, night) in nights.iter().enumerate() {
        let content = night.content.as_str();
        if !read.contains_key(content) {
            for (content, sighting) in
                read_some(nights.get(at..).unwrap_or_default(), &read, wanted)
            {
                let sighting = match sighting {
                    Ok(sighting) => Some(Arc::new(sighting)),
                    Err(error @ DiffError::SeveralTypes { .. }) => return Err(error.into()),
                    Err(error) => {
                        report(Event::Damaged(error))?;
                        None
                    }
                };
                read.insert(content, sighting);
            }
        }
        let sighting = match last_use.get(content) {
            Some(last) if *last == at => read.remove(content).flatten(),
            _ => read.get(content).cloned().flatten(),
        };
        let Some(sighting) = sighting else { continue };
        if let Some((night, newer)) = &newer {
            compare(Some(&sighting), newer, |kind, columns| {
                report(Event::Change { night, kind, columns })
            })?;
        }
        newer = Some((night, sighting));
    }
    match &newer {
        Some((night, oldest)) => {
            compare(None, oldest, |kind, columns| report(Event::Change { night, kind, columns }))
        }
        None => Ok(()),
    }
}

/// Reads the next documents whose content has not been read, several at the same time.
fn read_some<'n, D: Document>(
    nights: &'n [Night<D>],
    read: &HashMap<&str, Option<Arc<Sighting>>>,
    wanted: &Wanted,
) -> Vec<(&'n str, Result<Sighting, DiffError>)> {
    let most = thread::available_parallelism().map_or(1, usize::from).min(MOST_AT_ONCE);
    let mut contents = BTreeSet::new();
    let unread = nights.iter().filter(|night| {
        let content = night.content.as_str();
        !read.contains_key(content) && contents.insert(content)
    });
    let next: Vec<&Night<D>> = unread.take(most).collect();
    thread::scope(|scope| {
        let threads: Vec<_> = next
            .iter()
            .map(|night| (*night, scope.spawn(|| Sighting::find(night, wanted))))
            .collect();
        let ended = threads.into_iter().map(|(night, thread)| match thread.join() {
            Ok(sighting) => (night.content.as_str(), sighting),
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ended.collect()
    })
}

/// The entity in one document: that document without the others.
#[derive(Debug, PartialEq, Eq)]
struct Sighting {
    /// The document up to the end of its schema.
    head: Vec<u8>,
    /// The entity; none where it is not there, several where the document repeats its key.
    entities: Vec<Vec<u8>>,
    tail: Vec<u8>,
}

impl Sighting {
    fn find<D: Document>(night: &Night<D>, wanted: &Wanted) -> Result<Sighting, DiffError> {
        let document = &night.document;
        let mut content = document.open().map_err(|error| DiffError::closed(document, error))?;
        let found = match search(night, &mut content, wanted) {
            Err(error @ DiffError::Damaged { .. }) => return Err(error),
            found => found,
        };
        document.finish(content).map_err(|error| DiffError::damaged(document, error))?;
        found
    }

    /// The document of one entity alone.
    fn open<'s>(&'s self, entity: &'s [u8]) -> Result<Reader<impl BufRead + 's>, DiffError> {
        let document = self.head.chain(entity).chain(&self.tail[..]);
        let limits = DocumentLimits { max_bytes: u64::MAX, ..DocumentLimits::default() };
        Reader::open(document, &limits).map_err(DiffError::inconsistent)
    }
}

/// Reads up to the wanted entity, or to the end.
fn search<D: Document>(
    night: &Night<D>,
    content: &mut (impl BufRead + Send),
    wanted: &Wanted,
) -> Result<Sighting, DiffError> {
    let document = &night.document;
    let damaged = |error| DiffError::damaged(document, error);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let tee = Tee { inner: content, seen: Rc::clone(&seen) };
    let mut reader = Reader::open(tee, &document.limits()).map_err(damaged)?;
    check_types(document, reader.schema(), wanted)?;
    let mut passed = Passed { seen: &seen, base: 0 };
    let head = passed.take(reader.position());
    let root = reader.root().to_owned();
    let mut entities = Vec::new();
    while let Some(entity) = reader.next_entity().map_err(damaged)? {
        let is_type = wanted.entity_type.as_deref().is_none_or(|name| entity.name() == name);
        let is_it = is_type && entity.key() == Some(wanted.key.as_str());
        if is_it {
            entities.push(passed.take(reader.position()));
            if night.keys_are_proven {
                break;
            }
            continue;
        }
        passed.forget(reader.position());
    }
    Ok(Sighting { head, entities, tail: end_tag(&root) })
}

/// What a [`Tee`] has kept, from a place in the document on.
struct Passed<'s> {
    seen: &'s RefCell<Vec<u8>>,
    /// Bytes of the document before it.
    base: u64,
}

impl Passed<'_> {
    /// Drops what is before this place.
    fn forget(&mut self, position: u64) {
        let length = self.length(position);
        let mut seen = self.seen.borrow_mut();
        seen.drain(..length);
        self.base = position;
    }

    /// The same, and returns it.
    fn take(&mut self, position: u64) -> Vec<u8> {
        let length = self.length(position);
        let taken = self.seen.borrow().get(..length).unwrap_or_default().to_vec();
        self.forget(position);
        taken
    }

    fn length(&self, position: u64) -> usize {
        let length = usize::try_from(position - self.base).unwrap_or(usize::MAX);
        length.min(self.seen.borrow().len())
    }
}

/// An error where a document has several entity types and none is chosen.
fn check_types(
    document: &impl Document,
    schema: &Schema,
    wanted: &Wanted,
) -> Result<(), DiffError> {
    if wanted.entity_type.is_some() || schema.types().len() < 2 {
        return Ok(());
    }
    let types: Vec<_> = schema.types().iter().map(|it| it.name()).collect();
    Err(DiffError::SeveralTypes { document: document.name(), types: types.join(", ") })
}

/// Reports what happened to the entity from one document to the next, if anything did.
fn compare<E: From<DiffError>>(
    old: Option<&Sighting>,
    new: &Sighting,
    mut report: impl FnMut(EventKind, &[ColumnChange<'_>]) -> Result<(), E>,
) -> Result<(), E> {
    let Some(old) = old else {
        for entity in &new.entities {
            alone(&mut new.open(entity)?, EventKind::Added, &mut report)?;
        }
        return Ok(());
    };
    if old == new {
        return Ok(());
    }
    let Unequal { plan, old: old_entities, new: new_entities } = Unequal::of(old, new)?;
    let pairs = old_entities.len().min(new_entities.len());
    for (old_entity, new_entity) in old_entities.iter().zip(&new_entities) {
        let (mut old_reader, mut new_reader) = (old.open(old_entity)?, new.open(new_entity)?);
        let columns = differences(&plan, &only(&mut old_reader)?, &only(&mut new_reader)?);
        if !columns.is_empty() {
            report(EventKind::Changed, &columns)?;
        }
    }
    for entity in old_entities.iter().skip(pairs) {
        alone(&mut old.open(entity)?, EventKind::Removed, &mut report)?;
    }
    for entity in new_entities.iter().skip(pairs) {
        alone(&mut new.open(entity)?, EventKind::Added, &mut report)?;
    }
    Ok(())
}

/// The entities of two sightings that have no equal one in the other, in the order of their
/// digests.
struct Unequal<'s> {
    plan: Plan,
    old: Vec<&'s [u8]>,
    new: Vec<&'s [u8]>,
}

impl<'s> Unequal<'s> {
    fn of(old: &'s Sighting, new: &'s Sighting) -> Result<Unequal<'s>, DiffError> {
        let (old_head, new_head) = (old.open(&[])?, new.open(&[])?);
        let plan = Plan::of(old_head.schema(), new_head.schema(), &BTreeSet::new());
        let (earlier, later) = (old.digests(&plan.old)?, new.digests(&plan.new)?);
        let (mut old, mut new) = (Vec::new(), Vec::new());
        let mut later = later.into_iter().peekable();
        for (digest, entity) in earlier {
            while let Some((_, smaller)) = later.next_if(|(other, _)| *other < digest) {
                new.push(smaller);
            }
            if later.next_if(|(other, _)| *other == digest).is_none() {
                old.push(entity);
            }
        }
        new.extend(later.map(|(_, entity)| entity));
        Ok(Unequal { plan, old, new })
    }
}

impl Sighting {
    /// The entities with their digests, in the order of these.
    fn digests(&self, side: &SidePlan) -> Result<Vec<(Digest, &[u8])>, DiffError> {
        let mut digests = Vec::new();
        let mut scratch = Vec::new();
        for entity in &self.entities {
            let mut reader = self.open(entity)?;
            let read = only(&mut reader)?;
            let digest = Row::of(side, &read).digest(&read, &mut scratch);
            digests.push((digest, entity.as_slice()));
        }
        digests.sort_unstable_by_key(|(digest, _)| *digest);
        Ok(digests)
    }
}

/// Reports all values of an entity that was added or removed.
fn alone<E: From<DiffError>>(
    reader: &mut Reader<impl BufRead>,
    kind: EventKind,
    report: impl FnOnce(EventKind, &[ColumnChange<'_>]) -> Result<(), E>,
) -> Result<(), E> {
    let plan = Plan::of(reader.schema(), reader.schema(), &BTreeSet::new());
    let entity = only(reader)?;
    let view = EntityView::new(entity, &plan.new);
    let values = view.columns().filter(|(_, cell)| !cell.is_null());
    let columns: Vec<_> = values
        .map(|(name, cell)| match kind {
            EventKind::Removed => ColumnChange { name, old: cell, new: Cell::NULL },
            _ => ColumnChange { name, old: Cell::NULL, new: cell },
        })
        .collect();
    report(kind, &columns)
}

/// The only entity of a document.
fn only(reader: &mut Reader<impl BufRead>) -> Result<Entity<'_>, DiffError> {
    let entity = reader.next_entity().map_err(DiffError::inconsistent)?;
    entity.ok_or_else(|| DiffError::inconsistent("an entity is gone"))
}

/// Keeps what is read through it.
#[derive(Debug)]
struct Tee<R> {
    inner: R,
    seen: Rc<RefCell<Vec<u8>>>,
}

impl<R: BufRead> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Tee<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // What is consumed has been read already: this gives it once more, and cannot fail.
        if let Ok(bytes) = self.inner.fill_buf() {
            self.seen.borrow_mut().extend_from_slice(bytes.get(..amount).unwrap_or_default());
        }
        self.inner.consume(amount);
    }
}
