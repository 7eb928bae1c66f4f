//! The example and the reference that are shipped agree with the program.

use std::path::Path;

use toml::Table;

use super::super::schema;
use super::super::units::{duration_text, size_text};
use super::{Http, KeySource, Listen, MailSecurity, Notify, Poll, Retry, Source, accepted};
use crate::policy::retention::Rules;
use crate::service::{self, bing};
use crate::toml_reader::Section;

const SHIPPED: &str = include_str!("../../../config.example.toml");
const REFERENCE: &str = include_str!("../../../docs/configuration.md");

/// The shipped file with the settings that are commented out.
fn complete() -> String {
    SHIPPED.lines().map(|line| format!("{}\n", uncommented(line).unwrap_or(line))).collect()
}

/// A line that is a commented-out setting or header.
fn uncommented(line: &str) -> Option<&str> {
    line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' '))
}

#[test]
fn the_shipped_file_is_a_valid_beginning() {
    let settings = accepted(SHIPPED);
    assert_eq!(settings.listen, "127.0.0.1:8787".parse().ok().map(Listen::Tcp));
    let [(name, account)] = settings.accounts.iter().collect::<Vec<_>>()[..] else {
        panic!("one account")
    };
    assert_eq!(name, "contoso");
    assert_eq!(account.key, KeySource::File("/etc/nightjar/contoso.key".into()));
    let [source] = settings.sources.as_slice() else { panic!("one source") };
    assert_eq!(source.name, "stores");
    assert_eq!(source.account, "contoso");
    let origin = source.target.origin();
    assert_eq!(origin.access_id, "20181f26d9e94c81acdf9496133d4f23");
    assert_eq!(origin.data_source, "FourthCoffeeSample");
    assert_eq!(source.schedule.text(), "0 2 * * *");
}

#[test]
fn settings_missing_in_the_shipped_file_are_shown_with_their_defaults() {
    let (settings, shipped) = (accepted(&complete()), accepted(SHIPPED));
    assert_eq!(settings.state_dir, shipped.state_dir);
    assert_eq!(settings.archive_dir, shipped.archive_dir);
    assert_eq!(settings.timezone, shipped.timezone);
    assert_eq!(settings.accounts.get("contoso"), shipped.accounts.get("contoso"));
    assert_eq!(settings.poll, Poll::default());
    assert_eq!(settings.retry, Retry::default());
    let ca_file = settings.http.ca_file.clone();
    assert!(ca_file.is_some());
    assert_eq!(settings.http, Http { ca_file, ..Http::default() });
    assert_eq!(settings.retention, Rules::default());
    let source = settings.source("stores").unwrap();
    assert_eq!(source.catch_up, Source::CATCH_UP);
    assert_eq!(source.min_entities, Source::MIN_ENTITIES);
    assert_eq!(source.max_shrink, Source::MAX_SHRINK);
    assert_eq!(source.max_change, Some(0.3), "an example, not the default");
    assert_eq!(source.skip_unchanged, Some(std::time::Duration::from_hours(7 * 24)), "an example");
    assert_eq!(source.grace, Source::GRACE);
    assert_eq!(source.ping.as_ref().unwrap().place(), "hc-ping.com");
    let Notify { remind_every, disk_low, try_timeout, webhooks, email, .. } = settings.notify;
    let default = Notify::default();
    assert_eq!(
        (remind_every, disk_low, try_timeout),
        (default.remind_every, default.disk_low, default.try_timeout)
    );
    assert_eq!(webhooks.len(), 3);
    let email = email.unwrap();
    assert_eq!((email.security, email.port), (MailSecurity::StartTls, 587));
    assert_eq!(settings.accounts.len(), 3);
    assert_eq!(settings.sources.len(), 2);
}

#[test]
fn the_shipped_file_has_every_known_key() {
    let root: Table = complete().parse().unwrap();
    let tables = |section: &Section| -> Vec<&Table> {
        let all_of = |key: &str| root[key].as_table().unwrap();
        let sources = || root["sources"].as_array().unwrap().iter().filter_map(|it| it.as_table());
        match section.title {
            "" => vec![&root],
            "[accounts.NAME]" => {
                all_of("accounts").values().filter_map(|it| it.as_table()).collect()
            }
            "[[sources]]" => sources().collect(),
            "[sources.retention]" => {
                sources().filter_map(|it| it.get("retention")?.as_table()).collect()
            }
            "[notify.email]" => vec![all_of("notify")["email"].as_table().unwrap()],
            "[[notify.webhooks]]" | "[[notify.commands]]" => {
                let key = section.title.trim_matches(['[', ']']).split('.').nth(1).unwrap();
                let tables = all_of("notify")[key].as_array().unwrap();
                tables.iter().filter_map(|it| it.as_table()).collect()
            }
            title => vec![all_of(title.trim_matches(['[', ']']))],
        }
    };
    for section in &schema::schema().sections {
        for key in section.keys.iter() {
            let there = tables(section).iter().any(|table| table.contains_key(*key));
            // Two of the three places of a password are only explained: the file has one.
            let there = there || SHIPPED.contains(&format!(" {key} = \""));
            assert!(there, "{key} of {:?}", section.title);
        }
    }
}

