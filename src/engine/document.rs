//! The document that a restore loads: a snapshot's own bytes, all of them or those around chosen
//! entities. They are never rewritten.

use crate::archive::{Archive, Snapshot};
use crate::dataset::{DocumentLimits, Reader};
use crate::manifest::Content;
use crate::service::LoadDocument;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use tokio::sync::mpsc;

/// Bytes that are read and sent at once.
const CHUNK: u64 = 64 << 10;
/// Chunks that wait to be sent.
const QUEUED: usize = 4;

/// A document to be loaded, from a snapshot that is what its manifest says.
#[derive(Debug, Clone)]
pub(super) struct RestoredDocument {
    pub(super) snapshot: Snapshot,
    /// The parts of the snapshot's document, in order.
    parts: Vec<Range<u64>>,
    /// What follows them.
    tail: Vec<u8>,
    /// How many entities it holds.
    pub(super) entities: u64,
}

/// Why a document cannot be loaded.
#[derive(Debug)]
pub(super) enum DocumentError {
    /// The snapshot is not what was to be restored. Another try would find the same.
    Unusable(String),
    /// It cannot be read now.
    Unreadable(String),
}

impl DocumentError {
    fn of(is_unreadable: bool, message: String) -> DocumentError {
        match is_unreadable {
            true => DocumentError::Unreadable(message),
            false => DocumentError::Unusable(message),
        }
    }
}

/// Whether an error, or what caused it, is one that the operating system reports and that may pass:
/// every one but that a file is not there.
fn is_of_disk(error: &(dyn Error + 'static)) -> bool {
    let causes =
        std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    causes.filter_map(|error| error.downcast_ref::<io::Error>()).any(|error| {
        let inner = error.get_ref().is_some_and(|inner| is_of_disk(inner));
        inner || error.raw_os_error().is_some() && error.kind() != io::ErrorKind::NotFound
    })
}

impl RestoredDocument {
    /// Reads the whole snapshot of this manifest, and finds the entities of these primary keys: all
    /// where none is named.
    ///
    /// # Errors
    /// The snapshot is gone or damaged, is not the one of this digest, lacks a key, or cannot be
    /// read now.
    pub(super) fn find(
        archive: &Archive,
        manifest: &Path,
        sha256: &str,
        only: &[String],
    ) -> Result<RestoredDocument, DocumentError> {
        let path = manifest.to_string_lossy();
        let snapshot = archive.select(&path).map_err(|error| {
            let is_away = manifest.parent().is_some_and(|folder| !folder.exists());
            DocumentError::of(is_away || is_of_disk(&error), error.to_string())
        })?;
        if snapshot.manifest.content.sha256 != sha256 {
            let message = format!("{path} is another snapshot than when the restore was asked for");
            return Err(DocumentError::Unusable(message));
        }
        let damaged = |error: &(dyn Error + 'static)| match is_of_disk(error) {
            true => DocumentError::Unreadable(format!("{path} cannot be read: {error}")),
            false => DocumentError::Unusable(format!("{path} is damaged: {error}")),
        };
        let mut content =
            archive.proven_content(&snapshot, &|_| {}).map_err(|error| damaged(&error))?;
        let Content { bytes, .. } = snapshot.manifest.content;
        let mut document = RestoredDocument {
            entities: snapshot.manifest.entities,
            parts: std::iter::once(0..bytes).collect(),
            tail: Vec::new(),
            snapshot,
        };
        if !only.is_empty() {
            let limits = DocumentLimits { max_bytes: bytes, ..DocumentLimits::default() };
            let mut reader =
                Reader::open(&mut content, &limits).map_err(|error| damaged(&error))?;
            let wanted: BTreeSet<&str> = only.iter().map(String::as_str).collect();
            let mut missing = wanted.clone();
            document.entities = 0;
            document.parts = std::iter::once(0..reader.position()).collect();
            while let Some(entity) = reader.next_entity().map_err(|error| damaged(&error))? {
                let Some(key) = entity.key().filter(|key| wanted.contains(key)) else { continue };
                missing.remove(key);
                let begin = entity.offset();
                document.parts.push(begin..reader.position());
                document.entities += 1;
            }
            document.tail = format!("</{}>", reader.root()).into_bytes();
            if let Some(key) = missing.first() {
                let others = missing.len() - 1;
                let more = if others == 0 { String::new() } else { format!(", nor {others} more") };
                let message = format!("the snapshot has no entity with the key {key:?}{more}");
                return Err(DocumentError::Unusable(message));
            }
        }
        // Read here, where an error of the disk is known as one.
        io::copy(&mut (&mut content).take(bytes), &mut io::sink())
            .map_err(|error| damaged(&error))?;
        let differs = |what: String| DocumentError::Unusable(format!("{path} is damaged: {what}"));
        content.finish().map_err(differs)?;
        Ok(document)
    }

    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|part| part.end - part.start).sum();
        parts + self.tail.len() as u64
    }

    /// Its bytes, read from the archive as they are sent. The last ones are sent only once the
    /// snapshot was read to its end and is what its manifest says.
    pub(super) fn stream(self, archive: Archive) -> LoadDocument {
        let length = self.length();
        let (chunks, queue) = mpsc::channel(QUEUED);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = self.read_into(&archive, &chunks) {
                // An error means that the request was given up.
                let _ = chunks.blocking_send(Err(error));
            }
        });
        let next = |mut queue: mpsc::Receiver<io::Result<Bytes>>| async move {
            let chunk = queue.recv().await?;
            Some((chunk, queue))
        };
        LoadDocument { length, chunks: stream::unfold(queue, next).boxed() }
    }

    fn read_into(
        &self,
        archive: &Archive,
        chunks: &mpsc::Sender<io::Result<Bytes>>,
    ) -> io::Result<()> {
        let given_up = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the request was given up");
        let mut content = archive.proven_content(&self.snapshot, &|_| {})?;
        let mut last: Option<Bytes> = None;
        let mut at = 0;
        for part in &self.parts {
            io::copy(&mut (&mut content).take(part.start.saturating_sub(at)), &mut io::sink())?;
            at = part.start;
            while at < part.end {
                let mut chunk = Vec::new();
                (&mut content).take(CHUNK.min(part.end - at)).read_to_end(&mut chunk)?;
                if chunk.is_empty() {
                    let message = "the snapshot ends earlier than before";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                }
                at += chunk.len() as u64;
                if let Some(before) = last.replace(chunk.into()) {
                    chunks.blocking_send(Ok(before)).map_err(given_up)?;
                }
            }
        }
        content.finish().map_err(io::Error::other)?;
        let tail = (!self.tail.is_empty()).then(|| Bytes::from(self.tail.clone()));
        for chunk in last.into_iter().chain(tail) {
            chunks.blocking_send(Ok(chunk)).map_err(given_up)?;
        }
        Ok(())
    }
}
