//! Where the pages are served.

use crate::settings::Listen;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// Where the pages are served.
#[derive(Debug)]
pub enum Listener {
    /// An address.
    Tcp(TcpListener),
    /// A socket file, which is removed in the end.
    Unix(UnixListener, SocketFile),
}

/// A socket file that is removed when it is no longer served.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens. A socket file that nobody serves any more is replaced; others of its group may use
    /// the new one.
    pub async fn bind(listen: &Listen) -> io::Result<Listener> {
        match listen {
            Listen::Tcp(address) => Ok(Listener::Tcp(TcpListener::bind(address).await?)),
            Listen::Unix(path) => {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(io::ErrorKind::AddrInUse.into());
                }
                match std::fs::symlink_metadata(path) {
                    Ok(old) if old.file_type().is_socket() => std::fs::remove_file(path)?,
                    _ => {}
                }
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
                Ok(Listener::Unix(listener, SocketFile(path.clone())))
            }
        }
    }
}
