//! The inline schema: which entity types a document has, with which columns and keys.
//!
//! Found by local names, for prefixes and even the namespace's scheme vary between documents
//! ("Load Data Source Dataflow", XML schema; samples have `http:` and `https:`):
//! `schema` → `element` with `IsDataSet="true"` → `complexType` → `choice` → `element` (an entity
//! type) → `complexType` → `sequence` → `element` (a column); beside the `complexType` a
//! `unique` → `field/@xpath` (the primary key).

use super::flaw::{Flaw, Place, excerpt};
use super::markup;
use super::strict::{Source, Tag, Token};
use super::values::Kind;
use super::{Column, Limits};
use std::collections::HashMap;
use std::io::BufRead;

/// Schema elements for each column allowed: with documentation and restrictions there are
/// several, but not many.
const NODES_PER_COLUMN: usize = 16;

/// Entity types in one document; there is one in all that are known.
const MAX_TYPES: usize = 64;

/// One kind of entity.
#[derive(Debug)]
pub(super) struct EntityType {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    /// The primary key's position in `fields`.
    pub(super) key: usize,
    positions: HashMap<String, usize>,
}

/// A column and how to read its values.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) column: Column,
    pub(super) kind: Kind,
}

impl EntityType {
    /// The field of a tag, and its position. Columns come in the schema's order, nulls left out,
    /// so it is looked for at `hint` and a little further first.
    #[inline]
    pub(super) fn field(&self, tag: Tag<'_>, hint: usize) -> Option<(usize, &Field)> {
        const NEAR: usize = 8;
        let name = tag.name();
        let mut near = (hint..).zip(self.fields.iter().skip(hint).take(NEAR));
        near.find(|(_, field)| field.column.name == name).or_else(|| {
            let position = *self.positions.get(tag.local())?;
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
                _ if markup::local(name) == "IsDataSet" => {
                    node.is_data_set = value.trim().eq_ignore_ascii_case("true") || value == "1";
                }
                _ => {}
            }
        }
        node
    }

    fn children<'a>(&'a self, local: &'a str) -> impl Iterator<Item = &'a Node> {
        self.children.iter().filter(move |child| child.local == local)
    }

    fn child<'a>(&'a self, locals: &[&str]) -> Option<&'a Node> {
        self.children.iter().find(|child| locals.contains(&child.local.as_str()))
    }

    /// The first in document order, itself included, that `wanted` accepts.
    fn find(&self, wanted: &impl Fn(&Node) -> bool) -> Option<&Node> {
        if wanted(self) {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(wanted))
    }
}

/// Reads the schema whose start tag has just been met, up to its end tag.
pub(super) fn read<R: BufRead>(
    source: &mut Source<R>,
    root: Opened,
    limits: &Limits,
) -> Result<Vec<EntityType>, Flaw> {
    let place = source.place();
    let schema = read_tree(source, root, limits)?;
    entity_types(&schema, limits).map_err(|problem| match problem {
        Problem::Wrong(what) => Flaw::Schema { what, place },
        Problem::Large(what) => Flaw::TooLarge { what, place },
    })
}

/// Namespace declarations of one tag, as (prefix, URI); the default one has an empty prefix.
#[derive(Debug)]
pub(super) struct Namespaces(Vec<(String, String)>);

impl Namespaces {
    pub(super) fn of(tag: Tag<'_>) -> Self {
        let declared = tag.attributes().filter_map(|(name, value)| {
            let prefix = match name.strip_prefix("xmlns")? {
                "" => "",
                rest => rest.strip_prefix(':')?,
            };
            Some((prefix.to_owned(), value.into_owned()))
        });
        Self(declared.collect())
    }

    fn get(&self, prefix: &str) -> Option<&str> {
        self.0.iter().find(|(declared, _)| declared == prefix).map(|(_, uri)| uri.as_str())
    }
}

/// The schema's start tag.
#[derive(Debug)]
pub(super) struct Opened {
    node: Node,
    empty: bool,
}

impl Opened {
    /// Takes `tag` for the schema's, or says what it is instead. The namespace must be XML
    /// Schema's where it is declared at all, with either scheme.
    pub(super) fn of(tag: Tag<'_>, outer: &Namespaces) -> Result<Self, String> {
        let name = tag.name();
        if tag.local() != "schema" {
            return Err(format!("<{}>, not with a schema", excerpt(name)));
        }
        let own = Namespaces::of(tag);
        let prefix = name.rsplit_once(':').map_or("", |(prefix, _)| prefix);
        let uri = own.get(prefix).or_else(|| outer.get(prefix)).unwrap_or_default();
        let known = ["", "http://www.w3.org/2001/XMLSchema", "https://www.w3.org/2001/XMLSchema"];
        if !known.contains(&uri) {
            return Err(format!("a schema of another kind: {}", excerpt(uri)));
        }
        Ok(Self { node: Node::of(tag), empty: tag.empty })
    }
}

