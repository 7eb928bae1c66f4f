//! The inline schema: which entity types a document has, with which columns and keys.
//!
//! Found by local names, for prefixes and even the namespace vary between documents ("Load Data
//! Source Dataflow", XML schema; samples have `http:` and `https:`):
//! `schema` → `element` with `IsDataSet="true"` → `complexType` → `choice` → `element` (an entity
//! type) → `complexType` → `sequence` → `element` (a column); beside the `complexType` a
//! `unique` → `field/@xpath` (the primary key).
//!
//! Only bounds make a document unusable here. What a schema lacks or contradicts leaves a warning.

use super::error::{Location, ValidationError, excerpt};
use super::markup;
use super::strict::{Tag, Token, XmlSource};
use super::values::ColumnKind;
use super::warnings::{Unproven, Warnings};
use super::{Column, DocumentLimits};
use std::collections::HashMap;
use std::io::BufRead;

/// Schema elements for each column allowed: with documentation and restrictions there are
/// several, but not many.
const NODES_PER_COLUMN: usize = 16;

/// Entity types in one document; there is one in all that are known.
const MAX_TYPES: usize = 64;

/// What a document declares: its entity types, in order.
#[derive(Debug, Default)]
pub struct Schema {
    types: Vec<EntityType>,
}

impl Schema {
    /// The entity types; nearly always one.
    pub fn types(&self) -> &[EntityType] {
        &self.types
    }

    /// The first entity type, which the manifest describes.
    pub fn first(&self) -> Option<&EntityType> {
        self.types.first()
    }

    /// The first type's name, the position of its key, and its columns.
    pub(super) fn into_first(self) -> (String, Option<usize>, Vec<Column>) {
        let Some(first) = self.types.into_iter().next() else { return Default::default() };
        let columns = first.fields.into_iter().map(|field| field.column).collect();
        (first.name, first.key, columns)
    }

    /// The type of an element's local name, and its position.
    #[inline]
    pub(super) fn find(&self, name: &str) -> Option<(usize, &EntityType)> {
        self.types.iter().enumerate().find(|(_, it)| it.name == name)
    }
}

/// One kind of entity.
#[derive(Debug)]
pub struct EntityType {
    name: String,
    fields: Vec<Field>,
    key: Option<usize>,
    offset: usize,
    positions: HashMap<String, usize>,
}

/// A column and how to read its values.
#[derive(Debug)]
pub struct Field {
    /// Its name and type.
    pub column: Column,
    /// How its values are read.
    pub kind: ColumnKind,
}

impl EntityType {
    /// The name of its entities' elements.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns, in the schema's order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The primary key's position in the columns, where the schema names one.
    pub fn key(&self) -> Option<usize> {
        self.key
    }

    /// The position of a column's name; names are compared exactly.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }

    /// The position of its first column among those of all types.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// The field of a tag, and its position. Columns come in the schema's order, nulls left out,
    /// so it is looked for at `hint` and a little further first.
    #[inline]
    pub(super) fn field(&self, tag: Tag<'_>, hint: usize) -> Option<(usize, &Field)> {
        const NEAR: usize = 8;
        let name = tag.name();
        let mut near = (hint..).zip(self.fields.iter().skip(hint).take(NEAR));
        near.find(|(_, field)| field.column.name == name).or_else(|| {
            let position = self.position(tag.local())?;
            Some((position, self.fields.get(position)?))
        })
    }
}

/// A schema element, with what matters of its attributes.
#[derive(Debug, Default)]
struct Node {
    local: String,
    name: Option<String>,
    r#type: Option<String>,
    base: Option<String>,
    xpath: Option<String>,
    is_data_set: bool,
    is_primary_key: bool,
    children: Vec<Node>,
}

