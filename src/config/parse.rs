//! From the text of a configuration file to [`Settings`], or to every mistake in it.

use std::collections::BTreeMap;
use std::io::ErrorKind::PermissionDenied;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::Environment;
use super::keys::{What, look_at_file};
use super::schema;
use super::syntax;
use super::values::{self, A_KEY_ITSELF, holds_key, quoted};
use crate::policy::retention::Rules;
use crate::service::{self, ServiceKind};
use crate::settings::{
    Account, Email, Http, KeySource, Listen, MailSecurity, Notify, Poll, Retry, Settings, Source,
    Webhook,
};
use crate::tls::{self, CaFileError};
use crate::toml_reader::units::duration_text;
use crate::toml_reader::{Document, Mistake, Table, nearest};

/// The default state folder, where neither the file nor systemd names one.
const STATE_DIR: &str = "/var/lib/nightjar";

/// The default address of the page for a `[web]` without `listen`.
const LISTEN: &str = "127.0.0.1:8787";

/// Reads the text of a configuration file. Relative paths in it start at the file's folder.
///
/// # Errors
/// Every mistake, in the order of the file; never empty. Lines that are not TOML do not hide
/// mistakes in other lines, unless it is unclear which table those belong to.
pub fn parse(text: &str, file: &Path, env: &Environment) -> Result<Settings, Vec<Mistake>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let (repeated, broken): (Vec<_>, Vec<_>) = errors.iter().partition(|it| syntax::repeats(it));
    let repair = if broken.is_empty() { None } else { syntax::without_lines_of(&broken, text) };
    let schema = schema::schema();
    let doc = Document::new(file, text, &schema, broken.is_empty());
    for error in repeated {
        let span = error.span().unwrap_or_default();
        let name = quoted(text.get(span.clone()).unwrap_or_default());
        doc.mistake(span.start, format!("{name} is already defined, expected it once"));
    }
    for (at, message) in syntax::problems(&broken, text) {
        doc.mistake(at, message);
    }
    let rest = repair.as_deref().and_then(syntax::parse);
    let readable = if broken.is_empty() { Some(&root) } else { rest.as_ref() };
    let settings = readable.map(|root| {
        let table = Table::new(&doc, &schema::ROOT, 0, root.get_ref());
        settings(&table, file, env)
    });
    let mistakes = doc.into_mistakes();
    match settings {
        Some(settings) if mistakes.is_empty() => Ok(settings),
        _ => Err(mistakes),
    }
}

/// The folder that relative paths start at, and whether to check the files that paths name.
#[derive(Clone, Copy)]
struct Base<'p> {
    folder: &'p Path,
    looks: bool,
}

impl Base<'_> {
    /// The path of a file that holds a key or secret; the key itself is a mistake.
    fn secret_file(self, value: &DeValue<'_>, what: What) -> Result<PathBuf, String> {
        let path = values::key_file(self.folder)(value)?;
        if self.looks {
            look_at_file(&path, what).map_err(|problem| problem.to_string())?;
        }
        Ok(path)
    }

    /// The path of a file of certificates. One that this user may not read is accepted.
    fn ca_file(self, value: &DeValue<'_>) -> Result<PathBuf, String> {
        let path = values::path(self.folder)(value)?;
        if !self.looks {
            return Ok(path);
        }
        match tls::read_ca_file(&path) {
            Ok(_) => Ok(path),
            Err(CaFileError::Unreadable(error)) if error.kind() == PermissionDenied => Ok(path),
            Err(problem) => Err(format!("{} {problem}", path.display())),
        }
    }
}

