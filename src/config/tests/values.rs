//! Mistakes in values, with the position and message that are shown.

use super::{finds, read, source_with};

#[test]
fn a_value_of_the_wrong_type_says_what_was_found_and_expected() {
    for (text, message) in [
        ("state_dir = 5", "1:13: `state_dir`: found an integer, expected a string in quotes"),
        ("archive_dir = true", "1:15: `archive_dir`: found a boolean, expected a string in quotes"),
        ("timezone = []", "1:12: `timezone`: found an array, expected a string in quotes"),
        ("web = true", "1:7: `web`: found a boolean, expected the table [web]"),
        ("[[web]]", "1:1: `web`: found an array, expected the table [web]"),
        ("accounts = 1.5", "1:12: `accounts`: found a float, expected tables [accounts.NAME]"),
        ("accounts.a = \"x\"", "1:14: `a`: found a string, expected a table [accounts.NAME]"),
        (
            "[sources]",
            "1:1: `sources`: found a table, expected tables that each begin with [[sources]]",
        ),
        (
            "sources = [1]",
            "1:12: `sources`: found an integer, expected tables that each begin with [[sources]]",
        ),
        (
            "[poll]\nfactor = \"2\"",
            "2:10: `factor`: found a string, expected a number of at least 1",
        ),
        (
            "[poll]\ninitial = 2024-01-01",
            "2:11: `initial`: found a date or time, expected a duration such as \"90s\"",
        ),
        (
            "[retry]\nattempts = 8.0",
            "2:12: `attempts`: found a float, expected a whole number of at least 1",
        ),
        (
            "[http]\nmax_bytes = 2.5",
            "2:13: `max_bytes`: found a float, expected a size such as \"2 GiB\"",
        ),
        (
            "[retention]\nkeep_last = {}",
            "2:13: `keep_last`: found a table, expected a whole number, 0 or more",
        ),
    ] {
        finds(text, &[message]);
    }
    finds(
        &source_with("catch_up = \"yes\""),
        &["9:12: `catch_up`: found a string, expected true or false"],
    );
}

#[test]
fn a_value_out_of_bounds_says_which_are_allowed() {
    for (text, message) in [
        ("state_dir = \"\"", "1:13: `state_dir`: found an empty string, expected a path"),
        (
            "state_dir = \"a\\u0000\"",
            "1:13: `state_dir`: found a string with a NUL character, expected a path",
        ),
        ("[poll]\nfactor = 0.9", "2:10: `factor`: found 0.9, expected a number of at least 1"),
        ("[poll]\nfactor = inf", "2:10: `factor`: found inf, expected a number of at least 1"),
        ("[poll]\nfactor = -1", "2:10: `factor`: found -1, expected a number of at least 1"),
        ("[poll]\njitter = 1", "2:10: `jitter`: found 1, expected a number from 0 to below 1"),
        ("[poll]\njitter = nan", "2:10: `jitter`: found NaN, expected a number from 0 to below 1"),
        ("[poll]\ninitial = \"0s\"", "2:11: `initial`: found zero, expected a duration above zero"),
        (
            "[poll]\ninitial = \"0.5ms\"",
            "2:11: `initial`: found `0.5ms`: expected whole numbers, such as \"1h30m\"",
        ),
        (
            "[poll]\ninitial = \"500us\"",
            "2:11: `initial`: found `500us`: there is no unit `us`, expected a number and a unit \
             (ms, s, m, h or d) such as \"90s\"",
        ),
        (
            "[poll]\ndeadline = \"11000d\"",
            "2:12: `deadline`: found `11000d`: it is longer than 3650d",
        ),
        (
            "[poll]\ninitial = -5",
            "2:11: `initial`: found -5 without a unit, expected a duration such as \"90s\" (units: \
             ms, s, m, h, d)",
        ),
        (
            "[retry]\nattempts = -1",
            "2:12: `attempts`: found -1, expected a whole number of at least 1",
        ),
        ("[retry]\nattempts = 4294967296", "2:12: `attempts`: the number is too large"),
        (
            "[http]\nmax_bytes = \"0 B\"",
            "2:13: `max_bytes`: found zero, expected a size above zero",
        ),
        (
            "[http]\nmax_bytes = 1024",
            "2:13: `max_bytes`: found 1024 without a unit, expected a size such as \"1024 B\" or \
             \"2 GiB\"",
        ),
        (
            "[http]\nmax_bytes = \"2 gib\"",
            "2:13: `max_bytes`: found `2 gib`: the unit is written GiB, such as \"2 GiB\"",
        ),
        (
            "[retention]\nkeep_last = 0\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\n\
             keep_yearly = 0",
            "1:1: every keep_… is 0, expected at least one above: nothing would be kept",
        ),
    ] {
        finds(text, &[message]);
    }
    for (line, message) in [
        ("max_shrink = 1.5", "9:14: `max_shrink`: found 1.5, expected a part from 0.0 to 1.0"),
        ("max_change = -0.1", "9:14: `max_change`: found -0.1, expected a part from 0.0 to 1.0"),
        ("min_entities = -1", "9:16: `min_entities`: found -1, expected a whole number, 0 or more"),
        (
            "job_id = \"latest\"",
            "9:10: `job_id`: expected the id of a version: hexadecimal digits and dashes",
        ),
        (
            "access_id = \"a/b\"",
            "8:13: `access_id`: expected the access id from the data source's URL: \
             letters, digits and -",
        ),
        (
            "data_source = \"a b\"",
            "8:15: `data_source`: found ` `, expected letters, digits and any of ~ ` ! $ ^ _ = { } -",
        ),
        ("data_source = \"\"", "8:15: `data_source`: found 0 characters, expected 1 to 50"),
        (
            "name = \"-a\"",
            "8:8: `name`: found `-a`, expected lower-case letters, digits, _ and -, beginning with \
             a letter or digit",
        ),
        (
            "name = \"\"",
            "8:8: `name`: found ``, expected lower-case letters, digits, _ and -, beginning with a \
             letter or digit",
        ),
        (
            "schedule = \"@nightly\"",
            "8:12: `schedule`: found `@nightly`: unknown schedule \"@nightly\", allowed are \
             @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly",
        ),
        (
            "schedule = \"0 0 31 2 *\"",
            "8:12: `schedule`: found `0 0 31 2 *`: never fires: no 31 February",
        ),
    ] {
        finds(&source_with(line), &[message]);
    }
    let long = "x".repeat(65);
    finds(
        &source_with(&format!("name = \"{long}\"")),
        &["8:8: `name`: found 65 characters, expected at most 64"],
    );
    finds(
        &source_with(&format!("data_source = \"{long}\"")),
        &["8:15: `data_source`: found 65 characters, expected 1 to 50"],
    );
}

