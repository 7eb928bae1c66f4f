use super::schedule::{Due, due};
use super::*;
use crate::clock::MockClock;
use crate::config::{self, Environment};
use crate::format::Format;
use crate::job::{JobStep, State, Trigger};
use crate::maintenance::{Maintenance, TASKS};
use crate::policy::schedule::Schedule;
use crate::secret::Key;
use crate::service::Target;
use crate::service::bing::{Bing, DataSource};
use crate::service::http::HttpClients;
use crate::simulator::{
    Damage, Data, Ending, ErrorBody, Fault, Kind, Scenario, SimSource, Simulator,
};
use crate::store::{Claim, Filter, NewJob};
use chrono::{TimeDelta, TimeZone};
use std::path::Path;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const KEY: &str = "CANARY-0123456789abcdef";

fn night() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 1, 59, 0).unwrap()
}

/// A data source of the simulated account.
fn data_source(name: &str) -> Target {
    DataSource { access_id: "20181f26".into(), data_source: name.into(), version: None }.into()
}

/// A machine: a folder that outlives its engines, a service, and a clock.
struct Machine {
    folder: TempDir,
    simulator: Simulator,
    clock: Clock,
    mock: MockClock,
    extra: String,
    workers: u64,
}

impl Machine {
    async fn new(scenario: Scenario) -> Machine {
        let stores = |name: &str| {
            SimSource::new("20181f26", name, KEY, Data::first_places(20)).scenario(scenario.clone())
        };
        let more = (0..10).map(|number| stores(&format!("S{number}")));
        let all = [stores("One"), stores("Two")].into_iter().chain(more).collect();
        let simulator = Simulator::start(all).await.unwrap();
        let (clock, mock) = Clock::manual(night());
        let folder = TempDir::new().unwrap();
        Machine { folder, simulator, clock, mock, extra: String::new(), workers: 0 }
    }

    fn settings(&self) -> Settings {
        let text = format!(
            r#"
            state_dir = "state"
            archive_dir = "archive"
            {}
            [accounts.contoso]
            key_env = "UNUSED"
            endpoint = "{}"
            max_in_process = 1
            [[sources]]
            name = "one"
            account = "contoso"
            access_id = "20181f26"
            data_source = "One"
            schedule = "0 2 * * *"
            "#,
            self.extra,
            self.simulator.endpoint()
        );
        let environment = Environment::default();
        config::parse(&text, &self.folder.path().join("config.toml"), &environment).unwrap()
    }

    fn config(&self, settings: &Settings) -> EngineConfig {
        let clients = HttpClients::new(&settings.http).unwrap();
        let account = &settings.accounts["contoso"];
        let bing: Arc<dyn ExportService> =
            Arc::new(Bing::new("contoso", &account.endpoint, Key::new(KEY).unwrap(), clients));
        EngineConfig {
            settings: settings.clone(),
            services: BTreeMap::from([("contoso".to_owned(), bing)]),
        }
    }

    /// A program that starts on this machine.
    async fn start(&mut self) -> (Engine, Store) {
        let settings = self.settings();
        let archive = Archive::new(&settings.archive_dir, &settings.state_dir);
        let store = Store::open(&settings.state_dir, 0).await.unwrap();
        self.workers += 1;
        let worker = lock::Worker::register(&settings.state_dir, self.workers).unwrap();
        let config = self.config(&settings);
        let engine = Engine::new(
            store.clone(),
            archive,
            worker,
            self.clock.clone(),
            config,
            Arc::new(|_| {}),
        );
        (engine, store)
    }

    /// Lets time pass until nothing is live any more, at most so many steps.
    async fn until_quiet(&self, engine: &Engine, store: &Store) -> Job {
        for _ in 0..200 {
            engine.tick().await.unwrap();
            match store.next_due(true, true, None, &[]).await.unwrap() {
                Some(due) => self.mock.set(due.max(self.clock.now())),
                None => break,
            }
        }
        newest(store).await
    }
}

async fn newest(store: &Store) -> Job {
    let filter = Filter { limit: 1, ..Filter::default() };
    store.jobs(&filter).await.unwrap().pop().expect("a job")
}

async fn kinds(store: &Store, job: i64) -> Vec<String> {
    store.timeline(job).await.unwrap().into_iter().map(|event| event.kind).collect()
}

fn by_hand() -> NewJob {
    NewJob {
        source: "one".into(),
        account: "contoso".into(),
        trigger: Trigger::Manual,
        note: "made by hand".into(),
    }
}

/// What this engine's worker asks for when it takes whatever is due.
fn claim(engine: &Engine) -> Claim {
    Claim {
        owner: engine.shared.worker.name.clone(),
        requests: 9,
        fetches: 9,
        only: None,
        unconfigured: Vec::new(),
        limits: Arc::new(engine.config().limits()),
    }
}

