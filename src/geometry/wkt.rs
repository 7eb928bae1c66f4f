//! Reads well-known text as leniently as the service writes it.
//!
//! Its documentation's samples double parentheses, put blanks between them, leave a level out in
//! MULTIPOINT and MULTIPOLYGON, and once write a comma between longitude and latitude ("Geography
//! Types"). The text is read into nested lists first; the geometry's kind then says what each level
//! of them means.

use super::{Geometry, Position};

/// Levels of parentheses and collections that are read.
const MAX_DEPTH: usize = 64;

/// The number of WGS 84, the reference system of all geometries.
const WGS_84: u32 = 4326;

/// A geometry, and what was left out of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The geometry in two dimensions.
    pub geometry: Geometry,
    /// Whether the text has heights or measures, which are left out.
    pub has_more_dimensions: bool,
}

/// Why a text gives no geometry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WktError {
    /// It is no well-known text of any kind.
    #[error("it is no well-known text")]
    Unreadable,
    /// It is a geometry of this kind, which other formats do not have.
    #[error("{0} has no form in other formats")]
    Unsupported(&'static str),
    /// Its coordinates are of the reference system of this SRID; 0 is one beyond 32 bits.
    #[error("its coordinates are those of SRID {0}, not {WGS_84}")]
    ForeignSrid(u32),
}

/// Reads one geometry. Rings are closed where the text leaves them open.
///
/// # Errors
/// When the text is no geometry, one of a kind that only the service has, or one whose coordinates
/// are no degrees of WGS 84.
pub fn parse(text: &str) -> Result<Parsed, WktError> {
    let mut reader = Reader { rest: after_srid(text.trim())?, has_more_dimensions: false };
    let geometry = reader.geometry(0, true)?;
    reader.blanks();
    if !reader.rest.is_empty() {
        return Err(WktError::Unreadable);
    }
    Ok(Parsed { geometry, has_more_dimensions: reader.has_more_dimensions })
}

fn after_srid(text: &str) -> Result<&str, WktError> {
    let Some((name, rest)) = text.split_at_checked(5) else { return Ok(text) };
    if !name.eq_ignore_ascii_case("SRID=") {
        return Ok(text);
    }
    match rest.split_once(';') {
        Some((id, rest)) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => {
            match id.parse().unwrap_or_default() {
                WGS_84 => Ok(rest),
                foreign => Err(WktError::ForeignSrid(foreign)),
            }
        }
        _ => Err(WktError::Unreadable),
    }
}

/// What stands between a pair of parentheses.
#[derive(Debug, Clone, PartialEq)]
enum List {
    Positions(Vec<Position>),
    Lists(Vec<List>),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Point,
    LineString,
    Polygon,
    MultiPoint,
    MultiLineString,
    MultiPolygon,
    Collection,
}

const KINDS: [(&str, Kind); 7] = [
    ("POINT", Kind::Point),
    ("LINESTRING", Kind::LineString),
    ("POLYGON", Kind::Polygon),
    ("MULTIPOINT", Kind::MultiPoint),
    ("MULTILINESTRING", Kind::MultiLineString),
    ("MULTIPOLYGON", Kind::MultiPolygon),
    ("GEOMETRYCOLLECTION", Kind::Collection),
];
const UNSUPPORTED: [&str; 4] = ["CIRCULARSTRING", "COMPOUNDCURVE", "CURVEPOLYGON", "FULLGLOBE"];

struct Reader<'t> {
    rest: &'t str,
    has_more_dimensions: bool,
}

