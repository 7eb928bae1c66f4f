//! Stops and kills at bad moments.

use crate::harness::{Setup, each, files, until};
use nightjar::simulator::{Fault, Kind, Scenario};
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

/// A daemon is stopped while a request gets no answer; the next one continues.
fn stopped_while(scenario: Scenario, kind: Kind, attempts: usize) {
    each([Signal::TERM, Signal::INT], |signal| {
        let setup = Setup::with(scenario.clone());
        let id = setup.queue()[0];
        let daemon = setup.start(&["daemon"]);
        setup.until_asked(kind, 1);
        let done = daemon.stop(signal);
        assert_eq!(done.code, 0, "a clean stop: {done:?}");

        let job = setup.job();
        assert_eq!(job["id"], id);
        assert!(job["finished_at"].is_null(), "{job}");
        let daemon = setup.start(&["daemon"]);
        let job = setup.job_when("the backup", |job| !job["finished_at"].is_null());
        assert_eq!(job["state"], "archived", "{job}");
        assert_eq!(job["id"], id);
        assert_eq!(job["attempts"], attempts, "{job}");
        assert_eq!(setup.service.remote_jobs().len(), attempts);
        assert_eq!(setup.jobs().len(), 1);
        assert_eq!(daemon.stop(signal).code, 0);
        assert_eq!(setup.json(&["verify"])["findings"], serde_json::json!([]));
    });
}

#[test]
fn a_daemon_stops_during_a_stalled_download_and_the_next_one_continues() {
    let result = vec![Fault::StalledAfter(1000)];
    stopped_while(Scenario { result, ..Scenario::default() }, Kind::Result, 1);
}

#[test]
fn a_daemon_stops_during_a_silent_poll_and_the_next_one_continues() {
    let status = vec![Fault::Silence];
    stopped_while(Scenario { status, ..Scenario::default() }, Kind::Status, 1);
}

#[test]
fn a_daemon_stops_during_a_silent_submit_and_the_next_one_continues() {
    // The remote job exists, but its id is lost.
    let create = vec![Fault::Silence];
    stopped_while(Scenario { create, ..Scenario::default() }, Kind::Create, 2);
}

#[test]
fn a_stop_spends_no_attempt_even_when_there_is_only_one() {
    let setup = Setup::with(Scenario {
        status: vec![Fault::Silence],
        result: vec![Fault::StalledAfter(1000)],
        ..Scenario::default()
    })
    .set("retry.job_attempts", 1)
    .set("retry.attempts", 1);
    setup.queue();
    for kind in [Kind::Status, Kind::Result] {
        let daemon = setup.start(&["daemon"]);
        setup.until_asked(kind, 1);
        assert_eq!(daemon.stop(Signal::TERM).code, 0);
    }
    let _daemon = setup.start(&["daemon"]);
    let job = setup.job_when("the backup", |job| !job["finished_at"].is_null());
    assert_eq!(job["state"], "archived", "{job}");
    assert_eq!(job["attempts"], 1);
}

#[test]
fn a_kill_spends_no_attempt_while_polling_or_fetching() {
    let setup = Setup::with(Scenario {
        status: vec![Fault::Silence],
        result: vec![Fault::StalledAfter(1000)],
        ..Scenario::default()
    })
    .set("retry.job_attempts", 1)
    .set("retry.attempts", 1);
    setup.queue();
    for kind in [Kind::Status, Kind::Result] {
        let daemon = setup.start(&["daemon"]);
        setup.until_asked(kind, 1);
        daemon.kill();
    }
    let _daemon = setup.start(&["daemon"]);
    let job = setup.job_when("the backup", |job| !job["finished_at"].is_null());
    assert_eq!(job["state"], "archived", "{job}");
    assert_eq!(job["attempts"], 1);
}

#[test]
fn a_submit_cut_short_by_a_kill_is_never_repeated_beyond_the_bound() {
    let setup = Setup::with(Scenario { create: vec![Fault::Silence], ..Scenario::default() })
        .set("retry.job_attempts", 1);
    setup.queue();
    let daemon = setup.start(&["daemon"]);
    setup.until_asked(Kind::Create, 1);
    daemon.kill();
    let _daemon = setup.start(&["daemon"]);
    let job = setup.job_when("the job's end", |job| !job["finished_at"].is_null());
    assert_eq!(job["error"]["kind"], "unavailable", "{job}");
    assert_eq!(job["attempts"], 1);
    assert_eq!(setup.service.remote_jobs().len(), 1);
}

