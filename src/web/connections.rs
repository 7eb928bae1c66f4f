//! Time limits of connections, and which connection to close when all are in use.
//!
//! Clients may stop within a request, or never read an answer. Each such wait has a limit. When all
//! connections are in use, the client that has been idle longest is disconnected, so that idle or
//! stalled clients never lock others out.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long a client may take to send the head of a request, counted from the start of the
/// connection or from the end of the last response.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a client may read nothing of a response.
pub(super) const UNREAD_TIME: Duration = Duration::from_secs(20);
/// When all connections are in use, a client that has been idle for longer than this may be
/// disconnected.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Since when one connection waits for its client, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Waiting for a request: none is under way.
    head: Option<Instant>,
    /// Waiting for the client to read.
    unread: Option<Instant>,
}

impl Waiting {
    pub(super) fn begin(now: Instant) -> Waiting {
        Waiting { head: Some(now), unread: None }
    }

    /// When the connection is closed unless the client acts.
    pub(super) fn deadline(self) -> Option<Instant> {
        let head = self.head.map(|since| since + HEAD_TIME);
        let unread = self.unread.map(|since| since + UNREAD_TIME);
        head.into_iter().chain(unread).min()
    }

    /// Since when it waits for its client; `None` while the page prepares a response.
    fn since(self) -> Option<Instant> {
        self.head.into_iter().chain(self.unread).min()
    }
}

/// The connection to close in favour of a new one: of those that have waited for their clients for
/// longer than [`PATIENCE`], the one that has waited longest.
pub(super) fn to_close<N>(
    connections: impl IntoIterator<Item = (N, Waiting)>,
    now: Instant,
) -> Option<N> {
    connections
        .into_iter()
        .filter_map(|(number, waiting)| Some((waiting.since()?, number)))
        .filter(|(since, _)| *since + PATIENCE <= now)
        .min_by_key(|(since, _)| *since)
        .map(|(_, number)| number)
}

/// The [`Waiting`] of one connection, updated by the code that serves it. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Watch(Arc<Mutex<Waiting>>);

impl Watch {
    /// The state of a new connection.
    pub(super) fn begin() -> Watch {
        Watch(Arc::new(Mutex::new(Waiting::begin(Instant::now()))))
    }

    pub(super) fn waiting(&self) -> Waiting {
        *self.state()
    }

    /// A request has arrived; it is under way until the returned value is dropped.
    pub(super) fn request(&self) -> UnderWay {
        self.state().head = None;
        UnderWay(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct UnderWay(Watch);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state().head = Some(Instant::now());
    }
}

/// A stream that records since when nothing can be written to it.
#[derive(Debug)]
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) watch: Watch,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, buffer);
        if written.is_pending() {
            self.watch.state().unread.get_or_insert_with(Instant::now);
        }
        let written = ready!(written);
        self.watch.state().unread = None;
        Poll::Ready(written)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn sending_a_head_and_reading_have_time_limits() {
        let begin = Instant::now();
        let idle = Waiting::begin(begin);
        assert_eq!(idle.deadline(), Some(begin + HEAD_TIME));
        let working = Waiting { head: None, unread: None };
        assert_eq!(working.deadline(), None, "the page's own work has no limit here");
        let stalled = Waiting { head: None, unread: Some(begin) };
        assert_eq!(stalled.deadline(), Some(begin + UNREAD_TIME));
        let both = Waiting { head: Some(begin + seconds(15)), unread: Some(begin) };
        assert_eq!(both.deadline(), Some(begin + UNREAD_TIME), "whichever comes first");
    }

    #[test]
    fn the_connection_that_is_idle_longest_is_closed() {
        let begin = Instant::now();
        let working = Waiting { head: None, unread: None };
        let idle = |at: u64| Waiting::begin(begin + seconds(at));
        let stalled = |at: u64| Waiting { head: None, unread: Some(begin + seconds(at)) };
        let now = begin + seconds(9);
        let all = [(1, working), (2, idle(5)), (3, stalled(4)), (4, idle(9))];
        assert_eq!(to_close(all, now), Some(3));
        assert_eq!(to_close([(1, working), (4, idle(9))], now), None, "no wait is long");
        assert_eq!(to_close([(4, idle(8))], now), Some(4));
        assert_eq!(to_close::<u8>([], now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_under_way_until_its_answer_is_dropped() {
        let watch = Watch::begin();
        let under_way = watch.request();
        assert_eq!(watch.waiting().deadline(), None);
        tokio::time::advance(seconds(60)).await;
        drop(under_way);
        assert_eq!(watch.waiting().deadline(), Some(Instant::now() + HEAD_TIME));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_reader_is_recorded_until_it_reads_again() {
        let (stream, mut client) = tokio::io::duplex(8);
        let watch = Watch::begin();
        let under_way = watch.request();
        let mut stream = Watched { stream, watch: watch.clone() };
        stream.write_all(b"12345678").await.unwrap();
        assert_eq!(watch.waiting().since(), None);
        let writing = tokio::spawn(async move { stream.write_all(b"9").await });
        tokio::task::yield_now().await;
        let since = watch.waiting().since();
        assert_eq!(since, Some(Instant::now()));
        tokio::time::advance(seconds(5)).await;
        assert_eq!(watch.waiting().since(), since);
        client.read_exact(&mut [0; 4]).await.unwrap();
        writing.await.unwrap().unwrap();
        assert_eq!(watch.waiting().since(), None);
        drop(under_way);
    }
}
