//! `nightjar reindex`: the history, from the archive.

use super::output;
use super::{Common, Problem, clock, exit};
use crate::files;
use crate::recovery::{Rebuilt, Recovery, Reindexed};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    rebuilt: bool,
    set_aside: Option<PathBuf>,
    copy: Option<PathBuf>,
    adopted: usize,
}

impl From<&Reindexed> for Report {
    fn from(reindexed: &Reindexed) -> Report {
        match reindexed {
            Reindexed::Intact { imported } => {
                Report { rebuilt: false, set_aside: None, copy: None, adopted: *imported }
            }
            Reindexed::Rebuilt(Rebuilt { set_aside, copy, imported }) => Report {
                rebuilt: true,
                set_aside: set_aside.clone(),
                copy: copy.clone(),
                adopted: *imported,
            },
        }
    }
}

pub(super) async fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    files::make_folder(&settings.state_dir).map_err(Problem::failed)?;
    let reindexed = Recovery::new(&settings, clock()).reindex().await?;
    if arguments.json {
        output::json(&Report::from(&reindexed))?;
    } else {
        output::line(text(&reindexed))?;
    }
    Ok(exit::DONE)
}

fn text(reindexed: &Reindexed) -> String {
    match reindexed {
        Reindexed::Rebuilt(rebuilt) => {
            format!("The database was damaged or missing; {}.", rebuilt.summary())
        }
        Reindexed::Intact { imported: 0 } => {
            "The database is intact and knows every snapshot.".to_owned()
        }
        Reindexed::Intact { imported: 1 } => {
            "The database is intact; 1 job was imported from the archive.".to_owned()
        }
        Reindexed::Intact { imported } => {
            format!("The database is intact; {imported} jobs were imported from the archive.")
        }
    }
}
