//! Messages about lines that are not TOML, and about the others beside them.

use super::{finds, found};

#[test]
fn messages_about_invalid_toml_are_plain() {
    for (text, message) in [
        (
            "timezone = Europe/Berlin",
            "1:12: not TOML: a string must be in quotes, such as \"text\"",
        ),
        ("timezone = ", "1:11: not TOML: the value is missing"),
        ("timezone = # UTC", "1:12: not TOML: the value is missing"),
        ("timezone = \"UTC", "1:16: not TOML: the string has no closing quote, expected `\"`"),
        ("timezone \"UTC\"", "1:10: not TOML: found no `=`, expected NAME = VALUE"),
        (
            "timezone = \"UTC\" \"x\"",
            "1:18: not TOML: found more after the value, expected the line to end",
        ),
        ("[web\nlisten = 5", "1:5: not TOML: unclosed table, expected `]`"),
    ] {
        finds(text, &[message]);
    }
}

#[test]
fn invalid_lines_do_not_hide_the_mistakes_of_others() {
    let text = "timezone = Europe/Berlin\n[poll]\nintial = \"5s\"\nmax = 5m\n[[sources]]\n\
                name = stores\nschedule = \"daily\"\n";
    finds(
        text,
        &[
            "1:12: not TOML: a string must be in quotes, such as \"text\"",
            "3:1: unknown key `intial` in [poll], did you mean `initial`?",
            "4:7: not TOML: a string must be in quotes, such as \"text\"",
            "6:8: not TOML: a string must be in quotes, such as \"text\"",
            "7:12: `schedule`: found `daily`: expected five fields (minute hour day-of-month month \
             day-of-week) or six with seconds first, found 1",
        ],
    );
}

#[test]
fn ambiguous_text_gives_syntax_errors_only() {
    // the table of the next keys, or the end of the text, is unknown
    for text in [
        "[web\nzzz = 1",
        "x = \"\"\"a\n[web]\nzzz = 1",
        "x = [1, 2\n[web]\nzzz = 1",
        "[accounts]\na = { key_env = \"K\"\nzzz = 1",
    ] {
        let mistakes = found(text);
        assert!(!mistakes.is_empty());
        assert!(mistakes.iter().all(|it| it.contains(": not TOML: ")), "{mistakes:#?}");
    }
}