impl Node {
    fn of(tag: Tag<'_>) -> Self {
        let mut node = Self { local: tag.local().to_owned(), ..Self::default() };
        for (name, value) in tag.attributes() {
            match name {
                "name" => node.name = Some(value.into_owned()),
                "type" => node.r#type = Some(value.into_owned()),
                "base" => node.base = Some(value.into_owned()),
                "xpath" => node.xpath = Some(value.into_owned()),
                _ => match markup::local(name) {
                    "IsDataSet" => node.is_data_set = is_true(&value),
                    "PrimaryKey" => node.is_primary_key = is_true(&value),
                    _ => {}
                },
            }
        }
        node
    }

    /// Bytes of the longest text that is kept of its attributes.
    fn longest(&self) -> usize {
        let texts = [&self.name, &self.r#type, &self.base, &self.xpath];
        texts.into_iter().flatten().map(String::len).max().unwrap_or_default()
    }

    fn children<'a>(&'a self, local: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |child| child.local == local)
    }

    fn child<'a>(&'a self, locals: &[&str]) -> Option<&'a Node> {
        self.children.iter().find(|child| locals.contains(&child.local.as_str()))
    }

    /// The group of elements of its type: written within it, or named and written beside.
    fn content<'a>(&'a self, schema: &'a Node) -> Option<&'a Node> {
        self.child(&["complexType"]).or_else(|| {
            let named = markup::local(self.r#type.as_deref()?.trim());
            schema.children("complexType").find(|node| node.name.as_deref() == Some(named))
        })
    }

    /// The elements of a group, however its groups are nested.
    fn elements<'a>(&'a self, found: &mut Vec<&'a Node>) {
        for child in &self.children {
            match child.local.as_str() {
                "element" => found.push(child),
                "sequence" | "choice" | "all" | "complexContent" | "extension" | "restriction" => {
                    child.elements(found);
                }
                _ => {}
            }
        }
    }

    /// The first in document order, itself included, that `wanted` accepts.
    fn find(&self, wanted: &impl Fn(&Node) -> bool) -> Option<&Node> {
        if wanted(self) {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(wanted))
    }
}

fn is_true(value: &str) -> bool {
    value.trim().eq_ignore_ascii_case("true") || value.trim() == "1"
}

/// The schema's start tag.
#[derive(Debug)]
pub(super) struct Opened {
    node: Node,
    empty: bool,
}

impl Opened {
    /// Takes `tag` for the schema's, if it is. The namespace is not looked at.
    pub(super) fn of(tag: Tag<'_>) -> Option<Self> {
        (tag.local() == "schema").then(|| Self { node: Node::of(tag), empty: tag.empty })
    }
}

/// Reads the schema whose start tag has just been met, up to its end tag.
///
/// # Errors
/// When it is not well-formed or beyond the limits.
pub(super) fn read<R: BufRead>(
    source: &mut XmlSource<R>,
    root: Opened,
    limits: &DocumentLimits,
    warnings: &mut Warnings,
) -> Result<Schema, ValidationError> {
    let location = source.location();
    source.begin_section(limits.max_schema_bytes);
    let schema = read_tree(source, root, limits)?;
    source.end_section();
    let mut warning = |unproven, what: String| warnings.raise(unproven, location.clone(), || what);
    let types = entity_types(&schema, limits, &mut warning);
    let too_large = |what: &str| {
        Err(ValidationError::TooLarge { what: what.to_owned(), location: location.clone() })
    };
    if types.len() > MAX_TYPES {
        return too_large("the schema has too many entity types");
    }
    if types.iter().map(|it| it.fields.len()).sum::<usize>() > limits.max_columns {
        return too_large("the schema has too many columns");
    }
    Ok(Schema { types })
}

