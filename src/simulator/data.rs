//! The documents that the service exports, whole or damaged.

use std::fmt;

use bytes::{Bytes, BytesMut};
use quick_xml::Reader;
use quick_xml::events::Event;

use super::alteration::Alteration;
use super::damage::{Damage, Parts};
use super::places;
use super::synthetic::{self, Synthetic};

/// A document to export, in the form that Get Downloaded Data shows.
#[derive(Clone)]
pub enum Data {
    /// 3,000 real places (see `PLACES-LICENSE.md`), with every type of value.
    Places,
    /// Exactly these bytes.
    Raw {
        /// The bytes.
        document: Bytes,
        /// How many entities the service announces for them.
        entities: u64,
    },
    /// Generated entities, sent as they are made: about 1,500 bytes each, so that 200,000 are 300
    /// MB.
    Synthetic {
        /// How many.
        entities: u64,
        /// Some 40 short values each, out of 350 properties, instead of 13 and a long text.
        dense: bool,
    },
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Places => f.write_str("Places"),
            Self::Raw { document, entities } => {
                write!(f, "Raw({} bytes, {entities} entities)", document.len())
            }
            Self::Synthetic { entities, dense } => write!(f, "Synthetic({entities}, {dense})"),
        }
    }
}

/// The chunks of a document in their order.
pub type Chunks = Box<dyn Iterator<Item = Bytes> + Send>;

impl Data {
    /// The given bytes, announced with the number of entities counted in them.
    pub fn raw(document: impl Into<Bytes>) -> Self {
        let document = document.into();
        let entities = count_entities(&document);
        Self::Raw { document, entities }
    }

    /// The first of the real places; 0 gives a document with a schema alone.
    pub fn first_places(count: u64) -> Self {
        let count = count.min(places::count());
        Self::Raw { document: places::first(count).into(), entities: count }
    }

    /// How many entities the service announces.
    pub fn entities(&self) -> u64 {
        match self {
            Self::Places => places::count(),
            Self::Raw { entities, .. } | Self::Synthetic { entities, .. } => *entities,
        }
    }

    /// Bytes of the document.
    pub fn length(&self) -> u64 {
        match self {
            Self::Synthetic { entities, dense } => Synthetic::new(*entities, *dense).length(),
            Self::Places => length(&places::document()),
            Self::Raw { document, .. } => length(document),
        }
    }

    /// The document in pieces, the same each time; each piece is made when it is read.
    pub fn chunks(&self) -> Chunks {
        match self {
            Self::Places => Box::new(std::iter::once(places::document())),
            Self::Raw { document, .. } => Box::new(std::iter::once(document.clone())),
            Self::Synthetic { entities, dense } => Box::new(Synthetic::new(*entities, *dense)),
        }
    }

    /// The whole document.
    pub fn document(&self) -> Bytes {
        match self {
            Self::Places => places::document(),
            Self::Raw { document, .. } => document.clone(),
            Self::Synthetic { .. } => {
                let mut whole = BytesMut::new();
                self.chunks().for_each(|chunk| whole.extend_from_slice(&chunk));
                whole.freeze()
            }
        }
    }

    /// The document with its text changed, announced with the entities counted afterwards: the data
    /// of another night. Not for documents that are not UTF-8.
    pub fn edited(&self, edit: impl FnOnce(String) -> String) -> Self {
        Self::raw(edit(String::from_utf8_lossy(&self.document()).into_owned()))
    }

    /// The document with a fault, still announced with its original number of entities. For
    /// documents of at least two entities in the form that this module produces.
    pub fn damaged(&self, damage: Damage) -> Self {
        let document = self.document();
        let text = String::from_utf8_lossy(&document);
        let damaged = Parts::of(&text).damaged(damage);
        Self::Raw { document: damaged.into(), entities: self.entities() }
    }

    /// The document as a service keeps it that does not keep the bytes of what is loaded.
    pub fn altered(&self, alteration: &Alteration) -> Self {
        alteration.apply(self)
    }

    /// The name of the entities, as the list of sources gives it.
    pub(super) fn entity_type(&self) -> String {
        match self {
            Self::Places => places::ENTITY_TYPE.into(),
            Self::Synthetic { .. } => synthetic::ENTITY_TYPE.into(),
            Self::Raw { document, .. } => {
                Parts::of(&String::from_utf8_lossy(document)).entity_type.into()
            }
        }
    }
}

/// Counts the children of the root except the schema; anything after a mistake does not count.
fn count_entities(document: &[u8]) -> u64 {
    let mut reader = Reader::from_reader(document);
    let (mut depth, mut count) = (0_u32, 0);
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                count += u64::from(depth == 1 && start.local_name().as_ref() != "schema");
                depth += 1;
            }
            Ok(Event::Empty(_)) => count += u64::from(depth == 1),
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(Event::Eof) | Err(_) => return count,
            Ok(_) => {}
        }
    }
}

fn length(document: &Bytes) -> u64 {
    u64::try_from(document.len()).unwrap_or(u64::MAX)
}
