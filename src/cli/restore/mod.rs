//! `nightjar restore`: loads a snapshot back into its service.

mod document;
mod doubts;
mod head;
mod plan;

use super::destination::{Destination, confirm, failed, first, outcome};
use super::output::{self, Lines, count};
use super::{Common, Problem, archive, exit};
use crate::job::{Goal, Job, Restore, RestoredSnapshot, VersionState};
use clap::Args;
use plan::{Asked, Chosen, Plan, Refusal, Target};
use std::collections::BTreeSet;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// SOURCE (its newest), SOURCE@TIMESTAMP, SOURCE@JOB, or the path of a manifest
    snapshot: String,
    /// The source to load it into
    #[arg(long, value_name = "SOURCE")]
    to: String,
    /// Publish it once it is staged and equals the snapshot; without this it stays staged
    #[arg(long)]
    publish: bool,
    /// Load only the entities with these primary keys, beside what is published
    #[arg(long, value_name = "KEY", num_args = 1..)]
    only: Vec<String>,
    /// Skip the confirmation prompt
    #[arg(long)]
    yes: bool,
    /// Show what would be done, and start nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not back up first what is published now
    #[arg(long)]
    no_safety: bool,
    /// Do not compare the staged version with the snapshot
    #[arg(long)]
    no_verify: bool,
}

impl Arguments {
    fn asked(&self) -> Asked {
        Asked {
            only: !self.only.is_empty(),
            publish: self.publish,
            safety: !self.no_safety,
            verify: !self.no_verify,
        }
    }
}

pub(super) async fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let destination = Destination::connect(&settings, &arguments.to)?;
    let rules = destination.restoring()?.rules();
    let archive = archive(&settings);
    let snapshot = archive.select(&arguments.snapshot)?;
    let only: BTreeSet<&str> = arguments.only.iter().map(String::as_str).collect();
    let document = document::read(&archive, &snapshot, &only, &rules)?;
    let versions = destination.versions().await?;
    let target = Target {
        source: &destination.source.name,
        remote_name: destination.remote_name(),
        account: &destination.source.account,
        fixed_version: destination.source.target.origin().version.as_deref(),
        versions: versions.as_deref(),
        rules,
    };
    let name = format!("{}@{}", snapshot.manifest.source, snapshot.manifest.name());
    let chosen = Chosen {
        name: &name,
        source: &snapshot.manifest.source,
        remote_name: snapshot.manifest.origin.name(),
        suspicious: &snapshot.manifest.suspicious,
        unproven: &snapshot.manifest.unproven,
    };
    let plan = plan::plan(&chosen, &document, &target, arguments.asked());
    let plan = plan.map_err(|refusal| match refusal {
        Refusal::Arguments(message) => Problem::usage(message),
        Refusal::Impossible(message) => Problem::failed(message),
    })?;
    show(&plan, &destination)?;
    if arguments.dry_run {
        output::line("Nothing was started (--dry-run).")?;
        return Ok(exit::DONE);
    }
    let question = if arguments.publish { "Restore and publish it?" } else { "Restore it?" };
    confirm(question, arguments.yes)?;
    let content = &snapshot.manifest.content;
    let published = versions.as_deref().and_then(|it| first(it, VersionState::Published));
    let restore = Restore {
        snapshot: Some(RestoredSnapshot {
            manifest: snapshot.path.clone(),
            source: snapshot.manifest.source.clone(),
            sha256: content.sha256.clone(),
            bytes: content.bytes,
            entities: snapshot.manifest.entities,
        }),
        only: only.into_iter().map(str::to_owned).collect(),
        safety: !arguments.no_safety,
        verify: !arguments.no_verify,
        publish: arguments.publish,
        published_before: published.map(|version| version.id.clone()),
        ..Restore::new(Goal::Load, settings.requested(destination.source))
    };
    let name = format!("{}@{}", snapshot.manifest.source, snapshot.manifest.name());
    let job =
        destination.carry_out(restore, &format!("restore of {name} asked for by hand")).await?;
    conclude(&job, arguments.publish)
}

fn show(plan: &Plan, destination: &Destination<'_>) -> Result<(), Problem> {
    let mut text = Lines::default();
    text.push(format!("{}.", plan.title));
    for (number, step) in (1..).zip(&plan.steps) {
        text.push(format!("  {number}. {step}"));
    }
    let account = destination.settings.account_of(destination.source);
    let jobs = count(plan.remote_jobs, "remote job");
    if let Some(account) = account {
        text.push(format!(
            "It takes {jobs} of the {} that account {} may start in 24 hours.",
            account.max_jobs_per_day, account.name
        ));
    }
    for warning in &plan.warnings {
        text.push(format!("WARNING: {warning}."));
    }
    text.print()
}

/// Prints how it ended, and what to type next.
fn conclude(job: &Job, publishes: bool) -> Result<u8, Problem> {
    let source = &job.source;
    let mut text = Lines::default();
    let ended = outcome(job);
    if let Some(safety) = &job.snapshot {
        let held = match ended {
            Ok(()) => "",
            Err(_) => ", which stays held",
        };
        text.push(format!("{source}: the safety backup{held}: {}", safety.display()));
    }
    let version = job.restore.as_ref().and_then(|restore| restore.version.clone());
    let version = version.unwrap_or_else(|| "JOB_ID".to_owned());
    match (&ended, publishes) {
        (Ok(()), true) => {
            text.push(format!("{source}: version {version} is published"));
            text.push(format!("{source}: to undo it: nightjar rollback {source}"));
        }
        (Ok(()), false) => {
            text.push(format!("{source}: version {version} is staged; nothing is published yet"));
            text.push(format!("{source}: to publish it: nightjar publish {source} {version}"));
        }
        (Err(_), _) => {}
    }
    text.print()?;
    match ended {
        Ok(()) => Ok(exit::DONE),
        Err(line) => failed(&line),
    }
}