fn read_tree<R: BufRead>(
    source: &mut XmlSource<R>,
    root: Opened,
    limits: &DocumentLimits,
) -> Result<Node, ValidationError> {
    if root.empty {
        return Ok(root.node);
    }
    let too_large = |what: &str, location: Location| ValidationError::TooLarge {
        what: what.to_owned(),
        location,
    };
    let max_nodes = limits.max_columns.saturating_mul(NODES_PER_COLUMN);
    let mut nodes = 0;
    let mut current = root.node;
    let mut parents: Vec<Node> = Vec::new();
    let mut piece = Vec::new();
    loop {
        let raw = source.read(&mut piece);
        match source.check(&raw)? {
            Token::Open(tag) => {
                let node = Node::of(tag);
                // shorter than an element's name may be, and so is a type's
                if node.longest() > limits.max_name_bytes {
                    return Err(too_large("the schema has too long a name", source.location()));
                }
                nodes += 1;
                if nodes > max_nodes {
                    return Err(too_large("the schema has too many elements", source.location()));
                }
                // inside the parents and the current element
                if parents.len() + 1 >= limits.max_depth {
                    return Err(too_large("the schema is nested too deeply", source.location()));
                }
                if tag.empty {
                    current.children.push(node);
                } else {
                    parents.push(std::mem::replace(&mut current, node));
                }
            }
            Token::Close => {
                let Some(mut parent) = parents.pop() else { return Ok(current) };
                parent.children.push(current);
                current = parent;
            }
            Token::End => {
                let what = "within the schema".to_owned();
                return Err(ValidationError::Truncated { what, location: source.location() });
            }
            // documentation
            Token::Text(_) | Token::CData(_) | Token::Char(_) | Token::Aside => {}
        }
    }
}

/// The types in order; one that exceeds a limit is the last.
fn entity_types(
    schema: &Node,
    limits: &DocumentLimits,
    warning: &mut impl FnMut(Unproven, String),
) -> Vec<EntityType> {
    let mut types: Vec<EntityType> = Vec::new();
    let mut declared = Vec::new();
    match data_set(schema) {
        Some(content) => content.elements(&mut declared),
        None => warning(Unproven::Schema, "the schema has no data set".to_owned()),
    }
    for node in &declared {
        let Some(name) = named(node, "an entity type", warning) else { continue };
        if types.iter().any(|earlier| earlier.name == name) {
            warning(Unproven::Schema, format!("two entity types are named {}", excerpt(&name)));
            continue;
        }
        let offset = types.last().map_or(0, |last| last.offset + last.fields.len());
        let mut entity_type = entity_type(name, node, schema, offset, warning);
        match primary_key(schema, &entity_type, declared.len() == 1) {
            Ok(key) => entity_type.key = Some(key),
            Err(what) => warning(Unproven::Keys, what),
        }
        let columns = offset + entity_type.fields.len();
        types.push(entity_type);
        if types.len() > MAX_TYPES || columns > limits.max_columns {
            break;
        }
    }
    if types.is_empty() {
        warning(Unproven::Schema, "the schema has no entity type".to_owned());
    }
    types
}

/// The content of the element that holds the entities: the one that says so, or the first that
/// holds elements with contents of their own.
fn data_set(schema: &Node) -> Option<&Node> {
    let said = schema.find(&|node| node.local == "element" && node.is_data_set);
    said.and_then(|node| node.content(schema)).or_else(|| {
        let inline = |node: &Node| node.children("complexType").next().is_some();
        let holds_entities = |node: &Node| {
            let mut inner = Vec::new();
            if let Some(content) = node.child(&["complexType"]) {
                content.elements(&mut inner);
            }
            node.local == "element" && inner.into_iter().any(inline)
        };
        schema.find(&holds_entities)?.child(&["complexType"])
    })
}

