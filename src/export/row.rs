//! One row of an export: an entity, and the geometry that is chosen for it.

use super::changes::{Changes, Kind};
use super::table::{Table, Typed};
use crate::dataset::{Element, Entity, Value};
use crate::geometry::{self, Geometry, Surface, WktError};
use std::borrow::Cow;

/// Where a row's geometry comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GeometryFrom {
    /// The first geography column that has a value in the row, else latitude and longitude.
    First,
    /// This column alone.
    Column(String),
    /// Latitude and longitude alone.
    LatLon,
    /// No geometry.
    Nothing,
}

/// An entity as one row of a table.
#[derive(Debug)]
pub struct Row<'r> {
    /// The table.
    pub table: &'r Table,
    /// The table's position among all of the export.
    pub index: usize,
    /// The entity.
    pub entity: Entity<'r>,
    /// Its primary key as text; `None` where it has none.
    pub key: Option<&'r str>,
    /// Its geometry.
    pub chosen: Chosen,
}

/// The geometry of a row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chosen {
    /// The geometry; `None` where the row has none.
    pub geometry: Option<Geometry>,
    /// The column that became the geometry, or would have, by its position.
    pub column: Option<usize>,
}

impl<'r> Row<'r> {
    /// A column's name in the document.
    pub fn column_name(&self, column: usize) -> &'r str {
        self.table.columns.get(column).map_or("", |column| column.name.as_str())
    }

    /// How a column's values are written in a typed format.
    pub(super) fn kind(&self, column: usize) -> Typed {
        self.table.columns.get(column).map_or(Typed::Text, |column| column.kind)
    }

    /// The name of the primary key's column.
    pub fn key_column(&self) -> &'r str {
        self.table.key.map_or("", |key| self.column_name(key))
    }

    /// The name of the column that became the geometry, for counting changes.
    pub fn geometry_column(&self) -> &'r str {
        self.chosen.column.map_or("Longitude", |column| self.column_name(column))
    }

    /// The column that became the geometry, whose text is not written again.
    pub fn became_geometry(&self) -> Option<usize> {
        self.chosen.column.filter(|_| self.chosen.geometry.is_some())
    }

    /// The geometry with exterior rings counter-clockwise; a change is counted.
    pub fn oriented<'g>(
        &self,
        geometry: &'g Geometry,
        surface: Surface,
        changes: &mut Changes,
    ) -> Cow<'g, Geometry> {
        let turned = geometry::oriented(geometry, surface);
        if let Cow::Owned(_) = turned {
            changes.add(self.geometry_column(), Kind::RingOrientation, self.key);
        }
        turned
    }

    /// The first element of a column; `None` for a null.
    pub fn element(&self, column: usize) -> Option<Element<'r>> {
        self.entity.get(column)
    }

    /// The value of a column.
    pub fn value(&self, column: usize) -> Value<'r> {
        self.entity.value(column)
    }

    /// The text of a column exactly as it was sent; `None` for a null.
    pub fn text(&self, column: usize) -> Option<&'r str> {
        match self.value(column) {
            Value::Null => None,
            _ => self.element(column).map(|element| element.text()),
        }
    }
}

/// Counts the elements of an entity that are not written: undeclared ones, further values of a
/// column, and those inside a value.
pub(super) fn count_left_out(entity: &Entity<'_>, key: Option<&str>, changes: &mut Changes) {
    for element in entity.elements() {
        match element.column() {
            None => changes.add(element.name(), Kind::Undeclared, key),
            Some(_) if element.is_repeated() => changes.add(element.name(), Kind::Repeated, key),
            Some(_) if element.holds_elements() => {
                changes.add(element.name(), Kind::ElementsDropped, key);
            }
            Some(_) => {}
        }
    }
}

/// Chooses the geometry of an entity, and counts what cannot become one.
pub(super) fn choose(
    from: &GeometryFrom,
    table: &Table,
    entity: &Entity<'_>,
    key: Option<&str>,
    changes: &mut Changes,
) -> Chosen {
    let column = match from {
        GeometryFrom::Nothing => return Chosen::default(),
        GeometryFrom::LatLon => None,
        GeometryFrom::Column(name) => match table.position(name) {
            Some(column) => Some(column),
            // This entity type does not have it.
            None => return Chosen::default(),
        },
        GeometryFrom::First => {
            table.geographies().find(|column| !matches!(entity.value(*column), Value::Null))
        }
    };
    match (column, from) {
        (Some(column), _) => {
            let geometry = of_column(table, column, entity, key, changes);
            Chosen { geometry, column: Some(column) }
        }
        (None, _) => Chosen { geometry: place(table, entity), column: None },
    }
}

/// The geometry of one column. Text that is none is counted.
pub(super) fn of_column(
    table: &Table,
    column: usize,
    entity: &Entity<'_>,
    key: Option<&str>,
    changes: &mut Changes,
) -> Option<Geometry> {
    let text = match entity.value(column) {
        Value::Null => return None,
        Value::Geometry(text) | Value::Unreadable(text) | Value::Text(text) => text,
        _ => "",
    };
    let name = table.columns.get(column).map_or("", |column| column.name.as_str());
    match geometry::parse(text) {
        Ok(parsed) => {
            if parsed.has_more_dimensions {
                changes.add(name, Kind::DimensionsDropped, key);
            }
            Some(parsed.geometry)
        }
        Err(WktError::Unreadable) => {
            changes.add(name, Kind::GeometryUnreadable, key);
            None
        }
        Err(WktError::Unsupported(_) | WktError::ForeignSrid(_)) => {
            changes.add(name, Kind::GeometryUnsupported, key);
            None
        }
    }
}

/// The point of the columns `Longitude` and `Latitude`, where both are there and in range.
fn place(table: &Table, entity: &Entity<'_>) -> Option<Geometry> {
    let number = |column: Option<usize>| match entity.value(column?) {
        Value::Double(number) => Some(number),
        _ => None,
    };
    let (latitude, longitude) = (number(table.latitude)?, number(table.longitude)?);
    let in_range = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
    in_range.then_some(Geometry::Point(Some([longitude, latitude])))
}
