//! The validation itself: one pass over the tokens: prolog, schema, entities, end.

use super::error::{Location, ValidationError, excerpt};
use super::markup;
use super::schema::{self, EntityType, Field};
use super::strict::{Token, XmlSource};
use super::values::{self, Kind};
use super::warnings::{Unproven, Unreadable, Warnings, first_bytes};
use super::{DocumentLimits, Summary};
use std::hash::{DefaultHasher, Hasher};
use std::io::BufRead;

/// Reads and validates one document.
///
/// Reading stops at the first error; the rest of `reader` is left unread. Beyond the reader's own
/// buffer this needs a few times the largest value, and 8 bytes for each entity (9 at the end).
///
/// # Errors
/// The first [`ValidationError`] in document order. A failure of `reader` comes back unchanged as
/// [`ValidationError::Io`].
pub fn validate<R: BufRead>(
    reader: R,
    limits: &DocumentLimits,
) -> Result<Summary, ValidationError> {
    let mut source = XmlSource::open(reader, limits)?;
    let root = read_root(&mut source)?;
    let mut before = Before::default();
    let schema = find_schema(&mut source, &root, limits, &mut before)?;
    let Before { mut warnings, mut others, .. } = before;
    let types = schema::read(&mut source, schema, limits, &mut warnings)?;
    let read = Entities::new(&mut source, &types, limits, warnings, others).read_all()?;
    warnings = read.warnings;
    others = read.others;
    read_end(&mut source)?;
    check_unique(&read.keys, source.location(), &mut warnings);

    let unreadable = unreadable(&types, read.unreadable);
    let first = types.into_iter().next();
    let (mut entity_type, key, fields) = match first {
        Some(first) => (first.name, first.key, first.fields),
        None => (String::new(), None, Vec::new()),
    };
    let columns: Vec<_> = fields.into_iter().map(|field| field.column).collect();
    let mut entities = read.declared;
    if entities == 0 {
        entities = others.count;
        entity_type = others.first.unwrap_or(entity_type);
    }
    let primary_key = key.and_then(|key| columns.get(key)).map(|column| column.name.clone());
    Ok(Summary {
        root,
        entity_type,
        primary_key: primary_key.unwrap_or_default(),
        columns,
        entities,
        bytes: source.bytes(),
        unreadable,
        warnings: warnings.into_vec(),
    })
}

/// The children of the root that are neither the schema nor of a declared type.
#[derive(Default)]
struct Others {
    count: u64,
    /// The first one's name, without its prefix.
    first: Option<String>,
}

impl Others {
    #[cold]
    fn add(&mut self, name: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| name.to_owned());
    }
}

/// What stands in the root element before the schema, where nothing should.
#[derive(Default)]
struct Before {
    others: Others,
    warnings: Warnings,
    /// The first of it, for a document that turns out to have no schema.
    first: Option<(String, Location)>,
}

impl Before {
    #[cold]
    fn meet(&mut self, root: &str, what: String, location: Location) {
        self.warnings
            .raise(Unproven::Schema, location.clone(), || format!("{what} before the schema"));
        let root = excerpt(root);
        let what = format!("the root element <{root}> begins with {what}, and has no schema");
        self.first.get_or_insert((what, location));
    }

    /// What is wrong with a document that has no schema: better told by what it begins with than by
    /// what goes wrong later.
    fn error(&mut self, other: ValidationError) -> ValidationError {
        match (other, self.first.take()) {
            (other @ (ValidationError::Io(_) | ValidationError::TooLarge { .. }), _)
            | (other, None) => other,
            (_, Some((what, location))) => ValidationError::Root { what, location },
        }
    }
}