#[tokio::test]
async fn a_scheduled_time_becomes_a_proven_snapshot() {
    let mut machine = Machine::new(Scenario { pending_polls: 2, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    assert_eq!(store.live_jobs().await.unwrap(), []);
    machine.mock.advance(TimeDelta::minutes(1));
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!((job.state, job.trigger), (State::Archived, Trigger::Schedule));
    assert_eq!(job.scheduled_for, Some(night() + TimeDelta::minutes(1)));
    assert_eq!((job.polls, job.attempts), (3, 1));
    assert_eq!(kinds(&store, job.id).await, ["queued", "submitted", "completed", "archived"]);
    let snapshot = engine.shared.archive.newest("one").unwrap().unwrap();
    assert_eq!(Some(&snapshot.path), job.snapshot.as_ref());
    assert_eq!((snapshot.manifest.entities, snapshot.manifest.expected_entities), (20, Some(20)));
    assert!(engine.shared.archive.verify(&[], &|_| {}).ok);
    assert_eq!(machine.simulator.count(Kind::Create), 1);
    // And the next one comes a day later, not before.
    engine.tick().await.unwrap();
    assert_eq!(store.live_jobs().await.unwrap(), []);
}

#[tokio::test]
async fn a_time_that_comes_while_a_job_is_live_is_skipped() {
    let never = Scenario { ending: Ending::Never, ..Scenario::default() };
    let mut machine = Machine::new(never).await;
    machine.extra = "[poll]\ndeadline = \"72h\"\n".into();
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::days(1));
    engine.tick().await.unwrap();
    let live = store.live_jobs().await.unwrap();
    assert_eq!(live.len(), 1);
    assert!(kinds(&store, live[0].id).await.contains(&"skipped".to_owned()));
}

#[tokio::test]
async fn after_downtime_the_newest_missed_time_is_made_up_for_once() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    drop(engine);
    store.close().await;
    machine.mock.advance(TimeDelta::days(3));
    let (engine, store) = machine.start().await;
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!((job.state, job.trigger), (State::Archived, Trigger::CatchUp));
    assert_eq!(job.scheduled_for, Some(night() + TimeDelta::days(2) + TimeDelta::minutes(1)));
    let first = &store.timeline(job.id).await.unwrap()[0].message;
    assert!(first.contains("2 earlier times"), "{first}");
    assert_eq!(store.jobs(&Filter { limit: 9, ..Filter::default() }).await.unwrap().len(), 1);
}

#[tokio::test]
async fn without_catch_up_nothing_is_made_up_for() {
    let mut machine = Machine::new(Scenario::default()).await;
    let mut settings = machine.settings();
    settings.sources[0].catch_up = false;
    let (engine, store) = machine.start().await;
    engine.set_config(machine.config(&settings));
    engine.tick().await.unwrap();
    // The machine slept: the scheduled time was missed.
    machine.mock.advance(TimeDelta::hours(3));
    engine.tick().await.unwrap();
    assert_eq!(store.live_jobs().await.unwrap(), []);
    assert_eq!(store.cursor("one").await.unwrap().unwrap().cursor, night() + TimeDelta::minutes(1));
}

#[tokio::test]
async fn a_job_whose_answer_was_lost_is_submitted_again() {
    let lost = Scenario { create: vec![Fault::LostAnswer], ..Scenario::default() };
    let mut machine = Machine::new(lost).await;
    let mut settings = machine.settings();
    settings.accounts.get_mut("contoso").unwrap().max_in_process = 2;
    let (engine, store) = machine.start().await;
    engine.set_config(machine.config(&settings));
    store.job_for(by_hand(), night()).await.unwrap();
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!((job.state, job.attempts), (State::Archived, 2));
    assert_eq!(machine.simulator.count(Kind::Create), 2);
}

#[tokio::test]
async fn a_lost_answer_counts_against_the_quota() {
    let lost = Scenario { create: vec![Fault::LostAnswer], ..Scenario::default() };
    let mut machine = Machine::new(lost).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::seconds(30));
    engine.tick().await.unwrap();
    let job = newest(&store).await;
    assert_eq!((job.state, job.attempts), (State::Queued, 1));
    assert_eq!(job.due_at, night() + TimeDelta::hours(12));
    assert!(job.waiting.unwrap().message.contains("concurrent job is in use"));
}

#[tokio::test]
async fn a_clock_that_was_a_year_ahead_delays_nothing() {
    let mut machine = Machine::new(Scenario::default()).await;
    machine.extra = "[poll]\nmax = \"5m\"".to_owned();
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::days(365));
    let ahead = machine.until_quiet(&engine, &store).await;
    assert_eq!(ahead.state, State::Archived);
    let (live, _) = store.job_for(by_hand(), machine.clock.now()).await.unwrap();
    engine.tick().await.unwrap();

    machine.mock.set(night() + TimeDelta::minutes(1));
    let mut ticking = engine.ticking().await.unwrap();
    ticking.sweep_now().await.unwrap();
    ticking.tick().await.unwrap();
    let done = machine.until_quiet(&engine, &store).await;
    assert_eq!((done.id, done.state), (live.id, State::Archived));
    machine.mock.set(night() + TimeDelta::days(1) + TimeDelta::minutes(1));
    let next = machine.until_quiet(&engine, &store).await;
    assert!(next.id > live.id, "the next night has its job");
    assert_eq!(next.scheduled_for, Some(machine.clock.now().min(next.created_at)));
    assert_eq!(next.state, State::Archived);
}

