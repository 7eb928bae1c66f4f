//! Mistakes in names and structure, with the position and message that are shown.

use super::{ACCOUNT, finds, read, source_with};

#[test]
fn all_mistakes_are_shown_at_once_in_the_files_order() {
    let text = r#"timezone = "Europe/Berlinn"
lissten = "x"

[web]
listen = "0.0.0.0:80"

[poll]
intial = "5s"
max = 5

[[sources]]
name = "Stores"
acount = "contoso"
schedule = "0 25 * * *"

[accounts.contoso]
key_file = "/k"
key_env = "K"
max_in_process = 0
"#;
    finds(
        text,
        &[
            "1:12: `timezone`: found `Europe/Berlinn`, expected an IANA time zone; did you mean \
             `Europe/Berlin`, `Europe/Dublin`, `Europe/Busingen`?",
            "2:1: unknown key `lissten`, did you mean `listen` in [web]?",
            "5:10: `listen`: found `0.0.0.0:80`, expected a loopback address such as \
             \"127.0.0.1:80\": the page has no login; put a proxy with one in front of it, or set token_file",
            "8:1: unknown key `intial` in [poll], did you mean `initial`?",
            "9:7: `max`: found 5 without a unit, expected a duration such as \"5s\" (units: ms, s, \
             m, h, d)",
            "11:1: `account` is missing: the name of an [accounts.NAME] table",
            "11:1: `access_id` is missing: the id in the data source's URL",
            "11:1: `data_source` is missing: the service's name for the data",
            "12:8: `name`: found `Stores`, expected lower-case letters, digits, _ and -, beginning \
             with a letter or digit",
            "13:1: unknown key `acount` in [[sources]], did you mean `account`?",
            "14:12: `schedule`: found `0 25 * * *`: hour field \"25\": 25 is out of range 0-23",
            "18:1: `key_env`: found beside `key_file` of line 17, expected only one of key_file = \
             \"FILE\", key_env = \"VARIABLE\" or credential = \"NAME\"",
            "19:18: `max_in_process`: found 0, expected a whole number of at least 1",
        ],
    );
}

#[test]
fn an_unknown_key_of_every_table_names_the_nearest_known_one() {
    for (head, wrong, right) in [
        ("", "timezon", "timezone"),
        ("", "archivedir", "archive_dir"),
        ("[web]", "listn", "listen"),
        ("[accounts.contoso]\nkey_env = \"K\"", "max_in_proces", "max_in_process"),
        ("[poll]", "jiter", "jitter"),
        ("[retry]", "max_attempts", "attempts"),
        ("[http]", "timeout", "idle_timeout"),
        ("[retention]", "keep_dayly", "keep_daily"),
        (&source_with(""), "min_entites", "min_entities"),
        (&source_with("[sources.retention]"), "keep_lst", "keep_last"),
    ] {
        let head = head.trim_end();
        let text = format!("{head}\n  {wrong} = 1\n");
        let line = head.lines().count().max(1) + 1;
        let place = match head.lines().last().unwrap_or_default() {
            "" => String::new(),
            _ if head.contains("[sources.retention]") => " in [sources.retention]".into(),
            _ if head.contains("[[sources]]") => " in [[sources]]".into(),
            _ if head.contains("accounts") => " in [accounts.NAME]".into(),
            title => format!(" in {title}"),
        };
        finds(
            &text,
            &[&format!("{line}:3: unknown key `{wrong}`{place}, did you mean `{right}`?")],
        );
    }
}

#[test]
fn an_unknown_table_names_the_nearest_known_one() {
    finds("[pol]\ninitial = 1", &["1:2: unknown table `pol`, did you mean `poll`?"]);
    finds("[[source]]", &["1:3: unknown table `source`, did you mean `sources`?"]);
    finds("[account.a]", &["1:2: unknown table `account`, did you mean `accounts`?"]);
}

#[test]
fn a_known_key_in_the_wrong_table_gets_the_right_one() {
    for (text, message) in [
        (
            "[web]\ntimezone = 1",
            "2:1: unknown key `timezone` in [web], it belongs at the top of the file, before the \
             first [table]",
        ),
        ("listen = 1", "1:1: unknown key `listen`, it belongs in [web]"),
        ("[poll]\nattempts = 1", "2:1: unknown key `attempts` in [poll], it belongs in [retry]"),
        ("[http]\nmax = 1", "2:1: unknown key `max` in [http], it belongs in [poll] or in [retry]"),
        (
            "[web.poll]",
            "1:6: unknown table `poll` in [web], it belongs at the top of the file, before the \
             first [table]",
        ),
    ] {
        finds(text, &[message]);
    }
}

