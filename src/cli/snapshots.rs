//! `nightjar snapshots`: lists the archive, from the archive alone.

use super::output::{self, Lines, Table, or_dash};
use super::{Common, Problem, archive, exit, unknown_source};
use crate::manifest::Role;
use crate::report::{Reporter, SnapshotNames, SnapshotView};
use crate::settings::Settings;
use clap::Args;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only snapshots of this source
    source: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    if let Some(source) = &arguments.source {
        known(&settings, std::slice::from_ref(source))?;
    }
    let reporter = Reporter::new(None, archive(&settings));
    let SnapshotNames { names, unreadable } =
        reporter.snapshot_names(arguments.source.as_deref())?;
    let snapshots = reporter.snapshots_of(names, &CancellationToken::new());
    for (source, error) in &unreadable {
        output::note(format!("nightjar: the snapshots of {source} cannot be listed: {error}"));
    }
    if arguments.json {
        output::json(&snapshots)?;
    } else if snapshots.is_empty() {
        output::line(format!(
            "There is no snapshot yet in {}. `nightjar backup` creates one now.",
            settings.archive_dir.display()
        ))?;
    } else {
        let mut lines = Lines::default();
        lines.table(&table(&snapshots));
        lines.print()?;
    }
    Ok(if unreadable.is_empty() { exit::DONE } else { exit::PARTLY })
}

/// Configured sources, and unconfigured ones that are still in the archive.
pub(super) fn known(settings: &Settings, names: &[String]) -> Result<(), Problem> {
    let archived = archive(settings).sources().unwrap_or_default();
    let unknown: Vec<_> = names
        .iter()
        .filter(|name| settings.source(name).is_none() && !archived.contains(name))
        .cloned()
        .collect();
    if unknown.is_empty() { Ok(()) } else { Err(unknown_source(settings, &unknown)) }
}

fn remark(snapshot: &SnapshotView) -> String {
    let role = match snapshot.role {
        Role::Ordinary => None,
        Role::Safety => Some("safety backup, made before a restore".to_owned()),
        Role::Version => {
            Some(format!("another version: {}", snapshot.version.as_deref().unwrap_or("?")))
        }
    };
    let held = snapshot.held.then(|| "held".to_owned());
    let suspicious = match snapshot.suspicious.as_slice() {
        [] => None,
        reasons => Some(format!("suspicious: {}", reasons.join("; "))),
    };
    role.into_iter().chain(held).chain(suspicious).collect::<Vec<_>>().join("; ")
}

fn table(snapshots: &[SnapshotView]) -> Table {
    let mut table = Table::new(&["SNAPSHOT", "ENTITIES", "CONTENT", "STORED", "SAME AS", "REMARK"]);
    for snapshot in snapshots {
        table.row([
            format!("{}@{}", snapshot.source, snapshot.timestamp),
            snapshot.entities.to_string(),
            output::bytes(snapshot.content_bytes),
            output::bytes(snapshot.stored_bytes),
            or_dash(snapshot.same_content_as.as_ref().map(|duplicate| {
                duplicate
                    .split_once('-')
                    .map_or(duplicate.as_str(), |(timestamp, _)| timestamp)
                    .to_owned()
            })),
            remark(snapshot),
        ]);
    }
    table
}
