use super::*;
use crate::settings::{Http, KeySource, Poll, Retention, Retry, Source};
use proptest::prelude::*;
use std::time::Duration;

const EXAMPLE: &str = include_str!("../../config.example.toml");
const CANARY: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKlMnOpQrStUvWxYz01";

fn read(text: &str) -> Result<Settings, Vec<Mistake>> {
    let environment = Environment { state_directory: None, current_dir: "/somewhere".into() };
    parse(text, Path::new("/etc/nightjar/config.toml"), &environment)
}

/// The mistakes, as `line:column: message`.
fn mistakes(text: &str) -> Vec<String> {
    let Err(mistakes) = read(text) else { panic!("it has no mistakes: {text}") };
    mistakes.iter().map(|it| format!("{}:{}: {}", it.line, it.column, it.message)).collect()
}

/// A configuration that is valid but for what is put in: at the top, in the account, in the source.
fn with(top: &str, account: &str, source: &str) -> String {
    format!(
        "{top}\n[accounts.contoso]\nkey_file = \"contoso.key\"\n{account}\n[[sources]]\n\
         name = \"stores\"\naccount = \"contoso\"\naccess_id = \"20181f26\"\n\
         data_source = \"Stores\"\nschedule = \"0 2 * * *\"\n{source}\n"
    )
}

