//! The state of the simulated service: its sources and jobs, and the answer to each request. A
//! state machine without input or output; `server` is its HTTP side.

use std::net::SocketAddr;

use bytes::Bytes;

use super::SimSource;
use super::answers::{Answer, Version, Workspace, atom, html_page};
use super::data::Data;
use super::jobs::{Job, RemoteState, segment, signature, versions};
use super::request::{Request, Route};
use super::scenario::{
    AccountLimits, Ending, ErrorBody, Fault, Location, OutputUrl, Scenario, StatusUrl,
};

const OVER_IN_PROCESS: &str =
    "The maximum number of jobs in process at one time for this account has been reached.";
const OVER_PER_DAY: &str =
    "The limit of jobs for this account in a 24 hour period has been exceeded.";

/// The service's state.
pub(super) struct World {
    pub(super) main: SocketAddr,
    pub(super) storage: SocketAddr,
    pub(super) sources: Vec<SimSource>,
    pub(super) jobs: Vec<Job>,
    pub(super) requests: Vec<Request>,
    pub(super) limits: Option<AccountLimits>,
    /// How many of the jobs existed when the day began.
    pub(super) jobs_before_today: usize,
    pub(super) peak_in_process: usize,
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
}

impl Response {
    fn new(status: u16, content_type: &str, body: Bytes) -> Self {
        let headers = vec![("content-type", content_type.to_owned())];
        Self { status, headers, body: Body::Bytes(body), end: BodyEnd::Whole }
    }

    pub(super) fn of(status: u16, answer: &Answer, xml: bool, scenario: &Scenario) -> Self {
        if xml {
            Self::new(status, "application/xml; charset=utf-8", answer.xml(scenario))
        } else {
            Self::new(status, "application/json; charset=utf-8", answer.json(scenario))
        }
    }

    fn with_header(mut self, name: &'static str, value: Option<String>) -> Self {
        self.headers.extend(value.map(|value| (name, value)));
        self
    }
}

impl World {
    /// Records a request and answers it.
    pub(super) fn receive(&mut self, mut request: Request) -> Reply {
        request.carries_key = self.sources.iter().any(|source| request.mentions(&source.key));
        let route = Route::of(request.host, &request.path);
        request.kind = route.kind(request.host);
        self.requests.push(request.clone());

        if request.method != "GET" {
            return self.error(&request, 405, "ValidCredentials", "Only GET is supported here.");
        }
        match route {
            Route::Create { access_id, name } => self.create(&request, &access_id, &name),
            Route::Status { job } => self.status(&request, &job),
            Route::Output { job, misspelt, failed: false } => self.result(&request, &job, misspelt),
            Route::Output { job, failed: true, .. } => self.error_log(&request, &job),
            Route::Storage { job } => self.stored(&request, &job),
            Route::Sources => self.list(&request, None),
            Route::Versions { access_id, name } => self.list(&request, Some((&access_id, &name))),
            Route::Nowhere => self.not_found(&request),
        }
    }

    fn create(&mut self, request: &Request, access_id: &str, name: &str) -> Reply {
        let found = self.sources.iter().position(|source| {
            source.access_id.eq_ignore_ascii_case(access_id)
                && source.name.eq_ignore_ascii_case(name)
        });
        let Some(source) = found else {
            return self.unknown(request);
        };
        let fault = self.next_fault(source, |scenario| &mut scenario.create);
        if let Some(reply) = self.refusal(request, source, &fault) {
            return reply;
        }
        self.pass_time(None);
        if !self.authorized(request, source) {
            return self.unauthorized(request);
        }
        let version = request.parameter("jobId");
        if version.as_ref().is_some_and(|id| !versions(self.source(source)).contains(id)) {
            return self.not_found(request);
        }
        if let Some(text) = self.over_limits() {
            let status = self.limits.unwrap_or_default().refusal;
            return self.error(request, status, "ValidCredentials", text);
        }

        let index = self.start_job(source, version, fault.answers());
        let scenario = self.scenario(source);
        let location = match scenario.location {
            Location::Absolute => Some(self.status_url(index)),
            Location::Relative => {
                let url = self.status_url(index);
                url.strip_prefix(&format!("http://{}", self.main)).map(str::to_owned)
            }
            Location::ById => Some(self.dataflow("DataSourceDownload", &self.job(index).seen.id)),
            Location::Absent => None,
        };
        let answer = self.job_answer(request, index, scenario.created_status, &fault);
        struck(answer.with_header("location", location), &fault)
    }

