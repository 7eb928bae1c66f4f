//! `nightjar jobs`, `job`, `cancel` and `retry`: the history, and what to do about a job.

use super::output::{self, Lines, Table, or_dash};
use super::{Common, Problem, clock, exit, open_store, reading, unknown_source};
use crate::job::{Operation, State, Trigger};
use crate::printable::one_line;
use crate::report::{JobDetail, JobView};
use crate::store::{Cancelled, Creation, Filter, NewJob};
use crate::timestamp::rfc3339;
use clap::Args;
use std::str::FromStr;

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Only jobs of this source
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Only jobs in this state: queued, waiting, ready, archived, failed or cancelled
    #[arg(long, value_parser = State::from_str)]
    state: Option<State>,
    /// Show at most this many, newest first
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ShowArguments {
    /// The job's id
    id: i64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct IdArguments {
    /// The job's id
    id: i64,
}

pub(super) async fn list(common: &Common, arguments: &ListArguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let ListArguments { source, state, limit, .. } = arguments;
    let filter = Filter { source: source.clone(), state: *state, limit: *limit, before: None };
    let jobs = reading(&settings, async |it| it.jobs(&filter).await).await?;
    if let Some(source) = source
        && jobs.is_empty()
        && settings.source(source).is_none()
    {
        return Err(unknown_source(&settings, std::slice::from_ref(source)));
    }
    if arguments.json {
        output::json(&jobs)?;
    } else if jobs.is_empty() {
        output::line("There are no such jobs.")?;
    } else {
        let mut lines = Lines::default();
        lines.table(&table(&jobs));
        lines.print()?;
    }
    Ok(exit::DONE)
}

fn table(jobs: &[JobView]) -> Table {
    let mut table = Table::new(&[
        "ID", "SOURCE", "STATE", "TRIGGER", "CREATED", "FINISHED", "POLLS", "ATTEMPTS", "WHAT",
    ]);
    for job in jobs {
        table.row([
            job.id.to_string(),
            job.source.clone(),
            job.state.to_string(),
            job.trigger.to_string(),
            rfc3339(job.created_at),
            or_dash(job.finished_at.map(rfc3339)),
            job.polls.to_string(),
            job.attempts.to_string(),
            what(job),
        ]);
    }
    table
}

/// The most important detail of a job.
fn what(job: &JobView) -> String {
    if let Some(error) = &job.error {
        return format!("{}: {}", error.kind, error.message);
    }
    if let (Some(hold), Some(due)) = (&job.hold, job.due_at) {
        return format!("{} until {}: {}", hold.why, rfc3339(due), hold.message);
    }
    match (&job.snapshot, job.due_at) {
        (Some(path), _) => path.display().to_string(),
        (None, Some(due)) => format!("continues at {}", rfc3339(due)),
        (None, None) => String::new(),
    }
}

pub(super) async fn show(common: &Common, arguments: &ShowArguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let found = reading(&settings, async |it| it.job(arguments.id).await).await?;
    let Some(detail) = found else { return Err(unknown_job(arguments.id)) };
    if arguments.json {
        output::json(&detail)?;
    } else {
        page(&detail).print()?;
    }
    Ok(exit::DONE)
}

fn page(detail: &JobDetail) -> Lines {
    let job = &detail.job;
    let mut lines = Lines::default();
    for line in [
        format!("Job {} of source {}: {}", job.id, job.source, job.state),
        format!("  trigger        {}", job.trigger),
        format!("  scheduled for  {}", or_dash(job.scheduled_for.map(rfc3339))),
        format!("  created        {}", rfc3339(job.created_at)),
        format!("  finished       {}", or_dash(job.finished_at.map(rfc3339))),
        format!("  remote job     {}", or_dash(job.remote_id.clone())),
        format!("  attempts       {}", job.attempts),
        format!("  polls          {}", job.polls),
    ] {
        lines.push(line);
    }
    if let Some(snapshot) = &job.snapshot {
        lines.push(format!("  snapshot       {}", snapshot.display()));
    }
    if let Some(error) = &job.error {
        lines.push(format!("  error          {}: {}", error.kind, error.message));
    }
    if let Some(due) = job.due_at {
        lines.push(format!("  continues at   {}", rfc3339(due)));
    }
    lines.push("Timeline:");
    for event in &detail.timeline {
        // What the service wrote may have many lines.
        let message = event.message.replace('\t', "    ").replace('\n', "\n      ");
        let times = match event.count {
            1 => String::new(),
            count => format!(" ({count} times, the last at {})", rfc3339(event.last_at)),
        };
        // One that is not a word of this program has no line to itself.
        let kind = one_line(&event.kind);
        let text = format!("  {}  {kind:10} {message}{times}", rfc3339(event.at));
        text.split('\n').for_each(|line| lines.push(line));
    }
    lines
}

pub(super) async fn cancel(common: &Common, arguments: &IdArguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let store = open_store(&settings).await?;
    let id = arguments.id;
    let outcome = store.cancel(id, clock().now()).await;
    store.close().await;
    match outcome? {
        Cancelled::Now => {
            output::line(format!("Job {id} is cancelled."))?;
            Ok(exit::DONE)
        }
        Cancelled::Before(state) => {
            Err(Problem::failed(format!("job {id} has already ended: it is {state}")))
        }
        Cancelled::TooLate => Err(Problem::failed(format!(
            "job {id} has asked the service to publish a version: it is too late to cancel; \
             `nightjar job {id}` shows how it ends"
        ))),
        Cancelled::Unknown => Err(unknown_job(id)),
    }
}

pub(super) async fn retry(common: &Common, arguments: &IdArguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let store = open_store(&settings).await?;
    let id = arguments.id;
    let Some(old) = store.job(id).await? else { return Err(unknown_job(id)) };
    if !old.state.is_final() {
        return Err(Problem::failed(format!(
            "job {id} is still live ({}); `nightjar cancel {id}` ends it",
            old.state
        )));
    }
    if old.operation == Operation::Restore {
        return Err(Problem::failed(format!(
            "job {id} is a restore: look at what it has left with `nightjar versions {}`, and ask \
             for it again",
            old.source
        )));
    }
    let Some(source) = settings.source(&old.source) else {
        return Err(unknown_source(&settings, &[old.source]));
    };
    let new = NewJob {
        source: source.name.clone(),
        account: source.account.clone(),
        trigger: Trigger::Manual,
        note: format!("created by hand in place of job {id}"),
    };
    let now = clock().now();
    let (job, is_new) = match old.version {
        None => store.job_for(new, now).await?,
        Some(version) => match store.create_version(new, version, now).await? {
            Creation::Created(job) => (*job, true),
            Creation::Busy(job) => (*job, false),
        },
    };
    store.close().await;
    if !is_new {
        return Err(Problem::failed(format!(
            "source {} already has the live job {}; `nightjar job {}` shows it",
            source.name, job.id, job.id
        )));
    }
    output::line(format!(
        "Job {} is queued in place of job {id}. The daemon or `nightjar backup {}` will run it.",
        job.id, source.name
    ))?;
    Ok(exit::DONE)
}

fn unknown_job(id: i64) -> Problem {
    Problem::failed(format!("there is no job {id}; `nightjar jobs` lists them"))
}
