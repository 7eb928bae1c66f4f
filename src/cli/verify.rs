//! `nightjar verify`: is every archived byte still what its manifest says?

use super::output::{self, Lines};
use super::snapshots::known;
use super::{Common, Problem, archive, exit};
use crate::archive::{Severity, Verification, VerifyProgress};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only snapshots of these sources
    sources: Vec<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    known(&settings, &arguments.sources)?;
    let bar = if stderr().is_terminal() { ProgressBar::no_length() } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} files read") {
        bar.set_style(style);
    }
    let verification = archive(&settings).verify(&arguments.sources, &|reading: VerifyProgress| {
        bar.set_length(reading.files as u64);
        bar.set_position(reading.done as u64);
    });
    bar.finish_and_clear();
    if arguments.json {
        output::json(&verification)?;
    } else {
        summary(&verification).print()?;
    }
    Ok(if verification.ok { exit::DONE } else { exit::FAILED })
}

fn summary(verification: &Verification) -> Lines {
    let mut text = Lines::default();
    for finding in &verification.findings {
        let severity = match finding.severity {
            Severity::Error => "DAMAGE",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let file = finding.file.display();
        text.push(format!("{severity}: {file}: {}: {}", finding.kind, finding.message));
    }
    let errors = verification.findings.iter().filter(|it| it.severity == Severity::Error).count();
    let snapshots = output::count(verification.checked, "snapshot");
    text.push(match errors {
        0 if verification.checked == 0 => "There is no snapshot to verify.".to_owned(),
        0 => format!("{snapshots} verified: every byte is what its manifest says."),
        errors => format!("{snapshots} verified: {}.", output::count(errors, "error")),
    });
    text
}
