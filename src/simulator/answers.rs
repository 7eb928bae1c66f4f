//! The shapes of the service's answers, as its documentation shows them: JSON (Download Data
//! Source Dataflow Response Description), the same as XML, and AtomPub service documents (Get Data
//! Source Information).

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use chrono::{DateTime, FixedOffset};
use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::places::escape;
use super::scenario::{Dates, OutputLabel, Scenario};

const COPYRIGHT: &str = "Copyright © 2011 Microsoft and its suppliers. All rights reserved. This \
    API cannot be accessed and the content and any results may not be used, reproduced or \
    transmitted in any manner without express written permission from Microsoft Corporation.";
const BRAND_LOGO: &str = "http://spatial.virtualearth.net/Branding/logo_powered_by.png";
/// The namespace in the type of a job.
const JOB_NAMESPACE: &str = "http://schemas.microsoft.com/search/local/ws/rest/v1";

/// The instant, in Unix seconds, at which the simulated calendar starts: 2026-03-01.
pub(super) const CALENDAR_START: u64 = 1_772_323_200;

/// An answer about a job, or about what went wrong.
pub(super) struct Answer {
    /// The body's own status code, which need not be HTTP's.
    pub(super) status_code: u16,
    pub(super) authentication: String,
    pub(super) error_details: Vec<String>,
    /// An `errorMessage` beside the details.
    pub(super) error_message: Option<String>,
    pub(super) jobs: Vec<JobAnswer>,
    /// Opaque, but different for each answer.
    pub(super) trace_id: String,
}

/// A job in an answer.
#[derive(Default)]
pub(super) struct JobAnswer {
    pub(super) id: String,
    /// `DataflowJob`, or `DataServiceJob`, which has no counts.
    pub(super) type_name: &'static str,
    /// What examples show as the name of the data source.
    pub(super) name: Option<String>,
    pub(super) description: Option<&'static str>,
    pub(super) status: String,
    pub(super) self_link: Option<String>,
    /// The URL of the data source.
    pub(super) source_link: Option<String>,
    /// `succeeded` or `failed`, and the URL.
    pub(super) output: Option<(&'static str, String)>,
    pub(super) ended: bool,
    pub(super) counts: Option<Counts>,
    /// `None` leaves the member out.
    pub(super) total: Option<Value>,
    pub(super) error_message: Option<String>,
    /// Seconds on the simulated calendar at which the job was created.
    pub(super) created: u64,
    /// What `createdDate` says instead; `Some(None)` leaves it out.
    pub(super) created_as: Option<Option<String>>,
}

/// How many entities were processed, and how many of them failed.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) processed: u64,
    pub(super) failed: u64,
}

impl Answer {
    /// An answer without a job.
    pub(super) fn error(status_code: u16, authentication: &str, details: Vec<String>) -> Self {
        Self {
            status_code,
            authentication: authentication.into(),
            error_details: details,
            error_message: None,
            jobs: Vec::new(),
            trace_id: String::new(),
        }
    }

    pub(super) fn json(&self, scenario: &Scenario) -> Bytes {
        let mut body = Map::new();
        body.insert("authenticationResultCode".into(), json!(self.authentication));
        body.insert("brandLogoUri".into(), json!(BRAND_LOGO));
        body.insert("copyright".into(), json!(COPYRIGHT));
        if !self.error_details.is_empty() {
            body.insert("errorDetails".into(), json!(self.error_details));
        }
        if let Some(message) = &self.error_message {
            body.insert("errorMessage".into(), json!(message));
        }
        let jobs: Vec<Value> = self.jobs.iter().map(|job| job.json(scenario)).collect();
        let sets = match self.jobs.is_empty() {
            false => json!([{ "estimatedTotal": self.estimate(), "resources": jobs }]),
            true => json!([]),
        };
        body.insert("resourceSets".into(), sets);
        body.insert("statusCode".into(), json!(self.status_code));
        body.insert("statusDescription".into(), json!(reason(self.status_code)));
        body.insert("traceId".into(), json!(self.trace_id));
        if scenario.extra_members {
            body.insert("region".into(), json!({ "name": "simulated", "replicas": [1, 2] }));
        }
        let mut text = Value::Object(body).to_string();
        if !scenario.plain_slashes {
            // Slashes occur only in strings, where both forms mean the same.
            text = text.replace('/', "\\/");
        }
        if scenario.byte_order_mark {
            text.insert(0, '\u{feff}');
        }
        text.into()
    }

