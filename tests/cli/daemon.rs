//! The daemon: its schedules, concurrent processes, its configuration.

use crate::harness::{Setup, free_port, instant, now, source, until};
use nightjar::simulator::{Fault, Kind, Scenario};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

const EVERY_SECOND: &str = "* * * * * *";

#[test]
fn a_schedule_with_seconds_fires_and_every_time_is_accounted_for_once() {
    let setup = Setup::healthy().set("sources.stores.schedule", EVERY_SECOND);
    let daemon = setup.start(&["daemon"]);
    until("three scheduled backups", || {
        let done = setup.jobs().iter().filter(|job| job["state"] == "archived").count();
        (done >= 3).then_some(())
    });
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
    let jobs = setup.jobs();
    let mut times = BTreeSet::new();
    for job in &jobs {
        assert_ne!(job["trigger"], "manual");
        let time = instant(&job["scheduled_for"]);
        assert_eq!(time.timestamp_subsec_nanos(), 0);
        assert!(times.insert(time), "{time} came twice");
    }
    let manifest = setup.manifest();
    let times: Vec<&Value> = jobs.iter().map(|job| &job["scheduled_for"]).collect();
    assert!(times.iter().any(|time| instant(time) == instant(&manifest["scheduled_for"])));
}

#[test]
fn a_time_that_comes_while_a_job_is_live_is_a_skip_in_its_timeline() {
    let setup =
        Setup::with(Scenario { ending: nightjar::simulator::Ending::Never, ..Scenario::default() })
            .set("sources.stores.schedule", EVERY_SECOND);
    let _daemon = setup.start(&["daemon"]);
    let job = setup.job_when("the first job", |_| true);
    until("a skip", || setup.timeline(&job["id"]).contains("skip").then_some(()));
    assert_eq!(setup.jobs().len(), 1);
}

#[test]
fn a_run_missed_during_downtime_is_caught_up_once_unless_configured_otherwise() {
    let setup = Setup::of(vec![
        source("Caught", Scenario::default()),
        source("Uncaught", Scenario::default()),
    ])
    .set("sources.uncaught.catch_up", false);
    let port = free_port();
    let setup = setup.set("web.listen", format!("127.0.0.1:{port}"));
    let daemon = setup.start(&["daemon"]);
    let database = setup.path("state/nightjar.db");
    let execute = |statement: &'static str| {
        setup.block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
            let mut connection =
                sqlx::ConnectOptions::connect(&options).await.expect("the database");
            sqlx::query(statement).execute(&mut connection).await.map(|done| done.rows_affected())
        })
    };
    until("both schedules to be written down", || {
        if !database.exists() {
            return None;
        }
        let written = execute("UPDATE schedules SET cursor = cursor").ok()?;
        (written == 2).then_some(())
    });
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
    // Three days ago, as the schedules see it: three runs were missed.
    let moved = "UPDATE schedules SET cursor = cursor - 3 * 86400000, since = since - 3 * 86400000";
    assert_eq!(execute(moved).unwrap(), 2);

    let daemon = setup.start(&["daemon"]);
    let job = setup.job_when("the missed run", |job| job["state"] == "archived");
    assert_eq!(job["source"], "caught");
    assert_eq!(job["trigger"], "catch_up");
    let missed = instant(&job["scheduled_for"]);
    assert_eq!(missed.format("%H:%M:%S").to_string(), "02:00:00");
    assert!((now() - missed) < chrono::TimeDelta::hours(24) && missed < now());
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
    // Another start has nothing to catch up.
    let _daemon = setup.start(&["daemon"]);
    until("the page", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    setup.run(&["backup", "uncaught"]);
    let jobs = setup.jobs();
    assert_eq!(jobs.len(), 2, "{jobs:?}");
}

#[test]
fn a_second_daemon_on_one_state_folder_ends_with_1_and_names_the_first() {
    let setup = Setup::healthy();
    let port = free_port();
    let first = setup.set("web.listen", format!("127.0.0.1:{port}"));
    let daemon = first.start(&["daemon"]);
    until("the page", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let second = first.set("web.listen", "");
    let done = second.run(&["daemon"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains(&daemon.id().to_string()), "{done:?}");
}

#[test]
fn a_taken_port_ends_with_1_and_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let setup = Setup::healthy().set("web.listen", address.clone());
    let done = setup.run(&["daemon"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains(&address), "{done:?}");
}

#[test]
fn a_backup_beside_a_daemon_joins_its_job() {
    let setup = Setup::with(Scenario { pending_polls: 40, ..Scenario::default() });
    let id = setup.queue()[0];
    let _daemon = setup.start(&["daemon"]);
    setup.until_asked(Kind::Status, 2);
    setup.backup();
    let jobs = setup.jobs();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0]["id"], id);
    assert_eq!(jobs[0]["state"], "archived");
    assert_eq!(setup.service.remote_jobs().len(), 1);
}

