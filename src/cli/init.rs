//! `nightjar init`: a first configuration, from flags or interactively.

use super::{Common, Problem, archive, discover, exit, output};
use crate::config::{self, Environment, parse};
use crate::discovery::{Names, Proposal, Proposals, SCHEDULE, compare, name_for, proposals};
use crate::files;
use crate::secret::Key;
use crate::settings::{KeySource, Settings};
use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use url::Url;

/// The folder of keys beside the configuration; the shipped unit passes its files to the service as
/// credentials `keys_NAME`.
const KEYS: &str = "keys";
/// The form of a data source's URL, as shown in the service's portal.
const EXAMPLE: &str = "https://spatial.virtualearth.net/REST/v1/data/ACCESS_ID/DATA_SOURCE";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The data source's URL: https://…/data/ACCESS_ID/DATA_SOURCE
    #[arg(long, value_name = "URL", conflicts_with_all = ["access_id", "data_source"])]
    url: Option<Url>,
    /// The access id in the data source's URL
    #[arg(long, value_name = "ID")]
    access_id: Option<String>,
    /// The service's name of the data source
    #[arg(long, value_name = "NAME")]
    data_source: Option<String>,
    /// Name of the source in Nightjar [default: the data source's name in lower case]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Name of the account in Nightjar [default: main]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// A file that holds the account's master key [default: keys/ACCOUNT beside the configuration
    /// if that folder exists, otherwise ACCOUNT.key]
    #[arg(long, value_name = "FILE", conflicts_with = "credential")]
    key_file: Option<PathBuf>,
    /// The name of a systemd credential that holds the key
    #[arg(long, value_name = "NAME")]
    credential: Option<String>,
    /// When to back up, as in crontab [default: 0 2 * * *]
    #[arg(long, value_name = "CRON")]
    schedule: Option<String>,
    /// The time zone of the schedule [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Back up every data source that the account has, as the service lists them
    #[arg(long, conflicts_with_all = ["url", "access_id", "data_source", "source"])]
    discover: bool,
    /// The service's address [default: the service's own]
    #[arg(long, value_name = "URL")]
    endpoint: Option<Url>,
    /// Overwrite an existing configuration
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let file = config::locate(common.config.clone());
    let file = std::path::absolute(file).map_err(Problem::failed)?;
    if file.exists() && !arguments.force {
        return Err(Problem::usage(format!(
            "the configuration {} already exists: edit it, choose another file with --config, or \
             overwrite it with --force",
            file.display()
        )));
    }
    let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let mut answers = answers(arguments, &folder, asks)?;
    let settings = read_back(&answers.text(), &file, &folder)?;
    if !folder.as_os_str().is_empty() {
        fs::create_dir_all(&folder).map_err(|error| cannot_write(&folder, &error))?;
    }
    let key_file = answers.key.file(&folder);
    if asks
        && let Some(path) = key_file.as_deref().filter(|path| !path.exists())
        && let Some(key) = ask_key(&answers.account)?
    {
        let written = files::create(path).and_then(|mut it| writeln!(it, "{}", key.expose()));
        written.map_err(|error| cannot_write(path, &error))?;
        output::note(format!("The key is in {}, readable only by its owner.", path.display()));
    }
    let mut impossible = 0;
    if answers.lists {
        let found = listed(settings, &answers, key_file).await?;
        impossible = found.impossible.len();
        answers.sources = found.sources;
        read_back(&answers.text(), &file, &folder)?;
    }
    let text = answers.text();
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&file)
        .and_then(|mut it| it.write_all(text.as_bytes()).and_then(|()| it.sync_all()));
    written.map_err(|error| cannot_write(&file, &error))?;
    output::line(file.display().to_string())?;
    if answers.lists {
        output::note(all_listed(&answers.account, answers.sources.len(), impossible));
    }
    eprintln!("{}", answers.next_steps(&folder, &file));
    Ok(exit::DONE)
}

/// How many of the account's data sources the configuration backs up.
fn all_listed(account: &str, sources: usize, impossible: usize) -> String {
    let count = output::count(sources.saturating_add(impossible), "data source");
    match impossible {
        0 => format!("{account} has {count}: the configuration backs up each of them."),
        _ => format!(
            "{account} has {count}: the configuration backs up {sources} of them, and cannot have \
             the other {impossible}."
        ),
    }
}

