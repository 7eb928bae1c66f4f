//! A loaded document cut up around its entities, so that the service can count them, merge them by
//! primary key, and keep them in another form.

use std::collections::HashMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// The property that marks an entity for deletion in an incremental load.
const DELETE: &str = "__deleteEntity";

/// A document in parts; joined in their order, they are the document.
pub(super) struct Document<'a> {
    /// All up to the end of the schema.
    pub(super) head: &'a str,
    /// The entities in their order.
    pub(super) entities: Vec<Entity<'a>>,
    /// All after the last entity.
    pub(super) tail: &'a str,
    /// The name of the primary key.
    pub(super) key: String,
}

/// One entity of a document.
#[derive(Clone, Debug)]
pub(super) struct Entity<'a> {
    /// The value of its primary key; empty if it has none.
    pub(super) key: String,
    /// Its text, with the blanks before it.
    pub(super) text: &'a str,
    deletes: bool,
}

/// One property of an entity.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) name: String,
    /// Its value, with all references resolved.
    pub(super) value: String,
}

impl<'a> Document<'a> {
    /// Reads a document as the service does, which needs a schema with a primary key.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "The input is not UTF-8.".to_owned())?;
        let mut reader = Reader::from_str(text);
        let mut path: Vec<String> = Vec::new();
        let (mut root, mut set, mut key) = (None, None, None);
        let (mut head_end, mut last_end) = (None, 0);
        let mut entities = Vec::new();
        loop {
            let event = reader.read_event().map_err(|error| format!("Not readable: {error}."))?;
            let position = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            let is_empty = matches!(event, Event::Empty(_));
            match event {
                Event::Start(start) | Event::Empty(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    match name.as_str() {
                        "element" if attribute(&start, "IsDataSet").is_some() => {
                            set = attribute(&start, "name");
                        }
                        "field" if key.is_none() => key = attribute(&start, "xpath"),
                        _ => {}
                    }
                    root.get_or_insert_with(|| name.clone());
                    if !is_empty {
                        path.push(name);
                    } else if path.len() == 1 {
                        entities.push(last_end..position);
                        last_end = position;
                    }
                }
                Event::End(end) => {
                    if path.pop().as_deref() != Some(end.local_name().as_ref()) {
                        return Err("An end tag does not match.".into());
                    }
                    if path.len() == 1 {
                        if end.local_name().as_ref() == "schema" {
                            head_end = Some(position);
                        } else {
                            entities.push(last_end..position);
                        }
                        last_end = position;
                    }
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let (Some(key), Some(head_end)) = (key, head_end) else {
            return Err("The input has no data schema with a primary key.".into());
        };
        if !path.is_empty() {
            return Err("The input ends too early.".into());
        }
        if root == set {
            return Err("The root element and the data set must have different names.".into());
        }
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        let entities = entities
            .into_iter()
            .map(|range| Entity::of(part(range.start, range.end), &key))
            .collect();
        Ok(Self { head: part(0, head_end), entities, tail: part(last_end, text.len()), key })
    }

    /// The document with other entities.
    pub(super) fn with(&self, entities: impl IntoIterator<Item = impl AsRef<str>>) -> String {
        let mut text = self.head.to_owned();
        for entity in entities {
            text.push_str(entity.as_ref());
        }
        text + self.tail
    }

    /// The document after an incremental load: entities with known keys are replaced or deleted,
    /// others are added at the end.
    pub(super) fn merged(&self, newer: &Document<'_>) -> String {
        let mut changes: HashMap<&str, &Entity<'_>> =
            newer.entities.iter().map(|entity| (entity.key.as_str(), entity)).collect();
        let mut merged: Vec<&str> = Vec::new();
        for entity in &self.entities {
            match changes.remove(entity.key.as_str()) {
                None => merged.push(entity.text),
                Some(change) if change.deletes => {}
                Some(change) => merged.push(change.text),
            }
        }
        let is_new = |entity: &&Entity<'_>| changes.contains_key(entity.key.as_str());
        let added = newer.entities.iter().filter(is_new).filter(|entity| !entity.deletes);
        merged.extend(added.map(|entity| entity.text));
        self.with(merged)
    }
}

impl<'a> Entity<'a> {
    fn of(text: &'a str, key: &str) -> Self {
        let properties = properties(text);
        let value = |name: &str| {
            properties.iter().find(|property| property.name == name).map(|it| it.value.as_str())
        };
        let deletes = matches!(value(DELETE), Some("1" | "true"));
        Self { key: value(key).unwrap_or_default().to_owned(), text, deletes }
    }
}

/// The properties of an entity in their order.
pub(super) fn properties(entity: &str) -> Vec<Property> {
    let mut reader = Reader::from_str(entity);
    let (mut depth, mut properties) = (0, Vec::<Property>::new());
    let push = |properties: &mut Vec<Property>, depth: i32, text: &str| {
        if depth == 2
            && let Some(last) = properties.last_mut()
        {
            last.value.push_str(text);
        }
    };
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                depth += 1;
                if depth == 2 {
                    let name = start.local_name().as_ref().to_owned();
                    properties.push(Property { name, value: String::new() });
                }
            }
            Ok(Event::Empty(start)) if depth == 1 => {
                let name = start.local_name().as_ref().to_owned();
                properties.push(Property { name, value: String::new() });
            }
            Ok(Event::End(_)) => depth -= 1,
            Ok(Event::Text(text)) => push(&mut properties, depth, &text),
            Ok(Event::CData(text)) => push(&mut properties, depth, &text),
            Ok(Event::GeneralRef(name)) => match name.resolve_char_ref() {
                Ok(Some(letter)) => push(&mut properties, depth, letter.encode_utf8(&mut [0; 4])),
                _ => {
                    let text = quick_xml::escape::resolve_predefined_entity(&name);
                    push(&mut properties, depth, text.unwrap_or_default());
                }
            },
            Ok(Event::Eof) | Err(_) => return properties,
            Ok(_) => {}
        }
    }
}

/// An attribute by its local name.
fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = start.attributes().flatten();
    let found = attributes.find(|attribute| attribute.key.local_name().as_ref() == name)?;
    Some(found.value.into_owned())
}
