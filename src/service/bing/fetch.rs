//! The requests for a result, for the rest of one, and for the log of a job that failed.

use super::classify::{RequestKind, kind};
use super::text::tidy_lines;
use super::{Bing, CONTROL_LIMIT, JSON};
use crate::secret::redact;
use crate::service::http::{host_and_port, is_encoded};
use crate::service::{Download, Failure, FailureKind, Validator};
use chrono::{DateTime, Utc};
use reqwest::{Response, header};
use tokio::time::Instant;
use url::Url;

/// The most bytes of an error log that are kept.
pub(super) const ERROR_LOG_LIMIT: usize = 64 << 10;
/// A character of a key is written with so many bytes at most, such as `%25252B` or `&#x0000002b;`.
const LONGEST_ENCODING: usize = 16;

impl Bing {
    pub(super) async fn result(
        &self,
        result_url: &str,
        now: DateTime<Utc>,
    ) -> Result<Download, Failure> {
        let unusable = || Failure::new(FailureKind::Protocol, "the stored result URL is invalid");
        let url = Url::parse(result_url).map_err(|_| unusable())?;
        let begun = Instant::now();
        let mut notes = Vec::new();
        let (mut response, mut place_asked) = self.follow(url.clone(), None).await?;
        if response.status().as_u16() == 404
            && let Some(corrected) = without_misspelling(&url)
        {
            // Documented examples misspell the path; the service may only know the correct one.
            (response, place_asked) = self.follow(corrected, None).await?;
            notes.push(
                "the result's address was misspelled (/ouput/); found at /output/".to_owned(),
            );
        }
        let is_json = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(JSON.as_bytes()));
        if !response.status().is_success() || is_json {
            let reply = self.read(response, place_asked, CONTROL_LIMIT).await?;
            return Err(self.classifier(RequestKind::Result, now).failure(&reply));
        }
        Ok(Download {
            length: response.content_length().filter(|_| !is_encoded(&response)),
            validator: validator(&response, begun),
            chunks: self.clients.chunks(response, begun),
            notes,
        })
    }

    /// The rest of a result after `offset` bytes.
    pub(super) async fn rest(
        &self,
        result_url: &str,
        offset: u64,
        validator: &Validator,
    ) -> Result<Download, Failure> {
        let other = |what: &str| {
            Failure::new(FailureKind::Protocol, format!("the result cannot be resumed: {what}"))
        };
        let url = Url::parse(result_url).map_err(|_| other("its stored URL is invalid"))?;
        let (response, host) = self.follow(url, Some((offset, validator))).await?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let last = validator.length.saturating_sub(1);
        let range = format!("bytes {offset}-{last}/{}", validator.length);
        match response.status().as_u16() {
            206 if header(header::CONTENT_RANGE) != Some(range.as_str()) => {
                Err(other("the service sent another part than requested"))
            }
            206 if header(header::ETAG) != Some(validator.tag.as_str()) => {
                Err(other("it has changed"))
            }
            206 if is_encoded(&response) => Err(other("it comes in another encoding")),
            206 => Ok(Download {
                length: response.content_length(),
                chunks: self.clients.chunks(response, validator.begun),
                notes: Vec::new(),
                validator: Some(validator.clone()),
            }),
            status if kind(RequestKind::Result, status, "") == FailureKind::Unavailable => {
                let message = format!("{} answers {}", host_and_port(&host), response.status());
                Err(Failure::new(FailureKind::Unavailable, message))
            }
            _ => Err(other("it has changed, or there are no ranges of it")),
        }
    }

    pub(super) async fn log(&self, url: &str) -> Result<String, Failure> {
        let url = Url::parse(url)
            .map_err(|_| Failure::new(FailureKind::Protocol, "its URL is invalid"))?;
        let (response, url) = self.follow(url, None).await?;
        // Where the text is cut, the key may be cut with it: so much more is read, and left out.
        let margin = LONGEST_ENCODING * self.key.expose().len();
        let reply = self.read(response, url, ERROR_LOG_LIMIT + margin).await?;
        match (&reply.broken, reply.is_success()) {
            (Some(broken), true) if reply.body.is_empty() => Err(broken.clone()),
            (_, true) => {
                let is_cut = reply.body.len() >= ERROR_LOG_LIMIT + margin || reply.broken.is_some();
                let text = redact(&String::from_utf8_lossy(&reply.body), &[&self.key]);
                let end = text.len().saturating_sub(if is_cut { margin } else { 0 });
                let text = text.get(..text.floor_char_boundary(end)).unwrap_or_default();
                Ok(tidy_lines(text, &self.key, ERROR_LOG_LIMIT))
            }
            (_, false) => Err(Failure::new(
                FailureKind::NotFound,
                format!("{} answers {}", host_and_port(&reply.url), reply.status),
            )),
        }
    }
}

/// The validator of a response, if the download can be resumed. A weak tag does not guarantee
/// identical bytes, and the length of an encoded body counts other bytes.
fn validator(response: &Response, begun: Instant) -> Option<Validator> {
    let header = |name| response.headers().get(name)?.to_str().ok();
    let tag = header(header::ETAG)?;
    let is_strong = tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"');
    let has_ranges = header(header::ACCEPT_RANGES)?.eq_ignore_ascii_case("bytes");
    let is_plain = !is_encoded(response);
    let length = response.content_length()?;
    let is_whole = response.status().as_u16() == 200;
    (is_strong && has_ranges && is_plain && is_whole).then(|| Validator {
        tag: tag.to_owned(),
        length,
        begun,
    })
}

/// The URL with `/output/` where a documented example has `/ouput/`.
fn without_misspelling(url: &Url) -> Option<Url> {
    let path = url.path().to_ascii_lowercase();
    let at = path.find("/ouput/")?;
    let (before, after) = (url.path().get(..at)?, url.path().get(at + "/ouput/".len()..)?);
    let mut corrected = url.clone();
    corrected.set_path(&format!("{before}/output/{after}"));
    Some(corrected)
}
