//! Downloads that failed their proof, kept aside for whoever looks into it.

use super::Archive;
use super::filing::give_name;
use super::pipeline::Received;
use crate::failpoint::{self, Point};
use crate::files;
use crate::manifest::{DATA_SUFFIX, Name};
use std::fs;
use std::io;
use std::path::PathBuf;

/// How many are kept of each source.
const KEPT: usize = 3;

impl Archive {
    /// Keeps a failed download aside, as received, and removes the source's oldest ones.
    pub fn keep_aside(
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
        let mut kept: Vec<_> = fs::read_dir(&folder)?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
            })
            .collect();
        kept.sort();
        let surplus = kept.len().saturating_sub(KEPT);
        for (_, old) in kept.into_iter().take(surplus) {
            fs::remove_file(old)?;
        }
        Ok(path)
    }
}
