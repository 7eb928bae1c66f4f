//! Copies of the database, taken while it is in use, and what becomes of a damaged one.

use super::{FILE, Result, Store, StoreError, lock};
use crate::files::{self, EntryKind, Folder};
use chrono::{DateTime, TimeDelta, Utc};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of the copies, in the state folder.
const FOLDER: &str = "copies";
/// How many copies are kept.
const KEPT: usize = 7;
const STAMP: &str = "%Y%m%dT%H%M%SZ";
/// How the name of a database that was set aside goes on.
const DAMAGED: &str = ".damaged-";

impl Store {
    /// Takes a whole copy of the database beside its use, and removes the oldest of more than
    /// seven. A copy under its final name is complete and on disk.
    pub async fn keep_copy(&self, now: DateTime<Utc>) -> Result<PathBuf> {
        let folder = self.path.with_file_name(FOLDER);
        let failed = |path: &Path, error| StoreError::Folder { path: path.to_owned(), error };
        files::make_folder(&folder).map_err(|error| failed(&folder, error))?;
        let name = format!("nightjar-{}.db", now.format(STAMP));
        let (partial, copy) = (folder.join(format!(".{name}.partial")), folder.join(name));
        files::create(&partial).map_err(|error| failed(&partial, error))?;
        sqlx::query("VACUUM INTO ?")
            .bind(partial.to_string_lossy().into_owned())
            .execute(&self.readers)
            .await?;
        settle(&partial, &copy).map_err(|error| failed(&copy, error))?;
        let state_dir = self.path.parent().unwrap_or(Path::new(""));
        for old in copies(state_dir).into_iter().skip(KEPT) {
            files::remove(&old).map_err(|error| failed(&old, error))?;
        }
        Ok(copy)
    }
}

/// Whether there is no copy of the last 20 hours: for those who run no daemon, which takes one
/// every night.
pub fn is_due(state_dir: &Path, now: DateTime<Utc>) -> bool {
    let recent = format!("nightjar-{}.db", (now - TimeDelta::hours(20)).format(STAMP));
    let newest = copies(state_dir).into_iter().next();
    newest.is_none_or(|newest| newest.file_name().is_none_or(|it| it < OsStr::new(&recent)))
}

/// The database's copies, newest first.
pub fn copies(state_dir: &Path) -> Vec<PathBuf> {
    let is_copy = |name: &str| name.starts_with("nightjar-") && name.ends_with(".db");
    named(&state_dir.join(FOLDER), is_copy)
}

/// The databases that were found damaged and set aside, newest first.
pub fn set_aside(state_dir: &Path) -> Vec<PathBuf> {
    let is_aside = |name: &str| {
        let rest = name.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(DAMAGED));
        rest.is_some_and(|stamp| !stamp.contains('-'))
    };
    named(state_dir, is_aside)
}

fn named(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = Folder::open(folder).and_then(|folder| folder.entries());
    let mut found: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.kind == EntryKind::File && entry.name.to_str().is_some_and(&wanted))
        .map(|entry| folder.join(entry.name))
        .collect();
    found.sort();
    found.reverse();
    found
}

/// Gives the damaged database another name, its journal with it. Nothing may have it open.
pub fn put_aside(state_dir: &Path, now: DateTime<Utc>) -> io::Result<PathBuf> {
    let aside = format!("{FILE}{DAMAGED}{}", now.format(STAMP));
    for part in ["-wal", "-shm", ""] {
        let (from, to) = (format!("{FILE}{part}"), format!("{aside}{part}"));
        match files::rename(&state_dir.join(from), &state_dir.join(to)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    files::sync_folder(state_dir)?;
    Ok(state_dir.join(aside))
}

/// Puts a copy in the place of the database, which must not be there.
pub fn put_back(state_dir: &Path, copy: &Path) -> io::Result<()> {
    let partial = state_dir.join(format!(".{FILE}.partial"));
    let mut file = files::create(&partial)?;
    io::copy(&mut files::read(copy)?, &mut file)?;
    settle(&partial, &state_dir.join(FILE))
}

/// Brings a whole file to disk, and only then gives it its name.
fn settle(partial: &Path, path: &Path) -> io::Result<()> {
    files::read(partial)?.sync_all()?;
    files::rename(partial, path)?;
    path.parent().map_or(Ok(()), files::sync_folder)
}

/// Whether the last one who had the database open did not close it, and nobody has it open now:
/// then it is worth a look before it is trusted.
pub fn was_left_open(state_dir: &Path) -> bool {
    let wal = state_dir.join(format!("{FILE}-wal"));
    fs::metadata(wal).is_ok_and(|wal| wal.len() > 0) && !lock::anybody_works(state_dir, None)
}
