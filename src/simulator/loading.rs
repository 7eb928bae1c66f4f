//! Changes of sources: the answers to requests that load a document, publish a staged version and
//! roll back, and to status requests about them.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;

use super::answers::{Answer, Counts, JobAnswer};
use super::change_scenario::{Moment, Outcome};
use super::changes::{ChangeKind, LoadOperation, RemoteChange};
use super::entities::Document;
use super::jobs::{RemoteState, change_id};
use super::request::Request;
use super::scenario::{Ending, Fault};
use super::world::{OVER_SOURCES, Reply, Response, Source, World, struck};

/// The most bytes of a document, uncompressed (Geocode and Data Source Limits).
pub(super) const MAX_BYTES: usize = 300_000_000;
/// The most entities of a data source (the same page).
const MAX_ENTITIES: usize = 200_000;

/// What a request to load a document asks for.
struct LoadRequest {
    operation: LoadOperation,
    name: String,
    access_id: Option<String>,
    key: String,
    body: Bytes,
    is_compressed: bool,
}

impl World {
    /// For how many bytes of a load's body the server waits; `None` is all of it.
    pub(super) fn upload_limit(&self, request: &Request) -> Option<u64> {
        let source = self.source_of_load(request)?;
        match self.scenario(source).changes.load.first() {
            Some(Fault::BrokenUpload(bytes)) => Some(*bytes),
            _ => None,
        }
    }

    /// Creates a load job (Create a Load Data Source Job and Input Entity Data).
    pub(super) fn load(&mut self, request: &Request, body: Bytes) -> Reply {
        let known = self.source_of_load(request);
        let mut fault = Fault::None;
        if let Some(source) = known {
            fault = self.next_fault(source, |scenario| &mut scenario.changes.load);
            if let Some(reply) = self.refusal(request, self.scenario(source), &fault) {
                return reply;
            }
        }
        if request.parameter("key").is_none() {
            return self.unauthorized(request);
        }
        let accepts_gzip = known.is_none_or(|it| self.scenario(it).changes.accepts_gzip);
        let load = match load_request(request, body, accepts_gzip) {
            Ok(load) => load,
            Err(text) => return self.error(request, 400, "ValidCredentials", &text),
        };
        let source = match known {
            Some(source) if !self.authorized(request, source) => return self.unauthorized(request),
            Some(source) => source,
            None if load.operation.is_incremental() || load.access_id.is_some() => {
                return self.not_found(request);
            }
            None if self.sources_of(&load.key) >= self.account.max_sources => {
                return self.error(request, 403, "ValidCredentials", OVER_SOURCES);
            }
            None => self.create_source(&load.name, &load.key),
        };
        let (version, answered) = (None, fault.answers());
        let seen = RemoteChange {
            body: load.body,
            is_compressed: load.is_compressed,
            ..self.new_change(source, ChangeKind::Load(load.operation), version, answered)
        };
        self.start_change(request, seen, source, &fault)
    }

    /// Creates a job that publishes the staged version (Publish a Staged Data Source).
    pub(super) fn commit(&mut self, request: &Request, access_id: &str, name: &str) -> Reply {
        let found = self.sources.iter().position(|source| source.is_at(access_id, name));
        let Some(source) = found else {
            return self.unknown(request);
        };
        let fault = self.next_fault(source, |scenario| &mut scenario.changes.commit);
        if let Some(reply) = self.refusal(request, self.scenario(source), &fault) {
            return reply;
        }
        if !self.authorized(request, source) {
            return self.unauthorized(request);
        }
        self.interfere(source, Moment::CommitReceived);
        if self.source(source).versions.staged.is_none() {
            let text = "The data source has no staged version.";
            return self.error(request, 400, "ValidCredentials", text);
        }
        let seen = self.new_change(source, ChangeKind::Commit, None, fault.answers());
        self.start_change(request, seen, source, &fault)
    }

