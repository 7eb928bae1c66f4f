//! Reads an account's key from where its settings say that it is.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::secret::Key;
use crate::settings::KeySource;

/// The longest key file; keys have 64 characters.
const LONGEST: u64 = 4096;

/// Something about a key that works, yet should be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// A sentence with the command to type.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Why an account has no key. It never contains the key or a part of it.
#[derive(Debug, thiserror::Error)]
#[error("account `{account}`: {problem}")]
pub struct KeyError {
    /// The account's name.
    pub account: String,
    /// What is wrong where, and what to do.
    pub problem: Problem,
}

/// What is wrong with the place of a key.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("the key file {} cannot be read: {error}", file.display())]
    Unreadable { file: PathBuf, error: io::Error },
    #[error("the key file {} is no regular file", file.display())]
    NotAFile { file: PathBuf },
    #[error("the key file {} is larger than {LONGEST} bytes, expected the key alone", file.display())]
    TooLarge { file: PathBuf },
    #[error("the key in {place} is unusable: {reason}")]
    Unusable { place: String, reason: &'static str },
    #[error("the environment variable ${name} with its key is not set")]
    NoVariable { name: String },
    #[error(
        "credential {name}: $CREDENTIALS_DIRECTORY is not set, so systemd did not start this \
         process with LoadCredential={name}:FILE; for commands typed by hand use key_file"
    )]
    NoCredentials { name: String },
    #[error(
        "there is no credential {name}: the unit needs LoadCredential={name}:FILE ({} cannot be \
         read: {error})",
        file.display()
    )]
    NoCredential { name: String, file: PathBuf, error: io::Error },
}

/// Reads an account's key from where its settings say that it is.
///
/// # Errors
/// There is no key, or what is there is none; the text says what to do.
pub fn read_key(source: &KeySource, account: &str) -> Result<(Key, Vec<Warning>), KeyError> {
    read_key_with(source, super::variable)
        .map_err(|problem| KeyError { account: account.to_owned(), problem })
}

/// [`read_key`] with the environment as an argument.
fn read_key_with(
    source: &KeySource,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<(Key, Vec<Warning>), Problem> {
    match source {
        KeySource::File(file) => {
            let (text, mode) = read_file(file)?;
            let key = usable(&text, || file.display().to_string())?;
            Ok((key, open_to_others(file, mode).into_iter().collect()))
        }
        KeySource::Env(name) => {
            let value = variable(name).ok_or_else(|| Problem::NoVariable { name: name.clone() })?;
            let key = usable(&value.to_string_lossy(), || format!("${name}"))?;
            Ok((key, Vec::new()))
        }
        KeySource::Credential(name) => {
            let folder = variable("CREDENTIALS_DIRECTORY")
                .ok_or_else(|| Problem::NoCredentials { name: name.clone() })?;
            let (text, _) =
                read_file(&Path::new(&folder).join(name)).map_err(|problem| match problem {
                    Problem::Unreadable { file, error } => {
                        Problem::NoCredential { name: name.clone(), file, error }
                    }
                    other => other,
                })?;
            // systemd guards the folder; group bits in it are an access list's mask
            Ok((usable(&text, || format!("credential {name}"))?, Vec::new()))
        }
    }
}

fn usable(text: &str, place: impl FnOnce() -> String) -> Result<Key, Problem> {
    Key::new(text).map_err(|reason| Problem::Unusable { place: place(), reason })
}

/// The text of a key file and its permission bits.
fn read_file(file: &Path) -> Result<(String, u32), Problem> {
    let unreadable = |error| Problem::Unreadable { file: file.to_owned(), error };
    // before opening: that would wait for ever on a pipe
    if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(Problem::NotAFile { file: file.to_owned() });
    }
    let opened = File::open(file).map_err(unreadable)?;
    let mode = opened.metadata().map_err(unreadable)?.permissions().mode();
    let mut bytes = Vec::new();
    opened.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Problem::TooLarge { file: file.to_owned() });
    }
    Ok((String::from_utf8_lossy(&bytes).into_owned(), mode))
}

