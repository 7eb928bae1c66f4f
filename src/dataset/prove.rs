//! The proof itself: one pass over the tokens, prolog, schema, entities, end.

use super::flaw::{Flaw, Place, excerpt};
use super::markup;
use super::schema::{self, EntityType, Field};
use super::strict::{Source, Token};
use super::values::{self, Kind};
use super::{Limits, Summary};
use std::hash::{DefaultHasher, Hasher};
use std::io::BufRead;

/// Reads one document to its end and proves it.
///
/// Reading goes on only while everything holds: after a flaw the rest of `reader` is left as it
/// is. Beyond the reader's own buffer this needs a few times the largest value, and 8 bytes for
/// each entity (16 at the end).
///
/// # Errors
/// The first [`Flaw`] in document order; a primary key met twice is told at the end. A failure of
/// `reader` comes back unchanged as [`Flaw::Io`].
pub fn prove<R: BufRead>(reader: R, limits: &Limits) -> Result<Summary, Flaw> {
    let mut source = Source::open(reader, limits)?;
    let root = read_root(&mut source)?;
    let schema = find_schema(&mut source, &root)?;
    let types = schema::read(&mut source, schema, limits)?;
    let keys = Entities::new(&mut source, &types, limits).read_all()?;
    read_end(&mut source)?;
    check_unique(&keys, source.place())?;

    let first = types.into_iter().next();
    // the schema reader answers with at least one type, and a key among its columns
    let missing = || Flaw::Schema { what: "no entity type".to_owned(), place: Place::at(0) };
    let EntityType { name: entity_type, fields, key, .. } = first.ok_or_else(missing)?;
    let columns: Vec<_> = fields.into_iter().map(|field| field.column).collect();
    Ok(Summary {
        root: root.name,
        entity_type,
        primary_key: columns.get(key).ok_or_else(missing)?.name.clone(),
        columns,
        entities: keys.len() as u64,
        bytes: source.bytes(),
    })
}

/// The root's start tag.
struct Root {
    name: String,
    namespaces: schema::Namespaces,
}

/// Up to and with the root's start tag.
fn read_root<R: BufRead>(source: &mut Source<R>) -> Result<Root, Flaw> {
    let mut piece = Vec::new();
    loop {
        let raw = source.read(&mut piece);
        let what = match source.check(&raw)? {
            Token::Aside => continue,
            Token::Text(text) if markup::is_blank(text) => continue,
            Token::Open(tag) if !tag.empty => {
                let namespaces = schema::Namespaces::of(tag);
                return Ok(Root { name: tag.name().to_owned(), namespaces });
            }
            Token::Open(tag) => format!("the root element <{}> is empty", excerpt(tag.name())),
            Token::Text(text) | Token::CData(text) => {
                format!("it begins with text: \"{}\"", excerpt(text.trim_start()))
            }
            Token::Char(_) => "it begins with text".to_owned(),
            Token::Close | Token::End => "it has no root element".to_owned(),
        };
        return Err(Flaw::Root { what, place: source.place() });
    }
}

/// Up to and with the schema's start tag, the first thing in the root.
fn find_schema<R: BufRead>(source: &mut Source<R>, root: &Root) -> Result<schema::Opened, Flaw> {
    let name = excerpt(&root.name);
    let mut piece = Vec::new();
    loop {
        let raw = source.read(&mut piece);
        let what = match source.check(&raw)? {
            Token::Aside => continue,
            Token::Text(text) if markup::is_blank(text) => continue,
            Token::Open(tag) => match schema::Opened::of(tag, &root.namespaces) {
                Ok(opened) => return Ok(opened),
                Err(what) => format!("the root element <{name}> begins with {what}"),
            },
            Token::Text(text) | Token::CData(text) => {
                format!("the root element <{name}> begins with text: \"{}\"", excerpt(text))
            }
            Token::Char(_) => format!("the root element <{name}> begins with text"),
            Token::Close => format!("the root element <{name}> has no schema"),
            Token::End => {
                return Err(truncated("within the root element", source.place()));
            }
        };
        return Err(Flaw::Root { what, place: source.place() });
    }
}

/// Bytes of a text that is copied whether anybody will look at it or not.
const SHORT: usize = 64;

/// Reads entities one by one, with everything that is used again for each.
struct Entities<'a, R> {
    source: &'a mut Source<R>,
    types: &'a [EntityType],
    limits: &'a Limits,
    /// The current entity's number in the document.
    number: u64,
    /// For each column, the number of the entity that had it last.
    seen: Vec<u64>,
    /// The current value's text; of a long text column only fragments.
    value: String,
    /// What the source reads into.
    piece: Vec<u8>,
}

