//! `nightjar check`: validates the configuration and shows the next runs.

use super::output::{self, Lines, Table};
use super::{Common, Problem, clock, exit};
use crate::alerts;
use crate::config::{self, Mistake};
use crate::doctor::{TriedKey, try_keys};
use crate::settings::Settings;
use crate::timestamp::rfc3339;
use crate::tls;
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use std::iter;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Also try each account's key at the service, without side effects there
    #[arg(long)]
    online: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    valid: bool,
    errors: Vec<Mistake>,
    warnings: Vec<String>,
    sources: Vec<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<Vec<TriedKey>>,
}

#[derive(Debug, Serialize)]
struct Source {
    source: String,
    schedule: String,
    timezone: String,
    next_runs: Vec<String>,
}

pub(super) async fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let file = config::locate(common.config.clone());
    let settings = match config::examine(&file) {
        Ok(settings) => settings,
        Err(error) if arguments.json => {
            output::json(&Report { errors: error.into_mistakes(), ..Report::default() })?;
            return Ok(exit::USAGE);
        }
        Err(error) => return Err(error.into()),
    };
    let now = clock().now();
    let mut report = Report {
        valid: true,
        warnings: warnings(&settings),
        sources: settings.sources.iter().map(|source| next_runs(source, now)).collect(),
        ..Report::default()
    };
    if arguments.online {
        let sources: Vec<_> = settings.sources.iter().collect();
        report.online = Some(try_keys(&settings, &sources, &clock()).await);
    }
    let refused = report.online.iter().flatten().any(|tried| !tried.ok);
    if arguments.json {
        output::json(&report)?;
    } else {
        show(&settings, &report, now)?;
    }
    Ok(if refused { exit::FAILED } else { exit::DONE })
}

/// Warnings: problems that do not make the configuration invalid.
fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    for account in settings.accounts.values() {
        match config::read_key(&account.key, &account.name) {
            Ok((_, found)) => warnings.extend(found.into_iter().map(|warning| warning.message)),
            Err(error) => warnings.push(format!("for the current user: {error}")),
        }
    }
    let mut readable = settings.clone();
    if let Some(file) = &settings.http.ca_file
        && let Err(error) = tls::read_ca_file(file)
    {
        let file = file.display();
        warnings.push(format!("for the current user: http.ca_file {file} {error}"));
        // The notification channels would repeat it.
        readable.http.ca_file = None;
    }
    match settings.token.as_ref().map(config::read_token).transpose() {
        Ok(token) => {
            let found = token.into_iter().flat_map(|(_, found)| found);
            warnings.extend(found.map(|warning| format!("[web]: {warning}")));
        }
        Err(error) => warnings.push(format!("for the current user: [web]: {error}")),
    }
    let problems = alerts::channels(&readable).problems;
    warnings.extend(problems.into_iter().map(|it| format!("for the current user: {it}")));
    if settings.sources.is_empty() {
        warnings.push("there is no [[sources]] table: nothing will be backed up".to_owned());
    }
    for source in &settings.sources {
        let used_like = settings.sources.iter().find(|other| {
            other.name < source.name && other.target.origin() == source.target.origin()
        });
        if let Some(other) = used_like {
            warnings.push(format!(
                "the sources {} and {} back up the same data, which spends the quota twice",
                other.name, source.name
            ));
        }
    }
    warnings
}

fn next_three(source: &crate::settings::Source, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let next = |after: &DateTime<Utc>| source.schedule.next_after(*after, source.timezone);
    iter::successors(next(&now), next).take(3).collect()
}

fn next_runs(source: &crate::settings::Source, now: DateTime<Utc>) -> Source {
    Source {
        source: source.name.clone(),
        schedule: source.schedule.text().to_owned(),
        timezone: source.timezone.to_string(),
        next_runs: next_three(source, now).iter().map(|at| rfc3339(*at)).collect(),
    }
}

fn show(settings: &Settings, report: &Report, now: DateTime<Utc>) -> Result<(), Problem> {
    let mut text = Lines::default();
    text.push(format!("{} is valid.", settings.file.display()));
    if !settings.sources.is_empty() {
        let mut table = Table::new(&["SOURCE", "SCHEDULE", "NEXT", "THEN", "THEN"]);
        for source in &settings.sources {
            let mut runs = next_three(source, now)
                .into_iter()
                .map(|at| at.with_timezone(&source.timezone).format("%a %F %T %Z").to_string());
            let mut run = || runs.next().unwrap_or_else(|| "never".to_owned());
            table.row([
                source.name.clone(),
                source.schedule.text().to_owned(),
                run(),
                run(),
                run(),
            ]);
        }
        text.table(&table);
    }
    for tried in report.online.iter().flatten() {
        let mark = if tried.ok { "ok" } else { "REFUSED" };
        text.push(format!("{mark}: {}: {}", tried.source, tried.message));
    }
    text.print()?;
    for warning in &report.warnings {
        output::note(format!("nightjar: warning: {warning}"));
    }
    Ok(())
}
