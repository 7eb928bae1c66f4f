//! The tables of an export: one for each entity type.

use crate::dataset::{ColumnKind, EntityType};

/// One entity type as a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The entity type's name.
    pub name: String,
    /// Its columns in the schema's order.
    pub columns: Vec<TableColumn>,
    /// The position of the primary key; `None` where the schema names none.
    pub key: Option<usize>,
    /// The position of the double column `Latitude`.
    pub latitude: Option<usize>,
    /// The position of the double column `Longitude`.
    pub longitude: Option<usize>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableColumn {
    /// Its name in the document.
    pub name: String,
    /// How its values are written in a typed format.
    pub kind: Typed,
}

/// The types that typed formats have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// Strings, and every type that the service does not document.
    Text,
    /// A whole number of 64 bits with a sign: `xs:long` and shorter types.
    Integer,
    /// `xs:double` and `xs:float`.
    Double,
    /// `xs:boolean`.
    Boolean,
    /// `xs:dateTime`.
    Instant,
    /// A geography as well-known text.
    Geography,
}

impl Typed {
    fn of(kind: ColumnKind) -> Typed {
        match kind {
            ColumnKind::Integer { above, .. } if i64::try_from(above).is_ok() => Typed::Integer,
            ColumnKind::Double => Typed::Double,
            ColumnKind::Boolean => Typed::Boolean,
            ColumnKind::DateTime => Typed::Instant,
            ColumnKind::Geography => Typed::Geography,
            // Numbers without bounds fit no type of every target.
            _ => Typed::Text,
        }
    }
}

impl Table {
    /// The table of an entity type.
    pub fn of(entity_type: &EntityType) -> Table {
        let columns: Vec<_> = entity_type
            .fields()
            .iter()
            .map(|field| TableColumn {
                name: field.column.name.clone(),
                kind: Typed::of(field.kind),
            })
            .collect();
        let double = |name: &str| {
            columns.iter().position(|column| column.name == name && column.kind == Typed::Double)
        };
        Table {
            name: entity_type.name().to_owned(),
            key: entity_type.key(),
            latitude: double("Latitude"),
            longitude: double("Longitude"),
            columns,
        }
    }

    /// The table of entities whose type the schema does not declare: without columns.
    pub(super) fn undeclared(name: &str) -> Table {
        Table {
            name: name.to_owned(),
            columns: Vec::new(),
            key: None,
            latitude: None,
            longitude: None,
        }
    }

    /// The position of the column of this name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The positions of the geography columns.
    pub fn geographies(&self) -> impl Iterator<Item = usize> {
        let columns = self.columns.iter().enumerate();
        columns.filter(|(_, column)| column.kind == Typed::Geography).map(|(index, _)| index)
    }
}
