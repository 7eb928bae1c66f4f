//! Entities read the general way: token by token, whatever they look like.

use super::super::DocumentLimits;
use super::super::entity::{Element, Flags, Head, Sink};
use super::super::error::{Location, ValidationError, excerpt};
use super::super::markup;
use super::super::schema::{EntityType, Field, Schema};
use super::super::strict::{Token, XmlSource};
use super::super::values::ColumnKind;
use super::super::warnings::{Unproven, Warnings};
use super::inside::Inside;
use super::outer::{self, Others, skip, too_many, truncated};
use super::text::Gathered;
use std::io::BufRead;

/// Reads entities one by one, with everything that is used again for each.
#[derive(Debug)]
pub(super) struct General<R> {
    source: XmlSource<R>,
    limits: DocumentLimits,
    /// The number of elements between the root's start tag and the schema.
    before: u64,
    /// The current entity's number in the document, behind the schema.
    number: u64,
    /// Entities of declared types.
    declared: u64,
    /// For each column, the number of the entity that had it last.
    seen: Vec<u64>,
    /// The current element's text.
    value: Gathered,
    /// The elements in the current element.
    inside: Inside,
    /// The current undeclared element's name.
    name: String,
    /// What the source reads into.
    piece: Vec<u8>,
    warnings: Warnings,
    others: Others,
}

impl<R: BufRead> General<R> {
    pub(super) fn new(
        source: XmlSource<R>,
        schema: &Schema,
        limits: DocumentLimits,
        warnings: Warnings,
        others: Others,
    ) -> Self {
        let widest = schema.types().iter().map(|it| it.fields().len()).max().unwrap_or_default();
        Self {
            source,
            limits,
            before: others.count,
            number: 0,
            declared: 0,
            seen: vec![0; widest],
            value: Gathered::default(),
            inside: Inside::default(),
            name: String::new(),
            piece: Vec::new(),
            warnings,
            others,
        }
    }

