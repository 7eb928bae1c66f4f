//! The remote jobs: how they start, progress and end, and how an answer describes one.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::answers::{Answer, Counts, JobAnswer};
use super::data::Data;
use super::request::Request;
use super::scenario::{Announced, Ending, Fault, OutputUrl, Scenario, StatusUrl};
use super::synthetic::mix;
use super::world::{Response, Source, World};

/// Characters that a segment of a URL's path may contain unencoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Seconds between the creation of two jobs on the simulated calendar.
const BETWEEN_JOBS: u64 = 3600;

/// A job of the simulated service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteJob {
    /// Its id.
    pub id: String,
    /// The name of the source that it exports.
    pub source: String,
    /// The version asked for, where it is not the published one.
    pub version: Option<String>,
    /// Status requests carried out for it, answered or not.
    pub polls: u32,
    /// Its progress.
    pub state: RemoteState,
    /// Whether the answer to its creation was sent whole.
    pub creation_answered: bool,
}

/// The progress of a remote job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteState {
    /// Not ended; it occupies one of the account's places.
    InProcess,
    /// Its data can be fetched.
    Completed,
    /// It failed.
    Aborted,
}

pub(super) struct Job {
    pub(super) seen: RemoteJob,
    /// Which of the sources.
    pub(super) source: usize,
    /// What is exported: the data that the source had when the job was created.
    pub(super) data: Data,
    /// Steps towards the end: status answers, or any request once no client can poll it.
    steps: u32,
    /// Status answers since it was completed.
    completed_polls: u32,
    /// When it was created: seconds on the simulated calendar.
    created: u64,
}

#[expect(clippy::indexing_slicing, reason = "sources and jobs stay in their lists")]
impl World {
    pub(super) fn job(&self, index: usize) -> &Job {
        &self.jobs[index]
    }

    pub(super) fn source(&self, index: usize) -> &Source {
        &self.sources[index]
    }

    pub(super) fn scenario(&self, source: usize) -> &Scenario {
        &self.sources[source].scenario
    }

    /// Takes the next fault from one of a source's lists.
    pub(super) fn next_fault(
        &mut self,
        source: usize,
        list: impl FnOnce(&mut Scenario) -> &mut Vec<Fault>,
    ) -> Fault {
        let list = list(&mut self.sources[source].scenario);
        if list.is_empty() { Fault::None } else { list.remove(0) }
    }

    pub(super) fn start_job(
        &mut self,
        source: usize,
        version: Option<String>,
        data: Data,
        creation_answered: bool,
    ) -> usize {
        let index = self.jobs.len();
        let created = self.next_date();
        let Source { name, scenario, .. } = &mut self.sources[source];
        let documents = &mut scenario.next_documents;
        let data = if documents.is_empty() { data } else { documents.remove(0) };
        let seen = RemoteJob {
            id: job_id(index),
            source: name.clone(),
            version,
            polls: 0,
            state: RemoteState::InProcess,
            creation_answered,
        };
        self.jobs.push(Job { seen, source, data, steps: 0, completed_polls: 0, created });
        self.peak_in_process = self.peak_in_process.max(self.in_process());
        index
    }

    /// Moves a job one step towards its end.
    fn step(&mut self, index: usize) {
        let Scenario { pending_polls, ending, .. } = self.scenario(self.jobs[index].source);
        let end = match ending {
            Ending::Completed => RemoteState::Completed,
            Ending::Aborted { .. } => RemoteState::Aborted,
            Ending::Never => RemoteState::InProcess,
        };
        let pending_polls = *pending_polls;
        let job = &mut self.jobs[index];
        job.steps = job.steps.saturating_add(1);
        if job.seen.state == RemoteState::InProcess && job.steps > pending_polls {
            job.seen.state = end;
        }
    }

    /// Carries out a status request.
    pub(super) fn poll(&mut self, index: usize) {
        self.step(index);
        let job = &mut self.jobs[index];
        job.seen.polls += 1;
        job.completed_polls += u32::from(job.seen.state == RemoteState::Completed);
    }

