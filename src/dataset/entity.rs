//! One entity as the reader gives it: its elements in the order of the document.

use super::error::{Location, ValidationError};
use super::schema::{EntityType, Field, Schema};
use super::typed::Value;
use super::values::{self, ColumnKind};
use std::ops::Range;

/// What an entity is made of, in the order of the document.
pub(super) trait Sink {
    /// An entity begins, whose element has this name without its prefix.
    fn begin(&mut self, head: Head<'_>, name: &str);
    /// An element of it has been read.
    fn element(&mut self, element: &Element<'_>);
    /// It is complete.
    fn end(&mut self, head: Head<'_>);
}

/// What is known of an entity at its start tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'r> {
    /// Its type, and that one's position in the schema; none for an undeclared one.
    pub(super) declared: Option<(usize, &'r EntityType)>,
    /// Its number in the document, behind the schema.
    pub(super) number: u64,
    /// Bytes before its start tag.
    pub(super) offset: u64,
}

/// An entity (row) of the document. It borrows from the reader, until the next one is read.
#[derive(Debug, Clone, Copy)]
pub struct Entity<'r> {
    schema: &'r Schema,
    stored: &'r Stored,
}

impl<'r> Entity<'r> {
    /// Its type; `None` when the schema does not declare one of its name. All elements of such an
    /// entity are undeclared.
    pub fn entity_type(&self) -> Option<&'r EntityType> {
        self.schema.types().get(self.stored.index?)
    }

    /// The position of its type in the schema.
    pub fn type_index(&self) -> Option<usize> {
        self.stored.index
    }

    /// The name of its element, without prefix.
    pub fn name(&self) -> &'r str {
        self.stored.text.get(self.stored.name.clone()).unwrap_or_default()
    }

    /// Its number in the document; the first behind the schema is 1.
    pub fn number(&self) -> u64 {
        self.stored.number
    }

    /// Bytes of the document before its start tag.
    pub fn offset(&self) -> u64 {
        self.stored.offset
    }

    /// All its elements in the order of the document. A column is absent where it is null, and is
    /// there several times where the document repeats it.
    pub fn elements(&self) -> impl Iterator<Item = Element<'r>> + use<'r> {
        let (stored, fields) = (self.stored, self.fields());
        stored.cells.iter().map(move |cell| stored.element(cell, fields))
    }

    /// The first element of a column, given by its position in the type; `None` where the entity
    /// has none, which is a null.
    pub fn get(&self, column: usize) -> Option<Element<'r>> {
        let (cells, wanted) = (&self.stored.cells, u32::try_from(column).ok()?);
        let cell = if self.stored.in_order {
            cells.get(cells.binary_search_by_key(&wanted, |cell| cell.column).ok()?)
        } else {
            cells.iter().find(|cell| cell.column == wanted)
        };
        Some(self.stored.element(cell?, self.fields()))
    }

    /// The value of a column, given by its position in the type. Where the document repeats the
    /// column, the first one counts.
    pub fn value(&self, column: usize) -> Value<'r> {
        self.get(column).map_or(Value::Null, |element| element.value())
    }

    /// The primary key's text; `None` where there is none: absent, nil, empty, or not named by the
    /// schema.
    pub fn key(&self) -> Option<&'r str> {
        let key = self.entity_type()?.key()?;
        let is_key = |element: &Element<'_>| {
            element.column() == Some(key) && !element.is_nil() && !element.text().is_empty()
        };
        self.elements().find(is_key).map(|element| element.text())
    }

    fn fields(&self) -> &'r [Field] {
        self.entity_type().map_or(&[], EntityType::fields)
    }
}

/// An element of an entity: the value of a column, or one that the schema does not declare.
#[derive(Debug, Clone, Copy)]
pub struct Element<'r> {
    pub(super) declared: Option<(usize, &'r Field)>,
    /// As written in its tag; used only where it is not declared.
    pub(super) name: &'r str,
    pub(super) text: &'r str,
    /// The text before line ends are made what XML says they are.
    pub(super) written: &'r str,
    /// A digest of the elements in it; 0 without any.
    pub(super) inside: u64,
    pub(super) flags: Flags,
}

