//! Reads keys and other secrets from the places that the settings name.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;

use crate::files;
use crate::secret::{Key, Secret};
use crate::settings::{KeySource, Settings};

/// The longest file of a key or secret; keys have 64 characters.
const LONGEST: u64 = 4096;

/// A problem with a key that works but should be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// A sentence with the command to run.
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
    /// The problem, and what to do about it.
    pub problem: KeyProblem,
}

/// Why a key or secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// The file is missing, or this process may not read it.
    #[error("the {what} file {} cannot be read: {error}", file.display())]
    Unreadable { what: What, file: PathBuf, error: io::Error },
    /// A folder, a pipe or a device.
    #[error("the {what} file {} is not a regular file", file.display())]
    NotAFile { what: What, file: PathBuf },
    /// Probably not a key file.
    #[error("the {what} file {} is larger than {LONGEST} bytes, expected the {what} alone", file.display())]
    TooLarge { what: What, file: PathBuf },
    /// The content is not a usable key.
    #[error("the {what} in {place} is unusable: {reason}")]
    Unusable { what: What, place: String, reason: &'static str },
    /// The environment variable is not set, or empty.
    #[error("the environment variable ${name}, which should hold the {what}, is not set")]
    NoVariable { what: What, name: String },
    /// systemd passed no credentials to this process.
    #[error(
        "credential {name}: $CREDENTIALS_DIRECTORY is not set, so systemd did not start this \
         process with LoadCredential={name}:FILE; for commands typed by hand use key_file"
    )]
    NoCredentials { name: String },
    /// systemd passed other credentials, but not this one.
    #[error(
        "there is no credential {name}: the unit needs LoadCredential={name}:FILE ({} cannot be \
         read: {error})",
        file.display()
    )]
    NoCredential { name: String, file: PathBuf, error: io::Error },
}

/// The kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A key of the service.
    Key,
    /// Another secret.
    Secret,
    /// The access token of the status page, which is sent in headers.
    Token,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::Key => "key",
            What::Secret => "secret",
            What::Token => "token",
        })
    }
}

/// Reads an account's key from the place that its settings name.
///
/// # Errors
/// The key is missing or unusable; the message says what to do.
pub fn read_key(source: &KeySource, account: &str) -> Result<(Key, Vec<Warning>), KeyError> {
    read_with(source, What::Key, key, super::variable)
        .map_err(|problem| KeyError { account: account.to_owned(), problem })
}

/// Reads another secret: a webhook's secret, a mail server's password.
///
/// # Errors
/// As [`read_key`].
pub fn read_secret(source: &KeySource) -> Result<(Secret, Vec<Warning>), KeyProblem> {
    read_with(source, What::Secret, secret, super::variable)
}

/// Reads the page's token.
///
/// # Errors
/// As [`read_key`].
pub fn read_token(source: &KeySource) -> Result<(Secret, Vec<Warning>), KeyProblem> {
    read_with(source, What::Token, token, super::variable)
}

/// Opens every file that these settings name for keys, secrets and certificates, so that it can
/// still be read after root has become another user.
pub fn keep_secrets(settings: &Settings) {
    let notify = &settings.notify;
    let keys = settings.accounts.values().map(|account| &account.key);
    let webhooks = notify.webhooks.iter().filter_map(|webhook| webhook.secret.as_ref());
    let password = notify.email.iter().filter_map(|email| email.password.as_ref());
    for source in keys.chain(webhooks).chain(password).chain(&settings.token) {
        match source {
            KeySource::File(file) => files::keep_open(file),
            KeySource::Credential(name) => {
                if let Some(folder) = super::variable("CREDENTIALS_DIRECTORY") {
                    files::keep_open(&Path::new(&folder).join(name));
                }
            }
            KeySource::Env(_) => {}
        }
    }
    if let Some(file) = &settings.http.ca_file {
        files::keep_open(file);
    }
}

