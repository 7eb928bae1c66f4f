//! Geometries and numbers as text.

use super::{Geometry, Position, Ring};
use std::io::Write;

/// A finite number as the shortest text that reads back equal, written as in JSON: `1`, `0.5`,
/// `1e21`. Minus zero is `-0`.
pub fn shortest(number: f64, out: &mut Vec<u8>) {
    let size = number.abs();
    // Writing to memory does not fail.
    let _ = if number == 0.0 || (1e-7..1e21).contains(&size) {
        write!(out, "{number}")
    } else {
        write!(out, "{number:e}")
    };
}

/// A GeoJSON geometry object (RFC 7946).
pub fn geojson(geometry: &Geometry, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(geometry.kind().as_bytes());
    if let Geometry::Collection(members) = geometry {
        out.extend_from_slice(b"\",\"geometries\":");
        JSON.list(members, out, geojson);
    } else {
        out.extend_from_slice(b"\",\"coordinates\":");
        coordinates(geometry, JSON, out);
    }
    out.push(b'}');
}

/// Well-known text, in two dimensions: `POINT (1 2)`.
pub fn to_wkt(geometry: &Geometry, out: &mut Vec<u8>) {
    out.extend(geometry.kind().bytes().map(|b| b.to_ascii_uppercase()));
    out.push(b' ');
    match geometry {
        Geometry::Point(Some(position)) => {
            WKT.list(&[*position], out, |it, out| WKT.position(*it, out))
        }
        Geometry::Point(None) => out.extend_from_slice(b"EMPTY"),
        Geometry::Collection(members) if !members.is_empty() => WKT.list(members, out, to_wkt),
        Geometry::Collection(_) => out.extend_from_slice(b"EMPTY"),
        other => coordinates(other, WKT, out),
    }
}

/// How lists and positions are written.
#[derive(Clone, Copy)]
struct Style {
    open: &'static [u8],
    close: &'static [u8],
    between: &'static [u8],
    /// In place of an empty list.
    empty: &'static [u8],
    position: [&'static [u8]; 3],
}

const JSON: Style =
    Style { open: b"[", close: b"]", between: b",", empty: b"[]", position: [b"[", b",", b"]"] };
const WKT: Style =
    Style { open: b"(", close: b")", between: b", ", empty: b"EMPTY", position: [b"", b" ", b""] };

impl Style {
    fn list<T>(self, items: &[T], out: &mut Vec<u8>, mut item: impl FnMut(&T, &mut Vec<u8>)) {
        if items.is_empty() {
            return out.extend_from_slice(self.empty);
        }
        out.extend_from_slice(self.open);
        for (index, it) in items.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(self.between);
            }
            item(it, out);
        }
        out.extend_from_slice(self.close);
    }

    fn position(self, [x, y]: Position, out: &mut Vec<u8>) {
        let [open, between, close] = self.position;
        out.extend_from_slice(open);
        shortest(x, out);
        out.extend_from_slice(between);
        shortest(y, out);
        out.extend_from_slice(close);
    }

    fn positions(self, positions: &[Position], out: &mut Vec<u8>) {
        self.list(positions, out, |it, out| self.position(*it, out));
    }

    fn lists(self, lists: &[Ring], out: &mut Vec<u8>) {
        self.list(lists, out, |it, out| self.positions(it, out));
    }
}

fn coordinates(geometry: &Geometry, style: Style, out: &mut Vec<u8>) {
    match geometry {
        Geometry::Point(Some(position)) => style.position(*position, out),
        Geometry::Point(None) | Geometry::Collection(_) => out.extend_from_slice(style.empty),
        Geometry::LineString(positions) => style.positions(positions, out),
        Geometry::MultiPoint(positions) if style.open == WKT.open => {
            // Each point of a MULTIPOINT has its own parentheses in the standard.
            style.list(positions, out, |it, out| style.positions(&[*it], out));
        }
        Geometry::MultiPoint(positions) => style.positions(positions, out),
        Geometry::Polygon(lists) | Geometry::MultiLineString(lists) => style.lists(lists, out),
        Geometry::MultiPolygon(polygons) => {
            style.list(polygons, out, |it, out| style.lists(it, out));
        }
    }
}