impl<'a, R: BufRead> Entities<'a, R> {
    fn new(source: &'a mut Source<R>, types: &'a [EntityType], limits: &'a Limits) -> Self {
        let widest = types.iter().map(|t| t.fields.len()).max().unwrap_or_default();
        Self {
            source,
            types,
            limits,
            number: 0,
            seen: vec![0; widest],
            value: String::new(),
            piece: Vec::new(),
        }
    }

    /// Up to and with the root's end tag. Answers a digest of each entity's type and primary key,
    /// in document order.
    fn read_all(mut self) -> Result<Digests, Flaw> {
        let mut keys = Digests::default();
        loop {
            let raw = self.source.read(&mut self.piece);
            match self.source.check(&raw)? {
                Token::Open(tag) => {
                    self.number += 1;
                    let number = self.number;
                    let name = tag.local();
                    let found = self.types.iter().enumerate().find(|(_, t)| t.name == name);
                    let Some((index, entity_type)) = found else {
                        let what = "the schema has no such entity type";
                        let flaw = unknown(excerpt(tag.name()), what, self.source.place());
                        return Err(flaw.within(number, None));
                    };
                    if number > self.limits.max_entities {
                        let what = format!("more than {} entities", self.limits.max_entities);
                        return Err(Flaw::TooLarge { what, place: self.source.place() });
                    }
                    let key = if tag.empty {
                        Err(no_key(entity_type, self.source.place()))
                    } else {
                        self.read_entity(index, entity_type)
                    };
                    keys.push(key.map_err(|flaw| flaw.within(number, None))?);
                }
                Token::Close => return Ok(keys),
                Token::Text(text) if markup::is_blank(text) => {}
                Token::Aside => {}
                Token::Text(text) | Token::CData(text) => {
                    return Err(stray(excerpt(text), self.source.place()));
                }
                Token::Char(c) => {
                    return Err(stray(excerpt(c.encode_utf8(&mut [0; 4])), self.source.place()));
                }
                Token::End => {
                    return Err(truncated("within the root element", self.source.place()));
                }
            }
        }
    }

    /// Reads the entity whose start tag has just been met; answers the digest of its key.
    fn read_entity(&mut self, index: usize, entity_type: &EntityType) -> Result<u64, Flaw> {
        let started = self.source.place();
        let mut key = None;
        let mut hint = 0;
        loop {
            let raw = self.source.read(&mut self.piece);
            match self.source.check(&raw)? {
                Token::Open(tag) => {
                    let Some((position, field)) = entity_type.field(tag, hint) else {
                        let what = "the schema has no such column";
                        return Err(unknown(excerpt(tag.name()), what, self.source.place()));
                    };
                    let (nil, empty) = (tag.nil(), tag.empty);
                    let is_key = position == entity_type.key;
                    let present = self
                        .read_column(position, field, is_key, nil, empty)
                        .map_err(|flaw| flaw.within(self.number, Some(&field.column.name)))?;
                    if is_key && present {
                        key = Some(digest(index, &self.value));
                    }
                    hint = position + 1;
                }
                Token::Close => return key.ok_or_else(|| no_key(entity_type, started)),
                Token::Text(text) if markup::is_blank(text) => {}
                Token::Aside => {}
                Token::Text(text) | Token::CData(text) => {
                    return Err(stray(excerpt(text), self.source.place()));
                }
                Token::Char(c) => {
                    return Err(stray(excerpt(c.encode_utf8(&mut [0; 4])), self.source.place()));
                }
                Token::End => return Err(truncated("within an entity", self.source.place())),
            }
        }
    }

