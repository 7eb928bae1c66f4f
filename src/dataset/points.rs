//! The coordinates of a validated document's entities, for the map. Unreadable coordinates are
//! left out.

use super::DocumentLimits;
use super::bounded::{Bounded, Stop};
use quick_xml::Reader;
use quick_xml::events::Event;
use std::io::{self, BufRead};

/// The root, an entity and a column are around what the limit of a document's depth is for.
const OUTER: usize = 3;

/// A place, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// North is positive.
    pub latitude: f64,
    /// East is positive.
    pub longitude: f64,
}

/// The coordinates of each `every`th entity, at most `most` of them: by the columns `Latitude` and
/// `Longitude` (Geocoded and custom schemas, Load Data Source Dataflow).
///
/// # Errors
/// When the document cannot be read, or goes beyond the default [`DocumentLimits`] of one piece:
/// the file may have been replaced since the document was validated.
pub fn points<R: BufRead>(reader: R, every: u64, most: usize) -> io::Result<Vec<Point>> {
    let limits = DocumentLimits::default();
    let reader = Bounded::new(reader, u64::MAX, limits.max_value_bytes as u64);
    let mut reader = Reader::from_reader(reader);
    let (mut buffer, mut depth, mut entities) = (Vec::new(), 0_usize, 0_u64);
    let (mut latitude, mut longitude, mut column) = (None, None, Column::Other);
    let mut found = Vec::new();
    while found.len() < most {
        buffer.clear();
        reader.get_mut().begin_piece();
        let event = match reader.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(error) => return Err(why(reader.get_mut().take_stop(), error)),
        };
        match event {
            Event::Start(tag) => {
                depth += 1;
                // The reader remembers the name of every open element.
                if depth > limits.max_depth + OUTER
                    || tag.local_name().as_ref().len() > limits.max_name_bytes
                {
                    return Err(too_large("its elements"));
                }
                column = match (depth, tag.local_name().as_ref()) {
                    (3, "Latitude") => Column::Latitude,
                    (3, "Longitude") => Column::Longitude,
                    _ => Column::Other,
                };
            }
            Event::Text(text) if depth == 3 && column != Column::Other => {
                let value = text.trim().parse().ok();
                match column {
                    Column::Latitude => latitude = value,
                    _ => longitude = value,
                }
            }
            Event::End(_) => {
                if depth == 2 {
                    let place = latitude.take().zip(longitude.take());
                    let (is_wanted, place) = (entities.is_multiple_of(every), place);
                    if let Some((latitude, longitude)) = place {
                        entities += 1;
                        let is_one = f64::abs(latitude) <= 90.0 && f64::abs(longitude) <= 180.0;
                        found
                            .extend((is_wanted && is_one).then_some(Point { latitude, longitude }));
                    }
                }
                depth = depth.saturating_sub(1);
                column = Column::Other;
            }
            Event::Eof => break,
            _ => {}
        }
    }
    Ok(found)
}

/// Why the document could not be read on.
fn why(stop: Option<Stop>, error: quick_xml::Error) -> io::Error {
    match stop {
        None => io::Error::other(error),
        Some(Stop::Io(error)) => error,
        Some(Stop::Document | Stop::Section | Stop::Piece) => too_large("one value or tag of it"),
    }
}

fn too_large(what: &str) -> io::Error {
    let message = format!("{what} go beyond the limits of a document");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Latitude,
    Longitude,
    Other,
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
