//! The account's list of jobs: loads, publications and rollbacks of the last days ("Get Job List").

use super::classify::RequestKind;
use super::listing::LISTING_LIMIT;
use super::wire::{Answer, DataflowJob, JobList};
use super::{Bing, JSON};
use crate::service::http::{Connection, host_and_port};
use crate::service::{ActivityKind, Failure, FailureKind, RemoteActivity};
use chrono::{DateTime, Utc};
use url::Url;

/// The most jobs that are read: an account may start 50 a day, and the list covers 15 days.
const MAX_JOBS: usize = 20_000;

impl Bing {
    pub(super) async fn jobs(&self, now: DateTime<Utc>) -> Result<Vec<RemoteActivity>, Failure> {
        let url = self.addresses.jobs();
        let reply = self.ask(url, Connection::Pooled, JSON, LISTING_LIMIT).await?;
        let classifier = self.classifier(RequestKind::Jobs, now);
        if !reply.is_success() {
            return Err(classifier.failure(&reply));
        }
        if let Some(broken) = reply.broken {
            return Err(broken);
        }
        let host = host_and_port(&reply.url);
        let protocol =
            |problem: &str| Failure::new(FailureKind::Protocol, format!("{host} {problem}"));
        if reply.body.len() >= LISTING_LIMIT {
            return Err(protocol("answered with a list of jobs that is larger than any account's"));
        }
        let (answer, list) =
            Answer::parse_list(&reply.body).map_err(|problem| protocol(problem.describe()))?;
        if let Some(failure) = classifier.contradiction(&reply, &answer) {
            return Err(failure);
        }
        let JobList::Jobs(jobs) = list else {
            return Err(protocol("answered with a list of jobs that cannot be read"));
        };
        if jobs.len() > MAX_JOBS {
            return Err(protocol("answered with a list of jobs that is larger than any account's"));
        }
        let activities: Option<Vec<_>> =
            jobs.iter().map(|job| self.activity(job, &reply.url)).collect();
        activities.ok_or_else(|| protocol("lists a job without a usable id"))
    }

    /// `None` if it has no usable id: then it cannot be distinguished from another one.
    pub(super) fn activity(&self, job: &DataflowJob, base: &Url) -> Option<RemoteActivity> {
        let id = job.id.as_deref()?;
        let id = Some(self.tidy(id)).filter(|tidy| tidy == id)?;
        let status = job.status_link().filter(|text| self.addresses.data_source_at(text).is_none());
        let status_url = status
            .and_then(|text| self.link(text, base))
            .filter(|url| self.addresses.owns(url))
            .map(String::from);
        let ended = match job.status.as_deref().unwrap_or_default().to_ascii_lowercase().as_str() {
            "completed" | "aborted" | "failed" | "cancelled" | "canceled" => Some(true),
            "pending" | "created" | "accepted" | "running" | "inprogress" => Some(false),
            _ => None,
        };
        let name = job
            .data_source_links()
            .find_map(|text| self.addresses.data_source_at(text))
            .map(|source| self.tidy(&source.data_source));
        Some(RemoteActivity {
            id,
            kind: kind(job),
            name,
            created_at: job.created_at,
            status_url,
            ended,
            entities: job.processed.or(job.total).filter(|count| *count > 0),
        })
    }
}

/// What a job does, by the words of the documents; where there is none, by its address.
fn kind(job: &DataflowJob) -> ActivityKind {
    let description = job.description.as_deref().unwrap_or_default().to_ascii_lowercase();
    match description.as_str() {
        "datasourcecomplete"
        | "datasourceincremental"
        | "datasourcecompletestaging"
        | "datasourceincrementalstaging" => ActivityKind::Load,
        "datasourcepublishfromstaged" => ActivityKind::Publish,
        "datasourcerollback" => ActivityKind::RollBack,
        "geocode" | "datasourcedelete" | "datasourceaccess" => ActivityKind::Other,
        _ => {
            let address = job.status_link().unwrap_or_default().to_ascii_lowercase();
            if address.contains("/loaddatasource/") {
                ActivityKind::Load
            } else if address.contains("/datasourcerollback/") {
                ActivityKind::RollBack
            } else {
                ActivityKind::Unknown
            }
        }
    }
}