#[test]
fn a_backup_stops_during_a_stalled_download_and_the_next_one_continues() {
    each([Signal::TERM, Signal::INT], |signal| {
        let result = vec![Fault::StalledAfter(1000)];
        let setup = Setup::with(Scenario { result, ..Scenario::default() });
        let backup = setup.start(&["backup"]);
        setup.until_asked(Kind::Result, 1);
        assert_ne!(backup.stop(signal).code, 0, "it did not back up");
        setup.backup();
        assert_eq!(setup.jobs().len(), 1);
        assert_eq!(setup.job()["attempts"], 1);
    });
}

#[test]
fn an_unfinished_download_is_nowhere_under_a_final_name() {
    let result = vec![Fault::StalledAfter(5000)];
    let setup = Setup::with(Scenario { result, ..Scenario::default() });
    let backup = setup.start(&["backup"]);
    setup.until_asked(Kind::Result, 1);
    let names = crate::harness::names(&setup.archive("stores"));
    assert!(!names.iter().any(|it| it.ends_with(".zst") || it.ends_with(".json")), "{names:?}");
    assert_eq!(setup.json(&["snapshots"]), serde_json::json!([]));
    assert_eq!(setup.json(&["verify"])["ok"], true);
    let id = setup.job()["id"].to_string();
    assert_eq!(setup.run(&["cancel", &id]).code, 0);
    // If it is cancelled from outside, a backup in the foreground ends within seconds too.
    assert_eq!(backup.end_within(std::time::Duration::from_secs(5)).code, 1);
    until("the unfinished file to be gone", || {
        files(&setup.path("state/archive")).is_empty().then_some(())
    });
}

#[test]
fn an_idle_daemon_stops_at_once() {
    let setup = Setup::healthy();
    let port = crate::harness::free_port();
    let setup = setup.set("web.listen", format!("127.0.0.1:{port}"));
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = setup.start(&["daemon"]);
        until("the page", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        assert_eq!(daemon.stop(signal).code, 0);
    }
}

#[test]
fn open_page_connections_do_not_delay_shutdown() {
    let port = crate::harness::free_port();
    let setup = Setup::healthy().set("web.listen", format!("127.0.0.1:{port}"));
    let daemon = setup.start(&["daemon"]);
    let connect = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
    let _idle = until("the page", connect);
    let mut halfway = until("the page", connect);
    halfway.write_all(b"GET / HTTP/1.1\r\nHost: local").unwrap();
    let mut kept = until("the page", connect);
    let request = format!("GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n");
    kept.write_all(request.as_bytes()).unwrap();
    kept.read_exact(&mut [0; 12]).unwrap();
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
}

#[test]
fn a_daemon_killed_at_any_moment_is_replaced_by_one_that_finishes() {
    let setup = Setup::with(Scenario {
        pending_polls: 12,
        gzip: true,
        result: vec![Fault::StalledAfter(900), Fault::StalledAfter(1)],
        ..Scenario::default()
    })
    .set("retry.job_attempts", 30)
    .set("http.idle_timeout", "200ms")
    .set("accounts.contoso.max_in_process", 30);
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..8 {
        setup.queue();
        let wanted = setup.service.requests().len() + random.usize(0..5);
        let daemon = setup.start(&["daemon"]);
        until("some requests, or the end", || {
            // The end needs no request if a snapshot was filed just before the last kill.
            let enough = setup.service.requests().len() >= wanted;
            let ended = || setup.jobs().iter().all(|job| !job["finished_at"].is_null());
            (enough || ended()).then_some(())
        });
        let spins = random.u32(0..200_000);
        (0..spins).for_each(|_| std::hint::spin_loop());
        daemon.kill();
    }
    let _daemon = setup.start(&["daemon"]);
    let job = setup.job_when("the backup", |job| !job["finished_at"].is_null());
    assert_eq!(job["state"], "archived", "{job}");
    for job in setup.jobs() {
        assert_eq!(job["state"], "archived", "{job}");
    }
    let attempts: u64 = setup.jobs().iter().map(|job| job["attempts"].as_u64().unwrap()).sum();
    assert!(attempts >= u64::try_from(setup.service.remote_jobs().len()).unwrap());
    let verified = setup.json(&["verify"]);
    assert_eq!(verified["findings"], serde_json::json!([]), "nothing unfinished is left");
    assert_eq!(verified["checked"], setup.jobs().len());
}

#[test]
fn the_remains_of_a_killed_download_are_removed() {
    let setup =
        Setup::with(Scenario { result: vec![Fault::StalledAfter(2000)], ..Scenario::default() });
    setup.queue();
    let daemon = setup.start(&["daemon"]);
    setup.until_asked(Kind::Result, 1);
    daemon.kill();
    let daemon = setup.start(&["daemon"]);
    setup.job_when("the backup", |job| job["state"] == "archived");
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
    let left: Vec<PathBuf> = files(&setup.path("state/archive"));
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(setup.service.remote_jobs().len(), 1);
}
