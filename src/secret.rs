//! A key as a type that cannot be printed, and the way to take it out of what others print.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// A key of the service. It cannot be printed, serialised or compared, and its memory is wiped
/// when it is dropped.
#[derive(Clone)]
pub struct Key(SecretString);

impl Key {
    /// Takes a key from elsewhere than an account's key source. Blanks around it are dropped.
    ///
    /// # Errors
    /// What is wrong with it, without the key: empty, or characters other than visible ASCII.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        // Windows editors put a byte order mark in front
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

    /// The key itself: for joining a URL at the moment of sending, and for nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

/// An address whose path or query lets whoever knows it act: a ping or a webhook. Only its host is
/// ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateUrl(Url);

impl PrivateUrl {
    /// Keeps an address private.
    pub fn new(url: Url) -> PrivateUrl {
        PrivateUrl(url)
    }

    /// The address itself: for sending to it, and for nothing else.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// Its host, and its port where that is not the scheme's own.
    pub fn place(&self) -> String {
        let host = self.0.host_str().unwrap_or("a URL without a host");
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

impl fmt::Debug for PrivateUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/[private]", self.place())
    }
}

/// Replaces every key in a text by `[key]`, as it is or percent-encoded in whole or in part, and
/// in any letter case.
pub fn redact(text: &str, keys: &[&Key]) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let longest = keys.iter().filter_map(|key| match_length(rest, key.expose())).max();
        let (taken, written) = match longest {
            Some(length) => (length, Some("[key]")),
            None => (first.len_utf8(), None),
        };
        let Some((part, after)) = rest.split_at_checked(taken) else { break };
        clean.push_str(written.unwrap_or(part));
        rest = after;
    }
    clean
}

/// How many bytes at the beginning of a text spell the key, if they do. Always a whole number of
/// characters, since keys and their encodings are ASCII.
fn match_length(text: &str, key: &str) -> Option<usize> {
    if key.is_empty() {
        return None;
    }
    // As it is first: a key may look like an encoding itself.
    let literal = text.get(..key.len()).filter(|it| it.eq_ignore_ascii_case(key)).map(str::len);
    literal.or_else(|| {
        let rest = key.bytes().try_fold(text.as_bytes(), after_byte)?;
        Some(text.len() - rest.len())
    })
}

/// What follows one byte of a key in a text, however the byte is written there.
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

/// A character as one way of writing reads it, and what follows.
type Read<'t> = Option<(u32, &'t [u8])>;

fn percent(text: &[u8]) -> Read<'_> {
    let [b'%', high, low, after @ ..] = text else { return None };
    Some((number(&[*high, *low], 16)?, after))
}

/// As in a URL that is itself a parameter of a URL.
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
    fn a_key_may_look_like_an_encoding_itself() {
        for key in ["50%25", "x\\/y", "a&amp;b", "100%"] {
            let key = Key::new(key).unwrap();
            assert_eq!(redact(&format!("({})", key.expose()), &[&key]), "([key])");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_no_key_stays(text in "\\PC{0,40}", key in "[!-~]{1,12}") {
            let key = Key::new(&key).unwrap();
            let clean = redact(&format!("{text} {} {text}", key.expose()), &[&key]);
            prop_assert!(!clean.replace("[key]", "").contains(key.expose()) || key.expose().len() < 6);
        }
    }
}