#[test]
fn a_first_wait_is_never_longer_than_the_longest() {
    for (text, message) in [
        (
            "[poll]\ninitial = \"1m\"\nmax = \"30s\"",
            "3:7: `max`: found 30s, expected at least `initial`, 1m",
        ),
        (
            "[poll]\nmax = \"2s\"",
            "2:7: `max`: found 2s, expected at least `initial`, 5s by default",
        ),
        (
            "[retry]\ninitial = \"10m\"",
            "2:11: `initial`: found 10m, expected at most `max`, 5m by default",
        ),
        // a value that is wrong already is not compared with others
        (
            "[poll]\ninitial = \"x\"\nmax = \"2s\"",
            "2:11: `initial`: found `x`: expected a number and a unit (ms, s, m, h or d) such as \
             \"90s\"",
        ),
    ] {
        finds(text, &[message]);
    }
}

#[test]
fn the_endpoint_is_https_or_loopback() {
    const SUCH: &str = "expected an address such as \"https://spatial.virtualearth.net/REST/v1\"";
    let unencrypted = "found http, expected https: the key would be sent unencrypted; http is \
                accepted for loopback addresses only";
    for (endpoint, problem) in [
        ("", format!("not a URL (relative URL without a base), {SUCH}")),
        ("spatial.virtualearth.net", format!("not a URL (relative URL without a base), {SUCH}")),
        ("https://", format!("not a URL (empty host), {SUCH}")),
        ("ftp://h/", format!("found neither https nor http, {SUCH}")),
        ("file:///x", format!("the host is missing, {SUCH}")),
        ("http://h.example/", unencrypted.into()),
        ("http://10.0.0.1/", unencrypted.into()),
        ("http://0.0.0.0/", unencrypted.into()),
        ("http://localhost.example/", unencrypted.into()),
        ("https://u:p@h/", "found a user or password, expected a URL without one".into()),
        (
            "https://h/?key=x",
            "found a `?` or `#`, expected an address without query or fragment, and without a key"
                .into(),
        ),
    ] {
        finds(
            &format!("[accounts.a]\nkey_env = \"K\"\nendpoint = \"{endpoint}\""),
            &[&format!("3:12: `endpoint`: {problem}")],
        );
    }
}

