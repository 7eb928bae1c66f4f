//! Restores against the simulated service, which lies, loses answers and has other users.

use super::*;
use crate::engine::in_flight::StepHandle;
use crate::failpoint::{self, Point};
use crate::job::{ErrorKind, Goal, Restore, RestoredSnapshot, Stage, VersionState};
use crate::manifest::Role;
use crate::recovery::{Check, Recovery};
use crate::simulator::{Changes, LoadOperation, Versions};
use crate::store::Creation;

/// What the source had when it was backed up, and what another user published since.
pub(super) fn good() -> Data {
    Data::first_places(20)
}

pub(super) fn wrong() -> Data {
    Data::first_places(5)
}

/// A machine with one snapshot of good data, whose source publishes wrong data now.
pub(super) struct Morning {
    pub(super) machine: Machine,
    engine: Engine,
    store: Store,
    pub(super) snapshot: crate::archive::Snapshot,
}

impl Morning {
    pub(super) async fn new() -> Morning {
        let quick = Scenario { pending_polls: 0, ..Scenario::default() };
        let mut machine = Machine::new(quick).await;
        let (engine, store) = machine.start().await;
        store.job_for(by_hand(), night()).await.unwrap();
        let job = machine.until_quiet(&engine, &store).await;
        assert_eq!(job.state, State::Archived, "{job:?}");
        let archive = engine.shared.archive.clone();
        let snapshot = archive.newest("one").unwrap().unwrap();
        machine.simulator.set_data("One", wrong());
        machine.mock.advance(TimeDelta::minutes(1));
        Morning { machine, engine, store, snapshot }
    }

    pub(super) fn service(&self, changes: Changes) {
        let scenario = Scenario { pending_polls: 0, changes, ..Scenario::default() };
        self.machine.simulator.set_scenario("One", scenario);
    }

    pub(super) fn restore(&self) -> Restore {
        let settings = self.machine.settings();
        let manifest = &self.snapshot.manifest;
        Restore {
            snapshot: Some(RestoredSnapshot {
                manifest: self.snapshot.path.clone(),
                source: manifest.source.clone(),
                sha256: manifest.content.sha256.clone(),
                bytes: manifest.content.bytes,
                entities: manifest.entities,
            }),
            publish: true,
            ..Restore::new(Goal::Load, settings.requested(&settings.sources[0]))
        }
    }

    async fn create(&self, restore: Restore) -> Job {
        let now = self.machine.clock.now();
        match self.store.create_restore(by_hand(), restore, now).await.unwrap() {
            Creation::Created(job) => *job,
            Creation::Busy(job) => panic!("{job:?}"),
        }
    }

    /// The job once it has ended.
    pub(super) async fn run(&self, restore: Restore) -> Job {
        let id = self.create(restore).await.id;
        self.machine.until_quiet(&self.engine, &self.store).await;
        let job = self.store.job(id).await.unwrap().unwrap();
        assert!(job.state.is_final(), "{job:?}");
        job
    }

    /// Goes on until the job is in this stage.
    async fn until_stage(&self, id: i64, stage: Stage) {
        for _ in 0..100 {
            let job = self.store.job(id).await.unwrap().unwrap();
            if job.stage() == stage {
                return;
            }
            self.machine.mock.set(job.due_at.max(self.machine.clock.now()));
            self.engine.tick().await.unwrap();
        }
        panic!("job {id} never comes to {stage}");
    }

    pub(super) fn versions(&self) -> Versions {
        self.machine.simulator.versions("One")
    }

    fn publishes(&self, data: &Data) -> bool {
        self.versions().published.is_some_and(|it| it.data.document() == data.document())
    }

    pub(super) fn posts(&self, kind: Kind) -> usize {
        self.machine.simulator.count(kind)
    }

    fn archive(&self) -> Archive {
        self.engine.shared.archive.clone()
    }

    pub(super) fn is_held(&self, manifest: &Path) -> bool {
        let name = manifest.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        self.archive().hold_of("one", name).is_some()
    }

    pub(super) async fn timeline(&self, job: &Job) -> Vec<String> {
        let timeline = self.store.timeline(job.id).await.unwrap();
        timeline.into_iter().map(|it| format!("{}: {}", it.kind, it.message)).collect()
    }
}

