//! What some formats must know before the first row: a first pass over the document.

use super::table::{Table, Typed};
use super::{ExportError, ExportFormat, Options, Selection};
use crate::dataset::{Digests, DocumentLimits, Entity, Reader, Value, digest};
use crate::geometry::{self, Geometry};
use std::io::BufRead;

/// What a format asks of the first pass.
#[derive(Debug, Clone, Copy)]
pub struct Scan {
    /// Whether a typed column of the format holds the geometry; `None` for a format without such
    /// columns.
    pub holds: Option<fn(&Geometry) -> bool>,
    /// The part of a key's text that the format compares.
    pub compared: fn(&str) -> &str,
    /// Whether keys are compared with those of other tables too.
    pub across_tables: bool,
}

/// What the first pass has found.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// By the position of the export's table.
    pub tables: Vec<TableFacts>,
    /// The digest, of entity type 0, of a key that two tables have in common, where the format asks
    /// for it.
    pub key_in_two_tables: Option<u64>,
}

/// Facts about the rows of one table.
#[derive(Debug, Clone, Default)]
pub struct TableFacts {
    /// How many there are.
    pub rows: u64,
    /// By the position of the column.
    pub columns: Vec<ColumnFacts>,
    /// Facts about the primary keys.
    pub key: KeyFacts,
}

/// Facts about one column.
#[derive(Debug, Clone, Copy, Default)]
pub struct ColumnFacts {
    /// UTF-16 code units of the longest text, of a text column or the key.
    pub longest_units: usize,
    /// Whether a geography column has a value that the format does not hold as a geometry.
    pub has_other_text: bool,
}

/// Facts about the primary keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyFacts {
    /// Bytes of the longest.
    pub longest_bytes: usize,
    /// The digest, of entity type 0, of one that occurs twice in the part that is compared.
    pub twice: Option<u64>,
    /// Whether any has more than the part that is compared.
    pub has_more_than_compared: bool,
    /// Whether each is a whole number, and no two the same one.
    pub are_numbers: bool,
}

/// Reads the document for what the format must know before the first row. Memory: 8 bytes an entity
/// for the keys' digests, 16 where the key is a number.
///
/// # Errors
/// When the document is at fault, or the format cannot hold it.
pub fn scan(
    document: impl BufRead,
    limits: &DocumentLimits,
    format: &ExportFormat,
    options: &Options,
) -> Result<Facts, ExportError> {
    let Some(wanted) = format.scan else { return Ok(Facts::default()) };
    let mut reader = Reader::open(document, limits)?;
    let Selection { tables, positions } = Selection::of(reader.schema(), format, options)?;
    let mut findings: Vec<_> = tables.iter().map(Findings::of).collect();
    while let Some(entity) = reader.next_entity()? {
        let Some(position) = entity.type_index() else { continue };
        let index = positions.get(position).copied().flatten();
        let Some(findings) = index.and_then(|index| findings.get_mut(index)) else { continue };
        findings.add(&entity, &wanted);
    }
    let mut facts = Facts::default();
    let mut keys = Digests::default();
    for findings in findings {
        let (of_table, keys_of_table) = findings.facts();
        if wanted.across_tables && of_table.key.twice.is_none() {
            keys.append(keys_of_table);
        }
        facts.tables.push(of_table);
    }
    facts.key_in_two_tables = keys.find_twice();
    Ok(facts)
}

struct Findings<'t> {
    table: &'t Table,
    facts: TableFacts,
    keys: Digests,
    /// Of keys as numbers; `None` once one is not a number.
    numbers: Option<Digests>,
}

impl<'t> Findings<'t> {
    fn of(table: &'t Table) -> Findings<'t> {
        let columns = vec![ColumnFacts::default(); table.columns.len()];
        let kind = table.key.and_then(|key| table.columns.get(key)).map(|column| column.kind);
        Findings {
            table,
            facts: TableFacts { columns, ..TableFacts::default() },
            keys: Digests::default(),
            numbers: (kind == Some(Typed::Integer)).then(Digests::default),
        }
    }

    fn add(&mut self, entity: &Entity<'_>, wanted: &Scan) {
        self.facts.rows += 1;
        let columns = self.table.columns.iter().zip(&mut self.facts.columns);
        for (position, (column, facts)) in columns.enumerate() {
            if let Some(holds) = wanted.holds
                && column.kind == Typed::Geography
                && !facts.has_other_text
            {
                facts.has_other_text = !is_held(entity.value(position), holds);
            }
            if (column.kind == Typed::Text || self.table.key == Some(position))
                && let Some(element) = entity.get(position)
                // A code unit has at least one byte.
                && element.text().len() > facts.longest_units
            {
                facts.longest_units = facts.longest_units.max(units(element.text()));
            }
        }
        let Some(key) = entity.key() else {
            self.numbers = None;
            return;
        };
        let facts = &mut self.facts.key;
        facts.longest_bytes = facts.longest_bytes.max(key.len());
        let compared = (wanted.compared)(key);
        facts.has_more_than_compared |= compared.len() < key.len();
        self.keys.push(digest(0, compared));
        if let Some(numbers) = &mut self.numbers {
            match self.table.key.map(|key| entity.value(key)) {
                Some(Value::Integer(number)) => numbers.push(digest(0, &number.to_string())),
                _ => self.numbers = None,
            }
        }
    }

    /// The facts, and the digests of all keys.
    fn facts(self) -> (TableFacts, Digests) {
        let mut facts = self.facts;
        facts.key.twice = self.keys.find_twice();
        facts.key.are_numbers = self.numbers.is_some_and(|them| them.find_twice().is_none());
        (facts, self.keys)
    }
}

/// Whether a value of a geography column is a null, or a geometry that the format holds.
fn is_held(value: Value<'_>, holds: fn(&Geometry) -> bool) -> bool {
    match value {
        Value::Null => true,
        Value::Geometry(text) | Value::Unreadable(text) | Value::Text(text) => {
            geometry::parse(text).is_ok_and(|parsed| holds(&parsed.geometry))
        }
        _ => false,
    }
}

fn units(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char::len_utf16).sum() }
}
