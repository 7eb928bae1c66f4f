//! The request for a remote job's status.

use super::address::as_json;
use super::classify::RequestKind;
use super::wire::{Answer, Count, DataflowJob};
use super::{Bing, CONTROL_LIMIT, DataSource, JSON};
use crate::service::http::{Connection, host_and_port};
use crate::service::{Failure, FailureKind, OtherJob, Polled, Progress};
use chrono::{DateTime, Utc};
use url::Url;

impl Bing {
    /// The status of an export.
    pub(super) async fn status(
        &self,
        remote_id: Option<&str>,
        status_url: &str,
        now: DateTime<Utc>,
    ) -> Result<Polled, Failure> {
        let completed = |job: &DataflowJob, base: &Url| {
            let progress = Progress::Completed {
                result_url: job.result_link().and_then(|text| self.link_text(text, base)),
                expected: job.total.filter(|total| *total > 0),
            };
            Ok((progress, None))
        };
        self.ask_status(remote_id, status_url, now, completed).await
    }

    /// The status of a load, a publication or a rollback. Completed does not mean success ("Load
    /// Data Source Dataflow Response Description"): the entities that failed are counted.
    pub(super) async fn change_status(
        &self,
        source: &DataSource,
        remote_id: Option<&str>,
        status_url: &str,
        now: DateTime<Utc>,
    ) -> Result<Polled, Failure> {
        let completed = |job: &DataflowJob, base: &Url| {
            let failed = match job.failed {
                Count::Missing => 0,
                Count::Known(failed) => failed,
                Count::Unreadable => {
                    return Err(Failure::new(
                        FailureKind::Protocol,
                        format!(
                            "{} answered with a number of failed entities that cannot be read",
                            host_and_port(base)
                        ),
                    ));
                }
            };
            let progress = Progress::Applied {
                processed: job.processed.filter(|processed| *processed > 0),
                failed,
                error_log_url: job.error_log_link().and_then(|text| self.link_text(text, base)),
            };
            Ok((progress, self.other_access_id(source, job)))
        };
        self.ask_status(remote_id, status_url, now, completed).await
    }

    /// A note if the data source that was changed has another access id than the configured one, as
    /// one that is made again may have.
    fn other_access_id(&self, source: &DataSource, job: &DataflowJob) -> Option<String> {
        let mut changed =
            job.data_source_links().filter_map(|text| self.addresses.data_source_at(text));
        let access_id = changed.next().map(|changed| changed.access_id)?;
        (!access_id.eq_ignore_ascii_case(&source.access_id)).then(|| {
            self.tidy(&format!(
                "the service has changed a data source {} whose access_id is {access_id}, not the \
                 configured one: put it into the configuration",
                source.data_source
            ))
        })
    }

    fn link_text(&self, text: &str, base: &Url) -> Option<String> {
        self.link(text, base).map(String::from)
    }

    async fn ask_status(
        &self,
        remote_id: Option<&str>,
        status_url: &str,
        now: DateTime<Utc>,
        completed: impl Fn(&DataflowJob, &Url) -> Result<(Progress, Option<String>), Failure>,
    ) -> Result<Polled, Failure> {
        let url = Url::parse(status_url)
            .map_err(|_| Failure::new(FailureKind::Protocol, "the stored status URL is invalid"))?;
        let reply = self.ask(as_json(url), Connection::Pooled, JSON, CONTROL_LIMIT).await?;
        let classifier = self.classifier(RequestKind::Status, now);
        if !reply.is_success() {
            return Err(classifier.failure(&reply));
        }
        if let Some(broken) = reply.broken {
            return Err(broken);
        }
        let host = host_and_port(&reply.url);
        let protocol = |message: String| Failure::new(FailureKind::Protocol, message);
        let answer = Answer::parse(&reply.body)
            .map_err(|problem| protocol(format!("{host} {}", problem.describe())))?;
        if let Some(failure) = classifier.contradiction(&reply, &answer) {
            return Err(failure);
        }
        let Some(job) = &answer.job else {
            return Err(protocol(format!("{host} answered about no job at all")));
        };
        let other = match (remote_id, job.id.as_deref().map(|id| self.tidy(id))) {
            (Some(expected), Some(id)) if !expected.eq_ignore_ascii_case(&id) => {
                Some(OtherJob { id, created_at: job.created_at })
            }
            _ => None,
        };
        let mut notes = Vec::new();
        let word = job.status.as_deref().unwrap_or_default();
        let progress = match word.to_ascii_lowercase().as_str() {
            "completed" => {
                let (progress, noted) = completed(job, &reply.url)?;
                notes.extend(noted);
                progress
            }
            "aborted" | "failed" | "cancelled" | "canceled" => Progress::Aborted {
                message: match answer.errors.as_slice() {
                    [] => "without saying why".to_owned(),
                    said => self.tidy(&said.join("; ")),
                },
                error_log_url: job
                    .error_log_link()
                    .and_then(|text| self.link_text(text, &reply.url)),
            },
            "" if other.is_none() => {
                return Err(protocol(format!("{host} answered without a status")));
            }
            known => Progress::Pending {
                known: ["pending", "created", "accepted", "running", "inprogress"].contains(&known),
                word: self.tidy(word),
                retry_after: classifier.requested_delay(&reply),
            },
        };
        Ok(Polled { progress, other, notes })
    }
}