/// Reads a configuration as it will be read from its file.
fn read_back(text: &str, file: &Path, folder: &Path) -> Result<Settings, Problem> {
    let env = Environment { current_dir: folder.to_owned(), ..Environment::default() };
    parse(text, file, &env).map_err(|mistakes| {
        let lines: Vec<_> = mistakes.iter().map(|mistake| mistake.message.clone()).collect();
        Problem::usage(format!(
            "these values do not make a valid configuration:\n{}",
            lines.join("\n")
        ))
    })
}

fn cannot_write(path: &Path, error: &io::Error) -> Problem {
    Problem::failed(format!(
        "cannot write {}: {error}; run the command with `sudo`, or choose another file with \
         --config",
        path.display()
    ))
}

/// A source for each data source that the account has: at least one.
async fn listed(
    mut settings: Settings,
    answers: &Answers,
    key_file: Option<PathBuf>,
) -> Result<Proposals, Problem> {
    let Some(key_file) = key_file.filter(|file| file.exists()) else {
        let place = match answers.key.file(Path::new("")) {
            Some(file) => format!("put the master key into {} first", file.display()),
            None => "name its file with --key-file".to_owned(),
        };
        return Err(Problem::usage(format!("--discover needs the account's key: {place}")));
    };
    let account = settings.accounts.get_mut(&answers.account);
    let account = account.ok_or_else(|| Problem::usage("the account's name is not valid"))?;
    // A credential that the unit will pass is in a file that can be read here.
    account.key = KeySource::File(key_file);
    let account = account.clone();
    let listing = discover::list(&settings, &account).await?;
    let comparison = compare(&settings, &account, &listing, |one| &one.origin);
    // A folder that is in the archive already holds another source's snapshots.
    let mut names = Names::beside(archive(&settings).sources().unwrap_or_default());
    let found = proposals(&comparison, &account, &answers.schedule, &mut names);
    discover::note_impossible(&account, &found.impossible);
    match found.sources.is_empty() {
        false => Ok(found),
        true => Err(Problem::failed(format!(
            "{} lists no data source that could be backed up; nothing was written",
            account.name
        ))),
    }
}

/// Where the key is to be.
#[derive(Debug)]
enum KeyPlace {
    /// A file, from the configuration's folder.
    File(PathBuf),
    /// A file of this name in the folder of keys that the shipped unit passes to the service.
    KeysFolder(String),
    /// A credential that an administrator provides.
    Credential(String),
}

impl KeyPlace {
    /// The key's file, where that is known.
    fn file(&self, folder: &Path) -> Option<PathBuf> {
        match self {
            KeyPlace::File(file) => Some(folder.join(file)),
            KeyPlace::KeysFolder(name) => Some(folder.join(KEYS).join(name)),
            KeyPlace::Credential(_) => None,
        }
    }
}

/// Everything that a first configuration needs.
#[derive(Debug)]
struct Answers {
    account: String,
    endpoint: Option<Url>,
    key: KeyPlace,
    schedule: String,
    timezone: String,
    sources: Vec<Proposal>,
    /// Whether the sources are those that the account lists.
    lists: bool,
}

/// What the service calls the only data source to back up.
struct OneSource {
    access_id: String,
    data_source: String,
}

/// The only data source to back up; `None` for all that the account has.
fn one_source(arguments: &Arguments, asks: bool) -> Result<Option<OneSource>, Problem> {
    let (mut access_id, mut data_source) =
        (arguments.access_id.clone(), arguments.data_source.clone());
    if arguments.discover {
        return Ok(None);
    }
    if let Some(url) = &arguments.url {
        let (id, name) = of_address(url).ok_or_else(|| {
            Problem::usage(format!("--url: expected an address such as {EXAMPLE}"))
        })?;
        (access_id, data_source) = (Some(id), Some(name));
    }
    if asks && access_id.is_none() && data_source.is_none() {
        let text = ask(&format!("The data source's address ({EXAMPLE}, empty: none)"), "")?;
        if text.is_empty() {
            let answer =
                ask("Back up every data source that the account lists (yes or no)", "yes")?;
            if answer.to_lowercase().starts_with('y') {
                return Ok(None);
            }
        } else {
            let found = Url::parse(&text).ok().as_ref().and_then(of_address);
            let (id, name) = found
                .ok_or_else(|| Problem::usage(format!("expected an address such as {EXAMPLE}")))?;
            (access_id, data_source) = (Some(id), Some(name));
        }
    }
    let needed = |given: Option<String>, question: &str, flag: &str| match given {
        Some(given) => Ok(given),
        None if asks => ask(question, ""),
        None => Err(Problem::usage(format!(
            "{flag} is missing; on a terminal `nightjar init` asks for missing values, \
             and --discover takes every data source of the account"
        ))),
    };
    let access_id = needed(access_id, "The access id", "--access-id, or --url,")?;
    let data_source = needed(data_source, "The data source's name", "--data-source, or --url,")?;
    Ok(Some(OneSource { access_id, data_source }))
}

