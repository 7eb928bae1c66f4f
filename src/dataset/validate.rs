//! The validation: one consumer of the reader, which checks values and keys.

use super::entity::{Element, Head, Sink};
use super::error::{Location, ValidationError};
use super::keys::{Digests, NO_KEY, digest};
use super::reader::Reader;
use super::schema::Schema;
use super::warnings::{Unproven, Unreadable, Warning, Warnings, first_bytes};
use super::{DocumentLimits, Summary};
use std::io::BufRead;

/// Reads and validates one document.
///
/// Reading stops at the first error; the rest of `input` is left unread. Beyond the input's own
/// buffer this needs a few times the largest value, and 8 bytes for each entity (9 at the end).
///
/// # Errors
/// The first [`ValidationError`] in document order. A failure of `input` comes back unchanged as
/// [`ValidationError::Io`].
pub fn validate<R: BufRead>(input: R, limits: &DocumentLimits) -> Result<Summary, ValidationError> {
    Reader::open(input, limits)?.validate()
}

impl<R: BufRead> Reader<R> {
    /// Validates the document. For a reader that has not given any entity yet: those that it has
    /// given do not take part.
    ///
    /// # Errors
    /// As of [`validate()`].
    pub fn validate(mut self) -> Result<Summary, ValidationError> {
        let mut validation = Validation::new(self.schema());
        self.read_all(&mut validation)?;
        let end = Location::at(self.offset());
        let unreadable = validation.unreadable(self.schema());
        let mut summary = Summary { unreadable, ..self.finish() };
        // what the schema says about keys comes before what the entities do
        if !summary.warnings.iter().any(|warning| warning.unproven == Unproven::Keys) {
            summary.warnings.splice(..0, validation.bad_keys(end));
        }
        Ok(summary)
    }
}

/// What has been found about values and keys so far.
#[derive(Debug)]
struct Validation {
    /// The current entity's type: its position in the schema, that of its first column among those
    /// of all types, and that of its key among its own.
    index: usize,
    offset: usize,
    key: Option<usize>,
    /// The digest of the current entity's key, and the key's beginning.
    digest: Option<u64>,
    first: String,
    /// A digest of each entity's type and primary key, in document order.
    keys: Digests,
    /// For each column of each type, its values that do not read as its type.
    counts: Vec<Count>,
    /// The columns whose first such value is in the current entity.
    firsts: Vec<usize>,
    warnings: Warnings,
}

/// The values of a column that do not read as its type.
#[derive(Debug, Clone, Default)]
struct Count {
    values: u64,
    first_key: Option<String>,
}

impl Sink for Validation {
    #[inline]
    fn begin(&mut self, head: Head<'_>, _: &str) {
        if let Some((index, entity_type)) = head.declared {
            (self.index, self.offset) = (index, entity_type.offset());
            self.key = entity_type.key();
        }
        self.digest = None;
    }

    #[inline(always)]
    fn element(&mut self, element: &Element<'_>) {
        let Some(position) = element.column() else { return };
        if !element.is_readable() {
            self.count_unreadable(self.offset + position);
        }
        // of a column given twice the first counts
        let is_key = self.key == Some(position) && self.digest.is_none();
        if is_key && !element.is_nil() && !element.written().is_empty() {
            self.digest = Some(digest(self.index, element.written()));
            self.first.clear();
            self.first.push_str(first_bytes(element.written()));
        }
    }

    #[inline]
    fn end(&mut self, head: Head<'_>) {
        if !self.firsts.is_empty() {
            self.name_firsts();
        }
        if self.digest.is_none() {
            self.keyless(head);
        }
        self.keys.push(self.digest.unwrap_or(NO_KEY));
    }
}

impl Validation {
    fn new(schema: &Schema) -> Self {
        let columns = schema.types().iter().map(|it| it.fields().len()).sum();
        Self {
            index: 0,
            offset: 0,
            key: None,
            digest: None,
            first: String::new(),
            keys: Digests::default(),
            counts: vec![Count::default(); columns],
            firsts: Vec::new(),
            warnings: Warnings::default(),
        }
    }

    #[cold]
    fn count_unreadable(&mut self, column: usize) {
        let Some(count) = self.counts.get_mut(column) else { return };
        count.values += 1;
        if count.values == 1 {
            self.firsts.push(column);
        }
    }

    /// The entity is over: its key, if it has one, is the first of its columns that have their
    /// first unreadable value in it.
    #[cold]
    fn name_firsts(&mut self) {
        for column in self.firsts.drain(..) {
            if let Some(count) = self.counts.get_mut(column) {
                count.first_key = self.digest.map(|_| self.first.clone());
            }
        }
    }

    /// Notes that an entity has no key, where it should have one.
    #[cold]
    fn keyless(&mut self, head: Head<'_>) {
        let key = head.declared.and_then(|(_, it)| it.fields().get(it.key()?));
        let Some(field) = key else { return };
        let location = Location::at(head.offset).within(head.number, Some(&field.column.name));
        self.warnings.raise(Unproven::Keys, location, || "the entity has none".to_owned());
    }

    /// The columns with unreadable values, in the order of types and columns.
    fn unreadable(&mut self, schema: &Schema) -> Vec<Unreadable> {
        let names = schema.types().iter().enumerate().flat_map(|(index, entity_type)| {
            entity_type.fields().iter().map(move |field| match index {
                0 => (None, &field.column.name),
                _ => (Some(entity_type.name()), &field.column.name),
            })
        });
        names
            .zip(self.counts.drain(..))
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

    /// The first warning about keys, given the position where the document ends.
    fn bad_keys(mut self, end: Location) -> Vec<Warning> {
        check_unique(&self.keys, end, &mut self.warnings);
        self.warnings.into_vec()
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