/// The whole file. A value with a mistake is replaced by a default or left out, so that the rest
/// can be checked.
fn settings(root: &Table<'_>, file: &Path, env: &Environment) -> Settings {
    let file = env.current_dir.join(file);
    let folder = file.parent().unwrap_or(&env.current_dir);
    let from = Base { folder, looks: env.look_at_files };

    let state_dir = root
        .get("state_dir", values::path(folder))
        .or_else(|| Some(env.current_dir.join(env.state_dir()?)))
        .unwrap_or_else(|| STATE_DIR.into());
    let archive_dir =
        root.get("archive_dir", values::path(folder)).unwrap_or_else(|| state_dir.join("archive"));
    let place = root.place_of_value("archive_dir");
    if archive_dir == state_dir {
        root.mistake(
            place,
            "`archive_dir`: found the folder of `state_dir`, expected another one: each folder of \
             the archive belongs to a source",
        );
    } else if archive_dir.starts_with(state_dir.join("quarantine")) {
        root.mistake(
            place,
            "`archive_dir`: found the quarantine of `state_dir`, expected another folder",
        );
    }

    let timezone = root.get("timezone", values::timezone).unwrap_or(chrono_tz::UTC);
    let web = root.table("web", &schema::WEB);
    let token = secret_source(&web, from, TOKEN_PLACES);
    let listen = if web.is_present() {
        let is_open = token.is_some();
        web.get("listen", values::listen(folder, is_open))
            .unwrap_or_else(|| LISTEN.parse().ok().map(Listen::Tcp))
    } else {
        None
    };
    let Accounts { kinds, readable: accounts } = accounts(root, from);
    let retention = retention(&root.table("retention", &schema::RETENTION), Rules::default());
    let mut settings = Settings {
        state_dir,
        archive_dir,
        timezone,
        listen,
        token,
        accounts,
        poll: poll(&root.table("poll", &schema::POLL)),
        retry: retry(&root.table("retry", &schema::RETRY)),
        http: http(&root.table("http", &schema::HTTP), from),
        retention,
        notify: notify(&root.table("notify", &schema::NOTIFY), from),
        sources: Vec::new(),
        file,
    };
    settings.sources = sources(root, &kinds, &settings);
    settings
}

/// The accounts of the file.
struct Accounts<'d> {
    /// Every one's name and service, also of those that have mistakes.
    kinds: Kinds<'d>,
    /// Those without mistakes.
    readable: BTreeMap<String, Account>,
}

fn accounts<'d>(root: &Table<'d>, from: Base<'_>) -> Accounts<'d> {
    let section = |table: &Table<'_>| schema::ACCOUNT.with(kind_of(table).account_keys);
    let tables = root.named_tables("accounts", schema::ACCOUNT.title, section);
    let kind = |table: &Option<Table<'_>>| table.as_ref().map_or(service::DEFAULT, kind_of);
    let kinds = tables.iter().map(|(name, table)| (*name, kind(table))).collect();
    let readable = tables
        .into_iter()
        .filter_map(|(name, table)| account(name, &table?, from))
        .map(|account| (account.name.clone(), account))
        .collect();
    Accounts { kinds, readable }
}