#[tokio::test]
async fn a_clock_that_steps_back_an_hour_runs_nothing_twice() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    let first = machine.until_quiet(&engine, &store).await;
    machine.mock.set(night() - TimeDelta::hours(1));
    for _ in 0..3 {
        let mut ticking = engine.ticking().await.unwrap();
        ticking.sweep_now().await.unwrap();
        ticking.tick().await.unwrap();
        machine.mock.advance(TimeDelta::minutes(30));
    }
    assert_eq!(newest(&store).await.id, first.id);
}

#[tokio::test]
async fn a_young_remote_job_that_is_not_found_still_uses_quota() {
    let unknown = Scenario {
        status: std::iter::repeat_n(Fault::http(404), 2).collect(),
        ..Scenario::default()
    };
    let mut machine = Machine::new(unknown).await;
    let (engine, store) = machine.start().await;
    let (first, _) = store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    store.cancel(first.id, machine.clock.now()).await.unwrap();
    let (second, _) = store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    let held = async || store.job(second.id).await.unwrap().unwrap().waiting.is_some();
    let config = engine.config();
    engine.poll_orphans(&config).await.unwrap();
    engine.tick().await.unwrap();
    assert!(held().await, "it may be running, and just not be known yet");
    machine.mock.advance(TimeDelta::minutes(16));
    engine.poll_orphans(&config).await.unwrap();
    engine.tick().await.unwrap();
    assert!(!held().await);
}

#[tokio::test]
async fn the_quota_of_a_cancelled_job_is_freed_when_its_remote_job_ends() {
    let mut machine = Machine::new(Scenario { pending_polls: 1, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    let (first, _) = store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    store.cancel(first.id, machine.clock.now()).await.unwrap();
    let (second, _) = store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    let held = async || store.job(second.id).await.unwrap().unwrap().waiting.is_some();
    assert!(held().await);
    let config = engine.config();
    // Once it says pending, then that it is done.
    engine.poll_orphans(&config).await.unwrap();
    engine.tick().await.unwrap();
    assert!(held().await);
    engine.poll_orphans(&config).await.unwrap();
    engine.tick().await.unwrap();
    assert!(!held().await);
    assert_eq!(machine.until_quiet(&engine, &store).await.state, State::Archived);
    assert_eq!(store.orphans(night()).await.unwrap(), []);
}

#[tokio::test]
async fn a_snapshot_that_was_filed_before_a_crash_is_taken_as_it_is() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    engine.tick().await.unwrap();
    let job = newest(&store).await;
    assert_eq!(job.step(), Some(JobStep::Fetch));
    // The file is there, and then the power goes.
    let config = engine.config();
    let source = config.settings.source("one").unwrap();
    let service = &config.services["contoso"];
    let handle = in_flight::StepHandle::default();
    assert_eq!(store.claim(claim(&engine), machine.clock.now()).await.unwrap().jobs.len(), 1);
    let effect =
        engine.fetch(&config, source, service, &source.target, &job, &handle).await.unwrap();
    assert!(matches!(effect.outcome, crate::job::Outcome::Archived { .. }));
    drop(engine);
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    let job = newest(&store).await;
    assert_eq!(job.state, State::Archived);
    assert_eq!(machine.simulator.count(Kind::Result), 1);
    let last = store.timeline(job.id).await.unwrap().pop().unwrap().message;
    assert!(last.contains("found in the archive: it was filed before"), "{last}");
}

#[tokio::test]
async fn an_archive_that_cannot_be_written_is_waited_for() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    let archive = machine.settings().archive_dir;
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    engine.tick().await.unwrap();
    std::fs::write(&archive, "in the way").unwrap();
    for _ in 0..20 {
        engine.tick().await.unwrap();
        machine.mock.advance(TimeDelta::minutes(5));
    }
    let job = newest(&store).await;
    assert_eq!((job.state, job.attempts), (State::Ready, 1));
    assert!(job.waiting.unwrap().message.contains("cannot be written"));
    std::fs::remove_file(&archive).unwrap();
    engine.tick().await.unwrap();
    assert_eq!(newest(&store).await.state, State::Archived);
}

#[tokio::test]
async fn a_dead_worker_s_jobs_are_taken_over_at_once() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    let claim = Claim { owner: "123-000000000000dead".into(), ..claim(&engine) };
    let claimed = store.claim(claim, machine.clock.now()).await.unwrap();
    assert_eq!(claimed.jobs.len(), 1);
    assert_eq!(engine.tick().await.unwrap(), 1);
    assert_eq!(newest(&store).await.state, State::Ready);
}