impl<'t> Reader<'t> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// Whether the next character is this one, which is then read.
    fn take(&mut self, wanted: char) -> bool {
        self.blanks();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &'t str {
        self.blanks();
        let end = self.rest.bytes().position(|b| !b.is_ascii_alphabetic());
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// Reads this word if it is the next.
    fn take_word(&mut self, wanted: &[&str]) -> bool {
        let before = self.rest;
        let word = self.word();
        let is_wanted = wanted.iter().any(|it| it.eq_ignore_ascii_case(word));
        if !is_wanted {
            self.rest = before;
        }
        is_wanted
    }

    /// One geometry. Only the outermost one may go on behind a comma: MULTIPOLYGON((…)), ((…)).
    fn geometry(&mut self, depth: usize, is_outermost: bool) -> Result<Geometry, WktError> {
        let name = self.word();
        if let Some(kind) = UNSUPPORTED.iter().find(|it| it.eq_ignore_ascii_case(name)) {
            return Err(WktError::Unsupported(kind));
        }
        let (_, kind) = KINDS
            .iter()
            .find(|(it, _)| it.eq_ignore_ascii_case(name))
            .ok_or(WktError::Unreadable)?;
        if self.take_word(&["Z", "M", "ZM"]) {
            self.has_more_dimensions = true;
        }
        if self.take_word(&["EMPTY"]) {
            return Ok(empty(*kind));
        }
        if let Kind::Collection = kind {
            return self.collection(depth).map(Geometry::Collection);
        }
        let mut bodies = vec![self.list(depth)?];
        while is_outermost && self.take(',') {
            bodies.push(self.list(depth)?);
        }
        let list = match <[List; 1]>::try_from(bodies) {
            Ok([one]) => one,
            Err(several) => List::Lists(several),
        };
        built(*kind, list)
    }

    fn collection(&mut self, depth: usize) -> Result<Vec<Geometry>, WktError> {
        if depth >= MAX_DEPTH || !self.take('(') {
            return Err(WktError::Unreadable);
        }
        let mut members = Vec::new();
        loop {
            self.blanks();
            if self.rest.starts_with('(') {
                members.extend(self.collection(depth + 1)?);
            } else {
                members.push(self.geometry(depth + 1, false)?);
            }
            match (self.take(','), self.take(')')) {
                (true, _) => {}
                (false, true) => return Ok(members),
                (false, false) => return Err(WktError::Unreadable),
            }
        }
    }

    /// A pair of parentheses and what stands in it.
    fn list(&mut self, depth: usize) -> Result<List, WktError> {
        if depth >= MAX_DEPTH || !self.take('(') {
            return Err(WktError::Unreadable);
        }
        let (mut lists, mut positions, mut halves) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.blanks();
            if self.rest.starts_with('(') {
                lists.extend(loose(&mut positions));
                lists.push(self.list(depth + 1)?);
            } else if self.take_word(&["EMPTY"]) {
                lists.extend(loose(&mut positions));
                lists.push(List::Positions(Vec::new()));
            } else {
                match self.position()? {
                    Numbers::Position(position) => positions.push(position),
                    Numbers::One(number) => halves.push(number),
                }
            }
            // `take` reads a character only where it is the wanted one.
            if self.take(',') {
                continue;
            }
            if !self.take(')') {
                return Err(WktError::Unreadable);
            }
            break;
        }
        match (halves.as_slice(), positions.is_empty() && lists.is_empty()) {
            ([], _) if lists.is_empty() => Ok(List::Positions(positions)),
            ([], _) => {
                lists.extend(loose(&mut positions));
                Ok(List::Lists(lists))
            }
            // One position with a comma in it.
            (&[x, y], true) => Ok(List::Positions(vec![[x, y]])),
            _ => Err(WktError::Unreadable),
        }
    }

    fn position(&mut self) -> Result<Numbers, WktError> {
        let x = self.number()?.ok_or(WktError::Unreadable)?;
        let Some(y) = self.number()? else { return Ok(Numbers::One(x)) };
        for _ in 0..2 {
            self.has_more_dimensions |= self.number()?.is_some();
        }
        Ok(Numbers::Position([x, y]))
    }

    fn number(&mut self) -> Result<Option<f64>, WktError> {
        self.blanks();
        let belongs = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
        let end = self.rest.bytes().position(|b| !belongs(b)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        if number.is_empty() {
            return Ok(None);
        }
        self.rest = rest;
        match number.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(WktError::Unreadable),
        }
    }
}

enum Numbers {
    Position(Position),
    One(f64),
}

/// Positions that stand beside lists are a list of their own.
fn loose(positions: &mut Vec<Position>) -> Option<List> {
    (!positions.is_empty()).then(|| List::Positions(std::mem::take(positions)))
}

