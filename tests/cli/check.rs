//! The checks of `check` on the files that the configuration names.

use crate::harness::{Setup, bare_command, private_file};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// The one mistake that `check` reports, and the line of the configuration that it shows.
fn mistake(setup: &Setup) -> (String, String) {
    let done = setup.run(&["check", "--json"]);
    assert_eq!(done.code, 2, "{done:?}");
    let checked = done.document();
    assert_eq!(checked["valid"], false);
    let [error] = checked["errors"].as_array().unwrap().as_slice() else { panic!("{checked:#}") };
    let line = usize::try_from(error["line"].as_u64().unwrap()).unwrap();
    assert_eq!(error["file"], setup.path("config.toml").to_str().unwrap());
    let text = setup.config_text().lines().nth(line - 1).unwrap().to_owned();
    let at = usize::try_from(error["column"].as_u64().unwrap()).unwrap();
    assert!(text[at - 1..].starts_with(['"', '\'']), "the value's place: {text}: {error}");
    (error["message"].as_str().unwrap().to_owned(), text)
}

/// The warnings of a configuration that is valid.
fn warnings(setup: &Setup) -> Vec<String> {
    let checked = setup.json(&["check"]);
    assert_eq!(
        (&checked["valid"], &checked["errors"]),
        (&Value::Bool(true), &serde_json::json!([]))
    );
    let warnings = checked["warnings"].as_array().unwrap().iter();
    warnings.map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// A configuration with every file that it may name, all valid.
fn complete() -> Setup {
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap();
    let authority = authority.self_signed(&key).unwrap();
    let setup = Setup::healthy();
    fs::write(setup.path("ca.pem"), authority.pem()).unwrap();
    for name in ["hook", "password"] {
        private_file(&setup.path(name), " a sécret of words \n");
    }
    // No header can carry blanks around a token.
    private_file(&setup.path("token"), "a sécret of words\n");
    let path = |name: &str| setup.path(name).display().to_string();
    let (ca, hook, password, token) =
        (path("ca.pem"), path("hook"), path("password"), path("token"));
    let mut webhook = toml::Table::new();
    webhook.insert("url".into(), "http://127.0.0.1:1/".into());
    webhook.insert("secret_file".into(), hook.into());
    setup
        .set("http.ca_file", ca)
        .set("notify.webhooks", vec![toml::Value::Table(webhook)])
        .set("notify.email.server", "127.0.0.1")
        .set("notify.email.from", "a@example.org")
        .set("notify.email.to", vec![toml::Value::from("b@example.org")])
        .set("notify.email.username", "nightjar")
        .set("notify.email.password_file", password)
        .set("web.token_file", token)
}

#[test]
fn files_that_are_missing_or_empty_are_mistakes_at_their_line() {
    let setup = complete();
    assert_eq!(warnings(&setup), Vec::<String>::new());
    for (name, key, what) in [
        ("contoso.key", "key_file", "the key"),
        ("hook", "secret_file", "the secret"),
        ("password", "password_file", "the secret"),
        ("token", "token_file", "the token"),
        ("ca.pem", "ca_file", "ca.pem"),
    ] {
        let kept = fs::read(setup.path(name)).unwrap();
        fs::remove_file(setup.path(name)).unwrap();
        let (message, line) = mistake(&setup);
        assert!(line.starts_with(&format!("{key} = ")), "{line}");
        assert!(message.contains(what) && message.contains("No such file"), "{message}");
        for empty in ["", "\n"] {
            private_file(&setup.path(name), empty);
            let (message, _) = mistake(&setup);
            assert!(message.contains("is empty"), "{message}");
        }
        fs::remove_file(setup.path(name)).unwrap();
        fs::create_dir(setup.path(name)).unwrap();
        assert!(mistake(&setup).0.contains("not a regular file"));
        fs::remove_dir(setup.path(name)).unwrap();
        private_file(&setup.path(name), &String::from_utf8(kept).unwrap());
    }
    assert_eq!(warnings(&setup), Vec::<String>::new());
}

#[test]
fn a_file_of_certificates_that_has_none_or_a_damaged_one_is_a_mistake() {
    let setup = complete();
    let pem = fs::read_to_string(setup.path("ca.pem")).unwrap();
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (text, words) in [
        ("no PEM".to_owned(), "holds no certificate"),
        (pem.replace("-----END CERTIFICATE-----", ""), "is no PEM that can be read"),
        (format!("{pem}{damaged}"), "cannot be decoded, number 2"),
    ] {
        fs::write(setup.path("ca.pem"), text).unwrap();
        let (message, line) = mistake(&setup);
        assert!(line.starts_with("ca_file = ") && message.contains(words), "{line}: {message}");
        let done = setup.run(&["backup"]);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.stderr.contains("http.ca_file") && done.stderr.contains(words), "{done:?}");
    }
}

