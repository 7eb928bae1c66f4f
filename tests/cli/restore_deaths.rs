//! The program is killed at every failpoint of a restore, a publication and a rollback. After each
//! kill the job is finished, and the guarantees are checked from outside: what the service
//! publishes, what was posted to it, and what the archive has.

use crate::deaths::OF_RESTORES;
use crate::harness::{Setup, each, read_json};
use nightjar::failpoint::Point;
use nightjar::simulator::{ChangeKind, Data, Scenario};
use serde_json::Value;

/// What is restored, and what a wrong load has published.
const GOOD: u64 = 20;
const WRONG: u64 = 7;

/// How often a point is reached at most by one of these commands, as far as it is tested.
const TIMES: [u32; 6] = [1, 2, 3, 5, 8, 13];

/// The points of backups that a restore reaches too.
const OF_BACKUPS: [Point; 15] = [
    Point::StoreBegin,
    Point::StoreCommit,
    Point::StoreCommitted,
    Point::Submit,
    Point::Submitted,
    Point::Polled,
    Point::Fetch,
    Point::DataWrite,
    Point::DataSync,
    Point::Settle,
    Point::DataName,
    Point::ManifestWrite,
    Point::ManifestSync,
    Point::ManifestName,
    Point::Filed,
];

/// A source with a good snapshot, and a wrong load published since.
fn wrong_load() -> Setup {
    let setup = Setup::with(Scenario::default()).set("http.lost_after", "200ms");
    setup.backup();
    setup.service.set_data("Stores", Data::first_places(WRONG));
    setup
}

fn published(setup: &Setup) -> u64 {
    setup.service.versions("Stores").published.unwrap().data.entities()
}

/// Runs a command that is killed at the point. Whether it was.
fn dies(setup: &Setup, command: &[&str], point: Point, nth: u32) -> bool {
    let mut dying = setup.command(command);
    dying.env("NIGHTJAR_FAILPOINT", format!("{}@{nth}=kill", point.name()));
    let done = setup.start_command(dying).end();
    match done.code {
        -1 => true,
        0 => false,
        _ => panic!("{}@{nth}: {done:?}", point.name()),
    }
}

/// A backup finishes what is left of the restore first, and then makes a snapshot of its own.
fn finish(setup: &Setup, what: &str) {
    let done = setup.run(&["backup", "stores"]);
    assert_eq!(done.code, 0, "{what}: {done:?}");
    let newest = setup.job();
    assert_eq!((&newest["operation"], &newest["state"]), (&"backup".into(), &"archived".into()));
    let entities = read_json(newest["snapshot"].as_str().unwrap().as_ref())["entities"].clone();
    assert_eq!(entities, published(setup), "{what}: it is of what is published then");
}

/// No request of this kind was sent twice for one attempt, and a death costs one attempt at most.
fn assert_attempts(setup: &Setup, deaths: usize) {
    let attempts: u64 = setup.jobs().iter().map(|job| job["attempts"].as_u64().unwrap()).sum();
    let changes = setup.service.changes().into_iter().filter(|change| !change.is_elsewhere);
    let changes: Vec<ChangeKind> = changes.map(|change| change.kind).collect();
    let started = setup.service.remote_jobs().len() + changes.len();
    assert!(started as u64 <= attempts, "{started} remote jobs, {attempts} attempts");
    for kind in &changes {
        let same = changes.iter().filter(|it| *it == kind).count();
        assert!(same <= 1 + deaths, "{kind:?} was started {same} times");
    }
}

/// What the wrong load had published is in the archive as a safety backup.
fn assert_safety(setup: &Setup, point: &str) {
    let manifests = setup.manifests("stores").into_iter().map(|path| read_json(&path));
    let safety: Vec<Value> = manifests.filter(|it| it["safety"] == true).collect();
    assert!(safety.iter().any(|it| it["entities"] == WRONG), "{point}: {safety:?}");
}

