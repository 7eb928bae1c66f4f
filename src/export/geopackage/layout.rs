//! The tables of a GeoPackage, and the SQL that makes them.

use super::super::names::{self, Rules};
use super::super::table::{Table, Typed};
use super::super::{ExportError, Start};
use super::binary::SRS_ID;
use super::database::Filled;
use crate::geometry::Bounds;

/// Columns that SQLite allows in a table (SQLITE_MAX_COLUMN).
const MOST_COLUMNS: usize = 2000;
/// What names of feature tables must not begin with: SQLite's own tables, the standard's, and those
/// of the spatial indexes.
const RESERVED: [&str; 3] = ["sqlite_", "gpkg_", "rtree_"];
const FID: &str = "fid";
const GEOMETRY: &str = "geom";
/// SQLite takes names that differ in case for the same.
const RULES: Rules = Rules { ignores_case: true, most_bytes: usize::MAX };

/// Tables that every GeoPackage with features has, and the reference systems that it must name
/// (annex C and table 3 of the standard).
const BASE: &str = include_str!("base.sql");

/// What is made.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) tables: Vec<FeatureTable>,
    /// When the content was made, as the standard writes instants.
    pub(super) last_change: String,
}

/// A feature table.
#[derive(Debug)]
pub(super) struct FeatureTable {
    pub(super) name: String,
    /// The columns behind `fid` and `geom`, with the names of their types.
    columns: Vec<(String, &'static str)>,
    /// The column of the primary key.
    key: Option<String>,
    /// Whether the keys are known to be unique.
    keys_are_proven: bool,
}

impl Layout {
    pub(super) fn of(start: &Start) -> Result<Layout, ExportError> {
        let name = |table: &Table| match start.tables.as_slice() {
            [_] => allowed(&start.source),
            _ => allowed(&format!("{}_{}", start.source, table.name)),
        };
        let all: Vec<_> = start.tables.iter().map(name).collect();
        let names = names::unique(all.iter().map(String::as_str), &[], RULES);
        let tables = start.tables.iter().zip(names);
        let tables = tables.map(|(table, name)| FeatureTable::of(table, name, start));
        Ok(Layout {
            tables: tables.collect::<Result<_, _>>()?,
            last_change: start.created_at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        })
    }

    /// Makes all tables.
    pub(super) fn begin(&self) -> String {
        let mut sql = BASE.to_owned();
        for table in &self.tables {
            sql.push_str(&table.create());
        }
        sql
    }

    /// Says what the tables hold, and makes what keeps their spatial indexes right.
    pub(super) fn end(&self, filled: &[Filled]) -> String {
        let mut sql = String::new();
        for (table, filled) in self.tables.iter().zip(filled) {
            sql.push_str(&table.register(&self.last_change, filled));
            sql.push_str(&table.triggers());
        }
        sql
    }
}

/// A name that a feature table may have.
fn allowed(name: &str) -> String {
    let is_reserved = |prefix: &&str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if RESERVED.iter().any(is_reserved) { format!("_{name}") } else { name.to_owned() }
}

impl FeatureTable {
    fn of(table: &Table, name: String, start: &Start) -> Result<FeatureTable, ExportError> {
        let all = table.columns.iter().map(|column| column.name.as_str());
        let names = names::unique(all, &[FID, GEOMETRY], RULES);
        let key = table.key.and_then(|key| names.get(key).cloned());
        let types = table.columns.iter().map(|column| match column.kind {
            Typed::Text | Typed::Geography => "TEXT",
            Typed::Integer => "INTEGER",
            Typed::Double => "DOUBLE",
            Typed::Boolean => "BOOLEAN",
            Typed::Instant => "DATETIME",
        });
        let columns: Vec<_> = names.into_iter().zip(types).collect();
        let made = FeatureTable { name, columns, key, keys_are_proven: start.keys_are_proven };
        if made.width() > MOST_COLUMNS {
            return Err(ExportError::Impossible(format!(
                "entity type {} has {} columns, and a GeoPackage holds {}",
                table.name,
                made.columns.len(),
                MOST_COLUMNS - 2
            )));
        }
        Ok(made)
    }

    /// Values of a row.
    fn width(&self) -> usize {
        2 + self.columns.len()
    }

    /// The name of its spatial index.
    pub(super) fn spatial_index(&self) -> String {
        format!("rtree_{}_{GEOMETRY}", self.name)
    }

