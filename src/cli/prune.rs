//! `nightjar prune`: retention, now.

use super::output::{self, Table};
use super::{Common, Problem, archive, clock, exit};
use crate::archive::RetentionDecision;
use clap::Args;
use serde::Serialize;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only show what would be removed, and why each other snapshot stays
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Line {
    source: String,
    timestamp: String,
    job: i64,
    keep: bool,
    reasons: Vec<String>,
}

impl From<&RetentionDecision> for Line {
    fn from(decision: &RetentionDecision) -> Line {
        let name = decision.snapshot.manifest.name();
        Line {
            source: decision.snapshot.manifest.source.clone(),
            timestamp: name.timestamp(),
            job: name.job(),
            keep: !decision.reasons.is_empty(),
            reasons: decision.reasons.clone(),
        }
    }
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let archive = archive(&settings);
    let cannot = |error: std::io::Error| {
        Problem::failed(format!(
            "cannot prune the archive {}: {error}",
            settings.archive_dir.display()
        ))
    };
    // The whole plan before anything is removed: what is shown is what is done.
    let now = clock().now();
    let mut plan = Vec::new();
    for source in &settings.sources {
        let decisions = archive
            .plan_pruning(&source.name, &source.retention, source.timezone, now)
            .map_err(cannot)?;
        plan.extend(decisions);
    }
    let lines: Vec<Line> = plan.iter().map(Line::from).collect();
    let going = lines.iter().filter(|line| !line.keep).count();
    if !arguments.dry_run {
        archive.prune(&plan).map_err(cannot)?;
    }
    if arguments.json {
        output::json(&lines)?;
    } else {
        let mut table = Table::new(&["SNAPSHOT", "FATE", "REASONS"]);
        for line in &lines {
            let action = match (line.keep, arguments.dry_run) {
                (true, _) => "stays",
                (false, true) => "would go",
                (false, false) => "removed",
            };
            table.row([
                format!("{}@{}", line.source, line.timestamp),
                action.to_owned(),
                line.reasons.join("; "),
            ]);
        }
        let done = if arguments.dry_run { "would be removed" } else { "removed" };
        let total = lines.len();
        output::print(&format!("{}{going} of {total} snapshots {done}.\n", table.text()))?;
    }
    Ok(exit::DONE)
}
