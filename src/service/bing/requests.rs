//! One request with its redirects. Which hosts get the key, and which are asked at all.

use super::classify::Reply;
use super::{ANYTHING, Bing};
use crate::service::http::{Connection, host_and_port};
use crate::service::{Failure, FailureKind, Validator};
use crate::settings::is_loopback;
use reqwest::{Response, header};
use url::Url;

const MAX_REDIRECTS: usize = 10;

impl Bing {
    /// Sends a request to the account's own host and reads the whole response. Redirects are
    /// followed here, and only within the host: the key must not go anywhere else.
    pub(super) async fn ask(
        &self,
        url: Url,
        connection: Connection,
        accept: &'static str,
        limit: usize,
    ) -> Result<Reply, Failure> {
        let mut url = url;
        for _ in 0..=MAX_REDIRECTS {
            if !self.addresses.owns(&url) {
                return Err(Failure::new(
                    FailureKind::Protocol,
                    format!(
                        "the service points to {}, which is not the host of account {}; nothing \
                         is asked there",
                        host_and_port(&url),
                        self.account
                    ),
                ));
            }
            let with_key = self.addresses.with_key(&url, &self.key);
            let response = self.clients.get(with_key, connection, accept, None).await?;
            match self.redirect(&response, &url)? {
                Some(next) => url = next,
                None => return self.read(response, url, limit).await,
            }
        }
        Err(too_many_redirects(&url))
    }

    /// Sends a request to an address of the account's own host and reads the whole response, which
    /// may be a redirect.
    pub(super) async fn ask_once(
        &self,
        url: Url,
        connection: Connection,
        accept: &'static str,
        limit: usize,
    ) -> Result<Reply, Failure> {
        let with_key = self.addresses.with_key(&url, &self.key);
        let response = self.clients.get(with_key, connection, accept, None).await?;
        self.read(response, url, limit).await
    }

    pub(super) async fn read(
        &self,
        response: Response,
        url: Url,
        limit: usize,
    ) -> Result<Reply, Failure> {
        let header = |name| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let (location, retry_after) = (header(header::LOCATION), header(header::RETRY_AFTER));
        let status = response.status().as_u16();
        // The headers may suffice even if the body breaks off.
        let (body, broken) = match self.clients.body(response, limit).await {
            Ok((body, _)) => (body, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        Ok(Reply { url, status, location, retry_after, body, broken })
    }

    /// Where a redirect leads; `None` for any other response.
    fn redirect(&self, response: &Response, from: &Url) -> Result<Option<Url>, Failure> {
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let location = response.headers().get(header::LOCATION);
        let next = location
            .and_then(|location| location.to_str().ok())
            .and_then(|location| self.link(location, from));
        match next {
            Some(next) => Ok(Some(next)),
            None => Err(Failure::new(
                FailureKind::Protocol,
                format!("{} redirects without a usable address", host_and_port(from)),
            )),
        }
    }

    /// The response after all redirects. Only the account's host gets the key; any other host must
    /// be reached over TLS or loopback.
    pub(super) async fn follow(
        &self,
        url: Url,
        part: Option<(u64, &Validator)>,
    ) -> Result<(Response, Url), Failure> {
        let mut url = url;
        for _ in 0..=MAX_REDIRECTS {
            if url.scheme() != "https" && !is_loopback(&url) {
                return Err(Failure::new(
                    FailureKind::Protocol,
                    format!(
                        "the result lies on {} without TLS; it is not fetched",
                        host_and_port(&url)
                    ),
                ));
            }
            let with_key = self.addresses.with_key(&url, &self.key);
            let request = self.clients.get(with_key, Connection::Pooled, ANYTHING, part);
            let response = request.await?;
            match self.redirect(&response, &url)? {
                Some(next) => url = next,
                None => return Ok((response, url)),
            }
        }
        Err(too_many_redirects(&url))
    }
}

fn too_many_redirects(url: &Url) -> Failure {
    let message = format!("{} redirects more than {MAX_REDIRECTS} times", host_and_port(url));
    Failure::new(FailureKind::Protocol, message)
}