/// Up to and with the root's start tag; answers its name.
fn read_root<R: BufRead>(source: &mut XmlSource<R>) -> Result<String, ValidationError> {
    let mut piece = Vec::new();
    loop {
        let raw = source.read(&mut piece);
        let what = match source.check(&raw)? {
            Token::Aside => continue,
            Token::Text(text) if markup::is_blank(text) => continue,
            Token::Open(tag) if !tag.empty => return Ok(tag.name().to_owned()),
            Token::Open(tag) => format!("the root element <{}> is empty", excerpt(tag.name())),
            Token::Text(text) | Token::CData(text) => {
                format!("it begins with text: \"{}\"", excerpt(text.trim_start()))
            }
            Token::Char(_) => "it begins with text".to_owned(),
            Token::Close | Token::End => "it has no root element".to_owned(),
        };
        return Err(ValidationError::Root { what, location: source.location() });
    }
}

/// Up to and with the schema's start tag, which should be the first thing in the root.
fn find_schema<R: BufRead>(
    source: &mut XmlSource<R>,
    root: &str,
    limits: &DocumentLimits,
    before: &mut Before,
) -> Result<schema::Opened, ValidationError> {
    let mut piece = Vec::new();
    loop {
        let raw = source.read(&mut piece);
        match source.check(&raw).map_err(|error| before.error(error))? {
            Token::Aside => {}
            Token::Text(text) if markup::is_blank(text) => {}
            Token::Open(tag) => {
                if let Some(opened) = schema::Opened::of(tag) {
                    return Ok(opened);
                }
                before.meet(root, format!("<{}>", excerpt(tag.name())), source.location());
                before.others.add(tag.local());
                if before.others.count > limits.max_entities {
                    return Err(too_many(limits, source.location()));
                }
                if !tag.empty {
                    skip(source, &mut piece, limits).map_err(|error| before.error(error))?;
                }
            }
            Token::Text(text) | Token::CData(text) => {
                before.meet(root, format!("text: \"{}\"", excerpt(text)), source.location());
            }
            Token::Char(_) => before.meet(root, "text".to_owned(), source.location()),
            Token::Close => {
                let what = format!("the root element <{}> has no schema", excerpt(root));
                return Err(
                    before.error(ValidationError::Root { what, location: source.location() })
                );
            }
            Token::End => {
                return Err(before.error(truncated("within the root element", source.location())));
            }
        }
    }
}

/// Reads up to the end tag of the element whose start tag has just been met, whatever it holds.
#[cold]
fn skip<R: BufRead>(
    source: &mut XmlSource<R>,
    piece: &mut Vec<u8>,
    limits: &DocumentLimits,
) -> Result<(), ValidationError> {
    let mut depth = 1usize;
    while depth > 0 {
        let raw = source.read(piece);
        match source.check(&raw)? {
            Token::Open(tag) if !tag.empty => {
                depth += 1;
                // the tokenizer remembers what is open
                if depth > limits.max_depth {
                    let what = "elements are nested too deeply".to_owned();
                    return Err(ValidationError::TooLarge { what, location: source.location() });
                }
            }
            Token::Close => depth -= 1,
            Token::End => return Err(truncated("within an element", source.location())),
            _ => {}
        }
    }
    Ok(())
}

/// Bytes of a text that is copied whether anybody will look at it or not.
const SHORT: usize = 64;

/// Reads entities one by one, with everything that is used again for each.
struct Entities<'a, R> {
    source: &'a mut XmlSource<R>,
    types: &'a [EntityType],
    limits: &'a DocumentLimits,
    /// The number of elements between the root's start tag and the schema.
    before: u64,
    /// The current entity's number in the document, behind the schema.
    number: u64,
    /// For each column, the number of the entity that had it last.
    seen: Vec<u64>,
    /// The current value's text; of a long text column only fragments.
    value: String,
    /// The beginning of the current entity's key; empty while it has none.
    key: String,
    /// What the source reads into.
    piece: Vec<u8>,
    /// For each column of each type, its values that do not read as its type.
    unreadable: Vec<Count>,
    /// The columns whose first such value is in the current entity.
    firsts: Vec<usize>,
    warnings: Warnings,
    others: Others,
}

/// The values of a column that do not read as its type.
#[derive(Clone, Default)]
struct Count {
    values: u64,
    first_key: Option<String>,
}

