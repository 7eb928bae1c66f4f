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
use super::super::markup::{self, is_blank_byte};
use super::super::schema::{EntityType, Schema};

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
}

/// An entity that was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    /// Its bytes, blanks before it included.
    pub(super) length: usize,
    /// Bytes of the blanks.
    pub(super) blanks: usize,
    /// The position of its type.
    pub(super) index: usize,
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
        }
    }

    /// Reads the entity at the start of `window` into `stored`, if it is simple and whole.
    pub(super) fn read(&mut self, window: &[u8], stored: &mut Stored) -> Option<Read> {
        let blanks = blanks(window);
        let rest = window.get(blanks..)?;
        if !self.types.get(self.current)?.start.starts(rest) {
            self.current = self.types.iter().position(|tags| tags.start.starts(rest))?;
        }
        self.tries += 1;
        self.resolved.clear();
        self.cells.clear();
        stored.cells.clear();
        let tags = self.types.get_mut(self.current)?;
        let mut walk = Walk {
            window,
            at: blanks,
            gap: &mut self.gap,
            max_value_bytes: self.max_value_bytes,
            resolved: &mut self.resolved,
            with_references: &mut self.cells,
        };
        let in_order = walk.entity(tags, self.tries, &mut stored.cells)?;
        let (length, whole) = (walk.at, window.get(..walk.at)?);
        for &cell in &self.cells {
            let cell = stored.cells.get_mut(cell)?;
            (cell.start, cell.end) = (cell.start + length, cell.end + length);
        }
        if !is_clean(whole, &stored.cells) {
            return None;
        }
        let whole = simdutf8::basic::from_utf8(whole).ok()?;
        stored.text.clear();
        stored.text.push_str(whole);
        stored.text.push_str(&self.resolved);
        let name = blanks + 1;
        stored.name = name..name + tags.name;
        stored.in_order = in_order;
        Some(Read { length, blanks, index: self.current })
    }
}

/// The tags of one entity type.
#[derive(Debug)]
struct Tags {
    /// Bytes of its name.
    name: usize,
    start: Pattern,
    end: Pattern,
    columns: Vec<Column>,
    /// The position of the column that came first in the last entity.
    first: usize,
    /// Positions of columns by the hashes of their names; 0 for none, else one more.
    by_hash: Vec<u32>,
    /// Bytes that must be at hand where a tag is expected.
    ahead: usize,
}

#[derive(Debug)]
struct Column {
    start: Pattern,
    end: Pattern,
    /// The position of the column that came after it last time; of none, if it was the last.
    next: usize,
    /// The last try that met it.
    met: u64,
}

impl Column {
    fn new(name: &str, next: usize) -> Self {
        Self { start: Pattern::new("<", name), end: Pattern::new("</", name), next, met: 0 }
    }

    /// Whether this is the column of a start tag, which begins `text` and has this name.
    #[inline]
    fn is(&self, text: &[u8], name: &[u8]) -> bool {
        self.start.starts(text) || self.start.bytes.get(1..self.start.bytes.len() - 1) == Some(name)
    }
}

impl Tags {
    fn new(entity_type: &EntityType) -> Self {
        let names = entity_type.fields().iter().map(|field| field.column.name.as_str());
        let columns: Vec<_> =
            (1..).zip(names).map(|(next, name)| Column::new(name, next)).collect();
        let end = Pattern::new("</", entity_type.name());
        let lengths = columns.iter().map(|it| it.end.bytes.len()).chain([end.bytes.len(), WORD]);
        let mut tags = Self {
            name: entity_type.name().len(),
            start: Pattern::new("<", entity_type.name()),
            first: 0,
            by_hash: vec![0; (columns.len() * 4).next_power_of_two()],
            ahead: lengths.max().unwrap_or_default() + 1,
            end,
            columns,
        };
        for (number, field) in (1..).zip(entity_type.fields()) {
            let mut slots = tags.slots(field.column.name.as_bytes());
            let free = slots.find(|slot| tags.by_hash.get(*slot) == Some(&0));
            if let Some(slot) = free.and_then(|slot| tags.by_hash.get_mut(slot)) {
                *slot = number;
            }
        }
        tags
    }

