//! The tasks. A new one is a constant here and a place in the list.

use super::Rhythm;
use crate::archive::Archive;
use crate::settings::Settings;
use crate::store::{PrunedHistory, Store};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::io;

/// When the nightly tasks run, in the configuration's zone.
const NIGHTLY: Rhythm = Rhythm::At("0 4 * * *");

/// Removes the snapshots that no retention rule keeps. Those of sources that are not configured
/// stay.
pub const RETENTION: Task = Task { name: "retention", rhythm: NIGHTLY, run: retention };
/// Takes a copy of the database.
pub const COPY: Task = Task { name: "copy", rhythm: NIGHTLY, run: copy };

/// Removes old jobs from the history, and old events.
pub const HISTORY: Task = Task { name: "history", rhythm: NIGHTLY, run: history };

/// Every task, in the order in which those run that are due together.
pub const TASKS: [Task; 3] = [RETENTION, HISTORY, COPY];
/// The tasks that touch nothing but the database.
pub const OF_DATABASE: [Task; 2] = [HISTORY, COPY];

/// What a task works on.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) store: Store,
    pub(super) archive: Archive,
    pub(super) settings: Settings,
    pub(super) now: DateTime<Utc>,
}

/// What a task has done, or why it could not, as a sentence.
pub(super) type Outcome = Result<String, String>;

/// A running task.
pub(super) type Running = BoxFuture<'static, Outcome>;

/// A periodic maintenance task.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// Its name, in the log and in the database. Never reused for another task.
    pub name: &'static str,
    /// How often it runs.
    pub rhythm: Rhythm,
    pub(super) run: fn(Context) -> Running,
}

fn retention(context: Context) -> Running {
    async move {
        let pruned = tokio::task::spawn_blocking(move || prune(&context)).await;
        pruned.unwrap_or_else(|error| Err(format!("it panicked: {error}")))
    }
    .boxed()
}

/// Applies retention to every configured source, even if some fail.
fn prune(context: &Context) -> Outcome {
    let (mut removed, mut failures) = (0, Vec::new());
    for source in &context.settings.sources {
        let pruned = context
            .archive
            .plan_pruning(&source.name, &source.retention, source.timezone, context.now)
            .and_then(|decisions| context.archive.prune(&decisions));
        match pruned {
            Ok(count) => removed += count,
            Err(error) => failures.push(format!("{}: {error}", source.name)),
        }
    }
    match failures.as_slice() {
        [] => Ok(format!("{removed} snapshots were removed")),
        failures => Err(failures.join("; ")),
    }
}

fn history(context: Context) -> Running {
    async move {
        let Context { store, archive, now, .. } = context;
        // What is in the archive stays in the history, however old it is.
        let listed = tokio::task::spawn_blocking(move || archived_jobs(&archive)).await;
        let archived = match listed {
            Ok(Ok(archived)) => archived,
            Ok(Err(error)) => return Err(format!("the archive could not be read: {error}")),
            Err(error) => return Err(format!("it panicked: {error}")),
        };
        match store.prune_history(&archived, now).await {
            Ok(PrunedHistory { jobs, events }) => {
                Ok(format!("{jobs} old jobs and {events} old events were removed from the history"))
            }
            Err(error) => Err(format!("the history could not be pruned: {error}")),
        }
    }
    .boxed()
}

/// The jobs whose snapshots are in the archive.
fn archived_jobs(archive: &Archive) -> io::Result<BTreeSet<i64>> {
    let mut jobs = BTreeSet::new();
    for source in archive.sources()? {
        jobs.extend(archive.names(&source)?.into_iter().map(|name| name.job()));
    }
    Ok(jobs)
}

fn copy(context: Context) -> Running {
    async move {
        match context.store.keep_copy(context.now).await {
            Ok(copy) => Ok(format!("the database was copied to {}", copy.display())),
            Err(error) => Err(format!("the database could not be copied: {error}")),
        }
    }
    .boxed()
}
