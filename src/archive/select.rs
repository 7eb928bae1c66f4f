//! Finds the snapshot that a user's argument names.

use super::Archive;
use super::catalogue::{self, Snapshot, is_source, manifest_name};
use crate::manifest::Name;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use std::cmp::Reverse;
use std::io;
use std::path::Path;

/// Why an argument names no snapshot. Each message says what to type instead.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// There is none.
    #[error("there is no snapshot {text}: {why}; `nightjar snapshots` lists them")]
    None {
        /// What was typed.
        text: String,
        /// Which part was not found.
        why: String,
    },
    /// A manifest that cannot be read.
    #[error("the manifest {text} cannot be read: {error}")]
    Manifest {
        /// Its path.
        text: String,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// The archive cannot be read.
    #[error("the archive cannot be read: {0}")]
    Io(#[from] io::Error),
}

impl Archive {
    /// The snapshot named `SOURCE` (its newest), `SOURCE@JOB`, `SOURCE@TIMESTAMP` or by its
    /// manifest's path. TIMESTAMP is the text in the file names, a prefix of it, or an RFC 3339
    /// date or time: the newest at or before it. Only its job, its own whole timestamp or its path
    /// names a snapshot that is not ordinary.
    pub fn select(&self, text: &str) -> Result<Snapshot, SelectError> {
        let none = |why: &str| SelectError::None { text: text.to_owned(), why: why.to_owned() };
        if text.contains('/') || text.ends_with(crate::manifest::MANIFEST_SUFFIX) {
            return open(Path::new(text));
        }
        let (source, wanted) = match text.split_once('@') {
            Some((source, wanted)) => (source, Some(wanted)),
            None => (text, None),
        };
        if !is_source(source) || self.open_source(source)?.is_none() {
            return Err(none("the archive has no such source"));
        }
        let names = self.names(source)?;
        let is_ordinary = |name: &Name| self.may_be_ordinary(source, *name);
        let name = match wanted {
            None => names.iter().find(|name| is_ordinary(name)),
            Some(wanted) => {
                let by_job = wanted.parse::<i64>().ok();
                let by_job = by_job.and_then(|job| names.iter().find(|name| name.job() == job));
                by_job.or_else(|| of_instant(&names, wanted, is_ordinary))
            }
        };
        let name = name.ok_or_else(|| none("the source has none at or before that"))?;
        let path = self.folder(source).join(name.manifest());
        match catalogue::read_as(&path, *name, Some(source)) {
            Ok(manifest) => Ok(Snapshot { path, manifest }),
            Err(error) => Err(unreadable(&path, error)),
        }
    }
}

fn open(path: &Path) -> Result<Snapshot, SelectError> {
    // `latest.json` is a link; the data is next to its target.
    let path = path.canonicalize().map_err(|error| unreadable(path, error))?;
    let file = path.file_name().and_then(|file| file.to_str());
    let manifest = match file.and_then(manifest_name) {
        Some(name) => catalogue::read_as(&path, name, None),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "its name is not one of a manifest, such as 20261125T020001Z-42.json",
        )),
    };
    let manifest = manifest.map_err(|error| unreadable(&path, error))?;
    Ok(Snapshot { path, manifest })
}

fn unreadable(path: &Path, error: io::Error) -> SelectError {
    SelectError::Manifest { text: path.display().to_string(), error }
}

/// The snapshot that a text with an instant names: the newest ordinary one at or before it, or the
/// one with exactly this timestamp, if no ordinary one has it.
fn of_instant<'a>(
    names: &'a [Name],
    wanted: &str,
    is_ordinary: impl Fn(&Name) -> bool,
) -> Option<&'a Name> {
    let ordinary = at_or_before(names, wanted, is_ordinary);
    let has_it = |name: &&Name| name.timestamp() == wanted;
    ordinary.filter(has_it).or_else(|| names.iter().find(has_it)).or(ordinary)
}

/// The ordinary name with the latest instant at or before the given time. A time means the time in
/// the file name, which need not increase with job numbers if a clock was wrong.
fn at_or_before<'a>(
    names: &'a [Name],
    wanted: &str,
    is_ordinary: impl Fn(&Name) -> bool,
) -> Option<&'a Name> {
    let latest = |reached: &dyn Fn(&Name) -> bool| {
        let mut reached: Vec<&Name> = names.iter().filter(|name| reached(name)).collect();
        reached.sort_unstable_by_key(|name| Reverse((name.created_at(), name.job())));
        reached.into_iter().find(|name| is_ordinary(name))
    };
    if is_stamp(wanted) {
        return latest(&|name| {
            name.to_string().starts_with(wanted) || name.timestamp().as_str() < wanted
        });
    }
    let until = end_of(wanted)?;
    latest(&|name| name.created_at() < until)
}

/// Whether the text is a prefix of a file name's timestamp: at least a year, without dashes.
fn is_stamp(text: &str) -> bool {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let rest = text.get(digits..).unwrap_or_default();
    digits >= 4 && (rest.is_empty() || (digits == 8 && rest.starts_with('T')))
}

/// The first instant after a date or time.
fn end_of(wanted: &str) -> Option<DateTime<Utc>> {
    if let Ok(at) = DateTime::parse_from_rfc3339(wanted) {
        return Some(at.to_utc() + chrono::TimeDelta::seconds(1));
    }
    let day = NaiveDate::parse_from_str(wanted, "%Y-%m-%d").ok()?;
    Some(day.checked_add_days(Days::new(1))?.and_time(NaiveTime::MIN).and_utc())
}
