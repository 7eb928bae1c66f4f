//! The service's JSON responses, read leniently: members come and go, counts are numbers, strings
//! or empty, and samples disagree about names ("Download Data Source Dataflow Response
//! Description").

use chrono::{DateTime, Utc};
use serde_json::Value;

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The HTTP status according to the body.
    pub(super) status_code: Option<u16>,
    pub(super) authentication: Option<String>,
    /// Error texts from all members that may hold one.
    pub(super) errors: Vec<String>,
    pub(super) description: Option<String>,
    pub(super) job: Option<DataflowJob>,
}

/// The job that an answer is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DataflowJob {
    pub(super) id: Option<String>,
    pub(super) status: Option<String>,
    pub(super) links: Vec<Link>,
    pub(super) total: Option<u64>,
    /// Entities that a load worked on, those that failed included; 0 means that it is not known.
    pub(super) processed: Option<u64>,
    /// Entities that a load failed at.
    pub(super) failed: Count,
    /// What it does, in the list of jobs; a user's own text elsewhere.
    pub(super) description: Option<String>,
    /// `None` if missing or unreadable.
    pub(super) created_at: Option<DateTime<Utc>>,
}

/// A number on which a decision depends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Count {
    /// There is none, or it is empty or null.
    #[default]
    Missing,
    Known(u64),
    Unreadable,
}

/// A link of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    role: String,
    /// `name` in most documents, `output` in some.
    name: Option<String>,
    pub(super) url: String,
}

/// All the jobs of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum JobList {
    Jobs(Vec<DataflowJob>),
    /// There is no list, or something in it is not a job.
    Unreadable,
}

/// Why a body could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BodyProblem {
    Empty,
    Html,
    Xml,
    /// JSON that breaks off.
    CutOff,
    Other,
}

impl Answer {
    pub(super) fn parse(body: &[u8]) -> Result<Answer, BodyProblem> {
        Ok(Answer::of(&json(body)?))
    }

    /// An answer that lists jobs.
    pub(super) fn parse_list(body: &[u8]) -> Result<(Answer, JobList), BodyProblem> {
        let value = json(body)?;
        let sets = value.get("resourceSets").and_then(Value::as_array);
        let resources = |set: &Value| set.get("resources")?.as_array().cloned();
        let jobs = sets.and_then(|sets| {
            let sets: Option<Vec<Vec<Value>>> = sets.iter().map(resources).collect();
            let jobs = sets?.into_iter().flatten();
            jobs.map(|job| job.is_object().then(|| DataflowJob::from(&job))).collect()
        });
        Ok((Answer::of(&value), jobs.map_or(JobList::Unreadable, JobList::Jobs)))
    }

    fn of(value: &Value) -> Answer {
        let job = value.get("resourceSets").and_then(Value::as_array).and_then(|sets| {
            let resources =
                sets.iter().filter_map(|set| set.get("resources")?.as_array()).flatten();
            resources.into_iter().find(|it| it.is_object())
        });
        let errors = [Some(value), job]
            .into_iter()
            .flatten()
            .flat_map(|it| ["errorMessage", "errorDetails"].map(|member| it.get(member)))
            .flatten()
            .flat_map(texts)
            .collect();
        Answer {
            status_code: value.get("statusCode").and_then(number).and_then(|n| n.try_into().ok()),
            authentication: text_of(value, "authenticationResultCode"),
            errors,
            description: text_of(value, "statusDescription"),
            job: job.map(DataflowJob::from),
        }
    }
}

impl From<&Value> for DataflowJob {
    fn from(job: &Value) -> DataflowJob {
        let links = job.get("links").and_then(Value::as_array).map(Vec::as_slice);
        DataflowJob {
            id: text_of(job, "id"),
            status: text_of(job, "status"),
            links: links.unwrap_or_default().iter().filter_map(link).collect(),
            total: job.get("totalEntityCount").and_then(number),
            processed: job.get("processedEntityCount").and_then(number),
            failed: match job.get("failedEntityCount") {
                None | Some(Value::Null) => Count::Missing,
                Some(Value::String(text)) if text.trim().is_empty() => Count::Missing,
                Some(value) => number(value).map_or(Count::Unreadable, Count::Known),
            },
            description: text_of(job, "description"),
            created_at: text_of(job, "createdDate").and_then(|text| date(&text)),
        }
    }
}

impl DataflowJob {
    /// The link to ask for the job's status.
    pub(super) fn status_link(&self) -> Option<&str> {
        self.links.iter().find(|link| link.is("self")).map(|link| link.url.as_str())
    }

    /// The link to the result: one that says `succeeded`, or else one that does not say `failed`.
    pub(super) fn result_link(&self) -> Option<&str> {
        let outputs = || self.links.iter().filter(|link| link.is("output"));
        outputs()
            .find(|link| link.is_called("succeeded"))
            .or_else(|| outputs().find(|link| !link.is_called("failed")))
            .map(|link| link.url.as_str())
    }

    /// The link to the log of what went wrong.
    pub(super) fn error_log_link(&self) -> Option<&str> {
        self.links
            .iter()
            .find(|link| link.is("output") && link.is_called("failed"))
            .map(|link| link.url.as_str())
    }
}

impl DataflowJob {
    /// The link to the data source that the job changed; documents disagree about its role and
    /// name, so any with such an address counts.
    pub(super) fn data_source_links(&self) -> impl Iterator<Item = &str> {
        let sources = |link: &&Link| link.is("datasource") || link.is("self");
        self.links.iter().filter(sources).map(|link| link.url.as_str())
    }
}

impl Link {
    fn is(&self, role: &str) -> bool {
        self.role.eq_ignore_ascii_case(role)
    }

