//! Nights in which the service has nothing new.

use super::*;
use crate::manifest::PublishedVersion;
use crate::report::{Health, Reporter};
use crate::simulator::{Changes, LoadOperation};

struct Nights {
    machine: Machine,
    engine: Engine,
    store: Store,
    settings: Settings,
}

impl Nights {
    /// A machine whose source exports what has changed, and everything at least once a week.
    async fn new() -> Nights {
        let mut machine = Machine::new(Scenario::default()).await;
        let (engine, store) = machine.start().await;
        let mut settings = machine.settings();
        settings.sources[0].skip_unchanged = Some(Duration::from_hours(7 * 24));
        engine.set_config(machine.config(&settings));
        machine.simulator.load_elsewhere("One", LoadOperation::Complete, Data::first_places(7));
        Nights { machine, engine, store, settings }
    }

    /// A backup, a day after the one before.
    async fn night(&self) -> Job {
        self.machine.mock.advance(TimeDelta::days(1));
        self.store.job_for(by_hand(), self.machine.clock.now()).await.unwrap();
        self.machine.until_quiet(&self.engine, &self.store).await
    }

    /// The words of a job's timeline. The schedule's own times may come while it is live.
    async fn timeline(&self, job: &Job) -> Vec<String> {
        let kinds = kinds(&self.store, job.id).await;
        kinds.into_iter().filter(|kind| kind != "skipped").collect()
    }

    fn exports(&self) -> usize {
        self.machine.simulator.count(Kind::Create)
    }

    async fn status(&self) -> (Health, Option<DateTime<Utc>>) {
        let archive = self.engine.shared.archive.clone();
        let reporter = Reporter::new(Some(self.store.clone()), archive);
        let now = self.machine.clock.now();
        let status = reporter.sources(&self.settings, now).await.unwrap().remove(0);
        (status.health, status.last_success)
    }

    fn version_of(&self, job: &Job) -> Option<PublishedVersion> {
        let snapshots = self.engine.shared.archive.snapshots("one").unwrap();
        let found = snapshots.filter(|it| Some(&it.path) == job.snapshot.as_ref());
        found.last().unwrap().manifest.published_version
    }
}

#[tokio::test]
async fn a_night_without_a_change_costs_no_export_and_is_a_success() {
    let nights = Nights::new().await;
    let first = nights.night().await;
    assert_eq!((first.state, first.attempts), (State::Archived, 1));
    assert!(nights.version_of(&first).is_some());
    for _ in 0..6 {
        let job = nights.night().await;
        assert_eq!((job.state, job.attempts, job.polls), (State::Archived, 0, 0));
        assert_eq!(job.snapshot, first.snapshot);
        assert_eq!(nights.timeline(&job).await, ["queued", "unchanged"]);
        assert_eq!(nights.status().await, (Health::Ok, job.finished_at));
    }
    assert_eq!(nights.exports(), 1);
    assert_eq!(
        nights.store.quota_used("contoso", nights.machine.clock.now()).await.unwrap(),
        (0, 0)
    );
    // A week after the last export there is another one, and then a quiet night again.
    let whole = nights.night().await;
    assert_eq!((whole.state, whole.attempts), (State::Archived, 1));
    assert_ne!(whole.snapshot, first.snapshot);
    assert_eq!(nights.night().await.attempts, 0);
    assert_eq!(nights.exports(), 2);
}

#[tokio::test]
async fn another_version_is_exported_even_with_equal_content() {
    let nights = Nights::new().await;
    let first = nights.night().await;
    let simulator = &nights.machine.simulator;
    simulator.load_elsewhere("One", LoadOperation::Complete, Data::first_places(7));
    let second = nights.night().await;
    assert_eq!((second.attempts, nights.exports()), (1, 2));
    assert_ne!(nights.version_of(&first), nights.version_of(&second));
    // A staged version changes nothing.
    simulator.load_elsewhere("One", LoadOperation::CompleteStaging, Data::first_places(9));
    assert_eq!(nights.night().await.attempts, 0);
}

