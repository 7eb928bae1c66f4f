//! Every table and key that a configuration may have, and what was probably meant by another.

/// A kind of table.
#[derive(Debug)]
pub(super) struct Section {
    /// As a reader of the file would write it; empty for the top of the file.
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
        "sources",
    ],
};
pub(super) static WEB: Section = Section { title: "[web]", keys: &["listen"] };
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
        "retention",
    ],
};

pub(super) static ALL: [&Section; 8] =
    [&ROOT, &WEB, &ACCOUNT, &POLL, &RETRY, &HTTP, &RETENTION, &SOURCE];

/// The keys that hold tables; all others hold values.
const TABLES: [&str; 7] = ["web", "accounts", "poll", "retry", "http", "retention", "sources"];

/// What to tell somebody who wrote a key or table in `section`, where it is unknown: the place
/// that it belongs to, or the nearest known key, or all of them.
pub(super) fn advice(key: &str, is_table: bool, section: &Section) -> String {
    let homes: Vec<_> = ALL
        .iter()
        .filter(|home| home.keys.contains(&key) && TABLES.contains(&key) == is_table)
        .map(|home| match home.title {
            "" => "at the top of the file, before the first [table]".to_owned(),
            title => format!("in {title}"),
        })
        .collect();
    if !homes.is_empty() {
        return format!("it belongs {}", homes.join(" or "));
    }
    match nearest(key, section.keys.iter().copied()).as_slice() {
        [near, ..] => format!("did you mean `{near}`?"),
        [] => format!("known here: {}", section.keys.join(", ")),
    }
}

/// The known names that resemble a text most, best first, at most three; letter case does not
/// count.
pub(super) fn nearest<'k>(text: &str, known: impl Iterator<Item = &'k str>) -> Vec<&'k str> {
    let text = text.to_lowercase();
    let mut near: Vec<_> = known
        .map(|name| (strsim::jaro_winkler(&text, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= 0.75)
        .collect();
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    near.into_iter().map(|(_, name)| name).take(3).collect()
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
            (&WEB, "zzz", "known here: listen"),
            (&SOURCE, "shedule", "did you mean `schedule`?"),
            (&ACCOUNT, "keyfile", "did you mean `key_file`?"),
        ] {
            assert_eq!(advice(wrong, false, section), right, "{wrong}");
        }
        assert_eq!(advice("account", true, &ROOT), "did you mean `accounts`?");
    }
}
