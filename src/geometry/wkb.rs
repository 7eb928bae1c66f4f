//! Well-known binary, little-endian (OGC 06-103r4, 8.2). An empty point is one of two NaN, as in
//! GeoPackage and PostGIS.

use super::{Geometry, Position, Ring};

/// WGS 84, longitude first.
const SRID: u32 = 4326;
/// PostGIS's flag for a type that an SRID follows.
const HAS_SRID: u32 = 0x2000_0000;

/// The geometry as well-known binary.
pub fn wkb(geometry: &Geometry, out: &mut Vec<u8>) {
    write(geometry, None, out);
}

/// The same in PostGIS's extended form, with SRID 4326.
pub fn ewkb(geometry: &Geometry, out: &mut Vec<u8>) {
    write(geometry, Some(SRID), out);
}

fn write(geometry: &Geometry, srid: Option<u32>, out: &mut Vec<u8>) {
    let kind: u32 = match geometry {
        Geometry::Point(_) => 1,
        Geometry::LineString(_) => 2,
        Geometry::Polygon(_) => 3,
        Geometry::MultiPoint(_) => 4,
        Geometry::MultiLineString(_) => 5,
        Geometry::MultiPolygon(_) => 6,
        Geometry::Collection(_) => 7,
    };
    header(kind, srid, out);
    match geometry {
        Geometry::Point(position) => put(position.unwrap_or([f64::NAN; 2]), out),
        Geometry::LineString(positions) => path(positions, out),
        Geometry::Polygon(rings) => lists(rings, out),
        Geometry::MultiPoint(positions) => {
            count(positions.len(), out);
            for position in positions {
                header(1, None, out);
                put(*position, out);
            }
        }
        Geometry::MultiLineString(paths) => {
            count(paths.len(), out);
            for positions in paths {
                header(2, None, out);
                path(positions, out);
            }
        }
        Geometry::MultiPolygon(polygons) => {
            count(polygons.len(), out);
            for rings in polygons {
                header(3, None, out);
                lists(rings, out);
            }
        }
        Geometry::Collection(members) => {
            count(members.len(), out);
            for member in members {
                write(member, None, out);
            }
        }
    }
}

fn header(kind: u32, srid: Option<u32>, out: &mut Vec<u8>) {
    out.push(1);
    let flag = if srid.is_some() { HAS_SRID } else { 0 };
    out.extend_from_slice(&(kind | flag).to_le_bytes());
    if let Some(srid) = srid {
        out.extend_from_slice(&srid.to_le_bytes());
    }
}

/// A count; a value of at most 16 MiB of text has fewer than 2^32 of anything.
fn count(number: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn put(position: Position, out: &mut Vec<u8>) {
    for number in position {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn path(positions: &[Position], out: &mut Vec<u8>) {
    count(positions.len(), out);
    for position in positions {
        put(*position, out);
    }
}

fn lists(rings: &[Ring], out: &mut Vec<u8>) {
    count(rings.len(), out);
    for ring in rings {
        path(ring, out);
    }
}
