//! `nightjar backup`: sources, now, in the foreground.

use super::foreground::Foreground;
use super::output;
use super::{Common, Problem, chosen, clock, exit, open_store, stop_signal};
use crate::config::units::{duration_text, parse_duration};
use crate::job::{Job, Operation, State, Trigger};
use crate::settings::{Settings, Source};
use crate::store::{NewJob, Store};
use clap::Args;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

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
        return queue_only(&settings, &sources).await;
    }
    // Before anything that may take its time.
    let stop = stop_signal()?;
    let timed_out = arguments.timeout.map(|limit| stop_after(limit, &stop));
    let accounts = sources.iter().map(|source| source.account.as_str()).collect();
    let mut foreground = Foreground::open(&settings, &accounts, stop).await?;
    let stopped = foreground.stop().clone();
    let worked = work(&mut foreground, &sources, &stopped).await;
    let limit = timed_out.filter(|token| token.is_cancelled()).and(arguments.timeout);
    let code = async { conclude(foreground.store(), &worked?, limit).await };
    let code = code.await;
    if code.is_ok() {
        foreground.count_changes(&sources).await;
        // Beside what was asked for: it does not change how the command ends.
        if let Err(problem) = foreground.work_on_versions(&sources).await {
            problem.print();
        }
    }
    foreground.close(code.is_ok()).await;
    code
}

/// Queues the jobs and prints their ids. A source whose live job does something else gets none.
async fn queue_only(settings: &Settings, sources: &[&Source]) -> Result<u8, Problem> {
    let store = open_store(settings).await?;
    let (mut queued, mut busy) = (0, 0);
    for (job, _) in queue(&store, sources).await? {
        if job.is_ordinary_backup() {
            queued += 1;
            output::line(job.id.to_string())?;
        } else {
            busy += 1;
            output::note(format!("{}; nothing is queued: try again later", occupied(&job)));
        }
    }
    store.close().await;
    Ok(match (queued, busy) {
        (_, 0) => exit::DONE,
        (0, _) => exit::FAILED,
        _ => exit::PARTLY,
    })
}

/// Works on a backup of each source until all have ended, or a stop is requested. Where the live
/// job of a source does something else, it is followed first.
async fn work(
    foreground: &mut Foreground<'_>,
    sources: &[&Source],
    stop: &CancellationToken,
) -> Result<Vec<(Job, bool)>, Problem> {
    let mut jobs = queue(foreground.store(), sources).await?;
    let mut shown: BTreeSet<i64> = BTreeSet::new();
    loop {
        for (job, is_new) in &jobs {
            if !shown.insert(job.id) {
                continue;
            }
            foreground.show(job);
            if !job.is_ordinary_backup() {
                output::note(format!("{}; its backup comes after that", occupied(job)));
            } else if !is_new {
                output::note(format!(
                    "{}: joins job {}, which is {}",
                    job.source, job.id, job.state
                ));
            }
        }
        foreground.work(jobs.iter().map(|(job, _)| job.id).collect()).await?;
        if stop.is_cancelled() || jobs.iter().all(|(job, _)| job.is_ordinary_backup()) {
            return Ok(jobs);
        }
        for (job, is_new) in jobs.iter_mut().filter(|(job, _)| !job.is_ordinary_backup()) {
            let source = sources.iter().find(|source| source.name == job.source);
            let Some(source) = source else { continue };
            (*job, *is_new) = queue_one(foreground.store(), source).await?;
        }
    }
}

fn occupied(job: &Job) -> String {
    let what = match job.operation {
        Operation::Restore => "is being restored",
        Operation::Backup => "has a backup of another version under way",
    };
    format!("{} {what} by job {}", job.source, job.id)
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

/// Creates a job for each source, or finds its live one. The flags say which are new.
async fn queue(store: &Store, sources: &[&Source]) -> Result<Vec<(Job, bool)>, Problem> {
    let mut jobs = Vec::new();
    for source in sources {
        jobs.push(queue_one(store, source).await?);
    }
    Ok(jobs)
}

async fn queue_one(store: &Store, source: &Source) -> Result<(Job, bool), Problem> {
    let new = NewJob {
        source: source.name.clone(),
        account: source.account.clone(),
        trigger: Trigger::Manual,
        note: "created by hand".to_owned(),
    };
    Ok(store.job_for(new, clock().now()).await?)
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
            _ if !job.is_ordinary_backup() => {
                format!("{source}: {ended}; {}, and it is not backed up", occupied(&job))
            }
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
