//! Bytes looked at several at a time.

use super::super::entity::Cell;
use super::super::markup::is_blank_byte;

/// Bytes that are compared at once.
pub(super) const WORD: usize = 8;

/// Bytes of blanks at the start.
#[inline]
pub(super) fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is_blank_byte(*byte)).unwrap_or(bytes.len())
}

/// Blanks between two tags, as they were last.
#[derive(Debug, Default)]
pub(super) struct Gap {
    /// The blanks and the `<` behind them, as far as they fit a word.
    word: u64,
    mask: u64,
    length: usize,
}

impl Gap {
    /// Bytes of blanks at the start.
    #[inline]
    pub(super) fn length(&mut self, bytes: &[u8]) -> usize {
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
pub(super) fn start_tag(bytes: &[u8]) -> Option<(&[u8], bool)> {
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
pub(super) fn distance<const ONE: u8, const OTHER: u8>(bytes: &[u8]) -> Option<usize> {
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
pub(super) fn is_clean(bytes: &[u8], cells: &[Cell]) -> bool {
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
