//! Folders: are they writable and private, with enough free space and hard links?

use super::{Findings, archive};
use crate::files;
use crate::settings::Settings;
use crate::store::lock;
use indicatif::HumanBytes;
use rustix::fs::{Access, AtFlags};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

pub(super) fn examine(settings: &Settings, found: &mut Findings) {
    folder("state", &settings.state_dir, found);
    folder("archive", &settings.archive_dir, found);
    links(&settings.archive_dir, found);
    free_space(settings, found);
    daemon(settings, found);
}

fn folder(what: &'static str, path: &Path, found: &mut Findings) {
    let shown = path.display();
    let meta = match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => meta,
        Ok(_) => {
            let fix = format!("move it away, or set another folder as {what}_dir");
            found.error(what, format!("{shown} is not a folder"), fix);
            return;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            found.ok(what, format!("{shown} does not exist yet; the first backup creates it"));
            return;
        }
        Err(error) => {
            let fix = format!("give this user access to it, or set another folder as {what}_dir");
            found.error(what, format!("{shown}: {error}"), fix);
            return;
        }
    };
    let mode = meta.permissions().mode() & 0o777;
    let me = rustix::process::geteuid();
    if mode & 0o077 != 0 {
        found.warn(
            what,
            format!("{shown} is accessible to others (mode {mode:03o})"),
            format!("chmod 700 {shown}"),
        );
    }
    match may_write(path) {
        Ok(()) => found.ok(what, format!("{shown} can be written")),
        Err(error) if !me.is_root() && meta.uid() != me.as_raw() => found.warn(
            what,
            format!("{shown} belongs to user {} and cannot be written by this one: {error}", {
                meta.uid()
            }),
            "run this command as that user, or as root",
        ),
        Err(error) => {
            let fix = "let the program's user write to it, and check whether its disk is mounted \
                       read-only";
            found.error(what, format!("{shown} cannot be written: {error}"), fix);
        }
    }
}

/// Whether this user may create files in a folder, as far as the system says without creating one.
fn may_write(folder: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::accessat(
        rustix::fs::CWD,
        folder,
        Access::WRITE_OK | Access::EXEC_OK,
        AtFlags::EACCESS,
    )?)
}

/// File systems without hard links, by the numbers that the kernel gives them: FAT and exFAT.
const WITHOUT_LINKS: [i64; 2] = [0x4d44, 0x2011_bab0];

fn links(folder: &Path, found: &mut Findings) {
    let Ok(disk) = rustix::fs::statfs(folder) else { return };
    if WITHOUT_LINKS.contains(&disk.f_type) {
        found.warn(
            "archive",
            "its file system has no hard links: each snapshot is a full copy",
            "put archive_dir on a file system such as ext4, xfs or btrfs, or accept the size",
        );
    } else {
        found.ok("archive", "identical snapshots share their space, with hard links");
    }
}

fn free_space(settings: &Settings, found: &mut Findings) {
    let archive = archive(settings);
    let newest = settings.sources.iter().filter_map(|it| archive.newest(&it.name).ok().flatten());
    let night: u64 = newest.map(|newest| newest.manifest.stored.bytes).sum();
    let nearest = settings.archive_dir.ancestors().find(|folder| folder.exists());
    let Some(Ok(free)) = nearest.map(files::free_bytes) else { return };
    let shown = HumanBytes(free);
    let low = settings.notify.disk_low;
    if free < low || free < night.saturating_mul(2) {
        found.error(
            "disk",
            format!(
                "the archive's disk has {shown} free, and should have at least {}",
                HumanBytes(low.max(night.saturating_mul(2)))
            ),
            "free some space, or keep fewer snapshots: `nightjar prune --dry-run` shows what retention would remove",
        );
    } else {
        found.ok("disk", format!("the archive's disk has {shown} free"));
    }
}

fn daemon(settings: &Settings, found: &mut Findings) {
    let path = settings.state_dir.join("daemon.lock");
    if !path.exists() {
        found.warn(
            "daemon",
            "no daemon has run here yet",
            "systemctl enable --now nightjar, unless a timer runs `nightjar backup`",
        );
        return;
    }
    match lock::holder(&path) {
        Ok(Some(holder)) if holder.ends_with(lock::REBUILDS) => found.warn(
            "daemon",
            format!("it is not running: process {holder}"),
            "wait for the end of that process",
        ),
        Ok(Some(process)) => found.ok("daemon", format!("it runs as process {process}")),
        Ok(None) => found.warn(
            "daemon",
            "it is not running",
            "systemctl start nightjar, unless a timer runs `nightjar backup`",
        ),
        Err(error) => found.warn(
            "daemon",
            format!("cannot tell whether it runs: {error}"),
            "run this command as the daemon's user, or as root",
        ),
    }
}
