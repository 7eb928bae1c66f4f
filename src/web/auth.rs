//! Access to the pages.

use crate::digest;
use crate::secret::Secret;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

/// The longest path with its query.
const LONGEST_PATH: usize = 4 << 10;

/// The rules for access to the pages.
#[derive(Debug, Default)]
pub struct Auth {
    /// The access token, if one is required.
    pub token: Option<Secret>,
    /// Whether any `Host` is allowed: behind a socket file, the proxy checks it.
    pub any_host: bool,
}

impl Auth {
    /// The refusal of a request, if any: for its form, its token, or else its `Host`.
    pub(super) fn refusal(&self, request: &Request) -> Option<Response> {
        let (uri, headers) = (request.uri(), request.headers());
        if let Some(what) = malformed(request.version(), headers) {
            return Some((StatusCode::BAD_REQUEST, what).into_response());
        }
        if uri.path_and_query().is_some_and(|path| path.as_str().len() > LONGEST_PATH) {
            return Some((StatusCode::URI_TOO_LONG, "the address is too long\n").into_response());
        }
        let Some(token) = &self.token else {
            if self.any_host || is_for_this_machine(uri, headers) {
                return None;
            }
            let only = "this page is only served to this machine by its own name\n";
            return Some((StatusCode::FORBIDDEN, only).into_response());
        };
        // As bytes: a token may have letters that are not ASCII.
        let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if given.and_then(credentials).is_some_and(|given| is_same(&given, token)) {
            return None;
        }
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"nightjar\", charset=\"UTF-8\"")];
        let what = "authentication required: send the token as a Bearer token or Basic password\n";
        Some((StatusCode::UNAUTHORIZED, ask, what).into_response())
    }
}

/// The problem with the `Host` headers, if any: HTTP/1.1 requires exactly one, so that proxies and
/// this program agree on it.
fn malformed(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    match headers.get_all(header::HOST).iter().count() {
        0 if version >= Version::HTTP_11 => Some("a request needs a Host header\n"),
        0 | 1 => None,
        _ => Some("a request may have one Host header only\n"),
    }
}

/// Whether a request names this machine's loopback: in its `Host` header, and in its target if that
/// has a host.
fn is_for_this_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(is_local) && uri.authority().map(Authority::as_str).is_none_or(is_local)
}

/// The token in an `Authorization` header: a bearer's, or the password of any user.
fn credentials(header: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = split_once(header, b' ')?;
    match scheme.to_ascii_lowercase().as_slice() {
        b"bearer" => Some(rest.trim_ascii().to_owned()),
        b"basic" => {
            let text = BASE64.decode(rest.trim_ascii()).ok()?;
            Some(split_once(&text, b':')?.1.to_owned())
        }
        _ => None,
    }
}

/// The parts before and after the first of these bytes.
fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let (before, rest) = text.split_at_checked(text.iter().position(|byte| *byte == at)?)?;
    Some((before, rest.get(1..)?))
}

/// Compares digests, so that timing reveals nothing about the token.
fn is_same(given: &[u8], token: &Secret) -> bool {
    digest::sha256(given) == digest::sha256(token.expose())
}

/// Whether `HOST` or `HOST:PORT` names this machine's loopback without DNS: `localhost` or a
/// loopback address. Any port is allowed, because tunnels have their own.
fn is_local(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, port)) => {
            let is_address = inside.parse::<std::net::Ipv6Addr>().is_ok_and(|it| it.is_loopback());
            return is_address && is_port(port);
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_address = name.parse::<std::net::Ipv4Addr>().is_ok_and(|it| it.is_loopback());
    is_port(port) && (is_address || name.eq_ignore_ascii_case("localhost"))
}

