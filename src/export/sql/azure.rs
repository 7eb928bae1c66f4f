//! A T-SQL script for `sqlcmd`: a staging table, filled by batches and renamed when it is complete.
//!
//! Sources: Microsoft's documentation of Transact-SQL and sqlcmd, "Maximum capacity specifications
//! for SQL Server" (1,024 columns, 900 bytes of a clustered key), "Table value constructor" (1,000
//! rows), "float and real" (no subnormal numbers, INF or NaN), "geography" (latitudes of ±90; the
//! interior is to the left of a ring), "Backslash (Line Continuation)".

use super::azure_functions;
use super::azure_text::{bracketed, literal, quoted};
use super::plan::{Content, DISTANCE, Destination, GEOM, Plan, SqlColumn, SqlTable};
use super::values::{self, Geometries, SqlValue};
use crate::export::changes::{Changes, Kind};
use crate::export::names::Rules;
use crate::export::row::Row;
use crate::export::scan::Scan;
use crate::export::table::Typed;
use crate::export::{ExportError, Start, Target, Writer};
use crate::geometry::{self, Geometry, Surface, shortest};
use std::io::{self, Write};

/// Texts are compared without trailing blanks, in every collation.
pub(in crate::export) const SCAN: Scan = Scan {
    holds: Some(is_on_the_globe),
    compared: |key| key.trim_end_matches(' '),
    across_tables: false,
};
const GEOMETRIES: Geometries =
    Geometries { holds: is_on_the_globe, orientation: Some(Surface::Globe) };
const DESTINATION: Destination = Destination {
    name: "Azure SQL",
    names: Rules { ignores_case: true, most_bytes: 128 },
    staging: Some("__nightjar_staging"),
    reserved_columns: &[GEOM, DISTANCE],
    most_columns: 1024,
};
/// Characters (UTF-16 code units) of the longest key: 900 bytes.
const LONGEST_KEY: usize = 450;
/// Characters of the longest text that the service allows.
const USUAL_TEXT: usize = 2560;
/// Characters of the longest text outside of `nvarchar(max)`.
const LONGEST_TEXT: usize = 4000;
/// Options that spatial indexes need, sqlcmd's own defaults among them, and two for the script.
const ON: [&str; 8] = [
    "ANSI_NULLS",
    "ANSI_PADDING",
    "ANSI_WARNINGS",
    "ARITHABORT",
    "CONCAT_NULL_YIELDS_NULL",
    "QUOTED_IDENTIFIER",
    "NOCOUNT",
    "XACT_ABORT",
];
/// Rows, values and bytes of one INSERT.
const MOST_ROWS: usize = 1000;
const MOST_VALUES: usize = 20_000;
const MOST_BYTES: usize = 2 << 20;

struct Script<'w> {
    out: &'w mut (dyn Write + Send),
    plan: Plan,
    replace: bool,
    /// The INSERT that is being written.
    insert: Option<Insert>,
    line: Vec<u8>,
}

/// An INSERT that can take more rows.
struct Insert {
    index: usize,
    rows: usize,
    bytes: usize,
}

/// Begins with the staging tables.
pub(in crate::export) fn open<'w>(
    start: &Start,
    target: Target<'w>,
) -> Result<Box<dyn Writer + 'w>, ExportError> {
    let plan = Plan::of(start, &DESTINATION)?;
    for table in &plan.tables {
        check_key(table, start)?;
    }
    let replace = start.options.replace;
    let mut script =
        Script { out: target.stream()?, plan, replace, insert: None, line: Vec::new() };
    script.begin(start)?;
    Ok(Box::new(script))
}

/// Latitudes beyond ±90 are an error of the destination, longitudes are normalised.
fn is_on_the_globe(geometry: &Geometry) -> bool {
    geometry.bounds().is_none_or(|bounds| {
        bounds.west >= -180.0
            && bounds.east <= 180.0
            && bounds.south >= -90.0
            && bounds.north <= 90.0
    })
}

