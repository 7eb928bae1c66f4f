//! Restores that are stopped, killed, cancelled, raced and misled, and the question on a terminal.

use crate::harness::{Done, Process, Setup, until};
use crate::restore::{
    good, is, loads, published, safety_backups, staged, wrong, wrong_load, wrong_load_with,
};
use nightjar::simulator::{
    Act, Changes, Data, Fault, Interference, Kind, LoadOperation, Moment, Scenario,
};
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;

const RESTORE: [&str; 6] = ["restore", "stores@1", "--to", "stores", "--publish", "--yes"];

/// The command while the service does not end its load.
fn restoring(setup: &Setup) -> Process {
    let process = setup.start(&RESTORE);
    until("a load", || (loads(setup) == 1).then_some(()));
    process
}

#[test]
fn a_stopped_restore_goes_on_with_the_same_command() {
    let setup = wrong_load_with(Changes { pending_polls: 60, ..Changes::default() });
    let done = restoring(&setup).stop(Signal::INT);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.contains("this command, typed again"), "{done:?}");
    let again = setup.run(&RESTORE);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stderr.contains("joins job"), "{again:?}");
    assert_eq!(loads(&setup), 1);
    assert!(is(&published(&setup), &good()));
}

#[test]
fn a_source_has_one_live_job() {
    let setup = wrong_load_with(Changes { pending_polls: 60, ..Changes::default() });
    let first = restoring(&setup);
    let other = setup.run(&["restore", "stores@1", "--to", "stores", "--yes"]);
    assert_eq!(other.code, 1, "{other:?}");
    assert!(other.stderr.contains("nightjar cancel"), "{other:?}");
    let rollback = setup.run(&["rollback", "stores", "--yes"]);
    assert_eq!(rollback.code, 1, "{rollback:?}");
    let done: Done = first.end();
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(loads(&setup), 1);
}

