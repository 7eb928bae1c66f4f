//! `backup --timeout`: stops waiting without losing the job.

use crate::harness::{Setup, names, source};
use nightjar::simulator::Scenario;
use std::time::Duration;

/// A service whose jobs never end.
fn endless() -> Scenario {
    Scenario { pending_polls: 1_000_000, ..Scenario::default() }
}

#[test]
fn a_backup_that_times_out_fails_and_the_next_one_continues_its_job() {
    let setup = Setup::with(endless()).set("poll.max", "1s");
    let done = setup.run(&["backup", "--timeout", "1500ms"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.contains("stores: timed out after 1s500ms; job 1 stays"), "{done:?}");
    assert!(done.took.as_millis() >= 1500, "{done:?}");
    assert_ne!(setup.job()["state"], "failed");

    assert_eq!(names(&setup.path("state/copies")), Vec::<String>::new(), "no maintenance");

    let again = setup.run(&["backup", "--timeout", "1s"]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("stores: joins job 1"), "{again:?}");
    assert_eq!(setup.jobs().len(), 1);
}

#[test]
fn unfinished_jobs_count_as_failed_beside_successful_ones() {
    let setup = Setup::of(vec![source("Stores", Scenario::default()), source("Depots", endless())]);
    setup.run(&["backup", "stores"]);
    // A slow machine takes longer for the source that succeeds.
    let (done, limit) = ["4s", "16s", "1m"]
        .into_iter()
        .map(|limit| (setup.start(&["backup", "--timeout", limit]), limit))
        .map(|(backup, limit)| (backup.end_within(Duration::from_secs(90)), limit))
        .find(|(done, _)| done.code != 1)
        .expect("one source is archived within a minute");
    assert_eq!(done.code, 3, "{done:?}");
    assert!(done.stdout.contains("stores: archived as "), "{done:?}");
    let timed_out = format!("depots: timed out after {limit}; job 3 stays waiting");
    assert!(done.stdout.contains(&timed_out), "{done:?}");
}

#[test]
fn a_backup_that_is_done_in_time_does_not_wait_for_the_rest_of_it() {
    let setup = Setup::healthy();
    let done = setup.run(&["backup", "--timeout", "1h"]);
    assert_eq!(done.code, 0, "{done:?}");
}

#[test]
fn an_invalid_timeout_is_a_usage_error() {
    let setup = Setup::healthy();
    for arguments in [
        &["backup", "--timeout", "soon"][..],
        &["backup", "--timeout", "0s"],
        &["backup", "--timeout"],
        &["backup", "--timeout", "5s", "--no-wait"],
    ] {
        let done = setup.run(arguments);
        assert_eq!(done.code, 2, "{arguments:?}: {done:?}");
    }
    assert!(!setup.path("state").exists(), "nothing was begun");
}
