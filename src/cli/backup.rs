//! `nightjar backup`: sources, now, in the foreground.

use super::herald::Herald;
use super::output;
use super::watch::Watch;
use super::{Common, Problem, archive, chosen, clock, exit, open_store, plan, stop_signal};
use crate::engine::{Engine, Observer, Scope};
use crate::job::{Job, State, Trigger};
use crate::report::Reporter;
use crate::settings::{Settings, Source};
use crate::store::{NewJob, Store, copies, lock};
use clap::Args;
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The sources to back up [default: all]
    sources: Vec<String>,
    /// Only queue the jobs and print their numbers; the daemon works them
    #[arg(long)]
    no_wait: bool,
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
            output::print(&format!("{}\n", job.id))?;
        }
        store.close().await;
        return Ok(exit::DONE);
    }
    let plan = plan(&settings, &sources.iter().map(|source| source.account.as_str()).collect())?;
    let store = open_store(&settings).await?;
    let worker = lock::Worker::enrol(&settings.state_dir, fastrand::u64(..)).map_err(|error| {
        Problem::failed(format!(
            "cannot use the state folder {}: {error}",
            settings.state_dir.display()
        ))
    })?;
    let stop = stop_signal()?;
    let watch = Watch::new(store.clone());
    let jobs = queue(&store, &sources).await?;
    for (job, is_new) in &jobs {
        watch.add(job);
        if !is_new {
            eprintln!("{}: joins job {}, which is {}", job.source, job.id, job.state);
        }
    }
    let ids = jobs.iter().map(|(job, _)| job.id).collect();
    let reporter = Reporter::new(Some(store.clone()), archive(&settings));
    let (herald, steps) = Herald::new(store.clone(), reporter, settings.clone());
    let (shown, told) = (watch.observer(), herald.clone());
    let observer: Observer = Arc::new(move |notice| {
        told.notice(&notice);
        shown(notice);
    });
    let engine = Engine::new(store.clone(), archive(&settings), worker, clock(), plan, observer);
    tokio::select! {
        worked = engine.run(Scope::Jobs(ids), stop) => worked?,
        () = watch.keep_showing(|| clock().now()) => {}
    }
    watch.refresh(clock().now()).await?;
    let code = conclude(&store, &jobs).await?;
    herald.conclude(steps).await;
    keep_copy(&settings, &store).await;
    store.close().await;
    Ok(code)
}

/// Where no daemon copies the database every night, this does.
async fn keep_copy(settings: &Settings, store: &Store) {
    let now = clock().now();
    if copies::is_due(&settings.state_dir, now)
        && let Err(error) = store.keep_copy(now).await
    {
        tracing::warn!(%error, "the database could not be copied");
    }
}

/// Makes a job for each source, or joins its live one.
async fn queue(store: &Store, sources: &[&Source]) -> Result<Vec<(Job, bool)>, Problem> {
    let mut jobs = Vec::new();
    for source in sources {
        let new = NewJob {
            source: source.name.clone(),
            account: source.account.clone(),
            trigger: Trigger::Manual,
            note: "made by hand".to_owned(),
        };
        jobs.push(store.job_for(new, clock().now()).await?);
    }
    Ok(jobs)
}

/// Says how each job ended; the exit code follows from that.
async fn conclude(store: &Store, jobs: &[(Job, bool)]) -> Result<u8, Problem> {
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
                "{source}: stopped; job {id} stays {state}, the daemon or the next backup \
                 finishes it"
            ),
        };
        output::print(&format!("{line}\n"))?;
    }
    Ok(match archived {
        count if count == jobs.len() => exit::DONE,
        0 => exit::FAILED,
        _ => exit::PARTLY,
    })
}
