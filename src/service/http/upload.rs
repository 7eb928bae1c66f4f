//! Sends a document of known length, once.

use super::{Failure, FailureKind, HttpClients};
use crate::http::reason;
use crate::secret::host_and_port;
use crate::settings::is_loopback;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Response};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::{Instant, sleep_until};
use url::Url;

/// A document to be sent.
pub(crate) struct Upload {
    pub(crate) content_type: &'static str,
    /// Its exact length in bytes.
    pub(crate) length: u64,
    /// Its bytes. With an error, or with another number of bytes, the request ends before its end.
    pub(crate) chunks: BoxStream<'static, io::Result<Bytes>>,
}

/// How far a request is.
struct Progress {
    /// When bytes were last passed to the connection.
    last: Instant,
    /// Why the document could not be read to its end.
    error: Option<String>,
}

impl HttpClients {
    /// Sends one POST on a connection of its own and waits for the response's head. Redirects are
    /// not followed. The idle timeout counts from the last bytes that the connection took.
    ///
    /// # Errors
    /// `NotSent` when there was no connection, `Local` when the document could not be read, so that
    /// the request has no end; otherwise `Lost`.
    pub(crate) async fn post(
        &self,
        url: Url,
        accept: &'static str,
        upload: Upload,
    ) -> Result<Response, Failure> {
        let host = host_and_port(&url);
        let pair = if is_loopback(&url) { &self.loopback } else { &self.outward };
        let begun = Instant::now();
        let until = begun + self.fetch_deadline;
        let progress =
            Arc::new(Mutex::new(Progress { last: begun + self.connect_timeout, error: None }));
        let lost = |what: String| Failure::new(FailureKind::Lost, what);
        let sending = pair
            .fresh
            .post(url)
            .header(ACCEPT, accept)
            .header(ACCEPT_ENCODING, "gzip")
            .header(CONTENT_TYPE, upload.content_type)
            // Not chunked: servers may refuse a body of unknown length.
            .header(CONTENT_LENGTH, upload.length)
            .body(Body::wrap_stream(body(upload, Arc::clone(&progress))))
            .send();
        tokio::pin!(sending);
        loop {
            let deadline = (locked(&progress).last + self.idle_timeout).min(until);
            tokio::select! {
                response = &mut sending => {
                    return match (response, locked(&progress).error.take()) {
                        (Ok(response), _) => Ok(response),
                        (Err(_), Some(error)) => Err(Failure::new(
                            FailureKind::Local,
                            format!("the document could not be read, so that nothing is loaded: {error}"),
                        )),
                        (Err(error), None) if error.is_connect() || error.is_builder() => {
                            Err(self.not_sent(&host, error))
                        }
                        (Err(error), None) => Err(lost(format!(
                            "{host} did not answer the upload: {}",
                            reason(error)
                        ))),
                    };
                }
                () = sleep_until(deadline) => {
                    let now = Instant::now();
                    if now >= until {
                        return Err(lost(format!("the upload to {host} did not end in time")));
                    }
                    if now >= locked(&progress).last + self.idle_timeout {
                        return Err(lost(format!(
                            "{host} took a part of the upload, but nothing more for {:?}",
                            self.idle_timeout
                        )));
                    }
                }
            }
        }
    }
}

fn locked(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The document's bytes. Each chunk waits until the next one, or the end, has been read without an
/// error: so no error comes after the last byte has been sent, when the service may take the
/// document for whole.
fn body(
    upload: Upload,
    progress: Arc<Mutex<Progress>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    struct State {
        chunks: Option<BoxStream<'static, io::Result<Bytes>>>,
        held: Option<Bytes>,
        left: u64,
    }
    let state = State { chunks: Some(upload.chunks), held: None, left: upload.length };
    stream::unfold((state, progress), |(mut state, progress)| async move {
        let item = loop {
            let Some(chunks) = &mut state.chunks else { break None };
            let read = match chunks.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => match state.left.checked_sub(chunk.len() as u64) {
                    Some(left) => {
                        state.left = left;
                        Ok(Some(chunk))
                    }
                    None => Err(io::Error::other("it is longer than announced")),
                },
                None if state.left > 0 => Err(io::Error::other("it is shorter than announced")),
                None => Ok(None),
                Some(Err(error)) => Err(error),
            };
            match read {
                Ok(Some(chunk)) => match state.held.replace(chunk) {
                    Some(held) => break Some(Ok(held)),
                    None => continue,
                },
                Ok(None) => {
                    state.chunks = None;
                    break state.held.take().map(Ok);
                }
                Err(error) => {
                    state.chunks = None;
                    locked(&progress).error = Some(error.to_string());
                    break Some(Err(error));
                }
            }
        };
        locked(&progress).last = Instant::now();
        item.map(|item| (item, (state, progress)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt as _;

    fn sent(length: u64, chunks: Vec<io::Result<Bytes>>) -> (Vec<Bytes>, Option<String>) {
        let progress = Arc::new(Mutex::new(Progress { last: Instant::now(), error: None }));
        let chunks = stream::iter(chunks).boxed();
        let upload = Upload { content_type: "application/xml", length, chunks };
        let mut sent = Vec::new();
        let body = body(upload, Arc::clone(&progress));
        let ended = futures_util::future::FutureExt::now_or_never(body.try_for_each(|chunk| {
            sent.push(chunk);
            std::future::ready(Ok(()))
        }));
        let error = locked(&progress).error.take();
        assert_eq!(ended.unwrap().is_err(), error.is_some());
        (sent, error)
    }

    fn chunk(text: &'static str) -> io::Result<Bytes> {
        Ok(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_document_is_sent_whole_or_without_its_end() {
        let whole = sent(6, vec![chunk("abc"), chunk(""), chunk("d"), chunk("ef")]);
        assert_eq!(whole, (vec!["abc".into(), "d".into(), "ef".into()], None));
        assert_eq!(sent(0, vec![chunk("")]), (Vec::new(), None));
        let short = "it is shorter than announced".to_owned();
        assert_eq!(sent(7, vec![chunk("abc"), chunk("def")]), (vec!["abc".into()], Some(short)));
        let long = "it is longer than announced".to_owned();
        assert_eq!(sent(5, vec![chunk("abc"), chunk("def")]), (Vec::new(), Some(long)));
        let broken = vec![chunk("abc"), chunk("def"), Err(io::Error::other("a bad checksum"))];
        assert_eq!(sent(6, broken), (vec!["abc".into()], Some("a bad checksum".to_owned())));
    }
}