fn check_key(table: &SqlTable, start: &Start) -> Result<(), ExportError> {
    let Some(column) = table.key_column() else { return Ok(()) };
    let units = table.facts.columns.get(column.source).map_or(0, |facts| facts.longest_units);
    if units > LONGEST_KEY {
        return Err(ExportError::Impossible(format!(
            "a primary key has {units} characters, and an index of Azure SQL holds {LONGEST_KEY}"
        )));
    }
    let key = table.facts.key;
    if start.keys_are_proven && key.twice.is_some() && key.has_more_than_compared {
        return Err(ExportError::Impossible(
            "two primary keys are the same for Azure SQL, which ignores blanks at the end of a text"
                .to_owned(),
        ));
    }
    Ok(())
}

impl Plan {
    fn schema(&self) -> &str {
        self.schema.as_deref().unwrap_or("dbo")
    }

    /// A name with its schema.
    pub(super) fn bracketed(&self, name: &str) -> String {
        format!("{}.{}", bracketed(self.schema()), bracketed(name))
    }

    fn staging(&self, table: &SqlTable) -> String {
        self.bracketed(&table.staging)
    }
}

fn type_of(table: &SqlTable, index: usize, column: &SqlColumn) -> String {
    let is_key = table.key.as_ref().is_some_and(|key| key.column == index);
    let longest = table.facts.columns.get(column.source).map_or(0, |facts| facts.longest_units);
    match column.content {
        Content::Values(Typed::Text) if is_key => {
            format!("nvarchar({LONGEST_KEY}) COLLATE Latin1_General_100_BIN2")
        }
        Content::Values(Typed::Text) if longest <= USUAL_TEXT => format!("nvarchar({USUAL_TEXT})"),
        Content::Values(Typed::Text) if longest <= LONGEST_TEXT => {
            format!("nvarchar({LONGEST_TEXT})")
        }
        Content::Values(Typed::Text) | Content::OtherText => "nvarchar(max)".to_owned(),
        Content::Values(Typed::Integer) => "bigint".to_owned(),
        Content::Values(Typed::Double) => "float".to_owned(),
        Content::Values(Typed::Boolean) => "bit".to_owned(),
        Content::Values(Typed::Instant) => "datetime2(3)".to_owned(),
        Content::Values(Typed::Geography) => "geography".to_owned(),
    }
}

impl Script<'_> {
    fn begin(&mut self, start: &Start) -> Result<(), ExportError> {
        let created = start.created_at.format("%Y-%m-%dT%H:%M:%SZ");
        // sqlcmd needs the byte order mark to read UTF-8.
        write!(
            self.out,
            "\u{feff}-- The data source {}, as it was on {created}, for Azure SQL and SQL Server.\n\
             -- Load it with: sqlcmd -b -i FILE\n\
             :on error exit\n\
             ",
            start.source,
        )?;
        for option in ON {
            writeln!(self.out, "SET {option} ON;")?;
        }
        writeln!(self.out, "SET NUMERIC_ROUNDABORT OFF;\nGO")?;
        if !self.replace {
            for table in &self.plan.tables {
                let functions = table.functions.iter().filter(|_| table.has_geom);
                for name in functions.chain([&table.name]) {
                    let object = quoted(&self.plan.bracketed(name));
                    let message = quoted(&format!("{name} exists already."));
                    writeln!(
                        self.out,
                        "IF OBJECT_ID({object}) IS NOT NULL THROW 50000, {message}, 1;"
                    )?;
                }
            }
            self.go()?;
        }
        if let Some(schema) = &self.plan.schema {
            let create = quoted(&format!("CREATE SCHEMA {}", bracketed(schema)));
            let schema = quoted(schema);
            writeln!(self.out, "IF SCHEMA_ID({schema}) IS NULL EXEC({create});\nGO")?;
        }
        for table in &self.plan.tables {
            let name = self.plan.staging(table);
            writeln!(self.out, "DROP TABLE IF EXISTS {name};\nGO\nCREATE TABLE {name} (")?;
            let mut lines: Vec<_> = table
                .columns
                .iter()
                .enumerate()
                .map(|(index, column)| {
                    let is_primary =
                        table.key.as_ref().is_some_and(|key| key.is_unique && key.column == index);
                    let null = if is_primary { "NOT NULL" } else { "NULL" };
                    let r#type = type_of(table, index, column);
                    format!("    {} {type} {null}", bracketed(&column.name), r#type = r#type)
                })
                .collect();
            if table.has_geom {
                lines.push(format!("    {} geography NULL", bracketed(GEOM)));
            }
            if let (Some(key), Some(column)) = (&table.key, table.key_column())
                && key.is_unique
            {
                lines.push(format!("    PRIMARY KEY CLUSTERED ({})", bracketed(&column.name)));
            }
            writeln!(self.out, "{}\n);\nGO", lines.join(",\n"))?;
        }
        Ok(())
    }

    fn go(&mut self) -> io::Result<()> {
        self.out.write_all(b"GO\n")
    }

    fn end_insert(&mut self) -> io::Result<()> {
        if self.insert.take().is_some() {
            self.out.write_all(b";\nGO\n")?;
        }
        Ok(())
    }
}