fn entity_type(
    name: String,
    node: &Node,
    schema: &Node,
    offset: usize,
    warning: &mut impl FnMut(Unproven, String),
) -> EntityType {
    let mut elements = Vec::new();
    if let Some(content) = node.content(schema) {
        content.elements(&mut elements);
    }
    let mut fields = Vec::new();
    let mut positions = HashMap::new();
    for element in elements {
        let Some(name) = named(element, "a column", warning) else { continue };
        if positions.contains_key(&name) {
            warning(Unproven::Schema, format!("two columns are named {}", excerpt(&name)));
            continue;
        }
        positions.insert(name.clone(), fields.len());
        let column = Column { name, r#type: type_of(element) };
        fields.push(Field { kind: ColumnKind::of(&column.r#type), column });
    }
    if fields.is_empty() {
        warning(Unproven::Schema, format!("entity type {} has no columns", excerpt(&name)));
    }
    EntityType { name, fields, key: None, offset, positions }
}

/// The node's name, if it is one that an element can have.
fn named(node: &Node, what: &str, warning: &mut impl FnMut(Unproven, String)) -> Option<String> {
    let Some(name) = node.name.as_deref().map(str::trim) else {
        warning(Unproven::Schema, format!("{what} has no name"));
        return None;
    };
    if !markup::is_name(name) || name.contains(':') {
        warning(Unproven::Schema, format!("{what} has the impossible name \"{}\"", excerpt(name)));
        return None;
    }
    Some(name.to_owned())
}

/// The type as `xs:…`. A restriction of a type is read as that type; an element without any type
/// is text.
fn type_of(element: &Node) -> String {
    let restriction = || {
        let restriction = element.child(&["simpleType"])?.child(&["restriction"])?;
        restriction.base.as_deref()
    };
    let written = element.r#type.as_deref().or_else(restriction).unwrap_or("string");
    format!("xs:{}", markup::local(written.trim()))
}

/// The position of the field that the `unique` (or `key`) names which selects the entity type, or
/// why there is none. With one type and one `unique` the selector does not matter (the service's
/// own samples disagree with themselves there).
fn primary_key(schema: &Node, entity_type: &EntityType, only_one: bool) -> Result<usize, String> {
    let shown = excerpt(&entity_type.name);
    let mut uniques = Vec::new();
    collect(schema, &["unique", "key"], &mut uniques);
    let selects = |unique: &&Node| {
        let selector = unique.child(&["selector"]).and_then(|s| s.xpath.as_deref());
        selector.is_some_and(|xpath| last_step(xpath) == entity_type.name)
    };
    let mut selecting: Vec<&Node> = uniques.iter().copied().filter(selects).collect();
    if selecting.is_empty() && only_one {
        selecting = uniques;
    }
    let first = match selecting.as_slice() {
        [one] => Some(one),
        several => several.iter().find(|it| it.is_primary_key).or(several.first()),
    };
    let unique = first.ok_or_else(|| format!("no unique names the key of entity type {shown}"))?;
    let mut fields = unique.children("field");
    let xpath = fields.next().and_then(|field| field.xpath.as_deref());
    let xpath = xpath.ok_or_else(|| "a unique without a field/@xpath".to_owned())?;
    if fields.next().is_some() {
        return Err(format!("the primary key of entity type {shown} has several fields"));
    }
    let key = last_step(xpath);
    let is_key = |field: &Field| field.column.name.eq_ignore_ascii_case(key);
    let exact = entity_type.positions.get(key).copied();
    exact.or_else(|| entity_type.fields.iter().position(is_key)).ok_or_else(|| {
        format!("the primary key {} is no column of entity type {shown}", excerpt(key))
    })
}

fn collect<'a>(node: &'a Node, locals: &[&str], found: &mut Vec<&'a Node>) {
    for child in &node.children {
        if locals.contains(&child.local.as_str()) {
            found.push(child);
        }
        collect(child, locals, found);
    }
}

/// The name that an XPath ends with: `.//m:Shop`, `./@EntityID` and `EntityID` alike.
fn last_step(xpath: &str) -> &str {
    let step = xpath.rsplit('/').next().unwrap_or(xpath).trim();
    markup::local(step.strip_prefix('@').unwrap_or(step))
}