#[tokio::test]
async fn a_clock_step_takes_no_job_from_a_live_worker() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (slow, store) = machine.start().await;
    let (other, _) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    // In each state: held by the one, stepped over by the clock, looked for by both.
    for state in [State::Queued, State::Waiting, State::Ready] {
        let held = store.claim(claim(&slow), machine.clock.now()).await.unwrap().jobs.remove(0);
        assert_eq!(held.state, state);
        for step in [TimeDelta::minutes(10), TimeDelta::days(400), TimeDelta::days(-400)] {
            machine.mock.jump(step);
            assert_eq!(other.tick().await.unwrap(), 0);
            let mut ticking = other.ticking().await.unwrap();
            ticking.sweep_now().await.unwrap();
            assert_eq!(ticking.tick().await.unwrap(), 0);
        }
        let now = store.job(held.id).await.unwrap().unwrap();
        assert_eq!((now.state, now.attempts), (held.state, 1));
        assert!(store.holds(&slow.shared.worker.name, held.id).await.unwrap());
        // It wakes up and ends its step as if nothing had happened.
        let config = slow.config();
        slow.work(&config, held, &in_flight::StepHandle::default()).await.unwrap();
        machine.mock.advance(TimeDelta::minutes(1));
    }
    let job = newest(&store).await;
    assert_eq!((job.state, job.attempts), (State::Archived, 1));
    assert_eq!(machine.simulator.count(Kind::Create), 1);
    assert_eq!(machine.simulator.count(Kind::Result), 1);
    assert!(slow.shared.archive.verify(&[], &|_| {}).findings.is_empty());
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_delay_a_poll() {
    let mut machine = Machine::new(Scenario { pending_polls: 3, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    let mut ticking = engine.ticking().await.unwrap();
    ticking.tick().await.unwrap();
    assert_eq!(newest(&store).await.state, State::Waiting);
    machine.mock.jump(TimeDelta::hours(-2));
    assert_eq!(ticking.tick().await.unwrap(), 0, "not due yet");
    machine.mock.advance(TimeDelta::seconds(6));
    assert_eq!(ticking.tick().await.unwrap(), 1, "due by its own wait of five seconds");
    assert_eq!(newest(&store).await.polls, 1);
}

#[tokio::test]
async fn a_clock_that_is_set_forward_uses_up_no_deadline() {
    let never = Scenario { ending: Ending::Never, ..Scenario::default() };
    let mut machine = Machine::new(never).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    let mut ticking = engine.ticking().await.unwrap();
    ticking.tick().await.unwrap();
    machine.mock.jump(TimeDelta::days(365));
    for _ in 0..3 {
        ticking.tick().await.unwrap();
        machine.mock.advance(TimeDelta::minutes(5));
    }
    let job = newest(&store).await;
    assert!(matches!(job.state, State::Waiting), "{job:?}");
    machine.mock.advance(TimeDelta::hours(25));
    ticking.tick().await.unwrap();
    let error = store.job(job.id).await.unwrap().unwrap().error.unwrap();
    assert_eq!(error.kind, crate::job::ErrorKind::Deadline);
}

#[tokio::test]
async fn a_clock_that_is_set_forward_during_a_request_uses_up_no_deadline() {
    let failing = Scenario {
        status: vec![Fault::Refused, Fault::Refused],
        ending: Ending::Never,
        ..Scenario::default()
    };
    let mut machine = Machine::new(failing).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    machine.mock.advance(TimeDelta::minutes(1));
    let held = store.claim(claim(&engine), machine.clock.now()).await.unwrap().jobs.remove(0);
    assert_eq!(held.state, State::Waiting);
    // The machine sleeps with the request under way, which then fails.
    machine.mock.jump(TimeDelta::days(2));
    engine.work(&engine.config(), held, &in_flight::StepHandle::default()).await.unwrap();
    let job = newest(&store).await;
    assert_eq!(job.state, State::Waiting, "{:?}", job.error);
    assert_eq!(job.first_submitted_at, Some(night() + TimeDelta::days(2)));
}

#[tokio::test]
async fn a_configuration_that_could_not_be_applied_is_applied_by_the_next_try() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    let mut run = engine.begin(Scope::Everything).await.unwrap();
    let mut settings = machine.settings();
    settings.sources[0].name = "two".into();
    engine.set_config(machine.config(&settings));
    let failing = {
        let database = machine.settings().state_dir.join(crate::store::FILE);
        crate::failpoint::watch(&database, |point, _| match point {
            crate::failpoint::Point::StoreBegin => Err(std::io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        })
    };
    let stop = CancellationToken::new();
    let event = engine.next_event(&mut run, &stop).await;
    assert!(engine.handle(&mut run, event).await.unwrap_err().is_storage());
    drop(failing);
    let event = engine.next_event(&mut run, &stop).await;
    assert!(matches!(event, run::Event::ConfigChanged(_)), "{event:?}");
    assert!(engine.handle(&mut run, event).await.unwrap().is_continue());
    assert!(store.cursor("two").await.unwrap().is_some(), "the new source is scheduled");
}

#[tokio::test]
async fn a_whole_document_is_archived_when_later_remote_jobs_come_to_nothing() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    machine.simulator.set_data("One", Data::first_places(20).damaged(Damage::DuplicateKey));
    let (engine, store) = machine.start().await;
    let mut config = (*engine.config()).clone();
    config.settings.accounts.get_mut("contoso").unwrap().max_in_process = 10;
    engine.set_config(config);
    store.job_for(by_hand(), night()).await.unwrap();
    while newest(&store).await.attempts < 2 {
        engine.tick().await.unwrap();
        machine.mock.advance(TimeDelta::minutes(1));
    }
    // The last two remote jobs are aborted.
    machine.simulator.set_scenario(
        "One",
        Scenario { ending: Ending::aborted("no"), pending_polls: 0, ..Scenario::default() },
    );
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!((job.state, job.attempts, &job.error), (State::Archived, 3, &None));
    let snapshot = engine.shared.archive.newest("one").unwrap().unwrap();
    assert_eq!(Some(&snapshot.path), job.snapshot.as_ref());
    assert_eq!(snapshot.manifest.unproven, [crate::dataset::Unproven::Keys]);
    assert!(!snapshot.manifest.suspicious.is_empty());
    assert_eq!(snapshot.manifest.remote_id, None);
    assert!(engine.shared.archive.verify(&[], &|_| {}).findings.is_empty());
    let kinds = kinds(&store, job.id).await;
    assert!(kinds.ends_with(&["note".into(), "archived".into(), "suspicious".into()]), "{kinds:?}");
}

#[tokio::test]
async fn after_a_long_downtime_neither_the_remote_job_nor_the_missed_time_is_lost() {
    for completes in [true, false] {
        let ending = if completes { Ending::Completed } else { Ending::Never };
        let status = vec![Fault::Refused; 3];
        let scenario = Scenario { pending_polls: 0, status, ending, ..Scenario::default() };
        let mut machine = Machine::new(scenario).await;
        machine.extra = "[poll]\ndeadline = \"24h\"".to_owned();
        let (engine, store) = machine.start().await;
        engine.tick().await.unwrap();
        machine.mock.advance(TimeDelta::minutes(1));
        engine.tick().await.unwrap();
        let first = newest(&store).await;
        assert_eq!(first.state, State::Waiting);
        drop(engine);
        store.close().await;
        // Off for more than the deadline; then the network is up later than the program.
        machine.mock.advance(TimeDelta::hours(30));
        let (engine, store) = machine.start().await;
        let mut ticking = engine.ticking().await.unwrap();
        for _ in 0..40 {
            ticking.tick().await.unwrap();
            machine.mock.advance(TimeDelta::seconds(10));
        }
        let first = store.job(first.id).await.unwrap().unwrap();
        let expected = if completes { State::Archived } else { State::Failed };
        assert_eq!(first.state, expected, "{:?}", first.error);
        let caught_up = newest(&store).await;
        assert_eq!(caught_up.trigger, Trigger::CatchUp);
        assert_eq!(
            caught_up.scheduled_for,
            Some(night() + TimeDelta::minutes(1) + TimeDelta::days(1))
        );
    }
}

#[tokio::test]
async fn a_key_in_the_result_is_neither_stored_nor_shown() {
    let long = format!("{}{KEY}", "x".repeat(45));
    let echoes = [format!("Invalid key {KEY}"), long, format!("<Root>&{KEY};</Root>")];
    for echo in echoes {
        let said = Fault::http_with(200, ErrorBody::Text(echo));
        let scenario = Scenario { pending_polls: 0, result: vec![said; 9], ..Scenario::default() };
        let mut machine = Machine::new(scenario).await;
        let (engine, store) = machine.start().await;
        store.job_for(by_hand(), night()).await.unwrap();
        let mut config = (*engine.config()).clone();
        config.settings.accounts.get_mut("contoso").unwrap().max_in_process = 10;
        engine.set_config(config);
        let job = machine.until_quiet(&engine, &store).await;
        assert_eq!(job.error.as_ref().unwrap().kind, crate::job::ErrorKind::Corrupt);
        let timeline = store.timeline(job.id).await.unwrap();
        let texts = format!("{job:?} {timeline:?}");
        assert!(texts.contains("[key]"), "{texts}");
        assert!(!texts.contains("CANARY-0"), "{texts}");
    }
}

#[tokio::test]
async fn a_result_that_announces_more_than_it_may_have_is_not_waited_for() {
    let lying = vec![Fault::LengthTooLong(1 << 60); 9];
    let scenario = Scenario { pending_polls: 0, result: lying, ..Scenario::default() };
    let mut machine = Machine::new(scenario).await;
    machine.extra = "[http]\nmax_bytes = \"1 MiB\"\n[retry]\nattempts = 2".to_owned();
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!(job.error.unwrap().kind, crate::job::ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_job_that_its_worker_holds_without_working_on_it_is_released() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    assert_eq!(store.claim(claim(&engine), night()).await.unwrap().jobs.len(), 1);
    let mut ticking = engine.ticking().await.unwrap();
    assert_eq!(ticking.tick().await.unwrap(), 0);
    ticking.sweep_now().await.unwrap();
    assert_eq!(store.held(&engine.shared.worker.name).await.unwrap(), Vec::<i64>::new());
}

type Answer<'a, T> = futures_util::future::BoxFuture<'a, Result<T, crate::job::Failure>>;
type Hook = Box<dyn Fn(JobStep) -> futures_util::future::BoxFuture<'static, ()> + Send + Sync>;

/// A service whose answers a test gets hold of before the engine does.
struct Hooked {
    inner: Arc<dyn ExportService>,
    answered: Hook,
}

impl Hooked {
    /// Puts the hook between this engine and its service.
    fn up(engine: &Engine, answered: Hook) {
        let mut config = (*engine.config()).clone();
        config.settings.accounts.get_mut("contoso").unwrap().max_in_process = 10;
        let inner = Arc::clone(&config.services["contoso"]);
        config.services.insert("contoso".into(), Arc::new(Hooked { inner, answered }));
        engine.set_config(config);
    }

    fn answer<'a, T: Send + 'a>(&'a self, step: JobStep, answer: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move {
            let answer = answer.await;
            (self.answered)(step).await;
            answer
        })
    }
}