#[test]
fn a_daemon_works_on_jobs_that_other_processes_queue() {
    let setup = Setup::healthy();
    let port = free_port();
    let setup = setup.set("web.listen", format!("127.0.0.1:{port}"));
    let _daemon = setup.start(&["daemon"]);
    until("the page", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    setup.queue();
    setup.job_when("the backup", |job| job["state"] == "archived");
    let old = setup.job()["id"].clone();
    assert_eq!(setup.run(&["retry", &old.to_string()]).code, 0);
    let job = setup.job_when("the fresh one", |job| job["id"] != old && job["state"] == "archived");
    assert_eq!(job["trigger"], "manual");
}

#[test]
fn cancelling_beside_a_fetch_ends_it_within_seconds() {
    let setup =
        Setup::with(Scenario { result: vec![Fault::StalledAfter(2000)], ..Scenario::default() });
    let id = setup.queue()[0].to_string();
    let _daemon = setup.start(&["daemon"]);
    setup.until_asked(Kind::Result, 1);
    let follower = setup.start(&["backup"]);
    until("the follower to have joined", || (!follower.stderr().is_empty()).then_some(()));
    assert_eq!(setup.run(&["cancel", &id]).code, 0);
    let done = follower.end_within(Duration::from_secs(5));
    assert_eq!(done.code, 1, "{done:?}");
    let job = setup.job();
    assert_eq!(job["state"], "cancelled");
    until("the unfinished file to be gone", || {
        crate::harness::files(&setup.path("state/archive")).is_empty().then_some(())
    });
    // The daemon is free for the next job.
    setup.queue();
    setup.job_when("the next backup", |job| job["state"] == "archived");
    assert_eq!(setup.jobs().len(), 2);
}

#[test]
fn sighup_reloads_the_configuration() {
    let mut setup =
        Setup::of(vec![source("One", Scenario::default()), source("Two", Scenario::default())]);
    setup.change("sources.one.schedule", EVERY_SECOND);
    let daemon = setup.start(&["daemon"]);
    let of = |setup: &Setup, name: &str| {
        setup.json(&["jobs", "--source", name]).as_array().unwrap().len()
    };
    until("the first source", || (of(&setup, "one") > 0).then_some(()));
    assert_eq!(of(&setup, "two"), 0);
    setup.change("sources.two.schedule", EVERY_SECOND);
    daemon.signal(Signal::HUP);
    until("the second source", || (of(&setup, "two") > 0).then_some(()));
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
}

#[test]
fn sighup_with_an_invalid_configuration_changes_nothing() {
    let setup = Setup::healthy().set("sources.stores.schedule", EVERY_SECOND);
    let good = setup.config_text();
    let mut daemon = setup.start(&["daemon"]);
    setup.job_when("the first job", |_| true);
    setup.write_config(&good.replace("[poll]", "[pole]"));
    daemon.signal(Signal::HUP);
    until("the mistake in the log", || daemon.stderr().contains("pole").then_some(()));
    // Other commands read the file too.
    setup.write_config(&good);
    let so_far = setup.jobs().len();
    until("another job", || (setup.jobs().len() > so_far + 1).then_some(()));
    assert!(daemon.is_running());
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
}

#[test]
fn a_reload_names_the_settings_that_need_a_restart() {
    let mut setup = Setup::with(Scenario { pending_polls: 1_000_000, ..Scenario::default() });
    let daemon = setup.start(&["daemon"]);
    setup.queue();
    setup.job_when("waiting", |job| job["state"] == "waiting");
    let good = setup.config_text();

    setup.write_config(&good.replace("0 2 * * *", "0 25 * * *"));
    daemon.signal(Signal::HUP);
    until("the message about the mistake", || {
        let said = daemon.stderr();
        (said.contains("was not reloaded") && said.contains("hour field")).then_some(())
    });

    let port = crate::harness::free_port();
    setup.write_config(&good);
    setup.change("web.listen", format!("127.0.0.1:{port}"));
    setup.change("archive_dir", setup.path("elsewhere").display().to_string());
    setup.change("sources.stores.schedule", "* * * * * *");
    daemon.signal(Signal::HUP);
    until("the new schedule, with the job still in flight", || {
        setup.timeline(&1.into()).contains("\"skipped\"").then_some(())
    });
    let said = daemon.stderr();
    for what in ["[web]", "archive_dir"] {
        let line = format!("{what} has changed; that takes effect at the next start");
        assert!(said.contains(&line), "{line}: {said}");
    }
    assert!(!setup.path("elsewhere").exists());
    assert_eq!(setup.jobs().len(), 1, "what was in flight goes on");
    daemon.stop(Signal::TERM);
}

#[test]
fn a_daemon_waits_for_a_command_that_rebuilds_the_database() {
    let setup = Setup::healthy();
    setup.backup();
    let rebuilding = nightjar::store::lock::rebuild(&setup.path("state")).unwrap().unwrap();
    let daemon = setup.start(&["daemon"]);
    let said = format!("process {} rebuilds the database", std::process::id());
    until("the reason", || daemon.stderr().contains(&said).then_some(()));
    let stopped = daemon.stop(Signal::TERM);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    let daemon = setup.start(&["daemon"]);
    until("the reason", || daemon.stderr().contains(&said).then_some(()));
    drop(rebuilding);
    until("its start", || daemon.stderr().contains("is ready").then_some(()));
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
}
