//! What an answer means that did not do what was asked.

use super::text::{element, speaks_of_limits, tidy, visible};
use super::wire::{Answer, NotAnAnswer};
use crate::job::{Failure, FailureKind};
use crate::plan::backoff::retry_after;
use crate::secret::Key;
use crate::service::http::place;
use chrono::{DateTime, Utc};
use std::time::Duration;
use url::Url;

/// The service may ask to be left alone this long, and no longer.
const LONGEST_WISH: Duration = Duration::from_hours(1);

/// What was asked for: the same status means different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Create,
    Status,
    Result,
    Versions,
}

/// An answer, read to its end or to where it broke off.
#[derive(Debug)]
pub(super) struct Answered {
    /// Who answered; holds no key.
    pub(super) url: Url,
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) retry_after: Option<String>,
    pub(super) body: Vec<u8>,
    /// How the body broke off.
    pub(super) broken: Option<Failure>,
}

impl Answered {
    /// Documents disagree about which 2xx means success, so any does ("Status Codes and Error
    /// Handling" against the pages of the requests).
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Judges answers for one account.
pub(super) struct Judge<'a> {
    pub(super) account: &'a str,
    pub(super) key: &'a Key,
    pub(super) asked: Asked,
    pub(super) now: DateTime<Utc>,
}

impl Judge<'_> {
    /// The failure that a status other than 2xx means, or a body that took the place of a result.
    pub(super) fn failure(&self, answered: &Answered) -> Failure {
        let answer = Answer::parse(&answered.body);
        if let Ok(answer) = &answer
            && let Some(failure) = self.contradiction(answered, answer)
        {
            return failure;
        }
        if answered.is_success() {
            let host = place(&answered.url);
            let message = format!("{host} answered with JSON instead of the result");
            return Failure::new(FailureKind::Protocol, message);
        }
        let said = match &answer {
            Ok(answer) => said_by(answer),
            Err(problem) => said_in_prose(&answered.body, problem),
        };
        self.refusal(answered, answered.status, &said)
    }

    /// The failure that a body speaks of, whatever its HTTP status says.
    pub(super) fn contradiction(&self, answered: &Answered, answer: &Answer) -> Option<Failure> {
        // A failing service may not have come to look at the key.
        let wrong_key = answered.status < 500
            && answer
                .authentication
                .as_ref()
                .is_some_and(|code| !code.eq_ignore_ascii_case("ValidCredentials"));
        let status = answer.status_code.filter(|status| *status >= 400);
        let said = said_by(answer);
        match status {
            Some(status) if status >= 500 => Some(self.refusal(answered, status, &said)),
            _ if wrong_key => {
                let code = answer.authentication.as_deref().unwrap_or_default();
                let about = if said.is_empty() { code } else { &said };
                Some(self.refusal(answered, 401, about))
            }
            Some(status) => Some(self.refusal(answered, status, &said)),
            None => None,
        }
    }

    /// How long the service asks to be left alone.
    pub(super) fn wish(&self, answered: &Answered) -> Option<Duration> {
        retry_after(answered.retry_after.as_deref()?, self.now, LONGEST_WISH)
    }

    fn refusal(&self, answered: &Answered, status: u16, said: &str) -> Failure {
        let kind = self.kind(status, said);
        let host = place(&answered.url);
        let account = self.account;
        let said = tidy(said, self.key);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let message = match (kind, self.asked) {
            (FailureKind::Credentials, _) => format!(
                "{host} refuses the key of account {account} ({status}{said}); a download needs \
                 the data source's master key: see [accounts.{account}]"
            ),
            (FailureKind::NotFound, Asked::Create | Asked::Versions) => format!(
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
        Failure { retry_after: self.wish(answered), ..Failure::new(kind, message) }
    }

    fn kind(&self, status: u16, said: &str) -> FailureKind {
        let quota = match status {
            403 | 429 => true,
            503 => self.asked == Asked::Create,
            _ => false,
        };
        match status {
            _ if quota && speaks_of_limits(said) => FailureKind::Quota,
            401 | 403 => FailureKind::Credentials,
            404 | 410 => FailureKind::NotFound,
            408 | 425 | 429 | 500.. => FailureKind::Unavailable,
            400..500 => FailureKind::Rejected,
            _ => FailureKind::Protocol,
        }
    }
}

fn said_by(answer: &Answer) -> String {
    match answer.errors.as_slice() {
        [] => answer.description.clone().unwrap_or_default(),
        errors => errors.join("; "),
    }
}

/// What a page or an XML answer says, as far as it can be found.
fn said_in_prose(body: &[u8], problem: &NotAnAnswer) -> String {
    let text = String::from_utf8_lossy(body);
    match problem {
        NotAnAnswer::Xml => ["ErrorMessage", "ErrorDetails", "string", "StatusDescription"]
            .into_iter()
            .find_map(|name| element(&text, name))
            .map_or_else(|| visible(&text), str::to_owned),
        NotAnAnswer::Html => visible(&text),
        NotAnAnswer::Empty => String::new(),
        NotAnAnswer::CutOff | NotAnAnswer::Other => text.into_owned(),
    }
}