    pub(super) fn xml(&self) -> Bytes {
        let mut details = String::new();
        if !self.error_details.is_empty() {
            let list: String =
                self.error_details.iter().map(|detail| element("string", detail)).collect();
            details = format!("<ErrorDetails>{list}</ErrorDetails>");
        }
        let mut sets = String::new();
        if !self.jobs.is_empty() {
            let jobs: String = self.jobs.iter().map(JobAnswer::xml).collect();
            let total = element("EstimatedTotal", &self.estimate().to_string());
            sets = format!("<ResourceSet>{total}<Resources>{jobs}</Resources></ResourceSet>");
        }
        [
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
             <Response xmlns:xsi=\"https://www.w3.org/2001/XMLSchema-instance\" \
             xmlns:xsd=\"https://www.w3.org/2001/XMLSchema\" \
             xmlns=\"http://schemas.microsoft.com/search/local/ws/rest/v1\">",
            &element("Copyright", COPYRIGHT),
            &element("BrandLogoUri", BRAND_LOGO),
            &element("StatusCode", &self.status_code.to_string()),
            &element("StatusDescription", reason(self.status_code)),
            &element("AuthenticationResultCode", &self.authentication),
            &details,
            &element("TraceId", &self.trace_id),
            &format!("<ResourceSets>{sets}</ResourceSets></Response>\n"),
        ]
        .concat()
        .into()
    }
}

impl Answer {
    /// `estimatedTotal`: in the documented list of five jobs it is 110.
    fn estimate(&self) -> usize {
        match self.jobs.len() {
            1 => 1,
            many => many + 105,
        }
    }
}

impl JobAnswer {
    fn json(&self, scenario: &Scenario) -> Value {
        let mut links = Vec::new();
        if let Some(url) = &self.self_link {
            links.push(json!({ "role": "self", "url": url }));
        }
        if let Some(url) = &self.source_link {
            links.push(json!({ "name": "service", "role": "datasource", "url": url }));
        }
        if let Some((name, url)) = &self.output {
            let (member, value) = match scenario.output_label {
                OutputLabel::Name => ("name", (*name).to_owned()),
                OutputLabel::Output => ("output", (*name).to_owned()),
                OutputLabel::Capitalised => ("name", capitalised(name)),
            };
            links.push(json!({ "role": "output", member: value, "url": url }));
        }
        let count = |number: u64| if scenario.empty_counts { json!("") } else { json!(number) };
        let mut job = Map::new();
        job.insert("__type".into(), json!(format!("{}:{JOB_NAMESPACE}", self.type_name)));
        job.insert("id".into(), json!(self.id));
        if !links.is_empty() {
            job.insert("links".into(), Value::Array(links));
        }
        job.insert("status".into(), json!(self.status));
        if let Some(name) = &self.name {
            job.insert("name".into(), json!(name));
        }
        if let Some(description) = self.description {
            job.insert("description".into(), json!(description));
        }
        if let Some(counts) = self.counts {
            job.insert("processedEntityCount".into(), count(counts.processed));
            job.insert("failedEntityCount".into(), count(counts.failed));
        }
        if let Some(total) = &self.total {
            job.insert("totalEntityCount".into(), total.clone());
        }
        if let Some(message) = &self.error_message {
            job.insert("errorMessage".into(), json!(message));
        }
        if scenario.dates != Dates::Absent {
            job.insert("createdDate".into(), json!(date(self.created, scenario.dates)));
            if self.ended {
                let completed = match scenario.dates {
                    Dates::NullCompleted => Value::Null,
                    dates => json!(date(self.created + 60, dates)),
                };
                job.insert("completedDate".into(), completed);
            }
        }
        match &self.created_as {
            Some(Some(text)) => drop(job.insert("createdDate".into(), json!(text))),
            Some(None) => drop(job.remove("createdDate")),
            None => {}
        }
        if scenario.extra_members {
            job.insert("priority".into(), json!(3));
            job.insert("owner".into(), Value::Null);
        }
        Value::Object(job)
    }

    fn xml(&self) -> String {
        let mut links = String::new();
        if let Some(url) = &self.self_link {
            links.push_str(&format!("<Link role=\"self\">{}</Link>", escape(url)));
        }
        if let Some(url) = &self.source_link {
            let url = escape(url);
            links.push_str(&format!("<Link role=\"dataSource\" name=\"service\">{url}</Link>"));
        }
        let output = self
            .output
            .as_ref()
            .map(|(name, url)| {
                format!("<Link role=\"output\" name=\"{name}\">{}</Link>", escape(url))
            })
            .unwrap_or_default();
        let name = self.name.as_ref().map(|name| element("Name", name)).unwrap_or_default();
        let description = self.description.map(|text| element("Description", text));
        let failed = self.counts.map(|counts| counts.failed).unwrap_or_default();
        let total = match &self.total {
            None => String::new(),
            Some(Value::String(text)) => element("TotalEntityCount", text),
            Some(number) => element("TotalEntityCount", &number.to_string()),
        };
        let message =
            self.error_message.as_ref().map(|m| element("ErrorMessage", m)).unwrap_or_default();
        [
            &format!("<{}>", self.type_name),
            &name,
            &element("Id", &self.id),
            &links,
            &description.unwrap_or_default(),
            &element("Status", &self.status),
            &output,
            &element("CreatedDate", &date(self.created, Dates::Iso)),
            // As in the documented example, whether completed or not.
            "<CompletedDate xsi:nil=\"true\" />",
            &total,
            "<ProcessedEntityCount></ProcessedEntityCount>",
            &element("FailedEntityCount", &failed.to_string()),
            &message,
            &format!("</{}>", self.type_name),
        ]
        .concat()
    }
}

