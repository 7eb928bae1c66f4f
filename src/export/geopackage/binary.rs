//! The binary form of a geometry (2.1.3 of the standard): a header, then well-known binary.

use crate::geometry::{self, Bounds, Geometry};

/// WGS 84, longitude first.
pub(super) const SRS_ID: i32 = 4326;

/// Numbers are little-endian.
const LITTLE_ENDIAN: u8 = 1;
/// The envelope is minx, maxx, miny, maxy.
const ENVELOPE_XY: u8 = 1 << 1;
const EMPTY: u8 = 1 << 4;

/// Adds a geometry whose bounds are known; `None` when it is empty. A point needs no envelope.
pub(super) fn geometry(geometry: &Geometry, bounds: Option<Bounds>, out: &mut Vec<u8>) {
    let envelope = bounds.filter(|_| !matches!(geometry, Geometry::Point(_)));
    let mut flags = LITTLE_ENDIAN;
    if envelope.is_some() {
        flags |= ENVELOPE_XY;
    }
    if bounds.is_none() {
        flags |= EMPTY;
    }
    // The version, 0, is that of the form.
    out.extend_from_slice(&[b'G', b'P', 0, flags]);
    out.extend_from_slice(&SRS_ID.to_le_bytes());
    if let Some(Bounds { west, south, east, north }) = envelope {
        for number in [west, east, south, north] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    geometry::wkb(geometry, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let parsed = crate::geometry::parse(text).unwrap().geometry;
        let mut out = Vec::new();
        geometry(&parsed, parsed.bounds(), &mut out);
        out
    }

    #[test]
    fn the_header_has_the_bytes_of_the_standard() {
        let point = bytes("POINT (1 2)");
        assert_eq!(point[..8], [b'G', b'P', 0, 0b0000_0001, 0xe6, 0x10, 0, 0]);
        assert_eq!(point.len(), 8 + 21, "a point has no envelope");
        let line = bytes("LINESTRING (3 4, 1 9)");
        assert_eq!(line[3], 0b0000_0011);
        let number = |at: usize| f64::from_le_bytes(line[at..at + 8].try_into().unwrap());
        assert_eq!([8, 16, 24, 32].map(number), [1.0, 3.0, 4.0, 9.0]);
        for empty in ["POINT EMPTY", "POLYGON EMPTY", "GEOMETRYCOLLECTION (POINT EMPTY)"] {
            assert_eq!(bytes(empty)[3], 0b0001_0001, "{empty}");
        }
    }
}