pub(super) fn error_of(job: &Job) -> Option<ErrorKind> {
    job.error.as_ref().map(|error| error.kind)
}

#[tokio::test]
async fn a_restore_backs_up_loads_compares_and_publishes_the_exact_bytes() {
    let morning = Morning::new().await;
    let job = morning.run(morning.restore()).await;
    assert_eq!(job.state, State::Archived, "{:?}", morning.timeline(&job).await);
    assert!(morning.publishes(&good()));
    assert_eq!((morning.posts(Kind::Load), morning.posts(Kind::Commit)), (1, 1));
    let loads = morning.machine.simulator.changes();
    let load = loads.iter().find(|it| !it.body.is_empty() && !it.is_elsewhere).unwrap();
    assert_eq!(load.body, good().document());
    // What was published before is a snapshot with a role of its own, and nothing is held any more.
    let safety = job.snapshot.clone().unwrap();
    let safety = morning.archive().select(safety.to_str().unwrap()).unwrap();
    assert_eq!((safety.manifest.role, safety.manifest.entities), (Role::Safety, 5));
    assert!(!morning.is_held(&safety.path) && !morning.is_held(&morning.snapshot.path));
    assert_eq!(morning.archive().newest("one").unwrap().unwrap().path, morning.snapshot.path);
    let kinds = kinds(&morning.store, job.id).await;
    for kind in ["queued", "checked", "safety", "looked", "verified", "restored"] {
        assert!(kinds.iter().any(|it| it == kind), "{kind}: {kinds:?}");
    }
    assert_eq!(kinds.last().unwrap(), "restored");
    // Four remote jobs: two exports, a load, a publication.
    assert_eq!(job.attempts, 4);
    assert_eq!(
        morning.store.quota_used("contoso", morning.machine.clock.now()).await.unwrap().0,
        0
    );
}

#[tokio::test]
async fn without_publish_it_stays_staged_and_can_be_published_and_rolled_back_later() {
    let morning = Morning::new().await;
    let restore = Restore { publish: false, ..morning.restore() };
    let job = morning.run(restore).await;
    assert_eq!(job.state, State::Archived);
    assert!(morning.publishes(&wrong()));
    let version = job.restore.as_ref().unwrap().version.clone().unwrap();
    assert_eq!(morning.versions().staged.unwrap().job_id, version);
    let last = morning.timeline(&job).await.pop().unwrap();
    assert!(last.ends_with(&format!("`nightjar publish one {version}` publishes it")), "{last}");
    let destination = morning.restore().destination;
    let goal = |goal, version| Restore { version, ..Restore::new(goal, destination.clone()) };
    let other = morning.run(goal(Goal::Publish, Some("another".into()))).await;
    assert_eq!(error_of(&other), Some(ErrorKind::Rejected));
    let before = morning.versions().published.unwrap().job_id;
    let published = morning.run(goal(Goal::Publish, Some(version.clone()))).await;
    assert_eq!(published.state, State::Archived, "{:?}", morning.timeline(&published).await);
    assert!(morning.publishes(&good()));
    assert_eq!((published.snapshot, published.attempts), (None, 1));
    let back = morning.run(goal(Goal::RollBack, Some(before.clone()))).await;
    assert_eq!(back.state, State::Archived, "{:?}", morning.timeline(&back).await);
    assert!(morning.publishes(&wrong()));
    let restore = back.restore.unwrap();
    assert_eq!((restore.version, restore.published_before), (Some(before), Some(version)));
}

#[tokio::test]
async fn chosen_entities_are_loaded_beside_what_is_published() {
    let morning = Morning::new().await;
    let reader = |data: Data| {
        let document = data.document();
        let limits = crate::dataset::DocumentLimits::default();
        let mut reader = crate::dataset::Reader::open(&document[..], &limits).unwrap();
        let mut keys = Vec::new();
        while let Some(entity) = reader.next_entity().unwrap() {
            keys.push(entity.key().unwrap().to_owned());
        }
        keys
    };
    let keys = reader(good());
    let only = vec![keys[3].clone(), keys[17].clone()];
    let job = morning.run(Restore { only: only.clone(), ..morning.restore() }).await;
    assert_eq!(job.state, State::Archived, "{:?}", morning.timeline(&job).await);
    let mut expected = reader(wrong());
    expected.push(keys[17].clone());
    let published = morning.versions().published.unwrap().data;
    let mut found = reader(published);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let loads = morning.machine.simulator.changes();
    let load = loads.iter().find(|it| !it.body.is_empty() && !it.is_elsewhere).unwrap();
    assert_eq!(reader(Data::raw(load.body.clone())), only);
    let bare = Restore { only, safety: false, publish: true, verify: true, ..morning.restore() };
    let job = morning.run(bare).await;
    assert_eq!(job.state, State::Failed);
    let message = job.error.unwrap().message;
    assert!(message.contains("published without being compared"), "{message}");
    let unknown = Restore { only: vec!["no such key".into()], ..morning.restore() };
    let job = morning.run(unknown).await;
    assert_eq!((error_of(&job), job.attempts), (Some(ErrorKind::Corrupt), 0));
}

