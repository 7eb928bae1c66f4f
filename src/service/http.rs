//! The HTTP clients that all accounts share: one request, one hop, one answer.
//!
//! No library repeats a request or follows a redirect here, none sends a `Referer`, and no error
//! shows a URL. Requests to a loopback host never go through a proxy.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, IF_RANGE, RANGE};
use reqwest::{Certificate, Client, ClientBuilder, Response, redirect, retry};
use tokio::time::{Instant, timeout, timeout_at};
use url::{Host, Url};

use super::{Failure, FailureKind, Validator};
use crate::settings;

/// The longest that the body of a control answer may take, however steadily it trickles.
const CONTROL_DEADLINE: Duration = Duration::from_mins(5);

/// Why no HTTP client could be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("cannot read http.ca_file {}: {source}", path.display())]
    CaFile { path: PathBuf, source: io::Error },
    #[error("http.ca_file {} holds no usable certificate; it must be PEM: {reason}", path.display())]
    CaContent { path: PathBuf, reason: String },
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// Whether a connection may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// A new one for this request alone. A pooled connection may turn out to be dead, and then
    /// the library sends the request again: never for a request with an effect.
    Fresh,
    Pooled,
}

/// The clients and their limits. Cloning shares the connections.
#[derive(Debug, Clone)]
pub struct HttpClients {
    outward: Pair,
    /// Without a proxy.
    loopback: Pair,
    /// Why the system's certificates could not be loaded, if so: then none is trusted.
    untrusting: Option<String>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    fetch_deadline: Duration,
}

#[derive(Debug, Clone)]
struct Pair {
    fresh: Client,
    pooled: Client,
}

impl HttpClients {
    /// Reads `ca_file` and the system's certificates, and the proxy variables.
    ///
    /// A system without any certificate is no error: such a machine can still talk to a loopback
    /// host. Requests over TLS then fail, and say why.
    ///
    /// # Errors
    /// When `ca_file` is unusable or TLS cannot be set up.
    pub fn new(http: &settings::Http) -> Result<Self, SetupError> {
        install_tls();
        let extra = extra_certificates(http)?;
        // a connection that hangs must be known as such before the wait for an answer is over
        let connect_timeout = http.connect_timeout.min(http.idle_timeout);
        let base = || builder().connect_timeout(connect_timeout);
        let trusting = || base().tls_certs_merge(extra.iter().cloned());
        let (outward, loopback, untrusting) = match (pair(trusting), &http.ca_file) {
            (Ok(outward), _) => (outward, pair(|| trusting().no_proxy()), None),
            (Err(error), Some(path)) => {
                let reason = reason(error);
                return Err(SetupError::CaContent { path: path.clone(), reason });
            }
            (Err(error), None) => {
                let untrusting = || base().tls_certs_only([]);
                let outward = pair(untrusting).map_err(|e| SetupError::Tls(self::reason(e)))?;
                (outward, pair(|| untrusting().no_proxy()), Some(reason(error)))
            }
        };
        Ok(Self {
            outward,
            loopback: loopback.map_err(|error| SetupError::Tls(reason(error)))?,
            untrusting,
            connect_timeout,
            idle_timeout: http.idle_timeout,
            fetch_deadline: http.fetch_deadline,
        })
    }

    /// Sends one GET and waits for the head of its answer. Redirects are answers. With `part` it
    /// asks for what follows so many bytes, if the file is still the same.
    ///
    /// # Errors
    /// `NotSent` when there was no connection, otherwise `Lost`.
    pub(crate) async fn get(
        &self,
        url: Url,
        connection: Connection,
        accept: &'static str,
        part: Option<(u64, &Validator)>,
    ) -> Result<Response, Failure> {
        let place = place(&url);
        let pair = if is_loopback(&url) { &self.loopback } else { &self.outward };
        let client = match connection {
            Connection::Fresh => &pair.fresh,
            Connection::Pooled => &pair.pooled,
        };
        let mut request = client.get(url).header(ACCEPT, accept);
        if let Some((offset, validator)) = part {
            request = request
                .header(RANGE, format!("bytes={offset}-"))
                .header(IF_RANGE, &validator.tag)
                // A range of another encoding would not fit to what is there.
                .header(ACCEPT_ENCODING, "identity");
        }
        let sending = request.send();
        match timeout(self.connect_timeout + self.idle_timeout, sending).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() || error.is_builder() => {
                Err(self.not_sent(&place, error))
            }
            Ok(Err(error)) => Err(Failure::new(
                FailureKind::Lost,
                format!("{place} did not answer the request: {}", reason(error)),
            )),
            Err(_) => Err(Failure::new(
                FailureKind::Lost,
                format!("{place} took the request, but did not answer in time ({:?})", {
                    self.idle_timeout
                }),
            )),
        }
    }

    fn not_sent(&self, place: &str, error: reqwest::Error) -> Failure {
        let mut message = format!("{place} could not be reached: ");
        if error.is_timeout() {
            let _ = write!(message, "no connection within {:?}", self.connect_timeout);
        } else {
            message.push_str(&reason(error));
        }
        if let Some(untrusting) = &self.untrusting {
            let _ = write!(
                message,
                "; no certificate is trusted on this machine ({untrusting}): install the \
                 system's CA certificates or set http.ca_file"
            );
        }
        Failure::new(FailureKind::NotSent, message)
    }

    /// The body of a control answer, up to `limit` bytes, and whether there was more.
    ///
    /// # Errors
    /// When it breaks off or does not end in time.
    pub(crate) async fn body(
        &self,
        response: Response,
        limit: usize,
    ) -> Result<(Vec<u8>, bool), Failure> {
        let until = Instant::now() + CONTROL_DEADLINE.min(self.fetch_deadline);
        let mut reading = self.reading(response, until);
        let mut bytes = Vec::new();
        while let Some(chunk) = reading.next().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > limit {
                bytes.truncate(limit);
                return Ok((bytes, true));
            }
        }
        Ok((bytes, false))
    }

    /// The body of a result as it arrives. `begun` is when it was asked for: the download's
    /// deadline counts from then.
    pub(crate) fn chunks(
        &self,
        response: Response,
        begun: Instant,
    ) -> BoxStream<'static, Result<Bytes, Failure>> {
        let reading = self.reading(response, begun + self.fetch_deadline);
        stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(chunk) => chunk.map(|chunk| (Ok(chunk), Some(reading))),
                Err(failure) => Some((Err(failure), None)),
            }
        })
        .boxed()
    }

    fn reading(&self, response: Response, until: Instant) -> Reading {
        Reading { response, received: 0, idle: self.idle_timeout, until }
    }
}

