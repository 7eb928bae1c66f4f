//! A lost or damaged database is restored from its copies and the archive.

use crate::harness::{Setup, names, source};
use nightjar::simulator::{Fault, Scenario};
use rustix::process::Signal;
use serde_json::Value;
use sqlx::Connection as _;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};

fn damage(setup: &Setup) {
    let path = setup.path("state/nightjar.db");
    let length = fs::metadata(&path).unwrap().len();
    assert!(length > 5 * 4096, "{length}");
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xa5; usize::try_from(length).unwrap() - 4096]).unwrap();
    // As an interrupted process has left it.
    fs::write(setup.path("state/nightjar.db-wal"), "what a killed process had begun").unwrap();
    fs::write(setup.path("state/nightjar.db-shm"), "").unwrap();
}

fn lose(setup: &Setup) {
    for name in names(&setup.path("state")).iter().filter(|name| name.starts_with("nightjar.db")) {
        fs::remove_file(setup.path("state").join(name)).unwrap();
    }
}

fn without_copies(setup: &Setup) {
    fs::remove_dir_all(setup.path("state/copies")).unwrap();
}

fn damaged_ones(setup: &Setup) -> usize {
    let all = names(&setup.path("state"));
    all.iter()
        .filter(|name| name.starts_with("nightjar.db.damaged-") && name.ends_with('Z'))
        .count()
}

/// The fields of archived jobs that a rebuilt history must have.
fn essence(job: &Value) -> Value {
    let mut essence = serde_json::Map::new();
    for field in [
        "id",
        "source",
        "account",
        "state",
        "scheduled_for",
        "remote_id",
        "attempts",
        "error",
        "snapshot",
    ] {
        essence.insert(field.to_owned(), job[field].clone());
    }
    essence.into()
}

fn archived(setup: &Setup) -> Vec<Value> {
    setup.jobs().iter().filter(|job| job["state"] == "archived").map(essence).collect()
}

#[test]
fn the_history_of_the_archive_is_rebuilt_from_the_archive_alone() {
    let setup = Setup::of(vec![
        source("Stores", Scenario::default()),
        source("Depots", Scenario { create: vec![Fault::http(400)], ..Scenario::default() }),
    ]);
    assert_eq!(setup.run(&["backup"]).code, 3);
    setup.backup();
    let before = archived(&setup);
    assert_eq!(before.len(), 3);
    let status = setup.json(&["status"]);
    lose(&setup);
    without_copies(&setup);

    let report = setup.json(&["reindex"]);
    assert_eq!((&report["rebuilt"], &report["adopted"]), (&true.into(), &3.into()), "{report}");
    assert_eq!(archived(&setup), before);
    for (source, then) in
        setup.json(&["status"]).as_array().unwrap().iter().zip(status.as_array().unwrap())
    {
        for field in ["source", "health", "last_success", "snapshot", "entities", "last_error"] {
            assert_eq!(source[field], then[field], "{field}");
        }
    }
    assert!(setup.timeline(&before[0]["id"]).contains("found in the archive"));
    setup.backup();
    let newest = setup.job()["id"].as_i64().unwrap();
    assert!(newest > before[0]["id"].as_i64().unwrap(), "an id is used twice");
    assert_eq!(setup.run(&["verify"]).code, 0);
    let again = setup.run(&["reindex"]);
    assert_eq!(again.stdout, "The database is intact and knows every snapshot.\n", "{again:?}");
}

#[test]
fn remote_jobs_started_before_the_loss_count_against_the_quota_after_it() {
    let setup = Setup::healthy().set("accounts.contoso.max_jobs_per_day", 2);
    setup.backup();
    setup.backup();
    lose(&setup);
    without_copies(&setup);
    assert_eq!(setup.run(&["reindex"]).code, 0);
    setup.queue();
    let backup = setup.start(&["backup"]);
    let job = setup.job_when("waiting for quota", |job| !job["hold"].is_null());
    assert_eq!((&job["state"], &job["attempts"]), (&"queued".into(), &0.into()), "{job}");
    backup.kill();
    assert_eq!(setup.service.remote_jobs().len(), 2);
}

