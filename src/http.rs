//! What every HTTP client of the program has in common: no library repeats a request or follows a
//! redirect, none sends a `Referer`, and no error shows a URL. Requests to a loopback host never go
//! through a proxy.

use crate::settings::{self, is_loopback};
use crate::tls::{self, CaFileError};
use reqwest::{Certificate, Client, ClientBuilder, redirect, retry};
use std::error::Error;
use std::path::PathBuf;
use url::Url;

/// How many characters of an error's causes are shown; others may have written some of them.
const MAX_REASON_CHARS: usize = 500;

/// Why no HTTP client could be created.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("http.ca_file {} {source}", path.display())]
    CaFile { path: PathBuf, source: CaFileError },
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

/// The clients for notifications and checks: they trust what the service's clients trust, and
/// follow no redirect either.
#[derive(Debug, Clone)]
pub struct PlainClients {
    outward: Client,
    /// Without a proxy.
    loopback: Client,
}

impl PlainClients {
    /// Reads `ca_file` and the system's certificates, and the proxy variables.
    ///
    /// # Errors
    /// When `ca_file` is unusable or TLS cannot be set up.
    pub fn new(http: &settings::Http) -> Result<Self, SetupError> {
        install_tls();
        let extra = extra_certificates(http)?;
        let connecting = || builder().connect_timeout(http.connect_timeout);
        let both = |builder: &dyn Fn() -> ClientBuilder| -> reqwest::Result<Self> {
            Ok(Self { outward: builder().build()?, loopback: builder().no_proxy().build()? })
        };
        let clients = match both(&|| connecting().tls_certs_merge(extra.iter().cloned())) {
            // Without any trusted certificate, loopback still works.
            Err(_) if http.ca_file.is_none() => both(&|| connecting().tls_certs_only([])),
            clients => clients,
        };
        clients.map_err(|error| SetupError::Tls(reason(error)))
    }

    /// The client for an address: one on this machine is never asked through a proxy.
    pub fn of(&self, url: &Url) -> &Client {
        if is_loopback(url) { &self.loopback } else { &self.outward }
    }
}

/// What all clients have in common.
pub(crate) fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("nightjar/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
}

/// Sets the process's TLS implementation.
pub(crate) fn install_tls() {
    // an error means that a provider is already installed, which is fine
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The certificates of `http.ca_file`.
pub(crate) fn extra_certificates(http: &settings::Http) -> Result<Vec<Certificate>, SetupError> {
    let Some(path) = &http.ca_file else { return Ok(Vec::new()) };
    let unusable = |source| SetupError::CaFile { path: path.clone(), source };
    let certificates = tls::read_ca_file(path).map_err(unusable)?;
    let usable = certificates.iter().map(|it| Certificate::from_der(it));
    usable.collect::<Result<_, _>>().map_err(|error| SetupError::Tls(reason(error)))
}

/// Why a request failed, in one line of bounded length without any URL: what an error of TLS means,
/// or else the error's whole chain of causes.
pub fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    if let Some(explanation) = tls::explanation(&error) {
        return explanation;
    }
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
    let said = if said.is_empty() { error.to_string() } else { said.join(": ") };
    said.replace(char::is_control, " ").chars().take(MAX_REASON_CHARS).collect()
}
