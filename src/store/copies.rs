//! Copies of the database, made while it is in use, and the replacement of a damaged one.

use super::{FILE, Result, Store, StoreError, beside, lock, options, problems};
use crate::files::{self, EntryKind, Folder};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The folder of the copies, in the state folder.
const FOLDER: &str = "copies";
/// The folder in which a database is rebuilt, in the state folder.
const REBUILD_FOLDER: &str = "rebuilding";
/// How many copies are kept.
const KEPT: usize = 7;
/// How the hidden name of a copy ends that is still being written.
const PARTIAL: &str = ".partial";
const STAMP: &str = "%Y%m%dT%H%M%SZ";
/// How the name of a database that was set aside goes on.
const DAMAGED: &str = ".damaged-";

impl Store {
    /// Takes a whole copy of the database beside its use, and removes the oldest of more than
    /// seven. A copy under its final name is complete, checked and on disk. A damaged database
    /// is not copied: the older copies stay, and the next start checks the database.
    ///
    /// To be called by one process at a time.
    ///
    /// # Errors
    /// When the database is damaged or was replaced, or the copy cannot be written.
    pub async fn keep_copy(&self, now: DateTime<Utc>) -> Result<PathBuf> {
        // Another file in its place must not push the copies out.
        self.check_in_place()?;
        let folder = self.path.with_file_name(FOLDER);
        let failed = |path: &Path, error| StoreError::Folder { path: path.to_owned(), error };
        files::make_folder(&folder).map_err(|error| failed(&folder, error))?;
        // Left by a process that died while it wrote one.
        for left in named(&folder, |name| name.starts_with('.') && name.ends_with(PARTIAL)) {
            files::remove(&left).map_err(|error| failed(&left, error))?;
        }
        let state_dir = self.path.parent().unwrap_or(Path::new(""));
        let newest = copies(state_dir).first().and_then(|newest| stamp(newest));
        let copy = folder.join(format!("nightjar-{}.db", next_stamp(newest, now).format(STAMP)));
        write_copy(&self.path, &copy).await?;
        for old in copies(state_dir).into_iter().skip(KEPT) {
            files::remove(&old).map_err(|error| failed(&old, error))?;
        }
        Ok(copy)
    }
}

/// Writes a whole copy of a database. Under its final name it is complete, checked and on
/// disk; an unfinished copy is removed.
pub(super) async fn write_copy(database: &Path, copy: &Path) -> Result<()> {
    let mut partial = OsString::from(".");
    partial.push(copy.file_name().unwrap_or_default());
    partial.push(PARTIAL);
    let partial = copy.with_file_name(partial);
    let failed = |error| StoreError::Folder { path: copy.to_owned(), error };
    let written = async {
        files::create(&partial).map_err(failed)?;
        copy_to(database, &partial).await?;
        publish(&partial, copy).map_err(failed)
    };
    let written = written.await;
    if let Err(error) = &written {
        // It may not exist.
        let _ = files::remove(&partial);
        if error.is_doubtful() {
            mark_suspect(database);
        }
    }
    written
}

