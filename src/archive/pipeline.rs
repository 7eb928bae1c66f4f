//! From the service's bytes to a file on disk, in one pass and constant memory.
//!
//! ```text
//! chunks ──┬──▶ validator thread:      the XML proof
//!          ├──▶ hasher thread:      sha256
//!          └──▶ compressor thread:  zstd, sha256, file, fsync
//! ```
//!
//! The threads read the same chunks; which of them takes longest depends on the data. What lies in
//! their queues is bounded in bytes, for a chunk is as large as the network makes it.

use super::{Archive, Attempt};
use crate::dataset::{self, Summary, ValidationError};
use crate::failpoint::{self, Point};
use crate::files;
use crate::manifest::{Content, Name, hex};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
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

/// A whole download, on disk under a hidden name, with what the proof says of it. The file goes
/// with the value unless it is filed.
#[derive(Debug)]
pub struct Received {
    pub(super) partial: Partial,
    /// Whose attempt it is.
    pub(super) attempt: Attempt,
    /// The bytes that the service sent.
    pub content: Content,
    /// The file's bytes.
    pub stored: Content,
    /// What the proof says.
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

    /// Makes sure that what has the hidden name is still the file that was written, `bytes` long,
    /// and has no other name.
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
        // Filed or kept aside: then it has another name by now, and this finds nothing.
        let _ = files::remove(&self.path);
    }
}

/// Why a download did not arrive whole.
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
    /// Receives a download of the snapshot to be called `name`. `progress` is told how many bytes
    /// have come.
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
                // Never closed; and a piece is smaller than the whole room.
                let permit = Arc::clone(&room).acquire_many_owned(piece.len() as u32).await.ok();
                let piece = Piece::Bytes(piece, Arc::new(permit));
                // An error ends the proof, not the download: what is kept aside is kept whole.
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
        // Without this word the threads know that the stream broke, and throw their work away.
        for to_thread in [to_validator, to_hasher, to_compressor] {
            let _ = to_thread.send(Piece::End);
        }
        let stored = joined(compressor).await?.map_err(ReceiveError::Storage)?;
        let content = joined(hasher).await?.map_err(ReceiveError::Storage)?;
        // Whatever the validation stumbles over, the bytes are whole: they can be kept aside.
        let validation = validator.await.unwrap_or_else(|error| {
            Err(ValidationError::Io(io::Error::other(panic_message(error))))
        });
        Ok(Received { partial, attempt, content, stored, validation })
    }
}

/// What a thread returns; its panic, should there be one, becomes an error.
async fn joined<T, E>(thread: JoinHandle<T>) -> Result<T, ReceiveError<E>> {
    thread.await.map_err(|error| ReceiveError::Panicked(panic_message(error)))
}

/// What a task says that panicked.
pub fn panic_message(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "it was ended".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    format!("it panicked: {}", text.chars().take(300).collect::<String>())
}

#[derive(Clone)]
enum Piece {
    /// Some bytes, and the room in the queues that they take until all threads are done with them.
    Bytes(Bytes, #[allow(dead_code)] Arc<Option<OwnedSemaphorePermit>>),
    /// The stream is at its end, whole.
    End,
}

type Pieces = mpsc::UnboundedReceiver<Piece>;

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the download broke off")
}

/// The queue as the validator reads it.
struct Queue {
    pieces: Pieces,
    current: Piece,
    /// How much of the current piece is read. Not split off: the reader takes a few bytes at a
    /// time, and each split would count references among threads.
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
            // Frees the last piece's room before it waits for the next.
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
    let mut hasher = Sha256::new();
    let mut total = 0;
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Bytes(bytes, _room)) => {
                hasher.update(&bytes);
                total += bytes.len() as u64;
            }
            Some(Piece::End) => {
                return Ok(Content { bytes: total, sha256: hex(&hasher.finalize()) });
            }
            None => return Err(broken()),
        }
    }
}

/// A file that hashes what is written to it.
struct Digesting {
    file: File,
    path: PathBuf,
    hasher: Sha256,
    total: u64,
}

impl Write for Digesting {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        failpoint::hit(Point::DataWrite, &self.path)?;
        let count = self.file.write(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.total += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn compress(mut pieces: Pieces, file: File, path: PathBuf) -> io::Result<Content> {
    let sink = Digesting { file, path, hasher: Sha256::new(), total: 0 };
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
    let sink = encoder.finish()?;
    failpoint::hit(Point::DataSync, &sink.path)?;
    sink.file.sync_all()?;
    Ok(Content { bytes: sink.total, sha256: hex(&sink.hasher.finalize()) })
}
