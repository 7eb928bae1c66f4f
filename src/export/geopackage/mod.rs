//! GeoPackage 1.3 (OGC 12-128r17): a SQLite database with one feature table for each entity type.
//!
//! SQLite makes the schema, the index on the primary key and the triggers (`database`). The rows
//! and the spatial index, nearly all of the file, are written as its pages (`tree`, `record`,
//! `spatial`): that is several times as fast as inserting them.

mod binary;
mod database;
mod layout;
mod record;
mod spatial;
#[cfg(test)]
mod tests;
mod tree;

use self::database::{Filled, Roots};
use self::layout::Layout;
use self::record::Record;
use self::spatial::SpatialIndex;
use self::tree::{Pages, TableTree};
use super::cell::Cell;
use super::changes::{Changes, Kind};
use super::row::Row;
use super::{ExportError, Start, Target, Writer};
use crate::geometry::Bounds;
use chrono::{DateTime, Datelike, SecondsFormat};
use std::path::PathBuf;

struct Package {
    path: PathBuf,
    layout: Layout,
    pages: Pages,
    tables: Vec<Filling>,
    record: Record,
    geometry: Vec<u8>,
}

/// A feature table that gets its rows.
struct Filling {
    features: TableTree,
    index: SpatialIndex,
    rows: i64,
    extent: Option<Bounds>,
}

/// Makes the tables.
pub(super) fn open<'w>(
    start: &Start,
    target: Target<'w>,
) -> Result<Box<dyn Writer + 'w>, ExportError> {
    let Target::File(path) = target else {
        return Err(ExportError::Impossible("a GeoPackage needs a file".to_owned()));
    };
    let layout = Layout::of(start)?;
    let roots = database::begin(&path, &layout)?;
    let mut pages = Pages::open(&path)?;
    let begin = |roots: Roots| {
        let index = SpatialIndex::at(roots.index, &mut pages)?;
        Ok(Filling { features: TableTree::at(roots.rows), index, rows: 0, extent: None })
    };
    let tables = roots.into_iter().map(begin).collect::<Result<_, ExportError>>()?;
    let (record, geometry) = (Record::default(), Vec::new());
    Ok(Box::new(Package { path, layout, pages, tables, record, geometry }))
}

impl Writer for Package {
    fn row(&mut self, row: &Row<'_>, changes: &mut Changes) -> Result<(), ExportError> {
        let Some(table) = self.tables.get_mut(row.index) else { return Ok(()) };
        table.rows += 1;
        let record = &mut self.record;
        record.begin();
        match &row.chosen.geometry {
            None => record.null(),
            Some(geometry) => {
                let bounds = geometry.bounds();
                self.geometry.clear();
                binary::geometry(geometry, bounds, &mut self.geometry);
                record.blob(&self.geometry);
                if let Some(bounds) = bounds {
                    table.index.add(table.rows, bounds, &mut self.pages)?;
                    table.extent = Some(table.extent.map_or(bounds, |extent| extent.and(bounds)));
                }
            }
        }
        for column in 0..row.table.columns.len() {
            put(row, column, record, changes);
        }
        table.features.append(table.rows, record.bytes(), &mut self.pages)?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        let Package { path, layout, mut pages, tables, .. } = *self;
        let finish = |Filling { features, index, rows, extent }: Filling| {
            features.finish(&mut pages)?;
            let root = index.finish(&mut pages)?;
            Ok(Filled { rows, extent, root })
        };
        let filled: Vec<_> = tables.into_iter().map(finish).collect::<Result<_, ExportError>>()?;
        pages.finish()?;
        database::end(&path, &layout, &filled)
    }
}

/// Adds the value of a column to a record.
fn put(row: &Row<'_>, column: usize, record: &mut Record, changes: &mut Changes) {
    if row.became_geometry() == Some(column) {
        return record.null();
    }
    let cell = Cell::read(row, column, changes);
    let mut note = |kind| changes.add(row.column_name(column), kind, row.key);
    match cell {
        Cell::Null => record.null(),
        Cell::Text(text) => record.text(text),
        Cell::Integer(number) => record.integer(number),
        Cell::Boolean(value) => record.integer(value.into()),
        Cell::Double(number) => {
            if number.is_nan() {
                // SQLite stores a null in its place.
                note(Kind::NotFinite);
                return record.null();
            }
            record.double(number);
        }
        Cell::Instant(millis) => match instant(millis) {
            Some(text) => record.text(&text),
            None => {
                note(Kind::OutOfRange);
                record.null();
            }
        },
    }
}

/// An instant as the standard writes it, in UTC with three digits behind the point; `None` where
/// the year has not four digits.
fn instant(millis: i64) -> Option<String> {
    let instant = DateTime::from_timestamp_millis(millis)?;
    let has_form = (0..=9999).contains(&instant.year());
    has_form.then(|| instant.to_rfc3339_opts(SecondsFormat::Millis, true))
}
