//! Who may see the pages.

use crate::secret::Key;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use sha2::{Digest, Sha256};

/// Who may see the pages.
#[derive(Debug, Default)]
pub struct Gate {
    /// What they must know, where that is asked for.
    pub token: Option<Key>,
    /// Whether they may call this machine by any name: behind a socket file, a proxy sees to that.
    pub any_host: bool,
}

impl Gate {
    /// Why a request may not pass, if so: for its token, or else for the name that it gives this
    /// machine.
    pub(super) fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        let Some(token) = &self.token else {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
            if self.any_host || host.is_some_and(is_local) {
                return None;
            }
            let only = "this page is only served to this machine by its own name\n";
            return Some((StatusCode::FORBIDDEN, only).into_response());
        };
        let given = headers.get(header::AUTHORIZATION).and_then(|given| given.to_str().ok());
        if given.and_then(credentials).is_some_and(|given| is_same(&given, token)) {
            return None;
        }
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"nightjar\", charset=\"UTF-8\"")];
        let what = "the token is asked for, as a password or as a bearer token\n";
        Some((StatusCode::UNAUTHORIZED, ask, what).into_response())
    }
}

/// The token in an `Authorization` header: a bearer's, or the password of any user.
fn credentials(header: &str) -> Option<String> {
    let (scheme, rest) = header.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().to_owned()),
        "basic" => {
            let text = BASE64.decode(rest.trim()).ok()?;
            Some(String::from_utf8(text).ok()?.split_once(':')?.1.to_owned())
        }
        _ => None,
    }
}

/// Compares digests, so that the time that it takes tells nothing.
fn is_same(given: &str, token: &Key) -> bool {
    Sha256::digest(given.as_bytes()) == Sha256::digest(token.expose().as_bytes())
}

/// Whether a `Host` header names this machine's loopback.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