/// What is unusual about an element.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) nil: bool,
    pub(super) nested: bool,
    pub(super) repeated: bool,
    pub(super) cut: bool,
}

impl<'r> Element<'r> {
    /// The column's name; the name as written where the schema does not declare it.
    pub fn name(&self) -> &'r str {
        self.declared.map_or(self.name, |(_, field)| field.column.name.as_str())
    }

    /// The column's position in the type; `None` where the schema does not declare it.
    pub fn column(&self) -> Option<usize> {
        self.declared.map(|(position, _)| position)
    }

    /// The column and its kind; `None` where the schema does not declare it.
    pub fn field(&self) -> Option<&'r Field> {
        self.declared.map(|(_, field)| field)
    }

    /// The text, exactly: references and CDATA resolved, line ends as XML says, without the
    /// elements in it.
    pub fn text(&self) -> &'r str {
        self.text
    }

    /// The text before line ends are made what XML says they are. Validation compares keys by it.
    pub(super) fn written(&self) -> &'r str {
        self.written
    }

    /// The typed value. Undeclared elements are text.
    pub fn value(&self) -> Value<'r> {
        match self.declared {
            _ if self.is_nil() && self.text.is_empty() => Value::Null,
            None => Value::Text(self.text),
            Some(_) if !self.is_readable() => Value::Unreadable(self.text),
            Some((_, field)) => Value::read(field.kind, self.text),
        }
    }

    /// Whether the text can be read as the column's type. An undeclared element always can.
    pub fn is_readable(&self) -> bool {
        let Some((_, field)) = self.declared else { return true };
        if self.flags.nil {
            return self.text.is_empty();
        }
        match field.kind {
            ColumnKind::Text => true,
            // the type allows elements, but they are not well-known text
            ColumnKind::Geography if self.flags.nested => false,
            kind => values::check(kind, self.text),
        }
    }

    /// Whether it says `xsi:nil="true"`: with an empty text, a null.
    pub fn is_nil(&self) -> bool {
        self.flags.nil
    }

    /// Whether the column was given before in the same entity. The first one counts.
    pub fn is_repeated(&self) -> bool {
        self.flags.repeated
    }

    /// Whether there are elements in it. They are no part of its text.
    pub fn holds_elements(&self) -> bool {
        self.flags.nested
    }

    /// A digest of the elements in it: their places, tags and texts; 0 without any. The same
    /// document gives the same digest each time, in the same version of this program.
    pub(crate) fn inside(&self) -> u64 {
        self.inside
    }

    /// Whether the text is only the beginning: of an undeclared element, when it is longer than
    /// [`DocumentLimits::max_value_bytes`](super::DocumentLimits::max_value_bytes).
    pub fn is_cut(&self) -> bool {
        self.flags.cut
    }
}

/// Marks a [`Cell`] of an undeclared element. There are far fewer columns.
pub(super) const UNDECLARED: u32 = u32::MAX;

/// An element of a stored entity.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    /// The column's position, or [`UNDECLARED`].
    pub(super) column: u32,
    pub(super) flags: Flags,
    /// Where the text is.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Bytes right before `start`: of the name of an undeclared element, of the text as written
    /// where it differs.
    pub(super) before: usize,
    /// See [`Element::inside`].
    pub(super) inside: u64,
}

/// An entity held as a whole, used again for each.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) index: Option<usize>,
    pub(super) number: u64,
    pub(super) offset: u64,
    /// Where the name is in the text.
    pub(super) name: Range<usize>,
    pub(super) text: String,
    pub(super) cells: Vec<Cell>,
    /// Whether all columns are declared and come in the schema's order, each once.
    pub(super) in_order: bool,
    /// Bytes that may be held.
    pub(super) most: usize,
    /// Whether it has more: what is held is incomplete.
    is_over: bool,
}

