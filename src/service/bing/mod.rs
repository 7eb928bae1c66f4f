//! Bing Maps Spatial Data Services, the DataSourceDownload dataflow: create, status, result.

mod address;
mod classify;
#[cfg(test)]
mod tests;
mod text;
mod wire;

use self::address::{Addresses, as_json};
use self::classify::{Reply, RequestKind, ResponseClassifier};
use self::text::{tidy, tidy_lines};
use self::wire::{Answer, DataflowJob};
use super::http::{Connection, HttpClients, host_and_port, is_encoded};
use super::{
    Download, ExportService, Failure, FailureKind, OtherJob, Polled, Progress, Submitted, Target,
    Validator,
};
use crate::secret::{Key, redact, redact_parts};
use crate::settings::{Account, is_loopback};
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::future::BoxFuture;
use reqwest::{Response, header};
use tokio::time::Instant;
use url::Url;

/// What the service is called.
pub const NAME: &str = "Bing Maps Spatial Data Services";
/// Its last day for enterprise accounts (Bing Maps for Enterprise, deprecation notice).
pub const LAST_DAY: NaiveDate = match NaiveDate::from_ymd_opt(2028, 6, 30) {
    Some(day) => day,
    None => NaiveDate::MAX,
};

/// The most bytes of a control response that are read.
const CONTROL_LIMIT: usize = 1 << 20;
/// The most bytes of an error log that are kept.
const ERROR_LOG_LIMIT: usize = 64 << 10;
/// A character of a key is written with so many bytes at most, such as `%25252B` or `&#x0000002b;`.
const LONGEST_ENCODING: usize = 16;
const MAX_REDIRECTS: usize = 10;
const JSON: &str = "application/json";
/// Result and log are not JSON; some hosts insist on a matching `Accept` header.
const ANYTHING: &str = "application/xml, text/xml;q=0.9, */*;q=0.8";

/// One account at the service.
pub struct Bing {
    addresses: Addresses,
    account: String,
    key: Key,
    clients: HttpClients,
}

impl std::fmt::Debug for Bing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bing").field("account", &self.account).finish_non_exhaustive()
    }
}

impl Bing {
    /// The account as configured, with its key.
    pub fn new(account: &Account, key: Key, clients: HttpClients) -> Bing {
        Bing {
            addresses: Addresses::new(&account.endpoint),
            account: account.name.clone(),
            key,
            clients,
        }
    }