impl ExportService for Hooked {
    fn format(&self, target: &Target) -> &'static dyn Format {
        self.inner.format(target)
    }

    fn submit<'a>(
        &'a self,
        target: &'a Target,
        now: DateTime<Utc>,
    ) -> Answer<'a, crate::job::Submitted> {
        self.answer(JobStep::Submit, self.inner.submit(target, now))
    }

    fn poll<'a>(
        &'a self,
        target: &'a Target,
        remote_id: Option<&'a str>,
        status_url: &'a str,
        now: DateTime<Utc>,
    ) -> Answer<'a, crate::job::Polled> {
        self.answer(JobStep::Poll, self.inner.poll(target, remote_id, status_url, now))
    }

    fn fetch<'a>(
        &'a self,
        target: &'a Target,
        result_url: &'a str,
        now: DateTime<Utc>,
    ) -> Answer<'a, crate::service::Download> {
        self.answer(JobStep::Fetch, self.inner.fetch(target, result_url, now))
    }

    fn error_log<'a>(&'a self, url: &'a str) -> Answer<'a, String> {
        self.inner.error_log(url)
    }

    fn try_key<'a>(&'a self, target: &'a Target, now: DateTime<Utc>) -> Answer<'a, ()> {
        self.inner.try_key(target, now)
    }
}

