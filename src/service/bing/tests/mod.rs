//! The client against bytes: a server that says exactly what a case wants, and remembers what it
//! was asked.

mod activities;
mod changes;
mod conformance;
mod create;
mod fetch;
mod hostile;
mod listing;
mod secrecy;
mod status;
mod tls;

use super::*;
use crate::service::Progress;
use crate::settings::Http;
use chrono::TimeZone;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

const KEY: &str = "CANARY/0123456789+abcdef";

fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 25, 12, 0, 0).unwrap()
}

/// What a server does with its next request.
#[derive(Debug, Clone)]
enum Say {
    /// These bytes after the whole request, and then it closes the connection.
    Bytes(Vec<u8>),
    /// These bytes after the request's head, and then it closes the connection.
    Early(Vec<u8>),
    /// Nothing at all: it closes the connection.
    Nothing,
    /// Nothing at all, for ever.
    Silence,
    /// These bytes, and then one byte after the other, for ever.
    Trickle(Vec<u8>),
}

/// A host on loopback.
struct Host {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    /// What it received of each request's body.
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    _task: AbortOnDropHandle<()>,
}

impl Host {
    /// Says these things in turn; `PPPPP` in them is its own port. The last one is said again and
    /// again.
    async fn new(answers: Vec<Say>) -> Host {
        let (listener, port) = loop {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            match listener.local_addr().unwrap().port() {
                port @ 10_000.. => break (listener, port),
                _ => continue,
            }
        };
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let bodies: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (seen, seen_bodies) = (Arc::clone(&heads), Arc::clone(&bodies));
        let task = tokio::spawn(async move {
            let mut turn = 0;
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                if head.is_empty() {
                    continue;
                }
                let head = String::from_utf8(head).unwrap();
                let length = length_of_body(&head);
                seen.lock().unwrap().push(head);
                let say = answers.get(turn).or(answers.last()).cloned().unwrap();
                turn += 1;
                if !matches!(say, Say::Early(_)) {
                    let mut body = Vec::new();
                    let whole = (&mut stream).take(length).read_to_end(&mut body).await;
                    let is_whole = whole.is_ok() && body.len() as u64 == length;
                    seen_bodies.lock().unwrap().push(body);
                    if !is_whole {
                        continue;
                    }
                }
                match say {
                    Say::Bytes(bytes) | Say::Early(bytes) => {
                        // Every port has five digits here, so that lengths stay as they are.
                        let bytes = with_port(&bytes, port);
                        stream.write_all(&bytes).await.unwrap();
                        stream.shutdown().await.unwrap();
                    }
                    Say::Nothing => {}
                    Say::Trickle(bytes) => {
                        tokio::spawn(async move {
                            let mut beat = tokio::time::interval(Duration::from_millis(20));
                            let mut sent = stream.write_all(&bytes).await;
                            while sent.is_ok() {
                                beat.tick().await;
                                sent = stream.write_all(b" ").await;
                            }
                        });
                    }
                    Say::Silence => {
                        tokio::spawn(async move {
                            let _kept_open = stream;
                            std::future::pending::<()>().await;
                        });
                    }
                }
            }
        });
        Host { port, heads, bodies, _task: AbortOnDropHandle::new(task) }
    }

    async fn saying(answer: Vec<u8>) -> Host {
        Host::new(vec![Say::Bytes(answer)]).await
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().unwrap().clone()
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn bing(&self) -> Bing {
        client(&self.url("/REST/v1"))
    }
}

fn length_of_body(head: &str) -> u64 {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().map_or(0, |(_, length)| length.trim().parse().unwrap())
}

/// The bytes with `PPPPP` replaced by the port.
fn with_port(bytes: &[u8], port: u16) -> Vec<u8> {
    let port = format!("{port:05}");
    let mut out = bytes.to_vec();
    while let Some(at) = out.windows(5).position(|five| five == b"PPPPP") {
        out[at..at + 5].copy_from_slice(port.as_bytes());
    }
    out
}

fn http() -> Http {
    let brief = Duration::from_millis(300);
    Http { connect_timeout: Duration::from_secs(5), idle_timeout: brief, ..Http::default() }
}

fn client_with(endpoint: &str, http: &Http) -> Bing {
    let clients = HttpClients::new(http).unwrap();
    Bing::new("contoso", &endpoint.parse().unwrap(), Key::new(KEY).unwrap(), clients)
}

fn client(endpoint: &str) -> Bing {
    client_with(endpoint, &http())
}

fn source() -> DataSource {
    DataSource { access_id: "20181f26".into(), data_source: "Stores".into(), version: None }
}

fn target() -> Target {
    source().into()
}

/// An answer with these header lines and this body.
fn answer(status: u16, headers: &[&str], body: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Whatever\r\nconnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A JSON answer about a job, with these members of it.
fn about(job: &str) -> String {
    format!(
        r#"{{"statusCode":201,"authenticationResultCode":"ValidCredentials",
            "resourceSets":[{{"estimatedTotal":1,"resources":[{{{job}}}]}}]}}"#
    )
}

fn link(role: &str, name: &str, url: &str) -> String {
    format!(r#"{{"role":"{role}","name":"{name}","url":"{url}"}}"#)
}

/// What a create request comes to when it is answered so.
async fn created(bytes: Vec<u8>) -> Result<Submitted, Failure> {
    let host = Host::saying(bytes).await;
    host.bing().submit(&target(), noon()).await
}

fn assert_clean(text: &str) {
    for key in [KEY, "CANARY%2F0123456789%2Babcdef", "CANARY"] {
        assert!(!text.contains(key), "{text}");
    }
}