    /// Creates a job that publishes an older version again (Rollback a Data Source Dataflow).
    pub(super) fn roll_back(&mut self, request: &Request, version: &str, name: &str) -> Reply {
        let key = request.parameter("key");
        let is_it = |source: &Source| !source.is_deleted && source.is_named(name);
        let found = self
            .sources
            .iter()
            .position(|source| is_it(source) && key.as_deref() == Some(source.key.as_str()))
            .or_else(|| self.sources.iter().position(is_it));
        let Some(source) = found else {
            return self.unknown(request);
        };
        let fault = self.next_fault(source, |scenario| &mut scenario.changes.rollback);
        if let Some(reply) = self.refusal(request, self.scenario(source), &fault) {
            return reply;
        }
        if !self.authorized(request, source) {
            return self.unauthorized(request);
        }
        let older = &self.source(source).versions.older;
        if !older.iter().any(|it| it.job_id.eq_ignore_ascii_case(version)) {
            return self.not_found(request);
        }
        let version = Some(version.to_owned());
        let seen = self.new_change(source, ChangeKind::Rollback, version, fault.answers());
        self.start_change(request, seen, source, &fault)
    }

    /// The status of a load, a publication or a rollback.
    pub(super) fn change_status(&mut self, request: &Request, job: &str) -> Reply {
        let Some(index) = self.changes.iter().position(|change| change.seen.id == job) else {
            return self.unknown(request);
        };
        let source = self.change(index).source;
        let fault = self.next_fault(source, |scenario| &mut scenario.changes.status);
        if let Some(reply) = self.refusal(request, self.scenario(source), &fault) {
            return reply;
        }
        if !self.authorized(request, source) {
            return self.unauthorized(request);
        }
        self.poll_change(index);
        self.describe_change(request, index, 200, &fault)
    }

    /// The error log of a load, a publication or a rollback.
    pub(super) fn change_log(&mut self, request: &Request, job: &str) -> Reply {
        let Some(index) = self.changes.iter().position(|change| change.seen.id == job) else {
            return self.not_found(request);
        };
        let source = self.change(index).source;
        let fault = self.next_fault(source, |scenario| &mut scenario.changes.error_log);
        if let Some(reply) = self.refusal(request, self.scenario(source), &fault) {
            return reply;
        }
        if !self.authorized(request, source) {
            return self.unauthorized(request);
        }
        match error_log(&self.change(index).outcome) {
            Some(text) => struck(Response::new(200, "text/plain", text.to_owned().into()), &fault),
            None => self.not_found(request),
        }
    }

    fn new_change(
        &self,
        source: usize,
        kind: ChangeKind,
        version: Option<String>,
        creation_answered: bool,
    ) -> RemoteChange {
        RemoteChange {
            id: change_id(self.changes.len()),
            kind,
            source: self.source(source).name.clone(),
            version,
            body: Bytes::new(),
            is_compressed: false,
            polls: 0,
            state: RemoteState::InProcess,
            happened: false,
            creation_answered,
            is_elsewhere: false,
        }
    }

    /// Starts a job within the account's limits, and answers its creation.
    fn start_change(
        &mut self,
        request: &Request,
        seen: RemoteChange,
        source: usize,
        fault: &Fault,
    ) -> Reply {
        if let Some(text) = self.over_limits() {
            let status = self.limits.unwrap_or_default().refusal;
            return self.error(request, status, "ValidCredentials", text);
        }
        let kind = seen.kind;
        let (problem, total) = match kind {
            ChangeKind::Load(_) => examined(&seen.body),
            _ => (None, 0),
        };
        let changes = &mut self.source_mut(source).scenario.changes;
        let outcomes = match kind {
            ChangeKind::Load(_) => &mut changes.load_outcomes,
            ChangeKind::Commit => &mut changes.commit_outcomes,
            ChangeKind::Rollback => &mut changes.rollback_outcomes,
        };
        let next = if outcomes.is_empty() { Outcome::completed() } else { outcomes.remove(0) };
        let outcome = problem.map_or(next, |text| Outcome::aborted(&text));
        let index = self.add_change(seen, source, outcome, total);
        if matches!(kind, ChangeKind::Load(_)) {
            self.interfere(source, Moment::LoadAccepted);
        }
        let http = match kind {
            ChangeKind::Commit => 202,
            _ => 201,
        };
        self.describe_change(request, index, http, fault)
    }

