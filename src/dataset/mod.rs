//! The XML document of a downloaded data source, read and validated as a stream.
//!
//! A document is a root element, an inline `xs:schema`, then one element per entity (row).
//! A [`Reader`] reads it once, front to back: the [`Schema`], then each [`Entity`] with its typed
//! values. [`validate()`] is one consumer of it: it answers with a [`Summary`] or with the first
//! [`ValidationError`]. [`points()`] is another.
//!
//! An error breaks the document: it is not well-formed XML 1.0 in UTF-8 to its last byte, has a
//! DOCTYPE, no root or no schema, or goes beyond the [`DocumentLimits`]. Everything else is noted
//! in the summary, and reading goes on:
//!
//! - values that do not read as their column's type are counted ([`Unreadable`]);
//! - keys that are missing or occur twice, and elements, text or columns that the schema does not
//!   allow for, leave a [`Warning`].
//!
//! An absent element is a null, an empty one an empty string; the two are not the same.
//!
//! Reading is pure: it only reads its input. All versions that write the same archive format
//! give the same result for the same bytes:
//! `docs/archive-format.md` has the rules.

mod bounded;
mod entity;
mod error;
mod keys;
mod markup;
mod points;
mod reader;
mod schema;
mod strict;
mod typed;
mod validate;
mod values;
mod warnings;
mod wkt;

#[cfg(test)]
pub(crate) mod tests;

use serde::{Deserialize, Serialize};

pub use entity::{Element, Entity};
pub use error::{Location, ValidationError};
pub(crate) use keys::{Digests, digest};
pub use points::{Point, place, points};
pub use reader::Reader;
pub use schema::{EntityType, Field, Schema};
pub use typed::{Instant, Value};
pub use validate::validate;
pub use values::ColumnKind;
pub use warnings::{Unproven, Unreadable, Warning};

/// The limits of a document. Beyond any of these it is [`ValidationError::TooLarge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Bytes of the whole decoded document.
    pub max_bytes: u64,
    /// Entities of all types together. Uniqueness of keys costs 8 bytes each.
    pub max_entities: u64,
    /// Bytes of one value, and of any other single piece of markup: a tag, a comment, the blanks
    /// between two tags. A geography may have 100,000 points, about 4 MB.
    pub max_value_bytes: usize,
    /// Bytes of one entity, where it is held as a whole: by [`Reader::next_entity`]. Validation
    /// holds a value at most, and has no such limit.
    pub max_entity_bytes: usize,
    /// Bytes of an element's name (50 characters are documented).
    pub max_name_bytes: usize,
    /// Bytes of a tag's attributes.
    pub max_tag_bytes: usize,
    /// Bytes of the schema, documentation and comments included.
    pub max_schema_bytes: usize,
    /// Columns of all entity types together (350 are documented).
    pub max_columns: usize,
    /// Elements inside one another within the schema or within an undeclared element; entities are
    /// flat.
    pub max_depth: usize,
}

impl Default for DocumentLimits {
    fn default() -> Self {
        Self {
            max_bytes: 2 << 30,
            max_entities: 5_000_000,
            max_value_bytes: 16 << 20,
            max_entity_bytes: 64 << 20,
            max_name_bytes: 1 << 10,
            max_tag_bytes: 64 << 10,
            max_schema_bytes: 1 << 20,
            max_columns: 4_096,
            max_depth: 64,
        }
    }
}

/// A property of an entity type, as the schema declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The element's name.
    pub name: String,
    /// The type, written `xs:…` whatever prefix the document used.
    #[serde(rename = "type")]
    pub r#type: String,
}

/// What a document contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The root element's name, as written.
    pub root: String,
    /// The entity type's name: the name of the entities' element. A schema may declare several
    /// types; this and the two below are of the first.
    pub entity_type: String,
    /// The name of the primary key's column; empty where the schema names none.
    pub primary_key: String,
    /// The columns in the schema's order.
    pub columns: Vec<Column>,
    /// Entities of all types together. Where no element is of a declared type, all elements beside
    /// the schema count.
    pub entities: u64,
    /// Bytes of the document, a byte order mark included.
    pub bytes: u64,
    /// The columns with values that do not match their type, in the schema's order.
    pub unreadable: Vec<Unreadable>,
    /// What could not be proven, at most one of each kind: the first.
    pub warnings: Vec<Warning>,
}

impl Summary {
    /// The kinds of what could not be proven, in order.
    pub fn unproven(&self) -> Vec<Unproven> {
        self.warnings.iter().map(|warning| warning.unproven).collect()
    }
}
