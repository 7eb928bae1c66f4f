//! Every text gives settings, or mistakes with positions inside the file.

use proptest::prelude::*;

use super::{EXAMPLE, Mistake, read};

/// Checks that a text is accepted, or that its mistakes are in order and inside the file.
fn check(text: &str) {
    let Err(mistakes) = read(text) else { return };
    assert!(!mistakes.is_empty());
    let places: Vec<_> = mistakes.iter().map(|it| (it.line, it.column)).collect();
    assert!(places.is_sorted(), "{places:?}");
    let lines: Vec<_> = text.strip_prefix('\u{feff}').unwrap_or(text).split('\n').collect();
    for mistake in mistakes {
        let Mistake { line, column, message, .. } = mistake;
        assert!(!message.is_empty() && !message.contains('\n'), "{message}");
        let length = line.checked_sub(1).and_then(|it| lines.get(it)).map(|it| it.chars().count());
        assert!(
            length.is_some_and(|length| (1..=length + 1).contains(&column)),
            "{line}:{column}: {message}\n{text}"
        );
    }
}

fn without_or_twice(wanted: usize, times: usize) -> String {
    let lines = EXAMPLE.split_inclusive('\n').enumerate();
    lines.map(|(i, line)| line.repeat(if i == wanted { times } else { 1 })).collect()
}

#[test]
fn any_line_left_out_gives_settings_or_a_place() {
    for i in 0..EXAMPLE.lines().count() {
        check(&without_or_twice(i, 0));
    }
}

#[test]
fn any_line_there_twice_is_a_mistake_on_the_second() {
    for (i, line) in EXAMPLE.lines().enumerate() {
        let text = without_or_twice(i, 2);
        check(&text);
        if line.is_empty() {
            continue;
        }
        let mistakes = read(&text).unwrap_err();
        let place = if line == "[[sources]]" { i + 1 } else { i + 2 };
        assert_eq!(mistakes[0].line, place, "{line}: {}", mistakes[0]);
    }
}

#[test]
fn any_beginning_of_a_file_gives_settings_or_a_place() {
    for end in 0..=EXAMPLE.len() {
        check(&EXAMPLE[..end]);
    }
}

#[test]
fn any_character_left_out_gives_settings_or_a_place() {
    for at in 0..EXAMPLE.len() {
        check(&format!("{}{}", &EXAMPLE[..at], &EXAMPLE[at + 1..]));
    }
}

#[test]
fn columns_count_characters_and_not_bytes() {
    let mistakes = read("\u{feff}zzz = 1\r\n\t\"é☃𝄞\" = 1\r\nweb.\"é\" = 1 # x").unwrap_err();
    let places: Vec<_> = mistakes.iter().map(|it| (it.line, it.column)).collect();
    assert_eq!(places, [(1, 1), (2, 2), (3, 5)]);
    let mistakes = read("web = { \"é☃𝄞\" = 1, zzz = 2 }").unwrap_err();
    assert_eq!((mistakes[0].column, mistakes[1].column), (9, 20));
}

#[test]
fn a_mistake_at_the_end_of_a_file_stands_on_its_last_line() {
    let mistakes = read("timezone = \"\"\"UTC\n\n\n").unwrap_err();
    assert_eq!((mistakes[0].line, mistakes[0].column), (1, 18));
}

/// Texts of the pieces that a configuration is made of.
fn almost_toml() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "\n",
        "\r\n",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\"",
        "'",
        "\"\"\"",
        "'''",
        "#",
        "\\",
        "\t",
        " ",
        "é",
        "\u{feff}",
        "0",
        "-1",
        "1.5",
        "nan",
        "true",
        "web",
        "listen",
        "accounts",
        "contoso",
        "key",
        "key_file",
        "poll",
        "initial",
        "max",
        "retention",
        "keep_last",
        "sources",
        "name",
        "schedule",
        "\"5s\"",
        "\"@daily\"",
        "2024-01-01",
        "0x",
        "[[sources]]\n",
        "[poll]\n",
        "[accounts.a]\n",
        " = ",
        "= \"x\"\n",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_gives_settings_or_a_place(text in "(\\PC|[\n\r\t\"=\\[\\]{}#']){0,120}") {
        check(&text);
    }

    #[test]
    fn any_text_that_resembles_a_configuration_gives_settings_or_a_place(text in almost_toml()) {
        check(&text);
    }

    #[test]
    fn any_value_of_any_key_gives_settings_or_a_place(
        line in 0_usize..80, value in "(\"[^\"\\\\\n]{0,20}\"|[0-9.e+-]{1,12}|\\[\\]|\\{\\}|true)",
    ) {
        let text: String = EXAMPLE
            .lines()
            .enumerate()
            .map(|(i, old)| match old.split_once('=') {
                Some((key, _)) if i == line => format!("{key}= {value}\n"),
                _ => format!("{old}\n"),
            })
            .collect();
        check(&text);
    }
}
