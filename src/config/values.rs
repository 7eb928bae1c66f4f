//! Reads the values that only this program's own tables have.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chrono_tz::{TZ_VARIANTS, Tz};
use toml::de::DeValue;
use url::{Host, Url};

pub(super) use crate::toml_reader::values::{
    A_KEY_ITSELF, boolean, duration, holds_key, number, path, positive_duration, positive_size,
    quoted, size, text, whole,
};

use crate::policy::schedule::Schedule;
use crate::secret::PrivateUrl;
use crate::settings::{Listen, MailSecurity, is_loopback};
use crate::toml_reader::nearest;
use crate::toml_reader::values::{kind, not_a_key, safe_url};

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

/// When a source is backed up.
pub(super) fn schedule(value: &DeValue<'_>) -> Result<Schedule, String> {
    let text = text(value)?;
    Schedule::parse(text).map_err(|problem| format!("found {}: {problem}", quoted(text)))
}

/// Which versions of a source are backed up: all of them, or the published one alone.
pub(super) fn all_versions(value: &DeValue<'_>) -> Result<bool, String> {
    match text(value)? {
        "all" => Ok(true),
        "published" => Ok(false),
        other => Err(format!("found {}, expected \"all\" or \"published\"", quoted(other))),
    }
}
