//! The tables of a script: their names, columns and keys.

use crate::export::names::{self, Rules};
use crate::export::scan::TableFacts;
use crate::export::table::{Table, Typed};
use crate::export::{ExportError, GeometryFrom, Start};

/// The column of the chosen geometry.
pub(super) const GEOM: &str = "geom";
/// The column of distances that the functions add.
pub(super) const DISTANCE: &str = "distance_km";
/// The endings of the functions' names.
const FUNCTIONS: [&str; 3] = ["_nearby", "_bbox", "_intersects"];

/// The rules of a destination.
pub(super) struct Destination {
    /// Its name, for messages.
    pub(super) name: &'static str,
    /// Its rules for names.
    pub(super) names: Rules,
    /// The ending of the name of a table while it is filled, where it has another name then.
    pub(super) staging: Option<&'static str>,
    /// Names that a column cannot have.
    pub(super) reserved_columns: &'static [&'static str],
    /// Columns that a table may have.
    pub(super) most_columns: usize,
}

/// All tables of a script.
#[derive(Debug)]
pub(super) struct Plan {
    /// The schema that the user named.
    pub(super) schema: Option<String>,
    /// One for each table of the export.
    pub(super) tables: Vec<SqlTable>,
}

/// A table of a script.
#[derive(Debug)]
pub(super) struct SqlTable {
    /// Its name.
    pub(super) name: String,
    /// The names of the functions nearby, bbox and intersects.
    pub(super) functions: [String; 3],
    /// The table's name while it is filled.
    pub(super) staging: String,
    /// Its columns in order, `geom` left out.
    pub(super) columns: Vec<SqlColumn>,
    /// Whether it has the column `geom`, and the functions.
    pub(super) has_geom: bool,
    /// Its key; `None` where the schema names none.
    pub(super) key: Option<SqlKey>,
    /// What the first pass has found.
    pub(super) facts: TableFacts,
}

/// A column of a script's table.
#[derive(Debug)]
pub(super) struct SqlColumn {
    /// Its name.
    pub(super) name: String,
    /// The position of the column in the export's table.
    pub(super) source: usize,
    /// What it holds.
    pub(super) content: Content,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Values of this type.
    Values(Typed),
    /// The text of a geography column that is not a geometry there.
    OtherText,
}

/// The key of a table.
#[derive(Debug)]
pub(super) struct SqlKey {
    /// Its position among the script's columns.
    pub(super) column: usize,
    /// Whether each row has one of its own.
    pub(super) is_unique: bool,
}

impl Plan {
    pub(super) fn of(start: &Start, destination: &Destination) -> Result<Plan, ExportError> {
        let (schema, base) = match &start.options.table {
            None => (None, start.source.as_str()),
            Some(wanted) => match wanted.split_once('.') {
                None => (None, wanted.as_str()),
                Some((schema, name)) => (Some(schema), name),
            },
        };
        for name in schema.iter().copied().chain([base]) {
            check_name(name, destination)?;
        }
        let wanted: Vec<_> = match start.tables.as_slice() {
            [_] => vec![base.to_owned()],
            several => several.iter().map(|table| format!("{base}_{}", table.name)).collect(),
        };
        // Tables and functions share one space of names in some destinations.
        let endings: Vec<_> = FUNCTIONS.into_iter().chain(destination.staging).collect();
        let most = destination.names.most_bytes;
        let others: Vec<_> = wanted
            .iter()
            .flat_map(|name| {
                let begin = |ending: &str| names::cut(name, most.saturating_sub(ending.len()));
                endings.iter().map(move |ending| format!("{}{ending}", begin(ending)))
            })
            .collect();
        let all = wanted.iter().chain(&others).map(String::as_str);
        let mut unique = names::unique(all, &[], destination.names).into_iter();
        let names: Vec<_> = unique.by_ref().take(wanted.len()).collect();
        let mut tables = Vec::new();
        for (index, (table, name)) in start.tables.iter().zip(names).enumerate() {
            let functions = std::array::from_fn(|_| unique.next().unwrap_or_default());
            let staging = match destination.staging {
                Some(_) => unique.next().unwrap_or_default(),
                None => name.clone(),
            };
            let names = Names { name, functions, staging };
            let facts = start.facts.tables.get(index).cloned().unwrap_or_default();
            tables.push(SqlTable::of(table, names, facts, start, destination)?);
        }
        Ok(Plan { schema: schema.map(str::to_owned), tables })
    }
}

/// The names of a table and of what belongs to it.
struct Names {
    name: String,
    functions: [String; 3],
    staging: String,
}

impl SqlTable {
    fn of(
        table: &Table,
        names: Names,
        facts: TableFacts,
        start: &Start,
        destination: &Destination,
    ) -> Result<SqlTable, ExportError> {
        let mut wanted: Vec<(String, usize, Content)> = Vec::new();
        let mut key = None;
        for (source, column) in table.columns.iter().enumerate() {
            let mut kind = column.kind;
            if table.key == Some(source) {
                key = Some(wanted.len());
                // The spelling of a key is the key: of other types than whole numbers, and where
                // two spellings are one number, it is kept as text.
                if !(kind == Typed::Integer && facts.key.are_numbers) {
                    kind = Typed::Text;
                }
            }
            wanted.push((column.name.clone(), source, Content::Values(kind)));
            let has_other_text =
                facts.columns.get(source).is_some_and(|column| column.has_other_text);
            if kind == Typed::Geography && has_other_text {
                wanted.push((format!("{}_text", column.name), source, Content::OtherText));
            }
        }
        let Names { name, functions, staging } = names;
        let has_geom = start.options.geometry != GeometryFrom::Nothing;
        let count = wanted.len() + usize::from(has_geom);
        if count > destination.most_columns {
            return Err(ExportError::Impossible(format!(
                "table \"{name}\" has {count} columns, and {} allows {}",
                destination.name, destination.most_columns
            )));
        }
        let names = names::unique(
            wanted.iter().map(|(name, _, _)| name.as_str()),
            destination.reserved_columns,
            destination.names,
        );
        let columns = names.into_iter().zip(wanted);
        let columns = columns
            .map(|(name, (_, source, content))| SqlColumn { name, source, content })
            .collect();
        let is_unique = start.keys_are_proven && facts.key.twice.is_none();
        let key = key.map(|column| SqlKey { column, is_unique });
        Ok(SqlTable { name, functions, staging, columns, has_geom, key, facts })
    }

    /// The key's column.
    pub(super) fn key_column(&self) -> Option<&SqlColumn> {
        self.columns.get(self.key.as_ref()?.column)
    }
}

/// Names that a user chose are used as they are, or refused.
fn check_name(name: &str, destination: &Destination) -> Result<(), ExportError> {
    let most = destination.names.most_bytes;
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if name.chars().any(char::is_control) {
        "has a control character".to_owned()
    } else if name.contains("$(") {
        "has \"$(\", which sqlcmd replaces".to_owned()
    } else if name.len() > most {
        format!("is longer than {most} bytes")
    } else {
        return Ok(());
    };
    Err(ExportError::Choice(format!("the name \"{name}\" of a table or schema {problem}")))
}
