//! The documents that the simulated service has, with the digest of each.

use bytes::Bytes;
use nightjar::simulator::Data;
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
}

/// The documents of 1 to 20 entities, in each form.
pub(crate) static DOCUMENTS: LazyLock<Vec<Document>> = LazyLock::new(|| {
    let odd = |count, oddity| {
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
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Document { bytes, sha256, entities: count, oddity }
    };
    let whole = (1..=20).map(|count| odd(count, Oddity::None));
    let unreadable = (1..=20).map(|count| odd(count, Oddity::Unreadable));
    // The keys are unique.
    let unproven = (1..=20).map(|count| odd(count.max(2), Oddity::Unproven));
    whole.chain(unreadable).chain(unproven).collect()
});

pub(crate) fn document(entities: usize, oddity: Oddity) -> &'static Document {
    let is_it = |it: &&Document| it.entities == entities as u64 && it.oddity == oddity;
    DOCUMENTS.iter().find(is_it).unwrap_or(&DOCUMENTS[entities - 1])
}
