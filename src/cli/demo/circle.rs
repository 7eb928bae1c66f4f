//! `nightjar demo --restore`: a restore. A colleague loads a wrong file, the next backup shows
//! what it changed, and the snapshot from before is put back: staged, compared, published.

use super::{DATA_SOURCE, SOURCE};
use crate::archive::Snapshot;
use crate::cli::output::Lines;
use crate::cli::{Cli, Problem, exit};
use crate::digest;
use crate::simulator::{Data, Simulator};
use clap::Parser;
use std::path::Path;

/// Entities that the wrong file lacks.
const MISSING: usize = 3;
/// Entities in which the wrong file changes a value.
const CHANGED: usize = 2;

/// The commands of the circle, each run as a user would type it.
pub(super) struct Circle<'a> {
    pub(super) simulator: &'a Simulator,
    /// The configuration.
    pub(super) config: &'a Path,
    /// The program and the configuration as a user types them.
    pub(super) typed: &'a str,
}

impl Circle<'_> {
    /// Damages the source, restores `good`, and checks that this is what the service publishes.
    pub(super) async fn go_round(&self, good: &Snapshot) -> Result<u8, Problem> {
        let job = good.manifest.job;
        say(&format!(
            "1. The service publishes {} entities, and snapshot {SOURCE}@{job} has them all.",
            good.manifest.entities
        ))?;

        let wrong = self.simulator.versions(DATA_SOURCE).published.map(|it| wrong_file(&it.data));
        self.simulator.set_data(DATA_SOURCE, wrong.unwrap_or(Data::Places));
        say(&format!(
            "\n2. A colleague loads a wrong file and publishes it: {MISSING} entities are missing, \
             and {CHANGED} have another name. The next backup archives that, as it must:"
        ))?;
        self.run(&["backup", SOURCE]).await?;

        say("\n3. What changed since the snapshot before:")?;
        self.run(&["diff", SOURCE]).await?;

        let from = format!("{SOURCE}@{job}");
        say(
            "\n4. The good snapshot goes back. What is published now is backed up first; the load is \
             staged, downloaded again and compared with the snapshot. Nothing is published yet:",
        )?;
        self.run(&["restore", &from, "--to", SOURCE, "--yes"]).await?;

        let Some(staged) = self.simulator.versions(DATA_SOURCE).staged else {
            return Err(Problem::failed("the restore has staged nothing"));
        };
        say("\n5. The staged version is equal to the snapshot, so it may be published:")?;
        self.run(&["publish", SOURCE, &staged.job_id, "--yes"]).await?;

        say(
            "\n   What was published before is an older version now, and could be rolled back to:",
        )?;
        self.run(&["versions", SOURCE]).await?;

        say("\n6. One more backup, compared with the good snapshot:")?;
        self.run(&["backup", SOURCE]).await?;
        self.run(&["diff", &from, SOURCE, "--exit-code"]).await?;

        let published = self.simulator.versions(DATA_SOURCE).published.map(|it| it.data.document());
        let published = published.map(digest::sha256);
        let wanted = &good.manifest.content.sha256;
        if published.as_ref() != Some(wanted) {
            return Err(Problem::failed(format!(
                "the service publishes {}, and the snapshot is {wanted}",
                published.unwrap_or_else(|| "nothing".to_owned())
            )));
        }
        say(&format!(
            "\nThe service publishes the bytes of {from} again: sha256 {wanted}.\n\
             docs/restore.md has what else can happen, and what to do then."
        ))?;
        Ok(exit::DONE)
    }

    /// Shows a command as a user types it, and runs it. It must succeed.
    async fn run(&self, arguments: &[&str]) -> Result<(), Problem> {
        say(&format!("$ {} {}", self.typed, arguments.join(" ")))?;
        let config = self.config.to_string_lossy();
        let words = ["nightjar", "--config", &config].into_iter().chain(arguments.iter().copied());
        let cli = Cli::try_parse_from(words).map_err(Problem::failed)?;
        // A command runs others only here.
        match Box::pin(crate::cli::run(cli)).await? {
            exit::DONE => Ok(()),
            code => Err(Problem::failed(format!("{} ended with {code}", arguments.join(" ")))),
        }
    }
}

fn say(text: &str) -> Result<(), Problem> {
    let mut lines = Lines::default();
    text.lines().for_each(|line| lines.push(line));
    lines.print()
}

/// A file as a user might load it by mistake.
fn wrong_file(data: &Data) -> Data {
    data.edited(|text| {
        let mut lines = Vec::new();
        for (index, entity) in text.split_inclusive("</PlaceEntityType>\n").enumerate() {
            if (1..=MISSING).contains(&index) {
                continue;
            }
            let is_changed = (10..10 + CHANGED).contains(&index);
            lines.push(match is_changed {
                true => entity.replacen("<Name>", "<Name>Copy of ", 1),
                false => entity.to_owned(),
            });
        }
        lines.concat()
    })
}
