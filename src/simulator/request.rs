//! The requests that the simulator receives, and the addresses of the service that they refer to.

use percent_encoding::percent_decode_str;
use url::form_urlencoded;

/// Which of the simulator's two hosts a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The service.
    Main,
    /// The storage host, which must never receive a key.
    Storage,
}

/// The purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Creates a job.
    Create,
    /// Asks for a job's status.
    Status,
    /// Asks the service for the data of a completed job.
    Result,
    /// Asks for the error log of an aborted one.
    ErrorLog,
    /// Any request to the storage host.
    Storage,
    /// Lists the account's sources.
    List,
    /// Lists the versions of one source.
    Versions,
    /// Lists the account's jobs.
    Jobs,
    /// Loads a document.
    Load,
    /// Publishes the staged version.
    Commit,
    /// Rolls back to an older version.
    Rollback,
    /// Asks for the status of a load, a publication or a rollback.
    ChangeStatus,
    /// Any other request.
    Other,
}

/// One request as it was received.
#[derive(Clone, Debug)]
pub struct Request {
    /// The host that received it.
    pub host: Host,
    /// Its purpose.
    pub kind: Kind,
    /// Usually `GET`.
    pub method: String,
    /// The path, still percent-encoded.
    pub path: String,
    /// The query string, still percent-encoded; empty when there is none.
    pub query: String,
    /// All headers in their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whether any source's key is in the path, the query or a header (such as `Referer`).
    pub carries_key: bool,
}

impl Request {
    /// A query parameter, decoded; its name is not case-sensitive.
    pub fn parameter(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.into_owned())
    }

    /// A header's value; its name is not case-sensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether the answer shall be XML: `output`, or its alias `o`.
    pub(super) fn wants_xml(&self) -> bool {
        self.parameter("output")
            .or_else(|| self.parameter("o"))
            .is_some_and(|format| format.eq_ignore_ascii_case("xml"))
    }

    /// Whether `secret` occurs anywhere in the request.
    pub(super) fn mentions(&self, secret: &str) -> bool {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().contains(secret);
        decoded(&self.path)
            || decoded(&self.query)
            || form_urlencoded::parse(self.query.as_bytes()).any(|(_, value)| value == secret)
            || self.headers.iter().any(|(_, value)| decoded(value))
    }
}

/// An address of the service, its parts decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Create {
        access_id: String,
        name: String,
    },
    /// `job` is an id or, as documented, the name of the source.
    Status {
        job: String,
    },
    Output {
        job: String,
        misspelt: bool,
        failed: bool,
    },
    Storage {
        job: String,
    },
    Sources,
    Versions {
        access_id: String,
        name: String,
    },
    Jobs,
    Load,
    Commit {
        access_id: String,
        name: String,
    },
    Rollback {
        version: String,
        name: String,
    },
    ChangeStatus {
        job: String,
    },
    ChangeLog {
        job: String,
    },
    Nowhere,
}

impl Route {
    /// Finds the address that a path means; letter case does not matter in what is fixed.
    pub(super) fn of(host: Host, path: &str) -> Self {
        let parts: Vec<String> = path
            .split('/')
            .skip(1)
            .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        let fixed: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        let fixed: Vec<&str> = fixed.iter().map(String::as_str).collect();
        let part = |index: usize| parts.get(index).cloned().unwrap_or_default();

        match (host, fixed.as_slice()) {
            (Host::Storage, ["exports", _]) => Self::Storage { job: part(1) },
            (Host::Storage, _) => Self::Nowhere,
            (Host::Main, ["rest", "v1", "dataflows", "datasourcedownload", _, _]) => {
                Self::Create { access_id: part(4), name: part(5) }
            }
            (Host::Main, ["rest", "v1", "dataflows", "datasourcedownload", _]) => {
                Self::Status { job: part(4) }
            }
            (
                Host::Main,
                [
                    "rest",
                    "v1",
                    "dataflows",
                    "datasourcedownload" | "download",
                    _,
                    spelling @ ("output" | "ouput"),
                    name @ ("succeeded" | "failed"),
                ],
            ) => Self::Output {
                job: part(4),
                misspelt: *spelling == "ouput",
                failed: *name == "failed",
            },
            (Host::Main, ["rest", "v1", "data", rest @ ..]) => match rest {
                [] => Self::Sources,
                [_, _] => Self::Versions { access_id: part(3), name: part(4) },
                [_, _, "$commit"] => Self::Commit { access_id: part(3), name: part(4) },
                ["jobs", _, "$getstatus"] => Self::ChangeStatus { job: part(4) },
                _ => Self::Nowhere,
            },
            (Host::Main, ["rest", "v1", "dataflows", rest @ ..]) => match rest {
                ["listjobs"] => Self::Jobs,
                ["loaddatasource"] => Self::Load,
                ["datasourcerollback", _, _] => Self::Rollback { version: part(4), name: part(5) },
                ["loaddatasource" | "datasourcerollback", _] => Self::ChangeStatus { job: part(4) },
                [
                    "loaddatasource" | "datasourcerollback" | "datasourcepublish",
                    _,
                    "output",
                    "failed",
                ] => Self::ChangeLog { job: part(4) },
                _ => Self::Nowhere,
            },
            (Host::Main, _) => Self::Nowhere,
        }
    }

    pub(super) fn kind(&self, host: Host) -> Kind {
        match (host, self) {
            (Host::Storage, _) => Kind::Storage,
            (_, Self::Create { .. }) => Kind::Create,
            (_, Self::Status { .. }) => Kind::Status,
            (_, Self::Output { failed: false, .. }) => Kind::Result,
            (_, Self::Output { failed: true, .. } | Self::ChangeLog { .. }) => Kind::ErrorLog,
            (_, Self::Sources) => Kind::List,
            (_, Self::Versions { .. }) => Kind::Versions,
            (_, Self::Jobs) => Kind::Jobs,
            (_, Self::Load) => Kind::Load,
            (_, Self::Commit { .. }) => Kind::Commit,
            (_, Self::Rollback { .. }) => Kind::Rollback,
            (_, Self::ChangeStatus { .. }) => Kind::ChangeStatus,
            (_, Self::Storage { .. } | Self::Nowhere) => Kind::Other,
        }
    }
}