    fn describe_change(
        &self,
        request: &Request,
        index: usize,
        http_status: u16,
        fault: &Fault,
    ) -> Reply {
        let change = self.change(index);
        let scenario = self.scenario(change.source);
        let details = match (&change.outcome.says, change.seen.state) {
            (Ending::Aborted { details, .. }, RemoteState::Aborted) => details.clone(),
            _ => Vec::new(),
        };
        let job = self.change_answer(index, fault);
        let answer = Answer {
            jobs: vec![job],
            trace_id: self.trace_id(),
            ..Answer::error(http_status, "ValidCredentials", details)
        };
        let xml = request.wants_xml() || *fault == Fault::Xml;
        struck(Response::of(http_status, &answer, xml, scenario), fault)
    }

    /// A job that changes a source, as an answer describes it.
    pub(super) fn change_answer(&self, index: usize, fault: &Fault) -> JobAnswer {
        let change = self.change(index);
        let (seen, outcome) = (&change.seen, &change.outcome);
        let source = self.source(change.source);
        let is_load = matches!(seen.kind, ChangeKind::Load(_));
        let is_completed = seen.state == RemoteState::Completed;
        let status = match (fault, seen.state, &outcome.says) {
            (Fault::Word(word), ..) => word.as_str(),
            // The words of the examples: rollbacks and publications begin with others than loads.
            (_, RemoteState::InProcess, _) if change.steps == 0 => match seen.kind {
                ChangeKind::Load(_) => &source.scenario.pending_word,
                ChangeKind::Commit => "Accepted",
                ChangeKind::Rollback => "Created",
            },
            (_, RemoteState::InProcess, _) => &source.scenario.pending_word,
            (_, RemoteState::Completed, _) => "Completed",
            (_, RemoteState::Aborted, Ending::Aborted { word, .. }) => word,
            (_, RemoteState::Aborted, _) => "Aborted",
        };
        let flow = match seen.kind {
            ChangeKind::Load(_) => "LoadDataSource",
            ChangeKind::Commit => "DataSourcePublish",
            ChangeKind::Rollback => "DataSourceRollback",
        };
        let self_link = match seen.kind {
            ChangeKind::Commit => {
                format!("http://{}/REST/v1/data/jobs/{}/$getstatus", self.main, seen.id)
            }
            _ => self.dataflow(flow, &seen.id),
        };
        let has_ended = seen.state != RemoteState::InProcess;
        let has_log = has_ended && error_log(outcome).is_some();
        let has_source_link = is_completed && !source.scenario.changes.without_source_link;
        let total = if is_completed { change.total } else { 0 };
        let failed = if is_completed { outcome.failed_entities } else { 0 };
        JobAnswer {
            id: match fault {
                Fault::OtherId | Fault::OtherIdCreated(_) => change_id(usize::MAX),
                _ => seen.id.clone(),
            },
            // Publications are jobs of another type, and have no counts.
            type_name: if seen.kind == ChangeKind::Commit {
                "DataServiceJob"
            } else {
                "DataflowJob"
            },
            name: Some(source.name.clone()),
            description: Some(seen.kind.description()),
            status: status.to_owned(),
            self_link: source.scenario.self_link.then_some(self_link),
            source_link: has_source_link.then(|| self.source_url(source)),
            output: has_log
                .then(|| ("failed", format!("{}/output/failed", self.dataflow(flow, &seen.id)))),
            ended: has_ended,
            counts: (seen.kind != ChangeKind::Commit)
                .then_some(Counts { processed: total, failed }),
            total: is_load.then(|| total.into()),
            error_message: match (&outcome.says, seen.state) {
                (Ending::Aborted { message, .. }, RemoteState::Aborted) => Some(message.clone()),
                _ => None,
            },
            created: change.created,
            created_as: match fault {
                Fault::OtherIdCreated(text) => Some(text.clone()),
                _ => None,
            },
        }
    }

