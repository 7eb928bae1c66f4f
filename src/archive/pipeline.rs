//! From the service's bytes to a file on disk, in one pass and in constant memory.
//!
//! ```text
//! chunks ──┬──▶ validator thread:  the format's validation
//!          ├──▶ hasher thread:     sha256
//!          └──▶ storing thread:    codec, sha256, file, fsync
//! ```
//!
//! All threads read the same chunks; which of them is slowest depends on the data. Their queues are
//! bounded in bytes, because the network decides how large a chunk is.

use super::{Archive, Attempt};
use crate::codec::Codec;
use crate::digest::{Digester, Digesting};
use crate::failpoint::{self, Point};
use crate::files;
use crate::format::{Format, Input, Invalid, Summary};
use crate::manifest::{Content, Name};
use crate::printable;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinHandle};

/// How many bytes may wait in the queues of one download.
const QUEUED: u32 = 384 << 10;
/// A chunk is passed on in pieces no larger than this.
const PIECE: usize = 128 << 10;

/// A download that is to become a snapshot.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// The source's name.
    pub source: &'a str,
    /// The snapshot's name.
    pub name: Name,
    /// Whose attempt it is.
    pub attempt: Attempt,
    /// What the service sends.
    pub format: &'static dyn Format,
    /// The most bytes that it may have; a longer one is not valid.
    pub max_bytes: u64,
}

/// A whole download, on disk under a hidden name, with the result of its validation. Dropping it
/// removes the file unless it was filed.
#[derive(Debug)]
pub struct Received {
    pub(super) partial: Partial,
    /// Whose attempt it is.
    pub(super) attempt: Attempt,
    pub(super) format: &'static dyn Format,
    /// How the file is encoded.
    pub(super) codec: Codec,
    /// The bytes that the service sent.
    pub content: Content,
    /// The file's bytes.
    pub stored: Content,
    /// The result of validation.
    pub validation: Result<Summary, Invalid>,
}

impl Received {
    /// What follows its name in that of its file.
    pub(super) fn suffix(&self) -> String {
        self.format.suffix_with(self.codec)
    }
}

/// A file under its hidden name.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Partial {
    pub(super) fn create(path: PathBuf) -> io::Result<Partial> {
        let file = files::create_new(&path)?;
        Ok(Partial { path, file })
    }

    /// Checks that the hidden name still belongs to the file that was written, that it is `bytes`
    /// long, and that it has no other name.
    pub(super) fn check(&self, bytes: u64) -> io::Result<()> {
        let (named, written) = (files::metadata(&self.path)?, self.file.metadata()?);
        let is_same = (named.dev(), named.ino()) == (written.dev(), written.ino());
        if is_same && written.nlink() == 1 && written.len() == bytes {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "{} was changed by another program while it was written",
            self.path.display()
        )))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // A filed or quarantined file has another name by now, and this finds nothing.
        let _ = files::remove(&self.path);
    }
}

/// Why a download was not received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError<E> {
    /// The stream broke.
    #[error("{0}")]
    Remote(E),
    /// The file could not be written.
    #[error("the archive cannot be written: {0}")]
    Storage(io::Error),
    /// A thread of the pipeline panicked.
    #[error("{0}")]
    Panicked(String),
}

