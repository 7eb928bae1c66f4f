//! How a service may keep a loaded document in another form than it was posted: equal in every
//! value, or not.

use super::data::Data;
use super::entities::{Document, Property, properties};
use super::places::escape;

/// What the service does to the documents that are loaded.
#[derive(Clone, Debug)]
pub enum Alteration {
    /// Changes no value: other blanks, other forms of escaping, properties and entities in another
    /// order, another namespace of the schema.
    Reserialised,
    /// Adds `Latitude` and `Longitude` to the schema and to each entity that has a geography, where
    /// the schema lacks them, as documented.
    ComputedLocation,
    /// Changes a value of the entity in the middle.
    ChangedValue,
    /// Leaves out the entity in the middle.
    DroppedEntity,
    /// Repeats the entity in the middle under another key.
    AddedEntity,
    /// Leaves out properties that are empty strings, which makes them null.
    EmptyAsNull,
    /// Keeps this instead.
    Replaced(Data),
}

impl Alteration {
    /// The document as it is kept. One that cannot be read stays as it is.
    pub(super) fn apply(&self, data: &Data) -> Data {
        if let Self::Replaced(other) = self {
            return other.clone();
        }
        let document = data.document();
        match Document::parse(&document) {
            Ok(document) => Data::raw(self.text(&document)),
            Err(_) => data.clone(),
        }
    }

    fn text(&self, document: &Document<'_>) -> String {
        let middle = document.entities.len() / 2;
        let in_middle = |change: &dyn Fn(&str) -> Vec<String>| {
            let each = document.entities.iter().enumerate();
            document.with(each.flat_map(|(index, entity)| match index == middle {
                true => change(entity.text),
                false => vec![entity.text.to_owned()],
            }))
        };
        match self {
            Self::Reserialised => reserialised(document),
            Self::ComputedLocation => located(document),
            Self::ChangedValue => in_middle(&|text| {
                vec![rewritten(text, |property| {
                    let is_key = property.name == document.key;
                    let is_text = property.value.parse::<f64>().is_err();
                    (!is_key && is_text).then(|| format!("{} (changed)", property.value))
                })]
            }),
            Self::DroppedEntity => in_middle(&|_| Vec::new()),
            Self::AddedEntity => in_middle(&|text| {
                let another = rewritten(text, |property| {
                    (property.name == document.key).then(|| format!("{}-again", property.value))
                });
                vec![text.to_owned(), another]
            }),
            Self::EmptyAsNull => document.with(document.entities.iter().map(|entity| {
                let kept = properties(entity.text).into_iter().filter(|it| !it.value.is_empty());
                element(entity.text, kept, &plain)
            })),
            Self::Replaced(_) => document.with(document.entities.iter().map(|it| it.text)),
        }
    }
}

/// An entity with the first property changed for which there is another value.
fn rewritten(entity: &str, change: impl Fn(&Property) -> Option<String>) -> String {
    let mut properties = properties(entity);
    let found = properties.iter().enumerate().find_map(|(at, it)| Some((at, change(it)?)));
    if let Some((at, value)) = found
        && let Some(property) = properties.get_mut(at)
    {
        property.value = value;
    }
    element(entity, properties, &plain)
}

fn reserialised(document: &Document<'_>) -> String {
    let entities = document.entities.iter().rev().map(|entity| {
        let reversed = properties(entity.text).into_iter().rev();
        element(entity.text, reversed, &|property| {
            let value = &property.value;
            let is_markup = value.contains(['&', '<']) && !value.contains("]]>");
            if is_markup { format!("<![CDATA[{value}]]>") } else { plain(property) }
        })
    });
    let text = document.with(entities);
    text.replacen(
        "\"https://www.w3.org/2001/XMLSchema\"",
        "\"http://www.w3.org/2001/XMLSchema\"",
        1,
    )
}

fn located(document: &Document<'_>) -> String {
    const ELEMENTS: &str = "<xs:element name=\"Latitude\" type=\"xs:double\" minOccurs=\"0\"/>\
        <xs:element name=\"Longitude\" type=\"xs:double\" minOccurs=\"0\"/></xs:sequence>";
    if document.head.contains("name=\"Latitude\"") {
        return document.with(document.entities.iter().map(|entity| entity.text));
    }
    let entities = document.entities.iter().map(|entity| {
        let mut all = properties(entity.text);
        if let Some((longitude, latitude)) = all.iter().find_map(|it| first_position(&it.value)) {
            all.push(Property { name: "Latitude".into(), value: latitude });
            all.push(Property { name: "Longitude".into(), value: longitude });
        }
        element(entity.text, all, &plain)
    });
    document.with(entities).replacen("</xs:sequence>", ELEMENTS, 1)
}

/// The first longitude and latitude of well-known text.
fn first_position(value: &str) -> Option<(String, String)> {
    const KINDS: [&str; 4] = ["POINT", "LINESTRING", "POLYGON", "GEOMETRYCOLLECTION"];
    let kind = value.trim_start().trim_start_matches("MULTI");
    KINDS.iter().any(|it| kind.starts_with(it)).then_some(())?;
    let mut numbers = value
        .split(|letter: char| !matches!(letter, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
        .filter(|word| word.parse::<f64>().is_ok());
    Some((numbers.next()?.to_owned(), numbers.next()?.to_owned()))
}

fn plain(property: &Property) -> String {
    escape(&property.value).into_owned()
}

/// An entity on a line of its own, its values in the given form.
fn element(
    entity: &str,
    properties: impl IntoIterator<Item = Property>,
    form: &dyn Fn(&Property) -> String,
) -> String {
    let name: String = entity
        .trim_start()
        .trim_start_matches('<')
        .chars()
        .take_while(|letter| !letter.is_whitespace() && !matches!(letter, '>' | '/'))
        .collect();
    let mut text = format!("\n<{name}>");
    for property in properties {
        text.push_str(&format!("<{0}>{1}</{0}>", property.name, form(&property)));
    }
    text + "</" + &name + ">"
}