fn answers(arguments: &Arguments, folder: &Path, asks: bool) -> Result<Answers, Problem> {
    let wished = |given: &Option<String>, question: &str, default: &str| match given {
        Some(given) => Ok(given.clone()),
        None if asks => ask(question, default),
        None => Ok(default.to_owned()),
    };
    let one = one_source(arguments, asks)?;
    let name = match &one {
        Some(one) => {
            wished(&arguments.source, "What to call it here", &name_for(&one.data_source))?
        }
        None => String::new(),
    };
    let account = wished(&arguments.account, "What to call the account", "main")?;
    let schedule = wished(&arguments.schedule, "When to back up, as in crontab", SCHEDULE)?;
    let timezone = wished(&arguments.timezone, "Time zone", &local_zone())?;
    let key = match (&arguments.credential, &arguments.key_file) {
        (Some(name), _) => KeyPlace::Credential(name.clone()),
        (None, Some(file)) => KeyPlace::File(std::path::absolute(file).map_err(Problem::failed)?),
        (None, None) if folder.join(KEYS).is_dir() => KeyPlace::KeysFolder(account.clone()),
        (None, None) => KeyPlace::File(format!("{account}.key").into()),
    };
    let lists = one.is_none();
    let only = |OneSource { access_id, data_source }| Proposal {
        name,
        account: account.clone(),
        keys: vec![("access_id", access_id), ("data_source", data_source)],
        schedule: schedule.clone(),
    };
    let sources = one.map(only).into_iter().collect();
    let endpoint = arguments.endpoint.clone();
    Ok(Answers { account, endpoint, key, schedule, timezone, sources, lists })
}

impl Answers {
    fn text(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let key = match &self.key {
            KeyPlace::File(file) => format!("key_file = {}", quoted(&file.to_string_lossy())),
            KeyPlace::KeysFolder(name) => {
                format!("credential = {}", quoted(&format!("{KEYS}_{name}")))
            }
            KeyPlace::Credential(name) => format!("credential = {}", quoted(name)),
        };
        let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let is_bare = !self.account.is_empty() && self.account.chars().all(bare);
        let endpoint = self.endpoint.as_ref().map_or(String::new(), |url| {
            format!("endpoint = {}\n", quoted(url.as_str().trim_end_matches('/')))
        });
        let sources: String = self.sources.iter().map(|source| format!("\n{source}")).collect();
        format!(
            "# Nightjar's configuration; config.example.toml explains every setting.\n\
             timezone = {}\n\n\
             [web]\n\
             listen = \"127.0.0.1:8787\"\n\n\
             [accounts.{}]\n\
             {key}\n\
             {endpoint}\
             {sources}",
            quoted(&self.timezone),
            if is_bare { self.account.clone() } else { quoted(&self.account) },
        )
    }

    fn next_steps(&self, folder: &Path, file: &Path) -> String {
        let key = match (&self.key, self.key.file(folder)) {
            (_, Some(file)) if file.exists() => String::new(),
            (_, Some(file)) => {
                format!("  put the master key into {} (and `chmod 600` it)\n", file.display())
            }
            (KeyPlace::Credential(name), _) => {
                format!("  let the unit have LoadCredential={name}:FILE, with the key in FILE\n")
            }
            (_, None) => String::new(),
        };
        let is_default = file == Path::new(config::DEFAULT_FILE);
        let config = match is_default {
            true => String::new(),
            false => format!("--config {} ", file.display()),
        };
        if matches!(self.key, KeyPlace::KeysFolder(_)) {
            return format!(
                "Next:\n{key}  nightjar {config}check\n  systemctl restart nightjar\n  nightjar \
                 {config}backup --no-wait\nNo alerts are configured yet: see docs/notifications.md."
            );
        }
        let then = match is_default {
            true => "systemctl enable --now nightjar".to_owned(),
            false => format!("nightjar {config}daemon"),
        };
        format!(
            "Next:\n{key}  nightjar {config}check --online\n  nightjar {config}backup\n  {then}\n\
             No alerts are configured yet: see docs/notifications.md."
        )
    }
}

