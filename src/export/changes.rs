//! What an export could not write exactly, counted by column and kind.

use serde::Serialize;
use std::collections::BTreeMap;

/// Examples that are kept of each change.
const EXAMPLES: usize = 5;
/// Bytes that are kept of an example's key.
const EXAMPLE_BYTES: usize = 256;

/// What happened to a value on its way into a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// INF, -INF or NaN where the format does not have it: null.
    NotFinite,
    /// A ring was reversed, as the format demands.
    RingOrientation,
    /// Text in a geography column is no well-known text: no geometry; the text is kept.
    GeometryUnreadable,
    /// A geometry of a kind that the format does not have: no geometry; the text is kept.
    GeometryUnsupported,
    /// Heights or measures were left out.
    DimensionsDropped,
    /// A number or coordinate beyond what the format holds: null.
    OutOfRange,
    /// Characters of the primary key that the format does not allow were percent-encoded.
    IdEncoded,
    /// A whole number that JSON readers would round was written as a string.
    NumberAsText,
    /// The text does not read as its column's type: null in a typed column.
    Unreadable,
    /// Digits of a second beyond the millisecond were cut.
    FractionCut,
    /// An instant without a zone was taken as UTC.
    ZoneAssumed,
    /// An element that the schema does not declare was left out.
    Undeclared,
    /// A further value of a column in the same entity was left out.
    Repeated,
    /// Elements inside a value were left out: its text alone was written.
    ElementsDropped,
    /// Text was changed so that a spreadsheet does not run it as a formula.
    FormulaEscaped,
    /// A document, or its id, is larger than the destination accepts.
    TooLarge,
    /// The text has a character that the format cannot hold: it was replaced.
    CharacterReplaced,
}

impl Kind {
    /// Whether the exact value is not in the file.
    pub fn is_lossy(self) -> bool {
        !matches!(
            self,
            Kind::RingOrientation
                | Kind::ZoneAssumed
                | Kind::IdEncoded
                | Kind::NumberAsText
                | Kind::TooLarge
        )
    }

    /// What was done, for people.
    pub fn explanation(self) -> &'static str {
        match self {
            Kind::NotFinite => "INF or NaN, which this format does not have; null was written",
            Kind::RingOrientation => "rings were reversed, as this format demands",
            Kind::GeometryUnreadable => "the text is no well-known text; it was kept as text",
            Kind::GeometryUnsupported => {
                "this format does not have this kind of geometry; it was kept as text"
            }
            Kind::DimensionsDropped => "heights and measures were left out of geometries",
            Kind::OutOfRange => "beyond what this format holds; null was written",
            Kind::IdEncoded => "characters that are not allowed in an id were percent-encoded",
            Kind::NumberAsText => "beyond 2^53, where JSON readers round; written as strings",
            Kind::Unreadable => "not of the column's type; null was written",
            Kind::FractionCut => "digits beyond the millisecond were cut",
            Kind::ZoneAssumed => "instants without a zone were taken as UTC",
            Kind::Undeclared => "not declared by the schema; left out",
            Kind::Repeated => "given more than once in an entity; the first was written",
            Kind::ElementsDropped => "elements inside a value were left out, with their text",
            Kind::FormulaEscaped => "text that a spreadsheet would run was escaped with '",
            Kind::TooLarge => {
                "the destination refuses documents over 2 MB and ids over 1,023 bytes"
            }
            Kind::CharacterReplaced => "characters that this format cannot hold were replaced",
        }
    }
}

/// How often one kind of change happened to one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The column's name in the document.
    pub column: String,
    /// What happened.
    pub kind: Kind,
    /// To how many values.
    pub count: u64,
    /// Whether the exact value is not in the file.
    pub lossy: bool,
    /// Primary keys of the first entities that it happened to.
    pub examples: Vec<String>,
}

/// All changes of an export.
#[derive(Debug, Default)]
pub struct Changes {
    /// By column and kind. Columns are as many as the schema has, and the few names of undeclared
    /// elements that are counted as one.
    found: BTreeMap<(String, Kind), Change>,
}

impl Changes {
    /// Counts one change of a value of `column` in the entity with this primary key.
    pub fn add(&mut self, column: &str, kind: Kind, key: Option<&str>) {
        let change = self.found.entry((column.to_owned(), kind)).or_insert_with(|| Change {
            column: column.to_owned(),
            kind,
            count: 0,
            lossy: kind.is_lossy(),
            examples: Vec::new(),
        });
        change.count += 1;
        if change.examples.len() < EXAMPLES
            && let Some(key) = key
        {
            let end = key.floor_char_boundary(EXAMPLE_BYTES);
            change.examples.push(key.get(..end).unwrap_or_default().to_owned());
        }
    }

    /// Whether any exact value is not in the file.
    pub fn any_lossy(&self) -> bool {
        self.found.values().any(|change| change.lossy)
    }

    /// In the order of columns' names.
    pub fn into_list(self) -> Vec<Change> {
        self.found.into_values().collect()
    }
}