/// A table of the reference.
#[derive(Debug)]
struct Reference {
    title: &'static str,
    /// The word of the service whose keys it has; `None` for those of every service.
    service: Option<&'static str>,
    keys: Vec<&'static str>,
}

/// All of them. The keys of each service stand under a heading of their own.
fn references() -> Vec<Reference> {
    let mut all = Vec::new();
    for section in schema::schema().sections {
        let common = [&schema::ACCOUNT, &schema::SOURCE];
        let common = common.into_iter().find(|common| common.title == section.title);
        let keys = common.unwrap_or(&section).keys.to_vec();
        all.push(Reference { title: section.title, service: None, keys });
    }
    // Accounts and sources come once for each service.
    all.dedup_by_key(|reference| reference.title);
    for kind in service::KINDS {
        let own = [(&schema::ACCOUNT, kind.account_keys), (&schema::SOURCE, kind.source_keys)];
        for (section, keys) in own.into_iter().filter(|(_, keys)| !keys.is_empty()) {
            let (title, service) = (section.title, Some(kind.word));
            all.push(Reference { title, service, keys: keys.to_vec() });
        }
    }
    all
}

/// The rows about a table's keys: those under its heading, or under that of the service there.
fn rows(title: &str, service: Option<&str>) -> Vec<&'static str> {
    let heading = match title {
        "" => "## The top of the file".to_owned(),
        title => format!("## `{title}`"),
    };
    let mut section = REFERENCE
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "));
    if let Some(word) = service {
        let own = format!("### `service = \"{word}\"`");
        assert!(section.any(|line| line == own), "no {own} under {heading}");
    }
    let under: Vec<_> = section
        .take_while(|line| !line.starts_with("### "))
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert!(!under.is_empty(), "no table under {heading}, {service:?}");
    under
}

/// The cells of a key's row: the key, its type, its default, its meaning.
fn cells(title: &str, service: Option<&str>, key: &str) -> Vec<&'static str> {
    let begin = format!("| `{key}` |");
    let rows = rows(title, service);
    let row = rows.iter().find(|row| row.starts_with(&begin));
    let row = row.unwrap_or_else(|| panic!("no {key} in {title:?}, {service:?}"));
    row.trim_matches('|').split(" | ").map(str::trim).collect()
}

#[test]
fn the_reference_has_every_known_key_and_no_other() {
    let schema = schema::schema();
    for Reference { title, service, keys } in references() {
        for key in keys.iter().filter(|key| !schema.holds_tables(key)) {
            assert_eq!(cells(title, service, key).len(), 4, "{key} of {title:?}");
        }
        for row in rows(title, service) {
            let key = row.split('`').nth(1).unwrap();
            assert!(keys.contains(&key), "{key} of {title:?}, {service:?}");
        }
    }
}

