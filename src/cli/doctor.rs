//! `nightjar doctor`: prints what the checks find, each with a fix.

use super::output::{self, Lines};
use super::{Common, Problem, clock, exit};
use crate::config;
use crate::doctor::{Doctor, Finding, Findings, Level};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Skip the checks that contact the service
    #[arg(long)]
    offline: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let mut found = Findings::default();
    let file = config::locate(common.config.clone());
    match common.load() {
        Err(error) => {
            for mistake in error.into_mistakes() {
                let fix = format!("edit {}, then `nightjar check`", file.display());
                found.error("configuration", mistake.to_string(), fix);
            }
        }
        Ok(settings) => {
            found.ok("configuration", format!("{} is valid", file.display()));
            let doctor = Doctor { settings: &settings, offline: arguments.offline, clock: clock() };
            doctor.examine(&mut found).await;
        }
    }
    let Findings(found) = found;
    if arguments.json {
        output::json(&found)?;
    } else {
        text(&found).print()?;
    }
    let failed = found.iter().any(|finding| finding.level == Level::Error);
    Ok(if failed { exit::FAILED } else { exit::DONE })
}

fn text(found: &[Finding]) -> Lines {
    let mut text = Lines::default();
    for Finding { check, level, message, fix } in found {
        let mark = match level {
            Level::Ok => "ok     ",
            Level::Warning => "WARNING",
            Level::Error => "ERROR  ",
        };
        text.push(format!("{mark}  {check}: {message}"));
        if let Some(fix) = fix {
            text.push(format!("         fix: {fix}"));
        }
    }
    let count = |level| found.iter().filter(|finding| finding.level == level).count();
    text.push(match (count(Level::Error), count(Level::Warning)) {
        (0, 0) => "No problems found.".to_owned(),
        (errors, warnings) => {
            let errors = output::count(errors, "error");
            format!("{errors}, {}.", output::count(warnings, "warning"))
        }
    });
    text
}
