//! Classifies responses that report a failure.

use super::text::{element, mentions_limits, mentions_number_of_sources, tidy, visible};
use super::wire::{Answer, BodyProblem};
use crate::job::{Failure, FailureKind};
use crate::policy::backoff::{MAX_RETRY_AFTER, retry_after};
use crate::secret::Key;
use crate::service::http::host_and_port;
use chrono::{DateTime, Utc};
use std::time::Duration;
use url::Url;

/// The kind of request: the same status means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    Create,
    Load,
    Publish,
    RollBack,
    Status,
    Result,
    Versions,
    Sources,
    Jobs,
}

impl RequestKind {
    /// Whether it changes what the service holds.
    pub(super) fn is_change(self) -> bool {
        matches!(self, RequestKind::Load | RequestKind::Publish | RequestKind::RollBack)
    }
}

/// A response, read to its end or to where it broke off.
#[derive(Debug)]
pub(super) struct Reply {
    /// The address that answered; it holds no key.
    pub(super) url: Url,
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) retry_after: Option<String>,
    pub(super) body: Vec<u8>,
    /// How the body broke off.
    pub(super) broken: Option<Failure>,
}

impl Reply {
    /// Documents disagree about which 2xx means success, so any does ("Status Codes and Error
    /// Handling" against the pages of the requests).
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Classifies the responses to one account's request.
pub(super) struct ResponseClassifier<'a> {
    pub(super) account: &'a str,
    pub(super) key: &'a Key,
    pub(super) request: RequestKind,
    pub(super) now: DateTime<Utc>,
}

impl ResponseClassifier<'_> {
    /// The failure behind a status other than 2xx, or behind JSON instead of a result.
    pub(super) fn failure(&self, reply: &Reply) -> Failure {
        let answer = Answer::parse(&reply.body);
        if let Ok(answer) = &answer
            && let Some(failure) = self.contradiction(reply, answer)
        {
            return failure;
        }
        if reply.is_success() {
            let host = host_and_port(&reply.url);
            let message = format!("{host} answered with JSON instead of the result");
            return Failure::new(FailureKind::Protocol, message);
        }
        let said = match &answer {
            Ok(answer) => stated_error(answer),
            Err(problem) => text_of_body(&reply.body, problem),
        };
        self.refusal(reply, reply.status, &said)
    }

    /// The failure that a body reports, regardless of its HTTP status.
    pub(super) fn contradiction(&self, reply: &Reply, answer: &Answer) -> Option<Failure> {
        // A failing service may not have checked the key.
        let wrong_key = reply.status < 500
            && answer
                .authentication
                .as_ref()
                .is_some_and(|code| !code.eq_ignore_ascii_case("ValidCredentials"));
        let status = answer.status_code.filter(|status| *status >= 400);
        let said = stated_error(answer);
        match status {
            Some(status) if status >= 500 => Some(self.refusal(reply, status, &said)),
            _ if wrong_key => {
                let code = answer.authentication.as_deref().unwrap_or_default();
                let about = if said.is_empty() { code } else { &said };
                Some(self.refusal(reply, 401, about))
            }
            Some(status) => Some(self.refusal(reply, status, &said)),
            None => None,
        }
    }

    /// The response's `Retry-After`, capped.
    pub(super) fn requested_delay(&self, reply: &Reply) -> Option<Duration> {
        retry_after(reply.retry_after.as_deref()?, self.now, MAX_RETRY_AFTER)
    }

    fn refusal(&self, reply: &Reply, status: u16, said: &str) -> Failure {
        let kind = kind(self.request, status, said);
        let host = host_and_port(&reply.url);
        let account = self.account;
        let said = tidy(said, self.key);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let message = match (kind, self.request) {
            (FailureKind::Credentials, RequestKind::Sources | RequestKind::Jobs) => format!(
                "{host} refuses the key of account {account} ({status}{said}): see \
                 [accounts.{account}]"
            ),
            (FailureKind::Credentials, request) => format!(
                "{host} refuses the key of account {account} ({status}{said}); {} needs the data \
                 source's master key: see [accounts.{account}]",
                if request.is_change() { "a change" } else { "a download" }
            ),
            (
                FailureKind::NotFound,
                RequestKind::Create
                | RequestKind::Versions
                | RequestKind::Publish
                | RequestKind::Load
                | RequestKind::RollBack,
            ) => format!(
                "{host} knows no such data source ({status}{said}); check access_id, data_source \
                 and job_id"
            ),
            (FailureKind::NotFound, _) => format!("{host} does not know it ({status}{said})"),
            (FailureKind::Quota, _) => {
                format!(
                    "{host} says that the quota of account {account} is used up ({status}{said})"
                )
            }
            (FailureKind::Unavailable, _) => format!("{host} cannot do it now ({status}{said})"),
            _ => format!("{host} refuses the request ({status}{said})"),
        };
        Failure { retry_after: self.requested_delay(reply), ..Failure::new(kind, message) }
    }
}

/// What a status other than 2xx means as the response to a request, by the text that came with it.
pub(super) fn kind(request: RequestKind, status: u16, said: &str) -> FailureKind {
    let quota = match status {
        403 | 429 => true,
        503 => request == RequestKind::Create,
        _ => false,
    };
    match status {
        // "Create a Load Data Source Job": the account has as many data sources as it may have.
        403 if request == RequestKind::Load && mentions_number_of_sources(said) => {
            FailureKind::Rejected
        }
        _ if quota && mentions_limits(said) => FailureKind::Quota,
        // Sent again when the account may start jobs again, not at once.
        429 if request.is_change() => FailureKind::Quota,
        401 | 403 => FailureKind::Credentials,
        404 | 410 => FailureKind::NotFound,
        408 | 425 | 429 | 500.. => FailureKind::Unavailable,
        400..500 => FailureKind::Rejected,
        _ => FailureKind::Protocol,
    }
}

fn stated_error(answer: &Answer) -> String {
    match answer.errors.as_slice() {
        [] => answer.description.clone().unwrap_or_default(),
        errors => errors.join("; "),
    }
}

/// The readable text of an HTML or XML response.
fn text_of_body(body: &[u8], problem: &BodyProblem) -> String {
    let text = String::from_utf8_lossy(body);
    match problem {
        BodyProblem::Xml => ["ErrorMessage", "ErrorDetails", "string", "StatusDescription"]
            .into_iter()
            .find_map(|name| element(&text, name))
            .map_or_else(|| visible(&text), str::to_owned),
        BodyProblem::Html => visible(&text),
        BodyProblem::Empty => String::new(),
        BodyProblem::CutOff | BodyProblem::Other => text.into_owned(),
    }
}
