//! Serves connections, each within limits, on the page's own threads.
//!
//! The page has its own runtime: no number of requests can use up the engine's tasks, threads or
//! database connections.

use super::answer::{self, Answer};
use super::connections::{Watch, Watched, to_close};
use super::work::UnsentShare;
use super::{Listener, State, router};
use axum::Router;
use axum::body::Body;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The most connections at once; fewer if the process may open only few files.
const CONNECTIONS: usize = 128;
/// The page may use at most this fraction of the process's file descriptors, as a divisor.
const PART_OF_FILES: u64 = 4;
/// The most bytes of a request's head, and of the read and write buffers.
const BUFFER: usize = 16 << 10;
/// The most unread bytes that the kernel buffers for a client.
const SENT_AHEAD: usize = 128 << 10;
/// How often a full server checks again for a client to disconnect.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How often each connection's limits are looked at.
const CHECK: Duration = Duration::from_secs(5);
/// How long to pause after a failed accept, such as one without free descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);
/// How often such failures are logged.
const LOG_AGAIN: Duration = Duration::from_secs(60);
/// How long a stopping page waits for responses under way.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// How long it then waits for its reads to end.
const LAST_READS: Duration = Duration::from_millis(2500);
/// The threads that render pages and read files.
const BLOCKING_THREADS: usize = 8;

/// The running page. Dropping it stops the page.
#[derive(Debug)]
pub(super) struct Serving {
    ended: CancellationToken,
    stop: DropGuard,
}

/// Serves the page on its own thread until it is stopped.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn start(
    listener: Listener,
    state: State,
    stop: &CancellationToken,
) -> io::Result<Serving> {
    on_own_thread(stop, |runtime, stop| serve(runtime, listener, state, stop))
}

/// Runs the page on a thread with a runtime. Its end is recorded even after a panic.
pub(super) fn on_own_thread(
    stop: &CancellationToken,
    page: impl FnOnce(&Runtime, &CancellationToken) -> io::Result<()> + Send + 'static,
) -> io::Result<Serving> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("page")
        .build()?;
    let (ended, stop) = (CancellationToken::new(), stop.child_token());
    let (end, stopped) = (ended.clone().drop_guard(), stop.clone());
    std::thread::Builder::new().name("page".to_owned()).spawn(move || {
        match catch_unwind(AssertUnwindSafe(|| page(&runtime, &stopped))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the status page has ended"),
            Err(_) => tracing::error!("the status page has panicked"),
        }
        runtime.shutdown_timeout(LAST_ANSWERS);
        drop(end);
    })?;
    Ok(Serving { ended, stop: stop.drop_guard() })
}

impl Serving {
    /// Waits until the page has ended, for whatever reason.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Stops the page and waits for its end, for at most five seconds.
    pub(super) async fn finish(self) {
        drop(self.stop);
        if timeout(Duration::from_secs(5), self.ended.cancelled()).await.is_err() {
            tracing::warn!(
                "the status page still reads something and is not waited for any longer"
            );
        }
    }
}

fn serve(
    runtime: &Runtime,
    listener: Listener,
    state: State,
    stop: &CancellationToken,
) -> io::Result<()> {
    let (reporter, memory_short, live) =
        (state.reporter.clone(), state.work.memory_short(), state.live.clone());
    let router = router(state);
    let served = runtime.block_on(async {
        // Event streams do not end by themselves.
        let _ended = tokio::spawn(stop.clone().cancelled_owned().map(move |()| live.close()));
        // Registered with this runtime, which waits for its readiness.
        match listener {
            Listener::Tcp(tcp) => {
                let tcp = TcpListener::from_std(tcp.into_std()?)?;
                accept(&tcp, max_connections(), &router, &memory_short, stop).await;
            }
            Listener::Unix(unix, _path) => {
                let unix = UnixListener::from_std(unix.into_std()?)?;
                accept(&unix, max_connections(), &router, &memory_short, stop).await;
            }
        }
        Ok(())
    });
    runtime.block_on(async {
        if timeout(LAST_READS, reporter.close_reading()).await.is_err() {
            tracing::warn!("the status page still reads the database");
        }
    });
    served
}

/// How many connections are served at once.
pub(super) fn max_connections() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let most = files.map_or(CONNECTIONS as u64, |files| files / PART_OF_FILES);
    usize::try_from(most).unwrap_or(CONNECTIONS).clamp(4, CONNECTIONS)
}

