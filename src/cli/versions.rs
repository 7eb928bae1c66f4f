//! `nightjar versions`: what the service has of a data source.

use super::destination::Destination;
use super::output::{self, Lines, Table, or_dash};
use super::{Common, Problem, archive, exit};
use crate::archive::Archive;
use crate::service::{ListedVersion, VersionState};
use crate::timestamp::rfc3339;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The source
    source: String,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    job_id: String,
    state: VersionState,
    date: Option<String>,
    entities: Option<u64>,
}

pub(super) async fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let destination = Destination::connect(&settings, &arguments.source)?;
    let versions = destination.known_versions().await?;
    let mut counts = BTreeMap::new();
    // Only how many entities there are depends on it: what cannot be read leaves them unknown.
    match destination.entities_in_jobs().await {
        Ok(counted) => counts.extend(counted),
        Err(problem) => output::note(format!(
            "nightjar: warning: the account's list of jobs cannot be read: {}",
            problem.message()
        )),
    }
    match entities_in_manifests(&archive(&settings), &arguments.source) {
        Ok(counted) => counts.extend(counted),
        Err(error) => {
            output::note(format!("nightjar: warning: the archive cannot be read: {error}"));
        }
    }
    let lines = lines(&versions, &counts);
    if arguments.json {
        output::json(&lines)?;
        return Ok(exit::DONE);
    }
    let mut text = Lines::default();
    if lines.is_empty() {
        text.push(format!(
            "{} has no version: nothing is published, and nothing is staged",
            arguments.source
        ));
    } else {
        let mut table = Table::new(&["VERSION", "STATE", "DATE", "ENTITIES"]);
        for line in lines {
            table.row([
                line.job_id,
                line.state.to_string(),
                or_dash(line.date),
                or_dash(line.entities.map(|count| count.to_string())),
            ]);
        }
        text.table(&table);
    }
    text.print()?;
    Ok(exit::DONE)
}

/// How many entities the archive has of each version that a manifest names.
fn entities_in_manifests(archive: &Archive, source: &str) -> io::Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for snapshot in archive.snapshots(source)? {
        if let Some(version) = snapshot.manifest.origin.version {
            // The newest first: that one counts.
            counts.entry(version).or_insert(snapshot.manifest.entities);
        }
    }
    Ok(counts)
}

fn lines(versions: &[ListedVersion], counts: &BTreeMap<String, u64>) -> Vec<Line> {
    let counted = |id: &str| {
        let mut same = counts.iter().filter(|(known, _)| known.eq_ignore_ascii_case(id));
        same.next().map(|(_, entities)| *entities)
    };
    let line = |version: &ListedVersion| Line {
        job_id: version.id.clone(),
        state: version.state,
        date: version.date.map(rfc3339),
        entities: counted(&version.id),
    };
    versions.iter().map(line).collect()
}
