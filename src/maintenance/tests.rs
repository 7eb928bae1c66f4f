use super::*;
use crate::clock::MockClock;
use crate::config::{self, Environment};
use crate::failpoint::{self, Point};
use crate::job::{State, Trigger};
use crate::store::{NewJob, copies};
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use futures_util::FutureExt as _;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tokio::sync::Notify;

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 12, 0, 0).unwrap()
}

/// A machine: a folder that outlives its processes, and a clock.
struct Machine {
    folder: TempDir,
    clock: Clock,
    mock: MockClock,
}

impl Machine {
    fn new() -> Machine {
        let (clock, mock) = Clock::manual(noon());
        Machine { folder: TempDir::new().unwrap(), clock, mock }
    }

    fn settings(&self) -> Settings {
        let file = self.folder.path().join("config.toml");
        config::parse("state_dir = \"state\"\n", &file, &Environment::default()).unwrap()
    }

    /// A process that starts on this machine.
    async fn start(&self) -> Maintenance {
        let settings = self.settings();
        let store = Store::open(&settings.state_dir, 0).await.unwrap();
        let archive = Archive::new(&settings.archive_dir, &settings.state_dir);
        archive.prepare().unwrap();
        Maintenance::new(store, archive, self.clock.clone())
    }

    fn copies(&self) -> usize {
        copies::copies(&self.settings().state_dir).len()
    }
}

fn task(name: &'static str, run: fn(Context) -> tasks::Running) -> Task {
    Task { name, rhythm: Rhythm::At("0 4 * * *"), at_start: false, removes: false, run }
}

/// The tasks that need no service.
const TASKS: [Task; 3] = [RETENTION, HISTORY, COPY];
const ALL: [&str; 3] = ["retention", "history", "copy"];

#[test]
fn every_task_has_a_unique_name_and_a_valid_schedule() {
    let names: std::collections::BTreeSet<_> = super::TASKS.iter().map(|task| task.name).collect();
    assert_eq!(names.len(), super::TASKS.len());
    for Task { name, rhythm: Rhythm::At(schedule), .. } in super::TASKS {
        assert!(crate::policy::schedule::Schedule::parse(schedule).is_ok(), "{name}: {schedule}");
    }
}

#[test]
fn every_task_is_documented_once_and_no_other_one() {
    let page = include_str!("../../docs/commands.md");
    let documented = crate::tests::pages::first_column(page, "### Maintenance");
    assert_eq!(documented, super::TASKS.map(|task| task.name));
}

#[tokio::test]
async fn runs_missed_while_the_machine_was_off_are_made_up_for_at_the_next_start() {
    let machine = Machine::new();
    let settings = machine.settings();
    assert_eq!(machine.start().await.run_due(&settings, &TASKS).await, ALL);
    assert_eq!(machine.copies(), 1);
    // Started again on the same day: nothing is owed.
    machine.mock.advance(TimeDelta::hours(2));
    let mut same_day = machine.start().await;
    assert_eq!(same_day.run_due(&settings, &TASKS).await, Vec::<&str>::new());
    // Off at four, on at nine.
    machine.mock.advance(TimeDelta::hours(19));
    assert_eq!(machine.start().await.run_due(&settings, &TASKS).await, ALL);
    assert_eq!(machine.copies(), 2);
    // On at four.
    machine.mock.advance(TimeDelta::hours(18));
    let mut daemon = machine.start().await;
    assert_eq!(daemon.run_due(&settings, &TASKS).await, Vec::<&str>::new());
    machine.mock.advance(TimeDelta::hours(1));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ALL);
    assert_eq!(daemon.run_due(&settings, &TASKS).await, Vec::<&str>::new());
}

#[tokio::test]
async fn a_clock_that_was_a_year_ahead_delays_nothing() {
    let machine = Machine::new();
    let settings = machine.settings();
    let mut daemon = machine.start().await;
    machine.mock.advance(TimeDelta::days(365));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ALL);
    machine.mock.set(noon());
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ALL);
    assert_eq!(daemon.run_due(&settings, &TASKS).await, Vec::<&str>::new());
    machine.mock.advance(TimeDelta::hours(16));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ALL);
}

#[tokio::test]
async fn a_task_that_fails_is_retried_later_and_does_not_stop_others() {
    let machine = Machine::new();
    let settings = machine.settings();
    let mut daemon = machine.start().await;
    let in_the_way = settings.state_dir.join("copies");
    fs::write(&in_the_way, "no folder").unwrap();
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ALL);
    machine.mock.advance(TimeDelta::minutes(4));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, Vec::<&str>::new());
    machine.mock.advance(TimeDelta::minutes(1));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["copy"]);
    // A restart forgets nothing of this.
    let mut daemon = machine.start().await;
    machine.mock.advance(TimeDelta::minutes(9));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, Vec::<&str>::new());
    fs::remove_file(&in_the_way).unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["copy"]);
    assert_eq!(machine.copies(), 1);
    machine.mock.advance(TimeDelta::hours(15));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, Vec::<&str>::new());
}

