//! The data source that a command changes at its service: its versions, the question before the
//! change, and the job that makes it.

use super::foreground::Foreground;
use super::output::{self, Lines, Table, or_dash};
use super::{Problem, chosen, clock, exit, stop_signal};
use crate::engine::EngineConfig;
use crate::job::{Goal, Job, NewJob, Restore, State, Trigger};
use crate::service::{ExportService, FailureKind, ListedVersion, Listing, Restoring, VersionState};
use crate::settings::{Settings, Source};
use crate::store::Creation;
use crate::timestamp::rfc3339;
use std::collections::BTreeSet;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::sync::Arc;

/// A configured source, and the client of its account.
pub(super) struct Destination<'s> {
    pub(super) settings: &'s Settings,
    pub(super) source: &'s Source,
    service: Arc<dyn ExportService>,
}

impl<'s> Destination<'s> {
    /// The source of this name, with a client of its account. Nothing is sent.
    pub(super) fn connect(settings: &'s Settings, name: &str) -> Result<Self, Problem> {
        let sources = chosen(settings, &[name.to_owned()])?;
        let none = || Problem::failed(format!("{name}: its account has no service"));
        let source = *sources.first().ok_or_else(none)?;
        let accounts = BTreeSet::from([source.account.as_str()]);
        let config = EngineConfig::connect(settings, &accounts)?;
        let service = config.services.get(&source.account).ok_or_else(none)?;
        Ok(Destination { settings, source, service: Arc::clone(service) })
    }

    /// What the data is called at the service.
    pub(super) fn remote_name(&self) -> &str {
        self.source.target.origin().name()
    }

    fn listing(&self) -> Result<&dyn Listing, Problem> {
        let none =
            || Problem::usage(format!("{}: its service keeps no versions", self.source.name));
        self.service.listing().ok_or_else(none)
    }

    pub(super) fn restoring(&self) -> Result<&dyn Restoring, Problem> {
        let none = || {
            Problem::usage(format!(
                "{}: its service does not support loading data",
                self.source.name
            ))
        };
        self.service.restoring().ok_or_else(none)
    }

    /// Its versions; `None` where the service knows no such data source.
    pub(super) async fn versions(&self) -> Result<Option<Vec<ListedVersion>>, Problem> {
        match self.listing()?.versions(&self.source.target, clock().now()).await {
            Ok(versions) => Ok(Some(versions)),
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(None),
            Err(failure) => Err(Problem::failed(format!("{}: {failure}", self.source.name))),
        }
    }

    /// Its versions, where it has to exist.
    pub(super) async fn known_versions(&self) -> Result<Vec<ListedVersion>, Problem> {
        let versions = self.versions().await?;
        versions.ok_or_else(|| {
            Problem::failed(format!(
                "{}: the service knows no data source {} of the configured id",
                self.source.name,
                self.remote_name()
            ))
        })
    }

    /// How many entities each version has, by the account's list of jobs, for what it tells.
    pub(super) async fn entities_in_jobs(&self) -> Result<Vec<(String, u64)>, Problem> {
        let activities = self.restoring()?.activities(clock().now()).await;
        let activities = activities.map_err(Problem::failed)?;
        let counted = activities.into_iter().filter_map(|it| Some((it.id, it.entities?)));
        Ok(counted.collect())
    }

    /// Carries out a restore: creates its job, or joins the one that does the same, and works on
    /// it or follows it until it has ended. Answers with the job as it is then.
    pub(super) async fn carry_out(&self, restore: Restore, note: &str) -> Result<Job, Problem> {
        // From here on a signal ends the work, not the process.
        let stop = stop_signal()?;
        let accounts = BTreeSet::from([self.source.account.as_str()]);
        let mut foreground = Foreground::open(self.settings, &accounts, stop).await?;
        let new = NewJob {
            source: self.source.name.clone(),
            account: self.source.account.clone(),
            trigger: Trigger::Manual,
            note: note.to_owned(),
        };
        let created = foreground.store().create_restore(new, restore.clone(), clock().now()).await;
        let job = match created {
            Ok(Creation::Created(job)) => Ok(*job),
            Ok(Creation::Busy(job)) => joined(*job, &restore),
            Err(error) => Err(error.into()),
        };
        let ended = match job {
            Ok(job) => {
                foreground.show(&job);
                let worked = foreground.work(vec![job.id]).await;
                match worked {
                    Ok(()) => foreground.store().job(job.id).await.map_err(Problem::from),
                    Err(problem) => Err(problem),
                }
            }
            Err(problem) => Err(problem),
        };
        foreground.close(ended.is_ok()).await;
        ended?.ok_or_else(|| Problem::failed("the job is gone from the database"))
    }
}

