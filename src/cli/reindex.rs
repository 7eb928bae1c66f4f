//! `nightjar reindex`: the history, from the archive.

use super::output;
use super::recover::{self, Found, Rebuilt};
use super::{Common, Problem, exit};
use crate::files;
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

pub(super) async fn run(common: &Common, arguments: &Arguments) -> Result<u8, Problem> {
    let settings = common.settings()?;
    files::make_folder(&settings.state_dir).map_err(Problem::failed)?;
    let _alone = recover::alone(&settings, None)?;
    let (archive, highest) = recover::prepared(&settings)?;
    let (rebuilt, is_new) = match recover::found(&settings.state_dir, highest, true).await? {
        Found::Whole(store) => {
            recover::trust(&settings, true);
            let adopted = recover::adopt(&settings, &archive, &store).await?;
            (Rebuilt { store, set_aside: None, copy: None, adopted }, false)
        }
        Found::Lost | Found::Damaged(_) => {
            (recover::rebuild(&settings, &archive, highest).await?, true)
        }
    };
    rebuilt.store.close().await;
    if arguments.json {
        let Rebuilt { set_aside, copy, adopted, .. } = rebuilt;
        output::json(&Report { rebuilt: is_new, set_aside, copy, adopted })?;
    } else if is_new {
        output::line(format!("The database was damaged or missing; {}.", rebuilt.told()))?;
    } else {
        output::line(match rebuilt.adopted {
            0 => "The database is intact and knows every snapshot.".to_owned(),
            1 => "The database is intact; 1 job was imported from the archive.".to_owned(),
            count => {
                format!("The database is intact; {count} jobs were imported from the archive.")
            }
        })?;
    }
    Ok(exit::DONE)
}