#[tokio::test]
async fn a_step_that_always_panics_fails_in_the_end() {
    for at in [JobStep::Submit, JobStep::Poll, JobStep::Fetch] {
        let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
        let (engine, store) = machine.start().await;
        let panic = move |step| -> futures_util::future::BoxFuture<'static, ()> {
            assert!(step != at, "a deterministic panic");
            Box::pin(async {})
        };
        Hooked::up(&engine, Box::new(panic));
        store.job_for(by_hand(), night()).await.unwrap();
        let job = machine.until_quiet(&engine, &store).await;
        assert_eq!(job.state, State::Failed, "{at:?}");
        let error = job.error.unwrap();
        assert_eq!(error.kind, crate::job::ErrorKind::Protocol);
        assert!(error.message.contains("panicked: a deterministic panic"), "{}", error.message);
        // A submission that panicked may have started a remote job.
        assert_eq!(job.attempts, if at == JobStep::Submit { 3 } else { 1 });
    }
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_it_is_submitted_keeps_what_was_answered() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    let (job, _) = store.job_for(by_hand(), night()).await.unwrap();
    let (history, now) = (store.clone(), machine.clock.now());
    let cancel = move |step| -> futures_util::future::BoxFuture<'static, ()> {
        let store = history.clone();
        Box::pin(async move {
            if step == JobStep::Submit {
                store.cancel(job.id, now).await.unwrap();
            }
        })
    };
    Hooked::up(&engine, Box::new(cancel));
    engine.tick().await.unwrap();
    assert_eq!(newest(&store).await.state, State::Cancelled);
    let last = store.timeline(job.id).await.unwrap().pop().unwrap().message;
    assert!(last.contains("had accepted the submission as remote job"), "{last}");
    assert_eq!(store.quota_used("contoso", now).await.unwrap().0, 1);
    // Its place is free as soon as a job that waits for it has asked about it.
    let mut config = (*engine.config()).clone();
    config.settings = machine.settings();
    config.services = machine.config(&config.settings).services;
    engine.set_config(config);
    store.job_for(by_hand(), now).await.unwrap();
    engine.tick().await.unwrap();
    assert!(newest(&store).await.waiting.is_some());
    engine.ticking().await.unwrap().sweep_now().await.unwrap();
    assert_eq!(machine.until_quiet(&engine, &store).await.state, State::Archived);
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_its_result_arrives_files_nothing() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let (engine, store) = machine.start().await;
    let (job, _) = store.job_for(by_hand(), night()).await.unwrap();
    let (history, now) = (store.clone(), machine.clock.now());
    let cancel = move |step| -> futures_util::future::BoxFuture<'static, ()> {
        let store = history.clone();
        Box::pin(async move {
            if step == JobStep::Fetch {
                store.cancel(job.id, now).await.unwrap();
            }
        })
    };
    Hooked::up(&engine, Box::new(cancel));
    machine.until_quiet(&engine, &store).await;
    assert_eq!(newest(&store).await.state, State::Cancelled);
    assert_eq!(files(&machine.settings().archive_dir.join("one")), 0);
}

