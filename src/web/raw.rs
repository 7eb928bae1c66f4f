//! A snapshot's two files, as they lie in the archive.

use super::State;
use axum::body::Body;
use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use std::path::PathBuf;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

const PIECE: usize = 64 << 10;

/// The data, compressed as it is stored.
pub(super) async fn data(
    Extract(state): Extract<State>,
    Path((source, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(snapshot) = state.snapshot(&source, &name) else { return missing() };
    send(snapshot.data(), "application/zstd", &headers).await
}

/// The manifest.
pub(super) async fn manifest(
    Extract(state): Extract<State>,
    Path((source, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(snapshot) = state.snapshot(&source, &name) else { return missing() };
    send(snapshot.path, "application/json", &headers).await
}

fn missing() -> Response {
    (StatusCode::NOT_FOUND, "there is no such snapshot\n").into_response()
}

/// Sends a file, but not to another site's page that has a browser ask for it.
async fn send(path: PathBuf, kind: &'static str, headers: &HeaderMap) -> Response {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return (StatusCode::FORBIDDEN, "not for other sites\n").into_response();
    }
    let opened = async {
        let file = File::open(&path).await?;
        let length = file.metadata().await?.len();
        std::io::Result::Ok((file, length))
    };
    let (file, length) = match opened.await {
        Ok(opened) => opened,
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "could not be sent");
            return missing();
        }
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let pieces = stream::try_unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE];
        let count = file.read(&mut piece).await?;
        piece.truncate(count);
        std::io::Result::Ok((count > 0).then(|| (Bytes::from(piece), file)))
    });
    let head = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (head, Body::from_stream(pieces)).into_response()
}