#[tokio::test]
async fn a_task_that_panics_counts_as_failed() {
    let machine = Machine::new();
    let settings = machine.settings();
    let mut daemon = machine.start().await;
    let tasks = [task("panics", |_| async { panic!("on purpose") }.boxed()), COPY];
    assert_eq!(daemon.run_due(&settings, &tasks).await, ["panics", "copy"]);
    let runs = daemon.store.maintenance_runs().await.unwrap();
    assert_eq!((runs["panics"].failures, runs["copy"].failures), (1, 0));
    assert_eq!(runs["panics"].tried_at, Some(noon()));
}

/// A machine with 402 nights of each of these sources in its history, and nothing in its archive.
async fn with_history(sources: &[&str]) -> (Machine, Maintenance) {
    let machine = Machine::new();
    let maintenance = machine.start().await;
    for source in sources {
        let new = NewJob {
            source: (*source).to_owned(),
            account: "contoso".to_owned(),
            trigger: Trigger::Schedule,
            note: "it was due".to_owned(),
        };
        let nights = (0..402).rev().map(|ago| (noon() - TimeDelta::days(ago), State::Archived));
        maintenance.store.add_ended_jobs(&new, &nights.collect::<Vec<_>>()).await.unwrap();
    }
    (machine, maintenance)
}

async fn prune_history(machine: &Machine, maintenance: &Maintenance) -> tasks::Outcome {
    let context = Context {
        store: maintenance.store.clone(),
        archive: maintenance.archive.clone(),
        settings: machine.settings(),
        services: Services::default(),
        now: noon(),
        _lock: Arc::new(lock::try_take(&machine.settings().state_dir.join(LOCK)).unwrap().unwrap()),
    };
    (HISTORY.run)(context).await
}

fn snapshot_of(machine: &Machine, source: &str) {
    let folder = machine.settings().archive_dir.join(source);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("20261125T120000Z-402.json"), "{}").unwrap();
}

#[tokio::test]
async fn the_history_of_an_archive_that_is_not_mounted_stays() {
    let (machine, maintenance) = with_history(&["stores"]).await;
    let archive = machine.settings().archive_dir;
    let error = prune_history(&machine, &maintenance).await.unwrap_err();
    assert!(error.contains("holds no snapshot"), "{error}");
    fs::create_dir(archive.join("stores")).unwrap();
    prune_history(&machine, &maintenance).await.unwrap_err();
    fs::remove_dir_all(&archive).unwrap();
    prune_history(&machine, &maintenance).await.unwrap_err();
    snapshot_of(&machine, "stores");
    let done = prune_history(&machine, &maintenance).await.unwrap();
    assert!(done.starts_with("1 old jobs"), "{done}");
}

#[tokio::test]
async fn a_source_that_cannot_be_read_keeps_its_history_and_no_other_one_s() {
    let (machine, maintenance) = with_history(&["depots", "stores"]).await;
    snapshot_of(&machine, "stores");
    let depots = machine.settings().archive_dir.join("depots");
    std::os::unix::fs::symlink("nowhere", &depots).unwrap();
    let error = prune_history(&machine, &maintenance).await.unwrap_err();
    assert!(error.starts_with("1 old jobs"), "{error}");
    assert!(error.contains("depots: "), "{error}");
    // As a mount point looks without its disk.
    fs::remove_file(&depots).unwrap();
    fs::create_dir(&depots).unwrap();
    assert!(prune_history(&machine, &maintenance).await.unwrap().starts_with("0 old jobs"));
    snapshot_of(&machine, "depots");
    assert!(prune_history(&machine, &maintenance).await.unwrap().starts_with("1 old jobs"));
}

#[tokio::test]
async fn two_processes_never_run_tasks_at_once() {
    let machine = Machine::new();
    let settings = machine.settings();
    let (mut one, mut other) = (machine.start().await, machine.start().await);
    let held = lock::try_take(&settings.state_dir.join(LOCK)).unwrap().unwrap();
    assert_eq!(one.run_due(&settings, &TASKS).await, Vec::<&str>::new());
    drop(held);
    assert_eq!(one.run_due(&settings, &TASKS).await, ALL);
    assert_eq!(other.run_due(&settings, &TASKS).await, Vec::<&str>::new());
}