#[test]
fn a_repeated_name_is_reported_at_its_second_place() {
    finds(
        "timezone = \"UTC\"\ntimezone = \"UTC\"",
        &["2:1: `timezone` is already defined, expected it once"],
    );
    finds("[web]\n[poll]\n[web]", &["3:2: `web` is already defined, expected it once"]);
    finds(
        &format!("{ACCOUNT}[accounts.contoso]"),
        &["3:11: `contoso` is already defined, expected it once"],
    );
    let twice = source_with("") + &source_with("").replace(ACCOUNT, "");
    finds(&twice, &["10:8: `name`: `stores` is already the source of line 4, expected another"]);
}

#[test]
fn missing_keys_of_a_source_are_reported_at_its_header() {
    finds(
        "[web]\n\n  [[sources]]",
        &[
            "3:3: `name` is missing: the source's folder in the archive",
            "3:3: `account` is missing: the name of an [accounts.NAME] table",
            "3:3: `access_id` is missing: the id in the data source's URL",
            "3:3: `data_source` is missing: the service's name for the data",
            "3:3: `schedule` is missing: when to back up, such as \"0 2 * * *\" or \"@daily\"",
        ],
    );
}

#[test]
fn an_account_that_does_not_exist_names_those_that_do() {
    let account = |name: &str| source_with(&format!("account = \"{name}\""));
    finds(&account("Contoso"), &["8:11: `account`: no account `Contoso`, did you mean `contoso`?"]);
    finds(&account("zzz"), &["8:11: `account`: no account `zzz`, known: `contoso`"]);
    finds(
        &account("zzz").replace(ACCOUNT, ""),
        &["6:11: `account`: no account `zzz`, the file has no [accounts.NAME]"],
    );
}

#[test]
fn an_account_with_a_mistake_is_still_known_to_its_sources() {
    let text = source_with("").replace("key_env = \"K\"", "key_env = \"a b\"");
    finds(
        &text,
        &["2:11: `key_env`: expected the name of an environment variable: letters, digits and _"],
    );
    let text = format!("accounts.contoso = 5\n{}", source_with("").replace(ACCOUNT, ""));
    finds(&text, &["1:20: `contoso`: found an integer, expected a table [accounts.NAME]"]);
}

#[test]
fn a_key_has_exactly_one_place() {
    const ONE: &str = "one of key_file = \"FILE\", key_env = \"VARIABLE\" or credential = \"NAME\"";
    finds(
        "[accounts.a]\nendpoint = \"https://h\"",
        &[&format!("1:1: the key's place is missing: expected {ONE}")],
    );
    finds(
        "[accounts.a]\ncredential = \"c\"\nkey_env = \"K\"\nkey_file = \"/k\"",
        &[
            &format!("3:1: `key_env`: found beside `credential` of line 2, expected only {ONE}"),
            &format!("4:1: `key_file`: found beside `credential` of line 2, expected only {ONE}"),
        ],
    );
    for name in ["", "a/b", "..", "a b", "a:b"] {
        finds(
            &format!("[accounts.a]\ncredential = \"{name}\""),
            &["2:14: `credential`: expected the name of a credential as in systemd's \
               LoadCredential=NAME:FILE"],
        );
    }
    for name in ["", "9A", "A-B", "$A"] {
        finds(
            &format!("[accounts.a]\nkey_env = \"{name}\""),
            &["2:11: `key_env`: expected the name of an environment variable: letters, digits \
               and _"],
        );
    }
}

#[test]
fn an_accounts_name_can_be_shown_on_one_line() {
    for name in ["\"\"", "\" \"", "\"a\\nb\"", &"x".repeat(65)] {
        finds(
            &format!("[accounts.{name}]\nkey_env = \"K\""),
            &["1:1: the account's name: expected 1 to 64 printable characters"],
        );
    }
}

#[test]
fn an_unknown_service_names_those_that_exist() {
    for (word, found) in [
        ("\"ftp\"", "no service `ftp`, known: `bing`"),
        ("\"Bing\"", "no service `Bing`, known: `bing`"),
        ("1", "found an integer, expected a string in quotes"),
    ] {
        let text = format!("[accounts.contoso]\nkey_env = \"K\"\nservice = {word}\n");
        finds(&text, &[&format!("3:11: `service`: {found}")]);
    }
    let text = "[accounts.contoso]\nkey_env = \"K\"\nservice = \"bing\"\n";
    assert_eq!(read(text).unwrap().accounts["contoso"].service, "bing");
}
