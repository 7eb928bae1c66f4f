//! Every table and key that a configuration may have, and suggestions for unknown ones.

/// A kind of table.
#[derive(Debug)]
pub(super) struct Section {
    /// As users write it; empty for the top of the file.
    pub(super) title: &'static str,
    pub(super) keys: &'static [&'static str],
}

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

pub(super) static ALL: [&Section; 13] = [
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

/// How similar a name must be to be suggested, and how similar if it belongs to another table.
const ALIKE: f64 = 0.75;
const VERY_ALIKE: f64 = 0.9;

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

/// Whether a known key holds a table or tables.
pub(super) fn holds_tables(key: &str) -> bool {
    TABLES.contains(&key)
}

/// The suggestion for an unknown key or table in `section`: the table that it belongs to, the
/// nearest known key of this section or of another, or all known keys.
pub(super) fn advice(key: &str, is_table: bool, section: &Section) -> String {
    let homes: Vec<_> = ALL
        .iter()
        .filter(|home| home.keys.contains(&key) && holds_tables(key) == is_table)
        .map(|home| match home.title {
            "" => "at the top of the file, before the first [table]".to_owned(),
            title => format!("in {title}"),
        })
        .collect();
    if !homes.is_empty() {
        return format!("it belongs {}", homes.join(" or "));
    }
    if let [near, ..] = nearest(key, section.keys.iter().copied()).as_slice() {
        return format!("did you mean `{near}`?");
    }
    let elsewhere = ALL.iter().flat_map(|home| home.keys.iter().map(|known| (*known, home.title)));
    let elsewhere = elsewhere
        .filter(|(known, _)| holds_tables(known) == is_table)
        .map(|(known, title)| (likeness(key, known), known, title))
        .filter(|(likeness, ..)| *likeness >= VERY_ALIKE)
        .max_by(|(a, ..), (b, ..)| a.total_cmp(b));
    match elsewhere {
        Some((_, near, "")) => format!("did you mean `{near}` at the top of the file?"),
        Some((_, near, title)) => format!("did you mean `{near}` in {title}?"),
        None => format!("known here: {}", section.keys.join(", ")),
    }
}

/// The known names most similar to a text, best first, at most three; case is ignored. A name that
/// contains the text, or is contained in it, counts as similar.
pub(super) fn nearest<'k>(text: &str, known: impl Iterator<Item = &'k str>) -> Vec<&'k str> {
    let text = text.to_lowercase();
    let mut near: Vec<_> = known
        .map(|name| (likeness(&text, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    near.into_iter().map(|(_, name)| name).take(3).collect()
}

fn likeness(a: &str, b: &str) -> f64 {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short.len() >= 3 && long.contains(short) {
        return 0.8 + 0.2 * short.len() as f64 / long.len() as f64;
    }
    strsim::jaro_winkler(a, b)
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
            assert_eq!(advice(wrong, false, section), right, "{wrong}");
        }
        assert_eq!(advice("account", true, &ROOT), "did you mean `accounts`?");
    }
}
