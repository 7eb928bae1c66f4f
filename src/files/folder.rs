//! An open directory. Names are resolved in it, even if its path leads elsewhere later.
//!
//! On the way to it, a symbolic link is followed only if its owner is trusted: root, the user that
//! the program runs as, or the owner of the folder that contains the link. That owner can add links
//! at any time, so root follows only links of root.

use super::{not_regular, untrusted};
use crate::failpoint::{self, Point};
use rustix::fs::{
    self as sys, AtFlags, CWD, FileType, Gid, Mode, OFlags, RawMode, Stat, Uid, fstat, openat,
};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The most links on one path, as in Linux itself.
const MAX_LINKS: u32 = 40;
const PRIVATE_FILE: Mode = Mode::from_raw_mode(0o600);
const PRIVATE_FOLDER: Mode = Mode::from_raw_mode(0o700);

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    /// Opened with `O_PATH`, which needs no right to list the folder.
    fd: OwnedFd,
    path: PathBuf,
    pub(super) owner: (Uid, Gid),
}

/// A directory's lock, held until this is dropped.
#[derive(Debug)]
pub struct FolderLock {
    _listed: File,
}

/// One name in a folder.
#[derive(Debug)]
pub struct Entry {
    /// The name, without any path.
    pub name: OsString,
    /// The kind of its target; links are not followed.
    pub kind: EntryKind,
}

/// The kind of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a pipe or a socket.
    Other,
}

fn kind_of(mode: RawMode) -> EntryKind {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Folder,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Other,
    }
}

/// Opens a name with `O_PATH`: it follows no link, never blocks and does nothing to a device.
fn open_path(folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<(OwnedFd, Stat)> {
    let found =
        openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&found)?;
    Ok((found, stat))
}

/// Whether a link that lies in `folder` may be followed.
fn may_follow(link: &Stat, folder: &OwnedFd) -> rustix::io::Result<bool> {
    let me = geteuid();
    // Anyone who may write to a directory may hard-link root's symbolic link from elsewhere into
    // it, unless the system forbids that.
    if me.is_root() {
        return Ok(link.st_uid == 0 && link.st_nlink <= 1);
    }
    // A link of the directory's owner is as trusted as the directory.
    Ok(link.st_uid == 0 || link.st_uid == me.as_raw() || link.st_uid == fstat(folder)?.st_uid)
}

/// Where a link leads.
fn target(link: &OwnedFd) -> rustix::io::Result<PathBuf> {
    let target = sys::readlinkat(link, "", Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

/// The names of a path, the last one first.
fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().rev().map(|component| component.as_os_str().to_owned())
}

/// Walks along the path name by name.
fn walk(path: &Path) -> io::Result<(OwnedFd, Stat)> {
    let begin = if path.is_absolute() { "/" } else { "." };
    let (mut here, mut stat) = open_start(begin)?;
    let mut ahead: Vec<OsString> = names(path).collect();
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        let (next, found) = open_path(&here, &name)?;
        match kind_of(found.st_mode) {
            EntryKind::Folder => (here, stat) = (next, found),
            EntryKind::Link if links == MAX_LINKS => return Err(Errno::LOOP.into()),
            EntryKind::Link => {
                if !may_follow(&found, &here)? {
                    return Err(untrusted(path, &name, found.st_uid));
                }
                links += 1;
                ahead.extend(names(&target(&next)?));
            }
            EntryKind::File | EntryKind::Other => return Err(Errno::NOTDIR.into()),
        }
    }
    Ok((here, stat))
}

fn open_start(begin: &str) -> io::Result<(OwnedFd, Stat)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = openat(CWD, begin, flags, Mode::empty())?;
    let stat = fstat(&here)?;
    Ok((here, stat))
}

