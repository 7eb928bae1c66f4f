//! The coordinates of a validated document's entities, for the map. Unreadable coordinates are
//! left out.

use quick_xml::Reader;
use quick_xml::events::Event;
use std::io::{self, BufRead};

/// A place, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// North is positive.
    pub latitude: f64,
    /// East is positive.
    pub longitude: f64,
}

/// The coordinates of each `every`th entity, at most `most` of them: by the columns `Latitude` and `Longitude`
/// (Geocoded and custom schemas, Load Data Source Dataflow).
///
/// # Errors
/// When the document cannot be read.
pub fn points<R: BufRead>(reader: R, every: u64, most: usize) -> io::Result<Vec<Point>> {
    let mut reader = Reader::from_reader(reader);
    let (mut buffer, mut depth, mut entities) = (Vec::new(), 0_u32, 0_u64);
    let (mut latitude, mut longitude, mut column) = (None, None, Column::Other);
    let mut found = Vec::new();
    while found.len() < most {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(io::Error::other)? {
            Event::Start(tag) => {
                depth += 1;
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Latitude,
    Longitude,
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
