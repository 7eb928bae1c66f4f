//! Finds, reads and validates the configuration file, and reads the keys that it points to.
//!
//! [`load`] returns [`Settings`], or every mistake with its position. The settings contain no keys;
//! [`read_key`] reads one when it is needed.

mod keys;
mod parse;
mod schema;
mod syntax;
mod values;

#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

pub use self::keys::{
    KeyError, KeyProblem, Warning, What, keep_secrets, read_key, read_secret, read_token,
};
pub use self::parse::parse;
pub use crate::toml_reader::{Mistake, units};

use crate::settings::Settings;
use crate::toml_reader::position;

/// The default path of the configuration.
pub const DEFAULT_FILE: &str = "/etc/nightjar/config.toml";

/// The only pipe or device that is accepted.
const STDIN: &str = "/dev/stdin";
/// The largest configuration, in bytes.
const LARGEST: u64 = 4 << 20;

/// What the meaning of a file depends on besides its text.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `$STATE_DIRECTORY`: the folders that systemd made for the service, separated by colons.
    pub state_directory: Option<OsString>,
    /// The folder that relative paths of the file start at.
    pub current_dir: PathBuf,
    /// Whether to check the files that hold keys, secrets and certificates. One that is certainly
    /// unusable is then a mistake.
    pub look_at_files: bool,
}

impl Environment {
    /// The environment of this process.
    fn of_process() -> Self {
        Self {
            state_directory: variable("STATE_DIRECTORY"),
            current_dir: std::env::current_dir().unwrap_or_default(),
            look_at_files: false,
        }
    }

    /// The first of systemd's folders.
    fn state_dir(&self) -> Option<PathBuf> {
        let first = self.state_directory.as_ref()?.as_bytes().split(|byte| *byte == b':').next()?;
        (!first.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(first)))
    }
}

/// Why a configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file does not exist.
    #[error(
        "there is no configuration {}: name another with `--config FILE` or $NIGHTJAR_CONFIG, or \
         make this one from a copy of config.example.toml",
        file.display()
    )]
    Missing {
        /// Its path.
        file: PathBuf,
    },
    /// It is a folder, or this process may not read it.
    #[error("the configuration {} cannot be read", file.display())]
    Unreadable {
        /// Its path.
        file: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// All mistakes, in the order of the file; never empty.
    #[error("{}", lines(.0))]
    Mistakes(Vec<Mistake>),
}

impl ConfigError {
    /// The error as a list of mistakes. One that concerns the whole file is reported at its start.
    pub fn into_mistakes(self) -> Vec<Mistake> {
        let message = match &self {
            Self::Unreadable { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        };
        match self {
            Self::Missing { file } | Self::Unreadable { file, .. } => {
                vec![Mistake { file, line: 1, column: 1, message }]
            }
            Self::Mistakes(mistakes) => mistakes,
        }
    }
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("\n")
}

/// The configuration file to use: the one given, or `$NIGHTJAR_CONFIG`, or
/// `/etc/nightjar/config.toml`.
pub fn locate(flag: Option<PathBuf>) -> PathBuf {
    flag.or_else(|| variable("NIGHTJAR_CONFIG").map(PathBuf::from))
        .unwrap_or_else(|| DEFAULT_FILE.into())
}

/// Reads and validates a configuration file. It reads no key.
///
/// # Errors
/// The file is missing, cannot be read, or has mistakes: all of them are returned.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    load_with(path, &Environment::of_process())
}

/// Like [`load`], and checks the files that hold keys, secrets and certificates: a missing, empty
/// or unusable one is a mistake. One that this user may not read is not.
///
/// # Errors
/// As [`load`].
pub fn examine(path: &Path) -> Result<Settings, ConfigError> {
    load_with(path, &Environment { look_at_files: true, ..Environment::of_process() })
}

fn load_with(path: &Path, env: &Environment) -> Result<Settings, ConfigError> {
    let file = path.to_owned();
    let bytes = match read_bounded(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ConfigError::Missing { file });
        }
        Err(source) => return Err(ConfigError::Unreadable { file, source }),
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let end = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        let (line, column) = position(&text, end);
        let message = "not TOML: found a byte that is not UTF-8".to_owned();
        ConfigError::Mistakes(vec![Mistake { file, line, column, message }])
    })?;
    parse(&text, path, env).map_err(ConfigError::Mistakes)
}

/// Reads a configuration from a regular file, or from standard input if the path names it.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe without a writer would block; a device may have no end.
    if path != Path::new(STDIN) {
        let kind = std::fs::metadata(path)?.file_type();
        if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("it is a pipe, a socket or a device, expected a file, or {STDIN}"),
            ));
        }
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {} MiB, the limit for a configuration", LARGEST >> 20),
        ));
    }
    Ok(bytes)
}

/// An environment variable that is set and not empty.
#[allow(clippy::disallowed_methods, reason = "this module is an edge where it may be read")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