/// Whether the text is empty, or a colon and a port.
fn is_port(text: &str) -> bool {
    text.strip_prefix(':').map_or(text.is_empty(), |port| {
        port.is_empty() || (port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use proptest::prelude::*;

    #[test]
    fn only_names_that_need_no_dns_are_this_machine() {
        for host in [
            "localhost",
            "LocalHost:8787",
            "localhost:",
            "127.0.0.1",
            "127.0.0.1:8787",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:8787",
            "[0:0:0:0:0:0:0:1]:1",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            ":8787",
            "localhost.",
            "localhost.:8787",
            "localhost.example.org",
            "a.localhost",
            "localhost:80:90",
            "localhost:99999",
            "localhost:+80",
            "localhost:80@example.org",
            "localhost@example.org",
            "user@localhost",
            " localhost",
            "localhost/",
            "localhost#",
            "localhost\\",
            "127.0.0.1.",
            "127.0.0.1.example.org",
            "127.1",
            "0127.0.0.1",
            "0x7f000001",
            "2130706433",
            "0.0.0.0",
            "10.1.2.3",
            "128.0.0.1",
            "::1",
            "[::1",
            "[::1]example.org",
            "[::1].example.org",
            "[::2]",
            "[::1%25eth0]",
            "[localhost]",
            "[127.0.0.1]",
            "example.org",
            "example.org:8787",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    fn request(target: &str, version: Version, hosts: &[&str]) -> Request {
        let mut request = Request::builder().uri(target).version(version);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn the_host_must_be_given_once_and_match_the_target() {
        let status = |auth: &Auth, target: &str, version, hosts: &[&str]| {
            auth.refusal(&request(target, version, hosts)).map(|answer| answer.status().as_u16())
        };
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        let auth = Auth::default();
        let here = "127.0.0.1:8787";
        assert_eq!(status(&auth, "/", new, &[here]), None);
        assert_eq!(status(&auth, "/", old, &[here]), None);
        assert_eq!(status(&auth, "http://127.0.0.1:8787/", new, &[here]), None);
        assert_eq!(status(&auth, "/", new, &[]), Some(400));
        assert_eq!(status(&auth, "/", old, &[]), Some(403));
        assert_eq!(status(&auth, "/", new, &["example.org"]), Some(403));
        assert_eq!(status(&auth, "/", new, &[here, "example.org"]), Some(400));
        assert_eq!(status(&auth, "/", new, &["example.org", here]), Some(400));
        assert_eq!(status(&auth, "/", new, &[here, here]), Some(400));
        assert_eq!(status(&auth, "http://example.org/", new, &[here]), Some(403));
        assert_eq!(status(&auth, "http://localhost@example.org/", new, &[here]), Some(403));
        assert_eq!(status(&auth, "http://127.0.0.1/", new, &["example.org"]), Some(403));
        let long = format!("/jobs?source={}", "x".repeat(LONGEST_PATH));
        assert_eq!(status(&auth, &long, new, &[here]), Some(414));

        // With a token any `Host` is allowed, but not two.
        for auth in [
            Auth { any_host: true, ..Auth::default() },
            Auth { token: Some(Secret::new("t0ken").unwrap()), any_host: false },
        ] {
            let pass = if auth.token.is_some() { Some(401) } else { None };
            assert_eq!(status(&auth, "/", new, &["backup.example.org"]), pass);
            assert_eq!(status(&auth, "/", old, &[]), pass);
            assert_eq!(status(&auth, "/", new, &["one.example", "two.example"]), Some(400));
            assert_eq!(status(&auth, "/", new, &[]), Some(400));
        }
    }

    #[test]
    fn tokens_are_compared_as_bytes() {
        let same = |header: &[u8], token: &str| {
            let token = Secret::for_header(token).unwrap();
            credentials(header).is_some_and(|given| is_same(&given, &token))
        };
        for token in ["t0ken", "two words", "Grüße", "世界", "a:b"] {
            assert!(same(format!("Bearer {token}").as_bytes(), token), "{token}");
            assert!(same(format!("bearer  {token} ").as_bytes(), token), "{token}");
            let basic = BASE64.encode(format!("user:{token}"));
            assert!(same(format!("Basic {basic}").as_bytes(), token), "{token}");
            assert!(!same(format!("Bearer {token}2").as_bytes(), token), "{token}");
        }
        for header in [&b""[..], b"Bearer", b"Bearer ", b"Basic", b"Basic =", b"\xff\xff \xff"] {
            assert!(!same(header, "t0ken"), "{header:?}");
        }
    }

    proptest! {
        #[test]
        fn only_loopback_addresses_and_localhost_are_this_machine(
            host in "(\\[)?[0-9a-z:.@%]{0,12}(\\])?(:[0-9]{0,6})?(localhost|127\\.0\\.0\\.1)?",
        ) {
            if is_local(&host) {
                let name = host.rsplit_once(':').filter(|(_, port)| {
                    port.bytes().all(|b| b.is_ascii_digit())
                });
                let name = name.map_or(host.as_str(), |(name, _)| name);
                let address = name.trim_start_matches('[').trim_end_matches(']');
                let whole = host.trim_start_matches('[').trim_end_matches(']');
                let is_loopback = |text: &str| {
                    text.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
                };
                prop_assert!(
                    name == "localhost" || is_loopback(address) || is_loopback(whole),
                    "{host}"
                );
            }
        }
    }
}