#[test]
fn a_backup_rebuilds_a_lost_database() {
    let setup = Setup::healthy();
    setup.backup();
    let before = archived(&setup);
    lose(&setup);
    without_copies(&setup);
    let done = setup.backup();
    assert!(done.stderr.contains("1 job was imported from the archive"), "{done:?}");
    assert_eq!(archived(&setup)[1..], before);
    assert_eq!(damaged_ones(&setup), 0);
}

#[test]
fn a_damaged_database_is_set_aside_and_restored_from_its_copy() {
    let setup = Setup::healthy();
    setup
        .service
        .set_scenario("Stores", Scenario { create: vec![Fault::http(400)], ..Scenario::default() });
    assert_eq!(setup.run(&["backup"]).code, 1);
    setup.backup();
    assert_eq!(names(&setup.path("state/copies")).len(), 1, "one copy a day");
    let failed = setup.json(&["job", "1"]);
    let before = archived(&setup);
    damage(&setup);
    let looked = setup.run(&["doctor", "--offline"]);
    assert!(looked.stdout.contains("nightjar reindex"), "{looked:?}");

    let daemon = setup.start(&["daemon"]);
    crate::harness::until("the message", || daemon.stderr().contains("is kept as").then_some(()));
    crate::harness::until("the history", || (setup.jobs().len() == 2).then_some(()));
    assert_eq!(archived(&setup), before, "from the archive");
    assert_eq!(setup.json(&["job", "1"]), failed, "from the copy");
    let refused = setup.run(&["reindex"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("a daemon (process "), "{refused:?}");
    let done = daemon.stop(Signal::TERM);
    assert!(done.stderr.contains("rebuilt from the copy"), "{done:?}");
    assert_eq!(damaged_ones(&setup), 1);
    let found = setup.run(&["doctor", "--offline"]).stdout;
    assert!(found.contains("an earlier one was damaged and is kept as"), "{found}");
}

#[test]
fn a_file_that_is_not_a_database_is_set_aside_by_any_command() {
    let nonsense = "this is no database, and long enough to be looked at ".repeat(100);
    let setup = Setup::healthy();
    fs::create_dir_all(setup.path("state")).unwrap();
    fs::write(setup.path("state/nightjar.db"), &nonsense).unwrap();
    for arguments in [&["jobs", "--json"][..], &["status"]] {
        let done = setup.run(arguments);
        assert_eq!(done.code, 1, "{arguments:?}: {done:?}");
        assert!(done.stderr.contains("nightjar reindex"), "{done:?}");
    }
    setup.backup();
    assert_eq!(damaged_ones(&setup), 1);
    let aside = names(&setup.path("state")).into_iter().find(|it| it.contains("damaged")).unwrap();
    assert_eq!(fs::read_to_string(setup.path("state").join(aside)).unwrap(), nonsense);
    assert_eq!(archived(&setup).len(), 1);
}

#[test]
fn read_only_commands_leave_the_database_closed() {
    let setup = Setup::healthy();
    setup.backup();
    for arguments in [&["jobs"][..], &["job", "1"], &["status"], &["doctor", "--offline"]] {
        setup.run(arguments);
        let left: Vec<_> =
            names(&setup.path("state")).into_iter().filter(|it| it.ends_with("-wal")).collect();
        assert_eq!(left, Vec::<String>::new(), "{arguments:?}");
    }
}

#[test]
fn a_database_left_open_is_intact_and_kept() {
    let setup = Setup::with(Scenario { pending_polls: 1_000_000, ..Scenario::default() });
    let daemon = setup.start(&["daemon"]);
    setup.queue();
    setup.job_when("waiting", |job| job["state"] == "waiting");
    daemon.kill();
    assert!(fs::metadata(setup.path("state/nightjar.db-wal")).unwrap().len() > 0);
    let daemon = setup.start(&["daemon"]);
    setup.job_when("waiting", |job| job["polls"].as_u64() > Some(3));
    daemon.stop(Signal::TERM);
    assert_eq!(damaged_ones(&setup), 0);
    assert_eq!(setup.jobs().len(), 1);
}

#[test]
fn of_two_processes_that_find_the_database_missing_one_rebuilds_it() {
    let setup = Setup::of(vec![
        source("Stores", Scenario::default()),
        source("Depots", Scenario::default()),
    ]);
    setup.backup();
    for round in 0..3 {
        let before = archived(&setup);
        lose(&setup);
        without_copies(&setup);
        let one = setup.start(&["backup", "stores"]);
        let other = setup.start(&["backup", "depots"]);
        let done = [one.end(), other.end()];
        assert!(done.iter().all(|done| done.code == 0), "{round}: {done:?}");
        let rebuilt = done.iter().filter(|done| done.stderr.contains("imported from the archive"));
        assert_eq!(rebuilt.count(), 1, "{round}: {done:?}");
        let after = archived(&setup);
        assert_eq!(after.len(), before.len() + 2, "{round}");
        assert_eq!(after[2..], before);
        assert!(!setup.path("state/rebuilding").exists());
    }
    assert_eq!(damaged_ones(&setup), 0);
}

#[test]
fn damage_found_while_running_is_checked_at_the_next_start() {
    let setup = Setup::healthy();
    setup.backup();
    let before = archived(&setup);
    damage(&setup);
    // As a process leaves it that found damage before and closed the database.
    fs::remove_file(setup.path("state/nightjar.db-wal")).unwrap();
    fs::write(setup.path("state/nightjar.db.suspect"), "").unwrap();
    let done = setup.backup();
    assert!(done.stderr.contains("rebuilt from the copy"), "{done:?}");
    assert_eq!(archived(&setup)[1..], before);
    assert_eq!(damaged_ones(&setup), 1);
    assert!(!setup.path("state/nightjar.db.suspect").exists());
}

#[test]
fn the_remains_of_an_interrupted_rebuild_are_not_used() {
    let setup = Setup::healthy();
    setup.backup();
    let before = archived(&setup);
    lose(&setup);
    fs::create_dir(setup.path("state/rebuilding")).unwrap();
    fs::write(setup.path("state/rebuilding/nightjar.db"), "half of one").unwrap();
    setup.backup();
    assert_eq!(archived(&setup)[1..], before);
    assert!(!setup.path("state/rebuilding").exists());
}

/// A database without anything in it: SQLite's header and an empty schema.
fn empty_schema(setup: &Setup) -> Vec<u8> {
    let path = setup.path("empty.db");
    setup.block_on(async {
        let options =
            sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        for statement in ["CREATE TABLE one (column)", "DROP TABLE one"] {
            sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    });
    fs::read(path).unwrap()
}

#[test]
fn an_emptied_database_is_rebuilt_like_a_lost_one() {
    let setup = Setup::of(vec![
        source("Stores", Scenario::default()),
        source("Depots", Scenario { create: vec![Fault::http(400)], ..Scenario::default() }),
    ])
    .set("accounts.contoso.max_jobs_per_day", 40);
    assert_eq!(setup.run(&["backup"]).code, 3);
    let empty = empty_schema(&setup);
    let many = b"x".repeat(99);
    for (round, left) in [&b""[..], b"\n", &many, &empty].into_iter().enumerate() {
        let before = setup.jobs();
        fs::write(setup.path("state/nightjar.db"), left).unwrap();
        for arguments in [&["jobs", "--json"][..], &["status"]] {
            let done = setup.run(arguments);
            assert_eq!(done.code, 1, "{round}: {arguments:?}: {done:?}");
            assert!(done.stderr.contains("nightjar reindex"), "{round}: {done:?}");
        }
        let looked = setup.run(&["doctor", "--offline"]);
        assert_eq!(looked.code, 1, "{round}: {looked:?}");
        assert!(!looked.stdout.contains("there is none yet"), "{round}: {looked:?}");
        assert!(looked.stdout.contains("nightjar reindex"), "{round}: {looked:?}");
        if round % 2 == 0 {
            let done = setup.run(&["backup", "stores"]);
            assert_eq!(done.code, 0, "{round}: {done:?}");
            assert!(done.stderr.contains("ERROR"), "{round}: {done:?}");
            assert!(done.stderr.contains("from the copy"), "{round}: {done:?}");
            assert!(done.stderr.contains("is kept as"), "{round}: {done:?}");
        } else {
            let report = setup.json(&["reindex"]);
            assert_eq!(report["rebuilt"], true, "{round}: {report}");
            assert!(report["copy"].is_string(), "{round}: {report}");
            assert!(report["set_aside"].is_string(), "{round}: {report}");
        }
        let jobs = setup.jobs();
        let known: Vec<_> =
            jobs.iter().filter(|job| before.iter().any(|it| it["id"] == job["id"])).collect();
        assert_eq!(known.len(), before.len(), "{round}");
        let failed: Vec<_> = jobs.iter().filter(|job| job["state"] == "failed").collect();
        assert_eq!(failed.len(), 1, "{round}: what only the copy knows");
        // Names of files that are set aside differ by the second.
        for name in names(&setup.path("state")).iter().filter(|name| name.contains(".damaged-")) {
            fs::remove_file(setup.path("state").join(name)).unwrap();
        }
    }
    // The same with nothing but the archive left.
    let before = archived(&setup);
    without_copies(&setup);
    fs::write(setup.path("state/nightjar.db"), "").unwrap();
    let looked = setup.run(&["doctor", "--offline"]);
    assert!(!looked.stdout.contains("there is none yet"), "{looked:?}");
    let done = setup.run(&["backup", "stores"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stderr.contains("imported from the archive"), "{done:?}");
    assert_eq!(archived(&setup)[1..], before);
    assert_eq!(damaged_ones(&setup), 1);
}

#[test]
fn an_emptied_database_does_not_empty_the_quota() {
    let setup = Setup::healthy().set("accounts.contoso.max_jobs_per_day", 1);
    setup.backup();
    fs::write(setup.path("state/nightjar.db"), "").unwrap();
    setup.queue();
    let backup = setup.start(&["backup"]);
    let job = setup.job_when("waiting for quota", |job| !job["hold"].is_null());
    assert_eq!((&job["state"], &job["attempts"]), (&"queued".into(), &0.into()), "{job}");
    backup.kill();
    assert_eq!(setup.service.remote_jobs().len(), 1);
}

#[test]
fn an_empty_file_in_a_new_state_folder_is_a_new_database() {
    let setup = Setup::healthy();
    fs::create_dir_all(setup.path("state")).unwrap();
    fs::write(setup.path("state/nightjar.db"), "").unwrap();
    let looked = setup.run(&["doctor", "--offline"]);
    assert!(looked.stdout.contains("there is none yet"), "{looked:?}");
    let done = setup.backup();
    assert!(!done.stderr.contains("ERROR"), "{done:?}");
    assert_eq!(damaged_ones(&setup), 0);
}

#[test]
fn a_daemon_whose_database_was_replaced_or_emptied_ends() {
    crate::harness::each(["replaced", "deleted", "emptied"], |how| {
        let setup = Setup::healthy();
        setup.backup();
        let copies = names(&setup.path("state/copies"));
        let other = setup.path("state/copies").join(&copies[0]);
        let before = archived(&setup);
        let daemon = setup.start(&["daemon"]);
        crate::harness::until("ready", || daemon.stderr().contains("is ready").then_some(()));
        let database = setup.path("state/nightjar.db");
        match how {
            "replaced" => {
                fs::copy(other, setup.path("state/new")).unwrap();
                nightjar::files::rename(&setup.path("state/new"), &database).unwrap();
            }
            "deleted" => fs::remove_file(&database).unwrap(),
            _ => fs::write(&database, "").unwrap(),
        }
        // Less than the interval of the idle daemon's sweep.
        let done = daemon.end_within(std::time::Duration::from_secs(40));
        assert_eq!(done.code, 1, "{how}: {done:?}");
        assert!(done.stderr.contains("was replaced, emptied or removed"), "{how}: {done:?}");
        assert_eq!(names(&setup.path("state/copies")), copies, "{how}");

        let daemon = setup.start(&["daemon"]);
        crate::harness::until("ready", || daemon.stderr().contains("is ready").then_some(()));
        assert_eq!(archived(&setup), before, "{how}");
        daemon.stop(Signal::TERM);
    });
}

#[test]
fn no_job_id_is_given_by_two_processes_to_two_files() {
    let setup = Setup::with(Scenario { pending_polls: 1_000_000, ..Scenario::default() });
    let backup = setup.start(&["backup"]);
    setup.job_when("waiting", |job| job["state"] == "waiting");
    lose(&setup);
    // A new file, created by another process that does not know this one.
    fs::write(setup.path("state/nightjar.db"), empty_schema(&setup)).unwrap();
    let done = backup.end();
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("was replaced, emptied or removed"), "{done:?}");
}
