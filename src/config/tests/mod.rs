//! The meaning of a file, and the messages about one without meaning.

mod mistakes;
mod places;
mod secrets;
mod shipped;
mod syntax;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono_tz::{Europe, UTC};

use super::{ConfigError, Environment, Mistake, load, locate, parse};
use crate::policy::backoff::Backoff;
use crate::policy::retention::Rules;
use crate::service::bing::DataSource;
use crate::settings::{
    Account, Http, KeySource, Listen, MailSecurity, Notify, Poll, Retry, Settings, Source,
};

/// The documented example, with the lines that it leaves out.
const EXAMPLE: &str = r#"state_dir   = "/var/lib/nightjar"           # holds nightjar.db
archive_dir = "/var/lib/nightjar/archive"   # default: {state_dir}/archive
timezone    = "Europe/Berlin"               # IANA name for every schedule; default "UTC"

[web]
listen = "127.0.0.1:8787"                   # "" turns it off

[accounts.contoso]                          # keys that share one quota
key_file = "/etc/nightjar/contoso.key"      # or key_env = "VAR", or credential = "NAME"
endpoint = "https://spatial.virtualearth.net/REST/v1"   # default
max_in_process   = 10                       # default 10
max_jobs_per_day = 50                       # default 50, rolling 24 hours

[poll]                                      # all optional; defaults shown
initial  = "5s"
max      = "5m"
factor   = 2.0
jitter   = 0.2
deadline = "24h"                            # from creation to completion

[retry]                                     # for requests that fail in passing
initial      = "1s"
max          = "5m"
attempts     = 8                            # consecutive failures of one request
job_attempts = 3                            # remote jobs that may come to exist for one job

[http]
connect_timeout = "10s"
idle_timeout    = "60s"                     # between two bytes, headers included
fetch_deadline  = "6h"                      # one download
max_bytes       = "2 GiB"                   # one result, decoded
lost_after      = "15m"                     # how long a 404 may last
ca_file = "/etc/ssl/private-ca.pem"         # HTTPS_PROXY and NO_PROXY are honoured too

[retention]                                 # default for every source
keep_last = 7
keep_daily = 14
keep_weekly = 8
keep_monthly = 12
keep_yearly = 3

[[sources]]
name        = "stores"                      # [a-z0-9][a-z0-9_-]*, the archive's folder
account     = "contoso"
access_id   = "20181f26d9e94c81acdf9496133d4f23"
data_source = "FourthCoffeeSample"
schedule    = "0 2 * * *"                   # five-field crontab
job_id    = "{5f3a8d10-0b1c-4b1e-9d6a-2f0f5f0c7a11}"   # another version
catch_up  = true                            # run once after downtime
min_entities = 1                            # fewer is suspicious (default 1)
max_shrink   = 0.5                          # losing a larger part than this is suspicious
grace        = "6h"                         # overdue after this

[sources.retention]
keep_last = 30
"#;

const ACCOUNT: &str = "[accounts.contoso]\nkey_env = \"K\"\n";

fn at_home() -> Environment {
    Environment { current_dir: "/home/admin".into(), ..Environment::default() }
}

fn read(text: &str) -> Result<Settings, Vec<Mistake>> {
    parse(text, Path::new("/etc/nightjar/config.toml"), &at_home())
}

fn accepted(text: &str) -> Settings {
    read(text).unwrap_or_else(|mistakes| panic!("{text}\n{}", super::lines(&mistakes)))
}

/// A valid source, with one line changed or added.
fn source_with(line: &str) -> String {
    let key = line.split('=').next().unwrap_or_default().trim();
    let mut text = format!("{ACCOUNT}[[sources]]\n");
    for usual in [
        "name = \"stores\"",
        "account = \"contoso\"",
        "access_id = \"20181f26\"",
        "data_source = \"Stores\"",
        "schedule = \"@daily\"",
    ] {
        if usual.split(' ').next() != Some(key) {
            text += &format!("{usual}\n");
        }
    }
    text + line
}

/// The mistakes of a text that must have some, without the file's name.
fn found(text: &str) -> Vec<String> {
    let mistakes = read(text).map(|_| ()).expect_err(text);
    mistakes.iter().map(|it| format!("{}:{}: {}", it.line, it.column, it.message)).collect()
}

#[track_caller]
fn finds(text: &str, mistakes: &[&str]) {
    assert_eq!(found(text), mistakes, "{text}");
}

