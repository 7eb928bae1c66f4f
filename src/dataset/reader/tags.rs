//! The tags that the schema lets expect, made to be compared fast.

use super::super::schema::EntityType;
use super::scan::WORD;

/// The tags of one entity type.
#[derive(Debug)]
pub(super) struct Tags {
    /// Bytes of its name.
    pub(super) name: usize,
    pub(super) start: Pattern,
    pub(super) end: Pattern,
    pub(super) columns: Vec<Column>,
    /// The position of the column that came first in the last entity.
    pub(super) first: usize,
    /// Positions of columns by the hashes of their names; 0 for none, else one more.
    by_hash: Vec<u32>,
    /// Bytes that must be at hand where a tag is expected.
    pub(super) ahead: usize,
}

#[derive(Debug)]
pub(super) struct Column {
    pub(super) start: Pattern,
    pub(super) end: Pattern,
    /// The position of the column that came after it last time; of none, if it was the last.
    pub(super) next: usize,
    /// The last try that met it.
    pub(super) met: u64,
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
    pub(super) fn new(entity_type: &EntityType) -> Self {
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
    pub(super) fn find(&self, text: &[u8], name: &[u8]) -> Option<usize> {
        for slot in self.slots(name) {
            let position = (*self.by_hash.get(slot)? as usize).checked_sub(1)?;
            if self.columns.get(position)?.is(text, name) {
                return Some(position);
            }
        }
        None
    }
}

/// A tag to be found in a text, made to be compared fast.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) bytes: Box<[u8]>,
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
    pub(super) fn starts(&self, text: &[u8]) -> bool {
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