#[test]
fn the_page_listens_on_loopback_addresses_with_a_port() {
    for (address, port) in [("0.0.0.0:80", 80), ("[::]:8787", 8787), ("192.0.2.1:1", 1)] {
        finds(
            &format!("[web]\nlisten = \"{address}\""),
            &[&format!(
                "2:10: `listen`: found `{address}`, expected a loopback address such as \
                 \"127.0.0.1:{port}\": the page has no login; put a proxy with one in front of it, or set token_file"
            )],
        );
    }
    for address in ["8787", "localhost:8787", "127.0.0.1", " ", "127.0.0.1:65536"] {
        finds(
            &format!("[web]\nlisten = \"{address}\""),
            &[&format!(
                "2:10: `listen`: found `{address}`, expected an address with a port such as \
                 \"127.0.0.1:8787\", a socket file such as \"unix:/run/nightjar/page.sock\", or \
                 \"\" for no page"
            )],
        );
    }
}

#[test]
fn the_archive_is_a_folder_of_its_own() {
    let archive = |folder: &str| format!("state_dir = \"/s\"\narchive_dir = \"{folder}\"");
    let same = "2:15: `archive_dir`: found the folder of `state_dir`, expected another one: each \
                folder of the archive belongs to a source";
    finds(&archive("/s"), &[same]);
    finds(&archive("/s/"), &[same]);
    finds(
        &archive("/s/quarantine/x"),
        &["2:15: `archive_dir`: found the quarantine of `state_dir`, expected another folder"],
    );
    assert!(read(&archive("/s/a")).is_ok());
}

#[test]
fn a_zone_is_found_by_its_city() {
    for (zone, near) in [("berlin", "Europe/Berlin"), ("New York", "America/New_York")] {
        finds(
            &format!("timezone = \"{zone}\""),
            &[&format!(
                "1:12: `timezone`: found `{zone}`, expected an IANA time zone; did you mean \
                 `{near}`?"
            )],
        );
    }
}

#[test]
fn a_message_is_one_line_whatever_was_found() {
    finds(
        &source_with(r#"schedule = "0 2 \u001b[31m * *""#),
        &["8:12: `schedule`: found `0 2 \\u{1b}[31m * *`: day-of-month field \"\u{fffd}[31m\": \
           \"\u{fffd}[31m\" is not understood, allowed are *, numbers 1-31, ranges such as 1-31, \
           steps such as */2, and lists of these with commas"],
    );
}

#[test]
fn the_channels_of_alerts_are_validated_too() {
    finds(
        r#"[notify]
ping = "http://hc-ping.com/1"
remind_every = "0s"
disk_low = 5

[[notify.webhooks]]
secret_file = "/a"
secret_env = "B"

[[notify.webhooks]]
url = "https://user:word@hooks.example.org/1"

[notify.email]
server = "smtp.example.org:25"
security = "none"
from = "ops"
to = []
username = "nightjar"

[[notify.commands]]
run = ["tell"]

[[notify.commands]]
run = "tell"
"#,
        &[
            "2:8: `ping`: found http, expected https: its content would be sent unencrypted; \
             http is accepted for loopback addresses only",
            "3:16: `remind_every`: found zero, expected a duration above zero",
            "4:12: `disk_low`: found 5 without a unit, expected a size such as \"5 B\" or \"2 GiB\"",
            "6:1: `url` is missing: where messages are posted to",
            "8:1: `secret_env`: found beside `secret_file` of line 7, expected only one of \
             secret_file = \"FILE\", secret_env = \"VARIABLE\" or secret_credential = \"NAME\"",
            "11:7: `url`: found a user or password, expected a URL without one",
            "13:1: a login needs both `username` and the place of its password: password_file = \
             \"FILE\", password_env = \"VARIABLE\" or password_credential = \"NAME\"",
            "14:10: `server`: found `smtp.example.org:25`, expected a server's name such as \
             \"smtp.example.org\", without its port",
            "16:8: `from`: found `ops`, expected a mailbox such as \"ops@example.org\" or \"Ops \
             <ops@example.org>\"",
            "17:6: `to`: found an empty array, expected at least one mailbox",
            "21:7: `run`: found the program `tell`, expected its whole path, beginning with /",
            "24:7: `run`: found a string, expected a program and its arguments such as \
             [\"/usr/local/bin/tell\", \"ops\"]",
        ],
    );
    finds(
        "[notify.email]\nserver = \"smtp.example.org\"\nsecurity = \"none\"\n\
         from = \"a@example.org\"\nto = \"b@example.org\"\n",
        &["3:12: `security`: found `none`, expected `tls` or `starttls`: mail would be sent \
           unencrypted; `none` is accepted for loopback addresses only"],
    );
}
