//! The archive: validated snapshots, grouped by source, each with its manifest.
//!
//! The archive is self-contained: no list of snapshots is kept elsewhere. A file under its final
//! name is complete, validated and on disk. An unfinished file has a hidden name that ends in
//! `.partial`. `docs/archive-format.md` describes the format for people and other programs.

mod catalogue;
mod content;
mod examine;
mod filing;
mod layout;
mod pipeline;
mod prune;
mod quarantine;
mod select;
#[cfg(test)]
mod tests;
mod verify;

pub use catalogue::{Snapshot, is_source};
pub use content::ProvenContent;
pub use filing::SnapshotMeta;
pub use pipeline::{Incoming, ReceiveError, Received, panic_message};
pub use prune::{Hold, RetentionDecision};
pub use select::SelectError;
pub use verify::{Finding, Severity, Verification, VerifyProgress};

use crate::digest::Digester;
use crate::files;
use crate::manifest::Content;
use std::io;
use std::path::{Path, PathBuf};

/// How the name of an unfinished file ends; it begins with a dot.
const PARTIAL: &str = ".partial";

/// The archive's directory, and the quarantine of failed downloads.
#[derive(Debug, Clone)]
pub struct Archive {
    root: PathBuf,
    quarantine: PathBuf,
}

impl Archive {
    /// The archive in `root`. Does no I/O.
    pub fn new(root: &Path, state_dir: &Path) -> Archive {
        Archive { root: root.to_owned(), quarantine: state_dir.join("quarantine") }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A source's folder.
    pub fn folder(&self, source: &str) -> PathBuf {
        self.root.join(source)
    }

    /// Creates the archive's directory and checks that it is writable.
    pub fn prepare(&self) -> io::Result<()> {
        files::make_folder(&self.root)?;
        let probe = self.root.join(format!(".{}{PARTIAL}", std::process::id()));
        files::create(&probe)?;
        match files::remove(&probe) {
            // Another thread of this process did the same at the same time.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Free bytes on the archive's file system.
    pub fn free_space(&self) -> io::Result<u64> {
        files::free_bytes(&self.root)
    }

    /// Removes the files of interrupted downloads and returns how many. `lives` says whether the
    /// worker of that name is alive: then its files are in use.
    pub fn sweep(&self, lives: impl Fn(&str) -> bool) -> io::Result<usize> {
        let mut removed = 0;
        for source in self.sources()? {
            let folder = match self.open_source(&source) {
                Ok(Some(folder)) => folder,
                Ok(None) => continue,
                // Continue with the other sources; the source's next backup reports the problem
                // too.
                Err(error) => {
                    tracing::error!(source, %error, "unfinished files could not be removed");
                    continue;
                }
            };
            // Holds are written under this lock; their unfinished files belong to no worker.
            let _whole = folder.lock();
            for entry in folder.entries()? {
                let name = entry?.name;
                let Some(owner) = name.to_str().and_then(owner_of) else { continue };
                if !owner.is_some_and(&lives) {
                    match folder.remove(&name) {
                        // Another process was faster.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        done => done.map(|()| removed += 1)?,
                    }
                }
            }
        }
        Ok(removed)
    }
}

/// One attempt of one worker to make a snapshot. It alone owns its unfinished files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    worker: String,
    number: u64,
}

impl Attempt {
    /// The attempt `number` of the worker of this name: letters, digits and dashes.
    pub fn new(worker: &str, number: u64) -> Attempt {
        Attempt { worker: worker.to_owned(), number }
    }

    /// The hidden name under which a file is written before it has its final one.
    fn partial_name(&self, name: &str) -> String {
        format!(".{name}.{}-{}{PARTIAL}", self.worker, self.number)
    }
}

impl From<Digester> for Content {
    fn from(digester: Digester) -> Content {
        Content { bytes: digester.bytes(), sha256: digester.sha256() }
    }
}

/// The worker that owns an unfinished file, by the file's name. `None` for any other file;
/// `Some(None)` for the form that older versions wrote, which names no worker.
fn owner_of(file: &str) -> Option<Option<&str>> {
    let inner = file.strip_prefix('.')?.strip_suffix(PARTIAL)?;
    let (_, last) = inner.rsplit_once('.')?;
    let attempt = last.rsplit_once('-');
    Some(attempt.filter(|(_, number)| number.parse::<u64>().is_ok()).map(|(worker, _)| worker))
}
