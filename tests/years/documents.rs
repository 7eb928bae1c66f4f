//! The documents that the simulated service has, with the digest of each.

use bytes::Bytes;
use nightjar::simulator::{Alteration, Data};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// Defects of a document. The service's bytes must be kept all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oddity {
    None,
    /// A value that does not parse as its column's type.
    Unreadable,
    /// A repeated primary key: another remote job is tried first.
    Unproven,
}

/// A document of the service, with the digest of its bytes.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) bytes: Bytes,
    pub(crate) sha256: String,
    pub(crate) entities: u64,
    pub(crate) oddity: Oddity,
    /// Whether it is written in another way: the same values in other bytes.
    pub(crate) is_rewritten: bool,
}

impl Document {
    /// Whether both have the same values.
    pub(crate) fn equals(&self, other: &Document) -> bool {
        (self.entities, self.oddity) == (other.entities, other.oddity)
    }

    /// The same values in other bytes.
    pub(crate) fn rewritten(&self) -> &'static Document {
        DOCUMENTS.iter().find(|it| it.is_rewritten && it.equals(self)).unwrap()
    }

    /// Other values: one of them is changed, or one entity is missing.
    pub(crate) fn altered(&self, drops: bool) -> &'static Document {
        match self.oddity {
            Oddity::None if !drops => document(self.entities as usize, Oddity::Unreadable),
            _ if self.entities > 1 => document(self.entities as usize - 1, self.oddity),
            _ => document(20, Oddity::None),
        }
    }

    /// The document of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Option<&'static Document> {
        DOCUMENTS.iter().find(|it| it.bytes == bytes)
    }
}

/// The documents of 1 to 20 entities, in each form.
pub(crate) static DOCUMENTS: LazyLock<Vec<Document>> = LazyLock::new(|| {
    let odd = |count, oddity, is_rewritten| {
        let whole = Data::first_places(count).document();
        let text = std::str::from_utf8(&whole).unwrap();
        let value = |from: usize, name: &str| {
            let begin = text[from..].find(&format!("<{name}>")).unwrap() + from + name.len() + 2;
            begin..begin + text[begin..].find('<').unwrap()
        };
        let bytes = match oddity {
            Oddity::None => whole.clone(),
            Oddity::Unreadable => {
                let latitude = value(0, "Latitude");
                format!("{}{}", &text[..latitude.start], &text[latitude.end..]).into()
            }
            Oddity::Unproven => {
                let first = value(0, "EntityID");
                let second = value(first.end, "EntityID");
                let key = &text[first];
                format!("{}{key}{}", &text[..second.start], &text[second.end..]).into()
            }
        };
        let bytes = match is_rewritten {
            true => Data::raw(bytes).altered(&Alteration::Reserialised).document(),
            false => bytes,
        };
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Document { bytes, sha256, entities: count, oddity, is_rewritten }
    };
    let all = [Oddity::None, Oddity::Unreadable, Oddity::Unproven];
    let forms = [false, true].into_iter().flat_map(|form| all.map(|oddity| (oddity, form)));
    let documents = forms.flat_map(|(oddity, form)| {
        // The keys are unique where there is one.
        let least = if oddity == Oddity::Unproven { 2 } else { 1 };
        (least..=20).map(move |count| (count, oddity, form))
    });
    documents.map(|(count, oddity, form)| odd(count, oddity, form)).collect()
});

/// The document of so many entities.
pub(crate) fn document(entities: usize, oddity: Oddity) -> &'static Document {
    let entities = entities.max(if oddity == Oddity::Unproven { 2 } else { 1 });
    let is_it = |it: &&Document| it.entities == entities as u64 && it.oddity == oddity;
    DOCUMENTS.iter().find(is_it).unwrap()
}
