//! The address or socket file where the pages are served.

use crate::files::{self, Folder};
use crate::settings::Listen;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::FileTypeExt;
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// The address or socket file where the pages are served.
#[derive(Debug)]
pub enum Listener {
    /// An address.
    Tcp(TcpListener),
    /// A socket file, which is removed when the listener is dropped.
    Unix(UnixListener, SocketFile),
}

/// A socket file that is removed when it is no longer served.
#[derive(Debug)]
pub struct SocketFile {
    /// Opened before the file was made: the file is removed from it even if its path has changed.
    folder: Folder,
    name: OsString,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed already; only a socket is removed.
        if is_socket(&self.folder, &self.name) {
            let _ = self.folder.remove(&self.name);
        }
    }
}

fn is_socket(folder: &Folder, name: &OsString) -> bool {
    folder.metadata(name).is_ok_and(|found| found.file_type().is_socket())
}

impl Listener {
    /// Listens. A stale socket file is replaced; the group of the new one may use it. Links on the
    /// way to it are followed as for every other file: the owner of the socket's folder cannot lead
    /// root to other folders.
    pub async fn bind(listen: &Listen) -> io::Result<Listener> {
        match listen {
            Listen::Tcp(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?)),
            Listen::Unix(path) => {
                let (folder, name) = files::folder_of(path)?;
                let name = name.to_owned();
                // The system opens sockets by path only, and follows any link in it.
                let path = folder.system_path(&name)?;
                if UnixStream::connect(&path).await.is_ok() {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
                if is_socket(&folder, &name) {
                    folder.remove(&name)?;
                }
                let listener = UnixListener::bind(&path)?;
                let file = SocketFile { folder, name };
                file.folder.share_socket(&file.name)?;
                Ok(Listener::Unix(listener, file))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, lchown, symlink};
    use std::os::unix::net::UnixListener as Other;
    use std::path::Path;
    use tempfile::TempDir;

    fn at(path: &Path) -> Listen {
        Listen::Unix(path.to_owned())
    }

    #[tokio::test]
    async fn a_socket_file_is_shared_with_its_group_and_removed_in_the_end() {
        let top = TempDir::new().unwrap();
        let path = top.path().join("page.sock");
        // No process serves it any more.
        drop(Other::bind(&path).unwrap());
        let listener = Listener::bind(&at(&path)).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        UnixStream::connect(&path).await.unwrap();
        let second = Listener::bind(&at(&path)).await.unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).await.unwrap();
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_file_is_removed_where_it_was_made() {
        let top = TempDir::new().unwrap();
        let path = |name: &str| top.path().join(name);
        fs::create_dir(path("run")).unwrap();
        let listener = Listener::bind(&at(&path("run/page.sock"))).await.unwrap();
        files::rename(&path("run"), &path("moved")).unwrap();
        fs::create_dir(path("run")).unwrap();
        let _other = Other::bind(path("run/page.sock")).unwrap();
        drop(listener);
        assert!(path("run/page.sock").exists());
        assert!(!path("moved/page.sock").exists());
    }

    #[tokio::test]
    async fn links_of_the_socket_folders_owner_do_not_mislead_root() {
        let top = TempDir::new().unwrap();
        let path = |name: &str| top.path().join(name);
        fs::create_dir(path("user")).unwrap();
        fs::create_dir(path("goal")).unwrap();
        drop(Other::bind(path("goal/page.sock")).unwrap());
        let before = fs::metadata(path("goal/page.sock")).unwrap();
        symlink(path("goal"), path("user/run")).unwrap();
        if lchown(path("user"), Some(12_345), Some(12_345)).is_err() {
            eprintln!("skipped: only root can act beside another user");
            return;
        }
        lchown(path("user/run"), Some(12_345), Some(12_345)).unwrap();
        let error = Listener::bind(&at(&path("user/run/page.sock"))).await.unwrap_err();
        assert!(error.to_string().contains("symbolic link of user 12345"), "{error}");
        let after = fs::metadata(path("goal/page.sock")).unwrap();
        assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
        // Nor by a link in the socket's own place.
        symlink(path("goal/page.sock"), path("user/page.sock")).unwrap();
        assert!(Listener::bind(&at(&path("user/page.sock"))).await.is_err());
        assert_eq!(fs::metadata(path("goal/page.sock")).unwrap().mode(), before.mode());
    }
}