    /// Advances the jobs that no client can poll: their creation was not answered, or their source
    /// has a newer job. The service still finishes them, and frees their quota.
    pub(super) fn pass_time(&mut self, watched: Option<usize>) {
        let mut has_newer = vec![false; self.sources.len()];
        for index in (0..self.jobs.len()).rev() {
            let Job { seen, source, .. } = &self.jobs[index];
            let superseded = std::mem::replace(&mut has_newer[*source], true);
            let abandoned = superseded || !seen.creation_answered;
            if abandoned && Some(index) != watched && seen.state == RemoteState::InProcess {
                self.step(index);
            }
        }
    }
}

impl World {
    /// The job that an id or a source's name refers to; a name refers to the newest, or to the
    /// version in the query.
    pub(super) fn find_job(&self, request: &Request, id_or_name: &str) -> Option<usize> {
        if let Some(index) = self.jobs.iter().position(|job| job.seen.id == id_or_name) {
            return Some(index);
        }
        let (id, key) = (request.parameter("jobId"), request.parameter("key"));
        let named: Vec<usize> = self
            .jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| job.seen.source.eq_ignore_ascii_case(id_or_name))
            .filter(|(_, job)| id.as_ref().is_none_or(|id| job.seen.id == *id))
            .map(|(index, _)| index)
            .collect();
        // Two accounts may have sources of the same name: the key distinguishes them.
        let of_key = |index: &&usize| {
            let source = self.source(self.job(**index).source);
            key.as_deref() == Some(source.key.as_str())
        };
        named.iter().rev().find(of_key).or(named.last()).copied()
    }

    /// How many jobs of any kind have not ended.
    pub(super) fn in_process(&self) -> usize {
        let states = self.jobs.iter().map(|job| job.seen.state);
        let changes = self.changes.iter().map(|change| change.seen.state);
        states.chain(changes).filter(|state| *state == RemoteState::InProcess).count()
    }

    /// The date of the next job, in seconds on the simulated calendar.
    pub(super) fn next_date(&self) -> u64 {
        u64::try_from(self.jobs.len() + self.changes.len()).unwrap_or(0) * BETWEEN_JOBS
    }

    /// The answer that describes a job, changed by the fault if there is one.
    pub(super) fn job_answer(
        &self,
        request: &Request,
        index: usize,
        http_status: u16,
        fault: &Fault,
    ) -> Response {
        let job = self.job(index);
        let scenario = self.scenario(job.source);
        let state = job.seen.state;
        let aborted = match &scenario.ending {
            Ending::Aborted { word, message, details, error_log, message_on_top }
                if state == RemoteState::Aborted =>
            {
                Some((word, message, details, error_log.is_some(), *message_on_top))
            }
            _ => None,
        };
        let status = match (fault, state) {
            (Fault::Word(word), _) => word.as_str(),
            (_, RemoteState::InProcess) => &scenario.pending_word,
            (_, RemoteState::Completed) => "Completed",
            (_, RemoteState::Aborted) => aborted.map_or("Aborted", |(word, ..)| word),
        };
        let output = match state {
            RemoteState::Completed if job.completed_polls > scenario.linkless_polls => {
                Some(("succeeded", self.output_url(index)))
            }
            RemoteState::Aborted if aborted.is_some_and(|(.., log, _)| log) => {
                let url = self.dataflow("DataSourceDownload", self.segment(index));
                Some(("failed", format!("{url}/output/failed")))
            }
            _ => None,
        };
        let message = aborted.map(|(_, message, ..)| message.clone());
        let on_top = aborted.is_some_and(|(.., on_top)| on_top);
        let answer = Answer {
            status_code: 201,
            authentication: "ValidCredentials".into(),
            error_details: aborted.map(|(_, _, details, ..)| details.clone()).unwrap_or_default(),
            error_message: message.clone().filter(|_| on_top),
            jobs: vec![JobAnswer {
                type_name: "DataflowJob",
                id: match fault {
                    Fault::OtherId | Fault::OtherIdCreated(_) => job_id(usize::MAX),
                    _ => job.seen.id.clone(),
                },
                status: status.to_owned(),
                self_link: scenario.self_link.then(|| self.status_url(index)),
                output,
                ended: state != RemoteState::InProcess,
                total: announced(job, scenario),
                error_message: message.filter(|_| !on_top),
                counts: Some(Counts { processed: 0, failed: scenario.failed_entities }),
                created: job.created,
                created_as: match fault {
                    Fault::OtherIdCreated(text) => Some(text.clone()),
                    _ => None,
                },
                ..JobAnswer::default()
            }],
            trace_id: self.trace_id(),
        };
        let xml = request.wants_xml() || *fault == Fault::Xml;
        Response::of(http_status, &answer, xml, scenario)
    }

    /// Opaque, but different for each answer.
    pub(super) fn trace_id(&self) -> String {
        format!("{:016x}", mix(u64::try_from(self.requests.len()).unwrap_or(0)))
    }

    pub(super) fn status_url(&self, index: usize) -> String {
        let job = self.job(index);
        match &self.scenario(job.source).status_url {
            StatusUrl::ByName => self.dataflow("DataSourceDownload", self.segment(index)),
            StatusUrl::ById => self.dataflow("DataSourceDownload", &job.seen.id),
            StatusUrl::WithQuery => {
                let url = self.dataflow("DataSourceDownload", self.segment(index));
                format!("{url}?jobId={}&view=full", job.seen.id)
            }
            StatusUrl::Elsewhere(url) => url.clone(),
        }
    }

    fn output_url(&self, index: usize) -> String {
        let name = self.segment(index);
        let documented = self.dataflow("DataSourceDownload", &name);
        match &self.scenario(self.job(index).source).output_url {
            OutputUrl::Documented | OutputUrl::Redirected => {
                format!("{documented}/output/succeeded")
            }
            OutputUrl::Misspelt | OutputUrl::MisspeltInLink => {
                format!("{documented}/ouput/succeeded")
            }
            OutputUrl::Download => format!("{}/output/succeeded", self.dataflow("Download", &name)),
            OutputUrl::Storage => self.storage_url(index),
            OutputUrl::Elsewhere(url) => url.clone(),
        }
    }

    /// A signed URL, as storage services issue them.
    pub(super) fn storage_url(&self, index: usize) -> String {
        let id = &self.job(index).seen.id;
        format!("http://{}/exports/{id}.xml?sp=r&sig={}", self.storage, signature(id))
    }

    pub(super) fn dataflow(&self, flow: &str, job: impl AsRef<str>) -> String {
        format!("http://{}/REST/v1/dataflows/{flow}/{}", self.main, job.as_ref())
    }

    fn segment(&self, index: usize) -> String {
        segment(&self.job(index).seen.source)
    }
}

