//! Ten thousand waiting jobs, polled over real HTTP.

use crate::measure::{Samples, myself, processor_time, start, status, title};
use crate::state::{queue, settings};
use bytes::Bytes;
use nightjar::archive::Archive;
use nightjar::clock::Clock;
use nightjar::engine::{Engine, EngineConfig, Scope};
use nightjar::secret::Key;
use nightjar::service::bing::Bing;
use nightjar::service::http::HttpClients;
use nightjar::store::{Store, lock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Answers every create with a job and every status with "Pending", and counts connections;
/// `/connections` returns the count.
pub(crate) async fn answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    println!("http://127.0.0.1:{port}/REST/v1");
    let connections = Arc::new(AtomicU64::new(0));
    let jobs = Arc::new(AtomicU64::new(0));
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        connections.fetch_add(1, Ordering::SeqCst);
        let (connections, jobs) = (Arc::clone(&connections), Arc::clone(&jobs));
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            let mut filled = 0;
            loop {
                let Ok(count @ 1..) = stream.read(&mut buffer[filled..]).await else { return };
                filled += count;
                if !buffer[..filled].ends_with(b"\r\n\r\n") {
                    continue;
                }
                let head = String::from_utf8_lossy(&buffer[..filled]).into_owned();
                filled = 0;
                let body = if head.starts_with("GET /connections") {
                    connections.load(Ordering::SeqCst).to_string()
                } else {
                    // A status URL names its job; a create request makes one.
                    let id = match head.split("/status/").nth(1) {
                        Some(rest) => rest.split(['?', ' ']).next().unwrap().to_owned(),
                        None => jobs.fetch_add(1, Ordering::SeqCst).to_string(),
                    };
                    format!(
                        "{{\"statusCode\":200,\"authenticationResultCode\":\"ValidCredentials\",\
                         \"resourceSets\":[{{\"resources\":[{{\"id\":\"{id}\",\"status\":\
                         \"Pending\",\"links\":[{{\"role\":\"self\",\"url\":\
                         \"http://127.0.0.1:{port}/status/{id}\"}}]}}]}}]}}"
                    )
                };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                     content-length: {}\r\n\r\n{body}",
                    body.len()
                );
                if stream.write_all(&Bytes::from(answer)).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn connections(endpoint: &str) -> u64 {
    let address = endpoint.trim_start_matches("http://").trim_end_matches("/REST/v1");
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /connections HTTP/1.1\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; 4096];
    let count = stream.read(&mut buffer).await.unwrap();
    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
    text.rsplit("\r\n").next().unwrap().parse().unwrap()
}

pub(crate) async fn run(quick: bool) {
    let (jobs, seconds) = if quick { (1000, 10) } else { (10_000, 60) };
    title(&format!("polling: {jobs} waiting jobs, polled over HTTP for {seconds} s"));
    let (mut server, endpoint) = start(myself(&["child-answer"]));
    let folder = TempDir::new_in(".").unwrap();
    // Every wait ends somewhere in the five minutes, so that due times are spread over them.
    let poll = "initial = \"150s\"\nmax = \"300s\"\nfactor = 1.0\njitter = 0.99";
    let settings = settings(folder.path(), jobs, poll, &endpoint);
    let store = Store::open(&settings.state_dir, 0).await.unwrap();
    let empty = status(std::process::id(), "VmRSS");
    queue(&store, &settings).await;
    let worker = lock::Worker::register(&settings.state_dir, 1).unwrap();
    let archive = Archive::new(&settings.archive_dir, &settings.state_dir);
    let account = &settings.accounts["bench"];
    let clients = HttpClients::new(&settings.http).unwrap();
    let bing = Bing::new("bench", &account.endpoint, Key::new("bench-key").unwrap(), clients);
    let config = EngineConfig {
        settings: settings.clone(),
        services: BTreeMap::from([("bench".to_owned(), Arc::new(bing) as _)]),
    };
    let clock = Clock::system();
    let engine =
        Engine::new(store.clone(), archive, worker, clock.clone(), config, Arc::new(|_| {}));
    let stop = CancellationToken::new();
    let (worked, ()) = tokio::join!(engine.run(Scope::Everything, stop.clone()), async {
        // First everything is submitted, with one new connection each: this is not measured.
        let mut beat = tokio::time::interval(Duration::from_millis(200));
        loop {
            beat.tick().await;
            let queued = nightjar::store::Filter {
                state: Some(nightjar::job::State::Queued),
                limit: 1,
                source: None,
                before: None,
            };
            if store.jobs(&queued).await.unwrap().is_empty() {
                break;
            }
        }
        let me = std::process::id();
        let polls = async || {
            let live = store.live_jobs().await.unwrap();
            live.iter().map(|job| u64::from(job.polls)).sum::<u64>()
        };
        let (before, opened, cpu, begun) =
            (polls().await, connections(&endpoint).await, processor_time(me), Instant::now());
        let mut late = Samples::default();
        while begun.elapsed() < Duration::from_secs(seconds) {
            beat.tick().await;
            // How long the longest waiting job has been due.
            let due = store.next_due(true, true, None, &[]).await.unwrap();
            let overdue = due.map_or(0, |due| (clock.now() - due).num_milliseconds());
            late.add(overdue.max(0) as f64 / 1000.0);
        }
        let busy = (processor_time(me) - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
        let asked = polls().await - before;
        let opened = connections(&endpoint).await - opened - 1;
        println!("polls                          {asked}");
        println!("processor, of one core         {:.1} %", busy * 100.0);
        println!(
            "longest overdue, s             median {:.3}, worst {:.3}",
            late.median(),
            late.at(1.0)
        );
        println!(
            "new connections in 100 polls   {:.2}",
            100.0 * opened as f64 / asked.max(1) as f64
        );
        let resident = status(me, "VmRSS");
        println!(
            "memory a job                   {:.1} KiB (with its source's settings)",
            resident.saturating_sub(empty) as f64 / jobs as f64
        );
        stop.cancel();
    });
    worked.unwrap();
    store.close().await;
    let _ = server.kill();
    let _ = server.wait();
}
