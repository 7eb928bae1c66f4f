//! What makes a document invalid, and where.

use std::{fmt, io};

/// The first error in a document. The message is one clause without a full stop. It quotes at most
/// 60 characters of the document, with control characters escaped.
#[derive(Debug, thiserror::Error)]
pub enum ValidationError {
    /// More than the [`DocumentLimits`](super::DocumentLimits) allow.
    #[error("too large: {what} ({location})")]
    TooLarge { what: String, location: Location },
    /// The document stops before its root element is closed.
    #[error("the document ends early: {what} ({location})")]
    Truncated { what: String, location: Location },
    /// Not well-formed XML 1.0 in UTF-8.
    #[error("not well-formed: {what} ({location})")]
    Malformed { what: String, location: Location },
    /// A document type declaration. The service sends none; HTML pages have one.
    #[error("the document has a DOCTYPE, which a downloaded data source never has ({location})")]
    Dtd { location: Location },
    /// No root element at all, or one without a schema.
    #[error("not a downloaded data source: {what} ({location})")]
    Root { what: String, location: Location },
    /// Something other than blanks, comments and processing instructions after the root element.
    #[error("the document goes on after its root element: {what} ({location})")]
    Trailing { what: String, location: Location },
    /// The reader failed; this says nothing about the document.
    #[error("reading the document: {0}")]
    Io(#[source] io::Error),
}

/// Where in a document something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Bytes before the offending markup or text, a byte order mark included. For a duplicate key,
    /// the document's end.
    pub offset: u64,
    /// The entity's number in the document, the first is 1.
    pub entity: Option<u64>,
    /// The column, when it is about one.
    pub element: Option<String>,
}

impl Location {
    pub(super) fn at(offset: u64) -> Self {
        Self { offset, entity: None, element: None }
    }

    /// The same location, completed by the entity and column that were being read.
    pub(super) fn within(mut self, number: u64, column: Option<&str>) -> Self {
        self.entity.get_or_insert(number);
        if self.element.is_none() {
            self.element = column.map(excerpt);
        }
        self
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}", self.offset)?;
        if let Some(entity) = self.entity {
            write!(f, ", entity {entity}")?;
        }
        if let Some(element) = &self.element {
            write!(f, ", element <{element}>")?;
        }
        Ok(())
    }
}

impl ValidationError {
    /// The same error, its location completed by the entity and column that were being read.
    #[cold]
    pub(super) fn within(mut self, number: u64, column: Option<&str>) -> Self {
        if let Some(location) = self.location_mut() {
            *location = location.clone().within(number, column);
        }
        self
    }

    /// Where the error is; none for a failure of the reader.
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::TooLarge { location, .. }
            | Self::Truncated { location, .. }
            | Self::Malformed { location, .. }
            | Self::Dtd { location }
            | Self::Root { location, .. }
            | Self::Trailing { location, .. } => Some(location),
            Self::Io(_) => None,
        }
    }

    fn location_mut(&mut self) -> Option<&mut Location> {
        match self {
            Self::TooLarge { location, .. }
            | Self::Truncated { location, .. }
            | Self::Malformed { location, .. }
            | Self::Dtd { location }
            | Self::Root { location, .. }
            | Self::Trailing { location, .. } => Some(location),
            Self::Io(_) => None,
        }
    }
}

/// Characters of the document that an error may quote in one piece.
const EXCERPT: usize = 60;

/// The beginning of `text`, safe for a log line: unprintable characters are escaped.
pub(super) fn excerpt(text: &str) -> String {
    let mut out = String::new();
    let mut length = 0;
    for c in text.chars() {
        let plain = matches!(c, '"' | '\'' | '\\');
        length += if plain { 1 } else { c.escape_debug().len() };
        if length > EXCERPT {
            out.push('…');
            break;
        }
        if plain {
            out.push(c);
        } else {
            out.extend(c.escape_debug());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_prints_on_one_line() {
        assert_eq!(excerpt("a \"b\" 'c' \\ é ☃"), "a \"b\" 'c' \\ é ☃");
        assert_eq!(excerpt("a\n\u{1b}[31m\u{202e}"), "a\\n\\u{1b}[31m\\u{202e}");
        let long = excerpt(&"\u{7}".repeat(1000));
        assert!(long.chars().count() <= EXCERPT + 1, "{long}");
        assert!(long.ends_with('…'));
    }
}
