//! `init` and `doctor`.

use crate::harness::{ACCESS_ID, KEY, Setup, bare_command, private_file};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// The findings of `doctor --json` that are not `ok`: check, level and message.
fn troubles(setup: &Setup, arguments: &[&str]) -> (i32, Vec<Value>) {
    let done = setup.run(&[&["doctor", "--json"], arguments].concat());
    let findings = done.document().as_array().unwrap().clone();
    assert!(findings.len() > 3 || done.code == 1, "{findings:?}");
    for finding in &findings {
        let well = finding["level"] == "ok";
        assert_eq!(well, finding["fix"].is_null(), "{finding}");
    }
    (done.code, findings.into_iter().filter(|finding| finding["level"] != "ok").collect())
}

fn checks(troubles: &[Value]) -> Vec<&str> {
    troubles.iter().map(|finding| finding["check"].as_str().unwrap()).collect()
}

#[test]
fn a_healthy_setup_has_no_findings() {
    let setup = Setup::healthy().set("notify.ping", "http://127.0.0.1:9/");
    setup.backup();
    let daemon = setup.start(&["daemon"]);
    setup.job_when("archived", |job| job["state"] == "archived");
    crate::harness::until("a daemon", || {
        fs::read_to_string(setup.path("state/daemon.lock")).ok().filter(|it| !it.is_empty())
    });
    let (code, troubles) = troubles(&setup, &[]);
    assert_eq!((code, checks(&troubles)), (0, vec![]), "{troubles:?}");
    let text = setup.run(&["doctor"]).stdout;
    assert!(text.ends_with("No problems found.\n"), "{text}");
    daemon.stop(Signal::TERM);
}

#[test]
fn each_problem_is_found_with_its_fix() {
    let setup = Setup::healthy();
    setup.backup();
    fs::set_permissions(setup.path("contoso.key"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(setup.path("state"), fs::Permissions::from_mode(0o755)).unwrap();
    let setup = setup.set("accounts.contoso.max_jobs_per_day", 1);
    let (code, found) = troubles(&setup, &["--offline"]);
    assert_eq!(code, 0, "{found:?}");
    assert_eq!(checks(&found), ["quota", "key", "state", "daemon", "notify"], "{found:?}");
    assert!(found[1]["message"].as_str().unwrap().contains("chmod 600"), "{found:?}");

    let setup = setup.set("accounts.contoso.endpoint", "http://127.0.0.1:9/");
    let (code, found) = troubles(&setup, &[]);
    assert_eq!(code, 1);
    assert!(checks(&found).contains(&"reach"), "{found:?}");
    let (_, found) = troubles(&setup, &["--offline"]);
    assert!(!checks(&found).contains(&"reach"), "{found:?}");
}

#[test]
fn a_refused_key_and_a_failing_source_are_found() {
    let setup = Setup::healthy();
    fs::write(setup.path("contoso.key"), "another").unwrap();
    setup.run(&["backup"]);
    let (code, found) = troubles(&setup, &[]);
    assert_eq!(code, 1);
    assert!(checks(&found).contains(&"credentials"), "{found:?}");
    assert!(checks(&found).contains(&"backups"), "{found:?}");
    setup.write_config("zzz = 1\n");
    let (code, found) = troubles(&setup, &[]);
    assert_eq!((code, checks(&found)), (1, vec!["configuration"]), "{found:?}");
}

#[test]
fn a_first_configuration_is_written_from_flags_and_works() {
    let setup = Setup::healthy();
    fs::remove_file(setup.path("config.toml")).unwrap();
    let url = format!("{}/data/{ACCESS_ID}/Stores", setup.service.endpoint());
    let done = setup.run(&["init", "--url", &url, "--timezone", "Europe/Berlin"]);
    assert_eq!(done.code, 0, "{done:?}");
    let written = setup.path("config.toml");
    assert_eq!(done.stdout, format!("{}\n", written.display()));
    assert!(done.stderr.contains("put the master key into"), "{done:?}");
    // The rest is specific to tests: the service's address, and the state folder.
    private_file(&setup.path("main.key"), KEY);
    let text = fs::read_to_string(&written).unwrap();
    let endpoint = format!("[accounts.main]\nendpoint = \"{}\"", setup.service.endpoint());
    let text = text.replace("[accounts.main]", &endpoint);
    fs::write(&written, format!("state_dir = \"state\"\n{text}")).unwrap();
    let done = setup.run(&["check", "--online"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains("ok: stores: the service accepts the key"), "{done:?}");

    // With the folder of keys that the shipped unit names, the key is a credential.
    fs::create_dir(setup.path("keys")).unwrap();
    assert_eq!(setup.run(&["init", "--url", &url, "--force"]).code, 0);
    let packaged = fs::read_to_string(&written).unwrap();
    assert!(packaged.contains("credential = \"keys_main\""), "{packaged}");
    fs::write(&written, format!("{packaged}# endpoint")).unwrap();

    let again = setup.run(&["init", "--url", &url]);
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.stderr.contains("--force"), "{again:?}");
    assert!(fs::read_to_string(&written).unwrap().contains("endpoint"), "it was left alone");
}

#[test]
fn init_names_missing_flags_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("etc/config.toml");
    for (arguments, said) in [
        (vec![], "--access-id, or --url, is missing"),
        (vec!["--url", "https://example.org/"], "--url: expected an address such as"),
        (vec!["--access-id", "a", "--data-source", "b", "--schedule", "sometimes"], "`schedule`"),
        (vec!["--access-id", "a", "--data-source", "b", "--timezone", "Mars"], "`timezone`"),
    ] {
        let mut command = bare_command();
        command.arg("--config").arg(&file).arg("init").args(&arguments);
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
        assert!(!folder.path().join("etc").exists(), "{arguments:?}");
    }
}
