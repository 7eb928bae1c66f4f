//! Keys and other secrets as types that cannot be printed, and the removal of secrets from texts.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// A key of the service. It cannot be printed, serialised or compared, and its memory is wiped
/// when it is dropped.
#[derive(Clone)]
pub struct Key(SecretString);

impl Key {
    /// Makes a key of a text that is not an account's key source. Blanks around it are removed.
    ///
    /// # Errors
    /// The problem, without the key: it is empty, or has characters other than visible ASCII.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        // Windows editors write a byte order mark
        let key = text.trim_start_matches('\u{feff}').trim();
        if key.is_empty() {
            return Err("it is empty");
        }
        if key.chars().any(|c| c.is_whitespace()) {
            return Err("it has blanks or line breaks inside, expected the key and nothing else");
        }
        if !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err("it has characters that no key has, expected visible ASCII");
        }
        Ok(Self(key.into()))
    }

    /// The key itself: only for adding it to a URL when a request is sent.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

/// A secret that others chose: a mail server's password, a webhook's secret, the page's token. It
/// may contain blanks and any letters. It cannot be printed, serialised or compared, and its memory
/// is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Makes a secret of the text of a file or variable, without line ends at its end and a byte
    /// order mark.
    ///
    /// # Errors
    /// The problem, without the secret: it is empty, or has more than one line.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let secret = text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']);
        if secret.trim().is_empty() {
            return Err("it is empty");
        }
        if secret.contains(['\r', '\n', '\0']) {
            return Err("it has line breaks inside, expected one line with the secret");
        }
        Ok(Self(secret.into()))
    }

    /// Makes a secret that is sent in a header, such as the page's token. Like [`Secret::new`].
    ///
    /// # Errors
    /// Also if a header cannot carry it.
    pub fn for_header(text: &str) -> Result<Self, &'static str> {
        let secret = Self::new(text)?;
        if secret.expose().trim() != secret.expose() {
            return Err("it begins or ends with a blank; remove the blank");
        }
        if secret.expose().contains(char::is_control) {
            return Err("it has a tab or another control character inside; remove it");
        }
        Ok(secret)
    }

    /// The secret itself: only for authentication when a request is sent.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A text that must not be shown.
pub trait Hidden {
    /// The text.
    fn hidden(&self) -> &str;
    /// Its replacement.
    fn mark(&self) -> &'static str;
}

impl Hidden for Key {
    fn hidden(&self) -> &str {
        self.expose()
    }

    fn mark(&self) -> &'static str {
        "[key]"
    }
}

impl Hidden for Secret {
    fn hidden(&self) -> &str {
        self.expose()
    }

    fn mark(&self) -> &'static str {
        "[secret]"
    }
}

/// A URL whose path or query is a credential, such as that of a ping or a webhook. Only its host is
/// ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateUrl(Url);

impl PrivateUrl {
    /// Makes a URL private.
    pub fn new(url: Url) -> PrivateUrl {
        PrivateUrl(url)
    }

    /// The URL itself: only for sending requests to it.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// Its host, and its port unless it is the scheme's default.
    pub fn place(&self) -> String {
        host_and_port(&self.0)
    }
}

/// A URL's host, and its port unless it is the scheme's default.
pub(crate) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or("a URL without a host");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl fmt::Debug for PrivateUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/[private]", self.place())
    }
}

/// Replaces every key in a text by `[key]` and every other secret by `[secret]`, whether plain or
/// percent-encoded in whole or in part, in any ASCII letter case.
pub fn redact(text: &str, secrets: &[&dyn Hidden]) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let found = secrets.iter().filter_map(|it| Some((match_length(rest, it.hidden())?, it)));
        let (taken, written) = match found.max_by_key(|(length, _)| *length) {
            Some((length, secret)) => (length, Some(secret.mark())),
            None => (first.len_utf8(), None),
        };
        let Some((part, after)) = rest.split_at_checked(taken) else { break };
        clean.push_str(written.unwrap_or(part));
        rest = after;
    }
    clean
}

/// This many consecutive characters of a key count as a part of it.
const PART: usize = 8;

/// Also replaces parts of a key, of eight characters or more: a quoted text may have been cut in
/// the middle of the key.
pub fn redact_parts(text: &str, key: &Key) -> String {
    let whole = redact(text, &[key]);
    let secret: Vec<char> = key.expose().chars().map(|c| c.to_ascii_lowercase()).collect();
    if secret.len() < PART {
        return whole;
    }
    let given: Vec<char> = whole.chars().collect();
    let mut clean = String::with_capacity(whole.len());
    let mut at = 0;
    while let Some(rest) = given.get(at..).filter(|rest| !rest.is_empty()) {
        let longest = (0..secret.len())
            .map(|from| {
                let part = secret.iter().skip(from);
                part.zip(rest)
                    .take_while(|(one, other)| **one == other.to_ascii_lowercase())
                    .count()
            })
            .max()
            .unwrap_or(0);
        if longest >= PART {
            clean.push_str(key.mark());
            at += longest;
        } else {
            clean.extend(rest.first());
            at += 1;
        }
    }
    clean
}