#[test]
fn the_documented_example_means_what_it_says() {
    let settings = accepted(EXAMPLE);
    assert_eq!(settings.file, Path::new("/etc/nightjar/config.toml"));
    assert_eq!(settings.state_dir, Path::new("/var/lib/nightjar"));
    assert_eq!(settings.archive_dir, Path::new("/var/lib/nightjar/archive"));
    assert_eq!(settings.timezone, Europe::Berlin);
    assert_eq!(settings.listen, Some(Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8787)))));

    let account = Account {
        name: "contoso".into(),
        service: "bing",
        key: KeySource::File("/etc/nightjar/contoso.key".into()),
        endpoint: "https://spatial.virtualearth.net/REST/v1".parse().unwrap(),
        max_in_process: 10,
        max_jobs_per_day: 50,
        discover: true,
    };
    assert_eq!(settings.accounts.into_iter().collect::<Vec<_>>(), [("contoso".into(), account)]);

    let poll = Poll {
        initial: Duration::from_secs(5),
        max: Duration::from_secs(300),
        factor: 2.0,
        jitter: 0.2,
        deadline: Duration::from_secs(86_400),
    };
    assert_eq!(settings.poll, poll);
    let retry = Retry {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(300),
        attempts: 8,
        job_attempts: 3,
    };
    assert_eq!(settings.retry, retry);
    let http = Http {
        connect_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        fetch_deadline: Duration::from_secs(6 * 3600),
        max_bytes: 2_147_483_648,
        lost_after: Duration::from_secs(900),
        ca_file: Some("/etc/ssl/private-ca.pem".into()),
    };
    assert_eq!(settings.http, http);
    let retention =
        Rules { keep_last: 7, keep_daily: 14, keep_weekly: 8, keep_monthly: 12, keep_yearly: 3 };
    assert_eq!(settings.retention, retention);

    let [source] = settings.sources.as_slice() else { panic!("one source") };
    assert_eq!(source.name, "stores");
    assert_eq!(source.account, "contoso");
    let origin = source.target.origin();
    assert_eq!(origin.access_id, "20181f26d9e94c81acdf9496133d4f23");
    assert_eq!(origin.data_source, "FourthCoffeeSample");
    assert_eq!(origin.version.as_deref(), Some("5f3a8d10-0b1c-4b1e-9d6a-2f0f5f0c7a11"));
    let request = DataSource {
        access_id: origin.access_id.clone(),
        data_source: origin.data_source.clone(),
        version: origin.version.clone(),
    };
    assert_eq!(source.target.request(), Some(&request));
    assert_eq!(source.schedule.text(), "0 2 * * *");
    assert_eq!(source.timezone, Europe::Berlin);
    assert!(source.catch_up);
    assert_eq!(source.min_entities, 1);
    assert_eq!(source.max_shrink, 0.5);
    assert_eq!(source.grace, Duration::from_secs(6 * 3600));
    assert_eq!(source.retention, Rules { keep_last: 30, ..retention });
}

#[test]
fn missing_settings_have_the_documented_defaults() {
    let settings = accepted(&source_with(""));
    assert_eq!(settings.state_dir, Path::new("/var/lib/nightjar"));
    assert_eq!(settings.archive_dir, Path::new("/var/lib/nightjar/archive"));
    assert_eq!(settings.timezone, UTC);
    assert_eq!(settings.listen, None);
    assert_eq!(settings.poll, Poll::default());
    assert_eq!(settings.retry, Retry::default());
    assert_eq!(settings.http, Http::default());
    assert_eq!(settings.retention, Rules::default());

    let source = settings.source("stores").unwrap();
    let account = settings.account_of(source).unwrap();
    assert_eq!(account.endpoint.as_str(), "https://spatial.virtualearth.net/REST/v1");
    assert_eq!((account.max_in_process, account.max_jobs_per_day), (10, 50));
    assert_eq!(source.target.origin().version, None);
    assert!(source.catch_up);
    assert_eq!((source.min_entities, source.max_shrink), (1, 0.5));
    assert_eq!(source.grace, Duration::from_secs(6 * 3600));
    assert_eq!(source.retention, Rules::default());
    assert!(settings.source("other").is_none());
}

#[test]
fn the_defaults_are_those_of_the_documented_example() {
    let settings = accepted(EXAMPLE);
    assert_eq!(settings.poll, Poll::default());
    assert_eq!(settings.retry, Retry::default());
    assert_eq!(settings.http, Http { ca_file: settings.http.ca_file.clone(), ..Http::default() });
    assert_eq!(settings.retention, Rules::default());
}

#[test]
fn a_file_may_have_no_source_yet() {
    for text in ["", "\u{feff}", "# nothing\n", ACCOUNT, "sources = []\n"] {
        assert!(accepted(text).sources.is_empty());
    }
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{feff}{}", EXAMPLE.replace('\n', "\r\n"));
    let (windows, plain) = (accepted(&text), accepted(EXAMPLE));
    assert_eq!(format!("{windows:?}"), format!("{plain:?}"));
}

