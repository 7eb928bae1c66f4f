//! A script for psql: a table with PostGIS geometries in one transaction, loaded by COPY.
//!
//! Sources: PostgreSQL's manual, "COPY" (text format), "System Columns", "Appendix K. PostgreSQL
//! Limits"; PostGIS's manual, `ST_GeomFromEWKB`.

use super::plan::{Content, DISTANCE, Destination, GEOM, Plan, SqlTable};
use super::postgis_functions;
use super::values::{self, Geometries, SqlValue};
use crate::export::changes::Changes;
use crate::export::names::Rules;
use crate::export::row::Row;
use crate::export::scan::Scan;
use crate::export::table::Typed;
use crate::export::{ExportError, Start, Target, Writer};
use crate::geometry::{self, Geometry, shortest};
use std::io::Write;

/// PostGIS holds all geometries, and PostgreSQL compares texts byte by byte.
pub(in crate::export) const SCAN: Scan =
    Scan { holds: Some(|_| true), compared: |key| key, across_tables: false };
const GEOMETRIES: Geometries = Geometries { holds: |_: &Geometry| true, orientation: None };
const DESTINATION: Destination = Destination {
    name: "PostgreSQL",
    names: Rules { ignores_case: false, most_bytes: 63 },
    staging: None,
    reserved_columns: &[GEOM, DISTANCE, "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"],
    most_columns: 1600,
};
/// Bytes of the longest text that a B-tree index holds on a page of 8 KiB, uncompressed (measured
/// with PostgreSQL 15; a row of an index has at most 2,704 bytes).
const LONGEST_KEY: usize = 2692;

struct Script<'w> {
    out: &'w mut (dyn Write + Send),
    plan: Plan,
    /// The table whose rows are being copied.
    copied: Option<usize>,
    line: Vec<u8>,
    geometry: Vec<u8>,
}

/// Begins with the tables.
pub(in crate::export) fn open<'w>(
    start: &Start,
    target: Target<'w>,
) -> Result<Box<dyn Writer + 'w>, ExportError> {
    let plan = Plan::of(start, &DESTINATION)?;
    for table in &plan.tables {
        let longest = table.facts.key.longest_bytes;
        if table.key.is_some() && longest > LONGEST_KEY {
            return Err(ExportError::Impossible(format!(
                "a primary key has {longest} bytes, and an index of PostgreSQL holds {LONGEST_KEY}"
            )));
        }
    }
    let mut script = Script {
        out: target.stream()?,
        plan,
        copied: None,
        line: Vec::new(),
        geometry: Vec::new(),
    };
    script.begin(start)?;
    Ok(Box::new(script))
}

/// A quoted identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An identifier with its schema, if the user named one.
pub(super) fn qualified(schema: Option<&str>, name: &str) -> String {
    match schema {
        None => quoted(name),
        Some(schema) => format!("{}.{}", quoted(schema), quoted(name)),
    }
}

pub(super) fn type_of(content: Content) -> &'static str {
    match content {
        Content::OtherText | Content::Values(Typed::Text) => "text",
        Content::Values(Typed::Integer) => "bigint",
        Content::Values(Typed::Double) => "double precision",
        Content::Values(Typed::Boolean) => "boolean",
        Content::Values(Typed::Instant) => "timestamptz",
        Content::Values(Typed::Geography) => "geometry(Geometry,4326)",
    }
}

impl Script<'_> {
    fn begin(&mut self, start: &Start) -> Result<(), ExportError> {
        let created = start.created_at.format("%Y-%m-%dT%H:%M:%SZ");
        writeln!(
            self.out,
            "-- The data source {}, as it was on {created}, for PostgreSQL 14 or newer with PostGIS.\n\
             -- Load it with: psql -v ON_ERROR_STOP=1 -f FILE\n\
             \\set ON_ERROR_STOP on\n\
             BEGIN;\n\
             SET LOCAL client_encoding = 'UTF8';\n\
             SET LOCAL standard_conforming_strings = on;\n\
             SET LOCAL client_min_messages = warning;\n\
             CREATE EXTENSION IF NOT EXISTS postgis;",
            start.source,
        )?;
        if let Some(schema) = &self.plan.schema {
            writeln!(self.out, "CREATE SCHEMA IF NOT EXISTS {};", quoted(schema))?;
        }
        for table in &self.plan.tables {
            if start.options.replace {
                if table.has_geom {
                    postgis_functions::drop(table, self.plan.schema.as_deref(), self.out)?;
                }
                let name = self.plan.qualified(table);
                writeln!(self.out, "DROP TABLE IF EXISTS {name};")?;
            }
            create_table(&self.plan, table, self.out)?;
        }
        Ok(())
    }

    fn end_copy(&mut self) -> std::io::Result<()> {
        if self.copied.take().is_some() {
            self.out.write_all(b"\\.\n")?;
        }
        Ok(())
    }
}

