//! Command-line usage, and where the program looks for its configuration.

use crate::harness::{KEY, Setup, bare_command, files, private_file, read_json, until};
use std::os::unix::fs::PermissionsExt as _;
use std::{fs, process::Output};

fn run(arguments: &[&str]) -> Output {
    bare_command().args(arguments).output().unwrap()
}

#[test]
fn help_exits_0_and_prints_to_standard_output() {
    let commands = [
        "daemon",
        "backup",
        "check",
        "status",
        "jobs",
        "job",
        "cancel",
        "retry",
        "snapshots",
        "verify",
        "demo",
    ];
    let calls = commands.iter().map(|command| vec![*command, "--help"]).chain([vec!["--help"]]);
    for arguments in calls {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_usage_error_exits_with_2() {
    for arguments in [&[][..], &["fly"], &["jobs", "--colour"], &["job", "seven"], &["job"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn an_unknown_job_is_an_error() {
    let setup = Setup::healthy();
    setup.backup();
    for command in ["job", "cancel", "retry"] {
        let done = setup.run(&[command, "4711"]);
        assert_ne!(done.code, 0, "{command}");
        assert!(done.stderr.contains("4711"), "{done:?}");
        assert_eq!(done.stdout, "");
    }
}

#[test]
fn a_missing_configuration_exits_with_2_and_is_named() {
    for command in ["daemon", "backup", "check", "status", "jobs", "snapshots", "verify"] {
        let output = run(&["--config", "/nowhere/nightjar.toml", command]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("/nowhere/nightjar.toml"), "{command}: {said}");
    }
}

#[test]
fn an_invalid_configuration_exits_with_2_and_lists_all_mistakes() {
    let setup = Setup::healthy();
    let text = setup
        .config_text()
        .replace("attempts = 3", "attempts = \"three\"")
        .replace("max = \"40ms\"", "maxx = \"40ms\"")
        .replace("data_source =", "data_sauce =");
    setup.write_config(&text);
    for command in ["backup", "daemon", "check"] {
        let done = setup.run(&[command]);
        assert_eq!(done.code, 2, "{command}: {done:?}");
        let said = done.stdout + &done.stderr;
        for part in ["attempts", "maxx", "data_sauce", "data_source", "config.toml:"] {
            assert!(said.contains(part), "{command} does not speak of {part}: {said}");
        }
    }
    assert_eq!(setup.service.requests().len(), 0);
}

#[test]
fn a_plain_http_endpoint_is_accepted_for_loopback_alone() {
    let setup = Setup::healthy().set("accounts.contoso.endpoint", "http://example.org/REST/v1");
    let done = setup.run(&["check"]);
    assert_eq!(done.code, 2, "{done:?}");
}

#[test]
fn exactly_one_way_to_the_key_must_be_given() {
    let setup = Setup::healthy().set("accounts.contoso.key_env", "KEY_OF_CONTOSO");
    assert_eq!(setup.run(&["check"]).code, 2);
    let setup = Setup::healthy().without_account_key("key_file");
    assert_eq!(setup.run(&["check"]).code, 2);
}

#[test]
fn a_key_in_the_configuration_itself_is_refused_and_not_repeated() {
    for name in ["key", "kay_file", "master_key"] {
        let setup = Setup::healthy().set(&format!("accounts.contoso.{name}"), "PlainSecret99");
        for command in ["check", "backup"] {
            let done = setup.run(&[command]);
            assert_eq!(done.code, 2, "{done:?}");
            assert!(!format!("{done:?}").contains("PlainSecret99"), "{done:?}");
        }
    }
}

#[test]
fn a_missing_key_file_ends_with_2_and_is_named() {
    let setup = Setup::healthy();
    fs::remove_file(setup.path("contoso.key")).unwrap();
    let done = setup.run(&["backup"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("contoso.key"), "{done:?}");
}

#[test]
fn a_key_file_that_others_can_read_gives_a_warning() {
    let setup = Setup::healthy();
    assert!(!setup.backup().stderr.contains("contoso.key"));
    let key_file = setup.path("contoso.key");
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    let done = setup.backup();
    assert!(done.stderr.contains("contoso.key"), "{done:?}");
}

#[test]
fn the_key_may_come_from_the_environment_or_a_credential() {
    let setup = Setup::healthy()
        .without_account_key("key_file")
        .set("accounts.contoso.key_env", "KEY_OF_CONTOSO");
    let mut command = setup.command(&["backup"]);
    command.env("KEY_OF_CONTOSO", KEY);
    assert_eq!(setup.start_command(command).end().code, 0);
    // Without the variable there is no key.
    assert_eq!(setup.run(&["backup"]).code, 2);

    let setup =
        Setup::healthy().without_account_key("key_file").set("accounts.contoso.credential", "bing");
    private_file(&setup.path("bing"), &format!("{KEY}\n"));
    let mut command = setup.command(&["backup"]);
    command.env("CREDENTIALS_DIRECTORY", setup.path(""));
    assert_eq!(setup.start_command(command).end().code, 0);
}

#[test]
fn configuration_and_state_folder_are_found_through_the_environment() {
    let setup = Setup::healthy();
    let text: String = setup
        .config_text()
        .lines()
        .filter(|line| !line.starts_with("state_dir"))
        .map(|line| format!("{line}\n"))
        .collect();
    setup.write_config(&text);
    let mut command = bare_command();
    command.arg("backup");
    command.env("NIGHTJAR_CONFIG", setup.path("config.toml"));
    command.env("STATE_DIRECTORY", setup.path("elsewhere"));
    let done = setup.start_command(command).end();
    assert_eq!(done.code, 0, "{done:?}");
    assert!(setup.path("elsewhere/nightjar.db").exists());
    assert!(setup.path("elsewhere/archive/stores/latest.json").exists());
}

#[test]
fn the_daemon_logs_one_json_object_a_line_by_default() {
    let setup = Setup::healthy();
    for format in [None, Some("text")] {
        setup.queue();
        let arguments = ["daemon", "--log-format", format.unwrap_or("json")];
        let daemon = setup.start(if format.is_some() { &arguments } else { &arguments[..1] });
        setup.job_when("the backup", |job| job["state"] == "archived");
        let done = daemon.stop(rustix::process::Signal::TERM);
        assert_eq!(done.stdout, "", "logs go to standard error");
        let is_json = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object())
        };
        assert!(done.stderr.lines().count() > 1, "{done:?}");
        assert!(done.stderr.lines().all(|line| is_json(line) == format.is_none()), "{done:?}");
    }
}

#[test]
fn a_demo_makes_one_backup_without_any_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let output = bare_command().arg("demo").current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let made = files(folder.path());
    let data = made.iter().find(|path| path.to_string_lossy().ends_with(".xml.zst"));
    let data = data.expect("an archived document").parent().unwrap();
    let folder = data.file_name().unwrap().to_string_lossy().into_owned();
    assert!(said.contains(&folder), "it does not say where to look: {said}");
}

#[test]
fn a_demo_restores_what_a_wrong_load_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = bare_command();
    command.args(["demo", "--restore"]).current_dir(folder.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // What the wrong load did, and that nothing of it is left.
    assert!(said.contains(": 0 added, 3 removed, 2 changed, 2995 unchanged"), "{said}");
    assert!(said.contains(": 0 added, 0 removed, 0 changed, 3000 unchanged"), "{said}");
    let manifests = files(folder.path()).into_iter().filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".json") && !name.starts_with("latest")
    });
    let first = manifests.into_iter().min().expect("the manifest of the first backup");
    let sha256 = read_json(&first)["content"]["sha256"].as_str().unwrap().to_owned();
    assert!(said.contains(&format!("again: sha256 {sha256}.")), "{said}");
}

