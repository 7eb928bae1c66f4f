//! Root beside another user's service, as with `sudo nightjar backup`: the process reads what root
//! alone may be able to read, and then becomes the owner of `state_dir`, before it touches that
//! folder or the archive. `src/files/user.rs` says why.

use super::{Cli, Command, Problem};
use crate::config;
use crate::files::Owner;
use crate::settings::Settings;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Becomes the owner of `state_dir`, where this process is root and the folder belongs to another
/// user. Nothing changes otherwise, nor for a command that does not touch the folder.
pub(super) fn leave(cli: &Cli) -> Result<(), Problem> {
    let is_root = rustix::process::geteuid().is_root();
    let stays = matches!(
        cli.command,
        // These only read the archive, or write where the caller may write.
        Command::Init(_)
            | Command::Check(_)
            | Command::Demo(_)
            | Command::Discover(_)
            | Command::Export(_)
            | Command::Diff(_)
            | Command::Log(_)
    );
    if !is_root || stays {
        return Ok(());
    }
    // With mistakes in it the command goes no further than to report them.
    let loaded = config::load(&config::locate(cli.common.config.clone()));
    if let Ok(settings) = &loaded {
        become_owner(settings, &cli.command)?;
    }
    cli.common.loaded.replace(Some(loaded));
    Ok(())
}

fn become_owner(settings: &Settings, command: &Command) -> Result<(), Problem> {
    let state = settings.state_dir.display();
    let unusable = |error: std::io::Error| {
        Problem::failed(format!("cannot use the state folder {state}: {error}"))
    };
    let Some(owner) = Owner::beside_root(&settings.state_dir).map_err(unusable)? else {
        return Ok(());
    };
    config::keep_secrets(settings);
    owner.take_over(&[&settings.state_dir, &settings.archive_dir]).map_err(|error| {
        Problem::failed(format!(
            "root works on {state} as its owner, user {}, and cannot: {error}",
            owner.uid()
        ))
    })?;
    if writes_archive(command) { may_write(settings, &owner) } else { Ok(()) }
}

/// Whether a command may write to the archive.
fn writes_archive(command: &Command) -> bool {
    matches!(
        command,
        Command::Daemon
            | Command::Backup(_)
            | Command::Restore(_)
            | Command::Publish(_)
            | Command::Rollback(_)
            | Command::Prune(_)
            | Command::Hold(_)
            | Command::Unhold(_)
            | Command::Reindex(_)
    )
}

/// An error where the archive is closed to the owner of the state folder.
fn may_write(settings: &Settings, owner: &Owner) -> Result<(), Problem> {
    let archive = &settings.archive_dir;
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    if accessat(CWD, archive, wanted, AtFlags::EACCESS) != Err(Errno::ACCESS) {
        return Ok(());
    }
    let (shown, user) = (archive.display(), owner.uid());
    let whose = match fs::metadata(archive) {
        Ok(meta) => format!("it belongs to user {}", meta.uid()),
        Err(error) => error.to_string(),
    };
    Err(Problem::failed(format!(
        "cannot use the archive folder {shown}: user {user}, to whom the state folder {} belongs, \
         may not write to it ({whose}); root works as that user there: type `chown -R {user} \
         {shown}`",
        settings.state_dir.display()
    )))
}