#[tokio::test]
async fn a_raised_quota_is_noticed_by_a_reload_and_by_a_restart() {
    for restarts in [false, true] {
        let mut machine = Machine::new(Scenario::default()).await;
        machine.extra = String::new();
        let (mut engine, mut store) = machine.start().await;
        let mut settings = machine.settings();
        settings.accounts.get_mut("contoso").unwrap().max_jobs_per_day = 1;
        engine.set_config(machine.config(&settings));
        store.job_for(by_hand(), night()).await.unwrap();
        assert_eq!(machine.until_quiet(&engine, &store).await.state, State::Archived);
        let (second, _) = store.job_for(by_hand(), machine.clock.now()).await.unwrap();
        engine.tick().await.unwrap();
        let waits = store.job(second.id).await.unwrap().unwrap();
        assert_eq!(waits.waiting.unwrap().why, crate::job::WaitReason::Quota);
        assert!(waits.due_at > machine.clock.now() + TimeDelta::hours(23));
        if restarts {
            drop(engine);
            store.close().await;
            (engine, store) = machine.start().await;
        } else {
            engine.set_config(machine.config(&machine.settings()));
        }
        engine.tick().await.unwrap();
        assert_eq!(newest(&store).await.state, State::Waiting, "restarts: {restarts}");
    }
}

#[tokio::test]
async fn orphaned_remote_jobs_are_asked_about_once_at_a_time() {
    let silent = Scenario { status: vec![Fault::Silence], ..Scenario::default() };
    let mut machine = Machine::new(silent).await;
    let (engine, store) = machine.start().await;
    let (first, _) = store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    store.cancel(first.id, machine.clock.now()).await.unwrap();
    store.job_for(by_hand(), night()).await.unwrap();
    engine.tick().await.unwrap();
    let mut run = engine.begin(Scope::Everything).await.unwrap();
    engine.begin_orphan_query(&mut run);
    while machine.simulator.count(Kind::Status) == 0 {
        tokio::task::yield_now().await;
    }
    let first = run.orphans.task.as_ref().unwrap().id();
    engine.begin_orphan_query(&mut run);
    assert_eq!(
        run.orphans.task.as_ref().unwrap().id(),
        first,
        "the first question is not answered yet"
    );
    run.orphans.stop.cancel();
    run.orphans.task.take().unwrap().await.unwrap();
    engine.begin_orphan_query(&mut run);
    assert!(run.orphans.task.is_some());
}

#[tokio::test]
async fn a_job_of_a_source_that_is_not_configured_stays_as_it_is() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    let stranger = NewJob { source: "gone".into(), ..by_hand() };
    let (job, _) = store.job_for(stranger, night()).await.unwrap();
    engine.tick().await.unwrap();
    let after = store.job(job.id).await.unwrap().unwrap();
    assert_eq!((after.state, after.attempts), (State::Queued, 0));
    assert_eq!(machine.simulator.count(Kind::Create), 0);
}

#[tokio::test]
async fn a_new_configuration_s_sources_are_scheduled_from_then_on() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    engine.tick().await.unwrap();
    let mut settings = machine.settings();
    let mut two = settings.sources[0].clone();
    two.name = "two".into();
    two.target = data_source("Two");
    two.schedule = Schedule::parse("1 2 * * *").unwrap();
    settings.sources.push(two);
    engine.set_config(machine.config(&settings));
    engine.tick().await.unwrap();
    machine.mock.set(night() + TimeDelta::minutes(2));
    engine.tick().await.unwrap();
    let sources: Vec<_> =
        store.live_jobs().await.unwrap().into_iter().map(|job| job.source).collect();
    assert_eq!(sources, ["one", "two"]);
}

