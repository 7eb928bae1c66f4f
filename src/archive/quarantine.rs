//! Downloads that failed their proof, kept aside for whoever looks into it.

use super::Archive;
use super::filing::give_name;
use super::pipeline::Received;
use crate::failpoint::{self, Point};
use crate::files::{self, Folder};
use crate::manifest::{DATA_SUFFIX, Name};
use std::io;
use std::path::PathBuf;

/// How many are kept of each source.
const KEPT: usize = 3;

impl Archive {
    /// Keeps a failed download aside, as received, and removes the source's oldest ones.
    pub fn quarantine(
        &self,
        source: &str,
        name: Name,
        attempt: u32,
        received: Received,
    ) -> io::Result<PathBuf> {
        let folder = self.quarantine.join(source);
        files::make_folder(&folder)?;
        let path = folder.join(format!("{name}-{attempt}{DATA_SUFFIX}"));
        failpoint::hit(Point::Aside, &path)?;
        let from = &received.partial.path;
        received.partial.check(received.stored.bytes)?;
        // The two folders may lie on two file systems.
        if give_name(from, &path).is_err() {
            io::copy(&mut files::read(from)?, &mut files::create(&path)?)?;
        }
        let folder = Folder::open(&folder)?;
        let mut kept: Vec<(Name, u32, String)> = Vec::new();
        for entry in folder.entries()? {
            let Ok(file) = entry?.name.into_string() else { continue };
            kept.extend(attempt_of(&file).map(|(name, attempt)| (name, attempt, file)));
        }
        // By job and attempt: a clock may have been wrong.
        kept.sort();
        let surplus = kept.len().saturating_sub(KEPT);
        for (.., old) in kept.into_iter().take(surplus) {
            folder.remove(old)?;
        }
        Ok(path)
    }
}

/// The snapshot that was not to be and the attempt, in the name of a file that was kept aside.
fn attempt_of(file: &str) -> Option<(Name, u32)> {
    let (name, attempt) = file.strip_suffix(DATA_SUFFIX)?.rsplit_once('-')?;
    Some((name.parse().ok()?, attempt.parse().ok()?))
}