#[test]
fn the_state_folder_is_the_files_then_systemds_then_the_usual_one() {
    let state_dir = |text: &str, state_directory: Option<&str>| {
        let env = Environment { state_directory: state_directory.map(Into::into), ..at_home() };
        let settings = parse(text, Path::new("c.toml"), &env).unwrap();
        (settings.state_dir, settings.archive_dir)
    };
    let both = |folder: &str| (PathBuf::from(folder), PathBuf::from(folder).join("archive"));
    assert_eq!(state_dir("", None), both("/var/lib/nightjar"));
    assert_eq!(state_dir("", Some("/var/lib/private/n")), both("/var/lib/private/n"));
    assert_eq!(state_dir("", Some("/a/b:/c/d")), both("/a/b"));
    assert_eq!(state_dir("", Some("n")), both("/home/admin/n"));
    assert_eq!(state_dir("state_dir = \"/x\"", Some("/a/b")), both("/x"));
    let (state, archive) = state_dir("archive_dir = \"/y\"", Some("/a/b"));
    assert_eq!((state, archive), ("/a/b".into(), "/y".into()));
}

#[test]
fn relative_paths_start_at_the_files_folder() {
    let text = "state_dir = \"state\"\narchive_dir = \"../archive\"\n[accounts.a]\n\
                key_file = \"a.key\"\n[http]\nca_file = \"ca.pem\"\n";
    let from = |file: &str| parse(text, Path::new(file), &at_home()).unwrap();
    for (file, folder) in [
        ("/etc/nightjar/config.toml", "/etc/nightjar"),
        ("config.toml", "/home/admin"),
        ("conf/n.toml", "/home/admin/conf"),
    ] {
        let settings = from(file);
        let at = |name: &str| Path::new(folder).join(name);
        assert_eq!(settings.file.parent(), Some(Path::new(folder)));
        assert_eq!(settings.state_dir, at("state"));
        assert_eq!(settings.archive_dir, at("../archive"));
        let key = settings.accounts.get("a").map(|account| account.key.clone());
        assert_eq!(key, Some(KeySource::File(at("a.key"))));
        assert_eq!(settings.http.ca_file, Some(at("ca.pem")));
    }
}

#[test]
fn the_page_is_off_without_its_table_and_with_an_empty_address() {
    let listen = |text: &str| accepted(text).listen.map(|it| it.to_string());
    assert_eq!(listen(""), None);
    assert_eq!(listen("[web]\nlisten = \"\""), None);
    assert_eq!(listen("[web]").as_deref(), Some("127.0.0.1:8787"));
    for address in ["127.0.0.1:0", "127.8.9.1:80", "[::1]:8787"] {
        assert_eq!(listen(&format!("[web]\nlisten = \"{address}\"")).as_deref(), Some(address));
    }
}

#[test]
fn an_endpoint_may_be_https_anywhere_and_http_on_loopback() {
    for (written, meant) in [
        ("https://h.example", "https://h.example/"),
        ("https://h.example/a/b//", "https://h.example/a/b"),
        ("HTTPS://H.Example:8443/a", "https://h.example:8443/a"),
        ("http://127.0.0.1:9000/REST/v1", "http://127.0.0.1:9000/REST/v1"),
        ("http://127.9.9.9", "http://127.9.9.9/"),
        ("http://localhost:1/x/", "http://localhost:1/x"),
        ("http://[::1]:2", "http://[::1]:2/"),
    ] {
        let text = format!("[accounts.a]\nkey_env = \"K\"\nendpoint = \"{written}\"");
        let settings = accepted(&text);
        let endpoint = settings.accounts.get("a").map(|account| account.endpoint.as_str());
        assert_eq!(endpoint, Some(meant));
    }
}

#[test]
fn each_place_of_a_key_is_taken_as_it_is() {
    for (line, key) in [
        ("key_file = \"/k\"", KeySource::File("/k".into())),
        ("key_env = \"BING_KEY_2\"", KeySource::Env("BING_KEY_2".into())),
        ("key_env = \"_k\"", KeySource::Env("_k".into())),
        ("credential = \"contoso.key\"", KeySource::Credential("contoso.key".into())),
    ] {
        let settings = accepted(&format!("[accounts.\"Contoso Ltd\"]\n{line}"));
        assert_eq!(settings.accounts.get("Contoso Ltd").map(|it| it.key.clone()), Some(key));
    }
}