#[tokio::test]
async fn a_damaged_or_removed_snapshot_is_never_sent() {
    for is_removed in [false, true] {
        let morning = Morning::new().await;
        let data = morning.snapshot.data();
        if is_removed {
            std::fs::remove_file(&data).unwrap();
        } else {
            let mut bytes = std::fs::read(&data).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&data, bytes).unwrap();
        }
        let job = morning.run(morning.restore()).await;
        assert_eq!(error_of(&job), Some(ErrorKind::Corrupt));
        assert_eq!((morning.posts(Kind::Load), job.attempts), (0, 0));
    }
}

#[tokio::test]
async fn a_destination_that_publishes_nothing_needs_no_safety_backup() {
    let morning = Morning::new().await;
    morning.machine.simulator.delete_source("One");
    let job = morning.run(morning.restore()).await;
    assert_eq!(error_of(&job), Some(ErrorKind::NotFound));
    assert!(job.error.unwrap().message.contains("--no-safety"));
    assert_eq!(morning.posts(Kind::Load), 0);
    let job = morning.run(Restore { safety: false, ..morning.restore() }).await;
    assert_eq!(job.state, State::Archived, "{:?}", morning.timeline(&job).await);
    assert!(morning.publishes(&good()));
    assert_eq!(job.snapshot, None);
}

#[tokio::test]
async fn a_lost_load_is_compared_even_where_no_comparison_was_asked_for() {
    let morning = Morning::new().await;
    morning.service(Changes { load: vec![Fault::LostAnswer], ..Changes::default() });
    let job = morning.run(Restore { verify: false, ..morning.restore() }).await;
    assert_eq!(job.state, State::Archived);
    assert!(kinds(&morning.store, job.id).await.iter().any(|kind| kind == "verified"));
    let job = morning.run(Restore { verify: false, ..morning.restore() }).await;
    assert!(kinds(&morning.store, job.id).await.iter().all(|kind| kind != "verified"));
    let timeline = morning.timeline(&job).await;
    assert!(timeline.iter().any(|line| line.contains("not compared, as was asked for")));
}

#[tokio::test]
async fn a_restore_ends_when_its_destination_changes_in_the_configuration() {
    let morning = Morning::new().await;
    let job = morning.create(morning.restore()).await;
    for _ in 0..3 {
        morning.engine.tick().await.unwrap();
        morning.machine.mock.advance(TimeDelta::minutes(1));
    }
    let mut config = (*morning.engine.config()).clone();
    config.settings.sources[0].target = data_source("Two");
    morning.engine.set_config(config);
    morning.machine.until_quiet(&morning.engine, &morning.store).await;
    let job = morning.store.job(job.id).await.unwrap().unwrap();
    assert_eq!(error_of(&job), Some(ErrorKind::Rejected));
    let two = morning.machine.simulator.versions("Two");
    assert!(two.staged.is_none() && morning.posts(Kind::Load) == 0);
}

#[tokio::test]
async fn a_backup_whose_target_changes_begins_again_and_files_nothing_under_a_wrong_name() {
    let mut machine = Machine::new(Scenario { pending_polls: 3, ..Scenario::default() }).await;
    machine.extra = "[retry]\njob_attempts = 1".to_owned();
    machine.simulator.set_data("Two", wrong());
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    assert_eq!(newest(&store).await.state, State::Waiting);
    let mut config = (*engine.config()).clone();
    config.settings.sources[0].target = data_source("Two");
    config.settings.retry.job_attempts = 3;
    config.settings.accounts.get_mut("contoso").unwrap().max_in_process = 2;
    engine.set_config(config);
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!((job.state, job.attempts), (State::Archived, 2));
    let snapshot = engine.shared.archive.newest("one").unwrap().unwrap();
    assert_eq!(snapshot.manifest.origin.name(), "Two");
    assert_eq!(snapshot.manifest.entities, 5);
}

