//! Checks geographies in well-known text, as leniently as the service writes them.
//!
//! Documented samples double parentheses, put blanks between them, and break the grammar of
//! MULTIPOINT and MULTIPOLYGON ("Geography Types"). So this checks only what a damaged value
//! would fail: it begins with the name of a geometry, its parentheses are balanced, its numbers
//! are numbers, and there is nothing else.

use super::values::is_number;

const GEOMETRIES: [&[u8]; 11] = [
    b"POINT",
    b"LINESTRING",
    b"POLYGON",
    b"MULTIPOINT",
    b"MULTILINESTRING",
    b"MULTIPOLYGON",
    b"GEOMETRYCOLLECTION",
    b"CIRCULARSTRING",
    b"COMPOUNDCURVE",
    b"CURVEPOLYGON",
    b"FULLGLOBE",
];

/// Reads `bytes`, which have no blanks around them, in one pass.
pub(super) fn check(bytes: &[u8]) -> bool {
    let Some(mut rest) = after_srid(bytes) else { return false };
    let mut depth = 0usize;
    let mut words = 0usize;
    // something that has a position: a number, EMPTY, or the whole globe
    let mut filled = false;
    while let Some((&byte, after)) = rest.split_first() {
        match byte {
            b'(' if words > 0 => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b',' if words > 0 => {}
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if depth > 0 => {
                let (number, after) = token(rest, |b| {
                    b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E')
                });
                if !is_number(number) {
                    return false;
                }
                filled = true;
                rest = after;
                continue;
            }
            b'A'..=b'Z' | b'a'..=b'z' => {
                let (word, after) = token(rest, |b| b.is_ascii_alphabetic());
                match Word::of(word) {
                    // one geometry, or several inside a collection's parentheses
                    Some(Word::Geometry) if words == 0 || depth > 0 => {}
                    Some(Word::Globe) if words == 0 || depth > 0 => filled = true,
                    Some(Word::Empty) if words > 0 => filled = true,
                    Some(Word::Dimensions) if words > 0 => {}
                    _ => return false,
                }
                words += 1;
                rest = after;
                continue;
            }
            _ => return false,
        }
        rest = after;
    }
    depth == 0 && filled
}

enum Word {
    Geometry,
    Globe,
    Empty,
    Dimensions,
}

impl Word {
    fn of(word: &[u8]) -> Option<Self> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"EMPTY") {
            Some(Self::Empty)
        } else if is(b"FULLGLOBE") {
            Some(Self::Globe)
        } else if is(b"Z") || is(b"M") || is(b"ZM") {
            Some(Self::Dimensions)
        } else {
            GEOMETRIES.iter().any(|name| is(name)).then_some(Self::Geometry)
        }
    }
}

/// The longest start of `bytes` that `belongs`, and the rest.
fn token(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|b| !belongs(*b)).unwrap_or(bytes.len());
    bytes.split_at_checked(end).unwrap_or((bytes, &[]))
}

/// What follows an optional `SRID=4326;`.
fn after_srid(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.split_first_chunk::<5>() {
        Some((name, rest)) if name.eq_ignore_ascii_case(b"SRID=") => {
            let (digits, rest) = token(rest, |b| b.is_ascii_digit());
            (!digits.is_empty()).then_some(())?;
            rest.strip_prefix(b";")
        }
        _ => Some(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn geographies_as_the_service_writes_them_pass() {
        for text in [
            "POINT (-122.3 47.6)",
            "point(-122.3 47.6)",
            "SRID=4326;POINT (1 2)",
            "srid=4326; POINT (1 2)",
            "POINT Z (1 2 3)",
            "POINT ZM(1 2 3 4)",
            "POINT EMPTY",
            "LINESTRING(-122.3 47, -122.4 47.1E0)",
            "POLYGON ((0 0, 0 1, 1 1, 0 0))",
            "POLYGON ( ( ( 0 0, 0 1, 1 1, 0 0 ) ) )",
            "MULTIPOINT((-122.3, 47), (-122.4, 47.1))",
            "MULTIPOINT((0 0), (1 1))",
            "MULTIPOINT(0 0, 1 1)",
            "MULTIPOLYGON(((0 0, 0 1, 1 1, 0 0)), ((2 2, 2 3, 3 3, 2 2)))",
            "MULTIPOLYGON((0 0, 0 1, 1 1, 0 0)), ((2 2, 2 3, 3 3, 2 2))",
            "GEOMETRYCOLLECTION(POINT(1 2), LINESTRING(1 2,\n3 4), POINT EMPTY)",
            "FULLGLOBE",
        ] {
            assert!(check(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn damaged_geographies_fail() {
        for text in [
            "",
            "POINT",
            "POINT (",
            "POINT ()",
            "POINT (1 2",
            "POINT 1 2",
            "POINT (1 2))",
            "POINT )1 2(",
            "(1 2)",
            "1 2",
            "EMPTY",
            "Z (1 2)",
            "PINT (1 2)",
            "POINT (1 2) trailing",
            "POINT (1 2) POINT (1 2)",
            "POINT (1 2) LINESTRING",
            "POINT (1-2 3)",
            "POINT (1.2.3 4)",
            "POINT (1e 4)",
            "POINT (a b)",
            "POINT (1;2)",
            "SRID=;POINT (1 2)",
            "SRID=4326 POINT (1 2)",
            "{\"type\":\"Point\"}",
            "POINT (１ 2)",
        ] {
            assert!(!check(text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_polygon_passes_and_every_start_of_it_does_not(points in prop::collection::vec((-180.0..180.0f64, -90.0..90.0f64), 1..20), cut in any::<prop::sample::Index>()) {
            let points: Vec<_> = points.iter().map(|(x, y)| format!("{x} {y:E}")).collect();
            let text = format!("POLYGON (({}))", points.join(", "));
            prop_assert!(check(text.as_bytes()));
            prop_assert!(!check(&text.as_bytes()[..cut.index(text.len())]));
        }
    }
}