impl Stored {
    pub(super) fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// The entity, if it was small enough to be held.
    pub(super) fn entity<'r>(&'r self, schema: &'r Schema) -> Result<Entity<'r>, ValidationError> {
        if self.is_over {
            return Err(ValidationError::TooLarge {
                what: format!("an entity of more than {} bytes", self.most),
                location: Location::at(self.offset).within(self.number, None),
            });
        }
        Ok(Entity { schema, stored: self })
    }

    #[inline]
    pub(super) fn element<'r>(&'r self, cell: &Cell, fields: &'r [Field]) -> Element<'r> {
        let part = |start: usize, end: usize| self.text.get(start..end).unwrap_or_default();
        let text = part(cell.start, cell.end);
        let before = match cell.before {
            0 => "",
            length => part(cell.start - length, cell.start),
        };
        let position = cell.column as usize;
        let declared = fields.get(position).map(|field| (position, field));
        let (name, written) = match (declared, cell.before) {
            (Some(_), 0) => ("", text),
            (Some(_), _) => ("", before),
            (None, _) => (before, text),
        };
        Element { declared, name, text, written, inside: cell.inside, flags: cell.flags }
    }

    /// Passes on the entity that is held.
    #[inline]
    pub(super) fn replay(&self, schema: &Schema, sink: &mut impl Sink) {
        let entity_type = self.index.and_then(|index| Some((index, schema.types().get(index)?)));
        let head = Head { declared: entity_type, number: self.number, offset: self.offset };
        sink.begin(head, self.text.get(self.name.clone()).unwrap_or_default());
        let fields = entity_type.map_or(&[][..], |(_, entity_type)| entity_type.fields());
        for cell in &self.cells {
            sink.element(&self.element(cell, fields));
        }
        sink.end(head);
    }

    /// Completes an entity that has been put here as a whole: its type, its number, and the bytes
    /// before it.
    #[inline]
    pub(super) fn place(&mut self, index: usize, number: u64, offset: u64) {
        (self.index, self.number, self.offset) = (Some(index), number, offset);
        self.is_over = false;
        if self.size() > self.most {
            // the text has markup in it, which does not count; and the last element does not, as
            // where they are put here one by one
            let texts: usize = self.cells.iter().map(|cell| cell.end - cell.start).sum();
            let before = self.cells.len().saturating_sub(1) * size_of::<Cell>();
            self.is_over = !self.cells.is_empty() && self.name.len() + texts + before > self.most;
        }
    }

    /// Bytes that are held.
    fn size(&self) -> usize {
        self.text.len() + self.cells.len() * size_of::<Cell>()
    }
}

impl Sink for Stored {
    fn begin(&mut self, head: Head<'_>, name: &str) {
        self.index = head.declared.map(|(index, _)| index);
        (self.number, self.offset) = (head.number, head.offset);
        self.text.clear();
        self.text.push_str(name);
        self.name = 0..name.len();
        self.cells.clear();
        self.in_order = true;
        self.is_over = false;
    }

    fn element(&mut self, element: &Element<'_>) {
        let column = match element.declared {
            Some((position, _)) => u32::try_from(position).unwrap_or(UNDECLARED),
            None => UNDECLARED,
        };
        let before = match element.declared {
            None => element.name,
            // references are resolved, so that a shorter text had other line ends
            Some(_) if element.written != element.text => element.written,
            Some(_) => "",
        };
        self.is_over |= self.size() + before.len() + element.text.len() > self.most;
        if self.is_over {
            return;
        }
        self.text.push_str(before);
        let start = self.text.len();
        self.text.push_str(element.text);
        let follows = self.cells.last().is_none_or(|last| last.column < column);
        self.in_order &= follows && column != UNDECLARED;
        let (before, end) = (before.len(), self.text.len());
        let Element { inside, flags, .. } = *element;
        self.cells.push(Cell { column, flags, start, end, before, inside });
    }

    fn end(&mut self, _: Head<'_>) {}
}