    fn create(&self) -> String {
        let mut sql = format!(
            "CREATE TABLE {} (\n  {FID} INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,\n  \
             {GEOMETRY} GEOMETRY",
            quoted(&self.name)
        );
        for (name, r#type) in &self.columns {
            sql.push_str(&format!(",\n  {} {type}", quoted(name)));
        }
        sql.push_str("\n);\n");
        let index = quoted(&self.spatial_index());
        sql + &format!("CREATE VIRTUAL TABLE {index} USING rtree(id, minx, maxx, miny, maxy);\n")
    }

    /// Writes the root node of the spatial index.
    pub(super) fn set_root(&self) -> String {
        let nodes = quoted(&format!("{}_node", self.spatial_index()));
        format!("UPDATE {nodes} SET data = ? WHERE nodeno = 1")
    }

    /// The index on the primary key; `None` without one.
    pub(super) fn key_index(&self, unique: bool) -> Option<String> {
        let key = self.key.as_ref()?;
        let unique = if unique { "UNIQUE " } else { "" };
        // A name that no table has: theirs do not begin so.
        let (index, table) = (quoted(&format!("gpkg_key_{}", self.name)), quoted(&self.name));
        Some(format!("CREATE {unique}INDEX {index} ON {table} ({})", quoted(key)))
    }

    /// Whether the index on the primary key should be unique.
    pub(super) fn keys_are_proven(&self) -> bool {
        self.keys_are_proven
    }

    fn register(&self, last_change: &str, filled: &Filled) -> String {
        let table = literal(&self.name);
        let rows = filled.rows;
        let extent = match filled.extent {
            Some(Bounds { west, south, east, north }) => {
                format!("{west:e}, {south:e}, {east:e}, {north:e}")
            }
            None => "NULL, NULL, NULL, NULL".to_owned(),
        };
        format!(
            "INSERT INTO gpkg_contents VALUES \
             ({table}, 'features', {table}, '', '{last_change}', {extent}, {SRS_ID});\n\
             INSERT INTO gpkg_geometry_columns VALUES \
             ({table}, '{GEOMETRY}', 'GEOMETRY', {SRS_ID}, 0, 0);\n\
             INSERT INTO gpkg_extensions VALUES ({table}, '{GEOMETRY}', 'gpkg_rtree_index', \
             'http://www.geopackage.org/spec120/#extension_rtree', 'write-only');\n\
             INSERT INTO sqlite_sequence VALUES ({table}, {rows});\n"
        )
    }

    /// The triggers of the R-tree extension (annex F.3 of the standard).
    fn triggers(&self) -> String {
        let (table, index) = (quoted(&self.name), quoted(&self.spatial_index()));
        let trigger = |suffix: &str| quoted(&format!("{}_{suffix}", self.spatial_index()));
        let (insert, delete) = (trigger("insert"), trigger("delete"));
        let (update1, update2) = (trigger("update1"), trigger("update2"));
        let (update3, update4) = (trigger("update3"), trigger("update4"));
        let put = format!(
            "INSERT OR REPLACE INTO {index} VALUES (NEW.{FID}, \
             ST_MinX(NEW.{GEOMETRY}), ST_MaxX(NEW.{GEOMETRY}), \
             ST_MinY(NEW.{GEOMETRY}), ST_MaxY(NEW.{GEOMETRY}));"
        );
        let take = format!("DELETE FROM {index} WHERE id = OLD.{FID};");
        let is_there = format!("(NEW.{GEOMETRY} NOTNULL AND NOT ST_IsEmpty(NEW.{GEOMETRY}))");
        let is_none = format!("(NEW.{GEOMETRY} ISNULL OR ST_IsEmpty(NEW.{GEOMETRY}))");
        format!(
            "CREATE TRIGGER {insert} AFTER INSERT ON {table} WHEN {is_there}
BEGIN {put} END;
CREATE TRIGGER {update1} AFTER UPDATE OF {GEOMETRY} ON {table}
WHEN OLD.{FID} = NEW.{FID} AND {is_there}
BEGIN {put} END;
CREATE TRIGGER {update2} AFTER UPDATE OF {GEOMETRY} ON {table}
WHEN OLD.{FID} = NEW.{FID} AND {is_none}
BEGIN {take} END;
CREATE TRIGGER {update3} AFTER UPDATE ON {table}
WHEN OLD.{FID} != NEW.{FID} AND {is_there}
BEGIN {take} {put} END;
CREATE TRIGGER {update4} AFTER UPDATE ON {table}
WHEN OLD.{FID} != NEW.{FID} AND {is_none}
BEGIN DELETE FROM {index} WHERE id IN (OLD.{FID}, NEW.{FID}); END;
CREATE TRIGGER {delete} AFTER DELETE ON {table} WHEN OLD.{GEOMETRY} NOT NULL
BEGIN {take} END;
"
        )
    }
}

/// A name as an identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Text as a literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
