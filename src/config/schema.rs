//! Every table and key that a configuration may have.

use crate::service;
use crate::toml_reader::{Schema, Section};

pub(super) static ROOT: Section = Section::new(
    "",
    &[
        "state_dir",
        "archive_dir",
        "timezone",
        "web",
        "accounts",
        "poll",
        "retry",
        "http",
        "retention",
        "notify",
        "sources",
    ],
);
pub(super) static WEB: Section =
    Section::new("[web]", &["listen", "token_file", "token_env", "token_credential"]);
/// Without the keys of its service.
pub(super) static ACCOUNT: Section =
    Section::new("[accounts.NAME]", &["key_file", "key_env", "credential", "service", "discover"]);
pub(super) static POLL: Section =
    Section::new("[poll]", &["initial", "max", "factor", "jitter", "deadline"]);
pub(super) static RETRY: Section =
    Section::new("[retry]", &["initial", "max", "attempts", "job_attempts"]);
pub(super) static HTTP: Section = Section::new(
    "[http]",
    &["connect_timeout", "idle_timeout", "fetch_deadline", "max_bytes", "lost_after", "ca_file"],
);
const RULES: &[&str] = &["keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"];
pub(super) static RETENTION: Section = Section::new("[retention]", RULES);
pub(super) static SOURCE_RETENTION: Section = Section::new("[sources.retention]", RULES);
pub(super) static NOTIFY: Section = Section::new(
    "[notify]",
    &["ping", "remind_every", "disk_low", "try_timeout", "webhooks", "email", "commands"],
);
pub(super) static WEBHOOK: Section =
    Section::new("[[notify.webhooks]]", &["url", "secret_file", "secret_env", "secret_credential"]);
pub(super) static EMAIL: Section = Section::new(
    "[notify.email]",
    &[
        "server",
        "security",
        "port",
        "from",
        "to",
        "username",
        "password_file",
        "password_env",
        "password_credential",
    ],
);
pub(super) static COMMAND: Section = Section::new("[[notify.commands]]", &["run"]);
/// Without the keys of its service.
pub(super) static SOURCE: Section = Section::new(
    "[[sources]]",
    &[
        "name",
        "account",
        "schedule",
        "catch_up",
        "min_entities",
        "max_shrink",
        "max_change",
        "skip_unchanged",
        "versions",
        "grace",
        "ping",
        "retention",
    ],
);

/// The keys that hold tables; all others hold values.
const TABLES: [&str; 11] = [
    "web",
    "accounts",
    "poll",
    "retry",
    "http",
    "retention",
    "notify",
    "webhooks",
    "email",
    "commands",
    "sources",
];

/// All of it: the tables of accounts and sources once for each kind of service.
pub(super) fn schema() -> Schema {
    let mut sections = vec![ROOT.clone(), WEB.clone()];
    sections.extend(service::KINDS.iter().map(|kind| ACCOUNT.with(kind.account_keys)));
    let fixed = [&POLL, &RETRY, &HTTP, &RETENTION, &NOTIFY, &WEBHOOK, &EMAIL, &COMMAND];
    sections.extend(fixed.into_iter().cloned());
    sections.extend(service::KINDS.iter().map(|kind| SOURCE.with(kind.source_keys)));
    sections.push(SOURCE_RETENTION.clone());
    Schema { sections, tables: &TABLES }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_recognised() {
        for (section, wrong, right) in [
            (&ROOT, "account", "it belongs in [[sources]]"),
            (&ROOT, "accoutns", "did you mean `accounts`?"),
            (&ROOT, "source", "did you mean `sources`?"),
            (&ROOT, "Timezone", "did you mean `timezone`?"),
            (&ROOT, "retries", "did you mean `retry`?"),
            (&POLL, "intial", "did you mean `initial`?"),
            (&POLL, "timezone", "it belongs at the top of the file, before the first [table]"),
            (&POLL, "max_bytes", "it belongs in [http]"),
            (&WEB, "max", "it belongs in [poll] or in [retry]"),
            (&WEB, "zzz", "known here: listen, token_file, token_env, token_credential"),
            (&ROOT, "lissten", "did you mean `listen` in [web]?"),
            (&POLL, "timezon", "did you mean `timezone` at the top of the file?"),
            (&HTTP, "timeout", "did you mean `idle_timeout`?"),
            (&RETRY, "max_attempts", "did you mean `attempts`?"),
            (&ACCOUNT, "env", "did you mean `key_env`?"),
            (&SOURCE, "keep_daily", "it belongs in [retention] or in [sources.retention]"),
            (&SOURCE, "shedule", "did you mean `schedule`?"),
            (&ACCOUNT, "keyfile", "did you mean `key_file`?"),
        ] {
            assert_eq!(schema().advice(wrong, false, section), right, "{wrong}");
        }
        assert_eq!(schema().advice("account", true, &ROOT), "did you mean `accounts`?");
    }
}