fn read_tree<R: BufRead>(
    source: &mut Source<R>,
    root: Opened,
    limits: &Limits,
) -> Result<Node, Flaw> {
    if root.empty {
        return Ok(root.node);
    }
    let too_large = |what: &str, place: Place| Flaw::TooLarge { what: what.to_owned(), place };
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
                nodes += 1;
                if nodes > max_nodes {
                    return Err(too_large("the schema has too many elements", source.place()));
                }
                // inside the parents and the current element
                if parents.len() + 1 >= limits.max_depth {
                    return Err(too_large("the schema is nested too deeply", source.place()));
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
                return Err(Flaw::Truncated { what, place: source.place() });
            }
            // documentation
            Token::Text(_) | Token::CData(_) | Token::Char(_) | Token::Aside => {}
        }
    }
}

enum Problem {
    Wrong(String),
    Large(String),
}

impl From<String> for Problem {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

fn entity_types(schema: &Node, limits: &Limits) -> Result<Vec<EntityType>, Problem> {
    let data_set = schema
        .find(&|node| node.local == "element" && node.is_data_set)
        .ok_or_else(|| "no element has IsDataSet=\"true\"".to_owned())?;
    let choice = data_set
        .child(&["complexType"])
        .and_then(|complex| complex.child(&["choice", "sequence", "all"]))
        .ok_or_else(|| "the data set has no choice of entity types".to_owned())?;
    let declared: Vec<&Node> = choice.children("element").collect();
    if declared.is_empty() {
        return Err("the data set has no entity type".to_owned().into());
    }
    if declared.len() > MAX_TYPES {
        return Err(Problem::Large("the schema has too many entity types".to_owned()));
    }
    let mut types: Vec<EntityType> = Vec::with_capacity(declared.len());
    for node in &declared {
        let name = named(node, "an entity type")?;
        if types.iter().any(|earlier| earlier.name == name) {
            return Err(format!("two entity types are named {}", excerpt(&name)).into());
        }
        types.push(entity_type(name, node, data_set, declared.len() == 1, limits)?);
    }
    Ok(types)
}

fn entity_type(
    name: String,
    node: &Node,
    data_set: &Node,
    only_one: bool,
    limits: &Limits,
) -> Result<EntityType, Problem> {
    let shown = excerpt(&name);
    let sequence = node
        .child(&["complexType"])
        .and_then(|complex| complex.child(&["sequence", "all"]))
        .ok_or_else(|| format!("entity type {shown} has no sequence of columns"))?;
    let mut fields = Vec::new();
    let mut positions = HashMap::new();
    for element in sequence.children("element") {
        let column = Column { name: named(element, "a column")?, r#type: type_of(element) };
        if positions.insert(column.name.clone(), fields.len()).is_some() {
            return Err(format!("two columns are named {}", excerpt(&column.name)).into());
        }
        fields.push(Field { kind: Kind::of(&column.r#type), column });
    }
    if fields.is_empty() {
        return Err(format!("entity type {shown} has no columns").into());
    }
    if fields.len() > limits.max_columns {
        return Err(Problem::Large(format!("entity type {shown} has too many columns")));
    }
    let key = primary_key(data_set, &name, only_one)?;
    let key = positions.get(&key).copied().ok_or_else(|| {
        format!("the primary key {} is no column of entity type {shown}", excerpt(&key))
    })?;
    Ok(EntityType { name, fields, key, positions })
}

fn named(node: &Node, what: &str) -> Result<String, String> {
    let name = node.name.as_deref().map(str::trim).ok_or_else(|| format!("{what} has no name"))?;
    if !markup::is_name(name) || name.contains(':') {
        return Err(format!("{what} has the impossible name \"{}\"", excerpt(name)));
    }
    Ok(name.to_owned())
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

/// The field of the `unique` that selects the entity type. With one type and one `unique` the
/// selector does not matter (the service's own samples disagree with themselves there).
fn primary_key(data_set: &Node, entity_type: &str, only_one: bool) -> Result<String, String> {
    let mut uniques = Vec::new();
    collect(data_set, "unique", &mut uniques);
    let selects = |unique: &&&Node| {
        let selector = unique.child(&["selector"]).and_then(|s| s.xpath.as_deref());
        selector.is_some_and(|xpath| last_step(xpath) == entity_type)
    };
    let unique = match (uniques.iter().find(selects), uniques.as_slice()) {
        (Some(unique), _) => *unique,
        (None, [unique]) if only_one => *unique,
        _ => {
            return Err(format!("no unique names the key of entity type {}", excerpt(entity_type)));
        }
    };
    let mut fields = unique.children("field");
    let xpath = fields
        .next()
        .and_then(|field| field.xpath.as_deref())
        .ok_or_else(|| "a unique without a field/@xpath".to_owned())?;
    if fields.next().is_some() {
        return Err("a primary key of several fields".to_owned());
    }
    Ok(last_step(xpath).to_owned())
}

fn collect<'a>(node: &'a Node, local: &str, found: &mut Vec<&'a Node>) {
    for child in &node.children {
        if child.local == local {
            found.push(child);
        }
        collect(child, local, found);
    }
}

/// The name that an XPath ends with: `.//m:Shop`, `./@EntityID` and `EntityID` alike.
fn last_step(xpath: &str) -> &str {
    let step = xpath.rsplit('/').next().unwrap_or(xpath).trim();
    markup::local(step.strip_prefix('@').unwrap_or(step))
}
