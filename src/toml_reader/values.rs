//! Reads single values. An error says what was found and what was expected, without the key's
//! name and without any text that may be a secret.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeInteger, DeValue};
use url::Url;

use super::units;
use crate::settings::is_loopback;

/// The kind of a value, with its article.
pub fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The message about a key of the service that was written into the file.
pub const A_KEY_ITSELF: &str = "a key itself is never written in this file: its account names where it is, with one of \
     key_file = \"FILE\", key_env = \"VARIABLE\" or credential = \"NAME\"";

/// Whether a word may be a key of the service, pasted into the wrong place: long, made of letters
/// and digits, and less regular than a name. File names, variables and access ids do not look like
/// that.
fn looks_like_key(word: &str) -> bool {
    let has = |of: fn(&char) -> bool| word.chars().any(|c| of(&c));
    let has_both_cases = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase);
    word.len() >= 40
        && has(char::is_ascii_alphabetic)
        && has(char::is_ascii_digit)
        && (has_both_cases || !word.contains(['-', '_']))
}

/// Whether any word of a text may be a key of the service.
pub fn holds_key(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').any(looks_like_key)
}

/// A string of the file as it may be shown: short, on one line, and not a key.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    if holds_key(text) {
        return "a string that looks like a key".to_owned();
    }
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// A string.
pub fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| format!("found {}, expected a string in quotes", kind(value)))
}

/// `true` or `false`.
pub fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("found {}, expected true or false", kind(value)))
}

/// A whole number from `least` up to what `T` holds.
pub fn whole<T: TryFrom<i128>>(least: i128) -> impl FnOnce(&DeValue<'_>) -> Result<T, String> {
    move |value| {
        let expected = match least {
            0 => "expected a whole number, 0 or more".to_owned(),
            least => format!("expected a whole number of at least {least}"),
        };
        let DeValue::Integer(digits) = value else {
            return Err(format!("found {}, {expected}", kind(value)));
        };
        let number = i128::from_str_radix(digits.as_str(), digits.radix())
            .map_err(|_| "the number is too large".to_owned())?;
        if number < least {
            return Err(format!("found {number}, {expected}"));
        }
        T::try_from(number).map_err(|_| "the number is too large".to_owned())
    }
}

/// A number, with or without a decimal point, that satisfies `fits`.
pub fn number(
    expected: &str,
    fits: impl FnOnce(f64) -> bool,
) -> impl FnOnce(&DeValue<'_>) -> Result<f64, String> {
    move |value| {
        let number = match value {
            DeValue::Float(digits) => digits.as_str().parse().ok(),
            DeValue::Integer(digits) => {
                i128::from_str_radix(digits.as_str(), digits.radix()).ok().map(|it| it as f64)
            }
            _ => return Err(format!("found {}, expected {expected}", kind(value))),
        };
        match number {
            Some(number) if fits(number) => Ok(number),
            Some(number) => Err(format!("found {number}, expected {expected}")),
            None => Err(format!("the number cannot be read, expected {expected}")),
        }
    }
}

/// A duration, zero included.
pub fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    match value {
        DeValue::String(text) => units::parse_duration(text)
            .map_err(|problem| format!("found {}: {problem}", quoted(text))),
        DeValue::Integer(number) => Err(format!(
            "found {number} without a unit, expected a duration such as \"{}s\" (units: ms, s, m, \
             h, d)",
            plain_digits(number).unwrap_or("90")
        )),
        _ => Err(format!("found {}, expected a duration such as \"90s\"", kind(value))),
    }
}

/// A duration above zero.
pub fn positive_duration(value: &DeValue<'_>) -> Result<Duration, String> {
    let duration = duration(value)?;
    if duration.is_zero() {
        return Err("found zero, expected a duration above zero".to_owned());
    }
    Ok(duration)
}

/// A size in bytes, zero included.
pub fn size(value: &DeValue<'_>) -> Result<u64, String> {
    match value {
        DeValue::String(text) => {
            units::parse_size(text).map_err(|problem| format!("found {}: {problem}", quoted(text)))
        }
        DeValue::Integer(number) => Err(format!(
            "found {number} without a unit, expected a size such as \"{} B\" or \"2 GiB\"",
            plain_digits(number).unwrap_or("1024")
        )),
        _ => Err(format!("found {}, expected a size such as \"2 GiB\"", kind(value))),
    }
}

/// A size in bytes, above zero.
pub fn positive_size(value: &DeValue<'_>) -> Result<u64, String> {
    let size = size(value)?;
    if size == 0 {
        return Err("found zero, expected a size above zero".to_owned());
    }
    Ok(size)
}

/// The digits of a decimal number without a sign.
fn plain_digits<'n>(number: &'n DeInteger<'_>) -> Option<&'n str> {
    let digits = number.as_str();
    (number.radix() == 10 && digits.bytes().all(|it| it.is_ascii_digit())).then_some(digits)
}

/// A path; a relative one starts at `folder`.
pub fn path(folder: &Path) -> impl Fn(&DeValue<'_>) -> Result<PathBuf, String> {
    move |value| match text(value)? {
        "" => Err("found an empty string, expected a path".to_owned()),
        text if text.contains('\0') => {
            Err("found a string with a NUL character, expected a path".to_owned())
        }
        text => Ok(folder.join(text)),
    }
}

/// A string that is not a key of the service. One within a path is accepted as part of a file name.
pub fn not_a_key<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    let text = text(value)?;
    let word = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if word && looks_like_key(text) { Err(A_KEY_ITSELF.to_owned()) } else { Ok(text) }
}

/// A URL with TLS, or on this machine. Messages do not show it: it may contain a secret.
pub fn safe_url(value: &DeValue<'_>, content: &str, expected: &str) -> Result<Url, String> {
    let url =
        Url::parse(text(value)?).map_err(|problem| format!("not a URL ({problem}), {expected}"))?;
    if url.host().is_none() {
        return Err(format!("the host is missing, {expected}"));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(format!(
                "found http, expected https: {content} would be sent unencrypted; http is \
                 accepted for loopback addresses only"
            ));
        }
        _ => return Err(format!("found neither https nor http, {expected}")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("found a user or password, expected a URL without one".to_owned());
    }
    Ok(url)
}

/// The address of the service.
pub fn endpoint(example: &str) -> impl FnOnce(&DeValue<'_>) -> Result<Url, String> {
    move |value| {
        let expected = format!("expected an address such as \"{example}\"");
        let mut url = safe_url(value, "the key", &expected)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err("found a `?` or `#`, expected an address without query or fragment, and \
                        without a key"
                .to_owned());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(url)
    }
}
