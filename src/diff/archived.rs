//! A snapshot of the archive as a document, proven in its first reading.

use super::Document;
use crate::archive::{Archive, ProvenContent, Snapshot};
use crate::dataset::DocumentLimits;
use std::fmt;
use std::io::{self, BufRead};

/// A snapshot whose document is compared.
#[derive(Clone)]
pub struct Archived<'a> {
    archive: &'a Archive,
    snapshot: &'a Snapshot,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl fmt::Debug for Archived<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archived").field("path", &self.snapshot.path).finish_non_exhaustive()
    }
}

impl<'a> Archived<'a> {
    /// A snapshot. `progress` is called with the bytes of its document that have been read.
    pub fn new(
        archive: &'a Archive,
        snapshot: &'a Snapshot,
        progress: &'a (dyn Fn(u64) + Sync),
    ) -> Archived<'a> {
        Archived { archive, snapshot, progress }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }
}

impl Document for Archived<'_> {
    type Content<'d>
        = ProvenContent<'d>
    where
        Self: 'd;

    fn name(&self) -> String {
        let manifest = &self.snapshot.manifest;
        format!("{}@{}", manifest.source, manifest.name().timestamp())
    }

    fn limits(&self) -> DocumentLimits {
        DocumentLimits {
            // The manifest's own number: a damaged file may expand to any length.
            max_bytes: self.snapshot.manifest.content.bytes,
            ..DocumentLimits::default()
        }
    }

    fn open(&self) -> io::Result<ProvenContent<'_>> {
        self.archive.proven_content(self.snapshot, self.progress)
    }

    fn finish(&self, content: ProvenContent<'_>) -> Result<(), String> {
        content.finish()
    }

    fn open_again(&self) -> io::Result<Box<dyn BufRead + Send + '_>> {
        let most = self.snapshot.manifest.content.bytes;
        Ok(Box::new(self.archive.content(self.snapshot, most)?))
    }
}