/// How many bytes at the start of a text spell the key, if they do. Always a whole number of
/// characters.
fn match_length(text: &str, key: &str) -> Option<usize> {
    if key.is_empty() {
        return None;
    }
    // Plain first: a key may look like an encoding itself.
    let literal = text.get(..key.len()).filter(|it| it.eq_ignore_ascii_case(key)).map(str::len);
    literal.or_else(|| {
        let rest = key.chars().try_fold(text.as_bytes(), after_character)?;
        Some(text.len() - rest.len())
    })
}

/// The rest of a text after one character of a key, in whichever form the text has it.
fn after_character(text: &[u8], expected: char) -> Option<&[u8]> {
    let mut bytes = [0; 4];
    let bytes = expected.encode_utf8(&mut bytes).as_bytes();
    if let [byte] = bytes {
        return after_byte(text, *byte);
    }
    if let Some(after) = text.strip_prefix(bytes) {
        return Some(after);
    }
    let by_number = [escape, reference].into_iter().find_map(|read| {
        let (found, after) = read(text)?;
        (found == u32::from(expected)).then_some(after)
    });
    by_number.or_else(|| {
        bytes.iter().try_fold(text, |text, byte| {
            [percent, percent_twice].into_iter().find_map(|read| {
                let (found, after) = read(text)?;
                (found == u32::from(*byte)).then_some(after)
            })
        })
    })
}

/// The rest of a text after one byte of a key, in whichever form the text has it.
fn after_byte(text: &[u8], expected: u8) -> Option<&[u8]> {
    let is_expected =
        |found| u8::try_from(found).is_ok_and(|it| expected.eq_ignore_ascii_case(&it));
    let encoded = [percent, percent_twice, escape, reference].into_iter().find_map(|read| {
        let (found, after) = read(text)?;
        is_expected(found).then_some(after)
    });
    encoded.or_else(|| {
        let (found, after) = text.split_first()?;
        is_expected(u32::from(*found)).then_some(after)
    })
}

/// A character as one encoding reads it, and the rest of the text.
type Read<'t> = Option<(u32, &'t [u8])>;

fn percent(text: &[u8]) -> Read<'_> {
    let [b'%', high, low, after @ ..] = text else { return None };
    Some((number(&[*high, *low], 16)?, after))
}

/// As in a URL that is a parameter of another URL.
fn percent_twice(text: &[u8]) -> Read<'_> {
    let [b'%', b'2', b'5', high, low, after @ ..] = text else { return None };
    Some((number(&[*high, *low], 16)?, after))
}

/// As in the strings of JSON.
fn escape(text: &[u8]) -> Read<'_> {
    match text {
        [b'\\', b'u', a, b, c, d, after @ ..] => Some((number(&[*a, *b, *c, *d], 16)?, after)),
        [b'\\', found, after @ ..] if found.is_ascii_punctuation() => {
            Some((u32::from(*found), after))
        }
        _ => None,
    }
}