#[test]
fn a_snapshot_stays_held_until_its_restore_is_done() {
    let setup = wrong_load_with(Changes { pending_polls: 60, ..Changes::default() });
    let restore = restoring(&setup);
    let refused = setup.run(&["unhold", "stores@1"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("`nightjar cancel 2` ends it"), "{refused:?}");
    assert_eq!(restore.end().code, 0);
    let free = setup.run(&["unhold", "stores@1"]);
    assert_eq!((free.code, free.stdout.contains("was not held")), (0, true), "{free:?}");
    // A hold of a job that no history knows is the archive's alone.
    let reason = "job 99 restores this snapshot to stores";
    assert_eq!(setup.run(&["hold", "stores@1", "--reason", reason]).code, 0);
    let free = setup.run(&["unhold", "stores@1"]);
    assert!(free.stdout.contains("is no longer held"), "{free:?}");
}

#[test]
fn a_restore_that_is_killed_anywhere_is_finished_by_the_same_command() {
    // The moment by what the service has been asked for so far.
    let moments: [(Kind, usize); 6] = [
        (Kind::Create, 2),
        (Kind::Load, 1),
        (Kind::Status, 8),
        (Kind::Create, 3),
        (Kind::Commit, 1),
        (Kind::Versions, 3),
    ];
    for (kind, times) in moments {
        let setup = wrong_load_with(Changes { pending_polls: 4, ..Changes::default() });
        let process = setup.start(&RESTORE);
        setup.until_asked(kind, times);
        process.kill();
        let again = setup.run(&RESTORE);
        // It may have been done by then; then the command would do it again.
        assert_eq!(again.code, 0, "{kind:?} {times}: {again:?}");
        assert!(is(&published(&setup), &good()), "{kind:?} {times}: {again:?}");
        let restores = setup.jobs().iter().filter(|job| job["operation"] == "restore").count();
        assert!(loads(&setup) <= restores, "{kind:?} {times}: {} loads", loads(&setup));
        assert!(!safety_backups(&setup).is_empty());
    }
}

#[test]
fn a_signal_in_each_phase_leaves_a_job_that_can_be_finished() {
    for (kind, times) in [(Kind::Create, 2), (Kind::Load, 1), (Kind::Create, 3), (Kind::Commit, 1)]
    {
        let setup = wrong_load_with(Changes { pending_polls: 10, ..Changes::default() });
        let process = setup.start(&RESTORE);
        setup.until_asked(kind, times);
        let done = process.stop(Signal::INT);
        if done.code == 0 {
            // It was done before the signal.
            continue;
        }
        assert_eq!(done.code, 1, "{kind:?}: {done:?}");
        let id = setup.job()["id"].clone();
        let again = setup.run(&RESTORE);
        assert_eq!(again.code, 0, "{kind:?}: {again:?}");
        assert_eq!(setup.job()["id"], id, "the same job: {again:?}");
        assert_eq!(loads(&setup), 1, "{kind:?}");
    }
}

#[test]
fn beside_a_daemon_a_restore_is_one_job_that_is_followed() {
    let setup = wrong_load();
    let daemon = setup.start(&["daemon"]);
    let done = setup.run(&RESTORE);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(is(&published(&setup), &good()));
    assert_eq!((loads(&setup), setup.service.count(Kind::Commit)), (1, 1));
    let done = setup.run(&["rollback", "stores", "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(is(&published(&setup), &wrong()));
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
}

#[test]
fn a_cancelled_restore_says_so_and_publishes_nothing() {
    let setup = wrong_load_with(Changes { pending_polls: 60, ..Changes::default() });
    let process = restoring(&setup);
    let id = setup.job()["id"].to_string();
    assert_eq!(setup.run(&["cancel", &id]).code, 0);
    let done = process.end();
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.contains(&format!("job {id} was cancelled")), "{done:?}");
    assert!(is(&published(&setup), &wrong()));
}

#[test]
fn what_another_user_stages_meanwhile_is_never_published() {
    let other = Data::first_places(3);
    for at in [Moment::Loaded, Moment::StagedFetched] {
        let interference = vec![Interference { at, act: Act::Stage(other.clone()) }];
        let setup = wrong_load_with(Changes { interference, ..Changes::default() });
        let setup = setup.set("http.lost_after", "200ms");
        let done = setup.run(&RESTORE);
        assert_eq!(done.code, 1, "{at:?}: {done:?}");
        assert!(is(&published(&setup), &wrong()), "{at:?}: {done:?}");
        assert!(is(&staged(&setup).unwrap(), &other), "{at:?}: {done:?}");
        assert_eq!(setup.service.count(Kind::Commit), 0, "{at:?}: {done:?}");
    }
}

#[test]
fn a_staged_version_that_is_replaced_before_its_publication_is_refused() {
    let setup = wrong_load();
    let done = setup.run(&["restore", "stores@1", "--to", "stores", "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    let id = setup.service.versions("Stores").staged.unwrap().job_id;
    setup.service.load_elsewhere("Stores", LoadOperation::CompleteStaging, wrong());
    let done = setup.run(&["publish", "stores", &id, "--yes"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("is not staged, but"), "{done:?}");
    assert_eq!(setup.service.count(Kind::Commit), 0);
}

#[test]
fn a_snapshot_that_goes_while_its_restore_waits_is_never_loaded() {
    let setup = wrong_load().set("accounts.contoso.max_jobs_per_day", 1);
    let process = setup.start(&RESTORE);
    setup.job_when("the restore to wait", |job| !job["hold"].is_null());
    assert_eq!(process.stop(Signal::TERM).code, 1);
    // `prune` keeps what a restore holds; this is a user who does not ask.
    let kept = setup.run(&["prune", "--dry-run"]);
    assert!(kept.stdout.contains("held: "), "{kept:?}");
    let manifest = setup.manifests("stores").remove(0);
    fs::remove_file(manifest.with_extension("xml.zst")).unwrap();
    fs::remove_file(manifest).unwrap();
    let setup = setup.set("accounts.contoso.max_jobs_per_day", 50);
    let id = setup.job()["id"].clone();
    // It works on the live restore first, and then backs up what is published.
    let done = setup.run(&["backup", "stores"]);
    assert_eq!(done.code, 0, "{done:?}");
    let jobs = setup.jobs();
    let restore = jobs.iter().find(|job| job["id"] == id).unwrap();
    assert_eq!(restore["state"], "failed", "{restore}");
    assert_eq!(loads(&setup), 0);
    assert!(is(&published(&setup), &wrong()));
}

#[test]
fn a_restore_is_undone_with_its_safety_backup() {
    let setup = wrong_load();
    assert_eq!(setup.run(&RESTORE).code, 0);
    let [safety] = &*safety_backups(&setup) else { panic!() };
    let safety = safety.to_str().unwrap();
    let done = setup.run(&["restore", safety, "--to", "stores", "--publish", "--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(is(&published(&setup), &wrong()));
}

#[test]
fn a_service_that_is_down_for_a_while_is_waited_for() {
    let load = vec![Fault::http(503), Fault::http(429)];
    let commit = vec![Fault::http(503)];
    let setup = wrong_load_with(Changes { load, commit, ..Changes::default() });
    let setup = setup.set("http.lost_after", "200ms").set("retry.attempts", 8);
    let done = setup.run(&RESTORE);
    assert!(loads(&setup) <= 1, "{done:?}");
    let expected = if done.code == 0 { good() } else { wrong() };
    assert!(is(&published(&setup), &expected), "{done:?}");
}

#[test]
fn a_backup_after_a_restore_sees_no_safety_backup() {
    let setup = wrong_load();
    assert_eq!(setup.run(&RESTORE).code, 0);
    assert_eq!(setup.run(&["backup"]).code, 0);
    let status = setup.json(&["status"]);
    assert_eq!(status[0]["health"], "ok", "{status}");
    assert_eq!(status[0]["entities"], 20, "{status}");
    let verify = setup.run(&["verify"]);
    assert_eq!(verify.code, 0, "{verify:?}");
}

#[test]
fn a_suspicious_snapshot_and_one_of_another_source_are_warned_about() {
    let other = crate::harness::source("Other", Scenario::default());
    let setup = Setup::of(vec![crate::harness::source("Stores", Scenario::default()), other]);
    setup.backup();
    setup.service.set_data("Stores", wrong());
    setup.backup();
    let plan = |snapshot, to| {
        let done = setup.run(&["restore", snapshot, "--to", to, "--dry-run"]);
        assert_eq!(done.code, 0, "{done:?}");
        done.stdout
    };
    assert!(plan("stores", "stores").contains("WARNING: the snapshot is suspicious: "));
    assert!(plan("other", "stores").contains("WARNING: the snapshot is of another source, other"));
    assert!(!plan("other", "other").contains("another source"));
}

#[test]
fn keys_are_taken_as_they_are() {
    let setup = wrong_load();
    for key in ["", " ", "'; --", "\u{1b}[2J", "é"] {
        let done = setup.run(&["restore", "stores@1", "--to", "stores", "--yes", "--only", key]);
        assert_eq!(done.code, 2, "{key:?}: {done:?}");
        assert!(!done.stderr.contains('\u{1b}'), "{done:?}");
    }
    assert_eq!(setup.jobs().len(), 1);
}

/// Runs a command on a terminal, on which a user types this once it asks.
fn on_terminal(setup: &Setup, arguments: &[&str], typed: &[u8]) -> (i32, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let slave = || OwnedFd::from(File::options().read(true).write(true).open(&name).unwrap());
    let mut child = setup
        .command(arguments)
        .stdin(slave())
        .stderr(slave())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut terminal = File::from(master);
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains("[y/N]") {
        let mut piece = [0; 1024];
        let length = terminal.read(&mut piece).unwrap();
        shown.extend_from_slice(&piece[..length]);
    }
    terminal.write_all(typed).unwrap();
    // What it shows while it works, until it has ended and the terminal is closed.
    let _ = terminal.read_to_end(&mut shown);
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    (child.wait().unwrap().code().unwrap(), stdout)
}

#[test]
fn on_a_terminal_it_asks_and_takes_yes_alone_for_yes() {
    let setup = wrong_load();
    for no in [&b"n\n"[..], b"\n", b"yep\n", b"\x04"] {
        let (code, stdout) = on_terminal(&setup, &RESTORE[..5], no);
        assert_eq!(code, 2, "{stdout}");
        assert!(stdout.contains("Restore stores@"), "{stdout}");
        assert_eq!(loads(&setup), 0);
    }
    let (code, stdout) = on_terminal(&setup, &RESTORE[..5], b"Yes\n");
    assert_eq!(code, 0, "{stdout}");
    assert!(is(&published(&setup), &good()));
    let (code, stdout) = on_terminal(&setup, &["rollback", "stores"], b"y\n");
    assert_eq!(code, 0, "{stdout}");
    assert!(is(&published(&setup), &wrong()));
}