/// A warning where the permission bits let others than the owner at a key file.
fn open_to_others(file: &Path, mode: u32) -> Option<Warning> {
    (mode & 0o077 != 0).then(|| {
        let file = file.display();
        let mode = mode & 0o777;
        let message = format!(
            "the key file {file} is open to others than its owner (mode {mode:03o}): type \
             `chmod 600 {file}`"
        );
        Warning { message }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use tempfile::TempDir;

    const CANARY: &str = "CANARY-0123456789abcdef";

    fn none(_: &str) -> Option<OsString> {
        None
    }

    fn file_with(text: &[u8], mode: u32) -> (TempDir, KeySource) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("the.key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (folder, KeySource::File(path))
    }

    #[test]
    fn a_key_file_holds_the_key_whatever_editor_wrote_it() {
        for text in [
            "CANARY-0123456789abcdef",
            "CANARY-0123456789abcdef\n",
            "\u{feff}CANARY-0123456789abcdef\r\n",
            "  CANARY-0123456789abcdef \n\n",
        ] {
            let (_folder, source) = file_with(text.as_bytes(), 0o600);
            let (key, warnings) = read_key_with(&source, none).unwrap();
            assert_eq!((key.expose(), warnings), (CANARY, Vec::new()));
        }
    }

    #[test]
    fn a_key_file_that_others_can_read_is_warned_about() {
        for mode in [0o640, 0o604, 0o644, 0o622] {
            let (_folder, source) = file_with(CANARY.as_bytes(), mode);
            let (_, warnings) = read_key_with(&source, none).unwrap();
            assert!(warnings[0].message.contains("chmod 600"), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        for text in ["", " \n", "CANARY two", "CANARY\nCANARY", "CANARY-ä"] {
            let (_folder, source) = file_with(text.as_bytes(), 0o600);
            let problem = read_key_with(&source, none).unwrap_err().to_string();
            assert!(problem.contains("the.key"), "{problem}");
            assert!(!problem.contains("CANARY"), "{problem}");
        }
        let (_folder, source) = file_with(&[b'x'; 5000], 0o600);
        assert!(matches!(read_key_with(&source, none), Err(Problem::TooLarge { .. })));
    }

    #[test]
    fn a_file_that_is_missing_or_no_file_is_named() {
        let folder = TempDir::new().unwrap();
        let missing = KeySource::File(folder.path().join("none.key"));
        let problem = read_key_with(&missing, none).unwrap_err().to_string();
        assert!(problem.contains("none.key"), "{problem}");
        let folder = KeySource::File(folder.path().to_owned());
        assert!(matches!(read_key_with(&folder, none), Err(Problem::NotAFile { .. })));
    }

    #[test]
    fn a_key_may_stand_in_the_environment() {
        let source = KeySource::Env("THE_KEY".into());
        let set = |name: &str| (name == "THE_KEY").then(|| CANARY.into());
        assert_eq!(read_key_with(&source, set).unwrap().0.expose(), CANARY);
        let problem = read_key_with(&source, none).unwrap_err().to_string();
        assert!(problem.contains("$THE_KEY"), "{problem}");
    }

    #[test]
    fn a_credential_is_found_in_the_folder_that_systemd_names() {
        let (folder, _) = file_with(CANARY.as_bytes(), 0o440);
        let source = KeySource::Credential("the.key".into());
        let set = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| folder.path().into());
        let (key, warnings) = read_key_with(&source, set).unwrap();
        assert_eq!((key.expose(), warnings), (CANARY, Vec::new()));
        let outside = read_key_with(&source, none).unwrap_err().to_string();
        assert!(outside.contains("LoadCredential=the.key:FILE"), "{outside}");
        let other = KeySource::Credential("other".into());
        assert!(matches!(read_key_with(&other, set), Err(Problem::NoCredential { .. })));
    }

    #[test]
    fn an_error_names_the_account() {
        let error = read_key(&KeySource::File("/no/such.key".into()), "contoso").unwrap_err();
        assert!(error.to_string().starts_with("account `contoso`: the key file /no/such.key"));
    }
}
