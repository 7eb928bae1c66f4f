//! `nightjar demo`: a complete backup with nothing to set up. A simulated service in this process,
//! a real schedule, real HTTP, a real database and a real archive.

mod circle;

use self::circle::Circle;
use super::output::{self, Lines, bytes};
use super::watch::Watch;
use super::{Common, Problem, archive, clock, exit, open_store, stop_signal};
use crate::archive::Snapshot;
use crate::engine::{Engine, EngineConfig, Scope};
use crate::files;
use crate::job::{Job, State};
use crate::manifest::Manifest;
use crate::simulator::{Changes, Data, Scenario, SimSource, Simulator};
use crate::store::{Filter, Store, lock};
use chrono::{TimeDelta, Timelike};
use clap::Args;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const SOURCE: &str = "places";
const ACCESS_ID: &str = "20181f26d9e94c81acdf9496133d4f23";
const DATA_SOURCE: &str = "WorldPlaces";
/// Not secret: it gives access to nothing.
const KEY: &str = "demo-key-of-the-simulated-service";
/// The first line of a configuration that may be overwritten.
const MARK: &str = "# Written by `nightjar demo`";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The folder to create everything in
    #[arg(long, value_name = "FOLDER", default_value = "nightjar-demo")]
    dir: PathBuf,
    /// Also show a restore: damage the source, see it, load the snapshot, compare, publish it
    #[arg(long)]
    restore: bool,
}

pub(super) async fn run(arguments: &Arguments) -> Result<u8, Problem> {
    let folder = std::path::absolute(&arguments.dir).map_err(Problem::failed)?;
    let source = SimSource::new(ACCESS_ID, DATA_SOURCE, KEY, Data::Places)
        .scenario(scenario(arguments.restore));
    let simulator = Simulator::start(vec![source])
        .await
        .map_err(|error| Problem::failed(format!("cannot listen on loopback: {error}")))?;
    let config = set_up(&folder, &simulator.endpoint())?;
    output::note(format!("A simulated export service listens on {}.", simulator.endpoint()));
    output::note(format!("The configuration is {}.", config.display()));

    let common = Common { config: Some(config.clone()), ..Common::default() };
    let settings = common.settings()?;
    let engine_config = EngineConfig::connect_all(&settings)?;
    let store = open_store(&settings).await?;
    let only = lock::daemon(&settings.state_dir).map_err(Problem::failed)?.map_err(|process| {
        Problem::failed(format!("process {process} already uses {}", folder.display()))
    })?;
    let worker = lock::Worker::register(&settings.state_dir, fastrand::u64(..))
        .map_err(|error| Problem::failed(format!("cannot use {}: {error}", folder.display())))?;
    let stop = stop_signal()?;
    let watch = Watch::new(store.clone());
    let before = newest(&store).await?.map_or(0, |job| job.id);
    let engine = Engine::new(
        store.clone(),
        archive(&settings),
        worker,
        clock(),
        engine_config,
        watch.observer(),
    );
    output::note("The schedule creates a job in a second or two …");
    let done = CancellationToken::new();
    let working = async {
        let worked = engine.run(Scope::Everything, done.clone()).await;
        // An engine that ends by itself has failed: do not wait for its job.
        stop.cancel();
        worked
    };
    let (worked, ended) = tokio::join!(working, async {
        let ended = follow(&store, &watch, before, &stop).await;
        done.cancel();
        ended
    });
    worked?;
    let snapshot = match ended? {
        Some(job) if job.state == State::Archived => snapshot(&job)?,
        Some(job) => {
            let error = job.error.map_or(String::new(), |error| error.message);
            return Err(Problem::failed(format!("the demo's job {} failed: {error}", job.id)));
        }
        None => return Err(Problem::failed("stopped before the backup was complete")),
    };
    store.close().await;
    drop(only);
    let typed = typed(&config);
    if arguments.restore {
        let circle = Circle { simulator: &simulator, config: &config, typed: &typed };
        return circle.go_round(&snapshot).await;
    }
    conclude(&typed, &snapshot)
}

/// With a restore there are more remote jobs to wait for.
fn scenario(restores: bool) -> Scenario {
    let pending_polls = if restores { 1 } else { 3 };
    let changes = Changes { pending_polls, ..Changes::default() };
    Scenario { pending_polls, changes, ..Scenario::default() }
}

/// The program and the configuration as one would type them from here.
fn typed(config: &Path) -> String {
    let nightjar = std::env::args().next().unwrap_or_else(|| "nightjar".to_owned());
    format!("{nightjar} --config {}", relative(config).display())
}

