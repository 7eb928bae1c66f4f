//! `nightjar status`: how each source is doing.

use super::output::{self, Lines, Table, or_dash};
use super::{Common, Problem, clock, exit, reading};
use crate::discovery::{self, AccountLook};
use crate::report::SourceStatus;
use crate::timestamp::{rfc3339, rounded};
use chrono::{DateTime, Utc};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Exit with 4 if any source is overdue or failing
    #[arg(long)]
    check: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    let now = clock().now();
    let sources = reading(&settings, async |it| it.sources(&settings, now).await).await?;
    if arguments.json {
        output::json(&sources)?;
    } else if sources.is_empty() {
        output::line(format!("{} has no [[sources]] yet.", settings.file.display()))?;
    } else {
        text(&sources, &discovery::looks(&settings), now).print()?;
    }
    let is_unhealthy =
        arguments.check && sources.iter().any(|source| source.health.needs_attention());
    Ok(if is_unhealthy { exit::UNHEALTHY } else { exit::DONE })
}

fn text(sources: &[SourceStatus], looks: &[AccountLook], now: DateTime<Utc>) -> Lines {
    let mut table = Table::new(&[
        "SOURCE",
        "HEALTH",
        "LAST BACKUP",
        "AGE",
        "ENTITIES",
        "SIZE",
        "CHANGES",
        "NEXT RUN",
        "IN FLIGHT",
    ]);
    for source in sources {
        table.row([
            source.source.clone(),
            source.health.to_string(),
            or_dash(source.last_success.map(rfc3339)),
            or_dash(source.last_success.map(|last| rounded(now - last))),
            or_dash(source.entities.map(|count| count.to_string())),
            or_dash(source.bytes.map(output::bytes)),
            or_dash(
                source.changes.map(|it| format!("+{} -{} ~{}", it.added, it.removed, it.changed)),
            ),
            source.next_run.map_or_else(|| "never".to_owned(), rfc3339),
            or_dash(source.live_job.as_ref().map(|job| {
                let why =
                    job.hold.as_ref().map_or(String::new(), |hold| format!(" ({})", hold.why));
                format!("job {} {}{why}", job.id, job.state)
            })),
        ]);
    }
    let mut text = Lines::default();
    text.table(&table);
    for source in sources {
        let name = &source.source;
        if let Some(error) = &source.last_error {
            text.push(format!("{name}: the last job failed: {}: {}", error.kind, error.message));
        }
        if let Some(at) = source.unlisted_at() {
            text.push(format!(
                "{name}: the service no longer lists its data source (looked at {})",
                rfc3339(at)
            ));
        }
        for reason in &source.suspicious {
            text.push(format!("{name}: the newest snapshot is suspicious: {reason}"));
        }
        if let Some(job) = &source.live_job
            && let (Some(hold), Some(due)) = (&job.hold, job.due_at)
        {
            text.push(format!(
                "{name}: job {} waits until {}: {}",
                job.id,
                rfc3339(due),
                hold.message
            ));
        }
    }
    for look in looks {
        if let Some(message) = look.unprotected_message() {
            text.push(format!("{}: {message}", look.account));
        }
    }
    text
}