fn empty(kind: Kind) -> Geometry {
    match kind {
        Kind::Point => Geometry::Point(None),
        Kind::LineString => Geometry::LineString(Vec::new()),
        Kind::Polygon => Geometry::Polygon(Vec::new()),
        Kind::MultiPoint => Geometry::MultiPoint(Vec::new()),
        Kind::MultiLineString => Geometry::MultiLineString(Vec::new()),
        Kind::MultiPolygon => Geometry::MultiPolygon(Vec::new()),
        Kind::Collection => Geometry::Collection(Vec::new()),
    }
}

fn built(kind: Kind, list: List) -> Result<Geometry, WktError> {
    Ok(match kind {
        Kind::Point => match list.positions().as_slice() {
            [] => Geometry::Point(None),
            [one] => Geometry::Point(Some(*one)),
            _ => return Err(WktError::Unreadable),
        },
        Kind::LineString => Geometry::LineString(path(list.positions())?),
        Kind::MultiPoint => {
            let leaves = list.leaves();
            // An empty point among others has no form in GeoJSON.
            if leaves.len() > 1 && leaves.iter().any(Vec::is_empty) {
                return Err(WktError::Unsupported("MULTIPOINT with an empty member"));
            }
            Geometry::MultiPoint(leaves.concat())
        }
        Kind::MultiLineString => {
            let paths = list.leaves().into_iter().map(path);
            Geometry::MultiLineString(paths.collect::<Result<_, _>>()?)
        }
        Kind::Polygon => Geometry::Polygon(rings(list)?),
        Kind::MultiPolygon => {
            let polygons = match list.without_spare_levels(3) {
                List::Positions(ring) => vec![List::Positions(ring)],
                List::Lists(polygons) => polygons,
            };
            let polygons = polygons.into_iter().map(rings);
            Geometry::MultiPolygon(polygons.collect::<Result<_, _>>()?)
        }
        // Read member by member.
        Kind::Collection => return Err(WktError::Unreadable),
    })
}

fn rings(list: List) -> Result<Vec<Vec<Position>>, WktError> {
    list.leaves().into_iter().filter(|ring| !ring.is_empty()).map(ring).collect()
}

fn path(positions: Vec<Position>) -> Result<Vec<Position>, WktError> {
    if positions.len() == 1 { Err(WktError::Unreadable) } else { Ok(positions) }
}

/// Closes a ring, which has at least three different corners then, or four positions.
fn ring(mut positions: Vec<Position>) -> Result<Vec<Position>, WktError> {
    if let (Some(&first), Some(last)) = (positions.first(), positions.last())
        && first != *last
    {
        positions.push(first);
    }
    if positions.len() < 4 { Err(WktError::Unreadable) } else { Ok(positions) }
}

impl List {
    /// All positions in order, whatever lists they stand in.
    fn positions(self) -> Vec<Position> {
        match self {
            List::Positions(positions) => positions,
            List::Lists(lists) => lists.into_iter().flat_map(List::positions).collect(),
        }
    }

    /// The innermost lists in order.
    fn leaves(self) -> Vec<Vec<Position>> {
        match self {
            List::Positions(positions) => vec![positions],
            List::Lists(lists) => lists.into_iter().flat_map(List::leaves).collect(),
        }
    }

    fn levels(&self) -> usize {
        match self {
            List::Positions(_) => 1,
            List::Lists(lists) => 1 + lists.iter().map(List::levels).max().unwrap_or_default(),
        }
    }

    /// Without outer parentheses around a single list, as long as there are more levels than
    /// `wanted`.
    fn without_spare_levels(self, wanted: usize) -> List {
        let mut spare = self.levels().saturating_sub(wanted);
        let mut list = self;
        while spare > 0 {
            list = match list {
                List::Lists(mut lists) if lists.len() == 1 => match lists.pop() {
                    Some(inner) => inner,
                    None => return List::Lists(lists),
                },
                other => return other,
            };
            spare -= 1;
        }
        list
    }
}
