//! Entities read the fast way: by comparing bytes with what the schema and the entities before let
//! expect.
//!
//! The entities of one source look alike: the same tags, in the same order, around plain text. So
//! the next tag is guessed and compared, and a value ends at the next `<`. Only what is simple is
//! read like this: an entity that is whole at hand, made of tags without attributes or prefixes,
//! blanks between them, and values of text and references. Anything else, whether right or wrong,
//! is left to the general way, which begins at the same entity again. What is read here must be
//! exactly what the general way gives: tests compare them.

use super::super::entity::{Cell, Flags, Stored};
use super::super::markup;
use super::super::schema::Schema;
use super::scan::{Gap, WORD, blanks, distance, is_clean, start_tag};
use super::tags::{Column, Tags};

/// The tags that can be expected, and those that came last time.
#[derive(Debug)]
pub(super) struct Prediction {
    types: Vec<Tags>,
    /// The position of the last entity's type.
    current: usize,
    /// How many entities have been tried.
    tries: u64,
    gap: Gap,
    /// Texts with references in them, resolved.
    resolved: String,
    /// The cells whose texts these are.
    cells: Vec<usize>,
    max_value_bytes: usize,
    /// Bytes that are enough to know an entity's start tag.
    start: usize,
}

/// An entity that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read {
    /// Its bytes, blanks before it included.
    pub(super) length: usize,
    /// Bytes of the blanks.
    pub(super) blanks: usize,
    /// The position of its type.
    pub(super) index: usize,
}

/// Why an entity was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotRead {
    /// What there is looks simple, but ends too early to say.
    Cut,
    /// It is for the general way.
    Unusual,
}

impl NotRead {
    /// Why nothing is expected of `rest`, where at least so many bytes would be needed.
    fn of(rest: &[u8], least: usize) -> Self {
        if rest.len() < least { Self::Cut } else { Self::Unusual }
    }
}

impl Prediction {
    pub(super) fn new(schema: &Schema, max_value_bytes: usize) -> Self {
        Self {
            types: schema.types().iter().map(Tags::new).collect(),
            current: 0,
            tries: 0,
            gap: Gap::default(),
            resolved: String::new(),
            cells: Vec::new(),
            max_value_bytes,
            start: schema.types().iter().map(|it| it.name().len() + 2).max().unwrap_or(0).max(WORD),
        }
    }

    /// Reads the entity at the start of `window` into `stored`, if it is simple and whole.
    pub(super) fn read(&mut self, window: &[u8], stored: &mut Stored) -> Result<Read, NotRead> {
        let blanks = blanks(window);
        let rest = window.get(blanks..).unwrap_or_default();
        let current = self.types.get(self.current).is_some_and(|tags| tags.start.starts(rest));
        if !current {
            let found = self.types.iter().position(|tags| tags.start.starts(rest));
            self.current = found.ok_or(NotRead::of(rest, self.start))?;
        }
        let tags = self.types.get_mut(self.current).ok_or(NotRead::Unusual)?;
        self.tries += 1;
        self.resolved.clear();
        self.cells.clear();
        stored.cells.clear();
        let mut walk = Walk {
            window,
            at: blanks,
            gap: &mut self.gap,
            max_value_bytes: self.max_value_bytes,
            resolved: &mut self.resolved,
            with_references: &mut self.cells,
            is_cut: false,
        };
        let walked = walk.entity(tags, self.tries, &mut stored.cells);
        let (length, is_cut) = (walk.at, walk.is_cut);
        let not_read = if is_cut { NotRead::Cut } else { NotRead::Unusual };
        stored.in_order = walked.ok_or(not_read)?;
        self.store(window.get(..length).unwrap_or_default(), stored).ok_or(NotRead::Unusual)?;
        let name = blanks + 1;
        stored.name = name..name + self.types.get(self.current).map_or(0, |tags| tags.name);
        Ok(Read { length, blanks, index: self.current })
    }

    /// Stores the text of an entity, if there is nothing in it that only the general way reads.
    fn store(&self, whole: &[u8], stored: &mut Stored) -> Option<()> {
        for &cell in &self.cells {
            let cell = stored.cells.get_mut(cell)?;
            (cell.start, cell.end) = (cell.start + whole.len(), cell.end + whole.len());
        }
        if !is_clean(whole, &stored.cells) {
            return None;
        }
        let whole = simdutf8::basic::from_utf8(whole).ok()?;
        stored.text.clear();
        stored.text.push_str(whole);
        stored.text.push_str(&self.resolved);
        Some(())
    }
}

