//! HTTP/1.1 on loopback for the simulated service: sends the responses that its state decides, and
//! breaks connections on demand.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::data::Chunks;
use super::loading::MAX_BYTES;
use super::request::{Host, Kind, Request};
use super::world::{Body, BodyEnd, Reply, Response, World};

/// The connection must be closed immediately.
#[derive(Debug, thiserror::Error)]
#[error("the simulated service breaks the connection")]
struct Broken;

type SentBody = UnsyncBoxBody<Bytes, Broken>;

/// Serves one host until dropped, with all its connections.
pub(super) async fn serve(listener: TcpListener, host: Host, world: Arc<Mutex<World>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                // Without this, small answers wait for delayed acknowledgements.
                let _ = stream.set_nodelay(true);
                let world = world.clone();
                let service = service_fn(move |request| answer(host, world.clone(), request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // Errors of a connection concern the client, or are part of the scenario.
                connections.spawn(async move { drop(connection.await) });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(
    host: Host,
    world: Arc<Mutex<World>>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<SentBody>, Broken> {
    let (head, body) = request.into_parts();
    let request = received(host, &head);
    let lock = || world.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = lock().upload_limit(&request);
    let posted = uploaded(body, limit).await?;
    let range = request.header("range").and_then(range_start);
    let range = range.map(|start| (start, request.header("if-range").map(str::to_owned)));
    let accepts_gzip =
        request.header("accept-encoding").is_some_and(|accepted| accepted.contains("gzip"));
    let reply = lock().receive(request, posted);
    match reply {
        Reply::Close => Err(Broken),
        Reply::Silence => std::future::pending().await,
        Reply::Answer(response) => sent(response, range, accepts_gzip),
    }
}

/// Reads what a client posts: all of it, but not much more than the service allows, or up to a
/// limit at which the connection will be closed.
async fn uploaded(mut body: Incoming, limit: Option<u64>) -> Result<Bytes, Broken> {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_BYTES + 1);
    let mut posted = BytesMut::new();
    while posted.len() < limit
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame.map_err(|_| Broken)?.into_data() {
            posted.extend_from_slice(&data);
        }
    }
    Ok(posted.freeze())
}

fn received(host: Host, request: &hyper::http::request::Parts) -> Request {
    let uri = &request.uri;
    Request {
        host,
        kind: Kind::Other,
        method: request.method.to_string(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers: request
            .headers
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect(),
        carries_key: false,
    }
}

/// The start of `bytes=N-`, the only form of range that is honoured.
fn range_start(range: &str) -> Option<u64> {
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

fn sent(
    response: Response,
    range: Option<(u64, Option<String>)>,
    accepts_gzip: bool,
) -> Result<hyper::Response<SentBody>, Broken> {
    let Response { mut status, mut headers, body, end } = response;
    let (whole, length, chunks): (u64, Option<u64>, Chunks) = match body {
        Body::Bytes(bytes) => {
            let length = u64::try_from(bytes.len()).unwrap_or(0);
            (length, Some(length), Box::new(std::iter::once(bytes)))
        }
        Body::Data { data, gzip, content_length, ranges } => {
            let whole = data.length();
            let length = content_length.then_some(whole);
            let tag = headers.iter().find(|(name, _)| *name == "etag").map(|(_, tag)| tag.clone());
            let is_same = |wanted: &Option<String>| wanted.is_none() || *wanted == tag;
            match range.filter(|(start, wanted)| ranges && *start < whole && is_same(wanted)) {
                Some((start, _)) => {
                    status = 206;
                    headers.push(("content-range", format!("bytes {start}-{}/{whole}", whole - 1)));
                    let rest = Clipped { chunks: data.chunks(), skip: start, left: u64::MAX };
                    (whole - start, length.map(|_| whole - start), Box::new(rest))
                }
                None if gzip && accepts_gzip => {
                    headers.push(("content-encoding", "gzip".into()));
                    (whole, None, Box::new(Gzipped::new(data.chunks())))
                }
                None => (whole, length, data.chunks()),
            }
        }
    };
    let declared = match end {
        BodyEnd::LengthTooLong(by) => Some(whole + by),
        BodyEnd::Halfway => Some(whole / 2),
        _ => length,
    };
    let body = match end {
        BodyEnd::Whole => whole_body(chunks),
        BodyEnd::Halfway => whole_body(first(chunks, whole / 2)),
        BodyEnd::LengthTooLong(_) => broken_body(chunks),
        BodyEnd::BrokenHalfway => broken_body(first(chunks, whole / 2)),
        BodyEnd::BrokenAfter(bytes) => broken_body(first(chunks, bytes)),
        BodyEnd::StalledAfter(bytes) => stalled_body(first(chunks, bytes)),
    };

    let mut answer = hyper::Response::builder().status(status);
    for (name, value) in headers {
        let value = HeaderValue::from_str(&value).map_err(|_| Broken)?;
        answer = answer.header(HeaderName::from_static(name), value);
    }
    if let Some(length) = declared {
        answer = answer.header(CONTENT_LENGTH, length);
    }
    answer.body(body).map_err(|_| Broken)
}

// All bodies are streams of unknown length: hyper then accepts the header's value, true or not.

fn whole_body(chunks: Chunks) -> SentBody {
    StreamBody::new(stream::iter(chunks.map(|chunk| Ok(Frame::data(chunk))))).boxed_unsync()
}

fn broken_body(chunks: Chunks) -> SentBody {
    let ending = stream::once(async {
        // A pause that lets the buffers be sent.
        tokio::task::yield_now().await;
        Err(Broken)
    });
    let chunks = stream::iter(chunks.map(|chunk| Ok(Frame::data(chunk))));
    StreamBody::new(chunks.chain(ending)).boxed_unsync()
}

fn stalled_body(chunks: Chunks) -> SentBody {
    let chunks = stream::iter(chunks.map(|chunk| Ok(Frame::data(chunk))));
    StreamBody::new(chunks.chain(stream::pending())).boxed_unsync()
}

fn first(chunks: Chunks, left: u64) -> Chunks {
    Box::new(Clipped { chunks, skip: 0, left })
}

/// Some of a document's bytes: those after the first `skip`, and `left` of them at most.
struct Clipped {
    chunks: Chunks,
    skip: u64,
    left: u64,
}

impl Iterator for Clipped {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.left > 0 {
            let mut chunk = self.chunks.next()?;
            let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            let skipped = self.skip.min(length);
            self.skip -= skipped;
            let taken = self.left.min(length - skipped);
            if taken > 0 {
                self.left -= taken;
                // Both are in range: neither is more than the chunk's length.
                drop(chunk.split_to(usize::try_from(skipped).unwrap_or(0)));
                chunk.truncate(usize::try_from(taken).unwrap_or(usize::MAX));
                return Some(chunk);
            }
        }
        None
    }
}

/// A document compressed while it is sent.
struct Gzipped {
    chunks: Chunks,
    /// `None` once everything is sent.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Gzipped {
    fn new(chunks: Chunks) -> Self {
        Self { chunks, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }
}

impl Iterator for Gzipped {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        const ENOUGH: usize = 64 * 1024;
        loop {
            let encoder = self.encoder.as_mut()?;
            let Some(chunk) = self.chunks.next() else {
                return self.encoder.take()?.finish().ok().map(Bytes::from);
            };
            encoder.write_all(&chunk).ok()?;
            if encoder.get_ref().len() >= ENOUGH {
                return Some(std::mem::take(encoder.get_mut()).into());
            }
        }
    }
}
