//! Reads single values. An error says what was found and what was expected, without the key's
//! name and without any text that may be a secret.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use chrono_tz::{TZ_VARIANTS, Tz};
use toml::de::{DeInteger, DeValue};
use url::{Host, Url};

use super::schema::nearest;
use super::units;
use crate::policy::schedule::Schedule;
use crate::secret::PrivateUrl;
use crate::settings::{Listen, MailSecurity, is_loopback};

/// The kind of a value, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
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
pub(super) const A_KEY_ITSELF: &str = "a key itself is never written in this file: its account names where it is, with one of \
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
pub(super) fn holds_key(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').any(looks_like_key)
}

/// A string of the file as it may be shown: short, on one line, and not a key.
pub(super) fn quoted(text: &str) -> String {
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
pub(super) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| format!("found {}, expected a string in quotes", kind(value)))
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("found {}, expected true or false", kind(value)))
}

/// A whole number from `least` up to what `T` holds.
pub(super) fn whole<T: TryFrom<i128>>(
    least: i128,
) -> impl FnOnce(&DeValue<'_>) -> Result<T, String> {
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
pub(super) fn number(
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
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
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
pub(super) fn positive_duration(value: &DeValue<'_>) -> Result<Duration, String> {
    let duration = duration(value)?;
    if duration.is_zero() {
        return Err("found zero, expected a duration above zero".to_owned());
    }
    Ok(duration)
}

/// A size in bytes, zero included.
pub(super) fn size(value: &DeValue<'_>) -> Result<u64, String> {
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
pub(super) fn positive_size(value: &DeValue<'_>) -> Result<u64, String> {
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
pub(super) fn path(folder: &Path) -> impl Fn(&DeValue<'_>) -> Result<PathBuf, String> {
    move |value| match text(value)? {
        "" => Err("found an empty string, expected a path".to_owned()),
        text if text.contains('\0') => {
            Err("found a string with a NUL character, expected a path".to_owned())
        }
        text => Ok(folder.join(text)),
    }
}

/// The path of a key file; the key itself is a mistake.
pub(super) fn key_file(folder: &Path) -> impl Fn(&DeValue<'_>) -> Result<PathBuf, String> {
    move |value| {
        not_a_key(value)?;
        path(folder)(value)
    }
}

/// The name of an environment variable.
pub(super) fn variable(value: &DeValue<'_>) -> Result<String, String> {
    const EXPECTED: &str = "the name of an environment variable: letters, digits and _";
    let name = not_a_key(value)?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !plain || !name.starts_with(|c: char| !c.is_ascii_digit()) {
        return Err(format!("expected {EXPECTED}"));
    }
    Ok(name.to_owned())
}

/// The name of a systemd credential, which is a file name.
pub(super) fn credential(value: &DeValue<'_>) -> Result<String, String> {
    const EXPECTED: &str = "the name of a credential as in systemd's LoadCredential=NAME:FILE";
    let name = not_a_key(value)?;
    let plain = name.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':'));
    if name.is_empty() || !plain || matches!(name, "." | "..") || name.len() > 255 {
        return Err(format!("expected {EXPECTED}"));
    }
    Ok(name.to_owned())
}

/// A string that is not a key of the service. One within a path is accepted as part of a file name.
fn not_a_key<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    let text = text(value)?;
    let word = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if word && looks_like_key(text) { Err(A_KEY_ITSELF.to_owned()) } else { Ok(text) }
}

/// An IANA time zone.
pub(super) fn timezone(value: &DeValue<'_>) -> Result<Tz, String> {
    let name = text(value)?;
    Tz::from_str(name).map_err(|_| {
        let found = format!("found {}, expected an IANA time zone", quoted(name));
        match zones_like(name).as_slice() {
            [] => format!("{found} such as `Europe/Berlin` or `UTC`"),
            zones => format!("{found}; did you mean `{}`?", zones.join("`, `")),
        }
    })
}

/// Zones whose name or city is similar to the text.
fn zones_like(text: &str) -> Vec<&'static str> {
    let text = text.replace(' ', "_");
    let city = |zone: &'static str| zone.rsplit('/').next().unwrap_or(zone);
    let zones = || TZ_VARIANTS.iter().map(|zone| zone.name());
    let exact: Vec<_> = zones()
        .filter(|zone| zone.eq_ignore_ascii_case(&text) || city(zone).eq_ignore_ascii_case(&text))
        .take(3)
        .collect();
    if !exact.is_empty() {
        return exact;
    }
    if text.contains('/') {
        return nearest(&text, zones());
    }
    let cities = nearest(&text, zones().map(city));
    zones().filter(|zone| cities.first() == Some(&city(zone))).take(3).collect()
}