#[tokio::test]
async fn on_an_unwritable_disk_a_run_is_stored_later() {
    let machine = Machine::new();
    let settings = machine.settings();
    let mut daemon = machine.start().await;
    let full = Arc::new(AtomicBool::new(true));
    let is_full = Arc::clone(&full);
    let _watching = failpoint::watch(&settings.state_dir, move |point, _| match point {
        Point::StoreBegin | Point::FileCreate if is_full.load(Ordering::SeqCst) => {
            Err(io::ErrorKind::StorageFull.into())
        }
        _ => Ok(()),
    });
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ALL);
    assert_eq!(daemon.run_due(&settings, &TASKS).await, Vec::<&str>::new(), "not in a circle");
    assert_eq!(daemon.store.maintenance_runs().await.unwrap().len(), 0);
    full.store(false, Ordering::SeqCst);
    assert_eq!(daemon.run_due(&settings, &TASKS).await, Vec::<&str>::new());
    assert_eq!(daemon.store.maintenance_runs().await.unwrap()["copy"].failures, 1);
    machine.mock.advance(TimeDelta::minutes(5));
    assert_eq!(machine.start().await.run_due(&settings, &[COPY]).await, ["copy"]);
    assert_eq!(machine.copies(), 1);
}

#[tokio::test]
async fn the_process_that_gets_the_lock_checks_again_what_is_due() {
    let machine = Machine::new();
    let settings = machine.settings();
    let (mut one, mut other) = (machine.start().await, machine.start().await);
    assert_eq!(one.run_due(&settings, &TASKS).await, ALL);
    let lock = lock::try_take(&settings.state_dir.join(LOCK)).unwrap().unwrap();
    assert_eq!(other.run_due_holding(lock, &settings, &TASKS).await, Vec::<&str>::new());
}

#[tokio::test]
async fn a_stop_ends_the_waiting_for_a_task_and_the_task_keeps_the_lock() {
    static BEGUN: Notify = Notify::const_new();
    static MAY_END: Notify = Notify::const_new();
    let slow = task("slow", |context| {
        async move {
            BEGUN.notify_one();
            MAY_END.notified().await;
            drop(context);
            Ok("done".to_owned())
        }
        .boxed()
    });
    let machine = Machine::new();
    let settings = machine.settings();
    let maintenance = machine.start().await;
    let store = maintenance.store.clone();
    let stop = CancellationToken::new();
    let stops = async {
        BEGUN.notified().await;
        stop.cancel();
    };
    let tasks = [slow];
    let running = maintenance.keep_running_these(
        &tasks,
        Duration::ZERO,
        || settings.clone(),
        Services::default,
        &stop,
    );
    tokio::join!(running, stops);
    assert!(store.maintenance_runs().await.unwrap().is_empty());
    let path = settings.state_dir.join(LOCK);
    assert!(lock::try_take(&path).unwrap().is_err(), "the task goes on");
    MAY_END.notify_one();
    tokio::task::spawn_blocking(move || lock::wait_for(&path)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_ends_the_waiting_for_the_next_task() {
    let machine = Machine::new();
    let settings = machine.settings();
    let stop = CancellationToken::new();
    stop.cancel();
    machine.start().await.keep_running(|| settings.clone(), Services::default, &stop).await;
    assert_eq!(machine.copies(), 0);
}

/// A machine that keeps one snapshot a month and a year, with one of each of the last twelve
/// months.
fn with_snapshots() -> (Machine, Settings) {
    let machine = Machine::new();
    let text = "state_dir = \"state\"\n[accounts.contoso]\nkey_env = \"UNUSED\"\n\
                [retention]\nkeep_last = 1\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 12\n\
                keep_yearly = 1\n[[sources]]\nname = \"stores\"\naccount = \"contoso\"\n\
                access_id = \"a\"\ndata_source = \"Stores\"\nschedule = \"0 2 * * *\"\n";
    let file = machine.folder.path().join("config.toml");
    let settings = config::parse(text, &file, &Environment::default()).unwrap();
    for month in 1..=12 {
        add_snapshot(&settings, month, noon() - TimeDelta::days((12 - month) * 31));
    }
    (machine, settings)
}

fn add_snapshot(settings: &Settings, job: i64, created_at: DateTime<Utc>) {
    let folder = settings.archive_dir.join("stores");
    fs::create_dir_all(&folder).unwrap();
    let name = crate::manifest::Name::new(created_at, job);
    let manifest = serde_json::json!({
        "format": 1, "source": "stores", "access_id": "a", "data_source": "Stores", "job": job,
        "remote_id": null, "scheduled_for": null, "created_at": created_at,
        "completed_at": created_at, "entities": 0, "expected_entities": null, "entity_type": "Store",
        "primary_key": "Id", "columns": [], "content": { "bytes": 0, "sha256": "" },
        "stored": { "file": name.with(".xml.zst"), "bytes": 0, "sha256": "", "encoding": "zstd" },
        "suspicious": [], "same_content_as": null, "generator": "a test",
    });
    fs::write(folder.join(name.with(".xml.zst")), "").unwrap();
    fs::write(folder.join(name.manifest()), manifest.to_string()).unwrap();
}

fn snapshots(machine: &Machine, settings: &Settings) -> usize {
    let archive = Archive::new(&settings.archive_dir, &machine.settings().state_dir);
    archive.names("stores").unwrap().len()
}

#[tokio::test]
async fn a_clock_that_leaps_for_a_minute_removes_nothing() {
    let (machine, settings) = with_snapshots();
    let mut daemon = machine.start().await;
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ALL);
    machine.mock.jump(TimeDelta::days(365));
    // What was missed meanwhile is made up for, by the clock as it is.
    add_snapshot(&settings, 13, machine.mock.now());
    machine.mock.advance(TimeDelta::seconds(53));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["copy"]);
    assert_eq!(snapshots(&machine, &settings), 13);
    machine.mock.jump(TimeDelta::days(-365));
    // A run that seems to lie in the future says nothing: the copy is due, the others are not.
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["copy"]);
    machine.mock.advance(TimeDelta::hours(16));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ALL);
    assert_eq!(snapshots(&machine, &settings), 13, "dated in the future, it takes no one's place");
}

