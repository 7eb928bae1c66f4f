//! What the archive has as documents, proven in their first reading, and documents whose reading
//! can be stopped.

use super::Document;
use crate::archive::{Archive, ProvenContent, Received, Snapshot};
use crate::background::Stoppable;
use crate::dataset::DocumentLimits;
use std::fmt;
use std::io::{self, BufRead};
use tokio_util::sync::CancellationToken;

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

/// A download that is not filed yet.
#[derive(Debug)]
pub struct Unfiled<'a>(pub &'a Received);

impl Document for Unfiled<'_> {
    type Content<'d>
        = ProvenContent<'d>
    where
        Self: 'd;

    fn name(&self) -> String {
        "the download".to_owned()
    }

    fn limits(&self) -> DocumentLimits {
        DocumentLimits { max_bytes: self.0.content.bytes, ..DocumentLimits::default() }
    }

    fn open(&self) -> io::Result<ProvenContent<'_>> {
        self.0.proven_content()
    }

    fn finish(&self, content: ProvenContent<'_>) -> Result<(), String> {
        content.finish()
    }

    fn open_again(&self) -> io::Result<Box<dyn BufRead + Send + '_>> {
        Ok(Box::new(self.0.proven_content()?))
    }
}

/// A document whose reading fails once it is stopped.
#[derive(Debug)]
pub struct Until<'s, D> {
    /// The document.
    pub document: D,
    /// Stops its reading.
    pub stop: &'s CancellationToken,
}

impl<D: Document> Document for Until<'_, D> {
    type Content<'d>
        = Stoppable<'d, D::Content<'d>>
    where
        Self: 'd;

    fn name(&self) -> String {
        self.document.name()
    }

    fn limits(&self) -> DocumentLimits {
        self.document.limits()
    }

    fn open(&self) -> io::Result<Self::Content<'_>> {
        Ok(Stoppable::new(self.document.open()?, self.stop))
    }

    fn finish(&self, content: Stoppable<'_, D::Content<'_>>) -> Result<(), String> {
        self.document.finish(content.into_inner())
    }

    fn open_again(&self) -> io::Result<Box<dyn BufRead + Send + '_>> {
        Ok(Box::new(Stoppable::new(self.document.open_again()?, self.stop)))
    }
}
