//! Which entity types and columns of two documents are compared with each other.

use super::DiffError;
use crate::dataset::{EntityType, Schema};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The number of an entity type that a document has and its schema does not declare.
pub(super) const UNDECLARED: u16 = u16::MAX;

/// Columns that are not in both documents with the same type. Where a document declares several
/// entity types, a column is `TYPE/COLUMN`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ColumnChanges {
    /// Only in the new document. They change no entity.
    pub added: Vec<String>,
    /// Only in the old document. They change no entity.
    pub removed: Vec<String>,
    /// Of another type in each. They are compared as text.
    pub retyped: Vec<String>,
}

impl ColumnChanges {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.retyped.is_empty()
    }
}

/// How two documents are compared.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) columns: ColumnChanges,
    pub(super) old: SidePlan,
    pub(super) new: SidePlan,
    /// Whether the entity type is part of what identifies an entity.
    pub(super) has_types: bool,
}

/// What the plan says about one document.
#[derive(Debug)]
pub(super) struct SidePlan {
    /// By the position of the entity type in the schema.
    pub(super) types: Vec<TypePlan>,
    /// Columns that are left out.
    pub(super) ignore: BTreeSet<String>,
}

/// What the plan says about one entity type of one document.
#[derive(Debug, Default)]
pub(super) struct TypePlan {
    /// Its number, the same in both documents. The names of types and their numbers have one order.
    pub(super) number: u16,
    /// How each of its columns is compared; `None` for those that are not.
    pub(super) columns: Vec<Option<Compared>>,
    /// Columns that only the other document declares. Undeclared elements of these names are not
    /// compared.
    pub(super) elsewhere: BTreeSet<String>,
}

/// A column that both documents have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compared {
    /// Its number, the same in both documents.
    pub(super) number: u32,
    /// Whether it is compared as text, because its types differ.
    pub(super) as_text: bool,
}

impl Plan {
    /// The plan for two documents with these schemas.
    pub(super) fn of(old: &Schema, new: &Schema, ignore: &BTreeSet<String>) -> Plan {
        let has_types = old.types().len() > 1 || new.types().len() > 1;
        let pairs = pairs(old, new);
        let mut columns = ColumnChanges::default();
        let side = |schema: &Schema| SidePlan {
            types: schema.types().iter().map(|_| TypePlan::default()).collect(),
            ignore: ignore.clone(),
        };
        let mut plan =
            Plan { columns: ColumnChanges::default(), old: side(old), new: side(new), has_types };
        for (number, pair) in (0..).zip(&pairs) {
            let (one, other) = (
                pair.old.and_then(|at| old.types().get(at)),
                pair.new.and_then(|at| new.types().get(at)),
            );
            let named = |column: &str, entity_type: &EntityType| match has_types {
                true => format!("{}/{column}", entity_type.name()),
                false => column.to_owned(),
            };
            let (mut old_type, mut new_type) =
                (TypePlan::of(number, one), TypePlan::of(number, other));
            let mut next = 0;
            for (position, name, r#type) in one.into_iter().flat_map(fields) {
                let Some(one) = one.filter(|_| !ignore.contains(name)) else { continue };
                let counterpart = other.and_then(|other| {
                    let position = other.position(name)?;
                    Some((position, other.fields().get(position)?))
                });
                let Some((counterpart, field)) = counterpart else {
                    columns.removed.push(named(name, one));
                    new_type.elsewhere.insert(name.to_owned());
                    continue;
                };
                let as_text = field.column.r#type != r#type;
                if as_text {
                    columns.retyped.push(named(name, one));
                }
                let compared = Some(Compared { number: next, as_text });
                next += 1;
                set(&mut old_type.columns, position, compared);
                set(&mut new_type.columns, counterpart, compared);
            }
            for (_, name, _) in other.into_iter().flat_map(fields) {
                if let Some(other) = other.filter(|_| !ignore.contains(name))
                    && one.is_none_or(|one| one.position(name).is_none())
                {
                    columns.added.push(named(name, other));
                    old_type.elsewhere.insert(name.to_owned());
                }
            }
            if let Some(place) = pair.old.and_then(|at| plan.old.types.get_mut(at)) {
                *place = old_type;
            }
            if let Some(place) = pair.new.and_then(|at| plan.new.types.get_mut(at)) {
                *place = new_type;
            }
        }
        plan.columns = columns;
        plan
    }
}

impl TypePlan {
    fn of(number: u16, entity_type: Option<&EntityType>) -> TypePlan {
        let columns = entity_type.map_or(0, |entity_type| entity_type.fields().len());
        TypePlan { number, columns: vec![None; columns], elsewhere: BTreeSet::new() }
    }
}

fn set<T>(list: &mut [T], position: usize, value: T) {
    if let Some(place) = list.get_mut(position) {
        *place = value;
    }
}

/// The columns of a type: position, name and type. Of a name that is declared twice, the one that
/// elements of that name belong to.
pub(super) fn fields(entity_type: &EntityType) -> impl Iterator<Item = (usize, &str, &str)> {
    let columns = entity_type.fields().iter().map(|field| &field.column);
    let columns = columns.enumerate().map(|(at, it)| (at, it.name.as_str(), it.r#type.as_str()));
    columns.filter(|(at, name, _)| entity_type.position(name) == Some(*at))
}

/// The positions of an entity type in the two schemas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pair {
    old: Option<usize>,
    new: Option<usize>,
}

/// The entity types, each with its counterpart: that of the same name. Where each document has one
/// type only, they are compared whatever their names.
fn pairs(old: &Schema, new: &Schema) -> Vec<Pair> {
    if old.types().len() == 1 && new.types().len() == 1 {
        return vec![Pair { old: Some(0), new: Some(0) }];
    }
    let mut by_name: BTreeMap<&str, Pair> = BTreeMap::new();
    for (position, entity_type) in old.types().iter().enumerate() {
        by_name.entry(entity_type.name()).or_default().old.get_or_insert(position);
    }
    for (position, entity_type) in new.types().iter().enumerate() {
        by_name.entry(entity_type.name()).or_default().new.get_or_insert(position);
    }
    by_name.into_values().collect()
}

/// An error where entity types that are compared have different primary keys.
pub(super) fn check_keys(old: &Schema, new: &Schema) -> Result<(), DiffError> {
    let key = |entity_type: &EntityType| {
        let field = entity_type.key().and_then(|key| entity_type.fields().get(key));
        field.map(|field| field.column.name.clone())
    };
    for pair in pairs(old, new) {
        let (Some(old), Some(new)) = (
            pair.old.and_then(|at| old.types().get(at)),
            pair.new.and_then(|at| new.types().get(at)),
        ) else {
            continue;
        };
        if key(old) != key(new) {
            return Err(DiffError::DifferentKeys { old: key(old), new: key(new) });
        }
    }
    Ok(())
}
