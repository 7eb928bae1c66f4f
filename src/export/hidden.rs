//! A file that has its name only once it is complete and on disk.

use super::{ExportError, names};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes that a file's name has at most (NAME_MAX of Linux).
const LONGEST_NAME: usize = 255;
/// What makes a hidden name its own, and how it ends.
const RANDOM: usize = 6;
const SUFFIX: &str = ".partial";

/// The hidden files of this process that are being written.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes every hidden file that is being written: for a process that a signal ends.
pub fn remove_unfinished() {
    for path in UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        // It may be finished or removed already.
        let _ = fs::remove_file(path);
    }
}

/// A file under a hidden name beside its final one. It is removed unless it is
/// [finished](Self::finish).
#[derive(Debug)]
pub struct HiddenFile {
    hidden: tempfile::NamedTempFile,
    /// The final path, and its folder.
    path: PathBuf,
    folder: PathBuf,
}

impl HiddenFile {
    /// Creates it.
    ///
    /// # Errors
    /// When the path names no file, or the folder cannot be written.
    pub fn create(path: &Path) -> Result<HiddenFile, ExportError> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let name = path
            .file_name()
            .ok_or_else(|| ExportError::Choice(format!("{} names no file", path.display())))?;
        // The name itself may be as long as names can be.
        let most = LONGEST_NAME - "..".len() - RANDOM - SUFFIX.len();
        let prefix = format!(".{}.", names::cut(&name.to_string_lossy(), most));
        let hidden = tempfile::Builder::new()
            .prefix(&prefix)
            .rand_bytes(RANDOM)
            .suffix(SUFFIX)
            // The file is the user's own: their umask decides who may read it.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(|error| within(folder, error))?;
        let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        unfinished.push(hidden.path().to_owned());
        Ok(HiddenFile { hidden, path: path.to_owned(), folder: folder.to_owned() })
    }

    /// Its hidden path.
    pub fn path(&self) -> &Path {
        self.hidden.path()
    }

    /// The file, to be written.
    pub fn file(&mut self) -> &mut File {
        self.hidden.as_file_mut()
    }

    /// Brings it to disk and gives it its name.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when a file has that name and is not to be replaced.
    pub fn finish(self, replace: bool) -> io::Result<()> {
        self.hidden.as_file().sync_all()?;
        let named = match replace {
            true => self.hidden.persist(&self.path),
            false => self.hidden.persist_noclobber(&self.path),
        };
        named.map_err(|error| error.error)?;
        fs::File::open(&self.folder)?.sync_all()
    }
}

fn within(folder: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn the_longest_names_are_possible() {
        let folder = tempfile::tempdir().unwrap();
        let odd = [b"\xff".repeat(255), "é".repeat(127).into_bytes(), vec![b'x'; 255], vec![b'y']];
        for name in odd {
            let path = folder.path().join(OsStr::from_bytes(&name));
            let file = HiddenFile::create(&path).unwrap();
            let hidden = file.path().file_name().unwrap().to_string_lossy().into_owned();
            assert!(hidden.starts_with('.') && hidden.ends_with(SUFFIX), "{hidden}");
            file.finish(false).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }
}