#[tokio::test]
async fn an_incomplete_export_is_kept_aside_and_made_again() {
    let wrong = Scenario {
        announced: crate::simulator::Announced::OffBy(1),
        pending_polls: 0,
        ..Scenario::default()
    };
    let mut machine = Machine::new(wrong).await;
    let (engine, store) = machine.start().await;
    store.job_for(by_hand(), night()).await.unwrap();
    let job = machine.until_quiet(&engine, &store).await;
    assert_eq!((job.state, job.attempts), (State::Failed, 3));
    let error = job.error.unwrap();
    assert_eq!(error.kind, crate::job::ErrorKind::Incomplete);
    assert!(error.message.contains("20 entities arrived, 21 were announced"), "{}", error.message);
    let quarantine = machine.settings().state_dir.join("quarantine/one");
    assert_eq!(files(&quarantine), 3);
    assert_eq!(files(&machine.settings().archive_dir.join("one")), 0);
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_time_noticed_late_was_missed() {
    let schedule = Schedule::parse("0 2 * * *").unwrap();
    let two = night() + TimeDelta::minutes(1);
    let day = TimeDelta::days(1);
    let found = |cursor, started, now| due(&schedule, chrono_tz::UTC, cursor, started, now);
    assert_eq!(found(night(), night(), two - TimeDelta::seconds(1)), None);
    let met = Some(Due { time: two, earlier: 0, missed: false });
    assert_eq!(found(night(), night(), two), met);
    assert_eq!(found(night(), night(), two + TimeDelta::seconds(119)), met);
    let missed = Some(Due { time: two, earlier: 0, missed: true });
    assert_eq!(found(night(), night(), two + TimeDelta::seconds(121)), missed);
    assert_eq!(found(night(), two, two), missed, "it came before the engine was there");
    assert_eq!(
        found(night(), night(), two + day * 4),
        Some(Due { time: two + day * 4, earlier: 4, missed: false })
    );
    assert_eq!(found(two, night(), two + TimeDelta::hours(9)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_concurrent_fetches_do_not_interfere() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    let mut settings = machine.settings();
    settings.accounts.get_mut("contoso").unwrap().max_in_process = 10;
    let one = settings.sources[0].clone();
    let names: Vec<String> = (0..10).map(|number| format!("s{number}")).collect();
    let named = |name: &String| Source {
        name: name.clone(),
        target: data_source(&name.to_uppercase()),
        ..one.clone()
    };
    settings.sources = names.iter().map(named).collect();
    let (engine, store) = machine.start().await;
    engine.set_config(machine.config(&settings));
    for name in &names {
        let new = NewJob { source: name.clone(), ..by_hand() };
        store.job_for(new, night()).await.unwrap();
    }
    machine.until_quiet(&engine, &store).await;
    let jobs = store.jobs(&Filter { limit: 50, ..Filter::default() }).await.unwrap();
    for job in jobs {
        assert_eq!(job.state, State::Archived);
        assert_eq!(kinds(&store, job.id).await.len(), 4, "a step was taken twice");
    }
}

#[tokio::test]
async fn retention_is_applied_at_four_and_not_before() {
    let mut machine = Machine::new(Scenario { pending_polls: 0, ..Scenario::default() }).await;
    machine.extra = "[retention]\nkeep_last = 1\nkeep_daily = 0\nkeep_weekly = 0\n\
                     keep_monthly = 0\nkeep_yearly = 0\n"
        .into();
    let (engine, store) = machine.start().await;
    let settings = machine.settings();
    let mut maintenance =
        Maintenance::new(store.clone(), engine.shared.archive.clone(), machine.clock.clone());
    maintenance.run_due(&settings, &TASKS).await;
    for _ in 0..3 {
        store.job_for(by_hand(), machine.clock.now()).await.unwrap();
        machine.until_quiet(&engine, &store).await;
    }
    let archive = engine.shared.archive.clone();
    let left = async |maintenance: &mut Maintenance, hours: i64| {
        machine.mock.set(night() + TimeDelta::hours(hours));
        maintenance.run_due(&settings, &TASKS).await;
        archive.names("one").unwrap().len()
    };
    assert_eq!(left(&mut maintenance, 2).await, 3);
    assert_eq!(left(&mut maintenance, 3).await, 1);
}

#[tokio::test]
async fn a_job_whose_snapshot_nothing_would_find_fails_before_it_costs_an_export() {
    let mut machine = Machine::new(Scenario::default()).await;
    let (engine, store) = machine.start().await;
    // As if somebody had put a file with the last number into the archive.
    let highest = crate::manifest::HIGHEST_JOB;
    Store::open(&machine.settings().state_dir, highest).await.unwrap().close().await;
    let job = store.job_for(by_hand(), night()).await.unwrap().0;
    assert_eq!(job.id, highest + 1);
    let job = machine.until_quiet(&engine, &store).await;
    let error = job.error.unwrap();
    assert_eq!((job.state, job.snapshot), (State::Failed, None));
    assert!(error.message.contains("is no name for a snapshot"), "{}", error.message);
    assert_eq!(machine.simulator.count(Kind::Create), 0);
    // Once it is gone, backups go on.
    drop(engine);
    store.close().await;
    let (engine, store) = machine.start().await;
    let job = store.job_for(by_hand(), night()).await.unwrap().0;
    assert_eq!(job.id, 1);
    machine.until_quiet(&engine, &store).await;
    assert_eq!(store.job(1).await.unwrap().unwrap().state, State::Archived);
}
