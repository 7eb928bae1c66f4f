//! The values of a row for a table with typed geometry columns.

use super::plan::{Content, SqlTable};
use crate::export::cell::Cell;
use crate::export::changes::{Changes, Kind};
use crate::export::row::{self, Row};
use crate::export::table::Typed;
use crate::geometry::{self, Geometry, Surface};
use chrono::{DateTime, Datelike, Utc};
use std::borrow::Cow;

/// What a destination does with geometries.
pub(super) struct Geometries {
    /// Whether it holds one.
    pub(super) holds: fn(&Geometry) -> bool,
    /// On what the orientation of rings is determined, where it demands one.
    pub(super) orientation: Option<Surface>,
}

/// One value of a row.
#[derive(Debug)]
pub(super) enum SqlValue<'r> {
    Null,
    Text(&'r str),
    Integer(i64),
    Double(f64),
    Boolean(bool),
    /// Of the years 1 to 9999.
    Instant(DateTime<Utc>),
    Geometry(&'r Geometry),
}

/// A geography column of a row.
struct Placed<'r> {
    /// The column's position in the export's table.
    column: usize,
    geometry: Option<Cow<'r, Geometry>>,
}

/// Calls `each` with the values of a row in the order of the table's columns, the value of `geom`
/// last.
pub(super) fn each<E>(
    table: &SqlTable,
    row: &Row<'_>,
    rules: &Geometries,
    changes: &mut Changes,
    mut each: impl FnMut(SqlValue<'_>, &mut Changes) -> Result<(), E>,
) -> Result<(), E> {
    let placed: Vec<_> = row
        .table
        .geographies()
        .map(|column| Placed { column, geometry: of_column(row, column, rules, changes) })
        .collect();
    let find = |column: usize| placed.iter().find(|it| it.column == column);
    for column in &table.columns {
        let geometry = find(column.source).and_then(|it| it.geometry.as_deref());
        let value = match (column.content, geometry) {
            (Content::Values(Typed::Geography), Some(geometry)) => SqlValue::Geometry(geometry),
            (Content::Values(Typed::Geography), None) | (Content::OtherText, Some(_)) => {
                SqlValue::Null
            }
            (Content::Values(Typed::Text), _) | (Content::OtherText, None) => {
                row.text(column.source).map_or(SqlValue::Null, SqlValue::Text)
            }
            (Content::Values(_), _) => typed(row, column.source, changes),
        };
        each(value, changes)?;
    }
    if !table.has_geom {
        return Ok(());
    }
    let other;
    let geometry = match row.chosen.column.map(find) {
        Some(Some(placed)) => placed.geometry.as_deref(),
        // Latitude and longitude, or a column of another type that the user named.
        _ => {
            let name = row.geometry_column();
            let chosen = row.chosen.geometry.as_ref().map(Cow::Borrowed);
            other = chosen.and_then(|it| fitted(it, name, row, rules, changes));
            other.as_deref()
        }
    };
    // A key that is a geography is kept as text, and its geometry is here.
    match geometry.map(without_empty_members) {
        Some(geometry) => each(SqlValue::Geometry(&geometry), changes),
        None => each(SqlValue::Null, changes),
    }
}

fn typed<'r>(row: &Row<'r>, column: usize, changes: &mut Changes) -> SqlValue<'r> {
    match Cell::read(row, column, changes) {
        Cell::Null => SqlValue::Null,
        Cell::Text(text) => SqlValue::Text(text),
        Cell::Integer(number) => SqlValue::Integer(number),
        Cell::Double(number) => SqlValue::Double(number),
        Cell::Boolean(value) => SqlValue::Boolean(value),
        Cell::Instant(millis) => {
            let instant = DateTime::from_timestamp_millis(millis);
            match instant.filter(|instant| (1..=9999).contains(&instant.year())) {
                Some(instant) => SqlValue::Instant(instant),
                None => {
                    changes.add(row.column_name(column), Kind::OutOfRange, row.key);
                    SqlValue::Null
                }
            }
        }
    }
}

fn of_column<'r>(
    row: &'r Row<'_>,
    column: usize,
    rules: &Geometries,
    changes: &mut Changes,
) -> Option<Cow<'r, Geometry>> {
    let geometry = if row.chosen.column == Some(column) {
        // Read already, and counted if it is not a geometry.
        row.chosen.geometry.as_ref().map(Cow::Borrowed)
    } else {
        row::of_column(row.table, column, &row.entity, row.key, changes).map(Cow::Owned)
    };
    fitted(geometry?, row.column_name(column), row, rules, changes)
}

/// The geometry as the destination takes it; `None` when it does not.
fn fitted<'g>(
    geometry: Cow<'g, Geometry>,
    column: &str,
    row: &Row<'_>,
    rules: &Geometries,
    changes: &mut Changes,
) -> Option<Cow<'g, Geometry>> {
    if !(rules.holds)(&geometry) {
        changes.add(column, Kind::OutOfRange, row.key);
        return None;
    }
    let Some(surface) = rules.orientation else { return Some(geometry) };
    match geometry::oriented(&geometry, surface) {
        Cow::Borrowed(_) => Some(geometry),
        Cow::Owned(turned) => {
            changes.add(column, Kind::RingOrientation, row.key);
            Some(Cow::Owned(turned))
        }
    }
}

/// The same positions without members that have none: PostGIS 3.3 fails when it measures distances
/// to a collection with an empty member ("lwgeom_distance_spheroid returned negative!").
fn without_empty_members(geometry: &Geometry) -> Cow<'_, Geometry> {
    Cow::Owned(match geometry {
        Geometry::MultiLineString(paths) => Geometry::MultiLineString(
            paths.iter().filter(|path| !path.is_empty()).cloned().collect(),
        ),
        Geometry::MultiPolygon(polygons) => Geometry::MultiPolygon(
            polygons.iter().filter(|rings| !rings.is_empty()).cloned().collect(),
        ),
        Geometry::Collection(members) => {
            let members = members.iter().filter(|member| !member.is_empty());
            let members = members.map(|member| without_empty_members(member).into_owned());
            Geometry::Collection(members.collect())
        }
        other => return Cow::Borrowed(other),
    })
}
