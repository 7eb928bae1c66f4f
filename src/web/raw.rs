//! The two files of a snapshot, as they are in the archive.

use super::State;
use crate::codec::Codec;
use crate::files;
use axum::body::Body;
use axum::extract::{Path as Wanted, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use std::io;
use std::path::PathBuf;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// Bytes that are read at once.
const PIECE: usize = 32 << 10;

/// The data, as it is stored.
pub(super) async fn data(
    Extract(state): Extract<State>,
    Wanted((source, name)): Wanted<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(snapshot) = state.snapshot(&source, &name) else { return missing() };
    let kind = snapshot.codec().map_or("application/octet-stream", Codec::media_type);
    send(snapshot.data(), kind, &headers)
}

/// The manifest.
pub(super) async fn manifest(
    Extract(state): Extract<State>,
    Wanted((source, name)): Wanted<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(snapshot) = state.snapshot(&source, &name) else { return missing() };
    send(snapshot.path, "application/json", &headers)
}

pub(super) fn missing() -> Response {
    (StatusCode::NOT_FOUND, "there is no such snapshot\n").into_response()
}

/// The refusal of a request that another site's page has made the browser send.
pub(super) fn refusal(headers: &HeaderMap) -> Option<Response> {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    let is_foreign = site.is_some_and(|site| site != b"same-origin" && site != b"none");
    is_foreign.then(|| (StatusCode::FORBIDDEN, "not for other sites\n").into_response())
}

/// Sends a file.
fn send(path: PathBuf, kind: &'static str, headers: &HeaderMap) -> Response {
    if let Some(refusal) = refusal(headers) {
        return refusal;
    }
    let opened = files::read(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (length, file) = match opened {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "could not be sent");
            return missing();
        }
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // Bytes that are appended meanwhile are not sent.
    let pieces = stream::try_unfold(File::from_std(file).take(length), |mut file| async move {
        let mut piece = vec![0; PIECE];
        let count = file.read(&mut piece).await?;
        piece.truncate(count);
        io::Result::Ok((count > 0).then(|| (Bytes::from(piece), file)))
    });
    let head = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (head, Body::from_stream(pieces)).into_response()
}