/// A web server's own error page when its backend does not answer.
pub(super) fn html_page(status: u16) -> Bytes {
    let reason = reason(status);
    format!(
        "<!DOCTYPE html>\r\n<html><head><title>{status} {reason}</title></head>\r\n\
         <body><h1>{status} - {reason}</h1><hr><p>Microsoft-IIS/10.0</p></body></html>\r\n"
    )
    .into()
}

/// One version of a data source in an AtomPub service document.
pub(super) struct Workspace<'a> {
    pub(super) name: &'a str,
    pub(super) entity_type: String,
    /// `…/data/{accessId}/{name}/{entityType}`.
    pub(super) href: String,
    /// When it was changed: seconds on the simulated calendar.
    pub(super) changed: i64,
    /// `None` in the list of an account's sources, which shows published versions alone.
    pub(super) version: Option<ListedVersion>,
    pub(super) plain_href: bool,
}

/// What the list of versions says of one.
pub(super) struct ListedVersion {
    pub(super) job_id: String,
    pub(super) active: bool,
    pub(super) staging: bool,
}

/// The AtomPub service document that lists workspaces.
pub(super) fn atom(workspaces: &[Workspace<'_>]) -> Bytes {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <app:service xmlns:bsi=\"http://schemas.microsoft.com/bing/spatial/2010/11/odata\" \
         xmlns:atom=\"http://www.w3.org/2005/Atom\" xmlns:app=\"http://www.w3.org/2007/app\">\n\
         <bsi:copyright>© 2013 Microsoft and its suppliers. This API and any results cannot be \
         used or accessed without Microsoft's express written permission.</bsi:copyright>\n",
    );
    for workspace in workspaces {
        let date = atom_date(workspace.changed);
        let (attributes, job_id) = match &workspace.version {
            None => (format!("bsi:updated=\"{date}\""), String::new()),
            Some(version) => (
                format!(
                    "bsi:isStagingDataSource=\"{}\" bsi:isActive=\"{}\" bsi:{}=\"{date}\"",
                    version.staging,
                    version.active,
                    if version.staging { "uploaded" } else { "updated" },
                ),
                element("atom:jobId", &version.job_id),
            ),
        };
        text.push_str(&format!(
            "<app:workspace bsi:isPublic=\"false\" {attributes}>{}{job_id}\
             <app:collection {}=\"{}\">{}</app:collection></app:workspace>\n",
            element("atom:title", workspace.name),
            if workspace.plain_href { "href" } else { "app:href" },
            escape(&workspace.href),
            element("atom:title", &workspace.entity_type),
        ));
    }
    text.push_str("</app:service>\n");
    text.into()
}

/// An instant of the simulated calendar as Atom documents write it.
fn atom_date(seconds: i64) -> String {
    let instant = i64::try_from(CALENDAR_START).unwrap_or(0).saturating_add(seconds);
    DateTime::from_timestamp(instant, 0)
        .map(|utc| utc.format("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Unknown")
}

/// An instant of the simulated calendar, `seconds` after its start.
fn date(seconds: u64, form: Dates) -> String {
    let instant = CALENDAR_START + seconds;
    let rfc1123 = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(instant));
    match form {
        Dates::Rfc1123 | Dates::NullCompleted | Dates::Absent => rfc1123,
        Dates::LeadingBlank => format!(" {rfc1123}"),
        Dates::WrongWeekday => {
            let wrong = if rfc1123.starts_with("Mon") { "Tue" } else { "Mon" };
            rfc1123.get(3..).map(|rest| format!("{wrong}{rest}")).unwrap_or(rfc1123)
        }
        Dates::Iso => FixedOffset::west_opt(8 * 3600)
            .zip(DateTime::from_timestamp(i64::try_from(instant).unwrap_or(0), 0))
            .map(|(zone, utc)| {
                utc.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S.0000000%:z").to_string()
            })
            .unwrap_or_default(),
        Dates::Nonsense => "the day before yesterday".into(),
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