    fn classifier(&self, request: RequestKind, now: DateTime<Utc>) -> ResponseClassifier<'_> {
        ResponseClassifier { account: &self.account, key: &self.key, request, now }
    }

    /// Sends a request to the account's own host and reads the whole response. Redirects are followed
    /// here, and only within the host: the key must not go anywhere else.
    async fn ask(
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

    async fn read(&self, response: Response, url: Url, limit: usize) -> Result<Reply, Failure> {
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

    async fn create(&self, target: &Target, now: DateTime<Utc>) -> Result<Submitted, Failure> {
        let url = self.addresses.create(target);
        let reply =
            self.ask(url, Connection::Fresh, JSON, CONTROL_LIMIT).await.map_err(|failure| {
                // Sent, but no reply: a job may exist.
                Failure { maybe_started: failure.kind == FailureKind::Lost, ..failure }
            })?;
        let classifier = self.classifier(RequestKind::Create, now);
        if !reply.is_success() {
            let failure = classifier.failure(&reply);
            let maybe_started =
                failure.kind == FailureKind::Unavailable && is_of_gateway(reply.status);
            return Err(Failure { maybe_started, ..failure });
        }
        let parsed = Answer::parse(&reply.body);
        if let Ok(answer) = &parsed
            && let Some(failure) = classifier.contradiction(&reply, answer)
        {
            return Err(failure);
        }
        let job = parsed.as_ref().ok().and_then(|answer| answer.job.as_ref());
        let mut notes = Vec::new();
        match self.status_url(&reply, job, &mut notes) {
            Some(status_url) => {
                if parsed.is_err() {
                    notes.push(
                        "the response to the submission was not usable JSON; its Location header is \
                         used"
                            .to_owned(),
                    );
                }
                let remote_id = job.and_then(|job| job.id.as_deref()).map(|id| self.tidy(id));
                Ok(Submitted { remote_id, status_url: status_url.into(), notes })
            }
            None => Err(Failure { maybe_started: true, ..self.unusable(&reply, &parsed, job) }),
        }
    }

    /// The status URL: the link first, the header second; if they differ, the one that contains the
    /// job's id.
    fn status_url(
        &self,
        reply: &Reply,
        job: Option<&DataflowJob>,
        notes: &mut Vec<String>,
    ) -> Option<Url> {
        let resolve =
            |text: &str| self.link(text, &reply.url).filter(|url| self.addresses.owns(url));
        let link = job.and_then(DataflowJob::status_link).and_then(resolve);
        let header = reply.location.as_deref().and_then(resolve);
        let (Some(link), Some(header)) = (&link, &header) else { return link.or(header) };
        if link == header {
            return Some(link.clone());
        }
        let id = job.and_then(|job| job.id.as_deref()).map(str::to_lowercase);
        let names_job = |url: &Url| {
            id.as_ref().is_some_and(|id| url.as_str().to_lowercase().contains(id.as_str()))
        };
        let chosen = if names_job(header) && !names_job(link) { header } else { link };
        notes.push(self.tidy(&format!(
            "the answer's link ({}) and its Location header ({}) differ; asking {}",
            link.path(),
            header.path(),
            chosen.path()
        )));
        Some(chosen.clone())
    }

    /// The failure for a success without a usable status URL.
    fn unusable(
        &self,
        reply: &Reply,
        parsed: &Result<Answer, wire::BodyProblem>,
        job: Option<&DataflowJob>,
    ) -> Failure {
        let host = host_and_port(&reply.url);
        if let Some(broken) = &reply.broken {
            return broken.clone();
        }
        let foreign = job.and_then(DataflowJob::status_link).or(reply.location.as_deref());
        let message = match (parsed, foreign) {
            (Err(problem), None) => format!("{host} {}", problem.describe()),
            (_, Some(_)) => format!(
                "{host} names a status address that is not on the host of account {}; it is not \
                 asked there",
                self.account
            ),
            (Ok(_), None) => {
                format!("{host} accepted, but does not say where to ask for the status")
            }
        };
        Failure::new(FailureKind::Protocol, message)
    }

    async fn status(
        &self,
        remote_id: Option<&str>,
        status_url: &str,
        now: DateTime<Utc>,
    ) -> Result<Polled, Failure> {
        let url = Url::parse(status_url)
            .map_err(|_| Failure::new(FailureKind::Protocol, "the stored status URL is invalid"))?;
        let reply = self.ask(as_json(url), Connection::Pooled, JSON, CONTROL_LIMIT).await?;
        let classifier = self.classifier(RequestKind::Status, now);
        if !reply.is_success() {
            return Err(classifier.failure(&reply));
        }
        if let Some(broken) = reply.broken {
            return Err(broken);
        }
        let host = host_and_port(&reply.url);
        let protocol = |message: String| Failure::new(FailureKind::Protocol, message);
        let answer = Answer::parse(&reply.body)
            .map_err(|problem| protocol(format!("{host} {}", problem.describe())))?;
        if let Some(failure) = classifier.contradiction(&reply, &answer) {
            return Err(failure);
        }
        let Some(job) = &answer.job else {
            return Err(protocol(format!("{host} answered about no job at all")));
        };
        let other = match (remote_id, job.id.as_deref().map(|id| self.tidy(id))) {
            (Some(expected), Some(id)) if !expected.eq_ignore_ascii_case(&id) => {
                Some(OtherJob { id, created_at: job.created_at })
            }
            _ => None,
        };
        let link = |text| self.link(text, &reply.url).map(String::from);
        let word = job.status.as_deref().unwrap_or_default();
        let progress = match word.to_ascii_lowercase().as_str() {
            "completed" => Progress::Completed {
                result_url: job.result_link().and_then(link),
                expected: job.total.filter(|total| *total > 0),
            },
            "aborted" | "failed" | "cancelled" | "canceled" => Progress::Aborted {
                message: match answer.errors.as_slice() {
                    [] => "without saying why".to_owned(),
                    said => self.tidy(&said.join("; ")),
                },
                error_log_url: job.error_log_link().and_then(link),
            },
            "" if other.is_none() => {
                return Err(protocol(format!("{host} answered without a status")));
            }
            known => Progress::Pending {
                known: ["pending", "created", "accepted", "running", "inprogress"].contains(&known),
                word: self.tidy(word),
                retry_after: classifier.requested_delay(&reply),
            },
        };
        Ok(Polled { progress, other, notes: Vec::new() })
    }

    async fn result(&self, result_url: &str, now: DateTime<Utc>) -> Result<Download, Failure> {
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
    async fn rest(
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
            429 | 500..=599 => Err(Failure::new(
                FailureKind::Unavailable,
                format!("{} answers {}", host_and_port(&host), response.status()),
            )),
            _ => Err(other("it has changed, or there are no ranges of it")),
        }
    }

    /// The response after all redirects. Only the account's host gets the key; any other host must be
    /// reached over TLS or loopback.
    async fn follow(
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

    async fn log(&self, url: &str) -> Result<String, Failure> {
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

    async fn versions(&self, target: &Target, now: DateTime<Utc>) -> Result<(), Failure> {
        let url = self.addresses.versions(target);
        let reply = self.ask(url, Connection::Pooled, ANYTHING, CONTROL_LIMIT).await?;
        let classifier = self.classifier(RequestKind::Versions, now);
        if !reply.is_success() {
            return Err(classifier.failure(&reply));
        }
        let answer = Answer::parse(&reply.body).ok();
        let contradiction = answer.and_then(|answer| classifier.contradiction(&reply, &answer));
        contradiction.map_or(Ok(()), Err)
    }

    /// A link of the service as a URL that may be stored. The `key` parameter is removed; a URL that
    /// holds the key anywhere else is refused.
    fn link(&self, text: &str, base: &Url) -> Option<Url> {
        let url = self.addresses.link(text, base)?;
        (redact(url.as_str(), &[&self.key]) == url.as_str()).then_some(url)
    }

    fn tidy(&self, text: &str) -> String {
        tidy(text, &self.key)
    }
}

impl ExportService for Bing {
    fn submit<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Submitted, Failure>> {
        Box::pin(self.create(target, now))
    }

    fn poll<'a>(
        &'a self,
        _target: &'a Target,
        remote_id: Option<&'a str>,
        status_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Polled, Failure>> {
        Box::pin(self.status(remote_id, status_url, now))
    }

    fn fetch<'a>(
        &'a self,
        _target: &'a Target,
        result_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Download, Failure>> {
        Box::pin(self.result(result_url, now))
    }

    fn resume<'a>(
        &'a self,
        _target: &'a Target,
        result_url: &'a str,
        offset: u64,
        validator: &'a Validator,
    ) -> BoxFuture<'a, Result<Download, Failure>> {
        Box::pin(self.rest(result_url, offset, validator))
    }

    fn redact(&self, text: &str) -> String {
        redact_parts(text, &self.key)
    }

    fn error_log<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<String, Failure>> {
        Box::pin(self.log(url))
    }

    fn try_key<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.versions(target, now))
    }
}

/// Whether a proxy says with this status that it does not know what became of the request: the
/// service may have carried it out (RFC 9110, 15.6.3 and 15.6.5; 520 to 527 are Cloudflare's).
fn is_of_gateway(status: u16) -> bool {
    matches!(status, 502 | 504 | 520..=527)
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

fn too_many_redirects(url: &Url) -> Failure {
    let message = format!("{} redirects more than {MAX_REDIRECTS} times", host_and_port(url));
    Failure::new(FailureKind::Protocol, message)
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
