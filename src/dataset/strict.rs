//! The document as a sequence of checked tokens: quick-xml, with the gaps closed that it leaves.
//!
//! quick-xml finds the tokens, matches end tags with start tags and checks UTF-8. It does not
//! check names, attributes, characters, references, `]]>` in text or where the declaration
//! stands; and it recognises a byte order mark only when one read happens to return all of it.

use super::DocumentLimits;
use super::bounded::{Bounded, Stop};
use super::error::{Location, ValidationError, excerpt};
use super::markup;
use quick_xml::errors::{Error, IllFormedError, SyntaxError};
use quick_xml::events::{BytesDecl, BytesPI, BytesStart, Event};
use quick_xml::reader::Reader;
use std::borrow::Cow;
use std::io::{self, BufRead};

/// Markup around the longest value: a tag with its attributes, or `<![CDATA[ ]]>`.
const MARKUP_BYTES: u64 = 4 << 10;

const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// A start tag with a legal name and well-formed attributes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tag<'e> {
    start: &'e BytesStart<'e>,
    /// `<x/>`: no [`Token::Close`] follows.
    pub(super) empty: bool,
}

impl<'e> Tag<'e> {
    /// The name as written.
    #[inline]
    pub(super) fn name(self) -> &'e str {
        self.start.name().0
    }

    /// The name without its prefix.
    #[inline]
    pub(super) fn local(self) -> &'e str {
        markup::local(self.name())
    }

    /// (name, unescaped value) of each attribute.
    pub(super) fn attributes(self) -> impl Iterator<Item = (&'e str, Cow<'e, str>)> {
        // they have been checked: none of them is an error
        markup::attributes(self.start.attributes_raw()).filter_map(Result::ok)
    }

    /// Whether it says `xsi:nil="true"`.
    #[inline]
    pub(super) fn nil(self) -> bool {
        // nearly no tag has attributes
        !self.start.attributes_raw().is_empty()
            && self.attributes().any(|(name, value)| {
                markup::local(name) == "nil" && matches!(value.trim(), "true" | "1")
            })
    }
}