fn only_mistake(text: &str) -> String {
    let mut found = mistakes(text);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn the_example_is_valid_as_it_is() {
    let settings = read(EXAMPLE).unwrap();
    assert_eq!(settings.state_dir, Path::new("/var/lib/nightjar"));
    assert_eq!(settings.archive_dir, Path::new("/var/lib/nightjar/archive"));
    assert_eq!(settings.timezone, chrono_tz::UTC);
    assert_eq!(settings.listen, "127.0.0.1:8787".parse().ok());
    let account = &settings.accounts["contoso"];
    assert_eq!(account.key, KeySource::File("/etc/nightjar/contoso.key".into()));
    assert_eq!(account.endpoint.as_str(), "https://spatial.virtualearth.net/REST/v1");
    assert_eq!((account.max_in_process, account.max_jobs_per_day), (10, 50));
    assert_eq!((settings.poll, settings.retry), (Poll::default(), Retry::default()));
    assert_eq!((settings.http, settings.retention), (Http::default(), Retention::default()));
    let [source] = settings.sources.as_slice() else { panic!("one source") };
    assert_eq!((source.name.as_str(), source.account.as_str()), ("stores", "contoso"));
    assert_eq!(source.schedule.text(), "0 2 * * *");
    assert!(source.catch_up && source.job_id.is_none());
    assert_eq!((source.min_entities, source.max_shrink), (1, 0.5));
    assert_eq!((source.grace, source.retention), (Duration::from_hours(6), Retention::default()));
}

/// A commented-out line that holds a setting.
fn setting(line: &str) -> Option<&str> {
    let line = line.strip_prefix("# ")?;
    let (key, value) = line.split_once(" = ")?;
    let plain = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let is_value =
        value.starts_with(['"', 't', 'f']) || value.starts_with(|c: char| c.is_ascii_digit());
    (plain && is_value && !key.is_empty()).then_some(line)
}

#[test]
fn every_line_of_the_example_that_is_commented_out_is_valid_too() {
    let mut tried = 0;
    for (number, line) in EXAMPLE.lines().enumerate() {
        let Some(uncommented) = setting(line) else { continue };
        tried += 1;
        let mut lines: Vec<&str> = EXAMPLE.lines().collect();
        lines[number] = uncommented;
        if uncommented.starts_with("key_env") || uncommented.starts_with("credential") {
            lines.retain(|line| !line.starts_with("key_file"));
        }
        read(&lines.join("\n")).unwrap_or_else(|found| panic!("{uncommented}: {found:?}"));
    }
    assert!(tried >= 35, "only {tried} lines were tried");
}

#[test]
fn the_example_shows_the_defaults() {
    let shown = EXAMPLE.lines().map(|line| match setting(line) {
        Some(line) if !line.starts_with("key_env") && !line.starts_with("credential") => line,
        _ => line,
    });
    let all = read(&shown.collect::<Vec<_>>().join("\n")).unwrap();
    let none = read(EXAMPLE).unwrap();
    assert_eq!((all.poll, all.retry, all.retention), (none.poll, none.retry, none.retention));
    assert_eq!((&all.state_dir, &all.archive_dir), (&none.state_dir, &none.archive_dir));
    assert_eq!(all.accounts, none.accounts);
    assert_eq!(Http { ca_file: None, ..all.http }, none.http);
    let (one, other) = (&all.sources[0], &none.sources[0]);
    assert_eq!((one.catch_up, one.min_entities), (other.catch_up, other.min_entities));
    assert_eq!((one.max_shrink, one.grace), (other.max_shrink, other.grace));
    assert_eq!(one.retention, other.retention);
}

#[test]
fn every_known_key_is_in_the_example_and_in_its_documentation() {
    let documentation = include_str!("../../docs/configuration.md");
    for section in schema::ALL {
        for key in section.keys {
            let is_there = EXAMPLE.lines().any(|line| {
                let line = line.trim_start_matches("# ");
                line.starts_with(&format!("{key} = "))
                    || line.starts_with(&format!("[{key}"))
                    || line.starts_with(&format!("[[{key}"))
                    || line.starts_with(&format!("[sources.{key}"))
            });
            assert!(is_there, "{key} of {} is not in the example", section.title);
            assert!(documentation.contains(&format!("`{key}`")), "{key} is not documented");
        }
    }
}

#[test]
fn several_mistakes_are_told_at_once_in_the_file_s_order() {
    let text = "state_dir = 5\narchiv_dir = \"x\"\ntimezone = \"Europe/Berln\"\n[poll]\n\
                initial = 5\njiter = 0.2\n[[sources]]\nname = \"Stores\"\nschedule = \"0 25 * * *\"\n";
    let found = mistakes(text);
    let places: Vec<_> = found.iter().map(|it| it.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["1:13", "2:1", "3:12", "5:11", "6:1", "7:1", "7:1", "7:1", "8:8", "9:12"]);
    assert!(found[1].contains("did you mean `archive_dir`?"), "{}", found[1]);
    assert!(found[2].contains("`Europe/Berlin`"), "{}", found[2]);
    assert!(found[4].contains("did you mean `jitter`?"), "{}", found[4]);
    assert!(found[9].contains("out of range 0-23"), "{}", found[9]);
}

#[test]
fn each_kind_of_mistake_says_what_was_found_and_expected() {
    for (top, account, source, expected) in [
        ("state_dir = \"\"", "", "", "1:13: `state_dir`: found an empty text, expected a path"),
        ("nightjar = 1", "", "", "1:1: unknown key `nightjar`, known here"),
        ("poll = 1", "", "", "1:8: `poll`: found an integer, expected the table [poll]"),
        (
            "[web]\nlisten = \"0.0.0.0:80\"",
            "",
            "",
            "2:10: `listen`: found `0.0.0.0:80`, expected a",
        ),
        ("[web]\nlisten = \"localhost\"", "", "", "2:10: `listen`: found `localhost`, expected an"),
        ("[poll]\nfactor = 0.5", "", "", "2:10: `factor`: found 0.5, expected a number of at lea"),
        ("[poll]\njitter = 1", "", "", "2:10: `jitter`: found 1, expected a number from 0 to b"),
        (
            "[poll]\ninitial = \"0s\"",
            "",
            "",
            "2:11: `initial`: found zero, expected a duration abo",
        ),
        ("[poll]\ninitial = \"9m\"", "", "", "2:11: `initial`: found 9m, expected at most `max`"),
        ("[poll]\nmax = \"1 fortnight\"", "", "", "2:7: `max`: found `1 fortnight`"),
        ("[retry]\nattempts = 0", "", "", "2:12: `attempts`: found 0, expected a whole number of"),
        ("[retry]\njob_attempts = -1", "", "", "2:16: `job_attempts`: found -1, expected a whole"),
        ("[http]\nmax_bytes = \"2\"", "", "", "2:13: `max_bytes`: found `2`"),
        ("[http]\nmax_bytes = 2", "", "", "2:13: `max_bytes`: found 2 without a unit"),
        (
            "[retention]\nkeep_last = 0\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\n\
          keep_yearly = 0",
            "",
            "",
            "1:1: every keep_… is 0",
        ),
        ("", "key_env = \"X\"", "", "4:1: `key_env`: found beside `key_file` of line 3"),
        ("", "endpoint = \"ftp://x\"", "", "4:12: `endpoint`: found neither https nor http"),
        (
            "",
            "endpoint = \"http://x.example/\"",
            "",
            "4:12: `endpoint`: found http, expected https",
        ),
        ("", "endpoint = \"https://u:p@x.example/\"", "", "4:12: `endpoint`: found a user or pass"),
        ("", "endpoint = \"https://x.example/?key=1\"", "", "4:12: `endpoint`: found a `?` or `#`"),
        ("", "max_in_process = 0", "", "4:18: `max_in_process`: found 0, expected a whole number"),
        ("", "", "catch_up = \"yes\"", "11:12: `catch_up`: found a text, expected true or false"),
        ("", "", "max_shrink = 2.0", "11:14: `max_shrink`: found 2, expected a part from 0.0 to"),
        ("", "", "grace = 6", "11:9: `grace`: found 6 without a unit, expected a duration such as"),
        ("", "", "job_id = \"not hex\"", "11:10: `job_id`: expected the id of a version"),
        ("", "", "keep_last = 3", "11:1: unknown key `keep_last` in [[sources]], it belongs in ["),
        ("", "", "name = \"twice\"", "11:1: `name` is already there, expected it once"),
    ] {
        let found = only_mistake(&with(top, account, source));
        assert!(found.starts_with(expected), "{found}\n  does not begin with\n{expected}");
    }
}

#[test]
fn names_must_exist_and_be_unique() {
    let twice =
        with("", "", "") + &with("", "", "").split_once("[[").unwrap().1.replacen("", "[[", 1);
    assert_eq!(
        only_mistake(&twice),
        "13:8: `name`: `stores` is already the source of line 6, expected another"
    );
    let unknown = with("", "", "").replace("account = \"contoso\"", "account = \"contso\"");
    assert_eq!(
        only_mistake(&unknown),
        "7:11: `account`: no account `contso`, did you mean `contoso`?"
    );
    for name in ["Stores", "-stores", "st/ores", "..", "", "a b", "störes"] {
        let text = with("", "", "").replace("name = \"stores\"", &format!("name = \"{name}\""));
        assert!(only_mistake(&text).starts_with("6:8: `name`: found"), "{name}");
    }
}

#[test]
fn what_is_no_toml_is_told_with_its_place_alone() {
    let found = mistakes("timezone = \"UTC\"\nstate_dir = \nunknown = 1\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("2:13: not TOML"), "{}", found[0]);
}

#[test]
fn a_key_in_the_file_is_never_repeated() {
    for (top, account, source) in [
        (format!("key = \"{CANARY}\""), String::new(), String::new()),
        (format!("{CANARY} = 1"), String::new(), String::new()),
        (format!("timezone = \"{CANARY}\""), String::new(), String::new()),
        (format!("[poll]\ninitial = \"{CANARY}\""), String::new(), String::new()),
        (String::new(), format!("key = \"{CANARY}\""), String::new()),
        (String::new(), format!("master_key = \"{CANARY}\""), String::new()),
        (String::new(), format!("endpoint = \"https://x/?key={CANARY}\""), String::new()),
        (String::new(), format!("endpoint = \"{CANARY}\""), String::new()),
        (String::new(), format!("credential = \"{CANARY}\""), String::new()),
        (String::new(), String::new(), format!("job_id = \"{CANARY}\"")),
        (String::new(), String::new(), format!("grace = \"{CANARY}\"")),
        (String::new(), String::new(), format!("{CANARY} = \"{CANARY}\"")),
        (String::new(), String::new(), format!("key = {CANARY}")),
    ] {
        let found = mistakes(&with(&top, &account, &source)).join("\n");
        assert!(!found.contains(CANARY), "{found}");
    }
    for line in ["name", "account", "access_id", "data_source", "schedule", "key_file"] {
        let text = with("", "", "");
        let replaced = text.lines().map(|it| match it.starts_with(&format!("{line} = ")) {
            true => format!("{line} = \"{CANARY}\""),
            false => it.to_owned(),
        });
        let found = mistakes(&replaced.collect::<Vec<_>>().join("\n")).join("\n");
        assert!(!found.contains(CANARY), "{line}: {found}");
    }
}

#[test]
fn paths_begin_at_the_file_s_folder() {
    let settings = read(&with("state_dir = \"s\"\narchive_dir = \"../a\"", "", "")).unwrap();
    assert_eq!(settings.state_dir, Path::new("/etc/nightjar/s"));
    assert_eq!(settings.archive_dir, Path::new("/etc/nightjar/../a"));
    let key = &settings.accounts["contoso"].key;
    assert_eq!(*key, KeySource::File("/etc/nightjar/contoso.key".into()));
    let environment = Environment { state_directory: None, current_dir: "/here".into() };
    let relative = parse(&with("state_dir = \"s\"", "", ""), Path::new("c/x.toml"), &environment);
    assert_eq!(relative.unwrap().state_dir, Path::new("/here/c/s"));
}

#[test]
fn systemd_s_state_folder_is_the_default() {
    let environment =
        Environment { state_directory: Some("/run/a:/run/b".into()), current_dir: "/".into() };
    let settings = parse(&with("", "", ""), Path::new("/x.toml"), &environment).unwrap();
    assert_eq!(settings.state_dir, Path::new("/run/a"));
    assert_eq!(settings.archive_dir, Path::new("/run/a/archive"));
    let own = parse(&with("state_dir = \"/own\"", "", ""), Path::new("/x.toml"), &environment);
    assert_eq!(own.unwrap().state_dir, Path::new("/own"));
}

#[test]
fn the_archive_has_a_folder_of_its_own() {
    for archive in ["/s", "/s/quarantine/a"] {
        let text = with(&format!("state_dir = \"/s\"\narchive_dir = \"{archive}\""), "", "");
        assert!(only_mistake(&text).starts_with("2:15: `archive_dir`: found"), "{archive}");
    }
}

#[test]
fn the_page_is_there_when_its_table_is() {
    let listen = |top: &str| read(&with(top, "", "")).unwrap().listen;
    assert_eq!(listen(""), None);
    assert_eq!(listen("[web]"), "127.0.0.1:8787".parse().ok());
    assert_eq!(listen("[web]\nlisten = \"\""), None);
    assert_eq!(listen("[web]\nlisten = \"[::1]:80\""), "[::1]:80".parse().ok());
}

#[test]
fn plain_http_is_for_this_machine_alone() {
    for (endpoint, kept) in [
        ("http://127.0.0.1:9/REST/v1/", "http://127.0.0.1:9/REST/v1"),
        ("http://localhost:9", "http://localhost:9/"),
        ("http://[::1]:9/x", "http://[::1]:9/x"),
        ("https://spatial.virtualearth.net/REST/v1/", "https://spatial.virtualearth.net/REST/v1"),
    ] {
        let settings = read(&with("", &format!("endpoint = \"{endpoint}\""), "")).unwrap();
        assert_eq!(settings.accounts["contoso"].endpoint.as_str(), kept);
    }
}

#[test]
fn a_source_s_retention_is_the_default_s_with_its_own_numbers() {
    let text = with("[retention]\nkeep_last = 3", "", "[sources.retention]\nkeep_daily = 30");
    let kept = read(&text).unwrap().sources[0].retention;
    assert_eq!(kept, Retention { keep_last: 3, keep_daily: 30, ..Retention::default() });
}

#[test]
fn the_service_s_names_may_be_odd() {
    let text = with("", "", "job_id = \"{0123-ABC}\"")
        .replace("data_source = \"Stores\"", "data_source = \"Café-~`!$^_={}\"");
    let settings = read(&text).unwrap();
    let Source { data_source, job_id, .. } = &settings.sources[0];
    assert_eq!(data_source, "Café-~`!$^_={}");
    assert_eq!(job_id.as_deref(), Some("0123-ABC"));
}

#[test]
fn a_missing_or_unreadable_file_is_named() {
    let folder = tempfile::TempDir::new().unwrap();
    let error = load(&folder.path().join("none.toml")).unwrap_err();
    assert!(matches!(error, ConfigError::Missing { .. }));
    assert!(error.to_string().contains("none.toml"), "{error}");
    assert!(matches!(load(folder.path()).unwrap_err(), ConfigError::Unreadable { .. }));
    let odd = folder.path().join("odd.toml");
    std::fs::write(&odd, b"timezone = \"UTC\"\n# \xff").unwrap();
    let mistakes = load(&odd).unwrap_err().into_mistakes();
    assert_eq!((mistakes[0].line, mistakes[0].column), (2, 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_read_or_refused_within_itself(text in "(\\PC|\n|\\[|\\]|=|\"|\\.|#){0,200}") {
        check(&text)?;
    }

    #[test]
    fn a_line_lost_or_doubled_is_read_or_refused_within_the_file(
        line in 0..EXAMPLE.lines().count(), doubled: bool,
    ) {
        let mut lines: Vec<&str> = EXAMPLE.lines().collect();
        match doubled {
            true => lines.insert(line, lines[line]),
            false => drop(lines.remove(line)),
        }
        check(&lines.join("\n"))?;
    }
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let Err(mistakes) = read(text) else { return Ok(()) };
    prop_assert!(!mistakes.is_empty());
    for mistake in mistakes {
        prop_assert!(mistake.line >= 1 && mistake.line <= text.lines().count() + 1);
        prop_assert!(mistake.column >= 1);
        prop_assert!(!mistake.message.is_empty());
    }
    Ok(())
}