    /// Reads the value whose start tag has just been met; answers whether there is one, a nil
    /// being none.
    fn read_column(
        &mut self,
        position: usize,
        field: &Field,
        is_key: bool,
        nil: bool,
        empty: bool,
    ) -> Result<bool, Flaw> {
        let started = self.source.place();
        if let Some(last) = self.seen.get_mut(position)
            && std::mem::replace(last, self.number) == self.number
        {
            return Err(bad("the column was given before in this entity", started));
        }
        self.value.clear();
        let length = if empty { 0 } else { self.read_value(is_key || field.kind != Kind::Text)? };
        if nil {
            if length > 0 {
                return Err(bad("it says nil, but is not empty", started));
            }
            return Ok(false);
        }
        if !values::check(field.kind, &self.value) {
            let (value, r#type) = (excerpt(&self.value), excerpt(&field.column.r#type));
            return Err(bad(&format!("\"{value}\" is no {type}"), started));
        }
        if is_key && length == 0 {
            return Err(Flaw::Key { what: "it is empty".to_owned(), place: started });
        }
        Ok(true)
    }

    /// Reads up to the value's end tag; answers its length in bytes. `wanted` text is kept in
    /// full.
    fn read_value(&mut self, wanted: bool) -> Result<usize, Flaw> {
        let mut length = 0usize;
        loop {
            let mut encoded = [0; 4];
            let raw = self.source.read(&mut self.piece);
            let text = match self.source.check(&raw)? {
                Token::Text(text) | Token::CData(text) => text,
                Token::Char(c) => &*c.encode_utf8(&mut encoded),
                Token::Close => return Ok(length),
                Token::Aside => continue,
                Token::Open(tag) => {
                    let what = "a value holds no elements";
                    return Err(unknown(excerpt(tag.name()), what, self.source.place()));
                }
                Token::End => return Err(truncated("within a value", self.source.place())),
            };
            length += text.len();
            if length > self.limits.max_value_bytes {
                let what = format!("a value of more than {} bytes", self.limits.max_value_bytes);
                return Err(Flaw::TooLarge { what, place: self.source.place() });
            }
            // a short copy costs less than a branch that follows the columns' types
            if wanted || text.len() < SHORT {
                self.value.push_str(text);
            }
        }
    }
}

/// A digest of a primary key, for the comparison of all with all.
///
/// Two different keys meet by accident with a chance of about n²/2⁶⁵: once in a billion documents
/// of 200,000 entities, once in a million of 5,000,000. The hash is the standard library's SipHash
/// with its fixed keys: the same document is judged the same each time.
fn digest(entity_type: usize, key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_usize(entity_type);
    hasher.write(key.as_bytes());
    hasher.finish()
}

/// Reads what may follow the root element, to the document's end.
fn read_end<R: BufRead>(source: &mut Source<R>) -> Result<(), Flaw> {
    let mut piece = Vec::new();
    loop {
        let raw = source.read(&mut piece);
        let what = match source.check(&raw)? {
            Token::End => return Ok(()),
            Token::Aside => continue,
            Token::Text(text) if markup::is_blank(text) => continue,
            Token::Text(text) | Token::CData(text) => {
                format!("with text: \"{}\"", excerpt(text.trim_start()))
            }
            Token::Char(_) => "with text".to_owned(),
            Token::Open(tag) => format!("with <{}>", excerpt(tag.name())),
            Token::Close => "with an end tag".to_owned(),
        };
        return Err(Flaw::Trailing { what, place: source.place() });
    }
}

/// Finds two entities with one key, given the digests in document order and the place where the
/// document ends.
fn check_unique(keys: &Digests, mut place: Place) -> Result<(), Flaw> {
    let Some(twice) = keys.find_twice() else { return Ok(()) };
    let mut numbers =
        (1u64..).zip(keys.iter()).filter(|(_, key)| *key == twice).map(|(number, _)| number);
    let first = numbers.next().unwrap_or_default();
    place.entity = numbers.next();
    let second = place.entity.unwrap_or_default();
    Err(Flaw::Key { what: format!("entities {first} and {second} have the same"), place })
}

/// Digests in document order, in blocks: one long vector would be copied as it grows, and leave a
/// hole behind each time.
#[derive(Default)]
struct Digests {
    blocks: Vec<Vec<u64>>,
}

impl Digests {
    const BLOCK: usize = 8192;

    fn push(&mut self, digest: u64) {
        match self.blocks.last_mut() {
            Some(block) if block.len() < Self::BLOCK => block.push(digest),
            _ => {
                let mut block = Vec::with_capacity(Self::BLOCK);
                block.push(digest);
                self.blocks.push(block);
            }
        }
    }

    fn len(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }

    fn iter(&self) -> impl Iterator<Item = u64> {
        self.blocks.iter().flatten().copied()
    }

    /// A digest that occurs twice. They are sorted a sixteenth at a time, by their first digit, so
    /// that no copy of all of them is needed.
    fn find_twice(&self) -> Option<u64> {
        let mut part = Vec::with_capacity(self.len() / 14);
        (0..16).find_map(|digit| {
            part.clear();
            part.extend(self.iter().filter(|value| value >> 60 == digit));
            part.sort_unstable();
            part.windows(2).find_map(|pair| match pair {
                [one, other] if one == other => Some(*one),
                _ => None,
            })
        })
    }
}

#[cold]
fn no_key(entity_type: &EntityType, mut place: Place) -> Flaw {
    let field = entity_type.fields.get(entity_type.key);
    place.element = field.map(|field| excerpt(&field.column.name));
    Flaw::Key { what: "the entity has none".to_owned(), place }
}

#[cold]
fn bad(what: &str, place: Place) -> Flaw {
    Flaw::BadValue { what: what.to_owned(), place }
}

#[cold]
fn stray(excerpt: String, place: Place) -> Flaw {
    Flaw::StrayText { excerpt, place }
}

#[cold]
fn truncated(what: &str, place: Place) -> Flaw {
    Flaw::Truncated { what: what.to_owned(), place }
}

#[cold]
fn unknown(name: String, what: &'static str, place: Place) -> Flaw {
    Flaw::UnknownElement { name, what, place }
}
