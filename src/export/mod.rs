//! Exports: a snapshot's entities, written in the formats of other systems.
//!
//! One pass, in memory that does not grow with the snapshot: the [`Reader`] gives entities with
//! typed values, each entity's geometry is chosen, and the [`Writer`] of the format writes the row.
//! As many rows are written as there are entities, or the export fails. What a format cannot hold
//! exactly is counted in [`Changes`]. Formats that must know more before the first row have a pass
//! before it: [`scan()`].
//!
//! A format is a file of this module and a line in [`EXPORT_FORMATS`].

mod ahead;
mod cell;
mod changes;
mod cosmos;
mod csv;
mod geojson;
mod geopackage;
mod geoparquet;
mod hidden;
mod json;
mod marked;
mod names;
mod row;
mod scan;
mod snapshot;
mod sql;
mod table;
#[cfg(test)]
mod tests;

pub use changes::{Change, Changes, Kind};
pub use hidden::{HiddenFile, remove_unfinished};
pub use marked::{MarkedFeatures, MarkedOptions};
pub use row::{Chosen, GeometryFrom, Row};
pub use scan::{ColumnFacts, Facts, KeyFacts, Scan, TableFacts, scan};
pub use snapshot::Export;
pub use table::{Table, TableColumn, Typed};

use crate::dataset::{DocumentLimits, Reader, Schema, ValidationError};
use chrono::{DateTime, Utc};
use std::io::{self, BufRead, Write};
use std::path::PathBuf;

/// A format that a snapshot can be written in.
#[derive(Debug)]
pub struct ExportFormat {
    /// Its name on the command line.
    pub name: &'static str,
    /// How the names of its files end, where that tells the format.
    pub endings: &'static [&'static str],
    /// Whether it can be written to standard output.
    pub streams: bool,
    /// Whether it holds one table only.
    pub one_table: bool,
    /// Which choices beyond those of every format it has.
    pub choices: Choices,
    /// What the format must know before the first row: a first pass over the document finds it.
    pub scan: Option<Scan>,
    /// How rows are written; `None` for the document itself.
    pub open: Option<Open>,
}

/// What a user may choose for some formats only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choices {
    /// Nothing.
    None,
    /// The table's name, and whether it replaces one: [`Options::table`], [`Options::replace`].
    Table,
    /// Whether it is for spreadsheets: [`Options::excel`].
    Excel,
}

/// Begins a file of a format.
pub type Open = for<'w> fn(&Start, Target<'w>) -> Result<Box<dyn Writer + 'w>, ExportError>;

/// All formats, in the order in which they are documented.
pub static EXPORT_FORMATS: [ExportFormat; 9] = [
    ExportFormat {
        name: "xml",
        endings: &[".xml"],
        streams: true,
        one_table: false,
        choices: Choices::None,
        scan: None,
        open: None,
    },
    ExportFormat {
        name: "geojson",
        endings: &[".geojson"],
        streams: true,
        one_table: false,
        choices: Choices::None,
        scan: None,
        open: Some(geojson::collection),
    },
    ExportFormat {
        name: "geojsonseq",
        endings: &[".geojsonl", ".geojsons"],
        streams: true,
        one_table: false,
        choices: Choices::None,
        scan: None,
        open: Some(geojson::sequence),
    },
    ExportFormat {
        name: "csv",
        endings: &[".csv"],
        streams: true,
        one_table: true,
        choices: Choices::Excel,
        scan: None,
        open: Some(csv::open),
    },
    ExportFormat {
        name: "postgis",
        endings: &[],
        streams: true,
        one_table: false,
        choices: Choices::Table,
        scan: Some(sql::postgis::SCAN),
        open: Some(sql::postgis::open),
    },
    ExportFormat {
        name: "azure-sql",
        endings: &[],
        streams: true,
        one_table: false,
        choices: Choices::Table,
        scan: Some(sql::azure::SCAN),
        open: Some(sql::azure::open),
    },
    ExportFormat {
        name: "cosmos",
        endings: &[],
        streams: true,
        one_table: false,
        choices: Choices::None,
        scan: Some(cosmos::SCAN),
        open: Some(cosmos::open),
    },
    ExportFormat {
        name: "geopackage",
        endings: &[".gpkg"],
        streams: false,
        one_table: false,
        choices: Choices::None,
        scan: None,
        open: Some(geopackage::open),
    },
    ExportFormat {
        name: "geoparquet",
        endings: &[".parquet"],
        streams: true,
        one_table: true,
        choices: Choices::None,
        scan: None,
        open: Some(geoparquet::open),
    },
];

