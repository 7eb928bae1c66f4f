//! Every table and key that a configuration may have.

use crate::toml_reader::{Schema, Section};

pub(super) static ROOT: Section = Section {
    title: "",
    keys: &[
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
};
pub(super) static WEB: Section =
    Section { title: "[web]", keys: &["listen", "token_file", "token_env", "token_credential"] };
pub(super) static ACCOUNT: Section = Section {
    title: "[accounts.NAME]",
    keys: &["key_file", "key_env", "credential", "endpoint", "max_in_process", "max_jobs_per_day"],
};
pub(super) static POLL: Section =
    Section { title: "[poll]", keys: &["initial", "max", "factor", "jitter", "deadline"] };
pub(super) static RETRY: Section =
    Section { title: "[retry]", keys: &["initial", "max", "attempts", "job_attempts"] };
pub(super) static HTTP: Section = Section {
    title: "[http]",
    keys: &[
        "connect_timeout",
        "idle_timeout",
        "fetch_deadline",
        "max_bytes",
        "lost_after",
        "ca_file",
    ],
};
pub(super) static RETENTION: Section = Section {
    title: "[retention]",
    keys: &["keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"],
};
pub(super) static SOURCE_RETENTION: Section =
    Section { title: "[sources.retention]", keys: RETENTION.keys };
pub(super) static NOTIFY: Section = Section {
    title: "[notify]",
    keys: &["ping", "remind_every", "disk_low", "try_timeout", "webhooks", "email", "commands"],
};
pub(super) static WEBHOOK: Section = Section {
    title: "[[notify.webhooks]]",
    keys: &["url", "secret_file", "secret_env", "secret_credential"],
};
pub(super) static EMAIL: Section = Section {
    title: "[notify.email]",
    keys: &[
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
};
pub(super) static COMMAND: Section = Section { title: "[[notify.commands]]", keys: &["run"] };
pub(super) static SOURCE: Section = Section {
    title: "[[sources]]",
    keys: &[
        "name",
        "account",
        "access_id",
        "data_source",
        "schedule",
        "job_id",
        "catch_up",
        "min_entities",
        "max_shrink",
        "grace",
        "ping",
        "retention",
    ],
};

static ALL: [&Section; 13] = [
    &ROOT,
    &WEB,
    &ACCOUNT,
    &POLL,
    &RETRY,
    &HTTP,
    &RETENTION,
    &NOTIFY,
    &WEBHOOK,
    &EMAIL,
    &COMMAND,
    &SOURCE,
    &SOURCE_RETENTION,
];

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

/// All of it.
pub(super) static SCHEMA: Schema = Schema { sections: &ALL, tables: &TABLES };

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
            assert_eq!(SCHEMA.advice(wrong, false, section), right, "{wrong}");
        }
        assert_eq!(SCHEMA.advice("account", true, &ROOT), "did you mean `accounts`?");
    }
}
