//! A key of the service that was pasted into the file is never shown again.

use super::super::schema;
use super::{EXAMPLE, read};

/// Keys as the service generates them, and one with only digits and small letters.
const KEYS: [&str; 4] = [
    "AhKXVXTXXabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123",
    "Ar5Qm-8sXwZ_k2LpV9dTnB4cGf7hJy1uRe3oKi6aMtWvNxC0bSqPzYlHgEjDqU-7",
    "5Ar5Qm-8sXwZ_k2LpV9dTnB4cGf7hJy1uRe3oKi6aMtWvNxC0bSqPzYlHgEjDqUm",
    "ar5qm8sxwzk2lpv9dtnb4cgf7hjy1ure3oki6amtwvnxc0bsqpzylhgejdqu5x7z",
];

/// Checks that no mistake of a text shows a useful part of the key.
fn check(text: &str, key: &str) {
    let Err(mistakes) = read(text) else { return };
    for mistake in mistakes {
        let shown = mistake.to_string().to_lowercase();
        for at in 0..=key.len() - 6 {
            let part = &key[at..at + 6].to_lowercase();
            assert!(!shown.contains(part), "{part} is in: {shown}\n{text}");
        }
    }
}

/// Ways to paste a key where a value belongs.
fn values(key: &str) -> Vec<String> {
    vec![
        format!("\"{key}\""),
        format!("'{key}'"),
        key.to_owned(),
        format!("\"{key}"),
        format!("[\"{key}\"]"),
        format!("{{ key = \"{key}\" }}"),
        format!("{{ {key} = 1 }}"),
        format!("\" {key} \""),
        format!("\"key={key}\""),
        format!("\"https://h/?key={key}\""),
        format!("\"https://{key}@h/\""),
        format!("\"@{key}\""),
        format!("\"5 {key} * * *\""),
        format!("\"5{key}\""),
        format!("\"\"\"\n{key}\n\"\"\""),
        format!("1 {key}"),
    ]
}

#[test]
fn a_key_in_the_place_of_any_value_is_not_shown() {
    for key in KEYS {
        for value in values(key) {
            for wanted in EXAMPLE.lines().filter(|line| line.contains(" = ")) {
                let name = wanted.split('=').next().unwrap_or_default();
                check(&EXAMPLE.replace(wanted, &format!("{name}= {value}")), key);
            }
        }
    }
}

#[test]
fn a_key_in_the_place_of_any_name_is_not_shown() {
    for key in KEYS {
        for i in 0..=EXAMPLE.lines().count() {
            for pasted in [
                key.to_owned(),
                format!("\"{key}\""),
                format!("{key} = 1"),
                format!("{key} = \"x\"\n{key} = \"y\""),
                format!("key = \"{key}\""),
                format!("master-key = {key}"),
                format!("kye = \"{key}\""),
                format!("[{key}]"),
                format!("[[{key}]]"),
                format!("[accounts.{key}]"),
                format!("[accounts.{key}]\n[accounts.{key}]"),
                format!("[accounts]\n{key} = 5"),
                format!("[[sources]]\nname = \"{key}\"\n[[sources]]\nname = \"{key}\""),
            ] {
                let mut lines: Vec<_> = EXAMPLE.lines().collect();
                lines.insert(i, &pasted);
                check(&lines.join("\n"), key);
            }
        }
    }
}

#[test]
fn a_key_is_refused_where_the_name_of_its_place_belongs() {
    for key in KEYS {
        for line in [
            format!("key_file = \"{key}\""),
            format!("key_env = \"{key}\""),
            format!("credential = \"{key}\""),
            format!("key = \"{key}\""),
            format!("Master_Key = \"{key}\""),
            "key = \"short\"".to_owned(),
            "bing_maps_key_2 = 5".to_owned(),
            "password = []".to_owned(),
        ] {
            let mistakes = read(&format!("[accounts.a]\n{line}\n")).unwrap_err();
            let [mistake] = mistakes.as_slice() else { panic!("{line}: {mistakes:#?}") };
            let said = "a key itself is never written in this file: its account names where it is, \
                        with one of key_file = \"FILE\", key_env = \"VARIABLE\" or credential = \
                        \"NAME\"";
            assert!(mistake.message.ends_with(said), "{mistake}");
            assert_eq!(mistake.line, 2);
        }
        let mistakes = read(&format!("[accounts.{key}]\nkey_env = \"K\"\n")).unwrap_err();
        assert!(mistakes[0].message.starts_with("the account's name: a key itself"));
    }
}

#[test]
fn names_of_places_are_not_taken_for_keys() {
    for line in [
        "key_file = \"/etc/nightjar/keys/Contoso-Spatial-Data-Services-Production-2026.key\"",
        "key_env = \"NIGHTJAR_CONTOSO_SPATIAL_DATA_PRODUCTION_KEY_2\"",
        "credential = \"nightjar-contoso-spatial-data-services-production-2\"",
        "credential = \"contoso.key\"",
    ] {
        assert!(read(&format!("[accounts.a]\n{line}\n")).is_ok(), "{line}");
    }
}

#[test]
fn no_known_name_is_taken_for_that_of_a_secret() {
    for section in schema::schema().sections {
        for key in section.keys.iter() {
            let text = format!("zzz = 1\n[zzz2]\n{key} = 1\n");
            let mistakes = read(&text).unwrap_err();
            assert!(mistakes.iter().all(|it| it.message.starts_with("unknown")), "{mistakes:#?}");
        }
    }
}
