//! Which file is the database: the one that was opened may lose its name, or its contents.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The length of SQLite's header, in bytes: a shorter file holds nothing.
const HEADER: u64 = 100;
/// SQLite takes a file of no more bytes for a new database.
pub(super) const NEW: u64 = 1;

/// A file, whatever its name. While it is open, no other file has the same identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// The file that has this name now.
    pub(super) fn of(path: &Path) -> io::Result<Identity> {
        let meta = fs::metadata(path)?;
        Ok(Identity { device: meta.dev(), inode: meta.ino() })
    }

    /// Whether the path still names this file, and the file may still hold data. A path that cannot
    /// be looked at for another reason than that nothing is there says nothing.
    pub(super) fn is_in_place(self, path: &Path) -> bool {
        match fs::metadata(path) {
            Ok(meta) => {
                let found = Identity { device: meta.dev(), inode: meta.ino() };
                found == self && meta.len() >= HEADER
            }
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// Whether there is a file that is long enough to be a database.
pub(super) fn may_hold_data(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(meta) => meta.len() >= HEADER,
        // What cannot be looked at is left to the opening, which says why.
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}
