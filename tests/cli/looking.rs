//! Read-only commands change nothing: no file, no directory, no modification time.

use crate::harness::{Setup, files};
use nightjar::simulator::Scenario;
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, SqliteConnection};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

const LOOKING: [&[&str]; 11] = [
    &["status"],
    &["status", "--json"],
    &["jobs"],
    &["jobs", "--source", "stores", "--state", "archived", "--json"],
    &["job", "1"],
    &["snapshots"],
    &["snapshots", "stores", "--json"],
    &["check"],
    &["verify"],
    &["prune", "--dry-run"],
    &["doctor", "--offline"],
];

/// Mode, time of change and digest of everything in a folder, and of the folder.
fn listing(folder: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, String)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let mut digest = String::new();
        if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_file() {
            digest = format!("{:x?}", Sha256::digest(fs::read(&path).unwrap()));
        }
        found.insert(path, (meta.mode(), meta.mtime(), meta.mtime_nsec(), digest));
    }
    found
}

/// The output and exit code of these commands; they must not change anything.
fn look(setup: &Setup) -> Vec<(i32, String)> {
    let before = listing(&setup.path("state"));
    LOOKING
        .iter()
        .map(|arguments| {
            let done = setup.run(arguments);
            let after = listing(&setup.path("state"));
            assert_eq!(after, before, "{arguments:?} has changed something");
            (done.code, done.stdout)
        })
        .collect()
}

fn change(setup: &Setup, statement: &'static str) {
    setup.block_on(async {
        let url = format!("sqlite://{}", setup.path("state/nightjar.db").display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

#[test]
fn read_only_commands_create_nothing_before_the_first_backup() {
    let setup = Setup::healthy();
    let seen = look(&setup);
    assert!(!setup.path("state").exists());
    assert_eq!(seen[0].0, 0, "{seen:?}");
}

#[test]
fn a_closed_database_is_read_in_place() {
    let setup = Setup::healthy();
    setup.backup();
    let seen = look(&setup);
    assert!(seen[..10].iter().all(|(code, _)| *code == 0), "{seen:?}");
    assert!(seen[4].1.contains("Job 1 of source stores: archived"), "{seen:?}");
    assert!(seen[10].1.contains("nightjar.db is intact"), "{seen:?}");
}

#[test]
fn a_database_left_by_a_killed_daemon_is_read_with_its_journal() {
    let setup = Setup::with(Scenario { pending_polls: 1_000_000, ..Scenario::default() });
    let daemon = setup.start(&["daemon"]);
    setup.queue();
    setup.job_when("waiting", |job| job["state"] == "waiting");
    daemon.kill();
    assert!(fs::metadata(setup.path("state/nightjar.db-wal")).unwrap().len() > 0);
    let seen = look(&setup);
    assert!(seen[4].1.contains("Job 1 of source stores: waiting"), "{seen:?}");
    assert!(seen[10].1.contains("nightjar.db is intact"), "{seen:?}");
}

#[test]
fn a_database_in_use_is_read_beside_the_daemon() {
    let setup = Setup::healthy();
    setup.backup();
    let daemon = setup.start(&["daemon"]);
    setup.job_when("the catch-up or the first", |job| job["state"] == "archived");
    for arguments in LOOKING {
        let done = setup.run(arguments);
        assert!(done.code == 0 || arguments[0] == "doctor", "{done:?}");
    }
    daemon.stop(Signal::TERM);
}

#[test]
fn read_only_commands_work_for_another_user_and_in_a_read_only_directory() {
    let setup = Setup::healthy();
    setup.backup();
    let state = setup.path("state");
    let program = assert_cmd::cargo::cargo_bin!("nightjar");
    for folder in std::iter::once(setup.path(".")).chain(listing(&state).into_keys()) {
        let meta = fs::symlink_metadata(&folder).unwrap();
        if meta.is_dir() {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
        } else if meta.is_file() {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o444)).unwrap();
        }
    }
    fs::set_permissions(setup.path("config.toml"), fs::Permissions::from_mode(0o444)).unwrap();
    // Root ignores file modes, so run as another user then.
    let is_root = rustix::process::geteuid().is_root();
    let copy = setup.path("nightjar-of-all");
    if is_root {
        fs::copy(program, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let before = listing(&state);
    for arguments in [&["status"][..], &["jobs"], &["job", "1"], &["snapshots"], &["verify"]] {
        let mut command = setup.command(arguments);
        if is_root {
            command = std::process::Command::new(&copy);
            command.env_clear().arg("--config").arg(setup.path("config.toml")).args(arguments);
            command.uid(65_534).gid(65_534).current_dir("/");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert_eq!(listing(&state), before, "{arguments:?}");
    }
    // Allows the removal of the folder.
    for folder in before.into_keys().filter(|path| path.is_dir()).chain([setup.path(".")]) {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn another_schema_version_is_reported_and_left_unchanged() {
    for (statement, said) in [
        (
            "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
            ["was written by an older version of nightjar", "type `nightjar backup`"],
        ),
        (
            "UPDATE _sqlx_migrations SET version = 9000 WHERE version = 1",
            ["was written by a newer version of nightjar", "install that version again"],
        ),
    ] {
        let setup = Setup::healthy();
        setup.backup();
        change(&setup, statement);
        let before = listing(&setup.path("state"));
        for arguments in [&["status"][..], &["jobs"], &["job", "1"]] {
            let done = setup.run(arguments);
            assert_eq!(done.code, 1, "{done:?}");
            assert!(said.iter().all(|said| done.stderr.contains(said)), "{done:?}");
        }
        let found = setup.run(&["doctor", "--offline"]);
        assert!(found.stdout.contains(said[0]), "{found:?}");
        assert_eq!(listing(&setup.path("state")), before);
        assert_eq!(files(&setup.path("state")).iter().filter(|it| it.ends_with("-wal")).count(), 0);
    }
}