/// As in HTML and XML.
fn reference(text: &[u8]) -> Read<'_> {
    const LONGEST: usize = 10;
    let inner = text.strip_prefix(b"&")?;
    let (name, after) =
        inner.split_at_checked(inner.iter().take(LONGEST).position(|it| *it == b';')?)?;
    let found = match name {
        b"amp" => u32::from(b'&'),
        b"lt" => u32::from(b'<'),
        b"gt" => u32::from(b'>'),
        b"quot" => u32::from(b'"'),
        b"apos" => u32::from(b'\''),
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16)?,
        [b'#', digits @ ..] => number(digits, 10)?,
        _ => return None,
    };
    Some((found, after.strip_prefix(b";")?))
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    digits.iter().try_fold(0_u32, |number, digit| {
        number.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_of_a_key_are_replaced_wherever_a_text_was_cut() {
        let key = Key::new("CanaryKey4711+/=end").unwrap();
        let clean = |text: &str| redact_parts(text, &key);
        assert_eq!(clean("Invalid key CanaryKey4711+/=end"), "Invalid key [key]");
        assert_eq!(clean("begins with \"Invalid CanaryKey4…\""), "begins with \"Invalid [key]…\"");
        assert_eq!(clean("…yKey4711+/=end; CANARYKEY4"), "…[key]; [key]");
        // Fewer consecutive characters are no part of a key: "canary" is a word.
        assert_eq!(clean("a canary, the Canary"), "a canary, the Canary");
        assert_eq!(clean("Größe ☃"), "Größe ☃");
    }

    #[test]
    fn a_key_is_found_in_every_way_of_writing_it() {
        let key = Key::new("a+b/c&d\"e").unwrap();
        for text in [
            "a+b/c&d\"e",
            "A+B/C&D\"E",
            "a%2Bb%2fc%26d%22e",
            "%61%2bb/c&d%22e",
            "a%252Bb%252fc%2526d%2522e",
            "a+b\\/c&d\\\"e",
            "a\\u002bb\\/c\\u0026d\\u0022e",
            "a+b/c&amp;d&quot;e",
            "a&#43;b&#x2f;c&#38;d&#X22;e",
        ] {
            assert_eq!(redact(&format!("<{text}>"), &[&key]), "<[key]>", "{text}");
        }
        for text in ["a+b/c&d\"", "a&#43b/c&d\"e", "a+b/c&ampd\"e", "%", "a%2", "\\u00", "&#;"] {
            assert_eq!(redact(text, &[&key]), text);
        }
    }

    #[test]
    fn a_secret_may_have_blanks_and_any_letters_and_loses_only_line_ends() {
        for (text, kept) in [
            ("pass word", "pass word"),
            (" both ends \r\n", " both ends "),
            ("Grüße, 世界!\n\n", "Grüße, 世界!"),
            ("\u{feff}mark\r\n", "mark"),
            ("tab\t", "tab\t"),
        ] {
            let secret = Secret::new(text).unwrap();
            assert_eq!(secret.expose(), kept, "{text:?}");
            assert_eq!(format!("{secret:?}"), "[secret]");
        }
        for text in ["", "\n", " \r\n", "\u{feff}", "two\nlines", "nul\0"] {
            Secret::new(text).unwrap_err();
        }
    }

    #[test]
    fn a_secret_for_a_header_has_neither_blanks_around_it_nor_control_characters() {
        for (text, expected) in [
            ("t0ken\n", Ok("t0ken")),
            ("two words", Ok("two words")),
            ("Grüße", Ok("Grüße")),
            ("t0ken \n", Err("it begins or ends with a blank; remove the blank")),
            ("\tt0ken", Err("it begins or ends with a blank; remove the blank")),
            ("\u{a0}t0ken", Err("it begins or ends with a blank; remove the blank")),
            ("t0\tken", Err("it has a tab or another control character inside; remove it")),
            ("t0\u{7f}ken", Err("it has a tab or another control character inside; remove it")),
            ("", Err("it is empty")),
        ] {
            let secret = Secret::for_header(text);
            assert_eq!(secret.as_ref().map(Secret::expose).map_err(|error| *error), expected);
        }
    }

    #[test]
    fn a_secret_is_found_in_every_way_of_writing_it() {
        let secret = Secret::new("Grüß dich").unwrap();
        for text in [
            "Grüß dich",
            "grüß DICH",
            "Gr%C3%BC%c3%9f%20dich",
            "Gr%25C3%25BC%25C3%259F dich",
            "Gr\\u00fc\\u00df dich",
            "Gr&#252;&#xdf; dich",
        ] {
            assert_eq!(redact(&format!("<{text}>"), &[&secret]), "<[secret]>", "{text}");
        }
        let key = Key::new("abcdef").unwrap();
        assert_eq!(redact("abcdef Grüß dich", &[&key, &secret]), "[key] [secret]");
        assert_eq!(redact("Grü dich", &[&secret]), "Grü dich");
    }

    #[test]
    fn a_key_may_look_like_an_encoding_itself() {
        for key in ["50%25", "x\\/y", "a&amp;b", "100%"] {
            let key = Key::new(key).unwrap();
            assert_eq!(redact(&format!("({})", key.expose()), &[&key]), "([key])");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_cleaned_of_secrets(
            text in "(\\PC|%C3|%|ü|&#252;){0,40}", secret in "(ü|é|世|[a-z ]){8,12}",
        ) {
            if let Ok(secret) = Secret::new(&secret) {
                let clean = redact(&format!("{text}{}{text}", secret.expose()), &[&secret]);
                prop_assert!(!clean.contains(secret.expose()));
            }
        }

        #[test]
        fn any_text_is_cleaned_of_keys(text in "\\PC{0,40}", key in "[!-~]{1,12}") {
            let key = Key::new(&key).unwrap();
            let clean = redact(&format!("{text} {} {text}", key.expose()), &[&key]);
            prop_assert!(!clean.replace("[key]", "").contains(key.expose()) || key.expose().len() < 6);
        }
    }
}
