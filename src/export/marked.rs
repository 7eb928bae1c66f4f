//! GeoJSON of entities that each have a mark, such as what a comparison found about them.

use super::changes::{Change, Changes};
use super::geojson::feature;
use super::json::Properties;
use super::row::{self, GeometryFrom, Row};
use super::table::Table;
use crate::dataset::Entity;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};

/// A property that is not a column: its name, and its value in one feature.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark<'m> {
    pub(super) name: &'m str,
    pub(super) value: &'m str,
}

/// How the features of a [`MarkedFeatures`] look.
#[derive(Debug, Clone)]
pub struct MarkedOptions {
    /// The name of the property that holds the mark.
    pub mark: &'static str,
    /// Columns that are left out.
    pub ignore: BTreeSet<String>,
    /// Whether a property says of which type an entity is.
    pub have_types: bool,
}

/// Writes a FeatureCollection of entities, which may come from several documents.
pub struct MarkedFeatures<'w> {
    out: &'w mut dyn Write,
    options: MarkedOptions,
    /// The tables that have been met, by document and by the position of the entity type in its
    /// schema.
    tables: BTreeMap<(usize, Option<usize>), (Table, Properties)>,
    changes: Changes,
    is_first: bool,
    line: Vec<u8>,
}

impl fmt::Debug for MarkedFeatures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarkedFeatures").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<'w> MarkedFeatures<'w> {
    /// Begins the collection.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(out: &'w mut dyn Write, options: MarkedOptions) -> io::Result<Self> {
        out.write_all(b"{\"type\":\"FeatureCollection\",\"features\":[")?;
        Ok(MarkedFeatures {
            out,
            options,
            tables: BTreeMap::new(),
            changes: Changes::default(),
            is_first: true,
            line: Vec::new(),
        })
    }

    /// Writes an entity of the document of this number, with its mark.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, document: usize, entity: Entity<'_>, mark: &str) -> io::Result<()> {
        let options = &self.options;
        let (table, properties) =
            self.tables.entry((document, entity.type_index())).or_insert_with(|| {
                let table = entity.entity_type().map(Table::of);
                let table = table.unwrap_or_else(|| Table::undeclared(entity.name()));
                let properties = Properties::marked(&table, options);
                (table, properties)
            });
        let key = entity.key();
        row::count_left_out(&entity, key, &mut self.changes);
        let chosen = row::choose(&GeometryFrom::First, table, &entity, key, &mut self.changes);
        let row = Row { table, index: 0, entity, key, chosen };
        self.line.clear();
        self.line.extend_from_slice(if self.is_first { b"\n" } else { b",\n" });
        self.is_first = false;
        let mark = Mark { name: options.mark, value: mark };
        feature(&row, properties, Some(mark), &mut self.changes, &mut self.line)?;
        self.out.write_all(&self.line)
    }

    /// Ends the collection; says what could not be written exactly.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> io::Result<Vec<Change>> {
        self.out.write_all(b"\n]}\n")?;
        Ok(self.changes.into_list())
    }
}
