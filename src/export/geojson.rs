//! GeoJSON (RFC 7946) as one collection, and as a sequence of texts (RFC 8142).

use super::changes::Changes;
use super::json::{self, LargeNumbers, Properties};
use super::marked::Mark;
use super::row::Row;
use super::{ExportError, Start, Target, Writer};
use crate::geometry::{self, Surface};
use std::io::{self, Write};

/// What begins each text of a sequence.
const RECORD_SEPARATOR: u8 = 0x1e;

struct Features<'w> {
    out: &'w mut (dyn Write + Send),
    is_sequence: bool,
    properties: Properties,
    is_first: bool,
    /// The row, before it is written at once.
    line: Vec<u8>,
}

/// A FeatureCollection.
pub(super) fn collection<'w>(
    start: &Start,
    target: Target<'w>,
) -> Result<Box<dyn Writer + 'w>, ExportError> {
    let features = features(start, target, false)?;
    features.out.write_all(b"{\"type\":\"FeatureCollection\",\"features\":[")?;
    Ok(Box::new(features))
}

/// A sequence of Features.
pub(super) fn sequence<'w>(
    start: &Start,
    target: Target<'w>,
) -> Result<Box<dyn Writer + 'w>, ExportError> {
    Ok(Box::new(features(start, target, true)?))
}

fn features<'w>(
    start: &Start,
    target: Target<'w>,
    is_sequence: bool,
) -> Result<Features<'w>, ExportError> {
    let out = target.stream()?;
    let properties = Properties::of(start, |name| name.to_owned());
    Ok(Features { out, is_sequence, properties, is_first: true, line: Vec::new() })
}

impl Writer for Features<'_> {
    fn row(&mut self, row: &Row<'_>, changes: &mut Changes) -> Result<(), ExportError> {
        let line = &mut self.line;
        line.clear();
        match (self.is_sequence, self.is_first) {
            (true, _) => line.push(RECORD_SEPARATOR),
            (false, true) => line.push(b'\n'),
            (false, false) => line.extend_from_slice(b",\n"),
        }
        self.is_first = false;
        feature(row, &self.properties, None, changes, line)?;
        if self.is_sequence {
            line.push(b'\n');
        }
        self.out.write_all(line)?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        if !self.is_sequence {
            self.out.write_all(b"\n]}\n")?;
        }
        Ok(())
    }
}

/// One Feature object, without a line end.
pub(super) fn feature(
    row: &Row<'_>,
    properties: &Properties,
    mark: Option<Mark<'_>>,
    changes: &mut Changes,
    line: &mut Vec<u8>,
) -> io::Result<()> {
    line.extend_from_slice(b"{\"type\":\"Feature\"");
    if let Some(key) = row.key {
        line.extend_from_slice(b",\"id\":");
        json::string(key, line)?;
    }
    line.extend_from_slice(b",\"geometry\":");
    match &row.chosen.geometry {
        None => line.extend_from_slice(b"null"),
        Some(geometry) => {
            geometry::geojson(&row.oriented(geometry, Surface::Plane, changes), line);
        }
    }
    line.extend_from_slice(b",\"properties\":{");
    let start = line.len();
    if let Some(Mark { name, value }) = mark {
        json::member(name, start, line)?;
        json::string(value, line)?;
    }
    let became_geometry = row.became_geometry();
    properties.write_behind(start, row, became_geometry, LargeNumbers::Numbers, changes, line)?;
    line.extend_from_slice(b"}}");
    Ok(())
}