async fn copy_to(database: &Path, partial: &Path) -> Result<()> {
    // A connection of its own: a large database keeps no reader waiting, and no stop.
    let mut connection = SqliteConnection::connect_with(&options(database).read_only(true)).await?;
    check_whole(database, &mut connection).await?;
    sqlx::query("VACUUM INTO ?")
        .bind(partial.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    let written = SqliteConnectOptions::new().filename(partial).read_only(true).immutable(true);
    let mut connection = SqliteConnection::connect_with(&written).await?;
    check_whole(partial, &mut connection).await?;
    Ok(connection.close().await?)
}

async fn check_whole(database: &Path, connection: &mut SqliteConnection) -> Result<()> {
    let problems = problems(connection).await?;
    if problems.is_empty() {
        return Ok(());
    }
    let error = format!("{}: {}", database.display(), problems.join("; "));
    Err(StoreError::Corrupt(error))
}

/// Marks a database that seems to be damaged: the next start checks it before using it. If the mark
/// cannot be written, the damage will be found again.
pub fn mark_suspect(database: &Path) {
    if let Err(error) = files::create(&mark(database)) {
        tracing::warn!(%error, "cannot mark the database to be checked at the next start");
    }
}

/// Removes the mark once the database has been checked.
pub fn clear_suspect(state_dir: &Path) -> io::Result<()> {
    match files::remove(&mark(&state_dir.join(FILE))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn mark(database: &Path) -> PathBuf {
    beside(database, ".suspect")
}

/// The instant in a copy's name.
fn stamp(copy: &Path) -> Option<DateTime<Utc>> {
    let name = copy.file_name()?.to_str()?;
    let stamp = name.strip_prefix("nightjar-")?.strip_suffix(".db")?;
    NaiveDateTime::parse_from_str(stamp, STAMP).ok().map(|at| at.and_utc())
}

/// The instant for the name of the next copy: the present, or just after the newest copy's where a
/// clock was ahead. So names sort in the order in which the copies were made: otherwise each new
/// copy would count as the oldest and be removed at once.
fn next_stamp(newest: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    // A name has no fractions of a second.
    let now = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
    match newest {
        Some(newest) if newest >= now => newest + TimeDelta::seconds(1),
        _ => now,
    }
}

/// The database's copies, newest first. A file of another name, though it looks like one, is
/// a user's own: it is neither counted nor removed.
pub fn copies(state_dir: &Path) -> Vec<PathBuf> {
    named(&state_dir.join(FOLDER), |name| stamp(Path::new(name)).is_some())
}

/// The databases that were found damaged and set aside, newest first.
pub fn moved_aside(state_dir: &Path) -> Vec<PathBuf> {
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
pub fn move_aside(state_dir: &Path, now: DateTime<Utc>) -> io::Result<PathBuf> {
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

/// An empty folder in the state folder, in which a database is rebuilt. What an unfinished rebuild
/// has left there is removed.
pub fn rebuild_folder(state_dir: &Path) -> io::Result<PathBuf> {
    let folder = state_dir.join(REBUILD_FOLDER);
    clear(&folder)?;
    files::make_folder(&folder)?;
    Ok(folder)
}

/// Moves the rebuilt, closed database into the state folder, where there must be none; then removes
/// the rebuild folder.
pub fn install_rebuilt(state_dir: &Path) -> io::Result<()> {
    let folder = state_dir.join(REBUILD_FOLDER);
    publish(&folder.join(FILE), &state_dir.join(FILE))?;
    clear(&folder)
}

/// Removes a folder with the files in it, if there is one. Follows no link.
fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts a copy in the place of a database in a folder, which must not be there.
pub fn restore(folder: &Path, copy: &Path) -> io::Result<()> {
    let partial = folder.join(format!(".{FILE}{PARTIAL}"));
    let mut file = files::create(&partial)?;
    io::copy(&mut files::read(copy)?, &mut file)?;
    publish(&partial, &folder.join(FILE))
}

/// Brings a whole file to disk, and only then gives it its name.
fn publish(partial: &Path, path: &Path) -> io::Result<()> {
    files::read(partial)?.sync_all()?;
    files::rename(partial, path)?;
    path.parent().map_or(Ok(()), files::sync_folder)
}

/// Whether the database must be checked before use: a process has met damage in it, or the last
/// process that had it open did not close it, and none has it open now.
pub fn is_suspect(state_dir: &Path) -> bool {
    let wal = state_dir.join(format!("{FILE}-wal"));
    mark(&state_dir.join(FILE)).exists()
        || fs::metadata(wal).is_ok_and(|wal| wal.len() > 0)
            && !lock::any_worker_alive(state_dir, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use tempfile::TempDir;

    fn noon(millis: i64) -> DateTime<Utc> {
        let noon = Utc.with_ymd_and_hms(2026, 11, 25, 12, 0, 0).unwrap();
        noon + TimeDelta::milliseconds(millis)
    }

    #[test]
    fn the_names_of_copies_sort_as_they_were_made_and_none_comes_twice() {
        for (newest, now, expected) in [
            (None, 1500, 1000),
            (Some(0), 1500, 1000),
            (Some(0), 500, 1000),
            (Some(0), 0, 1000),
            (Some(1_000_000), 500, 1_001_000),
        ] {
            let next = next_stamp(newest.map(noon), noon(now));
            assert_eq!(next, noon(expected), "{newest:?} {now}");
        }
    }

    #[tokio::test]
    async fn a_file_that_only_looks_like_a_copy_neither_counts_nor_goes() {
        let folder = TempDir::new().unwrap();
        let store = Store::open(folder.path(), 0).await.unwrap();
        let others = folder.path().join(FOLDER);
        fs::create_dir(&others).unwrap();
        for other in 0..KEPT {
            fs::write(others.join(format!("nightjar-before-upgrade-{other}.db")), "mine").unwrap();
        }
        for made in 1..=KEPT + 2 {
            let copy = store.keep_copy(noon(1)).await.unwrap();
            assert!(copy.exists());
            assert_eq!(copies(folder.path()).first(), Some(&copy));
            assert_eq!(copies(folder.path()).len(), made.min(KEPT));
        }
        assert_eq!(fs::read_dir(others).unwrap().count(), 2 * KEPT);
    }
}