/// The address or socket file of the page; `None` for the empty string. An address that other
/// machines can reach requires a token.
pub(super) fn listen(
    folder: &Path,
    has_token: bool,
) -> impl Fn(&DeValue<'_>) -> Result<Option<Listen>, String> {
    move |value| {
        let address = text(value)?;
        if address.is_empty() {
            return Ok(None);
        }
        match address.strip_prefix("unix:") {
            Some("") => return Err("found `unix:`, expected a path behind it".to_owned()),
            Some(path) => return Ok(Some(Listen::Unix(folder.join(path)))),
            None => {}
        }
        let parsed = SocketAddr::from_str(address).map_err(|_| {
            format!(
                "found {}, expected an address with a port such as \"127.0.0.1:8787\", a socket \
                 file such as \"unix:/run/nightjar/page.sock\", or \"\" for no page",
                quoted(address)
            )
        })?;
        if !parsed.ip().is_loopback() && !has_token {
            return Err(format!(
                "found {}, expected a loopback address such as \"127.0.0.1:{}\": the page has no \
                 login; put a proxy with one in front of it, or set token_file",
                quoted(address),
                parsed.port()
            ));
        }
        Ok(Some(Listen::Tcp(parsed)))
    }
}

/// Whether a host name or address is this machine's loopback.
pub(super) fn is_loopback_host(host: &str) -> bool {
    Url::parse(&format!("http://{host}/")).is_ok_and(|url| is_loopback(&url))
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A URL with TLS, or on this machine. Messages do not show it: it may contain a secret.
fn safe_url(value: &DeValue<'_>, content: &str, expected: &str) -> Result<Url, String> {
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
pub(super) fn endpoint(value: &DeValue<'_>) -> Result<Url, String> {
    const EXPECTED: &str = "expected an address such as \
                            \"https://spatial.virtualearth.net/REST/v1\"";
    let mut url = safe_url(value, "the key", EXPECTED)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("found a `?` or `#`, expected an address without query or fragment, and \
                    without a key"
            .to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// The address of a ping or a webhook.
pub(super) fn private_url(value: &DeValue<'_>) -> Result<PrivateUrl, String> {
    const EXPECTED: &str = "expected an address such as \"https://hc-ping.com/…\"";
    safe_url(value, "its content", EXPECTED).map(PrivateUrl::new)
}

/// A mail server's name or address.
pub(super) fn mail_server(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    match Host::parse(name) {
        Ok(_) => Ok(name.to_owned()),
        Err(_) => Err(format!(
            "found {}, expected a server's name such as \"smtp.example.org\", without its port",
            quoted(name)
        )),
    }
}

/// `tls`, `starttls` or `none`.
pub(super) fn mail_security(value: &DeValue<'_>) -> Result<MailSecurity, String> {
    match text(value)? {
        "tls" => Ok(MailSecurity::Tls),
        "starttls" => Ok(MailSecurity::StartTls),
        "none" => Ok(MailSecurity::None),
        other => Err(format!("found {}, expected `starttls`, `tls` or `none`", quoted(other))),
    }
}

/// A mailbox, with or without a name.
pub(super) fn mailbox(value: &DeValue<'_>) -> Result<String, String> {
    let mailbox = text(value)?;
    match mailbox.parse::<lettre::message::Mailbox>() {
        Ok(_) => Ok(mailbox.to_owned()),
        Err(_) => Err(format!(
            "found {}, expected a mailbox such as \"ops@example.org\" or \"Ops <ops@example.org>\"",
            quoted(mailbox)
        )),
    }
}

/// One mailbox, or several.
pub(super) fn mailboxes(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    match value {
        DeValue::Array(items) if !items.is_empty() => {
            items.iter().map(|item| mailbox(item.get_ref())).collect()
        }
        DeValue::Array(_) => Err("found an empty array, expected at least one mailbox".to_owned()),
        one => Ok(vec![mailbox(one)?]),
    }
}

/// A program and its arguments, never empty.
pub(super) fn command(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    const EXPECTED: &str =
        "expected a program and its arguments such as [\"/usr/local/bin/tell\", \"ops\"]";
    let DeValue::Array(items) = value else {
        return Err(format!("found {}, {EXPECTED}", kind(value)));
    };
    let words: Vec<_> = items
        .iter()
        .map(|item| text(item.get_ref()).map(str::to_owned))
        .collect::<Result<_, _>>()?;
    match words.first().map(String::as_str) {
        None => Err(format!("found an empty array, {EXPECTED}")),
        Some(program) if !program.starts_with('/') => Err(format!(
            "found the program {}, expected its whole path, beginning with /",
            quoted(program)
        )),
        Some(_) if words.iter().any(|word| word.contains('\0')) => {
            Err(format!("found a NUL character, {EXPECTED}"))
        }
        Some(_) => Ok(words),
    }
}

/// The name of a source, which is also its folder in the archive.
pub(super) fn source_name(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !name.starts_with(plain) || !name.chars().all(|c| plain(c) || matches!(c, '_' | '-')) {
        return Err(format!(
            "found {}, expected lower-case letters, digits, _ and -, beginning with a letter or \
             digit",
            quoted(name)
        ));
    }
    if name.len() > 64 {
        return Err(format!("found {} characters, expected at most 64", name.len()));
    }
    Ok(name.to_owned())
}

/// The access id of a data source. It is not shown: the field next to it in the portal is a key.
pub(super) fn access_id(value: &DeValue<'_>) -> Result<String, String> {
    const EXPECTED: &str = "the access id from the data source's URL: letters, digits \
                            and -";
    let id = not_a_key(value)?;
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(format!("expected {EXPECTED}"));
    }
    Ok(id.to_owned())
}

/// The service's own name of a data source (Load Data Source Dataflow, Data Source Schema). The
/// reference leaves out `-`, which Microsoft's own toolkit accepts.
pub(super) fn data_source(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    if let Some(wrong) = name.chars().find(|c| !c.is_alphanumeric() && !"~`!$^_={}-".contains(*c)) {
        return Err(format!(
            "found {}, expected letters, digits and any of ~ ` ! $ ^ _ = {{ }} -",
            quoted(&wrong.to_string())
        ));
    }
    match name.chars().count() {
        1..=50 => Ok(name.to_owned()),
        count => Err(format!("found {count} characters, expected 1 to 50")),
    }
}

/// The id of a version; braces around it are dropped.
pub(super) fn job_id(value: &DeValue<'_>) -> Result<String, String> {
    let id = text(value)?.trim();
    let bare = id.strip_prefix('{').and_then(|id| id.strip_suffix('}')).unwrap_or(id);
    let digits = bare.chars().filter(char::is_ascii_hexdigit).count();
    let plain = bare.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    if !plain || digits == 0 || bare.len() > 64 {
        return Err("expected the id of a version: hexadecimal digits and dashes".to_owned());
    }
    Ok(bare.to_owned())
}

/// When a source is backed up.
pub(super) fn schedule(value: &DeValue<'_>) -> Result<Schedule, String> {
    let text = text(value)?;
    Schedule::parse(text).map_err(|problem| format!("found {}: {problem}", quoted(text)))
}
