//! Geometries in two dimensions: read from well-known text, written as GeoJSON, WKT and WKB.
//!
//! Positions are longitude and latitude in degrees (WGS 84), as the text gives them: values beyond
//! ±180 and ±90 are kept. Pure: no input or output.

mod rings;
mod wkb;
mod wkt;
mod write;

#[cfg(test)]
mod tests;

pub use rings::{Surface, oriented};
pub use wkb::{ewkb, wkb};
pub use wkt::{Parsed, WktError, parse};
pub use write::{geojson, shortest, to_wkt};

/// Longitude (east is positive), then latitude (north is positive).
pub type Position = [f64; 2];
/// A closed ring: its last position is its first.
pub type Ring = Vec<Position>;

/// A geometry. Empty lists are empty geometries.
#[derive(Debug, Clone, PartialEq)]
pub enum Geometry {
    /// `None` is an empty point.
    Point(Option<Position>),
    /// A path.
    LineString(Vec<Position>),
    /// The exterior ring, then the holes.
    Polygon(Vec<Ring>),
    /// Points.
    MultiPoint(Vec<Position>),
    /// Paths.
    MultiLineString(Vec<Vec<Position>>),
    /// Polygons.
    MultiPolygon(Vec<Vec<Ring>>),
    /// Geometries of any kind.
    Collection(Vec<Geometry>),
}

/// A rectangle around positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The lowest longitude.
    pub west: f64,
    /// The lowest latitude.
    pub south: f64,
    /// The highest longitude.
    pub east: f64,
    /// The highest latitude.
    pub north: f64,
}

impl Bounds {
    /// The rectangle around one position.
    pub fn of([x, y]: Position) -> Bounds {
        Bounds { west: x, south: y, east: x, north: y }
    }

    /// The rectangle around both.
    #[must_use]
    pub fn and(self, other: Bounds) -> Bounds {
        Bounds {
            west: self.west.min(other.west),
            south: self.south.min(other.south),
            east: self.east.max(other.east),
            north: self.north.max(other.north),
        }
    }
}

impl Geometry {
    /// The kind's name in GeoJSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Geometry::Point(_) => "Point",
            Geometry::LineString(_) => "LineString",
            Geometry::Polygon(_) => "Polygon",
            Geometry::MultiPoint(_) => "MultiPoint",
            Geometry::MultiLineString(_) => "MultiLineString",
            Geometry::MultiPolygon(_) => "MultiPolygon",
            Geometry::Collection(_) => "GeometryCollection",
        }
    }

    /// Calls `visit` with each position, in order.
    pub fn positions(&self, visit: &mut impl FnMut(Position)) {
        match self {
            Geometry::Point(position) => position.iter().copied().for_each(visit),
            Geometry::LineString(positions) | Geometry::MultiPoint(positions) => {
                positions.iter().copied().for_each(visit);
            }
            Geometry::Polygon(lists) | Geometry::MultiLineString(lists) => {
                lists.iter().flatten().copied().for_each(visit);
            }
            Geometry::MultiPolygon(polygons) => {
                polygons.iter().flatten().flatten().copied().for_each(visit);
            }
            Geometry::Collection(members) => {
                for member in members {
                    member.positions(visit);
                }
            }
        }
    }

    /// The rectangle around it; `None` when it is empty.
    pub fn bounds(&self) -> Option<Bounds> {
        let mut bounds: Option<Bounds> = None;
        self.positions(&mut |position| {
            let one = Bounds::of(position);
            bounds = Some(bounds.map_or(one, |so_far| so_far.and(one)));
        });
        bounds
    }

    /// Whether it has no position.
    pub fn is_empty(&self) -> bool {
        self.bounds().is_none()
    }
}