impl Archive {
    /// Receives a download: validates, hashes and stores it under a hidden name while it arrives.
    /// Calls `progress` with the bytes received so far.
    ///
    /// # Errors
    /// When the stream broke or the file could not be written. A download that arrived whole and is
    /// not valid is no error here: [`Received::validation`] says it.
    pub async fn receive<E>(
        &self,
        incoming: Incoming<'_>,
        mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
        mut progress: impl FnMut(u64),
    ) -> Result<Received, ReceiveError<E>> {
        let Incoming { source, name, attempt, format, max_bytes } = incoming;
        let folder = self.folder(source);
        files::make_folder(&folder).map_err(ReceiveError::Storage)?;
        let codec = format.codec();
        let path = folder.join(attempt.partial_name(&name.with(&format.suffix_with(codec))));
        let partial = Partial::create(path.clone()).map_err(ReceiveError::Storage)?;
        let file = partial.file.try_clone().map_err(ReceiveError::Storage)?;

        let (to_validator, to_validate) = mpsc::unbounded_channel();
        let (to_hasher, to_hash) = mpsc::unbounded_channel();
        let (to_storer, to_store) = mpsc::unbounded_channel();
        let validator = tokio::task::spawn_blocking(move || {
            let mut pieces = to_validate;
            format.validate(Input::new(move || next(&mut pieces)), max_bytes)
        });
        let hasher = tokio::task::spawn_blocking(move || hash(to_hash));
        let file = DataFile { file, path };
        let storer = tokio::task::spawn_blocking(move || store(to_store, codec, file));

        let budget = Arc::new(Semaphore::new(QUEUED as usize));
        let mut received: u64 = 0;
        'stream: while let Some(chunk) = chunks.next().await {
            let mut chunk = chunk.map_err(ReceiveError::Remote)?;
            received += chunk.len() as u64;
            progress(received);
            while !chunk.is_empty() {
                let piece = chunk.split_to(chunk.len().min(PIECE));
                // Never closed, and a piece always fits the whole budget.
                let share = Arc::clone(&budget).acquire_many_owned(piece.len() as u32).await.ok();
                let piece = Bytes::from_owner(Budgeted { bytes: piece, _share: share });
                // An error ends validation, not the download: a quarantined file is complete.
                let _ = to_validator.send(Some(piece.clone()));
                let _ = to_hasher.send(Some(piece.clone()));
                // Storing stops early when the disk fails.
                if to_storer.send(Some(piece)).is_err() {
                    break 'stream;
                }
            }
            if received > max_bytes {
                break;
            }
        }
        // Without this marker the threads know that the stream broke, and discard their work.
        for to_thread in [to_validator, to_hasher, to_storer] {
            let _ = to_thread.send(None);
        }
        let stored = joined(storer).await?.map_err(ReceiveError::Storage)?;
        let content = joined(hasher).await?.map_err(ReceiveError::Storage)?;
        // Even if validation fails, the bytes are complete and can be quarantined.
        let validation = validator
            .await
            .unwrap_or_else(|error| Err(io::Error::other(panic_message(error)).into()));
        Ok(Received { partial, attempt, format, codec, content, stored, validation })
    }
}

/// What a thread returns; a panic becomes an error.
async fn joined<T, E>(thread: JoinHandle<T>) -> Result<T, ReceiveError<E>> {
    thread.await.map_err(|error| ReceiveError::Panicked(panic_message(error)))
}

/// The panic message of a task.
pub fn panic_message(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => printable::panic_message(&*panic),
        Err(_) => "it was ended".to_owned(),
    }
}

/// Bytes that hold their share of the queues' budget until all threads are done with them.
struct Budgeted {
    bytes: Bytes,
    /// `None` only if the budget were closed, which it never is.
    _share: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Budgeted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A thread's queue. `None` marks the end of a stream that is complete.
type Pieces = mpsc::UnboundedReceiver<Option<Bytes>>;

/// Waits for the next piece; `None` at the end. A stream that broke off is an error.
fn next(pieces: &mut Pieces) -> io::Result<Option<Bytes>> {
    let broken = || io::Error::new(io::ErrorKind::ConnectionAborted, "the download broke off");
    pieces.blocking_recv().ok_or_else(broken)
}

fn hash(mut pieces: Pieces) -> io::Result<Content> {
    let mut digester = Digester::default();
    while let Some(bytes) = next(&mut pieces)? {
        digester.update(&bytes);
    }
    Ok(digester.into())
}

/// The data file, with a failpoint at each write.
struct DataFile {
    file: File,
    path: PathBuf,
}

impl Write for DataFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        failpoint::hit(Point::DataWrite, &self.path)?;
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn store(mut pieces: Pieces, codec: Codec, file: DataFile) -> io::Result<Content> {
    let mut encoder = codec.encoder(Digesting::new(file))?;
    while let Some(bytes) = next(&mut pieces)? {
        encoder.write_all(&bytes)?;
    }
    let Digesting { inner, digester } = encoder.finish()?;
    failpoint::hit(Point::DataSync, &inner.path)?;
    inner.file.sync_all()?;
    Ok(digester.into())
}