/// One piece of a document, checked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Token<'e> {
    Open(Tag<'e>),
    /// The end tag of the element opened last.
    Close,
    /// Character data, to be taken as it is.
    Text(&'e str),
    /// What a CDATA section holds.
    CData(&'e str),
    /// A reference, resolved.
    Char(char),
    /// A comment or processing instruction, which is ignored.
    Aside,
    /// The end of the document, whatever is still open.
    End,
}

/// The token stream. Reading and checking are two steps, so that a token can borrow from what was
/// read and nothing is moved: `let raw = source.read(&mut piece); match source.check(&raw)? { … }`
#[derive(Debug)]
pub(super) struct XmlSource<R> {
    reader: Reader<Bounded<R>>,
    /// Bytes of the byte order mark, which quick-xml is never shown.
    lead: u64,
    /// Where the current token starts.
    at: u64,
    /// Bytes of an element's name.
    max_name: usize,
    /// Bytes of a tag's attributes.
    max_tag: usize,
}

/// What was read, not checked yet.
pub(super) type Raw<'p> = Result<Event<'p>, Error>;

impl<R: BufRead> XmlSource<R> {
    /// Reads the byte order mark, if any.
    pub(super) fn open(inner: R, limits: &DocumentLimits) -> Result<Self, ValidationError> {
        let piece = (limits.max_value_bytes as u64).saturating_add(MARKUP_BYTES);
        let mut bounded = Bounded::new(inner, limits.max_bytes, piece);
        let lead = read_bom(&mut bounded)?;
        let mut reader = Reader::from_reader(bounded);
        reader.config_mut().check_comments = true;
        let (max_name, max_tag) = (limits.max_name_bytes, limits.max_tag_bytes);
        Ok(Self { reader, lead, at: 0, max_name, max_tag })
    }

    /// What is read from here on has at most so many bytes, until [`XmlSource::end_section`].
    pub(super) fn begin_section(&mut self, bytes: usize) {
        self.reader.get_mut().begin_section(bytes as u64);
    }

    /// Ends what [`XmlSource::begin_section`] began.
    pub(super) fn end_section(&mut self) {
        self.reader.get_mut().end_section();
    }

    /// Reads the next piece of the document into `piece`, which is cleared first.
    // inlined, as `check` is, so that an event is matched where quick-xml has put it: a move at
    // each event costs more than all the checks
    #[inline(always)]
    pub(super) fn read<'p>(&mut self, piece: &'p mut Vec<u8>) -> Raw<'p> {
        piece.clear();
        self.reader.get_mut().begin_piece();
        self.at = self.lead + self.reader.buffer_position();
        self.reader.read_event_into(piece)
    }

    /// Checks what has just been read. After an error the source is of no further use.
    #[inline(always)]
    pub(super) fn check<'e>(&mut self, raw: &'e Raw<'_>) -> Result<Token<'e>, ValidationError> {
        let checked = match raw {
            Ok(Event::Start(start) | Event::Empty(start)) if self.is_too_large(start) => {
                return Err(self.too_large(start));
            }
            Ok(Event::Start(start)) => {
                check_tag(start).map(|()| Token::Open(Tag { start, empty: false }))
            }
            Ok(Event::Empty(start)) => {
                check_tag(start).map(|()| Token::Open(Tag { start, empty: true }))
            }
            Ok(Event::End(_)) => Ok(Token::Close),
            Ok(Event::Text(text)) => markup::check_text(text).map(|()| Token::Text(text)),
            Ok(Event::CData(text)) => markup::check_inside(text).map(|()| Token::CData(text)),
            Ok(Event::GeneralRef(name)) => markup::reference(name)
                .map(Token::Char)
                .ok_or_else(|| format!("&{}; stands for no legal character", excerpt(name))),
            Ok(Event::Comment(text)) => markup::check_inside(text).map(|()| Token::Aside),
            Ok(Event::PI(text)) => check_instruction(text).map(|()| Token::Aside),
            Ok(Event::Decl(text)) => {
                check_declaration(text, self.at == self.lead).map(|()| Token::Aside)
            }
            Ok(Event::DocType(_)) => {
                return Err(ValidationError::Dtd { location: self.location() });
            }
            Ok(Event::Eof) => Ok(Token::End),
            Err(error) => return Err(parser_error(error, self.reader.get_mut(), self.at)),
        };
        checked.map_err(|what| ValidationError::Malformed { what, location: self.location() })
    }

    /// What comes next, as much of it as is at hand; empty at the document's end. Only between two
    /// tokens, after a tag.
    pub(super) fn at_hand(&mut self) -> Result<&[u8], ValidationError> {
        self.at = self.lead + self.reader.buffer_position();
        let bounded = self.reader.get_mut();
        bounded.begin_piece();
        match bounded.fill_buf().map(|_| ()) {
            Ok(()) => Ok(self.reader.get_mut().fill_buf().unwrap_or_default()),
            // the tokenizer tries again
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(&[]),
            Err(error) => Err(parser_error(&error.into(), self.reader.get_mut(), self.at)),
        }
    }

    /// At least so many bytes of what comes next, after [`XmlSource::at_hand`]; all that there are
    /// if they are fewer.
    pub(super) fn gather(&mut self, least: usize) -> &[u8] {
        self.reader.get_mut().gather(least)
    }

    /// Takes the first bytes of what is at hand for read: whole elements, well-formed.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.reader.stream().consume(bytes);
    }

    /// Names are remembered while their elements are open, and attributes looked through: both are
    /// bounded.
    #[inline]
    fn is_too_large(&self, start: &BytesStart<'_>) -> bool {
        start.name().0.len() > self.max_name || start.attributes_raw().len() > self.max_tag
    }

    #[cold]
    fn too_large(&self, start: &BytesStart<'_>) -> ValidationError {
        let what = if start.name().0.len() > self.max_name {
            format!("the name of an element has more than {} bytes", self.max_name)
        } else {
            format!("the attributes of a tag have more than {} bytes", self.max_tag)
        };
        ValidationError::TooLarge { what, location: self.location() }
    }

    /// Where the current token starts.
    pub(super) fn location(&self) -> Location {
        Location::at(self.at)
    }

    /// Bytes before the current token.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.at
    }

    /// Bytes up to the end of the current token.
    pub(super) fn position(&self) -> u64 {
        self.lead + self.reader.buffer_position()
    }

    /// Bytes read so far; after [`Token::End`] the document's size.
    pub(super) fn bytes(&self) -> u64 {
        self.reader.get_ref().consumed()
    }
}

#[inline]
fn check_tag(start: &BytesStart<'_>) -> Result<(), String> {
    let name = start.name().0;
    if !markup::is_name(name) {
        return Err(format!("\"{}\" is no name for an element", excerpt(name)));
    }
    let attributes = start.attributes_raw();
    if attributes.is_empty() {
        return Ok(());
    }
    markup::check_attributes(attributes).map_err(|what| format!("<{}> has {what}", excerpt(name)))
}

fn check_instruction(text: &BytesPI<'_>) -> Result<(), String> {
    if !markup::is_name(text.target()) || text.target().eq_ignore_ascii_case("xml") {
        return Err("a processing instruction with an illegal name".to_owned());
    }
    markup::check_inside(text)
}

fn check_declaration(text: &BytesDecl<'_>, at_start: bool) -> Result<(), String> {
    if !at_start {
        return Err("an XML declaration that is not the very beginning".to_owned());
    }
    markup::check_declaration(text.strip_prefix("xml").unwrap_or_default())
}

