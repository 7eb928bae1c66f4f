//! Locks that end with the process that holds them, however it ends.

use crate::files::{self, Folder};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A file that this process holds locked; the lock ends with the value, or with the process.
#[derive(Debug)]
pub struct Held {
    file: File,
}

/// Waits for the lock.
pub fn wait_for(path: &Path) -> io::Result<Held> {
    let file = files::open(path)?;
    file.lock()?;
    Ok(Held { file })
}

/// Waits until no process holds the lock exclusively, then shares it.
pub fn share(path: &Path) -> io::Result<Held> {
    let file = files::open(path)?;
    file.lock_shared()?;
    Ok(Held { file })
}

/// What the holder of a lock has written into it; `None` if it is free, or there is no such file.
/// Changes nothing, and needs only read access.
pub fn holder(path: &Path) -> io::Result<Option<String>> {
    let mut file = match files::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(Some(text.trim().to_owned()))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Waits until no process holds the lock exclusively. Changes nothing; a missing file counts as
/// free.
pub fn wait_until_free(path: &Path) -> io::Result<()> {
    match files::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        file => file?.lock_shared(),
    }
}

/// Takes the lock if it is free. `Err` inside `Ok` carries what its holder has written into it.
pub fn try_take(path: &Path) -> io::Result<Result<Held, String>> {
    let mut file = files::open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Ok(Held { file })),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(Err(text.trim().to_owned()))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl Held {
    /// Downgrades an exclusive lock to a shared one.
    pub fn into_shared(self) -> io::Result<Held> {
        self.file.lock_shared()?;
        Ok(self)
    }

    /// Writes a text for those who find the lock taken.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }
}

/// How the text in the daemon's lock ends while a process rebuilds the database under it.
pub const REBUILDS: &str = " rebuilds the database";

/// The one daemon of a state folder. `Err` inside `Ok` is the other daemon's process id; while a
/// command rebuilds the database, it is that process's id and [`REBUILDS`].
pub fn daemon(state_dir: &Path) -> io::Result<Result<Held, String>> {
    take_for_daemon(state_dir, "")
}

/// Keeps a daemon from starting while this process rebuilds the database. As [`daemon`].
pub fn rebuild(state_dir: &Path) -> io::Result<Result<Held, String>> {
    take_for_daemon(state_dir, REBUILDS)
}

fn take_for_daemon(state_dir: &Path, does: &str) -> io::Result<Result<Held, String>> {
    let taken = try_take(&state_dir.join("daemon.lock"))?;
    Ok(match taken {
        Ok(mut held) => {
            held.write(&format!("{}{does}\n", std::process::id()))?;
            Ok(held)
        }
        Err(other) => Err(other),
    })
}

/// Whether any process works on jobs of this state folder: a daemon, unless the caller itself has
/// its lock `held`, or another worker.
pub fn any_worker_alive(state_dir: &Path, held: Option<&Held>) -> bool {
    // Shared, and for a moment: who looks at the same time finds nothing taken.
    let taken = |path: &Path| matches!(holder(path), Ok(Some(_)));
    let workers = state_dir.join("workers");
    let names = Folder::open(&workers).and_then(|folder| folder.entries());
    let workers = names.into_iter().flatten().flatten().map(|it| workers.join(it.name));
    let daemon = held.is_none() && taken(&state_dir.join("daemon.lock"));
    daemon || workers.into_iter().any(|it| taken(&it))
}

/// A process that works on jobs: its leases carry its name, and a lock on a file of that name shows
/// that it is alive.
#[derive(Debug)]
pub struct Worker {
    /// Unique among all workers of this state folder.
    pub name: String,
    folder: PathBuf,
    _held: Held,
}

impl Worker {
    /// Registers this process.
    pub fn register(state_dir: &Path, unique: u64) -> io::Result<Worker> {
        let folder = state_dir.join("workers");
        files::make_folder(&folder)?;
        let name = format!("{}-{unique:016x}", std::process::id());
        let path = folder.join(&name);
        // The name is this process's own: others lock the file only for a moment, to look. One of
        // them may remove it before it is locked here: try again then.
        for _ in 0..10 {
            let held = wait_for(&path)?;
            if path.exists() {
                return Ok(Worker { name, folder, _held: held });
            }
        }
        Err(io::Error::other(format!("other processes remove {} again and again", path.display())))
    }

    /// Whether the worker of this name is still alive. The file of a dead one is removed.
    pub fn is_alive(&self, name: &str) -> bool {
        if name == self.name {
            return true;
        }
        if !is_worker_name(name) {
            return false;
        }
        let path = self.folder.join(name);
        if !path.exists() {
            return false;
        }
        match try_take(&path) {
            Ok(Ok(_held)) => {
                let _ = files::remove(&path);
                false
            }
            // Locked, or unknown: then it keeps its jobs.
            _ => true,
        }
    }

    /// Removes the files of dead workers that hold no lease.
    pub fn sweep(&self) {
        let entries = Folder::open(&self.folder).and_then(|folder| folder.entries());
        for entry in entries.into_iter().flatten().flatten() {
            if let Some(name) = entry.name.to_str() {
                self.is_alive(name);
            }
        }
    }
}

/// Whether a worker may have this name: names also come from files that others can make.
fn is_worker_name(name: &str) -> bool {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.split_once('-').is_some_and(|(process, unique)| {
        process.parse::<u32>().is_ok() && unique.len() == 16 && unique.bytes().all(is_hex)
    })
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = files::remove(&self.folder.join(&self.name));
    }
}
