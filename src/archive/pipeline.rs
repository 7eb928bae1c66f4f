//! From the service's bytes to a file on disk, in one pass and in constant memory.
//!
//! ```text
//! chunks ──┬──▶ validator thread:      XML validation
//!          ├──▶ hasher thread:      sha256
//!          └──▶ compressor thread:  zstd, sha256, file, fsync
//! ```
//!
//! All threads read the same chunks; which of them is slowest depends on the data. Their queues are
//! bounded in bytes, because the network decides how large a chunk is.

use super::{Archive, Attempt};
use crate::dataset::{self, Summary, ValidationError};
use crate::digest::{Digester, Digesting};
use crate::failpoint::{self, Point};
use crate::files;
use crate::manifest::{Content, Name};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinError, JoinHandle};
use zstd::stream::raw::CParameter;

/// How many bytes may wait in the queues of one download.
const QUEUED: u32 = 384 << 10;
/// A chunk is passed on in pieces no larger than this.
const PIECE: usize = 128 << 10;
const LEVEL: i32 = 3;
/// A window of 512 KiB in place of level 3's 2 MiB: less memory for about 2 % more bytes.
const WINDOW_LOG: u32 = 19;

/// A whole download, on disk under a hidden name, with the result of its validation. Dropping it
/// removes the file unless it was filed.
#[derive(Debug)]
pub struct Received {
    pub(super) partial: Partial,
    /// Whose attempt it is.
    pub(super) attempt: Attempt,
    /// The bytes that the service sent.
    pub content: Content,
    /// The file's bytes.
    pub stored: Content,
    /// The result of validation.
    pub validation: Result<Summary, ValidationError>,
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
#[derive(Debug)]
pub enum ReceiveError<E> {
    /// The stream broke.
    Remote(E),
    /// The file could not be written.
    Storage(io::Error),
    /// A thread of the pipeline panicked.
    Panicked(String),
}

impl Archive {
    /// Receives the download of snapshot `name`. Calls `progress` with the bytes received so far.
    pub async fn receive<E>(
        &self,
        source: &str,
        name: Name,
        attempt: Attempt,
        limits: &dataset::DocumentLimits,
        mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
        mut progress: impl FnMut(u64),
    ) -> Result<Received, ReceiveError<E>> {
        let folder = self.folder(source);
        files::make_folder(&folder).map_err(ReceiveError::Storage)?;
        let path = folder.join(attempt.partial_name(&name.data()));
        let partial = Partial::create(path.clone()).map_err(ReceiveError::Storage)?;
        let file = partial.file.try_clone().map_err(ReceiveError::Storage)?;

        let (to_validator, to_validate) = mpsc::unbounded_channel();
        let (to_hasher, to_hash) = mpsc::unbounded_channel();
        let (to_compressor, to_compress) = mpsc::unbounded_channel();
        let bounds = limits.clone();
        let validator = tokio::task::spawn_blocking(move || validate(to_validate, &bounds));
        let hasher = tokio::task::spawn_blocking(move || hash(to_hash));
        let compressor = tokio::task::spawn_blocking(move || compress(to_compress, file, path));

        let room = Arc::new(Semaphore::new(QUEUED as usize));
        let mut received: u64 = 0;
        'stream: while let Some(chunk) = chunks.next().await {
            let mut chunk = chunk.map_err(ReceiveError::Remote)?;
            received += chunk.len() as u64;
            progress(received);
            while !chunk.is_empty() {
                let piece = chunk.split_to(chunk.len().min(PIECE));
                // Never closed, and a piece always fits the whole budget.
                let permit = Arc::clone(&room).acquire_many_owned(piece.len() as u32).await.ok();
                let piece = Piece::Bytes(piece, Arc::new(permit));
                // An error ends validation, not the download: a quarantined file is complete.
                let _ = to_validator.send(piece.clone());
                let _ = to_hasher.send(piece.clone());
                // The compressor stops early when the disk fails.
                if to_compressor.send(piece).is_err() {
                    break 'stream;
                }
            }
            if received > limits.max_bytes {
                break;
            }
        }
        // Without this marker the threads know that the stream broke, and discard their work.
        for to_thread in [to_validator, to_hasher, to_compressor] {
            let _ = to_thread.send(Piece::End);
        }
        let stored = joined(compressor).await?.map_err(ReceiveError::Storage)?;
        let content = joined(hasher).await?.map_err(ReceiveError::Storage)?;
        // Even if validation fails, the bytes are complete and can be quarantined.
        let validation = validator.await.unwrap_or_else(|error| {
            Err(ValidationError::Io(io::Error::other(panic_message(error))))
        });
        Ok(Received { partial, attempt, content, stored, validation })
    }
}

/// What a thread returns; a panic becomes an error.
async fn joined<T, E>(thread: JoinHandle<T>) -> Result<T, ReceiveError<E>> {
    thread.await.map_err(|error| ReceiveError::Panicked(panic_message(error)))
}

/// The panic message of a task.
pub fn panic_message(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was ended".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    format!("it panicked: {}", text.chars().take(300).collect::<String>())
}

#[derive(Clone)]
enum Piece {
    /// Some bytes, and their share of the queues' budget until all threads are done with them.
    Bytes(Bytes, #[allow(dead_code)] Arc<Option<OwnedSemaphorePermit>>),
    /// The stream ended and is complete.
    End,
}

type Pieces = mpsc::UnboundedReceiver<Piece>;

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the download broke off")
}

/// The validator's queue as a reader.
struct Queue {
    pieces: Pieces,
    current: Piece,
    /// How much of the current piece is read. Not split off: the reader takes a few bytes at a
    /// time, and each split would update a reference count shared between threads.
    read: usize,
    ended: bool,
}

impl Queue {
    fn unread(&self) -> &[u8] {
        match &self.current {
            Piece::Bytes(bytes, _) => bytes.get(self.read..).unwrap_or_default(),
            Piece::End => &[],
        }
    }
}

impl BufRead for Queue {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.unread().is_empty() && !self.ended {
            // Frees the last piece's budget before it waits for the next.
            self.current = Piece::End;
            match self.pieces.blocking_recv() {
                Some(Piece::End) => self.ended = true,
                Some(piece) => (self.current, self.read) = (piece, 0),
                None => return Err(broken()),
            }
        }
        Ok(self.unread())
    }

    fn consume(&mut self, amount: usize) {
        self.read += amount;
    }
}

impl Read for Queue {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

fn validate(pieces: Pieces, limits: &dataset::DocumentLimits) -> Result<Summary, ValidationError> {
    dataset::validate(Queue { pieces, current: Piece::End, read: 0, ended: false }, limits)
}

fn hash(mut pieces: Pieces) -> io::Result<Content> {
    let mut digester = Digester::default();
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Bytes(bytes, _room)) => digester.update(&bytes),
            Some(Piece::End) => return Ok(digester.into()),
            None => return Err(broken()),
        }
    }
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

fn compress(mut pieces: Pieces, file: File, path: PathBuf) -> io::Result<Content> {
    let sink = Digesting::new(DataFile { file, path });
    let mut encoder = zstd::stream::write::Encoder::new(sink, LEVEL)?;
    encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
    encoder.include_checksum(true)?;
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Bytes(bytes, _room)) => encoder.write_all(&bytes)?,
            Some(Piece::End) => break,
            None => return Err(broken()),
        }
    }
    let Digesting { inner, digester } = encoder.finish()?;
    failpoint::hit(Point::DataSync, &inner.path)?;
    inner.file.sync_all()?;
    Ok(digester.into())
}
