//! Exports an archived snapshot: checks it in the same pass, and gives the file its name last.

use super::ahead::{Ahead, read_ahead};
use super::hidden::HiddenFile;
use super::{ExportError, ExportFormat, Facts, Options, Target, Written, scan, write};
use crate::archive::{Archive, ProvenContent, Snapshot};
use crate::dataset::DocumentLimits;
use std::fmt;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::Path;

/// Bytes that are written at once.
const BUFFER: usize = 256 << 10;

/// One export of one snapshot.
pub struct Export<'s> {
    /// What is exported.
    pub snapshot: &'s Snapshot,
    /// The format.
    pub format: &'static ExportFormat,
    /// What the user chose.
    pub options: Options,
    /// Whether a value that the format cannot hold exactly is an error.
    pub strict: bool,
    /// Called with the bytes of the document that have been read.
    pub progress: &'s (dyn Fn(u64) + Sync),
}

impl fmt::Debug for Export<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").field("format", &self.format.name).finish_non_exhaustive()
    }
}

impl Export<'_> {
    /// Writes to a stream. After an error, what was written is of no use.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn to_stream(
        &self,
        archive: &Archive,
        out: &mut (dyn Write + Send),
    ) -> Result<Written, ExportError> {
        let mut out = BufWriter::with_capacity(BUFFER, out);
        let written = self.to_target(archive, Target::Stream(&mut out))?;
        out.flush()?;
        Ok(written)
    }

    /// Writes to a file, which has its name only once it is complete and on disk.
    ///
    /// # Errors
    /// See [`ExportError`]; then nothing is left. [`std::io::ErrorKind::AlreadyExists`] when the
    /// file exists and is not to be replaced.
    pub fn to_file(
        &self,
        archive: &Archive,
        file: &Path,
        replace: bool,
    ) -> Result<Written, ExportError> {
        let mut hidden = HiddenFile::create(file)?;
        let written = if self.format.streams {
            let mut out = BufWriter::with_capacity(BUFFER, hidden.file());
            let written = self.to_target(archive, Target::Stream(&mut out))?;
            out.flush()?;
            drop(out);
            written
        } else {
            self.to_target(archive, Target::File(hidden.path().to_owned()))?
        };
        hidden.finish(replace)?;
        Ok(written)
    }

    fn to_target(&self, archive: &Archive, target: Target<'_>) -> Result<Written, ExportError> {
        let manifest = &self.snapshot.manifest;
        let limits = DocumentLimits {
            // The manifest's own number: a damaged file may expand to any length.
            max_bytes: manifest.content.bytes,
            ..DocumentLimits::default()
        };
        let mut facts = Facts::default();
        // Two passes are shown as the two halves of one.
        let (mut before, mut share) = (0, 1);
        if self.format.scan.is_some() {
            (before, share) = (manifest.content.bytes / 2, 2);
            let progress = |bytes| (self.progress)(bytes / share);
            let content = self.content(archive, &progress)?;
            facts =
                read_ahead(content, |content| scan(content, &limits, self.format, &self.options))?;
        }
        let progress = |bytes| (self.progress)(before + bytes / share);
        let content = self.content(archive, &progress)?;
        let written = read_ahead(content, |content| match self.format.open {
            None => self.copy(content, target),
            Some(_) => {
                let snapshot = super::Snapshot {
                    source: manifest.source.clone(),
                    created_at: manifest.created_at,
                    entities: manifest.entities,
                    keys_are_proven: !manifest.unproven.contains(&crate::dataset::Unproven::Keys),
                };
                let (format, options) = (self.format, &self.options);
                write(content, &limits, &snapshot, format, options, facts, target)
            }
        })?;
        if self.strict && written.changes.iter().any(|change| change.lossy) {
            return Err(ExportError::Lossy(written.changes));
        }
        Ok(written)
    }

    fn content<'p>(
        &self,
        archive: &Archive,
        progress: &'p (dyn Fn(u64) + Sync),
    ) -> Result<ProvenContent<'p>, ExportError> {
        archive.proven_content(self.snapshot, progress).map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => ExportError::Impossible(error.to_string()),
            _ => ExportError::Damaged(error.to_string()),
        })
    }

    /// The document itself.
    fn copy(&self, content: &mut Ahead, target: Target<'_>) -> Result<Written, ExportError> {
        let out = target.stream()?;
        // More than the manifest's own number is damage, however long it goes on.
        let mut left = self.snapshot.manifest.content.bytes;
        loop {
            let piece =
                content.fill_buf().map_err(|error| ExportError::Damaged(error.to_string()))?;
            let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if length == 0 {
                break;
            }
            out.write_all(piece.get(..length).unwrap_or_default())?;
            content.consume(length);
            left -= length as u64;
        }
        let entities = self.snapshot.manifest.entities;
        Ok(Written { entities, rows: entities, without_geometry: 0, changes: Vec::new() })
    }
}
