//! Digests of all primary keys, to find two that are the same.

use std::hash::{DefaultHasher, Hasher};

/// A digest of a primary key, for the comparison of all with all.
///
/// Two different keys meet by accident with a chance of about n²/2⁶⁵: once in a billion documents
/// of 200,000 entities, once in a million of 5,000,000. The hash is the standard library's SipHash
/// with its fixed keys: the same document gives the same result each time.
pub(crate) fn digest(entity_type: usize, key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_usize(entity_type);
    hasher.write(key.as_bytes());
    match hasher.finish() {
        NO_KEY => 1,
        digest => digest,
    }
}

/// Stands for the digest of a missing key.
pub(super) const NO_KEY: u64 = 0;

/// Digests in document order, in blocks: one long vector would be copied as it grows, and leave a
/// hole behind each time.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    blocks: Vec<Vec<u64>>,
}

impl Digests {
    const BLOCK: usize = 8192;

    pub(crate) fn push(&mut self, digest: u64) {
        match self.blocks.last_mut() {
            Some(block) if block.len() < Self::BLOCK => block.push(digest),
            _ => {
                let mut block = Vec::with_capacity(Self::BLOCK);
                block.push(digest);
                self.blocks.push(block);
            }
        }
    }

    /// Adds all digests of another list.
    pub(crate) fn append(&mut self, other: Digests) {
        self.blocks.extend(other.blocks);
    }

    fn len(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.blocks.iter().flatten().copied()
    }

    /// A key's digest that occurs twice. They are sorted a sixteenth at a time, by their first
    /// digit, so that no copy of all of them is needed.
    pub(crate) fn find_twice(&self) -> Option<u64> {
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