#[tokio::test]
async fn a_cancelled_restore_keeps_its_safety_backup_held_and_releases_its_snapshot() {
    let morning = Morning::new().await;
    let id = morning.create(morning.restore()).await.id;
    morning.until_stage(id, Stage::Verify).await;
    assert!(morning.is_held(&morning.snapshot.path));
    let now = morning.machine.clock.now();
    assert_eq!(morning.store.cancel(id, now).await.unwrap(), crate::store::Cancelled::Now);
    // The next daemon releases what the process that cancelled it could not.
    let mut ticking = morning.engine.ticking().await.unwrap();
    ticking.sweep_now().await.unwrap();
    let job = morning.store.job(id).await.unwrap().unwrap();
    assert!(!morning.is_held(&morning.snapshot.path));
    assert!(morning.is_held(&job.snapshot.clone().unwrap()));
    assert!(morning.publishes(&wrong()));
    let timeline = morning.timeline(&job).await;
    assert!(timeline.iter().any(|line| line.contains("stays staged; nothing was published")));
}

#[tokio::test]
async fn a_restore_that_ended_after_the_database_s_copy_sends_nothing_when_that_is_used() {
    let morning = Morning::new().await;
    let id = morning.create(morning.restore()).await.id;
    morning.until_stage(id, Stage::Verify).await;
    morning.store.keep_copy(morning.machine.clock.now()).await.unwrap();
    morning.machine.until_quiet(&morning.engine, &morning.store).await;
    assert_eq!(morning.store.job(id).await.unwrap().unwrap().state, State::Archived);
    let Morning { mut machine, engine, store, snapshot } = morning;
    drop(engine);
    store.close().await;
    // Another user has published something else since.
    machine.simulator.set_data("One", wrong());
    let settings = machine.settings();
    for end in ["", "-wal", "-shm"] {
        let file = settings.state_dir.join(format!("{}{end}", crate::store::FILE));
        assert!(std::fs::remove_file(&file).is_ok() || !end.is_empty());
    }
    let count = |machine: &Machine| {
        [Kind::Create, Kind::Load, Kind::Commit].map(|it| machine.simulator.count(it))
    };
    let before = count(&machine);
    let recovery = Recovery::new(&settings, machine.clock.clone());
    recovery.open(Check::Quick, None).await.unwrap().close().await;
    let (engine, store) = machine.start().await;
    machine.until_quiet(&engine, &store).await;
    let morning = Morning { machine, engine, store, snapshot };
    let job = morning.store.job(id).await.unwrap().unwrap();
    assert_eq!((job.state, error_of(&job)), (State::Failed, Some(ErrorKind::Storage)));
    assert_eq!(count(&morning.machine), before, "nothing was asked for again");
    assert!(morning.publishes(&wrong()));
    assert!(!morning.is_held(&morning.snapshot.path));
}

#[tokio::test]
async fn a_snapshot_that_another_restore_needs_stays_held_for_that_one() {
    let morning = Morning::new().await;
    let now = morning.machine.clock.now();
    let elsewhere = NewJob { source: "elsewhere".into(), ..by_hand() };
    let other = morning.store.create_restore(elsewhere, morning.restore(), now).await.unwrap();
    let Creation::Created(other) = other else { panic!("{other:?}") };
    let id = morning.create(morning.restore()).await.id;
    let mut job = morning.store.job(id).await.unwrap().unwrap();
    for _ in 0..100 {
        morning.machine.mock.set(job.due_at.max(morning.machine.clock.now()));
        morning.engine.tick().await.unwrap();
        job = morning.store.job(id).await.unwrap().unwrap();
        if job.state.is_final() {
            break;
        }
    }
    assert_eq!(job.state, State::Archived, "{:?}", morning.timeline(&job).await);
    let name = morning.snapshot.manifest.name();
    let hold = morning.archive().hold_of("one", name).unwrap();
    assert_eq!(hold.reason, crate::job::hold_of_restored(&other).unwrap().reason);
    morning.store.cancel(other.id, now).await.unwrap();
    morning.engine.release_holds().await;
    assert!(!morning.is_held(&morning.snapshot.path));
}

