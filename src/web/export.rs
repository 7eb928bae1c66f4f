//! A snapshot in other formats, made while it is sent: on a background thread, a few pieces ahead
//! of the client.

use super::State;
use super::raw;
use super::work::retry_later;
use crate::archive::{Archive, Snapshot};
use crate::background;
use crate::export::{Export, ExportError, ExportFormat, GeometryFrom, Options};
use axum::body::Body;
use axum::extract::{Path as Wanted, State as Extract};
use axum::http::{HeaderMap, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::io::{self, Write};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// A format that the page exports.
pub(super) struct PageFormat {
    /// Its name in addresses, and as that of an export.
    pub(super) name: &'static str,
    /// How the page calls it.
    pub(super) title: &'static str,
    media_type: &'static str,
}

/// The formats.
pub(super) const FORMATS: [PageFormat; 2] = [
    PageFormat { name: "geojson", title: "GeoJSON", media_type: "application/geo+json" },
    PageFormat { name: "csv", title: "CSV", media_type: "text/csv; charset=utf-8" },
];
/// Exports at once.
const AT_ONCE: usize = 2;
/// Pieces that wait for the client; an export writes at most 256 KiB at once.
const AHEAD: usize = 2;

/// How many exports may begin. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Exports(Arc<Semaphore>);

impl Default for Exports {
    fn default() -> Exports {
        Exports(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// A piece of an export, or its end: without that it is not complete.
#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    End,
}

pub(super) async fn show(
    Extract(state): Extract<State>,
    Wanted((source, name, format)): Wanted<(String, String, String)>,
    method: Method,
    version: Version,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = raw::refusal(&headers) {
        return refusal;
    }
    let media = FORMATS.iter().find(|it| it.name == format).map(|it| it.media_type);
    let (Some(media), Some(format)) = (media, ExportFormat::named(&format)) else {
        return (StatusCode::NOT_FOUND, "there is no such format\n").into_response();
    };
    let Some(snapshot) = state.snapshot(&source, &name) else { return raw::missing() };
    if version < Version::HTTP_11 {
        // The end of such an answer is the end of its connection: a part would look complete.
        let needed = "an export is sent in chunks, which need HTTP/1.1\n";
        return (StatusCode::HTTP_VERSION_NOT_SUPPORTED, needed).into_response();
    }
    let ending = format.endings.first().copied().unwrap_or_default();
    let head = [
        (header::CONTENT_TYPE, media.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{source}-{name}{ending}\"")),
    ];
    if method == Method::HEAD {
        // Its length is not known before it is made. An empty body would say that it is 0.
        return (head, Body::from_stream(stream::pending::<io::Result<Bytes>>())).into_response();
    }
    let Ok(permit) = state.exports.0.try_acquire_owned() else {
        return retry_later("other exports are being sent; try again later\n".to_owned());
    };
    let archive = state.reporter.archive().clone();
    let mut pieces = match begin(archive, snapshot, format, permit) {
        Ok(pieces) => pieces,
        Err(error) => return failed(&ExportError::Io(error)),
    };
    // What a format cannot hold is found at its beginning.
    let first = match pieces.recv().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => return failed(&error),
        None => return failed(&ExportError::Io(io::Error::other("it panicked"))),
    };
    let rest = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces
            .recv()
            .await
            .unwrap_or_else(|| Err(ExportError::Io(io::Error::other("it panicked"))));
        Some((piece, pieces))
    });
    let ended = |piece: &Result<Piece, ExportError>| {
        let is_end = matches!(piece, Ok(Piece::End));
        async move { !is_end }
    };
    let bytes = stream::once(async { Ok(first) }).chain(rest).take_while(ended).map(|piece| {
        // Debug only: a client that floods the page must not flood the log.
        let piece = piece.inspect_err(|error| tracing::debug!(%error, "an export breaks off"));
        piece.map(|piece| match piece {
            Piece::Bytes(bytes) => bytes,
            Piece::End => Bytes::new(),
        })
    });
    (head, Body::from_stream(bytes)).into_response()
}

fn failed(error: &ExportError) -> Response {
    let status = match error {
        ExportError::Impossible(_) | ExportError::Choice(_) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, format!("{error}\n")).into_response()
}

/// Begins an export. It ends when the receiver is dropped.
fn begin(
    archive: Archive,
    snapshot: Snapshot,
    format: &'static ExportFormat,
    permit: OwnedSemaphorePermit,
) -> io::Result<mpsc::Receiver<Result<Piece, ExportError>>> {
    let (sender, pieces) = mpsc::channel(AHEAD);
    background::spawn("export", move || {
        let _permit = permit;
        let options = Options {
            geometry: GeometryFrom::First,
            entity: None,
            table: None,
            replace: false,
            excel: false,
        };
        let export =
            Export { snapshot: &snapshot, format, options, strict: false, progress: &|_| {} };
        let mut out = Sending(sender.clone());
        let ended = export.to_stream(&archive, &mut out).map(|_| Piece::End);
        // An error means that the client has gone.
        let _ = sender.blocking_send(ended);
    })?;
    Ok(pieces)
}

/// Sends what is written to it. Waits for a slow client, and fails once that has gone.
struct Sending(mpsc::Sender<Result<Piece, ExportError>>);

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Piece::Bytes(Bytes::copy_from_slice(bytes));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone");
        self.0.blocking_send(Ok(piece)).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
