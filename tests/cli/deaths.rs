//! The program is killed at every failpoint of a job, and at random times. After each kill it is
//! restarted, and the guarantees are checked from outside: the jobs, the archive, and the requests
//! that the service received.
//!
//! `NIGHTJAR_KILLS=500 cargo test --test cli random_times` is the long version.

use crate::harness::{Setup, each, source, until};
use nightjar::failpoint::Point;
use nightjar::simulator::{Data, Scenario};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Checks the guarantees after any number of kills, once a backup has succeeded again. Each of the
/// `deaths` may have cost one remote job.
fn assert_guarantees(setup: &Setup, deaths: usize) {
    let jobs = setup.jobs();
    let number = |job: &Value, field: &str| usize::try_from(job[field].as_u64().unwrap()).unwrap();
    for job in &jobs {
        let state = job["state"].as_str().unwrap();
        assert!(matches!(state, "archived" | "failed" | "cancelled"), "{job}");
        assert!(number(job, "attempts") <= 3, "{job}");
        if state == "archived" {
            assert!(std::fs::metadata(job["snapshot"].as_str().unwrap()).is_ok(), "{job}");
        }
    }
    let times: Vec<_> = jobs.iter().filter_map(|job| job["scheduled_for"].as_str()).collect();
    let per_source: BTreeSet<_> =
        jobs.iter().map(|job| (job["source"].as_str(), job["scheduled_for"].as_str())).collect();
    let by_hand = jobs.len() - times.len();
    assert!(per_source.len() >= times.len(), "a time has two jobs: {jobs:?} ({by_hand} by hand)");
    let attempts: usize = jobs.iter().map(|job| number(job, "attempts")).sum();
    let remote = setup.service.remote_jobs().len();
    assert!(remote <= attempts, "{remote} remote jobs, {attempts} are known");
    assert!(remote <= jobs.len() + deaths, "{remote} remote jobs for {} jobs", jobs.len());
    let verified = setup.run(&["verify", "--json"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let archived = jobs.iter().filter(|job| job["state"] == "archived").count();
    let snapshots = setup.json(&["snapshots"]).as_array().unwrap().len();
    assert_eq!(snapshots, archived, "a snapshot for each archived job");
}

/// Prepares a setup that reaches this failpoint, and kills the process there.
fn dies_at(point: Point, nth: u32) -> Option<Setup> {
    let corrupt = Data::first_places(20).edited(|text| text.replace("</MainRoot>", ""));
    let setup = match point {
        Point::Aside => {
            Setup::with(Scenario { next_documents: vec![corrupt], ..Scenario::default() })
        }
        _ => Setup::healthy(),
    };
    let setup = setup.set("retention.keep_last", 1).set("retention.keep_daily", 0);
    let setup = setup.set("retention.keep_weekly", 0).set("retention.keep_monthly", 0);
    let mut setup = setup.set("retention.keep_yearly", 0);
    let command = match point {
        Point::DataLink => {
            setup.backup();
            &["backup"][..]
        }
        Point::PruneManifest | Point::PruneData => {
            for _ in 0..3 {
                setup.backup();
            }
            &["prune"]
        }
        _ => &["backup"],
    };
    setup.change("poll.max", "30ms");
    let mut dying = setup.command(command);
    dying.env("NIGHTJAR_FAILPOINT", format!("{}@{nth}=kill", point.name()));
    let done = setup.start_command(dying).end();
    match done.code {
        -1 => Some(setup),
        0 => None,
        _ => panic!("{}: {done:?}", point.name()),
    }
}

/// The failpoints that only restores, publications and rollbacks reach.
pub(crate) const OF_RESTORES: [Point; 12] = [
    Point::RestoreChecked,
    Point::RestoreLook,
    Point::RestoreLooked,
    Point::LoadSubmit,
    Point::LoadSubmitted,
    Point::VerifyCompared,
    Point::PublishSubmit,
    Point::PublishSubmitted,
    Point::RollBackSubmit,
    Point::RollBackSubmitted,
    Point::HoldSet,
    Point::HoldRelease,
];

#[test]
fn a_death_at_any_point_loses_nothing() {
    let of_backups = Point::ALL.iter().filter(|point| !OF_RESTORES.contains(point));
    let all = of_backups.flat_map(|point| [(*point, 1), (*point, 2)]);
    // Four at a time: each is a few processes.
    let all: Vec<_> = all.collect();
    for some in all.chunks(6) {
        each(some.iter().copied(), |(point, nth)| {
            let Some(setup) = dies_at(point, nth) else {
                // The failpoint may not be reached a second time.
                assert_eq!(nth, 2, "{} is never reached", point.name());
                return;
            };
            let command = match point {
                Point::PruneManifest | Point::PruneData => "prune",
                _ => "backup",
            };
            let done = setup.run(&[command]);
            assert_eq!(done.code, 0, "after a death at {}: {done:?}", point.name());
            if command == "backup" {
                assert_guarantees(&setup, 1);
            } else {
                assert_eq!(setup.run(&["verify"]).code, 0);
                assert_eq!(setup.manifests("stores").len(), 1);
            }
        });
    }
}

#[test]
fn a_job_whose_daemon_dies_is_finished_by_the_backup_that_follows_it() {
    let points =
        [Point::Submitted, Point::Polled, Point::DataName, Point::Filed, Point::StoreCommit];
    each(points, |point| {
        let setup = Setup::healthy();
        let mut daemon = setup.command(&["daemon"]);
        let nth = if point == Point::StoreCommit { 6 } else { 1 };
        daemon.env("NIGHTJAR_FAILPOINT", format!("{}@{nth}=kill", point.name()));
        let mut daemon = setup.start_command(daemon);
        until("a daemon", || {
            std::fs::read_to_string(setup.path("state/daemon.lock"))
                .ok()
                .filter(|it| !it.is_empty())
        });
        let backup = setup.run(&["backup"]);
        assert_eq!(backup.code, 0, "{}: {backup:?}", point.name());
        until("the daemon's death, or its rest", || {
            let rests = setup.jobs().iter().all(|job| job["state"] == "archived");
            (!daemon.is_running() || rests).then_some(())
        });
        drop(daemon);
        assert_guarantees(&setup, 1);
    });
}

#[test]
fn deaths_at_random_times_lose_nothing() {
    #[expect(clippy::disallowed_methods, reason = "the size of a campaign")]
    let kills: u64 = std::env::var("NIGHTJAR_KILLS").map_or(16, |text| text.parse().unwrap());
    let setup = Setup::of(vec![
        source("Stores", Scenario::default()),
        source("Depots", Scenario { pending_polls: 4, ..Scenario::default() }),
    ]);
    let setup = setup
        .set("sources.stores.schedule", "* * * * * *")
        .set("sources.depots.schedule", "*/2 * * * * *")
        .set("accounts.contoso.max_in_process", 1000)
        .set("accounts.contoso.max_jobs_per_day", 100_000)
        .set("retention.keep_last", 1_000_000);
    setup.service.set_limits(nightjar::simulator::AccountLimits {
        max_in_process: 1_000_000,
        max_per_day: 1_000_000,
        ..nightjar::simulator::AccountLimits::default()
    });
    let mut random = fastrand::Rng::with_seed(7);
    for kill in 0..kills {
        let daemon = setup.start(&["daemon"]);
        // One in four may die during its start; the others reach their work on a slow machine too.
        if kill % 4 != 0 {
            until("a daemon that works", || daemon.stderr().contains("is ready").then_some(()));
        }
        pause(Duration::from_millis(random.u64(5..700)));
        daemon.kill();
    }
    let before = setup.jobs().first().and_then(|job| job["id"].as_u64());
    let daemon = setup.start(&["daemon"]);
    until("a job after all of that", || {
        let jobs = setup.jobs();
        let newest = jobs.iter().find(|job| job["state"] == "archived")?;
        (newest["id"].as_u64() > before).then_some(())
    });
    daemon.stop(Signal::TERM);
    let done = setup.run(&["backup"]);
    assert_eq!(done.code, 0, "{done:?}");
    let all = setup.json(&["jobs", "--limit", "100000"]);
    let all = all.as_array().unwrap();
    let mut times = BTreeSet::new();
    for job in all.iter().filter(|job| !job["scheduled_for"].is_null()) {
        let time = (job["source"].to_string(), job["scheduled_for"].to_string());
        assert!(times.insert(time), "a scheduled time has two jobs: {job}");
        assert_eq!(job["state"], "archived", "{job}");
    }
    let attempts: u64 = all.iter().map(|job| job["attempts"].as_u64().unwrap()).sum();
    let remote = setup.service.remote_jobs().len() as u64;
    assert!(remote <= attempts, "{remote} remote jobs, {attempts} are known");
    assert!(remote <= all.len() as u64 + kills, "a death costs one remote job at most");
    let verified = setup.run(&["verify", "--json"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[expect(clippy::disallowed_methods, reason = "a process is killed after a while")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