#[tokio::test]
async fn a_clock_that_leaps_while_tasks_run_stops_those_that_remove_things() {
    let (machine, settings) = with_snapshots();
    let mut daemon = machine.start().await;
    let leaping = machine.mock.clone();
    let _watching = failpoint::watch(&settings.state_dir, move |point, _| {
        if point == Point::FileCreate {
            leaping.set(noon() + TimeDelta::hours(1));
            leaping.jump(TimeDelta::days(365));
        }
        Ok(())
    });
    assert_eq!(daemon.run_due(&settings, &[COPY, RETENTION, HISTORY]).await, ["copy"]);
    assert_eq!(snapshots(&machine, &settings), 12);
}

#[tokio::test]
async fn a_leap_that_stays_is_accepted_after_a_day() {
    let (machine, settings) = with_snapshots();
    let mut daemon = machine.start().await;
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ALL);
    machine.mock.jump(TimeDelta::days(365));
    add_snapshot(&settings, 13, machine.mock.now());
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["copy"]);
    machine.mock.advance(TimeDelta::hours(24) - TimeDelta::seconds(1));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["copy"]);
    assert_eq!(snapshots(&machine, &settings), 13);
    machine.mock.advance(TimeDelta::seconds(1));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["retention", "history"]);
    assert_eq!(snapshots(&machine, &settings), 12);
}

#[tokio::test]
async fn a_suspension_of_three_days_delays_by_a_day() {
    let (machine, settings) = with_snapshots();
    let mut daemon = machine.start().await;
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ALL);
    machine.mock.jump(TimeDelta::days(3));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["copy"]);
    machine.mock.advance(TimeDelta::hours(23));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["copy"]);
    machine.mock.advance(TimeDelta::hours(1));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["retention", "history"]);
    // One of a night delays nothing.
    machine.mock.jump(TimeDelta::hours(20));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ALL);
}

#[tokio::test]
async fn a_snapshot_from_the_future_delays_a_start_by_a_day_and_later_starts_no_more() {
    let (machine, settings) = with_snapshots();
    assert_eq!(machine.start().await.run_due(&settings, &TASKS).await, ALL);
    add_snapshot(&settings, 13, noon() + TimeDelta::days(365));
    machine.mock.advance(TimeDelta::days(1));
    let mut daemon = machine.start().await;
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["copy"]);
    // On for a few hours a day only.
    machine.mock.advance(TimeDelta::hours(2));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, Vec::<&str>::new());
    machine.mock.advance(TimeDelta::hours(22));
    assert_eq!(machine.start().await.run_due(&settings, &TASKS).await, ALL);
    assert_eq!(snapshots(&machine, &settings), 13);
}

#[tokio::test]
async fn a_start_by_a_clock_that_is_a_year_ahead_removes_nothing() {
    let (machine, settings) = with_snapshots();
    assert_eq!(machine.start().await.run_due(&settings, &TASKS).await, ALL);
    machine.mock.jump(TimeDelta::days(365));
    add_snapshot(&settings, 13, machine.mock.now());
    let mut daemon = machine.start().await;
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["copy"]);
    assert_eq!(machine.start().await.run_due(&settings, &TASKS).await, Vec::<&str>::new());
    assert_eq!(snapshots(&machine, &settings), 13);
    machine.mock.jump(TimeDelta::days(-365));
    assert_eq!(daemon.run_due(&settings, &TASKS).await, ["copy"]);
}
