//! The state of the simulated service: its sources and jobs, and the answer to each request. A
//! state machine without input or output; `server` is its HTTP side.

use std::net::SocketAddr;

use bytes::Bytes;

use super::SimSource;
use super::answers::{Answer, html_page};
use super::change_scenario::AccountScenario;
use super::changes::Change;
use super::data::Data;
use super::jobs::{Job, version_id};
use super::request::{Request, Route};
use super::scenario::{AccountLimits, ErrorBody, Fault, Scenario};
use super::versions::{Version, Versions};

/// When the sources that are there at the beginning were loaded: 2026-02-25T19:44:10Z.
const BEFORE_CALENDAR: i64 = -274_550;

const OVER_IN_PROCESS: &str =
    "The maximum number of jobs in process at one time for this account has been reached.";
pub(super) const OVER_SOURCES: &str =
    "The maximum number of data sources for this account has been reached.";
const OVER_PER_DAY: &str =
    "The limit of jobs for this account in a 24 hour period has been exceeded.";

/// The service's state.
pub(super) struct World {
    pub(super) main: SocketAddr,
    pub(super) storage: SocketAddr,
    /// Deleted ones stay, and are marked.
    pub(super) sources: Vec<Source>,
    pub(super) account: AccountScenario,
    /// Downloads.
    pub(super) jobs: Vec<Job>,
    /// Loads, publications and rollbacks.
    pub(super) changes: Vec<Change>,
    pub(super) requests: Vec<Request>,
    pub(super) limits: Option<AccountLimits>,
    /// How many jobs existed when the day began.
    pub(super) jobs_before_today: usize,
    pub(super) peak_in_process: usize,
}

/// A data source of the account.
pub(super) struct Source {
    pub(super) account: String,
    pub(super) access_id: String,
    pub(super) name: String,
    pub(super) key: String,
    pub(super) scenario: Scenario,
    pub(super) versions: Versions,
    /// What listings of the versions show instead, and how many more of them.
    pub(super) lagging: Option<(Versions, u32)>,
    pub(super) is_deleted: bool,
}

impl Source {
    pub(super) fn new(source: SimSource) -> Self {
        let SimSource { account, access_id, name, key, scenario, .. } = source;
        let version = |number: u64, data: Data| {
            let day = i64::try_from(number).unwrap_or(0) * 86_400;
            let job_id = version_id(&access_id, &name, number);
            Version { job_id, data, changed: BEFORE_CALENDAR - day }
        };
        let older = (1..).zip(source.older).map(|(number, data)| version(number, data));
        let versions = Versions {
            published: source.is_published.then(|| version(0, source.data)),
            older: older.collect(),
            staged: source.staged.map(|data| version(9, data)),
        };
        let (lagging, is_deleted) = (None, false);
        Self { account, access_id, name, key, scenario, versions, lagging, is_deleted }
    }

    /// Whether a request's address means this source; letter case does not matter.
    pub(super) fn is_at(&self, access_id: &str, name: &str) -> bool {
        !self.is_deleted && self.access_id.eq_ignore_ascii_case(access_id) && self.is_named(name)
    }

    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// What the server must do with a request.
pub(super) enum Reply {
    /// Close the connection without an answer.
    Close,
    /// Leave the connection open and say nothing.
    Silence,
    Answer(Response),
}

pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
    pub(super) end: BodyEnd,
}

pub(super) enum Body {
    Bytes(Bytes),
    /// A document; the flags are the scenario's.
    Data {
        data: Data,
        gzip: bool,
        content_length: bool,
        ranges: bool,
    },
}

/// How the body of an answer ends.
#[derive(Clone, Copy)]
pub(super) enum BodyEnd {
    Whole,
    BrokenHalfway,
    BrokenAfter(u64),
    StalledAfter(u64),
    LengthTooLong(u64),
    /// In the middle of the body, as if it was whole.
    Halfway,
}

impl Response {
    pub(super) fn new(status: u16, content_type: &str, body: Bytes) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status, headers, body: Body::Bytes(body), end: BodyEnd::Whole }
    }

    pub(super) fn of(status: u16, answer: &Answer, xml: bool, scenario: &Scenario) -> Self {
        if xml {
            Self::new(status, "application/xml; charset=utf-8", answer.xml())
        } else {
            Self::new(status, "application/json; charset=utf-8", answer.json(scenario))
        }
    }

    pub(super) fn with_header(mut self, name: &'static str, value: Option<String>) -> Self {
        self.headers.extend(value.map(|value| (name, value)));
        self
    }
}

impl World {
    /// Records a request and answers it. `body` is what was posted, as far as it was received.
    pub(super) fn receive(&mut self, mut request: Request, body: Bytes) -> Reply {
        request.carries_key = self.sources.iter().any(|source| request.mentions(&source.key));
        let route = Route::of(request.host, &request.path);
        request.kind = route.kind(request.host);
        self.requests.push(request.clone());

        let method = if matches!(route, Route::Load) { "POST" } else { "GET" };
        if request.method != method {
            let text = format!("Only {method} is supported here.");
            return self.error(&request, 405, "ValidCredentials", &text);
        }
        self.pass_time_of_changes(&route);
        match route {
            Route::Create { access_id, name } => self.create(&request, &access_id, &name),
            Route::Status { job } => self.status(&request, &job),
            Route::Output { job, misspelt, failed: false } => self.result(&request, &job, misspelt),
            Route::Output { job, failed: true, .. } => self.error_log(&request, &job),
            Route::Storage { job } => self.stored(&request, &job),
            Route::Sources => self.list_sources(&request),
            Route::Versions { access_id, name } => self.list_versions(&request, &access_id, &name),
            Route::Jobs => self.list_jobs(&request),
            Route::Load => self.load(&request, body),
            Route::Commit { access_id, name } => self.commit(&request, &access_id, &name),
            Route::Rollback { version, name } => self.roll_back(&request, &version, &name),
            Route::ChangeStatus { job } => self.change_status(&request, &job),
            Route::ChangeLog { job } => self.change_log(&request, &job),
            Route::Nowhere => self.not_found(&request),
        }
    }
}

