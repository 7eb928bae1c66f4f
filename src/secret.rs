//! A key as a type that cannot be printed, and the way to take it out of what others print.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

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
    let mut rest = text.as_bytes();
    for expected in key.bytes() {
        rest = match rest {
            [b'%', high, low, after @ ..] if is_escape(*high, *low, expected) => after,
            [found, after @ ..] if found.eq_ignore_ascii_case(&expected) => after,
            _ => return None,
        };
    }
    (!key.is_empty()).then(|| text.len() - rest.len())
}

/// Whether two hexadecimal digits stand for a byte, in any letter case of all three.
fn is_escape(high: u8, low: u8, expected: u8) -> bool {
    let digit = |byte| char::from(byte).to_digit(16);
    let (Some(high), Some(low)) = (digit(high), digit(low)) else { return false };
    u8::try_from(high << 4 | low).is_ok_and(|byte| byte.eq_ignore_ascii_case(&expected))
}