/// A listener.
trait Accept {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Self::Stream>>;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        let (stream, _) = ready!(TcpListener::poll_accept(self, context))?;
        bound_sending(&stream);
        // Without this, small responses wait for delayed acknowledgements.
        let _ = stream.set_nodelay(true);
        Poll::Ready(Ok(stream))
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        let (stream, _) = ready!(UnixListener::poll_accept(self, context))?;
        bound_sending(&stream);
        Poll::Ready(Ok(stream))
    }
}

/// Bounds what the kernel buffers for a client that does not read.
fn bound_sending(stream: impl AsFd) {
    // Without it, a slow reader costs more memory, and nothing else changes.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(stream, SENT_AHEAD);
}

/// Serves connections until it is stopped, then waits briefly for those under way.
async fn accept(
    listener: &impl Accept,
    most: usize,
    router: &Router,
    memory_short: &Notify,
    stop: &CancellationToken,
) {
    let mut all = Connections::default();
    let mut logged: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            () = all.one_ends() => continue,
            () = memory_short.notified() => {
                all.close_idlest();
                continue;
            }
            accepted = poll_fn(|context| listener.poll_accept(context)) => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                if logged.is_none_or(|at| at.elapsed() >= LOG_AGAIN) {
                    logged = Some(Instant::now());
                    tracing::warn!(%error, "the status page takes no connections for now");
                }
                // It may succeed once another connection has ended.
                let _ = timeout(ACCEPT_AGAIN, stop.cancelled()).await;
                continue;
            }
        };
        while all.len() >= most && !stop.is_cancelled() {
            all.close_idlest();
            let _ = timeout(LOOK_AGAIN, all.one_ends()).await;
        }
        all.serve(stream, router.clone(), stop.clone());
    }
    let _ = timeout(LAST_ANSWERS, all.end()).await;
}

/// Whether the error concerns one connection, not the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// The open connections. Dropping this closes all.
#[derive(Debug, Default)]
struct Connections {
    tasks: JoinSet<()>,
    watches: HashMap<Id, (AbortHandle, Watch)>,
}

impl Connections {
    fn len(&self) -> usize {
        self.watches.len()
    }

    fn serve(
        &mut self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        router: Router,
        stop: CancellationToken,
    ) {
        let watch = Watch::begin();
        let task = self.tasks.spawn(converse(stream, watch.clone(), router, stop));
        self.watches.insert(task.id(), (task, watch));
    }

    /// Waits until a connection ends; for ever if there is none.
    async fn one_ends(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => self.forget(id),
            Some(Err(error)) => self.forget(error.id()),
            None => std::future::pending().await,
        }
    }

    fn forget(&mut self, id: Id) {
        self.watches.remove(&id);
    }

    /// Closes the connection that has been idle longest, if any has been for long enough.
    fn close_idlest(&self) {
        let all = self.watches.iter().map(|(id, (_, watch))| (*id, watch.waiting()));
        if let Some((task, _)) = to_close(all, Instant::now()).and_then(|id| self.watches.get(&id))
        {
            task.abort();
        }
    }

    async fn end(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Serves one connection to its end.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    watch: Watch,
    router: Router,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let watched = watch.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let under_way = watched.request();
        let closes = answer::has_body(request.headers());
        let answer = router.call(request.map(Body::new));
        async move {
            let Ok(mut response) = answer.await;
            if closes {
                // The body of a request is never read.
                answer::close_after(response.headers_mut());
            }
            let share = response.extensions_mut().remove::<UnsentShare>();
            Ok::<_, Infallible>(response.map(|body| Answer::new(body, share, under_way)))
        }
    });
    let mut settings = http1::Builder::new();
    // Each wait has its own limit, which is checked below.
    settings.header_read_timeout(None).max_buf_size(BUFFER).max_header_size(BUFFER);
    let stream = TokioIo::new(Watched { stream, watch: watch.clone() });
    let mut connection = pin!(settings.serve_connection(stream, service));
    let mut stopping = false;
    loop {
        tokio::select! {
            // Errors of a connection concern only its client.
            _ = connection.as_mut() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = overdue(&watch) => return,
        }
    }
}

/// Waits until a time limit of the connection has passed.
async fn overdue(watch: &Watch) {
    loop {
        let now = Instant::now();
        match watch.waiting().deadline() {
            Some(deadline) if deadline <= now => return,
            deadline => {
                let next = now + CHECK;
                tokio::time::sleep_until(deadline.map_or(next, |deadline| deadline.min(next)))
                    .await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
