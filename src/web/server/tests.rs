//! Limits of connections, over sockets in memory.

use super::*;
use crate::web::connections::{HEAD_TIME, UNREAD_TIME};
use axum::routing::get;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

/// Accepts the connections or errors that the test provides.
struct Prepared {
    given: Mutex<mpsc::UnboundedReceiver<io::Result<DuplexStream>>>,
    asked: AtomicUsize,
}

impl Accept for Prepared {
    type Stream = DuplexStream;

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<DuplexStream>> {
        let given = ready!(self.given.lock().unwrap().poll_recv(context));
        self.asked.fetch_add(1, Ordering::Relaxed);
        given.map_or(Poll::Pending, Poll::Ready)
    }
}

struct Served {
    give: mpsc::UnboundedSender<io::Result<DuplexStream>>,
    listener: std::sync::Arc<Prepared>,
    memory_short: std::sync::Arc<Notify>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    fn with(most: usize) -> Served {
        let (give, given) = mpsc::unbounded_channel();
        let listener =
            std::sync::Arc::new(Prepared { given: Mutex::new(given), asked: AtomicUsize::new(0) });
        let (memory_short, stop) = (std::sync::Arc::new(Notify::new()), CancellationToken::new());
        let router = Router::new()
            .route("/", get(|| async { "ok" }))
            .route("/large", get(|| async { vec![b'x'; 1 << 20] }))
            .route("/never", get(std::future::pending::<()>));
        let task = tokio::spawn({
            let (listener, memory_short, stop) =
                (listener.clone(), memory_short.clone(), stop.clone());
            async move { accept(&*listener, most, &router, &memory_short, &stop).await }
        });
        Served { give, listener, memory_short, stop, task }
    }

    /// A client that has sent this.
    async fn client(&self, text: &str) -> DuplexStream {
        let (mut client, server) = duplex(4096);
        self.give.send(Ok(server)).unwrap();
        client.write_all(text.as_bytes()).await.unwrap();
        client
    }

    async fn ask(&self, path: &str) -> String {
        let mut client = self.client(&request(path)).await;
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    }
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn a_failing_listener_is_paused_and_then_works_again() {
    let served = Served::with(4);
    for _ in 0..10 {
        let exhausted = rustix::io::Errno::MFILE;
        served.give.send(Err(exhausted.into())).unwrap();
    }
    let begun = Instant::now();
    assert!(served.ask("/").await.ends_with("ok"));
    assert_eq!(begun.elapsed(), ACCEPT_AGAIN * 10);
    assert_eq!(served.listener.asked.load(Ordering::Relaxed), 11);
}

#[tokio::test(start_paused = true)]
async fn one_broken_connection_delays_no_other() {
    let served = Served::with(4);
    served.give.send(Err(io::ErrorKind::ConnectionAborted.into())).unwrap();
    let begun = Instant::now();
    assert!(served.ask("/").await.ends_with("ok"));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_client_is_disconnected_in_time() {
    let served = Served::with(4);
    for (text, time) in [
        ("", HEAD_TIME),
        ("GET / HTTP/1.1\r\nHost: lo", HEAD_TIME),
        // A response, and then nothing more.
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", HEAD_TIME),
    ] {
        let begun = Instant::now();
        let mut client = served.client(text).await;
        client.read_to_end(&mut Vec::new()).await.unwrap();
        assert!(begun.elapsed() >= time && begun.elapsed() <= time + CHECK, "{text}");
    }
    let begun = Instant::now();
    let mut client = served.client(&request("/large")).await;
    // Nothing is read until the other end has gone.
    while client.write_all(b"x").await.is_ok() {
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!(begun.elapsed() < UNREAD_TIME * 2, "still open");
    }
    assert!(begun.elapsed() >= UNREAD_TIME, "{:?}", begun.elapsed());
    let mut text = Vec::new();
    client.read_to_end(&mut text).await.unwrap();
    assert!(text.len() < 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_full_page_closes_the_idlest_connection_and_none_that_is_served() {
    let served = Served::with(3);
    let mut never = served.client(&request("/never")).await;
    let mut idle = served.client("").await;
    let mut stalled = served.client(&request("/large")).await;
    let begun = Instant::now();
    assert!(served.ask("/").await.ends_with("ok"));
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    // The one that was idle longest is closed, the others stay open.
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    assert!(stalled.read(&mut [0]).await.unwrap() > 0);
    let more = tokio::time::timeout(Duration::from_secs(60), never.read(&mut [0])).await;
    assert!(more.is_err(), "the page still works on its answer");
}

#[tokio::test(start_paused = true)]
async fn too_many_unsent_answers_disconnect_the_slowest_reader() {
    let served = Served::with(4);
    let mut stalled = served.client(&request("/large")).await;
    tokio::time::sleep_until(Instant::now() + Duration::from_secs(2)).await;
    served.memory_short.notify_one();
    let begun = Instant::now();
    let mut text = Vec::new();
    stalled.read_to_end(&mut text).await.unwrap();
    assert!(text.len() < 1 << 20 && begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_closes_idle_connections_at_once_and_all_soon() {
    let served = Served::with(4);
    let mut idle = served.client("").await;
    let mut never = served.client(&request("/never")).await;
    tokio::time::advance(Duration::from_millis(10)).await;
    let begun = Instant::now();
    served.stop.cancel();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(never.read(&mut [0]).await.unwrap(), 0);
    served.task.await.unwrap();
    assert!(begun.elapsed() <= LAST_ANSWERS + Duration::from_millis(10));
}