impl World {
    /// The answer of a fault that happens before a request has any effect.
    pub(super) fn refusal(
        &self,
        request: &Request,
        scenario: &Scenario,
        fault: &Fault,
    ) -> Option<Reply> {
        let json = |status, answer: &Answer| {
            Some(Reply::Answer(Response::of(status, answer, request.wants_xml(), scenario)))
        };
        match fault {
            Fault::Refused | Fault::BrokenUpload(_) => Some(Reply::Close),
            Fault::Ignored => Some(Reply::Silence),
            Fault::SourceLimit => {
                json(403, &Answer::error(403, "ValidCredentials", vec![OVER_SOURCES.into()]))
            }
            Fault::Http { status, body, retry_after } => {
                let url = format!("http://{}{}?{}", self.main, request.path, request.query);
                let response = match body {
                    ErrorBody::Json => self.simple(request, *status, "Try again later."),
                    ErrorBody::Echo => self.simple(request, *status, &format!("Failed: {url}")),
                    ErrorBody::Html => Response::new(*status, "text/html", html_page(*status)),
                    ErrorBody::Empty => Response::new(*status, "text/plain", Bytes::new()),
                    ErrorBody::Text(text) => {
                        Response::new(*status, "text/plain", text.clone().into())
                    }
                };
                Some(Reply::Answer(response.with_header("retry-after", retry_after.clone())))
            }
            Fault::BodySays(status) => {
                let authentication =
                    if *status == 401 { "InvalidCredentials" } else { "ValidCredentials" };
                json(200, &Answer::error(*status, authentication, vec!["Failed.".into()]))
            }
            Fault::Credentials(code) => json(200, &Answer::error(200, code, Vec::new())),
            Fault::Quota(status) => json(
                *status,
                &Answer::error(*status, "ValidCredentials", vec![OVER_PER_DAY.into()]),
            ),
            _ => None,
        }
    }

    pub(super) fn authorized(&self, request: &Request, source: usize) -> bool {
        request.parameter("key").as_deref() == Some(self.source(source).key.as_str())
    }

    pub(super) fn over_limits(&self) -> Option<&'static str> {
        let limits = self.limits?;
        if self.in_process() >= limits.max_in_process {
            Some(OVER_IN_PROCESS)
        } else if self.jobs_ever() - self.jobs_before_today >= limits.max_per_day {
            Some(OVER_PER_DAY)
        } else {
            None
        }
    }

    /// How many jobs were ever started; those of other users do not count.
    pub(super) fn jobs_ever(&self) -> usize {
        self.jobs.len() + self.changes.iter().filter(|it| !it.seen.is_elsewhere).count()
    }

    /// Of two mistakes in a request, a missing key is reported first.
    pub(super) fn unknown(&self, request: &Request) -> Reply {
        match request.parameter("key") {
            None => self.unauthorized(request),
            Some(_) => self.not_found(request),
        }
    }

    pub(super) fn not_found(&self, request: &Request) -> Reply {
        self.error(request, 404, "ValidCredentials", "The requested resource was not found.")
    }

    pub(super) fn unauthorized(&self, request: &Request) -> Reply {
        let code = match request.parameter("key") {
            None => "NoCredentials",
            Some(_) => "InvalidCredentials",
        };
        self.error(
            request,
            401,
            code,
            "Access was denied. You may have entered your credentials incorrectly, or you might \
             not have access to the requested resource or operation.",
        )
    }

    fn simple(&self, request: &Request, status: u16, detail: &str) -> Response {
        let answer = Answer::error(status, "ValidCredentials", vec![detail.into()]);
        Response::of(status, &answer, request.wants_xml(), &Scenario::default())
    }

    pub(super) fn error(
        &self,
        request: &Request,
        status: u16,
        authentication: &str,
        detail: &str,
    ) -> Reply {
        let answer = Answer::error(status, authentication, vec![detail.into()]);
        let xml = request.wants_xml();
        Reply::Answer(Response::of(status, &answer, xml, &Scenario::default()))
    }
}

/// The answer to a request that was carried out, changed by a fault.
pub(super) fn struck(mut response: Response, fault: &Fault) -> Reply {
    response.end = match fault {
        Fault::LostAnswer => return Reply::Close,
        Fault::Silence => return Reply::Silence,
        Fault::ErrorAfter(status) => {
            let answer = Answer::error(*status, "ValidCredentials", vec!["Failed.".into()]);
            let scenario = Scenario::default();
            return Reply::Answer(Response::of(*status, &answer, false, &scenario));
        }
        Fault::BrokenHalfway => BodyEnd::BrokenHalfway,
        Fault::BrokenAfter(bytes) => BodyEnd::BrokenAfter(*bytes),
        Fault::StalledAfter(bytes) => BodyEnd::StalledAfter(*bytes),
        Fault::LengthTooLong(bytes) => BodyEnd::LengthTooLong(*bytes),
        Fault::EndsHalfway => BodyEnd::Halfway,
        _ => BodyEnd::Whole,
    };
    Reply::Answer(response)
}