/// A body on its way in.
struct Reading {
    response: Response,
    /// Bytes so far, decoded.
    received: u64,
    idle: Duration,
    until: Instant,
}

impl Reading {
    /// The next bytes; `None` at the end. The idle time runs only while this waits, so a slow
    /// reader is not mistaken for a silent service (reqwest's own read timeout does that).
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let received = self.received;
        let now = Instant::now();
        if now >= self.until {
            return Err(Self::late(received));
        }
        match timeout_at(self.until.min(now + self.idle), self.response.chunk()).await {
            Ok(Ok(chunk)) => {
                self.received += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                Ok(chunk)
            }
            Ok(Err(error)) if is_undecodable(&error) => Err(Failure::new(
                FailureKind::Protocol,
                format!(
                    "the answer's content encoding is broken after {received} bytes: {}",
                    reason(error)
                ),
            )),
            Ok(Err(error)) => Err(Failure::new(
                FailureKind::Lost,
                format!("the connection broke after {received} bytes: {}", reason(error)),
            )),
            Err(_) if Instant::now() >= self.until => Err(Self::late(received)),
            Err(_) => Err(Failure::new(
                FailureKind::Lost,
                format!("nothing came for {:?} after {received} bytes", self.idle),
            )),
        }
    }

    fn late(received: u64) -> Failure {
        Failure::new(
            FailureKind::Unavailable,
            format!("the answer did not end in time; {received} bytes had come"),
        )
    }
}

/// A client for telling others something: it trusts what the service's clients trust.
///
/// # Errors
/// When `ca_file` is unusable or TLS cannot be set up.
pub fn plain_client(http: &settings::Http) -> Result<Client, SetupError> {
    install_tls();
    let connecting = || builder().connect_timeout(http.connect_timeout);
    let trusting = connecting().tls_certs_merge(extra_certificates(http)?).build();
    let client = match (trusting, &http.ca_file) {
        (Ok(client), _) => Ok(client),
        // A machine that trusts nobody can still talk to itself.
        (Err(_), None) => connecting().tls_certs_only([]).build(),
        (Err(error), Some(_)) => Err(error),
    };
    client.map_err(|error| SetupError::Tls(reason(error)))
}

/// What all clients have in common.
fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("nightjar/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
}

fn install_tls() {
    // an error says that a provider is installed already, which is as good
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Whether a URL's host is this machine itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A URL's host, and its port where that is not the scheme's own.
pub(crate) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or("a URL without a host");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn extra_certificates(http: &settings::Http) -> Result<Vec<Certificate>, SetupError> {
    let Some(path) = &http.ca_file else { return Ok(Vec::new()) };
    let pem =
        std::fs::read(path).map_err(|source| SetupError::CaFile { path: path.clone(), source })?;
    let unusable = |reason| SetupError::CaContent { path: path.clone(), reason };
    let certificates =
        Certificate::from_pem_bundle(&pem).map_err(|error| unusable(reason(error)))?;
    if certificates.is_empty() {
        return Err(unusable("no certificate found".to_owned()));
    }
    Ok(certificates)
}

fn pair(builder: impl Fn() -> ClientBuilder) -> reqwest::Result<Pair> {
    Ok(Pair { fresh: builder().pool_max_idle_per_host(0).build()?, pooled: builder().build()? })
}

/// Whether the bytes arrived well, but do not decode.
fn is_undecodable(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        let cut_off = |io: &io::Error| io.kind() == io::ErrorKind::UnexpectedEof;
        if cause.is::<hyper::Error>() || cause.downcast_ref::<io::Error>().is_some_and(cut_off) {
            return false;
        }
        source = cause.source();
    }
    error.is_decode() || error.is_body()
}

/// An error's whole chain of causes in one line, without any URL.
pub fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut said: Vec<String> = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        let wrapping = text.starts_with("client error (") || text.ends_with("body error");
        if !wrapping && !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
        source = cause.source();
    }
    if said.is_empty() { error.to_string() } else { said.join(": ") }
}