    /// The source that a load is for; one by access id, or the account's own of this name.
    fn source_of_load(&self, request: &Request) -> Option<usize> {
        let name = request.parameter("dataSourceName").unwrap_or_default();
        if let Some(access_id) = request.parameter("accessId") {
            return self.sources.iter().position(|source| source.is_at(&access_id, &name));
        }
        let key = request.parameter("key");
        let is_it = |index: &usize| {
            let source = self.source(*index);
            !source.is_deleted && source.is_named(&name)
        };
        let has_key = |index: &usize| key.as_deref() == Some(self.source(*index).key.as_str());
        let named: Vec<usize> = (0..self.sources.len()).filter(is_it).collect();
        named.iter().copied().find(has_key).or(named.first().copied())
    }

    /// How many sources the account of a key has.
    fn sources_of(&self, key: &str) -> usize {
        let owner = self.sources.iter().find(|source| source.key == key);
        let account = owner.map(|source| source.account.as_str());
        let is_there =
            |source: &&Source| !source.is_deleted && Some(source.account.as_str()) == account;
        self.sources.iter().filter(is_there).count()
    }
}

fn error_log(outcome: &Outcome) -> Option<&str> {
    match &outcome.says {
        Ending::Aborted { error_log, .. } => error_log.as_deref(),
        _ => outcome.error_log.as_deref(),
    }
}

/// Why a posted document cannot be loaded, and how many entities it has.
fn examined(body: &Bytes) -> (Option<String>, u64) {
    match Document::parse(body) {
        Err(problem) => (Some(problem), 0),
        Ok(document) => {
            let count = document.entities.len();
            let problem = (count > MAX_ENTITIES)
                .then(|| format!("The data source would have {count} entities."));
            (problem, u64::try_from(count).unwrap_or(u64::MAX))
        }
    }
}

/// Reads a request to load a document, or says why it is a bad one.
fn load_request(request: &Request, body: Bytes, accepts_gzip: bool) -> Result<LoadRequest, String> {
    let name = request.parameter("dataSourceName").ok_or("dataSourceName is required.")?;
    let is_allowed = |letter: char| letter.is_alphanumeric() || "~`!$^_={}".contains(letter);
    if name.is_empty() || name.chars().count() > 50 || !name.chars().all(is_allowed) {
        return Err(format!("{name} is no name of a data source."));
    }
    let word = request.parameter("loadOperation").ok_or("loadOperation is required.")?;
    let operation =
        LoadOperation::parse(&word).ok_or_else(|| format!("{word} is no loadOperation."))?;
    if !request.parameter("input").is_some_and(|input| input.eq_ignore_ascii_case("xml")) {
        return Err("Only input=xml is supported here.".into());
    }
    if operation.is_staging() && request.parameter("setPublic").is_some() {
        return Err("setPublic is not valid for staged data sources.".into());
    }
    let content_type = request.header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let (body, is_compressed) = match media_type {
        "application/xml" | "text/xml" => (body, false),
        "application/octet-stream" if accepts_gzip => (decompressed(&body)?, true),
        other => return Err(format!("The content type {other:?} is not supported.")),
    };
    if body.len() > MAX_BYTES {
        return Err(format!("The input has more than {MAX_BYTES} bytes."));
    }
    if body.is_empty() {
        return Err("The request has no input.".into());
    }
    Ok(LoadRequest {
        operation,
        name,
        access_id: request.parameter("accessId"),
        key: request.parameter("key").unwrap_or_default(),
        body,
        is_compressed,
    })
}

fn decompressed(body: &Bytes) -> Result<Bytes, String> {
    let mut whole = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    match GzDecoder::new(body.as_ref()).take(limit).read_to_end(&mut whole) {
        Ok(_) => Ok(whole.into()),
        Err(_) => Err("The compressed input cannot be read.".into()),
    }
}
