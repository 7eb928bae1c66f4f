//! Files and folders that only their owner may read, made in one way by every room.
//!
//! Root may work beside the service's own user (`sudo nightjar backup`). What it makes then belongs
//! to the owner of the folder that it is made in, so that the service can go on with it.

use crate::failpoint::{self, Point};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown};
use std::path::Path;

/// Makes a folder with all above it that is missing. One that exists stays as it is.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_folder(above)?;
    }
    failpoint::hit(Point::FolderMake, folder)?;
    match DirBuilder::new().mode(0o700).create(folder) {
        // Somebody else was faster.
        Err(_) if folder.is_dir() => return Ok(()),
        made => made?,
    }
    give_to_owner(folder)?;
    // The new name is on disk once the folder that holds it is.
    folder.parent().map_or(Ok(()), sync_folder)
}

/// Opens a file for reading and writing; makes it where there is none.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
        Ok(file) => {
            give_to_owner(path)?;
            Ok(file)
        }
    }
}

/// Opens an empty file for writing.
pub fn create(path: &Path) -> io::Result<File> {
    failpoint::hit(Point::FileCreate, path)?;
    let file = open(path)?;
    file.set_len(0)?;
    Ok(file)
}

/// What root has made belongs to the owner of its folder.
pub fn give_to_owner(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(folder)?;
    if owner.uid() == 0 {
        return Ok(());
    }
    lchown(path, Some(owner.uid()), Some(owner.gid()))
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
    failpoint::hit(Point::FolderSync, folder)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown};
    use tempfile::TempDir;

    #[test]
    fn what_is_made_is_private() {
        let folder = TempDir::new().unwrap();
        let inner = folder.path().join("a/b");
        make_folder(&inner).unwrap();
        make_folder(&inner).unwrap();
        create(&inner.join("file")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&inner), 0o700);
        assert_eq!(mode(inner.parent().unwrap()), 0o700);
        assert_eq!(mode(&inner.join("file")), 0o600);
    }

    #[test]
    fn an_opened_file_keeps_what_it_holds_and_a_created_one_does_not() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "text").unwrap();
        open(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"text");
        create(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn root_leaves_nothing_that_the_folder_s_owner_cannot_use() {
        let folder = TempDir::new().unwrap();
        let ours = fs::metadata(folder.path()).unwrap().uid();
        // Only root can give a folder away; anybody else makes files of its own.
        let owner = match chown(folder.path(), Some(12_345), Some(12_345)) {
            Ok(()) => 12_345,
            Err(_) => ours,
        };
        make_folder(&folder.path().join("a/b")).unwrap();
        create(&folder.path().join("a/b/file")).unwrap();
        for made in ["a", "a/b", "a/b/file"] {
            assert_eq!(fs::metadata(folder.path().join(made)).unwrap().uid(), owner, "{made}");
        }
    }
}
