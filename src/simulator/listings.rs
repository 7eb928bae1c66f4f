//! What the service lists: the sources of an account, the versions of one, and the account's jobs.

use super::answers::{Answer, JobAnswer, ListedVersion, Workspace, atom};
use super::change_scenario::JobLinks;
use super::jobs::{RemoteState, segment};
use super::request::Request;
use super::scenario::{Fault, Scenario};
use super::versions::Version;
use super::world::{Reply, Response, Source, World, struck};

impl World {
    /// The published sources of the account: any key of the account is accepted.
    pub(super) fn list_sources(&mut self, request: &Request) -> Reply {
        let fault = next(&mut self.account.sources);
        if let Some(reply) = self.refusal(request, &Scenario::default(), &fault) {
            return reply;
        }
        let Some(account) = self.account_of(request) else {
            return self.unauthorized(request);
        };
        let mut workspaces = Vec::new();
        for source in self.sources.iter().filter(|it| it.account == account && !it.is_deleted) {
            if let Some(version) = &source.versions.published {
                workspaces.push(self.workspace(source, version, None));
            }
        }
        struck(service_document(&workspaces), &fault)
    }

    /// The versions of one source: any key of the account is accepted.
    pub(super) fn list_versions(
        &mut self,
        request: &Request,
        access_id: &str,
        name: &str,
    ) -> Reply {
        let Some(account) = self.account_of(request) else {
            return self.unauthorized(request);
        };
        let is_it = |it: &Source| it.account == account && it.is_at(access_id, name);
        let Some(index) = self.sources.iter().position(is_it) else {
            return self.not_found(request);
        };
        let fault = self.next_fault(index, |scenario| &mut scenario.changes.versions);
        if let Some(reply) = self.refusal(request, self.scenario(index), &fault) {
            return reply;
        }
        let shown = self.shown_versions(index);
        let source = self.source(index);
        let shows_all = request.parameter("showAllVersions").is_some_and(|value| value != "false");
        let others = |versions| if shows_all { versions } else { &[][..] };
        let listed = |(version, active, staging): (&Version, bool, bool)| {
            let job_id = version.job_id.clone();
            self.workspace(source, version, Some(ListedVersion { job_id, active, staging }))
        };
        let published = shown.published.iter().map(|version| (version, true, false));
        let staged = others(shown.staged.as_slice()).iter().map(|version| (version, false, true));
        let older = others(&shown.older).iter().map(|version| (version, false, false));
        let workspaces: Vec<_> = published.chain(staged).chain(older).map(listed).collect();
        struck(service_document(&workspaces), &fault)
    }

    fn workspace<'a>(
        &self,
        source: &'a Source,
        version: &Version,
        listed: Option<ListedVersion>,
    ) -> Workspace<'a> {
        let entity_type = version.data.entity_type();
        Workspace {
            name: &source.name,
            href: format!("{}/{entity_type}", self.source_url(source)),
            entity_type,
            changed: version.changed,
            version: listed,
            plain_href: source.scenario.plain_href,
        }
    }

    /// The address of a source's queries.
    pub(super) fn source_url(&self, source: &Source) -> String {
        let name = segment(&source.name);
        format!("http://{}/REST/v1/data/{}/{name}", self.main, source.access_id)
    }

    /// The loads, publications and rollbacks of the account, as Get Job List shows them: pending
    /// ones first. Downloads are not among them.
    pub(super) fn list_jobs(&mut self, request: &Request) -> Reply {
        let fault = next(&mut self.account.jobs);
        if let Some(reply) = self.refusal(request, &Scenario::default(), &fault) {
            return reply;
        }
        let Some(account) = self.account_of(request) else {
            return self.unauthorized(request);
        };
        let lag = self.account.jobs_lag;
        let mut listed: Vec<usize> = Vec::new();
        for (index, change) in self.changes.iter_mut().enumerate() {
            if change.lists >= lag && !self.account.no_jobs {
                listed.push(index);
            }
            change.lists = change.lists.saturating_add(1);
        }
        listed.retain(|index| self.source(self.change(*index).source).account == account);
        listed.sort_by_key(|index| {
            let is_pending = self.change(*index).seen.state == RemoteState::InProcess;
            (!is_pending, std::cmp::Reverse(*index))
        });
        let key = request.parameter("key").unwrap_or_default();
        let jobs = listed.into_iter().map(|index| self.listed_job(index, &key)).collect();
        let answer = Answer {
            jobs,
            trace_id: self.trace_id(),
            ..Answer::error(200, "ValidCredentials", Vec::new())
        };
        let xml = request.wants_xml() || fault == Fault::Xml;
        struck(Response::of(200, &answer, xml, &Scenario::default()), &fault)
    }

    /// A job as the job list describes it.
    fn listed_job(&self, index: usize, key: &str) -> JobAnswer {
        let mut job = self.change_answer(index, &Fault::None);
        job.output = None;
        if self.account.without_names {
            job.name = None;
        }
        let links = &self.account.job_links;
        if matches!(links, JobLinks::Source | JobLinks::None) {
            job.self_link = None;
        }
        if *links == JobLinks::None {
            job.source_link = None;
        }
        for url in [&mut job.self_link, &mut job.source_link].into_iter().flatten() {
            match links {
                JobLinks::OtherHost(host) => *url = url.replacen(&self.main.to_string(), host, 1),
                JobLinks::WithKey => *url = format!("{url}?key={key}"),
                _ => {}
            }
        }
        job
    }

    /// The account of a request's key.
    fn account_of(&self, request: &Request) -> Option<String> {
        let key = request.parameter("key")?;
        self.sources.iter().find(|source| source.key == key).map(|source| source.account.clone())
    }
}

/// Takes the next fault from a list.
fn next(faults: &mut Vec<Fault>) -> Fault {
    if faults.is_empty() { Fault::None } else { faults.remove(0) }
}

fn service_document(workspaces: &[Workspace<'_>]) -> Response {
    Response::new(200, "application/atomsvc+xml; charset=utf-8", atom(workspaces))
}
