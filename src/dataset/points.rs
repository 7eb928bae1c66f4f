//! The coordinates of a validated document's entities, for the map. Unreadable coordinates are
//! left out.

use super::entity::Entity;
use super::error::ValidationError;
use super::reader::Reader;
use super::{DocumentLimits, markup};
use std::io::{self, BufRead};

/// A place, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// North is positive.
    pub latitude: f64,
    /// East is positive.
    pub longitude: f64,
}

impl Point {
    fn is_on_globe(self) -> bool {
        self.latitude.abs() <= 90.0 && self.longitude.abs() <= 180.0
    }
}

/// Where an entity is, by its columns `Latitude` and `Longitude`; `None` if they are not both
/// there, or not on the globe.
pub fn place(entity: &Entity<'_>) -> Option<Point> {
    coordinates(entity).filter(|point| point.is_on_globe())
}

/// The coordinates of each `every`th entity that has some, at most `most` of them: by the columns
/// `Latitude` and `Longitude` (Geocoded and custom schemas, Load Data Source Dataflow), whether or
/// not the schema declares them. A document that is cut short gives those before the cut.
///
/// # Errors
/// When the document cannot be read, is not valid, or goes beyond the default [`DocumentLimits`],
/// its size apart: the file may have been replaced since the document was validated.
pub fn points<R: BufRead>(input: R, every: u64, most: usize) -> io::Result<Vec<Point>> {
    let limits = DocumentLimits { max_bytes: u64::MAX, ..DocumentLimits::default() };
    let mut found = Vec::new();
    match collect(input, &limits, every, most, &mut found) {
        Ok(()) | Err(ValidationError::Truncated { .. }) => Ok(found),
        Err(ValidationError::Io(error)) => Err(error),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

fn collect<R: BufRead>(
    input: R,
    limits: &DocumentLimits,
    every: u64,
    most: usize,
    found: &mut Vec<Point>,
) -> Result<(), ValidationError> {
    let mut reader = Reader::open(input, limits)?;
    let mut entities = 0_u64;
    while found.len() < most {
        let Some(entity) = reader.next_entity()? else { break };
        let Some(point) = coordinates(&entity) else { continue };
        let is_wanted = entities.is_multiple_of(every);
        entities += 1;
        if is_wanted && point.is_on_globe() {
            found.push(point);
        }
    }
    Ok(())
}

/// Two numbers in an entity's columns, on the globe or not.
fn coordinates(entity: &Entity<'_>) -> Option<Point> {
    let (mut latitude, mut longitude) = (None, None);
    for element in entity.elements() {
        let degrees = match markup::local(element.name()) {
            "Latitude" => &mut latitude,
            "Longitude" => &mut longitude,
            _ => continue,
        };
        *degrees = degrees.or_else(|| element.text().trim().parse().ok());
    }
    Some(Point { latitude: latitude?, longitude: longitude? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    const DOCUMENT: &str = "<MainRoot><xs:schema><xs:element><Latitude>9</Latitude></xs:element></xs:schema>\
        <Shop><EntityID>1</EntityID><Latitude>52.5</Latitude><Longitude>13.4</Longitude></Shop>\
        <Shop><EntityID>2</EntityID></Shop>\
        <Shop><Longitude> -74 </Longitude><Latitude>4.07E1</Latitude></Shop>\
        <Shop><Latitude>91</Latitude><Longitude>0</Longitude></Shop>\
        <Shop><Latitude>x</Latitude><Longitude>0</Longitude></Shop></MainRoot>";

    #[test]
    fn places_are_found_and_what_is_none_is_left_out() {
        let place = |latitude, longitude| Point { latitude, longitude };
        let all = [place(52.5, 13.4), place(40.7, -74.0)];
        assert_eq!(points(DOCUMENT.as_bytes(), 1, 10).unwrap(), all);
        assert_eq!(points(DOCUMENT.as_bytes(), 2, 10).unwrap(), all[..1]);
        assert_eq!(points(DOCUMENT.as_bytes(), 1, 1).unwrap(), all[..1]);
        assert!(points("<a></b>".as_bytes(), 1, 1).is_err());
    }

    #[test]
    fn a_document_of_one_endless_piece_or_depth_is_not_kept_in_memory() {
        let refused = |document: &mut dyn BufRead| points(document, 1, 1).unwrap_err().kind();
        let text = io::repeat(b'x').take(40 << 20);
        let mut text = "<a><b><Latitude>".as_bytes().chain(io::BufReader::new(text));
        assert_eq!(refused(&mut text), io::ErrorKind::InvalidData);
        let tag = io::repeat(b'x').take(40 << 20);
        let mut tag = "<a><b><Latitude ".as_bytes().chain(io::BufReader::new(tag));
        assert_eq!(refused(&mut tag), io::ErrorKind::InvalidData);
        assert_eq!(refused(&mut "<a>".repeat(68).as_bytes()), io::ErrorKind::InvalidData);
        let name = format!("<{}>", "n".repeat(1025));
        assert_eq!(refused(&mut name.as_bytes()), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_error_of_the_reader_stays_what_it_is() {
        struct Gone;
        impl io::Read for Gone {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::TimedOut.into())
            }
        }
        let error = points(io::BufReader::new(Gone), 1, 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