/// The service that an account names. An unknown one is a mistake where the account is read.
fn kind_of(account: &Table<'_>) -> &'static ServiceKind {
    account.text("service").and_then(service::named).unwrap_or(service::DEFAULT)
}

fn account(name: &str, table: &Table<'_>, from: Base<'_>) -> Option<Account> {
    if holds_key(name) {
        table.mistake(table.at, format!("the account's name: {A_KEY_ITSELF}"));
    } else if name.trim().is_empty()
        || name.chars().any(char::is_control)
        || name.chars().count() > 64
    {
        table.mistake(table.at, "the account's name: expected 1 to 64 printable characters");
    }
    let key = key_source(table, from);
    let kind = table.get("service", service_kind).unwrap_or(service::DEFAULT);
    let own = (kind.read_account)(table);
    let discover = table.get("discover", values::boolean).unwrap_or(true);
    let (key, own) = (key?, own?);
    Some(Account {
        name: name.to_owned(),
        service: kind.word,
        key,
        endpoint: own.endpoint,
        max_in_process: own.max_in_process,
        max_jobs_per_day: own.max_jobs_per_day,
        discover,
    })
}

/// The service of that word.
fn service_kind(value: &DeValue<'_>) -> Result<&'static ServiceKind, String> {
    let word = values::text(value)?;
    service::named(word).ok_or_else(|| {
        let known: Vec<_> = service::KINDS.iter().map(|kind| quoted(kind.word)).collect();
        format!("no service {}, known: {}", quoted(word), known.join(", "))
    })
}

/// The keys of an account that name the place of its key.
const KEY_PLACES: [&str; 3] = ["key_file", "key_env", "credential"];
/// The keys of `[web]` that name the place of the page's token.
const TOKEN_PLACES: [&str; 3] = ["token_file", "token_env", "token_credential"];

/// Exactly one of the three places where an account's key may be.
fn key_source(table: &Table<'_>, from: Base<'_>) -> Option<KeySource> {
    let none = KEY_PLACES.iter().all(|key| table.place_of(key).is_none());
    // a key written into the file has its own message already
    if none && !table.holds_secret() {
        let expected = one_of(KEY_PLACES);
        table.missing(table.at, format!("the key's place is missing: expected {expected}"));
    }
    secret_source(table, from, KEY_PLACES)
}

fn one_of([file, env, credential]: [&str; 3]) -> String {
    format!("one of {file} = \"FILE\", {env} = \"VARIABLE\" or {credential} = \"NAME\"")
}

/// At most one of the three places where a secret may be.
fn secret_source(table: &Table<'_>, from: Base<'_>, keys: [&str; 3]) -> Option<KeySource> {
    let [file, env, credential] = keys;
    let what = match keys {
        KEY_PLACES => What::Key,
        TOKEN_PLACES => What::Token,
        _ => What::Secret,
    };
    let source = [
        table.get(file, |value| from.secret_file(value, what)).map(KeySource::File),
        table.get(env, values::variable).map(KeySource::Env),
        table.get(credential, values::credential).map(KeySource::Credential),
    ];
    let mut given: Vec<_> =
        keys.into_iter().filter_map(|key| Some((table.place_of(key)?, key))).collect();
    given.sort_unstable();
    if let [(first, name), others @ ..] = given.as_slice() {
        for (place, other) in others {
            let (line, expected) = (table.line(*first), one_of(keys));
            table.mistake(
                *place,
                format!(
                    "`{other}`: found beside `{name}` of line {line}, expected only {expected}"
                ),
            );
        }
    }
    source.into_iter().flatten().next()
}

fn poll(table: &Table<'_>) -> Poll {
    let default = Poll::default();
    let (initial, max) = waits(table, default.initial, default.max);
    Poll {
        initial,
        max,
        factor: table
            .get(
                "factor",
                values::number("a number of at least 1", |it| it >= 1.0 && it.is_finite()),
            )
            .unwrap_or(default.factor),
        jitter: table
            .get(
                "jitter",
                values::number("a number from 0 to below 1", |it| (0.0..1.0).contains(&it)),
            )
            .unwrap_or(default.jitter),
        deadline: table.get("deadline", values::positive_duration).unwrap_or(default.deadline),
    }
}

fn retry(table: &Table<'_>) -> Retry {
    let default = Retry::default();
    let (initial, max) = waits(table, default.initial, default.max);
    Retry {
        initial,
        max,
        attempts: table.get("attempts", values::whole(1)).unwrap_or(default.attempts),
        job_attempts: table.get("job_attempts", values::whole(1)).unwrap_or(default.job_attempts),
    }
}

/// The first wait and the longest, which may not be shorter.
fn waits(table: &Table<'_>, initial: Duration, max: Duration) -> (Duration, Duration) {
    let given_initial = table.get("initial", values::positive_duration);
    let given_max = table.get("max", values::positive_duration);
    let (initial, max) = (given_initial.unwrap_or(initial), given_max.unwrap_or(max));
    let (first, longest) = (duration_text(initial), duration_text(max));
    let at = |key| table.place_of_value(key);
    match (given_initial, given_max) {
        _ if initial <= max => {}
        (Some(_), Some(_)) => table.mistake(
            at("max"),
            format!("`max`: found {longest}, expected at least `initial`, {first}"),
        ),
        // a present but wrong value has been reported, and there is nothing to compare with
        (None, Some(_)) if table.place_of("initial").is_none() => table.missing(
            at("max"),
            format!("`max`: found {longest}, expected at least `initial`, {first} by default"),
        ),
        (Some(_), None) if table.place_of("max").is_none() => table.missing(
            at("initial"),
            format!("`initial`: found {first}, expected at most `max`, {longest} by default"),
        ),
        _ => {}
    }
    (initial, max)
}

fn http(table: &Table<'_>, from: Base<'_>) -> Http {
    let default = Http::default();
    let time = |key, default| table.get(key, values::positive_duration).unwrap_or(default);
    Http {
        connect_timeout: time("connect_timeout", default.connect_timeout),
        idle_timeout: time("idle_timeout", default.idle_timeout),
        fetch_deadline: time("fetch_deadline", default.fetch_deadline),
        max_bytes: table.get("max_bytes", values::positive_size).unwrap_or(default.max_bytes),
        lost_after: table.get("lost_after", values::duration).unwrap_or(default.lost_after),
        ca_file: table.get("ca_file", |value| from.ca_file(value)),
    }
}

/// A policy; keys that are missing are taken from `default`.
fn retention(table: &Table<'_>, default: Rules) -> Rules {
    let keep = |key, default| table.get(key, values::whole(0)).unwrap_or(default);
    let retention = Rules {
        keep_last: keep("keep_last", default.keep_last),
        keep_daily: keep("keep_daily", default.keep_daily),
        keep_weekly: keep("keep_weekly", default.keep_weekly),
        keep_monthly: keep("keep_monthly", default.keep_monthly),
        keep_yearly: keep("keep_yearly", default.keep_yearly),
    };
    let Rules { keep_last, keep_daily, keep_weekly, keep_monthly, keep_yearly } = retention;
    let rules = [keep_last, keep_daily, keep_weekly, keep_monthly, keep_yearly];
    if table.is_present() && rules.iter().all(|count| *count == 0) {
        table.mistake(
            table.at,
            "every keep_… is 0, expected at least one above: nothing would be kept",
        );
    }
    retention
}

fn notify(table: &Table<'_>, from: Base<'_>) -> Notify {
    let default = Notify::default();
    let webhook = |table: Table<'_>| {
        let url = table.require("url", "where messages are posted to", values::private_url);
        let places = ["secret_file", "secret_env", "secret_credential"];
        let secret = secret_source(&table, from, places);
        Some(Webhook { url: url?, secret })
    };
    let email = table.table("email", &schema::EMAIL);
    let commands = table.tables("commands", &schema::COMMAND);
    Notify {
        ping: table.get("ping", values::private_url),
        remind_every: table
            .get("remind_every", values::positive_duration)
            .unwrap_or(default.remind_every),
        disk_low: table.get("disk_low", values::size).unwrap_or(default.disk_low),
        try_timeout: table
            .get("try_timeout", values::positive_duration)
            .unwrap_or(default.try_timeout),
        webhooks: table
            .tables("webhooks", &schema::WEBHOOK)
            .into_iter()
            .filter_map(webhook)
            .collect(),
        email: if email.is_present() { self::email(&email, from) } else { None },
        commands: commands
            .iter()
            .filter_map(|it| it.require("run", "a program and its arguments", values::command))
            .collect(),
    }
}

fn email(table: &Table<'_>, base: Base<'_>) -> Option<Email> {
    let server = table.require("server", "the mail server's name", values::mail_server);
    let security = table.get("security", values::mail_security).unwrap_or(MailSecurity::StartTls);
    let port = table.get("port", values::whole(1)).unwrap_or_else(|| security.port());
    let from = table.require("from", "who the mail is from", values::mailbox);
    let to = table.require("to", "who gets the mail", values::mailboxes);
    let username = table.get("username", |value| values::text(value).map(str::to_owned));
    let places = ["password_file", "password_env", "password_credential"];
    let password = secret_source(table, base, places);
    // a present but wrong value has been reported
    let is_given = |key: &str| table.place_of(key).is_some();
    if is_given("username") != places.into_iter().any(is_given) {
        table.missing(
            table.at,
            "a login needs both `username` and the place of its password: password_file = \
             \"FILE\", password_env = \"VARIABLE\" or password_credential = \"NAME\"",
        );
    }
    let server = server?;
    if security == MailSecurity::None && !values::is_loopback_host(&server) {
        table.mistake(
            table.place_of_value("security"),
            "`security`: found `none`, expected `tls` or `starttls`: mail would be sent \
             unencrypted; `none` is accepted for loopback addresses only",
        );
    }
    Some(Email { server, port, security, from: from?, to: to?, username, password })
}

/// Each account's service.
type Kinds<'d> = BTreeMap<&'d str, &'static ServiceKind>;

/// The service of a source's account. An unknown account is a mistake where the source is read.
fn kind_of_source(source: &Table<'_>, kinds: &Kinds<'_>) -> &'static ServiceKind {
    let known = source.text("account").and_then(|account| kinds.get(account));
    known.copied().unwrap_or(service::DEFAULT)
}