/// What reading all entities answers with.
struct AllRead {
    /// A digest of each entity's type and primary key, in document order.
    keys: Digests,
    /// Entities of declared types.
    declared: u64,
    unreadable: Vec<Count>,
    warnings: Warnings,
    others: Others,
}

impl<'a, R: BufRead> Entities<'a, R> {
    fn new(
        source: &'a mut XmlSource<R>,
        types: &'a [EntityType],
        limits: &'a DocumentLimits,
        warnings: Warnings,
        others: Others,
    ) -> Self {
        let widest = types.iter().map(|t| t.fields.len()).max().unwrap_or_default();
        let columns = types.iter().map(|t| t.fields.len()).sum();
        Self {
            source,
            types,
            limits,
            before: others.count,
            number: 0,
            seen: vec![0; widest],
            value: String::new(),
            key: String::new(),
            piece: Vec::new(),
            unreadable: vec![Count::default(); columns],
            firsts: Vec::new(),
            warnings,
            others,
        }
    }

    /// Up to and with the root's end tag.
    fn read_all(mut self) -> Result<AllRead, ValidationError> {
        let mut keys = Digests::default();
        let mut declared = 0;
        loop {
            let raw = self.source.read(&mut self.piece);
            match self.source.check(&raw)? {
                Token::Open(tag) => {
                    self.number += 1;
                    let number = self.number;
                    if self.before + number > self.limits.max_entities {
                        return Err(too_many(self.limits, self.source.location()));
                    }
                    let name = tag.local();
                    let found = self.types.iter().enumerate().find(|(_, t)| t.name == name);
                    let Some((index, entity_type)) = found else {
                        let at = (self.source.offset(), number, None);
                        unknown(
                            &mut self.warnings,
                            at,
                            tag.name(),
                            "the schema has no such entity type",
                        );
                        self.others.add(name);
                        if !tag.empty {
                            skip(self.source, &mut self.piece, self.limits)
                                .map_err(|error| error.within(number, None))?;
                        }
                        keys.push(NO_KEY);
                        continue;
                    };
                    declared += 1;
                    let (empty, started) = (tag.empty, self.source.offset());
                    let key = if empty { Ok(None) } else { self.read_entity(index, entity_type) };
                    let key = key.map_err(|error| error.within(number, None))?;
                    if key.is_none() {
                        self.keyless(entity_type, started);
                    }
                    keys.push(key.unwrap_or(NO_KEY));
                }
                Token::Close => break,
                Token::Text(text) if markup::is_blank(text) => {}
                Token::Aside => {}
                Token::Text(text) | Token::CData(text) => {
                    stray(&mut self.warnings, Location::at(self.source.offset()), text);
                }
                Token::Char(c) => {
                    let location = self.source.location();
                    stray(&mut self.warnings, location, c.encode_utf8(&mut [0; 4]));
                }
                Token::End => {
                    return Err(truncated("within the root element", self.source.location()));
                }
            }
        }
        let Self { unreadable, warnings, others, .. } = self;
        Ok(AllRead { keys, declared, unreadable, warnings, others })
    }