/// The live job that does just the same; an error for any other.
fn joined(job: Job, restore: &Restore) -> Result<Job, Problem> {
    if job.restore.as_deref().is_some_and(|live| asks_for_the_same(live, restore)) {
        output::note(format!("{}: joins job {}, which is {}", job.source, job.id, job.state));
        return Ok(job);
    }
    Err(Problem::failed(format!(
        "{} has the live job {} ({}, {}), and a source can have only one live job: wait for it, or end \
         it with `nightjar cancel {}`",
        job.source, job.id, job.operation, job.state, job.id
    )))
}

/// Whether a live restore was asked for with the same words.
fn asks_for_the_same(live: &Restore, asked: &Restore) -> bool {
    // A load's version, and whether it has to be compared, are learnt on the way.
    let is_same_version = asked.goal == Goal::Load || live.version == asked.version;
    is_same_version
        && (live.goal, live.publish, live.safety) == (asked.goal, asked.publish, asked.safety)
        && live.destination == asked.destination
        && live.snapshot == asked.snapshot
        && live.only == asked.only
        && (live.verify || !asked.verify)
}

/// How a job ended that was to change a data source: `Ok` where it is done, otherwise the line to
/// print.
pub(super) fn outcome(job: &Job) -> Result<(), String> {
    let (id, source) = (job.id, &job.source);
    match (job.state, &job.error) {
        (State::Archived, _) => Ok(()),
        (State::Failed, Some(error)) => Err(format!(
            "{source}: FAILED: {}: {} (`nightjar job {id}` shows its timeline)",
            error.kind, error.message
        )),
        (State::Cancelled, _) => Err(format!("{source}: job {id} was cancelled")),
        (state, _) => Err(format!(
            "{source}: stopped; job {id} stays {state}: the daemon finishes it, or this command, \
             typed again; `nightjar cancel {id}` ends it"
        )),
    }
}

/// Prints a line for a job that did not end well, and gives the exit code.
pub(super) fn failed(line: &str) -> Result<u8, Problem> {
    output::line(line)?;
    Ok(exit::FAILED)
}

/// Asks whether to do what was shown. Without a terminal, only `--yes` is a consent.
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), Problem> {
    if yes {
        return Ok(());
    }
    let refused = |message: &str| Err(Problem::usage(message));
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return refused(
            "nothing was started: there is no terminal to ask on; --yes carries out what is shown \
             above",
        );
    }
    eprint!("{question} [y/N] ");
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line).map_err(Problem::failed)?;
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ if read == 0 => {
            eprintln!();
            refused("nothing was started")
        }
        _ => refused("nothing was started"),
    }
}

/// A version as messages name it.
pub(super) fn named(version: &ListedVersion) -> String {
    match version.date {
        Some(date) => format!("{} of {}", version.id, rfc3339(date)),
        None => version.id.clone(),
    }
}

/// The first version in this state.
pub(super) fn first(versions: &[ListedVersion], state: VersionState) -> Option<&ListedVersion> {
    versions.iter().find(|version| version.state == state)
}

/// Adds a table of versions.
pub(super) fn tabulate(lines: &mut Lines, versions: &[ListedVersion]) {
    let mut table = Table::new(&["VERSION", "STATE", "DATE"]);
    for version in versions {
        table.row([
            version.id.clone(),
            version.state.to_string(),
            or_dash(version.date.map(rfc3339)),
        ]);
    }
    lines.table(&table);
}