impl ExportFormat {
    /// The format of this name.
    pub fn named(name: &str) -> Option<&'static ExportFormat> {
        EXPORT_FORMATS.iter().find(|format| format.name == name)
    }

    /// The format that the ending of a file's name tells.
    pub fn of_file(name: &str) -> Option<&'static ExportFormat> {
        let name = name.to_ascii_lowercase();
        EXPORT_FORMATS
            .iter()
            .find(|format| format.endings.iter().any(|ending| name.ends_with(ending)))
    }
}

/// Where a format writes.
pub enum Target<'w> {
    /// Bytes, one after the other.
    Stream(&'w mut (dyn Write + Send)),
    /// A file that does not exist yet.
    File(PathBuf),
}

impl<'w> Target<'w> {
    /// The stream of a format that is written front to back.
    fn stream(self) -> Result<&'w mut (dyn Write + Send), ExportError> {
        match self {
            Target::Stream(out) => Ok(out),
            Target::File(_) => Err(ExportError::Impossible("the format needs a stream".to_owned())),
        }
    }
}

impl std::fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Stream(_) => f.write_str("Stream"),
            Target::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// What a user chose, beyond the format.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where geometries come from.
    pub geometry: GeometryFrom,
    /// Only entities of this type.
    pub entity: Option<String>,
    /// The name of the table, for SQL scripts; otherwise that of the source.
    pub table: Option<String>,
    /// Whether a script drops an existing table first.
    pub replace: bool,
    /// Whether CSV is made safe and readable for spreadsheets.
    pub excel: bool,
}

/// What a format knows before the first row.
#[derive(Debug, Clone)]
pub struct Start {
    /// The tables: one for each entity type that is exported, at least one.
    pub tables: Vec<Table>,
    /// The source's name.
    pub source: String,
    /// When the snapshot's remote job was submitted.
    pub created_at: DateTime<Utc>,
    /// Whether each entity has a primary key of its own.
    pub keys_are_proven: bool,
    /// What the first pass has found, if the format asks for one.
    pub facts: Facts,
    /// What the user chose.
    pub options: Options,
}

/// Writes the rows of one file. What a row's values lose is added to the changes.
pub trait Writer {
    /// Whether a row's geometry is written as one. Otherwise its text is, and nothing is lost that
    /// cannot become a geometry.
    fn has_geometries(&self) -> bool {
        true
    }

