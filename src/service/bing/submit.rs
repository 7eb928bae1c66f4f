//! The requests that start a remote job.

use super::classify::{Reply, RequestKind};
use super::wire::{self, Answer, DataflowJob};
use super::{Bing, CONTROL_LIMIT, DataSource, JSON};
use crate::service::http::{Connection, host_and_port};
use crate::service::{Failure, FailureKind, Submitted};
use chrono::{DateTime, Utc};
use url::Url;

impl Bing {
    pub(super) async fn create(
        &self,
        source: &DataSource,
        now: DateTime<Utc>,
    ) -> Result<Submitted, Failure> {
        self.start(self.addresses.create(source), RequestKind::Create, now).await
    }

    /// Sends a GET that starts a remote job, on a connection of its own. A change is sent to one
    /// address only: each further one might carry it out again.
    pub(super) async fn start(
        &self,
        url: Url,
        request: RequestKind,
        now: DateTime<Utc>,
    ) -> Result<Submitted, Failure> {
        let reply = if request.is_change() {
            self.ask_once(url, Connection::Fresh, JSON, CONTROL_LIMIT).await
        } else {
            self.ask(url, Connection::Fresh, JSON, CONTROL_LIMIT).await
        };
        self.started(&reply.map_err(sent)?, request, now)
    }

    /// What the response to a request says that starts a remote job.
    pub(super) fn started(
        &self,
        reply: &Reply,
        request: RequestKind,
        now: DateTime<Utc>,
    ) -> Result<Submitted, Failure> {
        let answered = |failure| Failure { answered: true, ..failure };
        self.outcome_of(reply, request, now).map_err(answered)
    }

    fn outcome_of(
        &self,
        reply: &Reply,
        request: RequestKind,
        now: DateTime<Utc>,
    ) -> Result<Submitted, Failure> {
        if request.is_change() && (300..400).contains(&reply.status) {
            return Err(redirected(reply));
        }
        let classifier = self.classifier(request, now);
        if !reply.is_success() {
            let failure = classifier.failure(reply);
            let maybe_started = failure.kind == FailureKind::Unavailable
                && if request.is_change() {
                    may_have_begun(reply.status)
                } else {
                    is_of_gateway(reply.status)
                };
            return Err(Failure { maybe_started, ..failure });
        }
        let parsed = Answer::parse(&reply.body);
        if let Ok(answer) = &parsed
            && let Some(failure) = classifier.contradiction(reply, answer)
        {
            let maybe_started = request.is_change()
                && failure.kind == FailureKind::Unavailable
                && answer.status_code.is_some_and(may_have_begun);
            return Err(Failure { maybe_started, ..failure });
        }
        let job = parsed.as_ref().ok().and_then(|answer| answer.job.as_ref());
        let mut notes = Vec::new();
        match self.status_url(reply, job, &mut notes) {
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
            None => Err(Failure { maybe_started: true, ..self.unusable(reply, &parsed, job) }),
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
}

/// A failure to send a request that starts a remote job: if it was sent without a reply, a job may
/// exist.
pub(super) fn sent(failure: Failure) -> Failure {
    Failure { maybe_started: failure.kind == FailureKind::Lost, ..failure }
}

/// A change is not sent where a redirect leads.
fn redirected(reply: &Reply) -> Failure {
    let (host, status) = (host_and_port(&reply.url), reply.status);
    let message =
        format!("{host} redirects the request ({status}); a change is not sent elsewhere");
    // 303 redirects from what was done to where its result lies (RFC 9110, 15.4.4).
    Failure { maybe_started: status == 303, ..Failure::new(FailureKind::Protocol, message) }
}

/// Whether a status says that the service was unable to do it after it had begun: a change may
/// have been carried out all the same. With 408, 425 and 503 it had not begun (RFC 9110, 15.5.9 and
/// 15.6.4; RFC 8470, 5.2).
fn may_have_begun(status: u16) -> bool {
    status >= 500 && status != 503
}

/// Whether a proxy says with this status that it does not know what became of the request: the
/// service may have carried it out (RFC 9110, 15.6.3 and 15.6.5; 520 to 527 are Cloudflare's).
fn is_of_gateway(status: u16) -> bool {
    matches!(status, 502 | 504 | 520..=527)
}