#[tokio::test]
async fn a_hold_that_comes_after_the_end_of_its_restore_is_released_again() {
    let morning = Morning::new().await;
    let job = morning.create(morning.restore()).await;
    morning.store.cancel(job.id, morning.machine.clock.now()).await.unwrap();
    morning.engine.release_holds().await;
    assert_eq!(morning.store.unreleased().await.unwrap(), []);
    morning.engine.hold_restored(&job).await.unwrap();
    assert!(!morning.is_held(&morning.snapshot.path));
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "a folder is away as if its disk were not mounted")]
async fn an_archive_that_is_away_makes_a_restore_wait_and_does_not_fail_it() {
    let morning = Morning::new().await;
    let id = morning.create(morning.restore()).await.id;
    let folder = morning.archive().folder("one");
    let away = folder.with_file_name("away");
    std::fs::rename(&folder, &away).unwrap();
    morning.engine.tick().await.unwrap();
    let job = morning.store.job(id).await.unwrap().unwrap();
    assert_eq!(job.waiting.map(|wait| wait.why), Some(crate::job::WaitReason::Storage));
    std::fs::rename(&away, &folder).unwrap();
    morning.machine.until_quiet(&morning.engine, &morning.store).await;
    let job = morning.store.job(id).await.unwrap().unwrap();
    assert_eq!(job.state, State::Archived, "{:?}", morning.timeline(&job).await);
}

#[tokio::test]
async fn a_stop_before_a_load_is_sent_takes_its_intent_back() {
    let morning = Morning::new().await;
    let id = morning.create(morning.restore()).await.id;
    morning.until_stage(id, Stage::BeforeLoad).await;
    let engine = &morning.engine;
    let before = morning.store.job(id).await.unwrap().unwrap();
    morning.machine.mock.set(before.due_at.max(morning.machine.clock.now()));
    let next = async || {
        let now = morning.machine.clock.now();
        morning.store.claim(claim(engine), now).await.unwrap().jobs.pop().unwrap()
    };
    let looks = next().await;
    engine.work(&engine.config(), looks, &StepHandle::default()).await.unwrap();
    let sends = next().await;
    assert_eq!((sends.stage(), sends.is_submitting()), (Stage::Load, true));
    let stopped = StepHandle::default();
    stopped.cancel.cancel();
    engine.work(&engine.config(), sends, &stopped).await.unwrap();
    let job = morning.store.job(id).await.unwrap().unwrap();
    assert_eq!((job.stage(), job.state), (Stage::BeforeLoad, State::Queued));
    assert_eq!((job.attempts, job.failures, job.remote.as_ref()), (before.attempts, 0, None));
    assert_eq!(job.restore.as_ref().unwrap().unsettled, None);
    assert_eq!(morning.posts(Kind::Load), 0);
    morning.machine.until_quiet(engine, &morning.store).await;
    assert_eq!((morning.posts(Kind::Load), morning.publishes(&good())), (1, true));
}

#[tokio::test]
async fn a_user_s_hold_stays_and_a_restore_s_own_is_there_before_anything_is_sent() {
    let morning = Morning::new().await;
    let name = morning.snapshot.manifest.name();
    let hold = crate::archive::Hold { reason: "mine".into(), since: night() };
    morning.archive().hold("one", name, &hold).unwrap();
    let job = morning.run(morning.restore()).await;
    assert_eq!(job.state, State::Archived);
    assert_eq!(morning.archive().hold_of("one", name).unwrap().reason, "mine");
}

