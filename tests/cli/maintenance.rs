//! The daemon's own maintenance.

use crate::harness::{Setup, names, until};
use rustix::process::Signal;
use std::fs;

#[test]
fn maintenance_missed_at_four_runs_soon_after_startup() {
    let mut setup = Setup::healthy();
    for rule in ["keep_daily", "keep_weekly", "keep_monthly", "keep_yearly"] {
        setup.change(&format!("retention.{rule}"), 0);
    }
    setup.change("retention.keep_last", 1);
    for _ in 0..3 {
        setup.backup();
    }
    assert_eq!(setup.manifests("stores").len(), 3, "a backup removes nothing");
    assert_eq!(names(&setup.path("state/copies")).len(), 1);
    fs::remove_dir_all(setup.path("state/copies")).unwrap();
    let daemon = setup.start(&["daemon"]);
    until("retention", || daemon.stderr().contains("2 snapshots were removed").then_some(()));
    let done = daemon.stop(Signal::TERM);
    assert_eq!(setup.manifests("stores").len(), 1);
    // The backup has copied the database, and that is no longer due.
    assert!(!done.stderr.contains("the database was copied"), "{done:?}");
}
