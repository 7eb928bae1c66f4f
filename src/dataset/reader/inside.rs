//! The elements inside a value, which are no part of its text: a digest tells them apart.

use super::super::strict::{Tag, Token};
use std::hash::{DefaultHasher, Hasher};

/// What begins a part. None of them is in the text of a document.
const OPEN: u8 = 1;
const CLOSE: u8 = 2;
const PLACE: u8 = 3;

/// A digest of all elements in one value: their places in its text, their tags, and what they hold.
#[derive(Debug, Default)]
pub(super) struct Inside {
    hasher: Option<DefaultHasher>,
}

impl Inside {
    pub(super) fn clear(&mut self) {
        self.hasher = None;
    }

    /// An element follows behind so many bytes of the value's text.
    pub(super) fn begin(&mut self, place: usize) {
        let hasher = self.hasher.get_or_insert_default();
        hasher.write_u8(PLACE);
        hasher.write_usize(place);
    }

    /// A start tag.
    pub(super) fn open(&mut self, tag: Tag<'_>) {
        let hasher = self.hasher.get_or_insert_default();
        hasher.write_u8(OPEN);
        hasher.write(tag.name().as_bytes());
        for (name, value) in tag.attributes() {
            hasher.write_u8(OPEN);
            hasher.write(name.as_bytes());
            hasher.write_u8(OPEN);
            hasher.write(value.as_bytes());
        }
        hasher.write_u8(PLACE);
        if tag.empty {
            hasher.write_u8(CLOSE);
        }
    }

    /// What follows in an element.
    pub(super) fn add(&mut self, token: &Token<'_>) {
        let Some(hasher) = &mut self.hasher else { return };
        match token {
            Token::Open(tag) => self.open(*tag),
            Token::Close => hasher.write_u8(CLOSE),
            Token::Text(text) | Token::CData(text) => hasher.write(text.as_bytes()),
            Token::Char(c) => hasher.write(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Token::Aside | Token::End => {}
        }
    }

    /// The digest; 0 where there are no elements.
    pub(super) fn digest(&self) -> u64 {
        self.hasher.as_ref().map_or(0, |hasher| hasher.finish().max(1))
    }
}