/// Deaths at the points of a restore: the next process goes on, nothing is sent twice for one
/// attempt, and in the end the snapshot is what is published.
#[tokio::test]
async fn a_restore_survives_a_death_between_any_two_steps() {
    for point in [
        Point::RestoreChecked,
        Point::Submit,
        Point::Submitted,
        Point::Polled,
        Point::Fetch,
        Point::Settle,
        Point::RestoreLook,
        Point::RestoreLooked,
        Point::LoadSubmit,
        Point::LoadSubmitted,
        Point::VerifyCompared,
        Point::PublishSubmit,
        Point::PublishSubmitted,
    ] {
        let morning = Morning::new().await;
        let id = morning.create(morning.restore()).await.id;
        let folder = morning.machine.folder.path().to_owned();
        let dead = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let watching = {
            let dead = Arc::clone(&dead);
            failpoint::watch(&folder, move |at, _| {
                match at == point && !dead.swap(true, Ordering::SeqCst) {
                    true => Err(std::io::Error::other("dead")),
                    false => Ok(()),
                }
            })
        };
        for _ in 0..60 {
            morning.engine.tick().await.unwrap();
            if dead.load(Ordering::SeqCst) {
                break;
            }
            let due = morning.store.job(id).await.unwrap().unwrap().due_at;
            morning.machine.mock.set(due.max(morning.machine.clock.now()));
        }
        assert!(dead.load(Ordering::SeqCst), "{point:?} is never reached");
        drop(watching);
        let Morning { mut machine, engine, store, snapshot } = morning;
        drop((engine, store));
        let (engine, store) = machine.start().await;
        let morning = Morning { machine, engine, store, snapshot };
        morning.machine.until_quiet(&morning.engine, &morning.store).await;
        let job = morning.store.job(id).await.unwrap().unwrap();
        let timeline = morning.timeline(&job).await.join("\n");
        assert_eq!(job.state, State::Archived, "{point:?}: {timeline}");
        assert!(morning.publishes(&good()), "{point:?}");
        let happened = |it: &crate::simulator::RemoteChange| it.happened && !it.is_elsewhere;
        let changes = morning.machine.simulator.changes();
        assert_eq!(changes.iter().filter(|it| happened(it)).count(), 2, "{point:?}: {timeline}");
        assert!(!morning.is_held(&morning.snapshot.path), "{point:?}");
        let mut ticking = morning.engine.ticking().await.unwrap();
        ticking.sweep_now().await.unwrap();
        assert_eq!(morning.store.unreleased().await.unwrap(), [], "{point:?}");
    }
}

#[tokio::test]
async fn a_backup_of_a_version_is_filed_apart_and_gives_way_to_the_ordinary_one() {
    let morning = Morning::new().await;
    let older = morning.versions().older[0].job_id.clone();
    let now = morning.machine.clock.now();
    let created = morning.store.create_version(by_hand(), older.clone(), now).await.unwrap();
    let Creation::Created(job) = created else { panic!("{created:?}") };
    assert_eq!(job.version.as_ref(), Some(&older));
    // It is queued, and the source's time comes.
    let new = NewJob { trigger: Trigger::Schedule, ..by_hand() };
    morning.store.start_schedule("one", "x", night() - TimeDelta::days(1)).await.unwrap();
    let made = morning.store.account_for(new, now, 0, now).await.unwrap();
    assert!(matches!(made, crate::store::Accounted::Job(_)), "{made:?}");
    let ended = morning.store.job(job.id).await.unwrap().unwrap();
    assert_eq!(ended.state, State::Cancelled);
    morning.machine.until_quiet(&morning.engine, &morning.store).await;
    let now = morning.machine.clock.now();
    morning.store.create_version(by_hand(), older.clone(), now).await.unwrap();
    let job = morning.machine.until_quiet(&morning.engine, &morning.store).await;
    assert_eq!(job.state, State::Archived, "{:?}", morning.timeline(&job).await);
    let made = morning.archive().select(job.snapshot.unwrap().to_str().unwrap()).unwrap();
    assert_eq!((made.manifest.role, made.manifest.entities), (Role::Version, 20));
    assert_eq!(made.manifest.origin.version, Some(older));
    let newest = morning.archive().newest("one").unwrap().unwrap();
    assert_eq!((newest.manifest.role, newest.manifest.entities), (Role::Ordinary, 5));
}

#[tokio::test]
async fn versions_are_listed_for_what_they_are() {
    let morning = Morning::new().await;
    morning.machine.simulator.load_elsewhere("One", LoadOperation::CompleteStaging, good());
    let config = morning.engine.config();
    let listing = config.services["contoso"].listing().unwrap();
    let target = &config.settings.sources[0].target;
    let versions = listing.versions(target, night()).await.unwrap();
    let states: Vec<_> = versions.iter().map(|it| it.state).collect();
    assert_eq!(states, [VersionState::Published, VersionState::Staged, VersionState::Older]);
}
