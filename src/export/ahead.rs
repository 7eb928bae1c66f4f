//! Reads ahead: a thread decodes and checks a document while another one exports it.

use super::ExportError;
use crate::archive::ProvenContent;
use std::io::{self, BufRead, Read};
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// Pieces that wait, at most. Each is as large as what is decoded at once.
const WAITING: usize = 3;

/// Calls `work` with a snapshot's content while it is read in a thread, then compares all of it
/// with the manifest.
///
/// # Errors
/// That of `work`; otherwise when the content is not what the manifest says.
pub(super) fn read_ahead<T>(
    content: ProvenContent<'_>,
    work: impl FnOnce(&mut Ahead) -> Result<T, ExportError>,
) -> Result<T, ExportError> {
    thread::scope(|scope| {
        let (pieces, waiting) = sync_channel(WAITING);
        let (used, again) = channel();
        let thread = scope.spawn(move || decode(content, &pieces, &again));
        let mut ahead = Ahead { waiting, used, piece: Vec::new(), start: 0, is_over: false };
        let done = work(&mut ahead);
        // The thread goes no further than its next piece.
        drop(ahead);
        let content = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        let done = done?;
        content.finish().map_err(ExportError::Damaged)?;
        Ok(done)
    })
}

/// Sends the content in pieces, in buffers that come back.
fn decode<'p>(
    mut content: ProvenContent<'p>,
    pieces: &SyncSender<io::Result<Vec<u8>>>,
    again: &Receiver<Vec<u8>>,
) -> ProvenContent<'p> {
    loop {
        let mut piece: Vec<u8> = again.try_recv().unwrap_or_default();
        piece.clear();
        let read = content.fill_buf().map(|bytes| piece.extend_from_slice(bytes));
        content.consume(piece.len());
        let is_last = piece.is_empty();
        if pieces.send(read.map(|()| piece)).is_err() || is_last {
            return content;
        }
    }
}

/// What has been read ahead.
#[derive(Debug)]
pub(super) struct Ahead {
    waiting: Receiver<io::Result<Vec<u8>>>,
    used: Sender<Vec<u8>>,
    piece: Vec<u8>,
    /// Where what is left of the piece begins.
    start: usize,
    is_over: bool,
}

impl BufRead for Ahead {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.piece.len() && !self.is_over {
            // Without a next piece, the thread has sent the end already, or has panicked.
            let next = self.waiting.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
            self.is_over = next.is_empty();
            self.start = 0;
            // The thread may be gone, and then needs no buffer.
            let _ = self.used.send(std::mem::replace(&mut self.piece, next));
        }
        Ok(self.piece.get(self.start..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.piece.len());
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
