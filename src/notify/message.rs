//! The messages.

use crate::timestamp::rfc3339;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Why a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something broke.
    Broke,
    /// The problem persists.
    Still,
    /// The problem is over.
    Recovered,
    /// A test of the channels.
    Test,
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// What kind of problem it is, as a word; `None` in a test.
    pub kind: Option<String>,
    /// The source, account, folder or service.
    pub about: String,
    /// What is, or was, wrong, and what to do.
    pub message: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// One message, as webhooks and commands receive it in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Why it is sent.
    pub event: Event,
    /// The kind of problem; `null` in a test.
    pub kind: Option<String>,
    /// The source, account, folder or service with the problem.
    pub about: String,
    /// The problem and what to do about it.
    pub message: String,
    /// Since when, RFC 3339 in UTC.
    pub since: String,
    /// When the message was made, RFC 3339 in UTC.
    pub at: String,
    /// The name of this machine.
    pub host: String,
    /// The program and its version.
    pub generator: String,
}

impl Message {
    /// A message from this machine, made now.
    pub fn new(event: Event, content: Content, now: DateTime<Utc>, host: &str) -> Message {
        let Content { kind, about, message, since } = content;
        Message {
            event,
            kind,
            about,
            message,
            since: rfc3339(since),
            at: rfc3339(now),
            host: host.to_owned(),
            generator: concat!("nightjar ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// A test message.
    pub fn test(now: DateTime<Utc>, host: &str) -> Message {
        let content = Content {
            kind: None,
            about: "nightjar".to_owned(),
            message: "this is a test: alerts about backups will arrive here".to_owned(),
            since: now,
        };
        Message::new(Event::Test, content, now, host)
    }

    /// The subject line.
    pub fn subject(&self) -> String {
        let Message { about, host, .. } = self;
        let kind = self.kind.as_deref().unwrap_or_default().replace('_', " ");
        match self.event {
            Event::Broke => format!("[nightjar] {about}: {kind} ({host})"),
            Event::Still => format!("[nightjar] {about}: still {kind} ({host})"),
            Event::Recovered => format!("[nightjar] {about}: recovered ({host})"),
            Event::Test => format!("[nightjar] test message ({host})"),
        }
    }

    /// The message as plain text.
    pub fn text(&self) -> String {
        let Message { about, message, since, at, host, generator, .. } = self;
        let (first, advice) = match self.event {
            Event::Broke => (format!("{about}: {message}."), "`nightjar status` shows more."),
            Event::Still => {
                (format!("{about}, since {since}: {message}."), "`nightjar status` shows more.")
            }
            Event::Recovered => (
                format!("{about} has recovered. The problem since {since} was: {message}."),
                "Nothing needs to be done.",
            ),
            Event::Test => (format!("{message}."), "Nothing needs to be done."),
        };
        format!("{first}\n\n{advice}\n\n-- \n{generator} on {host}, {at}\n")
    }
}

/// The phase of a backup, as reported to checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The service has accepted the request.
    Start,
    /// A validated snapshot is in the archive.
    Success,
    /// It failed.
    Fail,
    /// None of these: only a line in the log of the check.
    Log,
}

impl Phase {
    /// The suffix of the check's path.
    pub(super) fn path(self) -> &'static str {
        match self {
            Phase::Start => "start",
            Phase::Success => "",
            Phase::Fail => "fail",
            Phase::Log => "log",
        }
    }
}

/// A UUID (version 8) of a text: the same for each ping of one run, also after a restart.
pub fn run_id(of: &str) -> String {
    let digest = Sha256::digest(of.as_bytes());
    let bytes = std::array::from_fn(|at| digest.get(at).copied().unwrap_or(0));
    Uuid::new_v8(bytes).to_string()
}
