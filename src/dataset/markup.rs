//! The lexical rules of XML 1.0 that the parser beneath leaves to its callers. All pure.

use super::error::excerpt;
use std::borrow::Cow;

/// Attributes that one tag may have; a bound on work, far beyond any real document.
const MAX_ATTRIBUTES: usize = 64;

/// White space in the sense of XML.
pub(super) fn is_blank_byte(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Whether there is nothing but white space.
pub(super) fn is_blank(text: &str) -> bool {
    text.bytes().all(is_blank_byte)
}

/// The part of a name behind its namespace prefix.
pub(super) fn local(name: &str) -> &str {
    // names are short: a search made for long texts costs more than it saves
    match name.bytes().rposition(|byte| byte == b':') {
        Some(colon) => name.get(colon + 1..).unwrap_or(name),
        None => name,
    }
}

/// Production `Name` of XML 1.0, fifth edition.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let ascii_start = bytes.next().is_some_and(|b| is_ascii_name(b) && !is_inner_only(b));
    if ascii_start && bytes.all(is_ascii_name) {
        return true;
    }
    let mut chars = text.chars();
    chars.next().is_some_and(is_name_start) && chars.all(is_name_char)
}

fn is_ascii_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':')
}

fn is_inner_only(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
}

fn is_name_start(c: char) -> bool {
    matches!(c,
        ':' | 'A'..='Z' | '_' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}'
        | '\u{F8}'..='\u{2FF}' | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}'
        | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}')
}

fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || matches!(c,
            '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// Production `Char`: what a document may hold, written out or as a numeric reference.
pub(super) fn is_char(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}')
}

/// Checks character data between tags: legal characters, and no bare `]]>`.
pub(super) fn check_text(text: &str) -> Result<(), String> {
    check_chars(text, true)
}

/// Checks the inside of a comment, CDATA section or processing instruction: legal characters.
pub(super) fn check_inside(text: &str) -> Result<(), String> {
    check_chars(text, false)
}

/// Bytes that may begin something illegal; only they are looked at closely.
fn is_suspect(byte: u8) -> bool {
    (byte < b' ') | (byte == b'>') | (byte == 0xEF)
}

/// Scans blocks without a branch for each byte, which compiles to vector instructions; only a
/// block with a suspect is gone through one by one.
#[inline]
fn check_chars(text: &str, in_text: bool) -> Result<(), String> {
    let bytes = text.as_bytes();
    match bytes.len() {
        0..8 => check_closely(bytes, 0, bytes, in_text),
        8..32 => check_blocks::<8>(bytes, in_text),
        32.. => check_blocks::<32>(bytes, in_text),
    }
}

fn check_blocks<const N: usize>(bytes: &[u8], in_text: bool) -> Result<(), String> {
    let check = |start: usize, block: &[u8; N]| {
        if block.iter().fold(false, |found, byte| found | is_suspect(*byte)) {
            check_closely(bytes, start, block, in_text)
        } else {
            Ok(())
        }
    };
    let (blocks, rest) = bytes.as_chunks::<N>();
    for (index, block) in blocks.iter().enumerate() {
        check(index * N, block)?;
    }
    // the last block overlaps the one before
    match bytes.last_chunk::<N>() {
        Some(block) if !rest.is_empty() => check(bytes.len() - N, block),
        _ => Ok(()),
    }
}

/// Checks the part of `bytes` that begins at `start`, byte by byte.
fn check_closely(bytes: &[u8], start: usize, part: &[u8], in_text: bool) -> Result<(), String> {
    for (position, &byte) in (start..).zip(part) {
        if !is_suspect(byte) || is_blank_byte(byte) {
            continue;
        }
        if byte < b' ' {
            return Err(format!("the character U+{byte:04X} is not allowed in XML"));
        }
        let Some((before, after)) = bytes.split_at_checked(position) else { continue };
        if byte == b'>' && in_text && before.ends_with(b"]]") {
            return Err("\"]]>\" in text".to_owned());
        }
        for illegal in ["\u{FFFE}", "\u{FFFF}"] {
            if after.starts_with(illegal.as_bytes()) {
                return Err(format!("the character {} is not allowed in XML", excerpt(illegal)));
            }
        }
    }
    Ok(())
}