    fn status(&mut self, request: &Request, job: &str) -> Reply {
        let Some(index) = self.find_job(request, job) else {
            return self.unknown(request);
        };
        let source = self.job(index).source;
        if self.scenario(source).status_url == StatusUrl::WithQuery
            && request.parameter("jobId").is_none()
        {
            return self.not_found(request);
        }
        let fault = self.next_fault(source, |scenario| &mut scenario.status);
        if let Some(reply) = self.refusal(request, source, &fault) {
            return reply;
        }
        self.pass_time(Some(index));
        if !self.authorized(request, source) {
            return self.unauthorized(request);
        }
        self.poll(index);
        struck(self.job_answer(request, index, 200, &fault), &fault)
    }

    fn result(&mut self, request: &Request, job: &str, misspelt: bool) -> Reply {
        let Some(index) = self.find_job(request, job) else {
            return self.not_found(request);
        };
        let source = self.job(index).source;
        let output_url = self.scenario(source).output_url.clone();
        if misspelt != (output_url == OutputUrl::Misspelt) {
            return self.not_found(request);
        }
        if !self.authorized(request, source) {
            return self.unauthorized(request);
        }
        if self.job(index).seen.state != RemoteState::Completed {
            return self.not_found(request);
        }
        if output_url == OutputUrl::Redirected {
            let page = Response::new(302, "text/html", html_page(302));
            let location = Some(self.storage_url(index));
            return Reply::Answer(page.with_header("location", location));
        }
        self.deliver(request, index)
    }

    fn stored(&mut self, request: &Request, job: &str) -> Reply {
        let name = job.strip_suffix(".xml").unwrap_or(job);
        let found = self.jobs.iter().position(|job| job.seen.id == name);
        match found {
            // The signature authorises this request, not the key.
            Some(index) if request.parameter("sig") == Some(signature(name)) => {
                self.deliver(request, index)
            }
            _ => Reply::Answer(Response::new(404, "text/html", html_page(404))),
        }
    }

    /// Sends the data of a completed job, or the scenario's replacement.
    fn deliver(&mut self, request: &Request, index: usize) -> Reply {
        let source = self.job(index).source;
        let fault = self.next_fault(source, |scenario| &mut scenario.result);
        if let Some(reply) = self.refusal(request, source, &fault) {
            return reply;
        }
        let scenario = self.scenario(source);
        let mut headers = vec![("content-type", "application/xml".into())];
        if scenario.ranges {
            headers.push(("accept-ranges", "bytes".into()));
            headers.push(("etag", format!("\"{index}\"")));
        }
        let response = Response {
            status: 200,
            headers,
            body: Body::Data {
                data: self.job(index).data.clone(),
                gzip: scenario.gzip,
                content_length: scenario.content_length,
                ranges: scenario.ranges,
            },
            end: BodyEnd::Whole,
        };
        struck(response, &fault)
    }

    fn error_log(&self, request: &Request, job: &str) -> Reply {
        let Some(index) = self.find_job(request, job) else {
            return self.not_found(request);
        };
        let source = self.job(index).source;
        if !self.authorized(request, source) {
            return self.unauthorized(request);
        }
        match &self.scenario(source).ending {
            Ending::Aborted { error_log: Some(text), .. } => {
                Reply::Answer(Response::new(200, "text/plain", text.clone().into()))
            }
            _ => self.not_found(request),
        }
    }

