//! Restarts the page if its thread ends without having been stopped.

use super::server::{Serving, start};
use super::{Listener, State};
use crate::settings::Listen;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long after its end the page is restarted. The wait doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest of these waits. If the page has run for longer than this, the first wait is used
/// again.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// The page while the daemon runs.
#[derive(Debug)]
pub struct Served {
    serving: Serving,
    stop: CancellationToken,
}

impl Served {
    /// Serves the page until `stop` is cancelled.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(listener: Listener, state: State, stop: &CancellationToken) -> io::Result<Served> {
        Ok(Served { serving: start(listener, state, stop)?, stop: stop.clone() })
    }

    /// Restarts the page whenever it ends before it is stopped. `state` provides a state with new
    /// connections: the old ones may be closed. Never returns.
    pub async fn keep(&mut self, listen: &Listen, state: impl Fn() -> State) {
        let stop = self.stop.clone();
        let again = async || start(Listener::bind(listen).await?, state(), &stop);
        keep(&mut self.serving, &stop, again).await;
    }

    /// Stops the page and waits for its end, for at most five seconds.
    pub async fn finish(self) {
        self.serving.finish().await;
    }
}

async fn keep(
    serving: &mut Serving,
    stop: &CancellationToken,
    again: impl AsyncFn() -> io::Result<Serving>,
) {
    let mut wait = FIRST_WAIT;
    loop {
        let begun = Instant::now();
        serving.ended().await;
        if begun.elapsed() > LONGEST_WAIT {
            wait = FIRST_WAIT;
        }
        loop {
            if !stop.is_cancelled() {
                tracing::error!(
                    "the status page is not served; backups go on, and it is started again in {} s",
                    wait.as_secs()
                );
            }
            if timeout(wait, stop.cancelled()).await.is_ok() {
                return std::future::pending().await;
            }
            wait = (wait * 2).min(LONGEST_WAIT);
            match again().await {
                Ok(started) => {
                    *serving = started;
                    tracing::info!("the status page is served again");
                    break;
                }
                Err(error) => tracing::error!(%error, "the status page cannot be started again"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::on_own_thread;
    use super::*;
    use std::sync::Mutex;

    fn panicking(stop: &CancellationToken) -> Serving {
        on_own_thread(stop, |_, _| panic!("as a test wants it")).unwrap()
    }

    fn lasting(stop: &CancellationToken) -> Serving {
        on_own_thread(stop, |runtime, stop| {
            runtime.block_on(stop.cancelled());
            Ok(())
        })
        .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_panics_or_cannot_start_is_restarted_with_growing_waits() {
        let stop = CancellationToken::new();
        let begun = Instant::now();
        let starts = Mutex::new(Vec::new());
        let again = async || {
            let mut starts = starts.lock().unwrap();
            starts.push(begun.elapsed().as_secs());
            match starts.len() {
                2 => Err(io::ErrorKind::AddrInUse.into()),
                5 => {
                    stop.cancel();
                    Ok(lasting(&stop))
                }
                3 => Ok(on_own_thread(&stop, |_, _| Err(io::ErrorKind::Other.into())).unwrap()),
                _ => Ok(panicking(&stop)),
            }
        };
        let mut serving = panicking(&stop);
        tokio::select! {
            () = keep(&mut serving, &stop, again) => {}
            () = stop.cancelled() => {}
        }
        assert_eq!(*starts.lock().unwrap(), [5, 15, 35, 75, 155]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_page_is_not_restarted() {
        let stop = CancellationToken::new();
        let mut serving = lasting(&stop);
        stop.cancel();
        let again = async || panic!("started again");
        let kept = timeout(LONGEST_WAIT, keep(&mut serving, &stop, again)).await;
        assert!(kept.is_err(), "it waits for the daemon's end");
        serving.finish().await;
    }
}
