//! What ends a command early, with its exit code.

use super::exit;
use crate::archive::SelectError;
use crate::config::ConfigError;
use crate::diff::DiffError;
use crate::engine::ConnectError;
use crate::recovery::RecoveryError;
use crate::report::ReportError;
use crate::store::StoreError;
use std::fmt::Display;

/// A sentence and an exit code.
#[derive(Debug)]
pub(super) struct Problem {
    code: u8,
    message: String,
}

impl Problem {
    /// The work failed.
    pub(super) fn failed(message: impl Display) -> Problem {
        Problem { code: exit::FAILED, message: message.to_string() }
    }

    /// Wrong usage or configuration.
    pub(super) fn usage(message: impl Display) -> Problem {
        Problem { code: exit::USAGE, message: message.to_string() }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// Each line by itself, so that every one can be found.
    pub(super) fn print(&self) {
        for line in self.message.split('\n') {
            super::output::note(format!("nightjar: {line}"));
        }
    }
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Problem {
        match error {
            ConfigError::Unreadable { file, source } => Problem::usage(format!(
                "the configuration {} cannot be read: {source}",
                file.display()
            )),
            error => Problem::usage(error),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        Problem::failed(error)
    }
}

impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Problem {
        Problem::usage(error)
    }
}

impl From<RecoveryError> for Problem {
    fn from(error: RecoveryError) -> Problem {
        Problem::failed(error)
    }
}

impl From<SelectError> for Problem {
    fn from(error: SelectError) -> Problem {
        match error {
            SelectError::None { .. } | SelectError::Manifest { .. } => Problem::usage(error),
            SelectError::Io(_) => Problem::failed(error),
        }
    }
}

impl From<DiffError> for Problem {
    fn from(error: DiffError) -> Problem {
        match error {
            DiffError::DifferentKeys { .. } | DiffError::SeveralTypes { .. } => {
                Problem::usage(error)
            }
            _ => Problem::failed(error),
        }
    }
}

impl From<ReportError> for Problem {
    fn from(error: ReportError) -> Problem {
        Problem::failed(error)
    }
}