    /// The account's sources, or the versions of one: any key of the account is accepted.
    fn list(&self, request: &Request, one: Option<(&str, &str)>) -> Reply {
        let key = request.parameter("key");
        if !self.sources.iter().any(|source| key.as_deref() == Some(&source.key)) {
            return self.unauthorized(request);
        }
        let wanted = self.sources.iter().filter(|source| {
            one.is_none_or(|(access_id, name)| {
                source.access_id.eq_ignore_ascii_case(access_id)
                    && source.name.eq_ignore_ascii_case(name)
            })
        });
        let all = request.parameter("showAllVersions").is_some_and(|v| v != "false");
        let described: Vec<_> = wanted
            .map(|source| {
                let entity_type = source.data.entity_type();
                let name = segment(&source.name);
                let href = format!(
                    "http://{}/REST/v1/data/{}/{name}/{entity_type}",
                    self.main, source.access_id
                );
                (source, entity_type, href, versions(source))
            })
            .collect();
        if described.is_empty() && one.is_some() {
            return self.not_found(request);
        }
        let mut workspaces = Vec::new();
        for (source, entity_type, href, ids) in &described {
            let workspace = |version| Workspace {
                name: &source.name,
                entity_type,
                href: href.clone(),
                version,
                plain_href: source.scenario.plain_href,
            };
            if one.is_none() {
                workspaces.push(workspace(None));
                continue;
            }
            for (index, job_id) in ids.iter().enumerate().take(if all { ids.len() } else { 1 }) {
                let (active, staging) = (index == 0, index == 2);
                workspaces.push(workspace(Some(Version { job_id, active, staging })));
            }
        }
        let content_type = "application/atomsvc+xml; charset=utf-8";
        Reply::Answer(Response::new(200, content_type, atom(&workspaces)))
    }
    /// The answer of a fault that happens before a request has any effect.
    fn refusal(&self, request: &Request, source: usize, fault: &Fault) -> Option<Reply> {
        let scenario = self.scenario(source);
        let json = |status, answer: &Answer| {
            Some(Reply::Answer(Response::of(status, answer, request.wants_xml(), scenario)))
        };
        match fault {
            Fault::Refused => Some(Reply::Close),
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

    fn authorized(&self, request: &Request, source: usize) -> bool {
        request.parameter("key").as_deref() == Some(self.source(source).key.as_str())
    }

    fn over_limits(&self) -> Option<&'static str> {
        let limits = self.limits?;
        if self.in_process() >= limits.max_in_process {
            Some(OVER_IN_PROCESS)
        } else if self.jobs.len() - self.jobs_before_today >= limits.max_per_day {
            Some(OVER_PER_DAY)
        } else {
            None
        }
    }

    /// Of two mistakes in a request, a missing key is reported first.
    fn unknown(&self, request: &Request) -> Reply {
        match request.parameter("key") {
            None => self.unauthorized(request),
            Some(_) => self.not_found(request),
        }
    }

    fn not_found(&self, request: &Request) -> Reply {
        self.error(request, 404, "ValidCredentials", "The requested resource was not found.")
    }

    fn unauthorized(&self, request: &Request) -> Reply {
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

    fn error(&self, request: &Request, status: u16, authentication: &str, detail: &str) -> Reply {
        let answer = Answer::error(status, authentication, vec![detail.into()]);
        let xml = request.wants_xml();
        Reply::Answer(Response::of(status, &answer, xml, &Scenario::default()))
    }
}

/// The answer to a request that was carried out, changed by a fault.
fn struck(mut response: Response, fault: &Fault) -> Reply {
    response.end = match fault {
        Fault::LostAnswer => return Reply::Close,
        Fault::Silence => return Reply::Silence,
        Fault::BrokenHalfway => BodyEnd::BrokenHalfway,
        Fault::BrokenAfter(bytes) => BodyEnd::BrokenAfter(*bytes),
        Fault::StalledAfter(bytes) => BodyEnd::StalledAfter(*bytes),
        Fault::LengthTooLong(bytes) => BodyEnd::LengthTooLong(*bytes),
        _ => BodyEnd::Whole,
    };
    Reply::Answer(response)
}
