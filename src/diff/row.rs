//! What of an entity is compared, and its digest.

use super::plan::{Plan, SidePlan, UNDECLARED, fields};
use super::value::{self, Cell, text};
use crate::dataset::{Element, Entity, Value};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// Bytes of a row's digest: two different rows meet by accident once in 2^64 rows.
pub(super) const DIGEST: usize = 16;
/// The first bytes of a row's digest.
pub(super) type Digest = [u8; DIGEST];

/// The values of an entity that are compared.
#[derive(Debug)]
pub(super) struct Row<'r> {
    /// What is not null, in the order of the plan's numbers.
    columns: Vec<Column<'r>>,
    /// What the schema does not allow for: undeclared elements, and further values of a column.
    extras: BTreeMap<String, Cell<'r>>,
}

/// A column that is compared, with its value.
#[derive(Debug)]
struct Column<'r> {
    /// The plan's number.
    number: u32,
    name: &'r str,
    cell: Cell<'r>,
}

/// The number of an entity's type in the plan.
pub(super) fn type_number(side: &SidePlan, entity: &Entity<'_>) -> u16 {
    let planned = entity.type_index().and_then(|index| side.types.get(index));
    planned.map_or(UNDECLARED, |planned| planned.number)
}

impl<'r> Row<'r> {
    pub(super) fn of(side: &SidePlan, entity: &Entity<'r>) -> Row<'r> {
        let planned = entity.type_index().and_then(|index| side.types.get(index));
        let mut columns: Vec<Column<'r>> = Vec::new();
        let mut has_extras = false;
        for element in entity.elements() {
            let position = match element.column() {
                Some(position) if !element.is_repeated() => position,
                _ => {
                    has_extras = true;
                    continue;
                }
            };
            let compared = planned.and_then(|planned| planned.columns.get(position));
            let Some(compared) = compared.copied().flatten() else { continue };
            let cell = cell(&element, compared.as_text);
            if !cell.is_null() {
                columns.push(Column { number: compared.number, name: element.name(), cell });
            }
        }
        // They come in the order of the schema, nearly always.
        if !columns.is_sorted_by_key(|column| column.number) {
            columns.sort_by_key(|column| column.number);
        }
        let extras = if has_extras { extras(side, entity) } else { BTreeMap::new() };
        Row { columns, extras }
    }

    /// The digest of an entity's type, key and values. `scratch` is used again for each.
    pub(super) fn digest(&self, entity: &Entity<'_>, scratch: &mut Vec<u8>) -> Digest {
        scratch.clear();
        if entity.type_index().is_none() {
            text(entity.name(), scratch);
        }
        match entity.key() {
            None => scratch.push(0),
            Some(key) => {
                scratch.push(1);
                text(key, scratch);
            }
        }
        for Column { number, cell, .. } in &self.columns {
            scratch.extend_from_slice(&number.to_le_bytes());
            cell.canonical(scratch);
        }
        scratch.extend_from_slice(&u32::MAX.to_le_bytes());
        for (name, value) in &self.extras {
            text(name, scratch);
            value.canonical(scratch);
        }
        let mut digest = Digest::default();
        digest.iter_mut().zip(Sha256::digest(&scratch)).for_each(|(to, from)| *to = from);
        digest
    }
}

/// An element's value, or its text.
fn cell<'r>(element: &Element<'r>, as_text: bool) -> Cell<'r> {
    let cell = match element.value() {
        Value::Null => Cell::NULL,
        _ if as_text => Cell::of_text(element.text()),
        value => Cell::new(value, element.text()),
    };
    cell.with_inside(element.inside())
}