/// Consumes a UTF-8 byte order mark and answers its length. The byte 0xEF cannot begin anything
/// else that is XML.
fn read_bom<R: BufRead>(bounded: &mut Bounded<R>) -> Result<u64, ValidationError> {
    let malformed = |what: &str| {
        Err(ValidationError::Malformed { what: what.to_owned(), location: Location::at(0) })
    };
    match peek(bounded)? {
        None => {
            return Err(ValidationError::Root {
                what: "the document is empty".to_owned(),
                location: Location::at(0),
            });
        }
        Some(0xFE | 0xFF) => return malformed("the document is in UTF-16, not UTF-8"),
        Some(0xEF) => {}
        Some(_) => return Ok(0),
    }
    for expected in BOM {
        if peek(bounded)? != Some(expected) {
            return malformed("the document begins with a broken byte order mark");
        }
        bounded.consume(1);
    }
    if peek(bounded)? == Some(0xEF) {
        return malformed("the byte order mark is not followed by XML");
    }
    Ok(BOM.len() as u64)
}

fn peek<R: BufRead>(bounded: &mut Bounded<R>) -> Result<Option<u8>, ValidationError> {
    loop {
        match bounded.fill_buf() {
            Ok(bytes) => return Ok(bytes.first().copied()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(parser_error(&error.into(), bounded, 0)),
        }
    }
}

/// What a parser's error means, with no more of the document in it than fits a log line.
#[cold]
fn parser_error<R>(error: &Error, bounded: &mut Bounded<R>, at: u64) -> ValidationError {
    let location = Location::at(at);
    if let Error::Io(error) = error {
        let what = match bounded.take_stop() {
            Some(Stop::Io(error)) => return ValidationError::Io(error),
            Some(Stop::Document) => "the document goes on after its size limit",
            Some(Stop::Section) => "the schema goes on after its size limit",
            Some(Stop::Piece) => "one value or piece of markup goes on after its size limit",
            // not met: every other error of the reader has left its reason
            None => return ValidationError::Io(error.kind().into()),
        };
        return ValidationError::TooLarge { what: what.to_owned(), location };
    }
    let what = match error {
        Error::Syntax(SyntaxError::UnclosedDoctype)
        | Error::IllFormed(IllFormedError::MissingDoctypeName) => {
            return ValidationError::Dtd { location };
        }
        // the parser wanted more, and there was no more
        _ if bounded.ended() => {
            return ValidationError::Truncated {
                what: "within markup or text".to_owned(),
                location,
            };
        }
        Error::IllFormed(IllFormedError::MismatchedEndTag { expected, found }) => {
            format!("</{}> closes <{}>", excerpt(found), excerpt(expected))
        }
        Error::IllFormed(IllFormedError::UnmatchedEndTag(found)) => {
            format!("</{}> closes nothing", excerpt(found))
        }
        Error::IllFormed(IllFormedError::UnclosedReference) => {
            "\"&\" that begins no entity".to_owned()
        }
        Error::Encoding(_) => "bytes that are not UTF-8".to_owned(),
        other => excerpt(&other.to_string()),
    };
    ValidationError::Malformed { what, location }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read};

    /// Reads the whole document in chunks of `capacity`; answers the most that the tokenizer kept,
    /// in bytes, and the error that ended it.
    fn most_kept(
        reader: impl Read,
        capacity: usize,
        limits: &DocumentLimits,
    ) -> (usize, ValidationError) {
        let mut source =
            XmlSource::open(BufReader::with_capacity(capacity, reader), limits).unwrap();
        let (mut piece, mut most) = (Vec::new(), 0);
        loop {
            let raw = source.read(&mut piece);
            let checked = source.check(&raw).map(|token| matches!(token, Token::End));
            match checked {
                Ok(end) => assert!(!end, "it ended well"),
                Err(error) => return (piece.capacity().max(most), error),
            }
            most = most.max(piece.capacity());
        }
    }

    #[test]
    fn no_piece_of_markup_makes_the_tokenizer_keep_more_than_its_budget() {
        let limits = DocumentLimits { max_value_bytes: 1 << 20, ..DocumentLimits::default() };
        let budget = (1 << 20) + (4 << 10);
        for head in [
            "<a",
            "<a b='",
            "<a b=\"",
            "<a ",
            "<r><a",
            "<r></a",
            "<r>",
            "<r>&#",
            "<r><!--",
            "<r><![CDATA[",
            "<r><?p ",
            "<?xml ",
            "<!DOCTYPE ",
            "<!DOCTYPE a [<!ENTITY b '",
        ] {
            for capacity in [7, 4096, 128 << 10] {
                let document = head.as_bytes().chain(io::repeat(b'x'));
                let (kept, error) = most_kept(document, capacity, &limits);
                assert!(matches!(error, ValidationError::TooLarge { .. }), "{head}: {error}");
                // a vector doubles as it grows
                assert!(kept <= 2 * budget, "{head}: {kept} bytes were kept");
            }
        }
    }

    #[test]
    fn tags_are_bounded_far_below_values() {
        let limits = DocumentLimits::default();
        let attribute = format!("<r a='{}'>", "x".repeat(limits.max_tag_bytes));
        let name = format!("<{}>", "x".repeat(limits.max_name_bytes + 1));
        for (document, fragment) in
            [(attribute, "the attributes of a tag"), (name, "the name of an element")]
        {
            let (_, error) = most_kept(document.as_bytes(), 4096, &limits);
            assert!(error.to_string().contains(fragment), "{error}");
        }
    }
}
