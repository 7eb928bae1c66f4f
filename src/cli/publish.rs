//! `nightjar publish` and `nightjar rollback`: which version of a data source is published.

use super::destination::{Destination, confirm, failed, first, named, outcome, tabulate};
use super::output::{self, Lines};
use super::{Common, Problem, exit};
use crate::job::{Goal, Restore};
use crate::service::{ListedVersion, VersionState};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct PublishArguments {
    /// The source
    source: String,
    /// The staged version, as `nightjar restore` or `nightjar versions` names it
    #[arg(value_name = "JOB_ID")]
    version: String,
    /// Publish without asking
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct RollbackArguments {
    /// The source
    source: String,
    /// The older version to publish again [default: the newest older one]
    #[arg(long, value_name = "JOB_ID")]
    to: Option<String>,
    /// Roll back without asking
    #[arg(long)]
    yes: bool,
}

pub(super) async fn publish(common: &Common, arguments: &PublishArguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let destination = Destination::connect(&settings, &arguments.source)?;
    let versions = destination.known_versions().await?;
    let staged = staged(&versions, &arguments.version)
        .map_err(|why| Problem::usage(format!("{}: {why}", arguments.source)))?;
    change(&destination, &versions, staged, Goal::Publish, arguments.yes).await
}

pub(super) async fn rollback(
    common: &Common,
    arguments: &RollbackArguments,
) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let destination = Destination::connect(&settings, &arguments.source)?;
    let versions = destination.known_versions().await?;
    let older = older(&versions, arguments.to.as_deref())
        .map_err(|why| Problem::usage(format!("{}: {why}", arguments.source)))?;
    change(&destination, &versions, older, Goal::RollBack, arguments.yes).await
}

/// Shows the versions, asks, and publishes this one.
async fn change(
    destination: &Destination<'_>,
    versions: &[ListedVersion],
    version: &ListedVersion,
    goal: Goal,
    yes: bool,
) -> Result<u8, Problem> {
    let source = &destination.source.name;
    let mut text = Lines::default();
    tabulate(&mut text, versions);
    text.push(format!("{source}: {}.", sentence(versions, version, goal)));
    text.print()?;
    confirm("Publish it?", yes)?;
    let note = match goal {
        Goal::RollBack => "rollback asked for by hand",
        Goal::Load | Goal::Publish => "publication asked for by hand",
    };
    let mut restore = Restore::new(goal, destination.settings.requested(destination.source));
    restore.version = Some(version.id.clone());
    restore.published_before = first(versions, VersionState::Published).map(|it| it.id.clone());
    let job = destination.carry_out(restore, note).await?;
    if let Err(line) = outcome(&job) {
        return failed(&line);
    }
    // The service may have given the version another identifier with its publication.
    let now = destination.known_versions().await?;
    let published = first(&now, VersionState::Published).map_or("nothing".to_owned(), named);
    output::line(format!("{source}: published now: {published}"))?;
    Ok(exit::DONE)
}

/// What is about to happen.
fn sentence(versions: &[ListedVersion], version: &ListedVersion, goal: Goal) -> String {
    let chosen = named(version);
    let before = match first(versions, VersionState::Published).map(named) {
        Some(published) => format!("in place of {published}"),
        None => "where nothing is published".to_owned(),
    };
    match goal {
        Goal::RollBack => format!("the older version {chosen} will be published again, {before}"),
        Goal::Load | Goal::Publish => {
            format!("the staged version {chosen} will be published, {before}")
        }
    }
}

/// The staged version, if it has this identifier.
fn staged<'v>(versions: &'v [ListedVersion], id: &str) -> Result<&'v ListedVersion, String> {
    let id = bare(id);
    match first(versions, VersionState::Staged) {
        Some(staged) if staged.id.eq_ignore_ascii_case(id) => Ok(staged),
        Some(staged) => {
            Err(format!("version {id} is not staged, but {}; nothing is published", named(staged)))
        }
        None => match versions.iter().find(|version| version.id.eq_ignore_ascii_case(id)) {
            Some(version) => {
                Err(format!("version {id} is not staged: it is {}", phrase(version.state)))
            }
            None => Err(format!("version {id} is not staged: nothing is")),
        },
    }
}

/// The older version to publish again: the one of this identifier, or the newest.
fn older<'v>(versions: &'v [ListedVersion], id: Option<&str>) -> Result<&'v ListedVersion, String> {
    let Some(id) = id.map(bare) else {
        return first(versions, VersionState::Older)
            .ok_or_else(|| "the service has no older version to roll back to".to_owned());
    };
    match versions.iter().find(|version| version.id.eq_ignore_ascii_case(id)) {
        Some(version) if version.state == VersionState::Older => Ok(version),
        Some(version) => {
            Err(format!("version {id} is not an older version: it is {}", phrase(version.state)))
        }
        None => Err(format!("the service has no version {id}")),
    }
}

fn phrase(state: VersionState) -> &'static str {
    match state {
        VersionState::Published => "published already",
        VersionState::Staged => "staged, and `nightjar publish` publishes it",
        VersionState::Older => "an older one, and `nightjar rollback` publishes it again",
    }
}

/// An identifier without the braces that some tools put around it.
fn bare(id: &str) -> &str {
    let id = id.trim();
    id.strip_prefix('{').and_then(|id| id.strip_suffix('}')).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str, state: VersionState) -> ListedVersion {
        ListedVersion { id: id.to_owned(), state, date: None }
    }

    fn all() -> Vec<ListedVersion> {
        vec![
            version("d0", VersionState::Published),
            version("c0", VersionState::Staged),
            version("b0", VersionState::Older),
            version("a0", VersionState::Older),
        ]
    }

    #[test]
    fn only_the_staged_version_is_published() {
        let staged = |id| staged(&all(), id).map(|version| version.id.clone());
        assert_eq!(staged("{C0} "), Ok("c0".to_owned()));
        for id in ["d0", "b0", "x", ""] {
            assert!(staged(id).unwrap_err().contains("not staged, but c0"), "{id}");
        }
        let others = [version("d0", VersionState::Published)];
        assert!(super::staged(&others, "d0").unwrap_err().contains("published already"));
        assert!(super::staged(&[], "d0").unwrap_err().contains("nothing is"));
    }

    #[test]
    fn a_rollback_goes_to_the_newest_older_version_or_to_a_chosen_one() {
        let older = |id| older(&all(), id).map(|version| version.id.clone());
        assert_eq!(older(None), Ok("b0".to_owned()));
        assert_eq!(older(Some("A0")), Ok("a0".to_owned()));
        assert!(older(Some("d0")).unwrap_err().contains("published already"));
        assert!(older(Some("c0")).unwrap_err().contains("staged"));
        assert!(older(Some("x")).unwrap_err().contains("no version x"));
        let published = [version("d0", VersionState::Published)];
        assert!(super::older(&published, None).unwrap_err().contains("no older version"));
    }
}
