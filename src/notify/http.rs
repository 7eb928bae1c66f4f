//! Webhooks and pings.

use super::{Message, Phase};
use crate::http::{PlainClients, reason};
use crate::secret::{Hidden, PrivateUrl, Secret, redact};
use hmac::{Hmac, Mac};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use sha2::Sha256;

/// The longest text of a ping; services keep no more of it.
const LONGEST_TEXT: usize = 10_000;

/// A URL that messages are posted to.
#[derive(Debug)]
pub(super) struct Webhook {
    url: PrivateUrl,
    secret: Option<Secret>,
    client: Client,
}

impl Webhook {
    pub(super) fn new(url: PrivateUrl, secret: Option<Secret>, client: Client) -> Webhook {
        Webhook { url, secret, client }
    }

    pub(super) fn place(&self) -> String {
        self.url.place()
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), String> {
        let body = serde_json::to_string(message).map_err(|error| error.to_string())?;
        let mut request =
            self.client.post(self.url.expose().clone()).header(CONTENT_TYPE, "application/json");
        if let Some(secret) = &self.secret {
            let signature = signature(secret, &message.at, &body)?;
            request = request
                .header("X-Nightjar-Timestamp", &message.at)
                .header("X-Nightjar-Signature", format!("sha256={signature}"));
        }
        sent(request.body(body)).await
    }
}

/// HMAC-SHA256 of the time, a dot and the body, in hexadecimal. The time is signed too, against
/// replay of old messages.
pub(super) fn signature(secret: &Secret, at: &str, body: &str) -> Result<String, String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .map_err(|error| error.to_string())?;
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    Ok(format!("{:x}", mac.finalize().into_bytes()))
}

/// Pings checks as healthchecks.io and compatible services expect: `URL/start`, `URL`, `URL/fail`,
/// with the run's id as `rid`.
#[derive(Debug, Clone)]
pub(super) struct Pinger {
    clients: Option<PlainClients>,
}

impl Pinger {
    pub(super) fn new(clients: Option<PlainClients>) -> Pinger {
        Pinger { clients }
    }

    pub(super) async fn send(
        &self,
        check: &PrivateUrl,
        phase: Phase,
        run: &str,
        text: &str,
    ) -> Result<(), String> {
        let mut url = check.expose().clone();
        if !phase.path().is_empty() {
            let path = format!("{}/{}", url.path().trim_end_matches('/'), phase.path());
            url.set_path(&path);
        }
        url.query_pairs_mut().append_pair("rid", run);
        let text = text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or_default();
        let Some(clients) = &self.clients else {
            return Err("TLS could not be set up: see http.ca_file".to_owned());
        };
        let request = clients.of(&url).post(url.clone());
        let request = request.header(CONTENT_TYPE, "text/plain; charset=utf-8");
        sent(request.body(text.to_owned())).await
    }
}

/// Sends a request; any successful status will do.
async fn sent(request: RequestBuilder) -> Result<(), String> {
    let response = request.send().await.map_err(reason)?;
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answered {status}")),
    }
}

/// Text from others, without the secrets of the request.
pub(super) fn without(secrets: &[Secret], text: &str) -> String {
    let hidden: Vec<&dyn Hidden> = secrets.iter().map(|it| it as &dyn Hidden).collect();
    redact(text, &hidden)
}
