//! `nightjar backup`: sources, now, in the foreground.

use super::foreground::Foreground;
use super::output;
use super::{Common, Problem, chosen, clock, exit, open_store, stop_signal};
use crate::config::units::{duration_text, parse_duration};
use crate::job::{Job, State, Trigger};
use crate::settings::Source;
use crate::store::{NewJob, Store};
use clap::Args;
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
    let mut foreground = Foreground::open(&settings, &accounts, stop).await?;
    let jobs = queue(foreground.store(), &sources).await?;
    for (job, is_new) in &jobs {
        foreground.show(job);
        if !is_new {
            output::note(format!("{}: joins job {}, which is {}", job.source, job.id, job.state));
        }
    }
    let worked = foreground.work(jobs.iter().map(|(job, _)| job.id).collect()).await;
    let limit = timed_out.filter(|token| token.is_cancelled()).and(arguments.timeout);
    let code = async {
        worked?;
        conclude(foreground.store(), &jobs, limit).await
    };
    let code = code.await;
    if code.is_ok() {
        foreground.count_changes(&sources).await;
    }
    foreground.close(code.is_ok()).await;
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
