//! Downloads that failed validation, kept for inspection.

use super::examine::{Reading, examine};
use super::filing::give_name;
use super::pipeline::{Partial, Received};
use super::{Archive, Attempt};
use crate::failpoint::{self, Point};
use crate::files::{self, Folder};
use crate::format::{Format, split_suffix};
use crate::manifest::Name;
use std::io;
use std::path::{Path, PathBuf};

/// How many are kept for each source.
const KEPT: usize = 3;

impl Archive {
    /// Quarantines a failed download as received, and removes the source's oldest ones. `is_whole`
    /// marks one that may still be archived: it is complete, and only its keys or its schema are
    /// not proven.
    pub fn quarantine(
        &self,
        source: &str,
        name: Name,
        attempt: u32,
        is_whole: bool,
        received: Received,
    ) -> io::Result<PathBuf> {
        let folder = self.quarantine.join(source);
        files::make_folder(&folder)?;
        let whole = if is_whole { WHOLE } else { "" };
        let path = folder.join(format!("{name}-{attempt}{whole}{}", received.suffix()));
        failpoint::hit(Point::Aside, &path)?;
        let from = &received.partial.path;
        received.partial.check(received.stored.bytes)?;
        // The two directories may be on different file systems.
        if give_name(from, &path).is_err() {
            io::copy(&mut files::read(from)?, &mut files::create(&path)?)?;
        }
        // The download is kept aside, whether or not an older one can be removed.
        if let Err(error) = remove_surplus(&folder) {
            let folder = folder.display();
            tracing::warn!(%error, "cannot remove the oldest downloads from {folder}");
        }
        Ok(path)
    }
}

/// Removes the oldest downloads of a source, down to [`KEPT`].
fn remove_surplus(folder: &Path) -> io::Result<()> {
    let folder = Folder::open(folder)?;
    let mut kept: Vec<(Name, u32, String)> = Vec::new();
    for entry in folder.entries()? {
        let Ok(file) = entry?.name.into_string() else { continue };
        let found = split_suffix(&file).and_then(|(stem, ..)| attempt_of(stem));
        kept.extend(found.map(|(name, attempt, _)| (name, attempt, file)));
    }
    // By job and attempt, because clocks can be wrong.
    kept.sort();
    let surplus = kept.len().saturating_sub(KEPT);
    for (.., old) in kept.into_iter().take(surplus) {
        folder.remove(old)?;
    }
    Ok(())
}

impl Archive {
    /// Takes this job's newest complete download from the quarantine, as if it had just been
    /// received; `None` if there is none. `max_bytes` limits the document. The quarantined file
    /// stays.
    pub fn requeue(
        &self,
        source: &str,
        job: i64,
        attempt: Attempt,
        format: &'static dyn Format,
        max_bytes: u64,
    ) -> io::Result<Option<(Name, Received)>> {
        let folder = match Folder::open(&self.quarantine.join(source)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            folder => folder?,
        };
        let mut newest: Option<(Name, u32, String)> = None;
        for entry in folder.entries()? {
            let Ok(file) = entry?.name.into_string() else { continue };
            let of_format = split_suffix(&file).filter(|(_, of, _)| of.ending() == format.ending());
            let found = of_format
                .and_then(|(stem, ..)| attempt_of(stem))
                .filter(|(name, _, whole)| *whole && name.job() == job);
            newest = newest.max(found.map(|(name, attempt, _)| (name, attempt, file)));
        }
        let Some((name, _, file)) = newest else { return Ok(None) };
        let Some((.., codec)) = split_suffix(&file) else { return Ok(None) };
        let hidden = attempt.partial_name(&name.with(&format.suffix_with(codec)));
        let path = self.folder(source).join(hidden);
        let mut partial = Partial::create(path)?;
        io::copy(&mut folder.read(file)?, &mut partial.file)?;
        partial.file.sync_all()?;
        let examined = examine(&partial.path, Reading { format, codec: Some(codec), max_bytes })?;
        let Some(Ok((content, summary))) = examined.content else { return Ok(None) };
        let stored = examined.stored;
        let validation = Ok(summary);
        Ok(Some((name, Received { partial, attempt, format, codec, content, stored, validation })))
    }
}

/// The end of a file's stem that marks a download that may still be archived.
const WHOLE: &str = "-whole";

/// The intended snapshot's name, the attempt, and whether the download is complete, from the stem
/// of a quarantined file's name.
fn attempt_of(stem: &str) -> Option<(Name, u32, bool)> {
    let whole = stem.strip_suffix(WHOLE);
    let (name, attempt) = whole.unwrap_or(stem).rsplit_once('-')?;
    Some((name.parse().ok()?, attempt.parse().ok()?, whole.is_some()))
}