#[tokio::test]
async fn whatever_is_not_known_is_exported() {
    let nights = Nights::new().await;
    let simulator = &nights.machine.simulator;
    let failing = || {
        let changes = Changes { versions: vec![Fault::http(503)], ..Changes::default() };
        Scenario { changes, ..Scenario::default() }
    };
    simulator.set_scenario("One", failing());
    let unknown = nights.night().await;
    // What was published before the export is not known.
    assert_eq!((unknown.state, nights.version_of(&unknown)), (State::Archived, None));
    let timeline = nights.timeline(&unknown).await;
    assert_eq!(timeline, ["queued", "note", "submitted", "completed", "archived"]);
    let known = nights.night().await;
    assert!(known.attempts == 1 && nights.version_of(&known).is_some());
    assert_eq!(nights.night().await.attempts, 0);
    simulator.set_scenario("One", failing());
    assert_eq!(nights.night().await.attempts, 1);
    // Its data is damaged: nothing stands for it.
    let newest = nights.engine.shared.archive.newest("one").unwrap().unwrap();
    std::fs::write(newest.data(), "").unwrap();
    assert_eq!(nights.night().await.attempts, 1);
    assert_eq!(nights.night().await.attempts, 0);
    let newest = nights.engine.shared.archive.newest("one").unwrap().unwrap();
    let mut data = std::fs::read(newest.data()).unwrap();
    data[100] ^= 1;
    std::fs::write(newest.data(), data).unwrap();
    assert_eq!(nights.night().await.attempts, 1);
}

#[tokio::test]
async fn a_version_that_is_published_during_the_export_is_not_taken_for_its_origin() {
    let nights = Nights::new().await;
    let stays = Scenario { pending_polls: 3, ..Scenario::default() };
    nights.machine.simulator.set_scenario("One", stays);
    nights.machine.mock.advance(TimeDelta::days(1));
    nights.store.job_for(by_hand(), nights.machine.clock.now()).await.unwrap();
    while nights.exports() == 0 {
        nights.engine.tick().await.unwrap();
    }
    nights.machine.simulator.load_elsewhere("One", LoadOperation::Complete, Data::first_places(8));
    let job = nights.machine.until_quiet(&nights.engine, &nights.store).await;
    assert_eq!((job.state, nights.version_of(&job)), (State::Archived, None));
    assert_eq!(nights.night().await.attempts, 1);
}

#[tokio::test]
async fn a_restart_during_the_export_only_loses_where_it_came_from() {
    let mut nights = Nights::new().await;
    nights.machine.mock.advance(TimeDelta::days(1));
    nights.store.job_for(by_hand(), nights.machine.clock.now()).await.unwrap();
    while nights.exports() == 0 {
        nights.engine.tick().await.unwrap();
    }
    nights.store.release_all(&nights.engine.shared.worker.name, &[]).await.unwrap();
    let (engine, store) = nights.machine.start().await;
    engine.set_config(nights.machine.config(&nights.settings));
    (nights.engine, nights.store) = (engine, store);
    let job = nights.machine.until_quiet(&nights.engine, &nights.store).await;
    assert_eq!((job.state, nights.version_of(&job)), (State::Archived, None));
    assert_eq!(nights.night().await.attempts, 1);
    assert_eq!(nights.night().await.attempts, 0);
}

#[tokio::test]
async fn a_suspicious_snapshot_stands_for_nothing() {
    let nights = Nights::new().await;
    nights.night().await;
    nights.machine.simulator.load_elsewhere("One", LoadOperation::Complete, Data::first_places(2));
    let shrunk = nights.night().await;
    assert!(nights.version_of(&shrunk).is_some());
    let newest = nights.engine.shared.archive.newest("one").unwrap().unwrap();
    assert_ne!(newest.manifest.suspicious, Vec::<String>::new());
    assert_eq!(nights.night().await.attempts, 1);
}
