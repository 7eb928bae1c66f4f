//! A process that has run out of file descriptors.

use crate::harness::Setup;
use nightjar::simulator::Kind;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

/// Sets the limit of open files of a running process.
fn limit(process: u32, most: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(process).unwrap());
    // Inherited, and only lowered here.
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    prlimit(pid, Resource::Nofile, Rlimit { current: most.or(current), maximum }).unwrap();
}

#[test]
fn exhausted_file_descriptors_cost_no_attempt() {
    let setup = Setup::healthy().set("retry.attempts", 1).set("retry.job_attempts", 1);
    let daemon = setup.start(&["daemon"]);
    setup.queue();
    setup.job_when("the first backup", |job| job["state"] == "archived");
    // Open files stay open; no further file can be opened.
    limit(daemon.id(), Some(0));
    let id = setup.queue()[0];
    let held = setup.job_when("the hold", |job| job["hold"]["why"] == "local");
    assert_eq!((&held["id"], &held["attempts"]), (&id.into(), &0.into()), "{held}");
    assert_eq!((&held["state"], &held["error"]), (&"queued".into(), &serde_json::Value::Null));
    let said = held["hold"]["message"].as_str().unwrap();
    assert!(said.contains("no file descriptor left") && said.contains("LimitNOFILE="), "{said}");
    assert_eq!(setup.service.count(Kind::Create), 1);

    limit(daemon.id(), None);
    let job = setup.job_when("the backup", |job| job["state"] == "archived");
    assert_eq!((&job["id"], &job["attempts"]), (&id.into(), &1.into()), "{job}");
    assert_eq!(setup.service.remote_jobs().len(), 2);
    assert_eq!(daemon.stop(Signal::TERM).code, 0);
}
