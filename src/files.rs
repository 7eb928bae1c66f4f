//! Files and folders that only their owner may read, made and opened in one way by every module.
//!
//! Root may work beside the service's own user (`sudo nightjar backup`). What it makes then belongs
//! to the owner of the folder that it is made in, so that the service can go on with it. And it is
//! not led astray by what that user, or somebody who took over the service, has put there: no link
//! of another user is followed, nothing but a regular file is opened, and what is done by name is
//! done in an opened [`Folder`].

mod folder;

pub use folder::{Entry, EntryKind, Folder, FolderLock};

use crate::failpoint::{self, Point};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Makes a folder with all above it that is missing. One that exists stays as it is. An error where
/// a link of another user stands in its place or on the way to it.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    Folder::make(folder).map(drop)
}

/// Opens a file for reading and writing; makes it where there is none. A link is followed only if
/// root or the program's own user made it; anything but a regular file is an error.
pub fn open(path: &Path) -> io::Result<File> {
    let (folder, name) = Folder::of(path)?;
    folder.write(name)
}

/// Opens an empty file for writing, as [`open`] does. What it held is gone.
pub fn create(path: &Path) -> io::Result<File> {
    failpoint::hit(Point::FileCreate, path)?;
    let file = open(path)?;
    file.set_len(0)?;
    Ok(file)
}

/// Makes a file for reading and writing that nobody else has: an error of the kind `AlreadyExists`
/// when there is anything of that name, a link included.
pub fn create_new(path: &Path) -> io::Result<File> {
    failpoint::hit(Point::FileCreate, path)?;
    let (folder, name) = folder_of(path)?;
    folder.create_new(name)
}

/// Opens a regular file for reading. The file's own name may be no link.
pub fn read(path: &Path) -> io::Result<File> {
    let (folder, name) = folder_of(path)?;
    folder.read(name)
}

/// What the path names; a link at its end is not followed.
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    let (folder, name) = folder_of(path)?;
    folder.metadata(name)
}

/// Removes a file, or a link itself.
pub fn remove(path: &Path) -> io::Result<()> {
    let (folder, name) = folder_of(path)?;
    folder.remove(name)
}

/// Gives a file another name. What had that name goes.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let ((one, from), (other, to)) = (folder_of(from)?, folder_of(to)?);
    one.rename(from, &other, to)
}

/// Gives a file one more name.
pub fn hard_link(old: &Path, new: &Path) -> io::Result<()> {
    let ((one, old), (other, new)) = (folder_of(old)?, folder_of(new)?);
    one.hard_link(old, &other, new)
}

/// Makes a symbolic link at `path`.
pub fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    let (folder, name) = folder_of(path)?;
    folder.symlink(target, name)
}

/// An error unless there is nothing of this name, or a regular file that [`open`] would open. For
/// files that another library opens by their path.
pub fn check_regular(path: &Path) -> io::Result<()> {
    let (folder, name) = Folder::of(path)?;
    match folder.read(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => opened.map(drop),
    }
}

fn folder_of(path: &Path) -> io::Result<(Folder, &OsStr)> {
    let (folder, name) = folder::split(path)?;
    Ok((Folder::open(folder)?, name))
}

fn untrusted(path: &Path, name: &OsStr, user: u32) -> io::Error {
    let link = match path.file_name() == Some(name) {
        true => path.display().to_string(),
        false => format!("{} on the way to {}", Path::new(name).display(), path.display()),
    };
    let message = format!(
        "{link} is a symbolic link of user {user}, and only links of root and of the program's own \
         user are followed; remove it, or make it again as root"
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

/// How many bytes a process without privileges may still write to the disk of a folder.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether two folders lie on one disk.
pub fn same_disk(one: &Path, other: &Path) -> bool {
    let disk = |folder| fs::metadata(folder).map(|meta| meta.dev()).ok();
    disk(one).is_some_and(|one| Some(one) == disk(other))
}

/// Brings a folder's names to disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    Folder::open(folder)?.sync()
}

#[cfg(test)]
mod tests;
