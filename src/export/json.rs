//! Values as JSON.

use super::Start;
use super::changes::{Changes, Kind};
use super::marked::MarkedOptions;
use super::names::{self, Rules};
use super::row::Row;
use super::table::{Table, Typed};
use crate::dataset::Value;
use crate::geometry::shortest;
use std::io;

/// The highest whole number that every JSON reader keeps exactly, and its opposite.
const EXACT: u64 = 1 << 53;

/// How whole numbers beyond 2^53 are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LargeNumbers {
    /// As numbers, with all digits.
    Numbers,
    /// As strings.
    Strings,
}

/// A JSON string.
pub(super) fn string(text: &str, out: &mut Vec<u8>) -> io::Result<()> {
    serde_json::to_writer(out, text).map_err(io::Error::from)
}

/// The value of one column of a row.
pub(super) fn value(
    row: &Row<'_>,
    column: usize,
    large: LargeNumbers,
    changes: &mut Changes,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    match row.value(column) {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Double(number) if number.is_finite() => shortest(number, out),
        Value::Double(_) => {
            changes.add(row.column_name(column), Kind::NotFinite, row.key);
            out.extend_from_slice(b"null");
        }
        Value::Integer(number) => {
            let is_large = number.unsigned_abs() > u128::from(EXACT);
            if is_large && large == LargeNumbers::Strings {
                changes.add(row.column_name(column), Kind::NumberAsText, row.key);
                return string(&number.to_string(), out);
            }
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::Text(_) if row.kind(column) == Typed::Double => {
            changes.add(row.column_name(column), Kind::OutOfRange, row.key);
            out.extend_from_slice(b"null");
        }
        // Text formats keep what was sent: of instants, numbers without bounds, geographies, and
        // what does not read as its type.
        Value::Text(_)
        | Value::Decimal(_)
        | Value::Instant(_)
        | Value::Geometry(_)
        | Value::Unreadable(_) => string(row.text(column).unwrap_or_default(), out)?,
    }
    Ok(())
}

/// The property that says of which type an entity is, where there are several.
const ENTITY_TYPE: &str = "entity_type";

/// The properties of each table's objects: their names, each once in an object.
#[derive(Debug)]
pub(super) struct Properties {
    /// By table and column; `None` for one that is left out.
    names: Vec<Vec<Option<String>>>,
    /// Whether an object says of which type it is.
    have_types: bool,
}

impl Properties {
    /// The columns under the names that `renamed` gives them.
    pub(super) fn of(start: &Start, renamed: impl Fn(&str) -> String) -> Properties {
        let have_types = start.tables.len() > 1;
        let reserved: &[&str] = if have_types { &[ENTITY_TYPE] } else { &[] };
        let rules = Rules { ignores_case: false, most_bytes: usize::MAX };
        let of_table = |table: &Table| {
            let all: Vec<_> = table.columns.iter().map(|column| renamed(&column.name)).collect();
            let names = names::unique(all.iter().map(String::as_str), reserved, rules);
            names.into_iter().map(Some).collect()
        };
        Properties { names: start.tables.iter().map(of_table).collect(), have_types }
    }

    /// The columns of one table, beside a mark.
    pub(super) fn marked(table: &Table, options: &MarkedOptions) -> Properties {
        let rules = Rules { ignores_case: false, most_bytes: usize::MAX };
        let reserved = [options.mark, ENTITY_TYPE];
        let reserved = reserved.get(..if options.have_types { 2 } else { 1 }).unwrap_or_default();
        let all = table.columns.iter().map(|column| column.name.as_str());
        let names = names::unique(all, reserved, rules).into_iter().zip(&table.columns);
        let names =
            names.map(|(name, column)| (!options.ignore.contains(&column.name)).then_some(name));
        Properties { names: vec![names.collect()], have_types: options.have_types }
    }

    /// Writes the members of a row's object, without braces; one column may be left out.
    pub(super) fn write(
        &self,
        row: &Row<'_>,
        without: Option<usize>,
        large: LargeNumbers,
        changes: &mut Changes,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        self.write_behind(out.len(), row, without, large, changes, out)
    }

    /// The same, where the object begins at `start` and may have members already.
    pub(super) fn write_behind(
        &self,
        start: usize,
        row: &Row<'_>,
        without: Option<usize>,
        large: LargeNumbers,
        changes: &mut Changes,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        if self.have_types {
            member(ENTITY_TYPE, start, out)?;
            string(&row.table.name, out)?;
        }
        let names = self.names.get(row.index).into_iter().flatten();
        for (column, name) in names.enumerate() {
            if let Some(name) = name.as_deref().filter(|_| Some(column) != without) {
                member(name, start, out)?;
                value(row, column, large, changes, out)?;
            }
        }
        Ok(())
    }
}

/// A member's name, with a comma before it unless it is the first behind `start`.
pub(super) fn member(name: &str, start: usize, out: &mut Vec<u8>) -> io::Result<()> {
    if out.len() > start {
        out.push(b',');
    }
    string(name, out)?;
    out.push(b':');
    Ok(())
}
