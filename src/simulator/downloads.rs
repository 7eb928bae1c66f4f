//! Downloads: the answers to requests that create a job, ask for its status and fetch its result.

use super::answers::html_page;
use super::jobs::{RemoteState, signature};
use super::request::Request;
use super::scenario::{Ending, Location, OutputUrl, StatusUrl};
use super::world::{Body, BodyEnd, Reply, Response, World, struck};

impl World {
    pub(super) fn create(&mut self, request: &Request, access_id: &str, name: &str) -> Reply {
        let found = self.sources.iter().position(|source| source.is_at(access_id, name));
        let Some(source) = found else {
            return self.unknown(request);
        };
        let fault = self.next_fault(source, |scenario| &mut scenario.create);
        if let Some(reply) = self.refusal(request, self.scenario(source), &fault) {
            return reply;
        }
        self.pass_time(None);
        if !self.authorized(request, source) {
            return self.unauthorized(request);
        }
        let version = request.parameter("jobId");
        let versions = &self.source(source).versions;
        let exported = match &version {
            None => versions.published.as_ref(),
            Some(id) => versions.find(id),
        };
        let Some(data) = exported.map(|version| version.data.clone()) else {
            return self.not_found(request);
        };
        if let Some(text) = self.over_limits() {
            let status = self.limits.unwrap_or_default().refusal;
            return self.error(request, status, "ValidCredentials", text);
        }

        let index = self.start_job(source, version, data, fault.answers());
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

    pub(super) fn status(&mut self, request: &Request, job: &str) -> Reply {
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
        if let Some(reply) = self.refusal(request, self.scenario(source), &fault) {
            return reply;
        }
        self.pass_time(Some(index));
        if !self.authorized(request, source) {
            return self.unauthorized(request);
        }
        self.poll(index);
        struck(self.job_answer(request, index, 200, &fault), &fault)
    }

    pub(super) fn result(&mut self, request: &Request, job: &str, misspelt: bool) -> Reply {
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

    pub(super) fn stored(&mut self, request: &Request, job: &str) -> Reply {
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
    pub(super) fn deliver(&mut self, request: &Request, index: usize) -> Reply {
        let source = self.job(index).source;
        let fault = self.next_fault(source, |scenario| &mut scenario.result);
        if let Some(reply) = self.refusal(request, self.scenario(source), &fault) {
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
        self.interfere_after_fetch(index);
        struck(response, &fault)
    }

    pub(super) fn error_log(&self, request: &Request, job: &str) -> Reply {
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
}