/// The folder and the last name of a path.
pub(super) fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let name = path.file_name().ok_or_else(|| {
        let message = format!("{} is no path of a file", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")), name))
}

impl Folder {
    /// Opens a folder. A link on the way is followed if it belongs to root, to the program's own
    /// user or to the owner of the folder that contains it; any other link is an error. Root
    /// follows only links of root.
    pub fn open(path: &Path) -> io::Result<Folder> {
        let (fd, stat) = walk(path)?;
        Ok(Folder { fd, path: path.to_owned(), owner: owner(&stat) })
    }

    /// The folder of a file, and the file's name in it. If the name is a link that may be followed,
    /// the folder and name of its target.
    pub(super) fn of(path: &Path) -> io::Result<(Folder, OsString)> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let (folder, name) = split(&path)?;
            let folder = Folder::open(folder)?;
            let (link, found) = match open_path(&folder.fd, name) {
                Ok((link, found)) if kind_of(found.st_mode) == EntryKind::Link => (link, found),
                Ok(_) | Err(Errno::NOENT) => return Ok((folder, name.to_owned())),
                Err(error) => return Err(error.into()),
            };
            if !may_follow(&found, &folder.fd)? {
                return Err(untrusted(&path, name, found.st_uid));
            }
            path = folder.path.join(target(&link)?);
        }
        Err(Errno::LOOP.into())
    }

    /// Opens a directory; creates it and its missing parents.
    pub fn make(path: &Path) -> io::Result<Folder> {
        match Folder::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let (above, name) = split(path)?;
        let above = Folder::make(above)?;
        failpoint::hit(Point::FolderMake, path)?;
        match sys::mkdirat(&above.fd, name, PRIVATE_FOLDER) {
            // Another process was faster, or there is a dangling link.
            Err(Errno::EXIST) => return Folder::open(path),
            made => made?,
        }
        let (fd, found) = open_path(&above.fd, name)?;
        if kind_of(found.st_mode) != EntryKind::Folder {
            return Err(Errno::NOTDIR.into());
        }
        let owner = above.give(&fd, &found)?;
        let folder = Folder { fd, path: path.to_owned(), owner };
        // The new entry is on disk only once its parent is synced.
        above.sync()?;
        Ok(folder)
    }

    /// Its path when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path that leads to this folder while it is open, valid in this process only.
    pub(super) fn link(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// Its entries, read lazily in bounded memory.
    pub fn entries(&self) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<>> {
        let entries = sys::Dir::new(self.listed()?)?;
        let again = self.fd.try_clone()?;
        let entries = entries.map(move |entry| {
            let entry = entry?;
            let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
            let kind = match entry.file_type() {
                // The file system does not report the kind of entries.
                FileType::Unknown => match open_path(&again, &name) {
                    Ok((_, found)) => kind_of(found.st_mode),
                    // It was removed meanwhile.
                    Err(_) => EntryKind::Other,
                },
                known => kind_of(known.as_raw_mode()),
            };
            Ok(Entry { name, kind })
        });
        Ok(entries.filter(|entry: &io::Result<Entry>| match entry {
            Ok(entry) => entry.name != "." && entry.name != "..",
            Err(_) => true,
        }))
    }

    /// The metadata of a name in it; a link is not followed.
    pub fn metadata(&self, name: impl AsRef<OsStr>) -> io::Result<Metadata> {
        let (found, _) = open_path(&self.fd, plain(name.as_ref())?)?;
        File::from(found).metadata()
    }

    /// The target of a link in it.
    pub fn read_link(&self, name: impl AsRef<OsStr>) -> io::Result<PathBuf> {
        let (link, found) = open_path(&self.fd, plain(name.as_ref())?)?;
        if kind_of(found.st_mode) != EntryKind::Link {
            return Err(Errno::INVAL.into());
        }
        Ok(target(&link)?)
    }

    /// Opens a regular file for reading; no link.
    pub fn read(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        Ok(self.regular(name.as_ref(), OFlags::RDONLY)?.0)
    }

    /// Opens a regular file for reading and writing; creates it if missing; refuses a link.
    pub fn write(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let name = name.as_ref();
        match self.create_new(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
        let (file, found) = self.regular(name, OFlags::RDWR)?;
        // A second name for another user's file could mislead root.
        if geteuid().is_root() && found.st_uid != self.owner.0.as_raw() && found.st_nlink > 1 {
            let message = format!(
                "{} belongs to user {} and has other names elsewhere; remove it",
                self.path.join(name).display(),
                found.st_uid
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(file)
    }

    /// Creates a new file for reading and writing; an error if anything has that name.
    pub fn create_new(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::EXCL
            | OFlags::NOFOLLOW
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let made = openat(&self.fd, plain(name.as_ref())?, flags, PRIVATE_FILE)?;
        self.give(&made, &fstat(&made)?)?;
        Ok(File::from(made))
    }

    /// Removes a file, or a link itself.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(sys::unlinkat(&self.fd, plain(name.as_ref())?, AtFlags::empty())?)
    }

    /// Renames a file into this directory or another one, replacing any file of that name.
    pub fn rename(
        &self,
        from: impl AsRef<OsStr>,
        folder: &Folder,
        to: impl AsRef<OsStr>,
    ) -> io::Result<()> {
        let (from, to) = (plain(from.as_ref())?, plain(to.as_ref())?);
        Ok(sys::renameat(&self.fd, from, &folder.fd, to)?)
    }

    /// Creates a hard link; a symbolic link is not followed.
    pub fn hard_link(
        &self,
        old: impl AsRef<OsStr>,
        folder: &Folder,
        new: impl AsRef<OsStr>,
    ) -> io::Result<()> {
        let (old, new) = (plain(old.as_ref())?, plain(new.as_ref())?);
        Ok(sys::linkat(&self.fd, old, &folder.fd, new, AtFlags::empty())?)
    }

    /// Creates a symbolic link.
    pub fn symlink(&self, target: &Path, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = plain(name.as_ref())?;
        sys::symlinkat(target, &self.fd, name)?;
        let (made, found) = open_path(&self.fd, name)?;
        if kind_of(found.st_mode) == EntryKind::Link {
            self.give(&made, &found)?;
        }
        Ok(())
    }

    /// Syncs its entries to disk.
    pub fn sync(&self) -> io::Result<()> {
        failpoint::hit(Point::FolderSync, &self.path)?;
        Ok(sys::fsync(self.listed()?)?)
    }

    /// Waits for this directory's lock, and holds it until the value is dropped. For changes that
    /// belong together; `None` if the file system does not support locks.
    pub fn lock(&self) -> Option<FolderLock> {
        let listed = File::from(self.listed().ok()?);
        listed.lock().ok()?;
        Some(FolderLock { _listed: listed })
    }

    /// The directory itself, opened for reading. Closed in child processes.
    fn listed(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(&self.fd, ".", flags, Mode::empty())
    }

    /// A path for system calls that take no open directory. It leads here while this is open, even
    /// if the directory's own path has changed.
    pub(crate) fn system_path(&self, name: impl AsRef<OsStr>) -> io::Result<PathBuf> {
        let here = PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()));
        Ok(here.join(plain(name.as_ref())?))
    }

    /// Lets the socket's user and group write to it, and no other user.
    pub(crate) fn share_socket(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let name = plain(name.as_ref())?;
        let (socket, found) = open_path(&self.fd, name)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
            let message = format!("{} is no longer a socket", self.path.join(name).display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        // O_PATH descriptors cannot be changed directly, only by their name in /proc.
        let opened = format!("/proc/self/fd/{}", socket.as_raw_fd());
        Ok(sys::chmodat(CWD, opened, Mode::from_raw_mode(0o660), AtFlags::empty())?)
    }

    fn regular(&self, name: &OsStr, flags: OFlags) -> io::Result<(File, Stat)> {
        let name = plain(name)?;
        // Check before opening: opening a device may have side effects.
        let (_, found) = open_path(&self.fd, name)?;
        let refused = || not_regular(&self.path.join(name), kind_of(found.st_mode));
        if kind_of(found.st_mode) != EntryKind::File {
            return Err(refused());
        }
        let safely = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&self.fd, name, flags | safely, Mode::empty())?;
        let found = fstat(&file)?;
        if kind_of(found.st_mode) != EntryKind::File {
            return Err(refused());
        }
        Ok((File::from(file), found))
    }

    /// Gives a file that root has created to the directory's owner, so that the service can use it.
    /// Returns the new owner.
    fn give(&self, made: impl AsFd, found: &Stat) -> io::Result<(Uid, Gid)> {
        // Not if another file has replaced it meanwhile.
        let is_ours = geteuid().is_root() && found.st_uid == 0;
        if !is_ours || self.owner.0.is_root() {
            return Ok(owner(found));
        }
        let (user, group) = self.owner;
        sys::chownat(made, "", Some(user), Some(group), AtFlags::EMPTY_PATH)?;
        Ok(self.owner)
    }
}

fn owner(found: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid))
}

/// Checks that this is a single name, which cannot lead out of the directory.
fn plain(name: &OsStr) -> io::Result<&OsStr> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(std::path::Component::Normal(only)), None) if only == name => Ok(name),
        _ => {
            let message = format!("{} is no name of a file", Path::new(name).display());
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}