impl Writer for Script<'_> {
    fn row(&mut self, row: &Row<'_>, changes: &mut Changes) -> Result<(), ExportError> {
        let Some(table) = self.plan.tables.get(row.index) else { return Ok(()) };
        let line = &mut self.line;
        line.clear();
        line.push(b'(');
        let mut position = 0;
        values::each(table, row, &GEOMETRIES, changes, |value, changes| {
            let column = table.columns.get(position);
            position += 1;
            expression(&value, column, row, changes, line)?;
            line.push(b',');
            Ok::<_, ExportError>(())
        })?;
        // In place of the comma behind the last value.
        line.pop();
        line.push(b')');
        let length = line.len();
        let fits = self.insert.as_ref().is_some_and(|insert| {
            insert.index == row.index
                && insert.rows < MOST_ROWS
                && (insert.rows + 1) * position <= MOST_VALUES
                && insert.bytes + length <= MOST_BYTES
        });
        if !fits {
            self.end_insert()?;
        }
        match &mut self.insert {
            Some(insert) => {
                self.out.write_all(b",\n")?;
                insert.rows += 1;
                insert.bytes += length;
            }
            None => {
                let Some(table) = self.plan.tables.get(row.index) else { return Ok(()) };
                let geom = table.has_geom.then_some(GEOM);
                let columns = table.columns.iter().map(|column| column.name.as_str()).chain(geom);
                let columns: Vec<_> = columns.map(bracketed).collect();
                let name = self.plan.staging(table);
                writeln!(self.out, "INSERT INTO {name} ({}) VALUES", columns.join(","))?;
                self.insert = Some(Insert { index: row.index, rows: 1, bytes: length });
            }
        }
        self.out.write_all(&self.line)?;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ExportError> {
        self.end_insert()?;
        let Script { out, plan, replace, .. } = *self;
        for table in &plan.tables {
            let name = plan.staging(table);
            let rows = table.facts.rows;
            writeln!(
                out,
                "IF {rows} <> (SELECT COUNT_BIG(*) FROM {name}) \
                 THROW 50000, N'Rows are missing.', 1;\nGO"
            )?;
            index_key(table, &name, out)?;
            index_geom(table, &name, out)?;
        }
        writeln!(out, "BEGIN TRANSACTION;\nGO")?;
        for table in &plan.tables {
            let name = plan.bracketed(&table.name);
            if replace {
                for function in table.functions.iter().filter(|_| table.has_geom) {
                    writeln!(out, "DROP FUNCTION IF EXISTS {};", plan.bracketed(function))?;
                }
                writeln!(out, "DROP TABLE IF EXISTS {name};")?;
            }
            let (from, to) = (quoted(&plan.staging(table)), quoted(&table.name));
            writeln!(out, "EXEC sp_rename {from}, {to};\nGO")?;
            if table.has_geom {
                azure_functions::create(&plan, table, out)?;
            }
        }
        writeln!(out, "COMMIT TRANSACTION;\nGO")?;
        Ok(())
    }
}

