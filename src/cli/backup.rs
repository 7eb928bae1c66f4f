//! `nightjar backup`: sources, now, in the foreground.

use super::output;
use super::watch::Watch;
use super::{Common, Problem, archive, chosen, clock, exit, open_store, stop_signal};
use crate::alerts::Dispatcher;
use crate::config::units::{duration_text, parse_duration};
use crate::engine::{Engine, EngineConfig, Observer, Scope, remove_leftovers};
use crate::job::{Job, State, Trigger};
use crate::maintenance::{Maintenance, OF_DATABASE};
use crate::report::Reporter;
use crate::settings::Source;
use crate::store::{FILE, NewJob, Store, StoreError, copies, lock};
use clap::Args;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long the last messages and pings may take.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long they may take where the command was stopped or its time is over.
const STOPPING: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The sources to back up [default: all]
    sources: Vec<String>,
    /// Only queue the jobs and print their ids; the daemon works on them
    #[arg(long)]
    no_wait: bool,
    /// Stop after this time, such as "90s" or "2h", and leave unfinished jobs to the daemon or the
    /// next backup; they count as failed
    #[arg(long, value_name = "DURATION", conflicts_with = "no_wait", value_parser = timeout)]
    timeout: Option<Duration>,
}

fn timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("expected more than 0s".to_owned()),
        limit => Ok(limit),
    }
}

pub(super) async fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let sources = chosen(&settings, &arguments.sources)?;
    if sources.is_empty() {
        return Err(Problem::usage(format!(
            "{} has no [[sources]]: there is nothing to back up",
            settings.file.display()
        )));
    }
    if arguments.no_wait {
        let store = open_store(&settings).await?;
        for (job, _) in queue(&store, &sources).await? {
            output::line(job.id.to_string())?;
        }
        store.close().await;
        return Ok(exit::DONE);
    }
    // Before anything that may take its time.
    let stop = stop_signal()?;
    let timed_out = arguments.timeout.map(|limit| stop_after(limit, &stop));
    let accounts = sources.iter().map(|source| source.account.as_str()).collect();
    let engine_config = EngineConfig::connect(&settings, &accounts)?;
    let store = open_store(&settings).await?;
    let worker =
        lock::Worker::register(&settings.state_dir, fastrand::u64(..)).map_err(|error| {
            Problem::failed(format!(
                "cannot use the state folder {}: {error}",
                settings.state_dir.display()
            ))
        })?;
    remove_leftovers(&worker, &archive(&settings));
    let watch = Watch::new(store.clone());
    let jobs = queue(&store, &sources).await?;
    for (job, is_new) in &jobs {
        watch.add(job);
        if !is_new {
            output::note(format!("{}: joins job {}, which is {}", job.source, job.id, job.state));
        }
    }
    let ids = jobs.iter().map(|(job, _)| job.id).collect();
    let reporter = Reporter::new(Some(store.clone()), archive(&settings));
    let (dispatcher, mut backups) =
        Dispatcher::new(store.clone(), reporter, clock(), settings.clone());
    let (shown, alerts) = (watch.observer(), dispatcher.clone());
    let observer: Observer = Arc::new(move |notice| {
        alerts.notice(&notice);
        shown(notice);
    });
    let engine =
        Engine::new(store.clone(), archive(&settings), worker, clock(), engine_config, observer);
    // A task of its own, so that no output and no ping delays it.
    let stopped = stop.clone();
    let mut working = tokio::spawn(async move { engine.run(Scope::Jobs(ids), stop).await });
    let worked = {
        let mut showing = pin!(watch.keep_showing(|| clock().now()));
        loop {
            tokio::select! {
                worked = &mut working => break worked.map_err(Problem::failed)?,
                Some(event) = backups.next() => dispatcher.ping(event).await,
                () = &mut showing => {}
            }
        }
    };
    if worked.as_ref().is_err_and(StoreError::is_doubtful) {
        copies::mark_suspect(&settings.state_dir.join(FILE));
    }
    let limit = timed_out.filter(|token| token.is_cancelled()).and(arguments.timeout);
    let code = async {
        worked?;
        watch.refresh(clock().now()).await?;
        conclude(&store, &jobs, limit).await
    };
    let code = code.await;
    // Also after a failure, for what ended before it; after a stop, not for long.
    let patience = if stopped.is_cancelled() { STOPPING } else { LAST_WORDS };
    dispatcher.conclude(backups, patience).await;
    // Maintains the database if no daemon does. Retention is left to `prune` and the daemon: adding
    // a backup never removes one.
    if code.is_ok() && !stopped.is_cancelled() {
        let mut maintenance = Maintenance::new(store.clone(), archive(&settings), clock());
        tokio::select! {
            () = stopped.cancelled() => {}
            _ = maintenance.run_due(&settings, &OF_DATABASE) => {}
        }
    }
    store.close().await;
    code
}

/// Requests a stop after a time. The returned token is cancelled then.
fn stop_after(limit: Duration, stop: &CancellationToken) -> CancellationToken {
    let (timed_out, stop) = (CancellationToken::new(), stop.clone());
    let passed = timed_out.clone();
    tokio::spawn(async move {
        // What never ends, for no longer than that.
        let _ = tokio::time::timeout(limit, stop.cancelled()).await;
        if !stop.is_cancelled() {
            passed.cancel();
            stop.cancel();
        }
    });
    timed_out
}

/// Creates a job for each source, or joins its live one.
async fn queue(store: &Store, sources: &[&Source]) -> Result<Vec<(Job, bool)>, Problem> {
    let mut jobs = Vec::new();
    for source in sources {
        let new = NewJob {
            source: source.name.clone(),
            account: source.account.clone(),
            trigger: Trigger::Manual,
            note: "created by hand".to_owned(),
        };
        jobs.push(store.job_for(new, clock().now()).await?);
    }
    Ok(jobs)
}

/// Prints how each job ended, and returns the exit code. `limit` is the timeout, if it has passed.
async fn conclude(
    store: &Store,
    jobs: &[(Job, bool)],
    limit: Option<Duration>,
) -> Result<u8, Problem> {
    let ended = match limit {
        Some(limit) => format!("timed out after {}", duration_text(limit)),
        None => "stopped".to_owned(),
    };
    let mut archived = 0;
    for (job, _) in jobs {
        let Some(job) = store.job(job.id).await? else { continue };
        let (id, source) = (job.id, &job.source);
        let line = match (job.state, &job.snapshot, &job.error) {
            (State::Archived, Some(snapshot), _) => {
                archived += 1;
                format!("{source}: archived as {}", snapshot.display())
            }
            (State::Failed, _, Some(error)) => {
                format!(
                    "{source}: FAILED: {}: {} (`nightjar job {id}` shows its timeline)",
                    error.kind, error.message
                )
            }
            (State::Cancelled, ..) => format!("{source}: job {id} was cancelled"),
            (state, ..) => format!(
                "{source}: {ended}; job {id} stays {state}, the daemon or the next backup finishes \
                 it"
            ),
        };
        output::line(line)?;
    }
    Ok(match archived {
        count if count == jobs.len() => exit::DONE,
        0 => exit::FAILED,
        _ => exit::PARTLY,
    })
}