impl Plan {
    fn qualified(&self, table: &SqlTable) -> String {
        qualified(self.schema.as_deref(), &table.name)
    }
}

fn create_table(plan: &Plan, table: &SqlTable, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "CREATE TABLE {} (", plan.qualified(table))?;
    let columns = table.columns.iter().map(|it| (it.name.as_str(), type_of(it.content)));
    let geom = table.has_geom.then_some((GEOM, type_of(Content::Values(Typed::Geography))));
    let all: Vec<_> = columns
        .chain(geom)
        .map(|(name, r#type)| format!("    {} {type}", quoted(name), r#type = r#type))
        .collect();
    writeln!(out, "{}\n);", all.join(",\n"))
}

impl Writer for Script<'_> {
    fn row(&mut self, row: &Row<'_>, changes: &mut Changes) -> Result<(), ExportError> {
        if self.copied != Some(row.index) {
            self.end_copy()?;
        }
        let Some(table) = self.plan.tables.get(row.index) else { return Ok(()) };
        if self.copied.is_none() {
            writeln!(self.out, "COPY {} FROM stdin;", self.plan.qualified(table))?;
            self.copied = Some(row.index);
        }
        let (line, geometry) = (&mut self.line, &mut self.geometry);
        line.clear();
        values::each(table, row, &GEOMETRIES, changes, |value, _| {
            field(&value, line, geometry);
            line.push(b'\t');
            Ok::<_, ExportError>(())
        })?;
        // In place of the tab behind the last value.
        line.pop();
        line.push(b'\n');
        self.out.write_all(line)?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        self.end_copy()?;
        let Script { out, plan, .. } = *self;
        for table in &plan.tables {
            let name = plan.qualified(table);
            if let (Some(key), Some(column)) = (&table.key, table.key_column()) {
                let column = quoted(&column.name);
                if key.is_unique {
                    writeln!(out, "ALTER TABLE {name} ADD PRIMARY KEY ({column});")?;
                } else {
                    writeln!(
                        out,
                        "-- Not a primary key: entities lack a key, or two have the same.\n\
                         CREATE INDEX ON {name} ({column});"
                    )?;
                }
            }
            if table.has_geom {
                writeln!(
                    out,
                    "CREATE INDEX ON {name} USING gist ({geom});\n\
                     -- For distances on the globe, which the functions measure.\n\
                     CREATE INDEX ON {name} USING gist (({geom}::geography));",
                    geom = quoted(GEOM),
                )?;
                postgis_functions::create(table, plan.schema.as_deref(), out)?;
            }
        }
        for table in &plan.tables {
            writeln!(out, "ANALYZE {};", plan.qualified(table))?;
        }
        writeln!(out, "COMMIT;")?;
        Ok(())
    }
}

/// A value in COPY's text format.
fn field(value: &SqlValue<'_>, line: &mut Vec<u8>, geometry: &mut Vec<u8>) {
    match value {
        SqlValue::Null => line.extend_from_slice(b"\\N"),
        SqlValue::Text(text) => escaped(text, line),
        SqlValue::Integer(number) => line.extend_from_slice(number.to_string().as_bytes()),
        SqlValue::Double(number) if number.is_nan() => line.extend_from_slice(b"NaN"),
        SqlValue::Double(f64::INFINITY) => line.extend_from_slice(b"Infinity"),
        SqlValue::Double(f64::NEG_INFINITY) => line.extend_from_slice(b"-Infinity"),
        SqlValue::Double(number) => shortest(*number, line),
        SqlValue::Boolean(value) => line.push(if *value { b't' } else { b'f' }),
        SqlValue::Instant(instant) => {
            let text = instant.format("%Y-%m-%d %H:%M:%S%.3f+00").to_string();
            line.extend_from_slice(text.as_bytes());
        }
        SqlValue::Geometry(value) => {
            geometry.clear();
            geometry::ewkb(value, geometry);
            hexadecimal(geometry, line);
        }
    }
}

fn escaped(text: &str, line: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = next_escaped(rest)
        && let Some((before, [byte, behind @ ..])) = rest.split_at_checked(at)
    {
        line.extend_from_slice(before);
        line.push(b'\\');
        line.push(match byte {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            other => *other,
        });
        rest = behind;
    }
    line.extend_from_slice(rest);
}

/// Where the next byte is that has a meaning in COPY's text.
fn next_escaped(bytes: &[u8]) -> Option<usize> {
    let first = memchr::memchr3(b'\\', b'\n', b'\r', bytes);
    let before = bytes.get(..first.unwrap_or(bytes.len())).unwrap_or_default();
    memchr::memchr(b'\t', before).or(first)
}

fn hexadecimal(bytes: &[u8], line: &mut Vec<u8>) {
    let digit = |number: u8| number + if number < 10 { b'0' } else { b'A' - 10 };
    line.reserve(2 * bytes.len());
    for byte in bytes {
        line.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}