/// `totalEntityCount`: 0 until the job is completed.
fn announced(job: &Job, scenario: &Scenario) -> Option<Value> {
    let right = job.data.entities();
    match (job.seen.state, &scenario.announced) {
        (_, Announced::Absent) => None,
        (_, Announced::Empty) => Some(json!("")),
        (RemoteState::Completed, Announced::Right) => Some(json!(right)),
        (RemoteState::Completed, Announced::OffBy(by)) => {
            Some(json!(right.saturating_add_signed(*by)))
        }
        _ => Some(json!(0)),
    }
}

/// Encodes a text as one segment of a URL's path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The id of a version that a source had at the beginning.
pub(super) fn version_id(access_id: &str, name: &str, number: u64) -> String {
    let text = access_id.bytes().chain(name.bytes());
    hex(text.fold(0, |seed, byte| mix(seed ^ u64::from(byte))) ^ number)
}

/// The id of a job that changes a source.
pub(super) fn change_id(index: usize) -> String {
    hex(u64::try_from(index).unwrap_or(u64::MAX) ^ 0xC4A6E)
}

/// The access id of a source that a load creates.
pub(super) fn access_id(index: usize) -> String {
    hex(u64::try_from(index).unwrap_or(u64::MAX) ^ 0xACCE55)
}

/// The signature in a job's storage URL.
pub(super) fn signature(id: &str) -> String {
    hex(id.bytes().fold(7, |seed, byte| mix(seed ^ u64::from(byte))))
}

pub(super) fn job_id(index: usize) -> String {
    hex(u64::try_from(index).unwrap_or(u64::MAX) ^ 0x10B5)
}

fn hex(seed: u64) -> String {
    format!("{:016x}{:016x}", mix(seed.wrapping_add(1)), mix(seed.wrapping_add(0xABCDEF)))
}
