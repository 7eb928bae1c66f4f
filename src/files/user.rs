//! Root beside another user's service: the process permanently becomes that user.
//!
//! The owner of a folder can replace its content at any moment, and SQLite opens files by path. No
//! check before opening is reliable, so root does not open them: with the rights of the folder's
//! owner, the process can do nothing that the owner could not do anyway.

use super::Folder;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, User, getresuid, initgroups, seteuid, setgid, setgroups, setuid};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::geteuid;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Whether this process was root and has become its folder's owner.
static LEFT_ROOT: AtomicBool = AtomicBool::new(false);
/// Files that root opened before it changed users, by path.
static KEPT: Mutex<Vec<(PathBuf, File)>> = Mutex::new(Vec::new());

/// A user that root can become.
#[derive(Debug)]
pub struct Owner {
    uid: Uid,
    gid: Gid,
    /// `None` if the system does not know the user, as with a stopped `DynamicUser` service of
    /// systemd.
    name: Option<CString>,
}

/// A folder that the owner cannot reach because a folder above it is closed to others.
#[derive(Debug)]
struct Hidden {
    closed: PathBuf,
    folder: PathBuf,
}

impl Owner {
    /// The owner of a folder, or of the nearest existing one above it. `None` unless this process
    /// is root and the folder belongs to another user.
    ///
    /// # Errors
    /// The folder cannot be read, or the path has a link of another user.
    pub fn beside_root(folder: &Path) -> io::Result<Option<Owner>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let (uid, gid) = nearest(folder)?.owner;
        if uid.is_root() {
            return Ok(None);
        }
        let uid = Uid::from_raw(uid.as_raw());
        let known = User::from_uid(uid).ok().flatten();
        let gid = match (&known, gid.as_raw()) {
            (Some(user), _) => user.gid,
            // Root's group may have more access than the folder's owner should get.
            (None, 0) => Gid::from_raw(uid.as_raw()),
            (None, gid) => Gid::from_raw(gid),
        };
        let name = known.and_then(|user| CString::new(user.name).ok());
        Ok(Some(Owner { uid, gid, name }))
    }

    /// The user's number.
    pub fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// Permanently changes this process to that user, with the user's groups and none of root's.
    /// These folders stay reachable even if one above them is closed to the user, as systemd's
    /// `/var/lib/private` is. Must be called before the process has a second thread.
    ///
    /// # Errors
    /// The system does not allow the change, or the user cannot reach the folders. The process must
    /// end then.
    pub fn take_over(&self, folders: &[&Path]) -> io::Result<()> {
        let found = folders.iter().map(|folder| nearest(folder)).collect::<io::Result<Vec<_>>>()?;
        let own = found.iter().filter(|folder| folder.owner.0.as_raw() == self.uid());
        let real: Vec<_> = own.map(|it| fs::canonicalize(it.path())).collect::<Result<_, _>>()?;
        match &self.name {
            Some(name) => initgroups(name, self.gid)?,
            None => setgroups(&[self.gid])?,
        }
        setgid(self.gid)?;
        // The kernel itself reports folders that the user cannot reach.
        seteuid(self.uid)?;
        let hidden: Vec<_> = real.iter().filter_map(|folder| hidden(folder)).collect();
        seteuid(Uid::from_raw(0))?;
        if !hidden.is_empty() {
            self.uncover(&hidden)?;
        }
        setuid(self.uid)?;
        let now = getresuid()?;
        let all = [now.real, now.effective, now.saved].iter().all(|uid| *uid == self.uid);
        if !all || setuid(Uid::from_raw(0)).is_ok() {
            return Err(io::Error::other("the system let this process keep the rights of root"));
        }
        LEFT_ROOT.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Mounts these folders at their own paths below open folders, visible to this process only.
    /// systemd does the same for the service itself.
    fn uncover(&self, hidden: &[Hidden]) -> io::Result<()> {
        for Hidden { closed, folder } in hidden {
            for above in closed.ancestors() {
                let meta = fs::symlink_metadata(above)?;
                let open_to_others = meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0;
                if !meta.is_dir() || meta.uid() != 0 || open_to_others {
                    return Err(self.unreachable(folder, closed, "not root's alone"));
                }
            }
        }
        let refused = |error: nix::Error| {
            let first = hidden.first();
            let (folder, closed) = first.map_or((Path::new(""), Path::new("")), |it| {
                (it.folder.as_path(), it.closed.as_path())
            });
            self.unreachable(folder, closed, &error.to_string())
        };
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).map_err(refused)?;
        // The mounts that follow are not visible outside.
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).map_err(refused)?;
        let mut opened = Vec::new();
        for it in hidden {
            let folder = Folder::open(&it.folder)?;
            if folder.owner.0.as_raw() != self.uid() {
                return Err(self.unreachable(&it.folder, &it.closed, "exchanged meanwhile"));
            }
            opened.push((folder, it));
        }
        let mut covered: Vec<&Path> = Vec::new();
        for (_, Hidden { closed, .. }) in &opened {
            if !covered.contains(&closed.as_path()) {
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
                mount(Some("tmpfs"), closed, Some("tmpfs"), flags, Some("mode=0755"))
                    .map_err(refused)?;
                covered.push(closed);
            }
        }
        for (from, Hidden { folder, .. }) in &opened {
            if fs::symlink_metadata(folder).is_ok() {
                // It is inside another one of them.
                continue;
            }
            open_folders(folder)?;
            let from = from.link();
            mount(Some(&from), folder, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
                .map_err(refused)?;
        }
        Ok(())
    }

    fn unreachable(&self, folder: &Path, closed: &Path, why: &str) -> io::Error {
        let (user, folder, closed) = (self.uid, folder.display(), closed.display());
        let message = format!(
            "user {user}, to whom {folder} belongs, cannot reach it through {closed} ({why}): \
             type `chmod o+x {closed}`"
        );
        io::Error::new(io::ErrorKind::PermissionDenied, message)
    }
}