/// Checks the file of a key or secret. A file that this user may not read is no problem: the
/// service may run as another user.
pub(super) fn look_at_file(file: &Path, what: What) -> Result<(), KeyProblem> {
    let source = KeySource::File(file.to_owned());
    let read = match what {
        What::Key => read_with(&source, what, key, |_| None).map(drop),
        What::Secret => read_with(&source, what, secret, |_| None).map(drop),
        What::Token => read_with(&source, what, token, |_| None).map(drop),
    };
    match read {
        Err(KeyProblem::Unreadable { error, .. })
            if error.kind() == io::ErrorKind::PermissionDenied =>
        {
            Ok(())
        }
        read => read,
    }
}

fn key(text: &[u8]) -> Result<Key, &'static str> {
    Key::new(&String::from_utf8_lossy(text))
}

fn secret(text: &[u8]) -> Result<Secret, &'static str> {
    Secret::new(std::str::from_utf8(text).map_err(|_| "it is not UTF-8")?)
}

fn token(text: &[u8]) -> Result<Secret, &'static str> {
    Secret::for_header(std::str::from_utf8(text).map_err(|_| "it is not UTF-8")?)
}

/// Reads a secret of one type, with the environment as an argument.
fn read_with<T>(
    source: &KeySource,
    what: What,
    make: impl Fn(&[u8]) -> Result<T, &'static str>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<(T, Vec<Warning>), KeyProblem> {
    let usable = |text: &[u8], place: String| {
        make(text).map_err(|reason| KeyProblem::Unusable { what, place, reason })
    };
    match source {
        KeySource::File(file) => {
            let (text, access) = read_file(file, what)?;
            let secret = usable(&text, file.display().to_string())?;
            Ok((secret, open_to_others(file, what, access).into_iter().collect()))
        }
        KeySource::Env(name) => {
            let value = variable(name)
                .ok_or_else(|| KeyProblem::NoVariable { what, name: name.clone() })?;
            Ok((usable(value.as_encoded_bytes(), format!("${name}"))?, Vec::new()))
        }
        KeySource::Credential(name) => {
            let folder = variable("CREDENTIALS_DIRECTORY")
                .ok_or_else(|| KeyProblem::NoCredentials { name: name.clone() })?;
            let (text, _) =
                read_file(&Path::new(&folder).join(name), what).map_err(
                    |problem| match problem {
                        KeyProblem::Unreadable { file, error, .. } => {
                            KeyProblem::NoCredential { name: name.clone(), file, error }
                        }
                        other => other,
                    },
                )?;
            // systemd protects the folder; group bits in it are the mask of an access list
            Ok((usable(&text, format!("credential {name}"))?, Vec::new()))
        }
    }
}

/// Who may access a key file.
#[derive(Debug, Clone, Copy)]
struct Access {
    /// The permission bits.
    mode: u32,
    /// Whether the file belongs to the user that this process runs as.
    own: bool,
}

/// The bytes of a key file, wiped when they are dropped, and its permissions.
fn read_file(file: &Path, what: What) -> Result<(Zeroizing<Vec<u8>>, Access), KeyProblem> {
    let unreadable = |error| KeyProblem::Unreadable { what, file: file.to_owned(), error };
    let opened = files::open_secret(file)
        .map_err(unreadable)?
        .ok_or_else(|| KeyProblem::NotAFile { what, file: file.to_owned() })?;
    let metadata = opened.metadata().map_err(unreadable)?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    let access = Access { mode: metadata.permissions().mode() & 0o777, own };
    // allocated at its final size: growing would leave copies in memory
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * LONGEST as usize));
    opened.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LONGEST {
        return Err(KeyProblem::TooLarge { what, file: file.to_owned() });
    }
    Ok((bytes, access))
}