    fn is_called(&self, name: &str) -> bool {
        self.name.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(name))
    }
}

/// A body's JSON object.
fn json(body: &[u8]) -> Result<Value, BodyProblem> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let value: Value = serde_json::from_str(text).map_err(|error| unlike(text, &error))?;
    if value.is_object() { Ok(value) } else { Err(BodyProblem::Other) }
}

fn link(value: &Value) -> Option<Link> {
    Some(Link {
        role: text_of(value, "role")?,
        name: text_of(value, "name").or_else(|| text_of(value, "output")),
        url: text_of(value, "url")?,
    })
}

/// A non-empty string.
fn text_of(value: &Value, member: &str) -> Option<String> {
    let text = value.get(member)?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A string, or the strings of a list.
fn texts(value: &Value) -> Vec<String> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        other => std::slice::from_ref(other),
    };
    let said = items.iter().filter_map(Value::as_str).map(str::trim);
    said.filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// A count, written as a number or as a string.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A date as the documents show it: RFC 1123, whose weekday may be another day's, or ISO 8601 with
/// an offset. One without an offset is no instant.
pub(super) fn date(text: &str) -> Option<DateTime<Utc>> {
    let iso = || DateTime::parse_from_rfc3339(text);
    // The weekday is redundant, and the parser would refuse a wrong one.
    let without_weekday = text.split_once(',').map_or(text, |(_, rest)| rest.trim_start());
    iso().or_else(|_| DateTime::parse_from_rfc2822(without_weekday)).ok().map(|at| at.to_utc())
}

fn unlike(text: &str, error: &serde_json::Error) -> BodyProblem {
    let begins =
        |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    if text.is_empty() {
        BodyProblem::Empty
    } else if begins("<!doctype html") || begins("<html") {
        BodyProblem::Html
    } else if begins("<") {
        BodyProblem::Xml
    } else if error.is_eof() {
        BodyProblem::CutOff
    } else {
        BodyProblem::Other
    }
}

impl BodyProblem {
    /// The end of a sentence that begins with the host.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            BodyProblem::Empty => "answered with an empty body instead of JSON",
            BodyProblem::Html => {
                "answered with an HTML page instead of JSON (a proxy or a login page in between?)"
            }
            BodyProblem::Xml => "answered with XML instead of JSON",
            BodyProblem::CutOff => "answered with JSON that breaks off",
            BodyProblem::Other => "answered with something that is not its JSON",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_answer_is_read() {
        let body = "\u{feff}{\"authenticationResultCode\":\"ValidCredentials\",\"statusCode\":201,\
            \"resourceSets\":[{\"estimatedTotal\":1,\"resources\":[{\"id\":\"8ccf\",\"links\":[\
            {\"role\":\"self\",\"url\":\"https://h/s\"},\
            {\"role\":\"output\",\"output\":\"Succeeded\",\"url\":\"https://h/ouput/succeeded\"}],\
            \"status\":\"Completed\",\"totalEntityCount\":\"12\",\"processedEntityCount\":\"\"}]}]}";
        let answer = Answer::parse(body.as_bytes()).unwrap();
        assert_eq!(answer.status_code, Some(201));
        let job = answer.job.unwrap();
        assert_eq!(job.id.as_deref(), Some("8ccf"));
        assert_eq!(job.status_link(), Some("https://h/s"));
        assert_eq!(job.result_link(), Some("https://h/ouput/succeeded"));
        assert_eq!(job.error_log_link(), None);
        assert_eq!(job.total, Some(12));
    }

    #[test]
    fn a_date_is_read_in_every_documented_form() {
        let evening = DateTime::from_timestamp(1_321_562_311, 0);
        for text in [
            "Thu, 17 Nov 2011 20:38:31 GMT",
            "Mon, 17 Nov 2011 20:38:31 GMT",
            "17 Nov 2011 20:38:31 GMT",
            "Thu, 17 Nov 2011 12:38:31 -0800",
            "2011-11-17T12:38:31.0000000-08:00",
            "2011-11-17T20:38:31Z",
        ] {
            assert_eq!(date(text), evening, "{text}");
        }
        for text in ["", ",", "yesterday", "2011-11-17T20:38:31", "Thu, 17 Nov", "/Date(1)/"] {
            assert_eq!(date(text), None, "{text}");
        }
        let body = br#"{"resourceSets":[{"resources":[
            {"createdDate":" Thu, 17 Nov 2011 20:38:31 GMT "}]}]}"#;
        assert_eq!(Answer::parse(body).unwrap().job.unwrap().created_at, evening);
    }

    #[test]
    fn errors_are_found_in_the_job_and_at_the_top() {
        let body = br#"{"errorDetails":["one"," "],"statusCode":400,"resourceSets":[{"resources":[
            {"errorMessage":"two","links":[{"role":"output","name":"failed","url":"u"}]}]}]}"#;
        let answer = Answer::parse(body).unwrap();
        assert_eq!(answer.errors, ["one", "two"]);
        let job = answer.job.unwrap();
        assert_eq!((job.error_log_link(), job.result_link()), (Some("u"), None));
    }

    #[test]
    fn invalid_bodies_are_classified() {
        let kind = |body: &str| Answer::parse(body.as_bytes()).unwrap_err();
        assert_eq!(kind(" "), BodyProblem::Empty);
        assert_eq!(kind("<!DOCTYPE html><p>"), BodyProblem::Html);
        assert_eq!(kind("<?xml version='1.0'?><Response/>"), BodyProblem::Xml);
        assert_eq!(kind("{\"statusCode\":2"), BodyProblem::CutOff);
        assert_eq!(kind("nonsense"), BodyProblem::Other);
        assert_eq!(kind("[]"), BodyProblem::Other);
    }
}
