//! Work that is never in the way of a backup: threads of the lowest priority, and reading that ends
//! once it is stopped.

use std::io::{self, BufRead, Read};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The lowest priority that a thread can have, as its nice value.
const LOWEST: i32 = 19;

/// Runs blocking work on a thread of its own that has the lowest priority, as have the threads that
/// it starts. The receiver gets the result; an error means that the work panicked.
///
/// # Errors
/// The thread cannot be started.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Of this thread alone: setpriority(2), "C library/kernel differences". A service manager
        // may forbid the call; then its own setting for the process applies.
        let _ = rustix::process::setpriority_process(None, LOWEST);
        // An error means that the result is no longer wanted.
        let _ = done.send(work());
    })?;
    Ok(result)
}

/// A reader whose reading fails once it is stopped.
#[derive(Debug)]
pub struct Stoppable<'s, R> {
    inner: R,
    stop: &'s CancellationToken,
}

impl<'s, R> Stoppable<'s, R> {
    /// Reads from `inner` until stopped.
    pub fn new(inner: R, stop: &'s CancellationToken) -> Stoppable<'s, R> {
        Stoppable { inner, stop }
    }

    /// The reader itself.
    pub fn into_inner(self) -> R {
        self.inner
    }

    fn check(&self) -> io::Result<()> {
        match self.stop.is_cancelled() {
            false => Ok(()),
            true => Err(io::Error::other("reading was stopped")),
        }
    }
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.read(buffer)
    }
}

impl<R: BufRead> BufRead for Stoppable<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_background_thread_has_the_lowest_priority_and_a_panic_is_an_error() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        assert_eq!(spawn("test", own).unwrap().await, Ok(LOWEST));
        assert_eq!(own(), before, "other threads keep theirs");
        let panicked = spawn::<()>("test", || panic!("on purpose")).unwrap();
        assert!(panicked.await.is_err());
    }

    #[test]
    fn reading_fails_once_it_is_stopped() {
        let stop = CancellationToken::new();
        let mut reader = Stoppable::new(&b"one\ntwo\n"[..], &stop);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "one\n");
        stop.cancel();
        assert!(reader.read_line(&mut line).is_err() && reader.read(&mut [0]).is_err());
        assert_eq!(reader.into_inner(), b"two\n");
    }
}
