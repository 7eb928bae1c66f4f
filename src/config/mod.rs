//! Finds, reads and validates the configuration file, and reads the keys that it points to.
//!
//! A file is taken whole or not at all: [`load`] gives [`Settings`] or every mistake, each with
//! its place. Keys are never part of it; [`read_key`] fetches one when it is needed.

mod keys;
mod parse;
mod reader;
mod schema;
mod syntax;
pub mod units;
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
pub use self::reader::Mistake;

use crate::settings::Settings;

/// Where the configuration is unless something else is said.
pub const DEFAULT_FILE: &str = "/etc/nightjar/config.toml";

/// The one pipe or device that is read.
const STDIN: &str = "/dev/stdin";
/// Bytes that a configuration may have.
const LARGEST: u64 = 4 << 20;

/// What a file's meaning depends on besides its text.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `$STATE_DIRECTORY`: the folders that systemd made for the service, separated by colons.
    pub state_directory: Option<OsString>,
    /// Where a relative path of the file itself starts.
    pub current_dir: PathBuf,
    /// Whether the files that it names for keys, secrets and certificates are looked at: then one
    /// that cannot be right is a mistake.
    pub look_at_files: bool,
}

impl Environment {
    /// That of this process.
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

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error(
        "there is no configuration {}: name another with `--config FILE` or $NIGHTJAR_CONFIG, or \
         make this one from a copy of config.example.toml",
        file.display()
    )]
    Missing {
        /// Where it was looked for.
        file: PathBuf,
    },
    /// It exists, but is a folder or this process may not read it.
    #[error("the configuration {} cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Every mistake in it, in the file's order; never empty.
    #[error("{}", lines(.0))]
    Mistakes(Vec<Mistake>),
}

impl ConfigError {
    /// The error as a list of mistakes; one that concerns the whole file stands at its beginning.
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
/// The file is missing or cannot be read, or has mistakes: then all of them.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    load_with(path, &Environment::of_process())
}

/// [`load`], and a look at the files that it names for keys, secrets and certificates: one that is
/// missing, empty or something else is a mistake. One that this user may not read is none.
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
        let (line, column) = reader::position(&text, end);
        let message = "not TOML: found a byte that is no UTF-8".to_owned();
        ConfigError::Mistakes(vec![Mistake { file, line, column, message }])
    })?;
    parse(&text, path, env).map_err(ConfigError::Mistakes)
}

/// The whole of a configuration, which is a regular file, or standard input where that is named.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe that nobody writes to would be waited for; a device may have no end.
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
            format!(
                "it has more than {} MiB, the most that a configuration may have",
                LARGEST >> 20
            ),
        ));
    }
    Ok(bytes)
}

/// An environment variable that is set and not empty.
#[allow(clippy::disallowed_methods, reason = "this module is an edge where it may be read")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