/// What `&name;` stands for: one of the five predefined entities, or a legal character by number.
pub(super) fn reference(name: &str) -> Option<char> {
    match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        _ => {}
    }
    let number = name.strip_prefix('#')?;
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |hex| (hex, 16));
    // from_str_radix would take a sign, too
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok().and_then(char::from_u32).filter(|&c| is_char(c))
}

/// The attributes of a tag in order, as (name, value), values unescaped; ends after an error.
pub(super) struct Attributes<'a> {
    rest: &'a str,
}

/// Reads what stands between a tag's name and its end.
pub(super) fn attributes(raw: &str) -> Attributes<'_> {
    Attributes { rest: raw }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(&'a str, Cow<'a, str>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.rest);
        let start = trim(rest);
        if start.is_empty() {
            return None;
        }
        if start.len() == rest.len() {
            return Some(Err("no blank before an attribute"));
        }
        Some(attribute(start).map(|(name, value, rest)| {
            self.rest = rest;
            (name, value)
        }))
    }
}

fn trim(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

/// One attribute at the start of `text`, and what follows it.
fn attribute(text: &str) -> Result<(&str, Cow<'_, str>, &str), &'static str> {
    let (name, rest) = text.split_once('=').ok_or("an attribute without a value")?;
    let name = name.trim_end_matches([' ', '\t', '\r', '\n']);
    if !is_name(name) {
        return Err("an attribute whose name is none");
    }
    let rest = trim(rest);
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let quote = quote.ok_or("an attribute value without quotes")?;
    let (value, rest) = rest
        .get(1..)
        .and_then(|rest| rest.split_once(quote))
        .ok_or("an unclosed attribute value")?;
    if value.contains('<') {
        return Err("\"<\" in an attribute value");
    }
    if check_inside(value).is_err() {
        return Err("an illegal character in an attribute value");
    }
    let value = unescape(value).ok_or("an unknown entity in an attribute value")?;
    Ok((name, value, rest))
}

fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    let Some((plain, mut rest)) = raw.split_once('&') else { return Some(Cow::Borrowed(raw)) };
    let mut out = plain.to_owned();
    loop {
        let (name, after) = rest.split_once(';')?;
        out.push(reference(name)?);
        let Some((plain, next)) = after.split_once('&') else {
            out.push_str(after);
            return Some(Cow::Owned(out));
        };
        out.push_str(plain);
        rest = next;
    }
}

/// Checks that a tag's attributes are well-formed and each given once.
pub(super) fn check_attributes(raw: &str) -> Result<(), &'static str> {
    let mut seen = [""; MAX_ATTRIBUTES];
    for (count, attribute) in attributes(raw).enumerate() {
        let (name, _) = attribute?;
        if seen.iter().take(count).any(|earlier| *earlier == name) {
            return Err("an attribute given twice");
        }
        *seen.get_mut(count).ok_or("too many attributes in one tag")? = name;
    }
    Ok(())
}

/// Names of UTF-8 and of its subset US-ASCII, in lower case.
const UTF_8: [&str; 8] =
    ["utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4-1968", "iso646-us", "iso_646.irv:1991", "us"];