/// A way through the bytes at hand.
struct Walk<'w> {
    window: &'w [u8],
    at: usize,
    gap: &'w mut Gap,
    max_value_bytes: usize,
    resolved: &'w mut String,
    with_references: &'w mut Vec<usize>,
    /// Whether the bytes at hand end too early.
    is_cut: bool,
}

impl Walk<'_> {
    /// Reads an entity whose start tag is right here; answers whether its columns are in the
    /// schema's order.
    fn entity(&mut self, tags: &mut Tags, number: u64, cells: &mut Vec<Cell>) -> Option<bool> {
        self.at += tags.start.bytes.len();
        let mut in_order = true;
        let mut last = None;
        let mut expected = tags.first;
        loop {
            self.at += self.gap.length(self.window.get(self.at..)?);
            let rest = self.window.get(self.at..)?;
            // so that a tag that is not here is not cut off either
            if rest.len() < tags.ahead {
                self.is_cut = true;
                return None;
            }
            let mut position = expected;
            let mut has_text = true;
            match tags.columns.get(expected) {
                Some(column) if column.start.starts(rest) => {
                    self.at += column.start.bytes.len();
                }
                _ if tags.end.starts(rest) => {
                    self.at += tags.end.bytes.len();
                    if let Some(last) = last.and_then(|last| tags.columns.get_mut::<usize>(last)) {
                        last.next = usize::MAX;
                    }
                    return Some(in_order);
                }
                _ => {
                    let (name, after) = start_tag(rest)?;
                    position = tags.find(rest, name)?;
                    has_text = !after;
                    self.at += name.len() + if after { 3 } else { 2 };
                    match last {
                        Some(last) => tags.columns.get_mut(last)?.next = position,
                        None => tags.first = position,
                    }
                }
            }
            let column = tags.columns.get_mut(position)?;
            if std::mem::replace(&mut column.met, number) == number {
                return None;
            }
            in_order &= last.is_none_or(|last| last < position);
            let (start, end) = if has_text { self.value(column, cells.len())? } else { (0, 0) };
            let (column_number, flags) = (u32::try_from(position).ok()?, Flags::default());
            cells.push(Cell { column: column_number, flags, start, end, before: 0, inside: 0 });
            last = Some(position);
            expected = column.next;
        }
    }

    /// Reads a value and its end tag; answers where its text is: in the window, or if it has
    /// references in what is resolved.
    #[inline]
    fn value(&mut self, column: &Column, cell: usize) -> Option<(usize, usize)> {
        let start = self.at;
        let mut rest = self.window.get(start..)?;
        let Some(mut length) = distance::<b'<', b'&'>(rest) else {
            self.is_cut = true;
            return None;
        };
        let mut place = (start, start + length);
        if rest.get(length) == Some(&b'&') {
            place = self.resolve(&mut length)?;
            self.with_references.push(cell);
        }
        if length > self.max_value_bytes {
            return None;
        }
        rest = rest.get(length..)?;
        if !column.end.starts(rest) {
            self.is_cut = rest.len() < column.end.bytes.len().max(WORD);
            return None;
        }
        self.at = start + length + column.end.bytes.len();
        Some(place)
    }

    /// Resolves the references of a value that begins here, the first of them after `length` bytes,
    /// which becomes the value's; answers where the text is in what is resolved.
    #[cold]
    fn resolve(&mut self, length: &mut usize) -> Option<(usize, usize)> {
        let begin = self.resolved.len();
        let mut rest = self.window.get(self.at..)?;
        let whole = rest.len();
        loop {
            let Some(text) = distance::<b'<', b'&'>(rest) else {
                self.is_cut = true;
                return None;
            };
            let (text, after) = rest.split_at_checked(text)?;
            if memchr::memchr(b'\r', text).is_some() {
                return None;
            }
            self.resolved.push_str(simdutf8::basic::from_utf8(text).ok()?);
            let Some(after) = after.strip_prefix(b"&") else {
                *length = whole - after.len();
                return Some((begin, self.resolved.len()));
            };
            let Some(end) = after.iter().take(LONGEST_REFERENCE).position(|byte| *byte == b';')
            else {
                self.is_cut = after.len() < LONGEST_REFERENCE;
                return None;
            };
            let name = std::str::from_utf8(after.get(..end)?).ok()?;
            self.resolved.push(markup::reference(name)?);
            rest = after.get(end + 1..)?;
        }
    }
}

/// Bytes of the longest reference that is read here, its semicolon included.
const LONGEST_REFERENCE: usize = 12;
