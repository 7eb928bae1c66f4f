//! `nightjar prune`: retention, now.

use super::output::{self, Lines, Table};
use super::{Common, Problem, archive, clock, exit};
use crate::archive::{Archive, RetentionDecision};
use crate::timestamp::rfc3339;
use chrono::TimeDelta;
use clap::Args;
use serde::Serialize;

/// A longer time between the newest two snapshots is worth a warning.
const GAP: TimeDelta = TimeDelta::days(60);

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

/// A warning if a source's newest snapshot is dated long after the one before it: by a wrong clock,
/// it would take the places of right ones.
fn gap_warning(source: &str, decisions: &[RetentionDecision]) -> Option<String> {
    let manifests = decisions.iter().map(|decision| &decision.snapshot.manifest);
    let mut ordinary = manifests.filter(|it| it.role.is_ordinary()).map(|it| it.created_at);
    let (newest, before) = (ordinary.next()?, ordinary.next()?);
    (newest - before > GAP).then(|| {
        format!(
            "{source}: the newest snapshot is dated {}, {} days after the one before it ({}): after \
             a long outage, or by a wrong clock; if the clock was wrong, `nightjar hold` keeps \
             snapshots that must stay",
            rfc3339(newest),
            (newest - before).num_days(),
            rfc3339(before),
        )
    })
}

/// Removes what the plan does not keep. Says of each snapshot what became of it, and which could
/// not be removed.
fn carry_out(archive: &Archive, plan: &[RetentionDecision]) -> (Vec<Line>, Vec<String>) {
    let (mut lines, mut failures) = (Vec::new(), Vec::new());
    for decision in plan {
        let mut line = Line::from(decision);
        if !line.keep {
            let name = decision.snapshot.manifest.name();
            let removed = archive.prune(std::slice::from_ref(decision));
            let kept = match removed {
                Ok(0) => Some(match archive.hold_of(&line.source, name) {
                    Some(hold) => format!("held: {}", hold.reason),
                    None => "it was held when it should have been removed".to_owned(),
                }),
                Ok(_) => None,
                Err(error) => {
                    let snapshot = format!("{}@{}", line.source, line.timestamp);
                    failures.push(format!("{snapshot} cannot be removed: {error}"));
                    Some(format!("cannot be removed: {error}"))
                }
            };
            line.keep = kept.is_some();
            line.reasons.extend(kept);
        }
        lines.push(line);
    }
    (lines, failures)
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let archive = archive(&settings);
    // The whole plan before anything is removed: what is shown is what is done. A source that
    // cannot be read keeps no other one from its turn.
    let now = clock().now();
    let (mut plan, mut failures) = (Vec::new(), Vec::new());
    for source in &settings.sources {
        match archive.plan_pruning(&source.name, &source.retention, source.timezone, now) {
            Ok(decisions) => {
                if let Some(warning) = gap_warning(&source.name, &decisions) {
                    eprintln!("nightjar: warning: {warning}");
                }
                plan.extend(decisions);
            }
            Err(error) => {
                failures.push(format!("{}: its snapshots cannot be read: {error}", source.name));
            }
        }
    }
    if !settings.sources.is_empty() && failures.len() == settings.sources.len() {
        return Err(Problem::failed(format!(
            "cannot prune the archive {}: {}",
            settings.archive_dir.display(),
            failures.join("; ")
        )));
    }
    let lines: Vec<Line> = match arguments.dry_run {
        true => plan.iter().map(Line::from).collect(),
        false => {
            let (lines, failed) = carry_out(&archive, &plan);
            failures.extend(failed);
            lines
        }
    };
    let going = lines.iter().filter(|line| !line.keep).count();
    for failure in &failures {
        output::note(format!("nightjar: {failure}"));
    }
    if arguments.json {
        output::json(&lines)?;
    } else {
        let mut table = Table::new(&["SNAPSHOT", "ACTION", "REASONS"]);
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
        let mut lines = Lines::default();
        lines.table(&table);
        lines.push(format!("{going} of {total} snapshots {done}."));
        lines.print()?;
    }
    Ok(if failures.is_empty() { exit::DONE } else { exit::PARTLY })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Hold;
    use crate::manifest::Name;
    use crate::policy::retention::Rules;
    use crate::tests::fixtures;
    use chrono::{DateTime, TimeZone, Utc};
    use chrono_tz::Tz;

    fn night(job: i64) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 25, 2, 0, 0).unwrap() + TimeDelta::days(job)
    }

    #[tokio::test]
    async fn a_snapshot_that_is_held_after_the_plan_was_made_is_not_said_to_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::new(&folder.path().join("archive"), folder.path());
        archive.prepare().unwrap();
        for job in 1..=3 {
            fixtures::file_snapshot(&archive, job, night(job), &[]).await;
        }
        let policy =
            Rules { keep_last: 1, keep_daily: 0, keep_weekly: 0, keep_monthly: 0, keep_yearly: 0 };
        let plan = archive.plan_pruning("stores", &policy, Tz::UTC, night(3)).unwrap();
        let hold = Hold { reason: "the auditors".to_owned(), since: night(3) };
        archive.hold("stores", Name::new(night(2), 2), &hold).unwrap();
        let (lines, failures) = carry_out(&archive, &plan);
        assert_eq!(failures, Vec::<String>::new());
        let shown: Vec<_> = lines.iter().map(|line| (line.job, line.keep)).collect();
        assert_eq!(shown, [(3, true), (2, true), (1, false)]);
        assert_eq!(lines[1].reasons, ["held: the auditors"]);
        assert_eq!(archive.names("stores").unwrap().len(), 2);
    }
}