    /// Where a column of this name may be in the table, best first.
    #[inline]
    fn slots(&self, name: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let (size, hash) = (self.by_hash.len(), hash(name));
        (0..size).map(move |step| (hash as usize).wrapping_add(step) & (size - 1))
    }

    /// The position of the column of a start tag, which begins `text` and has this name.
    #[inline]
    fn find(&self, text: &[u8], name: &[u8]) -> Option<usize> {
        for slot in self.slots(name) {
            let position = (*self.by_hash.get(slot)? as usize).checked_sub(1)?;
            if self.columns.get(position)?.is(text, name) {
                return Some(position);
            }
        }
        None
    }
}

/// Bytes that are compared at once.
const WORD: usize = 8;

/// A tag to be found in a text, made to be compared fast.
#[derive(Debug)]
struct Pattern {
    bytes: Box<[u8]>,
    /// Its first and last bytes; the same where it is short.
    first: u64,
    last: u64,
    /// What counts of the first bytes.
    mask: u64,
}

impl Pattern {
    fn new(open: &str, name: &str) -> Self {
        let bytes = format!("{open}{name}>").into_bytes().into_boxed_slice();
        let mut padded = [0; WORD];
        padded.iter_mut().zip(&bytes).for_each(|(to, byte)| *to = *byte);
        let first = u64::from_le_bytes(padded);
        let last = bytes.last_chunk::<WORD>().map_or(first, |last| u64::from_le_bytes(*last));
        let mask = match bytes.len() {
            short @ 0..WORD => (1 << (8 * short)) - 1,
            _ => u64::MAX,
        };
        Self { bytes, first, last, mask }
    }

    /// Whether `text`, of at least eight bytes, starts with this.
    #[inline]
    fn starts(&self, text: &[u8]) -> bool {
        let length = self.bytes.len();
        let Some(word) = text.first_chunk::<WORD>() else { return false };
        if u64::from_le_bytes(*word) & self.mask != self.first {
            return false;
        }
        if length <= WORD {
            return true;
        }
        let last = text.get(length - WORD..length).and_then(<[u8]>::first_chunk::<WORD>);
        last.is_some_and(|word| u64::from_le_bytes(*word) == self.last)
            && (length <= 2 * WORD
                || text.get(WORD..length - WORD) == self.bytes.get(WORD..length - WORD))
    }
}

/// A cheap hash of a name: names of one schema often begin alike and end in a number.
#[inline]
fn hash(name: &[u8]) -> u64 {
    let mixed = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
            first.rotate_left(23) ^ last
        }
        _ => name.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    // the last characters, which differ most, stand in the highest bits: a product carries nothing
    // downwards
    let mixed = mixed ^ (mixed >> 32) ^ name.len() as u64;
    mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32
}

/// A way through the bytes at hand.
struct Walk<'w> {
    window: &'w [u8],
    at: usize,
    gap: &'w mut Gap,
    max_value_bytes: usize,
    resolved: &'w mut String,
    with_references: &'w mut Vec<usize>,
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
            cells.push(Cell { column: column_number, flags, start, end, before: 0 });
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
        let mut length = distance::<b'<', b'&'>(rest)?;
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
            let (text, after) = rest.split_at_checked(distance::<b'<', b'&'>(rest)?)?;
            if memchr::memchr(b'\r', text).is_some() {
                return None;
            }
            self.resolved.push_str(simdutf8::basic::from_utf8(text).ok()?);
            let Some(after) = after.strip_prefix(b"&") else {
                *length = whole - after.len();
                return Some((begin, self.resolved.len()));
            };
            let end = after.iter().take(LONGEST_REFERENCE).position(|byte| *byte == b';')?;
            let name = std::str::from_utf8(after.get(..end)?).ok()?;
            self.resolved.push(markup::reference(name)?);
            rest = after.get(end + 1..)?;
        }
    }
}

/// Bytes of the longest reference that is read here, its semicolon included.
const LONGEST_REFERENCE: usize = 12;

/// Bytes of blanks at the start.
#[inline]
fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is_blank_byte(*byte)).unwrap_or(bytes.len())
}

/// Blanks between two tags, as they were last.
#[derive(Debug, Default)]
struct Gap {
    /// The blanks and the `<` behind them, as far as they fit a word.
    word: u64,
    mask: u64,
    length: usize,
}

