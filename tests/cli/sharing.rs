//! A source's one live job, and what else is wanted of the source meanwhile.

use crate::harness::{Setup, source, until};
use crate::restore::{good, is, loads, published, wrong_load_with};
use nightjar::simulator::{Changes, Data, Kind, Scenario};
use rustix::process::Signal;

#[test]
fn a_backup_of_a_source_that_is_being_restored_waits_and_then_makes_its_own() {
    let setup = wrong_load_with(Changes { pending_polls: 60, ..Changes::default() });
    let restore = setup.start(&["restore", "stores@1", "--to", "stores", "--publish", "--yes"]);
    until("a load", || (loads(&setup) == 1).then_some(()));
    let queued = setup.run(&["backup", "--no-wait"]);
    assert_eq!((queued.code, queued.stdout.as_str()), (1, ""), "{queued:?}");
    assert!(queued.stderr.contains("is being restored by job 2"), "{queued:?}");
    let backup = setup.run(&["backup"]);
    assert_eq!(backup.code, 0, "{backup:?}");
    assert!(backup.stderr.contains("its backup comes after that"), "{backup:?}");
    assert_eq!(restore.end().code, 0);
    let jobs = setup.jobs();
    let shown: Vec<_> = jobs.iter().map(|job| (&job["id"], &job["operation"])).collect();
    assert_eq!(shown.len(), 3, "{jobs:?}");
    assert_eq!((jobs[0]["operation"].as_str(), jobs[0]["id"].as_i64()), (Some("backup"), Some(3)));
    assert!(is(&published(&setup), &good()));
    assert_eq!(setup.manifest()["entities"], 20, "what was restored is what is backed up");
}

#[test]
fn a_source_whose_target_changes_while_its_job_waits_is_backed_up_as_it_is_now() {
    let slow = Scenario { pending_polls: 1000, ..Scenario::default() };
    let mut other = source("Depots", Scenario::default());
    other.data = Data::first_places(7);
    let mut setup = Setup::of(vec![source("Stores", slow), other]);
    setup.change("sources.depots.schedule", "0 3 1 1 *");
    let first = setup.start(&["backup", "stores"]);
    setup.until_asked(Kind::Status, 2);
    assert_eq!(first.stop(Signal::INT).code, 1);
    setup.change("sources.stores.data_source", "Depots");
    let second = setup.run(&["backup", "stores"]);
    assert_eq!(second.code, 0, "{second:?}");
    let job = setup.job();
    assert_eq!((job["id"].as_i64(), job["attempts"].as_i64()), (Some(1), Some(2)), "{job}");
    assert!(setup.timeline(&job["id"]).contains("target has changed"), "{job}");
    let manifest = setup.manifest();
    assert_eq!((&manifest["data_source"], &manifest["entities"]), (&"Depots".into(), &7.into()));
}
