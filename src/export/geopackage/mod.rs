//! GeoPackage 1.3 (OGC 12-128r17): a SQLite database with one feature table for each entity type.
//!
//! A thread of its own runs the statements, so that reading and writing overlap. Rows go there in
//! batches, and each batch is one statement.

mod binary;
mod database;
mod layout;
#[cfg(test)]
mod tests;

use self::database::{Batch, Database};
use self::layout::Layout;
use super::cell::Cell;
use super::changes::{Changes, Kind};
use super::row::Row;
use super::{ExportError, Start, Target, Writer};
use crate::geometry::Bounds;
use chrono::{DateTime, Datelike};

/// Bytes of text and geometries in one batch, about.
const BATCH_BYTES: usize = 256 << 10;

struct Package {
    database: Database,
    tables: Vec<Progress>,
}

/// What has been written of a table.
struct Progress {
    /// Rows of a full batch.
    full: usize,
    batch: Batch,
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
    let begin = |(index, table): (usize, &layout::FeatureTable)| Progress {
        full: table.batch_rows(),
        batch: Batch::of(index),
        rows: 0,
        extent: None,
    };
    let tables = layout.tables.iter().enumerate().map(begin).collect();
    Ok(Box::new(Package { database: Database::create(path, layout)?, tables }))
}

impl Writer for Package {
    fn row(&mut self, row: &Row<'_>, changes: &mut Changes) -> Result<(), ExportError> {
        let Some(table) = self.tables.get_mut(row.index) else { return Ok(()) };
        table.rows += 1;
        let batch = &mut table.batch;
        batch.begin_row(table.rows);
        match &row.chosen.geometry {
            None => batch.null(),
            Some(geometry) => {
                let bounds = geometry.bounds();
                batch.blob(binary::geometry(geometry, bounds));
                if let Some(bounds) = bounds {
                    batch.bounds(table.rows, bounds);
                    table.extent = Some(table.extent.map_or(bounds, |extent| extent.and(bounds)));
                }
            }
        }
        for column in 0..row.table.columns.len() {
            put(row, column, batch, changes);
        }
        if batch.rows() >= table.full || batch.bytes() >= BATCH_BYTES {
            let empty = Batch::of(row.index);
            self.database.insert(std::mem::replace(batch, empty))?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        let mut extents = Vec::new();
        for table in self.tables {
            if table.batch.rows() > 0 {
                self.database.insert(table.batch)?;
            }
            extents.push(table.extent);
        }
        self.database.finish(extents)
    }
}

/// Adds the value of a column to the row of a batch.
fn put(row: &Row<'_>, column: usize, batch: &mut Batch, changes: &mut Changes) {
    if row.became_geometry() == Some(column) {
        return batch.null();
    }
    let cell = Cell::read(row, column, changes);
    let mut note = |kind| changes.add(row.column_name(column), kind, row.key);
    match cell {
        Cell::Null => batch.null(),
        Cell::Text(text) => batch.text(text.to_owned()),
        Cell::Integer(number) => batch.integer(number),
        Cell::Boolean(value) => batch.integer(value.into()),
        Cell::Double(number) => {
            if number.is_nan() {
                // SQLite stores a null in its place.
                note(Kind::NotFinite);
                return batch.null();
            }
            if number == 0.0 && number.is_sign_negative() {
                // SQLite stores whole numbers as integers.
                note(Kind::NegativeZero);
            }
            batch.double(number);
        }
        Cell::Instant(millis) => match instant(millis) {
            Some(text) => batch.text(text),
            None => {
                note(Kind::OutOfRange);
                batch.null();
            }
        },
    }
}

/// An instant as the standard writes it, in UTC with three digits behind the point; `None` where
/// the year has not four digits.
fn instant(millis: i64) -> Option<String> {
    let instant = DateTime::from_timestamp_millis(millis)?;
    let has_form = (0..=9999).contains(&instant.year());
    has_form.then(|| instant.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}
