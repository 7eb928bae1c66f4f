//! Whole jobs against the simulated service, with a mock clock.

mod clocks;
mod compare;
mod jobs;
mod lies;
mod quotas;
mod restores;
mod results;
mod schedules;
mod unchanged;
mod workers;

use super::*;
use crate::clock::MockClock;
use crate::config::{self, Environment};
use crate::format::Format;
use crate::job::{JobStep, State, Trigger};
use crate::maintenance::{Maintenance, TASKS};
use crate::policy::schedule::{Due, Schedule, due};
use crate::secret::Key;
use crate::service::bing::{Bing, DataSource};
use crate::service::http::HttpClients;
use crate::service::{ExportService, Target};
use crate::settings::{Settings, Source};
use crate::simulator::{
    Damage, Data, Ending, ErrorBody, Fault, Kind, Scenario, SimSource, Simulator,
};
use crate::store::{Claim, Filter, NewJob};
use chrono::{TimeDelta, TimeZone};
use std::collections::{BTreeMap, BTreeSet};
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
        self.start_observed(Arc::new(|_| {})).await
    }

    /// The same with an observer.
    async fn start_observed(&mut self, observer: Observer) -> (Engine, Store) {
        let settings = self.settings();
        let archive = Archive::new(&settings.archive_dir, &settings.state_dir);
        let store = Store::open(&settings.state_dir, 0).await.unwrap();
        self.workers += 1;
        let worker = lock::Worker::register(&settings.state_dir, self.workers).unwrap();
        let config = self.config(&settings);
        let engine =
            Engine::new(store.clone(), archive, worker, self.clock.clone(), config, observer);
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
        looked: BTreeSet::new(),
        limits: Arc::new(engine.config().limits()),
    }
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

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}