    /// Writes one row.
    ///
    /// # Errors
    /// When the format cannot hold the row at all, or the file cannot be written.
    fn row(&mut self, row: &Row<'_>, changes: &mut Changes) -> Result<(), ExportError>;

    /// Writes what follows the last row.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn finish(self: Box<Self>) -> Result<(), ExportError>;
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The document is not what the archive says.
    #[error("the snapshot is damaged: {0}; `nightjar verify` says more")]
    Damaged(String),
    /// The format cannot hold this snapshot.
    #[error("{0}")]
    Impossible(String),
    /// The user chose something that the snapshot does not have.
    #[error("{0}")]
    Choice(String),
    /// Values have no exact form in the format, and only exact ones are wanted.
    #[error("some values have no exact form in this format, and --strict was given")]
    Lossy(Vec<Change>),
    /// The file cannot be written.
    #[error("the export cannot be written: {0}")]
    Io(#[from] io::Error),
}

impl From<ValidationError> for ExportError {
    fn from(error: ValidationError) -> ExportError {
        match error {
            ValidationError::Io(error) => ExportError::Damaged(error.to_string()),
            other => ExportError::Damaged(other.to_string()),
        }
    }
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// Entities that were read.
    pub entities: u64,
    /// Rows that were written.
    pub rows: u64,
    /// Rows without a geometry.
    pub without_geometry: u64,
    /// What could not be written exactly.
    pub changes: Vec<Change>,
}

/// What is exported.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The source's name.
    pub source: String,
    /// When its remote job was submitted.
    pub created_at: DateTime<Utc>,
    /// How many entities its manifest counts.
    pub entities: u64,
    /// Whether each entity has a primary key of its own.
    pub keys_are_proven: bool,
}

/// Writes a snapshot's document in a format that has rows.
///
/// # Errors
/// When the document or the file is at fault, or the format cannot hold it: what was written is
/// then of no use.
pub fn write(
    document: impl BufRead,
    limits: &DocumentLimits,
    snapshot: &Snapshot,
    format: &ExportFormat,
    options: &Options,
    facts: Facts,
    target: Target<'_>,
) -> Result<Written, ExportError> {
    let Some(open) = format.open else {
        return Err(ExportError::Choice(format!("{} has no rows", format.name)));
    };
    let mut reader = Reader::open(document, limits)?;
    let Selection { tables, positions } = Selection::of(reader.schema(), format, options)?;
    let start = Start {
        tables,
        source: snapshot.source.clone(),
        created_at: snapshot.created_at,
        keys_are_proven: snapshot.keys_are_proven,
        facts,
        options: options.clone(),
    };
    let mut writer = open(&start, target)?;
    let has_geometries = writer.has_geometries();
    let mut changes = Changes::default();
    let (mut entities, mut rows, mut without_geometry) = (0_u64, 0_u64, 0_u64);
    while let Some(entity) = reader.next_entity()? {
        let Some(position) = entity.type_index() else {
            changes.add(entity.name(), Kind::Undeclared, None);
            continue;
        };
        entities += 1;
        let Some(index) = positions.get(position).copied().flatten() else { continue };
        let Some(table) = start.tables.get(index) else { continue };
        let key = entity.key();
        row::count_left_out(&entity, key, &mut changes);
        let chosen = if has_geometries {
            row::choose(&options.geometry, table, &entity, key, &mut changes)
        } else {
            row::choose(&options.geometry, table, &entity, key, &mut Changes::default())
        };
        without_geometry += u64::from(chosen.geometry.is_none());
        writer.row(&Row { table, index, entity, key, chosen }, &mut changes)?;
        rows += 1;
    }
    if entities != snapshot.entities {
        return Err(ExportError::Damaged(format!(
            "its document has {entities} entities of declared types, its manifest counts {}; \
             `--format xml` exports the document as it is",
            snapshot.entities
        )));
    }
    writer.finish()?;
    Ok(Written { entities, rows, without_geometry, changes: changes.into_list() })
}

/// The tables of an export.
struct Selection {
    tables: Vec<Table>,
    /// By the position of the entity type in the schema: the position of its table.
    positions: Vec<Option<usize>>,
}

impl Selection {
    fn of(
        schema: &Schema,
        format: &ExportFormat,
        options: &Options,
    ) -> Result<Selection, ExportError> {
        let all: Vec<_> = schema.types().iter().map(Table::of).collect();
        let tables = chosen_tables(all.clone(), format, options)?;
        let positions = all
            .iter()
            .map(|table| tables.iter().position(|chosen| chosen.name == table.name))
            .collect();
        Ok(Selection { tables, positions })
    }
}

fn chosen_tables(
    all: Vec<Table>,
    format: &ExportFormat,
    options: &Options,
) -> Result<Vec<Table>, ExportError> {
    let names = || {
        let names: Vec<_> = all.iter().map(|table| table.name.as_str()).collect();
        names.join(", ")
    };
    let tables = match &options.entity {
        Some(wanted) => {
            let table = all.iter().find(|table| table.name == *wanted).cloned();
            let missing = || {
                let names = names();
                ExportError::Choice(format!(
                    "the snapshot has no entity type \"{wanted}\"; it has {names}"
                ))
            };
            vec![table.ok_or_else(missing)?]
        }
        None => all.clone(),
    };
    if tables.is_empty() {
        return Err(ExportError::Impossible(
            "its schema declares no entity type; `--format xml` exports the document as it is"
                .to_owned(),
        ));
    }
    if format.one_table && tables.len() > 1 {
        return Err(ExportError::Impossible(format!(
            "{} holds one entity type, and the snapshot has several ({}): choose one with --entity",
            format.name,
            names()
        )));
    }
    if let GeometryFrom::Column(name) = &options.geometry
        && !tables.iter().any(|table| table.position(name).is_some())
    {
        let geographies: Vec<_> = tables
            .iter()
            .flat_map(|table| table.geographies().filter_map(|column| table.columns.get(column)))
            .map(|column| column.name.as_str())
            .collect();
        let has = match geographies.as_slice() {
            [] => "it has no geography column".to_owned(),
            some => format!("its geography columns: {}", some.join(", ")),
        };
        return Err(ExportError::Choice(format!("the snapshot has no column \"{name}\"; {has}")));
    }
    Ok(tables)
}