/// The access id and the name in a data source's address.
fn of_address(url: &Url) -> Option<(String, String)> {
    let mut parts = url.path_segments()?.skip_while(|part| !part.eq_ignore_ascii_case("data"));
    parts.next()?;
    let decoded = |part: &str| {
        percent_encoding::percent_decode_str(part).decode_utf8().ok().map(|it| it.into_owned())
    };
    let (id, name) = (decoded(parts.next()?)?, decoded(parts.next()?)?);
    (!id.is_empty() && !name.is_empty()).then_some((id, name))
}

/// This machine's time zone, or UTC if it is unknown.
fn local_zone() -> String {
    let zone = iana_time_zone::get_timezone().ok();
    let known = |zone: &String| zone.parse::<chrono_tz::Tz>().is_ok();
    zone.filter(known).unwrap_or_else(|| "UTC".to_owned())
}

fn ask(question: &str, default: &str) -> Result<String, Problem> {
    let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    eprint!("{question}{shown}: ");
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line).map_err(Problem::failed)? == 0 {
        return Err(Problem::usage("stopped; nothing was written"));
    }
    let answer = line.trim();
    Ok(if answer.is_empty() { default } else { answer }.to_owned())
}

/// Asks for a key without showing it; `None` when it is to be put there later.
fn ask_key(account: &str) -> Result<Option<Key>, Problem> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin).map_err(Problem::failed)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &silent).map_err(Problem::failed)?;
    let line = ask(&format!("The master key of {account} (not shown; empty: later)"), "");
    let restored = tcsetattr(&stdin, OptionalActions::Now, &before);
    eprintln!();
    restored.map_err(Problem::failed)?;
    let line = line?;
    if line.is_empty() {
        return Ok(None);
    }
    Key::new(&line).map(Some).map_err(|reason| Problem::usage(format!("the key: {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_sources_that_cannot_be_configured_are_not_called_backed_up() {
        for (sources, impossible, said) in [
            (1, 0, "main has 1 data source: the configuration backs up each of them."),
            (
                3,
                1,
                "main has 4 data sources: the configuration backs up 3 of them, and cannot have \
                 the other 1.",
            ),
        ] {
            assert_eq!(all_listed("main", sources, impossible), said);
        }
    }

    #[test]
    fn the_next_steps_name_a_file_that_is_not_at_the_default_path() {
        for key in [KeyPlace::KeysFolder("main".into()), KeyPlace::Credential("key".into())] {
            let answers = Answers {
                account: "main".into(),
                endpoint: None,
                key,
                schedule: SCHEDULE.into(),
                timezone: "UTC".into(),
                sources: Vec::new(),
                lists: true,
            };
            let steps = |file: &str| answers.next_steps(Path::new("/srv"), Path::new(file));
            let elsewhere = steps("/srv/n.toml");
            for command in ["check", "backup"] {
                let named = format!("nightjar --config /srv/n.toml {command}");
                assert!(elsewhere.contains(&named), "{elsewhere}");
            }
            assert!(!steps(config::DEFAULT_FILE).contains("--config"));
        }
    }

    #[test]
    fn an_address_gives_id_and_name() {
        let of = |text: &str| of_address(&Url::parse(text).unwrap());
        let found = Some(("abc123".to_owned(), "Fourth Coffee".to_owned()));
        for rest in ["", "/", "/Stores?key=1", "/Stores('1')"] {
            let text = format!(
                "https://spatial.virtualearth.net/REST/v1/data/abc123/Fourth%20Coffee{rest}"
            );
            assert_eq!(of(&text), found, "{text}");
        }
        for text in
            ["https://example.org/", "https://example.org/data/x", "https://example.org/data//y"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