fn newest_restore(setup: &Setup) -> Option<Value> {
    setup.jobs().into_iter().find(|job| job["operation"] == "restore")
}

#[test]
fn a_death_at_any_point_of_a_restore_is_made_good() {
    let is_reached = |it: &&Point| ![Point::RollBackSubmit, Point::RollBackSubmitted].contains(it);
    let points = OF_RESTORES.iter().filter(is_reached).chain(&OF_BACKUPS);
    let all: Vec<_> = points.flat_map(|point| TIMES.map(|nth| (*point, nth))).collect();
    for some in all.chunks(6) {
        each(some.iter().copied(), |(point, nth)| {
            let what = format!("{}@{nth}", point.name());
            let setup = wrong_load();
            let restore = ["restore", "stores@1", "--to", "stores", "--publish", "--yes"];
            if !dies(&setup, &restore, point, nth) {
                assert_ne!(nth, 1, "{what} is never reached");
                return;
            }
            let now = published(&setup);
            assert!([GOOD, WRONG].contains(&now), "{what}: {now} entities are published");
            if now == GOOD {
                assert_safety(&setup, &what);
            }
            finish(&setup, &what);
            let Some(job) = newest_restore(&setup) else {
                assert_eq!(published(&setup), WRONG, "{what}: there was no job yet");
                return;
            };
            assert_eq!(job["state"], "archived", "{what}: {}", setup.timeline(&job["id"]));
            assert_eq!(published(&setup), GOOD, "{what}");
            assert_safety(&setup, &what);
            assert_attempts(&setup, 1);
            assert_eq!(setup.run(&["verify"]).code, 0, "{what}");
            let snapshots = setup.json(&["snapshots"]);
            let held = snapshots.as_array().unwrap().iter().find(|it| it["held"] == true);
            assert_eq!(held, None, "{what}: an ended restore holds nothing");
        });
    }
}

#[test]
fn a_death_at_any_point_of_a_publication_or_a_rollback_is_made_good() {
    let publication =
        [Point::RestoreLook, Point::RestoreLooked, Point::PublishSubmit, Point::PublishSubmitted];
    let rollback =
        [Point::RestoreLook, Point::RestoreLooked, Point::RollBackSubmit, Point::RollBackSubmitted];
    let both = [("publish", publication), ("rollback", rollback)];
    let all: Vec<_> = both
        .iter()
        .flat_map(|(command, points)| points.map(|point| (*command, point)))
        .flat_map(|(command, point)| [(command, point, 1), (command, point, 2)])
        .collect();
    for some in all.chunks(6) {
        each(some.iter().copied(), |(command, point, nth)| {
            let what = format!("{command}: {}@{nth}", point.name());
            let setup = wrong_load();
            let mut arguments = vec!["rollback", "stores", "--yes"];
            let staged = match command {
                "publish" => {
                    let done = setup.run(&["restore", "stores@1", "--to", "stores", "--yes"]);
                    assert_eq!(done.code, 0, "{done:?}");
                    setup.service.versions("Stores").staged.unwrap().job_id
                }
                _ => String::new(),
            };
            if command == "publish" {
                arguments = vec!["publish", "stores", &staged, "--yes"];
            }
            if !dies(&setup, &arguments, point, nth) {
                assert_eq!(nth, 2, "{what} is never reached");
                return;
            }
            assert!([GOOD, WRONG].contains(&published(&setup)), "{what}");
            finish(&setup, &what);
            let job = newest_restore(&setup).expect("its job");
            assert_eq!(job["state"], "archived", "{what}: {}", setup.timeline(&job["id"]));
            assert_eq!(published(&setup), GOOD, "{what}");
            assert_attempts(&setup, 1);
            let older = setup.service.versions("Stores").older;
            assert_eq!(older[0].data.entities(), WRONG, "{what}: it can be had back");
        });
    }
}