/// A warning if the permission bits give more access to a key file than necessary. Group access to
/// another user's file is necessary: through it, this process may read the file.
fn open_to_others(file: &Path, what: What, Access { mode, own }: Access) -> Option<Warning> {
    let (needless, change) = if own { (0o077, "600") } else { (0o027, "g-w,o=") };
    (mode & needless != 0).then(|| {
        let file = file.display();
        let message = format!(
            "the {what} file {file} is open to others (mode {mode:03o}): type `chmod {change} {file}`"
        );
        Warning { message }
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "AhKXVXTXXabcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVW-0123";

    /// No variable at all.
    fn nothing(_: &str) -> Option<OsString> {
        None
    }

    fn key_file(content: impl AsRef<[u8]>, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("contoso.key");
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        (folder, file)
    }

    fn read_key_with(
        source: &KeySource,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<(Key, Vec<Warning>), KeyProblem> {
        read_with(source, What::Key, key, variable)
    }

    #[test]
    fn a_password_with_blanks_and_umlauts_is_read_as_it_is() {
        let (_folder, file) = key_file(" Grüße an alle \r\n", 0o640);
        let (password, warnings) = read_secret(&KeySource::File(file)).unwrap();
        assert_eq!(password.expose(), " Grüße an alle ");
        assert!(warnings[0].message.starts_with("the secret file "), "{warnings:?}");
        let (_folder, file) = key_file(b"caf\xe9", 0o600);
        let problem = read_secret(&KeySource::File(file)).unwrap_err().to_string();
        assert!(problem.starts_with("the secret in ") && problem.ends_with("it is not UTF-8"));
    }

    fn problem(source: &KeySource) -> String {
        read_key_with(source, nothing).unwrap_err().to_string()
    }

    #[test]
    fn a_key_file_that_is_private_gives_the_key_and_no_warning() {
        for mode in [0o600, 0o400] {
            let (_folder, file) = key_file(KEY, mode);
            let (key, warnings) = read_key(&KeySource::File(file), "contoso").unwrap();
            assert_eq!(key.expose(), KEY);
            assert_eq!(warnings, []);
        }
    }

    #[test]
    fn a_key_file_that_others_can_read_gives_a_warning_with_the_command_to_run() {
        for mode in [0o644, 0o640, 0o604, 0o660, 0o601] {
            let (_folder, file) = key_file(KEY, mode);
            let (key, warnings) = read_key(&KeySource::File(file.clone()), "contoso").unwrap();
            assert_eq!(key.expose(), KEY);
            let file = file.display();
            let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
            assert_eq!(
                warning.to_string(),
                format!(
                    "the key file {file} is open to others (mode {mode:03o}): type `chmod 600 \
                     {file}`"
                )
            );
        }
    }

    #[test]
    fn group_access_to_another_users_key_file_gives_no_warning() {
        let warning = |mode| open_to_others(Path::new("k"), What::Key, Access { mode, own: false });
        assert_eq!(warning(0o640), None);
        assert_eq!(warning(0o440), None);
        let message = "the key file k is open to others (mode 644): type `chmod g-w,o= k`";
        assert_eq!(warning(0o644).unwrap().message, message);
        assert!(warning(0o660).is_some());
    }

    #[test]
    fn blanks_and_byte_order_marks_around_a_key_are_removed() {
        for content in [
            format!("{KEY}\n"),
            format!("{KEY}\r\n"),
            format!("\u{feff}{KEY}\r\n"),
            format!("\n  {KEY}\t\n\n"),
        ] {
            let (_folder, file) = key_file(&content, 0o600);
            let (key, _) = read_key(&KeySource::File(file), "contoso").unwrap();
            assert_eq!(key.expose(), KEY, "{content:?}");
        }
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_without_showing_it() {
        let utf16: Vec<u8> = KEY.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (content, reason) in [
            (b"".to_vec(), "it is empty"),
            (b" \r\n".to_vec(), "it is empty"),
            (format!("{KEY}\n{KEY}\n").into_bytes(), "blanks or line breaks inside"),
            (format!("key = {KEY}").into_bytes(), "blanks or line breaks inside"),
            (format!("{KEY}é").into_bytes(), "expected visible ASCII"),
            (format!("{KEY}\0").into_bytes(), "expected visible ASCII"),
            (utf16, "expected visible ASCII"),
            (b"\xff\xfe\xfd".to_vec(), "expected visible ASCII"),
        ] {
            let (_folder, file) = key_file(content, 0o600);
            let text = problem(&KeySource::File(file.clone()));
            let place = format!("the key in {} is unusable: ", file.display());
            assert!(text.starts_with(&place) && text.contains(reason), "{text}");
            assert!(!text.contains("AhKX"), "{text}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_refused_before_it_is_read_whole() {
        let (_folder, file) = key_file("x".repeat(4097), 0o600);
        assert_eq!(
            problem(&KeySource::File(file.clone())),
            format!(
                "the key file {} is larger than 4096 bytes, expected the key alone",
                file.display()
            )
        );
        let (_folder, file) = key_file("x".repeat(4096), 0o600);
        assert!(read_key(&KeySource::File(file), "contoso").is_ok());
        for file in ["/dev/zero", "/"] {
            assert_eq!(
                problem(&KeySource::File(file.into())),
                format!("the key file {file} is not a regular file")
            );
        }
    }

    #[test]
    fn a_missing_file_is_named_with_its_account() {
        let error = read_key(&KeySource::File("/nowhere/contoso.key".into()), "contoso");
        let error = error.unwrap_err();
        assert_eq!(
            error.to_string(),
            "account `contoso`: the key file /nowhere/contoso.key cannot be read: No such file or \
             directory (os error 2)"
        );
        assert!(error.source().is_none(), "the message says all");
    }

    #[test]
    fn a_variable_gives_the_key() {
        let source = KeySource::Env("CONTOSO_KEY".into());
        let only =
            |name: &str| (name == "CONTOSO_KEY").then(|| OsString::from(format!(" {KEY}\n")));
        let (key, warnings) = read_key_with(&source, only).unwrap();
        assert_eq!((key.expose(), warnings), (KEY, Vec::new()));
        assert_eq!(
            problem(&source),
            "the environment variable $CONTOSO_KEY, which should hold the key, is not set"
        );
        let text = read_key_with(&source, |_| Some("a b".into())).unwrap_err().to_string();
        assert!(text.starts_with("the key in $CONTOSO_KEY is unusable: "), "{text}");
    }

    #[test]
    fn a_credential_gives_the_key_whatever_its_mode() {
        // systemd's own: 0440 and an access list
        let (folder, _file) = key_file(KEY, 0o444);
        let source = KeySource::Credential("contoso.key".into());
        let folder = folder.path().as_os_str().to_owned();
        let systemd = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| folder.clone());
        let (key, warnings) = read_key_with(&source, systemd).unwrap();
        assert_eq!((key.expose(), warnings), (KEY, Vec::new()));

        let other = KeySource::Credential("other".into());
        let text = read_key_with(&other, systemd).unwrap_err().to_string();
        assert!(
            text.starts_with(
                "there is no credential other: the unit needs LoadCredential=other:FILE ("
            ),
            "{text}"
        );
        assert_eq!(
            problem(&other),
            "credential other: $CREDENTIALS_DIRECTORY is not set, so systemd did not start this \
             process with LoadCredential=other:FILE; for commands typed by hand use key_file"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_key_or_a_problem_that_does_not_show_them(
            content: Vec<u8>, printable in "[!-~]{12,80}",
        ) {
            let (_folder, file) = key_file(&content, 0o600);
            let _ = read_key_with(&KeySource::File(file), nothing);
            let (_folder, file) = key_file(format!("{printable} {printable}"), 0o600);
            let text = problem(&KeySource::File(file));
            prop_assert!(!text.contains(&printable), "{}", text);
        }
    }
}
