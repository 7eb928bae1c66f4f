//! The two readings of a document: first a digest of every entity, then the entities that differ.

use super::plan::SidePlan;
use super::row::{DIGEST, Digest, Row, type_number};
use super::sort::{Sorted, Sorter, Space};
use super::{DiffError, Document, Keys};
use crate::dataset::{Entity, Reader, ValidationError};
use std::io::{self, BufRead, Read};

/// Bytes that a document may have up to the end of its schema: comments before it count.
const LARGEST_HEAD: u64 = 64 << 20;
/// Begins the identity of an entity with a primary key: these are the first.
const WITH_KEY: u8 = 0;
/// Begins the identity of an entity without one.
const WITHOUT_KEY: u8 = 1;

/// What identifies an entity, as bytes whose order is that of the keys' bytes, then of the types'
/// names. No key has a NUL: XML does not allow it.
fn identity(side: &SidePlan, entity: &Entity<'_>, out: &mut Vec<u8>) {
    match entity.key() {
        Some(key) => {
            out.push(WITH_KEY);
            out.extend_from_slice(key.as_bytes());
        }
        None => out.push(WITHOUT_KEY),
    }
    out.push(0);
    out.extend_from_slice(&type_number(side, entity).to_be_bytes());
}

/// The identity at the beginning of a record's key, which ends with the digest.
pub(super) fn identity_of(key: &[u8]) -> &[u8] {
    key.get(..key.len().saturating_sub(DIGEST)).unwrap_or_default()
}

/// Whether this is the identity of an entity with a primary key. Others have nothing in common but
/// their values.
pub(super) fn has_key(identity: &[u8]) -> bool {
    identity.first() == Some(&WITH_KEY)
}

/// Where an entity is in its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) begin: u64,
    pub(super) end: u64,
}

impl Place {
    /// As bytes that sort in the order of the document.
    pub(super) fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.begin) << 64 | u128::from(self.end)).to_be_bytes()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Place {
        let both = u128::from_be_bytes(bytes.try_into().unwrap_or_default());
        Place { begin: (both >> 64) as u64, end: both as u64 }
    }
}

/// What the first reading of a document found.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) frame: Frame,
    /// For each entity: identity and digest, with its place.
    pub(super) records: Sorted,
}

/// What is around the entities of a document.
#[derive(Debug)]
pub(super) struct Frame {
    /// The root element's name, as written.
    root: String,
    /// Bytes up to the end of the schema.
    head: u64,
}

/// Reads all entities, and keeps those of these keys.
pub(super) fn index<R: BufRead>(
    mut reader: Reader<R>,
    side: &SidePlan,
    keys: &Keys,
    space: &Space,
    document: &impl Document,
) -> Result<Index, DiffError> {
    let damaged = |error: ValidationError| DiffError::damaged(document, error);
    let head = reader.position();
    let mut sorter = Sorter::new(space);
    let (mut key, mut scratch) = (Vec::new(), Vec::new());
    while let Some(entity) = reader.next_entity().map_err(damaged)? {
        if !keys.has(entity.key()) {
            continue;
        }
        key.clear();
        identity(side, &entity, &mut key);
        key.extend_from_slice(&Row::of(side, &entity).digest(&entity, &mut scratch));
        let begin = entity.offset();
        let place = Place { begin, end: reader.position() };
        sorter.push(&key, &place.to_bytes()).map_err(DiffError::Spill)?;
    }
    let records = sorter.finish().map_err(DiffError::Spill)?;
    Ok(Index { frame: Frame { root: reader.root().to_owned(), head }, records })
}

/// Entities of a document in the order of their identities, as XML.
#[derive(Debug)]
pub(super) struct Extract {
    /// The document up to the end of its schema.
    head: Vec<u8>,
    /// The end tag of its root element.
    tail: Vec<u8>,
    /// Identity and digest of each entity, with its XML.
    pub(super) entities: Sorted,
}

/// Reads the entities at these places: place, with identity and digest.
pub(super) fn extract(
    document: &impl Document,
    frame: &Frame,
    wanted: &Sorted,
    space: &Space,
) -> Result<Extract, DiffError> {
    let mut sorter = Sorter::new(space);
    let mut head = Vec::new();
    if !wanted.is_empty() {
        if frame.head > LARGEST_HEAD {
            let what = format!("more than {LARGEST_HEAD} bytes before its first entity");
            return Err(DiffError::damaged(document, what));
        }
        let damaged = |error: io::Error| DiffError::damaged(document, error);
        let mut content =
            document.open_again().map_err(|error| DiffError::closed(document, error))?;
        take(&mut content, frame.head, &mut head).map_err(damaged)?;
        let mut at = frame.head;
        let mut entity = Vec::new();
        let mut records = wanted.records().map_err(DiffError::Spill)?;
        while let Some(record) = records.current() {
            let place = Place::from_bytes(record.key);
            let gap = place.begin.saturating_sub(at);
            io::copy(&mut (&mut content).take(gap), &mut io::sink()).map_err(damaged)?;
            entity.clear();
            take(&mut content, place.end - place.begin, &mut entity).map_err(damaged)?;
            at = place.end;
            sorter.push(record.value, &entity).map_err(DiffError::Spill)?;
            records.advance().map_err(DiffError::Spill)?;
        }
    }
    let entities = sorter.finish().map_err(DiffError::Spill)?;
    Ok(Extract { head, tail: end_tag(&frame.root), entities })
}

/// The end tag of a root element.
pub(super) fn end_tag(root: &str) -> Vec<u8> {
    format!("</{root}>").into_bytes()
}

/// Reads exactly this many bytes.
fn take(content: &mut impl Read, bytes: u64, into: &mut Vec<u8>) -> io::Result<()> {
    if content.take(bytes).read_to_end(into)? as u64 == bytes {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends earlier than before"))
    }
}

impl Extract {
    /// A document of these entities alone.
    pub(super) fn document(&self) -> io::Result<ExtractDocument<'_>> {
        let entities = self.entities.records()?;
        Ok(ExtractDocument { extract: self, entities, part: Part::Head, at: 0 })
    }
}

/// A part of the document of an [`Extract`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Entities,
    Tail,
}

/// Reads the document of an [`Extract`].
#[derive(Debug)]
pub(super) struct ExtractDocument<'e> {
    extract: &'e Extract,
    entities: super::sort::Records<'e>,
    part: Part,
    /// Bytes of the current piece that have been read.
    at: usize,
}

impl ExtractDocument<'_> {
    /// What is left of the current piece; empty between two.
    fn piece(&self) -> &[u8] {
        let whole = match self.part {
            Part::Head => &self.extract.head,
            Part::Entities => self.entities.current().map_or(&[][..], |record| record.value),
            Part::Tail => &self.extract.tail,
        };
        whole.get(self.at..).unwrap_or_default()
    }
}

impl Read for ExtractDocument<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for ExtractDocument<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece().is_empty() {
            match self.part {
                Part::Head => self.part = Part::Entities,
                Part::Entities if self.entities.current().is_some() => self.entities.advance()?,
                Part::Entities => self.part = Part::Tail,
                Part::Tail => break,
            }
            // Only the end is left behind.
            self.at = 0;
        }
        Ok(self.piece())
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

/// The digest at the end of a record's key.
pub(super) fn digest_of(key: &[u8]) -> Digest {
    let digest = key.get(key.len().saturating_sub(DIGEST)..).unwrap_or_default();
    digest.try_into().unwrap_or_default()
}