impl Gap {
    /// Bytes of blanks at the start.
    #[inline]
    fn length(&mut self, bytes: &[u8]) -> usize {
        match bytes.first_chunk::<WORD>() {
            Some(word) if u64::from_le_bytes(*word) & self.mask == self.word && self.mask != 0 => {
                self.length
            }
            first => {
                let length = blanks(bytes);
                if let Some(first) = first
                    && first.get(length) == Some(&b'<')
                {
                    self.mask = u64::MAX >> (8 * (WORD - 1 - length));
                    (self.word, self.length) = (u64::from_le_bytes(*first) & self.mask, length);
                }
                length
            }
        }
    }
}

/// The name of a start tag without attributes, and whether it ends its element, too.
#[inline]
fn start_tag(bytes: &[u8]) -> Option<(&[u8], bool)> {
    let after = bytes.strip_prefix(b"<")?;
    let (name, rest) = after.split_at_checked(distance::<b'>', b'/'>(after)?)?;
    match rest {
        [b'>', ..] => Some((name, false)),
        [b'/', b'>', ..] => Some((name, true)),
        _ => None,
    }
}

/// Bytes before the next of two.
#[inline]
fn distance<const ONE: u8, const OTHER: u8>(bytes: &[u8]) -> Option<usize> {
    // most are near: a search made for long texts costs more than it saves
    let (words, _) = bytes.get(..3 * WORD).unwrap_or_default().as_chunks::<WORD>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ repeated(ONE)) | zeros(word ^ repeated(OTHER));
        if found != 0 {
            return Some(index * WORD + found.trailing_zeros() as usize / 8);
        }
    }
    let from = words.len() * WORD;
    memchr::memchr2(ONE, OTHER, bytes.get(from..)?).map(|length| from + length)
}

const fn repeated(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Has the highest bit of the first byte that is zero, and none of those before it.
#[inline]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(repeated(1)) & !word & repeated(0x80)
}

/// Whether there is nothing that only the general way reads: an illegal character, `]]>`, or a
/// carriage return in a value.
fn is_clean(bytes: &[u8], cells: &[Cell]) -> bool {
    let mut found = Found::default();
    bytes.as_chunks().0.iter().for_each(|block| found.look(block));
    match bytes.last_chunk() {
        // overlaps the one before
        Some(block) => found.look(block),
        None => return false,
    }
    if found.is_any(&found.control) {
        return false;
    }
    if found.is_any(&found.suspect) {
        let found = |illegal: &[u8]| memchr::memmem::find(bytes, illegal).is_some();
        if found(b"]]>") || found("\u{FFFE}".as_bytes()) || found("\u{FFFF}".as_bytes()) {
            return false;
        }
    }
    // a text that is resolved is not in these bytes, and has been looked at
    let has_return = |cell: &Cell| {
        bytes.get(cell.start..cell.end).is_some_and(|text| memchr::memchr(b'\r', text).is_some())
    };
    !found.is_any(&found.carriage_return) || !cells.iter().any(has_return)
}

/// Bytes that are looked at together. An entity has more.
const BLOCK: usize = 16;

/// Whether kinds of bytes were found, in each place of a block.
#[derive(Debug, Default)]
struct Found {
    /// Never allowed.
    control: [bool; BLOCK],
    carriage_return: [bool; BLOCK],
    /// May begin something that is not allowed.
    suspect: [bool; BLOCK],
}

impl Found {
    /// Without a branch, so that it compiles to vector instructions.
    #[inline(always)]
    fn look(&mut self, block: &[u8; BLOCK]) {
        let places = self.control.iter_mut().zip(&mut self.carriage_return).zip(&mut self.suspect);
        for (((control, carriage_return), suspect), &byte) in places.zip(block) {
            let blank = (byte == b'\n') | (byte == b'\t') | (byte == b'\r');
            *control |= (byte < b' ') & !blank;
            *carriage_return |= byte == b'\r';
            *suspect |= (byte == b']') | (byte == 0xEF);
        }
    }

    fn is_any(&self, places: &[bool; BLOCK]) -> bool {
        places.iter().fold(false, |any, found| any | found)
    }
}