    /// Reads the next entity; answers whether there was one. If not, the document has been read to
    /// its end.
    pub(super) fn next_entity(
        &mut self,
        schema: &Schema,
        sink: &mut impl Sink,
    ) -> Result<bool, ValidationError> {
        loop {
            let raw = self.source.read(&mut self.piece);
            match self.source.check(&raw)? {
                Token::Open(tag) => {
                    self.number += 1;
                    let (number, offset) = (self.number, self.source.offset());
                    if self.before + number > self.limits.max_entities {
                        return Err(too_many(&self.limits, self.source.location()));
                    }
                    let (name, empty) = (tag.local(), tag.empty);
                    let head = Head { declared: schema.find(name), number, offset };
                    sink.begin(head, name);
                    let inside = match head.declared {
                        Some((_, entity_type)) => {
                            self.declared += 1;
                            if empty { Ok(()) } else { self.read_entity(entity_type, sink) }
                        }
                        None => {
                            let what = "the schema has no such entity type";
                            unknown(&mut self.warnings, (offset, number, None), tag.name(), what);
                            self.others.add(name);
                            if empty { Ok(()) } else { self.read_undeclared_entity(sink) }
                        }
                    };
                    inside.map_err(|error| error.within(number, None))?;
                    sink.end(head);
                    return Ok(true);
                }
                Token::Close => {
                    outer::read_end(&mut self.source)?;
                    return Ok(false);
                }
                Token::Text(text) if markup::is_blank(text) => {}
                Token::Aside => {}
                Token::Text(text) | Token::CData(text) => {
                    stray(&mut self.warnings, self.source.location(), text);
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
    }

    /// Reads the entity whose start tag has just been met.
    fn read_entity(
        &mut self,
        entity_type: &EntityType,
        sink: &mut impl Sink,
    ) -> Result<(), ValidationError> {
        let mut hint = 0;
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
                        self.name.clear();
                        self.name.push_str(tag.name());
                        let empty = tag.empty;
                        self.read_undeclared(1, empty, sink)?;
                        continue;
                    };
                    let (nil, empty) = (tag.nil(), tag.empty);
                    let flags = self
                        .read_column(position, field, empty)
                        .map_err(|error| error.within(self.number, Some(&field.column.name)))?;
                    sink.element(&Element {
                        declared: Some((position, field)),
                        name: "",
                        text: self.value.text(),
                        written: self.value.written(),
                        inside: self.inside.digest(),
                        flags: Flags { nil, ..flags },
                    });
                    hint = position + 1;
                }
                Token::Close => return Ok(()),
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
    }

    /// Reads the value of a column whose start tag has just been met.
    fn read_column(
        &mut self,
        position: usize,
        field: &Field,
        empty: bool,
    ) -> Result<Flags, ValidationError> {
        let mut flags = Flags::default();
        if let Some(last) = self.seen.get_mut(position)
            && std::mem::replace(last, self.number) == self.number
        {
            flags.repeated = true;
            self.given_before(field);
        }
        self.value.clear();
        self.inside.clear();
        if !empty {
            flags.nested = self.read_value(field)?;
        }
        Ok(flags)
    }

    /// Notes that a column occurs twice in the current entity.
    #[cold]
    fn given_before(&mut self, field: &Field) {
        let location = self.source.location().within(self.number, Some(&field.column.name));
        self.warnings.raise(Unproven::Schema, location, || {
            "the column was given before in this entity".to_owned()
        });
    }

    /// Reads up to the value's end tag; answers whether it holds elements, which are left out.
    fn read_value(&mut self, field: &Field) -> Result<bool, ValidationError> {
        let mut nested = false;
        let mut length = 0usize;
        loop {
            let raw = self.source.read(&mut self.piece);
            let token = self.source.check(&raw)?;
            length += match &token {
                Token::Text(text) | Token::CData(text) => text.len(),
                Token::Char(c) => c.len_utf8(),
                _ => 0,
            };
            if length > self.limits.max_value_bytes {
                let what = format!("a value of more than {} bytes", self.limits.max_value_bytes);
                return Err(ValidationError::TooLarge { what, location: self.source.location() });
            }
            match token {
                Token::Text(text) | Token::CData(text) => self.value.push(text),
                Token::Char(c) => self.value.push_char(c),
                Token::Close => return Ok(nested),
                Token::Aside => {}
                Token::Open(tag) => {
                    nested = true;
                    if field.kind != ColumnKind::Geography {
                        let at = (self.source.offset(), self.number, Some(field));
                        unknown(&mut self.warnings, at, tag.name(), "a value holds no elements");
                    }
                    self.inside.begin(length);
                    self.inside.open(tag);
                    if !tag.empty {
                        let inside = &mut self.inside;
                        skip(&mut self.source, &mut self.piece, &self.limits, |token| {
                            inside.add(token);
                        })?;
                    }
                }
                Token::End => return Err(truncated("within a value", self.source.location())),
            }
        }
    }

    /// Reads the entity of an undeclared type whose start tag has just been met.
    #[cold]
    fn read_undeclared_entity(&mut self, sink: &mut impl Sink) -> Result<(), ValidationError> {
        loop {
            let raw = self.source.read(&mut self.piece);
            match self.source.check(&raw)? {
                Token::Open(tag) => {
                    self.name.clear();
                    self.name.push_str(tag.name());
                    let empty = tag.empty;
                    self.read_undeclared(2, empty, sink)?;
                }
                Token::Close => return Ok(()),
                Token::End => return Err(truncated("within an element", self.source.location())),
                Token::Text(_) | Token::CData(_) | Token::Char(_) | Token::Aside => {}
            }
        }
    }

    /// Reads the undeclared element whose start tag has just been met, as the `depth`th of those
    /// that are open and undeclared. As much of its text is kept as a value may have.
    #[cold]
    fn read_undeclared(
        &mut self,
        depth: usize,
        empty: bool,
        sink: &mut impl Sink,
    ) -> Result<(), ValidationError> {
        let mut flags = Flags::default();
        self.value.clear();
        self.inside.clear();
        let mut open = usize::from(!empty);
        if !empty {
            self.check_depth(depth)?;
        }
        while open > 0 {
            let raw = self.source.read(&mut self.piece);
            let token = self.source.check(&raw)?;
            if open > 1 {
                self.inside.add(&token);
            }
            match token {
                Token::Open(tag) => {
                    if open == 1 {
                        self.inside.begin(self.value.written().len());
                        self.inside.open(tag);
                    }
                    flags.nested = true;
                    if !tag.empty {
                        open += 1;
                        self.check_depth(depth + open - 1)?;
                    }
                }
                Token::Close => open -= 1,
                Token::End => return Err(truncated("within an element", self.source.location())),
                Token::Text(text) | Token::CData(text) if open == 1 => {
                    flags.cut |=
                        self.value.written().len() + text.len() > self.limits.max_value_bytes;
                    if !flags.cut {
                        self.value.push(text);
                    }
                }
                Token::Char(c) if open == 1 => {
                    flags.cut |=
                        self.value.written().len() + c.len_utf8() > self.limits.max_value_bytes;
                    if !flags.cut {
                        self.value.push_char(c);
                    }
                }
                Token::Text(_) | Token::CData(_) | Token::Char(_) | Token::Aside => {}
            }
        }
        sink.element(&Element {
            declared: None,
            name: &self.name,
            text: self.value.text(),
            written: self.value.written(),
            inside: self.inside.digest(),
            flags,
        });
        Ok(())
    }

    /// The tokenizer remembers what is open.
    fn check_depth(&self, depth: usize) -> Result<(), ValidationError> {
        if depth <= 1 || depth <= self.limits.max_depth {
            return Ok(());
        }
        let what = "elements are nested too deeply".to_owned();
        Err(ValidationError::TooLarge { what, location: self.source.location() })
    }

    /// Where the current token starts.
    pub(super) fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// The token stream, after a tag.
    pub(super) fn source(&mut self) -> &mut XmlSource<R> {
        &mut self.source
    }

    /// Counts an entity of a declared type that was read elsewhere; answers its number, or nothing
    /// if it is beyond the limit.
    pub(super) fn count(&mut self) -> Option<u64> {
        if self.before + self.number >= self.limits.max_entities {
            return None;
        }
        self.number += 1;
        self.declared += 1;
        Some(self.number)
    }

    /// Where the current token ends.
    pub(super) fn position(&self) -> u64 {
        self.source.position()
    }

    /// What was counted: entities of declared types, other elements, the document's bytes.
    pub(super) fn finish(self) -> Counted {
        Counted {
            declared: self.declared,
            others: self.others,
            bytes: self.source.bytes(),
            warnings: self.warnings,
        }
    }
}

/// What has been read in all.
#[derive(Debug)]
pub(super) struct Counted {
    /// Entities of declared types.
    pub(super) declared: u64,
    /// The other children of the root, the schema apart.
    pub(super) others: Others,
    pub(super) bytes: u64,
    pub(super) warnings: Warnings,
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