fn relative(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).to_owned()
}

/// Writes the configuration and the key; the schedule fires in one to two seconds.
fn set_up(folder: &Path, endpoint: &str) -> Result<PathBuf, Problem> {
    let cannot = |error: std::io::Error| {
        Problem::failed(format!(
            "cannot write to {}: {error}; choose another folder with --dir",
            folder.display()
        ))
    };
    let config = folder.join("config.toml");
    if let Ok(text) = fs::read_to_string(&config)
        && !text.starts_with(MARK)
    {
        return Err(Problem::usage(format!(
            "{} is not a demo configuration; choose another folder with --dir",
            config.display()
        )));
    }
    fs::create_dir_all(folder).map_err(cannot)?;
    let key = folder.join("demo.key");
    files::create(&key).and_then(|mut key| key.write_all(KEY.as_bytes())).map_err(cannot)?;
    let at = clock().now() + TimeDelta::seconds(2);
    let schedule = format!("{} {} {} * * *", at.second(), at.minute(), at.hour());
    let text = format!(
        "{MARK}; it is rewritten each time.\n\
         state_dir = \"state\"\n\
         archive_dir = \"archive\"\n\n\
         [accounts.demo]\n\
         key_file = \"demo.key\"\n\
         endpoint = \"{endpoint}\"\n\n\
         [poll]\n\
         initial = \"250ms\"\n\
         max = \"2s\"\n\n\
         [[sources]]\n\
         name = \"{SOURCE}\"\n\
         account = \"demo\"\n\
         access_id = \"{ACCESS_ID}\"\n\
         data_source = \"{DATA_SOURCE}\"\n\
         schedule = \"{schedule}\"\n"
    );
    fs::write(&config, text).map_err(cannot)?;
    Ok(config)
}

async fn newest(store: &Store) -> Result<Option<Job>, Problem> {
    Ok(store.jobs(&Filter { limit: 1, ..Filter::default() }).await?.into_iter().next())
}

/// Follows the scheduled job to its end. `None` if stopped before.
async fn follow(
    store: &Store,
    watch: &Watch,
    before: i64,
    stop: &CancellationToken,
) -> Result<Option<Job>, Problem> {
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    let mut watched = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            _ = beat.tick() => {}
        }
        let Some(job) = newest(store).await?.filter(|job| job.id > before) else { continue };
        if !watched {
            watch.add(&job);
            watched = true;
        }
        watch.refresh(clock().now()).await?;
        if job.state.is_final() {
            return Ok(Some(job));
        }
    }
}

/// The job's snapshot.
fn snapshot(job: &Job) -> Result<Snapshot, Problem> {
    let Some(path) = &job.snapshot else {
        return Err(Problem::failed("the job is archived, but names no snapshot"));
    };
    let text = fs::read(path).map_err(|error| unreadable(path, &error))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| unreadable(path, &error))?;
    Ok(Snapshot { path: path.clone(), manifest })
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Problem {
    Problem::failed(format!("{}: {error}", path.display()))
}

/// Prints the results and where they are.
fn conclude(typed: &str, snapshot: &Snapshot) -> Result<u8, Problem> {
    let (path, data, manifest) = (&snapshot.path, snapshot.data(), &snapshot.manifest);
    let links = fs::metadata(&data).map_err(|error| unreadable(path, &error))?.nlink();
    let cost = match &manifest.same_content_as {
        Some(_) => {
            format!("identical to the previous one: a hard link ({links} names), no extra space")
        }
        None => format!("stored in {}", bytes(manifest.stored.bytes)),
    };
    let text = format!(
        "\nOne full backup: {} entities, {}, validated; {cost}.\n\
         \x20 data      {}\n\
         \x20 manifest  {}\n\n\
         Look at it:\n\
         \x20 {typed} verify      # re-read and verify every byte\n\
         \x20 {typed} snapshots   # what is in the archive\n\
         \x20 {typed} job {}       # the job's whole timeline\n\
         \x20 zstd -dc {} | head -c 2000\n\n\
         Run the demo again to see that an identical night costs nothing. The folder may be \
         deleted.\n",
        manifest.entities,
        bytes(manifest.content.bytes),
        data.display(),
        path.display(),
        manifest.job,
        relative(&data).display(),
    );
    let mut lines = Lines::default();
    text.lines().for_each(|line| lines.push(line));
    lines.print()?;
    Ok(exit::DONE)
}
