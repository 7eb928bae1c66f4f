//! Documents for Azure Cosmos DB, one a line: `id`, all columns, and `location`.
//!
//! Sources: "Azure Cosmos DB service quotas" (2 MB a document, 1,023 bytes an id, the characters
//! that an id must not have), "Index and query GeoJSON location data" (kinds and orientation).

use super::changes::{Changes, Kind};
use super::json::{self, LargeNumbers, Properties};
use super::row::Row;
use super::{ExportError, Facts, Scan, Start, Target, Writer};
use crate::dataset::digest;
use crate::geometry::{self, Geometry, Surface};
use crate::printable;
use std::borrow::Cow;
use std::io::Write;

/// Two documents of one id are one at the destination, whatever their types are.
pub(super) const SCAN: Scan = Scan { holds: None, compared: |key| key, across_tables: true };

/// Bytes that a document may have.
const LARGEST_DOCUMENT: usize = 2 << 20;
/// Bytes that an id may have.
const LARGEST_ID: usize = 1023;
/// Members that mean something to the destination.
const RESERVED: [&str; 3] = ["id", "location", "ttl"];

struct Documents<'w> {
    out: &'w mut (dyn Write + Send),
    properties: Properties,
    facts: Facts,
    line: Vec<u8>,
}

pub(super) fn open<'w>(
    start: &Start,
    target: Target<'w>,
) -> Result<Box<dyn Writer + 'w>, ExportError> {
    let properties = Properties::of(start, renamed);
    let facts = start.facts.clone();
    Ok(Box::new(Documents { out: target.stream()?, properties, facts, line: Vec::new() }))
}

/// An error at the first entity whose key another entity has, too.
fn check_id(key: &str, facts: &Facts) -> Result<(), ExportError> {
    let mut twice = facts.tables.iter().filter_map(|table| table.key.twice).peekable();
    if twice.peek().is_none() && facts.key_in_two_tables.is_none() {
        return Ok(());
    }
    let digest = digest(0, key);
    let shown = printable::one_line(key);
    if twice.any(|twice| twice == digest) {
        return Err(ExportError::Impossible(format!(
            "two entities have the key {shown}, and cosmos needs an id for each document"
        )));
    }
    if facts.key_in_two_tables == Some(digest) {
        return Err(ExportError::Impossible(format!(
            "two documents would have the id {shown}, of two entity types; choose one with --entity"
        )));
    }
    Ok(())
}

/// A column's name as a member's: the destination's own names get a suffix.
fn renamed(name: &str) -> String {
    let is_reserved = RESERVED.contains(&name) || name.starts_with('_');
    if is_reserved { format!("{name}_2") } else { name.to_owned() }
}

impl Writer for Documents<'_> {
    fn row(&mut self, row: &Row<'_>, changes: &mut Changes) -> Result<(), ExportError> {
        let key = row.key.ok_or_else(|| {
            ExportError::Impossible(format!(
                "entity {} has no primary key, and cosmos needs one as each document's id",
                row.entity.number()
            ))
        })?;
        check_id(key, &self.facts)?;
        let line = &mut self.line;
        line.clear();
        line.extend_from_slice(b"{\"id\":");
        let id = encoded(key);
        if let Cow::Owned(_) = id {
            changes.add(row.key_column(), Kind::IdEncoded, row.key);
        }
        if id.len() > LARGEST_ID {
            changes.add(row.key_column(), Kind::TooLarge, row.key);
        }
        json::string(&id, line)?;
        line.extend_from_slice(b",\"location\":");
        let location = row.chosen.geometry.as_ref().filter(|geometry| {
            let is_indexed = is_indexed(geometry);
            if !is_indexed {
                changes.add(row.geometry_column(), Kind::GeometryUnsupported, row.key);
            }
            is_indexed
        });
        match location {
            Some(geometry) => {
                geometry::geojson(&row.oriented(geometry, Surface::Globe, changes), line);
            }
            None => line.extend_from_slice(b"null"),
        }
        line.push(b',');
        let became_location = row.chosen.column.filter(|_| location.is_some());
        let begin = line.len();
        self.properties.write(row, became_location, LargeNumbers::Strings, changes, line)?;
        if line.len() == begin {
            // A table whose only column became the location.
            line.pop();
        }
        line.extend_from_slice(b"}");
        if line.len() > LARGEST_DOCUMENT {
            changes.add(row.key_column(), Kind::TooLarge, row.key);
        }
        line.push(b'\n');
        self.out.write_all(line)?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        Ok(())
    }
}

/// Whether the destination indexes the geometry.
fn is_indexed(geometry: &Geometry) -> bool {
    let of_a_kind = matches!(
        geometry,
        Geometry::Point(_)
            | Geometry::LineString(_)
            | Geometry::Polygon(_)
            | Geometry::MultiPolygon(_)
    );
    of_a_kind && !geometry.is_empty()
}

/// A key without the characters that an id must not have.
fn encoded(key: &str) -> Cow<'_, str> {
    const REFUSED: [char; 5] = ['/', '\\', '?', '#', '%'];
    if !key.contains(REFUSED) {
        return Cow::Borrowed(key);
    }
    let mut id = String::with_capacity(key.len() + 8);
    for character in key.chars() {
        if REFUSED.contains(&character) {
            id.push_str(&format!("%{:02X}", u32::from(character)));
        } else {
            id.push(character);
        }
    }
    Cow::Owned(id)
}