#[test]
fn a_file_only_the_service_can_read_is_a_warning() {
    let setup = complete();
    fs::set_permissions(setup.path("hook"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(setup.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let found = warnings(&setup);
    assert!(
        found.iter().any(|it| it.starts_with("[web]: ") && it.contains("chmod 600")),
        "{found:?}"
    );
    for (key, value, words) in [
        ("key_env", "NOT_SET", "$NOT_SET"),
        ("credential", "missing", "LoadCredential=missing:FILE"),
    ] {
        let setup = Setup::healthy()
            .without_account_key("key_file")
            .set(&format!("accounts.contoso.{key}"), value);
        let found = warnings(&setup);
        assert!(found[0].contains("for the current user") && found[0].contains(words), "{found:?}");
    }
    // Root can read everything; other users get a warning that only the service may read the file.
    if !rustix::process::geteuid().is_root() {
        let setup = Setup::healthy();
        fs::set_permissions(setup.path("contoso.key"), fs::Permissions::from_mode(0o0)).unwrap();
        assert!(warnings(&setup)[0].contains("Permission denied"));
    }
}

#[test]
fn commands_that_need_no_key_work_without_its_file() {
    let setup = Setup::healthy();
    fs::remove_file(setup.path("contoso.key")).unwrap();
    assert_eq!(setup.run(&["status"]).code, 0);
    assert_eq!(setup.run(&["snapshots"]).code, 0);
}

#[test]
fn very_many_mistakes_are_found_soon_and_the_first_are_shown() {
    let setup = Setup::healthy();
    let unknown = (0..30_000).map(|at| format!("unknown_{at} = 1\n")).collect::<String>();
    let broken = (0..20_000).map(|at| format!("broken {at}\n")).collect::<String>();
    let doubled: String = (0..10_000)
        .map(|at| format!("[accounts.a{at}]\nkey_env = \"A\"\ncredential = \"a\"\n"))
        .collect();
    for text in [unknown, broken, doubled] {
        setup.write_config(&text);
        let done = setup.run(&["check"]);
        assert_eq!(done.code, 2, "{:?}", done.took);
        // With one scan of the text for each mistake it takes minutes.
        assert!(done.took < std::time::Duration::from_secs(60), "{:?}", done.took);
        let lines: Vec<_> = done.stderr.lines().collect();
        assert_eq!(lines.len(), 101, "{lines:?}");
        let last = lines[100];
        assert!(last.contains(": and ") && last.ends_with(" more"), "{last}");
    }
}

#[test]
fn a_configuration_is_a_file_of_a_bounded_size() {
    let setup = Setup::healthy();
    let fifo = setup.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    std::fs::write(setup.path("large"), vec![b'#'; (4 << 20) + 1]).unwrap();
    let large = setup.path("large");
    for (file, why) in [
        (fifo.to_str().unwrap(), "it is a pipe, a socket or a device, expected a file"),
        ("/dev/zero", "it is a pipe, a socket or a device, expected a file"),
        (large.to_str().unwrap(), "it is larger than 4 MiB"),
    ] {
        for command in ["check", "status"] {
            let mut program = bare_command();
            program.current_dir(setup.path("")).args(["--config", file, command]);
            let done = setup.start_command(program).end();
            assert_eq!(done.code, 2, "{done:?}");
            assert!(done.stderr.contains(why), "{done:?}");
        }
    }
}