/// The elements that the schema does not allow for. The second of a name is `NAME[2]`, whether or
/// not the schema declares the first.
fn extras<'r>(side: &SidePlan, entity: &Entity<'r>) -> BTreeMap<String, Cell<'r>> {
    let planned = entity.type_index().and_then(|index| side.types.get(index));
    let mut extras = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for element in entity.elements() {
        let name = element.name();
        let local = name.rsplit(':').next().unwrap_or(name);
        let count = counts.entry(name).or_default();
        *count += 1;
        let is_elsewhere = planned.is_some_and(|planned| planned.elsewhere.contains(local));
        let is_first = element.column().is_some() && !element.is_repeated();
        if is_first || is_elsewhere || side.ignore.contains(local) {
            continue;
        }
        let numbered = if *count == 1 { name.to_owned() } else { format!("{name}[{count}]") };
        extras.insert(numbered, Cell::of_text(element.text()).with_inside(element.inside()));
    }
    extras
}

/// A column whose value changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnChange<'r> {
    /// Its name. An element that the schema does not declare is named as it is written; the second
    /// of a name in one entity is `NAME[2]`.
    #[serde(skip)]
    pub name: String,
    /// Its value before.
    pub old: Cell<'r>,
    /// Its value now.
    pub new: Cell<'r>,
}

/// As people read it. Of two long texts that begin alike, the parts that differ are shown.
impl fmt::Display for ColumnChange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (old, new) = value::shown_pair(&self.old, &self.new);
        write!(f, "{}: {old} → {new}", self.name)
    }
}

/// The columns whose values differ, in the order of the old schema.
pub(super) fn differences<'r>(
    plan: &Plan,
    old: &Entity<'r>,
    new: &Entity<'r>,
) -> Vec<ColumnChange<'r>> {
    let (old, new) = (Row::of(&plan.old, old), Row::of(&plan.new, new));
    let mut columns: BTreeMap<u32, ColumnChange<'r>> = BTreeMap::new();
    for Column { number, name, cell } in old.columns {
        columns.insert(number, ColumnChange { name: name.to_owned(), old: cell, new: Cell::NULL });
    }
    for Column { number, name, cell } in new.columns {
        let change = ColumnChange { name: name.to_owned(), old: Cell::NULL, new: cell };
        columns.entry(number).or_insert(change).new = cell;
    }
    let mut extras: BTreeMap<String, ColumnChange<'r>> = BTreeMap::new();
    for (name, cell) in old.extras {
        let change = ColumnChange { name: name.clone(), old: cell, new: Cell::NULL };
        extras.insert(name, change);
    }
    for (name, cell) in new.extras {
        let change = ColumnChange { name: name.clone(), old: Cell::NULL, new: Cell::NULL };
        extras.entry(name).or_insert(change).new = cell;
    }
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let mut differs = |change: &ColumnChange<'_>| {
        one.clear();
        other.clear();
        change.old.canonical(&mut one);
        change.new.canonical(&mut other);
        one != other
    };
    columns.into_values().chain(extras.into_values()).filter(|it| differs(it)).collect()
}

/// All values of an entity, as a JSON object: every column, null where the entity does not have it,
/// then the elements that the schema does not allow for.
#[derive(Debug)]
pub struct EntityView<'r, 'p> {
    entity: Entity<'r>,
    side: &'p SidePlan,
}

impl<'r, 'p> EntityView<'r, 'p> {
    pub(super) fn new(entity: Entity<'r>, side: &'p SidePlan) -> EntityView<'r, 'p> {
        EntityView { entity, side }
    }

    /// The columns with their values.
    pub fn columns(&self) -> impl Iterator<Item = (String, Cell<'r>)> {
        let entity = self.entity;
        let declared = entity.entity_type().into_iter().flat_map(fields);
        let declared = declared.filter(|(_, name, _)| !self.side.ignore.contains(*name));
        let declared = declared.map(move |(position, name, _)| {
            let element = entity.get(position);
            (name.to_owned(), element.map_or(Cell::NULL, |element| cell(&element, false)))
        });
        let extras = extras(self.side, &entity).into_iter();
        declared.chain(extras)
    }
}

impl Serialize for EntityView<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, cell) in self.columns() {
            map.serialize_entry(&name, &cell)?;
        }
        map.end()
    }
}