/// Checks the XML declaration, given what stands between `<?xml` and `?>`: version 1, encoding
/// UTF-8 or US-ASCII if any is named, in the order that XML wants.
pub(super) fn check_declaration(raw: &str) -> Result<(), String> {
    const ORDER: [&str; 3] = ["version", "encoding", "standalone"];
    let mut left = ORDER.iter();
    let mut version = false;
    for attribute in attributes(raw) {
        let (name, value) = attribute.map_err(|what| format!("the XML declaration has {what}"))?;
        let good = match name {
            "version" => {
                version = true;
                let minor = value.strip_prefix("1.").unwrap_or_default();
                !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit())
            }
            "encoding" if !UTF_8.iter().any(|known| known.eq_ignore_ascii_case(&value)) => {
                return Err(format!("the encoding is {}, not UTF-8", excerpt(&value)));
            }
            "standalone" => matches!(&*value, "yes" | "no"),
            _ => true,
        };
        if !good || !left.any(|allowed| *allowed == name) {
            return Err(format!("the XML declaration has a wrong {}", excerpt(name)));
        }
    }
    if version { Ok(()) } else { Err("the XML declaration has no version".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_follow_the_fifth_edition() {
        for name in ["a", "_", ":", "xml", "Größe", "a-b.c9", "xs:element", "日本", "a·b"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "9a", "-a", ".a", "a b", "a/", "a\0", "a<", "×", "a\u{FFFE}"] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    #[test]
    fn references_are_the_five_and_legal_numbers() {
        for (name, c) in [("amp", '&'), ("#65", 'A'), ("#x2603", '☃'), ("#x10FFFF", '\u{10FFFF}')]
        {
            assert_eq!(reference(name), Some(c), "{name}");
        }
        for name in [
            "",
            "nbsp",
            "AMP",
            "#",
            "#x",
            "#0",
            "#x1F",
            "#xD800",
            "#xFFFE",
            "#x110000",
            "#X41",
            "#+65",
            "#x+41",
            "# 65",
            "#65 ",
            "#99999999999",
        ] {
            assert_eq!(reference(name), None, "{name}");
        }
    }

    #[test]
    fn attributes_are_read_strictly() {
        assert_eq!(check_attributes(" a='1'\n b = \"&lt;'&#65;\" "), Ok(()));
        let all: Result<Vec<_>, _> = attributes(" a='1' b='&lt;x&#65;y'").collect();
        assert_eq!(all, Ok(vec![("a", "1".into()), ("b", "<xAy".into())]));
        for (raw, what) in [
            (" a", "without a value"),
            (" a=", "without quotes"),
            (" a=1", "without quotes"),
            (" a='1'b='2'", "no blank"),
            (" a='1' a='2'", "twice"),
            (" 1a='1'", "name"),
            (" a b='1'", "name"),
            (" ='1'", "name"),
            (" a='<'", "\"<\""),
            (" a='&'", "unknown entity"),
            (" a='&nbsp;'", "unknown entity"),
            (" a='\u{1}'", "illegal character"),
            (" a='1", "unclosed"),
            (" /", "without a value"),
        ] {
            let error = check_attributes(raw).unwrap_err();
            assert!(error.contains(what), "{raw}: {error}");
        }
        let many: String = (0..=MAX_ATTRIBUTES).map(|i| format!(" a{i}=''")).collect();
        assert_eq!(check_attributes(&many), Err("too many attributes in one tag"));
    }

    #[test]
    fn the_declaration_names_version_one_and_utf_8_in_order() {
        for raw in [
            " version='1.0'",
            " version='1.0' encoding=\"UTF-8\" ",
            " version='1.1' encoding='utf-8' standalone='yes'",
            " version='1.0' encoding='UTF8'",
            " version='1.0' encoding='us-ascii'",
            " version='1.0' encoding='US-ASCII' standalone='no'",
            " version='1.0' encoding='ASCII'",
        ] {
            assert_eq!(check_declaration(raw), Ok(()), "{raw}");
        }
        for raw in [
            "",
            " encoding='utf-8'",
            " encoding='utf-8' version='1.0'",
            " version='2.0'",
            " version='1.'",
            " version='1.0' encoding='utf-16'",
            " version='1.0' encoding='iso-8859-1'",
            " version='1.0' standalone='maybe'",
            " version='1.0' version='1.0'",
            " version='1.0' other='1'",
            " version=1.0",
        ] {
            assert!(check_declaration(raw).is_err(), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn the_block_scan_finds_what_a_plain_scan_finds(text in "([ -~é☃\t\n\u{EFFF}\u{FEFF}]{0,90}(\u{1}|\u{FFFE}|\u{FFFF}|\\]\\]>|>)?){0,3}") {
            let plain = text.chars().all(is_char);
            prop_assert_eq!(check_inside(&text).is_ok(), plain);
            prop_assert_eq!(check_text(&text).is_ok(), plain && !text.contains("]]>"));
        }
    }
}