#[test]
fn cancelling_ends_a_live_job_and_retrying_queues_a_fresh_one() {
    let setup = Setup::healthy();
    let id = setup.queue()[0].to_string();
    // A live job cannot be retried, and only a live job can be cancelled.
    assert_ne!(setup.run(&["retry", &id]).code, 0);
    assert_eq!(setup.run(&["cancel", &id]).code, 0);
    let job = setup.job();
    assert_eq!(job["state"], "cancelled");
    assert!(job["finished_at"].is_string());
    assert_ne!(setup.run(&["cancel", &id]).code, 0);

    assert_eq!(setup.run(&["retry", &id]).code, 0);
    let fresh = setup.job();
    assert_ne!(fresh["id"].to_string(), id);
    assert_eq!(fresh["state"], "queued");
    assert_eq!(setup.jobs().len(), 2);
    setup.backup();
    assert_eq!(setup.jobs().len(), 2, "the backup joined the fresh job");
    assert_eq!(setup.job()["state"], "archived");
}

#[test]
fn an_interrupted_backup_leaves_its_job_to_the_next() {
    let setup = Setup::with(nightjar::simulator::Scenario {
        ending: nightjar::simulator::Ending::Never,
        ..Default::default()
    });
    let backup = setup.start(&["backup"]);
    let job = setup.job_when("the job to wait", |job| job["state"] == "waiting");
    let done = backup.stop(rustix::process::Signal::INT);
    assert_ne!(done.code, 0, "{done:?}");
    assert_eq!(setup.job()["state"], "waiting");
    setup.service.set_scenario("Stores", Default::default());
    setup.backup();
    assert_eq!(setup.job()["id"], job["id"]);
    assert_eq!(setup.job()["attempts"], 1);
    assert_eq!(setup.jobs().len(), 1);
}

#[test]
fn a_killed_backup_leaves_its_job_to_the_next() {
    let setup = Setup::with(nightjar::simulator::Scenario {
        ending: nightjar::simulator::Ending::Never,
        ..Default::default()
    });
    let backup = setup.start(&["backup"]);
    until("the job to wait", || (setup.service.remote_jobs().first()?.polls > 1).then_some(()));
    backup.kill();
    setup.service.set_scenario("Stores", Default::default());
    setup.backup();
    assert_eq!(setup.jobs().len(), 1);
    assert_eq!(setup.job()["state"], "archived");
    assert_eq!(setup.service.remote_jobs().len(), 1);
}
