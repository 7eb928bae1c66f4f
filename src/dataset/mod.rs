//! The downloaded data source: its XML document, proven while it streams by.
//!
//! A document is a root element, an inline `xs:schema`, then one element per entity (row).
//! [`prove()`] reads it once, front to back, in memory that does not grow with its values, and
//! answers with a [`Summary`] or with the first [`Flaw`]. What it proves:
//!
//! - the document is well-formed XML 1.0 in UTF-8 to its last byte, and has no DOCTYPE;
//! - the schema names its entity types, their columns and primary keys;
//! - every entity is of a type of the schema, every value belongs to a column, appears once and
//!   can be read as the column's type;
//! - every entity has a primary key, and no two entities of a type share one.
//!
//! An absent element is a null, an empty one an empty string; the two are not the same.
//!
//! The proof is pure: it reads what it is given, and neither waits nor touches anything else.

mod bounded;
mod flaw;
mod markup;
mod points;
mod prove;
mod schema;
mod strict;
mod values;
mod wkt;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use flaw::{Flaw, Place};
pub use points::{Point, points};
pub use prove::prove;

/// How much of everything a document may hold. Beyond any of these it is [`Flaw::TooLarge`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole decoded document.
    pub max_bytes: u64,
    /// Entities of all types together. Uniqueness of keys costs 8 bytes each.
    pub max_entities: u64,
    /// Bytes of one value, and of any other single piece of markup: a tag, a comment, the blanks
    /// between two tags. A geography may have 100,000 points, about 4 MB.
    pub max_value_bytes: usize,
    /// Columns of one entity type (350 are documented).
    pub max_columns: usize,
    /// Elements inside one another within the schema; entities are flat.
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 2 << 30,
            max_entities: 5_000_000,
            max_value_bytes: 16 << 20,
            max_columns: 1_000,
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

/// What a proven document holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The root element's name, as written.
    pub root: String,
    /// The entity type's name. A schema may declare several types; this and the two below are of
    /// the first.
    pub entity_type: String,
    /// The name of the primary key's column.
    pub primary_key: String,
    /// The columns in the schema's order.
    pub columns: Vec<Column>,
    /// Entities of all types together.
    pub entities: u64,
    /// Bytes of the document, a byte order mark included.
    pub bytes: u64,
}