    /// Reads the entity whose start tag has just been met; answers the digest of its key, if its
    /// type has one and it has a value.
    fn read_entity(
        &mut self,
        index: usize,
        entity_type: &EntityType,
    ) -> Result<Option<u64>, ValidationError> {
        let mut key = None;
        let mut hint = 0;
        self.key.clear();
        loop {
            let raw = self.source.read(&mut self.piece);
            match self.source.check(&raw)? {
                Token::Open(tag) => {
                    let Some((position, field)) = entity_type.field(tag, hint) else {
                        let at = (self.source.offset(), self.number, None);
                        unknown(
                            &mut self.warnings,
                            at,
                            tag.name(),
                            "the schema has no such column",
                        );
                        if !tag.empty {
                            skip(self.source, &mut self.piece, self.limits)?;
                        }
                        continue;
                    };
                    let (nil, empty) = (tag.nil(), tag.empty);
                    let is_key = entity_type.key == Some(position);
                    let number = entity_type.offset + position;
                    let present =
                        self.read_column((position, number), field, is_key, nil, empty)
                            .map_err(|error| error.within(self.number, Some(&field.column.name)))?;
                    // of a column given twice the first counts
                    if is_key && present && key.is_none() {
                        key = Some(digest(index, &self.value));
                        self.key.push_str(first_bytes(&self.value));
                    }
                    hint = position + 1;
                }
                Token::Close => break,
                Token::Text(text) if markup::is_blank(text) => {}
                Token::Aside => {}
                Token::Text(text) | Token::CData(text) => {
                    let location = self.source.location().within(self.number, None);
                    stray(&mut self.warnings, location, text);
                }
                Token::Char(c) => {
                    let location = self.source.location().within(self.number, None);
                    stray(&mut self.warnings, location, c.encode_utf8(&mut [0; 4]));
                }
                Token::End => return Err(truncated("within an entity", self.source.location())),
            }
        }
        if !self.firsts.is_empty() {
            self.name_firsts(key.is_some());
        }
        Ok(key)
    }

    /// The entity is over: its key, if it has one, is the first of its columns that have their first
    /// unreadable value in it.
    #[cold]
    fn name_firsts(&mut self, has_key: bool) {
        for column in self.firsts.drain(..) {
            if let Some(count) = self.unreadable.get_mut(column) {
                count.first_key = has_key.then(|| self.key.clone());
            }
        }
    }

    /// Notes that an entity has no key, where it should have one.
    #[cold]
    fn keyless(&mut self, entity_type: &EntityType, started: u64) {
        let Some(field) = entity_type.key.and_then(|key| entity_type.fields.get(key)) else {
            return;
        };
        let location = Location::at(started).within(self.number, Some(&field.column.name));
        self.warnings.raise(Unproven::Keys, location, || "the entity has none".to_owned());
    }

    /// Reads the value whose start tag has just been met; answers whether there is one: a nil is
    /// none, and neither is a key that is empty. `position` is the column's in its type, and among
    /// those of all types.
    fn read_column(
        &mut self,
        position: (usize, usize),
        field: &Field,
        is_key: bool,
        nil: bool,
        empty: bool,
    ) -> Result<bool, ValidationError> {
        if let Some(last) = self.seen.get_mut(position.0)
            && std::mem::replace(last, self.number) == self.number
        {
            self.given_before(field);
        }
        self.value.clear();
        let mut nested = false;
        let wanted = is_key || field.kind != Kind::Text;
        let length = if empty { 0 } else { self.read_value(wanted, field, &mut nested)? };
        let readable = match (nil, field.kind) {
            (true, _) => length == 0,
            // the type allows elements, but they are not well-known text
            (false, Kind::Geography) if nested => false,
            (false, kind) => values::check(kind, &self.value),
        };
        if !readable {
            self.count_unreadable(position.1);
        }
        Ok(!nil && (length > 0 || !is_key))
    }

    /// Notes that a column occurs twice in the current entity.
    #[cold]
    fn given_before(&mut self, field: &Field) {
        let location = self.source.location().within(self.number, Some(&field.column.name));
        self.warnings.raise(Unproven::Schema, location, || {
            "the column was given before in this entity".to_owned()
        });
    }

    #[cold]
    fn count_unreadable(&mut self, column: usize) {
        let Some(count) = self.unreadable.get_mut(column) else { return };
        count.values += 1;
        if count.values == 1 {
            self.firsts.push(column);
        }
    }

    /// Reads up to the value's end tag; answers its length in bytes. `wanted` text is kept in
    /// full. Elements within it are left out, and noted in `nested`.
    fn read_value(
        &mut self,
        wanted: bool,
        field: &Field,
        nested: &mut bool,
    ) -> Result<usize, ValidationError> {
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
                    *nested = true;
                    if field.kind != Kind::Geography {
                        let at = (self.source.offset(), self.number, Some(field));
                        unknown(&mut self.warnings, at, tag.name(), "a value holds no elements");
                    }
                    if !tag.empty {
                        skip(self.source, &mut self.piece, self.limits)?;
                    }
                    continue;
                }
                Token::End => return Err(truncated("within a value", self.source.location())),
            };
            length += text.len();
            if length > self.limits.max_value_bytes {
                let what = format!("a value of more than {} bytes", self.limits.max_value_bytes);
                return Err(ValidationError::TooLarge { what, location: self.source.location() });
            }
            // a short copy costs less than a branch that follows the columns' types
            if wanted || text.len() < SHORT {
                self.value.push_str(text);
            }
        }
    }
}

