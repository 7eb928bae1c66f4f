//! CSV (RFC 4180): UTF-8, CRLF, a header. A null is an empty field, an empty string is `""`, so
//! that PostgreSQL's `COPY … CSV HEADER` loads it without loss.

use super::changes::{Changes, Kind};
use super::names::{self, Rules};
use super::row::Row;
use super::{ExportError, Start, Target, Writer};
use crate::dataset::Value;
use std::io::Write;

/// What spreadsheets take for the beginning of a formula.
const FORMULA: [char; 4] = ['=', '+', '-', '@'];
const BYTE_ORDER_MARK: &str = "\u{feff}";

struct Lines<'w> {
    out: &'w mut (dyn Write + Send),
    is_for_excel: bool,
    line: Vec<u8>,
}

/// Begins with the header.
pub(super) fn open<'w>(
    start: &Start,
    target: Target<'w>,
) -> Result<Box<dyn Writer + 'w>, ExportError> {
    let out = target.stream()?;
    let mut lines = Lines { out, is_for_excel: start.options.excel, line: Vec::new() };
    if lines.is_for_excel {
        lines.line.extend_from_slice(BYTE_ORDER_MARK.as_bytes());
    }
    let columns = start.tables.iter().flat_map(|table| &table.columns);
    let rules = Rules { ignores_case: false, most_bytes: usize::MAX };
    let names = names::unique(columns.map(|column| column.name.as_str()), &[], rules);
    for (index, name) in names.iter().enumerate() {
        lines.separate(index);
        field(name, &mut lines.line);
    }
    lines.end()?;
    Ok(Box::new(lines))
}

impl Lines<'_> {
    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.line.push(b',');
        }
    }

    fn end(&mut self) -> std::io::Result<()> {
        self.line.extend_from_slice(b"\r\n");
        self.out.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }
}

impl Writer for Lines<'_> {
    fn has_geometries(&self) -> bool {
        false
    }

    fn row(&mut self, row: &Row<'_>, changes: &mut Changes) -> Result<(), ExportError> {
        for (index, column) in row.table.columns.iter().enumerate() {
            self.separate(index);
            let Some(text) = row.text(index) else { continue };
            if self.is_for_excel && is_text(row.value(index)) && text.starts_with(FORMULA) {
                changes.add(&column.name, Kind::FormulaEscaped, row.key);
                field(&format!("'{text}"), &mut self.line);
            } else {
                field(text, &mut self.line);
            }
        }
        self.end()?;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        Ok(())
    }
}

/// Whether a spreadsheet may only show the value, not calculate with it.
fn is_text(value: Value<'_>) -> bool {
    matches!(value, Value::Text(_) | Value::Geometry(_) | Value::Unreadable(_))
}

/// One field that is no null, quoted where it must be.
fn field(text: &str, line: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let must_be_quoted = text.is_empty()
        // The end of the data for PostgreSQL before version 17.
        || text == "\\."
        || memchr::memchr3(b'"', b',', b'\n', bytes).is_some()
        || memchr::memchr(b'\r', bytes).is_some();
    if !must_be_quoted {
        return line.extend_from_slice(text.as_bytes());
    }
    line.push(b'"');
    for part in text.split_inclusive('"') {
        line.extend_from_slice(part.as_bytes());
        if part.ends_with('"') {
            line.push(b'"');
        }
    }
    line.push(b'"');
}