/// Creates folders that every user may enter.
fn open_folders(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    // The process's umask may have closed them.
    for made in folder.ancestors().take_while(|it| {
        fs::symlink_metadata(it).is_ok_and(|meta| meta.uid() == 0 && meta.mode() & 0o005 != 0o005)
    }) {
        fs::set_permissions(made, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The folder, or the nearest existing one above it.
fn nearest(folder: &Path) -> io::Result<Folder> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for folder in folder.ancestors() {
        match Folder::open(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
            opened => return opened,
        }
    }
    Err(last)
}

/// The first folder above this one that this process may not enter.
fn hidden(folder: &Path) -> Option<Hidden> {
    let mut above: Vec<_> = folder.ancestors().skip(1).collect();
    above.reverse();
    let closed = |it: &&Path| accessat(CWD, *it, Access::EXEC_OK, AtFlags::EACCESS).is_err();
    let closed = above.into_iter().find(closed)?;
    Some(Hidden { closed: closed.to_owned(), folder: folder.to_owned() })
}

/// Whether this process started as root and has become the owner of its folders.
pub fn has_left_root() -> bool {
    LEFT_ROOT.load(Ordering::Relaxed)
}

/// Opens a file that perhaps only root can read, for [`open_secret`] after the change of user. A
/// file that cannot be opened is skipped: the later reader reports the error.
pub fn keep_open(path: &Path) {
    if let Ok(Some(file)) = open_now(path) {
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).push((path.to_owned(), file));
    }
}

/// Closes the files that [`keep_open`] has opened: from now on only files that the user may read
/// can be read.
pub fn close_kept() {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Opens a file outside the program's own folders for reading, such as a key file; `None` if it is
/// not a regular file. Links are followed.
///
/// # Errors
/// It cannot be opened, and [`keep_open`] has not opened it before.
pub fn open_secret(path: &Path) -> io::Result<Option<File>> {
    // It may be closed to the user, or no longer visible.
    let denied = match open_now(path) {
        Err(error) => error,
        opened => return opened,
    };
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    match kept.iter().find(|(of, _)| of == path) {
        // From its start: copies share their position, and are read one after the other.
        Some((_, file)) => {
            use std::io::Seek;
            let mut file = file.try_clone()?;
            file.rewind()?;
            Ok(Some(file))
        }
        None => Err(denied),
    }
}

fn open_now(path: &Path) -> io::Result<Option<File>> {
    // Checked before opening, which would block on a pipe.
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    File::open(path).map(Some)
}
