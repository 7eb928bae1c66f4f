//! Private files and directories. All modules create and open them through this module.
//!
//! Root may work next to the service's own user (`sudo nightjar backup`). Files that root creates
//! belong to the owner of their directory, so that the service can use them. Root does not trust
//! what that user, or an attacker with that user's rights, has put there: it follows no link of
//! another user, opens only regular files, and resolves names in an opened [`Folder`].

mod folder;
mod user;

pub use folder::{Entry, EntryKind, Folder, FolderLock};
pub use user::{Owner, close_kept, has_left_root, keep_open, open_secret};

use crate::failpoint::{self, Point};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Creates a directory and its missing parents. An existing one stays unchanged. An error if the
/// path or a parent is a link that must not be followed.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    Folder::make(folder).map(drop)
}

/// Opens a file for reading and writing; creates it if missing. A link is followed only if it
/// belongs to root, to the program's own user or to the owner of the folder that it is in, and by
/// root only if it belongs to root. Anything but a regular file is an error.
pub fn open(path: &Path) -> io::Result<File> {
    let (folder, name) = Folder::of(path)?;
    folder.write(name)
}

/// Opens a file for writing, as [`open`] does, and truncates it.
pub fn create(path: &Path) -> io::Result<File> {
    failpoint::hit(Point::FileCreate, path)?;
    let file = open(path)?;
    file.set_len(0)?;
    Ok(file)
}

/// Creates a new file for reading and writing: an error of the kind `AlreadyExists` if anything has
/// that name, a link included.
pub fn create_new(path: &Path) -> io::Result<File> {
    failpoint::hit(Point::FileCreate, path)?;
    let (folder, name) = folder_of(path)?;
    folder.create_new(name)
}

/// Opens a regular file for reading. Its name must not be a link.
pub fn read(path: &Path) -> io::Result<File> {
    let (folder, name) = folder_of(path)?;
    folder.read(name)
}

/// The metadata of a path; a link at its end is not followed.
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    let (folder, name) = folder_of(path)?;
    folder.metadata(name)
}

/// Removes a file, or a link itself.
pub fn remove(path: &Path) -> io::Result<()> {
    let (folder, name) = folder_of(path)?;
    folder.remove(name)
}

/// Renames a file, replacing any file of that name.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let ((one, from), (other, to)) = (folder_of(from)?, folder_of(to)?);
    one.rename(from, &other, to)
}

/// Creates a hard link.
pub fn hard_link(old: &Path, new: &Path) -> io::Result<()> {
    let ((one, old), (other, new)) = (folder_of(old)?, folder_of(new)?);
    one.hard_link(old, &other, new)
}

/// Creates a symbolic link at `path`.
pub fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    let (folder, name) = folder_of(path)?;
    folder.symlink(target, name)
}

/// An error unless the path is free, or a regular file that [`open`] would open. For files that
/// another library opens by path.
pub fn check_regular(path: &Path) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    match folder.read(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => opened.map(drop),
    }
}

/// The folder that holds a file, opened, and the file's name in it; the name may be a link.
pub(crate) fn folder_of(path: &Path) -> io::Result<(Folder, &OsStr)> {
    let (folder, name) = folder::split(path)?;
    Ok((Folder::open(folder)?, name))
}

fn untrusted(path: &Path, name: &OsStr, user: u32) -> io::Error {
    let link = match path.file_name() == Some(name) {
        true => path.display().to_string(),
        false => format!("{} on the way to {}", Path::new(name).display(), path.display()),
    };
    let followed = match rustix::process::geteuid().is_root() {
        true => "by root only links of root",
        false => "only links of root, of the program's own user and of the folder's owner",
    };
    let message = format!(
        "{link} is a symbolic link of user {user}, and {followed} are followed; remove it, or make \
         it again as root"
    );
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

fn not_regular(path: &Path, kind: EntryKind) -> io::Error {
    let what = match kind {
        EntryKind::File => "something else by now",
        EntryKind::Folder => "a folder",
        EntryKind::Link => "a symbolic link",
        EntryKind::Other => "a device, a pipe or a socket",
    };
    let message = format!("{} is {what}, and should be a regular file", path.display());
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Bytes that an unprivileged process may still write to the file system of a directory.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether two directories are on the same file system.
pub fn same_disk(one: &Path, other: &Path) -> bool {
    let disk = |folder| fs::metadata(folder).map(|meta| meta.dev()).ok();
    disk(one).is_some_and(|one| Some(one) == disk(other))
}

/// Syncs a directory's entries to disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    Folder::open(folder)?.sync()
}

#[cfg(test)]
mod tests;
