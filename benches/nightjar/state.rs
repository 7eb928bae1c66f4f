//! The state machine with an instant service, compared with the disk's sync rate.

use crate::fake::Instantly;
use crate::measure::{Samples, title};
use nightjar::archive::Archive;
use nightjar::clock::Clock;
use nightjar::config::{self, Environment};
use nightjar::engine::{Engine, EngineConfig, Scope};
use nightjar::job::Trigger;
use nightjar::settings::Settings;
use nightjar::simulator::Data;
use nightjar::store::{NewJob, Store, lock};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Settings with this many sources whose schedules never wake.
pub(crate) fn settings(folder: &Path, sources: usize, poll: &str, endpoint: &str) -> Settings {
    let mut text = format!(
        "state_dir = \"state\"\n[poll]\n{poll}\n[accounts.bench]\nkey_env = \"UNUSED\"\n\
         endpoint = \"{endpoint}\"\nmax_in_process = 1000000\nmax_jobs_per_day = 1000000\n"
    );
    for number in 0..sources {
        let _ = write!(
            text,
            "[[sources]]\nname = \"s{number}\"\naccount = \"bench\"\naccess_id = \"bench\"\n\
             data_source = \"Bench\"\nschedule = \"0 0 31 12 *\"\n"
        );
    }
    config::parse(&text, &folder.join("config.toml"), &Environment::default()).unwrap()
}

/// A live job for each source.
pub(crate) async fn queue(store: &Store, settings: &Settings) -> Vec<i64> {
    let clock = Clock::system();
    let made = settings.sources.iter().map(|source| {
        let new = NewJob {
            source: source.name.clone(),
            account: source.account.clone(),
            trigger: Trigger::Manual,
            note: "bench".into(),
        };
        store.job_for(new, clock.now())
    });
    let made = futures_util::future::join_all(made).await;
    made.into_iter().map(|job| job.unwrap().0.id).collect()
}

/// How often per second this disk syncs an appended page.
fn syncs_a_second(folder: &Path) -> f64 {
    let mut file = File::create(folder.join("sync")).unwrap();
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_secs(1) {
        file.write_all(&[1; 4096]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

pub(crate) async fn run(quick: bool) {
    let (jobs, rounds) = if quick { (100, 3) } else { (500, 5) };
    title(&format!("state machine: {jobs} jobs from queued to archived, answers at once"));
    let data = Data::first_places(1);
    let (mut rate, mut syncs, mut ratio, mut commits) =
        (Samples::default(), Samples::default(), Samples::default(), Samples::default());
    for _ in 0..rounds {
        let folder = TempDir::new_in(".").unwrap();
        let poll = "initial = \"1ms\"\nmax = \"1ms\"";
        let settings =
            settings(folder.path(), jobs, poll, "https://spatial.virtualearth.net/REST/v1");
        let sync = syncs_a_second(folder.path());
        let store = Store::open(&settings.state_dir, 0).await.unwrap();
        let ids = queue(&store, &settings).await;
        let worker = lock::Worker::register(&settings.state_dir, 1).unwrap();
        let archive = Archive::new(&settings.archive_dir, &settings.state_dir);
        let service = Instantly { document: data.document(), entities: data.entities() };
        let config = EngineConfig {
            settings,
            services: BTreeMap::from([("bench".to_owned(), Arc::new(service) as _)]),
        };
        let clock = Clock::system();
        let engine = Engine::new(store.clone(), archive, worker, clock, config, Arc::new(|_| {}));
        let before = store.commits();
        let begun = Instant::now();
        engine.run(Scope::Jobs(ids), CancellationToken::new()).await.unwrap();
        let each = jobs as f64 / begun.elapsed().as_secs_f64();
        commits.add((store.commits() - before) as f64 / jobs as f64);
        rate.add(each);
        syncs.add(sync);
        ratio.add(each / sync);
        store.close().await;
    }
    println!("jobs a second               {}", rate.show());
    println!("fdatasync a second          {}", syncs.show());
    println!("ratio                       {}", ratio.show());
    println!("database commits a job      {}", commits.show());
    println!("(each job also syncs its data file, its manifest and twice its folder)");
}