#[test]
fn the_reference_has_every_default() {
    let quoted = |text: String| format!("`\"{text}\"`");
    let time = |it| quoted(duration_text(it));
    let plain = |it: &dyn std::fmt::Display| format!("`{it}`");
    let (poll, retry, http) = (Poll::default(), Retry::default(), Http::default());
    let (keep, notify) = (Rules::default(), Notify::default());
    let none = || "none".to_owned();
    let required = || "required".to_owned();
    let inherited = || "that of `[retention]`".to_owned();
    let common = [
        (&schema::ROOT, "state_dir", quoted(accepted("").state_dir.display().to_string())),
        (&schema::ROOT, "archive_dir", "`archive` in `state_dir`".into()),
        (&schema::WEB, "token_file", none()),
        (&schema::WEB, "token_env", none()),
        (&schema::WEB, "token_credential", none()),
        (&schema::ACCOUNT, "key_file", none()),
        (&schema::ACCOUNT, "key_env", none()),
        (&schema::ACCOUNT, "credential", none()),
        (&schema::SOURCE_RETENTION, "keep_last", inherited()),
        (&schema::SOURCE_RETENTION, "keep_daily", inherited()),
        (&schema::SOURCE_RETENTION, "keep_weekly", inherited()),
        (&schema::SOURCE_RETENTION, "keep_monthly", inherited()),
        (&schema::SOURCE_RETENTION, "keep_yearly", inherited()),
        (&schema::WEBHOOK, "url", required()),
        (&schema::WEBHOOK, "secret_file", none()),
        (&schema::WEBHOOK, "secret_env", none()),
        (&schema::WEBHOOK, "secret_credential", none()),
        (&schema::EMAIL, "server", required()),
        (&schema::EMAIL, "port", "that of `security`".into()),
        (&schema::EMAIL, "from", required()),
        (&schema::EMAIL, "to", required()),
        (&schema::EMAIL, "username", none()),
        (&schema::EMAIL, "password_file", none()),
        (&schema::EMAIL, "password_env", none()),
        (&schema::EMAIL, "password_credential", none()),
        (&schema::COMMAND, "run", required()),
        (&schema::ROOT, "timezone", quoted("UTC".into())),
        (&schema::WEB, "listen", quoted("127.0.0.1:8787".into())),
        (&schema::ACCOUNT, "service", quoted("bing".into())),
        (&schema::ACCOUNT, "discover", plain(&true)),
        (&schema::POLL, "initial", time(poll.initial)),
        (&schema::POLL, "max", time(poll.max)),
        (&schema::POLL, "factor", format!("`{:?}`", poll.factor)),
        (&schema::POLL, "jitter", plain(&poll.jitter)),
        (&schema::POLL, "deadline", time(poll.deadline)),
        (&schema::RETRY, "initial", time(retry.initial)),
        (&schema::RETRY, "max", time(retry.max)),
        (&schema::RETRY, "attempts", plain(&retry.attempts)),
        (&schema::RETRY, "job_attempts", plain(&retry.job_attempts)),
        (&schema::HTTP, "connect_timeout", time(http.connect_timeout)),
        (&schema::HTTP, "idle_timeout", quoted("60s".into())),
        (&schema::HTTP, "fetch_deadline", time(http.fetch_deadline)),
        (&schema::HTTP, "max_bytes", quoted(size_text(http.max_bytes))),
        (&schema::HTTP, "lost_after", time(http.lost_after)),
        (&schema::HTTP, "ca_file", "none".into()),
        (&schema::RETENTION, "keep_last", plain(&keep.keep_last)),
        (&schema::RETENTION, "keep_daily", plain(&keep.keep_daily)),
        (&schema::RETENTION, "keep_weekly", plain(&keep.keep_weekly)),
        (&schema::RETENTION, "keep_monthly", plain(&keep.keep_monthly)),
        (&schema::RETENTION, "keep_yearly", plain(&keep.keep_yearly)),
        (&schema::NOTIFY, "ping", "none".into()),
        (&schema::NOTIFY, "remind_every", time(notify.remind_every)),
        (&schema::NOTIFY, "disk_low", quoted(size_text(notify.disk_low))),
        (&schema::NOTIFY, "try_timeout", time(notify.try_timeout)),
        (&schema::EMAIL, "security", quoted("starttls".into())),
        (&schema::SOURCE, "ping", "none".into()),
        (&schema::SOURCE, "name", "required".into()),
        (&schema::SOURCE, "account", "required".into()),
        (&schema::SOURCE, "schedule", "required".into()),
        (&schema::SOURCE, "catch_up", plain(&Source::CATCH_UP)),
        (&schema::SOURCE, "min_entities", plain(&Source::MIN_ENTITIES)),
        (&schema::SOURCE, "max_shrink", plain(&Source::MAX_SHRINK)),
        (&schema::SOURCE, "max_change", "none".into()),
        (&schema::SOURCE, "skip_unchanged", "none".into()),
        (&schema::SOURCE, "versions", quoted("published".into())),
        (&schema::SOURCE, "grace", time(Source::GRACE)),
    ];
    let of_bing = [
        (&schema::ACCOUNT, "endpoint", quoted(bing::ENDPOINT.into())),
        (&schema::ACCOUNT, "max_in_process", plain(&bing::MAX_IN_PROCESS)),
        (&schema::ACCOUNT, "max_jobs_per_day", plain(&bing::MAX_JOBS_PER_DAY)),
        (&schema::SOURCE, "access_id", "required".into()),
        (&schema::SOURCE, "data_source", "required".into()),
        (&schema::SOURCE, "job_id", "none".into()),
    ];
    let common = common.into_iter().map(|it| (None, it));
    let of_bing = of_bing.into_iter().map(|it| (Some(bing::KIND.word), it));
    let mut checked = Vec::new();
    for (service, (section, key, default)) in common.chain(of_bing) {
        let title = section.title;
        assert_eq!(cells(title, service, key)[2], default, "{key} of {title:?}");
        checked.push((title, service, key));
    }
    let schema = schema::schema();
    for Reference { title, service, keys } in references() {
        for key in keys.into_iter().filter(|key| !schema.holds_tables(key)) {
            let is_checked = checked.contains(&(title, service, key));
            assert!(is_checked, "the default of {key} of {title:?} is not checked");
        }
    }
}

#[test]
fn the_examples_of_the_reference_are_accepted() {
    let blocks: Vec<_> = REFERENCE
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert!(blocks.len() >= 5);
    for block in blocks {
        let account = if block.contains("[accounts.contoso]") || !block.contains("[[sources]]") {
            ""
        } else {
            super::ACCOUNT
        };
        accepted(&format!("{account}{block}"));
    }
}

#[test]
fn the_mistakes_that_the_reference_shows_are_those_of_its_file() {
    let between = |from: &str| REFERENCE.split(from).nth(1).and_then(|it| it.split("```").next());
    let text = between("```text config.toml\n").unwrap();
    let shown = between("```text mistakes\n").unwrap();
    let env = super::at_home();
    let mistakes = super::parse(text, Path::new("/etc/nightjar/config.toml"), &env).unwrap_err();
    assert_eq!(shown.trim_end(), super::super::lines(&mistakes));
}
