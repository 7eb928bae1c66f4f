//! `nightjar hold` and `nightjar unhold`: exempting a snapshot from retention.

use super::output;
use super::{Common, Problem, archive, clock, exit, reading};
use crate::archive::{Archive, Hold};
use crate::job::restoring_job;
use crate::manifest::Name;
use crate::settings::Settings;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct HoldArguments {
    /// SOURCE (its newest), SOURCE@TIMESTAMP, SOURCE@JOB, or the path of a manifest
    snapshot: String,
    /// Why the snapshot must stay
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct UnholdArguments {
    /// SOURCE (its newest), SOURCE@TIMESTAMP, SOURCE@JOB, or the path of a manifest
    snapshot: String,
}

/// The source and name of the snapshot, which must be in this archive.
fn chosen(archive: &Archive, text: &str) -> Result<(String, Name), Problem> {
    let manifest = archive.select(text)?.manifest;
    let name = manifest.name();
    if archive.find(&manifest.source, name).is_none() {
        return Err(Problem::usage(format!(
            "{text} is not in the archive {}",
            archive.root().display()
        )));
    }
    Ok((manifest.source, name))
}

pub(super) fn hold(common: &Common, arguments: &HoldArguments) -> Result<u8, Problem> {
    let archive = archive(&common.settings()?);
    let (source, name) = chosen(&archive, &arguments.snapshot)?;
    let reason = arguments.reason.trim();
    if reason.is_empty() {
        return Err(Problem::usage("--reason is empty: state why the snapshot must stay"));
    }
    let hold = Hold { reason: reason.to_owned(), since: clock().now() };
    archive.hold(&source, name, &hold).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Problem::usage(format!("{source}@{name}: {error}")),
        _ => Problem::failed(error),
    })?;
    output::line(format!("{source}@{} is held: {reason}", name.timestamp()))?;
    Ok(exit::DONE)
}

pub(super) async fn unhold(common: &Common, arguments: &UnholdArguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let archive = archive(&settings);
    let (source, name) = chosen(&archive, &arguments.snapshot)?;
    if let Some(hold) = archive.hold_of(&source, name)
        && let Some(job) = restoring_job(&hold.reason)
        && is_live(&settings, job).await
    {
        return Err(Problem::failed(format!(
            "{source}@{} stays held: {}, and has not ended; `nightjar cancel {job}` ends it",
            name.timestamp(),
            hold.reason
        )));
    }
    let was_held = archive.unhold(&source, name).map_err(Problem::failed)?;
    let now = if was_held { "is no longer held" } else { "was not held" };
    output::line(format!("{source}@{} {now}.", name.timestamp()))?;
    Ok(exit::DONE)
}

/// Whether the history has a live job of this number. Without a history that can be read none is:
/// holds belong to the archive, which needs none.
async fn is_live(settings: &Settings, id: i64) -> bool {
    let job = reading(settings, async |it| it.job(id).await).await;
    job.ok().flatten().is_some_and(|detail| !detail.job.state.is_final())
}
