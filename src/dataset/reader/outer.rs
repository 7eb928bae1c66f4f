//! What stands around the entities: the prolog, the schema's start, the document's end.

use super::super::DocumentLimits;
use super::super::error::{Location, ValidationError, excerpt};
use super::super::markup;
use super::super::schema;
use super::super::strict::{Token, XmlSource};
use super::super::warnings::{Unproven, Warnings};
use std::io::BufRead;

/// The children of the root that are neither the schema nor of a declared type.
#[derive(Debug, Default)]
pub(super) struct Others {
    pub(super) count: u64,
    /// The first one's name, without its prefix.
    pub(super) first: Option<String>,
}

impl Others {
    #[cold]
    pub(super) fn add(&mut self, name: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| name.to_owned());
    }
}

/// What stands in the root element before the schema, where nothing should.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub(super) others: Others,
    pub(super) warnings: Warnings,
    /// The first of it, for a document that turns out to have no schema.
    first: Option<(String, Location)>,
}

impl Before {
    #[cold]
    fn meet(&mut self, root: &str, what: String, location: Location) {
        self.warnings
            .raise(Unproven::Schema, location.clone(), || format!("{what} before the schema"));
        let root = excerpt(root);
        let what = format!("the root element <{root}> begins with {what}, and has no schema");
        self.first.get_or_insert((what, location));
    }

    /// The error of a document without a schema: its beginning says more than later errors do.
    fn error(&mut self, other: ValidationError) -> ValidationError {
        match (other, self.first.take()) {
            (other @ (ValidationError::Io(_) | ValidationError::TooLarge { .. }), _)
            | (other, None) => other,
            (_, Some((what, location))) => ValidationError::Root { what, location },
        }
    }
}

/// Up to and with the root's start tag; answers its name.
pub(super) fn read_root<R: BufRead>(source: &mut XmlSource<R>) -> Result<String, ValidationError> {
    let mut piece = Vec::new();
    loop {
        let raw = source.read(&mut piece);
        let what = match source.check(&raw)? {
            Token::Aside => continue,
            Token::Text(text) if markup::is_blank(text) => continue,
            Token::Open(tag) if !tag.empty => return Ok(tag.name().to_owned()),
            Token::Open(tag) => format!("the root element <{}> is empty", excerpt(tag.name())),
            Token::Text(text) | Token::CData(text) => {
                format!("it begins with text: \"{}\"", excerpt(text.trim_start()))
            }
            Token::Char(_) => "it begins with text".to_owned(),
            Token::Close | Token::End => "it has no root element".to_owned(),
        };
        return Err(ValidationError::Root { what, location: source.location() });
    }
}

/// Up to and with the schema's start tag, which should be the first thing in the root.
pub(super) fn find_schema<R: BufRead>(
    source: &mut XmlSource<R>,
    root: &str,
    limits: &DocumentLimits,
    before: &mut Before,
) -> Result<schema::Opened, ValidationError> {
    let mut piece = Vec::new();
    loop {
        let raw = source.read(&mut piece);
        match source.check(&raw).map_err(|error| before.error(error))? {
            Token::Aside => {}
            Token::Text(text) if markup::is_blank(text) => {}
            Token::Open(tag) => {
                if let Some(opened) = schema::Opened::of(tag) {
                    return Ok(opened);
                }
                before.meet(root, format!("<{}>", excerpt(tag.name())), source.location());
                before.others.add(tag.local());
                if before.others.count > limits.max_entities {
                    return Err(too_many(limits, source.location()));
                }
                if !tag.empty {
                    skip(source, &mut piece, limits, |_| ())
                        .map_err(|error| before.error(error))?;
                }
            }
            Token::Text(text) | Token::CData(text) => {
                before.meet(root, format!("text: \"{}\"", excerpt(text)), source.location());
            }
            Token::Char(_) => before.meet(root, "text".to_owned(), source.location()),
            Token::Close => {
                let what = format!("the root element <{}> has no schema", excerpt(root));
                return Err(
                    before.error(ValidationError::Root { what, location: source.location() })
                );
            }
            Token::End => {
                return Err(before.error(truncated("within the root element", source.location())));
            }
        }
    }
}

/// Reads up to the end tag of the element whose start tag has just been met, whatever it holds.
/// `visit` gets each token, the end tag included.
#[cold]
pub(super) fn skip<R: BufRead>(
    source: &mut XmlSource<R>,
    piece: &mut Vec<u8>,
    limits: &DocumentLimits,
    mut visit: impl FnMut(&Token<'_>),
) -> Result<(), ValidationError> {
    let mut depth = 1usize;
    while depth > 0 {
        let raw = source.read(piece);
        let token = source.check(&raw)?;
        visit(&token);
        match token {
            Token::Open(tag) if !tag.empty => {
                depth += 1;
                // the tokenizer remembers what is open
                if depth > limits.max_depth {
                    let what = "elements are nested too deeply".to_owned();
                    return Err(ValidationError::TooLarge { what, location: source.location() });
                }
            }
            Token::Close => depth -= 1,
            Token::End => return Err(truncated("within an element", source.location())),
            _ => {}
        }
    }
    Ok(())
}

/// Reads what may follow the root element, to the document's end.
pub(super) fn read_end<R: BufRead>(source: &mut XmlSource<R>) -> Result<(), ValidationError> {
    let mut piece = Vec::new();
    loop {
        let raw = source.read(&mut piece);
        let what = match source.check(&raw)? {
            Token::End => return Ok(()),
            Token::Aside => continue,
            Token::Text(text) if markup::is_blank(text) => continue,
            Token::Text(text) | Token::CData(text) => {
                format!("with text: \"{}\"", excerpt(text.trim_start()))
            }
            Token::Char(_) => "with text".to_owned(),
            Token::Open(tag) => format!("with <{}>", excerpt(tag.name())),
            Token::Close => "with an end tag".to_owned(),
        };
        return Err(ValidationError::Trailing { what, location: source.location() });
    }
}

#[cold]
pub(super) fn too_many(limits: &DocumentLimits, location: Location) -> ValidationError {
    ValidationError::TooLarge {
        what: format!("more than {} entities", limits.max_entities),
        location,
    }
}

#[cold]
pub(super) fn truncated(what: &str, location: Location) -> ValidationError {
    ValidationError::Truncated { what: what.to_owned(), location }
}