/// The index of keys that are not unique; unique ones have their clustered primary key.
fn index_key(table: &SqlTable, name: &str, out: &mut dyn Write) -> io::Result<()> {
    let (Some(key), Some(column)) = (&table.key, table.key_column()) else { return Ok(()) };
    if key.is_unique {
        return Ok(());
    }
    writeln!(
        out,
        "-- Not a primary key: entities lack a key, or two have the same.\n\
         CREATE INDEX {} ON {name} ({});\nGO",
        bracketed("key_index"),
        bracketed(&column.name),
    )
}

fn index_geom(table: &SqlTable, name: &str, out: &mut dyn Write) -> io::Result<()> {
    if !table.has_geom {
        return Ok(());
    }
    if table.key.as_ref().is_none_or(|key| !key.is_unique) {
        return writeln!(out, "-- No spatial index: it needs a clustered primary key.");
    }
    writeln!(
        out,
        "CREATE SPATIAL INDEX {} ON {name} ({}) USING GEOGRAPHY_AUTO_GRID;\nGO",
        bracketed("geom_index"),
        bracketed(GEOM),
    )
}

/// A value as an expression. The column is `None` for `geom`.
fn expression(
    value: &SqlValue<'_>,
    column: Option<&SqlColumn>,
    row: &Row<'_>,
    changes: &mut Changes,
    line: &mut Vec<u8>,
) -> Result<(), ExportError> {
    let mut lost = |kind| {
        let column = column.map_or("", |column| row.column_name(column.source));
        changes.add(column, kind, row.key);
    };
    match value {
        SqlValue::Null => match column.map(|column| column.content) {
            // A NULL without a type may count as a number, which these are not made from.
            Some(Content::Values(Typed::Geography)) | None => {
                line.extend_from_slice(b"CAST(NULL AS geography)");
            }
            Some(Content::Values(Typed::Instant)) => {
                line.extend_from_slice(b"CAST(NULL AS datetime2(3))");
            }
            Some(_) => line.extend_from_slice(b"NULL"),
        },
        SqlValue::Text(text) => literal(text, line)?,
        SqlValue::Integer(number) => line.extend_from_slice(number.to_string().as_bytes()),
        SqlValue::Double(number) if !number.is_finite() => {
            lost(Kind::NotFinite);
            line.extend_from_slice(b"NULL");
        }
        SqlValue::Double(number) if number.is_subnormal() => {
            lost(Kind::OutOfRange);
            line.extend_from_slice(b"NULL");
        }
        SqlValue::Double(number) => {
            let begin = line.len();
            shortest(*number, line);
            // Without an exponent it would be a decimal.
            if !line.get(begin..).is_some_and(|digits| digits.contains(&b'e')) {
                line.extend_from_slice(b"e0");
            }
        }
        SqlValue::Boolean(value) => line.push(if *value { b'1' } else { b'0' }),
        SqlValue::Instant(instant) => {
            let text = instant.format("'%Y-%m-%dT%H:%M:%S%.3f'").to_string();
            line.extend_from_slice(text.as_bytes());
        }
        SqlValue::Geometry(value) => {
            line.extend_from_slice(b"geography::STGeomFromText(N'");
            geometry::to_wkt(value, line);
            line.extend_from_slice(b"',4326)");
            if column.is_none() {
                // Searches fail on a geography that crosses itself.
                line.extend_from_slice(b".MakeValid()");
            }
        }
    }
    Ok(())
}