/// The columns with unreadable values, given the counts in the order of types and columns.
fn unreadable(types: &[EntityType], counts: Vec<Count>) -> Vec<Unreadable> {
    let names = types.iter().enumerate().flat_map(|(index, entity_type)| {
        entity_type.fields.iter().map(move |field| match index {
            0 => (None, &field.column.name),
            _ => (Some(&entity_type.name), &field.column.name),
        })
    });
    names
        .zip(counts)
        .filter(|(_, count)| count.values > 0)
        .map(|((entity_type, column), count)| Unreadable {
            column: match entity_type {
                None => column.clone(),
                Some(entity_type) => format!("{entity_type}/{column}"),
            },
            values: count.values,
            first_key: count.first_key,
        })
        .collect()
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
    match hasher.finish() {
        NO_KEY => 1,
        digest => digest,
    }
}

/// Stands for the digest of a missing key.
const NO_KEY: u64 = 0;

/// Reads what may follow the root element, to the document's end.
fn read_end<R: BufRead>(source: &mut XmlSource<R>) -> Result<(), ValidationError> {
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
        return Err(ValidationError::Trailing { what, location: source.location() });
    }
}

/// Finds two entities with one key, given the digests in document order and the position where the
/// document ends.
fn check_unique(keys: &Digests, mut location: Location, warnings: &mut Warnings) {
    let Some(twice) = keys.find_twice() else { return };
    let mut numbers =
        (1u64..).zip(keys.iter()).filter(|(_, key)| *key == twice).map(|(number, _)| number);
    let first = numbers.next().unwrap_or_default();
    location.entity = numbers.next();
    let second = location.entity.unwrap_or_default();
    warnings
        .raise(Unproven::Keys, location, || format!("entities {first} and {second} have the same"));
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

    /// A key's digest that occurs twice. They are sorted a sixteenth at a time, by their first digit, so
    /// that no copy of all of them is needed.
    fn find_twice(&self) -> Option<u64> {
        let mut part = Vec::with_capacity(self.len() / 14);
        (0..16).find_map(|digit| {
            part.clear();
            part.extend(self.iter().filter(|value| value >> 60 == digit));
            part.sort_unstable();
            part.windows(2).find_map(|pair| match pair {
                [one, other] if one == other && *one != NO_KEY => Some(*one),
                _ => None,
            })
        })
    }
}

#[cold]
fn too_many(limits: &DocumentLimits, location: Location) -> ValidationError {
    ValidationError::TooLarge {
        what: format!("more than {} entities", limits.max_entities),
        location,
    }
}

#[cold]
fn truncated(what: &str, location: Location) -> ValidationError {
    ValidationError::Truncated { what: what.to_owned(), location }
}

/// Notes an element that the schema does not declare, at a byte, in an entity, and in a column.
#[cold]
#[inline(never)]
fn unknown(
    warnings: &mut Warnings,
    (offset, number, field): (u64, u64, Option<&Field>),
    name: &str,
    what: &'static str,
) {
    let column = field.map(|field| field.column.name.as_str());
    let location = Location::at(offset).within(number, column);
    warnings.raise(Unproven::Schema, location, || {
        format!("unexpected element <{}>: {what}", excerpt(name))
    });
}

/// Notes text where only elements belong.
#[cold]
#[inline(never)]
fn stray(warnings: &mut Warnings, location: Location, text: &str) {
    warnings.raise(Unproven::Schema, location, || {
        format!("unexpected text \"{}\" between elements", excerpt(text))
    });
}