#[test]
fn names_of_the_service_are_taken_as_they_are() {
    for name in ["FourthCoffeeSample", "a~`!$^_={}", "Läden-2", &"x".repeat(50)] {
        let settings = accepted(&source_with(&format!("data_source = '{name}'")));
        assert_eq!(settings.source("stores").unwrap().target.origin().name(), name);
    }
}

#[test]
fn sources_keep_their_order_and_merge_retention_key_by_key() {
    let mut text = format!("{ACCOUNT}[retention]\nkeep_daily = 2\n");
    for name in ["b", "a", "c-1_x"] {
        text += &format!(
            "[[sources]]\nname = \"{name}\"\naccount = \"contoso\"\naccess_id = \"1\"\n\
             data_source = \"d\"\nschedule = \"*/30 0 2 * * *\"\n"
        );
        if name == "a" {
            text += "retention = { keep_last = 0, keep_yearly = 9 }\n";
        }
    }
    let settings = accepted(&text);
    let names: Vec<_> = settings.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["b", "a", "c-1_x"]);
    let shared = Rules { keep_daily: 2, ..Rules::default() };
    assert_eq!(settings.source("b").map(|it| it.retention), Some(shared));
    let own = Rules { keep_last: 0, keep_yearly: 9, ..shared };
    assert_eq!(settings.source("a").map(|it| it.retention), Some(own));
}

#[test]
fn whatever_is_accepted_is_a_policy_that_the_planner_accepts() {
    for (initial, max, factor, jitter) in
        [("1ms", "1ms", "1", "0"), ("5s", "3650d", "1e300", "0.999"), ("24h", "1d", "1.5", "0.0")]
    {
        let text = format!(
            "[poll]\ninitial = \"{initial}\"\nmax = \"{max}\"\nfactor = {factor}\njitter = {jitter}"
        );
        let Poll { initial, max, factor, jitter, .. } = accepted(&text).poll;
        assert_eq!(Backoff { initial, max, factor, jitter }.validate(), Ok(()));
    }
}

#[test]
fn a_file_is_loaded_from_disk_with_the_name_that_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("n.toml");
    std::fs::write(&file, EXAMPLE).unwrap();
    assert_eq!(load(&file).unwrap().file, file);

    std::fs::write(&file, "timezone = \"Zzz\"\n").unwrap();
    let error = load(&file).unwrap_err();
    let shown = format!(
        "{}:1:12: `timezone`: found `Zzz`, expected an IANA time zone such as `Europe/Berlin` or \
         `UTC`",
        file.display()
    );
    assert_eq!(error.to_string(), shown);
    assert_eq!(error.into_mistakes().len(), 1);

    std::fs::write(&file, b"a = 1\n# caf\xe9\n").unwrap();
    let mistakes = load(&file).unwrap_err().into_mistakes();
    let [Mistake { line: 2, column: 6, message, .. }] = mistakes.as_slice() else {
        panic!("{mistakes:?}")
    };
    assert_eq!(message, "not TOML: found a byte that is not UTF-8");
}

#[test]
fn a_file_that_is_not_there_says_what_to_do() {
    let error = load(Path::new("/nowhere/n.toml")).unwrap_err();
    assert!(matches!(error, ConfigError::Missing { .. }));
    let message = "there is no configuration /nowhere/n.toml: name another with `--config FILE` or \
                   $NIGHTJAR_CONFIG, or make this one from a copy of config.example.toml";
    assert_eq!(error.to_string(), message);
    let mistake =
        Mistake { file: "/nowhere/n.toml".into(), line: 1, column: 1, message: message.into() };
    assert_eq!(error.into_mistakes(), [mistake]);

    let error = load(Path::new("/")).unwrap_err();
    assert_eq!(error.to_string(), "the configuration / cannot be read");
    let mistakes = error.into_mistakes();
    assert!(mistakes[0].message.starts_with("the configuration / cannot be read: "));
}

#[test]
fn the_file_given_is_the_one_used() {
    assert_eq!(locate(Some("x.toml".into())), Path::new("x.toml"));
}

#[test]
fn a_mistake_is_json_with_file_line_column_and_message() {
    let mistake = &read("zzz = 1").unwrap_err()[0];
    let json = serde_json::to_value(mistake).unwrap();
    let known = "state_dir, archive_dir, timezone, web, accounts, poll, retry, http, retention, \
                 notify, sources";
    assert_eq!(
        json,
        serde_json::json!({
            "file": "/etc/nightjar/config.toml",
            "line": 1,
            "column": 1,
            "message": format!("unknown key `zzz`, known here: {known}"),
        })
    );
}