fn sources(root: &Table<'_>, kinds: &Kinds<'_>, settings: &Settings) -> Vec<Source> {
    let section = |table: &Table<'_>| schema::SOURCE.with(kind_of_source(table, kinds).source_keys);
    let tables = root.tables_by("sources", schema::SOURCE.title, section);
    let mut first_use: BTreeMap<String, usize> = BTreeMap::new();
    for table in &tables {
        let place = table.place_of_value("name");
        // a wrong name is reported where the source is read
        let Some(name) = table.text("name") else { continue };
        if let Some(first) = first_use.get(name) {
            let line = table.line(*first);
            table.mistake(
                place,
                format!(
                    "`name`: {} is already the source of line {line}, expected another",
                    quoted(name)
                ),
            );
        } else {
            first_use.insert(name.to_owned(), place);
        }
    }
    tables.iter().filter_map(|table| source(table, kinds, settings)).collect()
}

fn source(table: &Table<'_>, kinds: &Kinds<'_>, settings: &Settings) -> Option<Source> {
    let name = table.require("name", "the source's folder in the archive", values::source_name);
    let account = table.require("account", "the name of an [accounts.NAME] table", |value| {
        let name = values::text(value)?;
        if kinds.contains_key(name) {
            return Ok(name.to_owned());
        }
        Err(match nearest(name, kinds.keys().copied()).as_slice() {
            [near, ..] => format!("no account {}, did you mean `{near}`?", quoted(name)),
            [] if kinds.is_empty() => {
                format!("no account {}, the file has no [accounts.NAME]", quoted(name))
            }
            [] => {
                let known: Vec<_> = kinds.keys().map(|name| quoted(name)).collect();
                format!("no account {}, known: {}", quoted(name), known.join(", "))
            }
        })
    });
    let target = (kind_of_source(table, kinds).read_source)(table);
    let schedule = table.require(
        "schedule",
        "when to back up, such as \"0 2 * * *\" or \"@daily\"",
        values::schedule,
    );
    let catch_up = table.get("catch_up", values::boolean).unwrap_or(Source::CATCH_UP);
    let min_entities = table.get("min_entities", values::whole(0)).unwrap_or(Source::MIN_ENTITIES);
    let part = |key| {
        table.get(key, values::number("a part from 0.0 to 1.0", |it| (0.0..=1.0).contains(&it)))
    };
    let max_shrink = part("max_shrink").unwrap_or(Source::MAX_SHRINK);
    let max_change = part("max_change");
    let all_versions = table.get("versions", values::all_versions).unwrap_or(false);
    let skip_unchanged = table.get("skip_unchanged", values::positive_duration);
    let grace = table.get("grace", values::duration).unwrap_or(Source::GRACE);
    let ping = table.get("ping", values::private_url);
    let retention =
        retention(&table.table("retention", &schema::SOURCE_RETENTION), settings.retention);
    Some(Source {
        name: name?,
        account: account?,
        target: target?,
        schedule: schedule?,
        timezone: settings.timezone,
        catch_up,
        min_entities,
        max_shrink,
        max_change,
        all_versions,
        skip_unchanged,
        grace,
        retention,
        ping,
    })
}
