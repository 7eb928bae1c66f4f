//! The tasks. A new one is a constant here and a place in the list.

use super::Rhythm;
use super::discover::{self, Services};
use crate::archive::Archive;
use crate::files::Folder;
use crate::settings::Settings;
use crate::store::lock::Held;
use crate::store::{PrunedHistory, Store};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// When the nightly tasks run, in the configuration's zone.
const NIGHTLY: Rhythm = Rhythm::At("0 4 * * *");

/// Removes the snapshots that no retention rule keeps. Those of sources that are not configured
/// stay.
pub const RETENTION: Task =
    Task { name: "retention", rhythm: NIGHTLY, at_start: false, removes: true, run: retention };
/// Takes a copy of the database.
pub const COPY: Task =
    Task { name: "copy", rhythm: NIGHTLY, at_start: false, removes: false, run: copy };

/// Removes old jobs from the history, and old events.
pub const HISTORY: Task =
    Task { name: "history", rhythm: NIGHTLY, at_start: false, removes: true, run: history };
/// Looks which data sources the accounts have.
pub const DISCOVER: Task =
    Task { name: "discover", rhythm: NIGHTLY, at_start: true, removes: false, run: discover::run };

/// Every task, in the order in which those run that are due together.
pub const TASKS: [Task; 4] = [RETENTION, HISTORY, COPY, DISCOVER];
/// The tasks that touch nothing but the database.
pub const OF_DATABASE: [Task; 2] = [HISTORY, COPY];

/// What a task works on.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) store: Store,
    pub(super) archive: Archive,
    pub(super) settings: Settings,
    pub(super) services: Services,
    pub(super) now: DateTime<Utc>,
    /// Held for as long as any part of the task goes on, waited for or not.
    pub(super) _lock: Arc<Held>,
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
    /// Whether each start of a daemon runs it too.
    pub at_start: bool,
    /// Whether it removes what cannot be made again. Then it waits while the clock may be wrong.
    pub removes: bool,
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
        let Context { store, archive, now, .. } = &context;
        let (archive, now) = (archive.clone(), *now);
        let expected = match store.sources_with_snapshots().await {
            Ok(expected) => expected,
            Err(error) => return Err(format!("the history could not be read: {error}")),
        };
        // What is in the archive stays in the history, however old it is.
        let listed = tokio::task::spawn_blocking(move || archived_jobs(&archive, &expected)).await;
        let archived = match listed {
            Ok(Ok(archived)) => archived,
            Ok(Err(error)) => return Err(format!("the archive could not be read: {error}")),
            Err(error) => return Err(format!("it panicked: {error}")),
        };
        let pruned = match store.prune_history(&archived.jobs, &archived.unknown, now).await {
            Ok(PrunedHistory { jobs, events }) => {
                format!("{jobs} old jobs and {events} old events were removed from the history")
            }
            Err(error) => return Err(format!("the history could not be pruned: {error}")),
        };
        match archived.unreadable.as_slice() {
            [] => Ok(pruned),
            unreadable => Err(format!(
                "{pruned}; of these sources nothing, for their folders cannot be read: {}",
                unreadable.join("; ")
            )),
        }
    }
    .boxed()
}

/// What the archive says about the jobs that must stay in the history.
#[derive(Debug, Default)]
struct Archived {
    /// Jobs whose snapshots are in the archive.
    jobs: BTreeSet<i64>,
    /// Sources of which the archive cannot tell: all of their jobs stay.
    unknown: BTreeSet<String>,
    /// Those of them whose folders cannot be read, with the reason.
    unreadable: Vec<String>,
}

/// The jobs whose snapshots are in the archive. `expected` are the sources that should have some: a
/// folder without any may be the mount point of a disk that is not mounted.
///
/// # Errors
/// When the archive is not there, or holds nothing of all that is expected.
fn archived_jobs(archive: &Archive, expected: &BTreeSet<String>) -> io::Result<Archived> {
    // `sources` takes a folder that is not there for an empty archive.
    Folder::open(archive.root())?;
    let mut archived = Archived { unknown: expected.clone(), ..Archived::default() };
    for source in archive.sources()? {
        match archive.names(&source) {
            Ok(names) if names.is_empty() => {}
            Ok(names) => {
                archived.unknown.remove(&source);
                archived.jobs.extend(names.into_iter().map(|name| name.job()));
            }
            Err(error) => {
                archived.unreadable.push(format!("{source}: {error}"));
                archived.unknown.insert(source);
            }
        }
    }
    if archived.jobs.is_empty() && archived.unreadable.is_empty() && !expected.is_empty() {
        return Err(io::Error::other(format!(
            "{} holds no snapshot, though the history names some; mount its disk",
            archive.root().display()
        )));
    }
    Ok(archived)
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
