//! The reader of documents: the schema, then entity by entity.
//!
//! Every error, limit and warning about the document's structure is found here; what values mean
//! is for those who use it. [`validate()`](super::validate()) is one of them.

mod general;
mod inside;
mod outer;
mod predict;
mod scan;
mod tags;
mod text;

use super::entity::{Entity, Sink, Stored};
use super::error::ValidationError;
use super::schema::{self, Schema};
use super::strict::XmlSource;
use super::{DocumentLimits, Summary};
use general::{Counted, General};
use outer::Before;
use predict::{NotRead, Prediction, Read};
use std::io::BufRead;

/// Reads one document as a stream, front to back.
///
/// ```
/// use nightjar::dataset::{DocumentLimits, Reader, Value};
/// # use nightjar::simulator::Data;
/// # let document = Data::first_places(3).document();
/// let mut reader = Reader::open(&document[..], &DocumentLimits::default())?;
/// let latitude = reader.schema().types()[0].position("Latitude");
/// while let Some(entity) = reader.next_entity()? {
///     if let Some(Value::Double(degrees)) = latitude.map(|column| entity.value(column)) {
///         assert!(degrees.abs() <= 90.0);
///     }
/// }
/// assert_eq!(reader.finish().entities, 3);
/// # Ok::<(), nightjar::dataset::ValidationError>(())
/// ```
///
/// It needs a few times the largest value in memory, and what the largest entity needs where whole
/// entities are asked for. After an error it is of no further use.
#[derive(Debug)]
pub struct Reader<R> {
    root: String,
    schema: Schema,
    general: General<R>,
    /// None where the general way is wanted.
    prediction: Option<Prediction>,
    stored: Stored,
    /// Whether the document's end has been read.
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads up to the schema's end.
    ///
    /// # Errors
    /// The first [`ValidationError`]; a failure of `input` comes back unchanged as
    /// [`ValidationError::Io`].
    pub fn open(input: R, limits: &DocumentLimits) -> Result<Self, ValidationError> {
        let mut source = XmlSource::open(input, limits)?;
        let root = outer::read_root(&mut source)?;
        let mut before = Before::default();
        let opened = outer::find_schema(&mut source, &root, limits, &mut before)?;
        let Before { mut warnings, others, .. } = before;
        let schema = schema::read(&mut source, opened, limits, &mut warnings)?;
        let general = General::new(source, &schema, limits.clone(), warnings, others);
        let stored = Stored::new(limits.max_entity_bytes);
        let prediction = Some(Prediction::new(&schema, limits.max_value_bytes));
        Ok(Self { root, schema, general, prediction, stored, ended: false })
    }

    /// The same reader, without its fast way: every entity is read token by token. The result is
    /// the same; tests and benches compare them.
    #[must_use]
    pub fn without_prediction(mut self) -> Self {
        self.prediction = None;
        self
    }

    /// The next entity, of whatever type; `None` once the document has been read to its end.
    ///
    /// # Errors
    /// As of [`Reader::open`]; and [`ValidationError::TooLarge`] for an entity of more than
    /// [`DocumentLimits::max_entity_bytes`].
    pub fn next_entity(&mut self) -> Result<Option<Entity<'_>>, ValidationError> {
        if self.ended {
            return Ok(None);
        }
        if !self.predict()? && !self.general.next_entity(&self.schema, &mut self.stored)? {
            self.ended = true;
            return Ok(None);
        }
        self.stored.entity(&self.schema).map(Some)
    }

    /// Reads all entities that are left, and the document's end. Unlike [`Reader::next_entity`] it
    /// holds no more than a value, beside what `input` has at hand.
    pub(super) fn read_all(&mut self, sink: &mut impl Sink) -> Result<(), ValidationError> {
        while !self.ended {
            if self.predict()? {
                self.stored.replay(&self.schema, sink);
            } else {
                self.ended = !self.general.next_entity(&self.schema, sink)?;
            }
        }
        Ok(())
    }

    /// Reads the next entity the fast way; answers whether it is one for that.
    #[inline]
    fn predict(&mut self) -> Result<bool, ValidationError> {
        let Some(prediction) = &mut self.prediction else { return Ok(false) };
        let source = self.general.source();
        let mut read = prediction.read(source.at_hand()?, &mut self.stored);
        if read == Err(NotRead::Cut) {
            read = gather(source, prediction, &mut self.stored);
        }
        let Ok(read) = read else { return Ok(false) };
        let Some(number) = self.general.count() else { return Ok(false) };
        let offset = self.general.offset() + read.blanks as u64;
        self.general.source().skip(read.length);
        self.stored.place(read.index, number, offset);
        Ok(true)
    }

    /// Where the document ends, once it has been read to its end.
    pub(super) fn offset(&self) -> u64 {
        self.general.offset()
    }

    /// Bytes of the document that have been read: up to the end of the schema at first, then up to
    /// the end of the entity that was given last.
    pub fn position(&self) -> u64 {
        self.general.position()
    }

    /// The root element's name, as written.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// What the document declares.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What was found. Everything is counted once [`Reader::next_entity`] has said `None`, but
    /// values and keys are not checked: no value is unreadable, and the warnings are those about
    /// the schema and what contradicts it. [`Reader::validate`] checks them too.
    pub fn finish(self) -> Summary {
        let Counted { declared, others, bytes, warnings } = self.general.finish();
        let (mut entity_type, key, columns) = self.schema.into_first();
        let mut entities = declared;
        if entities == 0 {
            entities = others.count;
            entity_type = others.first.unwrap_or(entity_type);
        }
        let primary_key = key.and_then(|key| columns.get(key)).map(|column| column.name.clone());
        Summary {
            root: self.root,
            entity_type,
            primary_key: primary_key.unwrap_or_default(),
            columns,
            entities,
            bytes,
            unreadable: Vec::new(),
            warnings: warnings.into_vec(),
        }
    }
}

/// Bytes that are gathered at first for an entity that ends in another chunk than it begins in, and
/// at most.
const GATHERED: (usize, usize) = (4 << 10, 128 << 10);

/// Reads the next entity, which is not whole at hand.
#[cold]
fn gather<R: BufRead>(
    source: &mut XmlSource<R>,
    prediction: &mut Prediction,
    stored: &mut Stored,
) -> Result<Read, NotRead> {
    let (mut least, most) = GATHERED;
    loop {
        let window = source.gather(least);
        let is_all = window.len() < least;
        let read = prediction.read(window, stored);
        if read != Err(NotRead::Cut) || is_all || least >= most {
            return read;
        }
        // twice as much each time, so that little is looked at several times
        least = window.len().saturating_mul(2).min(most);
    }
}
