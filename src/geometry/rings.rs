//! The orientation of rings, which some formats demand.

use super::{Geometry, Position, Ring};
use std::borrow::Cow;

/// The surface on which the direction of a ring is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// Longitude and latitude as coordinates of a plane.
    Plane,
    /// A globe: an edge goes the short way around it, across the antimeridian too.
    Globe,
}

/// The geometry with exterior rings counter-clockwise, seen from above, and holes the other way;
/// borrowed when nothing had to change. A ring without an area stays as it is.
pub fn oriented(geometry: &Geometry, surface: Surface) -> Cow<'_, Geometry> {
    if is_oriented(geometry, surface) {
        return Cow::Borrowed(geometry);
    }
    let mut changed = geometry.clone();
    orient(&mut changed, surface);
    Cow::Owned(changed)
}

/// Whether a ring of a polygon runs the wrong way: the first should run counter-clockwise.
fn is_wrong(index: usize, ring: &Ring, surface: Surface) -> bool {
    let area = twice_the_area(ring, surface);
    if index == 0 { area < 0.0 } else { area > 0.0 }
}

fn is_oriented(geometry: &Geometry, surface: Surface) -> bool {
    let right = |rings: &Vec<Ring>| {
        !rings.iter().enumerate().any(|(index, ring)| is_wrong(index, ring, surface))
    };
    match geometry {
        Geometry::Polygon(rings) => right(rings),
        Geometry::MultiPolygon(polygons) => polygons.iter().all(right),
        Geometry::Collection(members) => members.iter().all(|it| is_oriented(it, surface)),
        _ => true,
    }
}

fn orient(geometry: &mut Geometry, surface: Surface) {
    let turn = |rings: &mut Vec<Ring>| {
        for (index, ring) in rings.iter_mut().enumerate() {
            if is_wrong(index, ring, surface) {
                ring.reverse();
            }
        }
    };
    match geometry {
        Geometry::Polygon(rings) => turn(rings),
        Geometry::MultiPolygon(polygons) => polygons.iter_mut().for_each(turn),
        Geometry::Collection(members) => {
            members.iter_mut().for_each(|member| orient(member, surface));
        }
        _ => {}
    }
}

/// Twice the signed area, positive for counter-clockwise. Coordinates are taken relative to the
/// first position, so that small rings far from the origin keep their digits.
fn twice_the_area(ring: &[Position], surface: Surface) -> f64 {
    let Some(&[x0, y0]) = ring.first() else { return 0.0 };
    let mut area = 0.0;
    let (mut x, mut y) = (0.0, 0.0);
    for pair in ring.windows(2) {
        let [[from, _], [to, next_y]] = pair else { continue };
        let mut step = to - from;
        if surface == Surface::Globe && step.abs() > 180.0 {
            step -= 360.0 * (step / 360.0).round();
        }
        let next_x = if surface == Surface::Globe { x + step } else { to - x0 };
        let next_y = next_y - y0;
        area += x * next_y - next_x * y;
        (x, y) = (next_x, next_y);
    }
    area
}
